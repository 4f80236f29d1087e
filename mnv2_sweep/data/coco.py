"""COCO's JSON files -> Sheets: images, boxes and outlines, by cocodataset.org/#format-data.

Ids only tie a file's parts together: annotations are never told apart by theirs, so ids that are 0, missing or there
twice change nothing but what is said.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.annotations import Mark, Sheet
from mnv2_sweep.data.files import MAX_FILE_BYTES
from mnv2_sweep.data.marked_files import MarkedFiles, folder_of, split_by_name

PARTS = ("images", "annotations", "categories")
INSTANCES = "instances"  # in the names of COCO's own files, beside captions and keypoints of the same images


class Read(NamedTuple):
    """What files say: a sheet an image, the classes that they list ('' no list), images named in them that the data
    lack, with the reason, and lines on what else was found."""

    sheets: list[Sheet]
    classes: list[str]
    left_out: list[tuple[str, str]]
    notes: list[str]


def find_coco(files: MarkedFiles) -> dict[str, dict]:
    """Return the files of the data that are COCO's, as they are, by name. Raises DataError for a broken one."""
    names = [name for name in files.others if name.lower().endswith(".json")]
    found = {name: value for name in names if (value := _read_json(files, name)) is not None}
    own = {name: value for name, value in found.items() if INSTANCES in name.rpartition("/")[2].lower()}
    return own or found


def _read_json(files: MarkedFiles, name: str) -> dict | None:
    """Return the value of a file where it is COCO's; None where it is another. Raises DataError."""
    text = files.read_text(name, MAX_FILE_BYTES)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{files.at(name)}: no JSON ({error or 'too deep'}); export it again") from None
    if not isinstance(value, dict) or not all(part in value for part in PARTS[:2]):
        return None
    if "categories" not in value:
        if not any(isinstance(one, dict) and "bbox" in one for one in _rows(files.at(name), value, "annotations")):
            return None  # captions
        raise DataError(f"{files.at(name)}: no 'categories', which say what category_id means; export it again")
    return value


def read_coco(files: MarkedFiles, found: Mapping[str, dict], outlines: bool = False) -> Read:
    """Return what COCO's files say; `outlines`: segmentations are wanted, else boxes. Raises DataError."""
    read = Read([], [], [], [])
    for name, value in found.items():
        split = split_by_name(name) if len(found) > 1 or not files.lists else ""
        if len(found) > 1 and not split:
            raise DataError(
                f"{files.where}: several COCO files, {', '.join(found)}, and {name!r} says no split; call them "
                "train.json, val.json and test.json, or keep one"
            )
        one = _read_file(files, name, value, split, outlines)
        for into, more in zip(read, one, strict=True):
            into.extend(more)
    return read._replace(sheets=_join_sheets(files, read.sheets), classes=list(dict.fromkeys(read.classes)))


def _join_sheets(files: MarkedFiles, sheets: Sequence[Sheet]) -> list[Sheet]:
    """Return one sheet an image, with the boxes of all files that have it. Raises DataError where these are of several
    splits or sizes."""
    joined: dict[str, Sheet] = {}
    for sheet in sheets:
        before = joined.setdefault(sheet.image, sheet)
        if before is sheet:
            continue
        if (before.split, before.said) != (sheet.split, sheet.said):
            raise DataError(
                f"{files.where}: COCO files differ in the split or size of {sheet.image!r}; an image has one of each"
            )
        joined[sheet.image] = before._replace(marks=[*before.marks, *sheet.marks])
    return [*joined.values()]


