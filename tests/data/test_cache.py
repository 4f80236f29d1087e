"""A cache that something has changed is noticed, and made anew."""

import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data import cache as cached
from mnv2_sweep.data.batches import image_batch
from mnv2_sweep.data.cache import is_sound, open_images, seal
from mnv2_sweep.data.photos import PhotoData, open_photos
from tests.photo_samples import must_not_decode, split_files, write_folder

SIZES = (square(12), square(8), Size(8, 12))


@pytest.fixture
def folder(tmp_path) -> Path:
    few = {"cat": 2, "dog": 2}
    return write_folder(tmp_path / "pets", split_files(train=few, val=few, test=few))


def everything(data: PhotoData) -> tuple:
    """All that training, evaluation and export read."""
    pixels = {(split, size): data.pixels(split, size).tobytes() for split in data.labels for size in SIZES}
    labels = {split: tuple(places) for split, places in data.labels.items()}
    return pixels, labels, data.names, data.classes, data.fingerprint, data.skipped, data.notes, data.source


def rotten(raw: bytes, draw: random.Random) -> bytes:
    """Change some bytes at a random place: flip a bit, zero, overwrite, cut, remove, double, swap or reverse them."""
    at = draw.randrange(len(raw))
    end = min(len(raw), at + draw.choice([1, 4, 64]))
    part = raw[at:end]
    kinds = [
        bytes([part[0] ^ 1 << draw.randrange(8)]) + part[1:], bytes(len(part)), draw.randbytes(len(part)), b"",
        part + part, part[::-1], part[len(part) // 2 :] + part[: len(part) // 2],
    ]  # fmt: skip
    return raw[:at] if draw.random() < 0.1 else raw[:at] + draw.choice(kinds) + raw[end:]


def is_harmless(name: Path, before: bytes, after: bytes) -> bool:
    """Return whether a change says the same as before, or is to a file that only says how to mend others."""
    if before == after or name.name.startswith("digests.json"):
        return True
    try:
        return name.suffix == ".crc" and json.loads(after) == json.loads(before)
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("changes", "least"),
    [pytest.param(40, 25, marks=pytest.mark.slow), pytest.param(500, 400, marks=pytest.mark.heavy)],
)
def test_changes_one_at_a_time_are_noticed_or_do_no_harm(folder, tmp_path, changes, least):
    good = everything(open_photos(folder, tmp_path / "good"))
    names = sorted(path.relative_to(tmp_path / "good") for path in (tmp_path / "good").rglob("*") if path.is_file())
    draw, noticed = random.Random(0), 0
    for number in range(changes):
        cache, said = tmp_path / f"cache{number}", []
        shutil.copytree(tmp_path / "good", cache)
        name = draw.choice(names)
        before = (cache / name).read_bytes()
        after = rotten(before, draw)
        (cache / name).write_bytes(after)
        found = everything(open_photos(folder, cache, say=said.append))
        assert found == good, (number, name)
        assert said or is_harmless(name, before, after), (number, name)
        noticed += bool(said)
        shutil.rmtree(cache)
    assert noticed > least


DAMAGES = {
    "flipped": lambda raw: raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:],
    "zeroed": lambda raw: raw[:128] + bytes(len(raw) - 128),
    "cut": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\0",
    "empty": lambda raw: b"",
    "retyped": lambda raw: raw.replace(b"|u1", b"|i1"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_damaged_pixels_are_made_anew_and_that_is_said_in_one_line(folder, tmp_path, damage, size):
    data = open_photos(folder, tmp_path / "cache")
    wanted = data.pixels("val", size).copy()
    file = data.folder / f"val-{size}.npy"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    said = []
    again = open_photos(folder, tmp_path / "cache", must_not_decode, say=said.append)
    assert np.array_equal(again.pixels("val", size), wanted)
    assert said == [f"the image cache was damaged ({file}); built anew"]
    assert np.array_equal(open_photos(folder, tmp_path / "cache", say=said.append).pixels("val", size), wanted)
    assert len(said) == 1


@pytest.mark.parametrize("name", ["index.json", "names.json"])
def test_reversed_labels_and_names_are_noticed(folder, tmp_path, name):
    wanted = everything(open_photos(folder, tmp_path / "cache"))
    (file,) = (tmp_path / "cache").glob(f"*/{name}")
    values = json.loads(file.read_text())
    of_split = values["labels"] if "labels" in values else values
    of_split["val"] = of_split["val"][::-1]
    file.write_text(json.dumps(values))
    said = []
    assert everything(open_photos(folder, tmp_path / "cache", say=said.append)) == wanted
    assert len(said) == 1 and "was damaged" in said[0] and "built anew" in said[0]


def test_damaged_pixels_without_the_photos_are_one_clear_line(folder, tmp_path):
    data = open_photos(folder, tmp_path / "cache")
    file = data.folder / "val-12.npy"
    file.write_bytes(DAMAGES["flipped"](file.read_bytes()))
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="not there any more; rectangles, and what was damaged in"):
        data.pixels("val", square(12))


