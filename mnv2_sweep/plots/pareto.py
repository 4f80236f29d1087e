"""A summary (one row per network) -> a matplotlib Figure of accuracy against a cost, with its front and its caption.

Accuracies come as fractions and are drawn in percent. Costs are at the nominal resolution; every figure says in
its caption at which size the networks were trained, how many trials failed and what its bars mean. Nothing here
reads a file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from mnv2_sweep.analysis.agreement import PublishedComparison, near_counts, tau_text
from mnv2_sweep.analysis.odds import EVEN, Odds, add_odds, doubt_text, front_band, front_odds, front_text
from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.analysis.stats import Facts, start_kinds
from mnv2_sweep.base.size import as_size, size_range
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.nets.arch import FAMILY_NAMES, ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.paper.published import published_checkpoints
from mnv2_sweep.plots.labels import MOST_FRONT_LABELS, Panel, count_inside, draw_labels, find_obstacles
from mnv2_sweep.plots.style import GREY, INK, SIZE_INCHES, clean_axes, family_markers, join_facts, set_frame
from mnv2_sweep.trials.executed import executed_text, is_in_step
from mnv2_sweep.trials.tasks import TOP1, Score, main_score

MOST_LABELS = 40  # with more networks than this only the front is labelled, and of it at most MOST_FRONT_LABELS
MOST_WIDTHS = 8  # in the legend
EIGHT = "#5B8C2A"  # of points in 8 bits
KIND_LINES = ("-", ":", "-.")  # of networks that begin in different ways, the first kind of the sweep first
# Orange to navy, evenly darker, so the order of the widths survives colour blindness and grey printing.
WIDTH_COLORS = LinearSegmentedColormap.from_list(
    "widths", ["#E88A1A", "#D9483B", "#AD2478", "#6A2C9C", "#27459B", "#0C1F44"]
)


class CostAxis(NamedTuple):
    """The cost that networks are drawn against: the column of a summary (`_low` and `_high` beside it where it is
    predicted), how much of its unit one of the axis' is, what stands there, and what the front is called by it; lines
    on it for the caption; what it is of other networks [N], None for their MAdds."""

    column: str = "madds"
    scale: float = 1e6
    title: str = "MAdds at the nominal resolution (millions, log scale)"
    words: str = ""
    caption: Sequence[str] = ()
    count: Callable[[Sequence[ArchSpec]], np.ndarray] | None = None


MADDS = CostAxis()


@dataclass(frozen=True, slots=True)
class Eight:
    """Points in 8 bits: for each row of a summary their cost and score, NaN where there is none, and a line on what is
    missing."""

    cost: np.ndarray
    score: np.ndarray
    caption: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """How sure the front of each kind of start is, and whether that is drawn as a band."""

    odds: Mapping[str, Odds]
    band: bool = False


def plot_pareto(
    summary: pd.DataFrame,
    facts: Facts,
    comparison: PublishedComparison | None = None,
    title: str | None = None,
    verdict: Sequence[str] = (),
    doubt: Doubt | None = None,
    counted: str | None = None,
    axis: CostAxis = MADDS,
    eight: Eight | None = None,
) -> Figure:
    """Draw the main score against MAdds, or another cost, with the front; beside it the published points of the paper's
    networks among them.

    Bars are the t interval over seeds, Wilson's interval over the validation images where a network has one seed;
    with `doubt` both together.
    Lines join the resolutions of one width. Networks without a result are counted in the caption, not drawn; `verdict`
    is what a calibration says of their order, for the caption too. With `doubt`, filled marks are of networks that are
    rather on the front than not. `counted` stands in the place of how many trials are done. With `eight`, each point in
    8 bits hangs on its network's own. Networks without the cost are left out.
    """
    score = main_score(summary)
    if eight is not None:
        summary = summary.assign(eight_cost=eight.cost, eight_score=eight.score)
    drawn = summary[summary[score.name].notna() & summary[axis.column].notna()]
    drawn = drawn.sort_values(axis.column, kind="stable", ignore_index=True)
    one_order = len(start_kinds(drawn)) == 1  # of several kinds of start, none is compared with the published one
    published = drawn[drawn[f"published_{score.name}"].notna() & one_order].reset_index(drop=True)
    if axis.count is not None and len(published):
        archs = [published_checkpoints()[network].arch for network in published["network"]]
        published = published[~np.isnan(axis.count(archs))].reset_index(drop=True)
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    panels = fig.subplots(1, 2 if len(published) else 1, sharex=True, squeeze=False)[0]
    order = [_order_line(comparison), _verdict_line(verdict)]
    caption = [_facts_line(summary, facts, counted), _bars_line(drawn, doubt), *order]
    caption += [" ".join(axis.caption), *([eight.caption] if eight else [])]
    title = title or _pareto_title(drawn, facts, doubt) + (f" by {axis.words}" if axis.words and len(drawn) > 1 else "")
    set_frame(fig, title, caption)
    colors = _width_colors(drawn["width"])
    ours, theirs = _our_panel(drawn, score, doubt, axis), _published_panel(published, score, axis)
    of_eight = _eight_points(drawn, score, axis) if eight else np.zeros((0, 4))
    _set_cost_axis(panels[0], np.concatenate([ours.cost, of_eight[:, 2]]), axis.title)
    _set_score_axis(panels[0], ours, score, of_eight[:, 3])
    if doubt is not None and doubt.band:
        for odds in doubt.odds.values():
            _draw_band(panels[0], drawn, odds, score, axis)
    _draw_eight(panels[0], of_eight)
    _draw_panel(panels[0], drawn, ours, colors, legend=True, chance=_find_chance(facts, score))
    panels[0].set_title(f"Ours: {facts.data}, recipe {facts.recipe}", loc="left", fontsize=11, parse_math=False)
    panels[0].set_ylabel(score.titled("validation") + (", mean over seeds" if (drawn["seeds"] > 1).any() else ""))
    if len(published):
        _set_score_axis(panels[1], theirs, score)
        _draw_panel(panels[1], published, theirs, colors)
        same = "the same network" if len(drawn) == 1 else "the same networks"
        which = same if len(published) == len(drawn) else f"{len(published)} of these networks"
        panels[1].set_title(f"Published: ImageNet, {which} (TF-slim checkpoints)", loc="left", fontsize=11)
        panels[1].set_ylabel(score.titled("ImageNet"))
    return fig


def _find_chance(facts: Facts, score: Score) -> tuple[float, str] | None:
    """Return what guessing reaches of the score, as shown, and what that is called; None where it is not known."""
    evenly = 1 / facts.classes if facts.classes and score == TOP1 else None
    if facts.guess is not None and (evenly is None or facts.guess > evenly * 1.005):
        what = "always the largest class" if score == TOP1 else "without looking"
        return score.scale * facts.guess, f"{what}, {score.amount(facts.guess)}"
    return None if evenly is None else (score.scale * evenly, f"chance, {facts.classes} classes")


def _eight_points(drawn: pd.DataFrame, score: Score, axis: CostAxis) -> np.ndarray:
    """Return cost and score in floats, then in 8 bits [N, 4], as they are shown, of the networks that have both."""
    names = (axis.column, score.name, "eight_cost", "eight_score")
    scales = np.array([1 / axis.scale, score.scale] * 2)
    points = drawn[[*names]].to_numpy(dtype=float) * scales
    return points[~np.isnan(points).any(axis=1)]


def _draw_eight(axes: Axes, points: np.ndarray) -> None:
    """Draw the points in 8 bits, each joined to that of the network in floats."""
    for at, (x, y, x8, y8) in enumerate(points):
        axes.plot([x, x8], [y, y8], color=EIGHT, lw=1.2, zorder=3, gid="joined")
        label = "the same in 8 bits" if at == 0 else None
        axes.plot([x8], [y8], marker="D", ms=4.5, color=EIGHT, ls="", zorder=5, gid="8 bits", label=label)


def _draw_band(axes: Axes, drawn: pd.DataFrame, odds: Odds, score: Score, axis: CostAxis) -> None:
    """Draw between which scores the front passes, at 95 %."""
    costs = drawn.drop_duplicates("arch_key").set_index("arch_key")[axis.column].loc[[*odds.networks]].to_numpy(float)
    passed, low, high = front_band(odds, costs)
    edges = [np.append(values, values[-1]) * score.scale * score.sign for values in (low, high)]
    at = np.append(passed / axis.scale, axes.get_xlim()[1])
    axes.fill_between(at, *edges, step="post", color=GREY, alpha=0.18, lw=0, zorder=0, gid="band")


def _pareto_title(drawn: pd.DataFrame, facts: Facts, doubt: Doubt | None) -> str:
    names = [_name_family(family) for family in _families(drawn)] or ["MobileNetV2"]
    subject = f"{' and '.join(names) if len(names) < 3 else f'{len(names)} families'} on {facts.data}"
    if len(drawn) > 1:
        kinds = start_kinds(drawn)
        if len(kinds) > 1:
            return f"{subject}: networks from {' and from '.join(kinds)}"
        count = f"{drawn['on_front'].sum()} of {len(drawn)}" if doubt is None else front_text(doubt.odds[kinds[0]])
        return f"{subject}: {count} networks on the front"
    if len(drawn):
        label = drawn["network"][0].removeprefix(f"{names[0]} ")
        score = main_score(drawn)
        return f"{names[0]} {label} on {facts.data}: {score.said(drawn[score.name][0])}"
    return f"{subject}: no network has a result"


def _families(networks: pd.DataFrame) -> list[str]:
    """Return the families that the networks are of: the known ones in the order of FAMILY_NAMES, then any others."""
    present = set(networks["family"])
    return [*(family for family in FAMILY_NAMES if family in present), *sorted(present - FAMILY_NAMES.keys())]


def _name_family(family: str) -> str:
    return FAMILY_NAMES.get(family, family)


def _our_panel(drawn: pd.DataFrame, score: Score, doubt: Doubt | None, axis: CostAxis) -> Panel:
    values, half = drawn[score.name], drawn["seed_half_width"]
    below, above = half.fillna(values - drawn["low"]), half.fillna(drawn["high"] - values)
    if doubt is not None:
        joint = add_odds(drawn, doubt.odds)
        below, above = (values - joint["joint_low"]).clip(lower=0), (joint["joint_high"] - values).clip(lower=0)
    shown = [score.scale * numbers.to_numpy(dtype=float) for numbers in (values, below.fillna(0), above.fillna(0))]
    # An interval over few seeds may reach beyond what a score can be.
    shown[1:] = np.minimum(shown[1], np.maximum(0, shown[0])), np.minimum(shown[2], score.highest - shown[0])
    front, filled = drawn["on_front"].to_numpy(bool), None
    if doubt is not None:
        filled = front_odds(doubt.odds, drawn) >= EVEN
    cost, bars = drawn[axis.column].to_numpy(dtype=float) / axis.scale, ()
    if f"{axis.column}_low" in drawn:
        low, high = (drawn[f"{axis.column}_{end}"].to_numpy(dtype=float) / axis.scale for end in ("low", "high"))
        bars = cost - low, high - cost
    return Panel(cost, shown[0], front, *shown[1:], filled, *bars)


def _published_panel(published: pd.DataFrame, score: Score, axis: CostAxis) -> Panel:
    """Return the published points at the networks' own costs, those with 1000 classes."""
    checkpoints = published_checkpoints()
    archs = [checkpoints[network].arch for network in published["network"]]
    count = axis.count or (lambda archs: np.array([count_cost(arch).madds for arch in archs], float))
    costs = count(archs) / axis.scale
    values = score.scale * published[f"published_{score.name}"].to_numpy(dtype=float)
    return Panel(costs, values, pareto_front(costs, score.sign * values))


