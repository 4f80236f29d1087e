"""Networks of rectangles from the trial to tables and figures, beside squares."""

import json
from dataclasses import replace

import pytest

from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.check_fvcore import check_fvcore
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.report.figures import draw_pareto
from mnv2_sweep.report.tables import frame_csv, frame_json, results_text
from mnv2_sweep.sweeps.estimate import estimate_sweep
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.training.shared import Supernet, run_shared_trial
from mnv2_sweep.training.stacked import train_stacked
from mnv2_sweep.trials.trial import DataRef, Sharing, dump_trial, load_trial
from tests.data.test_rectangles import landscape_files
from tests.photo_samples import write_folder

WIDE = Size(16, 24)


@pytest.fixture
def views(tmp_path):
    """Landscape photos whose classes differ at their ends, which no square shows."""
    return open_photos(write_folder(tmp_path / "views", landscape_files(12)), tmp_path / "cache")


@pytest.fixture
def make_view(make_trial, tiny_arch, views):
    """make_view(resolution) -> a trial of the tiny network on the landscape photos."""

    def make(resolution, **recipe):
        arch = replace(tiny_arch, resolution=resolution, classes=2, dropout=0.2)
        data = DataRef(views.name, views.fingerprint, 2)
        return make_trial(0, arch, data, **{"batch": 12, "images": 600, **recipe})

    return make


@pytest.mark.slow
def test_rectangles_learn_what_squares_cannot_see(make_view, views):
    assert run_trial(make_view(WIDE), views).score("val", "top1") > 0.8
    assert run_trial(make_view(16), views).score("val", "top1") < 0.7  # a guess is right in a half


def test_a_rectangle_s_trial_is_read_as_it_was_written(make_view):
    trial = make_view(WIDE, input_scale=0.5)
    assert trial.train_size == Size(8, 12) and load_trial(dump_trial(trial)) == trial
    assert json.loads(dump_trial(trial))["arch"]["resolution"] == "24x16"


def test_tables_and_figures_have_rectangles_beside_squares(tmp_path, make_view, make_result):
    folder = tmp_path / "sweep"
    folder.mkdir()
    trials = [make_view(WIDE), make_view(16)]
    for trial in trials:
        record(folder, Outcome(trial, make_result()))
    frame = load_frame(folder)
    assert frame["resolution"].tolist() == frame["train_size"].tolist() == ["24x16", 16]
    assert [row["train_size"] for row in json.loads(frame_json(frame))] == ["24x16", 16]
    assert ",24x16,24x16," in frame_csv(frame) and "24x16 px" in results_text(frame)
    assert summarise(frame)["madds"].tolist() == sorted(count_cost(trial.arch).madds for trial in trials)
    assert all(path.exists() for path in draw_pareto(folder, tmp_path / "plots"))


def test_fvcore_counts_the_same_on_rectangles(make_view):
    assert check_fvcore(make_view(WIDE).arch) == []


@pytest.mark.slow
def test_stacked_seeds_see_rectangles(make_view, views):
    trials = [replace(make_view(WIDE), seed=seed) for seed in (0, 1)]
    alone = [run_trial(trial, views).score("val", "top1") for trial in trials]
    stacked = train_stacked(trials, views, "cpu", Control())
    assert [result.score("val", "top1") for result in stacked] == pytest.approx(alone, abs=0.15)


@pytest.mark.slow
def test_slices_of_a_shared_training_may_be_rectangles(make_view, views, tmp_path):
    archs = tuple(make_view(size).arch for size in (WIDE, 16, Size(24, 36)))
    trial = replace(make_view(WIDE), shared=Sharing("views", 900))
    result = run_shared_trial(trial, views, "cpu", Control(), Supernet(archs, tmp_path / "weights.pt"))
    assert result.images["val"] == 24 and 0 <= result.score("val", "top1") <= 1


@pytest.mark.slow
def test_the_time_of_rectangles_is_estimated(make_view, views, tmp_path):
    trials = [make_view(WIDE), make_view(16)]
    estimate = estimate_sweep(trials, views, str(tmp_path / "views"), "cpu", 1, alone=True)
    assert set(estimate.size_seconds) == {trial.train_size for trial in trials} and not estimate.unknown
    assert estimate.size_seconds[WIDE] > 0 and all(seconds > 0 for seconds in estimate.trial_seconds.values())


@pytest.mark.parametrize("family", ["mobilenet_v2", "shufflenet_v1"])
def test_networks_of_one_channel_train_on_rectangles(make_view, views, family):
    arch = ArchSpec(family=family, width=0.25, resolution=WIDE, classes=2, in_channels=1)
    trial = replace(make_view(WIDE, images=60), arch=arch)
    assert load_trial(dump_trial(trial)) == trial and next(build_model(arch).parameters()).shape[1] == 1
    assert run_trial(trial, views).images["val"] == 24
    assert check_fvcore(arch) == []
