"""The commands `weights ...`, as a person calls them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_main import call
from tests.weight_files import draw_arrays, keras_config, keras_layers, rename, save_h5, save_torch

ARRAYS = draw_arrays()


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """weights("list", ...) -> what the command answers, with a cache folder of the test's own."""
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    return lambda *words: call(tmp_path, "weights", *words)


def test_list_shows_what_is_published_and_what_is_here(weights, tmp_path):
    assert weights("add", save_h5(tmp_path / "mine.h5", keras_layers(ARRAYS), keras_config())).code == 0
    listed = weights("list")
    lines = listed.out.splitlines()
    assert listed.code == 0 and lines[0].split() == [
        "weights",
        "network",
        "top-1",
        "%",
        "size",
        "licence",
        "here",
    ]
    assert any(line.startswith("keras-0.35-96 ") and "45.5" in line for line in lines)
    assert any(line.startswith("mine ") and line.endswith("yes") for line in lines)
    values = json.loads(weights("list", "--json").out)
    assert len(values["published"]) > 40 and values["added"][0]["name"] == "mine"


def test_add_says_what_it_read(weights, tmp_path):
    added = weights("add", save_torch(tmp_path / "a.pth", rename(ARRAYS, "hugging face")), "--name", "g")
    assert added.code == 0
    assert added.out.startswith("g: hugging face, MobileNetV2 0.1 at 224, 5 classes, padding same, epsilon 0.001")
    assert "224 is assumed" in added.err


MISTAKES = {
    "no such file": (("add", "nowhere.h5"), "nowhere.h5: can't be read (No such file or directory)"),
    "no such weights": (("add", "nowhere.h5", "--as", "keras-9"), "--as keras-9: no such weights"),
    "nothing of that name": (("get", "keras-9"), "keras-9: no weights and no design space of that name"),
    "neither file nor name": (("check", "keras-9", "--data", "shapes"), "keras-9: no weights of that name"),
    "an empty name": (("add", "nowhere.h5", "--name", " "), "--name ' ': up to 300 printable characters"),
    "a keyword": (("add", "nowhere.h5", "--name", "imagenet"), "--name imagenet: as init it means the published"),
    "another": (("add", "nowhere.h5", "--name", "Scratch"), "--name Scratch: as init it means no weights at all"),
    "and another": (("add", "nowhere.h5", "--name", "sliced"), "--name sliced: as init it means channels of a wider"),
    "a path": (("add", "nowhere.h5", "--name", "../../x"), "--name ../../x: up to 100 printable characters without /"),
    "a formula": (("add", "nowhere.h5", "--name", "=cmd|' /C calc'!A0"), "--name =cmd|' /C calc'!A0: up to 100"),
    "an option": (("add", "nowhere.h5", "--name", "-x"), "--name -x: up to 100"),
    "no terms": (("add", "nowhere.h5", "--licence", ""), "--licence '': up to 300 printable characters"),
}


@pytest.mark.parametrize("words, line", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(weights, tmp_path, words, line):
    answer = weights(*words)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith(f"error: {line}") and answer.err.count("\n") == 1
    assert not (tmp_path / "cache" / "weights").exists()


@pytest.mark.slow
@pytest.mark.heavy  # it measures four combinations of padding and scaling at full size
def test_check_fails_where_the_record_is_not_what_fits(weights, tmp_path):
    """Random weights fit nothing: whatever is said, it is one line, and a wrong claim, or none found, is an error."""
    file = save_torch(tmp_path / "a.pth", rename(ARRAYS, "torchvision"))
    checked = weights("check", file, "--data", "shapes", "--photos", "8")
    assert checked.out.splitlines()[0].split() == ["padding", "pixels", "nats"]
    assert len(checked.out.splitlines()) == (5 if checked.code else 6)
    if checked.code:
        assert checked.code == 2 and ("its record says" in checked.err or "nothing is told" in checked.err)


def test_nothing_heavy_is_loaded_before_a_file_is_read():
    heavy = ("torch", "h5py", "onnx", "tflite")
    code = f"import sys, mnv2_sweep.sweeps.starts\nprint([*sys.modules.keys() & set({heavy})])"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root).stdout == "[]\n"


def test_a_fetched_file_that_can_t_be_added_is_not_left(weights, tmp_path, monkeypatch):
    def fetch(one, folder: Path, report) -> Path:
        folder.mkdir(parents=True)
        return save_h5(folder / f"{one.name}-{one.file_name}", keras_layers(ARRAYS))

    monkeypatch.setattr("mnv2_sweep.pretrained.download.download", fetch)
    fetched = weights("get", "keras-1.0-96")
    assert fetched.code == 2 and "keras's MobileNetV2 0.1, and keras-1.0-96 is keras's 1.0" in fetched.err
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_the_list_says_how_weights_pad(weights):
    published = {one["name"]: one["arch"]["padding"] for one in json.loads(weights("list", "--json").out)["published"]}
    same = {name for name, padding in published.items() if padding == "same"}
    assert same == {name for name in published if name.startswith(("keras-", "google-", "coral-"))} and len(same) == 27