def _draw_panel(
    axes: Axes, networks: pd.DataFrame, panel: Panel, colors: dict, legend: bool = False,
    chance: tuple[float, str] | None = None,
) -> None:  # fmt: skip
    """Draw front, lines, bars, points, chance, legend and labels of one panel whose limits are already set."""
    few, kinds = len(networks) <= MOST_LABELS, start_kinds(networks)
    inits = networks["init"].to_numpy() if len(kinds) > 1 else np.full(len(networks), kinds[0])
    color = [colors[width] for width in networks["width"]]
    for kind in kinds:
        # Rows are in order of MAdds, so the front's score gets better.
        at = np.flatnonzero(panel.front & (inits == kind))
        if not len(at):
            continue
        x, y = np.append(panel.cost[at], axes.get_xlim()[1]), np.append(panel.score[at], panel.score[at[-1]])
        axes.plot(x, y, drawstyle="steps-post", color=GREY, lw=1.1, ls=(0, (4, 2)), zorder=1, gid="front")
    lines = _series(networks) if few else {}
    for rows in lines.values():
        style = KIND_LINES[kinds.index(inits[rows[0]]) % len(KIND_LINES)]
        axes.plot(panel.cost[rows], panel.score[rows], color=color[rows[0]], lw=1.3, ls=style, alpha=0.55, zorder=2)
    for i in np.flatnonzero(panel.marked | few) if panel.below is not None else ():
        bars = [[panel.below[i]], [panel.above[i]]]
        style = {"fmt": "none", "ecolor": color[i], "elinewidth": 0.9, "capsize": 2, "alpha": 0.6}
        axes.errorbar(panel.cost[i], panel.score[i], bars, **style)
        if panel.before is not None:
            axes.errorbar(panel.cost[i], panel.score[i], xerr=[[panel.before[i]], [panel.behind[i]]], **style)
    for family, marker in family_markers(_families(networks)).items():
        for mask, faces in ((~panel.marked, "white"), (panel.marked, None)):
            mask = mask & (networks["family"] == family).to_numpy()
            edge = [color[i] for i in np.flatnonzero(mask)]
            area, style = 34 if few or faces is None else 12, {"marker": marker, "linewidths": 1.3, "zorder": 4}
            axes.scatter(panel.cost[mask], panel.score[mask], s=area, c=faces or edge, edgecolors=edge, **style)
    chance = chance if chance and axes.get_ylim()[0] < chance[0] < axes.get_ylim()[1] else None
    if chance:
        axes.axhline(chance[0], color=GREY, lw=1.3, ls=":", zorder=1, gid="chance")
    points = axes.transData.transform(np.column_stack([panel.cost, panel.score]))
    obstacles = find_obstacles(axes, panel, lines, [chance[0]] if chance else [])
    shown, sure = chance and chance[1], panel.filled is not None
    box = _draw_legend(axes, colors, networks, shown, obstacles, points, sure) if legend else None
    draw_labels(axes, networks, panel, color, points, obstacles, box, few)


