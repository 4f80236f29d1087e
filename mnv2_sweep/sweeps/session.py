"""What `run` and `ablate` share: networks + recipe + data -> trials, their price, their results on disk."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch

from mnv2_sweep.base.errors import ArchError, StoreError, SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.cli.display import Report, SweepDisplay
from mnv2_sweep.data.batches import prepare_pixels
from mnv2_sweep.data.catalog import Dataset, cache_folder, open_dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.nets.supernet import check_supernet, supernet_digest
from mnv2_sweep.record.claims import read_claims
from mnv2_sweep.record.folders import link_file, stack_path, weights_path
from mnv2_sweep.record.store import Outcome, read_outcomes, record_all, write_plan
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.planned import (
    DATA,
    check_sweep,
    count_failed,
    count_others,
    find_reusable,
    missing_trials,
    plan_trials,
    write_sweep_files,
)
from mnv2_sweep.sweeps.pool import Source, run_pool
from mnv2_sweep.sweeps.settings import RunSettings
from mnv2_sweep.sweeps.work import Need, Work, do_work
from mnv2_sweep.training.checkpoint import is_whole
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import count_steps, run_trial
from mnv2_sweep.training.shared import RANDOM, Group, has_weights, run_shared_trial, tuned_path
from mnv2_sweep.training.stacked import group_seeds, has_seed, run_stacked_trial
from mnv2_sweep.trials.trial import (
    DataRef,
    Recipe,
    Result,
    Sharing,
    Trial,
    check_recipe,
    shared_id,
    trial_header,
    trial_id,
)

MOST_ALONE = 24  # networks that the default length of a shared training makes up for


@dataclass(frozen=True)
class Session:
    """A sweep that is ready to run: `trials` planned, `reused` results of other sweeps, `missing` the trials still to
    do, in the order they will run."""

    folder: Path
    dataset: Dataset
    data_name: str
    trials: tuple[Trial, ...]
    reused: tuple[Outcome, ...]
    missing: tuple[Trial, ...]
    device: str
    archs: tuple[ArchSpec, ...] = ()  # that share weights, where the trials do


def open_session(
    folder: Path,
    archs: Sequence[ArchSpec],
    recipe: Recipe,
    seeds: Sequence[int],
    data: tuple[Dataset, str],
    device: str,
    retry_failed: bool = False,
    shared: Sharing | None = None,
    tuned: Sequence[ArchSpec] = (),
    counts: Mapping[ArchSpec, int] | None = None,
) -> Session:
    """Check everything that can be checked before a minute is spent. Raises SweepError; writes nothing.

    With `shared` all networks share weights; `tuned` are those of them that are also trained on by themselves. With
    `counts` a network has that many of the seeds only, the first ones.
    """
    check_recipe(recipe)
    dataset, data_name = data
    classes = len(dataset.classes)
    for arch in archs:
        if arch.classes < classes:
            raise SweepError(
                f"classes: {arch.classes} given, but {dataset.name} has {classes}; "
                f"leave classes out, or give at least {classes}"
            )
    reference = DataRef(dataset.name, dataset.fingerprint, classes)
    plain = shared and replace(shared, finetune=None)
    if counts is None:
        trials = plan_trials(archs, recipe, reference, seeds, plain)
    else:
        with_seed = [(seed, [arch for arch in archs if at < counts[arch]]) for at, seed in enumerate(seeds)]
        trials = tuple(
            trial for seed, some in with_seed for trial in plan_trials(some, recipe, reference, [seed], plain)
        )
    if tuned:
        trials += plan_trials(tuned, recipe, reference, seeds, shared)
    missing = missing_trials(trials, folder, retry_failed)
    reused = tuple(find_reusable(missing, folder))
    known = {outcome.trial for outcome in reused}
    missing = tuple(trial for trial in missing if trial not in known)
    supernet = tuple(archs) if shared else ()
    return Session(folder, dataset, data_name, trials, reused, missing, device, supernet)


def make_sharing(strategy: Strategy, archs: Sequence[ArchSpec], recipe: Recipe, train_images: int) -> Sharing | None:
    """What the trials of a shared training have in common; None for networks that are trained alone. Raises ArchError
    where they can't share weights.

    Without a number of images, the networks of a step see as many in all as each network alone would have, together:
    at most four networks a step; more than MOST_ALONE networks count as so many.
    """
    if strategy.name == "separate":
        return None
    try:
        check_supernet(archs)
    except ArchError as error:
        raise ArchError(f"strategy shared: {error}; or train each alone, with --separate") from error
    images = strategy.images
    if images is None:
        alone = count_steps(recipe, train_images)[0] * recipe.batch
        networks = len({arch_key(arch) for arch in archs})
        images = round(alone * max(1.0, min(networks, MOST_ALONE) / (1 + RANDOM)))
    return Sharing(supernet_digest(archs), images, strategy.finetune)


def describe_plan(session: Session) -> list[str]:
    """Lines for a person: networks, trials, MAdds range, training sizes."""
    networks = {trial.arch: None for trial in session.trials}
    madds = [count_cost(arch).madds for arch in networks]
    sizes = [trial.train_size for trial in session.trials]
    recipe = session.trials[0].recipe
    length = f"{recipe.images:,} images each" if recipe.images else f"{recipe.epochs:g} epochs each"
    shared = session.trials[0].shared
    if shared:
        length = f"one training of {shared.images:,} images for all networks, which share its weights"
    sizes_text = f"{min(sizes)} px" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)} px"
    low, high = f"{min(madds) / 1e6:,.1f}M", f"{max(madds) / 1e6:,.1f}M"
    madds_text = f"{low if low == high else f'{low} to {high}'} MAdds at the nominal resolution"
    counts = ", ".join(f"{len(labels):,} {split}" for split, labels in session.dataset.labels.items())
    others = count_others(session.trials, session.folder)
    text = f"{session.folder} has {count_noun(others, 'result')} of other networks or seeds, also in tables"
    done, notes = _describe_known(session, session.trials, [f"note      {text}"] if others else [])
    return [
        f"data      {session.dataset.name}: {len(session.dataset.classes)} classes; {counts}",
        f"networks  {len(networks)}, {madds_text}",
        f"recipe    {recipe.name}: {length}, trained at {sizes_text} (input scale {recipe.input_scale:g})",
        f"trials    {len(session.trials)} ({done} done, {len(session.missing)} to run), seeds {_seeds(session.trials)}",
        *notes,
    ]


def describe_tuning(session: Session) -> list[str]:
    """Lines for a person, of a session whose slices are all there: which of them are trained on by themselves."""
    tuned = [trial for trial in session.trials if trial.shared.finetune is not None]
    networks, epochs = len({trial.arch for trial in tuned}), tuned[0].shared.finetune
    done, notes = _describe_known(session, tuned)
    return [
        f"finetune  {count_noun(networks, 'network')} of the front, {epochs:g} epoch{'' if epochs == 1 else 's'} each",
        f"trials    {len(tuned)} ({done} done, {len(session.missing)} to run), seeds {_seeds(tuned)}",
        *notes,
    ]


def _describe_known(session: Session, trials: Sequence[Trial], notes: Sequence[str] = ()) -> tuple[int, list[str]]:
    """How many of the trials this sweep has done, and lines on the rest of those that are not missing, with `notes`."""
    failed = count_failed(set(trials) - set(session.missing), session.folder)
    sources = Counter(outcome.source for outcome in session.reused)
    notes = [f"reused    {count_noun(count, 'result')} of sweep {name}" for name, count in sources.items()] + [*notes]
    if failed:
        notes.append(f"note      {count_noun(failed, 'trial')} failed earlier; --retry-failed tries them again")
    return len(trials) - len(session.missing) - len(session.reused) - failed, notes


def find_trained(session: Session) -> set[str]:
    """The shared trainings of what is missing whose weights are there."""
    shared = [trial for trial in session.missing if trial.shared]
    return {shared_id(trial) for trial in shared if has_weights(weights_path(session.folder, trial), trial)}


def _seeds(trials: Sequence[Trial]) -> str:
    seeds = sorted({trial.seed for trial in trials})
    if len(seeds) > 8:
        return f"{seeds[0]} to {seeds[-1]} ({len(seeds)} of them)"
    return ", ".join(map(str, seeds))


def prepare_session(session: Session, space_text: str, environment: dict, report: Report) -> None:
    """Write the sweep's files and reused results, and make the images of every size once, so that workers read."""
    # Another run may have begun since the session was opened.
    check_sweep(session.folder, session.trials, read_outcomes(session.folder))
    write_sweep_files(session.folder, space_text, {**environment, DATA: session.data_name})
    write_plan(session.folder, session.trials, replace=not read_claims(session.folder))
    if session.reused:
        adopt_weights(session.folder, session.reused)  # first: who finds the results there does not look for weights
        record_all(session.folder, session.reused)
    sizes = sorted({trial.train_size for trial in session.missing})
    for done, size in enumerate(sizes, 1):
        prepare_pixels(session.dataset, size)
        report(done, len(sizes))


