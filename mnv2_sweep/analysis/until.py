"""What networks made of each image so far -> whether a sweep is decided, which networks are out, and which get a
further seed: the rule of `run --until`, without files and trainings.

A sweep is looked at after each round of trainings, of which the first gives every network one seed. A look takes the
odds of all that was measured until then (`odds`) and decides in this order:

1. Until LEAST_FREEDOM degrees of freedom say how far seeds move a score, nothing else: networks that may be the best
   get a further seed, so many that it becomes known.
2. Decided is the sweep where the leader is the best with `until`, or no further behind the best than `within`.
3. Else those networks are out that cannot be the best any more, the unlikeliest first, as long as the probabilities
   with which they left, all looks together, are no more than `Question.spare`; a look takes at most half of what is
   left.
4. The likeliest of the others get a further seed, those that together hold all but half of what may stay in doubt; of
   these, those with the fewest seeds first. Others wait, and may come back.
5. Where all seeds that are left would hardly ever decide it nor save much of what is lost on average by a wrong answer,
   as the odds foresee (`foresight`), or none are left, that is the end.

Why early looks keep what is promised: the draws are of all truths that the measurements allow, so they do not depend on
how often somebody looked or whom he gave a seed (what is likely does not depend on why one stopped). A network that is
put out while it is the best with probability p is the best in p of such cases; over all of them the best is put out in
no more cases than the sum of these, which is at most `spare`. That is as right as the odds are: `benchmarks/until.py`
counts in made-up sweeps. A test of each network against each other at every look (`paired`, "always") would need four
seeds of all before it could say a word.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mnv2_sweep.analysis.answers import Answers
from mnv2_sweep.analysis.foresight import foresee_results
from mnv2_sweep.analysis.odds import Odds, find_odds, share_best

LEAST_FREEDOM = 4  # degrees of freedom of the spread over seeds, from which on anything is decided
WRONGLY = 0.05  # of sweeps in which the best network may be put out
HARDLY, LITTLE = 0.05, 0.1  # so seldom seeds decide, and so little of what is lost they save, that they aren't worth it
# Verdicts: the leader is the best; it is near the best; seeds would hardly decide; none are left; nothing yet.
SURE, NEAR, HOPELESS, SPENT, OPEN = "sure", "near", "hopeless", "spent", "open"
NO_NEWS = 1e6  # times the variance of a seed: of a network that gets none


@dataclass(frozen=True, slots=True)
class Question:
    """The probability that is wanted, what the leader may be behind the best (in the score's own unit, top-1 as a
    fraction), and how many seeds a network may have at most."""

    until: float
    within: float
    most: int

    @property
    def spare(self) -> float:
        """Return the probability that may leave with networks that are put out: so little that the answer can still be
        as sure as is wanted."""
        return min(WRONGLY, (1 - self.until) / 2)


@dataclass(frozen=True)
class Look:
    """What was seen and decided at one look, of networks by their `arch_key`.

    `counts`: seeds that they had been given, failed ones too; `probability`: of being the best that fits; `score`: what
    may be expected, larger is better; `leader`, and how likely it is within the margin of the best (`near`); `stopped`:
    networks that are put out here, with that probability, and by what they are then known not to be the best: how much
    is behind the leader's score (`behind`); `spent`: the sum of such probabilities, of earlier looks too; `wanted`:
    seeds they are to have next, those in `counts` at the end. `freedom`: degrees of freedom of the spread over seeds.
    """

    counts: Mapping[str, int]
    probability: Mapping[str, float]
    score: Mapping[str, float]
    leader: str
    near: float
    stopped: Mapping[str, float]
    behind: Mapping[str, float]
    spent: float
    verdict: str
    wanted: Mapping[str, int]
    freedom: int
    images: int

    @property
    def knows_seeds(self) -> bool:
        """Return whether the seeds say how far training again moves a score."""
        return self.freedom >= LEAST_FREEDOM

    def agrees(self, other: "Look") -> bool:
        """Say whether both decide the same."""
        return (self.verdict, {*self.stopped}, self.wanted) == (other.verdict, {*other.stopped}, other.wanted)


def decide(
    answers: Answers, odds: Odds, counts: Mapping[str, int], stopped: Mapping[str, float], question: Question
) -> Look:
    """Decide at one look; `odds` are of the `answers`, whose networks have been given `counts` seeds, and of which
    those `stopped` by earlier looks are out, with the probability they had then."""
    networks, scores = odds.networks, odds.scores
    probability, best = share_best(scores), scores.max(1)
    losses = best - scores.T
    leader = int(losses.mean(1).argmin())
    near = float((losses[leader] <= question.within).mean())
    given = np.array([counts[name] for name in networks])
    inside = np.array([name not in stopped for name in networks])
    freedom, verdict, wanted, out = answers.spread.freedom, OPEN, given.copy(), ()
    knows_seeds, least = freedom >= LEAST_FREEDOM, 1 / len(scores)
    if len(networks) == 1 or (knows_seeds and probability[leader] >= question.until):
        verdict = SURE
    elif knows_seeds and near >= question.until:
        verdict = NEAR
    else:
        if knows_seeds:
            out = find_out(probability, inside, leader, sum(stopped.values()), question.spare, least)
            inside[[*out]] = False
        fewest = max(2, LEAST_FREEDOM - freedom)
        rivals = find_rivals(probability, losses.mean(1), inside, (1 + question.until) / 2, fewest)
        further = find_further(rivals, given, inside, question.most)
        if not further:
            verdict = SPENT
        elif knows_seeds and is_hopeless(answers, odds, rivals, question.most - given, question):
            verdict = HOPELESS
        else:
            wanted[further] += 1
    leaving = {networks[at]: float(probability[at] + least) for at in out if verdict == OPEN}
    return Look(
        counts=dict(zip(networks, given.tolist(), strict=True)),
        probability=dict(zip(networks, probability.tolist(), strict=True)),
        score=dict(zip(networks, scores.mean(0).tolist(), strict=True)),
        leader=networks[leader],
        near=near,
        stopped=leaving,
        behind={name: float((scores[:, leader] - scores[:, networks.index(name)]).mean()) for name in leaving},
        spent=sum(stopped.values()) + sum(leaving.values()),
        verdict=verdict,
        wanted=dict(zip(networks, wanted.tolist(), strict=True)),
        freedom=freedom,
        images=answers.images,
    )


def find_out(
    probability: np.ndarray, inside: np.ndarray, leader: int, spent: float, spare: float, least: float
) -> list[int]:
    """Return the places of networks to put out, the unlikeliest first, of those still `inside` and never the leader: so
    many that their probabilities [networks], each counted as `least` more, take at most half of what is left to
    spend."""
    left, chosen = (spare - spent) / 2, []
    for at in np.argsort(probability, kind="stable"):
        if inside[at] and at != leader:
            left -= probability[at] + least
            if left < 0:
                break
            chosen.append(int(at))
    return chosen


def find_rivals(probability: np.ndarray, losses: np.ndarray, inside: np.ndarray, held: float, fewest: int) -> list[int]:
    """Return the places of the likeliest networks inside that together hold so much probability, at least `fewest`."""
    order = [int(at) for at in np.lexsort((losses, -probability)) if inside[at]]
    enough = int(np.searchsorted(np.cumsum(probability[order]), held)) + 1
    return order[: max(fewest, enough)]


def find_further(rivals: Sequence[int], given: np.ndarray, inside: np.ndarray, most: int) -> list[int]:
    """Return which networks get a further seed: of the rivals that have not had `most`, those with the fewest; where
    all have, of the others inside; none where no seeds are left."""
    for some in (rivals, np.flatnonzero(inside)):
        able = [int(at) for at in some if given[at] < most]
        if able:
            return [at for at in able if given[at] == given[able].min()]
    return []


def is_hopeless(answers: Answers, odds: Odds, rivals: Sequence[int], left: np.ndarray, question: Question) -> bool:
    """Say whether all seeds that are `left` [networks] of the rivals are not worth it: whether results that the odds
    foresee decide the sweep in less than HARDLY, and lower what is lost on average by less than LITTLE of it."""
    places, variance = [*rivals], max(answers.spread.variance, 1e-12)
    measured = np.array([answers.terms[at].mean(dtype=float) for at in places])
    noise = np.diag([variance / left[at] if left[at] > 0 else NO_NEWS * variance for at in places])
    scores = odds.scores[:, places]
    lost = float((scores.max(1, keepdims=True) - scores).mean(0).min())
    _, then, decided = foresee_results(
        scores, measured - odds.luck[:, places], noise, question.until, within=question.within
    )
    return decided < HARDLY and then > (1 - LITTLE) * lost


# ---------------------------------------------------------------- again, of what is on record


def follow(every: Answers, costs: Sequence[float], question: Question) -> list[Look]:
    """Return all looks at a sweep whose results of all seeds are known already, as if they came one after the other:
    a replay. `costs` are MAdds [networks]."""
    counts, stopped, looks = dict.fromkeys(every.networks, 1), {}, []
    while not looks or looks[-1].verdict == OPEN:
        answers = first_seeds(every, counts)
        look = decide(answers, find_odds(answers, costs), counts, stopped, question)
        looks.append(look)
        stopped, counts = {**stopped, **look.stopped}, look.wanted
    return looks


def first_seeds(every: Answers, counts: Mapping[str, int]) -> Answers:
    """Return the answers of so many seeds of each network, the first ones."""
    parts = (
        tuple(rows[: counts[name]] for name, rows in zip(every.networks, of_all, strict=True))
        for of_all in (every.seeds, every.terms, every.losses)
    )
    return Answers(every.networks, *parts, every.is_fraction)


def dump_look(look: Look, labels: Mapping[str, str], reasons: Mapping[str, str]) -> str:
    """Return a look as JSON, as it is kept in the sweep's folder: beside its fields what the networks are called, and
    why some were put out, for people."""
    return json.dumps(
        {"networks": {name: labels[name] for name in look.counts}, "reasons": {**reasons}, **asdict(look)}
    )


def load_look(text: str) -> Look:
    """Return the look that `dump_look` wrote. Raises ValueError, TypeError, AttributeError where it is none."""
    found = json.loads(text)
    return Look(**{name: value for name, value in found.items() if name not in ("networks", "reasons")})
