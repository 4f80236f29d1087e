"""Appendix A's formula and its bounds; what ReLU does to a spiral, measured against the formula and by hand."""

import math

import numpy as np
import pytest

from mnv2_sweep.paper.manifold import (
    DIRECTIONS,
    INNERMOST,
    SHOWN,
    TURNS,
    Activities,
    LayerActivity,
    activities_table,
    coarse_bound_follows,
    collapsed_bound,
    collapsed_fraction,
    draw_matrices,
    embed_spiral,
    find_collapsed,
    find_merged,
    losses_table,
    measure_losses,
    spiral_points,
)

SIZES = [(m, n) for n in (1, 2, 3, 8) for m in (n, n + 1, 2 * n, 6 * n, 40)]


@pytest.mark.parametrize("m, n", SIZES)
def test_the_share_is_what_theorem_1_leaves(m, n):
    kept = sum(math.comb(m, k) for k in range(m - n + 1))  # N of the paper
    assert collapsed_fraction(m, n) == pytest.approx(1 - kept / 2**m, abs=1e-15)


def test_figure_1():
    shares = {n: collapsed_fraction(n, 2) for n in (2, 3, 5, 15, 30)}
    assert shares == {2: 3 / 4, 3: 1 / 2, 5: 6 / 32, 15: 16 / 2**15, 30: 31 / 2**30}


def test_fewer_rows_than_inputs_keep_nothing():
    assert collapsed_fraction(1, 2) == collapsed_fraction(3, 8) == 1


@pytest.mark.parametrize("m, n", [(m, n) for m, n in SIZES if m > 1])
def test_the_bounds_hold_where_they_follow(m, n):
    assert collapsed_bound(m, n) >= collapsed_fraction(m, n)
    if coarse_bound_follows(m, n):
        assert 2 ** (-m / 2) >= collapsed_bound(m, n) * (1 - 1e-12)


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


ANGLES = 2 * np.pi * (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)])


@pytest.fixture(scope="module")
def losses():
    return {loss.dimensions: loss for loss in measure_losses(1000, seed=1, dimensions=(2, 3, 4, 5, 8, 20))}


def unit_rows(matrices):
    return matrices / np.linalg.norm(matrices, axis=2, keepdims=True)


# --- the spiral and its image -------------------------------------------------------------------------------------


def test_the_spiral_turns_evenly_and_grows_evenly():
    points = spiral_points()
    assert points.shape == (2, TURNS * DIRECTIONS)
    radii, angles = np.hypot(*points), np.unwrap(np.arctan2(*points[::-1]))
    assert np.allclose(np.diff(angles), 2 * np.pi / DIRECTIONS)
    assert np.allclose(radii, np.linspace(INNERMOST, 1, len(radii)))


def test_matrices_depend_on_seed_and_n_alone():
    few, many = draw_matrices(5, 2, seed=3), draw_matrices(5, 9, seed=3)
    assert many.shape == (9, 5, 2) and (many[:2] == few).all()
    assert not np.allclose(few, draw_matrices(5, 2, seed=4))
    assert not np.allclose(few[:, :3], draw_matrices(3, 2, seed=3))


@pytest.mark.parametrize("n", SHOWN)
def test_the_image_is_the_pseudo_inverse_of_relu(n):
    embedding, matrix = embed_spiral(n, seed=0), draw_matrices(n, 7, seed=0)[0]
    image = np.maximum(matrix @ spiral_points(), 0)
    expected = np.linalg.inv(matrix) @ image if n == 2 else np.linalg.lstsq(matrix, image, rcond=None)[0]
    assert np.allclose(embedding.back, expected)
    assert (embedding.active == (image > 0).sum(axis=0)).all()
    assert (embedding.collapsed == (embedding.active < 2)).all()
    silent = embedding.active == 0
    assert not embedding.back[:, silent].any() and np.hypot(*embedding.back[:, ~silent]).min() > 0


def test_collapsed_points_lie_on_rays():
    """The plane around them became a line: their images have one direction for each positive row."""
    embedding, matrix = embed_spiral(2, seed=0), draw_matrices(2, 1, seed=0)[0]
    lone = embedding.active == 1
    row = (matrix @ spiral_points()).argmax(axis=0)
    for i in (0, 1):
        assert np.linalg.matrix_rank(embedding.back[:, lone & (row == i)], tol=1e-9) == 1


# --- the share that collapses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 4, 5, 8, 20])
def test_the_mean_is_theorem_1s(losses, n):
    share = losses[n].collapsed
    error = (share.high - share.low) / 2 / 1.96
    assert abs(share.mean - collapsed_fraction(n, 2)) < 3 * max(error, 1e-5)
    assert share.low <= share.mean <= share.high and share.least <= share.median <= share.most


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_the_mean_sent_to_zero_is_2_to_the_minus_n(losses, n):
    assert losses[n].silent.mean == pytest.approx(0.5**n, rel=0.2)


@pytest.mark.parametrize("m, n", [(3, 3), (4, 3), (6, 3), (8, 3), (12, 5), (18, 5)])
def test_the_mean_is_theorem_1s_with_more_inputs(m, n):
    random = np.random.default_rng(0)
    matrices, points = random.standard_normal((3000, m, n)), random.uniform(0, 1, (n, 20))  # one orthant of inputs
    shares = find_collapsed(matrices, points).mean(axis=1)
    assert abs(shares.mean() - collapsed_fraction(m, n)) < 3 * shares.std() / np.sqrt(len(shares))


def test_it_takes_no_normal_entries_only_symmetry():
    random = np.random.default_rng(0)
    skewed = random.exponential(size=(4000, 6, 2)) * [1, 20]
    signs = random.choice([-1, 1], (4000, 6, 1))
    assert find_collapsed(skewed * signs, CIRCLE).mean() == pytest.approx(collapsed_fraction(6, 2), abs=0.01)
    assert find_collapsed(skewed, CIRCLE).mean() > 0.2  # without it the formula is off: 0.11


