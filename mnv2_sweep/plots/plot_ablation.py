"""AblationPairs (one change, with and without, the same seeds) -> a matplotlib Figure.

Accuracies come as fractions and are drawn in percent, differences in percentage points.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnv2_sweep.plots.figure import HALO, INK, SIZE_INCHES, clean_axes, join_facts, set_frame
from mnv2_sweep.results.ablate import AblationPairs
from mnv2_sweep.results.stats import mean_interval
from mnv2_sweep.words import count_noun

PALE, SEED_COLOR, PUBLISHED_COLOR = "#C9C9C9", "#3B6FB6", "#C4501B"


def plot_ablation(pairs: AblationPairs) -> Figure:
    """Left: top-1 of both sides, one line per seed, and the means; right: the difference against zero and the paper."""
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.25))
    n = len(pairs.values_a)
    trials = f"{count_noun(n, 'pair')} of trials done, {pairs.failed} failed"
    measured = f"Top-1 on {pairs.val_images:,} validation images, the same for all trials."
    caption = [
        join_facts(pairs.facts, [f"trained at {pairs.train_size} px", trials]),
        measured + " " + _verdict(pairs),
    ]
    if pairs.published_gap is not None:
        caption.append(
            "Published: paper, figure 6, the gap between the two curves at 6.5 to 7.0 million steps on ImageNet."
        )
    set_frame(fig, f"{pairs.network}: {pairs.label_a} against {pairs.label_b}", caption)
    fig.subplots_adjust(wspace=0.22)
    for axes in (left, right):
        clean_axes(axes)
    _draw_sides(left, pairs)
    _draw_difference(right, pairs)
    return fig


def _verdict(pairs: AblationPairs) -> str:
    """What the bars are and whether the sign of the difference is settled."""
    n, low, high = len(pairs.values_a), pairs.difference.low, pairs.difference.high
    if np.isnan(low):
        return "One seed: no interval, so the sign is not settled."
    sign = "contains zero: these seeds do not settle the sign" if low <= 0 <= high else "leaves out zero"
    return f"Bars: 95 % t intervals over {n} seeds; the difference is paired by seed, its interval {sign}."


def _draw_sides(axes: Axes, pairs: AblationPairs) -> None:
    a, b = 100 * np.array(pairs.values_a), 100 * np.array(pairs.values_b)
    for one, other in zip(a, b, strict=True):
        axes.plot([0, 1], [one, other], color=PALE, lw=1.2, marker="o", ms=7, mfc=SEED_COLOR, mec="white", zorder=3)
    for x, shift, values in ((0, -0.14, a), (1, 0.14, b)):
        mean, low, high = mean_interval(values)
        axes.plot(x + shift, mean, marker="D", ms=7, color=INK, zorder=4)
        if not np.isnan(low):
            axes.errorbar(x + shift, mean, [[mean - low], [high - mean]], fmt="none", ecolor=INK, capsize=4, lw=1.5)
        beside = {"textcoords": "offset points", "ha": "right" if shift < 0 else "left", "va": "center", "fontsize": 11}
        axes.annotate(f"{mean:.1f}", (x + shift, mean), (np.sign(shift) * 8, 0), path_effects=HALO, **beside)
    axes.set_xlim(-0.5, 1.5)
    axes.set_xticks([0, 1], [pairs.label_a, pairs.label_b], fontsize=11, parse_math=False)
    axes.grid(False, axis="x")
    axes.set_ylabel("validation top-1 (%)")
    axes.set_title("Each seed (dots, joined) and the mean (diamond)", loc="left", fontsize=11)


def _draw_difference(axes: Axes, pairs: AblationPairs) -> None:
    points = 100 * (np.array(pairs.values_a) - np.array(pairs.values_b))
    mean, low, high = (
        100 * value for value in (pairs.difference.difference, pairs.difference.low, pairs.difference.high)
    )
    axes.axvline(0, color=INK, lw=1.2, zorder=1)
    axes.plot(points, np.zeros(len(points)), "o", ms=7, mfc=SEED_COLOR, mec="white", zorder=3)
    axes.plot(mean, 1, marker="D", ms=8, color=INK, zorder=4)
    label = f"{mean:+.2f}"
    if not np.isnan(low):
        axes.errorbar(mean, 1, xerr=[[mean - low], [high - mean]], fmt="none", ecolor=INK, capsize=5, lw=1.8, zorder=4)
        label += f"  (95 %: {low:+.2f} to {high:+.2f})"
    above = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 11}
    above["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.annotate(label, (mean, 1), (0, 11), zorder=5, **above)
    rows = ["each seed", "mean"]
    if pairs.published_gap is not None:
        gap, color = pairs.published_gap, PUBLISHED_COLOR
        axes.axvline(gap, color=color, lw=1, ls=(0, (4, 2)), zorder=1)
        axes.plot(gap, 2, marker="s", ms=8, color=color, zorder=4)
        axes.annotate(f"{gap:+.2f}", (gap, 2), (0, 11), color=color, zorder=5, **above)
        rows.append("published")
    axes.set_yticks(range(len(rows)), rows, fontsize=11)
    axes.set_ylim(-0.5, len(rows) - 0.4)
    axes.grid(False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlabel("difference of top-1 (percentage points)")
    axes.set_title(f"{pairs.label_a} minus {pairs.label_b}", loc="left", fontsize=11, parse_math=False)
