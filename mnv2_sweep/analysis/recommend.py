"""A sweep and wishes -> Advice, a Recommendation that says itself: which network to take, how sure that is, what is
lost if it is wrong, what would settle it, what a little more or less of the cost gives.

The draws are those of `odds`, over images and seeds together; `choice` says how one is taken, `foresight` what further
seeds or images bring, `advice` puts it in words. Where it is not on record what each network made of each image, the
network that measured best is taken, and no odds are said. Networks that begin in different ways are trained
differently, so each kind has its own draws; the kind whose network is best is answered with, the others are named.

In a sweep of more than `odds.MOST_NETWORKS` the odds are those of the contenders: who measured best among those that
fit, who is on the measured front, and some drawn at random. From these alone, as they were not chosen for their scores,
the curve is learnt about which true scores lie.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.advice import advice_html, advice_text
from mnv2_sweep.analysis.answers import Answers, find_answers, split_kinds
from mnv2_sweep.analysis.choice import (
    SURE,
    Choice,
    Gain,
    choose,
    find_better,
    find_cheaper,
    find_range,
    order_rivals,
)
from mnv2_sweep.analysis.foresight import Effort, foresee
from mnv2_sweep.analysis.odds import MOST_NETWORKS, Odds, costs_of, find_odds, missing_images
from mnv2_sweep.analysis.recommendation import (
    NOTHING,
    SHOWN,
    UNKNOWN,
    Candidate,
    Nearest,
    Recommendation,
    Settling,
    Step,
)
from mnv2_sweep.analysis.stats import start_kinds
from mnv2_sweep.analysis.sweep import Sweep, load_sweep
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.record.folders import again_command
from mnv2_sweep.record.store import find_trials, read_each
from mnv2_sweep.spaces.space import OPERATORS, Constraint
from mnv2_sweep.spaces.wishes import LOWER, UPPER, check_odds, check_within, count_wished, find_factors, read_wishes
from mnv2_sweep.trials.tasks import Score, main_score
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import WAYS, is_kept

AT_LEAST = 0.85
WITHIN = 0.5  # points that may be lost for a cheaper network
MOST_RIVALS = 5
AT_RANDOM, MOST_BEST = 200, 250  # of a large sweep's networks
LEAST_SAID = 0.01  # probability of a rival that is told
SHARED = "shared"  # the strategy that trains all networks as one


class Advice(Recommendation):
    """A Recommendation that says itself, on a terminal and in a notebook."""

    __slots__ = ()

    def __str__(self) -> str:
        return advice_text(self)

    def _repr_html_(self) -> str:
        return advice_html(self)


def recommend(
    sweep: Sweep | str | Path,
    where: str | Sequence[str] = (),
    at_least: float = AT_LEAST,
    within: float | None = None,
) -> Advice:
    """Recommend one of a sweep's networks, the sweep given as loaded, or by its name or folder.

    Args:
        where: Wishes, as "madds <= 100M", all of which are to be kept.
        at_least: The probability of being the best that fits which makes an answer sure, from 0.5 to 0.999.
        within: What may be lost on average for a cheaper network, in the score's shown unit; None: WITHIN for scores
            in percent, else nothing.

    Raises SweepError on wishes that can't be read or fulfilled by anything, and where nothing is measured yet.
    """
    check_odds("--at-least", at_least, "0.85")
    check_within(within)
    wishes = read_wishes([where] if isinstance(where, str) else where)
    sweep = sweep if isinstance(sweep, Sweep) else load_sweep(sweep)
    score, networks = main_score(sweep.trials), sweep.summary
    measured = networks[score.name].notna() if len(networks) else pd.Series(dtype=bool)
    if not measured.any():
        failed = int((sweep.trials["status"] == "failed").sum())
        why = f"; {failed} failed, see 'mnv2-sweep status {shlex.quote(sweep.name)}'" if failed else ""
        raise SweepError(f"{sweep.folder}: no trial has a result yet{why}")
    within = within if within is not None else WITHIN if score.unit == "%" else 0.0
    asked = _ask(sweep, score, wishes, at_least, within)
    if not asked.fits.any():
        return replace(asked.answer, verdict=NOTHING, nearest=_find_nearest(asked))
    answers = [_answer(asked, kind) for kind in start_kinds(networks[asked.fits])]
    best, *rest = sorted(answers, key=lambda one: -score.sign * _expected(one.leader))
    return replace(best, others=tuple((one.kind, one.leader.network, _expected(one.leader)) for one in rest))


def _expected(candidate: Candidate) -> float:
    """Return the score that one may expect of it: without its luck, where that is known."""
    return candidate.measured if candidate.score is None else candidate.score.mean


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is asked, of the networks of a summary [networks]: their costs by name, which keep each wish, and which
    `fits`: keep all of them and have a result; and what every answer says."""

    sweep: Sweep
    networks: pd.DataFrame
    costs: Mapping[str, np.ndarray]
    keeps: Mapping[Constraint, np.ndarray]
    fits: np.ndarray
    answer: Advice


