"""Photos are seen exactly as in training, a batch at a time; what can't be read is named and costs nothing else."""

import io
import os
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from mnv2_sweep.base.errors import DataError, SweepError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data import decode
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.photos import find_first_size, open_photos, read_pixels
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.sweeps import predict
from mnv2_sweep.sweeps.predict import calibrate_network, choose_outcome, list_photos, network_classifier, predict_photos
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.kept import keep_network
from mnv2_sweep.training.loop import evaluate_model, run_trial
from mnv2_sweep.training.ways.way import work_of
from mnv2_sweep.trials.trial import DataRef
from mnv2_sweep.trials.ways import own_file
from tests.conftest import TINY_ARCH
from tests.data.test_tars import write_tar
from tests.data.test_zip_names import Raw
from tests.photo_samples import class_files, image_bytes, write_folder, write_zip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    files = class_files({"blue": 9, "green": 9, "red": 9}, under="train/", side=24)
    files |= class_files({"blue": 30, "green": 30, "red": 30}, under="val/", side=24)
    write_folder(root / "photos", files)
    return open_photos(root / "photos", root / "cache")


@pytest.fixture
def sweep(data, make_trial, tmp_path):
    """A folder with a network that kept its weights, better than another one that did not."""
    reference = DataRef(data.name, data.fingerprint, 3)
    trial, other = (make_trial(arch=replace(TINY_ARCH, width=w), data=reference, images=60) for w in (0.25, 0.5))
    keep = Control(keep=lambda *words: keep_network(tmp_path / own_file(trial), data, Control(), False, *words))
    record(tmp_path, Outcome(trial, run_trial(trial, data, "cpu", keep)))
    result = run_trial(other, data, "cpu")
    record(tmp_path, Outcome(other, replace(result, scores={"val": {"top1": 1.0, "loss": 0.1}})))
    return tmp_path, trial, other


@pytest.mark.parametrize("size", [square(24), square(16), square(40), Size(12, 20)], ids=str)
def test_a_photo_becomes_the_pixels_that_training_had(data, size):
    expected = data.pixels("val", size)
    for at in (0, 31, 89):
        content = (data.source / "val" / data.names["val"][at].removeprefix("val/")).read_bytes()
        assert np.array_equal(read_pixels(content, size, find_first_size(data, size), "photo"), expected[at])


def test_what_it_says_of_the_validation_photos_is_what_was_measured(sweep, data):
    folder, trial, _ = sweep
    model = work_of(trial).rebuild(trial, folder, (), data)
    classifier = network_classifier(model, trial, data)
    confidence = calibrate_network(classifier, data, 0.4)
    photos = list_photos(data.source / "val")
    found = list(predict_photos(classifier, confidence.temperature, photos))
    assert len(found) == 90 and [one.name for one in found] == sorted(photos.names)
    right = [data.classes[one.best] == one.name.split("/")[0] for one in found]
    assert np.mean(right) == evaluate_model(model, trial, data, "val", "cpu")[0]["top1"]
    answered = [one.is_sure(confidence.threshold) for one in found]
    assert np.mean(answered) == pytest.approx(confidence.share)
    if confidence.share:
        assert np.mean(np.array(right)[answered]) == pytest.approx(confidence.precision) and confidence.precision >= 0.4
    assert all(one.probabilities.sum() == pytest.approx(1) for one in found)


def test_what_can_not_be_read_is_named(sweep, data, tmp_path, monkeypatch):
    folder, trial, _ = sweep
    model = work_of(trial).rebuild(trial, folder, (), data)
    monkeypatch.setattr(predict, "MAX_FILE_BYTES", 20_000)
    monkeypatch.setattr(decode, "MAX_PIXELS", 50_000)
    good = image_bytes(1, 24)
    large = io.BytesIO()
    Image.new("L", (300, 300)).save(large, "PNG")
    files = {"a.png": good, "b.jpg": b"junk", "c.png": b"", "d.png": good[:60], "e.png": large.getvalue()}
    files |= {"f.png": b"0" * 20_001, "in/g.PNG": good, "notes.txt": b"text"}
    write_folder(tmp_path / "new", files)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(predict_photos(network_classifier(model, trial, data), 1.0, list_photos(tmp_path / "new")))
    assert [one.name for one in found] == ["a.png", "b.jpg", "c.png", "d.png", "e.png", "f.png", "in/g.PNG"]
    assert [one.name for one in found if one.probabilities is not None] == ["a.png", "in/g.PNG"]
    assert np.array_equal(found[0].probabilities, found[-1].probabilities)
    reasons = {one.name: one.reason for one in found}
    assert reasons["b.jpg"] == "not an image, or its header is damaged" and reasons["c.png"] == "empty file"
    assert "image bomb?" in reasons["e.png"] and "at most" in reasons["f.png"] and reasons["d.png"]
    assert all("\n" not in reason for reason in reasons.values())


