"""Photos and what a network says of each -> a contact sheet."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mnv2_sweep.plots.style import GREY, INK

COLUMNS, INCHES, TEXT_INCHES, TITLE_INCHES = 8, 1.5, 0.36, 0.45
LONGEST = 22  # signs below a photo


def plot_predictions(
    images: Sequence[np.ndarray], lines: Sequence[tuple[str, str]], sure: Sequence[bool], title: str
) -> Figure:
    """Draw images uint8 [height, width, 3], all of one size, with two lines below each; grey where it is not sure."""
    columns, rows = min(COLUMNS, len(images)), math.ceil(len(images) / COLUMNS)
    high = INCHES * images[0].shape[0] / images[0].shape[1]
    width, height = columns * INCHES, TITLE_INCHES + rows * (high + TEXT_INCHES)
    fig = Figure(figsize=(max(width, 5.0), height), facecolor="white")
    width = fig.get_size_inches()[0]
    fig.text(0.06 / width, 1 - 0.1 / height, title, fontsize=9, color=INK, va="top", parse_math=False)
    for at, (pixels, below, is_sure) in enumerate(zip(images, lines, sure, strict=True)):
        left = at % columns * INCHES + 0.06
        bottom = height - TITLE_INCHES - (at // columns + 1) * (high + TEXT_INCHES) + TEXT_INCHES
        axes = fig.add_axes((left / width, bottom / height, (INCHES - 0.12) / width, (high - 0.06) / height))
        axes.imshow(pixels, aspect="auto")
        axes.set_axis_off()
        text = "\n".join(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..." for line in below)
        colour = INK if is_sure else GREY
        fig.text(
            left / width, (bottom - 0.03) / height, text, fontsize=7, color=colour, va="top", linespacing=1.2,
            parse_math=False,
        )  # fmt: skip
    return fig
