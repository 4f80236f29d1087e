"""Workers' processes: they start clean, ignore who should not end them, and end when they are told to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from mnv2_sweep.base import processes
from mnv2_sweep.base.processes import SERVER_GONE, ChildProcess, begin_process, start_seconds
from tests.trial_samples import is_running, wait_until

LIGHT = ["asyncio"]  # takes a tenth of a second


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    """A server of this file's own, which does not import torch, as nothing here needs it."""
    end_server()
    yield
    end_server()  # who comes next wants the usual one


def end_server() -> None:
    process, _, server = start()
    process.kill()
    process.join()
    if sys.platform == "linux":
        os.kill(server, signal.SIGKILL)
        assert wait_until(lambda: not is_running(server))


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no server")


def sleep_and_tell(pipe, is_begun: bool = True) -> None:
    if is_begun:
        begin_process(on_sigterm=signal.SIG_DFL)
    pipe.send((start_seconds() - time.process_time(), os.getppid()))
    time.sleep(60)


def start(is_begun: bool = True) -> tuple[ChildProcess, float, int]:
    """A process that sleeps, with what others computed for it before, and its parent."""
    ours, theirs = Pipe()
    process = ChildProcess(sleep_and_tell, (theirs, is_begun), on_gpu=False, imported=LIGHT)
    assert ours.poll(60)
    return process, *ours.recv()


def is_blocked(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
    return bool(mask >> (number - 1) & 1)


@pytest.mark.slow
def test_a_process_ends_as_it_is_told():
    for number in (signal.SIGTERM, signal.SIGKILL):
        process, seconds, _ = start()
        assert process.exitcode is None and (0.02 if sys.platform == "linux" else -1) < seconds < 100
        os.kill(process.pid, signal.SIGINT)  # is ignored
        process.join(0.1)
        assert process.exitcode is None
        os.kill(process.pid, number)
        process.join()
        assert process.exitcode == -number


@ON_LINUX
def test_until_it_has_begun_a_signal_waits_and_for_the_server_it_waits_for_good():
    process, _, server = start(is_begun=False)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(process.pid, number)
            assert is_blocked(process.pid, number) and is_blocked(server, number) and is_running(process.pid)
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
@ON_LINUX
def test_a_process_can_be_ended_when_the_server_is_gone():
    """As when the system is out of memory; the next process has another server."""
    process, _, server = start()
    os.kill(server, signal.SIGKILL)
    assert wait_until(lambda: process.exitcode == SERVER_GONE)
    assert is_running(process.pid)
    process.kill()
    process.join()
    assert not is_running(process.pid)
    other, _, another = start()
    assert another != server
    other.kill()
    other.join()
    assert other.exitcode == -signal.SIGKILL


def tell_of_module(pipe, name: str) -> None:
    begin_process(on_sigterm=signal.SIG_DFL)
    pipe.send(name in sys.modules)


@pytest.mark.slow
@ON_LINUX
def test_the_server_has_imported_what_is_wanted_since_it_was_prepared():
    end_server()
    processes.prepare_processes(on_gpu=False, imported=["this"])
    ours, theirs = Pipe()
    process = ChildProcess(tell_of_module, (theirs, "this"), on_gpu=False, imported=LIGHT)
    assert ours.poll(60) and ours.recv() and "this" not in sys.modules
    process.join()
    end_server()


@pytest.mark.slow
@ON_LINUX
def test_where_the_server_cannot_start_each_is_a_fresh_interpreter(monkeypatch):
    """As with a TMPDIR whose path is too long for a socket."""
    monkeypatch.setattr(processes, "_without_server", False)
    monkeypatch.setattr(processes.forkserver, "ensure_running", Mock(side_effect=OSError("AF_UNIX path too long")))
    for _ in range(2):
        process, _, parent = start()
        assert parent == os.getpid()
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert processes.forkserver.ensure_running.call_count == 1


@pytest.mark.slow
@ON_LINUX
def test_an_orphan_that_nobody_reaps_is_not_waited_for():
    """As in a container whose first process does not."""
    process, *_ = start()
    process.kill()
    process.join()
    process._process = Mock(exitcode=SERVER_GONE)
    process._seen = Mock(**{"is_running.return_value": True, "status.return_value": psutil.STATUS_ZOMBIE})
    process.join()
    process._seen.status.return_value = psutil.STATUS_RUNNING
    began = time.monotonic()
    process.join(0.1)
    assert time.monotonic() - began >= 0.1


CODE = """
import os, sys
from mnv2_sweep.base import processes

def say_path():
    import profile
    print(profile.__file__, file=sys.stderr)

if __name__ == "__main__":
    process = processes.ChildProcess(say_path, (), on_gpu=False, imported=["profile"])
    process.join()
    print(process.exitcode, os.environ.get("PYTHONSAFEPATH"))
"""


def test_what_lies_in_the_current_folder_is_not_imported(tmp_path):
    """`profile` is a module of Python's that torch imports; nor does the environment change."""
    (tmp_path / "work").mkdir()
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "work" / "profile.py").write_text("raise SystemExit('a file of the user')")
    run = subprocess.run(
        [sys.executable, tmp_path / "code.py"], cwd=tmp_path / "work", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert run.stdout == f"0 {os.environ.get('PYTHONSAFEPATH')}\n"
    assert "profile.py" in run.stderr and "a file of the user" not in run.stderr and str(tmp_path) not in run.stderr


def test_a_process_that_has_ended_already_can_be_ended_again():
    process, *_ = start()
    for _ in range(2):
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL and not psutil.pid_exists(process.pid)


HOLD = """
import os, signal, sys, time
from mnv2_sweep.base.processes import ChildProcess
if __name__ == "__main__":
    for _ in range(2):
        child = ChildProcess(os.listdir, (".",), False, ["json"])
        child.join()
        assert child.exitcode == 0
    print("ready", flush=True)
    time.sleep(60)
"""


@ON_LINUX
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_kill_leaves_nothing_in_the_temporary_folder(tmp_path, number):
    (tmp_path / "hold.py").write_text(HOLD)
    folder = tmp_path / "t"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "hold.py")], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "ready\n"
        assert list(folder.iterdir()) == []
        process.send_signal(number)
    assert list(folder.iterdir()) == []
