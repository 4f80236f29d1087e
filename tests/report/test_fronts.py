"""Fronts by MAdds and by devices, the front by another cost, and points in 8 bits: what is drawn, said and refused."""

import json

import numpy as np
import pytest

from mnv2_sweep.base.errors import ProfileError, StoreError, SweepError
from mnv2_sweep.devices.folder import add_profile, devices_folder
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.exports import record_export
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.report import figures
from mnv2_sweep.report import fronts as of_fronts
from mnv2_sweep.report.figures import draw_pareto
from mnv2_sweep.report.fronts import draw_fronts
from tests.device_samples import made_seconds, make_content, seal, write_profile

TOP1S = {(0.35, 96): 0.5, (0.5, 96): 0.55, (0.35, 128): 0.6, (0.5, 128): 0.65, (0.75, 128): 0.7}
ARCHS = [ArchSpec(width=width, resolution=size) for width, size in TOP1S]


@pytest.fixture(autouse=True)
def _small_images(monkeypatch):
    monkeypatch.setattr("mnv2_sweep.plots.style.PNG_DPI", 20)


@pytest.fixture
def folder(tmp_path, make_trial, make_result, monkeypatch):
    """A sweep's folder; profiles pi4, and pi4-int8 of the same device."""
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    add_profile(write_profile(tmp_path / "a.json", spread=0.01), devices_folder(), "pi4")
    add_profile(write_profile(tmp_path / "b.json", spread=0.01, int8=True), devices_folder(), "pi4-int8")
    for arch, top1 in zip(ARCHS, TOP1S.values(), strict=True):
        record(tmp_path / "mine", Outcome(make_trial(arch=arch), make_result(val_top1=top1)))
    return tmp_path / "mine"


def drawn_by(monkeypatch, module, name):
    """What the function of that name is called with, which still draws."""
    calls, draw = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *words, **more: calls.append((words, more)) or draw(*words, **more))
    return calls


def test_the_front_by_a_latency_has_its_own_axis_and_caption(folder, tmp_path, monkeypatch):
    calls = drawn_by(monkeypatch, figures, "plot_pareto")
    drawn = draw_pareto(folder, tmp_path / "plots", cost="latency@pi4")
    assert [path.name for path in drawn][::2] == ["pareto-latency-pi4.png"] * 2
    (((summary, *_), more),) = calls
    axis = more["axis"]
    assert (axis.column, axis.scale, axis.title) == ("latency@pi4", 1.0, "latency@pi4 (ms, log scale)")
    assert axis.caption[0].startswith("latency@pi4: one image on pi4, ") and len(axis.caption) == 2
    sizes = zip(summary["width"], summary["resolution"], strict=True)
    own = 1e3 * made_seconds([ArchSpec(width=width, resolution=size) for width, size in sizes])
    assert summary["latency@pi4"].to_numpy() == pytest.approx(own, rel=0.05)
    assert axis.count([ArchSpec(kernel=5), ARCHS[0]])[1] == pytest.approx(summary["latency@pi4"][0])


def test_networks_without_the_cost_are_left_out_and_none_at_all_is_refused(
    folder, tmp_path, make_trial, make_result, monkeypatch
):
    record(folder, Outcome(make_trial(arch=ArchSpec(kernel=5)), make_result(val_top1=0.9)))
    calls = drawn_by(monkeypatch, figures, "plot_pareto")
    draw_pareto(folder, tmp_path / "plots", cost="latency@pi4")
    (summary, *_), more = calls[0]
    assert summary["latency@pi4"].isna().sum() == 1 and not summary.loc[summary["latency@pi4"].isna(), "on_front"].any()
    assert more["axis"].caption[-1].startswith("latency@pi4: 1 of 6 networks lie outside of what was measured on pi4")
    record(tmp_path / "five", Outcome(make_trial(arch=ArchSpec(kernel=5)), make_result()))
    with pytest.raises(ProfileError, match="latency@pi4: all networks of the sweep lie outside of what was measured"):
        draw_pareto(tmp_path / "five", tmp_path / "plots", cost="latency@pi4")
    with pytest.raises(StoreError, match="no trial has a result yet"):
        draw_pareto(tmp_path / "none", tmp_path / "plots", cost="latency@pi4")


