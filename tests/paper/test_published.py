"""The written-out figures against the collected tables, where those are at hand, and against our own counts."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.paper.published import (
    CHECKPOINTS,
    FIGURE_6,
    MOBILENET_V1_CHECKPOINTS,
    published_checkpoints,
    published_gap,
)

SHARED = Path(__file__).parents[2] / "shared" / "reference"


def read_table(name: str) -> list[dict]:
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not here: the collected tables are not part of the package")
    with open(SHARED / name, newline="") as file:
        return list(csv.DictReader(file))


def test_checkpoints_equal_the_collected_table():
    ours = {
        (c.arch.width, c.arch.resolution, c.madds_m, c.params_m, c.top1_percent, c.top5_percent) for c in CHECKPOINTS
    }
    names = ("width", "resolution", "macs_m", "params_m", "top1", "top5")
    assert ours == {tuple(float(row[name]) for name in names) for row in read_table("mobilenetv2_imagenet_tfslim.csv")}


def test_figure_6_equals_the_collected_table():
    rows = read_table("paper_fig6_ablation.csv")
    ends = {row["variant"]: float(row["value"]) for row in rows if row["quantity"] == "top1_mean_6.5_to_7.0M"}
    variants = ("linear bottleneck", "ReLU6 in bottleneck", "shortcut between expansions", "no residual")
    assert [end.top1_percent for end in FIGURE_6] == [ends[variant] for variant in variants]
    gaps = {row["variant"]: float(row["value"]) for row in rows if row["quantity"].startswith("gap_")}
    expansion, none = ArchSpec(residual="expansion"), ArchSpec(residual="none")
    assert published_gap(ArchSpec(), ArchSpec(linear_bottleneck=False)) == gaps["linear minus ReLU6"] == 0.58
    assert published_gap(ArchSpec(), expansion) == gaps["between bottlenecks minus between expansions"]
    assert published_gap(ArchSpec(), none) == gaps["between bottlenecks minus no residual"]
    assert published_gap(expansion, none) == gaps["between expansions minus no residual"]


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda c: f"{c.arch.width}-{c.arch.resolution}")
def test_printed_madds_are_ours_cut_to_millions(checkpoint):
    assert abs(count_cost(checkpoint.arch).madds / 1e6 - checkpoint.madds_m) < 1.01


def test_published_checkpoints_are_found_by_label():
    table = published_checkpoints()
    assert (len(CHECKPOINTS), len(MOBILENET_V1_CHECKPOINTS), len(table)) == (22, 16, 38)
    assert table["1.0 at 224"].top1_percent == 71.8 and table["0.35 at 96"].top1_percent == 45.5
    assert table["MobileNetV1 0.5 at 160"].top1_percent == 59.1


@pytest.mark.parametrize(
    "arch, changed, gap",
    [
        (ArchSpec(width=0.5, resolution=96), ArchSpec(width=0.5, resolution=96, linear_bottleneck=False), 0.58),
        (ArchSpec(linear_bottleneck=False), ArchSpec(), -0.58),
        (ArchSpec(), ArchSpec(width=0.5, linear_bottleneck=False), None),
        (ArchSpec(), ArchSpec(linear_bottleneck=False, residual="none"), None),
        (ArchSpec(), ArchSpec(kernel=5), None),
    ],
    ids=["any size", "turned round", "also other width", "both changes", "not in figure 6"],
)
def test_published_gap(arch, changed, gap):
    assert published_gap(arch, changed) == gap


def test_records_are_the_paper_s_networks():
    for checkpoint in CHECKPOINTS:
        assert replace(checkpoint.arch, width=1.0, resolution=224) == ArchSpec()
