"""A data set of photos -> lines on it for a person: its classes, and what fitting photos into a square loses."""

from mnv2_sweep.base.text import percent, printable
from mnv2_sweep.data.catalog import Dataset, count_classes
from mnv2_sweep.data.decode import USUAL
from mnv2_sweep.data.photos import PhotoData

SHOWN_CLASSES = 6  # by name
LOSS_SAID = 0.005  # share of the pixels from which on it is said that the crop leaves them out


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
