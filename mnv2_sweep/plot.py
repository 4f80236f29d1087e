"""A summary (one row per network) -> a matplotlib Figure; nothing here reads a file or opens a window.

Accuracies come as fractions and are drawn in percent. Costs are at the nominal resolution; every figure says in
its caption at which size the networks were trained, how many trials failed and what its bars mean. Figures are
made with the object interface (no pyplot: slow to import, and it holds every figure it made).
"""

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from mnv2_sweep.pareto import pareto_front
from mnv2_sweep.stats import Difference, PublishedComparison, mean_interval

PNG_DPI = 200
SIZE_INCHES = (12, 5.6)
MOST_LABELS = 40  # with more networks than this only the front is labelled,
MOST_FRONT_LABELS = 12  # and of a longer front only this many, evenly spread, with both ends
LEADER_FROM = 13  # pixels between a label and its point from which a line joins them
MOST_WIDTHS = 8  # in the legend
INK, GREY, PALE = "#222222", "#767676", "#C9C9C9"
SEED_COLOR, PUBLISHED_COLOR = "#3B6FB6", "#C4501B"
HALO = [withStroke(linewidth=2.5, foreground="white")]  # keeps text readable where it must cross a line
# Orange to navy, evenly darker, so the order of the widths survives colour blindness and grey printing.
WIDTH_COLORS = LinearSegmentedColormap.from_list(
    "widths", ["#E88A1A", "#D9483B", "#AD2478", "#6A2C9C", "#27459B", "#0C1F44"]
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a summary cannot tell: `train_images` seen, repeats counted; `classes` of the data, for chance."""

    data: str
    recipe: str
    train_images: int | None = None
    classes: int | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class AblationPairs:
    """Two networks trained with the same seeds: values_a[i] and values_b[i] (top-1) share a seed.

    `published_gap` is figure 6's a minus b in percentage points, or None; `failed` counts failed trials of both.
    """

    network: str
    label_a: str
    label_b: str
    values_a: tuple[float, ...]
    values_b: tuple[float, ...]
    difference: Difference
    published_gap: float | None
    train_size: int
    val_images: int
    facts: Facts
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Panel:
    """Points of one panel in order of MAdds (millions) and percent; `below` and `above` are the bars' lengths."""

    madds: np.ndarray
    top1: np.ndarray
    front: np.ndarray
    below: np.ndarray | None = None
    above: np.ndarray | None = None


def read_facts(trials: pd.DataFrame) -> Facts:
    """The facts of a table of trials (at least one); names that differ between them are listed, in order."""
    done = trials[trials["status"] == "done"]
    names = {column: ", ".join(sorted(trials[column].unique())) for column in ("data", "recipe")}
    return Facts(
        **names,
        train_images=int(done["train_images"].max()) if len(done) else None,
        classes=int(trials["data_classes"].max()),
        device=", ".join(sorted(done["device"].unique())) or None,
    )


# --- accuracy against MAdds -------------------------------------------------------------------------------------


def plot_pareto(
    summary: pd.DataFrame, facts: Facts, comparison: PublishedComparison | None = None, title: str | None = None
) -> Figure:
    """Top-1 against MAdds with the front; beside it the published points of the paper's networks among them.

    Bars are the t interval over seeds, Wilson's interval over the validation images where a network has one seed.
    Lines join the resolutions of one width. Networks without a result are counted in the caption, not drawn.
    """
    drawn = summary[summary["top1"].notna()].sort_values("madds", kind="stable", ignore_index=True)
    published = drawn[drawn["published_top1"].notna()].reset_index(drop=True)
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    panels = fig.subplots(1, 2 if len(published) else 1, sharex=True, squeeze=False)[0]
    caption = [_facts_line(summary, facts), _bars_line(drawn), _order_line(comparison)]
    _set_frame(fig, title or _pareto_title(drawn, facts), caption)
    colors = _width_colors(drawn["width"])
    _set_madds_axis(panels[0], drawn["madds"].to_numpy(dtype=float) / 1e6)
    ours, theirs = _our_panel(drawn), _published_panel(published)
    _set_top1_axis(panels[0], ours)
    _draw_panel(panels[0], drawn, ours, colors, legend=True, classes=facts.classes)
    panels[0].set_title(f"Ours: {facts.data}, recipe {facts.recipe}", loc="left", fontsize=11, parse_math=False)
    panels[0].set_ylabel(
        "validation top-1 (%), mean over seeds" if (drawn["seeds"] > 1).any() else "validation top-1 (%)"
    )
    if len(published):
        _set_top1_axis(panels[1], theirs)
        _draw_panel(panels[1], published, theirs, colors)
        same = "the same network" if len(drawn) == 1 else "the same networks"
        which = same if len(published) == len(drawn) else f"{len(published)} of these networks"
        panels[1].set_title(f"Published: ImageNet, {which} (TF-slim checkpoints)", loc="left", fontsize=11)
        panels[1].set_ylabel("ImageNet top-1 (%)")
    return fig


def _pareto_title(drawn: pd.DataFrame, facts: Facts) -> str:
    if len(drawn) > 1:
        return f"MobileNetV2 on {facts.data}: {drawn['on_front'].sum()} of {len(drawn)} networks on the front"
    if len(drawn):
        return f"MobileNetV2 {drawn['network'][0]} on {facts.data}: top-1 {100 * drawn['top1'][0]:.1f} %"
    return f"MobileNetV2 on {facts.data}: no network has a result"


def _our_panel(drawn: pd.DataFrame) -> _Panel:
    top1, half = drawn["top1"], drawn["seed_half_width"]
    below, above = half.fillna(top1 - drawn["low"]), half.fillna(drawn["high"] - top1)
    percent = [100 * values.to_numpy(dtype=float) for values in (top1, below, above)]
    return _Panel(
        drawn["madds"].to_numpy(dtype=float) / 1e6, percent[0], drawn["on_front"].to_numpy(bool), *percent[1:]
    )


def _published_panel(published: pd.DataFrame) -> _Panel:
    madds, top1 = (
        published["madds"].to_numpy(dtype=float) / 1e6,
        100 * published["published_top1"].to_numpy(dtype=float),
    )
    return _Panel(madds, top1, pareto_front(madds, top1))


def _draw_panel(
    axes: Axes, networks: pd.DataFrame, panel: _Panel, colors: dict, legend: bool = False, classes: int | None = None
) -> None:
    """Front, lines, bars, points, chance, legend and labels of one panel whose limits are already set."""
    few = len(networks) <= MOST_LABELS
    color = [colors[width] for width in networks["width"]]
    at = np.flatnonzero(panel.front)  # rows are in order of MAdds, so the front's top-1 rises
    if len(at):
        x, y = np.append(panel.madds[at], axes.get_xlim()[1]), np.append(panel.top1[at], panel.top1[at[-1]])
        axes.plot(x, y, drawstyle="steps-post", color=GREY, lw=1.1, ls=(0, (4, 2)), zorder=1, gid="front")
    lines = _series(networks) if few else {}
    for rows in lines.values():
        axes.plot(panel.madds[rows], panel.top1[rows], color=color[rows[0]], lw=1.3, alpha=0.55, zorder=2)
    for i in np.flatnonzero(panel.front | few) if panel.below is not None else ():
        bars = [[panel.below[i]], [panel.above[i]]]
        axes.errorbar(
            panel.madds[i], panel.top1[i], bars, fmt="none", ecolor=color[i], elinewidth=0.9, capsize=2, alpha=0.6
        )
    for mask, style in ((~panel.front, {"facecolors": "white"}), (panel.front, {"facecolors": None})):
        edge = [color[i] for i in np.flatnonzero(mask)]
        area = 34 if few else np.where(panel.front[mask], 34, 12)
        faces = style["facecolors"] or edge
        axes.scatter(panel.madds[mask], panel.top1[mask], s=area, c=faces, edgecolors=edge, linewidths=1.3, zorder=4)
    chance = bool(classes) and axes.get_ylim()[0] < 100 / (classes or 1) < axes.get_ylim()[1]
    if chance:
        axes.axhline(100 / classes, color=GREY, lw=1.3, ls=":", zorder=1)
    points = axes.transData.transform(np.column_stack([panel.madds, panel.top1]))
    obstacles = _obstacles(axes, panel, lines, [100 / classes] if chance else [])
    box = _draw_legend(axes, colors, classes if chance else None, obstacles, points) if legend else None
    _draw_labels(axes, networks, panel, color, points, obstacles, box, few)


def _series(networks: pd.DataFrame) -> dict[str, np.ndarray]:
    """Label without its resolution -> rows, in order of resolution: networks that differ in resolution only."""
    names = [
        label.replace(f" at {size}", "")
        for label, size in zip(networks["network"], networks["resolution"], strict=True)
    ]
    by_size = networks.assign(series=names).sort_values("resolution", kind="stable")
    return {name: rows.index.to_numpy() for name, rows in by_size.groupby("series", sort=False)}


def _width_colors(widths: pd.Series) -> dict[float, tuple]:
    order = sorted(set(widths))
    return {width: WIDTH_COLORS(i / max(1, len(order) - 1)) for i, width in enumerate(order)}


def _set_madds_axis(axes: Axes, madds: np.ndarray) -> None:
    """A log axis in millions around the points, with 1-2-5 ticks, or finer ones where those are too few."""
    low, high = (madds.min(), madds.max()) if len(madds) else (100.0, 100.0)
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
        panel.set_xlabel("MAdds at the nominal resolution (millions, log scale)")
        panel.xaxis.set_major_locator(FixedLocator(ticks))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.6g}"))
        _clean(panel)


