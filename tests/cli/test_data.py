"""Options of data, as a user gives them: what is shown, and that a sweep's workers and later commands read the same."""

import json

import pytest

from mnv2_sweep.cli.options import DataOptions
from mnv2_sweep.data.asked import PhotoOptions, read_name
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.trials.trial import EMBEDDED
from tests.cli.test_main import TINY, call
from tests.photo_samples import class_files, write_folder

SPACE = TINY.replace("[0.35, 1.0]", "[0.35]")


@pytest.fixture
def desk(tmp_path):
    """Flat photos with a table of their classes, and a space."""
    files = class_files({"red": 8, "green": 8, "blue": 8}, side=24)
    write_folder(tmp_path / "flat", {name.replace("/", "_"): data for name, data in files.items()})
    rows = [f"{name.replace('/', '_')},{name.partition('/')[0]}" for name in files]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows]))
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


def test_the_name_of_data_is_made_of_options():
    assert DataOptions().data_name() == EMBEDDED[0] and DataOptions(data="pets").data_name("other") == "pets"
    assert DataOptions().data_name("other") == "other"
    name = DataOptions(labels=["a.csv"], fit="pad").data_name("other")
    assert read_name(name) == ("other", PhotoOptions(labels=("a.csv",), fit="pad"))


def test_classes_of_a_table_are_shown(desk):
    answer = call(desk, "data", "show", "--data", "flat", "--labels", "labels.csv", "--side", "24")
    assert answer.code == 0 and "red: 7 train, 1 val" in answer.out and (desk / "plots" / "data-flat.png").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--data", "flat"], "lies in no class folder; wanted"),
        (["--data", "flat", "--label-pattern", "{breed}_*"], "wanted is a name with {label} in it once"),
        (["--data", "flat", "--fit", "zoom"], "--fit zoom: one of crop, pad, squash is wanted"),
        (["--fit", "pad"], "--data shapes: its images are drawn"),
        (["--data", "flat", "--labels", "labels.csv", "--label-pattern", "{label}_*"], "--labels --label-pattern: one"),
        (["--data", "labels.csv"], "a table; give it as --labels labels.csv"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(desk, words, message):
    answer = call(desk, "data", "show", *words)
    assert answer.code == 2 and answer.err.startswith("error: ") and message in answer.err
    assert answer.err.count("\n") == 1 and not (desk / "plots").exists()


@pytest.mark.slow
def test_workers_exports_and_predictions_read_the_data_as_the_sweep_did(desk):
    words = ["--label-pattern", "{label}_{number}.png", "--fit", "pad"]
    ran = call(desk, "run", "tiny.yaml", "--data", "flat", *words)
    assert ran.code == 0, ran.err
    assert "data      flat-pad: 3 classes; 21 train, 3 val" in ran.out
    assert "classes   blue, green, red; 7 for training each" in ran.out
    (folder,) = (desk / "results").iterdir()
    recorded = json.loads((folder / "env.json").read_text())["data"]
    assert read_name(recorded) == (str(desk / "flat"), PhotoOptions(label_pattern=words[1], fit="pad"))
    said = call(desk, "predict", "flat", "--csv")
    assert said.code == 0 and said.out.count("\n") > 24
    (desk / "flat").rename(desk / "moved")
    network = arch_label(read_outcomes(folder)[0].trial.arch)
    done = call(desk, "export", network, "--data", "moved", "--to", "onnx", "--out", "out")
    assert done.code == 0, done.err
    assert json.loads((desk / "out" / "preprocess.json").read_text())["geometry"] == "pad"
    again = call(desk, "run", "tiny.yaml", "--data", "moved", *words, "--dry-run")
    assert again.code == 0 and "reused    1 result of sweep tiny-flat-pad" in again.out