def _ask(sweep: Sweep, score: Score, wishes: tuple[Constraint, ...], at_least: float, within: float) -> _Asked:
    networks = sweep.summary
    measured = networks[score.name].notna().to_numpy()
    names = dict.fromkeys([*(wish.cost for wish in wishes), *SHOWN])
    archs = sweep.find_archs(networks) if any(name not in networks for name in names) else []
    values = {name: networks[name].to_numpy() if name in networks else count_wished(name, archs) for name in names}
    costs = {name: of_networks.astype(float) for name, of_networks in values.items()}
    keeps = {wish: OPERATORS[wish.operator](costs[wish.cost], float(wish.limit)) for wish in wishes}
    every = np.logical_and.reduce([np.ones(len(networks), bool), *keeps.values()])
    fits = every & measured
    answer = Advice(
        sweep.name, sweep.folder, score, wishes, at_least, within, NOTHING,
        networks=int(measured.sum()),
        fitting=int(fits.sum()),
        open=tuple(networks["network"][every & ~measured]),
        unknown_costs=int((np.isnan(list(costs.values())).any(0) & measured).sum()),
        cost=next((wish.cost for wish in wishes if wish.operator in UPPER), SHOWN[0]),
        device=", ".join(sorted(sweep.trials["device"].dropna().unique())),
    )  # fmt: skip
    return _Asked(sweep, networks, costs, keeps, fits, answer)


def _find_nearest(asked: _Asked) -> Nearest:
    """Return the measured network that misses the wishes by the smallest factor, of equals the best."""
    score = asked.answer.score
    factors = find_factors(asked.costs, [*asked.keeps], len(asked.networks))
    measured = (score.sign * asked.networks[score.name]).fillna(-np.inf).to_numpy()
    factors[np.isinf(measured)] = np.inf
    at = int(np.lexsort((-measured, factors))[0])
    breaks = tuple((wish, float(asked.costs[wish.cost][at])) for wish, ok in asked.keeps.items() if not ok[at])
    return Nearest(str(asked.networks["network"].iloc[at]), breaks)


# ---------------------------------------------------------------- one kind of start


def _answer(asked: _Asked, kind: str) -> Advice:
    """Answer of the networks that begin in one way, at least one of which fits."""
    networks, score = asked.networks, asked.answer.score
    own = (networks["init"] == kind).to_numpy() if "init" in networks else np.ones(len(networks), bool)
    rows, typical = _pick_rows(own & networks[score.name].notna().to_numpy(), asked.fits, networks, score)
    trials = split_kinds(asked.sweep.trials)[kind]
    trials = trials[trials["arch_key"].isin(networks["arch_key"].iloc[rows])]
    answers = find_answers(trials, read_each(asked.sweep.folder, [*trials["trial_id"]]))
    fitting = int((own & asked.fits).sum())
    if answers is None:
        fit = np.flatnonzero(own & asked.fits)
        at = int(fit[(score.sign * networks[score.name].iloc[fit]).to_numpy().argmax()])
        taken = _candidate(asked, at)
        answer = replace(asked.answer, verdict=UNKNOWN, fitting=fitting, taken=taken, leader=taken, kind=kind,
                         why=missing_images(score))  # fmt: skip
    else:
        place = dict(zip(networks["arch_key"].iloc[rows], range(len(rows)), strict=True))
        order = [place[key] for key in answers.networks]
        odds = find_odds(answers, costs_of(answers, trials), typical=typical[order])
        answer = _say(asked, answers, odds, rows[order])
        answer = replace(answer, kind=kind, fitting=fitting)
    return _add_next(asked, answer, trials)


