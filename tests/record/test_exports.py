"""What was exported is recorded beside the weights, one file an export folder, and listed."""

import json

import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.record.exports import Eight, list_exports, load_eights, record_export
from mnv2_sweep.trials.trial import trial_id

CHECKED = {"bytes": 1_600_000, "top1": 0.75, "agreement": 0.99, "is_worse": True}
FILES = {"model.onnx": CHECKED, "model.tflite": {"bytes": 900, "unchecked": "the validation images are gone"}}


def test_exports_are_listed_and_one_to_the_same_place_replaces_the_other(tmp_path, make_trial):
    assert list_exports(tmp_path) == ""
    for place in ("a", "b", "a"):
        record_export(tmp_path, make_trial(3), "0.25 at 16", tmp_path / place, FILES)
    assert len(list((tmp_path / "exports").iterdir())) == 2
    head, *rows = list_exports(tmp_path).splitlines()
    assert head.split()[:3] == ["exported", "seed", "file"] and len(rows) == 4
    assert rows[0].split() == [
        "0.25", "at", "16", "3", "model.onnx", "1.6", "MB", "75.0,", "worse", "99.0", str(tmp_path / "a")
    ]  # fmt: skip
    assert "model.tflite" in rows[2] and "unchecked" in rows[2]


def test_a_file_of_its_own_is_listed_in_its_folder(tmp_path, make_trial):
    """Two files of one network in one folder are two exports."""
    for name, found in (("a.pt", {"top1": 0.75}), ("b.pt", {"unchecked": "the validation images are gone"})):
        (tmp_path / name).write_bytes(b"1")
        record_export(tmp_path, make_trial(), "0.25 at 16", tmp_path / name, {name: {"bytes": 1_000, **found}})
    head, first, second = list_exports(tmp_path).splitlines()
    assert first.split()[4:] == ["a.pt", "1", "kB", "75.0", str(tmp_path)]
    assert second.split()[4:] == ["b.pt", "1", "kB", "unchecked", str(tmp_path)]


def test_what_is_damaged_is_named_and_costs_no_other(tmp_path, make_trial):
    record_export(tmp_path, make_trial(), "0.25 at 16", tmp_path / "a", FILES)
    for name, text in (("cut.json", '{"trial": "a'), ("list.json", "[]"), ("empty.json", "{}")):
        (tmp_path / "exports" / name).write_text(text)
    lasts = [line.split()[-1] for line in list_exports(tmp_path).splitlines()]
    assert lasts.count("damaged") == 3 and lasts.count(str(tmp_path / "a")) == 2


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, make_trial):
    (tmp_path / "exports").write_text("")
    with pytest.raises(StoreError, match="exports/.*: can't be written .*; the export itself is in"):
        record_export(tmp_path, make_trial(), "0.25 at 16", tmp_path / "a", FILES)


def test_the_record_says_which_trial_it_is_of(tmp_path, make_trial):
    record_export(tmp_path, make_trial(5), "0.25 at 16", tmp_path / "a", FILES)
    (path,) = (tmp_path / "exports").iterdir()
    content = json.loads(path.read_text())
    assert path.name.startswith(content["trial"]) and content["seed"] == 5 and content["files"] == FILES


def test_what_files_in_8_bits_got_right_is_loaded_beside_floats(tmp_path, make_trial):
    files = {"model.onnx": {"top1": 0.75}, "model-int8.onnx": {"top1": 0.7}, "model-int8.tflite": {"top1": 0.5}}
    record_export(tmp_path, make_trial(3), "0.25 at 16", tmp_path / "a", files)
    record_export(
        tmp_path, make_trial(4), "0.25 at 16", tmp_path / "b", {"model-int8.onnx": {"unchecked": "no images"}}
    )
    (tmp_path / "exports" / "cut.json").write_text('{"trial": "a')
    name = trial_id(make_trial(3))
    assert load_eights(tmp_path) == [Eight(name, "onnx", 0.7, 0.75), Eight(name, "tflite", 0.5, 0.75)]
    assert load_eights(tmp_path / "none") == []
