"""Numbers as a person says and writes them, and rows of text as the aligned lines of a table."""

import re
from collections.abc import Container, Iterable, Sequence
from decimal import Decimal

from mnv2_sweep.base.errors import SweepError

BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def count_noun(count: int, noun: str) -> str:
    """Return a count with its noun: "1 trial", "2,000 trials"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return seconds as a person says them: "48 s", "12 min", "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def parse_bytes(text: str, where: str) -> int:
    """Read "4GiB" as 4294967296. Raises SweepError, which says `where` it was given."""
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)", text.strip())
    if not match or int(Decimal(match[1]) * BYTE_UNITS.get(match[2], 0)) < 1:
        raise SweepError(f"{where} {text}: a number above 0 and a unit ({', '.join(BYTE_UNITS)}), as in 4GiB")
    return int(Decimal(match[1]) * BYTE_UNITS[match[2]])


def parse_seconds(text: str, where: str) -> float:
    """Read "90s", "30m", "1.5h", "2h30m" as seconds. Raises SweepError, which says `where` it was given."""
    parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])", text.strip())
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text.strip() or not seconds:
        raise SweepError(f"{where} {text}: a time above 0 is wanted, as in 90s, 30m, 1.5h or 2h30m")
    return seconds


def millions(count: float, digits: int = 1) -> str:
    """Return a count in millions: "300.8M"."""
    return f"{count / 1e6:,.{digits}f}M"


def megabytes(count: int, digits: int = 2) -> str:
    """Return bytes in millions: "4.82 MB"."""
    return f"{count / 1e6:,.{digits}f} MB"


def mebibytes(count: int) -> str:
    """Return bytes in units of 2^20: "512 MiB"."""
    return f"{count / 2**20:,.0f} MiB"


def bytes_text(count: int) -> str:
    """Return bytes in the unit that fits: "3 kB", "14 MB", "1.1 GB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= 0.95 * unit:
            return f"{count / unit:.1f} {name}" if count < 10 * unit else f"{count / unit:,.0f} {name}"
    return f"{count / 1e3:.0f} kB"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction in percent without the sign, 0.934 as "93.4"; "-" for what was not measured (None, NaN)."""
    return "-" if fraction is None or fraction != fraction else f"{100 * fraction:.{digits}f}"


def printable(name: str) -> str:
    """Return a file's name as a terminal, a figure or a file can take it: what can't be shown becomes question
    marks."""
    if name.isprintable():  # nor is half of a surrogate pair
        return name
    name = name.encode("utf-8", "replace").decode()
    return "".join(sign if sign.isprintable() else "?" for sign in name)


def harmless(text: str) -> str:
    """Return lines as a terminal can take them: what would move its cursor, colour it or turn its direction becomes
    question marks."""
    return "\n".join(map(printable, text.split("\n")))


def harmless_cell(text: str) -> str:
    """Return a cell of a CSV file that no spreadsheet takes for a formula, and that a terminal can take."""
    return printable(f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text)


def align(rows: Sequence[Sequence[str]], left: Container[str] = ("network", "weights", "status", "error")) -> str:
    """Return the rows, of which the first is the header, as lines of equal columns, numbers to the right; `left` names
    the columns of words."""
    return "\n".join(align_lines(rows, [i for i, title in enumerate(rows[0]) if title in left]))


def align_lines(rows: Iterable[Sequence[str]], left: Container[int] = ()) -> list[str]:
    """Return a line for each row, cells to the right but in the columns whose places `left` has, nothing at the end."""
    return ["  ".join(cells).rstrip() for cells in pad_cells(rows, left)]


def pad_cells(rows: Iterable[Sequence[str]], left: Container[int] = ()) -> list[list[str]]:
    """Return the cells filled up with spaces to the width of their column; a cell is one line that can be shown."""
    rows = [[cell if cell.isprintable() else printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.ljust if i in left else str.rjust for i in range(len(widths))]
    return [[pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)] for row in rows]
