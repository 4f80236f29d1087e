"""Wishes of the command line: read as a space's constraints are, and those that nothing can fulfil told apart."""

import numpy as np
import pytest

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.devices.costs import ALWAYS
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Constraint
from mnv2_sweep.spaces.wishes import count_wished, find_factors, find_fitting, read_wishes, wish_text


@pytest.mark.parametrize("word", ["madds <= 100M", "madds<=100M", "  madds   <=100M "])
def test_a_wish_is_read_as_a_space_reads_its_constraint(word, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text('axes: {width: [0.5]}\nconstraints: {madds: "<= 100M"}\n')
    (wish,) = read_wishes([word])
    assert (wish,) == load_space(path).constraints == (Constraint("madds", "<=", 100_000_000, "<= 100M"),)
    assert wish_text(wish) == "madds <= 100M"


def test_wishes_are_kept_in_order_and_none_twice():
    wishes = read_wishes(["params < 2M", "peak_activation_bytes <= 2 MiB", "params < 2M", "depth >= 20"])
    assert [wish_text(wish) for wish in wishes] == [
        "params < 2M", "peak_activation_bytes <= 2 MiB", "depth >= 20"
    ]  # fmt: skip
    assert read_wishes([]) == ()


IMPOSSIBLE = {
    "contradiction": (["madds <= 100M", "madds >= 200M"], "they contradict each other, no madds is both"),
    "edge": (["params < 2M", "params >= 2M"], "they contradict each other, no params is both"),
    "nothing costs nothing": (["madds <= 0"], "every network costs more than that"),
    "unknown cost": (["flops <= 100M"], "unknown cost 'flops'; did you mean 'madds'?"),
    "no comparison": (["madds 100M"], 'not whether more or less; write "<= 100M" or ">= 100M"'),
    "unquoted": (["madds"], "in a shell, the whole wish stands in quotes"),
    "other unit": (["params <= 2 MB"], "'<= 2 MB' given; allowed: <, <=, > or >=, a number and a unit (K, M, G, B)"),
    "half a layer": (["depth <= 3.5"], "depth: '<= 3.5' given"),
    "a score": (["top1 >= 0.9"], "that is a score, by which networks are ranked anyway"),
    "two in one": (["madds <= 100M and params <= 2M"], "one wish at a time; give --where once for each"),
    "the number first": (["100M >= madds"], 'the cost comes first, then one bound, as in "madds <= 100M"'),
    "a range": (["madds >= 10M <= 100M"], "a range is two wishes, --where before each"),
    "empty": ([""], 'a cost, a comparison and a number are wanted, as in "madds <= 100M"'),
    "no number": (["madds <="], "'<=' given; allowed: <, <=, > or >=, a number"),
    "below nothing": (["madds <= -5M"], "'<= -5M' given"),
}


@pytest.mark.parametrize(("words", "why"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_nothing_can_fulfil_is_one_clear_line(words, why):
    with pytest.raises(SpaceError) as raised:
        read_wishes(words)
    (line,) = str(raised.value).splitlines()
    assert line.startswith("--where ") and why in line and all(word.strip() in line for word in words)
    assert "constraints" not in line


def test_all_mistakes_are_told_at_once_and_nothing_of_a_terminal_passes():
    with pytest.raises(SpaceError) as raised:
        read_wishes(["madds <= x", "\x1b[31m <= 3", "params < 2M"])
    first, second = str(raised.value).splitlines()
    assert "madds <= x" in first and "unknown cost" in second and "\x1b" not in second


def test_networks_of_a_space_that_keep_all_wishes(tmp_path):
    networks = open_grid(tmp_path)
    madds = networks.costs.madds
    fits = find_fitting(networks, read_wishes([f"madds <= {sorted(madds)[2]}", f"madds > {min(madds)}"]))
    assert fits.tolist() == [low in sorted(madds)[1:3] for low in madds] and fits.sum() == 2
    assert find_fitting(networks, ()).all()
    assert find_fitting(networks, read_wishes(["file_int8_bytes <= 100 MB"])).all()


def test_where_no_network_keeps_the_wishes_the_nearest_is_named(tmp_path):
    with pytest.raises(SpaceError) as raised:
        find_fitting(open_grid(tmp_path), read_wishes(["madds <= 1K", "params <= 100M"]))
    assert str(raised.value).startswith(
        '--where "madds <= 1K" --where "params <= 100M": none of the 4 networks of space \'grid\' keeps that; nearest '
        "is 0.5 at 96 with madds "
    )


def open_grid(folder):
    path = folder / "grid.yaml"
    path.write_text("axes: {width: [0.5, 1.0], resolution: [96, 128]}\n")
    return select_networks(load_space(path))


def test_how_far_networks_are_from_wishes():
    wishes = read_wishes(["madds <= 100", "depth >= 20"])
    costs = {"madds": np.array([50.0, 200, 100, np.nan]), "depth": np.array([20.0, 20, 5, 20])}
    assert find_factors(costs, wishes, 4).tolist() == [1.0, 2.0, 4.0, np.inf]


@pytest.mark.parametrize("name", ALWAYS)
def test_every_cost_that_can_be_wished_is_counted(name):
    archs = [ArchSpec(), ArchSpec(width=0.5, resolution=96)]
    assert count_wished(name, archs).tolist() == [getattr(count_cost(arch), name) for arch in archs]
    assert count_wished(name, archs).dtype.kind in "iuf" and np.isfinite(count_wished(name, archs)).all()
