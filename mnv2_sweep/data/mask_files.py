"""Annotated data -> MaskSource: of which image each mask is, what a pixel of it means, and how it is read.

A mask is a PNG (or another lossless image) whose values are class numbers, 255 where nothing is said; or has colours,
where a table in the data says what they mean. It lies in a folder of masks under its image's name, or beside its image
as x_mask.png. COCO's outlines are drawn: class 0 is then the background, smaller outlines lie over larger ones, and
crowds are left unsaid.
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.annotations import Sheet
from mnv2_sweep.data.coco import Read, find_coco, read_coco
from mnv2_sweep.data.decode import MAX_PIXELS
from mnv2_sweep.data.layout import some_names
from mnv2_sweep.data.marked_files import MarkedFiles, stem_of
from mnv2_sweep.data.outlines import BrokenOutline, draw_outline
from mnv2_sweep.data.tables import folder_split

IGNORED = 255  # the value of pixels of which nothing is said: neither learnt nor scored
LOSSLESS = ("PNG", "BMP", "GIF", "TIFF", "PPM")
SUFFIX = re.compile(r"[ _-](masks?|seg(mentation)?|labels?|gt|lbl|(gtfine_)?labelids|annotation)$", re.I)
CLASS_FILES = re.compile(r"(.*/)?(classes|labels|class_dict|label_colou?rs|colou?rs|labelmap|class_names)\.(txt|csv)")
NO_CLASS = re.compile(r"void|ignored?|un-?label+ed|don'?t[ _-]?care")  # of colours: IGNORED
BACKGROUND = "background"
WANTED = (
    "wanted are images/ and masks/ with PNGs of the same names, whose values are class numbers (255: nothing said), or "
    "COCO json with segmentations"
)


class MaskError(Exception):
    """One mask that cannot be used; the message is the reason, without the file's name."""


class Classes(NamedTuple):
    """The names of the classes in order of their numbers, and by colour (red, green, blue) the number; () and {} where
    nothing says."""

    names: Sequence[str] = ()
    colours: Mapping[tuple[int, int, int], int] = {}


class MaskSource(NamedTuple):
    """Images with masks: by image what its mask is called in messages, the classes, how an image's mask is read (uint8
    [h, w], of the size that it has; raises MaskError, UnreadableImage, OSError), the splits that files say, what was
    left out, and lines on it."""

    masks: Mapping[str, str]
    classes: Classes
    read: Callable[[str, Size], np.ndarray]  # of an image of that size, upright
    splits: Mapping[str, str]
    left_out: list[tuple[str, str]]
    notes: list[str]


def find_masks(files: MarkedFiles) -> MaskSource:
    """Return the masks of data: images of class numbers, or COCO's outlines. Raises DataError where there are none."""
    folders = files.list_masks()
    beside = [] if folders else _masks_beside(files.images.files)
    if folders or beside:
        return _pair_masks(files, folders or beside, [file for file in files.images.files if file not in {*beside}])
    if found := find_coco(files):
        return _outline_masks(files, read_coco(files, found, outlines=True))
    raise DataError(
        f"{files.where}: no masks; {WANTED}; it has {some_names(files.others) or some_names(files.images.files)}"
    )


def has_masks(files: MarkedFiles) -> bool:
    """Return whether data have images of masks."""
    return bool(files.list_masks() or _masks_beside(files.images.files))


def _masks_beside(images: Sequence[str]) -> list[str]:
    """Return the images that are masks of others in their folder, by their names."""
    stems = {image.rpartition(".")[0] for image in images}
    return [image for image in images if (bare := _bare(image)) != image.rpartition(".")[0] and bare in stems]


def _bare(file: str) -> str:
    """Return a file without ending and without what says that it is a mask."""
    return SUFFIX.sub("", file.rpartition(".")[0])


# ---------------------------------------------------------------- images of class numbers


