"""What each format has of its own."""

import json

import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.box_files import read_boxes
from mnv2_sweep.data.files import open_photo_files
from mnv2_sweep.data.marked_files import list_marked, split_by_name
from mnv2_sweep.data.voc import parse_xml
from tests.marked_samples import SCENES, Box, as_coco, as_voc, as_yolo, coco, picture, pictures, voc, write

ONE = {"a.png": ("", 40, 30, [Box("cat", 1, 2, 11, 22)])}
CAT_AND_DOG = {"a.png": ("", 40, 30, [Box("cat", 9, 9, 11, 12), Box("dog", 1, 2, 3, 4)])}


def read(tmp_path, files: dict[str, bytes]):
    return read_boxes(list_marked(open_photo_files(write(tmp_path / "set", files))))


def marks(found) -> dict[str, list[tuple]]:
    return {sheet.image: [(mark.label, *mark.corners) for mark in sheet.marks] for sheet in found.sheets}


@pytest.mark.parametrize(
    "name, split",
    [
        ("instances_train2017.json", "train"), ("annotations/instances_val2017.json", "val"), ("labels.json", ""),
        ("valid/_annotations.coco.json", "val"), ("train/test.json", "test"), ("train_val.json", ""),
    ],
)  # fmt: skip
def test_the_split_of_a_file_is_in_its_name_or_its_folder(name, split):
    assert split_by_name(name) == split


def test_formats_are_said_and_the_first_is_read(tmp_path):
    found = read(tmp_path, as_voc(ONE | SCENES) | {"all.json": json.dumps(coco(ONE)).encode()})
    assert found.notes[0] == "boxes as COCO json; not read are those as Pascal VOC xml"
    assert [*marks(found)] == ["VOC/JPEGImages/a.png"]


# ---------------------------------------------------------------- COCO


def test_ids_that_are_zero_missing_or_twice_lose_no_box(tmp_path):
    value = coco({"a.png": ("", 40, 30, [Box("cat", 1, 2, 3, 4), Box("dog", 5, 6, 7, 8), Box("cat", 9, 9, 12, 12)])})
    value["images"][0]["id"] = 0
    for annotation, own in zip(value["annotations"], (0, 0, None), strict=True):
        annotation |= {"id": own, "image_id": 0}
    del value["annotations"][2]["id"]
    found = read(tmp_path, pictures("") | {"x.json": json.dumps(value).encode()})
    assert len(marks(found)["a.png"]) == 3
    assert "x.json: 1 annotation has the id of another; boxes are known by no ids" in found.notes


def test_crowds_and_ignored_ones_are_marked(tmp_path):
    value = coco(ONE)
    value["annotations"][0] |= {"iscrowd": 1, "ignore": 1}
    (sheet,) = read(tmp_path, pictures("") | {"x.json": json.dumps(value).encode()}).sheets
    assert (sheet.marks[0].crowd, sheet.marks[0].difficult, sheet.said) == (True, True, Size(30, 40))


