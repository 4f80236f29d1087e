"""Files and folders of a data set -> which photos there are, of which split and class, by the folders they lie in.

`sort_photos` makes Photos (split, class, path) of the names alone: which folders are splits and classes, and what is
held out for val. The order of the Photos and the choice of held-out ones depend on nothing else. Folders in folders
around all of it count for nothing. Unlabelled photos, in `test1/`, `unlabeled/` or `test/unknown/`, are left out with
a note, never a class. `labels` makes Photos of tables and of names instead.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from os.path import commonprefix
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.decode import SUFFIXES, is_image, name_ending
from mnv2_sweep.data.holdout import Photo, hold_out
from mnv2_sweep.data.identify import NEEDS_HEIC

SPLITS = ("train", "val", "test")
HELD_OUT = SPLITS[1:]
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
SET_WORDS = re.compile(r"[ _-]?(set|data|images|imgs|photos|(19|20)\d\d)$")  # as in training_set, train2017
EARLIER_NAMES = ("train", "val", "valid", "validation", "dev", "test")  # alone, any other only wraps, as it always did
NO_LABEL = re.compile(r"(un|not?)[ _-]?label+ed|unsup(ervised)?")
UNLABELLED = re.compile(NO_LABEL.pattern + r"|(test|testing|eval|val|valid)[ _-]?\d{1,3}")
GENERIC = re.compile(r"all|images?|imgs?|photos?|pictures?|data")
BESIDE = re.compile(GENERIC.pattern + r"|(jpe?g|png)(images)?|masks?|labels?|annotations?|ground[ _-]?truths?|meta")
NO_CLASS = re.compile(GENERIC.pattern + r"|(un|not?)[ _-]?label+ed|unknown|none|test(ing)?\d*")
LAYOUT = (
    "wanted: <class>/*.jpg, or train/<class>/*.jpg and val/<class>/*.jpg (test/<class>/*.jpg may be added); "
    f"images are {' '.join(SUFFIXES)}"
)
AS_CLASSES = "if these folders are classes, say --label-pattern '{label}/*'"
LABEL_OPTIONS = (
    "--labels FILE (a table of photos and classes) or --label-pattern (where names tell it, as '{label}.{number}.jpg')"
)
HOW_LABELLED = f"photos whose classes no folder tells need {LABEL_OPTIONS}; {AS_CLASSES}"


class Sorted(NamedTuple):
    """Photos in cache order, (path, reason) of the files left out, lines on what else was done, and by path the group
    of each photo that has one."""

    photos: list[Photo]
    left_out: list[tuple[str, str]]
    notes: list[str]
    groups: Mapping[str, str] = {}


# Photos, by path the file of each, and the groups that a table gives -> by path the group of each photo that has one.
FindGroups = Callable[[Sequence[Photo], Mapping[str, str], Mapping[str, str]], Mapping[str, str]]


def no_groups(photos: Sequence[Photo], files: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the groups that are given, where none are looked for."""
    return given


def split_of(name: str) -> str | None:
    """Return the split that a folder or a table calls so, in any case, also as in "training_set"; None for none."""
    name = name.strip().lower()
    return SPLIT_NAMES.get(name) or SPLIT_NAMES.get(SET_WORDS.sub("", name))


def is_unlabelled(name: str) -> bool:
    """Return whether a folder's name says that the photos in it have no class."""
    return UNLABELLED.fullmatch(name.strip().lower()) is not None


def sort_photos(
    where: str,
    files: Iterable[str],
    folders: set[str],
    images: Container[str] | None = None,
    find_groups: FindGroups = no_groups,
) -> Sorted:
    """Return every image with its split and class, by the folders they lie in; `images`: which of the files are some,
    where names don't tell; `find_groups`: which photos stay together where some are held out. Raises DataError."""
    files = sorted(files)
    images = {file for file in files if is_image(file)} if images is None else images
    tree = _Tree(filter(images.__contains__, files), folders)
    homes, aside, notes = _find_homes(where, tree)
    photos, skipped = [], []
    classes = {home: tree.below(home) - aside for home in homes}
    for file in files:
        top = file.partition("/")[0] if "/" in file else ""
        if top in aside:
            continue
        home = next((home for home in homes if home and file.startswith(f"{home}/")), "")
        depth = file.count("/") - (home.count("/") + 1 if home else 0)  # 0: beside the class folders, 1: in one
        if home in homes and depth > 0:
            if file not in images:
                skipped.append((file, name_ending(file)))
            elif depth > 1:
                raise _too_deep(where, file)
            else:
                photos.append(Photo(homes[home], file.split("/")[-2], file))
        elif file in images:
            _check_stray(where, file, top, home, classes)
            skipped.append((file, "outside the class folders"))
    if not photos:
        heic = sum(why == NEEDS_HEIC for _, why in skipped)
        but = f" but {count_noun(heic, 'file')} of {NEEDS_HEIC}" if heic else ""
        raise DataError(f"{where}: no image in it{but}; {LAYOUT}")
    given = {split: classes[home] for home, split in homes.items()}
    photos, given, more = _drop_unlabelled(photos, given)
    _check_same_classes(where, given, [*aside])
    said = {split: f" in {split}" if "" not in homes else "" for split in given}
    check_classes(
        where, given["train"], photos, said, how=", or go by the photos there are: --label-pattern '{label}/*'"
    )
    groups = find_groups(photos, {}, {})
    if "val" not in given:
        photos = hold_out(where, photos, groups)
    return Sorted(in_cache_order(photos), skipped, [*notes, *more, *describe_groups(photos, groups)], groups)


