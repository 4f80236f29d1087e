"""Recommendation: the answer to which network of a sweep to take, as a record. `recommend` finds it, `advice` says it;
what decides while a sweep runs, and what draws a report, read it too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mnv2_sweep.analysis.choice import Range
from mnv2_sweep.spaces.space import Constraint
from mnv2_sweep.trials.tasks import Score

NOTHING, UNKNOWN = "nothing fits", "no odds"  # verdicts beside those of `choice`
SHOWN = ("madds", "params")  # costs that are always told


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that fits: its costs, those that are wished and SHOWN; its score as `measured` over so many `seeds`;
    the rest None where odds are not known. `probability`: that it is the best that fits; `score`: with the luck of the
    choice taken out; `behind`: by how much it is worse than the one to take, in the score's own direction (above 0:
    worse); `loss`: what is lost on average by taking it."""

    network: str
    arch_key: str
    costs: Mapping[str, float]
    measured: float
    seeds: int
    probability: float | None = None
    score: Range | None = None
    behind: Range | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The next cheaper or better network: how much of the cost it takes more (below 0: less), by how much it is better
    (below 0: worse), how likely that is, and which wishes it does not keep."""

    network: str
    costs: Mapping[str, float]
    more: float
    better_by: Range
    probability: float
    breaks: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class Settling:
    """What an effort brings: see `foresight.Effort`; `seconds` of one core, or of a GPU, NaN where none are known."""

    networks: tuple[str, ...]
    trained: int
    seeds: int
    images: int
    seconds: float
    probability: float
    loss: float
    settled: float


@dataclass(frozen=True, slots=True)
class Nearest:
    """The network that comes nearest to wishes that none keeps, and of each wish it breaks what it costs."""

    network: str
    breaks: tuple[tuple[Constraint, float], ...]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer. `verdict`: SURE (the one to take is the best with `at_least` or more), TIED (the data don't tell the
    `leader` from a cheaper one, which is the one to take), UNSURE (the leader is taken), UNKNOWN (no odds: the one that
    measured best is taken; `why` says why) or NOTHING (no network keeps the wishes).

    Of the sweep's `networks` that have a result, `fitting` fit, and odds are of `compared` of them; `open` are those
    that fit and have no result, `unknown_costs` counts those of which a wished cost isn't known. `cost` is the one that
    steps and "cheaper" are about: that of the first upper bound, else MAdds. `lost_if_wrong` is lost on average where
    the one to take is not the best. `tuned` is its score after training on by itself, where it was. `others` are kinds
    of start with the network that is best of each. Scores are fractions or whatever the task's score is.
    """

    sweep: str
    folder: Path
    score: Score
    wishes: tuple[Constraint, ...]
    at_least: float
    within: float
    verdict: str
    networks: int
    fitting: int = 0
    compared: int = 0
    open: tuple[str, ...] = ()
    unknown_costs: int = 0
    cost: str = SHOWN[0]
    taken: Candidate | None = None
    leader: Candidate | None = None
    rivals: tuple[Candidate, ...] = ()
    lost_if_wrong: float | None = None
    cheaper: Step | None = None
    better: Step | None = None
    settling: tuple[Settling, ...] = ()
    nearest: Nearest | None = None
    images: int = 0
    knows_seeds: bool = False
    why: str = ""
    tuned: float | None = None
    kind: str = ""
    others: tuple[tuple[str, str, float], ...] = ()
    device: str = ""
    command: str = ""
