"""Ctrl-C and SIGTERM: at the first a sweep stops in good order; both wait where they would tear something in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HELD = (signal.SIGINT, signal.SIGTERM)


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


class StopRequest:
    """A wish to stop, by a person or a service manager: true from the first Ctrl-C or SIGTERM on; the second raises
    KeyboardInterrupt. Use as a context manager in the main thread; `said` is called at the first."""

    def __init__(self, said=lambda: None):
        self.asked, self.said = False, said

    def __enter__(self) -> "StopRequest":
        self.before = {number: signal.signal(number, self._press) for number in HELD}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.asked

    def _press(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.said()
