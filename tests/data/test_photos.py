import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import square
from mnv2_sweep.data import photos
from mnv2_sweep.data.cache import RowFile, building_folder
from mnv2_sweep.data.files import PhotoFolder
from mnv2_sweep.data.photos import find_decoded, open_photos
from tests.photo_samples import (
    BOTH,
    OK,
    check_refused,
    class_files,
    counts,
    image_bytes,
    must_not_decode,
    split_files,
    write_folder,
    write_zip,
)

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "pets", split_files(train=BOTH, val={"cat": 3, "dog": 2}, test={"cat": 2, "dog": 2}))


def test_given_splits_are_used(folder, cache):
    seen = []
    data = open_photos(folder, cache, lambda done, total: seen.append((done, total)))
    assert counts(data) == {"train": BOTH, "val": {"cat": 3, "dog": 2}, "test": {"cat": 2, "dog": 2}}
    assert (data.name, data.classes, data.side, data.skipped, data.notes) == ("pets", ("cat", "dog"), 12, (), ())
    assert data.loss == pytest.approx(0.2)  # of 15 x 12
    assert seen == [(n, 37) for n in range(1, 38)]
    assert data.labels["val"].dtype == np.int64 and data.labels["val"].tolist() == [0, 0, 0, 1, 1]
    assert data.names["val"] == ["val/cat/0.png", "val/cat/1.png", "val/cat/2.png", "val/dog/0.png", "val/dog/1.png"]


def test_pixels_are_those_of_the_named_file(folder, cache):
    data = open_photos(folder, cache)
    for split in data.labels:
        pixels = data.pixels(split, square(12))
        assert len(pixels) == len(data.labels[split]) and not pixels.flags.writeable
        for name, row in zip(data.names[split], pixels, strict=True):
            assert (np.asarray(Image.open(folder / name))[:, 1:13] == row).all()  # 15 x 12: the centre


def test_folder_zip_and_wrapped_zip_are_the_same_data(folder, tmp_path, cache):
    first = open_photos(folder, cache)
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.png")}
    backwards = dict(reversed(files.items()))
    wrapped = {f"some folder/{name}": data for name, data in files.items()} | {"__MACOSX/some folder/._x.png": b"x"}
    for number, members in enumerate([files, backwards, wrapped]):
        (tmp_path / str(number)).mkdir()
        file = write_zip(tmp_path / str(number) / "pets.zip", members, compression=zipfile.ZIP_DEFLATED)
        other = open_photos(file, cache)
        assert (other.fingerprint, other.folder, other.names) == (first.fingerprint, first.folder, first.names)
    assert (
        open_photos(file, tmp_path / "cache2").pixels("train", square(12)) == first.pixels("train", square(12))
    ).all()


def test_what_is_decoded_outlives_the_photos(folder, cache):
    data = open_photos(folder, cache)
    shutil.rmtree(folder)
    found = find_decoded(data.fingerprint, cache, folder)
    assert found.classes == data.classes and found.labels.keys() == data.labels.keys() and found.name == data.name
    for split in data.labels:
        for size in (square(data.side), square(8)):
            assert np.array_equal(found.pixels(split, size), data.pixels(split, size))
    assert find_decoded("0" * 64, cache, folder) is None
    assert find_decoded(data.fingerprint[:12] + "0" * 52, cache, folder) is None
    (data.folder / "names.json").unlink()
    assert find_decoded(data.fingerprint, cache, folder) is None


def test_fingerprint_follows_the_content_alone(folder, tmp_path, cache):
    first = open_photos(folder, cache).fingerprint
    os.utime(folder / "train/cat/0.png", (1, 1))
    moved = folder.rename(tmp_path / "moved")
    assert open_photos(moved, cache).fingerprint == first
    (moved / "train/cat/0.png").write_bytes(image_bytes(99))
    changed = open_photos(moved, cache)
    assert changed.fingerprint != first and changed.folder.is_dir()


