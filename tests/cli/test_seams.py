"""A task and a way that nobody else knows go through run, Ctrl-C, run again, table and plot, by a line in a list."""

import csv
import io
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.sweeps import workers
from mnv2_sweep.sweeps.pool import run_serial
from mnv2_sweep.training.loop import evaluate_model
from mnv2_sweep.training.stacked import train_stacked
from mnv2_sweep.trials.tasks import TASKS
from mnv2_sweep.trials.trial import CLASSIFY, dump_result, dump_trial, load_result, load_trial, trial_id
from mnv2_sweep.trials.ways import WAYS
from tests.cli.test_main import call, measurements
from tests.file_way import FROM_FILE, load, write_weights
from tests.photo_samples import class_files, write_folder
from tests.regress_task import REGRESS
from tests.trial_samples import check_terms

SPACE = """stages: [[1, 16, 1, 1], [3, 24, 2, 2]]
fixed: {resolution: 32, last_channels: 64}
axes: {width: [0.35, 0.5, 1.0]}
recipe: {base: short, images: 64, batch: 8, lr: 0.01, name: tiny}
data: photos
"""
ALONE, SHARED = "task: regress\n", "task: regress\nstrategy: {name: shared, images: 64}\nfinetune: 1\n"
FROM_WEIGHTS = "strategy: {name: file, weights: weights.pt}\n"


