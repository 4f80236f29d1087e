"""Networks and their costs -> Columns: the lines to draw against width and against resolution, and their cliffs.

A line joins networks of one family that have one value of the other axis. Nothing is drawn here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mnv2_sweep.base.size import as_size
from mnv2_sweep.spaces.landscape import Cliff, find_cliffs

MOST_LINES = 7  # in a panel; with bands, which hide each other, MOST_BANDS
MOST_BANDS = 5
DENSE = 10  # networks at each value from which on their median says something, even of different networks
OTHER = {"width": "resolution", "resolution": "width"}
UNITS = {"madds": 1e6, "params": 1e6, "peak_activation_bytes": 1e6, "depth": 1}
LINE = ["family", "other"]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """What the panels against `axis` hold; a line is a pair of family and value of the other axis.

    `spread` has the min, median and max of every cost for each family, `other` and `x`. `drawn` lines are
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
    """Return costs in the units drawn; `variant`: the label without width and resolution, equal along a line; `size`:
    the resolution in words, as `resolution` becomes a number, of a rectangle the side of the square of its area."""
    named = zip(costs["network"], costs["width"], costs["resolution"], strict=True)
    variants = [name.replace(f"{float(width)!r} at {size}", "", 1) for name, width, size in named]
    scaled = {cost: costs[cost] / unit for cost, unit in UNITS.items()}
    sizes = [as_size(size) for size in costs["resolution"]]
    sides = [size.height if size.is_square else math.sqrt(size.area) for size in sizes]
    words = {"variant": variants, "size": list(map(str, sizes))}
    return costs.assign(**scaled, **words, resolution=sides).reset_index(drop=True)


def name_value(networks: pd.DataFrame, axis: str, value: float) -> str:
    """Name a width or a resolution of `in_units` as networks are labelled: "1.0", "224", "160x120"; sizes of one area
    together."""
    if axis == "width":
        return repr(round(float(value), 6))
    return " or ".join(networks.loc[networks["resolution"] == value, "size"].unique())


def read_column(networks: pd.DataFrame, axis: str) -> Column:
    """Choose what the panels against an axis show; `networks` as `in_units` gives them."""
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
    """Return at most this many, evenly chosen, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [values[i] for i in chosen]


def lines_coincide(spread: pd.DataFrame) -> bool:
    """Return whether a cost does not depend on the other axis, so that all lines of a family are one."""
    at_value = spread.groupby(level=["family", "x"])
    return bool((at_value.size() > 1).any() and (at_value.max() == at_value.min()).all(axis=None))


def find_marks(column: Column) -> Marks:
    """Return the cliffs of the drawn lines, the largest first; at each value that of the highest line."""
    marks = {}
    for line in () if column.as_points else column.drawn:
        if line in column.alike:  # otherwise a step leads to other networks
            madds = column.spread.loc[line]["madds", "median"]
            for cliff in find_cliffs(madds.index.tolist(), madds.tolist()):
                mark = (cliff, madds[cliff.after], line[0])
                marks[cliff.after] = max(mark, marks.get(cliff.after, mark), key=lambda one: one[1])
    return sorted(marks.values(), key=lambda mark: -mark[0].ratio)
