"""Costs and accuracies -> which rows are on the Pareto front.

Low cost and high accuracy are good. A row is on the front if no other row has cost <= its cost and accuracy >=
its accuracy with one of the two strict. So rows with equal cost and equal accuracy are on the front together or
not at all, and of equal cost only the most accurate are on it. A row with NaN (nothing measured) is never on the
front and keeps no other row off it.
"""

import numpy as np
from numpy.typing import ArrayLike


def pareto_front(cost: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Return a boolean mask, True for the rows on the front; order and number of rows are the input's."""
    cost, accuracy = np.asarray(cost, dtype=float), np.asarray(accuracy, dtype=float)
    if cost.ndim != 1 or cost.shape != accuracy.shape:
        raise ValueError(
            f"cost and accuracy: shapes {cost.shape} and {accuracy.shape} given, two equal lengths allowed"
        )
    front = np.zeros(len(cost), dtype=bool)
    known = ~(np.isnan(cost) | np.isnan(accuracy))
    if known.any():
        front[known] = _front_of_known(cost[known], accuracy[known])
    return front


def _front_of_known(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    levels, level = np.unique(cost, return_inverse=True)
    best = np.full(len(levels), -np.inf)  # the best accuracy at each cost
    np.maximum.at(best, level, accuracy)
    # The best of all cheaper rows; NaN before the cheapest, so that no comparison with it is true.
    cheaper = np.concatenate([[np.nan], np.maximum.accumulate(best)[:-1]])
    return (accuracy == best[level]) & ~(accuracy <= cheaper[level])
