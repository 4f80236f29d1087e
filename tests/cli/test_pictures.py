"""When the front of a running sweep is drawn, by a clock that is turned by hand."""

from pathlib import Path

import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.cli.pictures import LEAST_SECONDS, LOOK_SECONDS, PART, Pictures


class Clock:
    def __init__(self):
        self.now, self.takes, self.drawn = 1000.0, 0.0, []

    def __call__(self) -> float:
        return self.now

    def draw(self) -> list[Path]:
        self.drawn.append(self.now)
        self.now += self.takes
        return [Path("plots/mine/pareto.png"), Path("plots/mine/pareto.svg")]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_sweep_of_seconds_is_drawn_once_it_is_over_only(clock):
    pictures = Pictures(clock.draw, clock)
    clock.now += LEAST_SECONDS - 1
    assert pictures.redraw("a") == "" and clock.drawn == []
    clock.now += 1
    assert pictures.redraw("a") == "plots/mine/pareto.png: 1 network so far"


@pytest.mark.parametrize("takes, pause", [(0.1, LEAST_SECONDS), (3.0, 3.0 / PART)])
def test_pictures_come_as_results_do_and_take_little_of_the_time(clock, takes, pause):
    clock.takes = takes
    pictures = Pictures(clock.draw, clock)
    lines = []
    for i in range(4000):
        clock.now += 1
        lines.append(pictures.redraw(f"network {i // 100}"))
    gaps = [later - earlier - takes for earlier, later in zip(clock.drawn, clock.drawn[1:], strict=False)]
    assert clock.drawn[0] == 1000 + LEAST_SECONDS and len(gaps) > 10
    assert all(pause - 1e-6 <= gap < pause + 2 for gap in gaps)
    counts = [int(line.split(": ")[1].split()[0]) for line in lines if line]
    assert counts[0] == 1 and counts == sorted(counts) and len(counts) == len(clock.drawn)


def test_what_trains_is_previewed_until_there_is_a_result(clock):
    found, looks = [0.0], []

    def newest() -> float:
        looks.append(clock.now)
        return found[0]

    pictures = Pictures(clock.draw, clock, preview=clock.draw, newest=newest)
    assert pictures.look() == "" and looks == []  # a sweep of seconds
    clock.now += LEAST_SECONDS
    assert pictures.look() == "" and len(looks) == 1 and clock.drawn == []
    found[0] = 5.0
    assert pictures.look() == "" and len(looks) == 1  # it looked a moment ago
    clock.now += LOOK_SECONDS
    assert pictures.look() == "plots/mine/pareto.png: a preview, no results yet"
    clock.now += LOOK_SECONDS
    assert pictures.look() == "" and len(clock.drawn) == 1  # nothing new
    found[0] = 6.0
    clock.now += LOOK_SECONDS
    assert pictures.look() and len(clock.drawn) == 2
    assert pictures.redraw("a") == "plots/mine/pareto.png: 1 network so far"
    found[0] = 7.0
    clock.now += LEAST_SECONDS
    assert pictures.look() == "" and len(clock.drawn) == 3


@pytest.mark.parametrize("error", [StoreError("plots: plots can't be written here"), OSError("disk full")])
def test_what_cannot_be_drawn_is_said_once_and_ends_nothing(clock, error):
    tries = []

    def fail() -> list[Path]:
        tries.append(1)
        raise error

    pictures = Pictures(fail, clock)
    clock.now += LEAST_SECONDS
    assert pictures.redraw("a") == f"no picture while it runs: {error}"
    clock.now += 1e6
    assert pictures.redraw("b") == "" and tries == [1]
