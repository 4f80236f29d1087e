"""Progress as bars on a terminal, as plain lines elsewhere."""

import io
import json
import os
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import typer
from rich.console import Console

from mnv2_sweep.cli import display
from mnv2_sweep.cli.display import SweepDisplay, counting
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.folders import progress_path
from mnv2_sweep.record.store import DIVERGED, INTERRUPTED, KILLED, Outcome
from mnv2_sweep.sweeps.run import Finished, Noted
from mnv2_sweep.trials.trial import trial_id

ARCHS = (ArchSpec(width=0.35, resolution=160), ArchSpec(width=1.0, resolution=160))


@pytest.fixture
def trials(make_trial):
    return [make_trial(seed, arch=arch, input_scale=0.25) for arch in ARCHS for seed in (0, 1)]


@pytest.fixture
def clock(monkeypatch):
    """Time that the test moves: clock.now."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(display.time, "monotonic", lambda: clock.now)
    return clock


def make_display(trials, folder, terminal=False, width=120):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None, soft_wrap=True)
    return SweepDisplay({trial: 100.0 * (i + 1) for i, trial in enumerate(trials)}, folder, console)


def write_progress(folder, trial, step=117, loss=2.125) -> None:
    path = progress_path(folder, trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"step": step, "steps": 468, "loss": loss, "images_per_second": 512.4}))


def drawn(shown: SweepDisplay) -> list[str]:
    """The live lines as they stand now."""
    console = Console(file=io.StringIO(), width=shown.console.width, color_system=None)
    console.print(shown.progress.get_renderable())
    return console.file.getvalue().splitlines()


# ---------------------------------------------------------------- plain lines


def test_a_line_for_each_trial_that_ended(tmp_path, trials, make_result):
    with make_display(trials, tmp_path) as shown:
        shown.ended(Outcome(trials[0], make_result(val_top1=0.6125, seconds=7.4, images_per_second=512.4)))
        shown.ended(Outcome(trials[3], make_result(test_top1=None)))
        shown.ended(Outcome(trials[1], error="the loss became nan: [bold]no luck[/bold]", kind=DIVERGED))
    lines = shown.console.file.getvalue().splitlines()
    assert lines[:3] == [
        "[1/4] 0.35 at 160, 40 px, seed 0: val top-1 61.3 %, test 40.0 %, 7 s, 512 images/s",
        "[2/4] 1.0 at 160, 40 px, seed 1: val top-1 50.0 %, 2 s, 48 images/s",
        "[3/4] 0.35 at 160, 40 px, seed 1: FAILED (diverged): the loss became nan: [bold]no luck[/bold]",
    ]
    assert (shown.finished, shown.failed, shown.waiting) == (3, 1, {trial_id(trials[2]): trials[2]})


def test_what_is_tried_again_or_goes_on_later_has_not_ended(tmp_path, trials, make_result):
    killed = Outcome(trials[0], error="the worker process was killed by SIGKILL", kind=KILLED)
    with make_display(trials, tmp_path) as shown:
        shown.ended(killed, retried=True)
        shown.ended(Outcome(trials[1], error="interrupted; goes on from its checkpoint", kind=INTERRUPTED))
        assert (shown.finished, shown.failed, len(shown.waiting), shown.done_seconds) == (0, 0, 4, 0.0)
        shown.ended(replace(killed, attempts=2))
    assert shown.console.file.getvalue().splitlines()[:3] == [
        "[-/4] 0.35 at 160, 40 px, seed 0: the worker process was killed by SIGKILL; it is tried again",
        "[-/4] 0.35 at 160, 40 px, seed 1: interrupted; goes on from its checkpoint",
        "[1/4] 0.35 at 160, 40 px, seed 0: FAILED (killed): the worker process was killed by SIGKILL",
    ]
    assert (shown.finished, shown.failed, len(shown.waiting)) == (1, 1, 3)


def test_what_another_run_recorded_counts_once(tmp_path, trials, make_result):
    with make_display(trials, tmp_path) as shown:
        shown.ended(Outcome(trials[0], make_result()))
        for elsewhere in ([], [trials[1]], [trials[1]], [trials[1], trials[3]]):
            shown.tick(elsewhere)
    lines = shown.console.file.getvalue().splitlines()
    assert lines[1:3] == [
        "[2/4] 0.35 at 160, 40 px, seed 1: recorded by another run",
        "[3/4] 1.0 at 160, 40 px, seed 1: recorded by another run",
    ]
    assert (shown.finished, shown.done_seconds, shown.waiting) == (3, 700.0, {trial_id(trials[2]): trials[2]})


def test_running_trials_are_told_twice_a_minute(tmp_path, trials, clock, make_result):
    with make_display(trials, tmp_path) as shown:
        write_progress(tmp_path, trials[0])
        write_progress(tmp_path, trials[2])
        for second in range(0, 100):
            clock.now = 100.0 + second
            shown.tick()
    lines = [line for line in shown.console.file.getvalue().splitlines() if line]
    detail = "step 117/468, loss 2.12, 512 images/s"
    running = sorted(f"{name} at 160, 40 px, seed 0: {detail}" for name in ("0.35", "1.0"))
    # A quarter of 100 s and of 300 s is done, of 1,000 s: 10 %, so nine times as long is left.
    times = [("0:00:30", "0:04:30"), ("0:01:00", "0:09:00"), ("0:01:30", "0:13:30")]
    assert [line.split("; ")[0] for line in lines] == [
        f"0 of 4 trials, {g} gone, about {left} left" for g, left in times
    ]
    assert all(sorted(line.split("; ")[1:]) == running for line in lines)


def test_nothing_is_printed_without_news(tmp_path, trials):
    with make_display(trials, tmp_path) as shown:
        shown.tick()
    assert shown.console.file.getvalue() == ""


# ---------------------------------------------------------------- bars


def test_a_terminal_shows_the_whole_with_its_time_and_a_line_a_running_trial(tmp_path, trials, clock, make_result):
    shown = make_display(trials, tmp_path, terminal=True)
    write_progress(tmp_path, trials[0])
    write_progress(tmp_path, trials[3], step=234, loss=float("nan"))
    shown.tick()
    overall, *of_trials = drawn(shown)
    first, second = sorted(of_trials)
    assert overall.startswith("0 of 4 trials")
    assert re.search(r"0\.35 at 160, 40 px, seed 0 .* step 117/468, loss 2\.12, 512 images/s", first)
    assert re.search(r"1\.0 at 160, 40 px, seed 1 .* step 234/468, loss nan, 512 images/s", second)
    task = shown.progress.tasks[0]
    assert task.percentage == pytest.approx(100 * (100 / 4 + 400 / 2) / 1000)  # work, not trials
    progress_path(tmp_path, trials[0]).unlink()
    shown.ended(Outcome(trials[0], make_result()))
    shown.tick()
    assert [line.split()[0] for line in drawn(shown)] == ["1", "1.0"]
    assert task.completed == 100 + 400 / 2


@pytest.mark.parametrize(
    "done, elapsed, left",
    [
        (0, 0, "0:00:00 gone, time left unknown yet"),
        (5, 10, "0:00:10 gone, time left unknown yet"),
        (250, 60, "0:01:00 gone, about 0:03:00 left"),
        (750, 7200, "2:00:00 gone, about 0:40:00 left"),
        (100, 9000, "2:30:00 gone, about 22:30:00 left"),
    ],
    ids=["start", "too early", "quarter", "last quarter", "long"],
)
def test_time_left_follows_the_whole_run(done, elapsed, left, tmp_path, trials, clock):
    shown = make_display(trials, tmp_path, terminal=True)
    clock.now += elapsed
    shown.done_seconds = done
    shown.tick()
    assert left in drawn(shown)[0]


def test_all_is_readable_on_80_columns(tmp_path, trials):
    shown = make_display(trials, tmp_path, terminal=True, width=80)
    for trial in trials[:2]:
        write_progress(tmp_path, trial)
    shown.tick()
    lines = drawn(shown)
    assert len(lines) == 3 and "…" not in lines[0] and re.search(r"[-\d]:[-\d]{2}:[-\d]{2}", lines[0])
    assert all("117/468" in line and "2.12" in line and "512" in line for line in lines[1:])


def test_the_display_leaves_nothing_but_lines(tmp_path, trials, make_result):
    """What is printed above the bars stays."""
    with make_display(trials, tmp_path, terminal=True) as shown:
        write_progress(tmp_path, trials[0])
        shown.tick()
        for trial in trials:
            shown.ended(Outcome(trial, make_result()))
    text = shown.console.file.getvalue()
    assert [int(n) for n in re.findall(r"\[(\d)/4\]", text)] == [1, 2, 3, 4]
    assert text.rindex("\x1b[?25h") > text.rindex("[4/4]")  # the cursor is shown again


def test_progress_of_other_trials_is_not_shown(tmp_path, trials, make_trial):
    shown = make_display(trials[:2], tmp_path, terminal=True)
    write_progress(tmp_path, make_trial(99))
    write_progress(tmp_path, trials[1])
    shown.tick()
    assert len(drawn(shown)) == 2


def test_equal_trials_from_another_process_are_recognised(tmp_path, trials, make_result):
    shown = make_display(trials, tmp_path)
    shown.ended(Outcome(replace(trials[2]), make_result()))
    assert shown.done_seconds == 300.0 and len(shown.waiting) == 3


# ---------------------------------------------------------------- counting


def test_counting_says_once_what_it_counts():
    console = Console(file=io.StringIO(), width=80)
    with counting(console, "reading photos", "file") as report:
        for done in (1, 2, 3):
            report(done, 1234)
    assert console.file.getvalue().splitlines() == ["reading photos: 1,234 files"]


def test_counting_is_silent_where_nothing_is_counted():
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
        with counting(console, "reading photos", "file"):
            pass
        assert "reading" not in console.file.getvalue()


def test_counting_on_a_terminal_is_a_bar():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with counting(console, "reading photos", "file") as report:
        report(5, 10)
    assert re.search(r"reading photos .*5/10", console.file.getvalue())


@pytest.mark.parametrize("left, code", [(2, 130), (0, 0)], ids=["in mid-course", "at the end"])
def test_a_closed_pipe_stops_the_sweep_in_good_order(tmp_path, monkeypatch, left, code):
    reader, writer = os.pipe()
    os.close(reader)
    asked = []

    def run(request, stop):
        yield Noted(("nobody reads this",))
        asked.append(stop())
        yield Finished(tmp_path, 1, left, 0)

    with open(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        try:
            ended = display.show_sweep(None, run=run)
        except typer.Exit as error:
            ended = error.exit_code
    assert asked == [True] and ended == code