def test_captions_and_keypoints_beside_instances_are_not_read(tmp_path):
    captions = {"images": [], "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}
    files = pictures("train2017/", ONE) | {
        "annotations/captions_train2017.json": json.dumps(captions).encode(),
        "annotations/instances_train2017.json": json.dumps(coco(ONE)).encode(),
        "annotations/person_keypoints_train2017.json": json.dumps(coco(CAT_AND_DOG)).encode(),
    }
    found = read(tmp_path, files)
    assert marks(found) == {"train2017/a.png": [("cat", 1, 2, 11, 22)]} and found.sheets[0].split == "train"


def test_boxes_of_an_image_in_several_files_of_a_split_are_taken_together(tmp_path):
    texts = {f"train_{number}.json": json.dumps(coco(one)).encode() for number, one in enumerate((ONE, CAT_AND_DOG))}
    found = read(tmp_path, pictures("", ONE) | texts)
    assert marks(found) == {"a.png": [("cat", 1, 2, 11, 22), ("cat", 9, 9, 11, 12), ("dog", 1, 2, 3, 4)]}


def test_names_with_folders_of_elsewhere_find_their_images(tmp_path):
    value = coco(ONE)
    value["images"][0]["file_name"] = "C:\\Users\\me\\images\\a.png"
    assert [*marks(read(tmp_path, pictures("images/") | {"x.json": json.dumps(value).encode()}))] == ["images/a.png"]


def test_an_image_that_is_listed_twice_has_the_boxes_of_both(tmp_path):
    value = coco(ONE)
    value["images"].append({"id": 7, "file_name": "a.png", "width": 40, "height": 30})
    value["annotations"].append({"id": 9, "image_id": 7, "category_id": 2, "bbox": [1, 1, 2, 2]})
    found = read(tmp_path, pictures("") | {"x.json": json.dumps(value).encode()})
    assert marks(found)["a.png"] == [("cat", 1, 2, 11, 22), ("dog", 1, 1, 3, 3)]
    assert "x.json: 1 image stands in it twice; the boxes of both are taken together" in found.notes


# ---------------------------------------------------------------- VOC


def test_the_name_of_the_file_counts_before_the_one_in_it(tmp_path):
    files = {"a.png": picture("a"), "b.png": picture("b")}
    files |= {f"{name}.xml": voc("b.png", 40, 30, [Box("cat", 1, 1, 5, 5)]) for name in "ab"}
    assert [*marks(read(tmp_path, files))] == ["a.png", "b.png"]


def test_difficult_objects_are_marked_parts_are_none_and_a_size_of_zero_says_nothing(tmp_path):
    text = voc("a.png", 0, 0, [Box("person", 1, 1, 30, 25)], difficult=1).decode()
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
    text = text.replace("</object>", f"{part}</object>")
    (sheet,) = read(tmp_path, {"a.png": picture("a"), "a.xml": text.encode()}).sheets
    assert [(mark.label, mark.difficult) for mark in sheet.marks] == [("person", True)] and sheet.said is None


def test_files_without_an_image_are_listed(tmp_path):
    files = {"a.png": picture("a"), "a.xml": voc("a.png", 40, 30, []), "z.xml": voc("z.png", 40, 30, [])}
    assert read(tmp_path, files).left_out == [("z.xml", "no image of that name, nor 'z.png', is in the data")]


def test_entities_and_depth_are_refused_at_once():
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha"}">' for n in range(40))
    with pytest.raises(DataError, match="x.xml: declares the entity 'a0'"):
        parse_xml("x.xml", f"<!DOCTYPE a [{laughs}]><annotation>&a39;</annotation>".encode())
    with pytest.raises(DataError, match="declares the entity 'file'"):
        parse_xml("x.xml", b'<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/passwd">]><annotation>&file;</annotation>')
    with pytest.raises(DataError, match="more than 32 elements inside each other"):
        parse_xml("x.xml", b"<annotation>" * 100_000)


# ---------------------------------------------------------------- YOLO


@pytest.mark.parametrize(
    "names",
    ["names:\n  0: cat\n  1: dog\n", "nc: 2\nnames: ['cat', dog]\n", "names: [cat,\n  dog]\nroboflow: {a: 1}\n"],
)
def test_names_stand_in_data_yaml_in_any_form(names, tmp_path):
    files = as_yolo(SCENES) | {"set/data.yaml": names.encode()}
    assert read(tmp_path, files).classes == ["cat", "dog"]


@pytest.mark.parametrize("where", ["classes.txt", "obj.names", "train/_darknet.labels"])
def test_names_stand_a_line_each(where, tmp_path):
    files = {"train/a.jpg": picture("a", form="JPEG"), "train/a.txt": b"1 0.5 0.5 0.5 0.5", where: b"cat\n\ndog\n"}
    assert marks(read(tmp_path, files)) == {"train/a.jpg": [("dog", 0.25, 0.25, 0.75, 0.75)]}


def test_names_that_nothing_says_are_numbers(tmp_path):
    found = read(tmp_path, {"images/a.png": picture("a"), "labels/a.txt": b"11 .5 .5 .5 .5\n2 .5 .5 .5 .5\n"})
    assert [label for label, *_ in marks(found)["images/a.png"]] == ["11", "2"]
    assert any("called by their numbers" in note for note in found.notes)


def test_images_may_lie_in_folders_of_splits_within_images(tmp_path):
    files = {f"images/{split}/{split}.png": picture(split) for split in ("train", "val")}
    files |= {f"labels/{split}/{split}.txt": b"0 .5 .5 .5 .5" for split in ("train", "val")}
    found = read(tmp_path, files)
    assert {sheet.image: sheet.split for sheet in found.sheets} == {
        "images/train/train.png": "train", "images/val/val.png": "val",
    }  # fmt: skip


def test_outlines_are_framed_and_a_missing_file_means_no_boxes(tmp_path):
    files = {"images/a.png": picture("a"), "images/b.png": picture("b")}
    files |= {"labels/a.txt": b"0 0.1 0.2 0.5 0.1 0.3 0.9\n", "labels/z.txt": b"0 .5 .5 .5 .5"}
    found = read(tmp_path, files)
    assert marks(found) == {"images/a.png": [("0", 0.1, 0.1, 0.5, 0.9)], "images/b.png": []}
    assert "1 image without a text file, taken as without boxes: 'images/b.png'" in found.notes
    assert "1 text file whose image is not there: 'labels/z.txt'" in found.notes


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    "text",
    [
        "image_id,x,y,w,h,label\na,1,2,10,20,cat\n",
        "filename;x1;y1;x2;y2;class\na.png;1;2;11;22;cat\n",
        "path,left,top,width,height,category\nimages/a.png,1,2,10,20,cat\n",
        'image_id,width,height,bbox,species\na,40,30,"[1.0, 2.0, 10.0, 20.0]",cat\n',
        "images/a.png,1,2,11,22,cat\n",
        "ImageID,LabelName,XMin,XMax,YMin,YMax\na,cat,1,11,2,22\n",
    ],
    ids=["kaggle", "semicolons", "sides", "one column", "no header", "open images"],
)
def test_columns_are_found_by_their_names(text, tmp_path):
    found = read(tmp_path, {"images/a.png": picture("a"), "train.csv": text.encode()})
    assert marks(found) == {"images/a.png": [("cat", 1, 2, 11, 22)]}


