"""Bounds on costs: counted ones and those of a device, in a space file and on the command line."""

import numpy as np
import pytest

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.devices.folder import add_profile, devices_folder
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Constraint, Sample, Space
from mnv2_sweep.spaces.wishes import count_wished, read_wishes
from tests.device_samples import made_seconds, write_profile

GRID = (("width", (0.35, 0.5, 0.75, 1.0)), ("resolution", (96, 128, 160, 192)))


@pytest.fixture(autouse=True)
def _pi4(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    add_profile(write_profile(tmp_path / "measured.json", spread=0.02), devices_folder())


def load(folder, constraints: str) -> Space:
    path = folder / "given.yaml"
    path.write_text(f"axes: {{width: [0.5, 1.0]}}\nconstraints: {constraints}\n")
    return load_space(path)


def test_a_file_s_bounds_are_read_in_their_units(tmp_path):
    latencies = '["<= 15 ms", "> 0.5ms", "< 20000 us", "<= 0.0155 s"]'
    text = f'{{latency@pi4: {latencies}, memory@pi4: "<= 128 MiB", file_bytes: "< 8 MB"}}'
    assert load(tmp_path, text).constraints == (
        Constraint("latency@pi4", "<=", 15, "<= 15 ms"),
        Constraint("latency@pi4", ">", 0.5, "> 0.5ms"),
        Constraint("latency@pi4", "<", 20, "< 20000 us"),
        Constraint("latency@pi4", "<=", 15.5, "<= 0.0155 s"),
        Constraint("memory@pi4", "<=", 128 * 2**20, "<= 128 MiB"),
        Constraint("file_bytes", "<", 8_000_000, "< 8 MB"),
    )


MISTAKES = {
    "no unit": ('{latency@pi4: "<= 15"}', "constraints.latency@pi4: '<= 15' given; allowed: <, <=, > or >=, a number "
                'and a unit (us, ms, s), as in "<= 15 ms"'),
    "another unit": ('{latency@pi4: "<= 15M"}', "constraints.latency@pi4: '<= 15M' given; allowed: "),
    "no direction": ('{latency@pi4: 15 ms}', 'constraints.latency@pi4: 15 ms given, but not whether more or less; '
                     'write "<= 15 ms" or ">= 15 ms"'),
    "no such profile": ('{latency@pi5: "<= 15 ms"}', "constraints.latency@pi5: no profile named 'pi5' (profiles: pi4"),
    "no name": ('{latency@: "<= 15 ms"}', "constraints.latency@: no profile named '' (profiles: pi4; "),
    "no list": ('{latency@pi4: []}', "constraints.latency@pi4: an empty list given; allowed: one bound, or a list"),
    "another kind": ('{speed@pi4: "<= 15 ms"}', "unknown key 'constraints.speed@pi4'; "),
    "half a byte": ('{file_bytes: "<= 0.5 B"}', "constraints.file_bytes: '<= 0.5 B' given; allowed: "),
}  # fmt: skip


@pytest.mark.parametrize("text, line", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_says_what_is_allowed(tmp_path, text, line):
    with pytest.raises(SpaceError) as caught:
        load(tmp_path, text)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"{tmp_path}/given.yaml:2: {line}")


def test_networks_within_a_latency_are_chosen():
    limit = 5
    space = Space("s", axes=GRID, constraints=(Constraint("latency@pi4", "<=", limit, "<= 5 ms"),))
    every, chosen = select_networks(Space("s", axes=GRID)), [*select_networks(space)]
    values = every.estimates(["latency@pi4"])["latency@pi4"].values
    assert values == pytest.approx(1e3 * made_seconds([*every]), rel=0.05)
    assert chosen == [arch for arch, own in zip(every, values, strict=True) if own <= limit]
    assert 0 < len(chosen) < len(every) and select_networks(space).notes == ()


def test_networks_that_the_device_says_nothing_of_are_left_out_and_told():
    axes = (*GRID, ("kernel", (3, 5)))
    bounds = (Constraint("latency@pi4", "<=", 50, "<= 50 ms"), Constraint("madds", "<=", 100_000_000, "<= 100M"))
    networks = select_networks(Space("s", axes=axes, constraints=bounds))
    assert {arch.kernel for arch in networks} == {3}
    within = [arch for arch in select_networks(Space("s", axes=axes, constraints=bounds[1:])) if arch.kernel == 5]
    (note,) = networks.notes
    assert note.startswith(f"latency@pi4: {len(within)} networks lie outside of what was measured on pi4, and are left")
    assert "0.35 at 96, k=5 (depthwise 5x5: " in note


def test_a_space_of_which_the_device_says_nothing_is_refused():
    axes = (("width", (0.5, 1.0)), ("kernel", (5,)))
    space = Space("s", axes=axes, constraints=(Constraint("latency@pi4", "<=", 50, "<= 50 ms"),))
    with pytest.raises(SpaceError) as caught:
        select_networks(space)
    (line,) = caught.value.mistakes
    assert line.startswith(
        "space 's': no network is left of 2 candidates; latency@pi4 <= 50 ms refused 2; latency@pi4: 2"
    )
    assert "(depthwise 5x5: " in line


def test_a_sample_and_points_keep_to_a_latency():
    axes = (("width", tuple(np.linspace(0.35, 1.0, 40).round(3).tolist())), ("resolution", (96, 128, 160, 192, 224)))
    points = ((("width", 0.5), ("resolution", 128)), (("width", 1.0), ("resolution", 224)))
    bound = (Constraint("latency@pi4", "<=", 8, "<= 8 ms"),)
    networks = select_networks(Space("s", axes=axes, points=points, constraints=bound, sample=Sample(20, 1)))
    assert len(networks.rows) == 20 and (networks.estimates(["latency@pi4"])["latency@pi4"].values <= 8).all()
    assert ArchSpec(width=0.5, resolution=128) in [*networks] and ArchSpec() not in [*networks]


def test_a_published_device_is_said_to_be_no_own_one():
    bound = Constraint("latency@published-pixel1", "<=", 30, "<= 30 ms")
    (note,) = select_networks(Space("s", axes=GRID, constraints=(bound,))).notes
    assert note.startswith("latency@published-pixel1: published by others, not measured by you: tensorflow/models, ")


def test_a_wish_of_the_command_line_may_be_of_a_device():
    (wish,) = read_wishes(["latency@pi4 <= 15 ms"])
    assert wish == Constraint("latency@pi4", "<=", 15, "<= 15 ms")
    values = count_wished("latency@pi4", [ArchSpec(width=0.5, resolution=128), ArchSpec(kernel=5)])
    assert 3 < values[0] < 4 and np.isnan(values[1])
    with pytest.raises(SpaceError, match="latency@pi5: no profile named 'pi5' .profiles: pi4; "):
        read_wishes(["latency@pi5 <= 15 ms"])
