"""The command line: options -> one or two library calls -> print. Heavy modules are imported by the command that
needs them, so that `--help`, `count`, `plan` and `table` answer at once and never import torch.

A mistake of the user's is one line on stderr and exit code 2. Exit 1: some trials failed. Exit 130: interrupted.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from mnv2_sweep import __version__
from mnv2_sweep.errors import SweepError
from mnv2_sweep.results import EXAMPLE
from mnv2_sweep.trial import EMBEDDED

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Which MobileNetV2 should I use, on my data, for my device, within my budget, and how sure are we?",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")
app.add_typer(data_app, name="data")


def _one_format(context: typer.Context, wanted: bool) -> bool:
    if wanted and context.params.get("as_json"):
        raise SweepError("--json --csv: one of them")
    return wanted


SpaceFile = Annotated[Path, typer.Argument(help="A design space, for instance spaces/paper_grid.yaml.")]
SweepName = Annotated[str | None, typer.Argument(help="A sweep's name; without one, the sweep that ran last.")]
Results = Annotated[Path, typer.Option(help="Folder of all results.")]
Plots = Annotated[Path, typer.Option(help="Folder for the plots.")]
Data = Annotated[str | None, typer.Option(help="'shapes' (built in), or a folder or zip of class folders.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Trials at once; default: one per core, or one on a GPU.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.", callback=_one_format)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop; no results are written.")]
RESULTS, PLOTS = Path("results"), Path("plots")


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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
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
    dry_run: DryRun = False,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Train and evaluate every network of a design space; run it again to do what is missing."""
    from mnv2_sweep.frame import load_frame
    from mnv2_sweep.report import draw_pareto
    from mnv2_sweep.runner import run_networks
    from mnv2_sweep.session import choose_device
    from mnv2_sweep.space import expand
    from mnv2_sweep.spacefile import load_space
    from mnv2_sweep.tables import results_text
    from mnv2_sweep.terminal import open_data

    loaded, device = load_space(space), choose_device(device)
    if name is not None:
        _check_name(name)
    dataset, data_name = open_data(
        loaded.data if data is None else data, "--data" if data is not None else f"{space}: data:"
    )
    archs = expand(loaded, len(dataset.classes))
    sweep = name or (loaded.name if data_name == EMBEDDED else f"{loaded.name}-{dataset.name}")
    chosen = tuple(range(seeds)) if seeds else loaded.seeds
    source = space.read_text(encoding="utf-8")
    folder = results / _check_name(sweep)
    failed = run_networks(folder, archs, loaded.recipe, chosen, (dataset, data_name), device, workers, dry_run, source)
    if not dry_run:
        frame = load_frame(folder)
        typer.echo("\n" + results_text(frame))
        if (frame["status"] == "done").any():
            _echo_paths(draw_pareto(folder, plots))
    raise typer.Exit(1 if failed else 0)


