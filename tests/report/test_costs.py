"""Further costs as columns of listings and tables, and what is said of the predicted ones."""

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.costs import find_cost
from mnv2_sweep.devices.folder import add_profile, devices_folder
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.report.axes import axis_unit
from mnv2_sweep.report.costs import (
    FurtherCosts,
    arch_columns,
    columns_text,
    outside_text,
    space_columns,
    wished_costs,
)
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Constraint, Space
from tests.device_samples import made_seconds, write_profile

ARCHS = [ArchSpec(width=0.5, resolution=96), ArchSpec(kernel=5), ArchSpec(width=0.75, resolution=160)]
AXES = (("width", (0.35, 0.5, 0.75, 1.0)), ("resolution", (96, 128, 160, 224)))


@pytest.fixture(autouse=True)
def _pi4(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    add_profile(write_profile(tmp_path / "measured.json", spread=0.02), devices_folder())


def test_costs_that_a_space_bounds_are_listed_with_those_asked_for():
    bounds = (Constraint("madds", "<=", 10**9, "<= 1G"), Constraint("latency@pi4", "<=", 50, "<= 50 ms"))
    networks = select_networks(Space("s", axes=AXES, constraints=bounds))
    assert wished_costs(["file_bytes", "depth", "latency@pi4"], networks) == ["latency@pi4", "file_bytes"]
    with pytest.raises(ProfileError, match="unknown cost 'latency'; allowed: madds, "):
        wished_costs(["latency"], networks)
    places = np.array([3, 1])
    whole, some = space_columns(networks, ["latency@pi4"])[0], space_columns(networks, ["latency@pi4"], places)[0]
    assert some.values.tolist() == whole.values[places].tolist() and some.low.tolist() == whole.low[places].tolist()


def test_a_table_gets_a_column_for_each_cost_and_its_interval():
    frame = pd.DataFrame({"arch_key": [arch_key(ARCHS[at]) for at in (2, 0, 1, 2)]}, index=[5, 6, 7, 8])
    costs = FurtherCosts(["latency@pi4", "file_bytes"], {arch_key(arch): arch for arch in ARCHS})
    added = costs.add(frame)
    assert [*added] == ["arch_key", "latency@pi4", "latency@pi4_low", "latency@pi4_high", "file_bytes"]
    assert [*added.index] == [5, 6, 7, 8] and added["latency@pi4"].isna().tolist() == [False, False, True, False]
    assert (
        added["latency@pi4"][5] == added["latency@pi4"][8] == pytest.approx(1e3 * made_seconds(ARCHS[2:])[0], rel=0.05)
    )
    assert (added["latency@pi4_low"] < added["latency@pi4"]).tolist() == [True, True, False, True]
    assert FurtherCosts([], {}).add(frame).equals(frame)


def test_where_a_cost_comes_from_and_how_far_it_orders_as_madds_do():
    networks = select_networks(Space("s", axes=AXES))
    lines = columns_text(space_columns(networks, ["file_bytes", "latency@pi4"]), networks.costs.madds)
    assert lines[0].startswith(
        "latency@pi4: one image on pi4, onnxruntime 1.20.1 fp32, 1 thread; learnt from 16 networks"
    )
    assert (
        lines[1].startswith("Kendall tau between MAdds and latency@pi4: 0.9")
        and "of 120 pairs change places" in lines[1]
    )
    assert len(lines) == 2


def test_what_is_outside_is_counted_and_explained():
    columns = arch_columns(ARCHS, ["latency@pi4"])
    madds = np.array([1, 2, 3])
    assert columns_text(columns, madds)[-1] == (
        "latency@pi4: 1 of 3 networks lie outside of what was measured on pi4, and are not predicted"
    )
    (line,) = outside_text(ARCHS[1], arch_columns(ARCHS[1:2], ["latency@pi4"]))
    assert line.startswith("1.0 at 224, k=5 lies outside of what was measured on pi4 (depthwise 5x5: ")
    assert outside_text(ARCHS[0], arch_columns(ARCHS[:1], ["latency@pi4", "file_bytes"])) == []


def test_published_times_are_said_to_be_no_own_ones():
    line = columns_text(arch_columns(ARCHS[:1], ["latency@published-pixel1"]), np.array([1]))[0]
    assert line.startswith(
        "latency@published-pixel1: published, not measured by you: Pixel 1, TF Lite fp32, 1 thread ("
    )


@pytest.mark.parametrize(
    "name, scale, title",
    [
        ("latency@pi4", 1.0, "latency@pi4 (ms, log scale)"),
        ("params", 1e6, "params (millions, log scale)"),
        ("depth", 1.0, "depth (log scale)"),
        ("file_int8_bytes", 1e6, "file int8 (MB, log scale)"),
        ("memory@pi4", 1e6, "memory@pi4 (MB, log scale)"),
    ],
)
def test_an_axis_says_its_unit(name, scale, title):
    assert axis_unit(find_cost(name)) == (scale, title)
