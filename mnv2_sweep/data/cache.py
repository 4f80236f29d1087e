"""Images and JSON values -> files and folders of the image cache, each whole or not there at all, and checked.

Beside each file <name> lies <name>.crc, CRC-32s of its blocks: a process that opens a file reads all of it once and
holds it against them, so that what a disk, a copy or a hand has changed is made anew. A file without sums, of an
earlier version, is trusted once and gets them.
What the system refuses on the way, or lack of space, becomes a DataError about the cache folder.
"""

import errno
import json
import mmap
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import hold_folder, is_abandoned, remove_abandoned, write_whole
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import megabytes

BUILDING = ".building-"  # how the name of an unfinished cache folder starts
SUMS = ".crc"  # how the name of a file's sums ends
BLOCK_BYTES = 2**22
THREADS = min(4, os.cpu_count() or 1)

_SOUND: dict[str, tuple[int, ...]] = {}  # files that this process has checked, and what they were then


class RowFile:
    """Images of one .npy file, written in order; the header, which holds their number, is written again at the end."""

    def __init__(self, opened: BinaryIO, size: Size, channels: tuple[int, ...] = (3,)):
        self.out, self.shape, self.rows = opened, (*size, *channels), 0
        self._write_header()

    def add(self, pixels: np.ndarray) -> None:
        """Write one image, uint8 [height, width, 3], or of the channels that were given; () for none."""
        self.out.write(np.ascontiguousarray(pixels).data)
        self.rows += 1

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.out.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        # NumPy leaves room in a header for more digits in the first axis, so both headers have one length.
        shape = (self.rows, *self.shape)
        np.lib.format.write_array_header_1_0(self.out, {"descr": "|u1", "fortran_order": False, "shape": shape})


def read_rows(file: Path) -> Iterator[np.ndarray]:
    """Yield the images of a .npy file, read one by one: a map that is walked through stays in memory, this does not."""
    images = np.load(file, mmap_mode="r")
    with file.open("rb") as opened:
        opened.seek(images.offset)
        for _ in range(len(images)):
            yield np.frombuffer(opened.read(images[0].nbytes), np.uint8).reshape(images.shape[1:])


def let_go(images: np.ndarray) -> None:
    """Unmap what this process has read of a mapped image file, where the system can: it stays in the system's cache,
    which is there for all, but counts no longer as memory of this process, whose limit else ends it as soon as it has
    seen enough images."""
    mapped = getattr(images, "_mmap", None)  # np.memmap has no public way to it
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def seal(file: Path) -> None:
    """Write the sums of a file beside it. Raises OSError."""
    before = _identity(file)
    write_whole(_sums_file(file), json.dumps(_sum_blocks(file)))
    _SOUND[str(file)] = before


def is_sound(file: Path) -> bool:
    """Return whether a file is what was written; one without sums gets them. Each is read once a process, again where
    it has changed since. Raises OSError."""
    found = _identity(file)
    if _SOUND.get(str(file)) == found:
        return True
    try:
        wanted = json.loads(_sums_file(file).read_bytes())
    except FileNotFoundError:
        with suppress(OSError):  # a cache that is only read here
            seal(file)
        return True
    except ValueError:
        return False
    if wanted != _sum_blocks(file):
        return False
    _SOUND[str(file)] = found
    return True


def open_images(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map the images of a .npy file, read-only; None where it is not there, damaged, or not of that shape."""
    try:
        if not is_sound(file):
            return None
        images = np.load(file, mmap_mode="r")
        return images if images.shape == shape and images.dtype == np.uint8 else None
    except (FileNotFoundError, ValueError, EOFError):
        return None


def open_or_make(
    file: Path, shape: tuple[int, ...], make: Callable[[], None], say: Callable[[str], None]
) -> np.ndarray:
    """Map the images of a .npy file, which `make` writes where it is not there or damaged; `say` hears of damage.
    Raises DataError where it is damaged at once."""
    images = open_images(file, shape)
    if images is None:
        if file.exists():
            say(f"the image cache was damaged ({file}); built anew")
        remove_abandoned(file.parent)
        make()
        images = open_images(file, shape)
    if images is None:
        raise DataError(f"{file}: damaged as soon as it was written; is the disk sound?")
    return images


def _sums_file(file: Path) -> Path:
    return file.with_name(file.name + SUMS)


def _identity(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sum_blocks(file: Path) -> dict[str, Any]:
    """Return the file's size and the CRC-32 of each block, computed in a few threads."""
    size = file.stat().st_size
    with file.open("rb") as opened, ThreadPoolExecutor(THREADS) as pool:
        places = range(0, size, THREADS * BLOCK_BYTES)
        sums = [one for some in pool.map(partial(_sum_run, opened.fileno()), places) for one in some]
    return {"bytes": size, "crc32": sums}


def _sum_run(descriptor: int, start: int) -> list[int]:
    """Return the sums of THREADS blocks that follow each other."""
    places = [start + number * BLOCK_BYTES for number in range(THREADS)]
    return [zlib.crc32(block) for place in places if (block := os.pread(descriptor, BLOCK_BYTES, place))]


@contextmanager
def building_folder(cache: Path, need_bytes: int) -> Iterator[Path]:
    """Give a folder in the cache to build in; it is gone afterwards unless it was renamed."""
    fresh = not cache.exists()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{BUILDING}{uuid.uuid4().hex}"
    try:
        check_space(cache, need_bytes)
        for abandoned in cache.glob(f"{BUILDING}*"):  # by runs that were killed
            if is_abandoned(abandoned):
                shutil.rmtree(abandoned, ignore_errors=True)
        folder.mkdir()
        with hold_folder(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if fresh:
            with suppress(OSError):  # not empty: then all went well
                cache.rmdir()


def check_space(folder: Path, need_bytes: int) -> None:
    """Raise DataError when the disk of the folder has less room than that."""
    free_bytes = shutil.disk_usage(folder).free
    if need_bytes > free_bytes:
        raise DataError(
            f"{folder}: the image cache needs {megabytes(need_bytes, 0)}, {megabytes(free_bytes, 0)} are free; "
            "free some or name a cache folder on another disk"
        )


@contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Turn an OSError inside into a DataError about the cache."""
    try:
        yield
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DataError(f"{cache}: the image cache cannot be used: {what}; mend that or name another folder") from error


def read_json(file: Path) -> Any:
    """Read the value in the file; None where there is none, or it is not what was written."""
    try:
        return json.loads(file.read_text()) if is_sound(file) else None
    except (OSError, ValueError):
        return None


def write_json(file: Path, value: Any) -> None:
    """Write the value into the file, whole or not at all, with its sums. Raises OSError."""
    write_whole(file, json.dumps(value))
    seal(file)
