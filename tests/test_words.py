"""Numbers as a person says them."""

import pytest

from mnv2_sweep.words import count_noun, duration


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
