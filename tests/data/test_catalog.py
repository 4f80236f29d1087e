"""A data set's name or path, where its pixels are kept, and that the embedded one is made once."""

import os
from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import square
from mnv2_sweep.data import catalog
from mnv2_sweep.data.catalog import EMBEDDED, cache_folder, open_dataset
from tests.photo_samples import OK, write_folder


@pytest.fixture
def few_scenes(monkeypatch):
    """Ten scenes a split, so that rendering takes no time."""
    monkeypatch.setattr(catalog, "COUNTS", {"train": 20, "val": 10, "test": 10})


@pytest.mark.parametrize(
    "environment, folder",
    [
        ({"MNV2_SWEEP_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"MNV2_SWEEP_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/mnv2-sweep"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/mnv2-sweep"),
    ],
    ids=["own", "XDG", "home"],
)
def test_where_the_cache_is(monkeypatch, environment, folder):
    for name in ("MNV2_SWEEP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_the_embedded_data_need_no_file_until_pixels_are_asked_for(tmp_path):
    data = open_dataset(EMBEDDED, tmp_path / "cache")
    assert {split: len(labels) for split, labels in data.labels.items()} == catalog.COUNTS
    assert (data.name, len(data.classes)) == (EMBEDDED, 10)
    assert all(sorted(np.unique(labels)) == list(range(10)) for labels in data.labels.values())
    assert not (tmp_path / "cache").exists()


def test_pixels_are_rendered_once_and_read_from_the_cache_afterwards(tmp_path, few_scenes, monkeypatch):
    pixels = open_dataset(EMBEDDED, tmp_path).pixels("val", square(12))
    assert (pixels.shape, pixels.dtype, pixels.flags.writeable) == ((10, 12, 12, 3), np.uint8, False)
    assert pixels.std() > 10
    monkeypatch.setattr(catalog, "render_chunks", None)
    again = open_dataset(EMBEDDED, tmp_path).pixels("val", square(12))
    assert np.array_equal(pixels, again)
    assert [path.name for path in tmp_path.rglob("*.npy*")] == ["val-12.npy"]


def test_splits_and_sides_differ(tmp_path, few_scenes):
    data = open_dataset(EMBEDDED, tmp_path)
    val, test = data.pixels("val", square(12)), data.pixels("test", square(12))
    assert not np.array_equal(val, test) and data.pixels("train", square(9)).shape == (20, 9, 9, 3)
    assert len(list(tmp_path.rglob("*.npy"))) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError], ids=lambda error: error.__name__)
def test_a_render_that_is_cut_short_leaves_nothing(tmp_path, few_scenes, monkeypatch, error):
    def cut_short(scenes, size):
        yield np.zeros((1, *size, 3), np.uint8)
        raise error

    data = open_dataset(EMBEDDED, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(catalog, "render_chunks", cut_short)
        data.pixels("val", square(12))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert data.pixels("val", square(12)).shape == (10, 12, 12, 3)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, few_scenes):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/shapes-\w{12}: can't keep the images here .*; set MNV2_SWEEP_CACHE"):
        open_dataset(EMBEDDED, tmp_path / "file").pixels("val", square(8))


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
        "--data nowhere: no such folder or zip; give 'shapes' (built in), or the path of"
    )


def test_without_a_home_it_says_what_to_set(monkeypatch):
    for name in ("MNV2_SWEEP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DataError, match="no home folder is known.*MNV2_SWEEP_CACHE"):
        cache_folder()