def _pair_masks(files: MarkedFiles, masks: Sequence[str], images: Sequence[str]) -> MaskSource:
    by_stem = defaultdict(list)
    for image in images:
        by_stem[stem_of(image)].append(image)
    pairs: dict[str, str] = {}
    alone = []
    for mask in masks:
        name = mask.rpartition("/")[2]
        found = by_stem.get(stem_of(name)) or by_stem.get(_bare(name)) or []
        split = folder_split(mask.split("/")[:-1])
        own = [image for image in found if folder_split(image.split("/")[:-1]) == split] or found
        if not own:
            alone.append(mask)
            continue
        if len(own) > 1:
            raise DataError(
                f"{files.where}: the mask {mask!r} may be of {own[0]!r} or {own[1]!r}; give each image a name"
            )
        if own[0] in pairs:
            raise DataError(
                f"{files.where}: {own[0]!r} has two masks, {pairs[own[0]]!r} and {mask!r}; wanted is one whose values "
                "are class numbers; put a mask for each object together first"
            )
        pairs[own[0]] = mask
    if not pairs:
        raise DataError(
            f"{files.where}: no mask has the name of an image: masks as {masks[0]!r}, images as "
            f"{images[0] if images else 'none'!r}; {WANTED}"
        )
    notes = []
    if alone:
        notes.append(f"left out {count_noun(len(alone), 'mask')} without an image: {some_names(alone, 3)}")
    if bare := [image for image in images if image not in pairs]:
        notes.append(f"left out {count_noun(len(bare), 'image')} without a mask: {some_names(bare, 3)}")
    classes = read_classes(files)

    def read(image: str, size: Size) -> np.ndarray:
        return decode_mask(files.read(pairs[image]), classes.colours)

    return MaskSource(pairs, classes, read, {image: files.split_of(image) for image in pairs}, [], notes)


def decode_mask(data: bytes, colours: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    """Return the class numbers of a mask, uint8 [h, w]. Raises MaskError."""
    try:
        image = Image.open(io.BytesIO(data), formats=(*LOSSLESS, "JPEG"))
        if image.width * image.height > MAX_PIXELS:
            raise MaskError(f"an image bomb? It has {image.width * image.height:,} pixels")
        if image.format == "JPEG":
            raise MaskError("a JPEG, which blurs class numbers; save masks as PNG")
        if image.mode in ("RGBA", "LA", "PA"):
            image = image.convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[image.mode])
        values = np.asarray(image)
        mode = image.mode
    except MaskError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise MaskError(
            f"no mask that can be read: {' '.join(str(error).split())[:100] or type(error).__name__}"
        ) from None
    if mode == "RGB":
        return _decode_colours(values, colours)
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise MaskError(f"pixels of mode {mode}; wanted are class numbers from 0 to 255")
    if values.size and values.max() > IGNORED or values.min() < 0:
        raise MaskError(f"values up to {values.max():,}; class numbers go from 0 to 254, 255 says nothing")
    return values.astype(np.uint8)


