"""The front of a sweep that still runs: drawn when there is a result, and again as more come."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun

LEAST_SECONDS = 20  # from the start, and between two pictures
PART = 0.02  # of the sweep's time, at most, is spent on them: whoever draws gives no trial to a worker meanwhile


class Pictures:
    """Draws with `draw()`, which returns the files, whenever a result came and it is time. What can't be drawn ends
    nothing: it is said once, and no more is drawn."""

    def __init__(self, draw: Callable[[], Sequence[Path]], clock: Callable[[], float] = time.monotonic):
        self.draw, self.clock, self.next = draw, clock, clock() + LEAST_SECONDS
        self.networks: set[str] = set()

    def redraw(self, network: str) -> str:
        """Note that the network has a result; return a line about a new picture, "" for none."""
        self.networks.add(network)
        began = self.clock()
        if began < self.next:
            return ""
        try:
            drawn = self.draw()
        except (SweepError, OSError) as error:
            self.next = float("inf")
            return f"no picture while it runs: {error}"
        ended = self.clock()
        self.next = ended + max(LEAST_SECONDS, (ended - began) / PART)
        return f"{drawn[0]}: {count_noun(len(self.networks), 'network')} so far" if drawn else ""
