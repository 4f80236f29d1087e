"""The command line: options -> one or two library calls -> print. Heavy modules are imported by the command that
needs them, so that `--help`, `count`, `plan` and `table` answer at once and never import torch.

A mistake of the user's is one line on stderr and exit code 2. Exit 1: some trials failed. Exit 130: interrupted.
"""

import errno
import signal
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from mnv2_sweep import __version__
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.signals import catch_signals
from mnv2_sweep.cli.ablate import ablate
from mnv2_sweep.cli.calibrate import calibrate
from mnv2_sweep.cli.count import count
from mnv2_sweep.cli.data import data_app
from mnv2_sweep.cli.device import device_app
from mnv2_sweep.cli.export import export
from mnv2_sweep.cli.finetune import finetune
from mnv2_sweep.cli.merge import merge
from mnv2_sweep.cli.options import drop_output, expand_options, tell
from mnv2_sweep.cli.paper import paper
from mnv2_sweep.cli.plan import plan
from mnv2_sweep.cli.plot import plot
from mnv2_sweep.cli.predict import predict
from mnv2_sweep.cli.recommend import recommend
from mnv2_sweep.cli.report import report
from mnv2_sweep.cli.run import run
from mnv2_sweep.cli.status import status
from mnv2_sweep.cli.table import table
from mnv2_sweep.cli.weights import weights_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Which MobileNetV2 should I use, on my data, for my device, within my budget, and how sure are we?",
)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")
app.add_typer(device_app, name="device")
_COMMANDS = (
    plan,
    count,
    paper,
    export,
    finetune,
    predict,
    calibrate,
    ablate,
    run,
    recommend,
    report,
    plot,
    table,
    status,
    merge,
)
for _command in _COMMANDS:
    app.command()(expand_options(_command))


def main() -> None:
    """Run the command, and turn mistakes into one line."""
    catch_signals(_interrupt, (signal.SIGTERM, signal.SIGHUP))
    try:
        code = app(prog_name="mnv2-sweep", standalone_mode=False)
        sys.stdout.flush()
    except SweepError as error:
        _fail(str(error))
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a command group without a command: its help is the answer
            tell(message)
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
        tell(f"error: {line}")
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
