"""A tar, plain or packed with gzip, bzip2 or xz -> its members' places, and their bytes; with bounded work.

A packed tar can only be read from its beginning, so it is unpacked once, into a temporary file that has no name: it is
gone when the program ends, however that happens.
"""

import bz2
import lzma
import os
import shutil
import tarfile
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import megabytes
from mnv2_sweep.data.decode import UnreadableImage

CHUNK = 2**20
MOST_TIMES, FREE_BYTES = 200, 2**30  # a packed tar may be so many times its size, or this large: photos hardly pack
XZ_MEMORY = 2**28  # bytes that unpacking xz may take; its strongest usual level takes 65 MiB
HEADER_BYTES = 2**20  # of the names and notes before one member

Decoder = Callable[[], Any]
PACKED: dict[bytes, Decoder] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}
BROKEN = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, tarfile.TarError)


class Member(NamedTuple):
    name: str
    offset: int
    size: int
    is_file: bool
    is_folder: bool


def is_tar(path: Path, head: bytes) -> bool:
    """Return whether the file that begins so is a tar, or something packed that must be one."""
    if _decoder(head) is not None:
        return True
    if head[257:262] == b"ustar":
        return True
    if not path.name.lower().endswith(".tar"):
        return False
    try:
        return tarfile.is_tarfile(path)  # of before 1988
    except (OSError, ValueError):
        return False


class Packed:
    """The bytes of a tar, unpacked when they are first asked for."""

    def __init__(self, path: Path):
        self.path = path
        self.opened: BinaryIO | None = None

    def open(self) -> BinaryIO:
        """Return the tar's own bytes. Raises DataError."""
        if self.opened is None:
            with self.path.open("rb") as raw:
                decoder = _decoder(raw.read(8))
            self.opened = self.path.open("rb") if decoder is None else _unpack(self.path, decoder)
            weakref.finalize(self, self.opened.close)
        return self.opened

    def read(self, offset: int, count: int) -> bytes:
        """Read bytes at a place, from several threads at once. Raises UnreadableImage where there are fewer."""
        data = os.pread(self.open().fileno(), count, offset)
        if len(data) < count:
            raise UnreadableImage("the tar ends within it")
        return data


def index_tar(packed: Packed) -> Iterator[Member]:
    """Yield what is in a tar. Raises DataError where it is damaged."""
    try:
        with tarfile.open(fileobj=_Headers(packed.open(), packed.path), mode="r:") as archive:
            for found in archive:
                is_plain = found.isreg() and not found.issparse()
                yield Member(found.name, found.offset_data, found.size, is_plain, found.isdir())
                archive.members = []  # tarfile would keep them all
            if any(packed.read(archive.offset, tarfile.BLOCKSIZE)):  # it stops without a word at a damaged header
                raise tarfile.ReadError("a header in it is damaged")
    except UnreadableImage:
        raise _broken(packed.path, tarfile.ReadError("it is cut short")) from None
    except BROKEN as error:
        raise _broken(packed.path, error) from error


class _Headers:
    """A tar as tarfile reads its headers: nothing in them may be large, as all of it is read into memory."""

    def __init__(self, opened: BinaryIO, path: Path):
        self.opened, self.path = opened, path
        self.seek, self.tell = opened.seek, opened.tell
        opened.seek(0)

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= HEADER_BYTES:
            raise DataError(f"{self.path}: a name in it is longer than {megabytes(HEADER_BYTES, 0)}; make the tar anew")
        return self.opened.read(count)


def _decoder(head: bytes) -> Decoder | None:
    return next((decoder for beginning, decoder in PACKED.items() if head.startswith(beginning)), None)


def _unpack(path: Path, decoder: Decoder) -> BinaryIO:
    """Unpack into a temporary file without a name. Raises DataError where that is too large or damaged."""
    most = max(FREE_BYTES, MOST_TIMES * path.stat().st_size)
    folder = tempfile.gettempdir()
    unpacked, total = tempfile.TemporaryFile(dir=folder), 0
    try:
        with path.open("rb") as raw:
            for chunk in _chunks(raw, decoder):
                total += len(chunk)
                if total > most:
                    raise DataError(f"{path}: unpacks to more than {megabytes(most, 0)}; unpack it and give the folder")
                if total % (64 * CHUNK) < len(chunk) and shutil.disk_usage(folder).free < 256 * CHUNK:
                    raise DataError(
                        f"{folder}: no room to unpack {path}; unpack it yourself and give the folder, or name a "
                        "larger place with TMPDIR"
                    )
                unpacked.write(chunk)
        unpacked.flush()
    except BROKEN as error:
        unpacked.close()
        raise _broken(path, error) from error
    except BaseException:
        unpacked.close()
        raise
    return unpacked


def _chunks(raw: BinaryIO, decoder: Decoder) -> Iterator[bytes]:
    """Yield what was packed, a chunk at a time; packed pieces may follow each other."""
    data = raw.read(CHUNK)
    while data:
        current = decoder()
        while not current.eof:
            chunk = current.decompress(data, CHUNK)
            data = getattr(current, "unconsumed_tail", b"")  # zlib gives back what it has not used; others keep it
            if chunk:
                yield chunk
            elif not data and not current.eof:
                data = raw.read(CHUNK)
                if not data:
                    raise EOFError("it is cut short")
        data = current.unused_data.lstrip(b"\0") or raw.read(CHUNK).lstrip(b"\0")  # padding may follow


def _broken(path: Path, error: Exception) -> DataError:
    if isinstance(error, tarfile.ReadError):
        what = "not a tar, or one that is damaged"
    else:
        what = "packed, but cut short or damaged"
    return DataError(f"{path}: {what} ({error}); give a folder or a whole archive (if you downloaded it, do so again)")
