"""Images with masks in a folder or an archive -> MaskData, whose pixels and masks come at any size, together.

    path --list_marked--> MarkedFiles --find_masks--> MaskSource --_make--> digests and counts in the cache --> MaskData

A mask has a class number for each pixel of the upright image, 255 (IGNORED) where nothing is said. At another size each
pixel takes the class of the one at its centre; beside a padded image nothing is said. The fingerprint is over classes
and each image's split, name, bytes and class numbers, whatever the files of the masks are.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import count_noun, percent
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.decode import Look, UnreadableImage, look_at, place_image
from mnv2_sweep.data.layout import some_names
from mnv2_sweep.data.marked_cache import (
    Made,
    check_class_names,
    check_some_left,
    find_fingerprint,
    open_kept,
    split_records,
)
from mnv2_sweep.data.marked_files import MarkedFiles
from mnv2_sweep.data.marked_images import (
    MarkedSet,
    Report,
    Say,
    Seen,
    describe_copies,
    describe_fit,
    grey_white,
    look_at_image,
    open_marked,
    place_in_splits,
    size_words,
    work_on_each,
)
from mnv2_sweep.data.mask_files import BACKGROUND, IGNORED, MaskError, MaskSource, find_masks

KIND = "masks"
BINARY = (BACKGROUND, "foreground")  # of masks of 0 and 255 alone, where nothing names their classes


class SeenMask(NamedTuple):
    """An image that was looked at, with the digest of its mask and how often each value is in it, int64 [256]."""

    image: Seen
    digest: str = ""
    counts: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class MaskData(MarkedSet):
    """Images with masks; classes are by number, with the background where there is one. Pixels and masks stay on
    disk."""

    counts: dict[
        str, np.ndarray
    ]  # split -> int64 [classes + 1]: pixels of each class, the last of which nothing is said
    images_with: dict[str, np.ndarray]  # split -> int64 [classes]: images in which a class is
    is_binary: bool  # masks are of 0 and 255, which then is class 1
    mask_digests: Mapping[str, Sequence[str]]  # split -> of the class numbers of each mask

    def masks(self, split: str, size: Size) -> np.ndarray:
        """Return the masks of what `pixels` returns at that size, read-only uint8 [N, *size]: class numbers, IGNORED
        where nothing is said. Raises DataError as `pixels` does."""
        digests = dict(zip(self.images.files.get(split, ()), self.mask_digests.get(split, ()), strict=True))

        def make(file: str, data: bytes) -> np.ndarray:
            try:
                mask = _read_mask(self._source, file, look_at(data, f"{self.images.source}: {file!r}"))
                if _digest(mask) == digests[file]:
                    return fit_mask(_as_classes(mask, self.is_binary), size, self.fit)
                why = ""
            except (MaskError, UnreadableImage, OSError, KeyError) as error:
                why = f" ({error})"
            raise DataError(
                f"{self.images.source}: the mask of {file!r} is not what it was when the data were opened{why}; put it "
                "back, or run the command again, which opens the data as they are now"
            )

        return self.images.make_rows(split, size, "masks-", (), make)

    @cached_property
    def _source(self) -> MaskSource:
        return find_masks(open_marked(self.images.source, self.images.options))


def open_masks(
    path: Path,
    cache: Path,
    report: Report = lambda done, total: None,
    options: PhotoOptions | None = None,
    say: Say = lambda line: None,
) -> MaskData:
    """Open images with masks at a path, hashed and counted once; `report(done, total)` follows that, and `say` hears
    what was damaged in the cache and is made anew. Raises DataError."""
    data, records = open_kept(KIND, path, cache, options or PhotoOptions(), _make, report, say)
    counts, images_with = (
        {split: np.array(record[key], np.int64) for split, record in records.items()}
        for key in ("pixels", "images_with")
    )
    digests = {split: record["masks"] for split, record in records.items()}
    is_binary = any(record["binary"] for record in records.values())
    return MaskData(**vars(data), counts=counts, images_with=images_with, is_binary=is_binary, mask_digests=digests)


# ---------------------------------------------------------------- one mask


def _read_mask(source: MaskSource, image: str, look: Look) -> np.ndarray:
    """Return the values of an image's mask, upright, uint8 [h, w]. Raises MaskError, UnreadableImage or OSError."""
    mask = source.read(image, look.size)
    shape = Size(*mask.shape)
    if shape == look.size:
        return mask
    if look.orientation >= 5 and shape == Size(look.size.width, look.size.height):
        return turn_mask(mask, look.orientation)
    raise MaskError(f"is {size_words(shape)}, its image {size_words(look.size)}; save both in one size")


