"""SweepRequest (what a person asks for) -> Session (a sweep that is ready to run), and what it says of itself.

Opening checks everything that can be checked before a minute is spent, and writes nothing; preparing writes the sweep's
files and makes the images of every size once.
"""

import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.files import link_file
from mnv2_sweep.base.size import size_range
from mnv2_sweep.base.text import count_noun, millions, percent
from mnv2_sweep.data.batches import prepare_pixels
from mnv2_sweep.data.catalog import Dataset, find_truth
from mnv2_sweep.data.describe import describe_classes, describe_photos, describe_splits
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.pretrained.folder import weights_folder, write_weights
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.record.claims import read_claims
from mnv2_sweep.record.store import Outcome, read_outcomes, record_all, write_schedule, write_truth
from mnv2_sweep.spaces.space import ALONE, Kind, Strategy
from mnv2_sweep.sweeps.keep import Earlier, keep_lines
from mnv2_sweep.sweeps.schedule import (
    DATA,
    check_sweep,
    count_failed,
    count_others,
    find_reusable,
    missing_trials,
    schedule_trials,
    write_sweep_files,
)
from mnv2_sweep.sweeps.settings import RunSettings
from mnv2_sweep.sweeps.starts import add_starts, describe_starts, find_starts
from mnv2_sweep.training.loop import count_steps
from mnv2_sweep.training.ways.way import Conditions, work_of
from mnv2_sweep.trials.differences import first_of_kinds
from mnv2_sweep.trials.executed import executed_fraction, executed_text, find_scale_in_step, spread_warning
from mnv2_sweep.trials.recipe import Recipe, check_recipe
from mnv2_sweep.trials.tasks import LEAST_TOP5_CLASSES, TOP5, find_task, task_of
from mnv2_sweep.trials.trial import CLASSIFY, DataRef, Trial
from mnv2_sweep.trials.ways import find_strategy, is_kept, kept_paths, way_of
from mnv2_sweep.trials.weights import WeightsRecord

USUAL_MOMENTUM = 0.1  # of batch norms; the default of Recipe.norm_momentum
MOST_LEFT = 0.05  # of the statistics that batch norms begin with, at the end of a training


@dataclass(frozen=True)
class SweepRequest:
    """What a person asks for: networks, recipe, seeds and data, the folder of the results, and how to run them.

    `data_name` is the name or path by which workers open the data set. With `counts` a network has that many of the
    seeds only, the first ones. `source` is kept as the sweep's space.yaml, `command` in its env.json. A dry run ends
    after the plan; without `announced` there is neither a plan nor an estimate of the time. `more` are kinds of start
    that the networks have as well, see `Space.inits`; `says_padding`, whether somebody said how they pad. `is_part`:
    other trials of the sweep are asked for elsewhere, so those that are planned stay. `base` are weights with which all
    begin, which the folder of weights need not have yet.
    """

    folder: Path
    archs: Sequence[ArchSpec]
    recipe: Recipe
    seeds: Sequence[int]
    dataset: Dataset
    data_name: str
    device: str = "cpu"
    settings: RunSettings = RunSettings(1)
    strategy: Strategy = ALONE
    task: str = CLASSIFY
    counts: Mapping[ArchSpec, int] | None = None
    retry_failed: bool = False
    dry_run: bool = False
    announced: bool = True
    source: str = ""
    command: str = ""
    more: tuple[Kind, ...] = ()
    is_part: bool = False
    says_padding: bool = False
    base: Weights | None = None

    @property
    def data(self) -> DataRef:
        """Return the data set as trials name it."""
        return DataRef(self.dataset.name, self.dataset.fingerprint, len(self.dataset.classes))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return how the networks begin and are trained."""
        return (Kind(self.recipe, self.strategy), *self.more)

    @cached_property
    def starts(self) -> tuple[dict[ArchSpec, WeightsRecord], ...]:
        """Return for each kind the weights with which each network begins, where the recipe asks for some; beside
        another kind, networks of which there are none are left out. Raises WeightsError."""
        if self.base is not None:
            return (dict.fromkeys(self.archs, self.base.record),)
        return tuple(find_starts(self.archs, kind.recipe, bool(self.more), self.says_padding) for kind in self.kinds)

    @property
    def marks(self) -> dict:
        """Return what the trials of the first kind have in common beside recipe and data, see `marks_of`."""
        return self.marks_of(self.kinds[0])

    def marks_of(self, kind: Kind) -> dict:
        """Return what the trials of a kind have in common beside recipe and data. Raises SweepError where the networks
        can't be trained as the strategy says."""
        work, images = find_strategy(kind.strategy.name).work, len(self.dataset.labels["train"])
        return {"task": self.task} | work.mark(kind.strategy, self.archs, kind.recipe, images)

    @property
    def later_marks(self) -> dict | None:
        """Return the same of what is trained once the front is known; None for nothing."""
        marks, work = self.marks, find_strategy(self.strategy.name).work
        later = work.mark_later(self.strategy, marks)
        return None if later is None else marks | later


