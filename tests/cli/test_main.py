"""The program as a user meets it: one tiny sweep shared by many tests, mistakes, Ctrl-C, and what loads torch."""

import csv
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch

from mnv2_sweep import __version__
from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.cli.main import main
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import DATABASE, Outcome, done_ids, read_outcomes, record
from mnv2_sweep.sweeps import workers
from mnv2_sweep.sweeps.budget import TimeEstimate
from mnv2_sweep.sweeps.pool import run_serial
from mnv2_sweep.trials.trial import shared_id
from mnv2_sweep.trials.ways import own_file
from tests.photo_samples import class_files, image_bytes, write_folder

ROOT = Path(__file__).parents[2]

TINY = """# Is this one quick?
stages: [[1, 16, 1, 1], [3, 24, 2, 2]]
fixed: {resolution: 32, last_channels: 64}
axes: {width: [0.35, 1.0]}
recipe: {base: short, images: 64, batch: 8, name: tiny}
data: photos
"""
MANY = TINY.replace("[0.35, 1.0]", "[0.35]").replace("images: 64", "images: 320") + "seeds: 60\n"
SHARES = "strategy: {name: shared, images: 400}\nfinetune: 1 epoch\n"
TOGETHER = TINY.replace("[0.35, 1.0]", "[0.35, 0.5, 1.0]") + SHARES
KERNELS = TINY.replace("axes: {", "axes: {kernel: [3, 5], ") + "strategy: shared\n"
DIVERGES = TINY.replace("[0.35, 1.0]", "[0.35]").replace("batch: 8", "batch: 8, lr: 1.0e+9")
SEVERAL_MISTAKES = TINY.replace("width:", "widht:").replace("batch: 8", "batch: 1")


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def call(folder: Path, *words: object) -> Answer:
    """`mnv2-sweep WORDS` in the folder, in this process."""
    out, err, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["mnv2-sweep", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    signal.signal(signal.SIGTERM, handler)
    return Answer(ended.value.code, out.getvalue(), err.getvalue())


def write_desk(folder: Path) -> Path:
    """A user's folder: photos, spaces, and a results file that is none."""
    write_folder(folder / "photos", class_files({"red": 8, "green": 8, "blue": 8}, side=24))
    spaces = {"tiny": TINY, "many": MANY, "diverges": DIVERGES, "mistakes": SEVERAL_MISTAKES}
    spaces |= {"together": TOGETHER, "kernels": KERNELS}
    for name, text in spaces.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "results" / "junk").mkdir(parents=True)
    (folder / "results" / "junk" / DATABASE).write_text("not SQLite" * 100)
    return folder


def read_tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def read_rows(folder: Path) -> dict[str, tuple[str, float]]:
    """Trial id -> (status, time of recording)."""
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True)) as database:
        return {i: (status, at) for i, status, at in database.execute("SELECT id, status, recorded FROM trials")}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("mnv2_sweep.plots.style.PNG_DPI", 20)
        yield


class Sweep(NamedTuple):
    desk: Path
    folder: Path
    first: Answer  # of the run that made it


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Sweep:
    """Two networks, one seed, trained once for all tests: they copy what they change."""
    desk = write_desk(tmp_path_factory.mktemp("desk"))
    return Sweep(desk, desk / "results" / "tiny-photos", call(desk, "run", "tiny.yaml"))


@pytest.fixture
def copied(swept, tmp_path) -> Sweep:
    """The same in a folder of the test's own."""
    desk = shutil.copytree(swept.desk, tmp_path / "desk", ignore=shutil.ignore_patterns("photos"))
    (desk / "photos").symlink_to(swept.desk / "photos")
    return Sweep(desk, desk / "results" / "tiny-photos", swept.first)


def run_here(attempts, source, workers, limits, gpus):
    return run_serial(attempts, source)


@pytest.fixture
def in_this_process(monkeypatch):
    """Trials run here instead of in worker processes, which take seconds to start, and nobody looks at the time."""
    monkeypatch.setattr(workers, "run_pool", run_here)
    monkeypatch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", ten_seconds_each)


# ---------------------------------------------------------------- run


@pytest.mark.slow
def test_run_prints_the_plan_then_progress_then_the_table_and_the_plots(swept):
    code, out, err = swept.first
    assert (code, "error" in err) == (0, False)
    lines, at = out.splitlines(), -1
    for pattern in (
        r"sweep     results/tiny-photos",
        r"data      photos: 3 classes; 21 train, 3 val",
        r"networks  2, 0\.3M to 1\.1M MAdds.*",
        r"recipe    tiny: 64 images each, trained at 32 px.*",
        r"trials    2 \(0 done, 2 to run\), seeds 0",
        r"time      about \d+ s, with \d+ workers? on cpu",
        r"\[1/2\] .* at 32, table \w+, last=64, 32 px, seed 0: val top-1 \d+\.\d %, \d+ s, \d+ images/s",
        r"\[2/2\] .*",
        r"tiny-photos: data photos, recipe tiny, cpu",
        r"on front  network .*",
        r"best on validation: .*",
        r"plots/tiny-photos/pareto\.png",
        r"plots/tiny-photos/pareto\.svg",
        r"plots/pareto\.png",
        r"plots/pareto\.svg",
        r"recommend .* at 32, table \w+, last=64: .* MAdds, .* params",
        r" {10}.* % that it is the best of the 2 that fit.*; top-1 .*",
        r" {10}mnv2-sweep recommend tiny-photos .*",
    ):
        at = next(i for i in range(at + 1, len(lines)) if re.fullmatch(pattern, lines[i]))
    assert at == len(lines) - 1 and "\x1b" not in out + err  # no terminal: plain lines


@pytest.mark.slow
def test_run_leaves_the_record_the_space_the_environment_and_the_plots(swept):
    assert {path.name for path in swept.folder.iterdir()} == {
        *(DATABASE, "claims.db", "space.yaml", "env.json", "logs", "kept")
    }
    assert (swept.folder / "space.yaml").read_text() == TINY
    environment = json.loads((swept.folder / "env.json").read_text())
    keys = {"command", "python", "torch", "numpy", "commit", "system", "processor", "cores", "device", "device_name"}
    assert keys <= environment.keys()
    assert environment["command"] == "mnv2-sweep run tiny.yaml"
    assert (environment["torch"], environment["device"]) == (torch.__version__, "cpu")
    plots = swept.desk / "plots"
    for name in ("pareto.png", "pareto.svg"):
        assert (plots / name).read_bytes() == (plots / "tiny-photos" / name).read_bytes() != b""


@pytest.mark.slow
def test_what_is_recorded_of_a_trial(swept):
    outcomes = read_outcomes(swept.folder)
    assert [(outcome.status, outcome.trial.seed, outcome.trial.data.name) for outcome in outcomes] == [
        ("done", 0, "photos")
    ] * 2
    for result in (outcome.result for outcome in outcomes):
        assert (
            result.score("val", "top1") in (0, 1 / 3, 2 / 3, 1)
            and result.images.get("val", 0) == 3
            and result.score("test", "top1") is None
        )
        assert result.train_images == result.curve[-1].images == 64
        assert min(result.score("val", "loss"), result.train_loss, result.seconds, result.images_per_second) > 0
        assert result.peak_memory_bytes > 10e6 and result.device == "cpu"


@pytest.mark.slow
def test_running_again_trains_nothing(copied):
    rows = read_rows(copied.folder)
    shutil.rmtree(copied.desk / "plots")
    code, out, _ = call(copied.desk, "run", "tiny.yaml")
    assert (code, read_rows(copied.folder)) == (0, rows)
    assert "trials    2 (2 done, 0 to run)" in out and "time " not in out and "[1/" not in out
    assert out[out.index("\ntiny-photos: ") :] == copied.first.out[copied.first.out.index("\ntiny-photos: ") :]
    assert (copied.desk / "plots" / "pareto.png").exists()


