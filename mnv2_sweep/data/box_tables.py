"""Tables of boxes (CSV, TSV, semicolons, JSON lines), a row a box -> Sheets.

Columns are found by their names, in any case: of the image, of the class, four of the box or one that holds
"[left, top, width, height]", and width, height and split of the image where they are there. Without a header they are
image, left, top, right, bottom, class. A row without a box says that its image has none.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.annotations import Mark, Sheet
from mnv2_sweep.data.coco import Read, is_number
from mnv2_sweep.data.files import MAX_FILE_BYTES
from mnv2_sweep.data.layout import some_names, split_of
from mnv2_sweep.data.marked_files import MarkedFiles, folder_of, split_by_name
from mnv2_sweep.data.tables import SPLIT_COLUMNS, read_cells

TABLE_ENDS = (".csv", ".tsv", ".jsonl")
IMAGE = ("filename", "file_name", "image", "image_path", "path", "img", "image_name", "image_id", "imageid", "file")
LABEL = ("class", "label", "class_name", "label_name", "labelname", "category", "name", "species", "cell_type")
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"),
           ("left", "top", "right", "bottom"))  # fmt: skip
SIDES = (("x", "y", "w", "h"), ("left", "top", "width", "height"), ("x", "y", "width", "height"))
ONE_COLUMN = ("bbox", "box")
WITHOUT_HEADER = ("image", "xmin", "ymin", "xmax", "ymax", "class")
ONE_CLASS = "object"  # where no column says one


class Table(NamedTuple):
    """A table of boxes: its columns by name, its rows with their numbers, the columns of the box, and whether the last
    two of these are width and height."""

    name: str
    columns: Mapping[str, int]
    rows: Sequence[tuple[int, Sequence[str]]]
    box: tuple[str, ...]
    sides: bool

    def cell(self, cells: Sequence[str], name: str | None) -> str:
        """Return what stands in a column; '' where there is none."""
        place = self.columns.get(name, len(cells)) if name else len(cells)
        return cells[place].strip() if place < len(cells) else ""

    def first(self, names: Sequence[str]) -> str | None:
        """Return the first of the names that is that of a column; None for none."""
        return next((name for name in names if name in self.columns), None)


def find_box_tables(files: MarkedFiles) -> list[Table]:
    """Return the tables of the data that are of boxes. Raises DataError for a broken one."""
    names = [name for name in files.others if name.lower().endswith(TABLE_ENDS)]
    return [table for name in names if (table := _open_table(files, name)) is not None]


def _open_table(files: MarkedFiles, name: str) -> Table | None:
    lines = read_cells(files.at(name), files.read_bytes(name, MAX_FILE_BYTES))
    if not lines:
        return None
    header = [cell.strip().lower() for cell in lines[0][1]]
    columns = {one: place for place, one in reversed(list(enumerate(header)))}
    for sides, several in ((False, CORNERS), (True, SIDES), (True, [(one,) for one in ONE_COLUMN])):
        for box in several:
            table = Table(name, columns, lines[1:], box, sides)
            if set(box) <= columns.keys() and table.first(IMAGE):
                return table
    is_bare = len(header) == len(WITHOUT_HEADER) and files.images.find(lines[0][1][0], folder_of(name))
    if is_bare and all(_number(cell) is not None or not cell for cell in header[1:5]):
        return Table(name, {one: at for at, one in enumerate(WITHOUT_HEADER)}, lines, WITHOUT_HEADER[1:5], False)
    return None


def read_box_tables(files: MarkedFiles, tables: Sequence[Table]) -> Read:
    """Return what tables of boxes say. Raises DataError."""
    marks: dict[str, list[Mark]] = {}
    said: dict[str, tuple[str, Size | None]] = {}
    missing: dict[str, str] = {}
    notes = []
    for table in tables:
        split = split_by_name(table.name) if len(tables) > 1 else ""
        if not table.first(LABEL):
            notes.append(f"{table.name}: no column says a class, so all boxes are of one, {ONE_CLASS!r}")
        for number, cells in table.rows:
            at = f"{files.at(table.name)}, line {number}"
            cell = table.cell(cells, table.first(IMAGE))
            own = _read_split(table, cells, at) or split
            image = files.find_image(cell, folder_of(table.name), own, at) if cell else None
            if image is None:
                missing[cell] = table.name
                continue
            own = own or files.split_of(image)
            if said.setdefault(image, (own, _read_size(table, cells)))[0] != own:
                raise DataError(
                    f"{at}: {image!r} is of {own!r} here and of {said[image][0]!r} before; an image has one split"
                )
            mark = _read_mark(table, cells, at)
            marks.setdefault(image, []).extend([mark] if mark else [])
    values = [value for own in marks.values() for mark in own for value in mark.corners]
    shares = bool(values) and 0 <= min(values) and max(values) <= 1 and any(value != int(value) for value in values)
    if shares:
        notes.append(f"{some_names(table.name for table in tables)}: boxes are shares of their image from 0 to 1")
    sheets = [Sheet(image, own, *said[image], shares) for image, own in marks.items()]
    left_out = [(cell, f"named in {table}, not in the data") for cell, table in missing.items()]
    return Read(sheets, [], left_out, notes)


def _read_split(table: Table, cells: Sequence[str], at: str) -> str:
    cell = table.cell(cells, table.first(SPLIT_COLUMNS))
    split = split_of(cell) if cell else ""
    if split is None:
        raise DataError(f"{at}: split {cell!r}; wanted is train, val or test")
    return split


def _read_size(table: Table, cells: Sequence[str]) -> Size | None:
    if {"width", "height"} & {*table.box}:
        return None
    sides = [_number(table.cell(cells, name)) for name in ("height", "width")]
    return Size(*map(int, sides)) if all(side and side >= 1 for side in sides) else None


def _read_mark(table: Table, cells: Sequence[str], at: str) -> Mark | None:
    """Return the box of a row; None where it says none. Raises DataError."""
    written = [table.cell(cells, name) for name in table.box]
    if not any(written):
        return None
    if len(table.box) == 1:
        written = re.sub(r"[\[\]()]", "", written[0]).replace(",", " ").split()
    values = [_number(cell) for cell in written]
    if len(values) != 4 or None in values:
        wanted = f"{', '.join(table.box)} as numbers" if len(table.box) == 4 else "[left, top, width, height]"
        raise DataError(f"{at}: a box of {', '.join(map(repr, written))}; wanted is {wanted}, or nothing for no box")
    if table.sides:
        values[2:] = values[0] + values[2], values[1] + values[3]
    label = table.cell(cells, table.first(LABEL)) if table.first(LABEL) else ONE_CLASS
    if not label:
        raise DataError(f"{at}: a box without a class in the column {table.first(LABEL)!r}; add it")
    return Mark(tuple(values), label)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if is_number(value) else None
