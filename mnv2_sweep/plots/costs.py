"""Networks and their costs -> a matplotlib Figure: MAdds, params, peak memory and depth, by width and by resolution.

A line joins networks that differ in the panel's axis only. Where several networks share a width and a resolution (a
space with other axes), the line is their median in a band from the least to the most; where too few share one for
that to mean anything, every network is a point. Nothing here reads a file or counts a cost.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mnv2_sweep.base.text import count_noun, percent
from mnv2_sweep.nets.arch import FAMILY_NAMES
from mnv2_sweep.plots.cost_lines import (
    LINE,
    OTHER,
    Column,
    Marks,
    find_marks,
    in_units,
    lines_coincide,
    name_value,
    read_column,
)
from mnv2_sweep.plots.labels import draw_cliff_names
from mnv2_sweep.plots.pareto import WIDTH_COLORS
from mnv2_sweep.plots.style import GREY, HALO, INK, clean_axes, family_dashes, family_markers, set_frame
from mnv2_sweep.spaces.landscape import LEAST_RISE, LEAST_TIMES, Cliff

MOST_MARKED = 40  # values on a line: more become steps, as their markers would merge
MOST_POINTS = 2000  # in a panel
MOST_DOTS = 300  # networks of a panel drawn one by one on top of their bands
MOST_CLIFFS = 6  # named in a panel
# Olive to dark green, evenly darker, and apart from the colours of widths.
RESOLUTION_COLORS = LinearSegmentedColormap.from_list(
    "resolutions", ["#A9B52B", "#5FA53A", "#1E8A5B", "#0C6666", "#0A3545"]
)
COLORS = {"width": RESOLUTION_COLORS, "resolution": WIDTH_COLORS}  # of the lines, by what the panel is against
NAMES = {
    "madds": "MAdds (millions)",
    "params": "params (millions)",
    "peak_activation_bytes": "peak memory (MB)",
    "depth": "depth (layers)",
}


def plot_costs(costs: pd.DataFrame, title: str) -> Figure:
    """Draw four costs against width and against resolution; an axis with one value has no panels of its own.

    A row a network: family, width, resolution, madds, params, peak_activation_bytes, depth, and network (its
    `arch_label`). Specs that are one network may come once or each; if each, plateaus reach their last value.
    """
    networks = in_units(costs)
    varied = [axis for axis in OTHER if networks[axis].nunique() > 1]
    columns = [read_column(networks, axis) for axis in varied or ["width"]]
    marks = [find_marks(column) for column in columns]
    families = sorted(set(networks["family"]), key=lambda family: (family != "mobilenet_v2", family))
    dashes, markers = family_dashes(families), family_markers(families)
    styles = {family: (dashes[family], markers[family]) for family in families}
    two = len(columns) == 2
    fig = Figure(figsize=(12, 11.6 if two else 7.6), facecolor="white")
    panels = fig.subplots(4 if two else 2, 2, sharex="col" if two else "all", sharey="row" if two else "none")
    panels = panels.reshape(4, -1)
    caption = [_space_line(networks), _drawn_line(columns), _shape_line(columns), _cliff_line(columns, marks)]
    set_frame(fig, title, [line for line in caption if line])
    _place_panels(fig, styles, legends=any(column.networks["other"].nunique() > 1 for column in columns))
    for axes, cost in zip(panels[:, 0], NAMES, strict=True):
        _set_cost_axis(axes, cost, networks[cost], top=0.2 if cost == "madds" and any(marks) else 0.08)
    fig.align_ylabels(panels[:, 0])
    for column, axes_of_column, marked in zip(columns, panels.T, marks, strict=True):
        _set_value_axis(axes_of_column, column)
        for axes, cost in zip(axes_of_column, NAMES, strict=True):
            _draw_panel(axes, column, cost, styles)
            for cliff, *_ in marked[:MOST_CLIFFS]:
                axes.axvline(cliff.after, color=GREY, lw=0.8, ls=(0, (1, 3)), zorder=1, gid="cliff line")
        draw_cliff_names(axes_of_column[0], marked[:MOST_CLIFFS], partial(_cliff_name, column))
        _draw_head(axes_of_column[0], column)
    _make_room(fig, panels)
    return fig


def line_colors(column: Column) -> dict:
    """Return by the other axis's value its colour, evenly from light to dark."""
    others = sorted(set(column.networks["other"]))
    shades = np.linspace(0, 1, len(others)) if len(others) > 1 else [0.6]
    return {other: COLORS[column.axis](shade) for other, shade in zip(others, shades, strict=True)}


