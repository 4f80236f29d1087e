"""A path -> MarkedFiles: the images and the other files of annotated data, and what names and lists say of splits.

Splits are told by lists of images (train.txt, val.txt, test.txt, as VOC's ImageSets has them), else by folders called
so, else by nothing. A folder of masks holds no images.
"""

import re
from collections.abc import Callable, Mapping
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import mebibytes
from mnv2_sweep.data.decode import UnreadableImage, is_image
from mnv2_sweep.data.files import MAX_FILE_BYTES, PhotoFiles, check_file_sizes
from mnv2_sweep.data.layout import some_names, split_of
from mnv2_sweep.data.tables import Images, folder_split

MASK_FOLDER = re.compile(
    r"(.*[ _-])?(masks?|seg(mentations?)?|segmentation[ _-]?class(aug|raw)?|labels?|annotations?|gt|"
    r"ground[ _-]?truths?|trimaps?)|.*annot|segmentation[ _-]?object|.*[ _-]instances?"
)
NO_MASK = re.compile(r"segmentation[ _-]?object|(.*[ _-])?instances?")  # a number an object, not a class
MAX_TEXT_BYTES = 2**22  # of a text that says something of one image, or of splits and classes
LIST_ENDS = (".txt",)


class MarkedFiles(NamedTuple):
    """Annotated data: where they are, the images, the other files, and how one is read whole; the images that stand in
    lists, by the split of the list; and how many folders lie around everything."""

    where: str
    images: Images
    others: list[str]
    read: Callable[[str], bytes]
    lists: Mapping[str, frozenset[str]] = {}
    around: int = 0

    def read_text(self, name: str, most: int = MAX_TEXT_BYTES) -> str:
        """Read a text of at most so many bytes. Raises DataError."""
        data = self.read_bytes(name, most)
        try:
            return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.at(name)}: not a text in UTF-8 ({error.reason}); save it as UTF-8") from None

    def read_bytes(self, name: str, most: int = MAX_TEXT_BYTES) -> bytes:
        """Read a file of at most so many bytes. Raises DataError."""
        try:
            data = self.read(name)
        except (UnreadableImage, OSError) as error:
            raise DataError(f"{self.at(name)}: cannot be read: {error}") from error
        if len(data) > most:
            raise DataError(
                f"{self.at(name)}: more than {mebibytes(most)}, which are read at most; split it, or leave out what is "
                "not needed"
            )
        return data

    def at(self, name: str) -> str:
        """Return where a file is, for a message."""
        return f"{self.where}: {name}"

    def find_image(self, cell: str, folder: str, split: str, at: str) -> str | None:
        """Return the image that a text names, in the folder of the file that does, or by the end of its path, of
        several the one in a folder of the split; None for none. Raises DataError, which says `at` which place, where
        it may be one of several."""
        found = self.images.find(cell, folder, split or None)
        if len(found) > 1:
            raise DataError(f"{at}: {cell!r} may be {found[0]!r} or {found[1]!r}; write its path")
        return found[0] if found else None

    def list_masks(self) -> list[str]:
        """Return the images that lie in a folder called as one of masks, and not of objects one by one."""
        return [
            file for file in self.others
            if is_image(file) and _is_mask(file, self.around) and not any(map(_is_of_objects, file.split("/")[:-1]))
        ]  # fmt: skip

    def split_of(self, image: str) -> str:
        """Return the split of an image by lists or folders; '' where nothing says, or lists leave it out."""
        if self.lists:
            return next((split for split, own in self.lists.items() if image in own), "")
        return folder_split(image.split("/")[:-1]) or ""


def list_marked(photo_files: PhotoFiles) -> MarkedFiles:
    """List what lies in a folder or an archive. Raises DataError."""
    where = str(photo_files.path)
    sizes, _ = photo_files.files()
    pictures = [file for file in sorted(sizes) if is_image(file)]
    around = len(commonprefix([file.split("/")[:-1] for file in pictures]))
    images = [file for file in pictures if not _is_mask(file, around)] or pictures
    if not images:
        raise DataError(f"{where}: no image in it; wanted are images, and boxes or masks of them")
    check_file_sizes(where, images, sizes)
    known = {*images}
    others = [file for file in sorted(sizes) if file not in known]

    def read(name: str) -> bytes:
        return photo_files.read(name, MAX_FILE_BYTES + 1)  # one more, so that what is too large is known by it

    files = MarkedFiles(where, Images(images), others, read, around=around)
    return files._replace(lists=_read_lists(files))


def _is_mask(file: str, around: int) -> bool:
    """Return whether a folder of a file, but for those around everything, is called as one of masks."""
    return any(MASK_FOLDER.fullmatch(part.lower()) for part in file.split("/")[around:-1])


def _is_of_objects(folder: str) -> bool:
    return NO_MASK.fullmatch(folder.lower()) is not None


def split_by_name(file: str) -> str:
    """Return the split that a file's name says, as instances_train2017.json, else one of its folders; '' for none."""
    *folders, name = file.split("/")
    words = re.split(r"[^A-Za-z]+", name.partition(".")[0])
    splits = {split for word in words if (split := split_of(word))}
    return splits.pop() if len(splits) == 1 else folder_split(reversed(folders)) or ""


def _read_lists(files: MarkedFiles) -> dict[str, list[str]]:
    """Return by split the images that stand in lists called so. Raises DataError where one stands in two."""
    found: dict[str, set[str]] = {}
    for name in files.others:
        split = split_of(name.rpartition("/")[2].rpartition(".")[0]) if name.lower().endswith(LIST_ENDS) else None
        own = _read_list(files, name) if split else []
        if split and own:
            found.setdefault(split, set()).update(own)
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        if both := found.get(first, set()) & found.get(second, set()):
            raise DataError(f"{files.where}: the lists of {first} and {second} both name {some_names(both, 3)}")
    return {split: frozenset(own) for split, own in found.items()}


def _read_list(files: MarkedFiles, name: str) -> list[str]:
    """Return the images that the lines of a text name; none where its first line names none."""
    own: list[str] = []
    for number, line in enumerate(files.read_text(name, MAX_FILE_BYTES).splitlines(), 1):
        if not (cell := line.strip()):
            continue
        image = files.find_image(cell, folder_of(name), "", f"{files.at(name)}, line {number}")
        if image is None and not own:
            return []
        if image is not None:
            own.append(image)
    return own


def folder_of(file: str) -> str:
    """Return the folder of a file as what stands before its name: "a/" or ''."""
    return f"{file.rpartition('/')[0]}/" if "/" in file else ""


def stem_of(file: str) -> str:
    """Return a file's name without folders and ending."""
    return Path(file.rpartition("/")[2]).stem