def turn_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Return a mask [h, w] of an image as it is stored as that of the upright one, by EXIF's orientation, 1 to 8."""
    if orientation in (2, 3, 7, 8):  # left and right change places
        mask = mask[:, ::-1]
    if orientation in (3, 4, 6, 7):
        mask = mask[::-1]
    return np.ascontiguousarray(mask.T if orientation >= 5 else mask)


def _as_classes(mask: np.ndarray, is_binary: bool) -> np.ndarray:
    return (mask == IGNORED).astype(np.uint8) if is_binary else mask


def fit_mask(mask: np.ndarray, size: Size, fit: str) -> np.ndarray:
    """Return a mask [h, w] as it lies in an image of that size, uint8 [*size]; IGNORED beside it."""
    inner, left, top = place_image(Size(*mask.shape), size, fit)
    fitted = np.full(size, IGNORED, np.uint8)
    small = Image.fromarray(mask).resize((inner.width, inner.height), Image.Resampling.NEAREST)
    fitted[top : top + inner.height, left : left + inner.width] = np.asarray(small)
    return fitted


def _digest(mask: np.ndarray) -> str:
    return hashlib.sha256(f"{mask.shape}\n".encode() + mask.tobytes()).hexdigest()


# ---------------------------------------------------------------- all of them


def _make(files: MarkedFiles, options: PhotoOptions, report: Report) -> Made:
    """Find masks, look at images and masks, and decide what their values mean. Raises DataError."""
    source = find_masks(files)

    def see(file: str) -> SeenMask:
        image = look_at_image(files, file)
        if image.look is None:
            return SeenMask(image)
        try:
            mask = _read_mask(source, file, image.look)
            return SeenMask(image, _digest(mask), np.bincount(mask.ravel(), minlength=IGNORED + 1))
        except (MaskError, UnreadableImage, OSError) as error:
            where = "" if source.masks[file] == file else f"its mask {source.masks[file]!r}: "
            return SeenMask(image._replace(reason=f"{where}{error}"))

    seen, left_out = {}, [*source.left_out]
    for one in work_on_each(see, sorted(source.masks), report):
        if one.image.reason:
            left_out.append((one.image.file, one.image.reason))
        else:
            seen[one.image.file] = one
    check_some_left(files, [*seen], left_out)
    classes, is_binary, notes = _find_classes(files.where, source, seen)
    placed = place_in_splits(files, {file: source.splits[file] for file in seen}, options)
    images = {file: one.image for file, one in seen.items()}
    records = split_records(placed, images)
    for split, own in placed.files.items():
        counts = np.stack([_by_class(seen[file].counts, len(classes), is_binary) for file in own])
        records[split] |= {
            "masks": [seen[file].digest for file in own],
            "pixels": counts.sum(0).tolist(),
            "images_with": (counts[:, :-1] > 0).sum(0).tolist(),
            "binary": is_binary,
        }
    notes += [*_describe_turns(images), *_describe_records(records, classes)]
    notes += describe_copies(placed.names, {split: record["digests"] for split, record in records.items()})
    layout_notes = [*source.notes, *placed.notes]
    return Made(
        find_fingerprint(KIND, classes, records), classes, records, grey_white(images.values()), placed.files, left_out,
        notes, layout_notes,
    )  # fmt: skip


