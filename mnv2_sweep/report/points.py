"""The networks of a sweep -> Points, what an interactive figure of them shows: costs, scores, and which are on which
front.

Of very many networks those near the front are kept, and of the others some, evenly by their distance from it. Costs
that a table of results has are of all networks, so the fronts by these lose no network; a further cost is counted of
the networks that are kept, and its front is theirs.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.odds import Odds, add_odds
from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.analysis.sweep import Sweep
from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.costs import CostName, count_rows, estimate, find_cost
from mnv2_sweep.devices.folder import devices_folder, profile_names
from mnv2_sweep.devices.published import published_profiles
from mnv2_sweep.explain.listing import Column
from mnv2_sweep.report.costs import columns_text, make_column
from mnv2_sweep.report.tables import SHOWN_DIFFERENCE
from mnv2_sweep.trials.tasks import BALANCED, TASKS, TOP1, Score, main_score

COUNTED_COSTS = ("madds", "params", "peak_activation_bytes", "file_bytes")
IN_SUMMARY = COUNTED_COSTS[:3]  # of all networks, as a table of results has them
MOST_POINTS, NEAR = 1500, 750  # networks that are shown; of more, so many near the front, then some of the others
LOSS = Score("loss", "loss", 1.0, "", larger_is_better=False, fraction=False)


@dataclass(frozen=True, eq=False)
class Quantity:
    """A cost or a score of networks [N]: its name, label and unit, its values as they are shown, NaN where they are not
    known, the ends of their intervals and what these are over; `sign` 1 where more is better; `digits` to show."""

    name: str
    label: str
    unit: str
    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    over: str = ""
    sign: int = -1
    digits: int = 1

    @property
    def title(self) -> str:
        """Return a title for an axis or a column."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, eq=False)
class Points:
    """Rows of a summary [N] with odds (`odds.add_odds`), `left_out` of which are not shown; their costs and scores, the
    main one of each first; lines on how good predicted costs are, and on those that can't be said."""

    networks: pd.DataFrame
    left_out: int
    costs: tuple[Quantity, ...]
    scores: tuple[Quantity, ...]
    notes: tuple[str, ...]

    def fronts(self) -> dict[str, list[list[int]]]:
        """Return by "COST SCORE" the places of the networks on the front of each kind of start, cheapest first."""
        kinds = self.networks["init"] if "init" in self.networks else pd.Series("", self.networks.index)
        places = [np.flatnonzero(kinds == kind) for kind in kinds.unique()]
        return {
            f"{cost.name} {score.name}": [
                sorted(own[pareto_front(-cost.sign * cost.values[own], score.sign * score.values[own])].tolist(),
                       key=lambda at, cost=cost: cost.values[at])
                for own in places
            ]
            for cost in self.costs for score in self.scores
        }  # fmt: skip


def find_points(sweep: Sweep, odds: Mapping[str, Odds] | None, named: Collection[str] = ()) -> Points:
    """Find the points of a sweep; networks that are `named` are kept. Raises StoreError."""
    summary = add_odds(sweep.summary, odds)
    rows = choose_rows(summary, named)
    networks = summary.iloc[rows].reset_index(drop=True)
    costs, notes = _find_costs(sweep, networks)
    scores = tuple(_find_scores(networks, odds))
    return Points(networks, len(summary) - len(rows), costs, scores, tuple(notes))


def choose_rows(summary: pd.DataFrame, named: Collection[str] = ()) -> np.ndarray:
    """Return the rows of a summary that are shown: all, or of more than MOST_POINTS those that are on a front, `named`
    or near the front, and some of the others."""
    if len(summary) <= MOST_POINTS:
        return np.arange(len(summary))
    score = main_score(summary)
    kinds = summary["init"] if "init" in summary else pd.Series("", summary.index)
    must, gaps = np.isin(summary["network"].to_numpy(str), [*named]), np.full(len(summary), np.inf)
    for kind in kinds.unique():
        own = np.flatnonzero(kinds == kind)
        values = score.sign * summary[score.name].to_numpy(dtype=float)[own]
        for name in IN_SUMMARY:
            must[own] |= pareto_front(summary[name].to_numpy()[own], values)
        known = own[~np.isnan(values)]  # cheapest first, as a summary has them
        values = values[~np.isnan(values)]
        gaps[known] = np.maximum.accumulate(values) - values
    order = np.argsort(gaps, kind="stable")
    far = order[NEAR:]
    some = far[np.linspace(0, len(far) - 1, MOST_POINTS - NEAR).astype(int)]
    return np.unique(np.concatenate([np.flatnonzero(must), order[:NEAR], some]))


