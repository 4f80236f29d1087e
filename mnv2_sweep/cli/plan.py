"""The command `plan`: what a design space holds and costs, and how long its sweep would take."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.count import print_costs, space_costs
from mnv2_sweep.cli.options import (
    Costs,
    Csv,
    DataOptions,
    Device,
    Json,
    Seeds,
    Separate,
    Shared,
    SpaceFile,
    TrainOptions,
    Workers,
    choose_strategy,
)
from mnv2_sweep.cli.until import UntilOptions, read_until
from mnv2_sweep.nets.arch import USUAL_CLASSES
from mnv2_sweep.spaces.space import Space


@dataclass(frozen=True)
class TimeOptions(DataOptions):
    """How the time of the sweep is estimated."""

    time: Annotated[
        bool, typer.Option("--time", help="Time a few steps here: what the sweep will take in time, memory and disk.")
    ] = False
    budget: Annotated[
        str | None, typer.Option(help="With --time: what fits into this time, as in 30m; seeds are dropped first.")
    ] = None
    workers: Workers = None
    device: Device = "auto"


def plan(
    space: SpaceFile,
    timing: TimeOptions,
    wanted: UntilOptions,
    seeds: Seeds = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="The data's classes, where the file leaves them open.")
    ] = None,
    shared: Shared = False,
    separate: Separate = False,
    costs: Costs = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the networks of a design space with their costs, without training anything; --time estimates the sweep."""
    from mnv2_sweep.base.text import count_noun
    from mnv2_sweep.data.asked import data_path
    from mnv2_sweep.spaces.landscape import describe_landscape
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space
    from mnv2_sweep.spaces.shipped import find_space_file

    path = find_space_file(space)
    loaded = load_space(path)
    loaded = replace(loaded, strategy=choose_strategy(loaded, shared, separate))
    if timing.time or timing.budget is not None:
        from mnv2_sweep.cli.open import check_heads

        check_heads(loaded, path)
        if not (shared or separate):
            from mnv2_sweep.cli.open import begin_space

            loaded = begin_space(loaded)
        if as_json or as_csv:
            raise SweepError("plan: --time prints text; leave out --json and --csv")
        if costs:
            raise SweepError("plan: --cost --time given; one of them")
        typer.echo("\n".join(_estimate_time(loaded, path, seeds, timing, wanted)))
        return
    data, about = loaded.data, []
    if timing.data is not None:
        data = timing.data_name(data)
        classes, about = _open_data(loaded, timing, classes)
    taken = ""
    if not (shared or separate):
        from mnv2_sweep.sweeps.starts import take_weights

        loaded, taken = take_weights(loaded)
    networks, most = select_networks(loaded, classes), seeds or len(loaded.seeds)
    asked = read_until(wanted, loaded, loaded.strategy, most)
    listing, lines = describe_landscape(networks)
    columns, notes = space_costs(networks, costs or [], listing.archs.places)
    listing = replace(listing, columns=columns)
    count, repeats = len(listing.costs), seeds or len(loaded.seeds)
    kinds = len(loaded.kinds)
    starts = f" x {count_noun(kinds, 'start')} ({', '.join(loaded.inits)})" if loaded.inits else ""
    trials = count_noun(count * repeats * kinds, "trial")
    note = f"{count_noun(count, 'network')}{starts} x {count_noun(repeats, 'seed')} = {trials}; "
    note += f"recipe {', '.join(kind.recipe.name for kind in loaded.kinds)}, data {data_path(data)}"
    deciding = []
    if asked is not None:
        from mnv2_sweep.analysis.deciding import choose_fitting, describe_until

        archs, until = choose_fitting(networks, *asked)
        deciding = describe_until(until, len(archs))
    note = "\n".join([*filter(None, [taken]), note, *about, *deciding, *lines, *notes])
    if classes is None and loaded.leaves_classes_open:
        usual = ", ".join(map(str, sorted({USUAL_CLASSES[head] for head in loaded.heads})))
        note += f"\ncounted with {usual} classes; 'run' takes the data's number, --classes says it here"
        if loaded.constraints:
            note += "; constraints may then choose other networks"
    print_costs(listing, as_json, as_csv, [note])


def _open_data(space: Space, timing: TimeOptions, classes: int | None) -> tuple[int, list[str]]:
    """Return how many classes the data have that are given, of the kind that the networks learn from, and lines on
    them. Raises SweepError."""
    from mnv2_sweep.base.text import harmless
    from mnv2_sweep.cli.progress import open_annotated, open_data
    from mnv2_sweep.data.describe import describe_photos, describe_splits
    from mnv2_sweep.data.marked import CLASSES, describe_marked, kind_of_head

    if classes is not None:
        raise SweepError(f"--classes {classes} --data: one of them; the data say how many there are")
    name, kinds = timing.data_name(space.data), sorted({kind_of_head(head) for head in space.heads})
    if len(kinds) > 1:
        raise SweepError(
            f"plan: --data given, but networks that end in {', '.join(space.heads)} learn from {' and '.join(kinds)}; "
            "--classes says how many classes are counted"
        )
    if kinds == [CLASSES]:
        dataset = open_data(name)[0]
        return len(dataset.classes), [describe_splits(dataset), *describe_photos(dataset)]
    marked = open_annotated(kinds[0], name, timing.fit)
    return len(marked.classes), [harmless(line) for line in describe_marked(marked)]


def _estimate_time(space: Space, path: Path, seeds: int | None, timing: TimeOptions, wanted: UntilOptions) -> list[str]:
    """Return lines on what the sweep of the space would take here, at most where it decides itself. Raises
    SweepError."""
    from mnv2_sweep.analysis.deciding import choose_fitting, describe_until
    from mnv2_sweep.cli.open import check_starts, open_run
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.sweeps.run import estimate_request

    names = {field.name for field in fields(TrainOptions)}
    options = TrainOptions(**{name: value for name, value in vars(timing).items() if name in names})
    chosen = range(seeds) if seeds else space.seeds
    asked = read_until(wanted, space, space.strategy, len(chosen), budget=timing.budget)
    opened = open_run(options, space.data, f"{path}: data:", space.strategy, timing.budget)
    networks, lines = select_networks(space, opened.classes), []
    archs = tuple(networks)
    if asked is not None:
        archs, until = choose_fitting(networks, *asked)
        lines = describe_until(until, len(archs), dry=True)
    first, *more = space.kinds
    request = opened.ask(
        space.name, archs, first.recipe, chosen, strategy=first.strategy, task=space.task, more=tuple(more),
        says_padding=space.sets_padding,
    )  # fmt: skip
    return [*lines, *estimate_request(check_starts(request, space, path))]