def _by_class(counts: np.ndarray, classes: int, is_binary: bool) -> np.ndarray:
    """Return how many pixels are of each class, and, last, of how many nothing is said, int64 [classes + 1]."""
    if is_binary:
        return np.array([counts[0], counts[IGNORED], 0])
    return np.append(counts[:classes], counts[IGNORED])


def _find_classes(
    where: str, source: MaskSource, seen: Mapping[str, SeenMask]
) -> tuple[list[str], bool, list[str]]:  # fmt: skip
    """Return the names of the classes, whether masks are of 0 and 255 alone, and lines on it. Raises DataError."""
    total = np.sum([one.counts for one in seen.values()], axis=0)
    values, names = np.flatnonzero(total).tolist(), list(source.classes.names)
    if values == [0, IGNORED] and len(names) in (0, 2):
        said = f"masks have no values but 0 and {IGNORED}: {IGNORED} is taken as class 1"
        return names or list(BINARY), True, [said]
    used = [value for value in values if value != IGNORED]
    if len(used) < 2:
        raise DataError(
            f"{where}: masks of one value only ({some_values(values)}; {IGNORED} says nothing); at least 2 classes are "
            "needed"
        )
    top = used[-1]
    if names and top >= len(names):
        file = next(file for file, one in seen.items() if one.counts[top])
        raise DataError(
            f"{where}: {source.masks[file]!r} has class {top}, but {len(names)} classes are named, 0 to "
            f"{len(names) - 1}; mend the mask or the names ({IGNORED}: nothing said)"
        )
    if not names and len(used) <= top / 2:
        raise DataError(
            f"{where}: masks have {len(used)} values from 0 to {top} ({some_values(used)}), as grey levels have, not "
            "class numbers; save them as 0, 1, 2, ..., or name all classes in classes.txt, a line each"
        )
    notes = [] if names else ["no file names the classes (classes.txt), so they are called by their numbers"]
    names = names or [str(number) for number in range(top + 1)]
    check_class_names(where, names)
    return names, False, notes


def some_values(values: Sequence[int], most: int = 8) -> str:
    """Return the first of some values as words."""
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")


def _describe_turns(images: Mapping[str, Seen]) -> list[str]:
    turned = sum(one.look.orientation != 1 for one in images.values())
    if not turned:
        return []
    return [
        f"{count_noun(turned, 'image')} turned by EXIF: masks of the stored image's size are turned with it, others "
        "taken as of the upright one; data show shows them"
    ]


def _describe_records(records: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> list[str]:
    """Return lines on classes that a split lacks."""
    lines = []
    for split, record in records.items():
        if missing := [name for name, pixels in zip(classes, record["pixels"], strict=False) if not pixels]:
            why = "so it can't be learnt" if split == "train" else "so it is left out of the score there"
            lines.append(f"{split} has no pixel of class {some_names(missing)}, {why}")
    return lines


def describe_masks(data: MaskData) -> list[str]:
    """Return lines for a plan: images of each split, pixels by class, sizes of images, how they are fitted."""
    splits = ", ".join(f"{len(own):,} {split}" for split, own in data.names.items())
    pixels, images = data.counts["train"], data.images_with["train"]
    said = max(1, int(pixels[:-1].sum()))
    shares = [f"{name} {percent(count / said)} %" for name, count in zip(data.classes, pixels, strict=False)]
    seen = [f"{name} {count:,}" for name, count in zip(data.classes, images, strict=True)]
    nothing = percent(pixels[-1] / max(1, pixels.sum()), 2)
    return [
        f"images    {splits}",
        f"classes   {', '.join(shares)} of the training pixels; of {nothing} % nothing is said",
        f"seen in   {', '.join(seen)} training images",
        describe_fit(data.fit),
    ]