def _read_file(files: MarkedFiles, name: str, value: Mapping[str, Any], split: str, outlines: bool) -> Read:
    at = files.at(name)
    classes = _read_categories(at, _rows(at, value, "categories"))
    images = _read_images(at, _rows(at, value, "images"))
    marks: dict[object, list[Mark]] = {key: [] for key in images}
    ids: Counter[object] = Counter()
    for place, row in enumerate(_rows(at, value, "annotations")):
        said = f"{at}: annotation {row.get('id', f'number {place + 1}')!r}"
        key = _key(row.get("image_id"))
        if key not in marks:
            raise DataError(
                f"{said}: image_id {row.get('image_id')!r} is that of no image in the file; export it again"
            )
        marks[key].append(_read_mark(said, row, classes, outlines))
        ids[_key(row.get("id"))] += 1
    sheets, left_out = {}, []
    for key, (file_name, size) in images.items():
        image = files.find_image(file_name, folder_of(name), split, at)
        if image is None:
            left_out.append((file_name, f"named in {name}, not in the data"))
            continue
        before = sheets.get(image)
        own = [*(before.marks if before else ()), *marks[key]]
        sheets[image] = Sheet(image, own, split or files.split_of(image), size)
    notes = []
    if twice := sum(count - 1 for key, count in ids.items() if key is not None):
        notes.append(f"{name}: {count_noun(twice, 'annotation')} has the id of another; boxes are known by no ids")
    if (double := len(images) - len(left_out) - len(sheets)) > 0:
        notes.append(f"{name}: {count_noun(double, 'image')} stands in it twice; the boxes of both are taken together")
    return Read([*sheets.values()], [*classes.values()], left_out, notes)


def _rows(at: str, value: Mapping[str, Any], part: str) -> Sequence[Mapping[str, Any]]:
    rows = value[part]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{at}: {part!r} is no list of objects, as COCO's format has it; export it again")
    return rows


def _key(value: object) -> object:
    """Return an id as a key, so that 1 and True differ and lists do no harm; None for none."""
    return None if value is None else (type(value).__name__, str(value))


def _read_categories(at: str, rows: Sequence[Mapping[str, Any]]) -> dict[object, str]:
    classes: dict[object, str] = {}
    for row in rows:
        key, name = _key(row.get("id")), row.get("name")
        if key is None or not isinstance(name, str) or not name.strip():
            raise DataError(f"{at}: a category without id or name: {_short(row)}; each needs both")
        if classes.setdefault(key, name) != name:
            raise DataError(f"{at}: category id {row['id']!r} is {classes[key]!r} and {name!r}; an id has one name")
    if not classes:
        raise DataError(f"{at}: 'categories' is empty; it has to say what category_id means")
    return classes


def _read_images(at: str, rows: Sequence[Mapping[str, Any]]) -> dict[object, tuple[str, Size | None]]:
    images: dict[object, tuple[str, Size | None]] = {}
    for row in rows:
        key, name = _key(row.get("id")), row.get("file_name")
        if key is None or not isinstance(name, str) or not name.strip():
            raise DataError(f"{at}: an image without id or file_name: {_short(row)}; each needs both")
        sides = [row.get("height"), row.get("width")]
        if images.get(key, (name,))[0] != name:
            raise DataError(
                f"{at}: image id {row['id']!r} is {images[key][0]!r} and {name!r}, so boxes of either can't be told; "
                "give each image an id of its own"
            )
        images[key] = name, (Size(*map(int, sides)) if all(map(_is_side, sides)) else None)
    if not images:
        raise DataError(f"{at}: 'images' is empty; it has to name the images, with their ids")
    return images


def _is_side(value: object) -> bool:
    return is_number(value) and value >= 1 and value == int(value)


def is_number(value: object) -> bool:
    """Return whether a value of JSON is a finite number that fits into 64 bits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**53 and value == value


def _read_mark(said: str, row: Mapping[str, Any], classes: Mapping[object, str], outlines: bool) -> Mark:
    label = classes.get(_key(row.get("category_id")))
    if label is None:
        known = ", ".join(f"{key[1]} {name}" for key, name in list(classes.items())[:8])
        raise DataError(f"{said}: category_id {row.get('category_id')!r} is none of the categories: {known}")
    crowd, difficult = row.get("iscrowd") == 1, row.get("ignore") == 1
    if outlines:
        if not (outline := row.get("segmentation")):
            raise DataError(f"{said}: no segmentation, so it gives no mask; boxes alone are for a detector")
        return Mark((0, 0, 0, 0), label, crowd, difficult, outline)
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise DataError(f"{said}: bbox {_short(box)}; wanted are left, top, width, height, in pixels")
    left, top, width, height = map(float, box)
    return Mark((left, top, left + width, top + height), label, crowd, difficult)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
