"""Ctrl-C and SIGTERM held back for the moments in which they would tear something in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """What is pressed inside takes effect at the end, once, as KeyboardInterrupt. Does nothing off the main thread.

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
    if pressed:
        raise KeyboardInterrupt
