"""Published weights -> their file in the folder, fetched over HTTPS: goes on where it stopped, and checks the digest.

Nothing but the command `weights get` calls this: a run never downloads by itself.
"""

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mnv2_sweep import __version__
from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.base.text import bytes_text
from mnv2_sweep.pretrained.published import Published

PIECE_BYTES = 1 << 18
TIMEOUT_SECONDS = 30
LIMIT_BYTES = 1 << 29
Report = Callable[[int, int], None]


def download(one: Published, folder: Path, report: Report = lambda done, total: None) -> Path:
    """Fetch the file into the folder and return its path; the caller adds it and removes it. `report(done, total)` in
    bytes, total 0 where the server does not say. Raises WeightsError, with what to do by hand where it is offline."""
    part = folder / f"{one.name}-{one.file_name}.part"
    tag = part.with_name(f"{part.name}.etag")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(one, part, tag, report)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"{one.name}: {one.address} can't be fetched from here ({reason}); fetch it where you can, then "
            f"'mnv2-sweep weights add {one.file_name} --as {one.name}'"
        ) from error
    except OSError as error:
        raise WeightsError(f"{folder}: the file can't be kept here ({error}); set MNV2_SWEEP_CACHE") from error
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    tag.unlink(missing_ok=True)
    if not digest.startswith(one.sha256):
        part.unlink()
        raise WeightsError(f"{one.name}: what {one.address} sends has sha256 {digest[:8]}..., {one.sha256[:8]}... is "
                           "wanted; it was removed, try again or fetch it elsewhere")  # fmt: skip
    return part.replace(part.with_suffix(""))


def _fetch(one: Published, part: Path, tag: Path, report: Report) -> None:
    """Bring the part to its whole length: what is there is kept if the server still has the same file (If-Range)."""
    done = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"User-Agent": f"mnv2-sweep/{__version__}"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": tag.read_text()}
    try:
        reply = urllib.request.urlopen(urllib.request.Request(one.address, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{done}":  # it was whole already
            return
        raise
    with reply:
        begun = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", reply.headers.get("Content-Range", ""))
        goes_on = reply.status == 206 and begun is not None and int(begun[1]) == done
        total = int(begun[2]) if goes_on else int(reply.headers.get("Content-Length") or 0)
        _check_size(one, total)
        mark = reply.headers.get("ETag", "")
        if mark and not mark.startswith("W/"):  # a weak one does not promise the same bytes
            write_whole(tag, mark)
        else:
            tag.unlink(missing_ok=True)
        with part.open("ab" if goes_on else "wb") as file:
            _copy(one, reply, file, done if goes_on else 0, total, report)


def _copy(one: Published, reply, file: BinaryIO, done: int, total: int, report: Report) -> None:
    report(done, total)
    while piece := reply.read(PIECE_BYTES):
        file.write(piece)
        done += len(piece)
        _check_size(one, done)
        report(done, total)
    if total and done < total:
        raise ConnectionError(f"the connection ended after {bytes_text(done)} of {bytes_text(total)}; the same command "
                              "goes on from there")  # fmt: skip


def _check_size(one: Published, size: int) -> None:
    if size > LIMIT_BYTES:
        raise WeightsError(f"{one.name}: {one.address} sends {bytes_text(size)}, more than any MobileNetV2 has")
