"""File names -> Photos (split, class, path): which folders are splits and classes, and what is held out for val.

Nothing is opened here. The order of the Photos and the choice of held-out ones depend on the names alone.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mnv2_sweep.data.decode import SUFFIXES
from mnv2_sweep.data.photo_files import is_image
from mnv2_sweep.errors import DataError

HOLD_OUT, HOLD_OUT_IMAGES, HOLD_OUT_SEED = 0.15, 5000, 0
SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
LAYOUT = (
    "wanted: <class>/*.jpg, or train/<class>/*.jpg and val/<class>/*.jpg (test/<class>/*.jpg may be added); "
    f"images are {' '.join(SUFFIXES)}"
)


class Photo(NamedTuple):
    split: str
    label: str  # the class folder's name
    path: str  # inside the data, '/' between parts, without a wrapping top folder


def sort_photos(where: str, files: Iterable[str], folders: set[str]) -> tuple[list[Photo], list[tuple[str, str]]]:
    """Every image with its split and class, in cache order; and (path, reason) of the files left out."""
    splits = _split_folders(where, folders)
    homes = splits or {"": "train"}
    classes = {home: {f.rpartition("/")[2] for f in folders if f.rpartition("/")[0] == home} for home in homes}
    photos, skipped = [], []
    for file in sorted(files):
        parts = file.split("/")
        home = parts[0] if splits and len(parts) > 1 else ""
        depth = len(parts) - bool(home)  # 1: beside the class folders, 2: in one, 3 and more: below one
        if home in homes and depth > 1:
            if not is_image(file):
                skipped.append((file, "not an image file"))
            elif depth > 2:
                raise DataError(f"{where}: {file!r} lies below a class folder's own level; {LAYOUT}")
            else:
                photos.append(Photo(homes[home], parts[-2], file))
        elif is_image(file):
            _check_stray(where, file, home, classes)
            skipped.append((file, "outside the class folders"))
    if not photos:
        raise DataError(f"{where}: no image in it; {LAYOUT}")
    given = {homes[home]: classes[home] for home in homes}
    _check_same_classes(where, given)
    check_classes(where, given["train"], photos, {split: f" in {split}" if splits else "" for split in given})
    if "val" not in given:
        photos = hold_out(where, photos)
    return sorted(photos, key=lambda photo: (SPLITS.index(photo.split), photo)), skipped


def hold_out(where: str, photos: list[Photo]) -> list[Photo]:
    """The same photos with a part of each class's train moved to val; which ones depends only on their names."""
    train = defaultdict(list)
    for photo in photos:
        if photo.split == "train":
            train[photo.label].append(photo)
    share = min(HOLD_OUT, HOLD_OUT_IMAGES / sum(map(len, train.values())))
    chosen = set()
    for label, group in train.items():
        if len(group) < 2:
            raise DataError(
                f"{where}: class {label!r} has 1 image to train on; without a val folder at least 2 are needed, as one "
                "is held out; add images, remove the class or make a val folder"
            )
        count = min(max(1, round(share * len(group))), len(group) - 1)
        chosen.update(sorted(group, key=_seeded_rank)[:count])
    return [photo._replace(split="val") if photo in chosen else photo for photo in photos]


def _seeded_rank(photo: Photo) -> bytes:
    name = f"{HOLD_OUT_SEED}/{photo.label}/{photo.path.rpartition('/')[2]}"
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def find_wrapper(files: Iterable[str], folders: set[str]) -> str:
    """The one top folder that only wraps the others, as 'name/', or ''."""
    tops = [folder for folder in folders if "/" not in folder]
    if len(tops) != 1 or tops[0].lower() in SPLIT_NAMES or len(folders) == 1:
        return ""
    return "" if any("/" not in file and is_image(file) for file in files) else tops[0] + "/"


def _split_folders(where: str, folders: set[str]) -> dict[str, str]:
    """Top folder -> split, as {"Train": "train", "valid": "val"}; empty when the top folders are classes.

    A class may be called 'train' or 'test' too: it has no folders inside, and other classes beside it.
    """
    tops = [folder for folder in sorted(folders) if "/" not in folder]
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    with_folders = {folder.partition("/")[0] for folder in folders if "/" in folder}
    if not with_folders & splits.keys() and len(splits) < len(tops):
        return {}
    if twice := [split for split, count in Counter(splits.values()).items() if count > 1]:
        raise DataError(f"{where}: {some_names(splits)}: more than one folder for {twice[0]}; keep one of them")
    if splits and "train" not in splits.values():
        raise DataError(f"{where}: has {some_names(splits)} but no 'train' folder; {LAYOUT}")
    return splits


def _check_stray(where: str, file: str, home: str, classes: Mapping[str, set[str]]) -> None:
    if home and home not in classes:
        raise DataError(
            f"{where}: images in {home!r}, which lies beside {some_names(classes)}; move that folder away, or give it "
            f"one of these names: {', '.join(SPLIT_NAMES)}"
        )
    if not classes.get(home, True):
        raise DataError(f"{where}: {file!r} lies in no class folder; {LAYOUT}")


def _check_same_classes(where: str, given: Mapping[str, set[str]]) -> None:
    for split in ("val", "test"):
        if unknown := given.get(split, set()) - given["train"]:
            raise DataError(
                f"{where}: class folders in {split} but not in train: {some_names(unknown)}; "
                f"train has: {some_names(given['train'])}; rename them or add them to train"
            )
    if len(given["train"]) < 2:
        raise DataError(f"{where}: one class only: {some_names(given['train'])}; at least 2 class folders are needed")


def check_classes(
    where: str, classes: Iterable[str], photos: Iterable[Photo], splits: Mapping[str, str], why: str = ""
) -> None:
    """Every class needs an image in train and in val, and test needs one at all; splits: split -> ' in <split>'."""
    counts = Counter((photo.split, photo.label) for photo in photos)
    for split, in_split in splits.items():
        empty = [label for label in classes if not counts[split, label]]
        if split == "test" and len(empty) < len(list(classes)):
            continue
        if empty:
            raise DataError(
                f"{where}: no readable image of class {some_names(empty)}{in_split}{why}; add images, or remove "
                f"{'the test folder' if split == 'test' else 'the class'}"
            )


def some_names(names: Iterable[str], most: int = 8) -> str:
    """The first names, quoted and sorted, and how many more there are."""
    names = sorted(names)
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
