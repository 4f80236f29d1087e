"""The command `finetune`, as a person calls it: a sweep of its own, again, with other photos, and mistakes."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mnv2_sweep.cli.finetune import find_data
from mnv2_sweep.pretrained.folder import list_added, weights_folder
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.sweeps import again, workers
from mnv2_sweep.sweeps.pool import run_serial
from mnv2_sweep.trials.trial import EMBEDDED, DataRef
from tests.cli.test_main import TINY, Answer, call, measurements
from tests.photo_samples import class_files, write_folder

NETWORK, LABEL = "0.35@32", "0.35 at 32, table f5d335, last=64"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A person's folder with two kinds of photos and a sweep of one kind."""
    desk = tmp_path_factory.mktemp("desk")
    write_folder(desk / "photos", class_files({"red": 8, "green": 8, "blue": 8}, side=24))
    write_folder(desk / "others", class_files({"cyan": 9, "pink": 8, "white": 8, "grey": 9}, side=24))
    (desk / "tiny.yaml").write_text(
        TINY.replace("[0.35, 1.0]", "[0.35]").replace("batch: 8", "batch: 8, eval_crop: 0.8")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(desk / "cache"))
        patch.setattr("mnv2_sweep.plots.style.PNG_DPI", 20)
        for module in (workers, again):  # a server that is there already has the cache of another test
            patch.setattr(module, "run_pool", lambda attempts, feed, *more: run_serial(attempts, feed))
        workers.worker_dataset.cache_clear()
        assert call(desk, "run", "tiny.yaml", "--name", "tiny").code == 0
        yield desk
        workers.worker_dataset.cache_clear()


def finetune(desk: Path, *words: object) -> Answer:
    return call(desk, "finetune", NETWORK, *words)


@pytest.mark.slow
def test_a_network_is_trained_on_and_the_sweep_is_one_like_any_other(desk):
    assert finetune(desk, "--images", 64, "--dry-run").code == 0 and list_added(weights_folder()) == []
    first, folder = finetune(desk, "--images", 64), desk / "results" / "tiny-finetune"
    assert len(list_added(weights_folder())) == 1
    assert first.code == 0 and "recipe    tune: its own classifier, then 64 images each" in first.out
    assert "tuning changed top-1 on validation by " in first.out
    second = finetune(desk, "--images", 64)  # the last sweep is now its own
    assert second.code == 0 and "trials    1 (1 done, 0 to run)" in second.out
    assert "tuning changed" in call(desk, "table", "tiny-finetune").out
    assert "trained from pretrained weights" in call(desk, "export", NETWORK, "--sweep", "tiny-finetune").out
    assert call(desk, "predict", "photos/red/0.png", "--sweep", "tiny-finetune").code in (0, 1)
    before = measurements(folder)
    for path in folder.glob("kept/*"):
        path.unlink()
    refused = call(desk, "export", NETWORK, "--sweep", "tiny-finetune")
    command = f"mnv2-sweep finetune {NETWORK} --name tiny-finetune --again"
    assert (refused.code, refused.out) == (2, "") and refused.err.endswith(f"{command}\n")
    assert f"'{command.replace(NETWORK, 'NETWORK')}' makes them" in call(desk, "status", "tiny-finetune", "--kept").out
    for path in (desk / "cache" / "weights").iterdir():  # the weights that it began with are made again
        path.unlink()
    assert "as recorded; its weights are kept" in call(desk, *shlex.split(command)[1:]).out
    assert finetune(desk, "--again").out == f"{LABEL}: its weights are kept already\n"
    assert measurements(folder) == before


@pytest.mark.slow
def test_other_photos_have_a_classifier_of_their_own(desk):
    answer = finetune(desk, "--sweep", "tiny", "--data", "others", "--name", "other", "--epochs", 1, "--seeds", 2)
    assert answer.code == 0 and "recipe    tune: a linear classifier on the features, then" in answer.out
    trials = [outcome.trial for outcome in read_outcomes(desk / "results" / "other")]
    assert {trial.seed for trial in trials} == {0, 1} and {trial.arch.classes for trial in trials} == {4}
    assert {trial.start.source for trial in trials} == {f"sweep tiny: {LABEL}, seed 0"}
    for path in (desk / "results" / "other").glob("kept/*"):
        path.unlink()
    again = call(desk, "finetune", NETWORK, "--name", "other", "--again")  # on the data that it ran on
    assert again.code == 0 and again.out.count("as recorded; its weights are kept") == 2


@pytest.mark.slow
def test_the_middle_of_photos_is_what_written_files_read_too(desk):
    """It was trained with `eval_crop`; the script, which has only the folder, answers as validation did."""
    answer = call(desk, "export", NETWORK, "--sweep", "tiny", "--to", "onnx")
    assert answer.code == 0 and "torch's answer on 100.0 % of" in answer.out
    folder = desk / answer.out.splitlines()[-1]
    assert json.loads((folder / "preprocess.json").read_text())["crop_from"] == [40, 40]
    photos = sorted(map(str, (desk / "photos").glob("*/*.png")))
    listed = call(desk, "predict", "photos", "--sweep", "tiny", "--csv").out.splitlines()
    said = subprocess.run(
        [sys.executable, folder / "classify.py", *photos], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [line.split("\t")[1].split()[0] for line in said] == [line.split(",")[2] for line in listed[1:]]


MISTAKES = {
    "no such network": ((NETWORK.replace("0.35", "9.0"),), "9.0@32: results/tiny has no such network with a result"),
    "no such sweep": ((NETWORK, "--sweep", "no"), "results/no: no such sweep; there "),
    "no such seed": ((NETWORK, "--seed", 3), "--seed 3: results/tiny has 0.35@32 with seed 0"),
    "two lengths": ((NETWORK, "--epochs", 1, "--images", 9), "--epochs --images: one of them"),
    "no such photos": ((NETWORK, "--data", "no"), "--data no: no such folder or archive"),
    "again, of a sweep of its own": (
        (NETWORK, "--name", "tiny", "--again"),
        f"results/tiny: 'finetune' did not make it; 'mnv2-sweep run SPACE --again {NETWORK}' trains its network",
    ),
    "the sweep itself": ((NETWORK, "--name", "tiny"), "results/tiny: its results were made differently ("),
}


@pytest.mark.parametrize("words, line", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.slow
def test_a_mistake_is_one_line(desk, words, line):
    there = {path for path in desk.glob("results/*/*") if path.suffix != ".sqlite"}
    answer = call(desk, "finetune", *words)
    assert (answer.code, answer.out) == (2, "") and answer.err.startswith(f"error: {line}")
    assert answer.err.count("\n") == 1 and {p for p in desk.glob("results/*/*") if p.suffix != ".sqlite"} == there


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_data_lie_nowhere_and_are_never_gone(tmp_path, make_trial, name):
    assert find_data(tmp_path, make_trial(data=DataRef(name, "f", 10)), None) == name


@pytest.mark.slow
def test_data_that_are_gone_are_asked_for(desk):
    (desk / "photos").rename(desk / "moved")
    try:
        answer = finetune(desk, "--sweep", "tiny", "--name", "gone")
        assert answer.code == 2 and f"error: results/tiny: its data {desk / 'photos'} are gone; " in answer.err
        moved = finetune(desk, "--sweep", "tiny", "--name", "gone", "--data", "moved", "--dry-run")
        assert "its own classifier" in moved.out and not (desk / "results" / "gone").exists()
    finally:
        (desk / "moved").rename(desk / "photos")
