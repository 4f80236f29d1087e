"""What networks made of each image -> differences between any two of them, over images and seeds together.

All networks of a sweep see the same images, so a difference is taken image by image: what is hard for both drops out.
A difference has two doubts that add up: over images (others of the same kind) and over seeds (trained again). With
D[s, i] the difference of seed s on image i, and S seeds that both networks have, N images:

    over images   variance of the N means over seeds / N
    over seeds    variance of the S means over images / S, from five seeds on; below, the spread over seeds that all
                  networks of the sweep have together, where any of them has two; else nothing is known of it, and the
                  difference speaks of these very weights

Each holds the part of both, seed and image, once; it is taken off once. Each doubt gives half an interval, Student's t
with its own degrees of freedom, and the squares of these add up. (One t for their sum, by Satterthwaite, covered 90 %
where two or three seeds had most of the doubt.) Right and wrong answers, which may all agree, get two images more, one
for each side (Bonett and Price 2012), so that no interval has width 0.

A network's own score has the same two doubts. Over images that of a share is Wilson's interval, of as many images as
have the variance of the means over seeds, and each end takes the half over seeds for itself (Zou and Donner 2008).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtrit

from mnv2_sweep.analysis.stats import start_kinds
from mnv2_sweep.base.intervals import CONFIDENCE, wilson_interval
from mnv2_sweep.record.store import read_each
from mnv2_sweep.trials.tasks import main_score
from mnv2_sweep.trials.terms import Terms, unpack_terms
from mnv2_sweep.trials.ways import goes_on

SIDE = (1 + CONFIDENCE) / 2  # below the upper end of an interval
OWN_SEEDS = 5  # from which on two networks show their own spread over seeds


@dataclass(frozen=True, eq=False)
class Spread:
    """The variance over seeds of a network's mean over all images of the kind, and its degrees of freedom; 0 of them
    where no network has two seeds."""

    variance: float
    freedom: int


@dataclass(frozen=True, eq=False)
class Answers:
    """What networks made of the same images: of each network, named by its `arch_key`, the terms of the score and of
    the loss, float32 [seeds, images], larger is better; `seeds` names their rows."""

    networks: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]
    terms: tuple[np.ndarray, ...]
    losses: tuple[np.ndarray, ...]
    is_fraction: bool = True

    @property
    def images(self) -> int:
        return self.terms[0].shape[1]

    @cached_property
    def spread(self) -> Spread:
        """Return the spread of the score over seeds that the networks have together."""
        return pool_spread(self.terms)

    @cached_property
    def loss_spread(self) -> Spread:
        return pool_spread(self.losses)


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of one network minus that of another, with its interval at 95 % and how likely it is above 0; of `seeds`
    that both have. `knows_seeds`: the interval is over seeds too."""

    mean: float
    low: float
    high: float
    above: float
    seeds: int
    knows_seeds: bool