def test_shares_are_known_by_their_values_and_said(tmp_path):
    text = "ImageID,LabelName,XMin,XMax,YMin,YMax\na,cat,0.25,0.5,0,1\n"
    found = read(tmp_path, {"a.png": picture("a"), "boxes.csv": text.encode()})
    assert found.sheets[0].shares and marks(found)["a.png"] == [("cat", 0.25, 0, 0.5, 1)]
    assert "'boxes.csv': boxes are shares of their image from 0 to 1" in found.notes


def test_a_table_without_classes_has_one_and_a_row_without_a_box_an_image_without(tmp_path):
    text = "image,xmin,ymin,xmax,ymax\na,1,2,3,4\nb,,,,\nc,1,1,2,2\n"
    found = read(tmp_path, {"a.png": picture("a"), "b.png": picture("b"), "x.csv": text.encode()})
    assert marks(found) == {"a.png": [("object", 1, 2, 3, 4)], "b.png": []}
    assert found.left_out == [("c", "named in x.csv, not in the data")]
    assert "x.csv: no column says a class, so all boxes are of one, 'object'" in found.notes


def test_splits_stand_in_a_column_or_in_the_tables_names(tmp_path):
    head = "filename,xmin,ymin,xmax,ymax,class"
    files = {f"{name}.png": picture(name) for name in "ab"}
    column = read(
        tmp_path / "1", files | {"x.csv": f"{head},split\na.png,1,2,3,4,x,training\nb.png,1,2,3,4,x,valid".encode()}
    )
    names = read(
        tmp_path / "2",
        files
        | {
            f"{split}_labels.csv": f"{head}\n{one}.png,1,2,3,4,x".encode()
            for split, one in (("train", "a"), ("val", "b"))
        },
    )
    for found in (column, names):
        assert {sheet.image: sheet.split for sheet in found.sheets} == {"a.png": "train", "b.png": "val"}


# ---------------------------------------------------------------- broken ones


def changed(**parts) -> bytes:
    return json.dumps(coco(ONE) | parts).encode()


def annotation(**parts) -> bytes:
    value = coco(ONE)
    value["annotations"][0] |= parts
    return json.dumps(value).encode()


def voc_text(old: str, new: str) -> bytes:
    return voc("a.png", 40, 30, [Box("cat", 1, 2, 11, 22)]).decode().replace(old, new).encode()