def _pick_rows(
    own: np.ndarray, fits: np.ndarray, networks: pd.DataFrame, score: Score
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of networks to compare, and which of these were not chosen for their scores (a mask): all, or of
    very many the contenders."""
    rows = np.flatnonzero(own)
    if len(rows) <= MOST_NETWORKS:
        return rows, np.ones(len(rows), bool)
    drawn = np.random.default_rng(0).choice(rows, AT_RANDOM, replace=False)
    values = (score.sign * networks[score.name]).to_numpy(dtype=float)
    fitting = np.flatnonzero(own & fits)
    best = fitting[np.argsort(-values[fitting], kind="stable")[:MOST_BEST]]
    front = np.flatnonzero(own & networks["on_front"].to_numpy(dtype=bool))[: MOST_NETWORKS - AT_RANDOM - MOST_BEST]
    chosen = np.unique(np.concatenate([drawn, best, front]))
    return chosen, np.isin(chosen, drawn)


def _say(asked: _Asked, answers: Answers, odds: Odds, rows: np.ndarray) -> Advice:
    """Say all that the odds of networks in these rows of the summary tell."""
    plain = asked.answer
    fits, costs = asked.fits[rows], asked.costs[plain.cost][rows]
    choice = choose(odds.scores, fits, costs, plain.at_least, plain.within / plain.score.scale)

    def candidate(place: int) -> Candidate:
        return _candidate(asked, int(rows[place]), odds, choice, place)

    def step(gain: Gain | None) -> Step | None:
        if gain is None:
            return None
        row = int(rows[gain.place])
        breaks = tuple(wish for wish, ok in asked.keeps.items() if not ok[row])
        more = float(costs[gain.place] - costs[choice.taken])
        name = str(asked.networks["network"].iloc[row])
        return Step(name, _costs_at(asked, row), more, gain.by, gain.probability, breaks)

    others = [ok[rows] for wish, ok in asked.keeps.items() if wish.cost != plain.cost or wish.operator in LOWER]
    may = np.logical_and.reduce([np.ones(len(rows), bool), *others])
    rivals = order_rivals(choice, MOST_RIVALS)
    rivals = [at for at in rivals if choice.probability[at] >= LEAST_SAID or at in (rivals[0], choice.leader)]
    return replace(
        plain,
        verdict=choice.verdict,
        compared=int(fits.sum()),
        taken=candidate(choice.taken),
        leader=candidate(choice.leader),
        rivals=tuple(map(candidate, rivals)),
        lost_if_wrong=choice.lost_if_wrong,
        cheaper=step(find_cheaper(odds.scores, choice.taken, costs, fits)),
        better=step(find_better(odds.scores, choice.taken, costs, may, plain.at_least)),
        settling=_settle(asked, answers, odds, choice, rows) if choice.verdict != SURE else (),
        images=odds.images,
        knows_seeds=odds.knows_seeds,
    )


def _candidate(
    asked: _Asked, row: int, odds: Odds | None = None, choice: Choice | None = None, place: int = 0
) -> Candidate:
    """Return a network in a row of the summary; with what its draws say, where there are some."""
    one, score = asked.networks.iloc[row], asked.answer.score
    plain = Candidate(
        str(one["network"]), one["arch_key"], _costs_at(asked, row), float(one[score.name]), int(one["seeds"])
    )
    if odds is None or choice is None:
        return plain
    own, ends = odds.scores[:, place], (0.0, 1.0) if score.fraction else (-np.inf, np.inf)
    return replace(
        plain,
        probability=float(choice.probability[place]),
        score=find_range(np.clip(own, *ends)).times(score.sign),
        behind=find_range(odds.scores[:, choice.taken] - own),
        loss=float(choice.losses[place]),
    )


def _costs_at(asked: _Asked, row: int) -> dict[str, float]:
    return {name: float(values[row]) for name, values in asked.costs.items()}


def _settle(asked: _Asked, answers: Answers, odds: Odds, choice: Choice, rows: np.ndarray) -> tuple[Settling, ...]:
    """Return what would settle the answer, and what it takes: networks that are trained together are trained again
    together."""
    networks, said = asked.networks, []
    for effort in foresee(answers, odds, choice, asked.answer.at_least):
        some = networks.iloc[rows[[*effort.places]]]
        trained = networks[networks["training"] == some["training"].iloc[0]] if _is_shared(some) else some
        seconds = effort.seeds * float(trained["seconds"].mean()) * len(trained)
        said.append(_settling(effort, tuple(map(str, some["network"])), len(trained), seconds))
    return tuple(said)


def _settling(effort: Effort, names: tuple[str, ...], trained: int, seconds: float) -> Settling:
    return Settling(
        names, trained, effort.seeds, effort.images, seconds, effort.probability, effort.loss, effort.settled
    )


def _is_shared(networks: pd.DataFrame) -> bool:
    """Return whether the networks have their weights from one training of all."""
    way = WAYS.get(networks["training"].iloc[0])
    return way is not None and way.strategy == SHARED


# ---------------------------------------------------------------- what comes next


def _add_next(asked: _Asked, answer: Advice, trials: pd.DataFrame) -> Advice:
    """Add the command that comes next, and the score after training on."""
    taken, name = answer.taken, f"tuned_{answer.score.name}"
    own = trials[trials["arch_key"] == taken.arch_key].sort_values("seed")
    found = find_trials(asked.sweep.folder, [*own["trial_id"]])
    tuned = asked.networks.loc[asked.networks["arch_key"] == taken.arch_key, name].iloc[0]
    command = next_command(asked.sweep.folder, taken.network, [*found.values()])
    return replace(answer, command=command, tuned=None if pd.isna(tuned) else float(tuned))


def next_command(folder: Path, network: str, trials: Sequence[Trial]) -> str:
    """Return the command that writes the network's weights to a file; where none of its trials kept them, the one that
    makes them."""
    seed = next((trial.seed for trial in trials if is_kept(folder, trial)), None)
    where = "" if folder.parent == Path("results") else f" --results {shlex.quote(str(folder.parent))}"
    if seed is None:
        return again_command(folder, network) + where
    said = f"mnv2-sweep export {shlex.quote(network)} --sweep {shlex.quote(folder.name)}"
    return said + (f" --seed {seed}" if seed else "") + where
