"""Files that are whole or not there, whatever ends their writing, and what killed writers leave."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mnv2_sweep.base.files import (
    FORGOTTEN_SECONDS,
    FRESH_SECONDS,
    is_abandoned,
    link_file,
    open_whole,
    open_whole_folder,
    remove_abandoned,
    remove_all_unfinished,
    remove_files,
    remove_unfinished,
    write_whole,
)
from tests.trial_samples import full_disk

ENDS = [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("no number")]


@pytest.fixture
def path(tmp_path) -> Path:
    """A file that is there, alone in its folder."""
    path = tmp_path / "folder" / "result.json"
    path.parent.mkdir()
    path.write_bytes(b"old")
    return path


def fail_with(error: BaseException):
    def fail(*_: object) -> None:
        raise error

    return fail


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("content, there", [(b"\x00\r\n", b"\x00\r\n"), ("größer\n", b"gr\xc3\xb6\xc3\x9fer\n")])
@pytest.mark.parametrize("sync", [True, False], ids=["synced", "quick"])
def test_bytes_and_text_take_the_place_of_what_is_there(path, content, there, sync):
    write_whole(path, content, sync)
    assert path.read_bytes() == there and list(path.parent.iterdir()) == [path]


def test_folders_are_made(tmp_path):
    write_whole(tmp_path / "a" / "b" / "new", memoryview(b"new"))
    assert (tmp_path / "a" / "b" / "new").read_bytes() == b"new"


def test_until_it_is_whole_the_old_file_is_read(path):
    with open_whole(path) as file:
        file.write(b"new, and ")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"whole")
    assert path.read_bytes() == b"new, and whole"


def test_a_writer_may_go_back(path):
    with open_whole(path) as file:
        file.write(b"0 rows")
        file.seek(0)
        file.write(b"2")
    assert path.read_bytes() == b"2 rows"


def test_new_files_have_the_usual_rights(tmp_path):
    (tmp_path / "usual").touch()
    write_whole(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", ENDS, ids=["full disk", "Ctrl-C", "own error"])
def test_what_ends_the_writing_leaves_the_old_file_alone(path, error):
    with pytest.raises(type(error)) as caught, open_whole(path) as file:
        file.write(b"half")
        raise error
    assert caught.value is error
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("place", ["fsync", "replace"])
@pytest.mark.parametrize("error", ENDS[:2], ids=["full disk", "Ctrl-C"])
def test_the_last_steps_can_fail_too(path, monkeypatch, place, error):
    monkeypatch.setattr(os, place, fail_with(error))
    with pytest.raises(type(error)):
        write_whole(path, "new")
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_really_full(path):
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_whole(path, bytes(10**6))
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_only_who_asks_for_it_waits_for_the_disk(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_whole(path, "new", sync=False)
    assert synced == []
    write_whole(path, "new")
    assert len(synced) == 1


def test_text_that_is_no_unicode_begins_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "folder" / "name", "\udcff")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_an_error_of_the_system(path):
    with pytest.raises(OSError):
        write_whole(path / "below", "new")


def test_writers_at_once_replace_each_other(path):
    texts = [f"{number}" * 10_000 for number in range(4)]

    def write(text: str) -> None:
        for _ in range(50):
            write_whole(path, text, sync=False)
            assert path.read_text() in texts

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write, texts))
    assert path.read_text() in texts and list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- links


def test_a_link_is_the_same_file_until_one_is_replaced(path):
    other = path.parent.parent / "deep" / "other"
    link_file(path, other)
    assert other.samefile(path)
    write_whole(path, "new")
    assert other.read_bytes() == b"old"


def test_a_link_takes_the_place_of_a_file_even_of_itself(path):
    other = path.with_name("other")
    other.write_text("another")
    for _ in range(2):
        link_file(path, other)
        assert other.samefile(path) and sorted(path.parent.iterdir()) == [other, path]


def test_where_a_link_can_t_be_it_is_a_copy(path, monkeypatch):
    monkeypatch.setattr(os, "link", fail_with(OSError(errno.EXDEV, "another disk")))
    other = path.with_name("other")
    link_file(path, other)
    assert other.read_bytes() == b"old" and not other.samefile(path)
    assert sorted(path.parent.iterdir()) == [other, path]


def test_a_copy_that_fails_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(os, "link", fail_with(OSError(errno.EXDEV, "another disk")))
    path.write_bytes(bytes(10**6))
    with full_disk(), pytest.raises(OSError, match="File too large"):
        link_file(path, path.with_name("other"))
    with pytest.raises(FileNotFoundError):
        link_file(path.with_name("nowhere"), path.with_name("other"))
    assert list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- what is left

KILLED = """
import os, signal, sys
from pathlib import Path
from mnv2_sweep.base.files import open_whole

