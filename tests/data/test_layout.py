"""Which files become photos of which split and class, through `open_photos`; broken layouts and their one line."""

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.layout import Photo, hold_out, sort_photos
from mnv2_sweep.data.photos import open_photos
from tests.photo_samples import BOTH, OK, check_refused, class_files, counts, split_files, write_folder, write_zip

COUNTS = {"train": 1, "val": 1, "test": 5}


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "train, val, test",
    [("Train", "valid", "TEST"), ("train", "Validation", "test"), ("TRAIN", "dev", "Test")],
)
def test_split_names(tmp_path, cache, train, val, test):
    files = split_files(**{train: BOTH, val: {"cat": 1, "dog": 1}, test: {"cat": 1, "dog": 1}})
    assert set(counts(open_photos(write_folder(tmp_path / "d", files), cache))) == {"train", "val", "test"}


def test_hold_out_without_splits_is_stratified(tmp_path, cache):
    data = open_photos(write_folder(tmp_path / "d", class_files({"cat": 20, "dog": 8, "emu": 2})), cache)
    assert counts(data) == {"train": {"cat": 17, "dog": 7, "emu": 1}, "val": {"cat": 3, "dog": 1, "emu": 1}}
    # Pinned: experiments name their data by the fingerprint, so the choice may never drift.
    assert data.names["val"][:3] == ["cat/0.png", "cat/16.png", "cat/19.png"]


def test_hold_out_from_train_when_there_is_only_a_test(tmp_path, cache):
    data = open_photos(write_folder(tmp_path / "d", split_files(train=BOTH, test={"cat": 2})), cache)
    assert counts(data) == {"train": {"cat": 17, "dog": 7}, "val": {"cat": 3, "dog": 1}, "test": {"cat": 2}}
    assert data.notes == ("test has no image of class 'dog'",)


@pytest.mark.slow
def test_hold_out_ignores_the_order_and_is_at_most_about_5000():
    many = [Photo("train", label, f"{label}/{n}.jpg") for label in "abcd" for n in range(20_000)]
    chosen = [photo for photo in hold_out("x", many) if photo.split == "val"]
    assert Counter(photo.label for photo in chosen) == dict.fromkeys("abcd", 1250)
    assert set(hold_out("x", many[::-1])) == set(hold_out("x", many))


def test_a_class_may_be_called_like_a_split(tmp_path, cache):
    data = open_photos(write_folder(tmp_path / "d", class_files({"boat": 4, "train": 4})), cache)
    assert data.classes == ("boat", "train")


# Layouts of all kinds: (files, images of each class in each split, parts of what is said).

