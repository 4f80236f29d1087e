"""What a shared training leaves behind while it runs, and what is made of it when it is damaged."""

import json
import os

import pytest

from mnv2_sweep.trials.preview import (
    Preview,
    newest_preview,
    preview_path,
    read_preview,
    remove_preview,
    write_preview,
)
from mnv2_sweep.trials.ways import WEIGHTS

PREVIEW = Preview(608, 6016, 200, {"a": 0.125, "b": 1.0})


@pytest.fixture
def weights(tmp_path):
    (tmp_path / WEIGHTS).mkdir()
    return tmp_path / WEIGHTS / "0123456789abcdef.pt"


def test_it_comes_back_as_it_was_until_it_is_removed(weights):
    assert read_preview(weights) is None
    write_preview(weights, PREVIEW)
    assert read_preview(weights) == PREVIEW
    assert [*weights.parent.iterdir()] == [preview_path(weights)]
    remove_preview(weights)
    assert read_preview(weights) is None and not any(weights.parent.iterdir())
    remove_preview(weights)


def test_the_newest_of_several_trainings_counts(tmp_path, weights):
    assert newest_preview(tmp_path / "nothing") == 0.0 == newest_preview(tmp_path)
    for at, name in enumerate(("one.pt", "two.pt")):
        write_preview(weights.with_name(name), PREVIEW)
        os.utime(preview_path(weights.with_name(name)), (0, 1000 - at))
    assert newest_preview(tmp_path) == 1000.0


def test_without_a_folder_nothing_is_written_and_nothing_raised(tmp_path):
    (tmp_path / "file").write_text("in the way")
    write_preview(tmp_path / "file" / "weights.pt", PREVIEW)


@pytest.mark.parametrize(
    "change",
    [{"images": "608"}, {"val_images": 0}, {"scores": [0.5]}, {"scores": {"a": "0.5"}}, {"scores": {"a": True}}],
)
def test_a_damaged_one_counts_as_none(weights, change):
    write_preview(weights, PREVIEW)
    values = json.loads(preview_path(weights).read_bytes())
    preview_path(weights).write_text(json.dumps(values | change))
    assert read_preview(weights) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_preview_counts_as_none(weights, content):
    preview_path(weights).write_bytes(content)
    assert read_preview(weights) is None
