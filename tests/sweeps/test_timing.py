"""A few real steps: measured here and in processes, bounded, and clear about what does not fit."""

import signal
from dataclasses import replace
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
import torch

from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.sweeps import timing
from mnv2_sweep.sweeps.timing import DoesNotFit, Timing, time_here, time_network, time_team, timing_batch

SHORT = (0.05, 0.02, 3)


def test_a_real_network_is_measured(make_trial):
    for optimizer in ("sgd", "adamw"):
        measured = time_network(make_trial(batch=4, optimizer=optimizer), "cpu", SHORT)
        assert 1e-6 < measured.eval_seconds < 1 and 1e-6 < measured.image_seconds < 1
        assert 0 <= measured.start_seconds < 10 and 0 < measured.cpu_fraction <= 1
        assert 1e6 < measured.peak_bytes < 1e11 and measured.gpu_bytes == 0


def test_this_process_measures_on_one_thread_and_gives_the_others_back(monkeypatch, make_trial):
    threads = []
    monkeypatch.setattr(timing, "time_network", lambda *words: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert time_here([make_trial(), make_trial(1)], "cpu") == [None, None] and threads == [1, 1]
        monkeypatch.setattr(timing, "time_network", lambda *words: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            time_here([make_trial()], "cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_processes_measure_at_once(make_trial):
    trials = [make_trial(batch=4), make_trial(batch=8)]
    measured, start_seconds = time_team(trials, "shapes", cache_folder(), "cpu", 2, SHORT)
    assert len(measured) == 2 and all(0 < each.image_seconds < 1 for each in measured)
    assert 0.1 < start_seconds < 60  # the import of torch


def test_a_batch_that_would_hold_too_much_is_cut_and_scaled(monkeypatch, make_trial):
    assert timing_batch(make_trial(batch=64)) == 64
    large = make_trial(arch=ArchSpec(width=1.4, resolution=224), batch=4096)
    assert 2 <= timing_batch(large) < 64
    assert timing_batch(make_trial(arch=ArchSpec(width=1.4, resolution=4096), batch=64)) == 2
    whole = time_network(make_trial(batch=8), "cpu", SHORT)
    monkeypatch.setattr(timing, "MOST_ELEMENTS", 1)  # two images
    cut = time_network(make_trial(batch=8), "cpu", SHORT)
    assert cut.peak_bytes == pytest.approx(whole.peak_bytes, rel=0.5)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("memory")],
)
def test_out_of_memory_has_one_name(monkeypatch, make_trial, error):
    def broken(*words):
        raise error

    monkeypatch.setattr(timing, "begin_course", broken)
    with pytest.raises(DoesNotFit):
        time_network(make_trial(), "cpu", SHORT)


def test_another_error_stays_what_it_is(monkeypatch, make_trial):
    def broken(*words):
        raise RuntimeError("a bug")

    monkeypatch.setattr(timing, "begin_course", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        time_network(make_trial(), "cpu", SHORT)


@pytest.mark.parametrize(
    "answer, code, error",
    [
        (DoesNotFit(), None, DoesNotFit),
        (KeyError("x"), None, KeyError),
        (None, -signal.SIGKILL, DoesNotFit),
        (None, 1, RuntimeError),
    ],
    ids=["does not fit", "raised", "killed", "died"],
)
def test_what_a_process_meets_is_raised_here(answer, code, error):
    ours, theirs = Pipe()
    if answer is not None:
        theirs.send(answer)
    theirs.close()
    with pytest.raises(error):
        timing.receive_timing((SimpleNamespace(join=lambda: None, exitcode=code), ours))


def test_a_process_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(timing, "LIMIT_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        ours, theirs = Pipe()
        timing.receive_timing((SimpleNamespace(), ours))
    theirs.close()


def test_the_middle_of_what_processes_measured():
    one = Timing(1.0, 2.0, 3.0, 4, 5, 0.5)
    others = [replace(one, image_seconds=10.0, peak_bytes=9), replace(one, image_seconds=4.0, cpu_fraction=0.7)]
    assert timing.take_middle([one, *others]) == Timing(1.0, 4.0, 3.0, 9, 5, 0.5)