HALF, FOUR = {"cat": 2, "dog": 2}, {"cat": 4, "dog": 4}
KEPT = {"train": {"cat": 3, "dog": 3}, "val": {"cat": 1, "dog": 1}}  # of FOUR without a val
LAYOUTS = {
    "wrappers-in-wrappers": (class_files(FOUR, "a/b/c/"), KEPT, ()),
    "wrapped-splits": (split_files(**{"a/b/train": FOUR, "a/b/valid": HALF}), {"train": FOUR, "val": HALF}, ()),
    "wrapped-in-each-split": (
        split_files(**{"training_set/training_set": FOUR, "test_set/test_set": HALF}), KEPT | {"test": HALF}, (),
    ),
    "training-and-testing": (split_files(**{"TRAINING": FOUR, "Testing": HALF}), KEPT | {"test": HALF}, ()),
    "training-dev-eval": (
        split_files(training=FOUR, Dev=HALF, eval=HALF), {"train": FOUR, "val": HALF, "test": HALF}, (),
    ),
    "a-wrapper-called-training": (class_files(FOUR, "training/"), KEPT, ()),
    "flat-test-beside-classes": (
        class_files(FOUR | {"test": 3, "unlabeled": 2, "test1": 1}), KEPT,
        ("3 photos in 'test'", "2 photos in 'unlabeled'", "1 photo in 'test1'"),
    ),
    "flat-test-beside-splits": (
        split_files(train=FOUR, val=HALF) | class_files({"test": 3, "not-labelled": 2}), {"train": FOUR, "val": HALF},
        ("left out 3 photos in 'test'", "left out 2 photos in 'not-labelled'"),
    ),
    "unknown-in-test": (
        split_files(train=FOUR, val=HALF, test={"unknown": 3}), {"train": FOUR, "val": HALF},
        ("left out 3 photos of test: in 'unknown', which is no class of train",),
    ),
    "images-in-test": (split_files(train=FOUR, test={"images": 3}), KEPT, ("left out 3 photos of test: in 'images'",)),
    "unknown-that-is-a-class": (
        split_files(train={"cat": 2, "unknown": 2}, val={"cat": 2, "unknown": 2}, test={"unknown": 2}),
        {"train": {"cat": 2, "unknown": 2}, "val": {"cat": 2, "unknown": 2}, "test": {"unknown": 2}}, (),
    ),
    "unlabelled-among-the-classes": (
        split_files(train=FOUR | {"unlabeled": 5}, val=HALF), {"train": FOUR, "val": HALF},
        ("left out 5 photos of train: in 'unlabeled', so without a label",),
    ),
    "without-endings": ({name[:-4]: data for name, data in class_files(FOUR, "w/").items()}, KEPT, ()),
    "a-table-beside-classes": (
        class_files(FOUR, "w/") | {"w/labels.csv": b"image,label"}, KEPT,
        ("'labels.csv' is not read, as the photos lie in class folders; --labels labels.csv reads it",),
    ),
    "names-with-a-common-beginning": (
        split_files(**{"seg_train/seg_train": FOUR, "seg_test/seg_test": HALF})
        | class_files({"pred": 3}, "seg_pred/seg_"),
        KEPT | {"test": HALF}, ("left out 3 photos in 'seg_pred'",),
    ),
    "splits-with-a-year": (split_files(train2017=FOUR, val2017=HALF), {"train": FOUR, "val": HALF}, ()),
    "flat-strangers-beside-splits": (
        split_files(Train=FOUR, Test=HALF) | class_files({"Meta": 1, "papers": 2}), KEPT | {"test": HALF},
        ("left out 1 photo in 'Meta'", "left out 2 photos in 'papers'"),
    ),
    "a-class-called-valid": (
        class_files({"valid": 4, "invalid": 4}),
        {"train": {"valid": 3, "invalid": 3}, "val": {"valid": 1, "invalid": 1}}, ("'valid' is read as a class",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("files, wanted, said", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, cache, files, wanted, said):
    data = open_photos(write_folder(tmp_path / "d", files), cache)
    assert counts(data) == wanted
    text = "\n".join(data.notes)
    assert all(part in text for part in said)
    assert ("left out" in text) == any(
        part.startswith(("left out", "1 photo", "2 photos", "3 photos")) for part in said
    )
    zipped = open_photos(write_zip(tmp_path / "d.zip", files), tmp_path / "cache2")
    assert (zipped.fingerprint, zipped.notes) == (data.fingerprint, data.notes)


FLAT = {
    "train-and-test": ("train", "test"),
    "train-and-test1": ("train", "test1"),
    "train-and-images": ("Train", "images"),
    "training-and-testing": ("training_set", "test_set"),
    "only-unlabelled": ("unlabeled",),
    "wrapped": ("wrap/train", "wrap/test1"),
    "images-and-masks": ("images", "masks"),
    "one-folder-of-images": ("w/JPEGImages", "w/Annotations"),
    "splits-with-a-year": ("train2017", "val2017", "annotations"),
}


@pytest.mark.parametrize("tops", FLAT.values(), ids=FLAT)
def test_flat_photos_never_become_classes(tmp_path, cache, tops):
    path = write_folder(tmp_path / "d", class_files(dict.fromkeys(tops, 4)))
    for hint in ("--labels FILE", "--label-pattern"):
        check_refused(path, cache, hint)


def test_one_class_beside_what_is_left_out_says_how_to_have_both(tmp_path, cache):
    path = write_folder(tmp_path / "d", class_files({"control": 4, "test": 4}))
    check_refused(path, cache, "(beside 'test', whose photos have no label; if these folders are classes, say --label")
    data = open_photos(path, cache, options=PhotoOptions(label_pattern="{label}/*"))
    assert data.classes == ("control", "test")


def test_many_classes_are_sorted_in_time_that_grows_with_their_number():
    """Ten thousand classes and as many test photos as ten for each: seconds, and not hours."""
    classes = [f"{number:05d}" for number in range(10_000)]
    files = [f"{split}/{label}/{n}.jpg" for label in classes for split, many in COUNTS.items() for n in range(many)]
    folders = {"train", "val", "test", *(f"{split}/{label}" for split in COUNTS for label in classes)}
    photos, left_out, notes, _ = sort_photos("x", files, folders)
    assert Counter(photo.split for photo in photos) == {split: 10_000 * many for split, many in COUNTS.items()}
    assert (left_out, notes) == ([], [])


# Broken data: what is given, and what the one line says.

VAL = {"cat": 2, "dog": 2}
HEIC_ALONE = (
    {"a/1.HEIC": b"x", "b/2.heif": b"x"},
    "no image in it but 2 files of HEIC, which needs: pip install 'mnv2-sweep[heic]'; wanted: <class>/*.jpg",
)
BROKEN_FOLDERS = {
    **({} if find_spec("pillow_heif") else {"heic alone": HEIC_ALONE}),
    "no-images": ({"readme.txt": b"x"}, "no image in it; wanted: <class>/*.jpg"),
    "no-class-folders": (
        {"0.png": OK["cat/0.png"], "1.png": OK["cat/1.png"]},
        "'0.png' lies in no class folder; wanted",
    ),
    "splits-without-classes": ({"train/0.png": b"", "val/1.png": b""}, "'train/0.png' lies in no class folder; wanted"),
    "one-class": (
        class_files({"cat": 5}),
        "one class only: 'cat'; at least 2 class folders are needed; photos whose classes no folder tells",
    ),
    "one-class-in-splits": (split_files(train={"cat": 3}, val={"cat": 3}), "one class only: 'cat'"),
    "empty-class": (
        OK | {"emu": None},
        "no readable image of class 'emu'; add images, or remove the class, or go by the photos there are: --label-pat",
    ),
    "empty-class-in-train": (split_files(train=BOTH, val=VAL) | {"train/emu": None}, "of class 'emu' in train"),
    "class-not-in-val": (split_files(train=BOTH, val={"cat": 3}), "no readable image of class 'dog' in val"),
    "class-only-in-val": (
        split_files(train=BOTH, val=VAL | {"emu": 1, "yak": 1}),
        "class folders in val but not in train: 'emu', 'yak'; train has: 'cat', 'dog'",
    ),
    "class-only-in-test": (split_files(train=BOTH, test={"emu": 1}), "in test but not in train: 'emu'"),
    "empty-test": (split_files(train=BOTH) | {"test/cat": None}, "in test; add images, or remove the test folder"),
    "val-without-train": (split_files(val=VAL, test=VAL), "has 'test', 'val' but no 'train' folder"),
    "two-folders-for-val": (
        split_files(train=BOTH, val=VAL, dev=VAL),
        "'dev', 'train', 'val': more than one folder for val",
    ),
    "stranger-beside-train": (
        split_files(train=BOTH, val=VAL, extra=VAL),
        "images in 'extra', which lies beside 'train', 'val'; move that folder away",
    ),
    "too-deep": (OK | {"dog/small/0.png": b""}, "'dog/small/0.png' lies below a class folder's own level; wanted"),
    "nothing-to-hold-out": (class_files({"cat": 5, "dog": 1}), "class 'dog' has 1 image to train on"),
    "all-unreadable": (dict.fromkeys(OK, b"x"), "not one of 28 images can be read, the first is 'cat/"),
    "all-cut-short": (
        {name: data[:300] for name, data in OK.items()},
        "no readable image of class 'cat', 'dog' in train (28 unreadable, the first",
    ),
    "class-unreadable": (
        split_files(train=BOTH, val=VAL) | {f"train/dog/{n}.png": b"x" for n in range(8)},
        "no readable image of class 'dog' in train (8 unreadable, the first is 'train/dog/0.png': not an image",
    ),
}


@pytest.mark.parametrize("files, message", BROKEN_FOLDERS.values(), ids=BROKEN_FOLDERS)
def test_broken_folder(tmp_path, cache, files, message):
    check_refused(write_folder(tmp_path / "data", files), cache, message)


@pytest.mark.parametrize("files, message", BROKEN_FOLDERS.values(), ids=BROKEN_FOLDERS)
def test_broken_zip_of_it(tmp_path, cache, files, message):
    members = {name + "/" * (data is None): data or b"" for name, data in files.items()}
    check_refused(write_zip(tmp_path / "data.zip", members), cache, message)