@dataclass(frozen=True)
class Session:
    """A sweep that is ready to run: `trials` scheduled, `reused` results of other sweeps, `missing` the trials still to
    do, in the order they will run."""

    request: SweepRequest
    trials: tuple[Trial, ...]
    reused: tuple[Outcome, ...]
    missing: tuple[Trial, ...]

    @property
    def folder(self) -> Path:
        return self.request.folder

    @property
    def preparations(self) -> tuple[str, ...]:
        """Return the names of what the missing trials need made once for many, in their order."""
        names = (work_of(trial).preparation(trial) for trial in self.missing)
        return tuple(dict.fromkeys(name for name in names if name is not None))


def open_session(request: SweepRequest, tuned: Sequence[ArchSpec] = ()) -> Session:
    """Check everything that can be checked before a minute is spent. Raises SweepError; writes nothing.

    `tuned` are those networks which are also trained on by themselves.
    """
    check_recipes(request)
    dataset, task = request.dataset, find_task(request.task)
    classes = task.outputs(len(dataset.classes))
    for arch in request.archs:
        task.check_head(arch.head)
        if arch.classes < classes:
            raise SweepError(
                f"classes: {arch.classes} given, but {dataset.name} has {classes}; "
                f"leave classes out, or give at least {classes}"
            )
    if not request.dry_run:
        check_place(request.folder)
    trials = schedule_request(request)
    if tuned:
        trials += schedule_trials(tuned, request.recipe, request.data, request.seeds, request.later_marks)
    missing = missing_trials(trials, request.folder, request.retry_failed)
    reused = tuple(find_reusable(missing, request.folder))
    known = {outcome.trial for outcome in reused}
    return Session(request, trials, reused, tuple(trial for trial in missing if trial not in known))


def check_recipes(request: SweepRequest) -> None:
    """Raise SweepError for mistakes of the recipes, and for scores that can't rank these networks."""
    for kind in request.kinds:
        check_recipe(kind.recipe)
    first, count = request.recipe.score, len(request.dataset.classes)
    if other := next((kind.recipe.score for kind in request.kinds if kind.recipe.score != first), None):
        raise SweepError(f"recipe.score: {first} and {other} given; networks are ranked by one score, give the same")
    if first == TOP5.name and count < LEAST_TOP5_CLASSES:
        raise SweepError(
            f"recipe.score: {first} given, but {request.dataset.name} has {count} classes; it says something from "
            f"{LEAST_TOP5_CLASSES} on; leave it out, or give another score"
        )


def check_place(folder: Path) -> None:
    """Raise StoreError where nothing can be written in the folder, or in the first above it that is there."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({error.strerror}); choose another --results folder") from error


def schedule_request(request: SweepRequest) -> tuple[Trial, ...]:
    """Return the trials that are asked for, kind by kind. Raises SweepError."""
    return tuple(
        trial for kind, starts in zip(request.kinds, request.starts, strict=True)
        for trial in _schedule_kind(request, kind, starts)
    )  # fmt: skip


def _schedule_kind(request: SweepRequest, kind: Kind, starts: dict[ArchSpec, WeightsRecord]) -> tuple[Trial, ...]:
    recipe, data, seeds, counts = kind.recipe, request.data, request.seeds, request.counts
    marks, archs = request.marks_of(kind), [arch for arch in request.archs if arch in starts or not starts]
    if counts is None:
        return schedule_trials(archs, recipe, data, seeds, marks, starts)
    with_seed = [(seed, [arch for arch in archs if at < counts[arch]]) for at, seed in enumerate(seeds)]
    return tuple(
        trial for seed, some in with_seed for trial in schedule_trials(some, recipe, data, [seed], marks, starts)
    )


def check_strategy(strategy: Strategy, settings: RunSettings) -> None:
    """Raise SweepError where networks that get their weights so can't be run so."""
    conditions = Conditions(settings.budget_seconds is not None, settings.cuda_graphs, settings.executor)
    find_strategy(strategy.name).work.refuse(conditions)


