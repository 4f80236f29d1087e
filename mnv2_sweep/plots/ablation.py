"""Readings of an ablation -> matplotlib Figures: one comparison while it trains and at its end, or all at a glance.

Accuracies are drawn in percent and differences in points, base minus changed: right of zero the base is better.
Curves come as `load_curves` makes them, with the key of each trial's network; nothing here reads a file.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnv2_sweep.analysis.differences import CONTRADICTED, REPRODUCED, SAME_SIGN, Reading
from mnv2_sweep.analysis.paired import ALWAYS
from mnv2_sweep.analysis.spoken import (
    claim_parts,
    cost_change,
    failed_text,
    interval_text,
    joint_text,
    p_text,
    short_text,
    verdict_text,
)
from mnv2_sweep.analysis.stats import mean_interval
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.claims import Curve, find_curves
from mnv2_sweep.plots.style import GREY, HALO, INK, SIZE_INCHES, clean_axes, join_facts, set_frame
from mnv2_sweep.trials.tasks import Score

BASE_COLOR, CHANGED_COLOR, PUBLISHED_COLOR, SEED_COLOR = "#27459B", "#D9483B", "#8A5A00", "#3B6FB6"
VERDICT_COLORS = {REPRODUCED: "#1B7F4B", SAME_SIGN: "#1F6F8B", CONTRADICTED: "#B3261E"}
MOST_READINGS = 60  # in one figure


def plot_ablation(reading: Reading, curves: pd.DataFrame, looks: str, peeked: str = "") -> Figure:
    """Draw the main score against training progress, the difference at the end, and figure 6's curves where it has
    them.

    `looks` and `peeked` are the protocol's.
    """
    change, published = reading.comparison.change, find_curves(reading.comparison.base, reading.comparison.variant)
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    ratios = (1.2, 1.05, 1) if published else (1.2, 1)
    panels = fig.subplots(1, len(ratios), width_ratios=ratios)
    title = f"{arch_label(reading.comparison.base)}: {change.before} against {reading.comparison.label}"
    tables = _progress(reading, curves)
    set_frame(fig, title, _caption(reading, _bars_line(looks, None, peeked), bool(tables), published))
    fig.subplots_adjust(wspace=0.22)
    for axes in panels:
        clean_axes(axes)
    if tables:
        _draw_progress(panels[0], reading, tables)
    else:
        _draw_sides(panels[0], reading)
    _draw_difference(panels[1], reading)
    if published:
        _draw_published(panels[2], published)
    return fig


def plot_readings(readings: Sequence[Reading], looks: str, peeked: str = "") -> Figure:
    """Draw of every reading with seeds the difference and its interval, the published gap and the verdict: a row each.

    Only the first MOST_READINGS are drawn. p-values are corrected over all `readings`, whether drawn or not.
    """
    seen = [one for one in readings if one.seeds]
    shown = seen[:MOST_READINGS]
    bases = {one.comparison.base for one in shown}
    height = max(SIZE_INCHES[1], 2.2 + 0.34 * len(shown))
    fig = Figure(figsize=(SIZE_INCHES[0], height), facecolor="white")
    axes = fig.subplots()
    clean_axes(axes)
    facts = next(one.facts for one in shown if one.facts)
    name = f"{len(bases)} networks" if len(bases) > 1 else arch_label(shown[0].comparison.base)
    caption = [join_facts(facts, []), _bars_line(looks, len(readings), peeked)]
    marks = (
        ["Square: published, on ImageNet; times: the difference over that."]
        if any(one.claim and one.claim.gap is not None for one in shown)
        else []
    )
    if not all(math.isfinite(one.estimate.low) for one in shown):
        marks.append("Hollow diamond: no interval yet, too few seeds.")
    caption += [" ".join(marks)] if marks else []
    many = f"the first {len(shown)} of " if len(seen) > len(shown) else ""
    set_frame(fig, f"{name} on {facts.data}: {many}{count_noun(len(seen), 'comparison')}", caption)
    rows = np.arange(len(shown))
    for row, one in zip(rows, shown, strict=True):
        _draw_row(axes, row, one)
    axes.axvline(0, color=INK, lw=1.2, zorder=1)
    labels = [
        one.comparison.label + (f" ({arch_label(one.comparison.base)})" if len(bases) > 1 else "") for one in shown
    ]
    axes.set_yticks(rows, labels, fontsize=10, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(False, axis="y")
    score = shown[0].score
    minus = f"{score.label} of the base minus the changed network's ({score.difference_unit})"
    axes.set_xlabel(f"{minus}: right of zero the base is better")
    longest = max(map(len, labels))
    fig.subplots_adjust(left=min(0.4, 0.04 + 0.0066 * longest), right=0.58, top=1 - 0.8 / height, bottom=1.35 / height)
    return fig


def _draw_row(axes: Axes, row: int, reading: Reading) -> None:
    estimate, color = reading.estimate, VERDICT_COLORS.get(reading.verdict, INK)
    known = math.isfinite(estimate.low)
    if known:
        bars = [[estimate.mean - estimate.low], [estimate.high - estimate.mean]]
        axes.errorbar(estimate.mean, row, xerr=bars, fmt="none", ecolor=color, capsize=3, lw=1.5, zorder=3)
    axes.plot(estimate.mean, row, "D", ms=6, color=color, mfc=color if known else "white", zorder=4)
    if reading.claim is not None and reading.claim.gap is not None:
        axes.plot(reading.claim.gap, row, "s", ms=6, mfc="none", mec=PUBLISHED_COLOR, mew=1.5, zorder=5)
    base, changed = reading.costs
    seeds, madds = count_noun(len(reading.seeds), "seed"), cost_change(base.madds, changed.madds)
    text = f"{estimate.mean:+.2f}, {seeds}, MAdds {madds}, Holm p {p_text(reading.holm)}: {short_text(reading)}"
    place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8.5, "parse_math": False}
    axes.annotate(text, (1.01, row), color=color, gid="verdict", **place)


# ---------------------------------------------------------------- one comparison


def _progress(reading: Reading, curves: pd.DataFrame) -> list[pd.DataFrame]:
    """Return for each side the main score as shown, a row for each number of images seen, a column a seed; none where
    not recorded."""
    if not len(curves):
        return []
    score, column = reading.score, f"val_{reading.score.name}"
    known = curves[curves["seed"].isin(reading.seeds) & curves[column].notna()]
    tables = []
    for arch in (reading.comparison.base, reading.comparison.variant):
        of_arch = known[known["arch_key"] == arch_key(arch)].drop_duplicates(["seed", "images"], keep="last")
        by_seed = of_arch.pivot(index="images", columns="seed", values=column)
        tables.append(score.scale * by_seed.astype(float).dropna())
    return tables if all(len(table) for table in tables) else []


def _draw_progress(axes: Axes, reading: Reading, tables: list[pd.DataFrame]) -> None:
    """Draw mean and band over seeds of both sides, and the seeds as thin lines."""
    labels = (reading.comparison.change.before, reading.comparison.label)
    for table, color, label in zip(tables, (BASE_COLOR, CHANGED_COLOR), labels, strict=True):
        images = table.index.to_numpy() / 1000
        for seed in table:
            axes.plot(images, table[seed], color=color, lw=0.6, alpha=0.3, zorder=2)
        means, lows, highs = zip(*(mean_interval(row) for row in table.to_numpy()), strict=True)
        if table.shape[1] > 1:
            axes.fill_between(images, lows, highs, color=color, alpha=0.16, lw=0, zorder=2, gid="band")
        axes.plot(images, means, color=color, lw=2.2, label=label, zorder=4, gid="mean")
    axes.set_ylim(*_limits(np.concatenate([table.to_numpy().ravel() for table in tables]), reading.score))
    axes.legend(loc="lower right", fontsize=9, frameon=False, labelcolor=INK)
    axes.set_xlabel("training images seen (thousands)")
    axes.set_ylabel(reading.score.titled("validation"))
    axes.set_title("While it trains: mean and band over seeds", loc="left", fontsize=11)


def _limits(values: np.ndarray, score: Score) -> tuple[float, float]:
    """Return limits around the curves, whatever the bands do."""
    low, high = float(values.min()), float(values.max())
    room = max(0.02 * score.scale, 0.12 * (high - low))
    return max(0.0, low - room), min(score.highest, high + room)


def _draw_sides(axes: Axes, reading: Reading) -> None:
    """Draw both sides at the end, a line a seed, for trials without curves."""
    base, changed = np.array(reading.base), np.array(reading.variant)
    for one, other in zip(base, changed, strict=True):
        axes.plot(
            [0, 1], [one, other], color="#C9C9C9", lw=1.2, marker="o", ms=7, mfc=SEED_COLOR, mec="white", zorder=3
        )
    for x, shift, values in ((0, -0.14, base), (1, 0.14, changed)):
        mean, low, high = mean_interval(values)
        axes.plot(x + shift, mean, marker="D", ms=7, color=INK, zorder=4)
        if not np.isnan(low):
            axes.errorbar(x + shift, mean, [[mean - low], [high - mean]], fmt="none", ecolor=INK, capsize=4, lw=1.5)
        beside = {"textcoords": "offset points", "ha": "right" if shift < 0 else "left", "va": "center", "fontsize": 11}
        axes.annotate(f"{mean:.1f}", (x + shift, mean), (np.sign(shift) * 8, 0), path_effects=HALO, **beside)
    axes.set_xlim(-0.5, 1.5)
    labels = [reading.comparison.change.before, reading.comparison.label]
    axes.set_xticks([0, 1], labels, fontsize=10, parse_math=False)
    axes.grid(False, axis="x")
    axes.set_ylabel(reading.score.titled("validation"))
    axes.set_title("Each seed (dots, joined) and the mean (diamond)", loc="left", fontsize=11)


def _draw_difference(axes: Axes, reading: Reading) -> None:
    points = reading.score.sign * (np.array(reading.base) - np.array(reading.variant))
    estimate = reading.estimate
    axes.axvline(0, color=INK, lw=1.2, zorder=1)
    axes.plot(points, np.zeros(len(points)), "o", ms=7, mfc=SEED_COLOR, mec="white", zorder=3)
    axes.plot(estimate.mean, 1, marker="D", ms=8, color=INK, zorder=4)
    label = f"{estimate.mean:+.2f}"
    if math.isfinite(estimate.low):
        bars = [[estimate.mean - estimate.low], [estimate.high - estimate.mean]]
        axes.errorbar(estimate.mean, 1, xerr=bars, fmt="none", ecolor=INK, capsize=5, lw=1.8, zorder=4)
        label += f"  (95 %: {interval_text(reading)})"
    above = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 10}
    above["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    # In the middle of the panel, wherever the mean is: the interval is long, and would reach into the next panel.
    axes.annotate(label, (0.5, 1), (0, 11), xycoords=axes.get_yaxis_transform(), zorder=5, **above)
    rows = ["each seed", "mean"]
    if reading.claim is not None and reading.claim.gap is not None:
        gap, color = reading.claim.gap, PUBLISHED_COLOR
        axes.axvline(gap, color=color, lw=1, ls=(0, (4, 2)), zorder=1)
        axes.plot(gap, 2, marker="s", ms=8, color=color, zorder=4)
        axes.annotate(f"{gap:+.2f}", (gap, 2), (0, 11), color=color, zorder=5, **above)
        rows.append("published")
    axes.set_yticks(range(len(rows)), rows, fontsize=10, rotation=90, va="center")
    axes.set_ylim(-0.5, len(rows) - 0.4)
    axes.grid(False, axis="y")
    axes.margins(x=0.16)
    axes.set_xlabel(f"difference of {reading.score.label} at the end ({reading.score.difference_unit})")
    axes.set_title("At the end: base minus changed", loc="left", fontsize=11)


def _draw_published(axes: Axes, published: tuple[Curve, Curve]) -> None:
    for curve, color in zip(published, (BASE_COLOR, CHANGED_COLOR), strict=True):
        steps, top1 = zip(*curve.points, strict=True)
        axes.plot(steps, top1, color=color, lw=1.8, marker="o", ms=4, label=curve.label, gid="published")
    axes.legend(loc="lower right", fontsize=9, frameon=False, labelcolor=INK)
    axes.set_ylim(64.8, 71.5)  # the figure begins at 66; room for the legend
    axes.set_xlabel("training steps (millions)")
    axes.set_ylabel("ImageNet top-1 (%)")
    axes.set_title(f"Published: figure 6{published[0].panel}, read off", loc="left", fontsize=11, color=GREY)


# ---------------------------------------------------------------- words


def _caption(reading: Reading, bars: str, progress: bool, published: tuple | None) -> list[str]:
    pairs = f"{count_noun(len(reading.seeds), 'pair')} of trials done, {reading.failed} failed"
    left = "Left: on some validation images, the same for all trials; bands: 95 % t interval over seeds at each point. "
    other = f" Over other images of the kind too: {joint_text(reading)}." if reading.joint else ""
    failed = "".join(
        f" {text[0].upper()}{text[1:]}." for text in (failed_text(reading, one) for one in reading.failed_looking)
    )
    lines = [
        join_facts(reading.facts, [f"trained at {reading.train_size} px", pairs]),
        f"{left if progress else ''}At the end: on all {reading.val_images:,}. {bars}{other}{failed}",
        f"Verdict: {verdict_text(reading)} (p {p_text(reading.p)}, Holm {p_text(reading.holm)}); "
        f"{'; '.join(claim_parts(reading))}.",
    ]
    if published:
        lines.append(
            "Right: the paper's network on ImageNet, millions of steps, one run a curve and so without a band."
        )
    return lines


def _bars_line(looks: str, count: int | None, peeked: str) -> str:
    how = "95 % t interval over seeds, paired" if looks != ALWAYS else "95 % interval that holds at every look, paired"
    how += ", each by itself" if count and count > 1 else ""
    holm = f" p-values are corrected (Holm) over {count_noun(count, 'reading')}." if count else ""
    look = f" Looked at before, with {peeked}: too short." if peeked else ""
    return f"Bars: {how}.{look}{holm}"
