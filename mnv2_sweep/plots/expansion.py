"""Curves of several expansions -> a matplotlib Figure: top-1 against MAdds for each t, and against t at equal MAdds.

Accuracies are in percent, bars 95 % t intervals over seeds. Nothing here reads a file.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mnv2_sweep.analysis.expansion import ClaimVerdict, TradeOff, common_madds
from mnv2_sweep.analysis.stats import Facts, mean_interval
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.paper.claims import SAME_CURVES
from mnv2_sweep.plots.style import GREY, INK, SIZE_INCHES, clean_axes, join_facts, set_frame

# From orange to navy with t, evenly darker; levels of cost from pale to dark.
T_COLORS = LinearSegmentedColormap.from_list("expansions", ["#E88A1A", "#D9483B", "#AD2478", "#6A2C9C", "#0C1F44"])
LEVEL_COLORS = ("#8FB4DE", "#3B6FB6", "#0C1F44")


def plot_expansion(
    curves: Sequence[TradeOff], seeds: Sequence[int], claims: Sequence[ClaimVerdict], facts: Facts, train_size: str
) -> Figure:
    """Draw on the left a curve for each t, on the right the same read across, at costs that all t from 5 to 10
    cover."""
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    bars = "95 % t interval over seeds" if len(seeds) > 1 else "one seed: the spread over seeds is unknown"
    caption = [
        join_facts(facts, [f"trained at {train_size}", count_noun(len(seeds), "seed")]),
        f"Bars: {bars}. Right: at equal MAdds, on smooth curves through the nearest networks, nowhere beyond a curve.",
        *(f"{one.sentence[0].upper()}{one.sentence[1:]}." for one in claims),
    ]
    set_frame(fig, f"Expansion ratio on {facts.data}: {len(curves)} curves", caption)
    for axes in (left, right):
        clean_axes(axes)
    _draw_curves(left, curves)
    _draw_levels(right, curves)
    return fig


def _draw_curves(axes: Axes, curves: Sequence[TradeOff]) -> None:
    shades = np.linspace(0, 1, len(curves))
    for curve, shade in zip(curves, shades, strict=True):
        color, madds = T_COLORS(shade), curve.madds / 1e6
        means, lows, highs = np.array([mean_interval(values) for values in curve.top1]).T
        if curve.top1.shape[1] > 1:
            style = {"fmt": "none", "ecolor": color, "elinewidth": 1, "capsize": 2.5, "alpha": 0.7}
            axes.errorbar(madds, means, [means - lows, highs - means], **style)
        inside = curve.t in SAME_CURVES
        axes.plot(
            madds, means, color=color, lw=2 if inside else 1.3, ls="-" if inside else (0, (4, 2)), marker="o", ms=5,
            label=f"t = {curve.t}", zorder=4, gid="curve",
        )  # fmt: skip
    axes.set_xscale("log")
    _set_ticks(axes, np.concatenate([curve.madds for curve in curves]) / 1e6)
    axes.legend(loc="lower right", fontsize=9, frameon=False, labelcolor=INK)
    axes.set_xlabel("MAdds at the nominal resolution (millions, log scale)")
    axes.set_ylabel("validation top-1 (%)")
    widths = sorted({width for curve in curves for width in curve.widths.tolist()})
    axes.set_title(f"Widths {', '.join(f'{width:g}' for width in widths)}", loc="left", fontsize=11)


def _set_ticks(axes: Axes, madds: np.ndarray) -> None:
    low, high = madds.min() / 1.1, madds.max() * 1.1
    axes.set_xlim(low, high)
    ticks = [step * 10.0**e for e in range(-3, 7) for step in (1, 2, 5) if low <= step * 10.0**e <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.6g}"))


def _draw_levels(axes: Axes, curves: Sequence[TradeOff]) -> None:
    """Draw top-1 over t at a few equal costs; the t of the claim on grey."""
    levels = common_madds([curve for curve in curves if curve.t in SAME_CURVES])
    axes.axvspan(SAME_CURVES[0], SAME_CURVES[-1], color="#F0F0F0", lw=0, zorder=0)
    for level, color in zip(levels, LEVEL_COLORS[: len(levels)], strict=True):
        at = [curve for curve in curves if curve.covers(level)]
        t = np.array([curve.t for curve in at])
        means, lows, highs = np.array([mean_interval(curve.at(level)) for curve in at]).T
        if at[0].top1.shape[1] > 1:
            style = {"fmt": "none", "ecolor": color, "elinewidth": 1, "capsize": 2.5, "alpha": 0.7}
            axes.errorbar(t, means, [means - lows, highs - means], **style)
        axes.plot(t, means, color=color, lw=1.8, marker="o", ms=5, label=f"{level / 1e6:,.3g}M MAdds", gid="level")
    if levels:
        axes.legend(loc="best", fontsize=9, frameon=False, labelcolor=INK)
    else:
        text = "no cost that all t from 5 to 10 cover"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=GREY, fontsize=10)
    axes.set_xscale("log")
    axes.set_xlim(min(curve.t for curve in curves) / 1.15, max(*[curve.t for curve in curves], SAME_CURVES[-1]) * 1.15)
    axes.xaxis.set_major_locator(FixedLocator([curve.t for curve in curves]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.set_xlabel("expansion t (log scale; grey: 5 to 10)")
    axes.set_title("At equal MAdds", loc="left", fontsize=11)
