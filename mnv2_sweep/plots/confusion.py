"""What a network took each class for -> a matplotlib Figure: a row a class, as shares of its images."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from mnv2_sweep.analysis.classes import Given
from mnv2_sweep.base.text import count_noun, printable
from mnv2_sweep.plots.style import GREY, INK

MOST_NAMED, MOST_NUMBERS = 60, 24  # classes whose names, and whose numbers, are drawn
LONGEST_NAME = 20
SHARES = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", "#A9C4DE", "#27459B", "#0C1F44"])


def plot_confusion(given: Given, title: str, caption: str) -> Figure:
    """Draw the confusion matrix of a split: row by row the share of a class's images that were given each class, means
    over seeds, in percent. A class that no image was given has its name in brackets."""
    confusion, classes = given.confusion(), len(given.truth.classes)
    images = confusion.sum(1)
    shares = np.divide(confusion, images[:, None], out=np.zeros_like(confusion), where=images[:, None] > 0)
    is_given = confusion.sum(0) > 0
    side = float(np.clip(0.36 * classes, 3.6, 9.0))
    names = [_shorten(name) for name in given.truth.classes]
    margin = 0.6 + 0.085 * max(map(len, names)) if classes <= MOST_NAMED else 0.7
    width, height = margin + side + 0.9, margin + side + 1.1
    fig = Figure(figsize=(width, height), facecolor="white")
    axes = fig.add_axes((margin / width, (margin + 0.4) / height, side / width, side / height))
    image = axes.imshow(100 * shares, cmap=SHARES, vmin=0, vmax=100, interpolation="nearest")
    if classes <= MOST_NAMED:
        size = min(9.0, 60 * side / classes)
        bracketed = [name if shown else f"({name})" for name, shown in zip(names, is_given, strict=True)]
        axes.set_xticks(range(classes), bracketed, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(classes), names, fontsize=size, parse_math=False)
    if classes <= MOST_NUMBERS:
        for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
            color = "white" if shares[row, column] > 0.45 else INK
            text = f"{100 * shares[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color, gid="share")
    axes.tick_params(length=0)
    axes.spines[:].set_color(GREY)
    axes.set_xlabel("class that was given")
    axes.set_ylabel("class of the image")
    bar = fig.add_axes(((margin + side + 0.15) / width, (margin + 0.4) / height, 0.15 / width, side / height))
    fig.colorbar(image, cax=bar).set_label("% of the class's images", fontsize=8)
    style = {"color": INK, "va": "top", "parse_math": False}
    fig.text(
        0.1 / width, 1 - 0.1 / height, title, fontsize=min(11, 110 * width / len(title)), fontweight="bold", **style
    )
    fig.text(0.1 / width, 1 - 0.36 / height, caption, fontsize=8, gid="caption", **style)
    return fig


def confusion_words(given: Given) -> str:
    """Return the caption: of how many images and seeds, and which classes no image was given."""
    images, predicted, _ = given.count()
    split = {"val": "validation"}.get(given.split, given.split)
    text = f"{images.sum():,} {split} images, mean over {count_noun(given.seeds, 'seed')}"
    never = int(((images > 0) & (predicted == 0)).sum())
    return f"{text}; {never} of {len(images)} classes never given, in brackets" if never else text


def _shorten(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