# ---------------------------------------------------------------- drawing


def _place_panels(fig: Figure, styles: dict, legends: bool) -> None:
    """Leave room in inches for title, families, heads and caption, whatever the height of the figure."""
    height = fig.get_figheight()
    caption = next(text for text in fig.texts if text.get_gid() == "caption")
    caption.set_y(0.14 / height)
    fig.texts[0].set_y(1 - 0.16 / height)
    lines = caption.get_text().count("\n") + 1
    above = 0.78 + (0.22 if legends else 0) + (0.25 if len(styles) > 1 else 0)
    fig.subplots_adjust(top=1 - above / height, bottom=(0.75 + 0.175 * lines) / height)
    fig.subplots_adjust(left=0.06, wspace=0.06 if height > 10 else 0.16, hspace=0.12)
    if len(styles) > 1:
        handles = [
            Line2D([], [], color=INK, lw=1.4, ls=dashes, marker=marker, ms=5, label=FAMILY_NAMES.get(family, family))
            for family, (dashes, marker) in styles.items()
        ]
        place = {"loc": "upper left", "bbox_to_anchor": (0.012, 1 - 0.45 / height), "borderaxespad": 0, "borderpad": 0}
        fig.legend(handles=handles, ncols=len(handles), fontsize=9, frameon=False, handlelength=3.2, **place)


def _make_room(fig: Figure, panels: np.ndarray) -> None:
    """Move the panels right until their labels, whose place is known once ticks are laid out, are inside the figure."""
    fig.draw_without_rendering()
    left = min(axes.yaxis.label.get_window_extent().x0 for axes in panels[:, 0]) / fig.bbox.width
    if left < 0.008:
        fig.subplots_adjust(left=fig.subplotpars.left + 0.008 - left)


def _draw_panel(axes: Axes, column: Column, cost: str, styles: dict) -> None:
    spread, other, note = column.spread[cost], OTHER[column.axis], ""
    if column.as_points:
        for family, networks in _pick_points(column).groupby("family"):
            _scatter(axes, networks, cost, column, styles[family][1], np.clip(3000 / len(networks), 6, 30))
    elif lines_coincide(spread):
        note = f"the same at every {other}"
        for family, style in styles.items():
            _draw_line(axes, spread.loc[family].groupby(level="x").first(), INK, style, f"{family}, every {other}")
    else:
        colors = line_colors(column)
        for family, value in column.drawn:
            color, joined = colors[value], (family, value) in column.joined
            _draw_line(axes, spread.loc[family, value], color, styles[family], f"{family}, {value:g}", joined)
        if len({str(spread.loc[line].to_dict()) for line in column.drawn}) < len(column.drawn):
            note = "equal lines hide each other"
        dots = column.networks[pd.MultiIndex.from_frame(column.networks[LINE]).isin(column.drawn)]
        dots = dots[dots.duplicated([*LINE, "x"], keep=False)]
        if 0 < len(dots) <= MOST_DOTS:
            _scatter(axes, dots, cost, column, "o", 9)
    low, high, middle = spread["min"].min(), spread["max"].max(), column.networks[cost].median()
    style = {"fontsize": 8.5, "color": INK, "path_effects": HALO, "zorder": 6, "gid": "note"}
    if len(set(column.networks["x"])) == 1:
        note = f"{low:,.4g}" if low == high else f"{low:,.4g} to {high:,.4g}, median {middle:,.4g}"
        axes.annotate(note, (column.networks["x"][0], middle), (9, 0), textcoords="offset points", va="center", **style)
    else:
        note = f"{low:,.4g} in every network" if low == high else note
        axes.text(0.985, 0.05, note, ha="right", va="bottom", transform=axes.transAxes, **style)


