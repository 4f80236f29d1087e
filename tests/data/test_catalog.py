"""A data set's name or path, where its pixels are kept, and that the embedded one is made once."""

import os
from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import square
from mnv2_sweep.data import drawing
from mnv2_sweep.data.catalog import DRAWINGS, EMBEDDED, open_dataset
from tests.photo_samples import OK, write_folder

SHAPES = EMBEDDED[0]


@pytest.fixture
def few_scenes(monkeypatch):
    """Ten scenes a split, so that rendering takes no time."""
    change_drawing(monkeypatch, counts={"train": 20, "val": 10, "test": 10})


def change_drawing(monkeypatch, **changes):
    monkeypatch.setitem(DRAWINGS, SHAPES, replace(DRAWINGS[SHAPES], **changes))


@pytest.mark.parametrize("name, classes", [("shapes", 10), ("cloths", 54), ("quilts", 40)])
def test_the_embedded_data_need_no_file_until_pixels_are_asked_for(tmp_path, name, classes):
    data = open_dataset(name, tmp_path / "cache")
    assert {split: len(labels) for split, labels in data.labels.items()} == DRAWINGS[name].counts
    assert (data.name, len(data.classes)) == (name, classes)
    assert all(sorted(np.unique(labels)) == list(range(classes)) for labels in data.labels.values())
    assert not (tmp_path / "cache").exists()


def test_pixels_are_rendered_once_and_read_from_the_cache_afterwards(tmp_path, few_scenes, monkeypatch):
    pixels = open_dataset(SHAPES, tmp_path).pixels("val", square(12))
    assert (pixels.shape, pixels.dtype, pixels.flags.writeable) == ((10, 12, 12, 3), np.uint8, False)
    assert pixels.std() > 10
    change_drawing(monkeypatch, render=None)
    again = open_dataset(SHAPES, tmp_path).pixels("val", square(12))
    assert np.array_equal(pixels, again)
    assert sorted(path.name for path in tmp_path.rglob("*.npy*")) == ["val-12.npy", "val-12.npy.crc"]


def test_splits_and_sides_differ(tmp_path, few_scenes):
    data = open_dataset(SHAPES, tmp_path)
    val, test = data.pixels("val", square(12)), data.pixels("test", square(12))
    assert not np.array_equal(val, test) and data.pixels("train", square(9)).shape == (20, 9, 9, 3)
    assert len(list(tmp_path.rglob("*.npy"))) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError], ids=lambda error: error.__name__)
def test_a_render_that_is_cut_short_leaves_nothing(tmp_path, few_scenes, monkeypatch, error):
    def cut_short(scenes, rows, size):
        if rows.start:
            raise error
        return np.zeros((1, *size, 3), np.uint8)

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(drawing, "CHUNK_PIXELS", 144)  # one image
        change_drawing(patch, render=cut_short)
        open_dataset(SHAPES, tmp_path).pixels("val", square(12))
    data = open_dataset(SHAPES, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert data.pixels("val", square(12)).shape == (10, 12, 12, 3)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, few_scenes):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/shapes-\w{12}: can't keep the images here .*; set MNV2_SWEEP_CACHE"):
        open_dataset(SHAPES, tmp_path / "file").pixels("val", square(8))


def test_a_path_is_opened_as_photos_with_progress(tmp_path):
    photos, seen = write_folder(tmp_path / "pets", OK), []
    data = open_dataset(str(photos), tmp_path / "cache", lambda done, total: seen.append((done, total)))
    assert (data.name, data.classes) == ("pets", ("cat", "dog")) and seen[-1] == (28, 28)
    assert open_dataset(str(photos), tmp_path / "cache").fingerprint == data.fingerprint


def test_a_folder_called_shapes_is_reached_by_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(write_folder(tmp_path / "shapes", OK).parent)
    assert open_dataset("shapes", tmp_path / "cache").classes != ("cat", "dog")
    assert open_dataset(f".{os.sep}shapes", tmp_path / "cache").classes == ("cat", "dog")


def test_a_path_that_is_not_there_is_told_what_is_allowed(tmp_path):
    with pytest.raises(DataError) as caught:
        open_dataset("nowhere", tmp_path)
    assert str(caught.value).startswith(
        "--data nowhere: no such folder or archive; give 'shapes', 'cloths' or 'quilts' (built in), or the path of"
    )


def test_drawn_images_are_checked_too(tmp_path, few_scenes):
    wanted = open_dataset(SHAPES, tmp_path).pixels("val", square(12)).copy()
    (file,) = tmp_path.rglob("val-12.npy")
    file.write_bytes(file.read_bytes()[:-100] + bytes(100))
    said = []
    assert np.array_equal(open_dataset(SHAPES, tmp_path, say=said.append).pixels("val", square(12)), wanted)
    assert said == [f"the image cache was damaged ({file}); built anew"]
