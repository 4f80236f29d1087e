"""Annotated data -> Read: what their boxes are, in whichever format they have them, found by what is in the files."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.box_tables import find_box_tables, read_box_tables
from mnv2_sweep.data.coco import Read, find_coco, read_coco
from mnv2_sweep.data.layout import some_names
from mnv2_sweep.data.marked_files import MarkedFiles
from mnv2_sweep.data.voc import find_voc, read_voc
from mnv2_sweep.data.yolo import find_yolo, read_yolo


class Format(NamedTuple):
    """A format of boxes: what it is called, what finds its files among data (nothing where there are none), and what
    reads them."""

    name: str
    find: Callable[[MarkedFiles], Any]
    read: Callable[[MarkedFiles, Any], Read]


FORMATS = (
    Format("COCO json", find_coco, read_coco),
    Format("Pascal VOC xml", find_voc, read_voc),
    Format("YOLO txt", find_yolo, read_yolo),
    Format("a table", find_box_tables, read_box_tables),
)
WANTED = (
    "wanted are COCO json (images, annotations, categories), Pascal VOC xml, YOLO txt (images/, labels/, data.yaml) or "
    "a CSV of boxes (image, xmin, ymin, xmax, ymax, class)"
)


def has_boxes(files: MarkedFiles) -> bool:
    """Return whether data have boxes in some format. Raises DataError for a broken file of one."""
    return any(one.find(files) for one in FORMATS)


def read_boxes(files: MarkedFiles) -> Read:
    """Return what the data say of boxes, in the first of the formats that they have. Raises DataError."""
    for place, one in enumerate(FORMATS):
        if found := one.find(files):
            read, others = one.read(files, found), []
            for other in FORMATS[place + 1 :]:
                with suppress(DataError):  # broken, but of no use here
                    others += [other.name] if other.find(files) else []
            also = f"; not read are those as {' and '.join(others)}" if others else ""
            return read._replace(notes=[f"boxes as {one.name}{also}", *read.notes])
    raise DataError(f"{files.where}: no boxes; {WANTED}; beside images it has {some_names(files.others) or 'nothing'}")
