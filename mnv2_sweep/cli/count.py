"""The command `count`: what one network, or every network of a design space, costs."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.options import Costs, Csv, Json, drop_output, given_options
from mnv2_sweep.nets.arch import CHOICES, ArchSpec, arch_label

MOST_CHECKED = 1000  # networks; each takes about a second
EXPANSION = Annotated[str | None, typer.Option(help="Expansion t of every block that expands.")]
# Hidden, and always refused: else the parser would say that --last-channels was meant.
STAGES = Annotated[str | None, typer.Option(help="The block table, which only a space file gives.", hidden=True)]


def _network_options() -> type:
    """Return the record of a single network as options: one for each field, --no-... where it is on by default, which
    are read as a space file's words are."""
    options: list[tuple[str, object, object]] = []
    for field in fields(ArchSpec):
        name, text = field.name, CHOICES[field.name].help
        if name == "stages":
            options += [("expansion", EXPANSION, None), ("stages", STAGES, None)]
        elif field.type is bool:
            name = f"no_{name}" if field.default else name
            flag = typer.Option(f"--{name.replace('_', '-')}", help=text)
            options.append((name, Annotated[bool, flag], False))
        else:
            options.append((name, Annotated[str, typer.Option(help=text)], str(field.default)))
    made = [(name, kind, dataclasses.field(default=default)) for name, kind, default in options]
    return dataclasses.make_dataclass("NetworkOptions", made, frozen=True)


NetworkOptions = _network_options()


def count(
    context: typer.Context,
    network: NetworkOptions,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPACE | NETWORK]",
            help="A design space, or a network in its words, as in 1.0@224 activation=hswish; else the options say it.",
            show_default=False,
        ),
    ] = None,
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
    costs: Costs = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Count MAdds, params, peak activation memory and depth of a network, or of every network of a design space."""
    from mnv2_sweep.explain.layers import explain_csv, explain_json, explain_text
    from mnv2_sweep.explain.listing import cost_json, list_networks
    from mnv2_sweep.nets.memory import memory_text
    from mnv2_sweep.spaces.words import is_network

    if explain and check is not None:
        raise SweepError("count: --explain --check given; one of them")
    if check is not None and (as_json or as_csv):
        raise SweepError("count: --check prints text; leave out --json and --csv")
    if costs and (check is not None or explain):
        raise SweepError(f"count: --cost {'--check' if check is not None else '--explain'} given; one of them")
    given = [option for option in given_options(context) if option not in ("--cost", "--costs")]
    if words and not is_network(words):
        _count_space(Path(words[0]), given, check, costs or [], as_json, as_csv)
        return
    arch = _read_words(words, given) if words else _make_arch(network, given)
    if check == "split":
        _check_split(arch)
    elif check is not None:
        _check_networks(check, [arch])
    elif explain and as_csv:
        typer.echo(explain_csv(arch), nl=False)
    elif explain:
        typer.echo(explain_json(arch) if as_json else f"{explain_text(arch)}\n\n{memory_text(arch)}")
    elif costs:
        from mnv2_sweep.report.costs import arch_columns, columns_text, outside_text, wished_costs

        columns = arch_columns([arch], wished_costs(costs))
        if as_json:
            typer.echo(cost_json(arch, columns))
            return
        listing = list_networks([arch], columns)
        print_costs(listing, False, as_csv, columns_text(columns, listing.costs.madds) + outside_text(arch, columns))
    elif as_json:
        typer.echo(cost_json(arch))
    else:
        print_costs(list_networks([arch]), False, as_csv)


def _count_space(
    space: Path, given: Sequence[str], check: str | None, asked: Sequence[str], as_json: bool, as_csv: bool
) -> None:
    from mnv2_sweep.base.text import count_noun
    from mnv2_sweep.explain.listing import Listing
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space
    from mnv2_sweep.spaces.shipped import find_space_file

    wrong = _others(given, "--json", "--csv", "--check")  # `count SPACE --width 1.0` would silently ignore the width
    if wrong:
        raise SweepError(f"count: {wrong[0]} is for a single network; leave it out beside a design space")
    if check == "split":
        raise SweepError("--check split: for a single network; leave out the design space")
    networks = select_networks(load_space(find_space_file(space)))
    if check is not None:
        _check_networks(check, networks)
        return
    columns, notes = space_costs(networks, asked)
    listing = Listing(networks, networks.costs, {}, None, columns)
    print_costs(listing, as_json, as_csv, [count_noun(len(networks), "spec"), *notes])


def space_costs(networks, asked: Sequence[str], places=None) -> tuple:
    """Return columns of the further costs that are asked for or that the space bounds, of all its networks or of those
    at `places`, and lines on them. Raises ProfileError."""
    if not (asked or networks.space.constraints):
        return (), []
    from mnv2_sweep.report.costs import columns_text, space_columns, wished_costs

    columns = space_columns(networks, wished_costs(asked, networks), places)
    madds = networks.costs.madds if places is None else networks.costs.madds[places]
    return columns, [*columns_text(columns, madds), *networks.notes]


def _others(given: Sequence[str], *allowed: str) -> list[str]:
    return [option for option in given if option not in allowed]


def _read_words(words: Sequence[str], given: Sequence[str]) -> ArchSpec:
    """Return the network of the words. Raises SweepError."""
    from mnv2_sweep.spaces.words import read_network

    wrong = _others(given, "--json", "--csv", "--check", "--explain")
    if wrong:
        raise SweepError(
            f"count: {wrong[0]} beside '{' '.join(words)}': say the network in words or in options, not both"
        )
    return read_network(words, "count")


def _make_arch(network: NetworkOptions, given: Sequence[str]) -> ArchSpec:
    """Return the network of the options, by the rules of its words. Raises SweepError."""
    from mnv2_sweep.spaces.words import build_network

    texts = {}
    for option in given:
        name = option.removeprefix("--").replace("-", "_")
        if hasattr(network, name):
            value = getattr(network, name)
            texts[name.removeprefix("no_")] = str(not name.startswith("no_")).lower() if value is True else value
    return build_network(texts, "count")


def _check_networks(judge: str, archs: Sequence[ArchSpec]) -> None:
    """Compare our counts with the judge's, and exit with 1 on any difference."""
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
    """Measure a split network, and exit with 1 where it holds more than its bound, or has other outputs."""
    from mnv2_sweep.models.check_split import check_split

    lines, agreed = check_split(arch)
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if agreed else 1)


def print_costs(costs, as_json: bool, as_csv: bool, notes: Sequence[str] = ()) -> None:
    """Print a Listing as a table with lines below it, or as JSON or CSV piece by piece."""
    from mnv2_sweep.explain.listing import costs_csv, costs_json, costs_text

    if as_json or as_csv:
        try:
            sys.stdout.writelines(costs_json(costs) if as_json else costs_csv(costs))
            sys.stdout.flush()
        except BrokenPipeError:  # typer would end with 1
            drop_output()
    else:
        typer.echo(costs_text(costs, "\n".join(notes)))