def _set_top1_axis(axes: Axes, panel: _Panel) -> None:
    """Around the points and their bars; a bar much longer than the points' own range is cut by the axis."""
    if not len(panel.top1):
        axes.set_ylim(0, 100)
        return
    low, high = panel.top1.min(), panel.top1.max()
    room = max(4.0, 0.5 * (high - low))
    if panel.below is not None:
        low, high = (
            max(low - room, (panel.top1 - panel.below).min()),
            min(high + room, (panel.top1 + panel.above).max()),
        )
    pad = max(2.0, 0.08 * (high - low))
    axes.set_ylim(max(0.0, low - pad), min(100.0, high + 1.2 * pad))


def _draw_legend(axes: Axes, colors: dict, classes: int | None, obstacles: np.ndarray, points: np.ndarray):
    """Widths (a few of them if there are many) and the marks, in the corner that covers least; returns its box."""
    widths = sorted(colors)
    if len(widths) > MOST_WIDTHS:
        widths = [widths[i] for i in np.linspace(0, len(widths) - 1, MOST_WIDTHS - 2).round().astype(int)]
    handles = [
        Line2D([], [], color=colors[w], marker="o", ms=5, lw=1.3, label=f"width {float(w)!r}") for w in widths[::-1]
    ]
    marks = {"marker": "o", "ms": 5, "color": GREY, "lw": 1.1}
    handles.append(Line2D([], [], ls=(0, (4, 2)), label="front", **marks))
    handles.append(Line2D([], [], ls="", mfc="white", label="not on the front", **marks))
    if classes:
        handles.append(Line2D([], [], color=GREY, lw=1.3, ls=":", label=f"chance, {classes} classes"))
    marked, covers = np.concatenate([obstacles, points]), {}
    for corner in ("lower right", "upper left", "lower left", "upper right"):
        legend = axes.legend(handles=handles, loc=corner, fontsize=8, frameon=False, labelcolor=INK, handlelength=2.2)
        box = legend.get_window_extent()
        covers[corner] = _count_inside(np.array([box.min]), np.array([box.max]), marked)[0]
    legend.set_loc(min(covers, key=covers.get))  # of equals the first
    return legend.get_window_extent()