def test_a_photo_a_folder_and_a_zip(tmp_path):
    content = image_bytes(1, 24)
    (tmp_path / "one.png").write_bytes(content)
    assert list_photos(tmp_path / "one.png").names == ("one.png",)
    assert list_photos(tmp_path).read("one.png") == content
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("deep/one.png", content)
    photos = list_photos(tmp_path / "some.zip")
    assert photos.names == ("deep/one.png",) and photos.read("deep/one.png") == content
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    for path, message in (("none", "no such file or folder; give a photo"), ("text.txt", "neither a photo nor a zip"),
                          ("empty", "no photo in it; photos are .jpg")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            list_photos(tmp_path / path)


def test_what_a_file_is_its_content_says(tmp_path):
    """Without an ending, or with one of no image: alone, in a folder, in a zip."""
    content = image_bytes(1, 24, "JPEG")
    files = {
        "IMG_0001": content,
        "b.jpg_large": content,
        "c.png": content,
        "d.HEIC": b"",
        "notes.txt": b"text",
        "empty": b"",
    }
    names = ("IMG_0001", "b.jpg_large", "c.png", "d.HEIC")
    assert list_photos(write_folder(tmp_path / "new", files)).names == names
    assert list_photos(write_zip(tmp_path / "new.zip", files)).names == names
    assert list_photos(write_tar(tmp_path / "new.tar", files)).names == names
    for name in names[:3]:
        assert list_photos(tmp_path / "new" / name).read(name) == content
    heic = tmp_path / "IMG_0002"
    heic.write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(DataError, match="IMG_0002: HEIC, which needs: pip install .*; give a photo"):
        list_photos(heic)


def test_links_that_lead_nowhere_or_out_are_named_and_left_out(tmp_path):
    content, outside = image_bytes(1, 24), write_folder(tmp_path / "outside", {"far.png": image_bytes(2, 24)})
    new = write_folder(tmp_path / "new", {"a.png": content})
    links = {"b.png": "/nowhere/b.png", "c.png": outside / "far.png", "d.png": "a.png", "e": outside, "f.txt": "/no"}
    for name, target in links.items():
        (new / name).symlink_to(target)
    photos = list_photos(new)
    assert photos.names == ("a.png", "b.png", "c.png", "d.png", "e") and photos.read("d.png") == content
    with pytest.raises(decode.UnreadableImage, match="^a link to '/nowhere/b.png', where nothing is$"):
        photos.read("b.png")
    for name in ("c.png", "e"):
        with pytest.raises(decode.UnreadableImage, match="a link to '/.*', which is not in the folder; see --follow"):
            photos.read(name)
    followed = list_photos(new, PhotoOptions(follow_links=True))
    assert followed.names == ("a.png", "b.png", "c.png", "d.png", "e/far.png")
    assert followed.read("c.png") == followed.read("e/far.png") == image_bytes(2, 24)
    with pytest.raises(decode.UnreadableImage, match="a broken link"):
        followed.read("b.png")


def test_a_folder_within_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    new, listed = (
        write_folder(tmp_path / "new", {"a.png": image_bytes(1, 24), "in/b.png": image_bytes(2, 24)}),
        os.scandir,
    )

    def scan(path):
        if str(path).endswith("/in"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scan)
    photos = list_photos(new)
    assert photos.names == ("a.png", "in")
    with pytest.raises(decode.UnreadableImage, match="^the folder cannot be listed: Permission denied$"):
        photos.read("in")


def test_the_best_network_that_has_weights_is_meant(sweep):
    folder, trial, other = sweep
    assert choose_outcome(folder).trial == trial == choose_outcome(folder, arch_label(trial.arch), 0).trial
    with pytest.raises(SweepError, match="its weights are not kept in .*--again"):
        choose_outcome(folder, arch_label(other.arch))
    with pytest.raises(SweepError, match="--seed 4: .* with seed 0"):
        choose_outcome(folder, None, 4)
    (folder / own_file(trial)).unlink()
    with pytest.raises(SweepError, match="no network has its weights; .*: mnv2-sweep run SPACE --again NETWORK"):
        choose_outcome(folder)


def test_probabilities_are_of_logits_over_the_temperature(sweep, data):
    folder, trial, _ = sweep
    model = work_of(trial).rebuild(trial, folder, (), data)
    classifier, photos = network_classifier(model, trial, data), list_photos(data.source / "val")
    cold, warm = (next(predict_photos(classifier, t, photos)).probabilities for t in (1.0, 2.0))
    assert warm == pytest.approx(softmax(np.log(cold) / 2), rel=1e-4)


def test_a_task_of_another_kind_is_refused(sweep, data):
    folder, trial, _ = sweep
    with pytest.raises(SweepError, match="its task is regress; networks that classify predict"):
        network_classifier(None, replace(trial, task="regress"), data)


def test_names_in_a_zip_have_the_encoding_that_is_given(tmp_path):
    with zipfile.ZipFile(tmp_path / "gbk.zip", "w") as archive:
        archive.writestr(Raw("собака.png".encode("cp1251")), image_bytes(1))
    with pytest.raises(DataError, match="--zip-encoding"):
        list_photos(tmp_path / "gbk.zip")
    assert list_photos(tmp_path / "gbk.zip", PhotoOptions(zip_encoding="cp1251")).names == ("собака.png",)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="--follow-links: .*gbk.zip is no folder; leave it out"):
        list_photos(tmp_path / "gbk.zip", PhotoOptions(follow_links=True))
    with pytest.raises(DataError, match="--zip-encoding gbk: .*folder is no zip; leave it out"):
        list_photos(tmp_path / "folder", PhotoOptions(zip_encoding="gbk"))
    with pytest.raises(DataError, match="--zip-encoding klingon: unknown"):
        list_photos(tmp_path / "gbk.zip", PhotoOptions(zip_encoding="klingon"))