def describe_schedule(session: Session) -> list[str]:
    """Return lines for a person: networks, trials, MAdds range, training sizes."""
    kinds: dict[str, dict[ArchSpec, None]] = {}
    for trial in session.trials:
        kinds.setdefault(trial.recipe.init, {})[trial.arch] = None
    networks = max(kinds.values(), key=len)
    starts = f", each from {' and from '.join(kinds)}" if len(kinds) > 1 else ""
    madds = [count_cost(arch).madds for arch in networks]
    low, high = millions(min(madds)), millions(max(madds))
    madds_text = f"{low if low == high else f'{low} to {high}'} MAdds at the nominal resolution"
    others = count_others(session.trials, session.folder)
    text = f"{session.folder} has {count_noun(others, 'result')} of other networks or seeds, also in tables"
    done, notes = _describe_known(session, session.trials, [f"note      {text}"] if others else [])
    return [
        describe_splits(session.request.dataset),
        *describe_photos(session.request.dataset),
        *describe_classes(session.request.dataset, task_of(session.trials[0]).main),
        f"networks  {len(networks)}{starts}, {madds_text}",
        *describe_recipes(session.trials),
        *describe_starts(session.trials),
        *_describe_left_out(session),
        *_norm_notes(session.trials, len(session.request.dataset.labels["train"])),
        f"trials    {len(session.trials)} ({done} done, {len(session.missing)} to run), seeds {_seeds(session.trials)}",
        *keep_lines(session.trials, session.request.settings.keep_here, find_earlier(session)),
        *notes,
    ]


def find_earlier(session: Session) -> Earlier:
    """Return what earlier runs have kept in the session's folder."""
    return Earlier(session.folder, session.trials, ended=not (session.missing or session.reused))


def describe_recipes(trials: Sequence[Trial]) -> list[str]:
    """Return a line for a person on how networks are trained, for each kind of start."""
    kinds = {trial.recipe.init: trial for trial in reversed(trials)}
    lines = []
    for init, first in reversed(kinds.items()):
        recipe, of_kind = first.recipe, [trial for trial in trials if trial.recipe.init == init]
        sizes = f"{size_range(trial.train_size for trial in of_kind)} px"
        text = f"{work_of(first).length_text(first)}, trained at {sizes} (input scale {recipe.input_scale:g})"
        begun = f"from {init}, {count_noun(len(of_kind), 'trial')}: " if len(kinds) > 1 else ""
        lines += [f"recipe    {begun}{recipe.name}: {text}", *_executed_lines({t.arch: None for t in of_kind}, recipe)]
    return lines


def _describe_left_out(session: Session) -> list[str]:
    """Return a line on each kind of start that some networks can't have."""
    request, lines = session.request, []
    for kind, starts in zip(request.kinds, request.starts, strict=True):
        without = [arch_label(arch) for arch in request.archs if starts and arch not in starts]
        if without:
            names = f"{', '.join(without[:3])}{' and more' if len(without) > 3 else ''}"
            lines.append(f"note      no {kind.recipe.init} weights here of {names}: not in that order")
    return lines


def _norm_notes(trials: Sequence[Trial], train_images: int) -> list[str]:
    """Say where a training ends before its batch norms have statistics of their own (Recipe.norm_momentum)."""
    lines = []
    for trial in first_of_kinds(trials).values():
        momentum, steps = trial.recipe.norm_momentum, count_steps(trial.recipe, train_images)[0]
        left = (1 - momentum) ** steps
        if momentum < USUAL_MOMENTUM and left >= MOST_LEFT:
            began = f"{percent(left, 0)} % of the statistics they began with"
            momenta = f"recipe.norm_momentum is {momentum:g}; {USUAL_MOMENTUM:g} suits so short a training"
            lines.append(f"note      after {count_noun(steps, 'step')} batch norms have {began}: {momenta}")
    return lines


