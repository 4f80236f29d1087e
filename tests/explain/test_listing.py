"""Costs as text, CSV and JSON."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.explain.listing import SHOWN, Column, cost_json, costs_csv, costs_json, costs_text, list_networks
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost

ARCHS = [
    ArchSpec(width=0.5, kernel=5),
    ArchSpec(),
    ArchSpec(stages=(Stage(1, 16, 1, 1), Stage(6, 24, 2, 2)), residual="none"),
]


@pytest.fixture
def listing():
    return list_networks(ARCHS)


def read_csv(listing):
    return list(csv.DictReader(io.StringIO("".join(costs_csv(listing)))))


def read_json(listing):
    return json.loads("".join(costs_json(listing)))


def test_listing_keeps_the_order(listing):
    assert listing.archs == ARCHS
    assert [listing.costs.cost(i) for i in range(3)] == [count_cost(arch) for arch in ARCHS]


def test_one_network_as_json_is_one_object_with_every_field():
    answer = json.loads(cost_json(ARCHS[1]))
    assert (answer["network"], answer["madds"], answer["params"]) == ("1.0 at 224", 300774272, 3504872)
    assert answer["stages"][1] == [6, 24, 2, 2]
    fields = {"width": 1.0, "resolution": 224, "kernel": 3, "residual": "bottleneck", "linear_bottleneck": True}
    fields |= {"family": "mobilenet_v2", "depth": 53}
    assert {key: answer[key] for key in fields} == fields
    assert answer["peak_activation_bytes"] == count_cost(ArchSpec()).peak_activation_bytes


@pytest.mark.parametrize("remarks", [{}, {1: "= 1.001 at 224"}], ids=["plain", "remarks"])
def test_csv_and_json_hold_the_same(listing, remarks):
    listing = replace(listing, remarks=remarks)
    rows, objects = read_csv(listing), read_json(listing)
    assert list(rows[0]) == list(objects[0]) and len(rows) == len(objects) == 3
    assert objects[1] == json.loads(cost_json(ARCHS[1])) | ({"remark": "= 1.001 at 224"} if remarks else {})
    for row, one in zip(rows, objects, strict=True):
        stages = [[int(cell) for cell in stage.split("-")] for stage in row["stages"].split()]
        assert stages == one["stages"]
        assert all(str(one[key]) == row[key] for key in one.keys() - {"stages"})


def test_text_aligns_and_ends_with_ranges_and_note(listing):
    lines = costs_text(replace(listing, remarks={2: "a remark"}), "a note").splitlines()
    assert lines[0].split() == ["network", "MAdds", "params", "peak", "activations", "(bytes)", "depth"]
    assert len({len(line) for line in lines[:3]}) == 1 and "300,774,272  3,504,872" in lines[2]
    assert lines[3][len(lines[2]) :] == "  a remark"
    values = sorted(listing.costs.madds)
    assert lines[4] == f"MAdds: {values[0]:,} to {values[2]:,}, median {values[1]:,}"
    assert [line.split(":")[0] for line in lines[4:]] == ["MAdds", "params", "peak activations", "depth", "a note"]


def test_text_of_one_network_has_no_ranges():
    assert len(costs_text(list_networks(ARCHS[:1])).splitlines()) == 2


def test_text_of_many_networks_says_how_many_are_not_shown():
    listing = list_networks([ArchSpec(resolution=resolution) for resolution in range(32, 32 + SHOWN + 2)])
    lines = costs_text(listing).splitlines()
    assert lines[SHOWN + 1] == "... and 2 more (--csv or --json lists all)" and len(lines) == SHOWN + 6
    assert len(read_csv(listing)) == len(read_json(listing)) == SHOWN + 2


def test_further_costs_are_columns_with_their_interval():
    nan = float("nan")
    columns = [
        Column("latency@pi4", "latency@pi4 (ms)", "latency@pi4 (ms)",
               lambda value: "-" if value != value else f"{value:.1f}",
               np.array([2.5, nan, 1.25]), np.array([2.0, nan, 1.0]), np.array([3.0, nan, 1.5])),
        Column("file_bytes", "file (bytes)", "file size", lambda value: f"{value:,.0f}", np.array([4e6, 5e6, 6e6])),
    ]  # fmt: skip
    listing = list_networks(ARCHS, columns)
    lines = costs_text(listing).splitlines()
    assert lines[0].split()[-6:] == ["latency@pi4", "(ms)", "95", "%", "file", "(bytes)"]
    assert lines[1].split()[-5:] == ["2.5", "2.0", "to", "3.0", "4,000,000"]
    assert lines[2].split()[-3:] == ["-", "outside", "5,000,000"]
    assert "latency@pi4 (ms): 1.2 to 2.5, median 2.5; 1 of 3 lie outside of what was measured" in lines
    assert "file size: 4,000,000 to 6,000,000, median 5,000,000" in lines
    rows, objects = read_csv(listing), read_json(listing)
    names = ["latency@pi4", "latency@pi4_low", "latency@pi4_high", "file_bytes"]
    assert [[row[name] for name in names] for row in rows] == [
        ["2.5", "2", "3", "4000000"], ["", "", "", "5000000"], ["1.25", "1", "1.5", "6000000"]
    ]  # fmt: skip
    assert [objects[1][name] for name in names] == [None, None, None, 5000000]
    assert json.loads(cost_json(ARCHS[0], columns)) == objects[0]