def _find_costs(sweep: Sweep, networks: pd.DataFrame) -> tuple[tuple[Quantity, ...], list[str]]:
    """Return the costs of networks, those of devices where their profiles can say them, and lines on these."""
    rows, names = count_rows(sweep.find_archs(networks)), [*COUNTED_COSTS]
    own = profile_names(devices_folder())
    names += [f"{kind}@{name}" for name in own for kind in ("latency", "memory")]
    names += [f"latency@{name}" for name in published_profiles()]
    columns, notes = [], []
    for name in names:
        try:
            columns.append(make_column(name, estimate(name, rows)))
        except ProfileError as error:
            notes.append(f"{name} is left out: {error}")
    known = [column for column in columns if not np.isnan(column.values.astype(float)).all()]
    notes += [f"{column.name} is left out: all networks lie outside of what was measured"
              for column in columns if column not in known]  # fmt: skip
    notes += columns_text([column for column in known if column.low is not None], networks["madds"].to_numpy())
    return tuple(_cost_quantity(find_cost(column.name), column) for column in known), notes


def _cost_quantity(cost: CostName, column: Column) -> Quantity:
    scale, unit = (1.0, "ms") if not cost.whole else (1e6, "MB" if "bytes" in cost.heading else "millions")
    values, low, high = (
        None if part is None else part.astype(float) / scale for part in (column.values, column.low, column.high)
    )
    return Quantity(cost.name, cost.words, unit, values, low, high, "95 % of the prediction" if column.low is not None
                    else "", digits=1 if cost.name in ("madds",) or not cost.whole else 2)  # fmt: skip


def _find_scores(networks: pd.DataFrame, odds: Mapping[str, Odds] | None) -> Iterator[Quantity]:
    """Yield the scores that some network has: the main one on validation and test images, then the others."""
    main = main_score(networks)
    ends, over = ("low", "high"), "95 % over images"
    if odds is not None and any(one.knows_seeds for one in odds.values()):
        ends, over = ("joint_low", "joint_high"), "95 % over images and seeds"
    columns = [(main, main.name, "validation", ends, over)]
    columns += [(main, f"test_{main.name}", "test", ("test_low", "test_high"), "95 % over images")]
    columns += [(main, f"tuned_{main.name}", "trained on, validation", None, "")]
    known = {score.name: score for task in TASKS.values() for score in task.scores} | {LOSS.name: LOSS}
    for name, score in known.items():
        if name != main.name:
            columns += [(score, name, "validation", None, ""), (score, f"test_{name}", "test", None, "")]
    for score, name, split, own, what in columns:
        if name in networks and networks[name].notna().any() and not _is_another(name, networks):
            values, low, high = (
                score.scale * networks[column].to_numpy(dtype=float) for column in (name, *(own or (name, name)))
            )
            bounds = (low, high, what) if own and not np.isnan(low).all() else (None, None, "")
            digits = 3 if score is LOSS else 1
            yield Quantity(name, f"{split} {score.label}", score.unit, values, *bounds, score.sign, digits)


def _is_another(name: str, networks: pd.DataFrame) -> bool:
    """Say whether a score is top-1 by another name, as balanced accuracy is with as many images of each class."""
    usual = name.replace(BALANCED.name, TOP1.name)
    known = name != usual and usual in networks
    return known and not ((networks[name] - networks[usual]).abs() >= SHOWN_DIFFERENCE).any()