def _series(networks: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return by label without resolution the rows, in order of resolution: networks that differ in resolution only."""
    names = [
        label.replace(f" at {size}", "")
        for label, size in zip(networks["network"], networks["resolution"], strict=True)
    ]
    areas = [as_size(size).area for size in networks["resolution"]]
    by_size = networks.assign(series=names, area=areas).sort_values("area", kind="stable")
    return {name: rows.index.to_numpy() for name, rows in by_size.groupby("series", sort=False)}


def _width_colors(widths: pd.Series) -> dict[float, tuple]:
    order = sorted(set(widths))
    return {width: WIDTH_COLORS(i / max(1, len(order) - 1)) for i, width in enumerate(order)}


def _set_cost_axis(axes: Axes, costs: np.ndarray, title: str) -> None:
    """Set a log axis around the points, with 1-2-5 ticks, or finer ones where those are too few."""
    low, high = (costs.min(), costs.max()) if len(costs) else (100.0, 100.0)
    pad = max(1.15, (high / low) ** 0.07)
    low, high = low / pad, high * pad**1.6  # labels reach to the right
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [step * 10.0**e for e in range(-6, 8) for step in steps if low <= step * 10.0**e <= high]
        if len(ticks) >= 3:
            break
    else:
        ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    for panel in axes.figure.axes:
        panel.set_xlabel(title)
        panel.xaxis.set_major_locator(FixedLocator(ticks))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.6g}"))
        clean_axes(panel)


def _set_score_axis(axes: Axes, panel: Panel, score: Score, others: Sequence[float] = ()) -> None:
    """Set limits around the points and their bars, all of each, and around other scores."""
    if not len(panel.score):
        axes.set_ylim(0, score.scale)
        return
    low, high = panel.score.min(), panel.score.max()
    if panel.below is not None:
        low, high = (panel.score - panel.below).min(), (panel.score + panel.above).max()
    low, high = min([low, *others]), max([high, *others])
    pad = max(0.02 * score.scale, 0.08 * (high - low))
    axes.set_ylim(max(0.0, low - pad), min(score.highest, high + 1.2 * pad))


def _draw_legend(
    axes: Axes, colors: dict, networks: pd.DataFrame, chance: str | None, obstacles: np.ndarray, points: np.ndarray,
    is_sure: bool,
):  # fmt: skip
    """Draw widths (a few of them if there are many) and the marks, in the corner that covers least; return its box."""
    widths = sorted(colors)
    if len(widths) > MOST_WIDTHS:
        widths = [widths[i] for i in np.linspace(0, len(widths) - 1, MOST_WIDTHS - 2).round().astype(int)]
    handles = [
        Line2D([], [], color=colors[w], marker="o", ms=5, lw=1.3, label=f"width {float(w)!r}") for w in widths[::-1]
    ]
    marks = {"marker": "o", "ms": 5, "color": GREY, "lw": 1.1}
    kinds, families = start_kinds(networks), _families(networks)
    if len(kinds) > 1:
        for kind, style in zip(kinds, cycle(KIND_LINES), strict=False):
            handles.append(Line2D([], [], color=INK, lw=1.3, ls=style, label=f"from {kind}"))
    if len(families) > 1:
        for family, marker in family_markers(families).items():
            handles.append(Line2D([], [], ls="", **{**marks, "marker": marker}, label=_name_family(family)))
    on, off = "front" if len(kinds) == 1 else "front of each kind", "not on the front"
    if is_sure:
        on, off = "on the front: 50 % or more", "less"
    handles.append(Line2D([], [], ls="" if is_sure else (0, (4, 2)), label=on, **marks))
    handles.append(Line2D([], [], ls="", mfc="white", label=off, **marks))
    if chance:
        handles.append(Line2D([], [], color=GREY, lw=1.3, ls=":", label=chance))
    handles += [line for line in axes.lines if line.get_gid() == "8 bits" and not line.get_label().startswith("_")]
    marked, covers = np.concatenate([obstacles, points]), {}
    for corner in ("lower right", "upper left", "lower left", "upper right"):
        legend = axes.legend(handles=handles, loc=corner, fontsize=8, frameon=False, labelcolor=INK, handlelength=2.2)
        box = legend.get_window_extent()
        covers[corner] = count_inside(np.array([box.min]), np.array([box.max]), marked)[0]
    legend.set_loc(min(covers, key=covers.get))  # of equals the first
    return legend.get_window_extent()


# ---------------------------------------------------------------- words


def _facts_line(summary: pd.DataFrame, facts: Facts, counted: str | None) -> str:
    if counted is not None:
        return join_facts(facts, [_trained_at(summary), _executed(summary), counted])
    trials = f"{count_noun(summary['seeds'].sum(), 'trial')} done, {summary['failed'].sum():,} failed"
    missing = int(summary[main_score(summary).name].isna().sum())
    if missing:
        trials += f" ({missing} of {len(summary)} networks without a result)"
    return join_facts(facts, [_trained_at(summary), _executed(summary), trials])


def _executed(summary: pd.DataFrame) -> str:
    """Say what share of the nominal costs training executed, and where that is not one share."""
    fractions = summary["executed_fraction"].to_list()
    if not fractions or min(fractions) == max(fractions) == 1:
        return ""
    return f"executed {executed_text(fractions)}" + ("" if is_in_step(fractions) else ", not in step")


def _trained_at(summary: pd.DataFrame) -> str:
    """Say the sizes, as in "trained at 24 to 56 px (0.25 of nominal)"; the fraction only where it explains every
    size."""
    sizes, nominal = ([as_size(size) for size in summary[column]] for column in ("train_size", "resolution"))
    if not sizes:
        return ""
    text = f"trained at {size_range(sizes)} px"
    if sizes == nominal:
        return text + " (nominal)"
    trained, largest = max(zip(sizes, nominal, strict=True), key=lambda pair: pair[1].area)
    for digits in (1, 2, 3):
        scale = round(max(trained) / max(largest), digits)
        if [size.scale(scale) for size in nominal] == sizes:
            return text + f" ({scale:g} of nominal)"
    return text + f" (nominal {size_range(nominal)} px)"


def _range(values: np.ndarray) -> str:
    low, high = int(np.min(values)), int(np.max(values))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _bars_line(drawn: pd.DataFrame, doubt: Doubt | None) -> str:
    if drawn.empty:
        return ""
    one, several = drawn[drawn["seeds"] == 1], drawn[drawn["seeds"] > 1]
    images = f"{_range(drawn['val_images'])} validation images"
    if doubt is not None:
        over = doubt_text(next(iter(doubt.odds.values())))
        return _bars_text(f"95 % interval over {over}; measured on the same {images}", drawn, doubt)
    if not main_score(drawn).fraction and several.empty:
        return f"No bars: measured on {images} with one seed, so no spread is known."
    over_seeds = f"95 % t interval over {_range(several['seeds'])} seeds" if len(several) else ""
    if several.empty:
        bars = f"95 % Wilson interval over {images}; one seed, so the spread over seeds is unknown"
    elif one.empty:
        bars = f"{over_seeds}, all on the same {images}"
    else:
        bars = f"{over_seeds}; over {images} (95 % Wilson) for {count_noun(len(one), 'network')} with one seed"
    return _bars_text(bars, drawn, doubt)


def _bars_text(bars: str, drawn: pd.DataFrame, doubt: Doubt | None) -> str:
    """Say what bars, marks and names are."""
    size = int((drawn["on_front"] if doubt is None else front_odds(doubt.odds, drawn) >= EVEN).sum())
    named = f" Named: {min(MOST_FRONT_LABELS, size)} of the {size} on the front." if len(drawn) > MOST_LABELS else ""
    return f"Bars: {bars}.{_front_line(drawn, doubt) if len(drawn) > 1 else ''}{named}"


def _front_line(drawn: pd.DataFrame, doubt: Doubt | None) -> str:
    """Say of what the front is, and how sure."""
    several = len(start_kinds(drawn)) > 1
    if doubt is None:
        each = "Each kind of start has its own front, of" if several else "The front is of"
        return f" {each} the means; which networks differ, bars can't tell: all saw the same images."
    each = "Each kind of start has its own dashed front, of" if several else "The dashed front is of"
    band = " Grey: where the front passes, at 95 %." if doubt.band else ""
    return f" {each} the means; filled: on the front with 50 % or more, over the same.{band}"


def _order_line(comparison: PublishedComparison | None) -> str:
    if comparison is None:
        return ""
    ours, costs = comparison.ours, [f"MAdds alone {comparison.madds.tau:.2f}, {near_counts(comparison.madds)}"]
    if comparison.executed:
        costs.append(f"as executed {comparison.executed.tau:.2f}, {near_counts(comparison.executed)}")
    ties = f", {comparison.near_tied} tied" if comparison.near_tied else ""
    return (
        f"Agreement with the published order of {ours.networks} networks: Kendall tau {tau_text(ours)}; pairs "
        f"within 25 % of MAdds as published: {near_counts(ours)}{ties} ({'; '.join(costs)})."
    )


def _verdict_line(verdict: Sequence[str]) -> str:
    """Return the verdict's lines as sentences of the caption."""
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in verdict if line)
