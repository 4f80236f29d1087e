"""Which image files are still to be made, how large they are, how long it takes."""

import time

import numpy as np
import pytest

from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.batches import prepare_pixels
from mnv2_sweep.data.catalog import DRAWINGS, DrawnData
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.sweeps import estimate
from mnv2_sweep.sweeps.estimate import ImageFile, image_files, image_seconds, make_seconds
from tests.photo_samples import class_files, write_folder


def of(file: ImageFile) -> tuple[str, int | str, bool]:
    return file.split, file.size.cell, file.cached


def test_shapes_that_are_not_rendered_yet(tmp_path):
    data = DrawnData(DRAWINGS["shapes"], tmp_path)
    data.folder.mkdir()
    (data.folder / "val-8.npy").touch()
    files = image_files(data, {square(8), square(16)})
    assert files[square(8)] == [
        ImageFile("train", square(10), 12_000, False),
        ImageFile("val", square(8), 2_000, True),
        ImageFile("test", square(8), 2_000, False),
    ]
    assert [of(file) for file in files[square(16)]] == [
        ("train", 20, False), ("val", 16, False), ("test", 16, False)
    ]  # fmt: skip
    assert files[square(8)][0].bytes == 12_000 * 3 * 100


def test_photos_are_made_smaller_and_never_larger(tmp_path):
    path = write_folder(tmp_path / "photos", class_files({"red": 6, "blue": 6}, side=16))
    data = open_photos(path, tmp_path / "cache")
    files = image_files(data, {square(12), square(40)})
    assert [of(file) for file in files[square(12)]] == [
        ("train", 15, False),
        ("val", 12, False),
    ]
    assert [of(file) for file in files[square(40)]] == [
        ("train", 16, True),
        ("val", 16, True),
    ]
    prepare_pixels(data, square(12))
    prepared = image_files(data, {square(12), square(40)})
    assert all(file.cached for made in prepared.values() for file in made)
    assert make_seconds(data, prepared) == {square(12): 0, square(40): 0}
    made = [(data.folder / f"{file.split}-{file.size}.npy", file.bytes) for file in prepared[square(12)]]
    assert all(path.stat().st_size >= least for path, least in made)
    assert 0 < image_seconds(data, square(12)) < 0.1


def test_data_without_files_have_nothing_to_make(tiny_data):
    assert image_files(tiny_data, {square(16)}) == {square(16): []} and make_seconds(tiny_data, {square(16): []}) == {
        square(16): 0
    }


def test_seconds_are_a_line_over_the_pixels_of_what_is_missing(monkeypatch):
    timed = []
    monkeypatch.setattr(estimate, "image_seconds", lambda data, size: timed.append(size) or 1e-3 + 1e-6 * size.area)
    sizes = [square(side) for side in (10, 20, 40)]
    files = {size: [ImageFile("train", size, 1000, False), ImageFile("val", square(5), 10, True)] for size in sizes}
    assert make_seconds(None, files) == pytest.approx({size: 1 + 1e-3 * size.area for size in sizes})
    assert timed == [square(10), square(40)]
    assert make_seconds(None, {sizes[0]: files[sizes[0]]}) == pytest.approx({sizes[0]: 1.1})


@pytest.mark.slow
def test_rendering_takes_about_as_long_as_it_says(tmp_path):
    data = DrawnData(DRAWINGS["shapes"], tmp_path)
    expected = 2_000 * image_seconds(data, square(16))
    start = time.process_time()
    assert isinstance(data.pixels("val", square(16)), np.ndarray)
    assert 0.3 < expected / (time.process_time() - start) < 3


def test_rectangles_of_photos_have_files_and_seconds_of_their_own(tmp_path):
    path = write_folder(tmp_path / "photos", class_files({"red": 6, "blue": 6}, side=16))
    data, wide = open_photos(path, tmp_path / "cache"), Size(8, 12)
    files = image_files(data, {wide, Size(20, 30), square(12)})
    assert [of(file) for file in files[wide]] == [("train", "15x10", False), ("val", "12x8", False)]
    assert [of(file) for file in files[Size(20, 30)]] == [("train", "24x16", False), ("val", "24x16", False)]
    assert files[wide][0].bytes == len(data.labels["train"]) * 3 * 150
    seconds = make_seconds(data, files)
    assert all(0 < each < 1 for each in seconds.values())
    prepare_pixels(data, wide)
    prepared = image_files(data, {wide})
    assert all(file.cached for file in prepared[wide]) and make_seconds(data, prepared) == {wide: 0}


def test_rectangles_are_timed_apart_from_squares(monkeypatch):
    timed = []
    monkeypatch.setattr(estimate, "image_seconds", lambda data, size: timed.append(size) or float(not size.is_square))
    sizes = [square(10), Size(10, 20), square(40), Size(30, 50)]
    files = {size: [ImageFile("train", size, 100, False)] for size in sizes}
    assert list(make_seconds(None, files).values()) == [0, 100, 0, 100]
    assert timed == [square(10), square(40), Size(10, 20), Size(30, 50)]
