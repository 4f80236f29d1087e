"""Where things are kept."""

from pathlib import Path

import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.places import cache_folder


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


def test_without_a_home_it_says_what_to_set(monkeypatch):
    for name in ("MNV2_SWEEP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DataError, match="no home folder is known.*MNV2_SWEEP_CACHE"):
        cache_folder()
