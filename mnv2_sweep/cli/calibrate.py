"""The command `calibrate`: how far to trust the cheap orders of a space's networks."""

from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.cli.options import Seeds, SpaceFile, TrainOptions, check_name, name_sweep
from mnv2_sweep.record.folders import PASSPORT
from mnv2_sweep.spaces.space import ALONE, Space, Strategy


@dataclass(frozen=True)
class CalibrationOptions:
    """Which networks train for longer, for how long, and what is compared with them."""

    networks: Annotated[int, typer.Option(help="Networks to train for longer, spread over the space's costs.")] = 8
    longer: Annotated[
        float | None, typer.Option(help="How many times as long as by the file's recipe they train; default: 4.")
    ] = None
    images: Annotated[
        int | None, typer.Option(help="Training images of each of them, instead of --longer times the recipe's.")
    ] = None
    seeds: Seeds = None
    proxies: Annotated[
        str, typer.Option(help="What is compared with them, beside MAdds alone, probe too; commas between.")
    ] = "short,small,shared,synflow"


def calibrate(space: SpaceFile, calibration: CalibrationOptions, options: TrainOptions) -> None:
    """Train a handful of a space's networks for longer, and say what each cheaper order of them is worth."""
    from mnv2_sweep.analysis.calibration import (
        check_count,
        describe_calibration,
        lengthen_recipe,
        parse_proxies,
        plan_calibration,
    )
    from mnv2_sweep.analysis.passport import write_passport
    from mnv2_sweep.analysis.verdict import passport_text
    from mnv2_sweep.cli.display import show_sweep
    from mnv2_sweep.cli.open import check_starts, open_run, open_space
    from mnv2_sweep.record.folders import CALIBRATION
    from mnv2_sweep.record.store import DATABASE
    from mnv2_sweep.sweeps.request import open_session
    from mnv2_sweep.sweeps.starts import choose_probe

    loaded, path = open_space(space)
    if loaded.inits:
        raise SweepError(f"{path}: axes.init: one kind of start is calibrated at a time; leave it out")
    wanted = parse_proxies(calibration.proxies)
    check_count(calibration.networks)
    opened = open_run(options, loaded.data, f"{path}: data:")
    train_images = len(opened.dataset.labels["train"])
    reference = lengthen_recipe(loaded.recipe, calibration.longer, calibration.images, train_images)
    find_probe = partial(choose_probe, recipe=loaded.recipe)
    planned = plan_calibration(loaded, calibration.networks, wanted, reference, opened.classes, find_probe)
    sweeps = _calibrated_sweeps(loaded, options.name, opened.data_name, opened.dataset.name)
    main = next(iter(sweeps))
    chosen = tuple(range(calibration.seeds)) if calibration.seeds else loaded.seeds
    source = f"{CALIBRATION}, of {main}\n{path.read_text(encoding='utf-8')}"
    requests = {
        part: opened.ask(
            f"{main}-{part.suffix}",
            part.archs,
            part.recipe,
            chosen,
            strategy=part.strategy,
            task=loaded.task,
            source=source,
            says_padding=loaded.sets_padding,
        )
        for part in planned.parts
    }
    for request in requests.values():  # every mistake before the first hour of training
        open_session(check_starts(request, loaded, path) if request.recipe.init == loaded.recipe.init else request)

    typer.echo("\n".join([f"calibrate {options.results / main}", *describe_calibration(planned)]))
    failed = 0
    for part, request in requests.items():
        typer.echo(f"\n{part.proxy or 'reference, for which networks train longer'}")
        failed += show_sweep(request)
    if options.dry_run:
        typer.echo(f"\nthe verdicts will be in {options.results / main / PASSPORT}")
        return
    folders = {part: request.folder for part, request in requests.items()}
    orders = _read_orders(planned, folders, chosen, opened.classes)
    try:
        passport = _make_passport(planned, orders, opened.dataset.name, len(chosen), opened.device)
    except SweepError as error:  # too many of the reference's trials failed
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo("\n" + passport_text(passport, sweeps[main]))
    for sweep, proxy in sweeps.items():
        verdict = passport.find_proxy(proxy)
        if sweep == main or (verdict and verdict.is_made):
            typer.echo(write_passport(options.results / sweep, passport))
    if not (options.results / main / DATABASE).exists():
        typer.echo(f"sweep {main} has no results yet; 'mnv2-sweep run {space}' makes them, with this verdict")
    raise typer.Exit(1 if failed else 0)


def _calibrated_sweeps(space: Space, name: str | None, data_name: str, dataset_name: str) -> dict[str, str]:
    """Return the sweeps that the calibration speaks of, and the proxy that each is: first the one that `run` makes,
    then the one with --shared or --separate."""
    from mnv2_sweep.trials.ways import find_strategy

    if name is not None:
        return {name: find_strategy(space.strategy.name).proxy}
    sweeps = {}
    for strategy in (space.strategy, ALONE, Strategy("shared")):
        sweep = check_name(name_sweep(space, strategy, data_name, dataset_name))
        sweeps.setdefault(sweep, find_strategy(strategy.name).proxy)
    return sweeps


def _read_orders(calibration, folders: dict, seeds: tuple[int, ...], classes: int) -> dict:
    """Read the order of the networks by each proxy, the reference under ""."""
    from mnv2_sweep.analysis.passport import SYNFLOW
    from mnv2_sweep.analysis.proxies import read_order, score_order

    orders = {part.proxy: read_order(folder, part, seeds) for part, folder in folders.items()}
    if calibration.synflow:
        archs = tuple(dict.fromkeys((*calibration.picked, *calibration.published)))
        typer.echo(f"\n{SYNFLOW}\nscores    {count_noun(len(archs), 'network')}, without training")
        orders[SYNFLOW] = score_order(archs, calibration.picked, calibration.space.recipe, classes)
    return orders


def _make_passport(calibration, orders: dict, data: str, seeds: int, device: str):
    from mnv2_sweep.analysis.proxies import make_passport
    from mnv2_sweep.sweeps.environment import describe_environment
    from mnv2_sweep.sweeps.estimate import device_name

    machine = describe_environment("", device, device_name(device))
    words = machine["device_name"] or f"{count_noun(machine['cores'], 'core')} of {machine['processor']}"
    return make_passport(calibration, orders, data, seeds, date.today().isoformat(), words)