# --- labels -----------------------------------------------------------------------------------------------------


def _draw_labels(
    axes: Axes, networks: pd.DataFrame, panel: _Panel, color: list, points, obstacles, legend, few
) -> None:
    """Name every network (or some of the front, when there are many) next to its point, apart if possible."""
    rows = np.arange(len(networks)) if few else _spread(np.flatnonzero(panel.front), MOST_FRONT_LABELS)
    texts = []
    for i in rows:
        darker = tuple(0.75 * channel for channel in to_rgb(color[i]))
        spot = {"xytext": (0, 0), "textcoords": "offset points", "ha": "center", "va": "center"}
        style = {
            "fontsize": 7.8,
            "color": darker,
            "zorder": 6,
            "fontweight": "bold" if panel.front[i] and few else "normal",
        }
        arrow = {"arrowstyle": "-", "color": darker, "lw": 0.7, "shrinkA": 0, "shrinkB": 3, "alpha": 0.8}
        spot |= {"arrowprops": arrow, "path_effects": HALO, "parse_math": False, "gid": "label"}
        texts.append(axes.annotate(networks["network"][i], (panel.madds[i], panel.top1[i]), **spot, **style))
    boxes = [text.get_window_extent() for text in texts]
    size = np.array([[box.width, box.height] for box in boxes]).reshape(-1, 2)
    offsets = _place_labels(points[rows], size, points, obstacles, axes.bbox, legend)
    for text, offset, half in zip(texts, offsets, size / 2, strict=True):
        text.set_position(tuple(offset * 72 / axes.figure.dpi))
        text.arrow_patch.set_visible(bool(np.hypot(*np.clip(np.abs(offset) - half, 0, None)) > LEADER_FROM))


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most this many of the rows, evenly spread, the first and the last among them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]


