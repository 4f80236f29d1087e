"""Points of networks, or steps of lines -> their names beside them, apart from each other and from what is drawn.

Places are in pixels, so the limits of the axes must be set before. Equal panels get equal places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from mnv2_sweep.plots.style import HALO, INK
from mnv2_sweep.spaces.landscape import Cliff

MOST_FRONT_LABELS = 12  # of a longer front only this many are labelled, evenly spread, with both ends
LEADER_FROM = 13  # pixels between a label and its point from which a line joins them


@dataclass(frozen=True, slots=True)
class Panel:
    """Points of one panel in order of their cost, as it is shown, MAdds in millions; with the score as it is shown;
    `below` and `above` are the lengths of the bars, `before` and `behind` those of the cost's. `filled` are the points
    that count as the front's, where others than those of `front` do."""

    cost: np.ndarray
    score: np.ndarray
    front: np.ndarray
    below: np.ndarray | None = None
    above: np.ndarray | None = None
    filled: np.ndarray | None = None
    before: np.ndarray | None = None
    behind: np.ndarray | None = None

    @property
    def marked(self) -> np.ndarray:
        """Return which points have a filled mark."""
        return self.front if self.filled is None else self.filled


# ---------------------------------------------------------------- names of networks


def draw_labels(axes: Axes, networks: pd.DataFrame, panel: Panel, color: list, points, obstacles, legend, few) -> None:
    """Name every network (or some of the front, when there are many) next to its point, apart if possible."""
    rows = np.arange(len(networks)) if few else _spread(np.flatnonzero(panel.marked), MOST_FRONT_LABELS)
    texts = []
    for i in rows:
        darker = tuple(0.75 * channel for channel in to_rgb(color[i]))
        spot = {"xytext": (0, 0), "textcoords": "offset points", "ha": "center", "va": "center"}
        style = {
            "fontsize": 7.8,
            "color": darker,
            "zorder": 6,
            "fontweight": "bold" if panel.marked[i] and few else "normal",
        }
        arrow = {"arrowstyle": "-", "color": darker, "lw": 0.7, "shrinkA": 0, "shrinkB": 3, "alpha": 0.8}
        spot |= {"arrowprops": arrow, "path_effects": HALO, "parse_math": False, "gid": "label"}
        texts.append(axes.annotate(networks["network"][i], (panel.cost[i], panel.score[i]), **spot, **style))
    boxes = [text.get_window_extent() for text in texts]
    size = np.array([[box.width, box.height] for box in boxes]).reshape(-1, 2)
    offsets = _place_labels(points[rows], size, points, obstacles, axes.bbox, legend)
    for text, offset, half in zip(texts, offsets, size / 2, strict=True):
        text.set_position(tuple(offset * 72 / axes.figure.dpi))
        text.arrow_patch.set_visible(bool(np.hypot(*np.clip(np.abs(offset) - half, 0, None)) > LEADER_FROM))


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most this many of the rows, evenly spread, the first and the last among them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]


def find_obstacles(axes: Axes, panel: Panel, lines: dict, levels: list[float]) -> np.ndarray:
    """Return pixels along the drawn lines, the front, the bars and the horizontal levels."""
    paths = [np.column_stack([panel.cost[rows], panel.score[rows]]) for rows in lines.values()]
    left, right = axes.get_xlim()
    paths += [np.array([[left, level], [right, level]]) for level in levels]
    at = np.flatnonzero(panel.front)
    x, y = np.append(panel.cost[at], right), panel.score[at]
    paths.append(np.column_stack([np.repeat(x, 2)[1:-1], np.repeat(y, 2)]))
    if panel.below is not None and lines:
        for x, y, below, above in zip(panel.cost, panel.score, panel.below, panel.above, strict=True):
            paths.append(np.array([[x, y - below], [x, y + above]]))
    dense = [np.zeros((0, 2))]
    for path in paths:
        pixels = axes.transData.transform(path) if len(path) else path
        for start, end in zip(pixels[:-1], pixels[1:], strict=True):
            dense.append(start + (end - start) * np.linspace(0, 1, max(2, int(np.hypot(*(end - start)) / 4)))[:, None])
    return np.concatenate(dense)


def _place_labels(anchors, size, points, obstacles, frame, legend) -> np.ndarray:
    """Choose offsets in pixels of the labels' centres from their anchors, one by one from a fixed set, in four rounds.

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
            cost = radius**1.3 + 40.0 * count_inside(low - 1, high + 1, obstacles) ** 0.6
            cost += 400.0 * count_inside(low - 4, high + 4, points)
            near = 0.65 * radius[:, None]  # a point nearer than the label's own would seem to be the one named
            cost += 30.0 * np.minimum(2, count_inside(low - near, high + near, points))
            cost += np.where(radius > LEADER_FROM, 80.0 * _count_near_leader(anchor, offset, points), 0)
            cost += 20.0 * _overlap(low - 2, high + 2, centres - halves, centres + halves)
            leaders = anchors[others] + chosen[others] * np.linspace(0.1, 0.7, 12)[:, None, None]
            cost += 150.0 * np.minimum(2, count_inside(low, high, leaders.reshape(-1, 2)))
            texts = centres + halves * np.array([[-0.8, 0], [-0.4, 0], [0, 0], [0.4, 0], [0.8, 0]])[:, None]
            cost += np.where(radius > LEADER_FROM, 60.0 * _count_near_leader(anchor, offset, texts.reshape(-1, 2)), 0)
            if legend is not None:
                cost += 20.0 * _overlap(low, high, legend.min[None], legend.max[None])
            cost += 1e5 * ((low < frame.min + 2) | (high > frame.max - 2)).any(axis=1)
            chosen[i] = offset[np.argmin(cost)]
            placed[i] = True
    return chosen


def _count_near_leader(anchor: np.ndarray, offset: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Count the points, other than the anchor, within 7 pixels of the line from the anchor to each offset."""
    others = points - anchor
    distance = np.hypot(*others.T)
    others = others[(distance > 1) & (distance < 160)]
    share = np.clip(offset @ others.T / (offset**2).sum(axis=1)[:, None], 0.1, 0.9)  # of the way to the nearest place
    gap = share[..., None] * offset[:, None] - others
    return (np.hypot(gap[..., 0], gap[..., 1]) < 7).sum(axis=1)


# ---------------------------------------------------------------- names of cliffs


def draw_cliff_names(
    axes: Axes, marks: Sequence[tuple[Cliff, float, str]], name_of: Callable[[Cliff, str], str]
) -> None:
    """Write each cliff's rise near the top of its step, off the lines, the other labels and their leaders, if it can
    be. A mark is a cliff with the MAdds (millions) at the top of its step, and its family."""
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
    """Return pixels along the lines drawn so far."""
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


# ---------------------------------------------------------------- boxes


def count_inside(low: np.ndarray, high: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Count the points that each box holds."""
    return ((points > low[:, None]) & (points < high[:, None])).all(axis=2).sum(axis=1)


def _overlap(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> np.ndarray:
    """Return the area that each box has in common with the other boxes, in all."""
    shared = np.minimum(high[:, None], other_high) - np.maximum(low[:, None], other_low)
    return np.clip(shared, 0, None).prod(axis=2).sum(axis=1)
