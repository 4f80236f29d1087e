"""The command line: options -> one or two library calls -> print. Heavy modules are imported by the command that
needs them, so that `--help`, `count`, `plan` and `table` answer at once and never import torch.

A mistake of the user's is one line on stderr and exit code 2. Exit 1: some trials failed. Exit 130: interrupted.
"""

import errno
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from mnv2_sweep import __version__
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.cli.ablate import ablate
from mnv2_sweep.cli.calibrate import calibrate
from mnv2_sweep.cli.costs import count, paper, plan
from mnv2_sweep.cli.export import export
from mnv2_sweep.cli.figures import refuse_options, show_activity, show_manifold
from mnv2_sweep.cli.options import (
    PLOTS,
    RESULTS,
    Address,
    Budget,
    Csv,
    CudaGraphs,
    Data,
    Device,
    DryRun,
    Executor,
    Json,
    Log,
    Memory,
    PerGpu,
    Plots,
    Results,
    RetryFailed,
    Separate,
    Shared,
    SpaceFile,
    StackSeeds,
    SweepName,
    Timeout,
    Workers,
    check_name,
    choose_strategy,
    choose_watch,
    drop_output,
    name_sweep,
)
from mnv2_sweep.cli.ray import join_cluster
from mnv2_sweep.trials.trial import EMBEDDED

WATCH_SECONDS = 2.0

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Which MobileNetV2 should I use, on my data, for my device, within my budget, and how sure are we?",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")
app.add_typer(data_app, name="data")
for _command in (plan, count, paper, export, calibrate, ablate):
    app.command()(_command)


def main() -> None:
    """Entry point: run the command, turn mistakes into one line."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(prog_name="mnv2-sweep", standalone_mode=False)
        sys.stdout.flush()
    except SweepError as error:
        _fail(str(error))
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a command group without a command: its help is the answer
            typer.echo(message, err=True)
            sys.exit(2)
        _fail(" ".join(message.split()))
    except BrokenPipeError:
        drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT) or error.filename is not None:
            raise
        drop_output()
        _fail(f"the output can't be written: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(2)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mnv2-sweep {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    space: SpaceFile,
    data: Data = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Seeds 0 to N-1, instead of the file's.")] = None,
    workers: Workers = None,
    device: Device = "auto",
    name: Annotated[str | None, typer.Option(help="Name of the sweep; default: the file's, with the data's.")] = None,
    timeout: Timeout = None,
    memory: Memory = None,
    per_gpu: PerGpu = None,
    stack_seeds: StackSeeds = None,
    cuda_graphs: CudaGraphs = False,
    budget: Budget = None,
    log: Log = None,
    executor: Executor = "local",
    address: Address = None,
    shared: Shared = False,
    separate: Separate = False,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Train and evaluate every network of a design space; run it again to do what is missing."""
    from mnv2_sweep.analysis.verdict import sweep_verdict
    from mnv2_sweep.cli.open import open_data
    from mnv2_sweep.record.frame import load_frame
    from mnv2_sweep.report.figures import draw_pareto
    from mnv2_sweep.report.tables import results_text
    from mnv2_sweep.spaces.networks import expand
    from mnv2_sweep.spaces.read import load_space
    from mnv2_sweep.sweeps.run import check_sharing, run_networks
    from mnv2_sweep.sweeps.settings import choose_device, choose_settings

    loaded, device = load_space(space), choose_device(device, executor)
    strategy = choose_strategy(loaded, shared, separate)
    settings = choose_settings(
        device, workers, memory, timeout, per_gpu, executor, address, budget, stack_seeds, cuda_graphs
    )
    settings = replace(settings, watch=choose_watch(log))
    check_sharing(strategy, settings)
    if name is not None:
        check_name(name)
    dataset, data_name = open_data(
        loaded.data if data is None else data, "--data" if data is not None else f"{space}: data:"
    )
    archs = expand(loaded, len(dataset.classes))
    sweep = name or name_sweep(loaded, strategy, data_name, dataset.name)
    chosen = tuple(range(seeds)) if seeds else loaded.seeds
    source = space.read_text(encoding="utf-8")
    folder = results / check_name(sweep)
    settings = join_cluster(settings, workers)
    recipe = loaded.recipe
    failed = run_networks(
        folder, archs, recipe, chosen, (dataset, data_name), device, settings, dry_run, source, retry_failed, strategy
    )
    if not dry_run:
        frame = load_frame(folder)
        typer.echo("\n" + results_text(frame, sweep_verdict(folder)))
        if (frame["status"] == "done").any():
            _echo_paths(draw_pareto(folder, plots))
    raise typer.Exit(1 if failed else 0)


