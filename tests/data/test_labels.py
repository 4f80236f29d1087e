"""Tables, lists and names that say the classes of photos, through `open_photos`."""

import json
from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import square
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.photos import PhotoData, open_photos
from tests.photo_samples import BOTH, class_files, counts, split_files, write_folder, write_zip

GIVEN = split_files(train=BOTH, val={"cat": 3, "dog": 2}, test={"cat": 2, "dog": 2})
FLAT = {f"{split}_{label}_{name}": data for path, data in GIVEN.items() for split, label, name in [path.split("/")]}


def said(name: str) -> tuple[str, str]:
    """train_cat_0.png -> its split and class."""
    split, label, _ = name.split("_")
    return split, label


@pytest.fixture
def flat(tmp_path) -> Path:
    return write_folder(tmp_path / "pets", FLAT)


@pytest.fixture
def wanted(tmp_path) -> PhotoData:
    """The same photos with the same names, in folders."""
    files = {"/".join([*said(name), name]): data for name, data in FLAT.items()}
    return open_photos(write_folder(tmp_path / "wanted", files), tmp_path / "cache")


def read(path: Path, **options) -> PhotoData:
    return open_photos(path, path.parent / "cache2", options=PhotoOptions(**options))


def rows(sign: str = ",", ending: bool = True) -> list[str]:
    return [sign.join([name if ending else name[:-4], *reversed(said(name))]) for name in FLAT]


TABLES = {
    "csv": ("image,label,split", rows()),
    "csv-without-endings": ("id,breed,set", rows(ending=False)),
    "tsv": ("file_name\tclass\tpartition", rows("\t")),
    "semicolons": ("Photo;Category;Split", rows(";")),
    "quoted": ('"image","label","split"', [",".join(f'"{cell}"' for cell in row.split(",")) for row in rows()]),
    "other-columns": ("number,path,label,split", [f"{n},./some/where/{row}" for n, row in enumerate(rows())]),
    "windows-paths": ("image,label,split", [f"data\\pets\\{row}" for row in rows()]),
    "split-words": ("image,label,split", [row.replace(",train", ",Training") for row in rows()]),
}


TABLES |= {
    "a-column-a-class": (
        "image,split,cat,dog",
        [
            ",".join([name, said(name)[0], *(str(float(said(name)[1] == one)) for one in ("cat", "dog"))])
            for name in FLAT
        ],
    ),
    "other-endings": ("image,label,split", [row.replace(".png", ".JPG") for row in rows()]),
    "names-and-numbers": (
        "image,class_id,dx,split",
        [",".join([name, "7", *reversed(said(name))]) for name in FLAT],
    ),
    "numbers-among-others": (
        "image,width,class_id,split",
        [",".join([name, "640", *reversed(said(name))]) for name in FLAT],
    ),
}


@pytest.mark.parametrize("header, lines", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_says_what_folders_would(flat, wanted, header, lines, encoding):
    table = flat.parent / "labels.csv"
    table.write_text("\n".join([header, *lines]), encoding=encoding)
    data = read(flat, labels=(str(table),))
    assert (data.fingerprint, data.names, data.classes) == (wanted.fingerprint, wanted.names, wanted.classes)
    for split in data.labels:
        assert np.array_equal(data.pixels(split, square(12)), wanted.pixels(split, square(12)))
    assert not any("left out" in note for note in data.notes)


@pytest.mark.parametrize("sign", [" ", "\t", ","])
@pytest.mark.parametrize("stem", ["{}", "{}_labels", "my-{}"])
def test_a_list_a_split_says_it_too(flat, wanted, sign, stem):
    lists = []
    for split in ("train", "val", "test"):
        path = flat.parent / f"{stem.format(split)}.txt"
        path.write_text("".join(f"{name}{sign}{said(name)[1]}\n" for name in FLAT if said(name)[0] == split))
        lists.append(str(path))
    assert read(flat, labels=tuple(lists)).fingerprint == wanted.fingerprint


def test_lists_of_paths_take_the_class_from_the_folder(tmp_path):
    """As Food-101 has it: images/<class>/<name> and lists without endings."""
    files = class_files(BOTH, "images/")
    path = write_folder(tmp_path / "food", files)
    names = [name.removeprefix("images/")[:-4] for name in files]
    chosen = {"train": [n for n in names if not n.endswith("1")], "test": [n for n in names if n.endswith("1")]}
    for split, some in chosen.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(some))
    data = read(path, labels=(str(tmp_path / "train.txt"), str(tmp_path / "test.txt")))
    assert counts(data)["test"] == {"cat": 2, "dog": 1} and data.classes == ("cat", "dog")


