"""Child processes that share no thread, lock or CUDA state with this one.

On Linux they are forked from a server: a process that does nothing but import what all of them need, which takes
seconds of computing, once and while this one prepares the work. Elsewhere, for a GPU, and where the temporary folder
can't hold the server's socket, each is a fresh interpreter: there, libraries may have threads or a state that no fork
survives.
"""

import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

import psutil

from mnv2_sweep.base.signals import HELD

STARTS, PAUSE_SECONDS = 3, 0.1
SERVER_GONE = 255  # the exit code that multiprocessing makes up for a process whose server has ended
POLL_SECONDS = 0.02
# Of scipy's BLAS, which else has one a core: they wait busily for vectors too short to share, four times the seconds of
# a core that fitting a linear classifier takes, and round differently on other numbers of cores.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}

_without_server = False  # it could not be started


class ChildProcess:
    """A process that runs the function, both picklable, and ends with this one, unless that is killed: the function has
    to notice. Its first call should be `begin_process`: signals wait until then, as in the middle of imports
    each would print a traceback. `imported` as for `prepare_processes`."""

    def __init__(self, target: Callable, args: tuple, on_gpu: bool, imported: Sequence[str]):
        for left in reversed(range(STARTS)):
            try:
                prepare_processes(on_gpu, imported)
                self._process = _find_context(on_gpu).Process(target=target, args=args, daemon=True)
                # The server blocks them for whom it forks; until it has imported, Ctrl-C has to be heard.
                with nullcontext() if _uses_server(on_gpu) else _holding_signals(), _environment(ONE_THREAD):
                    self._process.start()
                break
            except (EOFError, OSError):  # the server was killed at this moment; another one starts it
                if not left:
                    raise
                time.sleep(PAUSE_SECONDS)
        self.pid = self._process.pid
        self._seen = None
        with suppress(psutil.Error):  # it has ended already
            self._seen = psutil.Process(self.pid)

    def kill(self) -> None:
        self._process.kill()
        if self._seen is not None:  # multiprocessing knows no more of it once its server is gone
            with suppress(psutil.Error):
                self._seen.kill()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the process has ended."""
        self._process.join(seconds)
        if self._process.exitcode == SERVER_GONE and self._seen is not None:
            end = math.inf if seconds is None else time.monotonic() + seconds
            while self._is_seen() and time.monotonic() < end:
                time.sleep(POLL_SECONDS)

    def _is_seen(self) -> bool:
        """Return whether it still runs; some systems keep the entry of an ended orphan for ever."""
        with suppress(psutil.Error):
            return self._seen.is_running() and self._seen.status() != psutil.STATUS_ZOMBIE
        return False

    @property
    def exitcode(self) -> int | None:
        """Return minus the signal's number where a signal ended it; None while it runs."""
        return self._process.exitcode


def prepare_processes(on_gpu: bool, imported: Sequence[str]) -> None:
    """Start the server, where there is one and it does not run: it imports those modules while the caller does other
    things. A server that runs already keeps to what it was started with.

    It has the signals blocked for good, so that it ends last, with this process.
    """
    with _holding_signals():  # it ignores two of them by itself, and the end of the terminal so
        resource_tracker.ensure_running()  # multiprocessing's own helper; starting it later would unblock the signals
    if not _uses_server(on_gpu):
        return
    global _without_server
    forkserver.set_forkserver_preload([*imported])
    # Without the first it would import what lies in the current folder first.
    try:
        with _environment({"PYTHONSAFEPATH": "1", **ONE_THREAD}), _holding_signals(), _nameless_socket():
            forkserver.ensure_running()
    except OSError:  # its socket: a path of more than some 100 bytes, a full disk
        _without_server = True


@contextmanager
def _nameless_socket() -> Iterator[None]:
    """Take the socket of a server that is started within out of the temporary folder once it is there, where a kill of
    this process would leave it: from then on it is reached by a descriptor. multiprocessing has no public way to say
    where its socket lies, nor where it is reached."""
    server, config = forkserver._forkserver, multiprocessing.current_process()._config
    address, place = server._forkserver_address, config.get("tempdir")
    with tempfile.TemporaryDirectory(prefix="mnv2-") as folder:
        config["tempdir"] = folder
        try:
            yield
        finally:
            config["tempdir"] = place
        if server._forkserver_address not in (None, address):
            reached = f"/proc/self/fd/{os.open(server._forkserver_address, os.O_PATH)}"
            if address is not None and address.startswith("/proc/self/fd/"):  # of a server that has ended
                os.close(int(address.rpartition("/")[2]))
            server._forkserver_address = reached


def begin_process(on_sigterm: Callable | signal.Handlers) -> None:
    """Ignore Ctrl-C and the end of the terminal, which reach the whole group and are the parent's business, and handle
    SIGTERM, which service managers send to the group as well; called in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, on_sigterm)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def start_seconds() -> float:
    """Return how long it was computed until now to get this process ready, by the server too; called in the process."""
    seconds = time.process_time()
    if os.getppid() != multiprocessing.parent_process().pid:
        used = psutil.Process(os.getppid()).cpu_times()
        seconds += used.user + used.system
    return seconds


def _uses_server(on_gpu: bool) -> bool:
    return sys.platform == "linux" and not on_gpu and not _without_server


def _find_context(on_gpu: bool) -> BaseContext:
    return multiprocessing.get_context("forkserver" if _uses_server(on_gpu) else "spawn")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for whoever is started within."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _holding_signals() -> Iterator[None]:
    """Block the signals for whoever is started within."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
