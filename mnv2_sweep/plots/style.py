"""What the figures share: title, caption and axes in one style; a Figure -> .png and .svg files.

Nothing here opens a window. Figures are made with the object interface (no pyplot: slow to import, and it holds
every figure it made).
"""

import textwrap
import warnings
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from mnv2_sweep.analysis.stats import Facts
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import remove_abandoned, write_whole
from mnv2_sweep.trials.ways import WAYS

PNG_DPI = 200
SIZE_INCHES = (12, 5.6)
INK, GREY = "#222222", "#767676"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "d")
HALO = [withStroke(linewidth=2.5, foreground="white")]  # keeps text readable where it must cross a line


def set_frame(fig: Figure, title: str, caption: Sequence[str]) -> None:
    """Write the title on top, the caption below (long lines broken), and leave the panels the room between."""
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


def family_markers(families: Sequence[str]) -> dict[str, str | tuple]:
    """Return a marker for each family, all different however many there are: after MARKERS come stars."""
    stars = [(points, 1, 0) for points in range(5, 5 + max(0, len(families) - len(MARKERS)))]
    return dict(zip(families, (*MARKERS, *stars)[: len(families)], strict=True))


def family_dashes(families: Sequence[str]) -> dict[str, str | tuple]:
    """Return the dashes of each family's lines, all different: from the fourth on with one dot more than before."""
    dotted = [(0, (6, 2, *(1, 2) * dots)) for dots in range(1, max(0, len(families) - 3) + 1)]
    return dict(zip(families, ("-", (0, (5, 2)), (0, (1, 1.4)), *dotted)[: len(families)], strict=True))


def clean_axes(axes: Axes) -> None:
    """Draw a light grid behind the data, and no frame on the top and the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    axes.grid(True, color="#EDEDED", lw=0.8, zorder=0)
    axes.set_axisbelow(True)


def join_facts(facts: Facts, more: list[str]) -> str:
    """Return the caption's first line; facts that are not known are left out."""
    images = None if facts.train_images is None else f"{facts.train_images:,} training images, repeats counted"
    if images and facts.training in WAYS:
        images += WAYS[facts.training].caption
    parts = [f"Data {facts.data}", f"recipe {facts.recipe}", images, *more, facts.device and f"on {facts.device}"]
    return "; ".join(part for part in parts if part) + "."


def plot_contact_sheet(images: np.ndarray, class_names: Sequence[str], title: str | None = None) -> Figure:
    """Draw images [rows, columns, height, width, 3] (bytes) as a sheet, one class a row, its name on the left."""
    rows, columns, high, wide = images.shape[:4]
    gap = max(1, min(high, wide) // 24)
    sheet = np.full((rows * (high + gap) - gap, columns * (wide + gap) - gap, 3), 255, dtype=np.uint8)
    for row, column in np.ndindex(rows, columns):
        y, x = row * (high + gap), column * (wide + gap)
        sheet[y : y + high, x : x + wide] = images[row, column]
    inches = min(0.9, 10 / columns)  # the width of a column; a row is as its images are
    across, down = inches * columns, inches * rows * high / wide
    margin, top = 0.35 + 0.088 * max(map(len, class_names)), 0.55 if title else 0.1
    fig = Figure(figsize=(margin + across + 0.1, top + down + 0.1), facecolor="white")
    width, height = fig.get_size_inches()
    axes = fig.add_axes((margin / width, 0.1 / height, across / width, down / height))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    centres = [row * (high + gap) + high / 2 - 0.5 for row in range(rows)]
    axes.set_yticks(centres, class_names, fontsize=10, parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if title:
        fig.text(
            0.1 / width, 1 - 0.15 / height, title, fontsize=13, fontweight="bold", color=INK, va="top", parse_math=False
        )
    return fig


def save_figure(fig: Figure, *stems: Path) -> list[Path]:
    """Write <stem>.png and <stem>.svg of each stem, each whole or not at all; equal figures give equal bytes."""
    written, drawn = [], {}
    for stem in stems:
        try:
            remove_abandoned(stem.parent)
            for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                drawn[ending] = drawn.get(ending) or _draw(fig, ending, metadata)
                path = stem.with_name(f"{stem.name}.{ending}")
                write_whole(path, drawn[ending])
                written.append(path)
        except OSError as error:
            raise StoreError(
                f"{stem.parent}: plots can't be written here ({error}); choose another --plots folder"
            ) from error
    return written


def _draw(fig: Figure, ending: str, metadata: dict) -> bytes:
    file = BytesIO()
    _find_letters(fig)
    with rc_context({"svg.hashsalt": "mnv2_sweep"}), warnings.catch_warnings():
        # No font here has them: then boxes stand for them.
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from|Matplotlib currently does not support")
        fig.savefig(file, format=ending, dpi=PNG_DPI, metadata=metadata)
    return file.getvalue()


def _find_letters(fig: Figure) -> None:
    """Let texts whose letters the usual font lacks fall back on fonts of the system that have them."""
    for text in fig.findobj(Text):
        missing = frozenset(map(ord, text.get_text())) - _letters(findfont(FontProperties())) - {ord("\n")}
        if missing:
            text.set_fontfamily([*FontProperties().get_family(), *_find_fonts(missing)])


@cache
def _find_fonts(missing: frozenset[int]) -> tuple[str, ...]:
    """Return as few families of the system's fonts as have the letters, so far as any has."""
    chosen = []
    for font in sorted(fontManager.ttflist, key=lambda font: (font.weight != 400, font.style != "normal", font.name)):
        if missing and (found := missing & _letters(font.fname)):
            chosen.append(font.name)
            missing -= found
    return tuple(chosen)


@cache
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # it is gone, or no font
        return frozenset()