def test_metadata_of_an_imagefolder_is_read_unasked(tmp_path):
    """As Hugging Face has it: metadata.csv, or JSON lines, beside the photos of each split."""
    files = {f"{split}/{name}": data for name, data in FLAT.items() for split, _ in [said(name)]}
    for split in ("train", "val", "test"):
        own = [name for name in FLAT if said(name)[0] == split]
        lines = [f"{name},{said(name)[1]}" for name in own]
        files[f"{split}/metadata.csv"] = "\n".join(["file_name,label", *lines]).encode()
    data = read(write_zip(tmp_path / "hub.zip", files))
    assert counts(data) == {"train": BOTH, "val": {"cat": 3, "dog": 2}, "test": {"cat": 2, "dog": 2}}
    for split in ("train", "val", "test"):
        own = [name for name in FLAT if said(name)[0] == split]
        del files[f"{split}/metadata.csv"]
        objects = [json.dumps({"file_name": name, "label": said(name)[1]}) for name in own]
        files[f"{split}/metadata.jsonl"] = "\n".join(objects).encode()
    assert read(write_zip(tmp_path / "lines.zip", files)).fingerprint == data.fingerprint


def test_metadata_beside_class_folders_is_not_read_and_that_is_said(tmp_path):
    files = class_files(BOTH) | {"metadata.csv": b"file_name,label\n"}
    data = read(write_folder(tmp_path / "d", files))
    assert any("'metadata.csv' is not read, as the photos lie in class folders" in note for note in data.notes)
    assert data.classes == ("cat", "dog")


def test_a_table_in_the_data_is_found_by_its_name(tmp_path):
    text = "\n".join(["image,label,split", *rows()]).encode()
    files = {f"wrap/images/{name}": data for name, data in FLAT.items()} | {"wrap/labels.csv": text}
    path = write_zip(tmp_path / "d.zip", files)
    with pytest.raises(DataError, match="'labels.csv' in it may say their classes: --labels labels.csv"):
        read(path)
    assert counts(read(path, labels=("labels.csv",)))["train"] == BOTH


def test_names_tell_classes_by_a_pattern(flat, wanted):
    assert read(flat, label_pattern="{split}_{label}_{number}.png").fingerprint == wanted.fingerprint
    by_label = read(flat, label_pattern="*_{label}_*")
    assert sum((list(c.values()) for c in counts(by_label).values()), []) and by_label.classes == ("cat", "dog")


def test_a_pattern_of_folders_chooses_which_is_the_class(tmp_path):
    files = class_files({"big": 3, "small": 3}, "cat/") | class_files({"big": 3, "small": 3}, "dog/")
    path = write_folder(tmp_path / "d", files)
    with pytest.raises(
        DataError, match=r"--label-pattern '\{label\}/\*/\*' \(here 'cat'\) or '\{label\}/\*' \(here 'b"
    ):
        read(path)
    assert read(path, label_pattern="{label}/*/*").classes == ("cat", "dog")
    assert read(path, label_pattern="{label}/*").classes == ("big", "small")


def test_groups_are_carried(flat):
    table = flat.parent / "labels.csv"
    lines = [f"{name},{said(name)[1]},p{number % 3}" for number, name in enumerate(FLAT)]
    table.write_text("\n".join(["image,label,patient", *lines]))
    options = {"labels": (str(table),), "columns": "label=label,group=patient"}
    data, again = read(flat, **options), read(flat, **options)
    assert len(data.groups) == len(FLAT) and set(data.groups.values()) == {"p0", "p1", "p2"}
    assert again.groups == data.groups and set(data.groups) == {path for some in data.names.values() for path in some}


def test_what_is_left_out_is_said(flat):
    table = flat.parent / "labels.csv"
    some = rows()
    table.write_text("\n".join(["image,label,split", *some[3:], some[0].replace(",cat", ","), "gone.png,cat,train"]))
    data = read(flat, labels=(str(table),))
    assert sum(map(len, data.names.values())) == len(FLAT) - 3
    text = "\n".join(data.notes)
    assert "1 row of tables name no photo of the data, the first 'gone.png'" in text
    assert "left out 1 photo without a class: 'train_cat_0.png'" in text
    assert "left out 2 photos, as no row of" in text


def test_a_changed_table_is_other_data(flat):
    table = flat.parent / "labels.csv"
    table.write_text("\n".join(["image,label,split", *rows()]))
    first = read(flat, labels=(str(table),))
    table.write_text("\n".join(["image,label,split", *rows()]).replace("cat,train", "dog,train", 1))
    second = read(flat, labels=(str(table),))
    assert first.fingerprint != second.fingerprint and counts(second)["train"] == {"cat": 19, "dog": 9}


