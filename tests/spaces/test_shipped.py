"""Design spaces that ship, by name; a file of one's own comes first."""

from pathlib import Path

import pytest

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.shipped import find_space_file, shipped_file, shipped_names

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("given", ["paper_grid", "paper_grid.yaml"])
def test_a_shipped_space_is_found_by_name(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = find_space_file(Path(given))
    assert path.read_text() == (ROOT / "spaces" / "paper_grid.yaml").read_text()
    assert load_space(path).name == "paper_grid" and shipped_file(given) == path


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text("axes: {width: [0.5]}\n")
    assert find_space_file(Path("quick.yaml")) == Path("quick.yaml")
    assert find_space_file(Path("quick")).is_absolute()


def test_all_that_lie_beside_the_package_ship():
    assert shipped_names() == sorted(path.stem for path in (ROOT / "spaces").glob("*.yaml"))


def test_a_name_that_nobody_has_is_refused_with_those_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError) as caught:
        find_space_file(Path("paper_gird"))
    (line,) = caught.value.mistakes
    assert line.startswith(
        "paper_gird: no such file, nor a design space that ships; there are: blocks, camera, expansion, "
    )


@pytest.mark.parametrize("given", ["folder/paper_grid", "paper_grid.yml", "../quick.yaml"])
def test_other_paths_stay_as_they_are(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_space_file(Path(given)) == Path(given)


def test_a_folder_does_not_hide_a_shipped_space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "mine"):
        (tmp_path / name).mkdir()
    assert find_space_file(Path("photos")).name == "photos.yaml"
    assert find_space_file(Path("mine")) == Path("mine")  # whoever reads it says that it is a folder
