"""What networks made of each image -> the odds: which are on the front, which is best, how much the best was lucky.

The scores that the networks would have on all images of the kind, trained with all seeds, are drawn many times:

1. Noise. Images are weighed anew in each draw, the same way for all networks (the Bayesian bootstrap, Rubin 1981: the
   weights are exponential), so that what is hard for all moves all. Where seeds tell how far training again moves a
   score, each network gets such a move; with one seed each, the odds are of these very weights.
2. What is measured is the truth with noise, and of many networks the luckiest come out on top. So the truth is drawn
   back towards a smooth curve over log MAdds, about which true scores lie with a spread tau: a Gaussian prior whose
   curve (flat prior) and tau (by the part of noise in all variance, any part as likely: the uniform shrinkage prior of
   Strawderman 1971 and Daniels 1999) the scores themselves decide. Where networks differ by much more
   than the noise, this changes nothing; where they don't, a lead that noise explains is taken for noise. A draw is made
   by Matheron's rule: a truth and noise are invented, and what the rule makes of the difference to the measured scores
   is added to the invented truth. The rule sees differences between networks alone; how high all of them lie is as
measured, with its noise.

Fronts and bests of the draws are then counted.

How lucky the best was, on average, is not read off these draws: their prior spreads tau, so that they say too little
of networks that are close. Its middle is Stein's estimate of what noise alone brings to the one that is chosen. With
noise Z like that of the scores Y, and a little of it, g, added before choosing, the expectation of Z[argmax(Y + g Z)]
/ g is the expected luck of that choice, whatever the truth is; sqrt(1 + g^2) makes up for the choice's being noisier,
exactly where networks are equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.answers import Answers, Spread, load_answers, score_interval, split_kinds
from mnv2_sweep.base.intervals import CONFIDENCE
from mnv2_sweep.trials.tasks import BALANCED, MACRO_F1, TOP5, Score, main_score

DRAWS = 2000
MOST_WEIGHTS = 4_000_000  # of images in draws, held at once
TAUS = 48  # values of tau that are weighed
MOST_NETWORKS = 500  # of one kind; beyond, nobody asks for the odds of each, and they take memory and minutes
MOST_ANSWERS = 30_000_000  # of networks to single images, which take 10 bytes each while odds are found
LEAST_SHRUNK = 3  # networks; fewer show no curve
LEAST_BENT = 8  # networks, from which on the curve may bend
ADDED = 0.4  # g above: less is more exact and more noisy
LUCK_DRAWS = 4000
ODDS_COLUMNS = ("front_probability", "best_probability", "joint_low", "joint_high")  # of a summary
# Where it is not on record what networks made of each image.
NO_IMAGES = "which images each network got right is not on record of all results (an earlier version, or --no-images)"
UNKNOWN_ODDS = f"{NO_IMAGES}, so how sure the front is can't be said"
EVEN = 0.5  # from this probability on, a network counts as one of the front
TIE = 1e-9  # of a score: so near, two are one


@dataclass(frozen=True, eq=False)
class Odds:
    """What the draws say: of each network, in the order of `networks`, the probability of being on the front and of
    being best; how many are on the front (`front_low` to `front_high`, at 95 %); of the network that measured best, by
    how much it was lucky (`optimism`, and its interval); `scores` [draws, networks], larger is better; `luck`
    [draws, networks]: the part of what was measured that is the luck of the seeds that were trained; of each network
    the interval of its score as measured (`low` to `high`, see `answers`). `knows_seeds`: all this is over seeds,
    too."""

    networks: tuple[str, ...]
    on_front: np.ndarray
    best: np.ndarray
    front_low: int
    front_high: int
    measured_best: int
    optimism: tuple[float, float, float]
    scores: np.ndarray
    luck: np.ndarray
    low: np.ndarray
    high: np.ndarray
    images: int
    knows_seeds: bool

    @property
    def front_size(self) -> int:
        """Return how many networks are rather on the front than not."""
        return int((self.on_front >= EVEN).sum())


def share_best(scores: np.ndarray) -> np.ndarray:
    """Return how likely each network is the best, of draws of their scores [draws, networks]; a draw in which several
    are is shared among them."""
    best = scores >= scores.max(1, keepdims=True) - TIE
    return (best / best.sum(1, keepdims=True)).mean(0)


def find_odds(
    answers: Answers, costs: Sequence[float], draws: int = DRAWS, seed: int = 0, typical: np.ndarray | None = None
) -> Odds:
    """Return the odds of networks with these costs, one each; the same ones every time. Where they were chosen for
    their scores, the curve about which true scores lie is that of the `typical` ones (a mask), which were not."""
    costs = np.asarray(costs, dtype=float)
    measured = np.array([rows.mean(dtype=float) for rows in answers.terms])
    scores, lucks = draw_scores(answers.terms, costs, answers.spread, draws, np.random.default_rng(seed), typical)
    fronts = draw_fronts(scores, costs)
    chosen = int(measured.argmax())
    best = share_best(scores)
    edges = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    low, high = np.percentile(fronts.sum(1), edges, method="nearest")
    least, most = map(float, np.percentile(measured[chosen] - scores[:, chosen], edges))
    luck = expected_luck(measured, find_covariance(answers.terms, answers.spread), np.random.default_rng(seed))
    ends = np.array([score_interval(rows, answers.spread, answers.is_fraction) for rows in answers.terms])
    return Odds(
        answers.networks, fronts.mean(0), best, int(low), int(high), chosen, (min(max(luck, least), most), least, most),
        scores, lucks, ends[:, 0], ends[:, 1], answers.images, answers.spread.freedom > 0,
    )  # fmt: skip


def expected_luck(measured: np.ndarray, covariance: np.ndarray, random: np.random.Generator) -> float:
    """Return by how much the best of measured scores is above its true score on average, where their noise has this
    covariance; see the module."""
    values, vectors = np.linalg.eigh(covariance)
    noise = random.standard_normal((LUCK_DRAWS, len(measured))) * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    chosen = (measured + ADDED * noise).argmax(1)
    won = noise[np.arange(LUCK_DRAWS), chosen] - noise[:, measured.argmax()]  # which is 0 on average, but moves alike
    return float(won.mean() / ADDED * np.sqrt(1 + ADDED**2))


def find_covariance(terms: Sequence[np.ndarray], spread: Spread) -> np.ndarray:
    """Return the covariance [networks, networks] of the mean scores: over images, which all share, and over seeds."""
    rows = np.stack([own.mean(0, dtype=np.float32) for own in terms])
    centred = rows - rows.mean(1, dtype=float)[:, None].astype(np.float32)
    counts = np.array([len(own) for own in terms])
    return (centred @ centred.T).astype(float) / rows.shape[1] ** 2 + np.diag(spread.variance / counts)


def draw_scores(
    terms: Sequence[np.ndarray],
    costs: np.ndarray,
    spread: Spread,
    draws: int,
    random: np.random.Generator,
    typical: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the true scores [draws, networks] of networks whose terms [seeds, images] were measured, and with each the
    luck of the seeds that were trained; `typical` as in `find_odds`."""
    rows = np.stack([own.mean(0, dtype=np.float32) for own in terms])
    counts = np.array([len(own) for own in terms])
    measured = rows.mean(1, dtype=float)
    noise = _weigh_images(rows, draws, random)
    moves = _move_seeds(counts, spread, draws, random)
    noise += moves
    if len(costs) < LEAST_SHRUNK:
        return measured - noise, moves
    known = np.ones(len(costs), bool) if typical is None else typical
    scores, pulls = _draw_back(measured, noise, find_covariance(terms, spread), costs, random, known)
    return scores, moves + pulls * spread.variance / counts


