"""Pascal VOC's XML files, one an image -> Sheets.

Coordinates are taken as they are: VOC's own begin at 1, most tools that write the format at 0, which is half a pixel
between them. Entities, which can stand for gigabytes or for other files, are refused.
"""

from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.annotations import Mark, Sheet
from mnv2_sweep.data.coco import Read, is_number
from mnv2_sweep.data.marked_files import MAX_TEXT_BYTES, MarkedFiles, folder_of, stem_of

ROOT = "annotation"
SIDES = ("xmin", "ymin", "xmax", "ymax")
MAX_DEPTH = 32
SIDES_TEXT = "wanted are xmin, ymin, xmax and ymax, in pixels"


def find_voc(files: MarkedFiles) -> dict[str, Element]:
    """Return the files of the data that are VOC's, by name. Raises DataError for a broken one."""
    names = [name for name in files.others if name.lower().endswith(".xml")]
    roots = ((name, parse_xml(files.at(name), files.read_bytes(name, MAX_TEXT_BYTES))) for name in names)
    return {name: root for name, root in roots if root.tag == ROOT}


def parse_xml(at: str, data: bytes) -> Element:
    """Return the root of an XML file, whose attributes are left out. Raises DataError, which says `at` which place."""
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(f"{at}: more than {MAX_DEPTH} elements inside each other; VOC's format needs 4")
        builder.start(tag, {})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*declared: object) -> None:
        raise DataError(f"{at}: declares the entity {declared[0]!r}; entities are not read, remove the declaration")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ParseError, ValueError) as error:
        raise DataError(f"{at}: no XML ({error}); export it again") from None


def read_voc(files: MarkedFiles, found: dict[str, Element]) -> Read:
    """Return what VOC's files say. Raises DataError."""
    sheets: dict[str, Sheet] = {}
    left_out, origin = [], {}
    for name, root in found.items():
        at = files.at(name)
        named = (root.findtext("filename") or "").strip()
        split = files.split_of(name)
        image = files.find_image(stem_of(name), folder_of(name), split, at)
        if image is None and named:
            image = files.find_image(named, folder_of(name), split, at)
        if image is None:
            left_out.append((name, f"no image of that name, nor {named!r}, is in the data"))
            continue
        if image in sheets:
            raise DataError(f"{files.where}: {origin[image]!r} and {name!r} are both of {image!r}; keep one")
        origin[image] = name
        marks = [_read_object(f"{at}: object {number}", one) for number, one in enumerate(root.findall("object"), 1)]
        sheets[image] = Sheet(image, marks, files.split_of(image), _read_size(root))
    return Read([*sheets.values()], [], left_out, [])


def _read_size(root: Element) -> Size | None:
    sides = [_number(root.findtext(f"size/{side}")) for side in ("height", "width")]
    return Size(*map(int, sides)) if all(side and side >= 1 for side in sides) else None


def _read_object(said: str, one: Element) -> Mark:
    label = " ".join((one.findtext("name") or "").split())
    if not label:
        raise DataError(f"{said}: no name, which is its class")
    said = f"{said} ({label})"
    if one.find("bndbox") is None:
        raise DataError(f"{said}: no bndbox; {SIDES_TEXT}")
    corners = tuple(_number(one.findtext(f"bndbox/{side}")) for side in SIDES)
    if None in corners:
        side = SIDES[corners.index(None)]
        raise DataError(f"{said}: {side} is {one.findtext(f'bndbox/{side}')!r}; {SIDES_TEXT}")
    return Mark(corners, label, difficult=(one.findtext("difficult") or "").strip() == "1")


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if is_number(value) else None