def test_a_photo_that_changed_since_never_mends_a_cache(folder, tmp_path):
    data = open_photos(folder, tmp_path / "cache")
    file = data.folder / "val-12.npy"
    file.write_bytes(DAMAGES["flipped"](file.read_bytes()))
    shutil.copy(folder / "val/dog/0.png", folder / "val/cat/0.png")
    with pytest.raises(DataError, match="'val/cat/0.png' is not what it was when the data were opened"):
        data.pixels("val", square(12))


def test_a_cache_of_an_earlier_version_stays_and_gets_its_sums(folder, tmp_path, monkeypatch):
    wanted = everything(open_photos(folder, tmp_path / "cache"))
    for sums in (tmp_path / "cache").rglob("*.crc"):
        sums.unlink()
    monkeypatch.setattr(cached, "_SOUND", {})  # another process
    said = []
    data = open_photos(folder, tmp_path / "cache", must_not_decode, say=said.append)
    assert everything(data) == wanted and not said
    file = data.folder / "val-12.npy"
    file.write_bytes(DAMAGES["flipped"](file.read_bytes()))
    assert everything(open_photos(folder, tmp_path / "cache", say=said.append)) == wanted and len(said) == 1


def test_a_cache_that_can_only_be_read_is_read(folder, tmp_path, monkeypatch):
    wanted = everything(open_photos(folder, tmp_path / "cache"))
    for sums in (tmp_path / "cache").rglob("*.crc"):
        sums.unlink()

    def refuse(*words):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cached, "_SOUND", {})
    monkeypatch.setattr(cached, "write_whole", refuse)
    assert everything(open_photos(folder, tmp_path / "cache")) == wanted


@pytest.mark.parametrize("size", [0, 1, 1000, 4096, 10_000])
def test_blocks_of_any_number_are_summed(tmp_path, monkeypatch, size):
    monkeypatch.setattr(cached, "BLOCK_BYTES", 512)
    file = tmp_path / "file"
    file.write_bytes(random.Random(1).randbytes(size))
    seal(file)
    assert is_sound(file)
    assert json.loads((tmp_path / "file.crc").read_text())["bytes"] == size
    raw = bytearray(file.read_bytes() + b"x")
    raw[-1:] = b"" if size else b"y"
    if size:
        raw[size // 2] ^= 4
    file.write_bytes(raw)
    assert not is_sound(file)


def test_a_file_is_read_once_a_process_unless_it_changes(tmp_path, monkeypatch):
    file = tmp_path / "a.npy"
    np.save(file, np.zeros((2, 3, 3, 3), np.uint8))
    seal(file)
    monkeypatch.setattr(cached, "_sum_blocks", must_not_decode)
    assert open_images(file, (2, 3, 3, 3)) is not None and open_images(file, (1, 3, 3, 3)) is None
    monkeypatch.undo()
    os.utime(file, (1, 1))
    assert is_sound(file)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what a process has in memory where Linux says it")
def test_images_that_were_read_do_not_stay_in_a_process_s_memory(tmp_path):
    """A worker that is ended at a limit would else be ended for images of which the system keeps one copy for all."""
    file = tmp_path / "a.npy"
    np.save(file, np.random.RandomState(0).randint(0, 256, (500, 40, 40, 3), np.uint8))

    def resident_bytes() -> int:
        mapped = Path("/proc/self/smaps").read_text().partition(str(file))[2]
        return 1024 * int(mapped.partition("Rss:")[2].split()[0])

    images = open_images(file, (500, 40, 40, 3))
    wanted = torch.from_numpy(images[100:400].copy()).permute(0, 3, 1, 2) / 127.5 - 1
    assert resident_bytes() > 300 * 40 * 40 * 3
    batch = image_batch(images, torch.arange(100, 400), "cpu")
    assert torch.allclose(batch, wanted, atol=1e-6) and resident_bytes() == 0
