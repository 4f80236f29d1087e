"""Options that several commands check in the same way."""

from mnv2_sweep.errors import SweepError


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
