"""Written files predict as they did when they were exported; what is no export is one line."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from mnv2_sweep.analysis.confidence import UNCALIBRATED, Confidence, confidence_record, fit_confidence, load_confidence
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.sweeps.deploy import Files, write_device_folder
from mnv2_sweep.sweeps.exported import open_exported
from mnv2_sweep.sweeps.predict import list_photos, predict_photos
from tests.sweeps.test_deploy import CARD, CROPPED, SHAPES, STARTED, deploy, needs_runtimes, photos  # noqa: F401

pytestmark = needs_runtimes
FILES = Files(("onnx", "tflite", "safetensors"), int8=True)
NETWORKS = {
    "square": (SHAPES[0], None), "tall, grey": (SHAPES[2], None), "begun with weights": STARTED[2],
    "the middle": CROPPED[0], "the middle, begun with weights": CROPPED[4],
}  # fmt: skip


@pytest.fixture(scope="module")
def export(photos, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("exports") / "0.25@16"
    write_device_folder(folder, deploy(SHAPES[0], photos), photos, FILES, CARD)
    return folder


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_file_says_of_photos_what_it_said_of_validation(photos, tmp_path, network):  # noqa: F811
    write_device_folder(tmp_path / "out", deploy(network[0], photos, *network[1:]), photos, FILES, CARD)
    for name, check in json.loads((tmp_path / "out" / "check.json").read_text()).items():
        opened = open_exported(tmp_path / "out" / name, 0.8)
        found = list(
            predict_photos(opened.classifier, opened.confidence.temperature, list_photos(photos.source / "val"))
        )
        answers = {one.name: photos.classes[one.best] for one in found}
        right = [answers[name.removeprefix("val/")] == name.split("/")[1] for name in photos.names["val"]]
        assert np.mean(right) == check["top1"]
        confidence = check["confidence"]
        assert opened.confidence.temperature == confidence["temperature"] and confidence["images"] == len(right)
        sure = [one.is_sure(opened.confidence.threshold) for one in found]
        assert np.mean(sure) == pytest.approx(confidence["levels"][0]["share"])


def test_a_folder_means_its_first_file(export):
    assert open_exported(export, 0.95).path == export / "model.onnx"
    assert open_exported(export, 0.95).title == "model.onnx of 0.25@16"


def test_confidence_comes_back_from_its_record():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200)
    logits = random.normal(0, 1, (200, 3)) + 2 * np.eye(3)[labels]
    record = json.loads(json.dumps(confidence_record(logits, labels)))
    for precision in (0.8, 0.95):
        assert load_confidence(record, precision) == fit_confidence(logits, labels, precision)
    assert isinstance(UNCALIBRATED, Confidence) and UNCALIBRATED.images == 0


def cut(path, count):
    path.write_bytes(path.read_bytes()[:count])


BROKEN = {
    "cut onnx": ("model.onnx", lambda f: cut(f / "model.onnx", 4000), "onnxruntime can't read it"),
    "cut tflite": ("model.tflite", lambda f: cut(f / "model.tflite", 4000), "ai-edge-litert can't read it"),
    "cut safetensors": ("model.safetensors", lambda f: cut(f / "model.safetensors", 4000), "can't be read"),
    "not there": ("model.pte", lambda f: None, "no such file or folder"),
    "no network": ("labels.txt", lambda f: None, "no file of a network; its name must end in"),
    "unpickled": ("model.pt2", lambda f: (f / "model.pt2").write_bytes(b"1"), "torch unpickles such files"),
    "no export": ("", lambda f: (f / "preprocess.json").unlink(), "no preprocess.json in it"),
    "no models": ("", lambda f: [p.unlink() for p in f.glob("model*")], "none of model.onnx, .* in it"),
    "other classes": ("", lambda f: (f / "labels.txt").write_text("a\nb\n"), "labels.txt has 2 classes"),
    "no labels": ("", lambda f: (f / "labels.txt").unlink(), "labels.txt: can't be read"),
    "other size": (
        "",
        lambda f: (f / "preprocess.json").write_text((f / "preprocess.json").read_text().replace("16", "24")),
        "does not fit preprocess.json",
    ),
    "other size, tflite": (
        "model.tflite",
        lambda f: (f / "preprocess.json").write_text((f / "preprocess.json").read_text().replace("16", "24")),
        "model.tflite: does not fit preprocess.json .*it reads ",
    ),
    "huge": (
        "",
        lambda f: (f / "preprocess.json").write_text((f / "preprocess.json").read_text().replace("16", "99999")),
        "preprocess.json: can't be read",
    ),
    "json cut": ("", lambda f: cut(f / "preprocess.json", 30), "preprocess.json: can't be read"),
    "no object": ("", lambda f: (f / "check.json").write_text("[]"), "check.json: can't be read"),
    "no numbers": ("", lambda f: (f / "check.json").write_text('{"model.onnx": {"confidence": 3}}'), "can't be read"),
}


@pytest.mark.parametrize(("name", "damage", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_export_is_one_line(export, tmp_path, name, damage, message):
    shutil.copytree(export, tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(SweepError, match=message) as caught:
        open_exported(tmp_path / "out" / name if name else tmp_path / "out", 0.95)
    assert "\n" not in str(caught.value)


def test_a_precision_that_was_not_fitted_and_a_missing_runtime_are_one_line(export, monkeypatch):
    with pytest.raises(SweepError, match="--precision 0.7: a written file has its threshold for 0.8, 0.9, 0.95"):
        open_exported(export, 0.7)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SweepError, match="pip install onnxruntime"):
        open_exported(export, 0.95)


def test_a_file_that_is_not_the_one_that_was_checked_is_said_and_not_calibrated(export, photos, tmp_path):  # noqa: F811
    """As another network's, copied into this folder."""
    other = deploy(SHAPES[0], photos)
    with torch.no_grad():
        other.model.classifier[1].bias += 1
    write_device_folder(tmp_path / "other", other, photos, Files(("onnx",)), CARD)
    shutil.copytree(export, tmp_path / "out")
    assert open_exported(tmp_path / "out", 0.95).note == "" != open_exported(tmp_path / "out", 0.95).confidence
    shutil.copy(tmp_path / "other" / "model.onnx", tmp_path / "out")
    opened = open_exported(tmp_path / "out", 0.95)
    assert opened.confidence == UNCALIBRATED
    assert opened.note.startswith(f"{opened.path}: not the file that was checked when it was exported (its sha256 is")
    records = json.loads((tmp_path / "out" / "check.json").read_text())
    for record in records.values():  # as earlier versions wrote it
        del record["sha256"]
    (tmp_path / "out" / "check.json").write_text(json.dumps(records))
    assert open_exported(tmp_path / "out", 0.95).note == "" and open_exported(tmp_path / "out", 0.95).confidence.images


def test_what_was_not_checked_is_never_calibrated(photos, tmp_path):  # noqa: F811
    write_device_folder(tmp_path / "out", deploy(SHAPES[0], photos), None, Files(("onnx",)), CARD)
    assert open_exported(tmp_path / "out", 0.5).confidence == UNCALIBRATED
