"""The images of annotated data -> MarkedImages: hashed, in splits, decoded into the cache at each size asked for.

    <cache>/<name>-<kind>-<fingerprint>/   index.json, <split>-<size>-<fit>.npy
    <cache>/opened/<manifest>.json         which fingerprint a path had when its names, sizes and times were these

Images are decoded from the files themselves for each size; they must then still be what was hashed. All of an image is
seen: squashed into the size, or padded with grey beside it, and what is marked in it goes along.
"""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.files import open_whole
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.asked import PhotoOptions, make_name
from mnv2_sweep.data.cache import RowFile, cache_errors, check_space, open_or_make, seal
from mnv2_sweep.data.decode import Decoding, Look, UnreadableImage, decode_photo, look_at, place_image
from mnv2_sweep.data.files import PhotoFiles, open_photo_files
from mnv2_sweep.data.holdout import Photo
from mnv2_sweep.data.layout import SPLITS, describe_groups, hold_out, some_names
from mnv2_sweep.data.marked_files import MarkedFiles, list_marked
from mnv2_sweep.data.source import group_photos, in_order

MARKED_FITS = ("squash", "pad")  # the first where nothing is said; pad is also called letterbox
MARKED_VERSION = 1  # raise it when the same files would give other boxes, masks, pixels or splits

Report = Callable[[int, int], None]
Say = Callable[[str], None]


class Seen(NamedTuple):
    """An image that was looked at: its file, the SHA-256 of its bytes, and what it is; or why it can't be used."""

    file: str
    digest: str
    look: Look | None
    reason: str = ""


class Placed(NamedTuple):
    """Images in their splits: by split the name by which each is known and its file, in order of the names; and lines
    on how that came about."""

    names: dict[str, list[str]]
    files: dict[str, list[str]]
    notes: list[str]


