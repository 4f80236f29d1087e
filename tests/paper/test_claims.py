"""Which claim of the paper a pair of networks tests; figure 6 against the collected table, where it is at hand."""

from dataclasses import replace

import pytest

from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, set_expansion
from mnv2_sweep.paper.claims import (
    CURVES,
    DEPTHWISE,
    EXPANSION,
    LAST_CONVOLUTION,
    LINEAR,
    PLACEMENT,
    RESIDUAL,
    find_claim,
    find_curves,
)
from mnv2_sweep.paper.published import FIGURE_6
from tests.paper.test_published import read_table

SMALL = ArchSpec(width=0.5, resolution=96)


def expanded(t: int, **changes) -> ArchSpec:
    return replace(SMALL, stages=set_expansion(MOBILENET_V2, t), **changes)


@pytest.mark.parametrize(
    "changed, claim",
    [
        (replace(SMALL, linear_bottleneck=False), LINEAR),
        (replace(SMALL, residual="none"), RESIDUAL),
        (replace(SMALL, residual="expansion"), PLACEMENT),
        (replace(SMALL, scale_last_conv=True), LAST_CONVOLUTION),
        (replace(SMALL, depthwise=False), DEPTHWISE),
        (replace(SMALL, activation="hswish"), None),
        (replace(SMALL, residual="none", linear_bottleneck=False), None),
        (replace(SMALL, depthwise=False, width=0.1), None),
        (expanded(8), None),
        (SMALL, None),
    ],
    ids=["linear", "none", "placement", "last", "depthwise", "hswish", "two changes", "width too", "t=8", "nothing"],
)
def test_claims_on_networks_of_one_width(changed, claim):
    assert find_claim(SMALL, changed, same_cost=False) is claim


@pytest.mark.parametrize(
    "t, width, claim", [(5, 0.5, EXPANSION), (10, 0.3, EXPANSION), (4, 0.6, None), (11, 0.3, None)]
)
def test_expansions_are_compared_at_one_cost(t, width, claim):
    assert find_claim(SMALL, expanded(t, width=width), same_cost=True) is claim


def test_there_is_no_claim_on_a_base_that_has_it_already():
    assert find_claim(replace(SMALL, width=1.0), ArchSpec(resolution=96, scale_last_conv=True), False) is None
    assert find_claim(replace(SMALL, linear_bottleneck=False), SMALL, False) is None
    assert find_claim(replace(SMALL, residual="none"), replace(SMALL, residual="expansion"), False) is None


def test_gaps_are_the_published_ones():
    assert [claim.gap for claim in (LINEAR, RESIDUAL, PLACEMENT, DEPTHWISE)] == [0.58, 1.41, 0.41, -1.1]
    assert all(claim.gap is None or claim.gap * claim.better > 0 for claim in (LINEAR, RESIDUAL, PLACEMENT, DEPTHWISE))
    assert (EXPANSION.better, EXPANSION.margin) == (0, 1.0)


NAMES = {"ReLU6 in the bottleneck": "ReLU6 in bottleneck"}


def read_points(panel: str, label: str) -> list[tuple[float, float]]:
    """The collected points of a curve, in order of steps."""
    points = []
    for row in read_table("paper_fig6_ablation.csv"):
        if (row["panel"], row["variant"]) != (panel, NAMES.get(label, label)) or not row["value"]:
            continue
        if row["quantity"] == "top1_at_step":
            points.append((float(row["at_million_steps"]), float(row["value"])))
        elif row["quantity"].startswith("step_first_at_"):
            points.append((float(row["value"]), float(row["quantity"].split("_")[3])))
        elif row["quantity"] == "top1_mean_6.5_to_7.0M":
            points.append((6.75, float(row["value"])))
    return sorted(points)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: f"{curve.panel}-{curve.label}")
def test_curves_equal_the_collected_table(curve):
    assert list(curve.points) == read_points(curve.panel, curve.label)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: f"{curve.panel}-{curve.label}")
def test_curves_go_on_to_their_published_end(curve):
    steps, top1 = zip(*curve.points, strict=True)
    assert list(steps) == sorted(set(steps)) and top1[0] == 66 and max(top1) < 71.2
    assert {end.arch: end.top1_percent for end in FIGURE_6}[curve.arch] == top1[-1]


@pytest.mark.parametrize(
    "changes, labels",
    [
        ({"linear_bottleneck": False}, ("linear bottleneck", "ReLU6 in the bottleneck")),
        ({"residual": "none"}, ("shortcut between bottlenecks", "no residual")),
        ({"residual": "expansion"}, ("shortcut between bottlenecks", "shortcut between expansions")),
        ({"linear_bottleneck": False, "residual": "none"}, None),
        ({"kernel": 5}, None),
    ],
    ids=["linear", "no residual", "expansion", "both", "not in the figure"],
)
def test_a_change_finds_its_panel(changes, labels):
    base = ArchSpec(width=0.5, resolution=96)
    found = find_curves(base, replace(base, **changes))
    assert (found and tuple(curve.label for curve in found)) == labels
    assert found is None or found[0].panel == found[1].panel
