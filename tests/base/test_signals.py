"""Ctrl-C and SIGTERM, sent to this very process."""

import os
import signal
import threading
import time

import pytest

from mnv2_sweep.base.signals import HELD, StopRequest, hold_interrupts

every_signal = pytest.mark.parametrize("number", HELD, ids=lambda number: number.name)


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.001)  # Python calls handlers between two of its steps


@pytest.fixture(autouse=True)
def handlers_stay():
    before = [signal.getsignal(number) for number in HELD]
    yield
    after = [signal.getsignal(number) for number in HELD]
    for number, handler in zip(HELD, before, strict=True):
        signal.signal(number, handler)
    assert after == before


# ---------------------------------------------------------------- stop requests


@pytest.mark.parametrize("number", HELD[:2], ids=lambda number: number.name)
def test_once_is_a_request_and_twice_is_at_once(number):
    said = []
    with StopRequest(lambda: said.append("stopping")) as stop:
        assert not stop() and not stop.asked
        press(number)
        assert stop() and stop.asked and said == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            press(number)
        assert stop() and said == ["stopping"]


def test_a_terminal_that_closes_may_say_so_more_than_once():
    with StopRequest() as stop:
        for _ in range(3):
            press(signal.SIGHUP)
        assert stop()


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            press(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_one_of_each_is_twice():
    with StopRequest() as stop:
        press(signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            press(signal.SIGINT)


def test_afterwards_ctrl_c_means_what_it_did():
    with StopRequest():
        press()
    with pytest.raises(KeyboardInterrupt):
        press()


# ---------------------------------------------------------------- held back


@every_signal
def test_what_is_pressed_inside_takes_effect_at_the_end(number):
    done = []
    with StopRequest() as stop:
        with hold_interrupts():
            press(number)
            done.append(stop())
        assert stop() and done == [False]


def test_twice_inside_is_twice_at_the_end():
    done = []
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        with hold_interrupts():
            press()
            press()
            press()
            done.append("written")
    assert stop() and done == ["written"]


def test_without_a_stop_request_ctrl_c_ends_the_program_after_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with hold_interrupts():
            press()
            done.append("written")
    assert done == ["written"]


def test_blocks_may_be_nested():
    done = []
    with StopRequest() as stop:
        with hold_interrupts():
            with hold_interrupts():
                press()
            done.append(stop())
        assert stop() and done == [False]


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hold_interrupts():
            press()
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_inside_goes_through():
    with pytest.raises(ValueError, match="mine"):
        with hold_interrupts():
            raise ValueError("mine")


def test_off_the_main_thread_nothing_is_held():
    done = []

    def work() -> None:
        with hold_interrupts():
            done.append([signal.getsignal(number) for number in HELD])

    before = [signal.getsignal(number) for number in HELD]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [before]
