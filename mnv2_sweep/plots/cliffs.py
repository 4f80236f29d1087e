"""Networks and their costs -> Columns: which lines to draw against width and against resolution, and their cliffs.

Names of cliffs into a panel whose lines are drawn: near their steps, off the lines and each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mnv2_sweep.plots.labels import count_inside
from mnv2_sweep.plots.style import HALO, INK
from mnv2_sweep.spaces.landscape import Cliff, find_cliffs

# ---------------------------------------------------------------- cost_columns

MOST_LINES = 7  # in a panel; with bands, which hide each other, MOST_BANDS
MOST_BANDS = 5
DENSE = 10  # networks at each value from which on their median says something, even of different networks
OTHER = {"width": "resolution", "resolution": "width"}
UNITS = {"madds": 1e6, "params": 1e6, "peak_activation_bytes": 1e6, "depth": 1}
LINE = ["family", "other"]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """What the panels against `axis` hold; a line is a pair of family and value of the other axis.

    `spread` has the min, median and max of every cost for each family, `other` and `x`. Of the lines, `drawn` are
    chosen, `joined` are those whose points may be joined, `alike` those with the same networks at every value.
    """

    axis: str
    networks: pd.DataFrame
    spread: pd.DataFrame
    lines: list[tuple]
    drawn: list[tuple]
    joined: set[tuple]
    alike: set[tuple]
    as_points: bool


Marks = list[tuple[Cliff, float, str]]  # with the MAdds (millions) at the top of the step, and the family


def in_units(costs: pd.DataFrame) -> pd.DataFrame:
    """Costs in the units drawn, and `variant`: the label without width and resolution, equal along a line."""
    named = zip(costs["network"], costs["width"], costs["resolution"], strict=True)
    variants = [name.replace(f"{float(width)!r} at {size}", "", 1) for name, width, size in named]
    scaled = {cost: costs[cost] / unit for cost, unit in UNITS.items()}
    return costs.assign(**scaled, variant=variants).reset_index(drop=True)


def read_column(networks: pd.DataFrame, axis: str) -> Column:
    networks = networks.assign(x=networks[axis], other=networks[OTHER[axis]])
    spread = networks.groupby([*LINE, "x"])[list(UNITS)].agg(["min", "median", "max"])
    by_line = networks.groupby(LINE)
    size, values = by_line.size(), by_line["x"].nunique()
    alike = size == values * by_line["variant"].nunique()
    joined = alike | (size >= DENSE * values)
    families = networks["family"].nunique()
    most = max(2, (MOST_LINES + families - 1 if len(spread) == len(networks) else MOST_BANDS) // families)
    drawn = [line for _, group in size.groupby("family") for line in _evenly(list(group.index), most)]
    lone = (values == 1) & (networks["x"].nunique() > 1)  # joins nothing
    as_points = bool(size[joined & ~lone].sum() < size.sum() / 2)
    sets = [set(size[chosen].index) for chosen in (joined, alike)]
    return Column(axis, networks, spread, list(size.index), drawn, *sets, as_points)


def _evenly(values: Sequence, most: int) -> list:
    """At most this many, evenly chosen, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [values[i] for i in chosen]


def is_shared(spread: pd.DataFrame) -> bool:
    """Whether a cost does not depend on the other axis, so that all lines of a family are one."""
    at_value = spread.groupby(level=["family", "x"])
    return bool((at_value.size() > 1).any() and (at_value.max() == at_value.min()).all(axis=None))


def find_marks(column: Column) -> Marks:
    """Cliffs of the drawn lines, the largest first; at each value that of the highest line."""
    marks = {}
    for line in () if column.as_points else column.drawn:
        if line in column.alike:  # otherwise a step leads to other networks
            madds = column.spread.loc[line]["madds", "median"]
            for cliff in find_cliffs(madds.index.tolist(), madds.tolist()):
                mark = (cliff, madds[cliff.after], line[0])
                marks[cliff.after] = max(mark, marks.get(cliff.after, mark), key=lambda one: one[1])
    return sorted(marks.values(), key=lambda mark: -mark[0].ratio)


# ---------------------------------------------------------------- cliff_names


def draw_cliff_names(axes: Axes, marks: Marks, name_of: Callable[[Cliff, str], str]) -> None:
    """Each cliff's rise near the top of its step, off the lines, the other labels and their leaders, if it can be."""
    lines, taken, boxes = _line_pixels(axes), np.zeros((0, 2)), []
    offset = np.array([[x, y] for y in (*range(18, 115, 8), *range(-18, -75, -14)) for x in range(-80, 81, 8)])
    for cliff, y, family in sorted(marks, key=lambda mark: mark[0].after):
        name = name_of(cliff, family)
        style = {"fontsize": 8.5, "ha": "center", "va": "center", "color": INK, "path_effects": HALO, "gid": "cliff"}
        arrow = {"arrowstyle": "-", "color": INK, "lw": 0.7, "shrinkA": 0, "shrinkB": 0}
        text = axes.annotate(
            name, (cliff.after, y), (0, 0), textcoords="offset points", arrowprops=arrow, zorder=6, **style
        )
        box, anchor = text.get_window_extent(), axes.transData.transform((cliff.after, y))
        half = np.array([box.width, box.height]) / 2
        low, high = anchor + offset - half, anchor + offset + half
        leaders = anchor + offset[:, None] * np.linspace(0.1, 0.9, 9)[:, None]
        crossed = sum((((leaders > b - h) & (leaders < b + h)).all(axis=2)).sum(axis=1) for b, h in boxes)
        cost = np.abs(offset).sum(axis=1) + 30.0 * count_inside(low - 2, high + 2, lines) ** 0.5
        cost += 300.0 * (crossed + count_inside(low - 4, high + 4, taken))
        cost += 1e5 * ((low < axes.bbox.min + 2) | (high > axes.bbox.max - 1)).any(axis=1)
        best = int(np.argmin(cost))
        text.set_position(tuple(offset[best] * 72 / axes.figure.dpi))
        boxes.append((anchor + offset[best], half))
        grid = np.array([[x, y] for x in np.linspace(-1, 1, 15) for y in (-1, 0, 1)])
        taken = np.concatenate([taken, boxes[-1][0] + half * grid, leaders[best]])


def _line_pixels(axes: Axes) -> np.ndarray:
    """Pixels along the lines drawn so far."""
    dense = [np.zeros((0, 2))]
    for line in axes.lines:
        x, y = line.get_data()
        if line.get_gid() == "cliff line" or len(x) < 2:
            continue
        if line.get_drawstyle() == "steps-post":
            x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
        pixels = axes.transData.transform(np.column_stack([x, y]))
        along = np.concatenate([[0], np.hypot(*np.diff(pixels, axis=0).T).cumsum()])
        every = np.arange(0, along[-1], 6)
        dense.append(np.column_stack([np.interp(every, along, pixels[:, 0]), np.interp(every, along, pixels[:, 1])]))
    return np.concatenate(dense)
