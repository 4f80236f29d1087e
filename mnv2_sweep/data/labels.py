"""Tables, lists and names that say of which class photos are -> Photos, wherever these lie.

`tables` reads tables and lists. Splits come from a column, from the tables' own names (train.csv, test.csv) or from
folders of that name. A photo is known by
[<split>/]<class>/<name>, as if it lay in class folders, so that the same photos with the same classes and splits are
the same data however they are given.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.layout import (
    NO_CLASS,
    SPLITS,
    FindGroups,
    Photo,
    Sorted,
    check_classes,
    describe_groups,
    hold_out,
    in_cache_order,
    is_unlabelled,
    no_groups,
    some_names,
    split_of,
)
from mnv2_sweep.data.tables import (
    Images,
    Table,
    find_columns,
    fold_indicators,
    folder_split,
    read_cells,
    split_header,
)

METADATA = ("metadata.csv", "metadata.jsonl")  # of Hugging Face's imagefolder
FIELDS = {"label": r"[^/]+?", "split": r"[^/]+?", "group": r"[^/]+?", "number": r"\d+"}


class Row(NamedTuple):
    """What is said of a photo, '' where nothing is, and where that stands."""

    image: str
    label: str
    split: str = ""
    group: str = ""
    at: str = ""


class Labelled(NamedTuple):
    """Sorted photos, and by path the file of each."""

    sorted: Sorted
    files: dict[str, str]


# ---------------------------------------------------------------- tables


def read_labels(
    where: str,
    tables: Sequence[Table],
    named: Mapping[str, str],
    images: Images,
    find_groups: FindGroups = no_groups,
) -> Labelled:
    """Return the photos that tables name; `named` says which columns hold what. Raises DataError."""
    names = [table.name for table in tables]
    splits = _split_by_table(names)
    rows, left_out, notes = [], [], []
    for table in tables:
        some, missing, said = _read_table(table, named, images, splits.get(table.name))
        rows += some
        left_out += missing
        notes += said
    if not rows:
        raise DataError(
            f"{where}: no photo of it stands in {some_names(names)}, whose first is {_first(left_out)!r}; "
            f"the data have {some_names(images.files, 2)}"
        )
    if left_out:
        rest = f", the first {_first(left_out)!r}"
        notes.append(f"{count_noun(len(left_out), 'row')} of tables name no photo of the data{rest}")
    found = _place_rows(where, rows, images, f"no row of {some_names(names)} names it", find_groups)
    return found._replace(sorted=found.sorted._replace(notes=[*notes, *found.sorted.notes]))


def _first(left_out: Sequence[str]) -> str:
    return left_out[0] if left_out else ""


def _split_by_table(tables: Iterable[str]) -> dict[str, str]:
    """Return table -> split, where several tables are called by different ones, as train.csv and test_labels.csv."""
    found = {}
    for table in tables:
        stem = table.rpartition("/")[2].partition(".")[0]
        splits = {split for word in re.split(r"[^A-Za-z]+", stem) if (split := split_of(word))}
        if len(splits) == 1:
            found[table] = splits.pop()
    return found if len(set(found.values())) == len(list(tables)) > 1 else {}


def _read_table(
    table: Table, named: Mapping[str, str], images: Images, split: str | None
) -> tuple[list[Row], list[str], list[str]]:
    """Return the rows that name photos, the cells of those that don't, and notes. Raises DataError."""
    header, lines = split_header(table, read_cells(table.name, table.data), named, images)
    header, lines, classes = fold_indicators(header, lines, named)
    notes = [f"{table.name}: each row's class is the column with a 1, of {some_names(classes)}"] if classes else []
    columns = find_columns(table, header, lines, named, images)
    rows, missing = [], []
    for number, cells in lines:
        cell = dict(enumerate(cells))
        said = {key: cell.get(place, "").strip() for key, place in columns.items()}
        if not said["image"]:
            continue
        at = f"{table.name}, line {number}"
        of_row = _row_split(said.get("split", ""), at) or split
        found = images.find(said["image"], table.folder, of_row)
        if not found:
            missing.append(said["image"])
            continue
        if len(found) > 1:
            raise DataError(f"{at}: {said['image']!r} may be {found[0]!r} or {found[1]!r}; write its path")
        label = said["label"] if "label" in columns else _parent(found[0])
        of_row = of_row or folder_split(found[0].split("/")[:-1]) or ""
        rows.append(Row(found[0], label, of_row, said.get("group", ""), at))
    return rows, missing, notes


def _parent(file: str) -> str:
    """Return the class folder that a file lies in, '' where its folder is none."""
    parent = file.rpartition("/")[0].rpartition("/")[2]
    return "" if split_of(parent) or is_unlabelled(parent) or NO_CLASS.fullmatch(parent.lower()) else parent


def _row_split(cell: str, at: str) -> str | None:
    if not cell:
        return None
    split = split_of(cell)
    if split is None:
        raise DataError(f"{at}: split {cell!r}; wanted is train, val or test")
    return split


# ---------------------------------------------------------------- names


