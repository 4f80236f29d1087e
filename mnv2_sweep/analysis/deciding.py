"""What a sweep is run for that decides itself (`run --until`): the question, the wishes, the networks that keep them;
and what can't be asked so.
"""

from dataclasses import dataclass

import numpy as np

from mnv2_sweep.analysis.odds import missing_images
from mnv2_sweep.analysis.until import Question
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.spaces.networks import Networks, Picked
from mnv2_sweep.spaces.space import Constraint, Space, Strategy
from mnv2_sweep.spaces.wishes import find_fitting, wish_text
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import BALANCED, MACRO_F1, TOP5, Score, find_task

SHARED = "shared"  # the strategy that trains all networks as one


@dataclass(frozen=True)
class Until:
    """What a sweep is run for: the `question`, the `wishes` that its networks keep, and of the whole space, with those
    that don't, how many different `networks` it has and their MAdds together; `score` ranks them."""

    question: Question
    wishes: tuple[Constraint, ...]
    networks: int
    madds: int
    score: Score

    @property
    def asked(self) -> dict:
        """Return the same question in the words of `analysis.recommend`."""
        question = self.question
        within = question.within * self.score.scale
        return {"where": [*map(wish_text, self.wishes)], "at_least": question.until, "within": within}


def choose_fitting(
    networks: Networks, question: Question, wishes: tuple[Constraint, ...]
) -> tuple[tuple[ArchSpec, ...], Until]:
    """Return the networks of a space that keep all wishes, the first of those that coincide, and what they are run for.
    Raises SpaceError where none does."""
    space, fits = networks.space, find_fitting(networks, wishes)
    _, different = np.unique(networks.names(), axis=0, return_index=True)
    madds, score = int(networks.costs.madds[different].sum()), score_of(space.task, space.recipe)
    fitting = tuple(Picked(networks, np.sort(different[fits[different]])))
    return fitting, Until(question, wishes, len(different), madds, score)


def score_of(task: str, recipe: Recipe) -> Score:
    """Return the score by which networks of that task and recipe are ranked. Raises SweepError."""
    return find_task(task).ranked_by(recipe.score).main


def check_until(space: Space, strategy: Strategy, seeds: int, images: bool) -> None:
    """Raise SweepError where networks of a space can't be stopped one by one, or no odds can be had of them."""
    if strategy.name == SHARED:
        raise SweepError(
            "--until: the networks of this space have their weights from one training of all for each seed, so none "
            "can be stopped by itself; add --separate to train each alone, or run all and ask 'mnv2-sweep recommend'"
        )
    if space.inits:
        raise SweepError(
            "--until: the space has an axis init, and networks that begin in different ways are judged kind by kind; "
            "give one of them as recipe.init, or leave --until out"
        )
    if not images:
        raise SweepError("--until --no-images: one of them; odds need to know which images each network got right")
    score = score_of(space.task, space.recipe)
    if score in (BALANCED, MACRO_F1, TOP5):
        raise SweepError(f"--until: {missing_images(score)}, so there are no odds; rank by another recipe.score")
    if seeds < 2:
        raise SweepError(
            "--until: one seed does not show how far training again moves a score; say how many a network may have at "
            "most, as in --seeds 5"
        )


def describe_until(until: Until, fitting: int, dry: bool = False) -> list[str]:
    """Return lines for a person: how many networks fit, and how many trainings it takes at most; `dry`: an estimate of
    their time follows."""
    most = until.question.most
    full, where = until.networks * most, " and ".join(map(wish_text, until.wishes))
    of = f"{fitting} of {count_noun(until.networks, 'network')} keep {where}, no other is trained"
    return [
        f"until     one network is the best with {100 * until.question.until:g} %: "
        + (of if where else count_noun(fitting, "network"))
        + "; a seed each, then seeds for those that may be the best",
        f"          at most {fitting} x {most} = {fitting * most} trainings, the full sweep has {full}"
        + ("; the time below is that of all of them" if dry else ""),
    ]
