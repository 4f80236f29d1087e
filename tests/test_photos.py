import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnv2_sweep import photos
from mnv2_sweep.errors import DataError
from mnv2_sweep.photos import Photo, hold_out, open_photos

SHARED = Path(__file__).parents[2] / "shared" / "data"
BOTH = {"cat": 20, "dog": 8}


def image_bytes(seed: int, side: int = 12, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (side, side + 3, 3), np.uint8)
    Image.fromarray(noise).save(out, form)
    return out.getvalue()


def class_files(classes: dict[str, int], under: str = "", side: int = 12) -> dict[str, bytes]:
    """{"cat": 2} -> {"cat/0.png": ..., "cat/1.png": ...}, no two images alike."""
    return {
        f"{under}{label}/{number}.png": image_bytes(hash_of(f"{under}{label}{number}"), side)
        for label, count in classes.items()
        for number in range(count)
    }


def hash_of(text: str) -> int:
    return sum(ord(letter) * 131**place for place, letter in enumerate(text)) % 2**32


def split_files(**splits: dict[str, int]) -> dict[str, bytes]:
    return {name: data for split, classes in splits.items() for name, data in class_files(classes, f"{split}/").items()}


def write_folder(root: Path, files: dict[str, bytes | None]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).mkdir() if data is None else (root / name).write_bytes(data)
    return root


def write_zip(file: Path, files: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file


def counts(data) -> dict[str, dict[str, int]]:
    return {split: {data.classes[i]: n for i, n in Counter(at.tolist()).items()} for split, at in data.labels.items()}


def must_not_decode(done, total):
    raise AssertionError("decoded again")


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
    assert seen == [(n, 37) for n in range(1, 38)]
    assert data.labels["val"].dtype == np.int64 and data.labels["val"].tolist() == [0, 0, 0, 1, 1]
    assert data.names["val"] == ["val/cat/0.png", "val/cat/1.png", "val/cat/2.png", "val/dog/0.png", "val/dog/1.png"]


def test_pixels_are_those_of_the_named_file(folder, cache):
    data = open_photos(folder, cache)
    for split in data.labels:
        pixels = data.pixels(split, 12)
        assert len(pixels) == len(data.labels[split]) and not pixels.flags.writeable
        for name, row in zip(data.names[split], pixels, strict=True):
            assert (np.asarray(Image.open(folder / name))[:, 1:13] == row).all()  # 15 x 12: the centre


@pytest.mark.parametrize(
    "train, val, test",
    [("Train", "valid", "TEST"), ("train", "Validation", "test"), ("TRAIN", "dev", "Test")],
)
def test_split_names(tmp_path, cache, train, val, test):
    files = split_files(**{train: BOTH, val: {"cat": 1, "dog": 1}, test: {"cat": 1, "dog": 1}})
    assert set(counts(open_photos(write_folder(tmp_path / "d", files), cache))) == {"train", "val", "test"}


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
    assert (open_photos(file, tmp_path / "cache2").pixels("train", 12) == first.pixels("train", 12)).all()


def test_fingerprint_follows_the_content_alone(folder, tmp_path, cache):
    first = open_photos(folder, cache).fingerprint
    os.utime(folder / "train/cat/0.png", (1, 1))
    moved = folder.rename(tmp_path / "moved")
    assert open_photos(moved, cache).fingerprint == first
    (moved / "train/cat/0.png").write_bytes(image_bytes(99))
    changed = open_photos(moved, cache)
    assert changed.fingerprint != first and changed.folder.is_dir()


def test_hold_out_without_splits_is_stratified(tmp_path, cache):
    data = open_photos(write_folder(tmp_path / "d", class_files({"cat": 20, "dog": 8, "emu": 2})), cache)
    assert counts(data) == {"train": {"cat": 17, "dog": 7, "emu": 1}, "val": {"cat": 3, "dog": 1, "emu": 1}}
    # Pinned: experiments name their data by the fingerprint, so the choice may never drift.
    assert data.names["val"][:3] == ["cat/0.png", "cat/16.png", "cat/19.png"]


def test_hold_out_from_train_when_there_is_only_a_test(tmp_path, cache):
    data = open_photos(write_folder(tmp_path / "d", split_files(train=BOTH, test={"cat": 2})), cache)
    assert counts(data) == {"train": {"cat": 17, "dog": 7}, "val": {"cat": 3, "dog": 1}, "test": {"cat": 2}}
    assert data.notes == ("test has no image of class 'dog'",)


def test_hold_out_ignores_the_order_and_is_at_most_about_5000():
    many = [Photo("train", label, f"{label}/{n}.jpg") for label in "abcd" for n in range(20_000)]
    chosen = [photo for photo in hold_out("x", many) if photo.split == "val"]
    assert Counter(photo.label for photo in chosen) == dict.fromkeys("abcd", 1250)
    assert set(hold_out("x", many[::-1])) == set(hold_out("x", many))


def test_a_class_may_be_called_like_a_split(tmp_path, cache):
    data = open_photos(write_folder(tmp_path / "d", class_files({"boat": 4, "train": 4})), cache)
    assert data.classes == ("boat", "train")


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
        assert len(data.pixels(split, 12)) == len(data.labels[split]) == len(data.names[split])


def test_damaged_zip_member_is_listed(tmp_path, cache):
    file = write_zip(tmp_path / "d.zip", class_files(BOTH))
    raw = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        raw[archive.getinfo("cat/3.png").header_offset + 60] ^= 255
    file.write_bytes(raw)
    data = open_photos(file, cache)
    assert [path for path, _ in data.skipped] == ["cat/3.png"] and "CRC" in data.skipped[0][1]
    assert open_photos(file, cache, must_not_decode).skipped == data.skipped


def test_packing_that_cannot_be_bounded_is_not_unpacked(tmp_path, cache):
    file = write_zip(tmp_path / "d.zip", class_files(BOTH), compression=zipfile.ZIP_LZMA)
    with pytest.raises(DataError, match="another method than deflate"):
        open_photos(file, cache)


def test_second_open_reads_no_image(folder, cache, monkeypatch):
    first = open_photos(folder, cache)
    monkeypatch.setattr(photos.FolderSource, "read", must_not_decode)
    again = open_photos(folder, cache, must_not_decode)
    assert (again.fingerprint, again.names) == (first.fingerprint, first.names)
    assert (again.pixels("val", 12) == first.pixels("val", 12)).all()


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
        "import os, sys; from pathlib import Path; from mnv2_sweep.photos import open_photos\n"
        "open_photos(Path(sys.argv[1]), Path(sys.argv[2]), lambda done, total: done == 30 and os._exit(9))"
    )
    root = str(Path(photos.__file__).parents[1])
    run = subprocess.run([sys.executable, "-c", code, folder, cache], env={**os.environ, "PYTHONPATH": root})
    assert run.returncode == 9
    (left,) = cache.iterdir()
    data = open_photos(folder, cache)
    assert counts(data)["train"] == BOTH and len(data.pixels("train", 12)) == 28
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
    assert len(again.pixels("train", 12)) == len(again.names["train"]) == 28