@pytest.mark.slow
def test_more_seeds_add_only_what_is_missing(copied, in_this_process):
    rows = read_rows(copied.folder)
    code, out, _ = call(copied.desk, "run", "tiny.yaml", "--seeds", 2, "--workers", 1)
    assert code == 0 and "trials    4 (2 done, 2 to run), seeds 0, 1" in out and "with 1 worker on cpu" in out
    assert len(re.findall(r"^\[\d/2\] .* seed 1: val", out, re.M)) == 2
    after = read_rows(copied.folder)
    assert len(after) == 4 and {key: after[key] for key in rows} == rows
    assert summarise(load_frame(copied.folder))["seeds"].tolist() == [2, 2]


def ten_seconds_each(trials, dataset, data_name, device, workers, alone=False, trained=()) -> TimeEstimate:
    return TimeEstimate(dict.fromkeys(trials, 10.0), 1, device, {}, gpu_bytes=2**30)


@pytest.mark.slow
def test_a_budget_runs_what_fits_and_the_rest_later(copied, in_this_process):
    words = ["run", "tiny.yaml", "--seeds", 3, "--workers", 1]  # the two of seed 0 are done
    code, out, _ = call(copied.desk, *words, "--budget", "25s")
    assert code == 0 and "budget    25 s: 2 of 4 trials fit, in about 20 s: 2 networks, seed 1" in out
    assert "dropped   seed 2 of every network" in out and len(read_rows(copied.folder)) == 4
    assert "tiny-photos: 4 of 6 done, 2 waiting" in call(copied.desk, "status", "tiny-photos").out
    before = read_tree(copied.desk)
    code, out, err = call(copied.desk, *words, "--budget", "5s")
    assert (code, read_tree(copied.desk)) == (2, before)
    assert err.startswith("error: --budget: 5 s: nothing fits; the shortest trial") and err.count("\n") == 1
    assert call(copied.desk, *words).code == 0 and len(read_rows(copied.folder)) == 6


@pytest.mark.slow
def test_per_gpu_auto_says_how_many_share_a_gpu(swept, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda i: (2**33, 2**34))
    monkeypatch.setattr("mnv2_sweep.sweeps.settings.usable_cores", lambda: 64)
    monkeypatch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", ten_seconds_each)
    words = ["run", "tiny.yaml", "--seeds", 9, "--device", "cuda", "--per-gpu", "auto", "--dry-run"]
    code, out, _ = call(swept.desk, *words)
    assert code == 0 and "seeds     of 2 networks are trained as one" in out
    assert "gpu       1 trial on each at once; the dearest takes 8.6 GB" in out
    code, out, _ = call(swept.desk, *words, "--no-stack-seeds")
    assert code == 0 and "gpu       3 trials on each at once; the dearest takes 1.1 GB" in out
    assert "with 3 workers on cuda" in out


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--seeds", 3), ("--name", "new"), ("--results", "elsewhere")], ids=str)
def test_a_dry_run_writes_no_results(swept, words):
    before = read_tree(swept.desk)
    code, out, _ = call(swept.desk, "run", "tiny.yaml", "--dry-run", *words)
    assert (code, read_tree(swept.desk)) == (0, before)
    assert "to run), seeds 0" in out and "[1/" not in out
    if words == ("--name", "new"):  # the same trials in the same results folder
        assert "2 (0 done, 0 to run)" in out and "reused    2 results of sweep tiny-photos" in out
    else:
        assert "time      about" in out


@pytest.mark.slow
@pytest.mark.parametrize("old, new", [("lr", "lr 0.03 -> 0.05"), ("images", "images 64 -> 72")])
def test_another_recipe_under_the_same_name_is_refused(copied, old, new):
    before = read_tree(copied.folder)
    changed = TINY.replace("batch: 8", "batch: 8, lr: 0.05") if old == "lr" else TINY.replace("64,", "72,")
    (copied.desk / "tiny.yaml").write_text(changed.replace("name: tiny", "name: other"))
    check_mistake(
        call(copied.desk, "run", "tiny.yaml"), f"results/tiny-photos: its results were made differently ({new})"
    )
    assert read_tree(copied.folder) == before


@pytest.mark.slow
def test_other_photos_under_the_same_name_are_refused(copied):
    (copied.desk / "photos").unlink()
    write_folder(copied.desk / "photos", class_files({"red": 4, "green": 4, "blue": 4}, "other/", side=16))
    answer = call(copied.desk, "run", "tiny.yaml", "--data", "photos/other", "--name", "tiny-photos")
    assert answer.code == 2 and "data photos (" in answer.err and ") -> other (" in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("what", ["recipe", "data"])
def test_a_new_name_for_the_same_recipe_or_data_keeps_the_sweep_usable(copied, in_this_process, what):
    words = ["run", "tiny.yaml", "--seeds", 2, "--name", "tiny-photos"]
    if what == "recipe":
        (copied.desk / "tiny.yaml").write_text(TINY.replace("name: tiny", "name: renamed"))
    else:
        shutil.copytree(copied.desk / "photos", copied.desk / "moved")
        words += ["--data", "moved"]
    assert call(copied.desk, *words).code == 0
    assert call(copied.desk, "table", "tiny-photos").code == 0


@pytest.mark.slow
def test_failed_trials_are_exit_1_and_counted(swept, tmp_path, in_this_process):
    code, out, err = call(swept.desk, "run", "diverges.yaml", "--results", tmp_path, "--plots", tmp_path / "plots")
    assert code == 1
    assert re.search(r"\[1/1\] .*: FAILED \(diverged\): FloatingPointError: the training loss became (nan|inf)", out)
    assert f"1 trial failed (logs in {tmp_path}/diverges-photos/logs); --retry-failed tries again" in err
    again = call(swept.desk, "run", "diverges.yaml", "--results", tmp_path, "--plots", tmp_path / "plots")
    assert again.code == 1 and "1 (0 done, 0 to run)" in again.out and "--retry-failed tries them again" in again.out
    assert "failed   0.35 at 32" in call(tmp_path, "status", "diverges-photos", "--results", tmp_path).out
    assert "Traceback" not in out + err and not (tmp_path / "plots").exists()
    assert "no trial has a result yet" in out and "failed: 0.35 at 32" in out
    networks = json.loads(call(tmp_path, "table", "diverges-photos", "--results", tmp_path, "--json").out)
    assert [(row["seeds"], row["failed"], row["top1"]) for row in networks] == [(0, 1, None)]
    answer = call(tmp_path, "plot", "--pareto", "diverges-photos", "--results", tmp_path)
    check_mistake(answer, "no trial has a result yet, so there is nothing to draw")


# ---------------------------------------------------------------- table and plot


@pytest.mark.slow
def test_the_table_is_the_one_of_the_run_and_the_last_sweep_needs_no_name(swept):
    shown = call(swept.desk, "table", "tiny-photos").out
    assert shown in swept.first.out
    assert call(swept.desk, "table").out == shown


@pytest.mark.slow
@pytest.mark.parametrize("trials", [False, True], ids=["networks", "trials"])
def test_csv_json_and_pandas_agree(swept, trials):
    from mnv2_sweep.analysis.odds import add_odds, load_odds
    from mnv2_sweep.analysis.stats import summarise
    from mnv2_sweep.record.frame import load_frame

    frame = load_frame(swept.folder)
    if not trials:
        frame = add_odds(summarise(frame), load_odds(swept.folder, frame))
        assert (frame["front_probability"] > 0).any() and frame["best_probability"].sum() == pytest.approx(1)
        assert (frame["joint_low"] < frame["top1"]).all() and (frame["top1"] < frame["joint_high"]).all()

    words = ["table", "tiny-photos", *(["--trials"] if trials else [])]
    columns = ["network", "madds", "params", "images_per_second", "peak_memory_bytes", "val_top1" if trials else "top1"]
    csv = pd.read_csv(io.StringIO(call(swept.desk, *words, "--csv").out))
    pd.testing.assert_frame_equal(csv[columns], frame[columns], check_dtype=False)
    rows = json.loads(call(swept.desk, *words, "--json").out)
    assert list(csv.columns) == list(frame.columns) == list(rows[0])
    pd.testing.assert_frame_equal(pd.DataFrame(rows)[columns], frame[columns], check_dtype=False)
    assert len(rows) == 2 and all(value == value for row in rows for value in row.values())  # null, not NaN


