"""The front of a sweep that still runs: a preview while nothing has a result, then drawn as results come."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.heap import trim_heap
from mnv2_sweep.base.text import count_noun

LEAST_SECONDS = 20  # from the start, and between two pictures
LOOK_SECONDS = 2  # between two looks for a preview
PART = 0.02  # of the sweep's time, at most, is spent on them: whoever draws gives no trial to a worker meanwhile


class Pictures:
    """Draws with `draw()`, which returns the files, whenever a result came and it is time. What can't be drawn ends
    nothing: it is said once, and no more is drawn. `preview()` draws what is known before the first result, and
    `newest()` says when there was something new for that, 0.0 never; neither is asked once there is a result."""

    def __init__(
        self,
        draw: Callable[[], Sequence[Path]],
        clock: Callable[[], float] = time.monotonic,
        preview: Callable[[], Sequence[Path]] = tuple,
        newest: Callable[[], float] = float,
    ):
        self.draw, self.preview, self.newest = draw, preview, newest
        self.clock, self.next = clock, clock() + LEAST_SECONDS
        self.next_look, self.previewed = self.next, 0.0
        self.networks: set[str] = set()

    def look(self) -> str:
        """Return a line about a new picture of what trains, "" for none."""
        if self.networks or self.clock() < self.next_look:
            return ""
        self.next_look, before = self.clock() + LOOK_SECONDS, self.previewed
        self.previewed = self.newest()
        drawn = self._try(self.preview) if self.previewed > before else ()
        return drawn if isinstance(drawn, str) else f"{drawn[0]}: a preview, no results yet" if drawn else ""

    def redraw(self, network: str) -> str:
        """Note that the network has a result; return a line about a new picture, "" for none."""
        self.networks.add(network)
        began = self.clock()
        if began < self.next:
            return ""
        drawn = self._try(self.draw)
        if isinstance(drawn, str):
            return drawn
        ended = self.clock()
        self.next = ended + max(LEAST_SECONDS, (ended - began) / PART)
        return f"{drawn[0]}: {count_noun(len(self.networks), 'network')} so far" if drawn else ""

    def _try(self, draw: Callable[[], Sequence[Path]]) -> Sequence[Path] | str:
        """Return what was drawn, or why nothing can be."""
        try:
            return draw()
        except (SweepError, OSError) as error:
            self.next = self.next_look = float("inf")
            return f"no picture while it runs: {error}"
        finally:
            trim_heap()  # of the canvas: the workers have more use for it
