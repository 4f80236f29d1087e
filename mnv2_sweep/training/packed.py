"""State (tensors and plain types) <-> a file that says whose it is, whole or not there at all.

A file is a line of JSON, the header, and then what torch.save writes; reading one runs no code of its own. torch.load
would not notice a changed tensor, hence the header's digest.
"""

import hashlib
import io
import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import torch

HEADER_BYTES = 4096  # the first line is far shorter; a damaged file may have no line's end at all


def write_packed(path: Path, header: dict, state: dict) -> None:
    """Replace the file. Raises OSError, and the file then stays as it was."""
    packed = io.BytesIO()  # and not straight to disk: the digest comes first, and torch.save hides the disk's own error
    torch.save(state, packed)
    payload = packed.getbuffer()
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")  # another sweep may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as file:
            file.write(json.dumps(header | {"sha256": _digest(payload)}).encode() + b"\n")
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def read_packed(path: Path, expected: dict) -> tuple[dict, dict]:
    """(header, state), on the CPU. Raises OSError where there is no file, and anything else where it is damaged or its
    header has another value than expected."""
    with path.open("rb") as file:
        header, payload = _read_header(file, expected), file.read()
    if header["sha256"] != _digest(payload):
        raise ValueError("it is damaged")
    return header, torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def is_whole(path: Path, expected: dict) -> bool:
    """Whether the file is there, undamaged, and its header has the expected values; nothing is unpacked."""
    try:
        with path.open("rb") as file:
            header = _read_header(file, expected)
            return header["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()
    except Exception:  # as of what has not been written here
        return False


def _read_header(file: BinaryIO, expected: dict) -> dict:
    header = json.loads(file.readline(HEADER_BYTES))
    for name, value in expected.items():
        if header[name] != value:
            raise ValueError(f"its {name} is {header[name]!r}, not {value!r}")
    return header


def remove_unfinished(path: Path) -> None:
    """What a killed writer left."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        with suppress(OSError):
            left.unlink()


def _digest(payload: bytes | memoryview) -> str:
    return hashlib.sha256(payload).hexdigest()