def _obstacles(axes: Axes, panel: _Panel, lines: dict, levels: list[float]) -> np.ndarray:
    """Pixels along the drawn lines, the front, the bars and the horizontal levels."""
    paths = [np.column_stack([panel.madds[rows], panel.top1[rows]]) for rows in lines.values()]
    left, right = axes.get_xlim()
    paths += [np.array([[left, level], [right, level]]) for level in levels]
    at = np.flatnonzero(panel.front)
    x, y = np.append(panel.madds[at], right), panel.top1[at]
    paths.append(np.column_stack([np.repeat(x, 2)[1:-1], np.repeat(y, 2)]))
    if panel.below is not None and lines:
        for x, y, below, above in zip(panel.madds, panel.top1, panel.below, panel.above, strict=True):
            paths.append(np.array([[x, y - below], [x, y + above]]))
    dense = [np.zeros((0, 2))]
    for path in paths:
        pixels = axes.transData.transform(path) if len(path) else path
        for start, end in zip(pixels[:-1], pixels[1:], strict=True):
            dense.append(start + (end - start) * np.linspace(0, 1, max(2, int(np.hypot(*(end - start)) / 4)))[:, None])
    return np.concatenate(dense)


def _place_labels(anchors, size, points, obstacles, frame, legend) -> np.ndarray:
    """Offsets in pixels of the labels' centres from their anchors, chosen one by one from a fixed set, four rounds.

    Deterministic. A place costs its distance, the lines it covers and, far more, the points and labels it covers.
    """
    chosen = np.zeros((len(anchors), 2))
    placed = np.zeros(len(anchors), dtype=bool)
    spots = [
        (radius, angle) for radius in (8, 13, 19, 27, 37, 50, 70, 95) for angle in np.radians(np.arange(0, 360, 15))
    ]
    radius = np.array([radius for radius, _ in spots])
    unit = np.array([[np.cos(angle), np.sin(angle)] for _, angle in spots])
    for _ in range(4):
        for i, (anchor, half) in enumerate(zip(anchors, size / 2, strict=True)):
            offset = unit * radius[:, None] + half * np.clip(1.5 * unit, -1, 1)
            low, high = anchor + offset - half, anchor + offset + half
            others = placed & (np.arange(len(anchors)) != i)
            centres, halves = anchors[others] + chosen[others], size[others] / 2
            cost = radius**1.3 + 40.0 * _count_inside(low - 1, high + 1, obstacles) ** 0.6
            cost += 400.0 * _count_inside(low - 4, high + 4, points)
            near = 0.65 * radius[:, None]  # a point nearer than the label's own would seem to be the one named
            cost += 30.0 * np.minimum(2, _count_inside(low - near, high + near, points))
            cost += np.where(radius > LEADER_FROM, 80.0 * _count_near_leader(anchor, offset, points), 0)
            cost += 20.0 * _overlap(low - 2, high + 2, centres - halves, centres + halves)
            leaders = anchors[others] + chosen[others] * np.linspace(0.1, 0.7, 12)[:, None, None]
            cost += 150.0 * np.minimum(2, _count_inside(low, high, leaders.reshape(-1, 2)))
            texts = centres + halves * np.array([[-0.8, 0], [-0.4, 0], [0, 0], [0.4, 0], [0.8, 0]])[:, None]
            cost += np.where(radius > LEADER_FROM, 60.0 * _count_near_leader(anchor, offset, texts.reshape(-1, 2)), 0)
            if legend is not None:
                cost += 20.0 * _overlap(low, high, legend.min[None], legend.max[None])
            cost += 1e5 * ((low < frame.min + 2) | (high > frame.max - 2)).any(axis=1)
            chosen[i] = offset[np.argmin(cost)]
            placed[i] = True
    return chosen


