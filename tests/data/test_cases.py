"""What people really have (../shared/cases): each is read as it should be, or refused with what to do."""

import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import square
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.describe import describe_photos
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.data.source import decode_one, fingerprint_photos, in_order, open_source
from mnv2_sweep.trials.trial import DataRef
from tests.photo_samples import counts

SHARED = Path(__file__).parents[3] / "shared"
CASES, CLOTHES = SHARED / "cases", SHARED / "data" / "clothing-small" / "clothing-small.zip"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason=f"{CASES} is not on this machine")

READ = {
    "classes-and-flat-test.zip": ({"cat": 6, "dog": 6}, ("train", "val"), ("6 photos in 'test'", "6 photos in 'unlab")),
    "one-in-twentyfive.zip": ({"negative": 48, "positive": 2}, ("train", "val"), ()),
    "training-testing.zip": ({"glioma": 9, "none": 9}, ("train", "val", "test"), ()),
    "training-test.zip": ({"Apple 1": 9, "Tomato 1": 9}, ("train", "val", "test"), ()),
    "unlabelled-test.zip": ({"a": 9, "b": 9}, ("train", "val"), ("left out 4 photos in 'test'",)),
    "test-unknown.zip": ({"a": 9, "b": 9}, ("train", "val"), ("left out 4 photos of test: in 'unknown'",)),
    "two-wrappers.zip": ({"healthy": 6, "mold": 6}, ("train", "val"), ()),
    "ppm.zip": ({"00000": 5, "00001": 5}, ("train", "val"), ()),
    "twelve-bit.zip": ({"normal": 6, "opacity": 6}, ("train", "val"), ("use 12 bits of their 16", "4,095 is white")),
    "gbk.zip": ({"剪刀": 4, "止血钳": 4}, ("train", "val"), ("read as gbk",)),
    "shift-jis.zip": ({"表面": 4, "裏面": 4}, ("train", "val"), ("read as cp932",)),
    "wide.zip": ({"left": 8, "right": 8}, ("train", "val"), ()),
}


@needs_cases
@pytest.mark.parametrize("name", READ)
def test_a_case_is_read_and_what_was_done_is_said(tmp_path, name):
    wanted, splits, said = READ[name]
    data = open_photos(CASES / name, tmp_path)
    total = sum((Counter(of_split) for of_split in counts(data).values()), Counter())
    assert (dict(total), tuple(data.labels)) == (wanted, splits)
    assert all(any(part in note for note in data.notes) for part in said)


@needs_cases
def test_flat_photos_are_refused_with_how_to_say_their_classes(tmp_path):
    path = CASES / "flat-train-test1.zip"
    with pytest.raises(DataError) as caught:
        open_photos(path, tmp_path)
    text = str(caught.value)
    assert all(part in text for part in ("photos lie flat", "--labels FILE", "--label-pattern"))
    data = open_photos(path, tmp_path, options=PhotoOptions(label_pattern="{label}/*"))
    assert data.classes == ("test1", "train")  # by the option that says so, and by it alone


@needs_cases
def test_twelve_bits_are_no_darker_than_eight(tmp_path):
    data = open_photos(CASES / "twelve-bit.zip", tmp_path)
    pixels = data.pixels("train", square(data.side))
    assert pixels.max() > 128 and len(np.unique(pixels)) > 14


@needs_cases
@pytest.mark.parametrize("fit, told_apart", [("crop", False), ("pad", True), ("squash", True)])
def test_what_counts_at_the_edges_of_wide_photos_is_kept_by_pad_and_squash(tmp_path, fit, told_apart):
    data = open_photos(CASES / "wide.zip", tmp_path, options=PhotoOptions(fit=fit))
    (line,) = describe_photos(data)[1:]
    assert ("the centre square leaves out 67 % of the pixels; --fit pad keeps them" in line) == (fit == "crop")
    pixels, labels = data.pixels("train", square(24)).astype(float), data.labels["train"]
    means = [pixels[labels == label].mean(axis=0) for label in (0, 1)]
    assert (np.abs(means[0] - means[1]).max() > 60) == told_apart


@pytest.fixture
def clothes_ways(tmp_path) -> dict[str, tuple[Path, PhotoOptions]]:
    """The real photos of clothes in four ways: where they lie, and how they are to be read."""
    with zipfile.ZipFile(CLOTHES) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        archive.extractall(tmp_path / "folders", names)
        flat = tmp_path / "flat"
        flat.mkdir()
        rows = [name.split("/") for name in names]
        for name, (*_, last) in zip(names, rows, strict=True):
            (flat / last).hardlink_to(tmp_path / "folders" / name)
    assert len(names) == 3781
    table = ["id;split;class", *(f"{last[:-4]};{split};{label}" for split, label, last in rows)]
    (tmp_path / "labels.csv").write_text("\n".join(table))
    for wanted in ("train", "val", "test"):
        lines = [f"{last} {label}" for split, label, last in rows if split == wanted]
        (tmp_path / f"{wanted}.txt").write_text("\n".join(lines))
    with tarfile.open(tmp_path / "clothes.tar", "w") as tar:
        tar.add(tmp_path / "folders", "clothes")
    lists = tuple(str(tmp_path / f"{split}.txt") for split in ("train", "val", "test"))
    return {
        "folders": (tmp_path / "folders", PhotoOptions()),
        "flat with a table": (flat, PhotoOptions(labels=(str(tmp_path / "labels.csv"),))),
        "tar": (tmp_path / "clothes.tar", PhotoOptions()),
        "lists": (flat, PhotoOptions(labels=lists)),
    }


@pytest.mark.slow
@pytest.mark.skipif(not CLOTHES.exists(), reason=f"{CLOTHES} is not on this machine")
def test_clothes_given_four_ways_are_the_same_data(clothes_ways):
    found = {fingerprint(*way) for way in clothes_ways.values()}
    assert found == {fingerprint(CLOTHES, PhotoOptions())}


@pytest.mark.heavy  # each way is decoded into a cache of its own
@pytest.mark.skipif(not CLOTHES.exists(), reason=f"{CLOTHES} is not on this machine")
def test_clothes_given_four_ways_train_to_the_same_numbers(clothes_ways, tmp_path, make_trial):
    from mnv2_sweep.training.loop import run_trial  # torch, which the others have no use for
    from tests.stops import measured

    results = []
    for name, (path, options) in clothes_ways.items():
        data = open_photos(path, tmp_path / f"cache of {name}", options=options)
        ref = DataRef("clothes", data.fingerprint, len(data.classes))
        results.append((trial := make_trial(data=ref, images=400), measured(run_trial(trial, data))))
    assert all(other == results[0] for other in results[1:])
    assert results[0][1].images == {"val": 341, "test": 372}


def fingerprint(path: Path, options: PhotoOptions) -> str:
    source = open_source(path, options)
    return fingerprint_photos(one for one, *_ in in_order(lambda photo: decode_one(source, None, photo), source.photos))