@pytest.mark.slow
def test_trials_as_a_table(swept):
    lines = call(swept.desk, "table", "tiny-photos", "--trials").out.splitlines()
    assert sorted(line.split()[0] for line in lines[1:]) == ["0.35", "1.0"]  # in the order in which they ended
    assert all(re.search(r" 32 px +0  done +\d+\.\d +- ", line) for line in lines[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--trials",),
    ],
    ids=["networks", "trials"],
)
def test_failed_and_done_trials_in_one_table(copied, words):
    outcome = read_outcomes(copied.folder)[0]
    record(copied.folder, Outcome(replace(outcome.trial, seed=1), error="ValueError: no luck"))
    code, out, err = call(copied.desk, "table", "tiny-photos", *words)
    assert (code, err) == (0, "") and "ValueError: no luck" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("--pareto",), ("--pareto", "tiny-photos", "--plots", "drawn")], ids=["last", "named"]
)
def test_plot_draws_again_from_the_results_alone(copied, words):
    drawn = copied.desk / "plots"
    before = (drawn / "pareto.svg").read_bytes()
    shutil.rmtree(drawn)
    shutil.rmtree(copied.desk / "results" / "junk")
    code, out, err = call(copied.desk, "plot", *words)
    folder = words[-1] if "--plots" in words else "plots"
    names = ["tiny-photos/pareto.png", "tiny-photos/pareto.svg", "pareto.png", "pareto.svg"]
    assert (code, out.splitlines(), err) == (0, [f"{folder}/{name}" for name in names], "")
    assert (copied.desk / folder / "pareto.svg").read_bytes() == before


# ---------------------------------------------------------------- count, plan, data, help


def test_count_of_the_papers_network():
    code, out, err = call(ROOT, "count", "--width", "1.0", "--resolution", "224", "--json")
    answer = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert (answer["madds"], answer["params"]) == (300774272, 3504872)