def _draw_line(axes: Axes, part: pd.DataFrame, color, style: tuple, label: str, joined: bool = True) -> None:
    """Draw the median with its markers, or as steps where they would merge, and the band from min to max."""
    dashes, marker = style
    fine, x = joined and len(part) > MOST_MARKED, part.index.to_numpy(dtype=float)
    if (part["min"] < part["max"]).any():
        if joined and len(x) > 1:
            step = "post" if fine else None
            axes.fill_between(x, part["min"], part["max"], step=step, color=color, alpha=0.16, lw=0, gid="band")
        else:
            axes.vlines(x, part["min"], part["max"], color=color, alpha=0.3, lw=4, gid="band")
    shape = {"drawstyle": "steps-post"} if fine else {"marker": marker, "ms": 5 if len(x) < 15 else 3.2}
    axes.plot(x, part["median"], color=color, ls=dashes if joined else "", lw=1.4, label=label, zorder=3, **shape)


def _pick_points(column: Column) -> pd.DataFrame:
    """Pick the points to draw, in mixed order, so that no colour lies on top of the others."""
    return column.networks.sample(min(MOST_POINTS, len(column.networks)), random_state=0)


def _scatter(axes: Axes, networks: pd.DataFrame, cost: str, column: Column, marker: str, area: float) -> None:
    colors = line_colors(column)
    style = {"c": [colors[other] for other in networks["other"]], "alpha": 0.7, "lw": 0, "zorder": 4}
    axes.scatter(networks["x"], networks[cost], marker=marker, s=area, gid="networks", **style)


def _set_value_axis(panels: Sequence[Axes], column: Column) -> None:
    """Set the axis of widths or resolutions, a tick at each where they are few and apart."""
    for axes in panels:
        clean_axes(axes)
        if axes.get_subplotspec().is_last_row():
            axes.set_xlabel("width" if column.axis == "width" else _resolution_words(column.networks))
    axes, values = panels[-1], np.unique(column.networks["x"].to_numpy(dtype=float))
    _set_limits(axes, "x", values[0], values[-1], 0.035, 0.035)
    pixels = axes.transData.transform(np.column_stack([values, values]))[:, 0]
    if len(values) == 1 or np.diff(pixels).min() > 32:
        axes.xaxis.set_major_locator(FixedLocator(values))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: name_value(column.networks, column.axis, value)))


def _set_cost_axis(axes: Axes, cost: str, costs: pd.Series, top: float) -> None:
    """Set the axis of a cost: from 0 unless that would press the lines together, and never on a log scale."""
    low, high = costs.min(), costs.max()
    if low == high:
        low, high = 0, 1.5 * high
    _set_limits(axes, "y", 0 if high / 10 <= low < 0.6 * high else low, high, 0.08, top)
    if cost == "depth" and axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylabel(NAMES[cost].replace(")", ", log scale)") if axes.get_yscale() == "log" else NAMES[cost])


def _set_limits(axes: Axes, which: str, low: float, high: float, below: float, above: float) -> None:
    """Set limits a little outside low and high (0 stays 0); over more than a decade a log scale with ticks at 1, 2,
    5."""
    one = axes.xaxis if which == "x" else axes.yaxis
    if 0 < 10 * low < high:
        span = high / low
        axes.set(**{f"{which}scale": "log", f"{which}lim": (low / span**below, high * span**above)})
        one.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 2000 else (1,), numticks=12))
        one.set_minor_locator(NullLocator())
    else:
        span = high - low or high
        axes.set(**{f"{which}lim": (low - below * span if low else 0, high + above * span)})
        one.set_major_locator(MaxNLocator(6 if which == "y" else 9, steps=(1, 2, 2.5, 5, 10)))
    one.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.6g}"))


def _draw_head(axes: Axes, column: Column) -> None:
    """Draw above the column what its colours mean, and how many of the lines there are."""
    other, values = OTHER[column.axis], sorted({value for _, value in column.drawn})
    head, one = f"Against {column.axis}", f"{other} {name_value(column.networks, other, values[0])}"
    if len(set(column.networks["x"])) == 1:
        head = f"{column.axis} {name_value(column.networks, column.axis, column.networks['x'][0])}, {one}".capitalize()
    elif column.networks["other"].nunique() == 1:
        head += f", {one}"
    elif column.as_points:
        picked, total = len(_pick_points(column)), len(column.networks)
        head += f": {picked:,} of {total:,} networks" if picked < total else f": all {total:,} networks"
        head += f", coloured by {other}"
    elif len(column.drawn) < len(column.lines):
        head += f": {_count_drawn(column)} drawn"
    else:
        head += f": a line for each {other}"
    many = column.networks["other"].nunique() > 1
    axes.set_title(head, loc="left", fontsize=11, pad=24 if many else 8, color=INK)
    if many:
        mark = {"ls": "", "marker": "o", "ms": 5} if column.as_points else {"lw": 2.2}
        colors = line_colors(column)
        handles = [
            Line2D([], [], color=colors[one], label=name_value(column.networks, other, one), **mark) for one in values
        ]
        style = {"fontsize": 8.5, "frameon": False, "labelcolor": INK, "handlelength": 1.3, "handletextpad": 0.5}
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.25, "borderpad": 0.1}
        axes.legend(handles=handles, ncols=len(handles), columnspacing=1.2, **style, **place)