def test_junk_is_ignored_and_bad_files_are_listed(folder, cache):
    write_folder(
        folder,
        {
            "README.md": b"hello",
            "train/labels.csv": b"",
            ".DS_Store": b"",
            "train/cat/.DS_Store": b"",
            "train/cat/Thumbs.db": b"",
            "train/.ipynb_checkpoints/x.png": image_bytes(1),
            "train/stray.png": image_bytes(2),
            "train/cat/notes.txt": b"hello",
            "train/cat/text.png": b"no image",
            "train/dog/cut.png": image_bytes(3)[:200],
            "val/dog/empty.jpg": b"",
        },
    )
    data = open_photos(folder, cache)
    assert counts(data)["train"] == BOTH
    reasons = dict(data.skipped)
    assert list(reasons) == [
        "train/cat/notes.txt",
        "train/cat/text.png",
        "train/dog/cut.png",
        "train/stray.png",
        "val/dog/empty.jpg",
    ]
    assert reasons["train/cat/notes.txt"] == "not an image file"
    assert reasons["train/cat/text.png"] == "not an image, or its header is damaged"
    assert reasons["train/stray.png"] == "outside the class folders"
    assert reasons["val/dog/empty.jpg"] == "empty file"
    assert open_photos(folder, cache, must_not_decode).skipped == data.skipped
    for split in data.labels:
        assert len(data.pixels(split, square(12))) == len(data.labels[split]) == len(data.names[split])


def test_second_open_reads_no_image(folder, cache, monkeypatch):
    first = open_photos(folder, cache)
    monkeypatch.setattr(PhotoFolder, "read", must_not_decode)
    again = open_photos(folder, cache, must_not_decode)
    assert (again.fingerprint, again.names) == (first.fingerprint, first.names)
    assert (again.pixels("val", square(12)) == first.pixels("val", square(12))).all()


def test_error_in_the_middle_leaves_nothing_and_the_next_run_works(folder, cache):
    def stop(done, total):
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_photos(folder, cache, stop)
    assert not cache.exists()
    assert counts(open_photos(folder, cache))["train"] == BOTH


def test_killed_process_leaves_nothing_that_is_trusted(folder, cache):
    code = (
        "import os, sys; from pathlib import Path; from mnv2_sweep.data.photos import open_photos\n"
        "open_photos(Path(sys.argv[1]), Path(sys.argv[2]), lambda done, total: done == 30 and os._exit(9))"
    )
    root = str(Path(photos.__file__).parents[1])
    run = subprocess.run([sys.executable, "-c", code, folder, cache], env={**os.environ, "PYTHONPATH": root})
    assert run.returncode == 9
    (left,) = cache.iterdir()
    data = open_photos(folder, cache)
    assert counts(data)["train"] == BOTH and len(data.pixels("train", square(12))) == 28
    assert left.exists()  # it might be another run's that is still going
    old = time.time() - 2 * 24 * 3600
    os.utime(left, (old, old))
    os.utime(folder / "train/cat/0.png", (1, 1))
    open_photos(folder, cache)
    assert not left.exists()


@pytest.mark.parametrize("damage", ["index.json", "train-12.npy", "names.json", "half"])
def test_damaged_cache_is_made_again(folder, cache, damage):
    data = open_photos(folder, cache)
    if damage == "half":
        os.truncate(data.folder / "train-12.npy", 1000)
    else:
        (data.folder / damage).unlink()
    again = open_photos(folder, cache)
    assert len(again.pixels("train", square(12))) == len(again.names["train"]) == 28


def test_many_at_once_agree(folder, cache):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_photos(folder, cache), range(4)))
        smaller = list(pool.map(lambda data: data.pixels("train", square(8)), found))
    assert len({data.fingerprint for data in found}) == 1
    assert all((pixels == smaller[0]).all() for pixels in smaller)
    assert {path.name for path in cache.iterdir()} == {found[0].folder.name, "opened"}
    assert not list(found[0].folder.glob(".*"))


