"""The entry `data` of a space: a name, or a mapping of all that can be said of how photos are read."""

from dataclasses import fields

import pytest

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.cli.options import DataOptions
from mnv2_sweep.data.asked import PhotoOptions, make_name, read_name
from mnv2_sweep.spaces.dataset import DATA_KEYS
from mnv2_sweep.spaces.read import load_space


def load(folder, data: str):
    path = folder / "space.yaml"
    path.write_text(f"axes: {{width: [0.35]}}\ndata: {data}\n")
    return load_space(path).data


def test_a_mapping_can_say_all_that_options_say():
    assert {*DATA_KEYS} == {field.name for field in fields(PhotoOptions)}
    assert {*DATA_KEYS} == {field.name for field in fields(DataOptions)} - {"data"}


def test_a_mapping_is_the_name_of_the_same_options(tmp_path):
    name = load(
        tmp_path,
        "{path: scans.zip, zip_encoding: gbk, fit: pad, labels: [a.csv, b.csv], columns: 'image=ID,label=x', "
        "group_pattern: 'p[0-9]+', group_similar: true, follow_links: false}",
    )
    options = PhotoOptions(
        labels=("a.csv", "b.csv"), columns="image=ID,label=x", zip_encoding="gbk", fit="pad", group_pattern="p[0-9]+",
        group_similar=True,
    )  # fmt: skip
    assert read_name(name) == ("scans.zip", options)
    assert DataOptions().data_name(name) == make_name("scans.zip", options)
    assert DataOptions(fit="squash").data_name(name) == make_name("scans.zip", options.__class__(
        **{field.name: getattr(options, field.name) for field in fields(options)} | {"fit": "squash"}
    ))  # fmt: skip
    assert read_name(DataOptions(data="elsewhere").data_name(name)) == ("elsewhere", PhotoOptions(fit="pad"))


def test_one_table_needs_no_list_and_a_path_alone_is_the_path(tmp_path):
    assert read_name(load(tmp_path, "{path: d, labels: a.csv}"))[1].labels == ("a.csv",)
    assert load(tmp_path, "{path: my photos}") == "my photos" == load(tmp_path, "my photos")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{labels: a.csv}", "data.path: it is missing; give the name of a data set or a path"),
        ("{path: d, fits: pad}", "unknown key 'data.fits'; did you mean 'fit'?"),
        ("{path: d, labels: [a.csv, 3]}", "data.labels: 3 given"),
        ("{path: d, follow_links: 1}", "data.follow_links: 1 given; allowed: true or false"),
        ("{path: d, group_pattern: [a]}", "data.group_pattern: a list given"),
        ("{path: 5, columns: {a: b}}", "data.path: 5 given"),
        ("[a, b]", "data: a list given"),
    ],
)
def test_mistakes_stand_with_their_line(tmp_path, data, message):
    with pytest.raises(SpaceError) as caught:
        load(tmp_path, data)
    assert f"space.yaml:2: {message}" in str(caught.value)