with open_whole(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def leave(path: Path) -> list[Path]:
    """Begin to write it and be killed; what that leaves."""
    before = set(path.parent.iterdir())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment)
    assert run.returncode == -signal.SIGKILL
    left = sorted(set(path.parent.iterdir()) - before)
    assert [file.read_bytes() for file in left] == [b"half"]
    return left


def test_what_a_killed_writer_left_is_found_by_its_file(path):
    other = path.with_name("other.json")
    leave(path)
    left = leave(other)
    assert path.read_bytes() == b"old" and not other.exists()
    remove_unfinished(path)
    assert sorted(path.parent.iterdir()) == sorted([*left, path])
    remove_all_unfinished(path.parent)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x[1].pt", "x*.pt", "x?.pt"])
def test_a_name_is_no_pattern(tmp_path, name):
    others = [tmp_path / f"{other}.77b1.tmp" for other in ("x1.pt", "xy.pt")]
    for left in (*others, tmp_path / f"{name}.77b1.tmp"):
        left.touch()
    remove_unfinished(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == others


def test_what_is_not_there_or_can_t_be_removed_is_left(tmp_path):
    (tmp_path / "folder.77b1.tmp").mkdir()
    remove_files([tmp_path / "nowhere", tmp_path / "folder.77b1.tmp"])
    remove_all_unfinished(tmp_path)
    remove_all_unfinished(tmp_path / "nowhere")
    remove_unfinished(tmp_path / "nowhere" / "x.pt")
    assert (tmp_path / "folder.77b1.tmp").is_dir()


def test_a_pipe_or_device_is_not_replaced(tmp_path):
    """As with --out /dev/null, which root could do."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no ordinary file"):
        write_whole(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1


# ---------------------------------------------------------------- folders


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_folder_is_there_whole_and_takes_the_place_of_an_older_one(tmp_path):
    place = tmp_path / "deep" / "out"
    for text in ("old", "new"):
        with open_whole_folder(place) as folder:
            (folder / text).write_text(text)
            assert not place.exists() or contents(place) == {"old": "old"}
        assert contents(place) == {text: text}
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_a_folder_that_was_not_finished_leaves_the_older_one(tmp_path, end):
    place = tmp_path / "out"
    with open_whole_folder(place) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(type(end)), open_whole_folder(place) as folder:
        (folder / "new").write_text("new")
        raise end
    assert list(tmp_path.iterdir()) == [place] and contents(place) == {"old": "old"}


def test_an_older_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    place, replace = tmp_path / "out", os.replace
    with open_whole_folder(place) as folder:
        (folder / "old").write_text("old")
    calls = []

    def fail_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EACCES, "no")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(OSError, match="no"), open_whole_folder(place) as folder:
        (folder / "new").write_text("new")
    assert list(tmp_path.iterdir()) == [place] and contents(place) == {"old": "old"}


# ---------------------------------------------------------------- what killed writers left

WRITE = """
import sys, time
from pathlib import Path
from mnv2_sweep.base.files import open_whole, open_whole_folder
path, kind = Path(sys.argv[1]), sys.argv[2]
with (open_whole if kind == "file" else open_whole_folder)(path) as written:
    (written / "inside").write_text("half") if kind == "folder" else written.write(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""
AGED = 2 * FRESH_SECONDS


def age(path: Path, seconds: float = AGED) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_being_written_stays_and_what_a_killed_writer_left_goes(tmp_path, kind):
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path / "made"), kind], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "begun\n"
        (left,) = tmp_path.glob("made.*.tmp")
        age(left)
        assert not is_abandoned(left)
        remove_abandoned(tmp_path)
        assert left.exists()
        writer.kill()
    age(left, 1)
    assert not is_abandoned(left)  # too young to tell: a writer may not have locked it yet
    age(left)
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_folder_about_to_be_replaced_gets_its_place_again(tmp_path, is_replaced):
    old = tmp_path / f"made.{'0' * 32}.old.tmp"
    old.mkdir()
    (old / "what").write_text("old")
    age(old)
    if is_replaced:
        (tmp_path / "made").mkdir()
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made" / "what").exists() != is_replaced


def test_names_that_are_not_ours_stay(tmp_path):
    names = ("notes.tmp", f"made.{'g' * 32}.tmp", f".{'0' * 32}.tmp", f"made.{'0' * 32}.tmp.txt")
    for name in names:
        (tmp_path / name).write_text("x")
        age(tmp_path / name, 10 * FORGOTTEN_SECONDS)
    remove_abandoned(tmp_path)
    remove_abandoned(tmp_path / "nowhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_without_locks_what_is_a_day_old_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / f"made.{'0' * 32}.tmp"
    path.write_text("x")

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("mnv2_sweep.base.files.fcntl.flock", no_locks)
    with open_whole(tmp_path / "other") as file:
        file.write(b"x")  # goes all the same
    age(path)
    assert not is_abandoned(path)
    age(path, FORGOTTEN_SECONDS + 60)
    assert is_abandoned(path)
