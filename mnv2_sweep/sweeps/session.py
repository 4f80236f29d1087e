"""What `run` and `ablate` share: networks + recipe + data -> trials, their price, their results on disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.costs.cost import count_cost
from mnv2_sweep.data.batches import prepare_pixels
from mnv2_sweep.data.catalog import Dataset, cache_folder, open_dataset
from mnv2_sweep.errors import SweepError
from mnv2_sweep.sweeps.display import Report, SweepDisplay
from mnv2_sweep.sweeps.executor import run_pool
from mnv2_sweep.sweeps.store import Outcome, done_ids, forget_failures, read_outcomes
from mnv2_sweep.sweeps.sweep import count_others, missing_trials, plan_trials, run_sweep, write_sweep_files
from mnv2_sweep.training.train import run_trial
from mnv2_sweep.training.trial import DataRef, Recipe, Result, Trial, check_recipe, trial_id
from mnv2_sweep.words import count_noun

RUNNING = "running"


@dataclass(frozen=True)
class Session:
    """A sweep that is ready to run: `trials` planned, `missing` those without a result, in the order they will run."""

    folder: Path
    dataset: Dataset
    data_name: str
    trials: tuple[Trial, ...]
    missing: tuple[Trial, ...]
    device: str


def open_session(
    folder: Path,
    archs: Sequence[ArchSpec],
    recipe: Recipe,
    seeds: Sequence[int],
    data: tuple[Dataset, str],
    device: str,
) -> Session:
    """Check everything that can be checked before a minute is spent. Raises SweepError; writes nothing."""
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
    trials = plan_trials(archs, recipe, reference, seeds)
    return Session(folder, dataset, data_name, trials, missing_trials(trials, folder), device)


def choose_device(wanted: str) -> str:
    """auto | cpu | cuda -> cpu | cuda. Raises SweepError where there is no such device."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise SweepError(f"--device {wanted}: auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SweepError(
            "--device cuda: torch sees no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def describe_plan(session: Session) -> list[str]:
    """Lines for a person: networks, trials, MAdds range, training sizes."""
    networks = {trial.arch: None for trial in session.trials}
    madds = [count_cost(arch).madds for arch in networks]
    sizes = [trial.train_size for trial in session.trials]
    recipe = session.trials[0].recipe
    length = f"{recipe.images:,} images" if recipe.images else f"{recipe.epochs:g} epochs"
    sizes_text = f"{min(sizes)} px" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)} px"
    low, high = f"{min(madds) / 1e6:,.1f}M", f"{max(madds) / 1e6:,.1f}M"
    madds_text = f"{low if low == high else f'{low} to {high}'} MAdds at the nominal resolution"
    counts = ", ".join(f"{len(labels):,} {split}" for split, labels in session.dataset.labels.items())
    done = len(session.trials) - len(session.missing)
    others = count_others(session.trials, session.folder)
    note = f"note      {session.folder} has {count_noun(others, 'result')} of other networks or seeds, also in tables"
    return [
        f"data      {session.dataset.name}: {len(session.dataset.classes)} classes; {counts}",
        f"networks  {len(networks)}, {madds_text}",
        f"recipe    {recipe.name}: {length} each, trained at {sizes_text} (input scale {recipe.input_scale:g})",
        f"trials    {len(session.trials)} ({done} done, {len(session.missing)} to run), seeds {_seeds(session.trials)}",
        *([note] if others else []),
    ]


def _seeds(trials: Sequence[Trial]) -> str:
    seeds = sorted({trial.seed for trial in trials})
    if len(seeds) > 8:
        return f"{seeds[0]} to {seeds[-1]} ({len(seeds)} of them)"
    return ", ".join(map(str, seeds))


def prepare_session(session: Session, space_text: str, environment: dict, report: Report) -> None:
    """Write the sweep's files, and make the images of every size once, so that workers only read."""
    write_sweep_files(session.folder, space_text, environment)
    outcomes = read_outcomes(session.folder)
    if outcomes and not done_ids(outcomes):
        forget_failures(session.folder, {trial_id(trial) for trial in session.trials})
    sizes = sorted({trial.train_size for trial in session.missing})
    for done, size in enumerate(sizes, 1):
        prepare_pixels(session.dataset, size)
        report(done, len(sizes))


def run_session(session: Session, workers: int, display: SweepDisplay) -> Iterator[Outcome]:
    """Run what is missing; each outcome is on disk before it is shown and yielded."""
    function = partial(train_in_worker, session.data_name, cache_folder(), session.device)
    running = session.folder / RUNNING
    with display:
        executor = partial(run_pool, function, running=running, tick=display.tick, workers=workers)
        for outcome in run_sweep(session.missing, session.folder, executor):
            display.ended(outcome)
            yield outcome


def train_in_worker(data_name: str, cache: Path, device: str, trial: Trial, report) -> Result:
    """What a worker process does with a trial: one thread, the data opened once a process."""
    torch.set_num_threads(1)
    dataset = _worker_dataset(data_name, cache)
    if dataset.fingerprint != trial.data.fingerprint:
        raise RuntimeError(f"{data_name} has changed since the sweep began; run the command again")
    return run_trial(trial, dataset, device, report)


@cache
def _worker_dataset(data_name: str, cache: Path) -> Dataset:
    return open_dataset(data_name, cache)
