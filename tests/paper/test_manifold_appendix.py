"""Appendix A's formula against its definition, and how far its bounds reach."""

import math

import pytest

from mnv2_sweep.paper.manifold import (
    Activities,
    LayerActivity,
    activities_table,
    coarse_bound,
    coarse_bound_follows,
    collapsed_bound,
    collapsed_share,
)

SIZES = [(m, n) for n in (1, 2, 3, 8) for m in (n, n + 1, 2 * n, 6 * n, 40)]


@pytest.mark.parametrize("m, n", SIZES)
def test_the_share_is_what_theorem_1_leaves(m, n):
    kept = sum(math.comb(m, k) for k in range(m - n + 1))  # N of the paper
    assert collapsed_share(m, n) == pytest.approx(1 - kept / 2**m, abs=1e-15)


def test_figure_1():
    shares = {n: collapsed_share(n, 2) for n in (2, 3, 5, 15, 30)}
    assert shares == {2: 3 / 4, 3: 1 / 2, 5: 6 / 32, 15: 16 / 2**15, 30: 31 / 2**30}


def test_fewer_rows_than_inputs_keep_nothing():
    assert collapsed_share(1, 2) == collapsed_share(3, 8) == 1


@pytest.mark.parametrize("m, n", [(m, n) for m, n in SIZES if m > 1])
def test_the_bounds_hold_where_they_follow(m, n):
    assert collapsed_bound(m, n) >= collapsed_share(m, n)
    if coarse_bound_follows(m, n):
        assert coarse_bound(m) >= collapsed_bound(m, n) * (1 - 1e-12)


def test_where_the_bounds_of_the_plane_begin_to_tell():
    assert [m for m in range(2, 50) if collapsed_bound(m, 2) < 1][0] == 10
    assert [m for m in range(2, 50) if coarse_bound_follows(m, 2)] == list(range(30, 50))


def test_activities_as_text():
    start = LayerActivity("features.2.conv.0.0", "expansion", 24, 4, 12.0, 2.0, 6, 18, 0.0, 0.0)
    trained = LayerActivity("features.2.conv.0.0", "expansion", 24, 4, 9.0, 4.0, 0, 24, 0.125, 0.03)
    header, row = activities_table(Activities((start,), (trained,), 10, 100, 0.5))
    assert len(header) == len(row)
    assert row == ["features.2.conv.0.0", "expansion", "24", "16.7"] + [
        *("50.0", "25.0 to 75.0", "0"),
        *("37.5", "0.0 to 100.0", "12", "3"),
    ]