def _count_near_leader(anchor: np.ndarray, offset: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How many points, other than the anchor, lie within 7 pixels of the line from the anchor to each offset."""
    others = points - anchor
    distance = np.hypot(*others.T)
    others = others[(distance > 1) & (distance < 160)]
    share = np.clip(offset @ others.T / (offset**2).sum(axis=1)[:, None], 0.1, 0.9)  # of the way to the nearest place
    gap = share[..., None] * offset[:, None] - others
    return (np.hypot(gap[..., 0], gap[..., 1]) < 7).sum(axis=1)


def _count_inside(low: np.ndarray, high: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How many points each box holds."""
    return ((points > low[:, None]) & (points < high[:, None])).all(axis=2).sum(axis=1)


def _overlap(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> np.ndarray:
    """Area each box shares with the other boxes, in all."""
    shared = np.minimum(high[:, None], other_high) - np.maximum(low[:, None], other_low)
    return np.clip(shared, 0, None).prod(axis=2).sum(axis=1)


# --- words ------------------------------------------------------------------------------------------------------


def _set_frame(fig: Figure, title: str, caption: Sequence[str]) -> None:
    """Title on top, caption below (long lines broken), and the panels in the room between."""
    lines = [part for line in caption for part in textwrap.wrap(line, 182)]
    fig.text(
        0.012,
        0.968,
        title,
        fontsize=min(15, 1400 / len(title)),
        fontweight="bold",
        color=INK,
        va="top",
        parse_math=False,
    )
    style = {"fontsize": 8.5, "color": "#444444", "linespacing": 1.45, "parse_math": False}
    fig.text(0.012, 0.025, "\n".join(lines), va="bottom", gid="caption", **style)
    fig.subplots_adjust(left=0.055, right=0.985, top=0.85, bottom=0.135 + 0.031 * len(lines), wspace=0.16)


def _facts_line(summary: pd.DataFrame, facts: Facts) -> str:
    trials = f"{summary['seeds'].sum():,} trials done, {summary['failed'].sum():,} failed"
    missing = int(summary["top1"].isna().sum())
    if missing:
        trials += f" ({missing} of {len(summary)} networks without a result)"
    return _join_facts(facts, [_trained_at(summary), trials])


def _join_facts(facts: Facts, more: list[str]) -> str:
    images = None if facts.train_images is None else f"{facts.train_images:,} training images, repeats counted"
    parts = [f"Data {facts.data}", f"recipe {facts.recipe}", images, *more, facts.device and f"on {facts.device}"]
    return "; ".join(part for part in parts if part) + "."


def _trained_at(summary: pd.DataFrame) -> str:
    """The sizes, as in "trained at 24 to 56 px (0.25 of nominal)"; the fraction only where it explains every size."""
    sizes, nominal = summary["train_size"].to_numpy(dtype=float), summary["resolution"].to_numpy(dtype=float)
    if not len(sizes):
        return ""
    text = f"trained at {_range(sizes)} px"
    if (sizes == nominal).all():
        return text + " (nominal)"
    largest = np.argmax(nominal)
    for digits in (1, 2, 3):
        scale = round(sizes[largest] / nominal[largest], digits)
        if (np.maximum(1, np.round(nominal * scale)) == sizes).all():
            return text + f" ({scale:g} of nominal)"
    return text + f" (nominal {_range(nominal)} px)"


def _range(values: np.ndarray) -> str:
    low, high = int(np.min(values)), int(np.max(values))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _bars_line(drawn: pd.DataFrame) -> str:
    if drawn.empty:
        return ""
    one, several = drawn[drawn["seeds"] == 1], drawn[drawn["seeds"] > 1]
    images = f"{_range(drawn['val_images'])} validation images"
    over_seeds = f"95 % t interval over {_range(several['seeds'])} seeds" if len(several) else ""
    if several.empty:
        bars = f"95 % Wilson interval over {images}; one seed, so the spread over seeds is unknown"
    elif one.empty:
        bars = f"{over_seeds}, all on the same {images}"
    else:
        bars = f"{over_seeds}; over {images} (95 % Wilson) for {_count(len(one), 'network')} with one seed"
    named = min(MOST_FRONT_LABELS, drawn["on_front"].sum())
    names = f" Named: {named} of the {drawn['on_front'].sum()} on the front." if len(drawn) > MOST_LABELS else ""
    front = " The front is of the means; networks with overlapping bars may change places." if len(drawn) > 1 else ""
    return f"Bars: {bars}.{front}{names}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _order_line(comparison: PublishedComparison | None) -> str:
    if comparison is None:
        return ""
    near = comparison.near_as_published + comparison.near_other_way + comparison.near_tied
    ties = f", {comparison.near_tied} tied" if comparison.near_tied else ""
    return (
        f"Agreement with the published order of {comparison.networks} networks: Kendall tau {comparison.tau:.2f} "
        f"(MAdds alone {comparison.tau_madds:.2f}); of {_count(near, 'pair')} within 25 % MAdds, "
        f"{comparison.near_as_published} as published, {comparison.near_other_way} the other way{ties}."
    )


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    axes.grid(True, color="#EDEDED", lw=0.8, zorder=0)
    axes.set_axisbelow(True)


# --- one change, with and without -------------------------------------------------------------------------------


def plot_ablation(pairs: AblationPairs) -> Figure:
    """Left: top-1 of both sides, one line per seed, and the means; right: the difference against zero and the paper."""
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.25))
    n = len(pairs.values_a)
    trials = f"{_count(n, 'pair')} of trials done, {pairs.failed} failed"
    measured = f"Top-1 on {pairs.val_images:,} validation images, the same for all trials."
    caption = [
        _join_facts(pairs.facts, [f"trained at {pairs.train_size} px", trials]),
        measured + " " + _verdict(pairs),
    ]
    if pairs.published_gap is not None:
        caption.append(
            "Published: paper, figure 6, the gap between the two curves at 6.5 to 7.0 million steps on ImageNet."
        )
    _set_frame(fig, f"{pairs.network}: {pairs.label_a} against {pairs.label_b}", caption)
    fig.subplots_adjust(wspace=0.22)
    for axes in (left, right):
        _clean(axes)
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


