"""Numbers as a person says and writes them, and tables."""

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import (
    align,
    align_lines,
    bytes_text,
    count_noun,
    duration,
    harmless,
    mebibytes,
    megabytes,
    millions,
    pad_cells,
    parse_bytes,
    parse_seconds,
    percent,
)


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


@pytest.mark.parametrize(
    "count, text",
    [(0, "0 kB"), (3_100, "3 kB"), (949_000, "949 kB"), (999_999, "1.0 MB"), (14_200_000, "14 MB"), (1.13e9, "1.1 GB")]
    + [(4.2e13, "42,000 GB")],
)
def test_bytes_in_the_unit_that_fits(count, text):
    assert bytes_text(count) == text


def test_counts_in_one_unit():
    assert [millions(300_774_272), millions(3_504_872, 2), millions(5.1e9)] == ["300.8M", "3.50M", "5,100.0M"]
    assert [megabytes(4_816_896), megabytes(4_816_896, 3), megabytes(1.5e9, 0)] == ["4.82 MB", "4.817 MB", "1,500 MB"]
    assert [mebibytes(512 * 2**20), mebibytes(2**41)] == ["512 MiB", "2,097,152 MiB"]


def test_percent():
    assert [percent(0.9346), percent(0.9346, 2), percent(1, 0), percent(-0.05)] == ["93.5", "93.46", "100", "-5.0"]
    assert percent(None) == percent(float("nan")) == "-"


# ---------------------------------------------------------------- tables

ROWS = [["network", "MAdds", "note"], ["1.0", "300", ""], ["0.35 at 96", "7", "small"]]


def test_words_stand_left_and_numbers_right():
    assert align(ROWS, left=("network", "note")).split("\n") == [
        "network     MAdds  note",
        "1.0           300",
        "0.35 at 96      7  small",
    ]
    assert align(ROWS).split("\n")[2] == "0.35 at 96      7  small"
    assert align(ROWS).split("\n")[0] == "network     MAdds   note"


def test_columns_can_be_named_by_their_places():
    assert align_lines(map(tuple, ROWS), left=[2]) == [
        "   network  MAdds  note",
        "       1.0    300",
        "0.35 at 96      7  small",
    ]
    assert align_lines([]) == []


def test_cells_of_a_column_have_one_width():
    assert pad_cells([["a", "bc "], ["def", "g"]], left=[0]) == [["a  ", "bc "], ["def", "  g"]]


def test_a_row_of_another_length_is_a_mistake():
    with pytest.raises(ValueError):
        align([["a", "b"], ["c"]])


def test_what_would_move_a_cursor_never_reaches_a_terminal():
    wicked = "a\x1b[2Jb\rc\x07\u202ed\x9b"
    assert harmless(f"{wicked}\n{wicked}") == "a?[2Jb?c??d?\na?[2Jb?c??d?"
    assert harmless("猫 گربه é") == "猫 گربه é"
    assert align([["network"], [wicked + "\n"]]) == "network\na?[2Jb?c??d??"
