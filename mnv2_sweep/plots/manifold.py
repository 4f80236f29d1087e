"""The spiral through ReLU (figure 1) and what many random matrices lose -> a matplotlib Figure.

Above, the spiral and its images brought back to the plane, one matrix for each n; below, left the share of points that
collapse against n with appendix A's formula, right the error of the way back. Nothing here computes a loss.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mnv2_sweep.paper.manifold import (
    DIRECTIONS,
    INPUTS,
    TURNS,
    Embedding,
    Loss,
    coarse_bound_follows,
    collapsed_bound,
    collapsed_fraction,
    spiral_points,
)
from mnv2_sweep.plots.style import GREY, INK, clean_axes, set_frame

HEIGHT = 8.9  # inches; the width is that of the other figures
KEPT_COLOR, LOST_COLOR, MERGED_COLOR, ACTIVE_COLOR = "#27459B", "#E07B1A", "#8A2C8A", "#1E8A5B"
SCALED_COLOR, PALE = "#6E9BD8", "#DDDDDD"
LEAST_FRACTION = 1e-6  # below it the axis of fractions runs straight down to zero
MOST_ERROR = 1.6  # where the axis of errors ends


def plot_manifold(embeddings: Sequence[Embedding], losses: Sequence[Loss], seed: int) -> Figure:
    """Draw embeddings and losses in order of n; all of them from matrices of that seed."""
    fig = Figure(figsize=(12, HEIGHT), facecolor="white")
    set_frame(fig, "What ReLU destroys: a spiral of the plane in n dimensions and back", _caption(losses, seed))
    bottom = _place_words(fig)
    above = fig.add_gridspec(1, len(embeddings) + 1, left=0.012, right=0.988, top=1 - 0.86 / HEIGHT, wspace=0.06,
                             bottom=1 - 2.72 / HEIGHT)  # fmt: skip
    below = fig.add_gridspec(1, 2, left=0.082, right=0.985, top=1 - 3.3 / HEIGHT, bottom=bottom, wspace=0.17)
    first, *others = (fig.add_subplot(cell) for cell in above)
    _draw_curve(first, spiral_points(), np.zeros(TURNS * DIRECTIONS, bool))
    first.set_title("input: the spiral", fontsize=11)
    for axes, embedding in zip(others, embeddings, strict=True):
        _draw_curve(axes, embedding.back, embedding.collapsed)
        axes.set_title(f"n = {embedding.dimensions}: {_percent(embedding.collapsed.mean())} collapsed", fontsize=11)
    fractions, errors = (fig.add_subplot(cell) for cell in below)
    for axes in (fractions, errors):
        _set_n_axis(axes, [loss.dimensions for loss in losses])
    _draw_fractions(fractions, losses)
    _draw_errors(errors, losses)
    return fig


def _place_words(fig: Figure) -> float:
    """Place title and caption at their distances in inches, whatever the height; return where the panels end."""
    caption = next(text for text in fig.texts if text.get_gid() == "caption")
    caption.set_y(0.14 / HEIGHT)
    fig.texts[0].set_y(1 - 0.16 / HEIGHT)
    return (0.72 + 0.175 * (caption.get_text().count("\n") + 1)) / HEIGHT


def _draw_curve(axes: Axes, curve: np.ndarray, collapsed: np.ndarray) -> None:
    """Draw [2, points] in two colours, the true spiral behind it."""
    axes.plot(*spiral_points(), color=PALE, lw=1, zorder=1)
    axes.plot(*np.where(collapsed, curve, np.nan), color=LOST_COLOR, lw=1.8, zorder=2, gid="collapsed")
    axes.plot(*np.where(collapsed, np.nan, curve), color=KEPT_COLOR, lw=1.5, zorder=3, gid="kept")
    if (np.hypot(*curve) == 0).any():
        axes.plot(0, 0, "o", ms=4, color=LOST_COLOR, zorder=4)
    reach = 1.06 * max(1.0, np.abs(curve).max())
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_color("#C9C9C9")


def _set_n_axis(axes: Axes, dimensions: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(dimensions[0] / 1.09, dimensions[-1] * 1.09)
    axes.xaxis.set_major_locator(FixedLocator(dimensions))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:.0f}"))
    axes.set_xlabel("n, the dimensions in which ReLU is applied (log scale)")
    clean_axes(axes)


def _draw_fractions(axes: Axes, losses: Sequence[Loss]) -> None:
    n = np.array([loss.dimensions for loss in losses])
    every = np.arange(n[0], n[-1] + 1)
    axes.set_yscale("symlog", linthresh=LEAST_FRACTION, linscale=0.6)
    axes.set_ylim(-LEAST_FRACTION / 4, 1.6)
    axes.yaxis.set_major_locator(FixedLocator([0, *(10.0**e for e in range(-6, 1))]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda fraction, _: _percent(fraction)))
    spread = [loss.collapsed for loss in losses]
    mean = np.array([one.mean for one in spread])
    bars = [mean - [one.low for one in spread], [one.high for one in spread] - mean]
    style = {"fmt": "D", "color": LOST_COLOR, "ms": 5.5, "elinewidth": 1.3, "capsize": 3, "clip_on": False}
    axes.errorbar(n, mean, bars, zorder=5, label="collapsed: mean, 95 % interval", **style)
    within = [one.least for one in spread], [one.most for one in spread]
    axes.vlines(n, *within, color=LOST_COLOR, alpha=0.25, lw=7, zorder=1, label="collapsed: 90 % of the matrices")
    formula = [collapsed_fraction(int(m), INPUTS) for m in every]
    axes.plot(every, formula, color=INK, lw=1.3, zorder=2, label="theorem 1: mean, (n + 1) / 2$^n$")
    bound = np.array([collapsed_bound(int(m), INPUTS) for m in every])
    told = bound < 1
    axes.plot(every[told], bound[told], color=INK, lw=1, ls=(0, (5, 2)), zorder=2, label="its bound, n$^3$ / 2$^n$")
    style = {"ls": "", "ms": 5.5, "mfc": "white", "mew": 1.3, "clip_on": False, "zorder": 4}
    merged, silent = ([getattr(loss, name).mean for loss in losses] for name in ("merged", "silent"))
    axes.plot(n, merged, marker="o", color=MERGED_COLOR, **style, label="merged with another point: mean")
    axes.plot(n, silent, marker="s", color=GREY, **style, label="sent to zero: mean")
    axes.plot(every, 0.5**every, color=GREY, lw=1, zorder=2, label="2$^{-n}$")
    axes.legend(loc="lower left", fontsize=8, edgecolor="none", framealpha=0.5, labelcolor=INK, handlelength=2.2)
    axes.set_ylabel("share of the spiral's points (log scale down to 10$^{-6}$)")
    axes.set_title("Lost points, measured and by appendix A", loc="left", fontsize=11)


def _draw_errors(axes: Axes, losses: Sequence[Loss]) -> None:
    n = [loss.dimensions for loss in losses]
    rows = (
        ("inverse_error", KEPT_COLOR, "o", "T$^+$, as in figure 1"),
        ("scaled_error", SCALED_COLOR, "s", "T$^+$ and the one factor that fits best"),
        ("active_error", ACTIVE_COLOR, "D", "least squares on the positive rows"),
    )
    for name, color, marker, label in rows:
        spread = [getattr(loss, name) for loss in losses]
        within = [error.least for error in spread], [error.most for error in spread]
        axes.fill_between(n, *within, color=color, alpha=0.14, lw=0, zorder=1)
        style = {"color": color, "marker": marker, "ms": 5, "lw": 1.4, "clip_on": False, "zorder": 4}
        axes.plot(n, [error.median for error in spread], label=label, **style)
    axes.axhline(0.5, color=GREY, lw=1.2, ls=":", zorder=1, label="1/2, below which T$^+$ alone never comes")
    axes.set_ylim(0, MOST_ERROR)
    axes.legend(loc="upper right", fontsize=8.5, frameon=False, labelcolor=INK, handlelength=2.2)
    axes.set_ylabel("error |x' - x| / |x|, root mean square")
    axes.set_title("Error of the way back: median and 90 % of the matrices", loc="left", fontsize=11)


def _caption(losses: Sequence[Loss], seed: int) -> list[str]:
    matrices, points = losses[0].matrices, TURNS * DIRECTIONS
    none = [loss.dimensions for loss in losses if loss.collapsed.mean == 0]
    nothing = f" At n = {', '.join(map(str, none))} no point of any matrix collapsed." if none else ""
    tells = next(m for m in range(2, 100) if collapsed_bound(m, INPUTS) < 1)
    follows = next(m for m in range(2, 100) if coarse_bound_follows(m, INPUTS))
    bounds = (
        f"Its bound n^3 / 2^n is above 1 up to n = {tells - 1}; the last one, 2^(-n/2), follows from n = {follows} on."
    )
    over = [loss for loss in losses if loss.inverse_error.most > MOST_ERROR]
    ends = ", ".join(f"{loss.inverse_error.most:.1f} at n = {loss.dimensions}" for loss in over)
    return [
        f"T: n x 2, standard normal, seed {seed}; T+: pseudo-inverse (the paper: inverse). Above: T+ ReLU(Tx) for "
        f"the first T of each n, true spiral pale. Below: {matrices:,} T of each n, {points:,} points.",
        "Collapsed (orange): fewer than two rows of Tx are positive, so ReLU flattens the plane around x. Theorem 1 of "
        f"appendix A gives the mean over matrices, exactly; a single one may lose far more or less. {bounds}{nothing}",
        "Merged: the image is also that of another point of the spiral. Sent to zero: no row is positive."
        + (f" The band of T+ ends at {ends}." if over else ""),
    ]


def _percent(fraction: float) -> str:
    """Return a fraction in percent, as in "75 %", "0.05 %"; zero as "0"."""
    return f"{100 * fraction:.2g} %" if 0 < fraction < 0.995 else "0" if not fraction else "100 %"