def adopt_weights(folder: Path, reused: Sequence[Outcome]) -> None:
    """Take over the weights of slices that other sweeps have measured, so that they can be exported and trained on here
    as well: from whichever sweep still has them. Raises StoreError."""
    for trial in (outcome.trial for outcome in reused if outcome.trial.shared):
        ours = weights_path(folder, trial)
        pairs = [(path, ours) for path in _files_like(ours) if has_weights(path, trial)]
        if trial.shared.finetune is not None:
            tuned = tuned_path(ours, trial)
            pairs += [(path, tuned) for path in _files_like(tuned) if is_whole(path, trial_header(trial))]
        for theirs, path in pairs:
            if not path.exists():
                try:
                    link_file(theirs, path)
                except OSError as error:
                    raise StoreError(f"{path}: can't be written ({error.strerror}); mend that and run again") from error


def _files_like(path: Path) -> list[Path]:
    """Those of the same name of the sweeps beside this one."""
    return sorted(path.parent.parent.parent.glob(f"*/{path.parent.name}/{path.name}"))


def run_session(
    session: Session, settings: RunSettings, display: SweepDisplay, stop: Callable[[], bool]
) -> Iterator[Outcome]:
    """Do what is missing, beside whatever other runs do; each outcome is on disk before it is shown and yielded."""
    groups = find_groups(session, settings)
    with display, Work(session.folder, session.missing, find_need=partial(_find_need, session.folder, groups)) as work:

        def tick() -> None:
            work.tick()
            display.tick(work.elsewhere)

        source = Source(work.take, work.others, stop, tick)
        with closing(do_work(work, _start(session, settings, source, groups))) as outcomes:
            for outcome in outcomes:
                display.ended(outcome, work.is_retried(outcome))
                yield outcome


