"""What training executes beside what networks cost: by hand, by the issue's figures, and where a scale keeps step."""

from dataclasses import replace

import pytest

from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.trials.executed import (
    executed_fraction,
    executed_network,
    executed_text,
    find_scale_in_step,
    is_in_step,
    spread_warning,
)
from mnv2_sweep.trials.recipe import RECIPES

PAPER = [checkpoint.arch for checkpoint in CHECKPOINTS]


def at_scale(scale: float):
    return replace(RECIPES["short"], input_scale=scale)


def test_fraction_by_hand():
    # The stem has 32 channels on 8x8 positions, then a block without expansion and the last 1x1; halved, on 4x4.
    arch = ArchSpec(stages=(Stage(1, 8, 1, 1),), resolution=16, width=1.0, last_channels=16, classes=1000)
    stem, block, last = 32 * 27, 32 * 9 + 32 * 8, 8 * 16
    assert executed_fraction(arch, at_scale(0.5)) == pytest.approx(
        (16 * (stem + block + last) + 16) / (64 * (stem + block + last) + 16)
    )


@pytest.mark.parametrize(
    ("scale", "shares"),
    [
        (0.34, [0.344, 0.384, 0.530, 0.929, 1.000]),
        (1.0, [0.184, 0.327, 0.510, 0.735, 1.000]),
    ],
)
def test_the_five_sides_cost_these_shares_of_224(scale, shares):
    costs = [count_cost(executed_network(ArchSpec(resolution=side, classes=1), at_scale(scale))).madds for side in
             (96, 128, 160, 192, 224)]  # fmt: skip
    assert [cost / costs[-1] for cost in costs] == pytest.approx(shares, abs=0.006)


@pytest.mark.parametrize(("scale", "fine"), [(1.0, True), (0.5, True), (0.482, True), (0.43, False), (0.25, False)])
def test_which_scales_keep_the_paper_s_networks_in_step(scale, fine):
    fractions = [executed_fraction(arch, at_scale(scale)) for arch in PAPER]
    assert is_in_step(fractions) == fine
    warning = spread_warning(fractions, lambda: find_scale_in_step(PAPER, at_scale(scale)))
    assert (warning == "") == fine
    if not fine:
        advised = float(warning.rpartition("input_scale ")[2].split()[0])
        assert is_in_step(executed_fraction(arch, at_scale(advised)) for arch in PAPER)
        assert executed_text(fractions) in warning


def test_no_network_and_one_network_are_in_step():
    assert is_in_step([]) and is_in_step([0.1]) and spread_warning([0.1]) == ""
    assert executed_text([0.1]) == "10 % of nominal MAdds, the classifier apart"