@app.command()
def ablate(
    no_linear_bottleneck: Annotated[
        bool, typer.Option("--no-linear-bottleneck", help="Put a ReLU6 after each projection (section 6.4, figure 6a).")
    ] = False,
    base: Annotated[str, typer.Option(help="The network to change, width@resolution.")] = "1.0@160",
    data: Data = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Seeds 0 to N-1, the same for both sides.")] = 3,
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "short",
    images: Annotated[
        int | None, typer.Option(min=1, help="Training images per trial, instead of the recipe's.")
    ] = None,
    input_scale: Annotated[
        float, typer.Option(min=0.01, max=1, help="Train at this fraction of the resolution.")
    ] = 0.25,
    workers: Workers = None,
    device: Device = "auto",
    name: Annotated[str | None, typer.Option(help="Name of the sweep.")] = None,
    dry_run: DryRun = False,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Train a network with and without one of its parts, on the same seeds, and print the difference."""
    from mnv2_sweep.ablate import LINEAR_BOTTLENECK, ablated, find_pairs, parse_base
    from mnv2_sweep.frame import load_frame
    from mnv2_sweep.report import draw_ablation
    from mnv2_sweep.results import ABLATION
    from mnv2_sweep.runner import run_networks
    from mnv2_sweep.session import choose_device
    from mnv2_sweep.tables import ablation_text, align, trials_table
    from mnv2_sweep.terminal import open_data
    from mnv2_sweep.trial import change_recipe, find_recipe

    if not no_linear_bottleneck:
        raise SweepError("ablate: say what to leave out; there is: --no-linear-bottleneck")
    ablation, network = LINEAR_BOTTLENECK, parse_base(base)
    length = {"images": images, "epochs": None} if images else {}
    chosen = change_recipe(find_recipe(recipe), {"input_scale": input_scale, **length})
    device = choose_device(device)
    if name is not None:
        _check_name(name)
    dataset, data_name = open_data(EMBEDDED if data is None else data)
    archs = [
        replace(arch, classes=max(arch.classes, len(dataset.classes))) for arch in (network, ablated(network, ablation))
    ]
    sweep = name or "-".join(["ablate", ablation.name, *([] if data_name == EMBEDDED else [dataset.name])])
    source = f"{ABLATION} --{ablation.name} --base {base}\n"
    folder = results / _check_name(sweep)
    failed = run_networks(folder, archs, chosen, range(seeds), (dataset, data_name), device, workers, dry_run, source)
    if not dry_run:
        frame = load_frame(folder)
        pairs = find_pairs(frame, ablation)
        typer.echo("\n" + (ablation_text(pairs) if pairs else align(trials_table(frame))))
        _echo_paths(draw_ablation(folder, plots) if pairs else [])
    raise typer.Exit(1 if failed else 0)


@app.command()
def plot(
    sweep: SweepName = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Accuracy against MAdds, with the front.")] = False,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="With against without, per seed, and the difference.")
    ] = False,
    results: Results = RESULTS,
    plots: Plots = PLOTS,
) -> None:
    """Draw a sweep's results as PNG and SVG."""
    from mnv2_sweep.report import draw_ablation, draw_pareto
    from mnv2_sweep.results import find_sweep

    if pareto == ablation:
        raise SweepError("plot: say what to draw; one of --pareto and --ablation")
    folder = find_sweep(results, sweep, ablation)
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
    from mnv2_sweep.frame import load_frame
    from mnv2_sweep.results import find_sweep
    from mnv2_sweep.stats import summarise
    from mnv2_sweep.tables import align, frame_csv, frame_json, results_text, trials_table

    frame = load_frame(find_sweep(results, sweep))
    if as_json or as_csv:
        shown = frame if trials else summarise(frame)
        typer.echo(frame_json(shown) if as_json else frame_csv(shown))
    else:
        typer.echo(align(trials_table(frame)) if trials else results_text(frame))


@app.command()
def plan(
    space: SpaceFile,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Seeds 0 to N-1, instead of the file's.")] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="The data's classes, where the file leaves them open.")
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the networks of a design space with their costs, without training anything."""
    from mnv2_sweep.arch import ArchSpec
    from mnv2_sweep.costs import count_networks, count_noun, distinct_networks
    from mnv2_sweep.space import expand
    from mnv2_sweep.spacefile import load_space

    loaded = load_space(space)
    archs = expand(loaded, classes)
    costs = count_networks(distinct_networks(archs))
    repeats = seeds or len(loaded.seeds)
    note = f"{len(costs):,} networks x {count_noun(repeats, 'seed')} = {len(costs) * repeats:,} trials; "
    note += f"recipe {loaded.recipe.name}, data {loaded.data}"
    if len(costs) < len(archs):
        note += f"\n{len(archs) - len(costs):,} of {len(archs):,} specs resolve to a network listed already"
    if classes is None and loaded.leaves_classes_open:
        note += f"\ncounted with {ArchSpec().classes} classes; 'run' takes the data's number, --classes says it here"
        if loaded.constraints:
            note += "; constraints may then choose other networks"
    _print_costs(costs, as_json, as_csv, note)


@app.command()
def count(
    space: Annotated[Path | None, typer.Argument(help="A design space; without one, a single network.")] = None,
    width: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    resolution: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 224,
    expansion: Annotated[int | None, typer.Option(help="Expansion t of every block that expands.")] = None,
    kernel: Annotated[int, typer.Option(help="Side of the depthwise kernels.")] = 3,
    residual: Annotated[str, typer.Option(help="bottleneck, expansion or none.")] = "bottleneck",
    no_linear_bottleneck: Annotated[
        bool, typer.Option("--no-linear-bottleneck", help="ReLU6 after the projections.")
    ] = False,
    last_channels: Annotated[int, typer.Option(help="Channels of the last convolution.")] = 1280,
    classes: Annotated[int, typer.Option(help="Classes.")] = 1000,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Count MAdds, params and peak activation memory of a network, or of every network of a design space."""
    from mnv2_sweep.arch import ArchSpec, set_expansion
    from mnv2_sweep.costs import cost_json, count_networks, count_noun
    from mnv2_sweep.space import expand
    from mnv2_sweep.spacefile import load_space

    if space is not None:
        _refuse_network_options()
        costs = count_networks(expand(load_space(space)))
        _print_costs(costs, as_json, as_csv, count_noun(len(costs), "network"))
        return
    fields = {"width": width, "resolution": resolution, "kernel": kernel, "residual": residual}
    arch = ArchSpec(**fields, linear_bottleneck=not no_linear_bottleneck, last_channels=last_channels, classes=classes)
    if expansion is not None and expansion < 1:
        raise SweepError(f"--expansion {expansion}: a whole number from 1")
    if expansion is not None:
        arch = replace(arch, stages=set_expansion(arch.stages, expansion))
    costs = count_networks([arch])
    if as_json:
        typer.echo(cost_json(*costs[0]))
    else:
        _print_costs(costs, False, as_csv)


@data_app.command("show")
def data_show(
    data: Data = None,
    side: Annotated[int, typer.Option(min=8, max=256, help="Side in pixels at which the images are shown.")] = 96,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    plots: Plots = PLOTS,
) -> None:
    """Draw a contact sheet: some images of every class."""
    from mnv2_sweep.report import draw_sheet
    from mnv2_sweep.terminal import open_data

    dataset, _ = open_data(EMBEDDED if data is None else data)
    for number, name in enumerate(dataset.classes):
        counts = ", ".join(f"{(labels == number).sum():,} {split}" for split, labels in dataset.labels.items())
        typer.echo(f"{name}: {counts}")
    _echo_paths(draw_sheet(dataset, split, side, plots))


def _print_costs(costs, as_json: bool, as_csv: bool, note: str = "") -> None:
    from mnv2_sweep.costs import costs_csv, costs_json, costs_text

    typer.echo(costs_json(costs) if as_json else costs_csv(costs) if as_csv else costs_text(costs, note))


def _echo_paths(paths: list[Path]) -> None:
    for path in paths:
        typer.echo(path)


def _refuse_network_options() -> None:
    """`count SPACE --width 1.0` would silently ignore the width."""
    given = [word for word in sys.argv[1:] if word.startswith("--") and word not in ("--json", "--csv")]
    if given:
        raise SweepError(
            f"count: {given[0].split('=')[0]} describes a single network; leave it out beside a design space"
        )


def _check_name(name: str) -> str:
    if (
        not 0 < len(name.encode("utf-8", "replace")) <= 200
        or name in (".", "..", EXAMPLE)
        or any(c in name for c in "/\\\0")
    ):
        raise SweepError(
            f"--name {name}: a plain folder name is wanted: no slashes, at most 200 bytes, not '{EXAMPLE}'"
        )
    return name
