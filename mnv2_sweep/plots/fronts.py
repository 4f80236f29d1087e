"""Networks with their scores and several costs -> a matplotlib Figure: a panel for each cost with its front, networks
that change places between fronts marked.

Nothing here reads a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mnv2_sweep.analysis.fronts import Front
from mnv2_sweep.plots.style import GREY, HALO, INK, SIZE_INCHES, clean_axes, set_frame
from mnv2_sweep.trials.tasks import Score

COLUMNS = 4  # of panels
POINT, ENTERS, LEAVES = "#3B6FB6", "#2E8B57", "#C4372C"
MOST_NAMES = 8  # of one panel


@dataclass(frozen=True, eq=False)
class Compared:
    """The fronts of networks that begin in one way: their names and scores [N], and a Front for each cost, in the unit
    of its axis; the first is what the others are compared with. `bars` are the ends [N] of each cost's intervals, None
    where it is exact."""

    names: Sequence[str]
    scores: np.ndarray
    fronts: Sequence[Front]
    bars: Sequence[tuple[np.ndarray, np.ndarray] | None]


def plot_fronts(
    kinds: Sequence[Compared], titles: Sequence[str], axes_titles: Sequence[str], score: Score, caption: Sequence[str],
    title: str,
) -> Figure:  # fmt: skip
    """Draw a panel for each cost, of all kinds of start: points, their front, and which networks enter it or leave it
    against the first panel's, beyond noise."""
    count = len(titles)
    columns, rows = min(COLUMNS, count), -(-count // COLUMNS)
    width, height = SIZE_INCHES
    fig = Figure(figsize=(width, height * (1 if rows == 1 else 0.82 * rows)), facecolor="white")
    panels = fig.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    set_frame(fig, title, caption)
    fig.subplots_adjust(wspace=0.08, hspace=0.42)
    for at, axes in enumerate(panels):
        if at >= count:
            axes.set_visible(False)
            continue
        clean_axes(axes)
        for compared in kinds:
            _draw_front(axes, compared, at, score)
        _set_cost_axis(axes, [compared.fronts[at].axis.values for compared in kinds])
        axes.set_title(titles[at], loc="left", fontsize=10.5, color=INK, parse_math=False)
        axes.set_xlabel(axes_titles[at], fontsize=9, parse_math=False)
    for row in range(rows):
        panels[row * columns].set_ylabel(score.titled("validation"))
    for at in range(1, count):  # when all limits are known
        for compared in kinds:
            _draw_names(panels[at], compared, at, score)
    _draw_legend(panels[0], count > 1)
    return fig


def _draw_front(axes: Axes, compared: Compared, at: int, score: Score) -> None:
    front, scores = compared.fronts[at], score.scale * compared.scores
    costs = front.axis.values
    drawn = ~np.isnan(costs) & ~np.isnan(scores)
    on = np.flatnonzero(front.on_front)
    on = on[np.argsort(costs[on], kind="stable")]
    axes.plot(costs[on], scores[on], drawstyle="steps-post", color=GREY, lw=1.1, ls=(0, (4, 2)), zorder=1, gid="front")
    if compared.bars[at] is not None:
        low, high = compared.bars[at]
        across = [(costs - low)[drawn], (high - costs)[drawn]]
        axes.errorbar(costs[drawn], scores[drawn], xerr=across, fmt="none", ecolor=POINT, elinewidth=0.8, alpha=0.5)
    for mask, face in ((drawn & front.on_front, POINT), (drawn & ~front.on_front, "white")):
        axes.scatter(costs[mask], scores[mask], s=26, c=face, edgecolors=POINT, linewidths=1.1, zorder=4)
    for mask, color, marker in ((front.enters, ENTERS, "^"), (front.leaves, LEAVES, "v")):
        axes.scatter(costs[mask], scores[mask], s=70, c=color, marker=marker, zorder=5, gid="changed")


def _draw_names(axes: Axes, compared: Compared, at: int, score: Score) -> None:
    """Name the networks that change places, to the side on which there is room."""
    front = compared.fronts[at]
    changed = np.flatnonzero(front.enters | front.leaves)[:MOST_NAMES]
    left, right = np.log(axes.get_xlim())
    for one in changed:
        color = ENTERS if front.enters[one] else LEAVES
        is_right = np.log(front.axis.values[one]) > (left + right) / 2
        axes.annotate(
            compared.names[one], (front.axis.values[one], score.scale * compared.scores[one]),
            (-8 if is_right else 8, 8 if front.enters[one] else -8), textcoords="offset points", color=color,
            ha="right" if is_right else "left", va="center", fontsize=8, path_effects=HALO, zorder=6, parse_math=False,
        )  # fmt: skip


def _set_cost_axis(axes: Axes, values: Sequence[np.ndarray]) -> None:
    costs = np.concatenate(values)
    costs = costs[~np.isnan(costs)]
    low, high = (costs.min() / 1.2, costs.max() * 1.2) if len(costs) else (1.0, 10.0)
    ticks = [step * 10.0**power for power in range(-5, 9) for step in (1, 2, 5)]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.6g}"))


def _draw_legend(axes: Axes, changes: bool) -> None:
    marks = {"marker": "o", "ls": "", "ms": 5, "color": POINT}
    handles = [
        Line2D([], [], **marks, label="on the front, as measured"),
        Line2D([], [], **marks, mfc="white", label="not on it"),
    ]
    if changes:
        for color, marker, label in ((ENTERS, "^", "enters it beyond noise"), (LEAVES, "v", "leaves it beyond noise")):
            handles.append(Line2D([], [], marker=marker, ls="", ms=7, color=color, label=label))
    axes.legend(handles=handles, loc="upper left", fontsize=8, frameon=False, labelcolor=INK)
