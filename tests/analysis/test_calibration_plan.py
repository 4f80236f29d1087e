"""What a calibration of a space would train: the networks, the recipes, what is refused and why."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnv2_sweep.analysis.agreement import share_near
from mnv2_sweep.analysis.calibration import (
    PROXIES,
    check_count,
    describe_calibration,
    lengthen_recipe,
    parse_proxies,
    plan_calibration,
)
from mnv2_sweep.analysis.passport import SHARED_WEIGHTS, SHORT_SCHEDULE, SMALL_INPUT
from mnv2_sweep.base.errors import SpaceError, SweepError
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Space, Strategy
from mnv2_sweep.trials.recipe import RECIPES, Recipe

SPACES = Path(__file__).parents[2] / "spaces"
RECIPE = Recipe("short", images=1000, input_scale=0.5)


def plan(space: Space, count: int = 8, proxies=tuple(PROXIES)):
    return plan_calibration(space, count, proxies, lengthen_recipe(space.recipe, None, None, 1000), 10)


def widths(*values: float, **changes) -> Space:
    return Space("wide", axes=(("width", values),), fixed=(("resolution", 32),), recipe=RECIPE, **changes)


def test_the_papers_grid():
    third = replace(RECIPES["short"], input_scale=0.34, name="short at a third of the side")
    space = replace(load_space(SPACES / "paper_grid.yaml"), recipe=third)
    found = plan(space)
    reference, short, small, shared = found.parts
    assert (len(found.picked), found.different, len(found.published), found.refused) == (8, 22, 22, ())
    assert [part.proxy for part in found.parts] == ["", SHORT_SCHEDULE, SMALL_INPUT, SHARED_WEIGHTS]
    assert [part.suffix for part in found.parts] == [
        *("calibrate-reference", "calibrate-short", "calibrate-small", "calibrate-shared")
    ]
    assert (
        reference.recipe.images == 88_000 and reference.recipe.name == "short at a third of the side, 4 times as long"
    )
    assert short.recipe == space.recipe  # so that the main sweep's results are its own
    assert replace(small.recipe, name=short.recipe.name) == replace(short.recipe, input_scale=0.17)
    assert reference.archs == short.archs == small.archs == found.picked
    assert {part.strategy.name for part in found.parts[:3]} == {"separate"}
    assert (shared.archs, shared.recipe, shared.strategy) == (expand(space, 10), space.recipe, space.strategy)
    assert describe_calibration(found) == [
        "picked    8 of 22 different networks, 6 pairs within 25 % of MAdds: 0.35 at 96; 0.5 at 160; 1.0 at 96; "
        "0.35 at 224; 0.5 at 224; 1.0 at 128; 0.75 at 160; 1.4 at 224",
        "proxies   short schedule, smaller input, shared weights, synflow, MAdds alone, executed MAdds",
        "note      they are picked close together, 21 % of their pairs within 25 % of MAdds, 10 % in the space: that "
        "lowers every tau (of MAdds alone with the published order, 0.764 on 8 of the paper's 22 networks, 0.954 on "
        "all)",
    ]
    assert found.near_share == share_near([count_cost(arch).madds for arch in expand(space, 10)]) == 22 / 231


def test_a_space_that_shares_weights_keeps_its_own_training_without_the_tuning():
    found = plan(widths(0.35, 0.5, 0.75, strategy=Strategy("shared", 5000, 2.0)))
    assert found.parts[-1].strategy == Strategy("shared", 5000)


def test_each_different_network_once():
    found = plan(widths(0.35, 0.351, 0.5, 0.75, 1.0), 4)
    assert [arch.width for arch in found.picked] == [0.35, 0.5, 0.75, 1.0] and found.different == 4
    assert len(found.parts[-1].archs) == 5  # as `run` gives them, so that it is the same training


def test_more_networks_than_there_are_is_said():
    lines = describe_calibration(plan(widths(0.35, 0.5, 1.0), 5))
    assert lines[2:] == [
        "note      5 networks are wanted, the space has 3 different ones: all are taken",
        "note      no two of them are within 25 % of MAdds, where alone a proxy could say more than MAdds",
    ]


def test_proxies_that_are_not_wanted_are_not_trained():
    found = plan(widths(0.35, 0.5, 1.0), proxies=("synflow",))
    assert [part.proxy for part in found.parts] == [""] and found.synflow
    assert not plan(widths(0.35, 0.5, 1.0), proxies=("short",)).synflow


@pytest.mark.parametrize(
    "axis, reason",
    [
        (("kernel", (3, 5)), "kernel: 3, 5 given, one value allowed: kernels of two sizes have no common weights"),
        (
            ("residual", ("bottleneck", "none")),
            "residual: bottleneck, none given, one value allowed: shortcuts elsewhere ask other weights of the same "
            "layers",
        ),
    ],
    ids=["kernel", "residual"],
)
def test_weights_that_cannot_be_shared_are_left_out_with_the_axis(axis, reason):
    space = widths(0.35, 0.5, 1.0)
    found = plan(replace(space, axes=(*space.axes, axis)), 4)
    assert found.refused == ((SHARED_WEIGHTS, reason),)
    assert [part.proxy for part in found.parts] == ["", SHORT_SCHEDULE, SMALL_INPUT]
    proxies, close, left_out = describe_calibration(found)[1:]
    assert close.startswith("note      they are picked close together, 33 % of their pairs within 25 % of MAdds, 2")
    assert [proxies, left_out] == [
        "proxies   short schedule, smaller input, synflow, MAdds alone, executed MAdds",
        f"left out  shared weights: {reason}",
    ]


def test_other_families_are_compared_by_all_but_shared_weights():
    found = plan(load_space(SPACES / "families.yaml"), 6)
    assert len({arch.family for arch in found.picked}) > 1 and len(found.picked) == 6
    assert found.refused[0][1].startswith("family: ") and "mobilenet_v1" in found.refused[0][1]
    assert [part.proxy for part in found.parts] == ["", SHORT_SCHEDULE, SMALL_INPUT]


def test_published_networks_are_all_of_the_space_also_those_not_picked():
    space = Space("few", axes=(("width", (0.35, 0.5, 0.6, 0.75, 1.0)), ("resolution", (96, 128))), recipe=RECIPE)
    found = plan(space, 4)
    assert sorted({arch.width for arch in found.published}) == [0.35, 0.5, 0.75, 1.0] and len(found.published) == 8
    assert len(found.picked) == 4 and {arch_label(arch) for arch in found.picked} - {
        arch_label(arch) for arch in found.published
    } <= {"0.6 at 96", "0.6 at 128"}
    madds = [count_cost(arch).madds for arch in found.picked]
    assert madds == sorted(madds)


@pytest.mark.parametrize(
    "length, longer, images, expected",
    [
        ({"images": 1000}, None, None, {"images": 4000}),
        ({"images": 1000}, 1.5, None, {"images": 1500}),
        ({"images": 1000}, None, 2500, {"images": 2500}),
        ({"epochs": 3}, None, None, {"epochs": 12}),
        ({"epochs": 0.5}, 3.0, None, {"epochs": 1.5}),
        ({"epochs": 2}, None, 500, {"epochs": 5.0}),
    ],
    ids=["images", "half again", "so many images", "epochs", "half an epoch", "epochs as images"],
)
def test_the_longer_recipe(length, longer, images, expected):
    recipe = replace(RECIPE, images=None, **length) if "epochs" in length else RECIPE
    found = lengthen_recipe(recipe, longer, images, 100)
    assert replace(found, name="short") == replace(recipe, **expected)
    assert found.name.startswith("short, ") and found.name.endswith(" times as long")


def test_a_reference_of_another_length_has_a_folder_of_its_own():
    space = widths(0.35, 0.5, 1.0)
    for longer, images, suffix in ((None, 9000, "-9000-images"), (8.0, None, "-8000-images"), (4.0, None, "")):
        reference = lengthen_recipe(RECIPE, longer, images, 100)
        assert plan_calibration(space, 3, (), reference, 10).parts[0].suffix == f"calibrate-reference{suffix}"
    epochs = replace(RECIPE, images=None, epochs=1.5)
    for longer, suffix in ((4, ""), (6, "-9-epochs")):
        found = plan_calibration(
            replace(space, recipe=epochs), 3, (), lengthen_recipe(epochs, float(longer), None, 100), 10
        )
        assert found.parts[0].suffix == f"calibrate-reference{suffix}"


@pytest.mark.parametrize(
    "text, keys",
    [("probe,short,small,shared,synflow", tuple(PROXIES)), ("synflow, short,short,", ("short", "synflow"))],
    ids=["all", "some"],
)
def test_proxies_by_name(text, keys):
    assert parse_proxies(text) == keys


KNOWN = "there are: short, small, shared, synflow, probe; MAdds alone is always compared"
LONGER = (
    "how many times as long the reference trains as the space's own recipe (1,000 images); a number above 1 is wanted"
)
MISTAKES = {
    "unknown": (lambda: parse_proxies("short,fast"), f"--proxies fast: no such proxy; {KNOWN}"),
    "none": (lambda: parse_proxies(" ,"), f"--proxies ' ,': none is named; {KNOWN}"),
    "one network": (
        lambda: check_count(1),
        "--networks 1: a whole number from 3, as two networks make one pair, which says nothing",
    ),
    "no longer": (lambda: lengthen_recipe(RECIPE, 1.0, None, 100), f"--longer 1: {LONGER}"),
    "hardly longer": (lambda: lengthen_recipe(RECIPE, 1.0001, None, 100), f"--longer 1.0001: {LONGER}"),
    "not a number": (lambda: lengthen_recipe(RECIPE, float("nan"), None, 100), f"--longer nan: {LONGER}"),
    "endless": (lambda: lengthen_recipe(RECIPE, float("inf"), None, 100), f"--longer inf: {LONGER}"),
    "both": (lambda: lengthen_recipe(RECIPE, 2.0, 5000, 100), "--longer --images: one of them"),
    "few images": (
        lambda: lengthen_recipe(RECIPE, None, 1000, 100),
        "--images 1000: more than the 1,000 of the space's own recipe are wanted",
    ),
    "too many epochs": (
        lambda: lengthen_recipe(replace(RECIPE, images=None, epochs=412), 1e6, None, 100),
        "recipe 'short, 1e+06 times as long': epochs: 412000000.0 given; allowed: a number above 0, at most 1,000,000",
    ),
}


@pytest.mark.parametrize("make, message", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line(make, message):
    with pytest.raises(SweepError) as raised:
        make()
    assert str(raised.value) == message


def test_a_space_of_two_networks_has_no_order():
    with pytest.raises(SpaceError) as raised:
        plan(widths(0.35, 0.351, 0.5))
    assert str(raised.value) == (
        "space 'wide': 2 different networks, at least 3 wanted: fewer have no order to speak of"
    )
