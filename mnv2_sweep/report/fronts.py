"""A sweep and profiles of devices -> the fronts by MAdds and by each device side by side, and which networks change
places, as a figure and in words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.fronts import CostAxis, Front, compare_fronts
from mnv2_sweep.analysis.odds import Odds, load_odds
from mnv2_sweep.analysis.stats import read_facts, start_kinds, summarise
from mnv2_sweep.base.errors import ProfileError, StoreError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.devices.costs import find_cost, find_model
from mnv2_sweep.devices.folder import devices_folder, list_profiles
from mnv2_sweep.plots.fronts import Compared, plot_fronts
from mnv2_sweep.plots.style import join_facts
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.report.axes import axis_unit
from mnv2_sweep.report.costs import FurtherCosts, columns_text, load_costs
from mnv2_sweep.report.figures import save_plot
from mnv2_sweep.trials.tasks import Score, main_score

MADDS = "madds"
MOST_COSTS = 11  # beside MAdds, in one figure
MOST_NAMED = 6


def draw_fronts(folder: Path, plots: Path, asked: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Draw the front by MAdds and by each cost, those asked for or the latency of every profile; return lines on what
    changes places, and the files written. Raises StoreError, ProfileError."""
    names = [name for name in dict.fromkeys(asked) if name != MADDS]
    if not asked:
        names = [f"latency@{one.name}" for one in list_profiles(devices_folder())[0]]
        if not names:
            raise ProfileError("plot --fronts: no profile of a device was added; 'mnv2-sweep device run' makes one "
                               "here, 'mnv2-sweep device add' takes a file")  # fmt: skip
    if len(names) > MOST_COSTS:
        raise ProfileError(f"plot --fronts: {len(names)} costs, at most {MOST_COSTS} are drawn beside MAdds; say which "
                           "with --cost")  # fmt: skip
    trials, costs = load_frame(folder), load_costs(folder, names)
    named = [find_cost(name) for name in names]
    score, summary = main_score(trials), summarise(trials)
    if trials.empty or summary[score.name].isna().all():
        raise StoreError(f"{folder}: no trial has a result yet, so there is nothing to draw")
    trials, summary = costs.add(trials), costs.add(summary)
    odds, kinds = load_odds(folder, trials), start_kinds(summary)
    compared = [_compare(_of_kind(summary, kind), (odds or {}).get(kind), names, score) for kind in kinds]
    lines = [line for one, kind in zip(compared, kinds, strict=True)
             for line in _changes_text(one, names, f", from {kind}" if len(kinds) > 1 else "")]  # fmt: skip
    titles = [axis_unit(find_cost(name))[1] for name in (MADDS, *names)]
    facts = _costs_text(costs, summary)
    what = "scores as measured" if odds is None else "other images and seeds"
    caption = [
        join_facts(read_facts(trials), []),
        f"Marked: in 95 % of draws of {what}, and of predictions within their errors, on one front and not on that by "
        "MAdds. Bars across: 95 % of a prediction.",
        " ".join(f"{line}." for line in facts),
    ]
    fig = plot_fronts(
        compared, ["by MAdds", *(f"by {one.words}" for one in named)], titles, score,
        caption, f"Fronts of {len(summary)} networks by {1 + len(names)} costs",
    )  # fmt: skip
    return [*facts, *lines], save_plot(fig, plots, folder, "fronts")


def _of_kind(summary: pd.DataFrame, kind: str) -> pd.DataFrame:
    return (summary[summary["init"] == kind] if "init" in summary else summary).reset_index(drop=True)


def _compare(summary: pd.DataFrame, odds: Odds | None, names: Sequence[str], score: Score) -> Compared:
    axes, bars = [], []
    for name in (MADDS, *names):
        unit, _ = axis_unit(find_cost(name))
        margin = find_model(name).model.margin if "@" in name else 1.0
        axes.append(CostAxis(name, summary[name].to_numpy(float) / unit, margin))
        ends = [summary[f"{name}_{end}"].to_numpy(float) / unit for end in ("low", "high")] if "@" in name else None
        bars.append(ends)
    scores = score.sign * summary[score.name].to_numpy(float)
    fronts = compare_fronts(scores, axes, None if odds is None else _align(odds, summary))
    return Compared(summary["network"].to_list(), summary[score.name].to_numpy(float), fronts, bars)


def _align(odds: Odds, summary: pd.DataFrame) -> np.ndarray:
    """Return the draws of the scores [draws, networks] in the order of the summary, NaN where there is no result."""
    places = {key: at for at, key in enumerate(odds.networks)}
    drawn = np.full((len(odds.scores), len(summary)), np.nan)
    for at, key in enumerate(summary["arch_key"]):
        if key in places:
            drawn[:, at] = odds.scores[:, places[key]]
    return drawn


def _costs_text(costs: FurtherCosts, summary: pd.DataFrame) -> list[str]:
    return columns_text(costs.columns(summary), summary["madds"].to_numpy())


def _changes_text(compared: Compared, names: Sequence[str], kind: str) -> list[str]:
    """Say for each cost how many networks change places as measured, and which beyond noise."""
    lines = []
    for name, front in zip(names, compared.fronts[1:], strict=True):
        sure = [f"{words}: {_names(compared, mask)}" for words, mask in _sides(front) if mask.any()]
        text = "; ".join(sure) if sure else "none beyond noise"
        changes = f"{count_noun(front.changes, 'network')} change{'s' * (front.changes == 1)} places as measured"
        lines.append(f"front by {name}{kind} against that by MAdds: {changes}; {text}")
    return lines


def _sides(front: Front) -> tuple[tuple[str, np.ndarray], ...]:
    return ("beyond noise on it only here", front.enters), ("beyond noise not on it here", front.leaves)


def _names(compared: Compared, mask: np.ndarray) -> str:
    names = [compared.names[at] for at in np.flatnonzero(mask)]
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
