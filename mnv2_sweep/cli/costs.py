"""The commands that count and train nothing: plan, count, paper."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.options import (
    Csv,
    Data,
    Device,
    Json,
    Separate,
    Shared,
    SpaceFile,
    Workers,
    choose_strategy,
    drop_output,
)
from mnv2_sweep.nets.arch import FAMILIES, FAMILY_NAMES, ArchSpec, arch_label

DEFAULT = ArchSpec()
FAMILY_HELP = f"One of {', '.join(FAMILIES)}."
OPTION_FIELDS = {"--expansion": "stages", "--kernel": "kernel", "--residual": "residual", "--groups": "groups"}
OPTION_FIELDS |= {"--no-linear-bottleneck": "linear_bottleneck", "--last-channels": "last_channels"}
OPTION_FIELDS |= {"--activation": "activation", "--scale-last-conv": "scale_last_conv", "--no-depthwise": "depthwise"}
MOST_CHECKED = 1000  # networks; each takes about a second


def plan(
    space: SpaceFile,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Seeds 0 to N-1, instead of the file's.")] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="The data's classes, where the file leaves them open.")
    ] = None,
    time: Annotated[
        bool, typer.Option("--time", help="Time a few steps here: what the sweep will take in time, memory and disk.")
    ] = False,
    budget: Annotated[
        str | None, typer.Option(help="With --time: what fits into this time, as in 30m; seeds are dropped first.")
    ] = None,
    data: Data = None,
    workers: Workers = None,
    device: Device = "auto",
    shared: Shared = False,
    separate: Separate = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the networks of a design space with their costs, without training anything; --time prices the sweep."""
    from mnv2_sweep.base.text import count_noun
    from mnv2_sweep.spaces.landscape import describe_landscape
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space

    loaded = load_space(space)
    strategy = choose_strategy(loaded, shared, separate)
    if time or budget is not None:
        if as_json or as_csv:
            raise SweepError("plan: --time prints text; leave out --json and --csv")
        _print_price(space, replace(loaded, strategy=strategy), seeds, budget, data, workers, device)
        return
    listing, lines = describe_landscape(select_networks(loaded, classes))
    count, repeats = len(listing.costs), seeds or len(loaded.seeds)
    note = f"{count_noun(count, 'network')} x {count_noun(repeats, 'seed')} = {count_noun(count * repeats, 'trial')}; "
    note += f"recipe {loaded.recipe.name}, data {loaded.data}"
    note = "\n".join([note, *lines])
    if classes is None and loaded.leaves_classes_open:
        note += f"\ncounted with {DEFAULT.classes} classes; 'run' takes the data's number, --classes says it here"
        if loaded.constraints:
            note += "; constraints may then choose other networks"
    _print_costs(listing, as_json, as_csv, note)


def _print_price(
    path: Path,
    space,
    seeds: int | None,
    budget: str | None,
    data: str | None,
    workers: int | None,
    device: str,
) -> None:
    from mnv2_sweep.base.text import parse_seconds
    from mnv2_sweep.cli.open import open_data
    from mnv2_sweep.spaces.networks import expand
    from mnv2_sweep.sweeps.run import price_networks
    from mnv2_sweep.sweeps.settings import choose_device, choose_settings

    seconds = None if budget is None else parse_seconds(budget, "--budget")
    device = choose_device(device)
    settings = choose_settings(device, workers)
    dataset, data_name = open_data(
        space.data if data is None else data, "--data" if data is not None else f"{path}: data:"
    )
    archs = expand(space, len(dataset.classes))
    chosen = tuple(range(seeds)) if seeds else space.seeds
    lines = price_networks(
        archs, space.recipe, chosen, (dataset, data_name), device, settings.workers, seconds, space.strategy
    )
    typer.echo("\n".join(lines))


