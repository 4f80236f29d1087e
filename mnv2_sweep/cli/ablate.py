"""The command `ablate`: paired experiments on the parts of a network."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.cli.options import RunOptions, check_name, recipe_option, recipe_words
from mnv2_sweep.trials.trial import EMBEDDED

if TYPE_CHECKING:
    from mnv2_sweep.sweeps.request import SweepRequest

SEEDS, INPUT_SCALE, BASE = 3, 0.25, "1.0@160"
# What a recipe changes that no space says: `short` starts the norms before shortcuts small, which helps those networks
# that have them to learn in a short time. Compared are networks that start alike.
USUAL = {"input_scale": INPUT_SCALE, "shortcut_gain": 1.0}
NAMED_BASES = 3  # at most, in a sweep's name


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """What is changed in which networks."""

    no_linear_bottleneck: Annotated[
        bool, typer.Option("--no-linear-bottleneck", help="Put a ReLU6 after each projection (section 6.4, figure 6a).")
    ] = False
    residual: Annotated[
        str | None, typer.Option(help="none: no shortcuts; expansion: between expansions (section 6.4, figure 6b).")
    ] = None
    expansion: Annotated[str | None, typer.Option(help="Expansions t in the place of 6, as in 1,2,3,4,6,8,10.")] = None
    activation: Annotated[str | None, typer.Option(help="relu, hswish or relu6 in the place of ReLU6.")] = None
    scale_last_conv: Annotated[
        bool, typer.Option("--scale-last-conv", help="Narrow the last convolution too below width 1 (section 4).")
    ] = False
    no_depthwise: Annotated[
        bool, typer.Option("--no-depthwise", help="Ordinary convolutions in the place of depthwise ones (figure 2a).")
    ] = False
    everything: Annotated[bool, typer.Option("--all", help="All of these.")] = False
    base: Annotated[
        str, typer.Option(help="Networks to change: width@resolution, several with commas, or a design space (.yaml).")
    ] = BASE
    match: Annotated[
        str | None, typer.Option(help="madds or params: compare also at the width at which both cost the same.")
    ] = None


@dataclass(frozen=True, slots=True)
class ExperimentOptions:
    """How often and how long each network is trained."""

    seeds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Seeds 0 to N-1, the same for both sides; default 3.")
    ] = None
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Then add seeds one by one until each comparison is decided.")
    ] = False
    max_seeds: Annotated[int | None, typer.Option(min=2, max=1000, help="Of --until-decided: where to stop.")] = None
    recipe: recipe_option("base", "short, or the space's") = None
    images: recipe_option("images") = None
    input_scale: recipe_option("input_scale", INPUT_SCALE) = None


def ablate(
    change: ChangeOptions,
    experiment: ExperimentOptions,
    options: RunOptions,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHANGE | RECIPE]",
            help="Fields and the values they change to, as in residual=none expansion=1,3,8; fields of the recipe, as "
            "in recipe.lr=0.05.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train networks with and without their parts, on the same seeds: difference, interval, verdict on the paper."""
    from mnv2_sweep.analysis.ablation import (
        Protocol,
        choose_changes,
        continue_protocol,
        dump_protocol,
        list_networks,
        name_changes,
        plan_comparisons,
        read_protocol,
    )
    from mnv2_sweep.analysis.paired import ALWAYS, ONCE
    from mnv2_sweep.cli.display import show_sweep
    from mnv2_sweep.cli.open import open_run, open_space
    from mnv2_sweep.report.ablation import comparisons_text
    from mnv2_sweep.spaces.recipes import split_recipe_words
    from mnv2_sweep.spaces.shipped import shipped_file
    from mnv2_sweep.spaces.words import read_values

    of_recipe, of_networks = split_recipe_words(words or (), "ablate")
    if of_recipe and not of_networks and change == ChangeOptions(base=change.base, match=change.match):
        raise SweepError(
            f"ablate: {of_recipe[0]}: all sides share the recipe; say what to change in the network, in words, as in "
            "residual=none or expansion=1,3,8, or with options such as --no-linear-bottleneck"
        )
    changes = choose_changes(
        change.no_linear_bottleneck, change.residual, change.expansion, change.activation, change.scale_last_conv,
        change.no_depthwise, change.everything, read_values(of_networks, "ablate"),
    )  # fmt: skip
    base, until_decided = change.base, experiment.until_decided
    space = open_space(Path(base))[0] if Path(base).suffix in (".yaml", ".yml") or shipped_file(base) else None
    planned, _ = plan_comparisons(_find_bases(base, space), changes, change.match)  # mistakes before anything is opened
    own = space.seeds if space is not None and experiment.seeds is None and not until_decided else None
    seeds = range(experiment.seeds or SEEDS) if own is None else own
    count = len(seeds)
    most = _check_seeds(experiment, count, len(planned))
    recipe = _choose_recipe(space, experiment, of_recipe)
    opened = open_run(options, None if space is None else space.data)
    comparisons, notes = plan_comparisons(_find_bases(base, space, opened.classes), changes, change.match)
    words = [_name_base(base, space)] if base != BASE else []
    words += [opened.dataset.name] if opened.data_name != EMBEDDED[0] else []
    sweep = check_name(options.name or "-".join(["ablate", name_changes(changes), *words]))
    opened, folder = opened.join(), options.results / sweep
    protocol = Protocol(comparisons, ALWAYS if until_decided else ONCE, count)
    protocol = continue_protocol(read_protocol(folder, ()), protocol)
    counts = dict.fromkeys(list_networks(comparisons), count)
    lines = [f"note      {note}" for note in [*notes, *_note_gain(recipe.shortcut_gain, changes)]]
    if until_decided:
        counts = _count_recorded(folder, counts, most)
        seeds = range(max(counts.values()))
        lines.append(f"until     all is decided, or {most} seeds; {len(seeds)} to begin with")
    lines += ["", comparisons_text(comparisons), ""]
    source = dump_protocol(protocol, [shlex.join(sys.argv[2:])])
    request = opened.ask(sweep, tuple(counts), recipe, seeds, counts=counts, source=source)
    failed = show_sweep(request, lines)
    if options.dry_run:
        raise typer.Exit(0)
    if until_decided:
        failed = _add_seeds(request, most) or failed
    _show(folder, request.settings.workers, options.plots)
    raise typer.Exit(1 if failed else 0)


