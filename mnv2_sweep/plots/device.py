"""A profile and its model -> a matplotlib Figure: measured against predicted, what is left, and the noise beside it.

Every network is predicted from all others. Nothing here reads a file.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mnv2_sweep.base.text import count_noun, percent
from mnv2_sweep.devices.latency import LatencyModel, relative_quantiles
from mnv2_sweep.devices.profile import Profile
from mnv2_sweep.plots.style import GREY, INK, SIZE_INCHES, clean_axes, set_frame

POINTS, NOISE = "#3B6FB6", "#E88A1A"


def plot_device(profile: Profile, model: LatencyModel) -> Figure:
    """Draw on the left measured against predicted latency, then the relative errors over the measured latency, on the
    right how many networks have less than an error, and than the noise of the rounds."""
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    panels = fig.subplots(1, 3, width_ratios=(1, 1.15, 1))
    errors, noise = relative_quantiles(model.errors), relative_quantiles(profile.noise)
    caption = [
        f"{profile.title}; {count_noun(len(profile.networks), 'network')} of {profile.space}, "
        f"{count_noun(profile.rounds, 'round')}. Each network is predicted from all others, by non-negative least "
        "squares over what its layers do.",
        f"Error {percent(errors[0])} % (median), {percent(errors[1])} % (95 % of networks); noise, between even and "
        f"odd rounds, {percent(noise[0])} % and {percent(noise[1])} %."
        if not profile.source
        else f"Published by others, not measured here: {profile.source}. Error {percent(errors[0])} % (median), "
        f"{percent(errors[1])} % (95 % of networks); nothing is known of the noise.",
    ]
    set_frame(fig, f"Latency on {profile.name}", caption)
    for axes in panels:
        clean_axes(axes)
    measured, predicted = 1e3 * model.seconds, 1e3 * model.left_out
    _draw_pairs(panels[0], measured, predicted)
    _draw_errors(panels[1], measured, model)
    _draw_shares(panels[2], model.errors, profile.noise)
    fig.subplots_adjust(wspace=0.28)
    return fig


def _draw_pairs(axes: Axes, measured: np.ndarray, predicted: np.ndarray) -> None:
    ends = min(measured.min(), predicted.min()) / 1.15, max(measured.max(), predicted.max()) * 1.15
    axes.plot(ends, ends, color=GREY, lw=1, zorder=2)
    axes.plot(measured, predicted, "o", color=POINTS, ms=4.5, alpha=0.8, zorder=3, gid="networks")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        _set_ticks(axis, *ends)
    axes.set_xlabel("measured (ms, log scale)")
    axes.set_ylabel("predicted (ms, log scale)")
    axes.set_title("Measured and predicted", loc="left", fontsize=11, color=INK)


def _set_ticks(axis: Axis, low: float, high: float) -> None:
    """Put ticks at 1, 2, 5, 10 and so on."""
    ticks = [step * 10.0**power for power in range(-4, 6) for step in (1, 2, 5)]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.6g}"))


def _draw_errors(axes: Axes, measured: np.ndarray, model: LatencyModel) -> None:
    margin = 100 * (model.margin - 1)
    axes.axhspan(100 * (1 / model.margin - 1), margin, color="#EEF3FA", lw=0, zorder=1)
    axes.axhline(0, color=GREY, lw=1, zorder=2)
    axes.plot(measured, 100 * model.errors, "o", color=POINTS, ms=4.5, alpha=0.8, zorder=3, gid="errors")
    axes.set_xscale("log")
    _set_ticks(axes.xaxis, measured.min(), measured.max())
    axes.set_xlabel("measured (ms, log scale)")
    axes.set_ylabel("predicted above measured (%)")
    axes.set_title("What is left; shaded: 95 %", loc="left", fontsize=11, color=INK)


def _draw_shares(axes: Axes, errors: np.ndarray, noise: np.ndarray) -> None:
    """Draw the share of networks below each size of error, and of noise."""
    for values, color, label in ((np.abs(errors), POINTS, "error of the model"), (noise, NOISE, "noise of the rounds")):
        if np.isnan(values).any():
            continue
        steps = np.arange(1, len(values) + 1) / len(values)
        axes.step(100 * np.sort(values), 100 * steps, where="post", color=color, lw=1.8, label=label, gid=label)
    axes.set_ylim(0, 103)
    axes.set_xlim(left=0)
    axes.set_xlabel("at most (%)")
    axes.set_ylabel("networks (%)")
    axes.legend(loc="lower right", fontsize=9, frameon=False, labelcolor=INK)
    axes.set_title("Error beside noise", loc="left", fontsize=11, color=INK)
