"""Scores and several costs of the same networks -> a front for each cost, and which networks change places.

Whether a network is on the front by MAdds and off it by a device's latency depends on scores that are measured on
images, with seeds, and on latencies that are predicted. Both are drawn many times: the scores as `odds` draws them (as
measured, where these are not on record image by image), each latency about its prediction with a spread of logarithms
whose 95 % interval is the prediction's. In each draw each cost has its front. A network has changed places where at
least 95 % of the draws have it on one front and not on the other; what changes less often is noise.

Errors of two predictions are taken for independent. Where they are alike, as of networks that differ little, changes
are surer than is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.base.intervals import CONFIDENCE

DRAWS = 2000
QUANTILE = float(ndtri((1 + CONFIDENCE) / 2))  # standard deviations on either side that hold 95 %


@dataclass(frozen=True, eq=False)
class CostAxis:
    """A cost of networks [N], lower is better; `margin`: 95 % of its values are within this factor of the truth."""

    name: str
    values: np.ndarray
    margin: float = 1.0


@dataclass(frozen=True, eq=False)
class Front:
    """A front by one cost: which networks are on it as measured [N], how likely each is on it [N], which enter it and
    leave it against the first cost's, beyond noise [N], and how many do so as measured."""

    axis: CostAxis
    on_front: np.ndarray
    probability: np.ndarray
    enters: np.ndarray
    leaves: np.ndarray
    changes: int


def compare_fronts(
    scores: np.ndarray, axes: Sequence[CostAxis], drawn: np.ndarray | None = None, seed: int = 0
) -> list[Front]:
    """Return the front of each cost, compared with that of the first among the networks of which both are known. Scores
    [N] are better the larger they are, `drawn` [draws, N] are those of other images and seeds. Networks without a score
    or the cost (NaN) are on no front."""
    random = np.random.default_rng(seed)
    drawn = np.broadcast_to(scores, (DRAWS, len(scores))) if drawn is None else drawn
    first, fronts = axes[0], []
    for axis in axes:
        known = ~(np.isnan(scores) | np.isnan(first.values) | np.isnan(axis.values))
        own, before = (draw_axis_fronts(drawn, one, known, random) for one in (axis, first))
        measured, was = (pareto_front(np.where(known, one.values, np.nan), scores) for one in (axis, first))
        enters, leaves = ((more & ~less).mean(0) >= CONFIDENCE for more, less in ((own, before), (before, own)))
        probability = np.where(known, own.mean(0), np.nan)
        fronts.append(Front(axis, measured, probability, enters, leaves, int((measured != was).sum())))
    return fronts


def draw_axis_fronts(scores: np.ndarray, axis: CostAxis, known: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return for each draw of the scores [draws, N] which of the known networks are on its front, with costs drawn,
    too; others are not."""
    on = np.zeros(scores.shape, bool)
    spread = np.log(axis.margin) / QUANTILE
    logs = np.log(axis.values[known]) + spread * random.standard_normal((len(scores), int(known.sum())))
    on[:, known] = front_rows(scores[:, known], logs)
    return on


def front_rows(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return for each row [rows, N] which networks are on its front, as `pareto.pareto_front` has it."""
    order = np.lexsort((-scores, costs), axis=1)  # of equal costs the best first
    ordered, spent = np.take_along_axis(scores, order, 1), np.take_along_axis(costs, order, 1)
    before = np.full_like(ordered, -np.inf)
    before[:, 1:] = np.maximum.accumulate(ordered, axis=1)[:, :-1]
    on = ordered > before
    # An equal score at an equal cost, right after one that is on the front, is on it, too.
    for at in range(1, on.shape[1]):
        same = (ordered[:, at] == ordered[:, at - 1]) & (spent[:, at] == spent[:, at - 1])
        on[:, at] |= same & on[:, at - 1]
    rows = np.zeros_like(on)
    np.put_along_axis(rows, order, on, 1)
    return rows


def changed_pairs(first: np.ndarray, second: np.ndarray, margin: float) -> tuple[int, int, int]:
    """Count the pairs of networks [N] that two costs put in another order; those of them that differ in the second by
    more than the error of two predictions, each within a factor `margin`; and all pairs."""
    upper = np.triu_indices(len(first), 1)
    signs = np.sign(np.subtract.outer(first.astype(float), first.astype(float)))[upper]
    gaps = np.subtract.outer(np.log(second), np.log(second))[upper]
    changed = signs * np.sign(gaps) < 0
    sure = changed & (np.abs(gaps) > np.sqrt(2) * np.log(margin))
    return int(changed.sum()), int(sure.sum()), len(gaps)
