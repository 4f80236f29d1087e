"""Options that several commands share, as records: `expand_options` gives a command their fields as options."""

import inspect
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import harmless
from mnv2_sweep.record.folders import EXAMPLE
from mnv2_sweep.spaces.read import MAX_SEED
from mnv2_sweep.spaces.space import ALONE, Space, Strategy
from mnv2_sweep.trials.recipe import RECIPE_CHOICES, RECIPES, Recipe
from mnv2_sweep.trials.trial import EMBEDDED


def _one_format(context: typer.Context, wanted: bool) -> bool:
    if wanted and context.params.get("as_json"):
        raise SweepError("--json --csv: one of them")
    return wanted


SpaceFile = Annotated[
    Path, typer.Argument(help="A design space, for instance spaces/paper_grid.yaml, or the name of one that ships.")
]
SweepName = Annotated[str | None, typer.Argument(help="A sweep's name; without one, the sweep that ran last.")]
Seeds = Annotated[int | None, typer.Option(min=1, max=1000, help="Seeds 0 to N-1, instead of the file's.")]
Seed = Annotated[
    int | None, typer.Option(min=0, max=MAX_SEED, help="This seed alone, as one of many jobs on one sweep.")
]
Results = Annotated[Path, typer.Option(help="Folder of all results.")]
Plots = Annotated[Path, typer.Option(help="Folder for the plots.")]
Data = Annotated[
    str | None, typer.Option(help="'shapes', 'cloths', 'quilts' (built in), or a folder, zip or tar of photos.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Trials at once; default: one per core, or one on a GPU.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.", callback=_one_format)]
Costs = Annotated[
    list[str] | None,
    typer.Option(
        "--cost",
        help="A further cost: latency@NAME or memory@NAME of a profile (see 'device list'), file_bytes, "
        "file_int8_bytes, peak_activation_int8_bytes; several with the option again.",
    ),
]
Wishes = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="WISH",
        help='What the network may cost, as in "madds <= 100M", in the words of a space\'s constraints. Several '
        "with the option again; all are kept.",
    ),
]
AtLeast = Annotated[
    float, typer.Option(help="The probability of being the best that fits which makes the answer sure.")
]
Within = Annotated[
    float | None,
    typer.Option(
        help="What may be lost on average for a cheaper network that the data can't tell from the best, in the "
        "score's unit; default: 0.5 points of a score in percent, else nothing.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop; no results are written.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try trials again that failed in earlier runs.")]
Shared = Annotated[
    bool,
    typer.Option("--shared", help="Train all networks at once, as slices of one set of weights (strategy: shared)."),
]
Separate = Annotated[bool, typer.Option("--separate", help="Train each network alone (strategy: separate).")]
ZipEncoding = Annotated[
    str | None, typer.Option(help="Of names in a zip that does not say, as gbk; default: found out or asked.")
]
FollowLinks = Annotated[bool, typer.Option("--follow-links", help="Follow links that lead out of the folder.")]
RESULTS, PLOTS = Path("results"), Path("plots")


@dataclass(frozen=True)
class DataOptions:
    """Which data, and how photos are read in them."""

    data: Data = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="A table or list of photos and classes, here or in the data; for photos not in class folders. Several "
            "with the option again, as --labels train.csv --labels test.csv."
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(help="Its columns, where they aren't found: image=NAME,label=NAME,split=NAME,group=NAME."),
    ] = None
    label_pattern: Annotated[
        str | None,
        typer.Option(help="Where names tell the classes: '{label}.{number}.jpg', or '{label}/*/*' of folders."),
    ] = None
    fit: Annotated[
        str | None,
        typer.Option(help="How photos become the network's shape: crop (the middle; default), pad or squash (all)."),
    ] = None
    zip_encoding: ZipEncoding = None
    follow_links: FollowLinks = False
    group_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Found in a photo's name: photos of one patient, session or camera stay in one split, as 'p[0-9]+'.",
        ),
    ] = None
    group_similar: Annotated[
        bool, typer.Option("--group-similar", help="Photos that look alike stay in one split.")
    ] = False

    def data_name(self, otherwise: str = EMBEDDED[0]) -> str:
        """Return the name by which the data are opened; `otherwise`: that of a file, for what is not given here.
        Raises SweepError."""
        from mnv2_sweep.data.asked import PhotoOptions, make_name, read_name

        path, options = read_name(otherwise)
        if self.data is not None:
            path, options = self.data, PhotoOptions(fit=options.fit)
        given = {field.name: getattr(self, field.name) for field in fields(PhotoOptions)}
        return make_name(path, replace(options, **{name: value for name, value in given.items() if value}))


@dataclass(frozen=True)
class TrainOptions(DataOptions):
    """What every command has that trains: on what, with how many workers, and where its results go."""

    workers: Workers = None
    device: Device = "auto"
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the sweep that is run or calibrated; default: the space's or ablation's, with the data's; "
            "of finetune: SWEEP-finetune."
        ),
    ] = None
    retry_failed: RetryFailed = False
    dry_run: DryRun = False
    results: Results = RESULTS


