"""YOLO's text files, one an image -> Sheets: a line a box, class, centre, width and height as shares of the image.

Lines of more numbers are outlines, x and y in turn; their box counts. A file lies beside its image, or in `labels/` as
the image does in `images/`. Names of classes stand in data.yaml, else one a line in classes.txt, obj.names or the like.
"""

import re
from collections.abc import Mapping, Sequence

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.data.annotations import Mark, Sheet
from mnv2_sweep.data.coco import Read
from mnv2_sweep.data.layout import some_names
from mnv2_sweep.data.marked_files import MarkedFiles

YAML_ENDS = (".yaml", ".yml")
NAMES = re.compile(r"(.*/)?(classes\.txt|_darknet\.labels|[^/]+\.names)")
MAX_NAMES_BYTES = 2**16
LEAST_OUTLINE = 7  # numbers of a line: a class and three points
FARTHEST = 2.0  # a share beyond which it is a pixel
LINE = "wanted are class, x and y of the centre, width and height, as shares of the image from 0 to 1"


def find_yolo(files: MarkedFiles) -> dict[str, str]:
    """Return by image the text of its boxes, where the data are YOLO's; {} where they are not. Raises DataError."""
    texts = {name for name in files.others if name.lower().endswith(".txt")}
    if not texts:
        return {}
    beside = {_text_of(image): image for image in files.images.files}
    found = {}
    for text in sorted(texts):
        stem = text.rpartition(".")[0]
        if image := beside.get(stem):
            found[image] = text
    return found if any(_is_boxes(files, text) for text in list(found.values())[:20]) else {}


def _text_of(image: str) -> str:
    """Return where the text of an image lies, without its ending: in labels/ where the image is in images/."""
    parts = image.rpartition(".")[0].split("/")
    places = [place for place, part in enumerate(parts[:-1]) if part.lower() == "images"]
    if places:
        parts[places[-1]] = "labels"
    return "/".join(parts)


def _is_boxes(files: MarkedFiles, text: str) -> bool:
    words = files.read_text(text).split("\n")[0].split()
    return len(words) >= 5 and all(re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", word) for word in words)


def read_yolo(files: MarkedFiles, found: Mapping[str, str]) -> Read:
    """Return what YOLO's files say; an image without one has no boxes. Raises DataError."""
    names, where = _read_names(files)
    marks = {image: _read_boxes(files, text, names, where) for image, text in found.items()}
    sheets = [
        Sheet(image, marks.get(image, ()), files.split_of(image), shares=True) for image in files.images.files
    ]  # fmt: skip
    notes, texts = [], {*found.values()}
    if not names:
        notes.append(
            "no file says the names of the classes (data.yaml, classes.txt), so they are called by their numbers"
        )
    if missing := sorted({*files.images.files} - found.keys()):
        notes.append(
            f"{count_noun(len(missing), 'image')} without a text file, taken as without boxes: {some_names(missing, 3)}"
        )
    lost = [text for text in files.others if text.lower().endswith(".txt") and "labels" in text.split("/")[:-1]]
    if alone := [text for text in lost if text not in texts and not NAMES.fullmatch(text)]:
        notes.append(f"{count_noun(len(alone), 'text file')} whose image is not there: {some_names(alone, 3)}")
    return Read(sheets, names, [], notes)


def _read_names(files: MarkedFiles) -> tuple[list[str], str]:
    """Return the names of the classes, and where they stand; [] where nowhere. Raises DataError."""
    found = {name: names for name in files.others if (names := _names_in(files, name))}
    if len({*map(tuple, found.values())}) > 1:
        raise DataError(f"{files.where}: {some_names(found)} say different names of classes; keep one")
    return next(((names, name) for name, names in found.items()), ([], ""))


def _names_in(files: MarkedFiles, name: str) -> list[str]:
    if name.lower().endswith(YAML_ENDS):
        return _names_in_yaml(files.at(name), files.read_text(name, MAX_NAMES_BYTES))
    if NAMES.fullmatch(name):
        return [line.strip() for line in files.read_text(name, MAX_NAMES_BYTES).splitlines() if line.strip()]
    return []


def _names_in_yaml(at: str, text: str) -> list[str]:
    """Return what a data.yaml says as `names`, a list or by number; [] where it says none. Raises DataError."""
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise DataError(f"{at}: no YAML ({reason}); wanted is names: [class, class, ...]") from None
    if not isinstance(value, Mapping) or "names" not in value:
        return []
    names, count = value["names"], value.get("nc")
    if isinstance(names, Mapping) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(one, (str, int, float, bool)) for one in names):
        raise DataError(f"{at}: names are no list of words, nor numbered from 0; wanted is names: [class, class, ...]")
    if isinstance(count, int) and count != len(names):
        raise DataError(f"{at}: nc is {count}, but names has {len(names)}; mend one of them")
    return [str(one) for one in names]


def _read_boxes(files: MarkedFiles, text: str, names: Sequence[str], where: str) -> list[Mark]:
    marks = []
    for number, line in enumerate(files.read_text(text).splitlines(), 1):
        if not (words := line.split()):
            continue
        said = f"{files.at(text)}, line {number}"
        try:
            label, *values = map(float, words)
        except ValueError:
            raise DataError(f"{said}: {line.strip()[:80]!r}; {LINE}") from None
        if len(values) != 4 and (len(words) < LEAST_OUTLINE or len(values) % 2):
            kind = " (a sixth is a probability: these are predictions)" if len(words) == 6 else ""
            raise DataError(f"{said}: {len(words)} numbers{kind}; {LINE}")
        if not all(abs(value) <= FARTHEST for value in values):  # nor is one no number
            raise DataError(f"{said}: {line.strip()[:80]!r} has pixels, or no numbers; {LINE}")
        if label != int(abs(label)) or (names and label >= len(names)):
            allowed = f"{where} has 0 to {len(names) - 1}" if names else "a whole number from 0 is wanted"
            raise DataError(f"{said}: class {words[0]}; {allowed}")
        marks.append(Mark(_corners(values), names[int(label)] if names else str(int(label))))
    return marks


def _corners(values: Sequence[float]) -> tuple[float, float, float, float]:
    if len(values) == 4:
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
