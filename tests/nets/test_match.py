"""The width at which two networks cost the same: against counting every width one by one, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import MOBILENET_V2, V2, ArchSpec, Stage, arch_label, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.match import TOLERANCE, WIDTHS, is_matched, match_width, nearest_widths

BASE = ArchSpec(width=1.0, resolution=96)


def expanded(t: int, base: ArchSpec = BASE) -> ArchSpec:
    return replace(base, stages=set_expansion(MOBILENET_V2, t))


@pytest.mark.parametrize(
    "arch, cost, width, counted",
    [
        (expanded(1), "madds", 2.363, 56_319_912),
        (expanded(4), "madds", 1.112, 56_578_016),
        (expanded(8), "madds", 0.83, 56_650_304),
        (expanded(10), "params", 0.79, 3_499_432),
        (replace(BASE, depthwise=False), "params", 0.22, 3_479_904),
    ],
    ids=["t=1", "t=4", "t=8", "t=10 by params", "ordinary convolutions by params"],
)
def test_widths_of_the_paper_s_small_network(arch, cost, width, counted):
    matched = match_width(arch, BASE, cost)
    assert matched == replace(arch, width=width) and getattr(count_cost(matched), cost) == counted
    assert abs(counted / getattr(count_cost(BASE), cost) - 1) <= TOLERANCE


@pytest.mark.parametrize("t, cost", [(3, "madds"), (2, "params")])
def test_no_width_of_the_grid_is_nearer(t, cost):
    target = getattr(count_cost(BASE), cost)
    matched = match_width(expanded(t), BASE, cost)
    distance = abs(getattr(count_cost(matched), cost) - target)
    for width in WIDTHS[1000:2000:7].tolist():
        assert abs(getattr(count_cost(replace(matched, width=width)), cost) - target) >= distance


@pytest.mark.parametrize(
    "arch",
    [
        ArchSpec(divisor=1, se_ratio=0.25),
        ArchSpec(divisor=5, residual="expansion", last_channels=0),
        ArchSpec(stages=(Stage(3, 17, 2, 2), Stage(1, 40, 1, 1), Stage(2, 8, 2, 2)), scale_last_conv=True),
        ArchSpec(depthwise=False, resolution=33),
        ArchSpec(family="mobilenet_v1"),
        *(ArchSpec(family="shufflenet_v1", groups=groups) for groups in (1, 8)),
        ArchSpec(family="nasnet_a"),
    ],
    ids=lambda arch: arch_label(arch).replace(" at 224", ""),
)
def test_costs_never_fall_where_the_width_grows(arch):
    """Which is why the nearest width is found by halving."""
    costs = [count_cost(replace(arch, width=width)) for width in WIDTHS[:: 41 if arch.family in V2 else 260].tolist()]
    for name in ("madds", "params"):
        counted = [getattr(cost, name) for cost in costs]
        assert counted == sorted(counted) and counted[0] < counted[-1]


@pytest.mark.parametrize("arch", [expanded(3), replace(BASE, depthwise=False), replace(BASE, last_channels=0)])
def test_it_is_the_width_that_counting_all_finds(arch):
    counted = np.array([count_cost(replace(arch, width=width)).madds for width in WIDTHS[::40].tolist()])
    for target in (1, *counted[::9].tolist(), 10**12):
        distances = np.abs(counted - target)
        found = nearest_widths(arch, target, "madds", WIDTHS[::40].tolist())
        assert found == WIDTHS[::40][distances == distances.min()].tolist()


def test_a_network_of_the_same_cost_keeps_its_width():
    for changed in (replace(BASE, residual="none"), replace(BASE, linear_bottleneck=False)):
        assert is_matched(changed, BASE, "madds") and match_width(changed, BASE, "madds") == changed
    assert not is_matched(expanded(5), BASE, "madds")


def test_of_widths_that_are_one_network_the_roundest_is_taken():
    """0.395 to 0.414 or so are one network."""
    base = replace(BASE, width=0.40123)
    assert match_width(replace(base, width=1.0, residual="none"), base, "madds").width == 0.4


@pytest.mark.parametrize(
    "arch, base, cost, message",
    [
        (
            expanded(10), BASE, "madds",
            "--match madds: 1.0 at 96, t=10: no width comes within 2 % of 56,289,152 MAdds; the nearest, 0.74, has "
            "54,067,232 (-3.95 %)",
        ),
        (
            replace(BASE, width=0.35, depthwise=False), replace(BASE, width=0.35), "madds",
            "--match madds: 0.35 at 96, ordinary convolutions: no width comes within 2 % of 11,934,128 MAdds; the "
            "nearest, 0.02, has 44,481,152 (+272.72 %)",
        ),
        (
            expanded(8), BASE, "params",
            "--match params: 1.0 at 96, t=8: no width comes within 2 % of 3,504,872 params; the nearest, 0.87, has "
            "3,433,064 (-2.05 %)",
        ),
    ],
    ids=["a jump", "too dear at any width", "just beyond"],
)  # fmt: skip
def test_a_match_that_cannot_be_met_names_the_nearest(arch, base, cost, message):
    with pytest.raises(SweepError) as caught:
        match_width(arch, base, cost)
    assert str(caught.value) == message