@pytest.mark.parametrize(
    "words, changed",
    [
        ("--width 0.5", {"width": 0.5, "resolution": 224}),
        ("--resolution 96", {"width": 1.0, "resolution": 96, "params": 3504872}),
        ("--expansion 4", {"stages": [[1, 16, 1, 1], [4, 24, 2, 2]], "network": "1.0 at 224, t=4"}),
        ("--kernel 5 --residual none", {"kernel": 5, "residual": "none", "network": "1.0 at 224, k=5, no residual"}),
        ("--no-linear-bottleneck", {"linear_bottleneck": False, "madds": 300774272, "params": 3504872}),
        ("--activation hswish", {"activation": "hswish", "network": "1.0 at 224, hswish", "madds": 300774272}),
        ("--width 0.5 --scale-last-conv", {"scale_last_conv": True, "network": "0.5 at 224, last scaled"}),
        ("--no-depthwise", {"depthwise": False, "network": "1.0 at 224, ordinary convolutions"}),
        ("--last-channels 640 --classes 10", {"params": 3504872 - (320 + 2) * 640 - 1281 * 1000 + 641 * 10}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_count_options(words, changed):
    answer = json.loads(call(ROOT, "count", *words.split(), "--json").out)
    answer["stages"] = answer["stages"][:2]
    assert {key: answer[key] for key in changed} == changed


@pytest.mark.slow
def test_count_of_a_space(swept):
    shown, csv, rows = (call(swept.desk, "count", "tiny.yaml", *form).out for form in ((), ("--csv",), ("--json",)))
    assert shown.endswith("2 specs\n") and len(csv.splitlines()) == 3
    assert [row["width"] for row in json.loads(rows)] == [0.35, 1.0]
    assert pd.read_csv(io.StringIO(csv))["madds"].tolist() == [row["madds"] for row in json.loads(rows)]


@pytest.mark.slow
def test_plan_lists_without_training(swept):
    before = read_tree(swept.desk)
    code, out, err = call(swept.desk, "plan", "tiny.yaml", "--seeds", 3)
    assert (code, err, read_tree(swept.desk)) == (0, "", before)
    assert "2 networks x 3 seeds = 6 trials; recipe tiny, data photos" in out and "counted with 1000 classes" in out
    with_classes = call(swept.desk, "plan", "tiny.yaml", "--classes", 3)
    assert "counted with" not in with_classes.out and "2 networks x 1 seed = 2 trials" in with_classes.out
    costs = json.loads(call(swept.desk, "plan", "tiny.yaml", "--classes", 3, "--json").out)
    assert [row["madds"] for row in costs] == summarise(load_frame(swept.folder))["madds"].tolist()


@pytest.mark.slow
def test_plan_and_run_count_the_same_networks(swept):
    (swept.desk / "equal.yaml").write_text(TINY.replace("[0.35, 1.0]", "[1.0, 1.001]"))
    plan, run = call(swept.desk, "plan", "equal.yaml"), call(swept.desk, "run", "equal.yaml", "--dry-run")
    (swept.desk / "equal.yaml").unlink()
    assert re.search(r"(\d) networks? x 1 seed", plan.out)[1] == re.search(r"networks  (\d)", run.out)[1]


@pytest.mark.slow
def test_data_show_counts_and_draws(swept, tmp_path):
    code, out, _ = call(tmp_path, "data", "show", "--data", swept.desk / "photos", "--side", 24)
    assert (code, out.splitlines()[:3]) == (0, [f"{name}: 7 train, 1 val" for name in ("blue", "green", "red")])
    assert out.splitlines()[3:] == ["plots/data-photos.png", "plots/data-photos.svg"]
    assert (tmp_path / "plots" / "data-photos.png").stat().st_size > 1000


@pytest.mark.slow
def test_data_show_draws_rectangles(tmp_path, swept, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    code, out, _ = call(tmp_path, "data", "show", "--data", swept.desk / "photos", "--side", "20x12")
    assert code == 0 and out.splitlines()[3:] == ["plots/data-photos.png", "plots/data-photos.svg"]
    assert list((tmp_path / "cache").glob("*/train-20x12.npy"))


@pytest.mark.slow
def test_unreadable_photos_are_named(swept, tmp_path):
    photos = shutil.copytree(swept.desk / "photos", tmp_path / "some")
    (photos / "red" / "0.png").write_bytes(b"not an image")
    code, out, err = call(tmp_path, "data", "show", "--data", "some")
    assert code == 0 and "skipped 1 file of some:\n  red/0.png: " in err and "red: 6 train, 1 val" in out


def test_help_lists_commands_and_completion():
    code, out, err = call(ROOT, "--help")
    assert (code, err) == (0, "")
    for word in ("--version", "--install-completion", "--show-completion", "run", "ablate", "plot", "table", "plan"):
        assert word in out
    help_of_run = call(ROOT, "run", "--help").out
    for word in ("--workers", "--seeds", "--device", "--data", "--dry-run", "--name", "--results", "--plots"):
        assert word in help_of_run


@pytest.mark.parametrize("words", [(), ("data",)], ids=["program", "data"])
def test_without_a_command_there_is_help(words):
    code, out, err = call(ROOT, *words)
    assert (code, out) == (2, "") and err.startswith("Usage: mnv2-sweep") and "Commands:" in err


def test_python_m_answers_the_version():
    done = subprocess.run([sys.executable, "-m", "mnv2_sweep", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mnv2-sweep {__version__}\n", "")


@pytest.mark.slow
def test_commands_that_answer_at_once_never_import_torch(swept):
    code = """
import sys
from mnv2_sweep.cli.main import main
for words in ("--help", "count", "plan tiny.yaml", "table tiny-photos --csv", "table tiny-photos"):
    sys.argv = ["mnv2-sweep", *words.split()]
    try:
        main()
    except SystemExit as ended:
        print(words, ended.code, sorted({"torch", "matplotlib"} & sys.modules.keys()), file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=swept.desk, env=environment, capture_output=True, text=True)
    assert [line.split()[-2:] for line in done.stderr.splitlines()] == 5 * [["0", "[]"]]


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "mnv2_sweep", "plan", "spaces/blocks.yaml", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [("count",), ("plan", "spaces/widths.yaml", "--csv")], ids=["text", "csv"])
def test_output_that_cannot_be_written_is_one_line(words):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "mnv2_sweep", *words]
        answer = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (answer.returncode, answer.stderr) == (2, "error: the output can't be written: No space left on device\n")


# ---------------------------------------------------------------- mistakes


def check_mistake(answer: Answer, part: str) -> None:
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1 and answer.err.startswith("error: "), answer.err
    assert part in answer.err and "Traceback" not in answer.err
    assert answer.out == ""


ABLATE = "ablate --no-linear-bottleneck "
MISTAKES = {
    "run nope.yaml": "nope.yaml: no such file",
    "run .": ".: this is a folder",
    "run": "Missing argument 'space'",
    "run tiny.yaml extra": "unexpected extra argument(s) (extra)",
    "run tiny.yaml --device tpu": "--device tpu: auto, cpu or cuda",
    "run tiny.yaml --data nowhere": (
        "--data nowhere: no such folder or archive; give 'shapes', 'cloths' or 'quilts' (built in),"
    ),
    "run tiny.yaml --data tiny.yaml": "tiny.yaml: not a zip",
    "run tiny.yaml --budget soon": "--budget soon: a time above 0 is wanted",
    "run tiny.yaml --seeds 0": "--seeds",
    "run tiny.yaml --seeds two": "--seeds",
    "run tiny.yaml --seed 1 --seeds 2": "--seed --seeds: one of them; --seed K is seed K alone",
    "run tiny.yaml --seed 4294967296": "--seed",
    "run tiny.yaml --data photos --group-pattern p(": "--group-pattern p(: no regular expression",
    "run tiny.yaml --data shapes --group-pattern p": "--data shapes: its images are drawn",
    "run tiny.yaml --workers 0": "--workers",
    "run tiny.yaml --workers -2 --dry-run": "--workers",
    "run tiny.yaml --name a/b": "--name a/b: a plain folder name is wanted: no slashes",
    "run tiny.yaml --name ..": "--name ..: a plain folder name",
    "run tiny.yaml --name junk": "junk/trials.db: not a results file of this program",
    "run tiny.yaml --timeout soon": "--timeout soon: a time above 0 is wanted, as in 90s, 30m, 1.5h or 2h30m",
    "run tiny.yaml --memory 4": "--memory 4: a number above 0 and a unit (B, kB, MB, GB, KiB, MiB, GiB), as in 4GiB",
    "run tiny.yaml --log wandb": "--log wandb: tensorboard is what there is",
    "run tiny.yaml --per-gpu 2 --device cpu": "--per-gpu: there is no GPU in use",
    "run tiny.yaml --shared --separate": "--shared --separate: one of them",
    "plan tiny.yaml --shared --separate": "--shared --separate: one of them",
    "run together.yaml --budget 1h": "--budget: the networks share one training, which is done whole; give it fewer",
    "run tiny.yaml --shared --budget 1h": "--budget: the networks share one training, which is done whole; give it",
    "plan together.yaml --budget 1h": "--budget: the networks share one training, which is done whole; give it fewer",
    "run tiny.yaml --shared --executor ray": "--executor ray: the networks share one training, which runs on one",
    "run together.yaml --executor ray --dry-run": "machine; use --executor local, or --separate",
    "run kernels.yaml": "strategy shared: kernel: 3, 5 given, one value allowed: kernels of two sizes have no common",
    "run kernels.yaml --shared --dry-run": "weights; or train each alone, with --separate",
    "plan kernels.yaml --time": "strategy shared: kernel: 3, 5 given, one value allowed: kernels of two sizes have no",
    "plan tiny.yaml --budget soon": "--budget soon: a time above 0 is wanted",
    "plan tiny.yaml --time --json": "plan: --time prints text",
    "status nowhere": "results/nowhere: no such sweep; there is: junk",
    "status junk": "junk/trials.db: not a results file of this program",
    "status junk --watch --json": "--watch --json: one of them",
    "status junk --kept --json": "--json --kept: one of them",
    "run tiny.yaml --keep some": "--keep some: all, front, best or none",
    "run tiny.yaml --keep-bytes 3": "--keep-bytes 3: a number above 0 and a unit",
    "run tiny.yaml --keep none --keep-bytes 5GB": "--keep none --keep-bytes 5GB: one of them",
    "run tiny.yaml --again 1.0@32": "1.0@32: results/tiny-photos has no such network with a result; there are: none",
    "predict photos": "results/junk/trials.db: not a results file of this program",
    "predict photos --precision 0": "--precision 0: a part of all answers, above 0 and at most 1",
    "export x --to onnx --int8 --ends uint8": "--ends uint8: the ends of a tflite file in 8 bits, and --to onnx has "
    "none; give --to tflite --int8, or leave --ends out",
    "export x --to tflite --ends int8": "in 8 bits, and --int8 is not given; give --to tflite --int8, or leave --ends",
    "export x --to tflite --batch 4": "--batch 4: the images that an onnx file reads at once, and --to tflite has "
    "none; give --to onnx, or leave --batch out",
    "merge nowhere": "nowhere: no such folder; give the results folder of another machine",
    "merge photos": "photos: there is no sweep in it",
    "merge results": "results: this is the results folder itself",
    "run tiny.yaml --nmae x": "No such option: --nmae",
    "ablate": "ablate: say what to change; there is: --no-linear-bottleneck, --residual, --expansion, --activation,",
    ABLATE + "--base nonsense": "--base nonsense: a width and a resolution are wanted, as in 1.0@96 or 1.0@160x120",
    ABLATE + "--base -1@96": "--base -1@96",
    ABLATE + "--base 0@96": "width: 0.0 given; allowed: a number above 0",
    ABLATE + "--recipe slow": "ablate: recipe: 'slow' given; allowed: short | tune | paper",
    ABLATE + "--input-scale 0": "ablate: recipe.input_scale: 0.0 given; allowed: a number above 0, at most 1",
    ABLATE + "--input-scale nan": "ablate: recipe.input_scale: 'nan' given; allowed: a number above 0, at most 1 (it",
    "ablate recipe.lr=0.01,0.02": "ablate: recipe.lr=0.01,0.02: all sides share the recipe; say what to change in",
    ABLATE + "--images 0": "ablate: recipe.images: 0 given; allowed: a whole number from 1",
    ABLATE + "--images 1e3": "--images",
    ABLATE + "recipe.lr=0": "ablate: recipe.lr: 0 given; allowed: a number above 0",
    ABLATE + "recipe.lr=-inf": "ablate: recipe.lr: '-inf' given; allowed: a number above 0 (it is not a finite number)",
    ABLATE + "--seeds 0": "--seeds",
    "plot": "plot: say what to draw; one of --pareto, --fronts, --ablation, --expansion, --costs, --confusion",
    "plot --pareto --ablation": "plot: say what to draw; one of --pareto, --fronts, --ablation, --expansion, --costs",
    "plot --manifold --activity": "plot: say what to draw; one of --pareto",
    "plot --manifold --images 9": "plot --manifold: --images is for --activity; leave it out",
    "plot --pareto junk --seed 1": "plot --pareto: --seed is for --manifold and --activity; leave it out",
    "plot --activity --images 0": "plot --activity: recipe.images: 0 given; allowed: a whole number from 1",
    "plot --activity recipe.batch=1": "plot --activity: recipe.batch: 1 given; allowed: a whole number from 2",
    "plot --activity lr=1": "plot --activity: 'lr=1' given; the recipe has that: write recipe.lr=1",
    "plot --pareto recipe.lr=1": "results/recipe.lr=1: no such sweep; there is: junk",
    "plot --pareto junk other": "plot: 'junk' and 'other' given; one sweep is drawn at a time",
    "plot --activity junk": "plot --activity: 'junk' given, but it draws no sweep; leave it out",
    "plot --activity --base nonsense": "--base nonsense: a width and a resolution are wanted, "
    "as in 1.0@96 or 1.0@160x120",
    "plot --activity --data nowhere": "--data nowhere: no such folder or archive",
    "plot --manifold --matrices 1": "--matrices",
    "plot --expansion": "results/junk/trials.db: not a results file of this program",
    "plot --pareto nowhere": "results/nowhere: no such sweep; there is: junk",
    "plot --ablation": "no results to show; there is: junk; start with 'mnv2-sweep ablate --no-linear-bottleneck'",
    "table nowhere": "results/nowhere: no such sweep; there is: junk; 'mnv2-sweep run SPACE.yaml' makes one",
    "table junk": "junk/trials.db: not a results file of this program (file is not a database)",
    "table --results photos": "photos: no results to show; there is none yet; start with 'mnv2-sweep run",
    "table --results nowhere": "nowhere: no results to show",
    "plan nope.yaml": "nope.yaml: no such file",
    "plan tiny.yaml --seeds 0": "--seeds",
    "plot --costs": "results/junk/space.yaml: no such file",
    "plot --costs nope.yaml": "nope.yaml: no such file",
    "plot --costs junk": "junk/space.yaml: no such file",
    "paper --table 8": "table: '8' given, 2 | 3 | 4 | 5 | 6 | 7 | checkpoints allowed",
    "count --family foo": "count: family: 'foo' given; allowed: mobilenet_v2 | mobilenet_v1 | shufflenet_v1 | nasnet_a",
    "count --family mobilenet_v1 --kernel 5": "count: kernel: MobileNetV1 has no such choice; it has: width, ",
    "count --family nasnet_a --expansion 3": "count: expansion: NASNet-A has no such choice; it has: width, resolution",
    "count --family shufflenet_v1 --groups 5": "count: groups: 5 given; allowed: 1 | 2 | 3 | 4 | 8",
    "count --explain --check fvcore": "count: --explain --check given; one of them",
    "count --resolution 99999999999999999999": "count: resolution: '99999999999999999999' given; allowed: a whole",
    "count --kernel 101": "count: kernel: 101 given; allowed: an odd whole number (3, 5, 7) up to 99",
    "count --expansion 9223372036854775808": "count: expansion: '9223372036854775808' given; allowed: a whole",
    "count --groups 3": "count: groups: MobileNetV2 has no such choice; it has: stages, width, resolution, kernel",
    "count --family mobilenet_v1 --expansion 6": "count: expansion: MobileNetV1 has no such choice; it has: width",
    "count --check foo": "--check foo: fvcore | split allowed",
    "count --check split spaces/quick.yaml": "--check split: for a single network; leave out the design space",
    "count --check split --csv": "count: --check prints text; leave out --json and --csv",
    "count --check split --family nasnet_a": "split: NASNet-A given; only MobileNetV2 has bottleneck blocks to split",
    "count --check fvcore --json": "count: --check prints text; leave out --json and --csv",
    "count tiny.yaml --explain": "count: --explain is for a single network",
    "count nope.yaml": "nope.yaml: no such file",
    "count tiny.yaml --width 1": "count: --width is for a single network; leave it out beside a design space",
    "count --classes=9 tiny.yaml": "count: --classes is for a single network",
    "count --width 0": "count: width: 0 given; allowed: a number above 0, at most 16",
    "count --width -1": "count: width: -1 given",
    "count --width nan": "count: width: 'nan' given",
    "count --width wide": "count: width: 'wide' given; allowed: a number above 0, at most 16",
    "count --divisor 4.5": "count: divisor: 4.5 given; allowed: a whole number from 1 up to 64",
    "count --se-ratio x": "count: se_ratio: 'x' given; allowed: a number from 0, at most 1",
    "count --in-channels 2": "count: in_channels: 2 given; allowed: 3 | 1",
    "count --stages 3": "count: stages: ",
    "count --resolution 0": "count: resolution: 0 given",
    "count --resolution 2.5": "count: resolution: 2.5 given; allowed: a whole number of pixels from 1, or width",
    "count --resolution 5000": "resolution: 5000 given; allowed: a whole number of pixels from 1, or width x height",
    "count --kernel 4": "count: kernel: 4 given; allowed: an odd whole number (3, 5, 7)",
    "count --activation swish": "count: activation: 'swish' given; allowed: relu6 | relu | hswish (did you mean",
    "count --family nasnet_a --no-depthwise": "count: depthwise: NASNet-A has no such choice; it has: width",
    "count --residual foo": "count: residual: 'foo' given; allowed: bottleneck | expansion | none",
    "count --expansion 0": "count: expansion: 0 given; allowed: a whole number from 1",
    "count --last-channels=-1": "count: last_channels: -1 given",
    "count --classes 0": "count: classes: 0 given; allowed: a whole number from 1",
    "cuont": "No such command 'cuont'",
    "--verison": "No such option: --verison",
    "data show --data nowhere": "--data nowhere: no such folder or archive",
    "data show --side 4": "--side 4: a side from 8 to 256 pixels is wanted, or width x height as in 160x120",
    "data show --side 160by120": "--side 160by120: a side from 8 to 256 pixels is wanted",
    "data show --side 512x96": "--side 512x96: a side from 8 to 256 pixels is wanted",
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """Before anything was run; its photos are in the cache."""
    folder = write_desk(tmp_path_factory.mktemp("fresh"))
    call(folder, "data", "show", "--data", "photos", "--side", 8, "--plots", tmp_path_factory.mktemp("sheet"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_exit_2_and_writes_nothing(desk, words):
    before = read_tree(desk)
    check_mistake(call(desk, *words.split()), MISTAKES[words])
    assert read_tree(desk) == before


def test_every_mistake_of_a_space_is_one_line(desk):
    before = read_tree(desk)
    for command in ("run", "plan", "count"):
        code, out, err = call(desk, command, "mistakes.yaml")
        first, second = err.splitlines()
        assert (code, out) == (2, "")
        assert first.startswith("error: mistakes.yaml:4: unknown key 'axes.widht'; did you mean 'width'? Allowed: ")
        assert second.startswith("error: mistakes.yaml:5: recipe.batch: 1 given")
    assert read_tree(desk) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_that_is_not_there(desk):
    check_mistake(call(desk, "run", "tiny.yaml", "--device", "cuda"), "--device cuda: torch sees no CUDA device here")


def test_data_with_more_classes_than_the_space_allows(desk, tmp_path):
    (tmp_path / "two.yaml").write_text(TINY.replace("resolution: 32", "resolution: 32, classes: 2"))
    answer = call(tmp_path, "run", "two.yaml", "--data", desk / "photos")
    check_mistake(answer, "classes: 2 given, but photos has 3; leave classes out, or give at least 3")
    assert [path.name for path in tmp_path.iterdir()] == ["two.yaml"]


@pytest.mark.slow
def test_plots_that_cannot_be_written_are_one_line(swept):
    check_mistake(call(swept.desk, "plot", "--pareto", "tiny-photos", "--plots", "tiny.yaml"), "tiny.yaml")


@pytest.mark.parametrize("option", ["--name", "--data"])
def test_a_name_that_is_too_long_is_one_line(desk, option):
    check_mistake(call(desk, "run", "tiny.yaml", option, 300 * "x"), "xxx")


@pytest.mark.parametrize("words", [("--device", "tpu"), ("--name", "a/b")], ids=lambda words: words[0])
def test_mistakes_are_told_before_the_photos_are_decoded(desk, tmp_path, words):
    write_folder(tmp_path / "new", class_files({"red": 3, "blue": 3}, words[0], side=9))
    check_mistake(call(desk, "run", "tiny.yaml", "--data", tmp_path / "new", *words), words[1])


def test_a_results_file_without_rows_is_no_bug(tmp_path):
    """As a kill between the table's creation and the first row leaves it."""
    (tmp_path / "results" / "cut").mkdir(parents=True)
    (tmp_path / "results" / "cut" / DATABASE).touch()
    answer = call(tmp_path, "table")
    assert "Traceback" not in answer.err and "no trial has a result yet" in answer.out + answer.err


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupt_before_the_first_trial_is_exit_130_and_writes_nothing(desk, monkeypatch, number):
    monkeypatch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", lambda *words, **more: signal.raise_signal(number))
    before = read_tree(desk)
    code, out, err = call(desk, "run", "tiny.yaml")
    assert (code, err, read_tree(desk)) == (130, "", before) and "0 done, 2 to run" in out


NOT_LOOKED = """
from mnv2_sweep.sweeps import run as runner
from mnv2_sweep.sweeps.budget import TimeEstimate
runner.estimate_sweep = lambda *words, **more: TimeEstimate({}, 1, "cpu", {}, unknown="nobody looked")
from mnv2_sweep.cli.main import main
main()
"""


PATIENCE, PROMPT = 300, 30  # seconds, on a busy machine: to start, and to end when asked


def start_run(folder: Path, *words: str) -> subprocess.Popen:
    """`mnv2-sweep run WORDS` as a shell starts it, in a process group of its own; nobody looks at the time first."""
    return subprocess.Popen(
        [sys.executable, "-c", NOT_LOOKED, "run", *words], cwd=folder, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_no_finished_trial_is_repeated(swept, tmp_path, in_this_process):
    shutil.copy(swept.desk / "many.yaml", tmp_path)
    words = ["many.yaml", "--data", str(swept.desk / "photos"), "--name", "many", "--workers", "1"]
    process = start_run(tmp_path, *words)
    folder, waited = tmp_path / "results" / "many", time.monotonic()
    while not count_rows(folder):
        assert process.poll() is None and time.monotonic() - waited < PATIENCE, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    pressed = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in out + err) == (130, False)
    assert time.monotonic() - pressed < PROMPT
    assert re.search(r"^interrupted: \d+ trials? recorded, \d+ left; the same command continues$", err, re.M)
    while session_processes(process.pid) and time.monotonic() - pressed < PROMPT:
        time.sleep(0.05)
    assert session_processes(process.pid) == []
    rows = read_rows(folder)
    done = {outcome.id for outcome in read_outcomes(folder) if outcome.status == "done"}
    assert 1 <= len(done) < 60 and not (folder / "running").exists()
    code, out, _ = call(tmp_path, "run", *words, "--seeds", len(done) + 1)
    assert code == 0 and f"trials    {len(done) + 1} ({len(done)} done, 1 to run)" in out
    after = read_rows(folder)
    assert {key: after[key] for key in done} == {key: rows[key] for key in done}
    assert len(done_ids(read_outcomes(folder))) == len(done) + 1


def count_rows(folder: Path) -> int:
    try:
        return len(read_rows(folder))
    except sqlite3.OperationalError:  # no file or no table yet
        return 0


def session_processes(session: int) -> list[str]:
    """Processes of a terminal session that have not ended, from Linux's /proc; elsewhere none are seen."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:  # it ended
            continue
        state, _, _, its_session = rest.split()[:4]
        if int(its_session) == session and state != "Z":
            found.append(name)
    return found


def test_names_that_are_no_utf8_are_shown_as_they_can_be(tmp_path):
    photos = tmp_path / os.fsdecode(b"caf\xe9")
    write_folder(photos, class_files({os.fsdecode(b"r\xe9d"): 3, "blue": 3}, "", side=16))
    code, out, err = call(tmp_path, "data", "show", "--data", photos, "--side", 16)
    assert code == 0 and "Traceback" not in err and "r?d: 2 train, 1 val" in out and "plots/data-caf?.png" in out


# ---------------------------------------------------------------- networks that share weights


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Sweep:
    """Three networks that share weights, and the best of them trained on; in this process, and never interrupted."""
    desk = write_desk(tmp_path_factory.mktemp("together"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run_pool", run_here)
        patch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", ten_seconds_each)
        return Sweep(desk, desk / "results" / "together-photos", call(desk, "run", "together.yaml", "--workers", 1))


def measurements(folder: Path) -> dict[str, tuple]:
    """What was measured of each done trial, without clock and memory."""
    return {
        o.id: replace(o.result, seconds=0.0, images_per_second=0.0, peak_memory_bytes=0)
        for o in read_outcomes(folder)
        if o.status == "done"
    }


@pytest.mark.slow
def test_networks_that_share_weights_are_a_sweep_like_any_other_and_marked(together):
    code, out, err = together.first
    assert (code, "error" in err) == (0, False)
    at = 0
    for part in (
        "sweep     results/together-photos\n",
        "recipe    tiny: one training of 400 images for all networks, which share its weights, trained at 32 px",
        "trials    3 (0 done, 3 to run), seeds 0\n",
        "\n[1/3] ",
        "\n[3/3] ",
        "finetune  ",
        " of the front, 1 epoch each\ntrials    ",
        " (0 done, ",
        "\ntogether-photos: data photos, recipe tiny, cpu; every network is a slice of one training of 400 images\n",
        "  fine-tuned  ",
        "best on validation: ",
        " trained on by themselves: ",
        "plots/together-photos/pareto.png",
    ):
        at = out.index(part, at) + len(part)
    assert out.count("sweep     ") == out.count("data      photos") == 1  # the plan is said once
    frame = load_frame(together.folder)
    slices, tuned = (frame[frame["training"] == how] for how in ("shared", "fine-tuned"))
    assert len(slices) == 3 and len(tuned) >= 1 and set(frame["status"]) == {"done"}
    assert set(slices["train_images"]) == {400} and set(tuned["train_images"]) == {24}  # three steps: an epoch
    summary = summarise(frame)
    assert set(tuned["arch_key"]) == set(summary[summary["on_front"]]["arch_key"])
    assert summary["training"].tolist() == ["shared"] * 3 and summary["tuned_top1"].notna().sum() == len(tuned)
    assert {path.suffix for path in (together.folder / "shared").iterdir()} == {".pt"}
    assert len(list((together.folder / "shared").iterdir())) == 1
    assert len(list((together.folder / "kept").iterdir())) == len(tuned)


@pytest.mark.slow
def test_a_network_of_a_shared_training_becomes_a_file(together, swept):
    name = load_frame(together.folder)["network"][0]
    code, out, err = call(together.desk, "export", name, "--sweep", "together-photos", "--data", "photos", "--slice")
    assert (code, err) == (0, "") and out.startswith(f"{name}, slice of the shared weights: validation top-1 ")
    path = together.desk / out.splitlines()[1]
    assert path.parent == together.desk / "exports" / "together-photos" and path.stat().st_size > 10_000
    assert call(together.desk, "export", name, "--sweep", "together-photos", "--slice") == (code, out, err)
    assert path.name.endswith("-slice.pt")
    for out in (".", "..", "/"):
        check_mistake(
            call(together.desk, "export", name, "--to", "onnx", "--out", out), f"--out {out}: a folder that one is in"
        )
    for out in (".", "/", ""):
        check_mistake(
            call(together.desk, "export", name, "--out", out), f"--out {out or '.'}: a folder; give the name of"
        )
    name = load_frame(swept.folder)["network"][0]
    code, out, err = call(swept.desk, "export", name, "--sweep", "tiny-photos", "--data", "photos")
    assert (code, err) == (0, "") and out.startswith(f"{name}, trained alone: validation top-1 ")
    assert out.splitlines()[0].endswith("as recorded")
    path, listed = swept.desk / out.splitlines()[1], call(swept.desk, "status", "tiny-photos", "--kept").out
    row = next(line for line in listed.splitlines() if line.endswith(str(path.parent)))
    assert path.name in row and f"{100 * load_frame(swept.folder)['val_top1'][0]:.1f}" in row.split()


@pytest.mark.slow
def test_what_is_kept_is_said_listed_lost_and_made_again(copied, in_this_process, monkeypatch):
    monkeypatch.setattr("mnv2_sweep.sweeps.again.run_pool", run_here)
    assert "\nkeep      all weights: " in copied.first.out and "\nkept      2 of 2 trials with " in copied.first.out
    listed = call(copied.desk, "status", "tiny-photos", "--kept").out
    assert listed.count(".safetensors, float") == 2 and "not kept" not in listed
    outcome = read_outcomes(copied.folder)[0]
    name, path = arch_label(outcome.trial.arch), copied.folder / own_file(outcome.trial)
    before, (record, *_) = path.stat().st_size, read_rows(copied.folder).items()
    path.unlink()
    assert "1 result without weights; " in call(copied.desk, "status", "tiny-photos", "--kept").out
    code, out, err = call(copied.desk, "export", name, "--sweep", "tiny-photos")
    assert (code, out) == (2, "") and f"mnv2-sweep run SPACE --again '{name}'" in err
    code, out, err = call(copied.desk, "run", "tiny.yaml", "--again", name)
    assert (code, err) == (0, "") and out.splitlines() == [
        f"again     {name}, 1 trial without weights",
        f"{name}, seed 0: as recorded; its weights are kept",
    ]
    assert abs(path.stat().st_size - before) < 100 and record in read_rows(copied.folder).items()
    assert call(copied.desk, "run", "tiny.yaml", "--again", name).out == f"{name}: its weights are kept already\n"
    assert call(copied.desk, "export", name, "--sweep", "tiny-photos").code == 0
    other = copied.folder / own_file(read_outcomes(copied.folder)[1].trial)
    words = ("run", "tiny.yaml", "--keep-bytes", "1kB")
    plan = call(copied.desk, *words, "--dry-run").out.splitlines()
    (removed,) = (line for line in plan if line.startswith("remove    "))
    assert removed.endswith(f", results/tiny-photos/kept/{other.name}") and other.is_file()
    assert "note      the weights of 1 of 2 trials that are kept already stay" in plan
    out = call(copied.desk, *words).out
    assert f"\n{removed.replace('remove ', 'removed')}\n" in out and not other.exists() and path.is_file()


@pytest.mark.slow
def test_photos_are_told_apart_drawn_and_listed_for_spreadsheets(copied):
    for name, content in (("=1+1.png", image_bytes(1, 24)), ("b.png", image_bytes(2, 24)), ("-bad.jpg", b"junk")):
        (copied.desk / "new").mkdir(exist_ok=True)
        (copied.desk / "new" / name).write_bytes(content)
    words = ("predict", "new", "--sweep", "tiny-photos", "--precision", "0.3")
    code, out, err = call(copied.desk, *words)
    assert code == 1 and err == "-bad.jpg: not an image, or its header is damaged\n1 photo could not be read\n"
    header, *rows = out.splitlines()
    assert header.split() == ["photo", "answer", "most", "probable", "%", "next", "%"]
    assert [row.split()[0] for row in rows[:2]] == ["=1+1.png", "b.png"]
    assert ", seed 0, of tiny-photos: not sure " in rows[2]
    assert rows[3:] == [f"plots/tiny-photos/predictions.{ending}" for ending in ("png", "svg")]
    assert all((copied.desk / row).stat().st_size for row in rows[3:])
    code, out, err = call(copied.desk, *words, "--csv")
    (header, *cells) = csv.reader(io.StringIO(out))
    assert code == 1 and header == ["photo", "answer", "class", "probability", "blue", "green", "red"]
    assert [row[0] for row in cells] == ["'=1+1.png", "b.png"]
    for row in cells:
        assert row[2] in header[4:] and row[1] in (row[2], "not sure")
        assert sum(map(float, row[4:])) == pytest.approx(1, abs=1e-5) and row[3] == max(row[4:])
    one = call(copied.desk, "predict", "new/b.png", "--sweep", "tiny-photos", "--csv")
    assert one.code == 0 and list(csv.reader(io.StringIO(one.out)))[1][2:] == cells[1][2:]


@pytest.mark.slow
def test_a_network_becomes_files_for_a_device(together):
    name = load_frame(together.folder)["network"][0]
    words = ("export", name, "--sweep", "together-photos", "--data", "photos", "--slice")
    code, out, err = call(together.desk, *words, "--to", "onnx,tflite,safetensors", "--int8", "--ends", "uint8")
    assert (code, err) == (0, "")
    files = ["model.onnx", "model.tflite", "model.safetensors", "model-int8.onnx", "model-int8.tflite"]
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines[1:6]] == files
    assert all("torch's answer on 100.0 % of" in line for line in lines[1:4])
    folder = together.desk / lines[6]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*files, "README.md", "check.json", "classify.py", "labels.txt", "preprocess.json"]
    )
    for one in json.loads((folder / "check.json").read_text()).values():
        assert one["interval"][0] <= one["top1"] <= one["interval"][1] and one["images"] > 0 and one["version"]
    command = f'mnv2-sweep export "{name}" --sweep together-photos --slice --to onnx,tflite,safetensors'
    card = (folder / "README.md").read_text()
    assert "\nHow: shared (one training of 400 images for all networks" in card
    assert "\nBegan from random weights.\n" in card
    assert "model-int8.tflite reads and gives uint8, no floats" in card
    assert f"{command} --int8 --ends uint8\n" in card and re.search(r"\| params \| [0-9.]+M \|", card)
    for more, words_of in (
        (("--to", "coreml"), "--to coreml: give onnx, tflite, safetensors, pt2, pte, or several with commas"),
        (("--to", "tflite", "--ends", "bytes"), "--ends bytes: give float, uint8, int8"),
        (
            ("--to", "pt2", "--int8"),
            "--int8: files of onnx and tflite can have 8 bits, --to pt2 has none",
        ),
        (("--int8",), "--int8, --ends and --batch are about the files of --to: give --to onnx or tflite"),
    ):
        check_mistake(call(together.desk, *words, *more), words_of)


@pytest.mark.slow
def test_photos_that_are_no_longer_where_they_were_are_asked_for(together, tmp_path, monkeypatch):
    shutil.copytree(together.folder, tmp_path / "results" / "moved")
    environment = json.loads((together.folder / "env.json").read_text())
    assert environment["data"] == str(together.desk / "photos")
    (tmp_path / "results" / "moved" / "env.json").write_text(json.dumps({**environment, "data": "/nowhere/photos"}))
    name = load_frame(together.folder)["network"][0]
    code, out, err = call(tmp_path, "export", name, "--slice")  # the cache has them
    assert code == 0 and out.startswith(f"{name}, slice of the shared weights: validation top-1 ")
    assert err.startswith("note: /nowhere/photos is gone; its images are read from ")
    monkeypatch.setattr("mnv2_sweep.cli.progress.cache_folder", lambda: tmp_path / "other")
    code, out, err = call(tmp_path, "export", name, "--slice")
    assert (code, out) == (2, "") and err.splitlines() == [
        "note: /nowhere/photos is gone, and the cache has none of its images",
        f"error: {name}: a slice of shared weights, whose batch norms are measured again on training images, and those "
        "are gone; give their place with --data PATH",
    ]
    code, out, _ = call(tmp_path, "export", name, "--slice", "--data", together.desk / "photos")
    assert code == 0 and out.startswith(f"{name}, slice of the shared weights")


@pytest.mark.slow
def test_without_photos_and_their_cache_floats_are_written_and_marked(copied, monkeypatch):
    environment = json.loads((copied.folder / "env.json").read_text())
    (copied.folder / "env.json").write_text(json.dumps({**environment, "data": "/nowhere/photos"}))
    monkeypatch.setattr("mnv2_sweep.cli.progress.cache_folder", lambda: copied.desk / "other")
    name = load_frame(copied.folder)["network"][0]
    words, gone = ("export", name, "--sweep", "tiny-photos"), "note: /nowhere/photos is gone, and the cache has none "
    code, out, err = call(copied.desk, *words)
    said = f"{name}, trained alone: unchecked, as its data are gone; top-1 "
    assert code == 0 and out.startswith(said) and err.startswith(gone) and err.count("\n") == 1
    assert call(copied.desk, "status", "tiny-photos", "--kept").out.count("unchecked") == 1
    code, out, err = call(copied.desk, *words, "--to", "onnx,safetensors")
    assert code == 0 and out.startswith(said)
    assert err.splitlines()[1:] == [
        f"model.{form}: written, but unchecked: the validation images are gone" for form in ("onnx", "safetensors")
    ]
    folder = copied.desk / out.splitlines()[1]
    assert (folder / "labels.txt").read_text().split() == ["blue", "green", "red"]
    assert json.loads((folder / "preprocess.json").read_text())["first_size"] == [24, 24]
    assert "were gone when it was exported" in (folder / "README.md").read_text()
    code, out, err = call(copied.desk, *words, "--to", "onnx", "--int8")
    assert (code, out.count("\n")) == (2, 1) and "error: --int8: 8 bits are calibrated on training images" in err
    code, out, err = call(copied.desk, "predict", "photos", "--sweep", "tiny-photos")
    assert (code, out) == (2, "") and "error: --data: probabilities are calibrated on the validation images" in err
    listed = call(copied.desk, "status", "tiny-photos", "--kept").out
    assert listed.count("unchecked") == 3
    code, out, err = call(copied.desk, *words, "--to", "tflite", "--out", "a\nb")
    assert code == 0 and out.splitlines()[1:] == ["a?b"] and (copied.desk / "a\nb" / "model.tflite").is_file()
    shutil.rmtree(copied.desk / "a\nb")
    code, out, err = call(copied.desk, *words, "--to", "tflite")
    stays = "stays as an earlier export of this network wrote it"
    assert [line for line in out.splitlines() if stays in line] == [
        f"model.{f}: {stays}" for f in ("onnx", "safetensors")
    ]
    assert call(copied.desk, "status", "tiny-photos", "--kept").out.count("unchecked") == 5


@pytest.mark.slow
def test_written_files_predict_and_are_listed(copied):
    name = load_frame(copied.folder)["network"][0]
    code, out, err = call(copied.desk, "export", name, "--sweep", "tiny-photos", "--to", "tflite,safetensors")
    folder = out.splitlines()[-1]
    listed = call(copied.desk, "status", "tiny-photos", "--kept").out
    assert (code, err) == (0, "") and listed.count(str(copied.desk / folder)) == 2
    (copied.desk / "new").mkdir(exist_ok=True)
    (copied.desk / "new" / "a.png").write_bytes(image_bytes(1, 24))
    words = ("predict", "new", "--precision", "0.8", "--csv")
    of_file = call(copied.desk, *words, "--file", f"{folder}/model.tflite")
    of_network = call(copied.desk, *words, "--sweep", "tiny-photos", "--network", name)
    assert of_file.code == of_network.code == 0
    rows = [list(csv.reader(io.StringIO(one.out))) for one in (of_file, of_network)]
    assert rows[0][0] == rows[1][0] and rows[0][1][:3] == rows[1][1][:3]
    assert list(map(float, rows[0][1][3:])) == pytest.approx(list(map(float, rows[1][1][3:])), abs=2e-5)
    assert f"plots/{Path(folder).name}/predictions.png" in of_file.err
    check_mistake(
        call(copied.desk, "predict", "new", "--file", folder, "--sweep", "tiny-photos"),
        "--sweep: of a sweep's networks; leave out either that or --file",
    )


def test_what_is_estimated_where_the_weights_are_there_already(together, tmp_path, monkeypatch):
    """A slice is left to evaluate, as after Ctrl-C."""
    shutil.copytree(together.folder, tmp_path / "results" / "together-photos")
    for name in ("photos", "together.yaml"):
        (tmp_path / name).symlink_to(together.desk / name)
    with closing(sqlite3.connect(tmp_path / "results" / "together-photos" / DATABASE)) as database:
        some = next(outcome.id for outcome in read_outcomes(together.folder) if outcome.trial.shared.finetune is None)
        database.execute("DELETE FROM trials WHERE id = ?", (some,))
        database.commit()
    estimated = []

    def estimate(trials, *words, trained, **more) -> TimeEstimate:
        estimated.append((len(trials), trained))
        return TimeEstimate(dict.fromkeys(trials, 1.0), 1, "cpu", {})

    monkeypatch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", estimate)
    assert call(tmp_path, "run", "together.yaml", "--dry-run").code == 0
    weights = {shared_id(outcome.trial) for outcome in read_outcomes(together.folder)}
    assert estimated == [(1, weights)] and len(weights) == 1


def test_where_trials_failed_nothing_is_trained_on_and_that_is_said(desk, tmp_path, in_this_process):
    (tmp_path / "photos").symlink_to(desk / "photos")
    (tmp_path / "wild.yaml").write_text(TOGETHER.replace("batch: 8", "batch: 8, lr: 1.0e+30"))
    code, out, err = call(tmp_path, "run", "wild.yaml", "--workers", 1)
    assert code == 1 and "3 trials failed (logs in " in err
    assert out.count("finetune  skipped: 3 trials failed, so the front is not known; see --retry-failed\n") == 1


@pytest.mark.slow
def test_tables_tell_slices_from_what_was_trained_on(together, swept):
    lines = call(together.desk, "table", "together-photos", "--trials").out.splitlines()
    assert lines[0].split()[:2] == ["network", "weights"]
    hows = [re.search(r"last=64 +(shared|fine-tuned) +32 px", line)[1] for line in lines[1:]]
    assert hows.count("shared") == 3 and hows.count("fine-tuned") == len(hows) - 3 >= 1
    rows = json.loads(call(together.desk, "table", "together-photos", "--json").out)
    assert [row["training"] for row in rows] == ["shared"] * 3
    assert "weights" not in call(swept.desk, "table", "tiny-photos", "--trials").out
    assert "slice" not in call(swept.desk, "table", "tiny-photos").out


@pytest.mark.slow
def test_running_a_shared_sweep_again_trains_nothing(together):
    rows = read_rows(together.folder)
    code, out, _ = call(together.desk, "run", "together.yaml", "--workers", 1)
    assert (code, read_rows(together.folder)) == (0, rows)
    assert "trials    3 (3 done, 0 to run)" in out and "[1/" not in out and "note " not in out
    table = "\ntogether-photos: "
    assert out[out.index(table) :] == together.first.out[together.first.out.index(table) :]
    assert f"{len(rows)} of {len(rows)} done" in call(together.desk, "status", "together-photos").out


@pytest.mark.parametrize(
    "words, name, length",
    [
        ("together.yaml", "together-photos", "one training of 400 images for all networks"),
        ("together.yaml --shared", "together-photos", "one training of 400 images for all networks"),
        ("together.yaml --separate", "together-photos-separate", "64 images each"),
        ("together.yaml --separate --name other", "other", "64 images each"),
        ("tiny.yaml --shared", "tiny-photos-shared", "one training of 64 images for all networks"),
        ("tiny.yaml --separate", "tiny-photos", "64 images each"),
    ],
)
def test_a_strategy_that_is_not_the_file_s_is_in_the_sweep_s_name(desk, monkeypatch, words, name, length):
    monkeypatch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", ten_seconds_each)
    before = read_tree(desk)
    code, out, err = call(desk, "run", *words.split(), "--dry-run")
    assert (code, err, read_tree(desk)) == (0, "", before)
    assert out.startswith(f"sweep     results/{name}\n") and f"recipe    tiny: {length}" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "images, options, difference",
    [
        (400, ["--separate", "--name", "together-photos"], "strategy shared -> separate"),
        (408, [], "images of the shared training 400 -> 408"),
    ],
    ids=["strategy", "images"],
)
def test_another_strategy_under_the_same_name_is_refused(together, tmp_path, images, options, difference):
    space = tmp_path / "together.yaml"
    space.write_text(TOGETHER.replace("images: 400", f"images: {images}"))
    before = read_tree(together.folder)
    answer = call(together.desk, "run", space, *options)
    check_mistake(answer, f"results/together-photos: its results were made differently ({difference}); give this sweep")
    assert read_tree(together.folder) == before


def press_ctrl_c(attempts, source, workers, limits, gpus):
    """Trials run here, and after the first step of one somebody presses it."""

    def stop() -> bool:
        if not source.stop() and list(attempts.folder.glob("running/*.json")):
            signal.raise_signal(signal.SIGINT)
        return source.stop()

    return run_serial(attempts, replace(source, stop=stop))


@pytest.mark.slow
def test_interrupted_in_the_shared_training_it_goes_on_to_the_same_numbers(together, tmp_path, in_this_process):
    (tmp_path / "photos").symlink_to(together.desk / "photos")
    shutil.copy(together.desk / "together.yaml", tmp_path)
    folder = tmp_path / "results" / "together-photos"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run_pool", press_ctrl_c)
        code, _, err = call(tmp_path, "run", "together.yaml", "--workers", 1)
    assert code == 130 and "interrupted: 0 trials recorded, 3 left; the same command continues\n" in err
    (left,) = (folder / "shared").iterdir()
    assert left.suffix == ".checkpoint" and measurements(folder) == {}
    code, out, err = call(tmp_path, "run", "together.yaml", "--workers", 1)
    assert code == 0 and "trials    3 (0 done, 3 to run)" in out
    assert measurements(folder) == measurements(together.folder)
    logs = "".join(path.read_text() for path in (folder / "logs").iterdir())
    assert re.search(r"resumed after step [1-4]?\d\n", logs) and logs.count("shared training of 3 networks") == 1
    assert not left.exists()
