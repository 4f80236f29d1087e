"""Wilson's interval against scipy, and at its ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mnv2_sweep.base.intervals import wilson_interval


@pytest.mark.parametrize("correct, n", [(0, 10), (3, 10), (10, 10), (612, 1000)])
def test_wilson_equals_scipy(correct, n):
    theirs = scipy_stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_wilson_holds_the_share_within_0_and_1(share, n):
    low, high = wilson_interval(share, n)
    assert 0 <= low <= share <= high <= 1 and low < high


def test_wilson_of_all_right_ends_at_all():
    """Above 1 - 1e-16 lies the share itself: a bar of negative length can't be drawn."""
    assert all(wilson_interval(1.0, np.float64(n))[1] == 1.0 for n in range(1, 200))


@pytest.mark.parametrize("share, n", [(0.5, 0), (np.nan, 10), (np.nan, np.nan)])
def test_wilson_of_nothing_is_nan(share, n):
    assert np.isnan(wilson_interval(share, n)).all()
