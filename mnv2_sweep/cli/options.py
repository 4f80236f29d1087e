"""Options that several commands share.

Options that several commands check in the same way.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.record.folders import EXAMPLE
from mnv2_sweep.spaces.space import ALONE, Space, Strategy
from mnv2_sweep.trials.trial import EMBEDDED

# ---------------------------------------------------------------- cli_options


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
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try trials again that failed in earlier runs.")]
Timeout = Annotated[
    str | None, typer.Option(help="Time one attempt at a trial may take, as in 2h, a shared training not counted.")
]
Memory = Annotated[str | None, typer.Option(help="Memory one trial may use, as in 4GiB; default: a worker's share.")]
Log = Annotated[str | None, typer.Option(help="tensorboard: also write event files (needs mnv2-sweep[tensorboard]).")]
PerGpu = Annotated[str | None, typer.Option(help="Trials at once on each GPU; default 1; auto: what memory holds.")]
CudaGraphs = Annotated[
    bool, typer.Option("--cuda-graphs", help="On a GPU: one seed after the other, as CUDA graphs where that is faster.")
]
StackSeeds = Annotated[
    bool | None,
    typer.Option(
        "--stack-seeds/--no-stack-seeds",
        help="Train the seeds of a network as one, on a GPU; default: where there is one.",
        show_default=False,
    ),
]
Budget = Annotated[
    str | None, typer.Option(help="Run only what fits into this time, as in 30m; seeds are dropped before networks.")
]
Executor = Annotated[str, typer.Option(help="local: worker processes; ray: a Ray cluster (needs mnv2-sweep[ray]).")]
Address = Annotated[
    str | None, typer.Option(help="Ray's head as host:port, or auto; default: $RAY_ADDRESS, else a Ray of its own.")
]
Shared = Annotated[
    bool,
    typer.Option("--shared", help="Train all networks at once, as slices of one set of weights (strategy: shared)."),
]
Separate = Annotated[bool, typer.Option("--separate", help="Train each network alone (strategy: separate).")]
RESULTS, PLOTS = Path("results"), Path("plots")


def drop_output() -> None:
    """Send what is still to be printed nowhere: who reads it has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def choose_strategy(space: Space, shared: bool, separate: bool) -> Strategy:
    """The file's, or the one asked for, with what the file says about it. Raises SweepError."""
    if shared and separate:
        raise SweepError("--shared --separate: one of them")
    if shared and space.strategy.name != "shared":
        return Strategy("shared")
    return ALONE if separate else space.strategy


def name_sweep(space: Space, strategy: Strategy, data_name: str, dataset_name: str) -> str:
    """The sweep's own name: the space's, with the data's and the strategy where they are not the usual ones."""
    parts = [space.name, *([] if data_name == EMBEDDED else [dataset_name])]
    return "-".join(parts + ([] if strategy.name == space.strategy.name else [strategy.name]))


def check_name(name: str) -> str:
    """The name, if it can be a folder's. Raises SweepError."""
    if (
        not 0 < len(name.encode("utf-8", "replace")) <= 200
        or name in (".", "..", EXAMPLE)
        or any(c in name for c in "/\\\0")
    ):
        raise SweepError(
            f"--name {name}: a plain folder name is wanted: no slashes, at most 200 bytes, not '{EXAMPLE}'"
        )
    return name


# ---------------------------------------------------------------- cli_checks


def choose_watch(log: str | None):
    """What writes the curves of running trials, beside the records. Raises SweepError."""
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
