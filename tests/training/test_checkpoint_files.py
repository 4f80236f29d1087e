"""A packed file is whole and of whom it says, or it is not read; a failed writing leaves the one before."""

import errno
import io
import json
import os
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from mnv2_sweep.base.files import remove_unfinished
from mnv2_sweep.training.checkpoint import is_whole, read_packed, write_packed
from tests.trial_samples import full_disk

HEADER = {"trial": "0123456789abcdef", "code_version": 1}
STATE = {"weights": {"a": torch.arange(6.0).reshape(2, 3)}, "curve": [(1.0, None)], "step": 3}


@pytest.fixture
def path(tmp_path) -> Path:
    """A file that is there, in a folder of its own."""
    path = tmp_path / "packed" / "some.pt"
    write_packed(path, HEADER, STATE)
    return path


def test_what_is_written_is_read(path):
    header, state = read_packed(path, HEADER)
    assert torch.equal(state["weights"].pop("a"), STATE["weights"]["a"])
    assert state == {"weights": {}, "curve": [(1.0, None)], "step": 3}
    assert {name: header[name] for name in HEADER} == HEADER
    assert json.loads(path.read_bytes().split(b"\n")[0]) == header and list(path.parent.iterdir()) == [path]


def test_any_part_of_the_header_may_be_asked_for(path):
    assert read_packed(path, {})[0] == read_packed(path, {"code_version": 1})[0]
    with pytest.raises(ValueError, match="^its code_version is 1, not 2$"):
        read_packed(path, {**HEADER, "code_version": 2})
    with pytest.raises(KeyError, match="torch"):
        read_packed(path, {"torch": "2"})


def test_a_file_is_whole_if_it_can_be_read(path, tmp_path):
    assert is_whole(path, HEADER) and is_whole(path, {}) and not is_whole(path, {**HEADER, "code_version": 2})
    assert not is_whole(tmp_path / "none.pt", HEADER) and not is_whole(tmp_path, HEADER)


def test_layouts_and_tensors_that_share_memory_come_back(path):
    values = torch.rand(8, 8, 3, 3).to(memory_format=torch.channels_last)
    write_packed(path, HEADER, {"one": values, "view": values[:, :4]})
    _, state = read_packed(path, HEADER)
    assert torch.equal(state["one"], values) and torch.equal(state["view"], values[:, :4])
    assert state["one"].stride() == values.stride()


def test_a_file_that_is_not_there_is_told_from_one_that_is_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_packed(tmp_path / "none.pt", HEADER)
    with pytest.raises(IsADirectoryError):
        read_packed(tmp_path, HEADER)


@pytest.mark.parametrize("at", [0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("how", ["byte", "cut"])
def test_damage_anywhere_is_noticed(path, at, how):
    content = bytearray(path.read_bytes())
    place = int(at * (len(content) - 1))
    if how == "cut":
        del content[place:]
    else:
        content[place] ^= 16
    path.write_bytes(content)
    with pytest.raises((ValueError, KeyError)):  # of which JSON's and UTF-8's are kinds
        read_packed(path, HEADER)
    assert not is_whole(path, HEADER)


@pytest.mark.parametrize("content", [b"", b"7\nabc", b"{}\n", bytes(10_000), b"x" * 10_000])
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_packed(path, HEADER)


class Malicious:
    """Unpickled by pickle itself, it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_no_code_in_a_file_is_run(path, tmp_path):
    payload = io.BytesIO()
    torch.save({"step": Malicious(tmp_path / "trap")}, payload)
    header = HEADER | {"sha256": sha256(payload.getvalue()).hexdigest()}
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload.getvalue())
    with pytest.raises(Exception, match="Weights only load failed"):
        read_packed(path, HEADER)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("place", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_a_writing_that_ends_early_leaves_the_file_before(path, monkeypatch, place, error):
    before = path.read_bytes()

    def end(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, place, end)
    with pytest.raises(type(error)):
        write_packed(path, HEADER, {"step": 4})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_really_full_is_an_error_of_the_system(path):
    before = path.read_bytes()
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_packed(path, HEADER, {"step": 4})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_only_what_a_killed_writer_of_this_file_left_is_removed(path):
    left, others = path.with_name("some.pt.77b1.tmp"), path.with_name("other.pt.77b1.tmp")
    left.write_text("half")
    others.write_text("half")
    remove_unfinished(path)
    assert sorted(path.parent.iterdir()) == [others, path]
    remove_unfinished(path.parent / "nowhere" / "x.pt")
