"""What is held out for validation where photos of a group stay together: by a column, a pattern, or what they show."""

import io
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.holdout import Photo, hold_out
from mnv2_sweep.data.photos import open_photos
from tests.photo_samples import class_files, counts, image_bytes, split_files, write_folder


def make_photos(groups: dict[str, dict[str, int]]) -> tuple[list[Photo], dict[str, str]]:
    """{"p1": {"cat": 3}} -> three photos of cats, and the group of each."""
    photos, group_of = [], {}
    for group, classes in groups.items():
        for label, count in classes.items():
            for number in range(count):
                photos.append(Photo("train", label, f"{label}/{group}-{number}.jpg"))
                group_of[photos[-1].path] = group
    return photos, group_of


def splits_of(photos: list[Photo], group_of: dict[str, str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for photo in photos:
        found[group_of[photo.path]].add(photo.split)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together_and_about_as_many_of_each_class_are_held_out(seed):
    random = np.random.default_rng(seed)
    groups = {f"p{n}": {label: int(random.integers(0, 9)) for label in ("cat", "dog", "emu")} for n in range(60)}
    photos, group_of = make_photos(groups)
    held = hold_out("x", photos, group_of)
    assert all(len(splits) == 1 for splits in splits_of(held, group_of).values())
    for label, every in Counter(photo.label for photo in photos).items():
        own = sum(photo.split == "val" for photo in held if photo.label == label)
        assert 0.09 < own / every < 0.21
    assert set(hold_out("x", photos[::-1], group_of)) == set(held)


def test_photos_without_a_group_are_by_themselves():
    photos, group_of = make_photos({"p": {"cat": 4}, "q": {"cat": 4, "dog": 1}})
    alone = [Photo("train", label, f"{label}/{number}.jpg") for label in ("cat", "dog") for number in range(30)]
    held = hold_out("x", photos + alone, group_of)
    count = Counter((photo.split, photo.label) for photo in held)
    assert count["val", "cat"] in range(3, 8) and count["val", "dog"] in range(3, 8)


def test_every_class_is_held_out_and_keeps_photos_to_train_on():
    photos, group_of = make_photos({f"p{n}": {"cat": 10, "dog": 10} for n in range(3)})
    held = hold_out("x", photos, group_of)
    assert Counter((photo.split, photo.label) for photo in held)["val", "dog"] == 10


def test_a_class_of_one_group_is_refused():
    photos, group_of = make_photos({"p": {"cat": 10}, "q": {"dog": 5}, "r": {"dog": 5}})
    with pytest.raises(DataError, match="class 'cat' lies in 1 group, and none can be held out"):
        hold_out("x", photos, group_of)


def grouped_files(patients: int = 8) -> dict[str, bytes]:
    return {
        f"{label}/patient{patient}_{number}.png": image_bytes(1000 * patient + 10 * number + place)
        for place, label in enumerate(("cat", "dog"))
        for patient in range(patients)
        for number in range(3)
    }


@pytest.mark.parametrize("pattern", ["patient[0-9]+", "^(?P<group>[^_]+)_", r"(\d+)_\d", "/(patient.)_"])
def test_a_pattern_finds_the_group_in_the_name(tmp_path, pattern):
    data = open_photos(
        write_folder(tmp_path / "d", grouped_files()), tmp_path / "c", options=PhotoOptions(group_pattern=pattern)
    )
    held = {name.partition("_")[0].partition("/")[2] for name in data.names["val"]}
    trained = {name.partition("_")[0].partition("/")[2] for name in data.names["train"]}
    assert held and not held & trained and len(data.groups) == 48
    assert "8 groups of photos, each in one split" in data.notes


def test_a_column_of_groups_keeps_them_together(tmp_path):
    files = {f"{number}.png": image_bytes(number) for number in range(40)}
    rows = [f"{number}.png,{'cat' if number % 2 else 'dog'},session {number // 5}" for number in range(40)]
    files["labels.csv"] = "\n".join(["image,label,group", *rows]).encode()
    data = open_photos(
        write_folder(tmp_path / "d", files), tmp_path / "c", options=PhotoOptions(labels=("labels.csv",))
    )
    held, trained = ({data.groups[name] for name in data.names[split]} for split in ("val", "train"))
    assert held and not held & trained


def test_groups_in_several_given_splits_are_said(tmp_path):
    files = {
        f"{split}/{label}/p{number}_{split}.png": image_bytes(hash((split, label, number)) % 10**6)
        for split, count in (("train", 3), ("val", 1)) for label in ("cat", "dog") for number in range(count)
    }  # fmt: skip
    options = PhotoOptions(group_pattern="p[0-9]")
    data = open_photos(write_folder(tmp_path / "d", files), tmp_path / "c", options=options)
    assert "1 of 3 groups of photos are in more than one split, the first, 'p0', in train and val: scores flatter" in (
        data.notes
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"group_pattern": "("}, "--group-pattern (: no regular expression"),
        ({"group_pattern": "session"}, "--group-pattern 'session' finds nothing in 'cat/0.png', nor in any other name"),
    ],
)
def test_patterns_that_cannot_work_are_refused(tmp_path, given, message):
    folder = write_folder(tmp_path / "d", class_files({"cat": 4, "dog": 4}))
    with pytest.raises(DataError) as caught:
        open_photos(folder, tmp_path / "c", options=PhotoOptions(**given))
    assert message in str(caught.value) and "\n" not in str(caught.value)


