"""Progress of a running sweep -> the terminal: bars that live in place, or plain lines where it is no terminal."""

import errno
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from mnv2_sweep.base.signals import StopRequest
from mnv2_sweep.base.text import count_noun, harmless, printable
from mnv2_sweep.cli.options import drop_output, tell
from mnv2_sweep.cli.pictures import Pictures
from mnv2_sweep.cli.progress import counting
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.folders import LOGS
from mnv2_sweep.record.store import Outcome
from mnv2_sweep.sweeps.attempt import read_progress
from mnv2_sweep.sweeps.request import SweepRequest
from mnv2_sweep.sweeps.run import Begun, Event, Finished, Noted, Prepared, Removed, Scheduled, run_sweep
from mnv2_sweep.sweeps.workers import Ended, Ticked
from mnv2_sweep.trials.differences import first_of_kinds
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Trial, trial_id, trial_label

PLAIN_SECONDS = 30  # between two lines about running trials


class SweepDisplay:
    """The overall bar with the time left, and a line per running trial: step, loss, images/s.

    `seconds` holds the estimated seconds of each trial: the bar counts work, not trials, so that the time left is right
    even when the longest run first. Use as a context manager; `tick` is cheap and may be called often.
    """

    def __init__(self, seconds: Mapping[Trial, float], folder: Path, console: Console):
        self.seconds, self.folder, self.console = dict(seconds), folder, console
        self.waiting = {trial_id(trial): trial for trial in seconds}
        self.kinds = tuple(first_of_kinds(seconds).values())
        self.finished, self.failed, self.done_seconds = 0, 0, 0.0
        self.lines: dict[Trial, int] = {}
        self.started = self.last_plain = time.monotonic()
        title = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        detail = TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True))
        self.progress = Progress(title, BarColumn(8), detail, console=console, transient=True, expand=True)
        self.overall = self.progress.add_task(self._title(), total=sum(seconds.values()) or 1.0, detail="")

    def __enter__(self) -> "SweepDisplay":
        if self.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self.progress.stop()

    def tick(self, elsewhere: Sequence[Trial] = ()) -> None:
        """Read the running trials' progress and show it; `elsewhere`: trials that other runs have recorded."""
        for trial in elsewhere:
            if self.waiting.pop(trial_id(trial), None):
                self.done_seconds += self.seconds[trial]
                self.finished += 1
                self._print(f"[{self.finished}/{len(self.seconds)}] {self._name(trial)}: recorded by another run")
        running = read_progress(self.folder, self.waiting)
        part = sum(self.seconds[trial] * state["step"] / state["steps"] for trial, state in running.items())
        done = self.done_seconds + part
        self.progress.update(self.overall, completed=done, description=self._title(), detail=self._times(done))
        for trial in self.lines.keys() - running.keys():
            self.progress.remove_task(self.lines.pop(trial))
        for trial, state in running.items():
            if trial not in self.lines:
                self.lines[trial] = self.progress.add_task("  " + self._name(trial), total=state["steps"], detail="")
            self.progress.update(self.lines[trial], completed=state["step"], detail=_detail(state))
        if not self.console.is_terminal and time.monotonic() - self.last_plain >= PLAIN_SECONDS:
            self.last_plain = time.monotonic()
            states = "; ".join(f"{self._name(trial)}: {_detail(state)}" for trial, state in running.items())
            self._print(f"{self._title()}, {self._times(done)}; {states}")

    def ended(self, outcome: Outcome, retried: bool = False) -> None:
        """Print one line about a trial that ended, or that will be tried once more."""
        if retried or outcome.status == "interrupted":
            what = f"{outcome.error}; it is tried again" if retried else outcome.error
            self._print(f"[-/{len(self.seconds)}] {self._name(outcome.trial)}: {what}")
            return
        del self.waiting[trial_id(outcome.trial)]
        self.done_seconds += self.seconds[outcome.trial]
        self.finished += 1
        if outcome.result is None:
            self.failed += 1
            text = f"FAILED ({outcome.kind}): {outcome.error}"
        else:
            result = outcome.result
            main = task_of(outcome.trial).main
            tested = result.score("test", main.name)
            test = "" if tested is None else f", test {main.amount(tested)}"
            text = f"val {main.said(result.score('val', main.name))}{test}, {result.seconds:.0f} s"
            text += f", {result.images_per_second:.0f} images/s"
        self._print(f"[{self.finished}/{len(self.seconds)}] {self._name(outcome.trial)}: {text}")

    def note(self, line: str) -> None:
        """Print a line, unless it is empty, beside the bars."""
        if line:
            self._print(line)

    def _title(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.finished} of {count_noun(len(self.seconds), 'trial')}{failed}"

    def _times(self, done: float) -> str:
        """Return the time elapsed, and left as the whole run so far says: the last seconds alone would jump with each
        trial's end."""
        total, elapsed = sum(self.seconds.values()), time.monotonic() - self.started
        left = (
            f"about {_clock(elapsed * (total - done) / done)} left" if done > 0.01 * total else "time left unknown yet"
        )
        return f"{_clock(elapsed)} gone, {left}"

    def _name(self, trial: Trial) -> str:
        return f"{trial_label(trial, self.kinds)}, {trial.train_size} px, seed {trial.seed}"

    def _print(self, line: str) -> None:
        self.console.print(printable(line), markup=False, highlight=False, emoji=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def show_sweep(
    request: SweepRequest,
    notes: Sequence[str] = (),
    pictures: Pictures | None = None,
    run: Callable[[SweepRequest, StopRequest], Generator[Event, object, object]] = run_sweep,
) -> int:
    """Run the sweep that is asked for and show its events as they come, with `notes` below its plan, and `pictures` of
    what is known so far; `run` makes the events.

    Returns how many of its trials failed. Raises typer.Exit(130) where it was interrupted.
    """
    stop = StopRequest(partial(tell, "stopping: running trials write their checkpoints"))
    shown = _Shown(notes, pictures)
    events = run(request, stop)
    with closing(events), shown:
        while True:
            try:
                event = next(events, None)
                if event is None:
                    return shown.failed
                _show(shown, event, stop)
            except KeyboardInterrupt:  # the second one, between two events: the sweep ends as if it had come inside
                event = events.throw(KeyboardInterrupt)
                _show(shown, event, stop)


def _show(shown: "_Shown", event: Event, stop: StopRequest) -> None:
    """Show an event; where nobody reads any more (a closed pipe or terminal), the sweep stops as if told to."""
    try:
        shown.show(event)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO) or error.filename is not None:
            raise
        drop_output()
        stop.ask()
        if isinstance(event, Finished):  # its exit code is still wanted
            shown.show(event)


