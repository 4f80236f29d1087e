"""Rectangles are made of the photos themselves, which must be what the squares were made of."""

import io
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.photos import PhotoData, open_photos
from tests.photo_samples import must_not_decode, write_folder, write_zip

LANDSCAPE = Size(16, 24)  # "24x16"
EDGES = {"cat": ((255, 0, 0), (255, 255, 0)), "dog": ((0, 0, 255), (0, 255, 255))}  # left and right colour


def landscape_bytes(label: str, grey: int, orientation: int = 1) -> bytes:
    """A photo of 72x48: twelve columns of a colour at either end, which no square shows, and grey between."""
    pixels = np.full((48, 72, 3), grey, np.uint8)
    pixels[:, :12], pixels[:, -12:] = EDGES[label]
    image, exif, out = Image.fromarray(pixels), Image.Exif(), io.BytesIO()
    if orientation == 6:  # stored turned, to be shown turned by 90 degrees clockwise
        image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
    image.save(out, "PNG", exif=exif)
    return out.getvalue()


def landscape_files(count: int = 5) -> dict[str, bytes]:
    return {
        f"{split}/{label}/{number}.png": landscape_bytes(label, 20 + 10 * number + 60 * (split == "val"))
        for split in ("train", "val")
        for label in EDGES
        for number in range(count)
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "views", landscape_files())


@pytest.fixture
def data(folder, tmp_path) -> PhotoData:
    return open_photos(folder, tmp_path / "cache")


def test_only_the_crop_of_their_aspect_keeps_the_edges_of_landscape_photos(data, folder):
    squares, wide = data.pixels("train", square(16)), data.pixels("train", LANDSCAPE)
    assert wide.shape == (10, 16, 24, 3) and not wide.flags.writeable
    assert (squares == squares[:, :1, :1]).all()  # nothing but the grey in the middle
    for pixels, place, path in zip(wide, data.labels["train"], data.names["train"], strict=True):
        left, right = EDGES[data.classes[place]]
        for edge, colour in ((pixels[:, :3], left), (pixels[:, -3:], right)):
            assert np.abs(edge.astype(int) - colour).max() < 20  # the filter overshoots a little
        expected = Image.open(folder / path).resize((24, 16), Image.Resampling.LANCZOS)
        assert np.abs(pixels.astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_tall_rectangles_are_the_middle(data):
    tall = data.pixels("val", Size(24, 16))
    assert tall.shape == (10, 24, 16, 3) and (tall == tall[:, :1, :1]).all()


def test_photos_stored_turned_are_turned_first(tmp_path):
    turned = {name: landscape_bytes(name.split("/")[1], 77, orientation=6) for name in landscape_files(1)}
    upright = {name: landscape_bytes(name.split("/")[1], 77) for name in turned}
    one, other = (
        open_photos(write_folder(tmp_path / name, files), tmp_path / "cache").pixels("train", LANDSCAPE)
        for name, files in (("turned", turned), ("upright", upright))
    )
    assert (one == other).all()


def test_rectangles_are_made_once_and_squares_stay_what_they_were(data, folder, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in data.folder.iterdir()}
    first = data.pixels("train", LANDSCAPE)
    assert {path.name for path in data.folder.iterdir()} == {*before, "train-24x16.npy", "train-24x16.npy.crc"}
    assert all((data.folder / name).read_bytes() == content for name, content in before.items())
    again = open_photos(folder, tmp_path / "cache", must_not_decode)
    shutil.rmtree(folder)
    assert (again.pixels("train", LANDSCAPE) == first).all()


@pytest.mark.parametrize(
    "asked, kept", [(Size(48, 64), Size(48, 64)), (Size(60, 80), Size(48, 64)), (Size(96, 64), Size(72, 48))], ids=str
)
def test_rectangles_beyond_the_squares_keep_their_aspect(data, asked, kept):
    assert data.side == 48 and data.stored_size(asked) == kept
    assert data.pixels("val", asked).shape == (10, *kept, 3)


def test_a_zip_and_two_at_once(tmp_path):
    file = write_zip(tmp_path / "views.zip", landscape_files())
    found = [open_photos(file, tmp_path / "cache") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda data: data.pixels("train", LANDSCAPE), found)
    assert (one == other).all() and len(one) == 10


def test_a_cache_of_an_earlier_version_is_checked_against_its_fingerprint(data, folder):
    (data.folder / "digests.json").unlink()  # there was none
    assert len(data.pixels("train", LANDSCAPE)) == 10
    digests = json.loads((data.folder / "digests.json").read_text())
    assert len(digests) == 20 and set(map(len, digests.values())) == {64}
    (data.folder / "digests.json").unlink()
    write_folder(folder, {"val/dog/0.png": landscape_bytes("cat", 1)})
    with pytest.raises(DataError, match="views: some photo is not what it was when the data were opened"):
        data.pixels("train", Size(8, 12))
    assert not (data.folder / "digests.json").exists()


CHANGES = {
    "changed": lambda file: file.write_bytes(landscape_bytes("dog", 1)),
    "damaged": lambda file: file.write_bytes(file.read_bytes()[:100]),
    "removed": os.remove,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_photo_that_is_another_since_is_one_clear_line(data, folder, change):
    CHANGES[change](folder / "train" / "cat" / "3.png")
    with pytest.raises(DataError) as caught:
        data.pixels("train", LANDSCAPE)
    text = str(caught.value)
    assert text.startswith(f"{folder}: 'train/cat/3.png'") and "not what it was when the data were opened" in text
    assert "put it back" in text and "\n" not in text and not list(data.folder.glob("*24x16*"))


def test_photos_that_are_gone_are_one_clear_line(data, folder):
    shutil.rmtree(folder)
    with pytest.raises(DataError) as caught:
        data.pixels("val", LANDSCAPE)
    text = str(caught.value)
    assert text.startswith(f"{folder}: not there any more") and text.endswith("put the data back")
    assert data.pixels("val", square(24)).shape == (10, 24, 24, 3)  # squares need no photos


def test_unreadable_photos_are_left_out_of_rectangles_too(tmp_path):
    files = landscape_files() | {"train/dog/2.png": b"not an image"}
    data = open_photos(write_folder(tmp_path / "views", files), tmp_path / "cache")
    assert data.pixels("train", LANDSCAPE).shape == (9, 16, 24, 3) and len(data.labels["train"]) == 9
