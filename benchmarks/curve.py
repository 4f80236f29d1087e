"""How well does the main job reproduce the published order, in how many minutes, and what do width and resolution gain?

    mnv2-sweep run spaces/paper_grid.yaml --seeds 12 --name twelve
    python benchmarks/curve.py results/twelve

A sweep of many seeds is many jobs of fewer: with 12 seeds, twelve jobs of one seed, four of three, two of six. Each
job's accuracies are the means of its seeds, and tau and near pairs are those of its 22 networks. Printed are their
mean, least and most over the jobs that share no seed; gains of an axis are means over the other, of the four widths
that have every resolution. Seconds are of one core; minutes are those on two cores that are never idle.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.agreement import PublishedComparison, compare_published
from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.text import align
from mnv2_sweep.record.frame import load_frame

CORES = 2
HEAD = (
    "seeds",
    "jobs",
    "core seconds",
    "minutes",
    "split",
    "tau",
    "near pairs",
    "width",
    "resolution",
    "least",
    "most",
)


def take_split(trials: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return trials whose validation scores are those of the split."""
    return trials.assign(**{f"val_{name}": trials[f"{split}_{name}"] for name in ("top1", "images")})


def split_jobs(seeds: list[int], size: int) -> Iterator[list[int]]:
    """Yield the jobs of so many seeds, none of which is in two."""
    for start in range(0, len(seeds) - size + 1, size):
        yield seeds[start : start + size]


def axis_gains(summary: pd.DataFrame) -> tuple[float, float]:
    """Return what the widest gains over the narrowest, and the largest size over the smallest, in points."""
    grid = summary.pivot(index="width", columns="resolution", values="top1").dropna() * 100
    return (grid.iloc[-1] - grid.iloc[0]).mean(), (grid.iloc[:, -1] - grid.iloc[:, 0]).mean()


def span(values: list[float], form: str) -> str:
    """Return the mean, with the least and the most where there are several."""
    mean, *ends = (format(value, form) for value in (np.mean(values), min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} ({ends[0]} to {ends[1]})"


def job_row(trials: pd.DataFrame, split: str, size: int) -> list[str]:
    jobs = [*split_jobs(sorted(trials["seed"].unique()), size)]
    found: list[tuple[pd.DataFrame, PublishedComparison]] = []
    for seeds in jobs:
        summary = summarise(take_split(trials[trials["seed"].isin(seeds)], split))
        found.append((summary, compare_published(summary)))
    seconds = size * trials.groupby("seed")["seconds"].sum().mean()
    gains = [axis_gains(summary) for summary, _ in found]
    top1 = pd.concat([100 * summary["top1"] for summary, _ in found])
    return [
        str(size), str(len(jobs)), f"{seconds:.0f}", f"{seconds / 60 / CORES:.1f}", split,
        span([comparison.ours.tau for _, comparison in found], ".3f"),
        span([comparison.ours.near_same for _, comparison in found], ".3g") + f" of {found[0][1].ours.near_pairs}",
        span([width for width, _ in gains], ".1f"), span([resolution for _, resolution in gains], ".1f"),
        f"{top1.min():.1f} %", f"{top1.max():.1f} %",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="RESULTS", help="folders of sweeps of the paper's grid")
    parser.add_argument("--sizes", help="seeds a job, as in 1,3,6; without it 1, 2, 3 and so on, doubled")
    chosen = parser.parse_args()
    for folder in chosen.sweeps:
        trials = load_frame(folder)
        trials = trials[trials["status"] == "done"]
        whole = trials.groupby("seed")["arch_key"].nunique()
        trials = trials[trials["seed"].isin(whole.index[whole == trials["arch_key"].nunique()])]
        seeds = trials["seed"].nunique()
        sizes = [size for size in (1, 2, 3, 4, 6, 8, 12, 16, 24) if size <= seeds]
        sizes = [int(size) for size in chosen.sizes.split(",")] if chosen.sizes else sizes
        rows = [job_row(trials, split, size) for size in sizes for split in ("test", "val")]
        print(f"{folder}: {trials['arch_key'].nunique()} networks, {seeds} seeds")
        print(align([[*HEAD], *rows], left=("split",)))


if __name__ == "__main__":
    main()
