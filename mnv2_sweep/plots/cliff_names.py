"""Names of cliffs into a panel whose lines are drawn: near their steps, off the lines and each other."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from mnv2_sweep.costs.cliffs import Cliff
from mnv2_sweep.plots.cost_columns import Marks
from mnv2_sweep.plots.figure import HALO, INK
from mnv2_sweep.plots.labels import count_inside


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