def _executed_lines(archs: Collection[ArchSpec], recipe: Recipe) -> list[str]:
    """Say what training executes of the nominal costs, where that is not all, and where costs don't keep in step."""
    if recipe.input_scale == 1:
        return []
    fractions = [executed_fraction(arch, recipe) for arch in archs]
    warning = spread_warning(fractions, lambda: find_scale_in_step([*archs], recipe))
    return [f"warning   {warning}" if warning else f"executed  {executed_text(fractions)}"]


def describe_tuning(session: Session) -> list[str]:
    """Return lines for a person, of a session whose networks are all there: which of them are trained on by
    themselves."""
    tuned = [trial for trial in session.trials if way_of(trial).goes_on]
    networks, length = len({trial.arch for trial in tuned}), work_of(tuned[0]).length_text(tuned[0])
    done, notes = _describe_known(session, tuned)
    return [
        f"finetune  {count_noun(networks, 'network')} of the front, {length}",
        f"trials    {len(tuned)} ({done} done, {len(session.missing)} to run), seeds {_seeds(tuned)}",
        *notes,
    ]


def _describe_known(session: Session, trials: Sequence[Trial], notes: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Return how many of the trials this sweep has done, and lines on the rest of those that are not missing, with
    `notes`."""
    failed = count_failed(set(trials) - set(session.missing), session.folder)
    sources = Counter(outcome.source for outcome in session.reused)
    notes = [f"reused    {count_noun(count, 'result')} of sweep {name}" for name, count in sources.items()] + [*notes]
    if failed:
        notes.append(f"note      {count_noun(failed, 'trial')} failed earlier; --retry-failed tries them again")
    return len(trials) - len(session.missing) - len(session.reused) - failed, notes


def _seeds(trials: Sequence[Trial]) -> str:
    seeds = sorted({trial.seed for trial in trials})
    if len(seeds) > 8:
        return f"{seeds[0]} to {seeds[-1]} ({len(seeds)} of them)"
    return ", ".join(map(str, seeds))


def find_prepared(session: Session) -> set[str]:
    """Return the names of the preparations of what is missing that are made."""
    there = {trial: work_of(trial).preparation(trial) for trial in session.missing}
    return {name for trial, name in there.items() if name and work_of(trial).is_prepared(session.folder, trial)}


def prepare_session(session: Session, environment: dict) -> Iterator[tuple[int, int]]:
    """Write the sweep's files and reused results, and make the images of every size once, so that workers read; yields
    how many of how many sizes are made."""
    request = session.request
    add_weights_of(request)
    # Another run may have begun since the session was opened.
    check_sweep(session.folder, session.trials, read_outcomes(session.folder))
    write_sweep_files(session.folder, request.source, {**environment, DATA: request.data_name})
    write_schedule(session.folder, session.trials, replace=not (request.is_part or read_claims(session.folder)))
    write_truth(session.folder, request.dataset.fingerprint, find_truth(request.dataset))
    if session.reused:
        adopt_weights(session.folder, session.reused)  # first: who finds the results there does not look for weights
        record_all(session.folder, session.reused)
    sizes = sorted({trial.train_size for trial in session.missing}, key=lambda size: size.area)
    for done, size in enumerate(sizes, 1):
        prepare_pixels(request.dataset, size, request.recipe.eval_crop)
        yield done, len(sizes)


def add_weights_of(request: SweepRequest) -> None:
    """Put the weights with which networks begin into the folder of weights, where trials find them. Raises
    WeightsError."""
    if request.base is not None:
        write_weights(request.base, weights_folder())
    else:
        add_starts(kind.recipe for kind in request.kinds)


def adopt_weights(folder: Path, reused: Sequence[Outcome]) -> None:
    """Take over the weights of networks that other sweeps have measured, so that they can be exported and trained on
    here as well: from whichever sweep still has them. Raises StoreError."""
    for trial in (outcome.trial for outcome in reused):
        if is_kept(folder, trial):
            continue
        found = ((theirs, path) for path in kept_paths(folder, trial) for theirs in _files_like(path))
        found = next(((theirs, path) for theirs, path in found if work_of(trial).holds(theirs, trial)), None)
        if found:
            theirs, path = found
            try:
                link_file(theirs, path)
            except OSError as error:
                raise StoreError(f"{path}: can't be written ({error.strerror}); mend that and run again") from error


def _files_like(path: Path) -> list[Path]:
    """Return the files of the same name of the sweeps beside this one."""
    return sorted(path.parent.parent.parent.glob(f"*/{path.parent.name}/{path.name}"))