def find_groups(session: Session, settings: RunSettings) -> dict[Trial, tuple[Trial, ...]]:
    """Trials of which several are trained as one -> all that are trained with them."""
    return group_seeds(session.missing) if settings.stacks_seeds else {}


def _find_need(folder: Path, groups: Mapping[Trial, tuple[Trial, ...]], trial: Trial) -> Need | None:
    """Weights that it is a slice of, or the results of the seeds that it is trained with."""
    if trial.shared:
        return Need(shared_id(trial), partial(has_weights, weights_path(folder, trial), trial))
    if trial in groups:
        group = groups[trial]
        return Need(trial_id(group[0]), lambda: all(has_seed(stack_path(folder, own), own) for own in group))
    return None


def _start(
    session: Session, settings: RunSettings, source: Source, groups: Mapping[Trial, tuple[Trial, ...]]
) -> Iterator[Outcome]:
    if settings.elsewhere is not None:
        attempts = Attempts(partial(train_on, session.device), session.folder, watch=settings.watch)
        return settings.elsewhere(attempts, source, session.dataset)
    families = None
    if session.archs:
        trainings = len({shared_id(trial) for trial in session.missing})
        families = Families(session.archs, session.folder, max(1, settings.workers // max(1, trainings)))
    stacks = Stacks(groups, session.folder) if groups else None
    function = partial(
        train_in_worker,
        session.data_name,
        cache_folder(),
        session.device,
        families=families,
        stacks=stacks,
        graphs=settings.cuda_graphs,
    )
    attempts = Attempts(function, session.folder, watch=settings.watch)
    limits = settings.limits
    # While the weights are trained, one worker does what as many would.
    if families and settings.memory_is_share and len(find_trained(session)) < trainings:
        limits = replace(limits, memory_bytes=families.threads * limits.memory_bytes)
    return run_pool(attempts, source, settings.workers, limits, settings.gpus)


@dataclass(frozen=True, slots=True)
class Families:
    """The networks that share weights, the sweep's folder, and how many threads each shared training may take."""

    archs: tuple[ArchSpec, ...]
    folder: Path
    threads: int


@dataclass(frozen=True, slots=True)
class Stacks:
    """Trials of which several are trained as one, with all that are trained with them, and the sweep's folder."""

    groups: Mapping[Trial, tuple[Trial, ...]]
    folder: Path


def train_in_worker(
    data_name: str,
    cache: Path,
    device: str,
    trial: Trial,
    control: Control,
    families: Families | None = None,
    stacks: Stacks | None = None,
    graphs: bool = False,
) -> Result:
    """What a worker process does with a trial; it opens the data once."""
    return train_on(device, _worker_dataset(data_name, cache), trial, control, families, stacks, graphs)


def train_on(
    device: str,
    dataset: Dataset,
    trial: Trial,
    control: Control,
    families: Families | None = None,
    stacks: Stacks | None = None,
    graphs: bool = False,
) -> Result:
    """Train in one thread, on the data that the trial names; shared weights in as many as they are given."""
    torch.set_num_threads(1)
    if dataset.fingerprint != trial.data.fingerprint:
        raise RuntimeError(f"{dataset.name} has changed since the sweep began; run the command again")
    if trial.shared:
        group = Group(families.archs, weights_path(families.folder, trial), families.threads)
        return run_shared_trial(trial, dataset, device, control, group)
    if stacks and trial in stacks.groups:
        paths = {own: stack_path(stacks.folder, own) for own in stacks.groups[trial]}
        return run_stacked_trial(trial, paths, dataset, device, control)
    return run_trial(trial, dataset, device, control, graphs)


@cache
def _worker_dataset(data_name: str, cache: Path) -> Dataset:
    return open_dataset(data_name, cache)