def test_one_matrix_reaches_few_orthants():
    signs = draw_matrices(15, 50, seed=0) @ CIRCLE > 0
    reached = [len(np.unique(of_one, axis=1).T) for of_one in signs]
    assert max(reached) <= 2 * 15  # of 2^15


def test_opposite_points_share_the_rows():
    """So at n = 3 every matrix loses one half exactly, and up to n = 4 none loses nothing."""
    assert (find_collapsed(draw_matrices(3, 500, seed=0), CIRCLE).mean(axis=1) == 0.5).all()
    four = find_collapsed(draw_matrices(4, 500, seed=0), CIRCLE).mean(axis=1)
    assert (four <= 0.5).all() and (four > 0).mean() > 0.99  # the thinnest slivers lie between two directions
    assert (find_collapsed(draw_matrices(5, 500, seed=0), CIRCLE).mean(axis=1) == 0).any()


@pytest.mark.parametrize("n", [3, 4, 6])
def test_matrices_that_send_something_to_zero(n):
    """Wendel's theorem: n random rows lie in one half plane with probability n / 2^(n - 1)."""
    silent = ((draw_matrices(n, 3000, seed=0) @ CIRCLE > 0).sum(axis=1) == 0).any(axis=1)
    assert silent.mean() == pytest.approx(n / 2 ** (n - 1), abs=0.03)


def test_intact_matrices_are_those_without_a_collapsed_point(losses):
    collapsed = find_collapsed(draw_matrices(5, 1000, seed=1), CIRCLE)
    assert losses[5].intact == (~collapsed.any(axis=1)).mean() > 0
    assert (losses[2].intact, losses[3].intact) == (0, 0) and losses[20].intact > 0.99


# --- points that merge --------------------------------------------------------------------------------------------


def brute_merged(matrix):
    """Every lone point against every piece of the spiral."""
    image = np.maximum(matrix @ spiral_points(), 0)
    active, row, value = (image > 0).sum(axis=0), image.argmax(axis=0), image.max(axis=0)
    merged = active == 0
    for p in np.flatnonzero(active == 1):
        for k in np.flatnonzero((active == 1) & (row == row[p]))[:-1]:
            end = k + 1
            piece = active[end] == 1 and row[end] == row[p] and p not in (k, end)
            if piece and min(value[k], value[end]) <= value[p] <= max(value[k], value[end]):
                merged[p] = True
    return merged


@pytest.mark.parametrize("n", [2, 3, 5])
def test_merged_points_are_those_that_brute_force_finds(n):
    matrices = unit_rows(draw_matrices(n, 3, seed=2))
    merged = find_merged(matrices @ CIRCLE)
    assert merged.any() and not merged.all()
    for matrix, found in zip(matrices, merged, strict=True):
        assert (found == brute_merged(matrix)).all()


def test_merging_lies_between_sent_to_zero_and_collapsed(losses):
    matrices = draw_matrices(3, 200, seed=0)
    merged = find_merged(unit_rows(matrices) @ CIRCLE)
    active = np.tile((matrices @ CIRCLE > 0).sum(axis=1), TURNS)
    assert (merged[active == 0]).all() and not (merged & (active >= 2)).any()
    for loss in losses.values():
        assert loss.silent.mean <= loss.merged.mean <= loss.collapsed.mean


# --- the way back -------------------------------------------------------------------------------------------------


def test_the_pseudo_inverse_gives_half_of_every_point_and_something_even():
    for n in SHOWN:
        matrix = draw_matrices(n, 1, seed=5)[0]
        there, opposite = (np.linalg.pinv(matrix) @ np.maximum(matrix @ x, 0) for x in (CIRCLE, -CIRCLE))
        assert np.allclose(there - opposite, CIRCLE)
        assert np.sqrt(((there - CIRCLE) ** 2).sum(axis=0).mean()) >= 0.5


def test_errors(losses):
    for loss in losses.values():
        assert loss.inverse_error.least >= 0.5
        assert loss.scaled_error.mean <= loss.inverse_error.mean
        assert loss.active_error.mean < loss.scaled_error.mean
    assert losses[20].inverse_error.median < 0.56 and losses[20].active_error.median == 0
    assert losses[20].scaled_error.median == pytest.approx(2 / np.sqrt(20), rel=0.25)


def test_the_error_on_positive_rows_is_that_of_least_squares():
    matrices = draw_matrices(3, 100, seed=6)
    errors = []
    for matrix in matrices:
        lost = []
        for x in CIRCLE.T:
            rows = matrix[matrix @ x > 0]
            back = np.linalg.lstsq(rows, rows @ x, rcond=None)[0] if len(rows) else np.zeros(2)
            lost.append(((back - x) ** 2).sum())
        errors.append(np.sqrt(np.mean(lost)))
    measured = measure_losses(100, seed=6, dimensions=(3,))[0].active_error
    assert measured.mean == pytest.approx(np.mean(errors)) and measured.median == pytest.approx(np.median(errors))


def test_the_table_has_the_formula_beside_the_measurement(losses):
    header, *rows = losses_table(list(losses.values()))
    assert {len(row) for row in rows} == {len(header)}
    first = dict(zip(header, rows[0], strict=True))
    assert (first["n"], first["appendix A"], first["2^-n"], first["T intact %"]) == ("2", "75", "25", "0.0")
    assert float(first["collapsed %"]) == pytest.approx(75, abs=2)


def test_the_same_seed_measures_the_same():
    again = [measure_losses(300, seed, dimensions=(4,)) for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]