@pytest.fixture(scope="module", autouse=True)
def listed(tmp_path_factory):
    """The line in each list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, REGRESS.name, REGRESS)
        patch.setitem(WAYS, FROM_FILE.name, FROM_FILE)
        patch.setenv("MNV2_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("mnv2_sweep.plots.style.PNG_DPI", 20)
        yield


def run_here(attempts, feed, *more):
    return run_serial(attempts, feed)


def press_ctrl_c(attempts, feed, *more):
    """After the first sign of a trial somebody presses it."""

    def stop() -> bool:
        if not feed.stop() and list(attempts.folder.glob("running/*.json")):
            signal.raise_signal(signal.SIGINT)
        return feed.stop()

    return run_serial(attempts, replace(feed, stop=stop))


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(workers, "run_pool", run_here)
    workers.worker_dataset.cache_clear()
    write_folder(tmp_path / "photos", class_files({"red": 8, "green": 8, "blue": 8}, side=24))
    yield tmp_path
    workers.worker_dataset.cache_clear()


def run_interrupted(desk: Path, name: str, text: str) -> tuple[Path, str]:
    """Run a space at once, then under another name with Ctrl-C in between: to the same numbers; its folder and what the
    last run said."""
    (desk / f"{name}.yaml").write_text(SPACE + text)
    assert call(desk, "run", f"{name}.yaml", "--name", "at-once").code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run_pool", press_ctrl_c)
        patch.setattr("mnv2_sweep.sweeps.request.find_reusable", lambda trials, folder: [])
        code, _, err = call(desk, "run", f"{name}.yaml")
        assert code == 130 and "interrupted: 0 trials recorded, 3 left; the same command continues" in err
        patch.setattr(workers, "run_pool", run_here)
        code, out, err = call(desk, "run", f"{name}.yaml")
    assert (code, "error" in err) == (0, False)
    folder = desk / "results" / f"{name}-photos"
    assert measurements(folder) == measurements(desk / "results" / "at-once") and len(measurements(folder)) >= 3
    return folder, out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "ways"), [(ALONE, {"alone"}), (SHARED, {"shared", "fine-tuned"})], ids=["alone", "shared"]
)
def test_a_task_of_another_kind_runs_goes_on_and_is_shown(desk, text, ways):
    folder, out = run_interrupted(desk, "numbers", text)
    assert "val mean error " in out and "top-1" not in out and " classes (over 3 images), chosen among 3" in out
    frame = load_frame(folder)
    assert set(frame["training"]) == ways and frame["val_mae"].notna().all() and "val_top1" not in frame
    summary = summarise(frame)
    best = summary.loc[summary["mae"].idxmin()]
    assert (
        best["on_front"]
        and f"best on validation: {best['network']}, trained at 32 px: mean error {best['mae']:.1f} classes" in out
    )
    front = summary[summary["on_front"]]
    assert front["mae"].is_monotonic_decreasing  # less error for more MAdds
    table = call(desk, "table", "numbers-photos")
    assert table.code == 0 and table.out.strip() in out and " val mean error " in table.out
    (header, *rows) = csv.reader(io.StringIO(call(desk, "table", "numbers-photos", "--csv", "--trials").out))
    assert {"val_mae", "val_loss", "test_mae"} <= set(header) and len(rows) == len(frame)
    plot = call(desk, "plot", "--pareto", "numbers-photos")
    assert plot.code == 0 and "validation mean error (classes)" in (desk / "plots" / "pareto.svg").read_text()
    assert call(desk, "status", "numbers-photos").code == 0
    for outcome in read_outcomes(folder):
        trial, result = outcome.trial, outcome.result
        assert load_trial(dump_trial(trial)) == trial and load_result(dump_result(result)) == result
        assert trial_id(trial) == outcome.id != trial_id(replace(trial, task=CLASSIFY))
    if "shared" in ways:
        exported = call(desk, "export", best["network"], "--sweep", "numbers-photos", "--slice")
        assert exported.code == 0 and "slice of the shared weights: validation mean error " in exported.out


@pytest.mark.slow
def test_a_task_is_not_mixed_with_another_under_one_name(desk):
    (desk / "plain.yaml").write_text(SPACE)
    assert call(desk, "run", "plain.yaml").code == 0
    (desk / "plain.yaml").write_text(SPACE + ALONE)
    code, _, err = call(desk, "run", "plain.yaml")
    assert code == 2 and "its results were made differently (task classify -> regress); give this sweep" in err
    (desk / "plain.yaml").write_text(SPACE + FROM_WEIGHTS)
    code, _, err = call(desk, "run", "plain.yaml")
    assert code == 2 and "strategy.weights: weights.pt: no such file" in err


def test_seeds_of_another_task_are_trained_as_one(make_trial, tiny_data, tiny_arch):
    trials = [replace(make_trial(seed, tiny_arch, images=40, lr=0.001), task=REGRESS.name) for seed in (0, 1)]
    results = train_stacked(trials, tiny_data)
    for result in results:
        check_terms(result)
    assert all(0 < result.scores["val"]["mae"] < 3 and result.curve[-1].scores.keys() == {"mae"} for result in results)


@pytest.mark.slow
def test_a_way_of_another_kind_runs_goes_on_and_is_shown(desk):
    (desk / "given.yaml").write_text(SPACE + FROM_WEIGHTS)
    archs = expand(load_space(desk / "given.yaml"), 3)
    write_weights(desk / "weights.pt", archs, 3)
    folder, out = run_interrupted(desk, "given", FROM_WEIGHTS)
    assert "recipe    tiny: weights of weights.pt, trained at 32 px" in out
    assert "; every network is read from a file\n" in out and "not calibrated" in out
    dataset = open_photos(desk / "photos", cache_folder())
    for outcome in read_outcomes(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(desk)
            expected = evaluate_model(load(outcome.trial), outcome.trial, dataset, "val", "cpu")
        assert expected == (outcome.result.scores["val"], outcome.result.images["val"])
    frame = load_frame(folder)
    assert set(frame["training"]) == {"from a file"} and frame["train_images"].max() == 0
    table = call(desk, "table", "given-photos")
    assert table.code == 0 and table.out.strip() in out
    trials = call(desk, "table", "given-photos", "--trials").out
    assert trials.count("from a file") == 3
    assert call(desk, "plot", "--pareto", "given-photos").code == 0
    assert json.loads(call(desk, "status", "given-photos", "--json").out)["done"] == 3
    code, _, err = call(desk, "export", "any", "--sweep", "given-photos")
    assert code == 2 and "any: " in err and "has no such network with a result" in err
    (desk / "given.yaml").write_text(SPACE + "strategy: {name: separate, weights: weights.pt}\n")
    code, _, err = call(desk, "run", "given.yaml")
    assert code == 2 and "strategy.weights: it is for file" in err