# ---------------------------------------------------------------- what looks alike


def make_scene(seed: int, side: int = 96) -> Image.Image:
    """A picture with edges, as photos have them."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def save(image: Image.Image, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


CHANGES = {
    "as JPEG": lambda image: save(image, "JPEG", quality=40),
    "at half the size": lambda image: save(image.resize((48, 48))),
    "brighter": lambda image: save(ImageEnhance.Brightness(image).enhance(1.2)),
    "the same": save,
}


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_across_splits_are_counted_and_different_photos_are_not(tmp_path, change):
    files = {f"train/{label}/{n}.png": save(make_scene(10 * n + at)) for at, label in enumerate("ab") for n in range(6)}
    files |= {f"val/{label}/{n}.png": save(make_scene(999 - n - at)) for at, label in enumerate("ab") for n in (0, 5)}
    files["val/a/copy.png"] = CHANGES[change](make_scene(20))
    data = open_photos(write_folder(tmp_path / "d", files), tmp_path / "c")
    said = [note for note in data.notes if "look like" in note]
    assert said == ["1 of 5 val images look like training images: 'val/a/copy.png' like 'train/a/2.png'"]
    assert not any("two classes" in note for note in data.notes)
    again = open_photos(tmp_path / "d", tmp_path / "c")  # as the cache has it
    assert again.notes == data.notes


def test_one_photo_with_two_classes_is_named(tmp_path):
    files = {f"{label}/{n}.png": save(make_scene(10 * n + at)) for at, label in enumerate("ab") for n in range(8)}
    files["b/again.png"] = save(make_scene(30), "JPEG")
    data = open_photos(write_folder(tmp_path / "d", files), tmp_path / "c")
    (said,) = [note for note in data.notes if "two classes" in note]
    assert "'a/3.png'" in said and "'b/again.png'" in said


def test_photos_without_edges_are_like_none(tmp_path):
    files = {
        f"{label}/{n}.png": save(Image.new("RGB", (40, 40), (n, n, 40 * at)))
        for at, label in enumerate("ab")
        for n in range(8)
    }
    assert open_photos(write_folder(tmp_path / "d", files), tmp_path / "c").notes == ()


def test_photos_that_look_alike_are_kept_in_one_split(tmp_path):
    files = {}
    for n in range(12):
        for at, label in enumerate("ab"):
            image = make_scene(10 * n + at)
            files |= {f"{label}/{n}.png": save(image), f"{label}/{n}-again.jpg": save(image, "JPEG", quality=60)}
    folder = write_folder(tmp_path / "d", files)
    apart = open_photos(folder, tmp_path / "c")
    assert any("look like training images" in note for note in apart.notes)
    together = open_photos(folder, tmp_path / "c", options=PhotoOptions(group_similar=True))
    assert "24 groups of photos, each in one split" in together.notes
    assert not any("look like" in note for note in together.notes)
    assert sum(counts(together)["val"].values()) in range(4, 11) and together.fingerprint != apart.fingerprint


def test_groups_of_names_and_looks_are_joined(tmp_path):
    """p0 and p1 have one photo in common, so they stay together."""
    files = {f"{label}/p{n}_{k}.png": save(make_scene(100 * n + 10 * k + at)) for at, label in enumerate("ab")
             for n in range(6) for k in range(3)}  # fmt: skip
    files["a/p0_9.png"] = files["a/p1_0.png"]
    options = PhotoOptions(group_similar=True, group_pattern="p[0-9]")
    data = open_photos(write_folder(tmp_path / "d", files), tmp_path / "c", options=options)
    assert "5 groups of photos, each in one split" in data.notes
    assert data.groups["a/p0_0.png"] == data.groups["b/p1_2.png"] != data.groups["a/p2_0.png"]


def test_photos_that_look_alike_cannot_be_moved_out_of_given_splits(tmp_path):
    folder = write_folder(tmp_path / "d", split_files(train={"cat": 2, "dog": 2}, val={"cat": 1, "dog": 1}))
    with pytest.raises(DataError, match="^--group-similar: .* has a split for validation already"):
        open_photos(folder, tmp_path / "c", options=PhotoOptions(group_similar=True))