def _weigh_images(rows: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """Return by how much the means of rows [networks, images] move as images are weighed anew [draws, networks]."""
    centred = rows - rows.mean(1, dtype=float)[:, None].astype(np.float32)
    at_once = max(1, MOST_WEIGHTS // rows.shape[1])
    parts = []
    for begin in range(0, draws, at_once):
        weights = random.standard_exponential((min(at_once, draws - begin), rows.shape[1]), dtype=np.float32)
        parts.append((weights @ centred.T).astype(float) / weights.sum(1, dtype=float)[:, None])
    return np.concatenate(parts)


def _move_seeds(counts: np.ndarray, spread: Spread, draws: int, random: np.random.Generator) -> np.ndarray:
    """Return by how much the means of so many seeds move as networks are trained again [draws, networks]."""
    if not spread.freedom:
        return np.zeros((draws, len(counts)))
    scale = np.sqrt(spread.freedom / random.chisquare(spread.freedom, (draws, 1)))  # the spread itself is measured
    return random.standard_normal((draws, len(counts))) * scale * np.sqrt(spread.variance / counts)


def _draw_back(
    measured: np.ndarray,
    noise: np.ndarray,
    covariance: np.ndarray,
    costs: np.ndarray,
    random: np.random.Generator,
    typical: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw true scores about a curve over costs that `typical` networks show, see the module; `covariance` is that of
    the noise. Beside them: the residuals by what their variance is, of which each part of the noise has its share."""
    values, vectors = _turn(covariance)
    own_values, own_vectors = (values, vectors) if typical.all() else _turn(covariance[np.ix_(typical, typical)])
    every = _curve_basis(costs, typical)
    basis, own_basis = vectors.T @ every, own_vectors.T @ every[typical]
    turned = own_vectors.T @ measured[typical]
    roots = (np.arange(TAUS) + 0.5) / TAUS  # of the noise's part in all variance; finer where that is small
    taus = np.sqrt(np.median(own_values) * (1 / roots**2 - 1))
    logs = np.array([_log_likelihood(turned, own_basis, own_values + tau**2) for tau in taus]) + np.log(roots)
    odds = np.exp(logs - logs.max())
    picked = random.choice(TAUS, len(noise), p=odds / odds.sum())
    truths, pulls = np.empty_like(noise), np.empty_like(noise)
    for at in np.unique(picked):
        own, tau = picked == at, taus[at]
        invented = tau * random.standard_normal((own.sum(), len(costs)))
        left = measured - invented - noise[own]
        weighed = own_basis / (own_values + tau**2)[:, None]
        bends = left[:, typical] @ own_vectors @ weighed @ np.linalg.inv(own_basis.T @ weighed)
        curve = bends @ basis.T
        pulled = (left @ vectors - curve) / (values + tau**2)
        truths[own] = invented + (curve + tau**2 * pulled) @ vectors.T
        pulls[own] = pulled @ vectors.T
    return truths, pulls


def _turn(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances, none of them nothing, of coordinates in which each has a noise of its own, and these.

    Only differences are judged by it: what moves all networks alike is taken off, as the curve's level is free anyway.
    With it, the rule would read the luck that images bring to all from how much stronger it moves some, which needs a
    better covariance than the images give (all scores came out 0.6 points too high on 341 images)."""
    centred = covariance - covariance.mean(0)
    values, vectors = np.linalg.eigh(centred - centred.mean(1, keepdims=True))
    return np.maximum(values, 1e-9 * values.max() + 1e-15), vectors


def _curve_basis(costs: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Return the columns of which the curve is a sum: a level, a slope where costs differ, a bend where there are
    networks enough; among the typical ones."""
    logs, known = np.log(costs), np.log(costs[typical])
    levels = len(np.unique(known))
    if levels < 2:
        return np.ones((len(costs), 1))
    logs = (logs - known.mean()) / known.std()
    powers = 3 if levels > 3 and len(known) >= LEAST_BENT else 2
    return np.stack([logs**power for power in range(powers)], axis=1)


def _log_likelihood(turned: np.ndarray, basis: np.ndarray, variances: np.ndarray) -> float:
    """Return the logarithm of how likely scores are, whatever the curve is; in coordinates in which the noise of each
    is its own."""
    weighed = basis / variances[:, None]
    square = basis.T @ weighed
    left = turned - basis @ np.linalg.solve(square, weighed.T @ turned)
    return -(np.log(variances).sum() + np.linalg.slogdet(square)[1] + (left**2 / variances).sum()) / 2


def draw_fronts(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return for each draw [draws, networks] which networks are on its front, as `pareto.pareto_front` has it."""
    order = np.argsort(costs, kind="stable")
    levels, level = np.unique(costs, return_inverse=True)
    firsts = np.searchsorted(costs[order], levels)
    best = np.maximum.reduceat(scores[:, order], firsts, axis=1)  # of each cost
    cheaper = np.full_like(best, -np.inf)
    cheaper[:, 1:] = np.maximum.accumulate(best, axis=1)[:, :-1]
    return (scores == best[:, level]) & (scores > cheaper[:, level])


def front_band(odds: Odds, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return costs, cheapest first, and between which two scores the front passes there, at 95 %."""
    order = np.argsort(costs, kind="stable")
    fronts = np.maximum.accumulate(odds.scores[:, order], axis=1)
    low, high = np.percentile(fronts, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)], axis=0)
    return np.asarray(costs, dtype=float)[order], low, high


# ---------------------------------------------------------------- of a sweep


def load_odds(folder: Path, trials: pd.DataFrame, cost: str = "madds") -> dict[str, Odds] | None:
    """Load the odds of the networks of a sweep by their kind of start, each of which has a front by a column of costs,
    from its table of trials (`load_frame`); None where it is not on record what each network made of the validation
    images, and where that is too much. Raises StoreError."""
    kinds = split_kinds(trials)
    networks = max((rows["arch_key"].nunique() for rows in kinds.values()), default=0)
    if is_too_much(networks, sum(rows["val_images"].sum() for rows in kinds.values())):
        return None
    loaded = {kind: (load_answers(folder, rows), rows) for kind, rows in kinds.items()}
    if not loaded or any(answers is None for answers, _ in loaded.values()):
        return None
    return {kind: find_odds(answers, costs_of(answers, rows, cost)) for kind, (answers, rows) in loaded.items()}


def is_too_much(networks: int, answers: float) -> bool:
    """Say whether these are more networks of a kind, or answers of networks to images, than odds are found of."""
    return networks > MOST_NETWORKS or answers > MOST_ANSWERS


def front_odds(odds: Mapping[str, Odds], networks: pd.DataFrame) -> np.ndarray:
    """Return how likely each network of a summary is on the front of its kind; NaN where it has no result."""
    return _pick(odds, networks, "on_front")


def add_odds(networks: pd.DataFrame, odds: Mapping[str, Odds] | None) -> pd.DataFrame:
    """Return a summary with ODDS_COLUMNS: how likely each network is on the front and the best of its kind, and the
    interval of its score over images and seeds together; NaN where that is not on record."""
    if odds is None:
        return networks.assign(**dict.fromkeys(ODDS_COLUMNS, np.nan))
    picked = [_pick(odds, networks, name) for name in ("on_front", "best", "low", "high")]
    if main_score(networks).sign < 0:  # where less is better, scores are turned round
        picked[2:] = -picked[3], -picked[2]
    return networks.assign(**dict(zip(ODDS_COLUMNS, picked, strict=True)))


def _pick(odds: Mapping[str, Odds], networks: pd.DataFrame, name: str) -> np.ndarray:
    """Return what the odds say under this name of each network of a summary."""
    kinds = networks["init"] if "init" in networks else [next(iter(odds), None)] * len(networks)
    known = {(kind, key): value for kind, one in odds.items()
             for key, value in zip(one.networks, getattr(one, name), strict=True)}  # fmt: skip
    return np.array([known.get(both, np.nan) for both in zip(kinds, networks["arch_key"], strict=True)], dtype=float)


def costs_of(answers: Answers, trials: pd.DataFrame, cost: str = "madds") -> np.ndarray:
    """Return a cost of the networks, MAdds, from a table of their trials."""
    known = trials.drop_duplicates("arch_key").set_index("arch_key")[cost]
    return known.loc[[*answers.networks]].to_numpy(dtype=float)


def probability_text(probability: float) -> str:
    """Return a probability in percent: "83 %", "<1 %", ">99 %"."""
    if np.isnan(probability):
        return "-"
    return "<1 %" if probability < 0.005 else ">99 %" if probability > 0.995 else f"{100 * probability:.0f} %"


def front_text(odds: Odds) -> str:
    """Say how many networks are on the front, as in "9 (5 to 13) of 22"."""
    size, low, high = odds.front_size, min(odds.front_low, odds.front_size), max(odds.front_high, odds.front_size)
    return f"{size} ({low} to {high}) of {len(odds.networks)}" if low < high else f"{size} of {len(odds.networks)}"


def doubt_text(odds: Odds) -> str:
    """Say what the odds are over: other images, other seeds."""
    return "other images of the kind" + (" and other seeds" if odds.knows_seeds else ", for these very weights")


def missing_images(score: Score) -> str:
    """Say why it is not known what networks made of each image."""
    if score in (BALANCED, MACRO_F1, TOP5):
        return f"{score.label} " + ("is not on record image by image" if score == TOP5 else "is no mean over images")
    return NO_IMAGES


def unknown_odds(score: Score) -> str:
    """Say why it is not known how sure the front is."""
    return f"{missing_images(score)}, so how sure the front is can't be said"