@dataclass(frozen=True, eq=False)
class MarkedImages:
    """The images of annotated data; the pixels stay on disk."""

    source: Path  # the folder or archive that holds them
    options: PhotoOptions
    folder: Path  # of the cache
    names: Mapping[str, Sequence[str]]  # split -> what each image is known by, whatever the layout
    files: Mapping[str, Sequence[str]]  # split -> its file in the data
    digests: Mapping[str, Sequence[str]]
    sizes: Mapping[str, np.ndarray]  # split -> int64 [N, 2]: height and width of the upright image
    decoding: Decoding
    say: Say

    def pixels(self, split: str, size: Size) -> np.ndarray:
        """Return the images, read-only uint8 [N, *size, 3] in a memory map, made on first use. Raises DataError, also
        where the images are gone or have changed."""
        decode = partial(decode_photo, size=size, decoding=self.decoding)
        return self.make_rows(split, size, "", (3,), lambda file, data: decode(data, name=f"{self.source}: {file!r}"))

    def make_rows(
        self, split: str, size: Size, what: str, channels: tuple[int, ...], make: Callable[[str, bytes], np.ndarray]
    ) -> np.ndarray:
        """Return what `make` makes of each image's file and bytes, uint8 [*size, *channels], as a memory map [N, ...]
        of a file that is made on first use. Raises DataError."""
        if split not in self.files:
            raise DataError(f"{self.source}: no split {split!r}; there are: {', '.join(self.files)}")
        if min(size) < 1:
            raise DataError(f"{self.source}: images of {size} px were asked for; a side is at least 1 pixel")
        file = self.folder / f"{split}-{size}-{what}{self.decoding.fit}.npy"
        shape = (len(self.files[split]), *size, *channels)
        with cache_errors(self.folder):
            return open_or_make(file, shape, lambda: self._write(split, size, channels, make, file), self.say)

    def _write(
        self, split: str, size: Size, channels: tuple[int, ...], make: Callable[[str, bytes], np.ndarray], file: Path
    ) -> None:
        check_space(file.parent, len(self.files[split]) * size.area * int(np.prod(channels)))
        with (
            warnings.catch_warnings(),
            open_whole(file) as opened,
            RowFile(opened, size, channels) as rows,
            closing(self._make_each(split, make)) as made,
        ):
            warnings.simplefilter("ignore")  # Pillow's, about odd metadata
            for row in made:
                rows.add(row)
        seal(file)

    def _make_each(self, split: str, make: Callable[[str, bytes], np.ndarray]) -> Iterator[np.ndarray]:
        """Yield what is made of each image of a split, in order. Raises DataError where one is not what it was."""
        read = open_marked(self.source, self.options).read

        def make_one(pair: tuple[str, str]) -> np.ndarray:
            file, digest = pair
            try:
                data = read(file)
                if hashlib.sha256(data).hexdigest() == digest:
                    return make(file, data)
                why = ""
            except (UnreadableImage, OSError, KeyError) as error:
                why = f" ({error})"
            raise DataError(
                f"{self.source}: {file!r} is not what it was when the data were opened{why}; put it back, or run the "
                "command again, which opens the data as they are now"
            )

        yield from in_order(make_one, zip(self.files[split], self.digests[split], strict=True))

    def placing(self, split: str, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much x and y of each image are scaled, then moved to lie in `pixels`: float64 [N, 2] each."""
        placed = [place_image(Size(*map(int, one)), size, self.decoding.fit) for one in self.sizes[split]]
        inner = np.array([(one.width, one.height) for one, *_ in placed], np.float64).reshape(-1, 2)
        offsets = np.array([(left, top) for _, left, top in placed], np.float64).reshape(-1, 2)
        return inner / self.sizes[split][:, ::-1], offsets


@dataclass(frozen=True, eq=False)
class MarkedSet:
    """Annotated data, whatever is marked in them; the pixels stay on disk."""

    name: str
    fingerprint: str  # of classes, images and what is marked, and of how images are fitted where that isn't the usual
    classes: tuple[str, ...]
    images: MarkedImages
    skipped: tuple[tuple[str, str], ...]  # (path, reason) of what could not be used
    notes: tuple[str, ...]  # what a user should know but need not mend

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        """Return by split the name of each image."""
        return self.images.names

    @property
    def fit(self) -> str:
        """Return how images are fitted into a size: one of MARKED_FITS."""
        return self.images.decoding.fit

    def pixels(self, split: str, size: Size) -> np.ndarray:
        """Return the images, read-only uint8 [N, *size, 3] in a memory map, made on first use. Raises DataError, also
        where the images are gone or have changed."""
        return self.images.pixels(split, size)


def open_marked(source: Path, options: PhotoOptions) -> MarkedFiles:
    """List annotated data at a path. Raises DataError where they are gone."""
    if not source.exists():
        raise DataError(f"{source}: not there any more; images of a new size are made of the files themselves")
    return list_marked(open_photo_files(source, options))


def manifest_of(photo_files: PhotoFiles, options: PhotoOptions, kind: str) -> str:
    """Name 'these files, read in this way' for what is made of them."""
    facts = [photo_files.manifest, make_name("", options), kind, MARKED_VERSION]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def check_options(options: PhotoOptions) -> str:
    """Return how images are fitted. Raises DataError for what is said only of photos of one class each."""
    for name in ("labels", "columns", "label_pattern"):
        if getattr(options, name):
            raise DataError(f"--{name.replace('_', '-')}: says the class of a photo; boxes and masks say their own")
    return MARKED_FITS[0] if options.fit == PhotoOptions().fit else options.fit


def look_at_image(files: MarkedFiles, file: str) -> Seen:
    """Return what an image is."""
    digest = ""
    try:
        data = files.read(file)
        digest = hashlib.sha256(data).hexdigest()
        return Seen(file, digest, look_at(data, files.at(repr(file))))
    except UnreadableImage as error:
        return Seen(file, digest, None, str(error))
    except OSError as error:
        return Seen(file, digest, None, f"cannot be read: {error.strerror or error}")


def work_on_each(work: Callable[[str], Any], images: Sequence[str], report: Report) -> Iterator[Any]:
    """Yield what `work` makes of each image, in order, from a few threads."""
    with warnings.catch_warnings(), closing(in_order(work, images)) as found:
        warnings.simplefilter("ignore")
        for done, one in enumerate(found, 1):
            yield one
            report(done, len(images))


def place_in_splits(files: MarkedFiles, splits: Mapping[str, str], options: PhotoOptions) -> Placed:
    """Return images in their splits, `splits` by file, '' where nothing says one; a part is held out for validation
    where there is none. Raises DataError."""
    where, notes = files.where, []
    given = {split for split in splits.values() if split}
    bare = sorted(file for file, split in splits.items() if not split)
    if given and bare and files.lists:
        notes.append(f"left out {count_noun(len(bare), 'image')} that no list names: {some_names(bare, 3)}")
        splits = {file: split for file, split in splits.items() if split}
    elif given and bare:
        other = next(file for file, split in sorted(splits.items()) if split)
        raise DataError(f"{where}: {bare[0]!r} has no split, {other!r} is of {splits[other]}; say it of all or of none")
    if given and "train" not in given:
        raise DataError(f"{where}: images of {some_names(given)} but none of train")
    known = _known_names(splits)
    photos = [Photo(split or SPLITS[0], "", known[file]) for file, split in splits.items()]
    places = {known[file]: file for file in splits}
    groups = group_photos(where, options, files.read, photos, places, {})
    if "val" not in given:
        if sum(photo.split == "train" for photo in photos) < 2:
            raise DataError(f"{where}: 1 image to train on; at least 2 are needed, as one is held out for validation")
        photos = hold_out(where, photos, groups)
    notes += describe_groups(photos, groups)
    order = sorted(photos, key=lambda photo: (SPLITS.index(photo.split), photo.path))
    names: dict[str, list[str]] = {}
    for photo in order:
        names.setdefault(photo.split, []).append(photo.path)
    return Placed(names, {split: [places[name] for name in own] for split, own in names.items()}, notes)


def _known_names(splits: Mapping[str, str]) -> dict[str, str]:
    """Return by file the name by which an image is known: its split and its own name; where two would have the same,
    with their own folders."""
    short = {file: "/".join(filter(None, [split, file.rpartition("/")[2]])) for file, split in splits.items()}
    count = Counter(short.values())
    return {
        file: name if count[name] == 1 else "/".join(filter(None, [splits[file], file])) for file, name in short.items()
    }


def grey_white(seen: Iterable[Seen]) -> int:
    """Return which value of 16-bit greys is white: the largest of the bits that the images use."""
    peak = max((one.look.peak for one in seen if one.look), default=0)
    return 2 ** peak.bit_length() - 1 if 0 < peak < 2**15 else Decoding().white


def describe_copies(names: Mapping[str, Sequence[str]], digests: Mapping[str, Sequence[str]]) -> list[str]:
    """Return lines on images of other splits that are exact copies of training images."""
    trained, lines = {*digests.get("train", ())}, []
    for split in SPLITS[1:]:
        pairs = zip(names.get(split, ()), digests.get(split, ()), strict=True)
        if copies := [name for name, digest in pairs if digest in trained]:
            lines.append(f"{len(copies)} {split} images are exact copies of training images: {some_names(copies)}")
    return lines


def describe_fit(fit: str) -> str:
    """Return a line for a plan on how images are fitted."""
    return f"fit       {fit}: all of each image, {'stretched' if fit == 'squash' else 'with grey beside it'}"


def size_words(size: Size) -> str:
    """Return a size as width x height, also that of a square."""
    return f"{size.width}x{size.height}"
