"""Numbers as a person says and writes them."""

import re
from decimal import Decimal

from mnv2_sweep.base.errors import SweepError

BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def count_noun(count: int, noun: str) -> str:
    """ "1 trial", "2,000 trials"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds for a person: "48 s", "12 min", "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def parse_bytes(text: str, where: str) -> int:
    """ "4GiB" -> 4294967296. Raises SweepError, which says `where` it was given."""
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)", text.strip())
    if not match or int(Decimal(match[1]) * BYTE_UNITS.get(match[2], 0)) < 1:
        raise SweepError(f"{where} {text}: a number above 0 and a unit ({', '.join(BYTE_UNITS)}), as in 4GiB")
    return int(Decimal(match[1]) * BYTE_UNITS[match[2]])


def parse_seconds(text: str, where: str) -> float:
    """ "90s", "30m", "1.5h", "2h30m" -> seconds. Raises SweepError, which says `where` it was given."""
    parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])", text.strip())
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text.strip() or not seconds:
        raise SweepError(f"{where} {text}: a time above 0 is wanted, as in 90s, 30m, 1.5h or 2h30m")
    return seconds


def millions(count: int, digits: int = 1) -> str:
    return f"{count / 1e6:,.{digits}f}M"


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"


def percent(share: float) -> str:
    return "-" if share is None or share != share else f"{100 * share:.1f}"


def align(rows: list[list[str]], left: tuple[str, ...] = ("network", "weights", "status", "error")) -> str:
    """Rows as lines of equal columns, numbers to the right; `left` names the columns of words."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if title in left else cell.rjust(width)
            for title, cell, width in zip(rows[0], row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
