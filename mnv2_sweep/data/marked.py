"""A data set's name -> BoxData or MaskData: of the kind that a network's head learns from, or that is at the path.

Photos in class folders stay photos, whatever lies beside them; what `find_kind` can't tell is said by the one who asks.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.asked import read_name
from mnv2_sweep.data.box_files import has_boxes
from mnv2_sweep.data.boxes import BoxData, describe_boxes, open_boxes
from mnv2_sweep.data.catalog import is_there
from mnv2_sweep.data.files import open_photo_files
from mnv2_sweep.data.layout import GENERIC, split_of
from mnv2_sweep.data.marked_files import MarkedFiles, list_marked
from mnv2_sweep.data.mask_files import has_masks
from mnv2_sweep.data.masks import MaskData, describe_masks, open_masks
from mnv2_sweep.nets.arch import CLASSIFIER, DEEPLAB
from mnv2_sweep.trials.trial import EMBEDDED

CLASSES, BOXES, MASKS = "classes", "boxes", "masks"
KINDS = (CLASSES, BOXES, MASKS)  # what data say of an image: its class, boxes in it, a class of each pixel
OF_NO_CLASS = re.compile(GENERIC.pattern + r"|jpeg[ _-]?images|obj(_train)?_data")  # folders that images just lie in

MarkedData = BoxData | MaskData


def kind_of_head(head: str) -> str:
    """Return which of KINDS a network with that head learns from."""
    if head == CLASSIFIER:
        return CLASSES
    return MASKS if head in DEEPLAB else BOXES


def find_kind(name: str) -> str:
    """Return which of KINDS the data of that name are, by what is in them; CLASSES where nothing else can be told.
    Raises DataError where they can't be listed."""
    path, options = read_name(name)
    if path in EMBEDDED or options.labels or options.label_pattern or not is_there(name):
        return CLASSES
    photo_files = open_photo_files(Path(path), options)
    with suppress(DataError):  # what is broken is said by the reader of the kind that is asked for
        files = list_marked(photo_files)
        if not _lie_flat(files):
            return CLASSES
        if has_masks(files) and all(map(_is_no_class, files.images.files)):
            return MASKS
        return BOXES if has_boxes(files) else CLASSES
    return CLASSES


def _lie_flat(files: MarkedFiles) -> bool:
    """Return whether images lie in no folders that may be classes: those that are called as neither splits nor images
    are, are the same around all of them."""
    folders = {tuple(file.split("/")[:-1]) for file in files.images.files}
    return len({tuple(part for part in folder if not _says_nothing(part)) for folder in folders}) == 1


def _is_no_class(image: str) -> bool:
    """Return whether the folder in which an image lies says no class; of face masks, "mask_worn_badly" does."""
    return _says_nothing(image.rpartition("/")[0].rpartition("/")[2])


def _says_nothing(folder: str) -> bool:
    return not folder or split_of(folder) is not None or OF_NO_CLASS.fullmatch(folder.lower()) is not None


def open_marked_data(
    kind: str,
    name: str,
    cache: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
    where: str = "--data",
    say: Callable[[str], None] = lambda line: None,
) -> MarkedData:
    """Open data of boxes or masks at a path; `report(done, total)` follows the reading, `say` hears what was damaged in
    the cache and is made anew. Raises DataError, which says `where` the name was given."""
    path, options = read_name(name)
    if path in EMBEDDED:
        raise DataError(f"{where} {path}: its images have a class each, no {kind}; give the path of data with {kind}")
    if not is_there(name):
        raise DataError(f"{where} {path}: no such folder or archive; give the path of data with {kind}")
    opened = open_boxes if kind == BOXES else open_masks
    return opened(Path(path), cache, report, options, say)


def describe_marked(data: MarkedData) -> list[str]:
    """Return lines on annotated data for a plan."""
    return describe_boxes(data) if isinstance(data, BoxData) else describe_masks(data)