def describe_groups(photos: Iterable[Photo], groups: Mapping[str, str]) -> list[str]:
    """Say how many groups photos have, and of which more than one split has some."""
    splits = defaultdict(set)
    for photo in photos:
        if photo.path in groups:
            splits[groups[photo.path]].add(photo.split)
    if not splits:
        return []
    torn = sorted(name for name, own in splits.items() if len(own) > 1)
    if not torn:
        return [f"{count_noun(len(splits), 'group')} of photos, each in one split"]
    which = " and ".join(split for split in SPLITS if split in splits[torn[0]])
    return [
        f"{len(torn):,} of {count_noun(len(splits), 'group')} of photos are in more than one split, the first, "
        f"{torn[0]!r}, in {which}: scores flatter"
    ]


def in_cache_order(photos: Iterable[Photo]) -> list[Photo]:
    """Return photos by split, class and path."""
    return sorted(photos, key=lambda photo: (SPLITS.index(photo.split), photo))


class _Tree:
    """Folders with what lies in them."""

    def __init__(self, images: Iterable[str], folders: set[str]):
        self.inside: dict[str, set[str]] = defaultdict(set)
        self.images: Counter[str] = Counter()  # that lie in a folder itself
        for folder in folders:
            self.inside[folder.rpartition("/")[0]].add(folder)
        self.images.update(image.rpartition("/")[0] for image in images)

    def below(self, folder: str) -> set[str]:
        """Return the last names of the folders in a folder."""
        return {one.rpartition("/")[2] for one in self.inside.get(folder, ())}

    def count(self, folder: str) -> int:
        """Return how many images lie in a folder and below it."""
        return self.images[folder] + sum(self.count(one) for one in self.inside.get(folder, ()))

    def is_flat(self, folder: str) -> bool:
        """Return whether there are images in a folder, but no folders, save one of its own name that is flat."""
        inside, own = self.inside.get(folder), f"{folder}/{folder.rpartition('/')[2]}"
        return self.images[folder] > 0 if not inside else inside == {own} and self.is_flat(own)

    def unwrap(self, folder: str) -> str:
        """Return the folder, or, where it holds but one folder with folders in it, that one, and so on."""
        while not self.images[folder] and len(self.inside.get(folder, ())) == 1:
            (only,) = self.inside[folder]
            if not self.inside.get(only):
                break
            folder = only
        return folder


def find_wrapper(images: Iterable[str], folders: set[str]) -> str:
    """Return the folders that only wrap the others, as 'name/name/', or ''."""
    loose = {image.rpartition("/")[0] for image in images}
    inside = defaultdict(list)
    for folder in folders:
        inside[folder.rpartition("/")[0]].append(folder)
    top = ""
    while len(inside[top]) == 1 and top not in loose:
        only = inside[top][0]
        if only.rpartition("/")[2].lower() in EARLIER_NAMES or not inside[only]:
            break
        top = only
    return f"{top}/" if top else ""


def _find_homes(where: str, tree: _Tree) -> tuple[dict[str, str], set[str], list[str]]:
    """Return the folders of class folders with their splits, as {"Train": "train", "valid": "val"}, or {"": "train"}
    where the top folders are classes; the top folders whose photos have no label; and notes.

    A class may be called 'train' too: it has no folders inside, and other classes beside it.
    """
    tops = sorted(tree.inside.get("", ()))
    ends = _own_ends(tops)
    splits = {top: split for top, end in ends.items() if (split := split_of(end)) and _counts(tree, top)}
    nested = {top for top in tops if tree.inside.get(top)}
    named = {top for top, end in ends.items() if is_unlabelled(end)}
    if nested & splits.keys():
        aside = named | {top for top in tops if splits.get(top) != "train" and tree.is_flat(top)}
        splits = {top: split for top, split in splits.items() if top not in aside}
    elif (splits or named or not nested) and all(
        top in splits or top in named or BESIDE.fullmatch(top.lower()) for top in tops
    ):
        aside = set()
        if tops and len(splits) < len(tops):
            flat = some_names(top for top in tops if tree.images[top])
            raise DataError(f"{where}: photos lie flat in {flat}, in no class folders; {LAYOUT}; {HOW_LABELLED}")
    else:
        aside = {top for top in tops if top not in nested and (top in named or splits.get(top) == "test")}
        splits = {}
    _check_splits(where, splits)
    notes = [
        f"left out {count_noun(tree.count(top), 'photo')} in {top!r}: not in class folders, so without a label"
        for top in sorted(aside)
        if tree.count(top)
    ]
    if not splits:
        notes += [f"{top!r} is read as a class like the others" for top in tops if split_of(top) and top not in aside]
        return {"": "train"}, aside, notes
    return {tree.unwrap(top): split for top, split in splits.items()}, aside, notes


