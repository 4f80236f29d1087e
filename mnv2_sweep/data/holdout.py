"""Photos without a split for validation -> the same, with a part of each class held out: by photo, or by group.

Photos of one group (a patient, a session, a camera, photos that look alike) stay together, as a network knows again
what it has seen a moment before. Which ones are held out depends on names alone, in no order.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import count_noun

HOLD_OUT, HOLD_OUT_IMAGES, HOLD_OUT_SEED = 0.15, 5000, 0


class Photo(NamedTuple):
    split: str
    label: str  # the class folder's name
    path: str  # by which it is known: [<split>/]<class>/<name>, whatever the layout; of class folders their own


def hold_out(where: str, photos: list[Photo], groups: Mapping[str, str] | None = None) -> list[Photo]:
    """Return the same photos with a part of each class's train moved to val; which ones depends only on their names and
    groups, by path: those of a group stay together. Raises DataError."""
    by_class = defaultdict(list)
    for photo in photos:
        if photo.split == "train":
            by_class[photo.label].append(photo)
    fraction = min(HOLD_OUT, HOLD_OUT_IMAGES / sum(map(len, by_class.values())))
    counts = {}
    for label, own in by_class.items():
        if len(own) < 2:
            raise DataError(
                f"{where}: class {label!r} has 1 image to train on; without a val folder at least 2 are needed, as one "
                "is held out; add images, remove the class or make a val folder"
            )
        counts[label] = min(max(1, round(fraction * len(own))), len(own) - 1)
    if groups:
        chosen = _choose_groups(where, by_class, counts, groups)
    else:
        chosen = {photo for label, own in by_class.items() for photo in sorted(own, key=_rank)[: counts[label]]}
    return [photo._replace(split="val") if photo in chosen else photo for photo in photos]


def _choose_groups(
    where: str, by_class: Mapping[str, list[Photo]], counts: Mapping[str, int], groups: Mapping[str, str]
) -> set[Photo]:
    """Choose whole groups, about as many photos of each class as `counts` says, at least one of each."""
    members = defaultdict(list)
    for own in by_class.values():
        for photo in own:
            members[groups.get(photo.path, f"/{photo.path}")].append(photo)  # by itself, where it has none
    sizes = {name: Counter(photo.label for photo in own) for name, own in members.items()}
    wanted, left = dict(counts), {label: len(own) for label, own in by_class.items()}
    chosen: list[str] = []

    def can_go(name: str) -> bool:
        return all(left[label] > count for label, count in sizes[name].items())

    def take(name: str) -> None:
        chosen.append(name)
        for label, count in sizes[name].items():
            left[label] -= count
            wanted[label] -= count

    order = sorted(sizes, key=lambda name: (_digest(f"{HOLD_OUT_SEED}/{name}"), name))
    for name in order:
        useful = sum(max(0, min(wanted[label], count)) for label, count in sizes[name].items())
        if 2 * useful > sizes[name].total() and can_go(name):
            take(name)
    holders = defaultdict(list)
    for name in order:
        for label in sizes[name]:
            holders[label].append(name)
    held = {label for name in chosen for label in sizes[name]}
    for label in sorted(by_class.keys() - held):
        if label in held:
            continue  # came with another class's
        fitting = [name for name in holders[label] if name not in chosen and can_go(name)]
        if not fitting:
            many = count_noun(len(holders[label]), "group")
            raise DataError(
                f"{where}: class {label!r} lies in {many}, and none can be held out so that each class keeps photos to "
                "train on; make smaller groups, add photos, or give the split yourself (a val folder or a split column)"
            )
        take(min(fitting, key=lambda name: sizes[name].total()))
        held |= {*sizes[chosen[-1]]}
    return {photo for name in chosen for photo in members[name]}


def _rank(photo: Photo) -> bytes:
    return _digest(f"{HOLD_OUT_SEED}/{photo.label}/{photo.path.rpartition('/')[2]}")


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