def test_what_another_run_finishes_meanwhile_is_none_that_was_left(folder, cache, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter([path / ".building-renamed"]))
    with building_folder(cache, 1) as built:
        assert built.is_dir()


@pytest.mark.parametrize("side", [1, 8, 33, 64])
def test_smaller_pixels_agree_with_pillow(tmp_path, cache, side):
    data = open_photos(write_folder(tmp_path / "d", class_files(BOTH, side=64)), cache)
    native, small = data.pixels("val", square(64)), data.pixels("val", square(side))
    assert small.shape == (len(native), side, side, 3) and not small.flags.writeable
    for before, after in zip(native, small, strict=True):
        expected = Image.fromarray(before).resize((side, side), Image.Resampling.LANCZOS)
        assert (np.asarray(expected) == after).all()


def test_pixels_are_never_enlarged(folder, cache):
    data = open_photos(folder, cache)
    assert data.pixels("val", square(96)).shape[1:] == (12, 12, 3)
    with pytest.raises(DataError, match="no split 'dev'; there are: train, val, test"):
        data.pixels("dev", square(8))
    with pytest.raises(DataError, match="images of 0 px"):
        data.pixels("val", square(0))


@pytest.mark.parametrize("side, cached", [(3, 8), (50, 50), (300, 256)])
def test_cached_side_is_the_median_within_bounds(tmp_path, cache, side, cached):
    data = open_photos(write_folder(tmp_path / "d", class_files({"a": 2, "b": 2}, side=side)), cache)
    assert data.side == cached == data.pixels("train", square(1000)).shape[1]


def test_image_bomb(tmp_path, cache):
    bomb = io.BytesIO()
    Image.new("1", (20_000, 6_000)).save(bomb, "PNG")
    path = write_folder(tmp_path / "d", OK | {"dog/bomb.png": bomb.getvalue()})
    check_refused(path, cache, "'dog/bomb.png': image bomb? It has 120 megapixels, at most 100 are allowed")


def test_bomb_that_the_sample_of_sizes_missed(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(photos, "SAMPLED_SIZES", 1)
    test_image_bomb(tmp_path, cache)


def test_cache_inside_the_data(folder):
    with pytest.raises(DataError, match="the cache lies inside the data folder"):
        open_photos(folder, folder / "cache")


def test_cache_that_is_a_file(folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file: the image cache cannot be used: "):
        open_photos(folder, tmp_path / "file")


def test_disk_too_small(folder, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**4, 0, 10**4))
    with pytest.raises(DataError, match="needs 0 MB, 0 MB are free; free some or name a cache folder"):
        open_photos(folder, cache)
    assert not cache.exists()


def test_disk_full_on_the_way(folder, cache, monkeypatch):
    def full(self, pixels):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RowFile, "add", full)
    with pytest.raises(DataError, match="the disk is full"):
        open_photos(folder, cache)
    assert not cache.exists()


def test_file_refused_by_the_system_is_tried_again(folder, cache, monkeypatch):
    def refuse(self, name, read=PhotoFolder.read):
        if name == "train/cat/0.png":
            raise PermissionError(13, "Permission denied")
        return read(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(PhotoFolder, "read", refuse)
        assert open_photos(folder, cache).skipped == (("train/cat/0.png", "cannot be read: Permission denied"),)
    assert open_photos(folder, cache).skipped == ()


@pytest.mark.slow
def test_clothing_small(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_SIDE", 64)  # a tenth of the time
    file = SHARED / "clothing-small" / "clothing-small.zip"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    data = open_photos(file, tmp_path / "cache")
    assert {split: len(places) for split, places in data.labels.items()} == {"train": 3068, "val": 341, "test": 372}
    assert counts(data)["train"]["t-shirt"] == 795 and counts(data)["test"]["shoes"] == 73
    assert (data.side, len(data.classes), data.skipped) == (64, 10, ())
    assert json.loads((data.folder / "index.json").read_text())["fingerprint"] == data.fingerprint
