"""How photos are read, as options and as the name that travels."""

import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.asked import PhotoOptions, data_path, make_name, move_name, read_name, whole_name

ASKED = PhotoOptions(labels=("a.csv", "b.csv"), columns="image=id", fit="pad", follow_links=True, zip_encoding="gbk")


def test_a_name_is_the_path_alone_where_nothing_is_asked_for():
    assert make_name("pets", PhotoOptions()) == "pets" and read_name("pets") == ("pets", PhotoOptions())
    assert make_name("shapes", PhotoOptions()) == "shapes" == whole_name("shapes")


def test_a_name_holds_all_that_is_asked_for():
    name = make_name("pets", ASKED)
    assert read_name(name) == ("pets", ASKED) and data_path(name) == "pets"


def test_a_path_that_looks_like_such_a_name_stays_a_path():
    assert data_path(make_name("{pets}", PhotoOptions())) == "./{pets}"


def test_whole_names_are_good_anywhere(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    path, options = read_name(whole_name(make_name("pets", ASKED)))
    assert path == str(tmp_path / "pets")
    assert options.labels == (str(tmp_path / "a.csv"), "b.csv")  # the second lies in the data


def test_data_elsewhere_are_read_as_they_were():
    assert read_name(move_name(make_name("pets", ASKED), "moved")) == ("moved", ASKED)
    assert move_name(make_name("pets", ASKED), "shapes") == "shapes" and move_name(None, "moved") == "moved"


@pytest.mark.parametrize(
    "given, message",
    [
        ({"fit": "stretch"}, "--fit stretch: one of crop, pad, squash"),
        ({"labels": ("a.csv",), "label_pattern": "{label}.jpg"}, "--labels --label-pattern: one of them"),
        ({"columns": "image=id"}, "--columns image=id: names the columns of a table"),
        ({"labels": ("a.csv",), "columns": "picture=id"}, "wanted are image=NAME, label=NAME"),
        ({"zip_encoding": "klingon"}, "--zip-encoding klingon: unknown"),
        ({"zip_encoding": "rot13"}, "--zip-encoding rot13: unknown"),
    ],
)
def test_mistakes_are_told(given, message):
    with pytest.raises(DataError, match=message):
        PhotoOptions(**given)


def test_drawn_images_cannot_be_read_in_some_way():
    with pytest.raises(DataError, match="--data shapes: its images are drawn"):
        make_name("shapes", PhotoOptions(fit="pad"))


@pytest.mark.parametrize("name", ['{"path": 1', '{"labels": []}', '{"path": "a", "flip": 1}'])
def test_a_damaged_name_is_refused(name):
    with pytest.raises(DataError, match="not a name of data"):
        read_name(name)