def test_photos_of_one_name_in_two_folders_need_their_path(tmp_path):
    path = write_folder(tmp_path / "d", class_files({"a": 3, "b": 3}, "images/"))
    table = tmp_path / "labels.csv"
    table.write_text("image,label\n0.png,x\n1.png,y\n")
    with pytest.raises(DataError, match="line 2: '0.png' may be 'a/0.png' or 'b/0.png'; write its path"):
        read(path, labels=(str(table),))
    lines = [f"{folder}/{n}.png,{'xy'[n % 2]}" for folder in "ab" for n in range(3)]
    table.write_text("\n".join(["image,label", *lines]))
    data = read(path, labels=(str(table),))
    assert sum(map(len, data.names.values())) == 6 and len(set(data.names["train"] + data.names["val"])) == 6


TEXTS = {
    "no-photo": ("image,label\nx.png,cat\n", {}, "in no column are photos of the data"),
    "empty": ("", {}, "empty; a table of photos and classes is wanted"),
    "two-classes": (
        "image,label\ntrain_cat_0.png,cat\ntrain_cat_0.png,dog\n", {}, "line 3: 'train_cat_0.png' is 'dog'  here and",
    ),
    "which-column": (
        "image,label,class\ntrain_cat_0.png,a,b\n", {}, "the class may stand in 'label' or 'class'; say which: --col",
    ),
    "several-ones": (
        "image,cat,dog\ntrain_cat_0.png,1,1\ntrain_dog_0.png,0,1\n", {}, "the class may stand in 'cat' or 'dog'; say",
    ),
    "a-row-without-a-one": (
        "image,cat,dog\ntrain_cat_0.png,1,0\ntrain_dog_0.png,0,0\n", {}, "the class may stand in 'cat' or 'dog'; say",
    ),
    "no-such-column": ("image,label\ntrain_cat_0.png,cat\n", {"columns": "label=breed"}, "no column 'breed'"),
    "odd-split": ("image,label,split\ntrain_cat_0.png,cat,fold3\n", {}, "line 2: split 'fold3'; wanted is train"),
    "half-a-split": (
        "image,label,split\ntrain_cat_0.png,cat,train\ntrain_cat_1.png,cat,\n", {}, "'train_cat_1.png' has no split",
    ),
    "one-class": ("image,label\ntrain_cat_0.png,cat\ntrain_cat_1.png,cat\n", {}, "one class only: 'cat'"),
    "no-train": ("image,label,split\ntrain_cat_0.png,cat,val\n", {}, "photos of 'val' but none of train"),
    "no-class": ("image,label\ntrain_cat_0.png,\n", {}, "no photo has a class"),
    "binary": ("image,label\0\n", {}, "not a table of text"),
    "escapes": ("image,label\ntrain_cat_0.png,\x1b[31mcat\n", {}, "is no name on one line"),
}  # fmt: skip


def test_which_columns_stand_for_classes_is_said_and_a_named_one_goes_before(flat):
    lines = ["image,cat,dog", *(f"{name},{int('cat' in name)},{int('dog' in name)}" for name in FLAT)]
    table = flat.parent / "labels.csv"
    table.write_text("\n".join(lines))
    data = read(flat, labels=(str(table),))
    assert data.classes == ("cat", "dog")
    assert any("each row's class is the column with a 1, of 'cat', 'dog'" in note for note in data.notes)
    assert read(flat, labels=(str(table),), columns="label=dog").classes == ("0", "1")


@pytest.mark.parametrize("text, options, message", TEXTS.values(), ids=TEXTS)
def test_a_table_that_cannot_be_meant_is_told(flat, text, options, message):
    table = flat.parent / "labels.csv"
    table.write_text(text)
    with pytest.raises(DataError) as caught:
        read(flat, labels=(str(table),), **options)
    assert message in str(caught.value) and "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "pattern, message",
    [
        ("{name}.png", "wanted is a name with {label} in it once"),
        ("*.png", "wanted is a name with {label} in it once"),
        ("{label}_{label}.png", "wanted is a name with {label} in it once"),
        ("{label", "wanted is a name with {label} in it once"),
        ("{label}-{number}.jpg", "fits none of the 37 photos, the first is 'test_cat_0.png'"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_told(flat, pattern, message):
    with pytest.raises(DataError) as caught:
        read(flat, label_pattern=pattern)
    assert message in str(caught.value)


def test_a_table_that_is_nowhere(flat):
    with pytest.raises(DataError, match="--labels gone.csv: no such file, neither here nor in"):
        read(flat, labels=("gone.csv",))
