"""What networks learn: the tasks, the scores they are told apart by, and how people say these; no torch.

What a task does with a network's outputs stands in its module in `tasks/`, which is imported when it is first trained.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import CLASSIFIER, ArchSpec
from mnv2_sweep.trials.trial import CLASSIFY, Trial

LEAST_TOP5_CLASSES = 11  # from which on the five largest outputs say something


@cache
def load_work(module: str):
    """Return the `WORK` of a module, which is imported when it is first asked."""
    return import_module(module).WORK


@dataclass(frozen=True, slots=True)
class Score:
    """A number that says how good a network is on a split: its name in records and columns, its name for people, and
    what makes the number that is shown of it, in `unit`. A mean over right and wrong images is a `fraction`, of which
    Wilson's interval can be taken."""

    name: str
    label: str
    scale: float = 100.0
    unit: str = "%"
    larger_is_better: bool = True
    fraction: bool = True

    @property
    def highest(self) -> float:
        """Return the largest number that can be shown of it; infinity where there is none."""
        return self.scale if self.unit == "%" else math.inf

    @property
    def sign(self) -> int:
        """Return what a value is multiplied with so that larger is better."""
        return 1 if self.larger_is_better else -1

    @property
    def difference_unit(self) -> str:
        """Return the unit of a difference of two shown numbers."""
        return "points" if self.unit == "%" else self.unit or self.label

    def number(self, value: float | None, digits: int = 1) -> str:
        """Return a value as it is shown, without its unit, 0.934 as "93.4"; "-" for what was not measured."""
        return "-" if value is None or value != value else f"{self.scale * value:.{digits}f}"

    def amount(self, value: float | None, digits: int = 1) -> str:
        """Return a value with its unit, as in "93.4 %"."""
        return f"{self.number(value, digits)} {self.unit}".rstrip()

    def said(self, value: float | None, digits: int = 1) -> str:
        """Return the name and the value, as in "top-1 93.4 %"."""
        return f"{self.label} {self.amount(value, digits)}"

    def titled(self, split: str) -> str:
        """Return a title for an axis or a column, as in "validation top-1 (%)"."""
        return f"{split} {self.label}" + (f" ({self.unit})" if self.unit else "")


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of thing that networks learn: the score that ranks them, the module with its `WORK` (a `tasks.task.Work`),
    how many outputs the head that is trained has for data of so many classes, the other scores that can rank, and the
    kinds of head that it trains."""

    name: str
    main: Score
    module: str
    outputs: Callable[[int], int] = lambda classes: classes
    others: tuple[Score, ...] = ()
    heads: tuple[str, ...] = (CLASSIFIER,)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Return all that can rank, the one that does first."""
        return (self.main, *self.others)

    def ranked_by(self, name: str) -> "Task":
        """Return the task with the score of that name as its main one; as it is where it has no such score."""
        main = next((score for score in self.scores if score.name == name), self.main)
        return self if main is self.main else _with_main(self, main)

    @property
    def work(self):
        """Return what the task does in training and evaluation."""
        return load_work(self.module)

    def check_head(self, head: str) -> None:
        """Raise SweepError where this task does not train networks with that head."""
        if head not in self.heads:
            raise SweepError(
                f"head: {head} given, but task {self.name} trains {' | '.join(self.heads)}; networks with other heads "
                "are counted only (count, plan)"
            )

    def head(self, arch: ArchSpec, classes: int) -> ArchSpec:
        """Return the network with the head that is trained on data of so many classes; the spec's own is nominal."""
        return replace(arch, classes=self.outputs(classes))


@cache
def _with_main(task: Task, main: Score) -> Task:
    return replace(task, main=main, others=tuple(score for score in task.scores if score is not main))


TOP1 = Score("top1", "top-1")
BALANCED = Score("balanced_accuracy", "balanced accuracy", fraction=False)
MACRO_F1 = Score("macro_f1", "macro-F1", fraction=False)
TOP5 = Score("top5", "top-5")
UNPREDICTED = "unpredicted"  # beside the scores of a classification: how many of the split's classes no image was given
MAP, MAP50 = Score("map", "mAP", fraction=False), Score("map50", "mAP@0.5", fraction=False)
MIOU = Score("miou", "mIoU", fraction=False)
PIXELS_RIGHT = Score("pixel_accuracy", "pixel accuracy", fraction=False)
CLASSIFICATION = Task(CLASSIFY, TOP1, "mnv2_sweep.tasks.classify", others=(BALANCED, MACRO_F1, TOP5))
TASKS = {task.name: task for task in (CLASSIFICATION,)}


def find_task(name: str) -> Task:
    """Return the task of that name. Raises SweepError."""
    if name not in TASKS:
        raise SweepError(f"task: '{name}' given, {' | '.join(TASKS)} allowed")
    return TASKS[name]


def task_of(trial: Trial) -> Task:
    """Return what the trial's network learns, with the score that its recipe ranks by as the main one. Raises
    SweepError where this version has no such task."""
    return find_task(trial.task).ranked_by(trial.recipe.score)


def work_of(trial: Trial):
    """Return what the trial's task does with its network, in training and evaluation."""
    return task_of(trial).work.of(trained_network(trial))


def trained_arch(trial: Trial, arch: ArchSpec | None = None) -> ArchSpec:
    """Return the trial's network, or another one of its sweep, with the head that is trained."""
    return task_of(trial).head(arch or trial.arch, trial.data.classes)


def trained_classes(trial: Trial) -> int:
    """Return how many outputs the head that is trained has."""
    return task_of(trial).outputs(trial.data.classes)


def trained_network(trial: Trial) -> ArchSpec:
    """Return the trial's network at the size and with the head that it is trained with."""
    size = trial.train_size.plain
    return trained_arch(trial, trial.arch if size == trial.arch.resolution else replace(trial.arch, resolution=size))


def main_score(columns: Iterable[str]) -> Score:
    """Return the main score of a table of trials or networks, by its columns, among which it comes before the other
    scores: top-1 where they show none."""
    known = {f"test_{score.name}": score for task in TASKS.values() for score in task.scores}
    return next((known[column] for column in columns if column in known), TOP1)
