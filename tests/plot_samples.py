"""Trials that nobody ran, and the words of a figure."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mnv2_sweep.analysis.stats import Facts
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.trials.executed import executed_fraction, executed_network
from mnv2_sweep.trials.recipe import RECIPES

FACTS = Facts("shapes", "short", train_images=8000, classes=10, device="cpu")
PAPER = [checkpoint.arch for checkpoint in CHECKPOINTS]


def make_trials(archs: list[ArchSpec], seeds: int = 1, failed: tuple = (), scale: float = 0.25) -> pd.DataFrame:
    """Trials whose top-1 grows with MAdds and differs between seeds; `failed` holds pairs (network, seed)."""
    rows, recipe = [], replace(RECIPES["short"], input_scale=scale)
    for i, arch in enumerate(archs):
        cost = count_cost(arch)
        for seed in range(seeds):
            done = (i, seed) not in failed
            top1 = 0.15 + 0.2 * np.log10(cost.madds / 1e6) + 0.01 * seed
            rows.append(
                {
                    "trial_id": f"{i}-{seed}",
                    "seed": seed,
                    "status": "done" if done else "failed",
                    "network": arch_label(arch),
                    "arch_key": arch_key(arch),
                    "family": arch.family,
                    "width": arch.width,
                    "resolution": arch.resolution,
                    "train_size": round(arch.resolution * scale),
                    "recipe": "short",
                    "data": "shapes",
                    "data_classes": 10,
                    "training": "alone",
                    **{name: top1 if done else np.nan for name in ("val_top1", "test_top1")},
                    **{name: 1000 if done else np.nan for name in ("val_images", "test_images", "train_images")},
                    **{name: 1.0 for name in ("seconds", "images_per_second", "peak_memory_bytes")},
                    "device": "cpu" if done else None,
                    "madds": cost.madds,
                    "params": cost.params,
                    "peak_activation_bytes": cost.peak_activation_bytes,
                    "depth": cost.depth,
                    "executed_madds": count_cost(executed_network(arch, recipe)).madds,
                    "executed_fraction": executed_fraction(arch, recipe),
                }
            )
    return pd.DataFrame(rows)


def labels(axes) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_gid() == "label"]


def caption(fig: Figure) -> str:
    return next(text.get_text() for text in fig.texts if text.get_gid() == "caption").replace("\n", " ")


def words(fig: Figure) -> str:
    axes = [text for panel in fig.axes for text in (*panel.texts, panel.title, panel.xaxis.label, panel.yaxis.label)]
    loc_left = [panel.get_title(loc="left") for panel in fig.axes]
    return " | ".join([text.get_text() for text in (*fig.texts, *axes)] + loc_left)


def count_bars(axes) -> int:
    return sum(isinstance(artist, LineCollection) for artist in axes.collections)