def test_many_at_once_agree(folder, cache):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_photos(folder, cache), range(4)))
        smaller = list(pool.map(lambda data: data.pixels("train", 8), found))
    assert len({data.fingerprint for data in found}) == 1
    assert all((pixels == smaller[0]).all() for pixels in smaller)
    assert {path.name for path in cache.iterdir()} == {found[0].folder.name, "opened"}
    assert not list(found[0].folder.glob(".*"))


@pytest.mark.parametrize("side", [1, 8, 33, 64])
def test_smaller_pixels_agree_with_pillow(tmp_path, cache, side):
    data = open_photos(write_folder(tmp_path / "d", class_files(BOTH, side=64)), cache)
    native, small = data.pixels("val", 64), data.pixels("val", side)
    assert small.shape == (len(native), side, side, 3) and not small.flags.writeable
    for before, after in zip(native, small, strict=True):
        expected = Image.fromarray(before).resize((side, side), Image.Resampling.LANCZOS)
        assert (np.asarray(expected) == after).all()


def test_pixels_are_never_enlarged(folder, cache):
    data = open_photos(folder, cache)
    assert data.pixels("val", 96).shape[1:] == (12, 12, 3)
    with pytest.raises(DataError, match="no split 'dev'; there are: train, val, test"):
        data.pixels("dev", 8)
    with pytest.raises(DataError, match="side 0"):
        data.pixels("val", 0)


@pytest.mark.parametrize("side, cached", [(3, 8), (50, 50), (300, 256)])
def test_cached_side_is_the_median_within_bounds(tmp_path, cache, side, cached):
    data = open_photos(write_folder(tmp_path / "d", class_files({"a": 2, "b": 2}, side=side)), cache)
    assert data.side == cached == data.pixels("train", 1000).shape[1]


# Broken data: what is given, and what the one line says.