TABLE = "filename,xmin,ymin,xmax,ymax,class\n"
BROKEN = {
    "no boxes at all": ({}, "no boxes; wanted are COCO json"),
    "json that is cut": ({"x.json": changed()[:200]}, "x.json: no JSON"),
    "json that is deep": ({"x.json": b"[" * 200_000}, "x.json: no JSON"),
    "no categories": (
        {"x.json": json.dumps({**coco(ONE), "categories": []}).encode()}, "x.json: 'categories' is empty",
    ),
    "annotations that are no list": ({"x.json": changed(annotations={"a": 1})}, "'annotations' is no list of objects"),
    "an id of two images": (
        {"x.json": changed(images=[{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}])},
        "image id 1 is 'a.png' and 'b.png'",
    ),
    "an image without a name": ({"x.json": changed(images=[{"id": 1}])}, "an image without id or file_name"),
    "a category of two names": (
        {"x.json": changed(categories=[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}])},
        "category id 1 is 'cat' and 'dog'",
    ),
    "an unknown category": (
        {"x.json": annotation(category_id=9)}, "category_id 9 is none of the categories: 1 cat, 2 dog",
    ),
    "an unknown image": ({"x.json": annotation(image_id=77)}, "image_id 77 is that of no image in the file"),
    "a box of three": ({"x.json": annotation(bbox=[1, 2, 3])}, "bbox [1, 2, 3]; wanted are left, top, width, height"),
    "a box that is no number": (
        {"x.json": annotation(bbox=[1, 2, float("nan"), 3])}, "annotation 0: bbox [1, 2, nan, 3]",
    ),
    "several files without splits": ({"x.json": changed(), "y.json": changed()}, "several COCO files, x.json, y.json"),
    "an image of two splits": (
        {"train.json": changed(), "val.json": changed()}, "COCO files differ in the split or size of 'a.png'",
    ),
    "xml that is cut": ({"a.xml": voc_text("</annotation>", "")}, "a.xml: no XML"),
    "an object without a box": ({"a.xml": voc_text("bndbox", "box")}, "object 1 (cat): no bndbox"),
    "an object without a name": ({"a.xml": voc_text("<name>cat</name>", "<name> </name>")}, "object 1: no name"),
    "a side that is a word": ({"a.xml": voc_text("<xmax>11<", "<xmax>wide<")}, "object 1 (cat): xmax is 'wide'"),
    "two files of an image": (
        {"1/a.xml": voc_text("", ""), "2/a.xml": voc_text("", "")}, "'1/a.xml' and '2/a.xml' are both of 'a.png'",
    ),
    "pixels for shares": ({"a.txt": b"0 12 13 10 10"}, "a.txt, line 1: '0 12 13 10 10' has pixels"),
    "predictions for boxes": ({"a.txt": b"0 .5 .5 .1 .1 .97"}, "a.txt, line 1: 6 numbers (a sixth is a probability"),
    "a word among numbers": (
        {"a.txt": b"0 .5 .5 .1 .1\ncat .5 .5 .1 .1"}, "a.txt, line 2: 'cat .5 .5 .1 .1'; wanted are",
    ),
    "a class beyond the names": (
        {"a.txt": b"2 .5 .5 .1 .1", "classes.txt": b"x\ny"}, "class 2; classes.txt has 0 to 1",
    ),
    "names that are not as many": (
        {"a.txt": b"0 .5 .5 .1 .1", "data.yaml": b"nc: 3\nnames: [x]"}, "nc is 3, but names has 1",
    ),
    "yaml that is none": ({"a.txt": b"0 .5 .5 .1 .1", "data.yaml": b"names: [x"}, "data.yaml: no YAML"),
    "two lists of names": (
        {"a.txt": b"0 .5 .5 .1 .1", "data.yaml": b"names: [x]", "classes.txt": b"y"}, "say different names of classes",
    ),
    "a cell that is a word": (
        {"x.csv": f"{TABLE}a.png,1,2,x,4,cat".encode()}, "x.csv, line 2: a box of '1', '2', 'x', '4'",
    ),
    "a row without a class": ({"x.csv": f"{TABLE}a.png,1,2,3,4,".encode()}, "x.csv, line 2: a box without a class"),
    "an unknown split": ({"x.csv": f"{TABLE[:-1]},split\na.png,1,2,3,4,x,later".encode()}, "line 2: split 'later'"),
    "a name of two images": (
        {"b/a.png": picture("2"), "c/a.png": picture("3"), "x.csv": f"{TABLE}d/a.png,1,2,3,4,x".encode()},
        "'d/a.png' may be 'a.png' or 'b/a.png'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_annotations_say_where_and_what_in_one_line(name, tmp_path):
    files, said = BROKEN[name]
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"a.png": picture("a")} | files)
    text = str(caught.value)
    assert said in text and text.startswith(str(tmp_path)) and "\n" not in text


def test_twenty_ways_to_break_annotations_are_tried():
    assert len(BROKEN) >= 20


def test_coco_beside_its_images_in_each_split(tmp_path):
    found = read(tmp_path, as_coco())
    assert {sheet.image: sheet.split for sheet in found.sheets} == {
        f"{split}/{name}": split for name, (split, *_) in SCENES.items()
    }


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.xml", b"<annotation>" + b" " * 2**22 + b"</annotation>"),
        ("a.txt", b"0 .5 .5 .1 .1\n" * 2**19),
        ("data.yaml", b"#" * 2**17),
    ],
)
def test_texts_that_are_too_large_are_refused_unread(name, data, tmp_path):
    files = {"a.png": picture("a"), "a.txt": b"0 .5 .5 .1 .1"} | {name: data}
    with pytest.raises(DataError) as caught:
        read(tmp_path, files)
    assert f"{name}: more than" in str(caught.value)


def test_yaml_that_stands_for_more_than_it_holds_is_no_list_of_names(tmp_path):
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    files = {"a.png": picture("a"), "a.txt": b"0 .5 .5 .1 .1", "data.yaml": f"{bomb}names: *a29".encode()}
    with pytest.raises(DataError, match="names are no list of words"):
        read(tmp_path, files)
