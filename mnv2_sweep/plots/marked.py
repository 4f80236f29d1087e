"""Images with what is marked in them, boxes or masks -> a contact sheet with a colour a class."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mnv2_sweep.plots.style import INK

COLUMNS, INCHES, GAP_INCHES = 6, 1.75, 0.06
TOP_INCHES, KEY_INCHES = 0.42, 0.24  # of the title, and of a line of the key
KEY_COLUMNS, MOST_KEYS, LONGEST_KEY = 5, 20, 26
SHARE = 0.5  # of a class's colour over an image
UNSAID = (255, 255, 255)


def class_colours(count: int) -> np.ndarray:
    """Return a colour for each class, [count, 3] from 0 to 1; from the 21st on they come again."""
    palette = np.array([*colormaps["tab10"].colors, *colormaps["tab20b"].colors[::2]])
    return palette[np.arange(count) % len(palette)]


def plot_boxes(
    images: np.ndarray, boxes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], classes: Sequence[str], title: str
) -> Figure:
    """Draw images, uint8 [N, h, w, 3], and in each its boxes: corners [M, 4] in pixels, classes [M], and which ones are
    dashed [M]."""
    colours = class_colours(len(classes))
    fig, panels = _begin(images, classes, colours, title)
    for axes, (corners, own, dashed) in zip(panels, boxes, strict=True):
        for (left, top, right, bottom), number, is_dashed in zip(corners.tolist(), own, dashed, strict=True):
            axes.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, linewidth=1.1,
                    edgecolor=colours[number], linestyle=(0, (2, 1.5)) if is_dashed else "-",
                )
            )  # fmt: skip
    return fig


def plot_masks(
    images: np.ndarray, masks: np.ndarray, ignored: int, classes: Sequence[str], plain: bool, title: str
) -> Figure:
    """Draw images, uint8 [N, h, w, 3], under the colours of their masks [N, h, w]: white where nothing is said
    (`ignored`), and, where `plain`, nothing over class 0."""
    colours = class_colours(len(classes))
    levels = np.full((256, 3), UNSAID, np.float64)
    levels[: len(classes)] = colours * 255
    shown = SHARE * levels[masks] + (1 - SHARE) * images
    if plain:
        shown[masks == 0] = images[masks == 0]
    shown[masks == ignored] = UNSAID
    first = int(plain)
    keys = [*classes[first:], "nothing is said"]
    return _begin((shown + 0.5).astype(np.uint8), keys, np.array([*colours[first:], (1, 1, 1)]), title)[0]


def _begin(
    images: np.ndarray, keys: Sequence[str], colours: np.ndarray, title: str
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Return a figure with the images, the title and what each colour means, and the panel of each image."""
    columns, rows = min(COLUMNS, len(images)), math.ceil(len(images) / COLUMNS)
    shown = [*keys[:MOST_KEYS], *([f"and {len(keys) - MOST_KEYS} more"] if len(keys) > MOST_KEYS else [])]
    lines = math.ceil(len(shown) / KEY_COLUMNS)
    high, above = INCHES * images.shape[1] / images.shape[2], TOP_INCHES + KEY_INCHES * lines
    width, height = max(columns * INCHES, KEY_COLUMNS * 2.1), above + rows * high
    fig = Figure(figsize=(width, height), facecolor="white")
    fig.text(
        0.06 / width, 1 - 0.1 / height, title, fontsize=10, fontweight="bold", color=INK, va="top", parse_math=False
    )
    for place, name in enumerate(shown):
        x, y = 0.06 + place % KEY_COLUMNS * 2.1, TOP_INCHES + place // KEY_COLUMNS * KEY_INCHES
        if place < min(MOST_KEYS, len(keys)):
            fig.patches.append(
                Rectangle(
                    (x / width, 1 - (y + 0.13) / height), 0.16 / width, 0.12 / height, transform=fig.transFigure,
                    facecolor=colours[place], edgecolor=INK, linewidth=0.5, figure=fig,
                )
            )  # fmt: skip
        text = name if len(name) <= LONGEST_KEY else f"{name[: LONGEST_KEY - 3]}..."
        fig.text((x + 0.22) / width, 1 - y / height, text, fontsize=8, color=INK, va="top", parse_math=False)
    panels = []
    for place, pixels in enumerate(images):
        left, bottom = place % COLUMNS * INCHES, height - above - (place // COLUMNS + 1) * high
        inner = (INCHES - GAP_INCHES) / width, (high - GAP_INCHES) / height
        axes = fig.add_axes(((left + 0.03) / width, bottom / height, *inner))
        axes.imshow(pixels, aspect="auto")
        axes.set_axis_off()
        panels.append(axes)
    return fig, panels