class Terminal(Console):
    """A console that says that nobody reads any more as `print` does, and does not end the program."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "nobody reads the output")


class _Shown:
    """What stands on the terminal, made of the events of a sweep."""

    def __init__(self, notes: Sequence[str], pictures: Pictures | None = None):
        self.notes, self.pictures, self.failed, self.console = notes, pictures, 0, Terminal(soft_wrap=True)
        self.stack, self.bar, self.display = ExitStack(), None, None

    def __enter__(self) -> "_Shown":
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def show(self, event: Event) -> None:
        if not isinstance(event, Prepared | Ticked | Ended | Removed):
            self.stack.close()  # bars end before lines come
        if isinstance(event, Scheduled):
            lines = [*event.lines] if event.tuning else [f"sweep     {event.folder}", *event.lines, *self.notes]
            print(harmless("\n".join(lines)), flush=True)
        elif isinstance(event, Noted):
            print(harmless("\n".join(event.lines)), flush=True)
        elif isinstance(event, Prepared):
            if event.done == 1:
                self.bar = self.stack.enter_context(counting(self.console, "preparing images", "size"))
            self.bar(event.done, event.total)
        elif isinstance(event, Begun):
            self.display = self.stack.enter_context(SweepDisplay(event.seconds, event.folder, self.console))
        elif isinstance(event, Ticked):
            self.display.tick(event.elsewhere)
            if self.pictures:
                self.display.note(self.pictures.look())
        elif isinstance(event, Ended):
            self.display.ended(event.outcome, event.retried)
            if self.pictures and event.outcome.result is not None:
                self.display.note(self.pictures.redraw(arch_label(event.outcome.trial.arch)))
        elif isinstance(event, Removed):
            for line in event.lines:
                self.display.note(line)
        else:
            self._finish(event)

    def _finish(self, event: Finished) -> None:
        if event.left:
            done = count_noun(event.recorded, "trial")
            tell(f"interrupted: {done} recorded, {event.left} left; the same command continues")
            raise typer.Exit(130)
        self.failed = event.failed
        if event.failed:
            failed = count_noun(event.failed, "trial")
            tell(f"{failed} failed (logs in {event.folder / LOGS}); --retry-failed tries again")


def _detail(state: dict) -> str:
    return f"step {state['step']}/{state['steps']}, loss {state['loss']:.2f}, {state['images_per_second']:.0f} images/s"
