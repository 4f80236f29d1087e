"""Activities -> a matplotlib Figure: the share of positive channels by layer, at the start and after training, against
1 / t (figure 7 of the MobileNetV2 paper)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnv2_sweep.analysis.stats import Facts
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import percent
from mnv2_sweep.paper.manifold import Activities, LayerActivity
from mnv2_sweep.plots.style import GREY, INK, SIZE_INCHES, clean_axes, join_facts, set_frame

COLORS = {"expansion": "#27459B", "depthwise": "#E07B1A"}
LAYERS = {"expansion": "expansion", "depthwise": "depthwise convolution"}


def plot_activity(activities: Activities, network: str, train_size: Size, seed: int, facts: Facts) -> Figure:
    """Draw the start on the left, after training on the right: a layer is its mean, one standard deviation, least and
    most."""
    fig = Figure(figsize=SIZE_INCHES, facecolor="white")
    panels = fig.subplots(1, 2, sharey=True)
    top1 = f"top-1 {percent(activities.top1)} %"
    caption = [
        join_facts(facts, [f"trained at {train_size} px", f"seed {seed}", top1]),
        f"Channels above zero after each ReLU6, all positions of the same {activities.images:,} validation images. "
        "At the start batch norm has the statistics of these images, as it has none of its own yet.",
        "Lemma 2 of appendix A: an expansion by t can be undone where at least 1 / t of its channels are positive; for "
        f"depthwise layers 1 / t is the paper's line, not the lemma's. {_clipped(activities)}",
    ]
    set_frame(fig, f"{network} on {facts.data}: positive channels by layer, against 1 / t", caption)
    fig.subplots_adjust(wspace=0.06)
    for axes, layers, when in zip(
        panels, (activities.start, activities.trained), ("At the start", "After training"), strict=True
    ):
        clean_axes(axes)
        _draw_layers(axes, layers)
        axes.set_title(f"{when}: {_verdict(layers)}", loc="left", fontsize=11)
    panels[0].set_ylabel("positive channels (%)")
    panels[0].set_ylim(0, 100)
    panels[0].legend(loc="upper left", fontsize=8, frameon=False, labelcolor=INK, ncols=2)
    return fig


def _draw_layers(axes: Axes, layers: Sequence[LayerActivity]) -> None:
    at = np.arange(1, len(layers) + 1)
    for kind, color in COLORS.items():
        chosen = np.array([layer.kind == kind for layer in layers])
        if not chosen.any():
            continue
        of_kind = [layer for layer in layers if layer.kind == kind]
        mean, low, high, half = (
            np.array([100 * getattr(layer, name) / layer.channels for layer in of_kind])
            for name in ("mean", "low", "high", "deviation")
        )
        x = at[chosen]
        axes.vlines(x, low, high, color=color, lw=1.1, zorder=2)
        axes.vlines(x, mean - half, mean + half, color=color, lw=4.5, alpha=0.45, zorder=2)
        axes.plot(x, mean, "o", ms=4.5, color=color, zorder=4, label=f"{LAYERS[kind]}: mean")
    axes.vlines([], [], [], color=GREY, lw=4.5, alpha=0.45, label="one standard deviation")
    axes.vlines([], [], [], color=GREY, lw=1.1, label="least and most")
    threshold = [100 * layer.needed / layer.channels for layer in layers]
    edges = np.arange(len(layers) + 1) + 0.5
    axes.stairs(threshold, edges, baseline=None, color=INK, lw=1.3, ls=(0, (4, 2)), zorder=3, label="1 / t")
    axes.set_xlim(0.2, len(layers) + 0.8)
    axes.grid(False, axis="x")
    blocks = [layer.name.split(".")[1] for layer in layers]
    places = {block: np.mean([x for x, of in zip(at, blocks, strict=True) if of == block]) for block in blocks}
    axes.set_xticks(list(places.values()), list(places))
    axes.set_xlabel("block of the network (features.N)")


def _verdict(layers: Sequence[LayerActivity]) -> str:
    """Say how many expansions, which the lemma is about, fall below 1 / t."""
    expansions = [layer for layer in layers if layer.kind == "expansion"]
    below = [layer for layer in expansions if layer.low < layer.needed]
    if not below:
        return f"no expansion below 1 / t at any position ({len(expansions)} of them)"
    worst = max(layer.below for layer in below)
    return f"{len(below)} of {len(expansions)} expansions below 1 / t somewhere, at most {_percent(worst)} of positions"


def _clipped(activities: Activities) -> str:
    most = max(layer.clipped for layer in activities.trained)
    if not most:
        return "No channel is at ReLU6's upper end after training."
    return f"After training at most {_percent(most)} of a layer's channels are at ReLU6's upper end."


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else "100 %"