# ---------------------------------------------------------------- words


def _resolution_words(networks: pd.DataFrame) -> str:
    """Say what the axis of resolutions shows."""
    rectangles = networks["size"].str.contains("x").any()
    return "resolution (pixels" + ("; a rectangle lies at the root of its area)" if rectangles else ")")


def _cliff_name(column: Column, cliff: Cliff, family: str) -> str:
    """Name a cliff, as in "+38 % at 0.56", with its family where there are several."""
    name = f"+{percent(cliff.ratio - 1, 0)} % at {name_value(column.networks, column.axis, cliff.after)}"
    return name if column.networks["family"].nunique() == 1 else f"{FAMILY_NAMES.get(family, family)} {name}"


def _count_drawn(column: Column) -> str:
    what = f"{OTHER[column.axis]}s" if column.networks["family"].nunique() == 1 else "lines"
    return f"{len(column.drawn)} of {len(column.lines)} {what}"


def _space_line(networks: pd.DataFrame) -> str:
    sizes = []
    for axis in OTHER:
        low, high = (name_value(networks, axis, value) for value in (networks[axis].min(), networks[axis].max()))
        many = f"{networks[axis].nunique():,} {axis}s from {low} to {high}"
        sizes.append(f"{axis} {low}" if low == high else many)
    return (
        f"{count_noun(len(networks), 'spec')}; {', '.join(sizes)} pixels. Costs are of one image; peak memory is of "
        "activations as 32-bit floats, 1 MB = 10^6 bytes."
    )


def _drawn_line(columns: list[Column]) -> str:
    """Say what was left out, and why points are not joined."""
    parts = [
        f"Against {column.axis}: {_count_drawn(column)} drawn, evenly chosen."
        for column in columns
        if not column.as_points and len(column.drawn) < len(column.lines)
    ]
    pointed = [column for column in columns if column.as_points]
    if pointed:
        picked, total = len(_pick_points(pointed[0])), len(pointed[0].networks)
        some = f"all {total:,}" if picked == total else f"{picked:,} of {total:,}, drawn by lot"
        axes = " and ".join(column.axis for column in pointed)
        parts.append(f"Against {axes}: points are networks ({some}), not joined, as they differ in other choices too.")
    return " ".join(parts)


def _shape_line(columns: list[Column]) -> str:
    """Say what the shapes of the lines mean."""
    parts, joined = [], [column for column in columns if not column.as_points]
    lengths = [column.spread.groupby(level=LINE).size()[column.drawn] for column in joined]
    fine = [column.axis for column, length in zip(joined, lengths, strict=True) if length.max() > MOST_MARKED]
    if fine:
        parts.append(f"Steps against {' and '.join(fine)}: a cost holds until the next value that was counted.")
    if any(len(column.spread) < len(column.networks) for column in joined):
        parts.append("Several networks share a width and a resolution: lines show their median, bands least to most.")
    elif any(((length > 1) & (length <= MOST_MARKED)).any() for length in lengths):
        parts.append("Markers are networks; straight lines only join them.")
    return " ".join(parts)


def _cliff_line(columns: list[Column], marks: list[Marks]) -> str:
    parts = [
        f"{len(marked)} against {column.axis}, "
        + ("all named" if len(marked) <= MOST_CLIFFS else f"the {MOST_CLIFFS} largest named")
        for column, marked in zip(columns, marks, strict=True)
        if marked
    ]
    rule = f"steps that raise MAdds by {percent(LEAST_RISE, 0)} % or more and {LEAST_TIMES:g} times as much"
    square = "as in proportion to the square of width or resolution"
    return f"Cliffs of the lines drawn, {rule} {square}: {'; '.join(parts)}." if parts else ""
