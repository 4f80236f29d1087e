"""The fast front against its definition, on few distinct values so that ties are common."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnv2_sweep.analysis.pareto import pareto_front

VALUES = st.one_of(st.integers(0, 4).map(float), st.just(float("nan")), st.just(float("inf")), st.just(-float("inf")))
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=25)


def columns(rows):
    return np.array([row[0] for row in rows], dtype=float), np.array([row[1] for row in rows], dtype=float)


def front_by_definition(rows) -> list[bool]:
    def beats(a, b):
        return a[0] <= b[0] and a[1] >= b[1] and (a[0] < b[0] or a[1] > b[1])

    known = [row for row in rows if not np.isnan(row).any()]
    return [bool(not np.isnan(row).any() and not any(beats(other, row) for other in known)) for row in rows]


@given(ROWS)
def test_equals_the_definition(rows):
    assert pareto_front(*columns(rows)).tolist() == front_by_definition(rows)


@given(ROWS, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    front = pareto_front(*columns(rows))
    assert pareto_front(*columns([rows[i] for i in order])).tolist() == [front[i] for i in order]


@given(ROWS)
def test_the_front_of_the_front_is_the_front(rows):
    cost, accuracy = columns(rows)
    front = pareto_front(cost, accuracy)
    assert pareto_front(cost[front], accuracy[front]).all()


@pytest.mark.parametrize(
    "cost, accuracy, front",
    [
        ([], [], []),
        ([3], [0.1], [True]),
        ([1, 2, 3], [0.5, 0.7, 0.6], [True, True, False]),
        ([1, 1, 2], [0.5, 0.5, 0.5], [True, True, False]),
        ([1, 1], [0.5, 0.6], [False, True]),
        ([1, 2, np.nan], [np.nan, 0.5, 0.9], [False, True, False]),
    ],
    ids=["none", "one", "dominated", "ties", "equal cost", "nan"],
)
def test_small_fronts(cost, accuracy, front):
    assert pareto_front(cost, accuracy).tolist() == front


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="two equal lengths"):
        pareto_front([1, 2], [0.5])
