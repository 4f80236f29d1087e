"""Costs by name: what they are, their values one by one and for whole spaces, and what a device can't say."""

import json

import numpy as np
import pytest

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.costs import ALWAYS, COUNTED, count_rows, estimate, find_cost, find_model, join_values
from mnv2_sweep.devices.folder import add_profile, devices_folder, remove_profile
from mnv2_sweep.formats.measure import Wish, make_script
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import WEIGHTED
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Space
from tests.device_samples import GRID, load_script, made_seconds, make_content, seal, write_profile
from tests.spaces.test_gather import draw_space

NAMES = (*COUNTED, "latency@pi4", "memory@pi4")


@pytest.fixture(autouse=True)
def _pi4(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    add_profile(write_profile(tmp_path / "measured.json", spread=0.01), devices_folder())


def test_counted_costs_are_those_of_the_network():
    archs = [ArchSpec(), ArchSpec(width=0.35, resolution=96, residual="expansion"), ArchSpec(family="shufflenet_v1")]
    rows = count_rows(archs)
    for at, arch in enumerate(archs):
        cost, layers = count_cost(arch), [layer for layer in resolve(arch).layers if layer.op in WEIGHTED]
        numbers = sum(layer.weights for layer in layers), sum(layer.c_out for layer in layers)
        values = {name: estimate(name, rows).values[at] for name in COUNTED}
        assert {name: values[name] for name in ALWAYS} == {name: getattr(cost, name) for name in ALWAYS}
        assert values["peak_activation_int8_bytes"] == cost.peak_activation_bytes / 4
        assert values["file_bytes"] == 4 * sum(numbers)
        assert values["file_int8_bytes"] == numbers[0] + 16 * numbers[1]


@pytest.mark.parametrize(
    "runtime, int8, most", [("onnx", False, 0.003), ("litert", False, 0.005), ("onnx", True, 0.03)]
)
def test_sizes_of_files_are_those_of_written_ones(tmp_path, runtime, int8, most):
    """Of networks of a usual size; small ones have less of what formats add for each operation."""
    archs = [ArchSpec(width=0.35, resolution=96), ArchSpec(width=1.4), ArchSpec(family="mobilenet_v1", width=0.5)]
    module = load_script(make_script("x", archs, Wish(runtime, int8)), tmp_path / "m.py")
    try:
        module.open_runtime()
    except ImportError:
        pytest.skip("needs the extra 'export': pip install 'mnv2-sweep[export]'")
    said = estimate("file_int8_bytes" if int8 else "file_bytes", count_rows(archs)).values
    for line, size in zip(module.list_networks()[1::2], said, strict=True):
        path = tmp_path / f"{size}{module.SUFFIX}"
        module.make(module.read_network(line), str(path))
        assert path.stat().st_size == pytest.approx(size, rel=most)


def test_latency_has_an_interval_that_holds_the_truth():
    archs = [ArchSpec(width=0.5, resolution=192), ArchSpec(width=0.75, resolution=192)]
    values = estimate("latency@pi4", count_rows(archs))
    assert values.values == pytest.approx(1e3 * made_seconds(archs), rel=0.04)
    assert (values.low < values.values).all() and (values.values < values.high).all()


def test_what_lies_outside_is_not_known_and_never_a_number():
    values = estimate("latency@pi4", count_rows([ArchSpec(kernel=5), ArchSpec(width=0.5, resolution=128)]))
    for column in values:
        assert np.isnan(column).tolist() == [True, False]


def test_memory_is_learnt_from_what_was_measured(tmp_path):
    content = make_content(device="phone")
    base, rows = 50e6, count_rows(GRID)
    for one, params, peak in zip(content["networks"], rows.costs.params, rows.costs.peak_activation_bytes, strict=True):
        one["peak_bytes"] = round(base + 8 * params + peak)
    (tmp_path / "phone.json").write_text(json.dumps(seal(content)))
    add_profile(tmp_path / "phone.json", devices_folder())
    arch = ArchSpec(width=0.5, resolution=192)
    values = estimate("memory@phone", count_rows([arch]))
    cost = count_cost(arch)
    assert values.values[0] == pytest.approx(base + 8 * cost.params + cost.peak_activation_bytes, rel=0.01)


def test_memory_that_was_measured_for_few_is_refused(tmp_path):
    content = make_content(device="mac")
    for one in content["networks"][5:]:
        one["peak_bytes"] = None
    (tmp_path / "mac.json").write_text(json.dumps(seal(content)))
    add_profile(tmp_path / "mac.json", devices_folder())
    with pytest.raises(ProfileError, match="memory@mac: it was measured for 5 networks, at least 12 are needed; run"):
        find_model("memory@mac")


@pytest.mark.parametrize("seed", range(4))
def test_those_of_a_space_are_those_of_each_network(seed):
    networks = select_networks(draw_space(seed))
    places = [0, len(networks) // 2, len(networks) - 1]
    whole, alone = networks.estimates(NAMES), count_rows([networks[at] for at in places])
    for name in NAMES:
        for column, own in zip(whole[name], estimate(name, alone), strict=True):
            assert (column is None) == (own is None)
            if own is not None:
                assert len(column) == len(networks)
                np.testing.assert_allclose(column[places], own, rtol=1e-9)


def test_chunks_change_nothing(monkeypatch):
    axes = (("width", (0.35, 0.5, 0.75)), ("resolution", (96, 128, 160)))
    networks = select_networks(Space("s", axes=axes, points=((("width", 1.0), ("resolution", 224)),)))
    whole = networks.estimates(["latency@pi4", "file_bytes"])
    monkeypatch.setattr("mnv2_sweep.spaces.networks.CHUNK", 2)
    parts = networks.estimates(["latency@pi4", "file_bytes"])
    for name in whole:
        assert all(a is b is None or np.allclose(a, b, 1e-12) for a, b in zip(whole[name], parts[name], strict=True))
    assert join_values([whole["file_bytes"]] * 2).low is None


def test_another_profile_under_the_same_name_is_another_model(tmp_path):
    before = estimate("latency@pi4", count_rows(GRID[:1])).values[0]
    remove_profile("pi4", devices_folder())
    content = make_content(spread=0.01)
    for one in content["networks"]:
        one |= {clock: [2 * time for time in one[clock]] for clock in ("wall_us", "cpu_us")}
    (tmp_path / "slow.json").write_text(json.dumps(seal(content)))
    add_profile(tmp_path / "slow.json", devices_folder(), "pi4")
    assert estimate("latency@pi4", count_rows(GRID[:1])).values[0] == pytest.approx(2 * before, rel=1e-6)


def test_names_that_are_no_cost_are_refused_with_what_there_is():
    with pytest.raises(ProfileError) as caught:
        find_cost("latency@pi5")
    assert str(caught.value).startswith("no profile named 'pi5' (profiles: pi4; not one's own: published-pixel1, ")
    for name in ("latency", "speed@pi4", "latency@", "latency@../pi4", ""):
        with pytest.raises(ProfileError, match="unknown cost|no profile named"):
            find_cost(name)


def test_values_are_written_in_their_units():
    latency, size = find_cost("latency@pi4"), find_cost("file_bytes")
    assert (latency.heading, latency.text(4.5), latency.text(1234.5)) == ("latency@pi4 (ms)", "4.5", "1,234")
    assert (size.text(6_680_352), latency.text(np.nan)) == ("6,680,352", "-")