def _own_ends(tops: Sequence[str]) -> dict[str, str]:
    """Return folders with their names, without what all begin with, as in seg_train and seg_test, where that leaves the
    names of splits and the whole names are none."""
    common = re.sub(r"[^ _-]*$", "", commonprefix(tops)) if len(tops) > 1 else ""
    ends = {top: top.removeprefix(common) for top in tops}
    if common and not any(map(split_of, tops)) and len({*filter(None, map(split_of, ends.values()))}) > 1:
        return ends
    return {top: top for top in tops}


def _counts(tree: _Tree, top: str) -> bool:
    """Return whether a folder with a split's name is to be read as one; a name that is new here needs photos in it."""
    return top.lower() in EARLIER_NAMES or tree.count(top) > 0


def _check_splits(where: str, splits: Mapping[str, str]) -> None:
    if twice := [split for split, count in Counter(splits.values()).items() if count > 1]:
        raise DataError(f"{where}: {some_names(splits)}: more than one folder for {twice[0]}; keep one of them")
    if splits and "train" not in splits.values():
        raise DataError(f"{where}: has {some_names(splits)} but no 'train' folder; {LAYOUT}")


def _drop_unlabelled(
    photos: list[Photo], classes: Mapping[str, set[str]]
) -> tuple[list[Photo], dict[str, set[str]], list[str]]:
    """Return photos and classes without folders that say that they are no class, and without val or test where there
    are but such folders; and notes on that."""
    notes, dropped = [], set()
    for split, own in classes.items():
        is_strange = not own & classes["train"] and all(NO_CLASS.fullmatch(name.lower()) for name in own)
        if split in HELD_OUT and is_strange:
            unlabelled, why = own, f"{some_names(own)}, which is no class of train"
        else:
            unlabelled = {name for name in own if NO_LABEL.fullmatch(name.lower())}
            why = some_names(unlabelled)
        if unlabelled:
            count = sum(photo.split == split and photo.label in unlabelled for photo in photos)
            notes.append(f"left out {count_noun(count, 'photo')} of {split}: in {why}, so without a label")
            dropped |= {(split, name) for name in unlabelled}
    kept = [photo for photo in photos if (photo.split, photo.label) not in dropped]
    left = {split: {name for name in own if (split, name) not in dropped} for split, own in classes.items()}
    return kept, {split: own for split, own in left.items() if own or not classes[split] or split == "train"}, notes


def _too_deep(where: str, file: str) -> DataError:
    first, second = file.split("/")[-3:-1]
    return DataError(
        f"{where}: {file!r} lies below a class folder's own level; {LAYOUT}; or say which folder is the class, as "
        f"--label-pattern '{{label}}/*/*' (here {first!r}) or '{{label}}/*' (here {second!r})"
    )


def _check_stray(where: str, file: str, top: str, home: str, classes: Mapping[str, set[str]]) -> None:
    if top and not home and "" not in classes:
        if any(one.partition("/")[0] == top for one in classes):
            return  # beside the folder that is wrapped in a split
        raise DataError(
            f"{where}: images in {top!r}, which lies beside {some_names(one.partition('/')[0] for one in classes)}; "
            f"move that folder away, or give it one of these names: {', '.join(SPLIT_NAMES)}"
        )
    if not classes.get(home, True):
        raise DataError(f"{where}: {file!r} lies in no class folder; {LAYOUT}; {HOW_LABELLED}")


def _check_same_classes(where: str, given: Mapping[str, set[str]], aside: list[str]) -> None:
    for split in HELD_OUT:
        if unknown := given.get(split, set()) - given["train"]:
            raise DataError(
                f"{where}: class folders in {split} but not in train: {some_names(unknown)}; "
                f"train has: {some_names(given['train'])}; rename them or add them to train"
            )
    classes = given["train"]
    if len(classes) < 2:
        beside = f" (beside {some_names(aside)}, whose photos have no label; {AS_CLASSES})" if aside else ""
        raise DataError(
            f"{where}: one class only: {some_names(classes)}{beside}; at least 2 class folders are needed; photos "
            f"whose classes no folder tells need {LABEL_OPTIONS}"
        )


def check_classes(
    where: str, classes: Iterable[str], photos: Iterable[Photo], splits: Mapping[str, str], why: str = "", how: str = ""
) -> None:
    """Raise DataError where a class has no image in train or val, or test none at all; splits: split -> ' in
    <split>'; `how` else to go on."""
    counts = Counter((photo.split, photo.label) for photo in photos)
    for split, in_split in splits.items():
        empty = [label for label in classes if not counts[split, label]]
        if split == "test" and len(empty) < len(list(classes)):
            continue
        if empty:
            raise DataError(
                f"{where}: no readable image of class {some_names(empty)}{in_split}{why}; add images, or remove "
                f"{'the test folder' if split == 'test' else 'the class'}{how}"
            )


def some_names(names: Iterable[str], most: int = 8) -> str:
    """Return the first names, quoted and sorted, and how many more there are."""
    names = sorted(names)
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
