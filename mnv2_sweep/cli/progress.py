"""Bars for work that takes a moment, and what was left out of data and why, on stderr."""

from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.base.text import count_noun, printable
from mnv2_sweep.cli.options import tell
from mnv2_sweep.data.asked import data_path, move_name, read_name, whole_name
from mnv2_sweep.data.catalog import Dataset, is_there, open_dataset
from mnv2_sweep.data.decode import USUAL
from mnv2_sweep.data.marked import MarkedData, open_marked_data
from mnv2_sweep.data.photos import find_decoded
from mnv2_sweep.sweeps.schedule import read_data_name
from mnv2_sweep.trials.trial import EMBEDDED, Trial

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
    path = data_path(name)
    with counting(Console(stderr=True), f"reading {printable(str(path))}", "file") as report:
        dataset = open_dataset(name, cache_folder(), report, where, _say)
    _say_left_out(dataset, path)
    return dataset, whole_name(name)


def open_annotated(kind: str, name: str, fit: str | None = None) -> MarkedData:
    """Return data of boxes or masks; shows a bar while images are read, then says on stderr what was skipped. `fit`:
    as it was given beside the name. Raises DataError."""
    if fit == USUAL.fit:  # which the name of data does not tell from nothing
        raise DataError(f"--fit {fit}: would cut off {kind}; squash (the usual here) and pad show all of an image")
    path = data_path(name)
    with counting(Console(stderr=True), f"reading {printable(str(path))}", "file") as report:
        dataset = open_marked_data(kind, name, cache_folder(), report, say=_say)
    _say_left_out(dataset, path)
    return dataset


def _say_left_out(dataset: Dataset | MarkedData, path: str) -> None:
    skipped = getattr(dataset, "skipped", ())
    if skipped:
        _say(f"skipped {count_noun(len(skipped), 'file')} of {path}:")
        for file, reason in skipped[:SHOWN]:
            _say(f"  {file}: {reason}")
        if len(skipped) > SHOWN:
            _say(f"  ... and {len(skipped) - SHOWN} more")
    for note in getattr(dataset, "notes", ()):
        _say(f"note: {note}")


def open_recorded(folder: Path, trial: Trial, data: str | None) -> Dataset | None:
    """Return the data that a recorded trial was trained on: as given, or where the sweep's last run had them, or what
    the cache still has of photos that are gone; None where nothing is left. Says on stderr what is gone."""
    recorded = read_data_name(folder)
    if data is not None:
        return open_data(move_name(recorded, data))[0]
    if trial.data.name in EMBEDDED and recorded in (None, trial.data.name):
        return open_data(trial.data.name)[0]
    if recorded is not None and is_there(recorded):
        return open_data(recorded)[0]
    place, options = read_name(recorded or trial.data.name)
    found = find_decoded(trial.data.fingerprint, cache_folder(), Path(place), options)
    if found is not None:
        with suppress(DataError):  # a rectangle that was never evaluated is made of the photos themselves
            found.pixels("val", trial.train_size)
            _say(f"note: {place} is gone; its images are read from {found.folder}")
            return found
    _say(f"note: {place} is gone, and the cache has none of its images")
    return None


def _say(text: str) -> None:
    tell(text)
