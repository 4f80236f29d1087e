"""The first bytes of a file -> what it is, in a few words, where it is not what was wanted."""

import re

HEAD_BYTES = 512
NEEDS_HEIC = "HEIC, which needs: pip install 'mnv2-sweep[heic]'"
IMAGE_BEGINNINGS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*"),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
)
WEB_PAGE = (b"<!doctype html", b"<html", b"<head")
BEGINNINGS = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself: 'git lfs pull' fetches it",
    b"PK\x03\x04": "a zip",
    b"PK\x05\x06": "an empty zip",
    b"\x1f\x8b": "packed with gzip",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ\x00": "packed with xz",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"SQLite format 3": "an SQLite database",
}


def name_content(head: bytes) -> str:
    """Return what a file is that begins so; '' where that is not known."""
    for beginning, what in BEGINNINGS.items():
        if head.startswith(beginning):
            return what
    if head[257:262] == b"ustar":
        return "a tar"
    if head.lstrip().lower().startswith(WEB_PAGE):
        return "a web page (HTML), perhaps of a log-in or of an error: download the file itself"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return NEEDS_HEIC
    return "a table (CSV)" if is_text(head) and is_table(head) else ""


def looks_like_image(head: bytes) -> bool:
    """Return whether a file begins as one of an image does that can be read here."""
    if head.startswith(IMAGE_BEGINNINGS) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return True
    return head[4:12] in (b"ftypavif", b"ftypavis") or re.match(rb"P[1-6]\s", head) is not None


def is_table(head: bytes) -> bool:
    """Return whether a text's first two lines have as many cells, at least two."""
    lines = head.decode("utf-8", "replace").splitlines()[:2]
    return len(lines) == 2 and any(lines[0].count(mark) == lines[1].count(mark) > 0 for mark in (",", "\t", ";"))


def is_text(head: bytes) -> bool:
    """Return whether bytes may be the beginning of a text."""
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # cut within a letter
    return bool(head)
