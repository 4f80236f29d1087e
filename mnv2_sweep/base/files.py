"""Files that are there whole or not at all, whoever is killed while one is written.

Each is made beside its place, as <name>.<random>.tmp, and then put there in one step: a reader sees the old file or
the new one, and writers that race replace each other's. On any error the place stays as it was. While it is written it
is locked, and a lock ends with its process: what is left by a killed one is known by that (`remove_abandoned`).
"""

import errno
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

FRESH_SECONDS = 60  # in which what is just made may not be locked yet
FORGOTTEN_SECONDS = 24 * 3600  # after which a writer is taken for dead on a disk without locks
OLD = ".old"  # in the name of a folder that was just replaced
UNFINISHED = ".tmp"  # how the name of a file ends that is being written, or was when its writer was killed


@contextmanager
def open_whole(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a new file to write, in a folder that is made if need be; it takes its place when the block has ended.

    Without `sync` it is whole after a kill, but perhaps not after a loss of power. Raises OSError.
    """
    with _beside(path) as unfinished, unfinished.open("xb") as file:
        _lock(file.fileno())
        yield file
        file.flush()
        if sync:
            os.fsync(file.fileno())


@contextmanager
def open_whole_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to fill; it takes its place when the block has ended, also that of an older folder, which
    stays beside it under another name if this is killed between the two steps. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished, old = (path.with_name(f"{path.name}.{uuid.uuid4().hex}{what}{UNFINISHED}") for what in ("", OLD))
    unfinished.mkdir()
    try:
        with hold_folder(unfinished):
            yield unfinished
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(unfinished, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_whole(path: Path, content: bytes | memoryview | str, sync: bool = True) -> None:
    """Write bytes, or text as UTF-8, as `open_whole` does."""
    encoded = content.encode() if isinstance(content, str) else content
    with open_whole(path, sync) as file:
        file.write(encoded)


def link_file(source: Path, path: Path) -> None:
    """Give the file another path too; where a link can't be, copy it. Files are replaced and never changed, so neither
    feels the other. Raises OSError."""
    with _beside(path) as unfinished:
        try:
            os.link(source, unfinished)
        except OSError:
            shutil.copyfile(source, unfinished)


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of this file or folder left; not while somebody may be writing it."""
    left = [*path.parent.glob(f"{escape(path.name)}.*{UNFINISHED}")]
    remove_files(left)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Lock a folder that is being filled, see `is_abandoned`. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        _lock(opened)
        yield
    finally:
        os.close(opened)


def is_abandoned(path: Path) -> bool:
    """Return whether nobody fills this file or folder any more that is not in its place yet."""
    try:
        age = time.time() - path.stat().st_mtime
        opened = os.open(path, os.O_RDONLY)
    except OSError:  # it is gone, or not ours
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return age > FRESH_SECONDS
    except BlockingIOError:
        return False
    except OSError:  # no locks here
        return age > FORGOTTEN_SECONDS
    finally:
        os.close(opened)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed writers of any file or folder left in a folder, while others write there; an older folder that
    one was about to replace gets its place again."""
    for path in folder.glob(f"*{UNFINISHED}"):
        name = re.fullmatch(rf"(.+)\.[0-9a-f]{{32}}({re.escape(OLD)})?{re.escape(UNFINISHED)}", path.name)
        if name is None or not is_abandoned(path):
            continue
        with suppress(OSError):
            if name[2] and not (folder / name[1]).exists():
                path.rename(folder / name[1])
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _lock(descriptor: int) -> None:
    with suppress(OSError):  # a disk without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_all_unfinished(folder: Path) -> None:
    """Remove what killed writers of any file in the folder left; not while somebody may be writing one."""
    remove_files(folder.glob(f"*{UNFINISHED}"))


def remove_files(paths: Iterable[Path]) -> None:
    """Remove what is there of them; what the system does not let go of stays."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a free path beside it; what is there at the end of the block takes its place, and after an error goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not (path.is_file() or path.is_dir()):  # os.replace would put a file where a device is
        raise OSError(errno.EINVAL, "it is a device or a pipe, no ordinary file", str(path))
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        remove_files([unfinished])