def count(
    space: Annotated[Path | None, typer.Argument(help="A design space; without one, a single network.")] = None,
    family: Annotated[str, typer.Option(help=FAMILY_HELP)] = DEFAULT.family,
    width: Annotated[float, typer.Option(help="Width multiplier.")] = DEFAULT.width,
    resolution: Annotated[int, typer.Option(help="Side of the input in pixels.")] = DEFAULT.resolution,
    expansion: Annotated[int | None, typer.Option(help="Expansion t of every block that expands.")] = None,
    kernel: Annotated[int, typer.Option(help="Side of the depthwise kernels.")] = DEFAULT.kernel,
    residual: Annotated[str, typer.Option(help="bottleneck, expansion or none.")] = DEFAULT.residual,
    no_linear_bottleneck: Annotated[
        bool, typer.Option("--no-linear-bottleneck", help="ReLU6 after the projections.")
    ] = False,
    activation: Annotated[str, typer.Option(help="relu6, relu or hswish.")] = DEFAULT.activation,
    no_depthwise: Annotated[
        bool, typer.Option("--no-depthwise", help="Ordinary convolutions in the place of depthwise ones.")
    ] = False,
    last_channels: Annotated[int, typer.Option(help="Channels of the last convolution.")] = DEFAULT.last_channels,
    scale_last_conv: Annotated[
        bool, typer.Option("--scale-last-conv", help="Narrow the last convolution too below width 1.")
    ] = False,
    groups: Annotated[int, typer.Option(help="Groups of ShuffleNet's 1x1 convolutions.")] = DEFAULT.groups,
    classes: Annotated[int, typer.Option(help="Classes.")] = DEFAULT.classes,
    explain: Annotated[
        bool, typer.Option("--explain", help="Layer by layer, by other conventions, and the memory of section 5.1.")
    ] = False,
    check: Annotated[
        str | None,
        typer.Option(
            help="fvcore: build it, count it with fvcore, compare layer by layer; split: build it, run it with blocks "
            "split (section 5.1), compare memory and outputs."
        ),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Count MAdds, params, peak activation memory and depth of a network, or of every network of a design space."""
    from mnv2_sweep.base.text import count_noun
    from mnv2_sweep.explain.layers import explain_csv, explain_json, explain_text
    from mnv2_sweep.explain.listing import Listing, cost_json, list_networks
    from mnv2_sweep.nets.arch import check_arch, check_limits, set_expansion
    from mnv2_sweep.nets.memory import memory_text
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space

    if explain and check is not None:
        raise SweepError("count: --explain --check given; one of them")
    if check is not None and (as_json or as_csv):
        raise SweepError("count: --check prints text; leave out --json and --csv")
    if space is not None:
        _refuse_network_options()
        if check == "split":
            raise SweepError("--check split: for a single network; leave out the design space")
        networks = select_networks(load_space(space))
        if check is not None:
            _check_networks(check, networks)
            return
        listing = Listing(networks, networks.costs, {})
        _print_costs(listing, as_json, as_csv, count_noun(len(networks), "spec"))
        return
    fields = {"family": family, "width": width, "resolution": resolution, "kernel": kernel, "residual": residual}
    fields |= {"last_channels": last_channels, "groups": groups, "classes": classes}
    fields |= {"activation": activation, "scale_last_conv": scale_last_conv, "depthwise": not no_depthwise}
    arch = ArchSpec(**fields, linear_bottleneck=not no_linear_bottleneck)
    if expansion is not None and expansion < 1:
        raise SweepError(f"--expansion {expansion}: a whole number from 1")
    if expansion is not None:
        arch = replace(arch, stages=set_expansion(arch.stages, expansion))
    _refuse_foreign_options(arch.family)
    check_arch(arch)
    check_limits(arch)
    if check is not None:
        _check_networks(check, [arch])
    elif explain and as_csv:
        typer.echo(explain_csv(arch), nl=False)
    elif explain:
        typer.echo(explain_json(arch) if as_json else f"{explain_text(arch)}\n\n{memory_text(arch)}")
    elif as_json:
        typer.echo(cost_json(arch))
    else:
        _print_costs(list_networks([arch]), False, as_csv)


def paper(
    table: Annotated[str | None, typer.Option(help="2, 3, 4 or checkpoints; without it, all.")] = None,
    as_json: Json = False,
) -> None:
    """Print the paper's tables 2, 3 and 4 and the published checkpoints: figure, our count, difference, reason."""
    from mnv2_sweep.paper.compare import paper_json, paper_text

    typer.echo(paper_json(table) if as_json else paper_text(table))


def _check_networks(judge: str, archs: Sequence[ArchSpec]) -> None:
    """Exit 1 on any difference between our counts and the judge's."""
    if judge == "split":
        _check_split(*archs)
    if judge != "fvcore":
        raise SweepError(f"--check {judge}: fvcore | split allowed")
    if len(archs) > MOST_CHECKED:
        raise SweepError(f"--check: {len(archs):,} networks, at most {MOST_CHECKED:,} allowed; take a sample")
    try:
        from mnv2_sweep.models.check_fvcore import check_fvcore, differences_text
    except ModuleNotFoundError as error:
        if error.name != "fvcore":
            raise
        raise SweepError(
            "--check fvcore: fvcore is not installed here; install it with: pip install 'mnv2-sweep[fvcore]'"
        ) from None
    differences = []
    for arch in archs:
        try:
            differences += check_fvcore(arch)
        except (MemoryError, RuntimeError) as error:  # torch says out of memory with either
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            raise SweepError(f"--check fvcore: {arch_label(arch)} does not fit into this machine's memory") from error
    typer.echo(differences_text(archs, differences))
    raise typer.Exit(1 if differences else 0)


def _check_split(arch: ArchSpec) -> None:
    """Exit 1 where a split network holds more than its bound, or has other outputs."""
    from mnv2_sweep.models.check_split import check_split

    lines, agreed = check_split(arch)
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if agreed else 1)


def _print_costs(costs, as_json: bool, as_csv: bool, note: str = "") -> None:
    from mnv2_sweep.explain.listing import costs_csv, costs_json, costs_text

    if as_json or as_csv:
        try:
            sys.stdout.writelines(costs_json(costs) if as_json else costs_csv(costs))
            sys.stdout.flush()
        except BrokenPipeError:  # typer would end with 1
            drop_output()
    else:
        typer.echo(costs_text(costs, note))


def _given_options() -> list[str]:
    return [word.split("=")[0] for word in sys.argv[1:] if word.startswith("--")]


def _refuse_foreign_options(family: str) -> None:
    """`count --family mobilenet_v1 --groups 3` would silently ignore the groups."""
    for option in _given_options():
        field = OPTION_FIELDS.get(option)
        if field and family in FAMILIES and field not in FAMILIES[family]:
            choices = ", ".join(FAMILIES[family])
            raise SweepError(f"{option}: {FAMILY_NAMES[family]} has no such choice; it has: {choices}")


def _refuse_network_options() -> None:
    """`count SPACE --width 1.0` would silently ignore the width."""
    wrong = [word for word in _given_options() if word not in ("--json", "--csv", "--check")]
    if wrong:
        raise SweepError(f"count: {wrong[0]} is for a single network; leave it out beside a design space")
