"""Options that several commands check in the same way."""

from mnv2_sweep.errors import SweepError
from mnv2_sweep.sweeps.places import EXAMPLE


def choose_watch(log: str | None):
    """What writes the curves of running trials, beside the records. Raises SweepError."""
    if log is None:
        return None
    if log != "tensorboard":
        raise SweepError(f"--log {log}: tensorboard is what there is")
    try:
        from mnv2_sweep.training.events import watch_points
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("tensorboard"):
            raise
        raise SweepError(
            "--log tensorboard: it is not installed here; install it with: pip install 'mnv2-sweep[tensorboard]'"
        ) from None
    return watch_points


def check_name(name: str) -> str:
    """A name for a sweep, as given. Raises SweepError."""
    if (
        not 0 < len(name.encode("utf-8", "replace")) <= 200
        or name in (".", "..", EXAMPLE)
        or any(c in name for c in "/\\\0")
    ):
        raise SweepError(
            f"--name {name}: a plain folder name is wanted: no slashes, at most 200 bytes, not '{EXAMPLE}'"
        )
    return name