@app.command()
def plot(
    sweep: Annotated[
        str | None,
        typer.Argument(help="A sweep's name, without one the last; with --costs a design space or the sweep with one."),
    ] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Accuracy against MAdds, with the front.")] = False,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="With against without, per seed, and the difference.")
    ] = False,
    expansion: Annotated[
        bool, typer.Option("--expansion", help="Accuracy against MAdds for each t, and section 4's claims on them.")
    ] = False,
    costs: Annotated[
        bool, typer.Option("--costs", help="MAdds, params, peak memory and depth of a space, with its cliffs.")
    ] = False,
    manifold: Annotated[
        bool, typer.Option("--manifold", help="Figure 1: a spiral through ReLU and back, and what is lost on the way.")
    ] = False,
    activity: Annotated[
        bool, typer.Option("--activity", help="Figure 7: train a network, draw its positive channels before and after.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of --manifold and --activity; default 0.")] = None,
    matrices: Annotated[
        int | None, typer.Option(min=100, max=100_000, help="Of --manifold: matrices for each n; default 2,000.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Of --activity: width@resolution; default 1.0@96.")] = None,
    data: Annotated[str | None, typer.Option(help="Of --activity: as in run; default shapes.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Of --activity: training images, instead of the recipe's.")
    ] = None,
    input_scale: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Of --activity: train at this fraction; default 0.25.")
    ] = None,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Draw a sweep's results, what the networks of a design space cost, or a figure of the paper, as PNG and SVG."""
    from mnv2_sweep.record.folders import find_space, find_sweep
    from mnv2_sweep.report.figures import describe_expansion, draw_ablation, draw_costs, draw_expansion, draw_pareto
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space

    kinds = {"--pareto": pareto, "--ablation": ablation, "--expansion": expansion, "--costs": costs}
    kinds |= {"--manifold": manifold, "--activity": activity}
    if sum(kinds.values()) != 1:
        raise SweepError(f"plot: say what to draw; one of {', '.join([*kinds][:-1])} and {[*kinds][-1]}")
    options = {"--seed": seed, "--matrices": matrices, "--base": base, "--data": data, "--images": images}
    refuse_options(max(kinds, key=kinds.get), sweep, {**options, "--input-scale": input_scale})
    if manifold:
        _echo_paths(show_manifold(matrices, seed or 0, plots))
        return
    if activity:
        _echo_paths(show_activity(base, data, images, input_scale, seed or 0, plots))
        return
    if costs:
        path, name = find_space(results, sweep)
        _echo_paths(draw_costs(select_networks(replace(load_space(path), name=name)), plots))
        return
    folder = find_sweep(results, sweep, ablation)
    if expansion:
        typer.echo(describe_expansion(folder))
        _echo_paths(draw_expansion(folder, plots))
        return
    _echo_paths(draw_ablation(folder, plots) if ablation else draw_pareto(folder, plots))


@app.command()
def table(
    sweep: SweepName = None,
    trials: Annotated[bool, typer.Option("--trials", help="A row per trial instead of one per network.")] = False,
    as_json: Json = False,
    as_csv: Csv = False,
    results: Results = RESULTS,
) -> None:
    """Print a sweep's results, a row per network."""
    from mnv2_sweep.analysis.differences import load_readings
    from mnv2_sweep.analysis.stats import summarise
    from mnv2_sweep.analysis.verdict import sweep_verdict
    from mnv2_sweep.base.text import align
    from mnv2_sweep.record.folders import find_sweep, is_ablation
    from mnv2_sweep.record.frame import load_frame
    from mnv2_sweep.report.ablation import readings_text
    from mnv2_sweep.report.tables import frame_csv, frame_json, results_text, trials_table

    folder = find_sweep(results, sweep)
    frame = load_frame(folder)
    if as_json or as_csv:
        shown = frame if trials else summarise(frame)
        typer.echo(frame_json(shown) if as_json else frame_csv(shown))
    else:
        verdict = sweep_verdict(folder)
        typer.echo(align(trials_table(frame)) if trials else results_text(frame, verdict))
        protocol, readings = load_readings(folder) if is_ablation(folder) and not trials else (None, ())
        if any(one.seeds for one in readings):
            typer.echo("\n" + readings_text(readings, protocol.looks, peeked=protocol.peeked))


@app.command()
def status(
    sweep: SweepName = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until nothing is left.")] = False,
    as_json: Json = False,
    results: Results = RESULTS,
) -> None:
    """Say how a sweep stands, also while it runs: done, running, failed and why, the time left."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.status import read_status, status_json, status_text

    folder = find_sweep(results, sweep)
    if watch and as_json:
        raise SweepError("--watch --json: one of them")
    if not watch:
        now = read_status(folder)
        typer.echo(json.dumps(status_json(now)) if as_json else status_text(now))
        return
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            now = read_status(folder)
            live.update(Text(status_text(now)), refresh=True)
            if not now.running:
                return
            time.sleep(WATCH_SECONDS)


@app.command()
def merge(
    other: Annotated[Path, typer.Argument(help="The results folder of another machine, or one sweep in it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added and stop.")] = False,
    results: Results = RESULTS,
) -> None:
    """Join the results of several machines: the same trial once, conflicts shown."""
    from mnv2_sweep.sweeps.merge import plan_merge, write_merge

    merges = plan_merge(other, results)
    for one in merges:
        theirs = other / one.sweep if (other / one.sweep).is_dir() else other
        if not dry_run:
            write_merge(one, theirs, results)
        added = count_noun(len(one.added), "trial")
        typer.echo(f"{one.sweep}: {added} {'to add' if dry_run else 'added'}, {one.same} here already")
        for line in one.conflicts:
            typer.echo(f"conflict: {line}", err=True)
    raise typer.Exit(1 if any(one.conflicts for one in merges) else 0)


@data_app.command("show")
def data_show(
    data: Data = None,
    side: Annotated[int, typer.Option(min=8, max=256, help="Side in pixels at which the images are shown.")] = 96,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    plots: Plots = PLOTS,
) -> None:
    """Draw a contact sheet: some images of every class."""
    from mnv2_sweep.cli.open import open_data
    from mnv2_sweep.report.figures import draw_sheet

    dataset, _ = open_data(EMBEDDED if data is None else data)
    for number, name in enumerate(dataset.classes):
        counts = ", ".join(f"{(labels == number).sum():,} {split}" for split, labels in dataset.labels.items())
        typer.echo(f"{name}: {counts}")
    _echo_paths(draw_sheet(dataset, split, side, plots))


def _echo_paths(paths: list[Path]) -> None:
    for path in paths:
        typer.echo(path)