def test_points_in_8_bits_are_moved_as_their_exports_were(folder, tmp_path, make_trial, monkeypatch):
    files = {"model.onnx": {"bytes": 1, "top1": 0.58}, "model-int8.onnx": {"bytes": 1, "top1": 0.56}}
    record_export(folder, make_trial(arch=ARCHS[2]), "0.35 at 128", tmp_path / "x", files)
    lone = {"model-int8.onnx": {"bytes": 1, "top1": 0.6}, "model-int8.tflite": {"bytes": 1, "unchecked": "no runtime"}}
    record_export(folder, make_trial(arch=ARCHS[3]), "0.5 at 128", tmp_path / "y", lone)
    calls = drawn_by(monkeypatch, figures, "plot_pareto")
    draw_pareto(folder, tmp_path / "plots", cost="latency@pi4", int8=True)
    (summary, *_), more = calls[0]
    eight = more["eight"]
    scores = dict(zip(summary["network"], eight.score, strict=True))
    assert scores["0.35 at 128"] == pytest.approx(0.6 - 0.02)  # its mean, and what changed on the same images
    assert scores["0.5 at 128"] == pytest.approx(0.6)  # no file in floats was run
    assert np.isnan([scores["0.35 at 96"], scores["0.75 at 128"]]).all() and not np.isnan(eight.cost).any()
    assert (
        "In 8 bits (2 of 5 networks)" in eight.caption and "each at its latency@pi4-int8. Not exported" in eight.caption
    )
    assert "0.35 at 96, 0.5 at 96, 0.75 at 128." in eight.caption


def test_what_is_missing_for_8_bits_is_said(folder, tmp_path, make_trial, monkeypatch):
    with pytest.raises(SweepError, match="--int8: .*mine: no export ran a network of it in 8 bits on the validation"):
        draw_pareto(folder, tmp_path / "plots", int8=True)
    record_export(
        folder, make_trial(arch=ARCHS[2]), "x", tmp_path / "x", {"model-int8.tflite": {"bytes": 1, "top1": 0.5}}
    )
    with pytest.raises(SweepError, match="no export ran an 8-bit onnx file of one of its networks"):
        draw_pareto(folder, tmp_path / "plots", cost="latency@pi4", int8=True)
    with pytest.raises(SweepError, match="--int8 --cost latency@pi4-int8: a profile of 8 bits; give that of floats"):
        draw_pareto(folder, tmp_path / "plots", cost="latency@pi4-int8", int8=True)
    assert not (tmp_path / "plots").exists()
    calls = drawn_by(monkeypatch, figures, "plot_pareto")
    draw_pareto(folder, tmp_path / "plots", int8=True)
    assert "at the same cost, which is that of 8 bits, too." in calls[0][1]["eight"].caption
    (devices_folder() / "pi4-int8.json").unlink()
    record_export(
        folder, make_trial(arch=ARCHS[2]), "x", tmp_path / "z", {"model-int8.onnx": {"bytes": 1, "top1": 0.5}}
    )
    draw_pareto(folder, tmp_path / "plots", cost="latency@pi4", int8=True)
    assert "latency in 8 bits is not known (pi4 has no profile with --int8 beside it)" in calls[1][1]["eight"].caption


def test_fronts_of_all_profiles_are_drawn_side_by_side(folder, tmp_path, monkeypatch):
    content = make_content(spread=0.01, device="odd")
    for one in content["networks"]:
        if one["arch"].get("width") == 0.35:  # slow where narrow, by far more than the model's error
            one["wall_us"] = [wall + 6000 for wall in one["wall_us"]]
    (tmp_path / "odd.json").write_text(json.dumps(seal(content)))
    add_profile(tmp_path / "odd.json", devices_folder())
    calls = drawn_by(monkeypatch, of_fronts, "plot_fronts")
    lines, paths = draw_fronts(folder, tmp_path / "plots", [])
    assert [path.name for path in paths] == ["fronts.png", "fronts.svg"] * 2
    (kinds, titles, axes, *_), _ = calls[0]
    assert titles == ["by MAdds", "by latency on odd", "by latency on pi4-int8", "by latency on pi4"]
    assert axes[0] == "MAdds (millions, log scale)" and axes[1] == "latency@odd (ms, log scale)"
    assert [len(one.fronts) for one in kinds] == [4]
    assert any(line.startswith("front by latency@pi4 against that by MAdds: ") for line in lines)
    lines, _ = draw_fronts(folder, tmp_path / "plots", ["latency@pi4", "file_bytes", "madds"])
    assert len(calls[1][0][1]) == 3 and sum(line.startswith("front by ") for line in lines) == 2


def test_fronts_without_a_profile_or_a_result_are_refused(folder, tmp_path):
    with pytest.raises(ProfileError, match="no profile named 'pi5'"):
        draw_fronts(folder, tmp_path / "plots", ["latency@pi5"])
    with pytest.raises(StoreError, match="no trial has a result yet"):
        draw_fronts(tmp_path / "none", tmp_path / "plots", ["latency@pi4"])
    for path in devices_folder().iterdir():
        path.unlink()
    with pytest.raises(ProfileError, match="plot --fronts: no profile of a device was added; 'mnv2-sweep device run'"):
        draw_fronts(folder, tmp_path / "plots", [])
    assert not (tmp_path / "plots").exists()
