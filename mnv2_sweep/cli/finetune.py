"""The command `finetune`: a kept network as the start of a sweep of its own."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnv2_sweep.cli.options import RunOptions, Seeds, check_name, recipe_option
from mnv2_sweep.trials.trial import EMBEDDED

if TYPE_CHECKING:
    from mnv2_sweep.data.catalog import Dataset
    from mnv2_sweep.trials.trial import Trial


def finetune(
    network: Annotated[str, typer.Argument(help='As tables name it, "0.5 at 160", or 0.5@160.')],
    options: RunOptions,
    sweep: Annotated[
        str | None,
        typer.Option(help="A sweep's name; without one, the sweep that ran last and was not made by this command."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the network's trials.")] = 0,
    epochs: recipe_option("epochs", 4) = None,
    images: recipe_option("images") = None,
    seeds: Seeds = None,
    again: Annotated[
        bool, typer.Option("--again", help="Train those again whose weights were not kept, and keep them.")
    ] = False,
) -> None:
    """Train all layers of a kept network on, on its own data or other photos, as a sweep of its own."""
    from dataclasses import replace

    from mnv2_sweep.cli.display import show_sweep
    from mnv2_sweep.cli.open import open_run
    from mnv2_sweep.cli.run import show_results
    from mnv2_sweep.record.folders import FINETUNE, find_sweep
    from mnv2_sweep.sweeps.export import recorded_label
    from mnv2_sweep.sweeps.finetune import (
        choose_arch,
        choose_classifier,
        choose_recipe,
        describe_sweep,
        find_base,
        make_weights,
    )

    if again:
        name = options.name or f"{find_sweep(options.results, sweep, unless=FINETUNE).name}-finetune"
        raise typer.Exit(_train_again(options, check_name(name), network))
    folder = find_sweep(options.results, sweep, unless=FINETUNE)
    base = find_base(folder, network, seed)
    trial, name = base.trial, check_name(options.name or f"{folder.name}-finetune")
    recipe = choose_recipe(trial, epochs, images)
    opened = open_run(options, find_data(folder, trial, options.data), f"{folder}: data:")
    arch, strategy = choose_arch(trial, opened.dataset), choose_classifier(trial, opened.dataset)
    weights = make_weights(folder, base, _base_data(folder, trial, opened.dataset))
    words = shlex.join([recorded_label(folder, trial), "--sweep", folder.name, "--seed", str(seed)])
    request = opened.join().ask(
        name, [arch], replace(recipe, init=weights.record.name), range(seeds or 1), strategy=strategy, task=trial.task,
        source=describe_sweep(arch, words), base=weights,
    )  # fmt: skip
    changed = options.data is None and opened.dataset.fingerprint != trial.data.fingerprint
    failed = show_sweep(request, ["note      its data have changed since; a new classifier is fitted"] * changed)
    if not options.dry_run:
        show_results(request.folder, options.plots)
    raise typer.Exit(1 if failed else 0)


def _train_again(options: RunOptions, sweep: str, network: str) -> int:
    """Train those of the sweep's trials again whose weights were not kept, on the data that it ran on; returns the exit
    code."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.cli.open import open_run
    from mnv2_sweep.cli.run import run_again
    from mnv2_sweep.nets.arch import arch_label
    from mnv2_sweep.record.folders import again_command, find_sweep, is_finetuned
    from mnv2_sweep.record.store import read_outcomes
    from mnv2_sweep.sweeps.export import select_network

    folder = find_sweep(options.results, sweep)
    if not is_finetuned(folder):
        raise SweepError(f"{folder}: 'finetune' did not make it; '{again_command(folder, network)}' trains its network")
    done = [outcome for outcome in read_outcomes(folder) if outcome.status == "done"]
    trial = select_network(done, network, folder)[0].trial
    opened = open_run(options, find_data(folder, trial, options.data), f"{folder}: data:")
    if not options.dry_run:
        _restore_start(options.results, folder, trial, opened.dataset)
    return run_again(opened.ask(folder.name, [trial.arch], trial.recipe, [trial.seed]), arch_label(trial.arch))


def _restore_start(results: Path, folder: Path, trial: "Trial", opened: "Dataset") -> None:
    """Put the weights with which the trial began into the folder of weights again where they are gone from it, from the
    sweep that made them. Raises SweepError."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.finetune import add_base, find_base, has_start, read_base

    if has_start(trial):
        return
    network, sweep, seed = read_base(folder)
    place = find_sweep(results, sweep)
    base = find_base(place, network, seed)
    add_base(place, base, _base_data(place, base.trial, opened))
    if not has_start(trial):
        raise SweepError(f"{folder}: the weights with which it began are gone, and {place} has others of {network} now")


def find_data(folder: Path, trial: "Trial", given: str | None) -> str:
    """Return by what name or path the network's own data are opened. Raises SweepError where they are gone and no
    others are given."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.data.asked import data_path
    from mnv2_sweep.data.catalog import is_there
    from mnv2_sweep.sweeps.schedule import read_data_name

    place = read_data_name(folder) or trial.data.name
    if given is None and place not in EMBEDDED and not is_there(place):
        gone = f"{folder}: its data {data_path(place)} are gone"
        raise SweepError(f"{gone}; give their new place, or other photos, with --data PATH")
    return place


def _base_data(folder: Path, trial: "Trial", opened: "Dataset") -> "Dataset | None":
    """Return the data that the network was trained on, where its weights have to be made of them; else None."""
    from mnv2_sweep.cli.progress import open_recorded
    from mnv2_sweep.trials.ways import own_file

    if opened.fingerprint == trial.data.fingerprint:
        return opened
    if (folder / own_file(trial)).is_file():
        return None
    found = open_recorded(folder, trial, None)
    return found if found is not None and found.fingerprint == trial.data.fingerprint else None