# --- pictures, files --------------------------------------------------------------------------------------------


def plot_contact_sheet(images: np.ndarray, class_names: Sequence[str], title: str | None = None) -> Figure:
    """Images [rows, columns, side, side, 3] (bytes) as a sheet, one class a row, its name on the left."""
    rows, columns, side = images.shape[:3]
    gap = max(1, side // 24)
    sheet = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap, 3), 255, dtype=np.uint8)
    for row, column in np.ndindex(rows, columns):
        y, x = row * (side + gap), column * (side + gap)
        sheet[y : y + side, x : x + side] = images[row, column]
    inches = min(0.9, 10 / columns)
    margin, top = 0.35 + 0.088 * max(map(len, class_names)), 0.55 if title else 0.1
    fig = Figure(figsize=(margin + inches * columns + 0.1, top + inches * rows + 0.1), facecolor="white")
    width, height = fig.get_size_inches()
    axes = fig.add_axes((margin / width, 0.1 / height, inches * columns / width, inches * rows / height))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    centres = [row * (side + gap) + side / 2 - 0.5 for row in range(rows)]
    axes.set_yticks(centres, class_names, fontsize=10, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if title:
        fig.text(
            0.1 / width, 1 - 0.15 / height, title, fontsize=13, fontweight="bold", color=INK, va="top", parse_math=False
        )
    return fig


def save_figure(fig: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg, each whole or not at all; equal figures give equal bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        path = stem.with_name(f"{stem.name}.{ending}")
        unfinished = stem.with_name(f".{stem.name}.{os.getpid()}.{ending}")
        try:
            with rc_context({"svg.hashsalt": "mnv2_sweep"}), open(unfinished, "wb") as file:
                fig.savefig(file, format=ending, dpi=PNG_DPI, metadata=metadata)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        written.append(path)
    return written