def _note_gain(gain: float, changes) -> list[str]:
    """Say where a recipe favours networks with shortcuts over those without."""
    if gain == 1 or not any(change.field == "residual" for change in changes):
        return []
    return [
        f"the recipe starts the norm before each shortcut at {gain:g}, which favours networks that have them; "
        "recipe.shortcut_gain=1 starts all alike"
    ]


def _find_bases(base: str, space, classes: int | None = None) -> tuple:
    """Return the networks to change; with at least as many classes as the data have, where the space does not say."""
    from mnv2_sweep.analysis.ablation import parse_bases
    from mnv2_sweep.spaces.networks import expand

    if space is not None:
        return expand(space, classes)
    return tuple(replace(arch, classes=max(arch.classes, classes or 1)) for arch in parse_bases(base))


def _name_base(base: str, space) -> str:
    """Return the base's part of the sweep's name: ablations of one thing in different networks lie beside each
    other."""
    if space is not None:
        return space.name
    words = [word.strip() for word in base.split(",")]
    return "-".join(words) if len(words) <= NAMED_BASES else f"{len(words)}-networks"


def _check_seeds(experiment: ExperimentOptions, seeds: int, comparisons: int) -> int:
    """Return how many seeds a comparison may have. Raises SweepError."""
    from mnv2_sweep.analysis.paired import fewest_seeds

    most = experiment.max_seeds
    if most is None:
        if experiment.until_decided:
            raise SweepError("--until-decided: say where it stops at the latest; add --max-seeds N")
        return seeds
    if not experiment.until_decided:
        raise SweepError(f"--max-seeds {most}: it is of --until-decided; add that, or say --seeds {most}")
    if most < seeds:
        given = f"the {seeds} seeds to begin with" if experiment.seeds is None else f"--seeds {seeds}"
        raise SweepError(f"--max-seeds {most}: below {given}; give at least {seeds}")
    if most < fewest_seeds(comparisons):
        raise SweepError(
            f"--max-seeds {most}: with {count_noun(comparisons, 'comparison')} nothing can be decided before seed "
            f"{fewest_seeds(comparisons)}, whatever it says; give at least {fewest_seeds(comparisons)}"
        )
    return most


def _choose_recipe(space, experiment: ExperimentOptions, words: list[str]):
    """Return the space's recipe or a named one, with the changes that were asked for. Raises SweepError."""
    from mnv2_sweep.spaces.recipes import read_recipe_words

    words = words + recipe_words(base=experiment.recipe, images=experiment.images, input_scale=experiment.input_scale)
    return read_recipe_words(words, "ablate", space and space.recipe, USUAL)


def _count_recorded(folder: Path, counts: dict, most: int) -> dict:
    """Return the seeds that each network has from earlier runs of the command, where these are more."""
    from mnv2_sweep.nets.resolve import arch_key
    from mnv2_sweep.record.frame import load_frame

    recorded = (load_frame(folder).groupby("arch_key")["seed"].max() + 1).to_dict()
    return {arch: min(most, max(count, recorded.get(arch_key(arch), 0))) for arch, count in counts.items()}


def _add_seeds(request: "SweepRequest", most: int) -> int:
    """Train seeds one by one for what is undecided; returns how many trials failed."""
    from mnv2_sweep.analysis.differences import load_readings, next_seeds
    from mnv2_sweep.cli.display import show_sweep

    failed, counts = 0, request.counts
    while True:
        _, readings = load_readings(request.folder)
        wanted = next_seeds(readings, counts, most)
        if wanted == counts:
            return failed
        open_labels = [one.comparison.label for one in readings if not one.decided]
        grown = sum(wanted[arch] > counts[arch] for arch in wanted)
        typer.echo(f"\nundecided {', '.join(open_labels)}; a seed more for {grown} networks")
        counts = wanted
        seeds = tuple(range(max(counts.values())))
        failed = show_sweep(replace(request, counts=counts, seeds=seeds, announced=False, retry_failed=False))


def _show(folder: Path, workers: int, plots: Path) -> None:
    """Print the readings and draw them, or print the trials where there is nothing to compare."""
    from mnv2_sweep.analysis.differences import load_readings
    from mnv2_sweep.base.text import align
    from mnv2_sweep.record.frame import load_frame
    from mnv2_sweep.report.ablation import readings_text
    from mnv2_sweep.report.figures import draw_ablation
    from mnv2_sweep.report.tables import trials_table

    protocol, readings = load_readings(folder)
    if not any(one.seeds for one in readings):
        typer.echo("\n" + align(trials_table(load_frame(folder))))
        return
    typer.echo("\n" + readings_text(readings, protocol.looks, workers or None, protocol.peeked))
    for path in draw_ablation(folder, plots):
        typer.echo(path)
