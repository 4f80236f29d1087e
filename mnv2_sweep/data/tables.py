"""A table or list of photos, as bytes -> its cells, and which columns hold image, label, split and group.

A table is CSV, TSV, semicolons or JSON lines, with or without a header; a list has a path a line, then perhaps a class.
The image column is the one whose cells name the most photos of the data: by a path, or its end, with or without ending.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.decode import is_image
from mnv2_sweep.data.layout import some_names, split_of

LABEL_NAMES = (
    *("label", "class", "category", "target", "species", "breed", "class_name", "label_name", "y"),
    *("labels", "diagnosis", "dx"),  # as HAM10000 has it
)
LABEL_NUMBERS = ("classid", "class_id", "label_id", "category_id")  # where no column has names
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
GROUP_COLUMNS = ("group",)
INDICATORS = {"0": False, "1": True, "0.0": False, "1.0": True, "False": False, "True": True}
SAMPLED_ROWS = 200
DELIMITERS = ",\t;|"


class Table(NamedTuple):
    """A file that names photos, and the folder of the data that it lies in, as 'train/', '' elsewhere."""

    name: str
    data: bytes
    folder: str = ""


class Images:
    """Photos of the data, found by what people write of them."""

    def __init__(self, files: Iterable[str]):
        self.files = sorted(files)
        self.known = set(self.files)
        self.ends: dict[str, list[str]] = defaultdict(list)
        for file in self.files:
            stem = re.sub(r"\.[^./]*$", "", file)
            for name in {file, stem}:
                parts = name.split("/")
                for start in range(len(parts)):
                    self.ends["/".join(parts[start:])].append(file)

    def find(self, cell: str, folder: str = "", split: str | None = None) -> list[str]:
        """Return the photos that a cell may mean: exactly, in the folder of its table, or by the end of its path; of
        several those in a folder of the split."""
        parts = [part for part in cell.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        name = "/".join(parts)
        for exact in (folder + name, name):
            if exact in self.known:
                return [exact]
        stem = re.sub(r"\.[^./]*$", "", name) if is_image(name) else name  # perhaps .jpg where the file is .JPG or .png
        for end in (
            "/".join(one.split("/")[start:]) for one in dict.fromkeys((name, stem)) for start in range(len(parts))
        ):
            if found := self.ends.get(end):
                own = [file for file in found if split and folder_split(file.split("/")[:-1]) == split]
                return own if len(own) == 1 else found
        return []


def folder_split(folders: Iterable[str]) -> str | None:
    """Return the split that the first of the folders is called by that is called by one."""
    return next(filter(None, map(split_of, folders)), None)


def read_cells(table: str, data: bytes) -> list[tuple[int, list[str]]]:
    """Return the lines of a table with their numbers, as cells. Raises DataError."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: not a text in UTF-8 ({error.reason}); save it as CSV UTF-8") from None
    if "\0" in text:
        raise DataError(f"{table}: not a table of text; give CSV, TSV, JSON lines or a list of paths and classes")
    if table.lower().endswith((".jsonl", ".json")):
        return _read_json_lines(table, text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    if delimiter in first:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
            return [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
        except csv.Error as error:
            raise DataError(f"{table}: not a table ({error}); save it as CSV") from error
    lines = enumerate(text.splitlines(), 1)
    return [(number, line.strip().rsplit(None, 1)) for number, line in lines if line.strip()]


def _read_json_lines(table: str, text: str) -> list[tuple[int, list[str]]]:
    rows, header = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            header += [key for key in values if key not in header]
        except (ValueError, TypeError) as error:
            raise DataError(f"{table}, line {number}: no JSON object ({error}); one a line is wanted") from error
        rows.append((number, values))
    cells = [(number, [str(values.get(key, "")) for key in header]) for number, values in rows]
    return [(0, header), *cells]


def split_header(
    table: Table, lines: list[tuple[int, list[str]]], named: Mapping[str, str], images: Images
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, '' for each column of a table without one, and the rows. Raises DataError."""
    if not lines:
        raise DataError(f"{table.name}: empty; a table of photos and classes is wanted")
    first = lines[0][1]
    if not named and any(is_image(cell.strip()) or images.find(cell, table.folder) for cell in first):
        return [""] * len(first), _whole_names(table, lines, images)
    return [cell.strip() for cell in first], lines[1:]


def _whole_names(table: Table, lines: list[tuple[int, list[str]]], images: Images) -> list[tuple[int, list[str]]]:
    """Return rows of a list, in which a path that holds blanks and has no class behind it is one cell again."""
    joined = [(number, [" ".join(cells)]) for number, cells in lines]
    alone = all(images.find(cells[0], table.folder) for _, cells in joined[:SAMPLED_ROWS])
    return joined if alone else lines


def fold_indicators(
    header: list[str], lines: list[tuple[int, list[str]]], named: Mapping[str, str]
) -> tuple[list[str], list[tuple[int, list[str]]], list[str]]:
    """Return the table with a column "label" where it has a column a class instead, a 1 in that of a row's class and 0
    in the others, and the names of these columns; as it is where it has not."""
    is_said = "label" in named or any(name.lower() in LABEL_NAMES for name in header)
    numbers = [] if is_said or not lines else [
        place for place, name in enumerate(header)
        if name and all(place < len(cells) and cells[place].strip() in INDICATORS for _, cells in lines)
    ]  # fmt: skip
    ones = [[place for place in numbers if INDICATORS[cells[place].strip()]] for _, cells in lines]
    if len(numbers) < 2 or any(len(own) != 1 for own in ones) or {own[0] for own in ones} != {*numbers}:
        return header, lines, []
    kept = [place for place in range(len(header)) if place not in numbers]
    rows = [
        (number, [*(cells[place] for place in kept if place < len(cells)), header[own[0]]])
        for (number, cells), own in zip(lines, ones, strict=True)
    ]
    return [*(header[place] for place in kept), LABEL_NAMES[0]], rows, [header[place] for place in numbers]


def find_columns(
    table: Table, header: list[str], lines: list[tuple[int, list[str]]], named: Mapping[str, str], images: Images
) -> dict[str, int]:
    """Return where image, label, split and group stand, as far as they do. Raises DataError."""
    places = {name.lower(): place for place, name in reversed(list(enumerate(header))) if name}
    columns = {}
    for key, name in named.items():
        if name.lower() not in places:
            raise DataError(f"{table.name}: no column {name!r} (--columns); it has {some_names(filter(None, header))}")
        columns[key] = places[name.lower()]
    if "image" not in columns:
        columns["image"] = _image_column(table, lines, images)
    for key, names in (("split", SPLIT_COLUMNS), ("group", GROUP_COLUMNS)):
        found = [places[name] for name in names if name in places and places[name] not in columns.values()]
        if key not in columns and found:
            columns[key] = found[0]
    if "label" not in columns:
        columns |= _label_column(table.name, header, columns)
    return columns


def _image_column(table: Table, lines: list[tuple[int, list[str]]], images: Images) -> int:
    """Return the column that names the most different photos of the data."""
    hits = defaultdict(set)
    for _, cells in lines[:: max(1, len(lines) // SAMPLED_ROWS)]:
        for place, cell in enumerate(cells):
            if cell.strip() and images.find(cell, table.folder):
                hits[place].add(cell)
    if hits:
        return max(hits, key=lambda place: (len(hits[place]), -place))
    example = next((cells for _, cells in lines), [])
    raise DataError(
        f"{table.name}: in no column are photos of the data, which has {some_names(images.files, 2)}; the first row is "
        f"{some_names(example)}; name the column: --columns image=NAME"
    )


def _label_column(table: str, header: list[str], columns: Mapping[str, int]) -> dict[str, int]:
    """Return {"label": place}, {} where no column is left for it. Raises DataError."""
    left = [place for place in range(len(header)) if place not in columns.values()]
    known, numbers = (
        [place for place in left if header[place].lower() in names] for names in (LABEL_NAMES, LABEL_NUMBERS)
    )
    for some in (known, numbers, left):
        if len(some) == 1:
            return {"label": some[0]}
        if some:
            what = " or ".join(repr(header[place]) for place in some[:8])
            if not any(header):
                raise DataError(f"{table}: has {len(header)} columns and no header; add one, with image and label")
            raise DataError(f"{table}: the class may stand in {what}; say which: --columns label=NAME")
    return {}
