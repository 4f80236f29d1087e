"""Names of further costs -> columns of listings and tables, and lines on how good the predicted ones are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.fronts import changed_pairs
from mnv2_sweep.analysis.stats import kendall_tau
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.devices.costs import (
    ALWAYS,
    Predictor,
    Values,
    count_rows,
    describe_model,
    estimate,
    find_cost,
    find_model,
)
from mnv2_sweep.explain.listing import Column
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.record.frame import load_archs
from mnv2_sweep.spaces.networks import Networks

MOST_PAIRED = 2000  # networks of which every pair is looked at


def wished_costs(asked: Sequence[str], networks: Networks | None = None) -> list[str]:
    """Return the costs to be listed beside those that always are: those asked for, and those that the space bounds.
    Raises ProfileError where one is none."""
    bounded = [constraint.cost for constraint in networks.space.constraints] if networks is not None else []
    names = [find_cost(name).name for name in dict.fromkeys([*bounded, *asked])]
    return [name for name in names if name not in ALWAYS]


def space_columns(networks: Networks, names: Sequence[str], places: np.ndarray | None = None) -> list[Column]:
    """Return a column for each cost, of all networks of a space or of those at `places`. Raises ProfileError."""
    values = networks.estimates(names)
    return [make_column(name, values[name] if places is None else _take(values[name], places)) for name in names]


def arch_columns(archs: Sequence[ArchSpec], names: Sequence[str]) -> list[Column]:
    """Return a column for each cost of some networks. Raises ProfileError."""
    rows = count_rows(archs)
    return [make_column(name, estimate(name, rows)) for name in names]


@dataclass(frozen=True, eq=False)
class FurtherCosts:
    """Further costs, by name, of the networks of a sweep, by their `arch_key`."""

    names: Sequence[str]
    archs: Mapping[str, ArchSpec]

    def columns(self, frame: pd.DataFrame) -> list[Column]:
        """Return a column for each cost, of the rows of a table of trials or networks. Raises ProfileError."""
        if not self.names:
            return []
        keys, places = np.unique(frame["arch_key"].to_numpy(str), return_inverse=True)
        rows = count_rows([self.archs[key] for key in keys])
        return [make_column(name, _take(estimate(name, rows), places)) for name in self.names]

    def add(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the table with a column for each cost, and its interval as `_low` and `_high`. Raises ProfileError."""
        records = [
            pd.DataFrame([one.record(at) for at in range(len(frame))], frame.index) for one in self.columns(frame)
        ]
        return pd.concat([frame, *records], axis=1)


def load_costs(folder: Path, asked: Sequence[str]) -> FurtherCosts:
    """Load the networks of a sweep for further costs. Raises ProfileError where one is none, StoreError."""
    names = wished_costs(asked)
    return FurtherCosts(names, load_archs(folder) if names else {})


def make_column(name: str, values: Values) -> Column:
    """Return the column of a cost."""
    cost = find_cost(name)
    title = cost.name if cost.profile else cost.words
    return Column(name, cost.heading, f"{title} (ms)" if not cost.whole else title, cost.text, *values)


def _take(values: Values, places: np.ndarray) -> Values:
    return Values(*(None if column is None else column[places] for column in values))


# ---------------------------------------------------------------- words


def columns_text(columns: Sequence[Column], madds: np.ndarray) -> list[str]:
    """Return lines on the predicted costs: of which device, how good, and how far they order the networks as MAdds
    do."""
    lines = []
    for column in columns:
        if column.low is None:
            continue
        model = find_model(column.name)
        lines.append(describe_model(column.name))
        lines += [order_text(column.name, column.values, model, madds)] if len(madds) > 1 else []
        outside = int(np.isnan(column.values).sum())
        if outside and len(madds) > 1:
            lines.append(f"{column.name}: {outside:,} of {len(madds):,} networks lie outside of what was measured on "
                         f"{model.profile.name}, and are not predicted")  # fmt: skip
    return lines


def outside_text(arch: ArchSpec, columns: Sequence[Column]) -> list[str]:
    """Return a line for each predicted cost that is not known of the network: why, and what to do."""
    lines = []
    for column in columns:
        if column.low is not None and np.isnan(column.values[0]):
            one = find_model(column.name)
            reason = one.model.reasons(one.rows(count_rows([arch]))[0])[0]
            lines.append(f"{arch_label(arch)} lies outside of what was measured on {one.profile.name} ({reason}); pack "
                         "a space that has it, and measure that")  # fmt: skip
    return lines


def order_text(name: str, values: np.ndarray, one: Predictor, madds: np.ndarray) -> str:
    """Say how far a predicted cost orders networks as their MAdds do."""
    known = ~np.isnan(values)
    tau = kendall_tau(madds[known].astype(float), values[known])
    if np.isnan(tau):
        return f"Kendall tau between MAdds and {name}: undefined, fewer than two networks that differ"
    text = f"Kendall tau between MAdds and {name}: {tau:.3f} over {count_noun(int(known.sum()), 'network')}"
    if known.sum() > MOST_PAIRED:
        return text
    changed, sure, pairs = changed_pairs(madds[known], values[known], one.model.margin)
    return f"{text}; {changed:,} of {pairs:,} pairs change places, {sure:,} of them beyond the prediction's error"
