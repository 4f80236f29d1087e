import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.mask_files import decode_mask, parse_classes
from mnv2_sweep.data.masks import describe_masks, fit_mask, open_masks, turn_mask
from tests.marked_samples import SCENES, as_masks, coco, mask_png, picture, pictures, some_mask, write
from tests.photo_samples import must_not_decode

SHARED = Path(__file__).parents[3] / "shared" / "data"
NUCLEI = SHARED / "nuclei" / "nuclei.zip"
needs_nuclei = pytest.mark.skipif(not NUCLEI.exists(), reason=f"{NUCLEI} is not on this machine")
COLOURS = np.array([[0, 0, 0], [200, 10, 30], [10, 200, 250]], np.uint8)


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def pairs(masks: dict[str, np.ndarray], more: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """{"images/a.png": noise of the mask's size, "masks/a.png": the mask}"""
    files = {f"images/{name}.png": picture(name, *reversed(mask.shape[:2])) for name, mask in masks.items()}
    return files | {f"masks/{name}.png": mask_png(mask) for name, mask in masks.items()} | (more or {})


def blocks(*values: int) -> np.ndarray:
    """12 x 16 pixels, the values side by side."""
    return np.repeat(np.array(values), 16 // len(values))[None].repeat(12, 0)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_masks_lie_beside_their_images_and_say_what_each_pixel_is(packed, tmp_path, cache):
    data = open_masks(write(tmp_path / "set", as_masks(), packed), cache)
    assert data.classes == ("0", "1", "2") and data.skipped == ()
    assert data.names == {
        "train": ["train/a.png", "train/b.png", "train/c.png"],
        "val": ["val/d.png", "val/e.png"],
        "test": ["test/f.png"]
    }  # fmt: skip
    expected = [
        some_mask(name, width, height) for name, (split, width, height, _) in SCENES.items() if split == "train"
    ]
    values = np.concatenate([mask.ravel() for mask in expected])
    assert data.counts["train"].tolist() == [int((values == value).sum()) for value in (0, 1, 2, 255)]
    assert data.images_with["train"].tolist() == [sum((mask == value).any() for mask in expected) for value in range(3)]
    masks = data.masks("train", Size(30, 40))
    assert (masks[0] == expected[0]).all() and not masks.flags.writeable  # a.png as it is
    assert {*np.unique(masks)} <= {0, 1, 2, 255}  # nothing between two classes
    assert data.pixels("train", Size(30, 40)).shape == (*masks.shape, 3)


def test_opening_again_reads_nothing(tmp_path, cache):
    path = write(tmp_path / "set", as_masks())
    first, again = open_masks(path, cache), open_masks(path, cache, must_not_decode)
    assert (again.fingerprint, again.notes) == (first.fingerprint, first.notes)
    assert (again.counts["val"] == first.counts["val"]).all()


@pytest.mark.parametrize("form", ["grey", "grey as colours", "beside", "sixteen bits", "suffix", "VOC"])
def test_the_same_masks_in_another_form_are_the_same_data(form, tmp_path, cache):
    files = as_masks()
    first = open_masks(write(tmp_path / "first", files), cache)
    other = {name: data for name, data in files.items() if not name.startswith("masks/")}
    for name, (_, width, height, _) in SCENES.items():
        values, stem = some_mask(name, width, height), name[:-4]
        if form == "sixteen bits":
            out = io.BytesIO()
            Image.fromarray(values.astype(np.uint16)).save(out, "PNG")
            other[f"masks/{name}"] = out.getvalue()
        elif form == "grey as colours":
            other[f"masks/{name}"] = mask_png(values[..., None].repeat(3, -1))
        else:
            where = {"beside": f"images/{stem}_mask.png", "suffix": f"labels/{stem}_labelIds.png",
                     "VOC": f"SegmentationClass/{name}"}.get(form, f"masks/{name}")  # fmt: skip
            other[where] = mask_png(values, palette=form != "grey")
        if form == "VOC":
            other[f"SegmentationObject/{name}"] = mask_png(values // 2)
    data = open_masks(write(tmp_path / "other", other), cache)
    assert data.fingerprint == first.fingerprint and data.names == first.names


def test_a_folder_around_all_may_be_called_as_one_of_masks(tmp_path, cache):
    first = open_masks(write(tmp_path / "first", as_masks()), cache)
    files = {f"all/my_labels/{name}": data for name, data in as_masks().items()}
    assert open_masks(write(tmp_path / "second", files), cache).fingerprint == first.fingerprint


def test_another_pixel_of_a_mask_is_other_data(tmp_path, cache):
    files = as_masks()
    first = open_masks(write(tmp_path / "first", files), cache)
    mask = some_mask("a.png")
    mask[0, 0] = (mask[0, 0] + 1) % 3
    files["masks/a.png"] = mask_png(mask)
    assert open_masks(write(tmp_path / "second", files), cache).fingerprint != first.fingerprint


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_masks_stay_on_their_images(fit, tmp_path, cache):
    """Images whose brightness is their class."""
    files = {}
    for number, (width, height) in enumerate([(64, 48), (48, 64), (90, 30)]):
        mask = np.zeros((height, width), np.uint8)
        mask[5 : height // 2, 12 : width // 2] = 1
        out = io.BytesIO()
        Image.fromarray(mask[..., None].repeat(3, -1) * 255).save(out, "PNG")
        files |= {f"images/{number}.png": out.getvalue(), f"masks/{number}.png": mask_png(mask)}
    data = open_masks(write(tmp_path / "set", files), cache, options=PhotoOptions(fit=fit))
    for size in (square(96), Size(40, 80)):
        for split in data.names:
            images, masks = data.pixels(split, size)[..., 0], data.masks(split, size)
            said = masks != 255
            assert ((images > 127) == (masks == 1))[said].mean() > 0.98
            assert (images[~said] == 128).all() and said.all() == (fit == "squash")


def test_beside_a_padded_mask_nothing_is_said():
    fitted = fit_mask(np.ones((2, 4), np.uint8), square(4), "pad")
    assert fitted.tolist() == [[255] * 4, [1] * 4, [1] * 4, [255] * 4]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_turn_as_pixels_do(orientation):
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(stored).save(out, "PNG", exif=exif)
    assert (turn_mask(stored, orientation) == np.asarray(ImageOps.exif_transpose(Image.open(out)))).all()


@pytest.mark.parametrize("said", ["stored", "upright"])
def test_masks_of_images_that_exif_turns_lie_on_the_upright_image(said, tmp_path, cache):
    mask = np.zeros((30, 40), np.uint8)
    mask[4:9, 25:37] = 1
    exif = Image.Exif()
    exif[0x0112] = 8
    out = io.BytesIO()
    Image.fromarray(mask * 255).save(out, "PNG", exif=exif)
    written = mask_png(mask if said == "stored" else turn_mask(mask, 8))
    files = {f"images/{name}.png": out.getvalue() for name in "ab"} | {f"masks/{name}.png": written for name in "ab"}
    data = open_masks(write(tmp_path / "set", files), cache)
    images, masks = data.pixels("train", Size(40, 30))[..., 0], data.masks("train", Size(40, 30))
    assert ((images == 255) == (masks == 1)).all()
    assert any(note.startswith("2 images turned by EXIF") for note in data.notes)


# ---------------------------------------------------------------- what values mean


def test_masks_of_0_and_255_have_two_classes_and_it_is_said(tmp_path, cache):
    files = pairs({"a": blocks(0, 255), "b": blocks(255, 0, 0, 0)})
    data = open_masks(write(tmp_path / "set", files), cache)
    assert data.classes == ("background", "foreground") and data.is_binary
    assert data.counts["train"].tolist() + data.counts["val"].tolist() in (
        [96, 96, 0, 144, 48, 0],
        [144, 48, 0, 96, 96, 0],
    )
    assert {*np.unique(data.masks("train", Size(12, 16)))} == {0, 1}
    assert "masks have no values but 0 and 255: 255 is taken as class 1" in data.notes


def test_colours_are_classes_where_a_table_says_so(tmp_path, cache):
    table = b"name,r,g,b\nroad,0,0,0\ncar,200,10,30\nvoid,10,200,250\n"
    files = pairs({name: COLOURS[blocks(0, 1, 2, 1)] for name in "ab"}, {"class_dict.csv": table})
    data = open_masks(write(tmp_path / "set", files), cache)
    assert data.classes == ("road", "car")
    assert data.masks("train", Size(12, 16))[0, 0].tolist() == [0] * 4 + [1] * 4 + [255] * 4 + [1] * 4


@pytest.mark.parametrize(
    "text, names, colours",
    [
        ("background\nnucleus, bright\n", ["background", "nucleus, bright"], {}),
        ("0: sky\n1: tree\n", ["sky", "tree"], {}),
        ("0 0 0 sky\n1 2 3 tall tree\n", ["sky", "tall tree"], {(0, 0, 0): 0, (1, 2, 3): 1}),
        ("# label:color_rgb:parts:actions\nsky:0,0,0::\nignore:9,9,9::\n", ["sky"], {(0, 0, 0): 0, (9, 9, 9): 255}),
    ],
    ids=["names", "numbers", "colours", "cvat"],
)
def test_classes_stand_a_line_each(text, names, colours):
    assert parse_classes("x", text) == (names, colours)


def test_transparent_and_one_bit_masks_are_read():
    out = io.BytesIO()
    Image.fromarray(np.eye(4) > 0).save(out, "PNG")
    assert decode_mask(out.getvalue(), {}).tolist() == np.eye(4).astype(int).tolist()
    out = io.BytesIO()
    Image.fromarray(np.full((2, 2), 3, np.uint8)).convert("LA").save(out, "PNG")
    assert decode_mask(out.getvalue(), {}).tolist() == [[3, 3], [3, 3]]


# ---------------------------------------------------------------- outlines


def test_cocos_outlines_are_drawn_smaller_over_larger_and_crowds_are_left_unsaid(tmp_path, cache):
    scenes = {f"{name}.png": ("", 40, 30, []) for name in "ab"}
    value = coco(scenes)
    large, small = [0, 0, 20, 0, 20, 30, 0, 30], [5, 5, 10, 5, 10, 10, 5, 10]
    crowd = {"counts": [30 * 30, 10 * 30], "size": [30, 40]}
    for image in (1, 2):
        value["annotations"] += [
            {"id": 1, "image_id": image, "category_id": 1, "segmentation": [small], "iscrowd": 0},
            {"id": 2, "image_id": image, "category_id": 2, "segmentation": [large], "iscrowd": 0},
            {"id": 3, "image_id": image, "category_id": 2, "segmentation": crowd, "iscrowd": 1},
        ]
    files = pictures("images/", scenes) | {"x.json": json.dumps(value).encode()}
    data = open_masks(write(tmp_path / "set", files), cache)
    assert data.classes == ("background", "cat", "dog")
    expected = np.zeros((30, 40), int)
    expected[:, :20], expected[5:10, 5:10], expected[:, 30:] = 2, 1, 255
    assert (data.masks("train", Size(30, 40))[0] == expected).all()


# ---------------------------------------------------------------- what is left out, and what can't be used


def test_images_without_masks_and_masks_of_another_size_are_left_out_and_said(tmp_path, cache):
    files = as_masks() | {"images/z.png": picture("z"), "masks/y.png": mask_png(blocks(0, 1))}
    files["masks/b.png"] = mask_png(some_mask("b", 15, 20))
    data = open_masks(write(tmp_path / "set", files), cache)
    why = "its mask 'masks/b.png': is 15x20, its image 30x40; save both in one size"
    assert data.skipped == (("images/b.png", why),)
    assert "left out 1 image without a mask: 'images/z.png'" in data.notes
    assert "left out 1 mask without an image: 'masks/y.png'" in data.notes


def test_classes_that_a_split_lacks_are_said(tmp_path, cache):
    files = pairs({"a": blocks(0, 1, 2, 2), "b": blocks(0, 1), "c": blocks(0, 0)})
    files |= {"train.txt": b"a", "val.txt": b"b", "test.txt": b"c", "classes.txt": b"ground\ntree\nlake\nroad"}
    data = open_masks(write(tmp_path / "set", files), cache)
    assert "train has no pixel of class 'road', so it can't be learnt" in data.notes
    assert "val has no pixel of class 'lake', 'road', so it is left out of the score there" in data.notes


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.fromarray(blocks(0, 1).astype(np.uint8)).save(out, "JPEG")
    return out.getvalue()


def large_values() -> bytes:
    out = io.BytesIO()
    Image.fromarray(blocks(0, 300).astype(np.uint16)).save(out, "PNG")
    return out.getvalue()


PAIR = pairs({"a": blocks(0, 1), "b": blocks(0, 1)})
BOTH = ("masks/a.png", "masks/b.png")
UNUSABLE = {
    "no masks": ({"images/a.png": picture("a")}, "no masks; wanted are images/ and masks/"),
    "no pair": (
        {"images/a.png": picture("a"), "masks/b.png": mask_png(blocks(0, 1))}, "no mask has the name of an image",
    ),
    "a mask for each object": (PAIR | {"masks/a_mask.png": mask_png(blocks(0, 1))}, "'images/a.png' has two masks"),
    "colours without a table": (
        PAIR | dict.fromkeys(BOTH, mask_png(COLOURS[blocks(0, 1)])),
        "colours, as (200, 10, 30), instead of class numbers",
    ),
    "a colour of no class": (
        PAIR | dict.fromkeys(BOTH, mask_png(COLOURS[blocks(1, 2)])) | {"classes.txt": b"200 10 30 car"},
        "the colour (10, 200, 250), which is none of the 1 that classes have",
    ),
    "grey levels": (
        pairs({"a": blocks(0, 85), "b": blocks(170, 85)}), "masks have 3 values from 0 to 170 (0, 85, 170)",
    ),
    "JPEG": (PAIR | dict.fromkeys(BOTH, jpeg()), "a JPEG, which blurs class numbers"),
    "numbers above 255": (
        PAIR | dict.fromkeys(BOTH, large_values()), "values up to 300; class numbers go from 0 to 254",
    ),
    "damaged": (PAIR | dict.fromkeys(BOTH, PAIR["masks/a.png"][:60]), "no mask that can be read"),
    "another size": (PAIR | dict.fromkeys(BOTH, mask_png(blocks(0, 1)[:6])), "is 16x6, its image 16x12"),
    "a class beyond the names": (PAIR | {"classes.txt": b"one"}, "'masks/a.png' has class 1, but 1 classes are named"),
    "one class": (pairs({"a": blocks(0, 0), "b": blocks(0, 0)}), "masks of one value only (0;"),
    "nothing said": (pairs({"a": blocks(255, 255), "b": blocks(255, 255)}), "masks of one value only (255;"),
    "two tables of classes": (PAIR | {"classes.txt": b"x\ny", "labels.txt": b"x\nz"}, "say different classes"),
    "a colour of two classes": (PAIR | {"classes.txt": b"1 2 3 x\n1 2 3 y"}, "'1 2 3 y': a colour is three numbers"),
    "boxes without outlines": (
        {"a.png": picture("a"), "x.json": json.dumps(coco({"a.png": SCENES["a.png"]})).encode()}, "no segmentation",
    ),
    "broken outlines": (
        {"a.png": picture("a"), "x.json": json.dumps(coco({"a.png": ("", 40, 30, [])}) | {
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3]]}]}).encode()},
        "its annotation number 1 (cat) is a polygon of 3 numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_masks_that_cannot_be_used_say_why_in_one_line_and_leave_no_cache(name, tmp_path, cache):
    files, said = UNUSABLE[name]
    with pytest.raises(DataError) as caught:
        open_masks(write(tmp_path / "set", files), cache)
    text = str(caught.value)
    assert said in text and text.startswith(str(tmp_path)) and "\n" not in text and not cache.exists()


def test_a_mask_that_changed_is_not_read(tmp_path, cache):
    path = write(tmp_path / "set", as_masks())
    data = open_masks(path, cache)
    (path / "masks" / "d.png").write_bytes(mask_png(some_mask("other")))
    with pytest.raises(DataError, match="the mask of 'images/d.png' is not what it was"):
        data.masks("val", square(16))
    assert data.pixels("val", square(16)).shape == (2, 16, 16, 3)


@needs_nuclei
def test_nuclei_are_read_as_their_readme_says(cache):
    data = open_masks(NUCLEI, cache)
    assert data.classes == ("background", "nucleus, fluorescence", "nucleus, stained") and data.skipped == ()
    assert {split: own.tolist() for split, own in data.counts.items()} == {
        "train": [25_815_142, 3_348_620, 1_071_249, 42_749],
        "val": [8_450_903, 1_126_854, 417_686, 19_149],
        "test": [8_536_677, 1_156_977, 379_439, 18_299],
    }
    assert {split: own.tolist() for split, own in data.images_with.items()} == {
        "train": [399, 325, 74], "val": [132, 107, 25], "test": [133, 109, 24],
    }  # fmt: skip
    assert describe_masks(data)[0] == "images    399 train, 132 val, 133 test"
    assert data.notes == ()
