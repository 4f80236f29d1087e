"""A data set -> lines on it for a person: its classes, what fitting photos into a square loses, what top-1 is worth."""

from mnv2_sweep.base.text import percent, printable
from mnv2_sweep.data.catalog import Dataset, count_classes
from mnv2_sweep.data.decode import USUAL
from mnv2_sweep.data.photos import PhotoData
from mnv2_sweep.trials.tasks import BALANCED, TOP1, Score

MOST_OF_ONE = 0.5  # share of the images of one class above which top-1 says little
SHOWN_CLASSES = 6  # by name
LOSS_SAID = 0.005  # share of the pixels from which on it is said that the crop leaves them out


def describe_splits(dataset: Dataset) -> str:
    """Return a line with the name, the classes and how many images each split has."""
    counts = ", ".join(f"{len(labels):,} {split}" for split, labels in dataset.labels.items())
    return f"data      {dataset.name}: {len(dataset.classes)} classes; {counts}"


def describe_classes(dataset: Dataset, score: Score) -> list[str]:
    """Return a warning where networks are ranked by top-1 and most validation images are of one class."""
    counts = count_classes(dataset, "val")
    largest, share = int(counts.argmax()), counts.max() / max(1, counts.sum())
    if score != TOP1 or share <= MOST_OF_ONE:
        return []
    what = f"{percent(share, 0)} % of the validation images are {printable(dataset.classes[largest])}"
    return [
        f"warning   {what}, so always guessing that has a top-1 of {percent(share, 0)} %: "
        f"score: {BALANCED.name} in the recipe ranks by what is right of each class, balance: weights trains for that"
    ]


def describe_photos(dataset: Dataset) -> list[str]:
    """Return a line on the classes of photos, the first few and how many training images the smallest and the largest
    have, and one on what fitting them into a network's shape loses."""
    if not isinstance(dataset, PhotoData):
        return []
    names = [printable(name) for name in dataset.classes]
    shown = ", ".join(names[:SHOWN_CLASSES])
    rest = f" and {len(names) - SHOWN_CLASSES:,} more" if len(names) > SHOWN_CLASSES else ""
    counts = count_classes(dataset, "train")
    least, most = int(counts.argmin()), int(counts.argmax())
    span = f"{counts[least]:,}"
    if counts[least] < counts[most]:
        span += f" ({names[least]}) to {counts[most]:,} ({names[most]})"
    lines, fit = [f"classes   {shown}{rest}; {span} for training each"], dataset.decoding.fit
    if fit == USUAL.fit and dataset.loss >= LOSS_SAID:
        loss = percent(dataset.loss, 0)
        lines.append(f"fit       crop: the centre square leaves out {loss} % of the pixels; --fit pad keeps them")
    elif fit != USUAL.fit:
        lines.append(f"fit       {fit}: all of each photo, {'with grey beside it' if fit == 'pad' else 'stretched'}")
    return lines