@dataclass(frozen=True)
class RunOptions(TrainOptions):
    """How a sweep runs, and where its plots go."""

    timeout: Annotated[
        str | None, typer.Option(help="Time one attempt at a trial may take, as in 2h, a shared training not counted.")
    ] = None
    memory: Annotated[
        str | None, typer.Option(help="Memory one trial may use, as in 4GiB; default: a worker's share.")
    ] = None
    per_gpu: Annotated[
        str | None, typer.Option(help="Trials at once on each GPU; default 1; auto: what memory holds.")
    ] = None
    stack_seeds: Annotated[
        bool | None,
        typer.Option(
            "--stack-seeds/--no-stack-seeds",
            help="Train the seeds of a network as one, on a GPU; default: where there is one.",
            show_default=False,
        ),
    ] = None
    cuda_graphs: Annotated[
        bool,
        typer.Option("--cuda-graphs", help="On a GPU: one seed after the other, as CUDA graphs where that is faster."),
    ] = False
    log: Annotated[
        str | None, typer.Option(help="tensorboard: also write event files (needs mnv2-sweep[tensorboard]).")
    ] = None
    executor: Annotated[
        str, typer.Option(help="local: worker processes; ray: a Ray cluster (needs mnv2-sweep[ray]).")
    ] = "local"
    address: Annotated[
        str | None, typer.Option(help="Ray's head as host:port, or auto; default: $RAY_ADDRESS, else a Ray of its own.")
    ] = None
    keep: Annotated[
        str, typer.Option(help="Networks that keep their weights: all, front, best or none; with --executor ray none.")
    ] = "all"
    keep_bytes: Annotated[
        str | None,
        typer.Option(
            help="Disk for all of them, default 1GB; where it is too little, the front's come first, then the best. "
            "Where it is given, also those that earlier runs kept go if they don't fit."
        ),
    ] = None
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave out of the results which images each network got right.")
    ] = False
    plots: Plots = PLOTS


def recipe_option(name: str, usual: object = None, of: str = "") -> object:
    """Return the type of an option that says a field of the recipe, or its `base`, as the word recipe.NAME=VALUE does;
    `usual` is the command's own default, `of` begins the help."""
    default = "" if usual is None else f"; default {usual}"
    if name == "base":
        text = f"Name of a recipe, {' or '.join(RECIPES)}{default}."
        return Annotated[str | None, typer.Option("--recipe", help=of + text)]
    kind = next(field.type for field in fields(Recipe) if field.name == name)
    text = f"{RECIPE_CHOICES[name].help.rstrip('.')} (recipe.{name}){default}."
    return Annotated[kind | None, typer.Option(help=of + text)]


def recipe_words(**given: object) -> list[str]:
    """Return the options of a recipe as words."""
    return [f"recipe.{name}={value}" for name, value in given.items() if value is not None]


def expand_options(command: Callable) -> Callable:
    """Return the command with one keyword parameter for each field of the records that it takes, for typer to read."""
    hints = get_type_hints(command, include_extras=True)
    parameters, records = [], {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind):
            types = get_type_hints(kind, include_extras=True)
            records[parameter.name] = kind
            for field in fields(kind):
                default = inspect.Parameter.empty if field.default is MISSING else field.default
                parameters.append(_keyword(field.name, default, types[field.name]))
        else:
            parameters.append(_keyword(parameter.name, parameter.default, kind))

    @wraps(command)
    def expanded(**values: object) -> object:
        made = {
            name: record(**{field.name: values.pop(field.name) for field in fields(record)})
            for name, record in records.items()
        }
        return command(**values, **made)

    del expanded.__wrapped__  # typer would read that one's parameters
    expanded.__signature__ = inspect.Signature(parameters)
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _keyword(name: str, default: object, kind: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def given_options(context: typer.Context) -> list[str]:
    """Return the options that stand on the command line, as in "--width", in the order of their declaration."""
    given = [one for one in context.command.params if context.get_parameter_source(one.name).name == "COMMANDLINE"]
    return [one.opts[0] for one in given if one.param_type_name == "option"]


def command_line() -> str:
    """Return the command as it was typed, for a shell."""
    return shlex.join(["mnv2-sweep", *sys.argv[1:]])


def drop_output() -> None:
    """Send what is still to be printed nowhere: who reads it has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(text: str) -> None:
    """Print on stderr, where somebody still reads it."""
    with suppress(OSError):
        print(harmless(text), file=sys.stderr, flush=True)


def choose_strategy(space: Space, shared: bool, separate: bool) -> Strategy:
    """Return the file's strategy, or the one asked for, with what the file says about it. Raises SweepError."""
    if shared and separate:
        raise SweepError("--shared --separate: one of them")
    if space.inits and (shared or separate):
        given = "--shared" if shared else "--separate"
        raise SweepError(f"{given}: the space has an axis init, with a strategy for each kind of start; leave it out")
    if shared and space.strategy.name != "shared":
        return Strategy("shared")
    return ALONE if separate else space.strategy


def choose_watch(log: str | None):
    """Return what writes the curves of running trials, beside the records. Raises SweepError."""
    if log is None:
        return None
    if log != "tensorboard":
        raise SweepError(f"--log {log}: tensorboard is what there is")
    try:
        from mnv2_sweep.training.tensorboard import watch_points
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("tensorboard"):
            raise
        raise SweepError(
            "--log tensorboard: it is not installed here; install it with: pip install 'mnv2-sweep[tensorboard]'"
        ) from None
    return watch_points


def name_sweep(space: Space, strategy: Strategy, data_name: str, dataset_name: str) -> str:
    """Return the sweep's own name: the space's, with the data's and the strategy where they are not the usual ones."""
    usual = space.data if space.data in EMBEDDED else EMBEDDED[0]
    parts = [space.name, *([] if data_name == usual else [dataset_name])]
    return "-".join(parts + ([] if strategy.name == space.strategy.name else [strategy.name]))


def check_name(name: str) -> str:
    """Return the name, if it can be a folder's. Raises SweepError."""
    if (
        not 0 < len(name.encode("utf-8", "replace")) <= 200
        or name in (".", "..", EXAMPLE)
        or any(c in name for c in "/\\\0")
        or not name.isprintable()
    ):
        raise SweepError(
            f"--name {name}: a plain folder name is wanted: no slashes, at most 200 bytes, nothing invisible, "
            f"not '{EXAMPLE}'"
        )
    return name
