"""Images with boxes and masks made of noise, and the same boxes in each format."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.photo_samples import hash_of, write_folder, write_zip

CLASSES = ("cat", "dog")


class Box(NamedTuple):
    label: str
    left: float
    top: float
    right: float
    bottom: float


# Images by split and name, with width and height, and their boxes.
SCENES: dict[str, tuple[str, int, int, list[Box]]] = {
    "a.png": ("train", 40, 30, [Box("cat", 1, 2, 11, 22), Box("dog", 20.5, 4, 40, 30)]),
    "b.png": ("train", 30, 40, [Box("dog", 3, 3, 9.25, 8.5)]),
    "c.png": ("train", 32, 32, []),
    "d.png": ("val", 40, 30, [Box("cat", 0, 0, 40, 30)]),
    "e.png": ("val", 16, 48, [Box("dog", 2, 10, 14, 40), Box("cat", 2, 10, 14, 40)]),
    "f.png": ("test", 24, 24, [Box("cat", 5, 6, 7, 9)]),
}


def picture(name: str, width: int = 40, height: int = 30, form: str = "PNG", orientation: int = 1) -> bytes:
    """An image of noise, as it is stored."""
    out = io.BytesIO()
    noise = np.random.default_rng(hash_of(name)).integers(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.fromarray(noise).save(out, form, exif=exif)
    return out.getvalue()


def pictures(folder: str = "{split}/", scenes: Mapping = SCENES) -> dict[str, bytes]:
    return {
        folder.format(split=split) + name: picture(name, width, height)
        for name, (split, width, height, _) in scenes.items()
    }


def coco(scenes: Mapping = SCENES, split: str | None = None, classes: Sequence[str] = CLASSES, **more) -> dict:
    """A COCO file of the scenes, or of those of a split."""
    images, annotations = [], []
    for number, (name, (own, width, height, boxes)) in enumerate(scenes.items(), 1):
        if split not in (None, own):
            continue
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for box in boxes:
            bbox = [box.left, box.top, box.right - box.left, box.bottom - box.top]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": classes.index(box.label) + 1, "bbox": bbox}
                | {"area": bbox[2] * bbox[3], "iscrowd": 0}
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return {"images": images, "annotations": annotations, "categories": categories, **more}


def voc(name: str, width: int, height: int, boxes: Sequence[Box], difficult: int = 0) -> bytes:
    objects = "".join(
        f"<object><name>{box.label}</name><difficult>{difficult}</difficult><bndbox><xmin>{box.left}</xmin>"
        f"<ymin>{box.top}</ymin><xmax>{box.right}</xmax><ymax>{box.bottom}</ymax></bndbox></object>"
        for box in boxes
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>".encode()


def yolo(width: int, height: int, boxes: Sequence[Box], classes: Sequence[str] = CLASSES) -> bytes:
    lines = [
        f"{classes.index(box.label)} {(box.left + box.right) / 2 / width:.6f} "
        f"{(box.top + box.bottom) / 2 / height:.6f} "
        f"{(box.right - box.left) / width:.6f} {(box.bottom - box.top) / height:.6f}"
        for box in boxes
    ]
    return "\n".join(lines).encode()


def as_coco(scenes: Mapping = SCENES) -> dict[str, bytes]:
    """As Roboflow exports it: a file in each split's folder, and a category of which there is no box."""
    files = pictures("{split}/", scenes)
    for split in {scene[0] for scene in scenes.values()}:
        files[f"{split}/_annotations.coco.json"] = json.dumps(coco(scenes, split)).encode()
    return files


def as_voc(scenes: Mapping = SCENES) -> dict[str, bytes]:
    files = pictures("VOC/JPEGImages/", scenes)
    for name, (split, width, height, boxes) in scenes.items():
        files[f"VOC/Annotations/{name[:-4]}.xml"] = voc(name, width, height, boxes)
        listed = f"VOC/ImageSets/Main/{split}.txt"
        files[listed] = files.get(listed, b"") + f"{name[:-4]}\n".encode()
    return files


def as_yolo(scenes: Mapping = SCENES) -> dict[str, bytes]:
    files = pictures("set/{split}/images/", scenes)
    for name, (split, width, height, boxes) in scenes.items():
        files[f"set/{split}/labels/{name[:-4]}.txt"] = yolo(width, height, boxes)
    files["set/data.yaml"] = b"train: ../train/images\nval: ../val/images\nnc: 2\nnames: ['cat', 'dog']\n"
    return files


def as_table(scenes: Mapping = SCENES) -> dict[str, bytes]:
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax,split"]
    for name, (split, width, height, boxes) in scenes.items():
        for box in boxes:
            rows.append(f"{name},{width},{height},{box.label},{box.left},{box.top},{box.right},{box.bottom},{split}")
        if not boxes:
            rows.append(f"{name},{width},{height},,,,,,{split}")
    return pictures("images/", scenes) | {"boxes.csv": "\n".join(rows).encode()}


def mask_png(values: np.ndarray, palette: bool = True) -> bytes:
    """A PNG of class numbers [h, w], in palette colours or grey, or of colours [h, w, 3]."""
    out = io.BytesIO()
    image = Image.fromarray(values.astype(np.uint8))
    if palette and values.ndim == 2:
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768, np.uint8)))
    image.save(out, "PNG")
    return out.getvalue()


def some_mask(name: str, width: int = 40, height: int = 30, classes: int = 3) -> np.ndarray:
    """Class numbers in blocks, with some of which nothing is said."""
    small = np.random.default_rng(hash_of(name)).integers(0, classes + 1, (height // 4 + 1, width // 4 + 1))
    large = small.repeat(4, 0).repeat(4, 1)[:height, :width]
    return np.where(large == classes, 255, large).astype(np.uint8)


def as_masks(scenes: Mapping = SCENES) -> dict[str, bytes]:
    files = pictures("images/", scenes)
    for name, (split, width, height, _) in scenes.items():
        files[f"masks/{name}"] = mask_png(some_mask(name, width, height))
        files[f"{split}.txt"] = files.get(f"{split}.txt", b"") + f"{name[:-4]}\n".encode()
    return files


def write(root: Path, files: Mapping[str, bytes], packed: bool = False) -> Path:
    return write_zip(root.with_suffix(".zip"), dict(files)) if packed else write_folder(root, dict(files))
