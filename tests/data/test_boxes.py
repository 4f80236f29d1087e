import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.boxes import describe_boxes, open_boxes
from mnv2_sweep.data.cache import read_json
from tests.marked_samples import SCENES, Box, as_coco, as_table, as_voc, as_yolo, coco, picture, pictures, voc, write
from tests.photo_samples import must_not_decode

SHARED = Path(__file__).parents[3] / "shared" / "data"
BCCD = SHARED / "bccd" / "bccd.zip"
needs_bccd = pytest.mark.skipif(not BCCD.exists(), reason=f"{BCCD} is not on this machine")

FORMATS = {"coco": as_coco, "voc": as_voc, "yolo": as_yolo, "table": as_table}


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def found(data) -> dict[str, list[list]]:
    """{"train/a.png": [[class, left, top, right, bottom], ...]}"""
    boxes = {}
    for split, labels in data.labels.items():
        for name, own in zip(data.names[split], labels, strict=True):
            pairs = zip(own.classes.tolist(), own.corners.tolist(), strict=True)
            boxes[f"{split}/{name.rpartition('/')[2]}"] = [[data.classes[number], *box] for number, box in pairs]
    return boxes


WANTED = {
    f"{split}/{name}": [[*box] for box in sorted(boxes, key=lambda box: (box[1:], box[0]))]
    for name, (split, _, _, boxes) in SCENES.items()
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("form", FORMATS)
def test_each_format_gives_the_same_boxes_and_the_same_data(form, packed, tmp_path, cache):
    data = open_boxes(write(tmp_path / form, FORMATS[form](), packed), cache)
    assert found(data) == WANTED
    assert data.classes == ("cat", "dog") and data.skipped == ()
    other = open_boxes(write(tmp_path / "other", as_coco()), cache)
    assert data.fingerprint == other.fingerprint and data.names == other.names
    assert "images without boxes, in which nothing is to be found: 1 train" in data.notes


def test_opening_again_reads_no_image(tmp_path, cache):
    path = write(tmp_path / "set", as_voc())
    seen = []
    first = open_boxes(path, cache, lambda done, total: seen.append((done, total)))
    assert seen == [(number, 6) for number in range(1, 7)]
    again = open_boxes(path, cache, must_not_decode)
    assert (again.fingerprint, found(again), again.notes) == (first.fingerprint, found(first), first.notes)


@pytest.mark.parametrize("change", ["box", "class", "image", "difficult"])
def test_another_box_class_or_pixel_is_other_data(change, tmp_path, cache):
    files = as_voc()
    first = open_boxes(write(tmp_path / "first", files), cache)
    name, image = "VOC/Annotations/b.xml", "VOC/JPEGImages/b.png"
    if change == "image":
        files[image] = picture("another", 30, 40)
    else:
        old, new = {"box": ("9.25", "9.26"), "class": (">dog<", ">cat<"), "difficult": ("t>0<", "t>1<")}[change]
        files[name] = files[name].replace(old.encode(), new.encode())
    assert open_boxes(write(tmp_path / "second", files), cache).fingerprint != first.fingerprint


# ---------------------------------------------------------------- pixels and boxes together


def test_squashed_images_stretch_their_boxes(tmp_path, cache):
    data = open_boxes(write(tmp_path / "set", as_coco()), cache)
    assert data.fit == "squash"
    pixels, boxes = data.pixels("train", Size(60, 20)), data.boxes("train", Size(60, 20))
    assert pixels.shape == (3, 60, 20, 3) and not pixels.flags.writeable
    assert boxes[0].corners.tolist() == [[0.5, 4, 5.5, 44], [10.25, 8, 20, 60]]  # a half in x, double in y


def test_padded_images_move_their_boxes(tmp_path, cache):
    path = write(tmp_path / "set", as_coco())
    data = open_boxes(path, cache, options=PhotoOptions(fit="pad"))
    usual = open_boxes(path, cache)
    assert data.fingerprint != usual.fingerprint and data.name == f"{usual.name}-pad"
    boxes, pixels = data.boxes("train", square(40)), data.pixels("train", square(40))
    assert boxes[0].corners.tolist() == [[1, 7, 11, 27], [20.5, 9, 40, 35]]  # 40 x 30: 5 rows of grey above
    assert boxes[1].corners.tolist() == [[8, 3, 14.25, 8.5]]  # 30 x 40
    assert (pixels[0, :5] == 128).all() and (pixels[0, 35:] == 128).all()
    assert (pixels[0, 5:35] == np.asarray(Image.open(path / "train" / "a.png"))).all()


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_what_a_box_frames_stays_in_its_box_at_any_size(fit, tmp_path, cache):
    """A white rectangle on black, drawn where its box says."""
    files, scenes = {}, {}
    for number, (width, height) in enumerate([(64, 48), (48, 64), (90, 30)]):
        name, box = f"{number}.png", Box("cat", 12, 9, 33, 24)
        scenes[name] = ("train", width, height, [box])
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[9:24, 12:33] = 255
        Image.fromarray(pixels).save(tmp_path / name)
        files[f"images/{name}"] = (tmp_path / name).read_bytes()
    files["labels.json"] = json.dumps(coco(scenes)).encode()
    data = open_boxes(write(tmp_path / "set", files), cache, options=PhotoOptions(fit=fit))
    for size in (square(96), Size(40, 80)):
        for split in data.labels:
            for image, boxes in zip(data.pixels(split, size), data.boxes(split, size), strict=True):
                rows, columns = np.nonzero(image[..., 0] > 191 if fit == "pad" else image[..., 0] > 127)
                edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert np.abs(boxes.corners[0] - edges).max() <= 1


@pytest.mark.parametrize("said", ["stored", "upright"])
def test_boxes_of_images_that_exif_turns_lie_in_the_upright_image(said, tmp_path, cache):
    """Drawn into the image as it is stored, or as it is shown: the annotation's size tells."""
    stored = np.zeros((30, 40, 3), np.uint8)
    stored[4:9, 25:37] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees to the right
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    box, size = (Box("cat", 25, 4, 37, 9), (40, 30)) if said == "stored" else (Box("cat", 21, 25, 26, 37), (30, 40))
    files = {f"{name}.png": (tmp_path / "a.png").read_bytes() for name in "ab"}
    files |= {f"{name}.xml": voc(f"{name}.png", *size, [box]) for name in "ab"}
    data = open_boxes(write(tmp_path / "set", files), cache)
    pixels = data.pixels("train", Size(40, 30))[0]
    rows, columns = np.nonzero(pixels[..., 0])
    assert data.labels["train"].corners.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert data.images.sizes["train"].tolist() == [[40, 30]]
    assert any("and their boxes with them" in note for note in data.notes) == (said == "stored")


def test_turns_of_which_no_size_tells_are_said(tmp_path, cache):
    files = {f"{name}.png": picture(name, orientation=3) for name in "ab"}
    files |= {f"{name}.xml": voc(f"{name}.png", 40, 30, [Box("cat", 1, 1, 9, 9)]) for name in "ab"}
    data = open_boxes(write(tmp_path / "set", files), cache)
    assert data.labels["train"].corners.tolist() == [[1, 1, 9, 9]]
    assert any(note.startswith("2 images turned by EXIF, where no size tells") for note in data.notes)


# ---------------------------------------------------------------- splits


def many(count: int, prefix: str = "") -> dict[str, tuple]:
    return {f"{prefix}{number}.png": ("train", 40, 30, [Box("cat", 1, 2, 9, 9)]) for number in range(count)}


def test_a_part_is_held_out_the_same_whatever_the_layout(tmp_path, cache):
    scenes = many(20)
    flat = open_boxes(
        write(tmp_path / "a", pictures("", scenes) | {"x.json": json.dumps(coco(scenes)).encode()}), cache
    )
    folders = pictures("deep/images/", scenes)
    folders |= {f"deep/xml/{name[:-4]}.xml": voc(name, 40, 30, boxes) for name, (*_, boxes) in scenes.items()}
    deep = open_boxes(write(tmp_path / "b", folders), cache)
    assert len(flat.names["val"]) == 3 and flat.names == deep.names and flat.fingerprint == deep.fingerprint
    more = scenes | {"new.png": ("train", 40, 30, [Box("cat", 1, 2, 9, 9)])}
    grown = open_boxes(write(tmp_path / "c", pictures("", more) | {"x.json": json.dumps(coco(more)).encode()}), cache)
    assert len({*flat.names["val"]} & {*grown.names["val"]}) >= 2  # a new one takes the place of one at most


def test_groups_stay_in_one_split(tmp_path, cache):
    scenes = {
        f"p{person}_{number}.png": ("", 40, 30, [Box("cat", 1, 2, 9, 9)]) for person in range(6) for number in "ab"
    }
    files = pictures("", scenes) | {"x.json": json.dumps(coco(scenes)).encode()}
    data = open_boxes(write(tmp_path / "a", files), cache, options=PhotoOptions(group_pattern="p[0-9]+"))
    people = {split: {name.split("_")[0] for name in own} for split, own in data.names.items()}
    assert people["val"] and not people["val"] & people["train"]


def test_images_of_which_nothing_is_said_are_left_out_and_said(tmp_path, cache):
    scenes = many(4)
    files = pictures("", scenes) | {"x.json": json.dumps(coco(scenes)).encode(), "extra.png": picture("extra")}
    data = open_boxes(write(tmp_path / "a", files), cache)
    assert "left out 1 image that no annotation names: 'extra.png'" in data.notes


def test_what_is_named_but_not_there_unreadable_or_of_another_size_is_listed(tmp_path, cache):
    scenes = many(5)
    files = pictures("", scenes) | {"x.json": json.dumps(coco(scenes)).encode()}
    del files["0.png"]
    files["1.png"] = b"no image"
    files["2.png"] = picture("other", 20, 15)
    data = open_boxes(write(tmp_path / "a", files), cache)
    assert data.skipped == (
        ("0.png", "named in x.json, not in the data"),
        ("1.png", "not an image, or its header is damaged"),
        ("2.png", "is 20x15, its boxes are said to be of 40x30"),
    )


def test_classes_that_a_split_lacks_and_classes_without_boxes_are_said(tmp_path, cache):
    scenes = dict(SCENES)
    scenes["f.png"] = ("test", 24, 24, [Box("dog", 5, 6, 7, 9)])
    files = as_coco(scenes)
    for split in ("train", "val", "test"):
        value = json.loads(files[f"{split}/_annotations.coco.json"])
        value["categories"].append({"id": 0, "name": "animals"})
        files[f"{split}/_annotations.coco.json"] = json.dumps(value).encode()
    data = open_boxes(write(tmp_path / "a", files), cache)
    assert data.classes == ("cat", "dog")
    assert "classes without any box are left out: 'animals'" in data.notes
    assert "test has no box of class 'cat', so its score there says nothing" in data.notes
    assert data.count_boxes("test").tolist() == [0, 1] and data.count_images("val").tolist() == [2, 1]


def test_what_became_of_boxes_and_odd_ones_are_counted(tmp_path, cache):
    files = as_voc()
    odd = [Box("cat", -3, 2, 9, 9), Box("cat", 50, 2, 60, 9), Box("dog", 4, 4, 4, 9), *[Box("dog", 1, 1, 5, 5)] * 2]
    files["VOC/Annotations/b.xml"] = voc("b.png", 30, 40, odd, difficult=1)
    data = open_boxes(write(tmp_path / "a", files), cache)
    assert found(data)["train/b.png"] == [["cat", 0, 2, 9, 9], ["dog", 1, 1, 5, 5]]
    assert {
        "1 box cut at the image's edge", "1 box left out: outside of the image", "1 box left out: without area",
        "1 box left out: there twice", "2 boxes said to be difficult: neither to be learnt nor counted as missed",
    } <= {*data.notes}  # fmt: skip
    own = data.boxes("train", square(16))[1]
    assert own.difficult.all() and not own.crowd.any()


def test_copies_across_splits_are_said(tmp_path, cache):
    files = as_yolo()
    files["set/val/images/d.png"] = files["set/train/images/a.png"]
    data = open_boxes(write(tmp_path / "a", files), cache)
    assert any(note.startswith("1 val images are exact copies of training images") for note in data.notes)


# ---------------------------------------------------------------- the cache


def test_an_image_that_changed_is_not_decoded(tmp_path, cache):
    path = write(tmp_path / "set", as_coco())
    data = open_boxes(path, cache)
    (path / "val" / "d.png").write_bytes(picture("another"))
    assert data.pixels("train", square(16)).shape == (3, 16, 16, 3)
    with pytest.raises(DataError, match="'val/d.png' is not what it was"):
        data.pixels("val", square(16))
    (path / "val" / "d.png").unlink()
    with pytest.raises(DataError, match="'val/d.png' is not what it was"):
        data.pixels("val", square(16))


def test_a_damaged_index_is_made_anew_and_said(tmp_path, cache):
    path, said = write(tmp_path / "set", as_coco()), []
    first = open_boxes(path, cache)
    file = first.images.folder / "index.json"
    file.write_bytes(file.read_bytes().replace(b'"counts": [2', b'"counts": [3'))
    again = open_boxes(path, cache, say=said.append)
    assert found(again) == found(first) and len(said) == 1 and "built anew" in said[0]
    assert read_json(file) is not None


def test_another_index_in_the_place_of_one_is_not_taken_for_it(tmp_path, cache):
    path = write(tmp_path / "set", as_coco())
    first = open_boxes(path, cache)
    other = open_boxes(write(tmp_path / "other", as_coco(dict([*SCENES.items()][:5]))), cache)
    for name in ("index.json", "index.json.crc"):
        (first.images.folder / name).write_bytes((other.images.folder / name).read_bytes())
    again = open_boxes(path, cache)
    assert again.fingerprint == first.fingerprint and found(again) == found(first)


def test_sixteen_bit_greys_keep_the_range_that_the_set_uses(tmp_path, cache):
    files, scenes = {}, {}
    for number in range(2):
        name = f"{number}.png"
        scenes[name] = ("", 40, 30, [Box("cat", 1, 2, 9, 9)])
        grey = np.full((30, 40), 4095, np.uint16)
        Image.fromarray(grey).save(tmp_path / name)
        files[name] = (tmp_path / name).read_bytes()
    data = open_boxes(write(tmp_path / "a", files | {"x.json": json.dumps(coco(scenes)).encode()}), cache)
    assert (data.pixels("train", square(8)) == 255).all()


def test_options_that_say_classes_of_photos_are_refused(tmp_path, cache):
    with pytest.raises(DataError, match="--label-pattern: says the class of a photo"):
        open_boxes(write(tmp_path / "a", as_coco()), cache, options=PhotoOptions(label_pattern="{label}/*"))


# ---------------------------------------------------------------- real data


@needs_bccd
def test_bccd_is_read_as_its_readme_says(cache):
    data = open_boxes(BCCD, cache)
    assert data.classes == ("Platelets", "RBC", "WBC") and data.skipped == ()
    counts = {split: (len(labels), *data.count_boxes(split).tolist()) for split, labels in data.labels.items()}
    assert counts == {"train": (205, 209, 2381, 214), "val": (87, 83, 967, 87), "test": (72, 69, 805, 71)}
    assert describe_boxes(data) == [
        "images    205 train with 2,804 boxes, 87 val with 1,137 boxes, 72 test with 945 boxes",
        "classes   Platelets 209, RBC 2,381, WBC 214 (boxes for training)",
        "boxes     sides of 21, 51 and 83 px (5, 50 and 95 % are smaller), as the images are",
        "fit       squash: all of each image, stretched",
    ]


@needs_bccd
def test_bccd_in_another_format_is_the_same_data(tmp_path, cache):
    data, files = open_boxes(BCCD, cache), {}
    with zipfile.ZipFile(BCCD) as archive:
        for split, labels in data.labels.items():
            for name, boxes in zip(data.names[split], labels, strict=True):
                stem = Path(name).stem
                files[f"{split}/images/{stem}.jpg"] = archive.read(f"images/{stem}.jpg")
                pairs = zip(boxes.classes.tolist(), boxes.corners.astype(np.float64).round(2).tolist(), strict=True)
                files[f"{split}/xml/{stem}.xml"] = voc(
                    name, 320, 240, [Box(data.classes[at], *box) for at, box in pairs]
                )
    other = open_boxes(write(tmp_path / "voc", files, packed=True), cache)
    assert other.fingerprint == data.fingerprint


CAT = [Box("cat", 1, 2, 9, 9)]
UNUSABLE = {
    "no image": ({"x.json": b"{}"}, "no image in it"),
    "no box": ({"x.json": {"a.png": ("", 40, 30, []), "b.png": ("", 40, 30, [])}}, "not one of 2 images has a box"),
    "one image": ({"x.json": {"a.png": ("", 40, 30, CAT)}}, "1 image to train on"),
    "all of another size": (
        {"x.json": {"a.png": ("", 80, 60, CAT), "b.png": ("", 80, 60, CAT)}},
        "not one of 2 images can be used; the first is 'a.png': is 40x30, its boxes are said to be of 80x60",
    ),
    "none there": ({"x.json": {"y.png": ("", 40, 30, CAT)}}, "the first is 'y.png': named in x.json, not in the data"),
    "no train": ({"val/x.json": {"val/a.png": ("", 40, 30, CAT)}}, "images of 'val' but none of train"),
    "a split of some": (
        {"x.json": {"val/a.png": ("", 40, 30, CAT), "b.png": ("", 40, 30, CAT)}}, "'b.png' has no split",
    ),
    "a split without boxes": (
        {"x.json": {"val/a.png": ("", 40, 30, []), "train/b.png": ("", 40, 30, CAT)}}, "val has 1 image and no box",
    ),
    "a class of two lines": ({"a.xml": voc("a.png", 40, 30, []), "b.xml": b""}, "b.xml: no XML"),
    "an image of two lists": (
        {"x.json": {"a.png": ("", 40, 30, CAT)}, "train.txt": b"a", "val.txt": b"a.png"},
        "the lists of train and val both name 'a.png'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_data_that_cannot_be_used_say_why_in_one_line_and_leave_no_cache(name, tmp_path, cache):
    files, said = UNUSABLE[name]
    scenes = {key: value for own in files.values() if isinstance(own, dict) for key, value in own.items()}
    written = {key: json.dumps(coco(own)).encode() if isinstance(own, dict) else own for key, own in files.items()}
    images = {one: picture(one) for one in scenes or {"a.png": 0}} if name != "no image" else {}
    if name == "none there":
        images = {"a.png": picture("a")}
    with pytest.raises(DataError) as caught:
        open_boxes(write(tmp_path / "set", images | written), cache)
    text = str(caught.value)
    assert said in text and text.startswith(str(tmp_path)) and "\n" not in text and not cache.exists()


def test_a_cache_within_the_data_is_refused(tmp_path):
    path = write(tmp_path / "set", as_coco())
    with pytest.raises(DataError, match="the cache lies inside the data folder"):
        open_boxes(path, path / "cache")


def test_lists_choose_images_and_the_rest_is_left_out(tmp_path, cache):
    files = as_voc()
    files["VOC/ImageSets/Main/train.txt"] = b"a\nc\n"
    data = open_boxes(write(tmp_path / "set", files), cache)
    assert data.names["train"] == ["train/a.png", "train/c.png"]
    assert any(note.startswith("left out 1 image that no list names: 'VOC/JPEGImages/b.png'") for note in data.notes)
