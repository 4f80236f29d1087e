"""Numbers as a person says and writes them."""

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun, duration, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"), (48.4, "48 s"), (89.4, "89 s"), (90, "2 min"), (700, "12 min"), (5369, "89 min"),
        (5400, "1 h 30 min"), (7500, "2 h 05 min"), (360000, "100 h 00 min"),
    ],
    ids=str,
)  # fmt: skip
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_nouns():
    assert [count_noun(n, "trial") for n in (0, 1, 2, 2000)] == ["0 trials", "1 trial", "2 trials", "2,000 trials"]


@pytest.mark.parametrize(
    "text, count",
    [
        ("1B", 1), ("1kB", 1000), ("2MB", 2_000_000), ("1GB", 10**9), ("1KiB", 1024), ("512MiB", 512 * 2**20),
        ("4GiB", 2**32), ("1.5GiB", 3 * 2**29), ("0.1kB", 100), (" 4 GiB ", 2**32),
        ("999999999999GiB", 999999999999 << 30),
    ],
    ids=str,
)  # fmt: skip
def test_bytes(text, count):
    assert parse_bytes(text, "--memory") == count


@pytest.mark.parametrize(
    "text",
    ["", "4", "GiB", "4 gib", "4G", "-4GiB", "0GiB", "0.0GiB", "4e3GiB", "4.GiB", "4,5GiB", "4GiB 2GiB", "nanGiB",
     "infGiB", "\u0664GiB", "4GiB\n4GiB", "9" * 13 + "B",
     "0.1B"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_size(text):
    with pytest.raises(SweepError, match="^--memory ") as caught:
        parse_bytes(text, "--memory")
    assert "a number above 0 and a unit (B, kB, MB, GB, KiB, MiB, GiB), as in 4GiB" in str(caught.value)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2h30m", 9000), ("1d2h3m4s", 93784), ("0.5s", 0.5), (" 90s ", 90),
        ("30m2h", 9000),
    ],
    ids=str,
)  # fmt: skip
def test_seconds(text, seconds):
    assert parse_seconds(text, "--timeout") == seconds


@pytest.mark.parametrize(
    "text",
    ["", "90", "s", "90 s", "90S", "2h 30m", "-90s", "0s", "0h0m", "1e3s", "nans", "infs", "1.5.5s", "90sec", "2h,30m",
     "\u0669s", "90s\n90s", "9" * 10 + "s"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_time(text):
    with pytest.raises(SweepError, match="^--timeout ") as caught:
        parse_seconds(text, "--timeout")
    assert "a time above 0 is wanted, as in 90s, 30m, 1.5h or 2h30m" in str(caught.value)
