"""Trials of ablations that nobody ran."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.ablation import Change, Protocol, plan_comparisons
from mnv2_sweep.analysis.differences import Reading, find_readings
from mnv2_sweep.analysis.paired import ALWAYS, LEVEL, ONCE, estimate_difference, find_failed
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.trials.terms import pack_terms

BASE = ArchSpec(width=0.5, resolution=96)


def make_trials(top1s: Mapping[ArchSpec, Sequence[float | None]], seconds: float = 30.0) -> pd.DataFrame:
    """A row a trial as `frame` makes it, seeds 0, 1, ...; top-1 in percent, None is a failed trial."""
    rows = []
    for arch, values in top1s.items():
        for seed, top1 in enumerate(values):
            done = top1 is not None
            rows.append(
                {
                    "trial_id": f"{arch_key(arch)}-{seed}",
                    "arch_key": arch_key(arch),
                    "network": arch_label(arch),
                    "seed": seed,
                    "madds": 0,
                    "status": "done" if done else "failed",
                    "val_top1": top1 / 100 if done else np.nan,
                    "val_images": 1000 if done else np.nan,
                    "train_images": 8000 if done else np.nan,
                    "train_size": 24,
                    "seconds": seconds if done else np.nan,
                    "data": "shapes",
                    "data_classes": 10,
                    "training": "alone",
                    "recipe": "short",
                    "device": "cpu" if done else None,
                }
            )
    return pd.DataFrame(rows)


def read_changes(
    values: Mapping[Change, Sequence[float | None]],
    base_values: Sequence[float | None],
    base: ArchSpec = BASE,
    match: str | None = None,
    looks: str = ONCE,
    images: int = 0,
) -> list[Reading]:
    """Readings of some changes of one base; a variant at the same cost has the values of the one as it is. With
    `images`, of that many it is on record which ones were right: the same ones in the main."""
    protocol = Protocol(plan_comparisons([base], list(values), match)[0], looks)
    top1s = {base: base_values}
    for one in protocol.comparisons:
        top1s[one.variant] = next(values[change] for change in values if change.name == one.change.name)
    trials = make_trials(top1s)
    return find_readings(trials, protocol, draw_each(trials, images) if images else None)


def draw_each(trials: pd.DataFrame, images: int) -> dict[str, bytes]:
    """What networks made of images, by trial: as many right as their top-1 says, harder ones more rarely."""
    random = np.random.default_rng(0)
    ease, each = random.standard_normal(images), {}
    for trial in trials[trials["status"] == "done"].to_dict("records"):
        order = np.argsort(ease + 0.5 * random.standard_normal(images))[::-1]
        right = np.zeros(images, bool)
        right[order[: round(images * trial["val_top1"])]] = True
        each[trial["trial_id"]] = pack_terms({"val": {"top1": right, "loss": 1.0 - right}})
    return each


def decide_carefully(scores: np.ndarray, true: float = 0.0) -> float:
    """Return the share of experiments [experiments, 2, seeds] that are decided with seeds that look failed and without
    them, where the difference is `true`."""
    decided = 0
    for one in scores:
        for n in range(3, scores.shape[2] + 1):
            found = find_failed(one[:, :n])
            kept = np.delete(one[:, :n], [place for _, place in found], axis=1)
            p = [estimate_difference(part[0] - part[1] - true, ALWAYS).p for part in (one[:, :n], kept)]
            if max(p) <= LEVEL:
                decided += 1
                break
    return decided / len(scores)
