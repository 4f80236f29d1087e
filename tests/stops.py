"""How tests end a training in the middle, and what of a result may differ between two runs of it."""

from dataclasses import replace

from mnv2_sweep.trials.trial import Result


class Killed(BaseException):
    """Ends a trial wherever it is, as SIGKILL would: nothing in the package handles it."""


class Stop:
    """`should_stop` that says yes when asked for the n-th time; counts how often it was asked."""

    def __init__(self, at: int | None = None):
        self.at, self.asked = at, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked == self.at


def measured(result: Result) -> Result:
    """The result without what the clock and the machine's memory say."""
    return replace(result, seconds=0.0, images_per_second=0.0, peak_memory_bytes=0)
