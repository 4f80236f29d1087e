"""The written-out curves against the collected table, where it is at hand."""

from dataclasses import replace

import pytest

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.paper.claims import CURVES, find_curves
from mnv2_sweep.paper.published import FIGURE_6
from tests.paper.test_published import read_table

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
