"""Bars for work that takes a moment, and what was left out of data and why, on stderr."""

import sys
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.catalog import Dataset, cache_folder, open_dataset
from mnv2_sweep.trials.trial import EMBEDDED

SHOWN = 20  # skipped files listed by name


@contextmanager
def counting(console: Console, title: str, noun: str):
    """Show a bar for work that is counted in `noun`s; yields `report(done, total)`. Silent where nothing is
    reported."""
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: list = []

        def report(done: int, total: int) -> None:
            if not tasks:
                tasks.append(progress.add_task(title, total=total))
                if not console.is_terminal:
                    console.print(f"{title}: {count_noun(total, noun)}", markup=False, highlight=False)
            progress.update(tasks[0], completed=done, total=total)

        yield report


def open_data(name: str, where: str = "--data") -> tuple[Dataset, str]:
    """Return the data set, and the name by which a worker opens it; shows a bar while photos are decoded, then says on
    stderr what was skipped."""
    with counting(Console(stderr=True), f"reading {name}", "file") as report:
        dataset = open_dataset(name, cache_folder(), report, where)
    skipped = getattr(dataset, "skipped", ())
    if skipped:
        _say(f"skipped {count_noun(len(skipped), 'file')} of {name}:")
        for path, reason in skipped[:SHOWN]:
            _say(f"  {path}: {reason}")
        if len(skipped) > SHOWN:
            _say(f"  ... and {len(skipped) - SHOWN} more")
    for note in getattr(dataset, "notes", ()):
        _say(f"note: {note}")
    return dataset, name if name in EMBEDDED else str(Path(name).resolve())


def _say(text: str) -> None:
    print(text, file=sys.stderr)