def _decode_colours(values: np.ndarray, colours: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    if not colours:
        if (values == values[..., :1]).all():
            return values[..., 0].copy()  # grey, saved as a colour image
        at = np.argwhere((values != values[..., :1]).any(-1))[0]
        raise MaskError(
            f"colours, as {tuple(map(int, values[tuple(at)]))}, instead of class numbers; say what they mean in "
            "classes.txt beside the folders, a line a class: red green blue name"
        )
    table = {red << 16 | green << 8 | blue: number for (red, green, blue), number in colours.items()}
    packed = values[..., 0].astype(np.int64) << 16 | values[..., 1].astype(np.int64) << 8 | values[..., 2]
    keys = np.array(sorted(table))
    places = np.searchsorted(keys, packed).clip(max=len(keys) - 1)
    wrong = keys[places] != packed
    if wrong.any():
        colour = tuple(map(int, values[tuple(np.argwhere(wrong)[0])]))
        raise MaskError(f"the colour {colour}, which is none of the {len(colours)} that classes have")
    return np.array([table[key] for key in keys.tolist()], np.uint8)[places]


# ---------------------------------------------------------------- classes


def read_classes(files: MarkedFiles) -> Classes:
    """Return the classes that a file of the data says. Raises DataError."""
    found = [name for name in files.others if CLASS_FILES.fullmatch(name.lower())]
    tables = {name: parse_classes(files.at(name), files.read_text(name)) for name in found}
    tables = {name: classes for name, classes in tables.items() if classes.names}
    if len({(tuple(one.names), tuple(one.colours)) for one in tables.values()}) > 1:
        raise DataError(f"{files.where}: {some_names(tables)} say different classes; keep one")
    return next(iter(tables.values()), Classes())


def parse_classes(at: str, text: str) -> Classes:
    """Return the classes of a text: a line each with a name, perhaps its number before it, or a name and a colour, as
    'red green blue name', 'name,red,green,blue' or CVAT's 'name:red,green,blue::'. Raises DataError."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    colour = r"(?<!\d)(\d{1,3})[,;\s]+(\d{1,3})[,;\s]+(\d{1,3})(?!\d)"
    if any(re.search(colour, line) for line in lines):
        names, colours = [], {}
        for line in lines:
            if not (found := re.search(colour, line)):
                continue  # a header
            name = " ".join((line[: found.start()] + " " + line[found.end() :]).strip(" \t,;:").split())
            value = tuple(map(int, found.groups()))
            if max(value) > 255 or value in colours:
                raise DataError(f"{at}: {line!r}: a colour is three numbers from 0 to 255, of one class alone")
            if NO_CLASS.fullmatch(name.lower()):
                colours[value] = IGNORED
                continue
            colours[value] = len(names)
            names.append(name or f"{value}")
        return Classes(names, colours)
    numbered = [re.fullmatch(rf"{number}\s*[:,;\s]\s*(\S.*)", line) for number, line in enumerate(lines)]
    return Classes([one[1] for one in numbered] if lines and all(numbered) else lines)


# ---------------------------------------------------------------- COCO's outlines


def _outline_masks(files: MarkedFiles, read: Read) -> MaskSource:
    sheets: dict[str, Sheet] = {sheet.image: sheet for sheet in read.sheets}
    names = [BACKGROUND, *sorted(name for name in read.classes if name != BACKGROUND)]
    numbers = {name: number for number, name in enumerate(names)}
    if len(names) > IGNORED:
        raise DataError(f"{files.where}: {len(names)} classes; masks have at most {IGNORED}")

    def draw(image: str, size: Size) -> np.ndarray:
        return draw_sheet(sheets[image], size, numbers)

    splits = {image: sheet.split for image, sheet in sheets.items()}
    masks = {image: image for image in sheets}
    notes = ["masks drawn from COCO's outlines, smaller ones over larger ones, 0 is the background", *read.notes]
    return MaskSource(masks, Classes(names), draw, splits, read.left_out, notes)


def draw_sheet(sheet: Sheet, upright: Size, numbers: Mapping[str, int]) -> np.ndarray:
    """Return the class numbers of an image whose outlines a sheet has, uint8 [h, w], of the size that is said of it,
    else of the upright image.
    Raises MaskError."""
    size = sheet.said or upright
    mask, drawn = np.zeros(size, np.uint8), []
    for place, mark in enumerate(sheet.marks):
        try:
            drawn.append((mark, draw_outline(mark.outline, size)))
        except BrokenOutline as error:
            raise MaskError(f"its annotation number {place + 1} ({mark.label}) is {error}") from None
    for mark, inside in sorted(drawn, key=lambda one: (not one[0].crowd, -int(one[1].sum()), one[0].label)):
        mask[inside] = IGNORED if mark.crowd else numbers[mark.label]
    return mask
