"""Names of a zip's members as bytes -> as text, where the zip does not say how they are written.

A zip says "UTF-8" or nothing; then programs mean UTF-8 all the same, or what their system wrote at that time. Of the
encodings that are tried, one is taken if the names are usual writing in it and in no other: the common characters of
Chinese (GB 2312, first level) and Japanese (kana, JIS X 0208, first level), and Latin letters with accents (CP437).
"""

import codecs
from collections.abc import Sequence

from mnv2_sweep.base.errors import DataError

GUESSED = ("gbk", "cp932", "cp437")
CLEAR, DOUBTFUL = 0.75, 0.5  # shares of usual characters: of the one that is taken at least, of any other below
ACCENTED = frozenset("ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜáíóúñÑßØø")


def check_encoding(name: str) -> None:
    """Raise DataError unless Python knows an encoding of text by that name."""
    try:
        codecs.lookup(name)
        "".encode(name)
        b"".decode(name)
    except (LookupError, TypeError, ValueError):
        raise DataError(
            f"--zip-encoding {name}: unknown; for instance gbk, cp932, cp437, big5, euc_kr, cp1251 are known"
        ) from None


def decode_names(where: str, names: Sequence[bytes], encoding: str = "") -> tuple[list[str], str]:
    """Return the names as text, and the encoding that was guessed, '' where there was no need to. Raises DataError."""
    if encoding:
        return [_decode(where, name, encoding) for name in names], ""
    other = [name for name in names if not name.isascii()]
    if not other or _is_text(other, "utf-8"):
        return [name.decode("utf-8") for name in names], ""
    guess = _guess(where, other)
    return [name.decode(guess) for name in names], guess


def _guess(where: str, names: Sequence[bytes]) -> str:
    """Return the only encoding in which the names are usual writing. Raises DataError with what each would make."""
    shares = {encoding: _usual_share(names, encoding) for encoding in GUESSED if _is_text(names, encoding)}
    clear = [encoding for encoding, share in shares.items() if share >= CLEAR]
    if len(clear) == 1 and all(share < DOUBTFUL for encoding, share in shares.items() if encoding not in clear):
        return clear[0]
    readings = ", ".join(f"{names[0].decode(encoding)!r} ({encoding})" for encoding in shares)
    raise DataError(
        f"{where}: names in the zip are in the encoding of some system, which it does not say"
        + (f"; the first may be {readings}" if readings else "")
        + "; say which: --zip-encoding gbk, cp932, cp437, big5, euc_kr, cp1251 or another of Python's"
    )


def _decode(where: str, name: bytes, encoding: str) -> str:
    try:
        return name.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: a name in the zip, {name!r}, is not {encoding} ({error.reason}); give another --zip-encoding"
        ) from error


def _is_text(names: Sequence[bytes], encoding: str) -> bool:
    try:
        return all(name.decode(encoding) for name in names)
    except UnicodeDecodeError:
        return False


def _usual_share(names: Sequence[bytes], encoding: str) -> float:
    """Return the share of usual characters among those that are not ASCII; in CP437, which gives any byte a letter,
    the share of names that have no others, and no backslash, which ends letters of other encodings."""
    if encoding == "cp437":
        others = [[letter for letter in name.decode(encoding) if not letter.isascii()] for name in names]
        is_usual = [ACCENTED.issuperset(letters) for letters in others]
        return sum(usual and b"\\" not in name for usual, name in zip(is_usual, names, strict=True)) / len(names)
    letters = [letter for name in names for letter in name.decode(encoding) if not letter.isascii()]
    return sum(_is_usual(letter, encoding) for letter in letters) / max(1, len(letters))


def _is_usual(letter: str, encoding: str) -> bool:
    raw = letter.encode(encoding)
    if len(raw) < 2:
        return False
    if encoding == "gbk":
        return 0xB0 <= raw[0] <= 0xD7 and raw[1] >= 0xA1
    return "\u3041" <= letter <= "\u30fe" or 0x889F <= int.from_bytes(raw, "big") <= 0x9872
