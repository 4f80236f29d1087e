"""Options of data, as a user gives them: what is shown, and that a sweep's workers and later commands read the same."""

import json

import pytest

from mnv2_sweep.cli.options import DataOptions
from mnv2_sweep.data.asked import PhotoOptions, read_name
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.trials.trial import EMBEDDED
from tests.cli.test_main import TINY, call, check_mistake
from tests.marked_samples import as_masks, as_voc, write
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


@pytest.fixture
def marked_desk(tmp_path):
    write(tmp_path / "boxes", as_voc())
    write(tmp_path / "masks", as_masks())
    for head in ("ssdlite", "deeplabv3"):
        (tmp_path / f"{head}.yaml").write_text(f"fixed: {{head: {head}, resolution: 96}}\naxes: {{width: [0.35]}}\n")
    return tmp_path


@pytest.mark.parametrize(
    "kind, first",
    [("boxes", "3 train with 3 boxes, 2 val with 3 boxes, 1 test with 1 box"), ("masks", "3 train, 2 val, 1 test")],
)
def test_boxes_and_masks_are_shown(kind, first, marked_desk):
    code, out, err = call(marked_desk, "data", "show", "--data", kind, "--split", "val")
    assert code == 0 and out.splitlines()[0] == f"images    {first}" and "Traceback" not in err
    assert out.splitlines()[-2:] == [f"plots/data-{kind}-{kind}.{ending}" for ending in ("png", "svg")]
    assert (marked_desk / "plots" / f"data-{kind}-{kind}.png").stat().st_size > 1000


def test_the_plan_counts_boxes_and_masks_and_their_classes(marked_desk):
    answer = call(marked_desk, "plan", "ssdlite.yaml", "--data", "boxes")
    assert answer.code == 0 and "classes   cat 1, dog 2 (boxes for training)" in answer.out
    assert "note: images without boxes, in which nothing is to be found: 1 train" in answer.err
    of_two = call(marked_desk, "plan", "ssdlite.yaml", "--classes", 2).out.splitlines()[:2]
    assert answer.out.splitlines()[:2] == of_two
    answer = call(marked_desk, "plan", "deeplabv3.yaml", "--data", "masks")
    assert answer.code == 0 and "images    3 train, 2 val, 1 test" in answer.out
    assert (
        answer.out.splitlines()[:2] == call(marked_desk, "plan", "deeplabv3.yaml", "--classes", 3).out.splitlines()[:2]
    )


@pytest.mark.parametrize(
    "words, said",
    [
        ("plan ssdlite.yaml --data shapes", "--data shapes: its images have a class each, no boxes"),
        ("plan ssdlite.yaml --data masks", "masks: no boxes; wanted are COCO json"),
        ("plan deeplabv3.yaml --data boxes", "boxes: no masks; wanted are images/ and masks/"),
        (
            "plan both.yaml --data boxes",
            "plan: --data given, but networks that end in ssdlite, classifier learn from boxes and",
        ),
        ("data show --data boxes --as masks", "boxes: no masks; wanted are images/ and masks/"),
        ("data show --data boxes --fit crop", "--fit crop: would cut off boxes; squash (the usual here) and pad show"),
        ("plan deeplabv3.yaml --data masks --fit crop", "--fit crop: would cut off masks"),
        ("data show --data boxes --as pixels", "--as pixels: one of classes, boxes, masks is wanted"),
    ],
)
def test_mistakes_with_boxes_and_masks_are_one_line(words, said, marked_desk):
    (marked_desk / "both.yaml").write_text("axes: {head: [ssdlite, classifier]}\n")
    check_mistake(call(marked_desk, *words.split()), said)


def test_a_split_that_is_not_there_is_named(marked_desk):
    answer = call(marked_desk, "data", "show", "--data", "boxes", "--split", "dev")
    said = "error: --split dev: boxes-boxes has train, val, test"
    assert answer.code == 2 and answer.err.splitlines()[-1] == said and not (marked_desk / "plots").exists()