def read_pattern(where: str, pattern: str, images: Images, find_groups: FindGroups = no_groups) -> Labelled:
    """Return the photos whose names fit a pattern, as '{label}.{number}.jpg'. Raises DataError."""
    compiled, depth = _compile(pattern), pattern.count("/") + 1
    rows = []
    for file in images.files:
        parts = file.split("/")
        fits = compiled.fullmatch("/".join(parts[-depth:])) if len(parts) >= depth else None
        if fits:
            said = fits.groupdict()
            split = _row_split(said.get("split") or "", f"{where}: {file!r}")
            around = folder_split(parts[: len(parts) - depth])
            rows.append(Row(file, said["label"], split or around or "", said.get("group") or "", repr(file)))
    if not rows:
        raise DataError(
            f"{where}: --label-pattern {pattern!r} fits none of the {count_noun(len(images.files), 'photo')}, the "
            f"first is {_first(images.files)!r}"
        )
    return _place_rows(where, rows, images, f"the name does not fit {pattern!r}", find_groups)


def _compile(pattern: str) -> re.Pattern:
    made, seen = "", set()
    for piece in re.split(r"(\{[^{}]*\}|\*)", pattern.strip("/")):
        field = piece[1:-1]
        if piece == "*":
            made += "[^/]*?"
        elif piece.startswith("{") and field in FIELDS and (field not in seen or field == "number"):
            made += FIELDS[field] if field == "number" else f"(?P<{field}>{FIELDS[field]})"
            seen.add(field)
        elif "{" in piece or "}" in piece:
            raise _no_pattern(pattern)
        else:
            made += re.escape(piece)
    if "label" not in seen:
        raise _no_pattern(pattern)
    return re.compile(made)


def _no_pattern(pattern: str) -> DataError:
    return DataError(
        f"--label-pattern {pattern!r}: wanted is a name with {{label}} in it once, perhaps {{split}}, {{group}}, "
        "{number} and * for anything, as '{label}.{number}.jpg' or '{label}/*'"
    )


# ---------------------------------------------------------------- rows -> photos


def _place_rows(where: str, rows: Sequence[Row], images: Images, why: str, find_groups: FindGroups) -> Labelled:
    """Return the photos of rows, each in its split and class. Raises DataError."""
    labelled = _one_each(where, rows)
    splits = {row.image: row.split for row in labelled}
    if any(splits.values()) and not all(splits.values()):
        bare, at = next((row.image, row.at) for row in labelled if not splits[row.image])
        raise DataError(f"{where}: {bare!r} has no split, others have one ({at}); say it of all or of none")
    photos, files, groups = [], {}, {}
    for row, path in zip(labelled, _known_paths(labelled, splits), strict=True):
        photos.append(Photo(splits[row.image] or SPLITS[0], row.label, path))
        files[path] = row.image
        if row.group:
            groups[path] = row.group
    given = [split for split in SPLITS if split in set(splits.values())] or [SPLITS[0]]
    _check_given(where, photos, given)
    groups = find_groups(photos, files, groups)
    if "val" not in given:
        photos = hold_out(where, photos, groups)
    notes = describe_groups(photos, groups)
    unlabelled = sorted({row.image for row in rows} - splits.keys())
    if unlabelled:
        notes.append(f"left out {count_noun(len(unlabelled), 'photo')} without a class: {some_names(unlabelled, 3)}")
    if rest := sorted(images.known - {row.image for row in rows}):
        notes.append(f"left out {count_noun(len(rest), 'photo')}, as {why}: {some_names(rest, 3)}")
    return Labelled(Sorted(in_cache_order(photos), [], notes, groups), files)


def _one_each(where: str, rows: Sequence[Row]) -> list[Row]:
    """Return one row for each photo that has a class. Raises DataError where two differ."""
    found: dict[str, Row] = {}
    for row in rows:
        if not row.label:
            continue
        if not row.label.isprintable():
            raise DataError(f"{row.at}: class {row.label!r} is no name on one line")
        before = found.setdefault(row.image, row)
        if (before.label, before.split) != (row.label, row.split):
            raise DataError(
                f"{row.at}: {row.image!r} is {row.label!r} {row.split} here and {before.label!r} {before.split} at "
                f"{before.at}; a photo has one class and one split"
            )
    if not found:
        raise DataError(f"{where}: no photo has a class in what was given")
    return list(found.values())


def _known_paths(rows: Sequence[Row], splits: Mapping[str, str]) -> list[str]:
    """Return for each photo the path by which it is known; where two would have the same, with their own folders."""
    paths = ["/".join(filter(None, [splits[row.image], row.label, row.image.rpartition("/")[2]])) for row in rows]
    count = Counter(paths)
    return [
        path if count[path] == 1 else "/".join(filter(None, [splits[row.image], row.label, row.image]))
        for row, path in zip(rows, paths, strict=True)
    ]


def _check_given(where: str, photos: Sequence[Photo], given: Sequence[str]) -> None:
    by_split = defaultdict(set)
    for photo in photos:
        by_split[photo.split].add(photo.label)
    if "train" not in by_split:
        raise DataError(f"{where}: photos of {some_names(by_split)} but none of train")
    for split in given[1:]:
        if unknown := by_split[split] - by_split["train"]:
            raise DataError(
                f"{where}: classes in {split} but not in train: {some_names(unknown)}; train has: "
                f"{some_names(by_split['train'])}"
            )
    if len(by_split["train"]) < 2:
        raise DataError(f"{where}: one class only: {some_names(by_split['train'])}; at least 2 are needed")
    check_classes(where, by_split["train"], photos, {split: f" in {split}" for split in given})
