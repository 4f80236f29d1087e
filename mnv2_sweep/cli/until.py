"""Options of sweeps that decide themselves -> what such a sweep is run for; shared by `run` and `plan`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.options import Wishes
from mnv2_sweep.spaces.space import Constraint, Space, Strategy
from mnv2_sweep.spaces.wishes import check_odds, check_within, read_wishes

if TYPE_CHECKING:
    from mnv2_sweep.analysis.until import Question


@dataclass(frozen=True)
class UntilOptions:
    """For what a sweep is run."""

    until: Annotated[
        float | None,
        typer.Option(
            metavar="PROBABILITY",
            help="Train only what decides which network is the best, until one is with this probability, as in 0.9: "
            "those that keep --where, a seed each, then seeds (at most --seeds) for those that may still be the best.",
        ),
    ] = None
    where: Wishes = None
    within: Annotated[
        float | None,
        typer.Option(
            help="With --until: so little behind the best is as good, in the score's unit; default: 0.5 points of a "
            "score in percent, else nothing.",
            show_default=False,
        ),
    ] = None


def read_until(
    options: UntilOptions, space: Space, strategy: Strategy, seeds: int, images: bool = True, **others: object
) -> "tuple[Question, tuple[Constraint, ...]] | None":
    """Return what the sweep of a space is run for, the question and the wishes, with at most so many seeds; None
    without --until. `images`: it is recorded which images each network got right; `others` are values of options
    that don't go with it. Raises SweepError."""
    if options.until is None:
        for name, value in (("--where", options.where), ("--within", options.within)):
            if value is not None:
                more = "; bounds on what a space trains are its constraints" if name == "--where" else ""
                raise SweepError(f"{name}: it is of --until; add --until 0.9, or leave it out{more}")
        return None
    check_odds("--until", options.until, "0.9")
    check_within(options.within)
    for name, value in others.items():
        if value is not None:
            raise SweepError(f"--until --{name}: one of them; --until stops by itself, after --seeds at the latest")
    wishes = read_wishes(options.where or ())

    from mnv2_sweep.analysis.deciding import check_until, score_of
    from mnv2_sweep.analysis.recommend import WITHIN
    from mnv2_sweep.analysis.until import Question

    check_until(space, strategy, seeds, images)
    score = score_of(space.task, space.recipe)
    within = options.within if options.within is not None else WITHIN if score.unit == "%" else 0.0
    return Question(options.until, within / score.scale, seeds), wishes
