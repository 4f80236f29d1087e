import json

import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.asked import PhotoOptions, make_name
from mnv2_sweep.data.boxes import BoxData
from mnv2_sweep.data.marked import BOXES, CLASSES, MASKS, describe_marked, find_kind, kind_of_head, open_marked_data
from mnv2_sweep.data.masks import MaskData
from mnv2_sweep.nets.arch import HEADS
from tests.marked_samples import as_coco, as_masks, as_table, as_voc, as_yolo, coco, pictures, write
from tests.photo_samples import class_files

CLASS_FOLDERS = class_files({"cat": 3, "dog": 3})
FACES = class_files({"with_mask": 3, "without_mask": 3, "mask_weared_incorrect": 3})
FOUND = {
    "coco": (as_coco(), BOXES),
    "voc": (as_voc(), BOXES),
    "voc with masks of some": (as_voc() | {"VOC/SegmentationClass/a.png": pictures()["train/a.png"]}, MASKS),
    "yolo": (as_yolo(), BOXES),
    "table": (as_table(), BOXES),
    "masks": (as_masks(), MASKS),
    "masks in a folder": ({f"nuclei/{name}": data for name, data in as_masks().items()}, MASKS),
    "photos": (CLASS_FOLDERS, CLASSES),
    "photos in splits": (
        class_files({"cat": 3, "dog": 3}, "train/") | class_files({"cat": 2, "dog": 2}, "val/"),
        CLASSES,
    ),
    "faces": (FACES, CLASSES),
    "photos beside json": (CLASS_FOLDERS | {"x.json": json.dumps(coco({})).encode()}, CLASSES),
    "flat photos with a broken json": ({"a.png": pictures()["train/a.png"], "x.json": b"{"}, CLASSES),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_kind_is_found_by_what_is_there_and_photos_stay_photos(name, tmp_path):
    files, kind = FOUND[name]
    assert find_kind(str(write(tmp_path / "set", files))) == kind


def test_what_says_classes_of_photos_and_drawings_are_classes(tmp_path):
    path = write(tmp_path / "set", as_coco())
    assert find_kind(make_name(str(path), PhotoOptions(label_pattern="{label}/*"))) == CLASSES
    assert find_kind("shapes") == find_kind("nowhere") == CLASSES


def test_each_head_learns_from_a_kind():
    kinds = {head: kind_of_head(head) for head in HEADS}
    assert kinds == {
        "classifier": CLASSES, "ssdlite": BOXES, "ssd": BOXES, "yolov2": BOXES, "deeplabv3": MASKS
    }  # fmt: skip


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_data_are_opened_by_name_with_their_options(fit, tmp_path):
    options = PhotoOptions(fit=fit)
    boxes = open_marked_data(BOXES, make_name(str(write(tmp_path / "a", as_voc())), options), tmp_path / "cache")
    masks = open_marked_data(MASKS, make_name(str(write(tmp_path / "b", as_masks())), options), tmp_path / "cache")
    assert isinstance(boxes, BoxData) and isinstance(masks, MaskData) and boxes.fit == masks.fit == fit
    for data in (boxes, masks):
        lines = describe_marked(data)
        assert lines[0].startswith("images    3 train") and lines[-1].startswith(f"fit       {fit}: all of each image")


@pytest.mark.parametrize(
    "name, said",
    [
        ("shapes", "--data shapes: its images have a class each, no boxes"),
        ("nowhere", "--data nowhere: no such folder"),
    ],
)
def test_names_without_boxes_are_refused(name, said, tmp_path):
    with pytest.raises(DataError) as caught:
        open_marked_data(BOXES, name, tmp_path)
    assert str(caught.value).startswith(said)