def split_kinds(trials: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the trials by their kind of start (`stats.start_kinds`), of those that have a result."""
    done = trials[trials["status"] == "done"]
    kinds = start_kinds(done)
    return {kind: done[done["init"] == kind] if "init" in done else done for kind in kinds}


def load_answers(folder: Path, trials: pd.DataFrame, split: str = "val") -> Answers | None:
    """Load what the networks of a table of trials (`load_frame`) made of a split's images; None where that is not on
    record of every result, or can't be read. Raises StoreError."""
    return find_answers(trials, read_each(folder), split) if (trials["status"] == "done").any() else None


def find_answers(trials: pd.DataFrame, each: Mapping[str, bytes], split: str = "val") -> Answers | None:
    """Find the same in what is on record `each` trial, by its id (`store.read_each`)."""
    done = trials[(trials["status"] == "done") & ~trials["training"].map(goes_on).astype(bool)]
    done = done.drop_duplicates(["arch_key", "seed"], keep="last").sort_values(["madds", "network", "seed"])
    if done.empty:
        return None
    try:
        found = {name: unpack_terms(each[name]).get(split, {}) for name in done["trial_id"]}
        return _gather(done, found)
    except (KeyError, ValueError):  # of an earlier version, run with --no-images, or damaged
        return None


def _gather(done: pd.DataFrame, found: dict[str, Terms]) -> Answers:
    """Return the answers of trials, whose terms `found` has by id. Raises KeyError, ValueError where some are
    missing."""
    score = main_score(done)
    seeds, terms, losses = {}, {}, {}
    for key, rows in done.groupby("arch_key", sort=False):
        own = [found[name] for name in rows["trial_id"]]
        seeds[key] = tuple(int(seed) for seed in rows["seed"])
        terms[key] = score.sign * np.stack([of_trial[score.name] for of_trial in own]).astype(np.float32)
        losses[key] = -np.stack([of_trial["loss"] for of_trial in own])
    if len({array.shape[1] for array in (*terms.values(), *losses.values())}) > 1:
        raise ValueError("images: other numbers of them")
    parts = (seeds.values(), terms.values(), losses.values())
    return Answers(tuple(seeds), *map(tuple, parts), is_fraction=score.fraction)


def pool_spread(terms: Sequence[np.ndarray]) -> Spread:
    """Return the spread over seeds that networks have together: of their means over images, without the part of them
    that is only these images'."""
    several = [rows for rows in terms if len(rows) > 1]
    freedom = sum(len(rows) - 1 for rows in several)
    if not freedom:
        return Spread(0.0, 0)
    means = sum((len(rows) - 1) * rows.mean(1, dtype=float).var(ddof=1) for rows in several) / freedom
    within = sum((len(rows) - 1) * rows.var(0, ddof=1, dtype=float).mean() for rows in several) / freedom
    return Spread(max(0.0, float(means - within / terms[0].shape[1])), freedom)


def compare_answers(
    first: np.ndarray, second: np.ndarray, spread: Spread, is_fraction: bool = False
) -> tuple[float, float]:
    """Return the mean difference of two networks' terms [seeds, images], rows of one seed each, and half its
    interval."""
    differences = first - second
    squares = stdtrit(max(1, differences.shape[1] - 1), SIDE) ** 2 * _image_variance(differences, is_fraction)
    square = _seed_square(differences, 2 * spread.variance, spread.freedom)
    return float(differences.mean(1, dtype=float).mean()), float(np.sqrt(squares + square))


def image_error(answers: Answers) -> float:
    """Return the standard error over images of the difference of two networks, without the part that their seeds show,
    which an interval over seeds has already; they have the same seeds, two or more."""
    differences = answers.terms[0] - answers.terms[1]
    seeds, images = differences.shape
    both = differences.var(0, ddof=1, dtype=float).mean() / images / seeds
    return float(np.sqrt(max(0.0, _image_variance(differences, answers.is_fraction) - both)))


def _image_variance(differences: np.ndarray, is_fraction: bool) -> float:
    """Return the variance over images of the mean of differences [seeds, images]."""
    over_images, images, more = differences.mean(0, dtype=float), differences.shape[1], 2 * is_fraction
    squares = float(((over_images - over_images.mean()) ** 2).sum())
    return (squares + more) / (images + more) / max(1, images + more - 1)


def _seed_square(rows: np.ndarray, variance: float, freedom: int) -> float:
    """Return the square of half the interval over seeds of the mean of rows [seeds, images], without the part that is
    the images' too; `variance` and `freedom` are what all networks show of one seed's, for fewer than OWN_SEEDS."""
    seeds, images = rows.shape
    if seeds >= OWN_SEEDS:
        both = rows.var(0, ddof=1, dtype=float).mean() / images
        variance, freedom = max(0.0, float(rows.mean(1, dtype=float).var(ddof=1) - both)), seeds - 1
    return float(stdtrit(freedom, SIDE) ** 2 * variance / seeds) if freedom else 0.0


def score_interval(rows: np.ndarray, spread: Spread, is_fraction: bool) -> tuple[float, float]:
    """Return the interval at 95 %, over seeds and images, of the mean of a network's terms [seeds, images]."""
    over_images, images = rows.mean(0, dtype=float), rows.shape[1]
    mean, variance = float(over_images.mean()), float(over_images.var())
    if is_fraction:
        low, high = wilson_interval(mean, images * mean * (1 - mean) / variance if variance else images)
    else:
        half = float(stdtrit(max(1, images - 1), SIDE)) * np.sqrt(variance / max(1, images - 1))
        low, high = mean - half, mean + half
    square = _seed_square(rows, spread.variance, spread.freedom)
    low, high = mean - np.hypot(mean - low, np.sqrt(square)), mean + np.hypot(high - mean, np.sqrt(square))
    return (max(0.0, low), min(1.0, high)) if is_fraction else (low, high)


def find_difference(answers: Answers, first: int, second: int, of_loss: bool = False) -> Difference | None:
    """Return the difference of two of the networks, by their places; None where they have no seed in common."""
    common = sorted(set(answers.seeds[first]) & set(answers.seeds[second]))
    if not common:
        return None
    arrays, spread = (answers.losses, answers.loss_spread) if of_loss else (answers.terms, answers.spread)
    sides = [arrays[at][[answers.seeds[at].index(seed) for seed in common]] for at in (first, second)]
    mean, half = compare_answers(*sides, spread, answers.is_fraction and not of_loss)
    above = float(ndtr(ndtri(SIDE) * mean / half)) if half else float(mean > 0)
    knows_seeds = len(common) >= OWN_SEEDS or spread.freedom > 0
    return Difference(mean, mean - half, mean + half, above, len(common), knows_seeds)
