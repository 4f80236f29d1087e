"""Ctrl-C, SIGTERM and a terminal that closes (SIGHUP): at the first a sweep stops in good order; all wait where they
would tear something in two. SIGHUP that is ignored, as nohup has it, stays so."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let what is pressed inside take effect at the end. Does nothing off the main thread.

    Handlers are swapped, not signals blocked: a blocked signal would go to another thread, and the handler run here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = {number: signal.signal(number, lambda got, frame: pressed.append(got)) for number in HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in pressed[:2]:
        if callable(before[number]):
            before[number](number, None)
        elif before[number] != signal.SIG_IGN:
            raise KeyboardInterrupt


def catch_signals(handler: Callable, numbers: Iterable[int] = HELD) -> dict[int, object]:
    """Have the signals handled, but for SIGHUP where it is ignored -> what handled them before."""
    wanted = [n for n in numbers if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in wanted}


class StopRequest:
    """A wish to stop, by a person, a service manager, or because nobody reads any more: true from the first signal on;
    the second raises KeyboardInterrupt. Use as a context manager in the main thread; `said` is called at the first."""

    def __init__(self, said=lambda: None):
        self.asked, self.said = False, said

    def __enter__(self) -> "StopRequest":
        self.before = catch_signals(self._press)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.asked

    def ask(self) -> None:
        """Ask as the first signal does."""
        if not self.asked:
            self.asked = True
            self.said()

    def _press(self, number: int, frame: object) -> None:
        if self.asked and number != signal.SIGHUP:  # shells send this one more than once
            raise KeyboardInterrupt
        self.ask()
