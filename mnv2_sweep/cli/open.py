"""Opening data as a person sees it: a bar while it is decoded, and on stderr what was skipped and why."""

import sys
from pathlib import Path

from rich.console import Console

from mnv2_sweep.base.text import count_noun
from mnv2_sweep.cli.display import counting
from mnv2_sweep.data.catalog import Dataset, cache_folder, open_dataset
from mnv2_sweep.trials.trial import EMBEDDED

SHOWN = 20  # skipped files listed by name


def open_data(name: str, where: str = "--data") -> tuple[Dataset, str]:
    """The data set, and the name by which a worker opens it; a bar while photos are decoded, then what was skipped."""
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
    return dataset, name if name == EMBEDDED else str(Path(name).resolve())


def _say(text: str) -> None:
    print(text, file=sys.stderr)