OK = class_files(BOTH)
VAL = {"cat": 2, "dog": 2}
BROKEN_FOLDERS = {
    "no-images": ({"readme.txt": b"x"}, "no image in it; wanted: <class>/*.jpg"),
    "no-class-folders": (
        {"0.png": OK["cat/0.png"], "1.png": OK["cat/1.png"]},
        "'0.png' lies in no class folder; wanted",
    ),
    "splits-without-classes": ({"train/0.png": b"", "val/1.png": b""}, "'train/0.png' lies in no class folder; wanted"),
    "one-class": (class_files({"cat": 5}), "one class only: 'cat'; at least 2"),
    "one-class-in-splits": (split_files(train={"cat": 3}, val={"cat": 3}), "one class only: 'cat'"),
    "empty-class": (OK | {"emu": None}, "no readable image of class 'emu'; add images"),
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


def check_refused(path: Path, cache: Path, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_photos(path, cache)
    text = str(caught.value)
    assert message in text and text.startswith(str(path)) and "\n" not in text and not cache.exists()


@pytest.mark.parametrize(
    "member",
    [
        "../evil.png",
        "cat/../../evil.png",
        "/etc/evil.png",
        "C:/evil.png",
        "c:evil.png",
        "cat\\..\\..\\evil.png",
        "\\evil.png",
    ],
)
def test_zip_member_that_would_escape(tmp_path, cache, member):
    path = write_zip(tmp_path / "d.zip", OK | {member: OK["cat/0.png"]})
    check_refused(path, cache, f"member {member!r} would leave the folder it is unpacked to")
    assert {file.name for file in tmp_path.rglob("*")} == {"d.zip"}


def test_path_that_does_not_exist(tmp_path, cache):
    check_refused(tmp_path / "nowhere", cache, "no such file or folder; give a folder of class folders or a zip of one")


def test_path_that_is_neither(tmp_path, cache):
    os.mkfifo(tmp_path / "pipe")
    check_refused(tmp_path / "pipe", cache, "neither a folder nor a file; give")


def test_file_that_is_no_zip(tmp_path, cache):
    (tmp_path / "d.zip").write_bytes(b"hello")
    check_refused(tmp_path / "d.zip", cache, "not a zip, or one that is cut short or damaged")


def test_zip_cut_short(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK)
    os.truncate(path, path.stat().st_size * 2 // 3)
    check_refused(path, cache, "not a zip, or one that is cut short or damaged")


def test_encrypted_zip(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory at the end
    path.write_bytes(raw)
    check_refused(path, cache, "'cat/0.png' is encrypted; unpack the zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK | {"cat//0.png": OK["cat/1.png"]})
    check_refused(path, cache, "'cat/0.png' is in the zip twice")


def test_zip_bomb(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 2**20)
    path = write_zip(tmp_path / "d.zip", OK | {"cat/big.png": bytes(5 * 2**20)}, compression=zipfile.ZIP_DEFLATED)
    check_refused(path, cache, "'cat/big.png' has 5 MiB, at most 1 are allowed")


def test_zip_that_lies_about_a_size_is_read_no_further(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK | {"cat/big.png": bytes(5 * 2**20)}, compression=zipfile.ZIP_DEFLATED)
    raw = path.read_bytes()
    path.write_bytes(raw.replace((5 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    data = open_photos(path, cache)
    assert [name for name, _ in data.skipped] == ["cat/big.png"]


def test_image_bomb(tmp_path, cache):
    bomb = io.BytesIO()
    Image.new("1", (20_000, 6_000)).save(bomb, "PNG")
    path = write_folder(tmp_path / "d", OK | {"dog/bomb.png": bomb.getvalue()})
    check_refused(path, cache, "'dog/bomb.png': image bomb? It has 120 megapixels, at most 100 are allowed")


def test_bomb_that_the_sample_of_sizes_missed(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(photos, "SAMPLED_SIZES", 1)
    test_image_bomb(tmp_path, cache)


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.png", "{root}/cat"])
def test_link_out_of_the_folder_or_to_a_folder(tmp_path, cache, target):
    write_folder(tmp_path, {"outside.png": OK["cat/0.png"]})
    path = write_folder(tmp_path / "d", OK)
    os.symlink(target.format(root=path) if target[0] != "." else f"../{target}", path / "cat" / "link.png")
    check_refused(path, cache, "'cat/link.png' is a link to")


def test_link_inside_is_read_and_a_broken_one_listed(tmp_path, cache):
    path = write_folder(tmp_path / "d", OK)
    os.symlink("0.png", path / "cat" / "again.png")
    os.symlink("gone.png", path / "cat" / "broken.png")
    data = open_photos(path, cache)
    assert sum(map(len, data.names.values())) == 29
    assert data.skipped == (("cat/broken.png", "a broken link, or not a regular file"),)


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

    monkeypatch.setattr(photos._RowFile, "add", full)
    with pytest.raises(DataError, match="the disk is full"):
        open_photos(folder, cache)
    assert not cache.exists()


def test_file_refused_by_the_system_is_tried_again(folder, cache, monkeypatch):
    def refuse(self, name, read=photos.FolderSource.read):
        if name == "train/cat/0.png":
            raise PermissionError(13, "Permission denied")
        return read(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(photos.FolderSource, "read", refuse)
        assert open_photos(folder, cache).skipped == (("train/cat/0.png", "cannot be read: Permission denied"),)
    assert open_photos(folder, cache).skipped == ()


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
