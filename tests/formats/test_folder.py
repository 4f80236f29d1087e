"""The export folder: what is in it, whole or not at all."""

import hashlib
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.formats.card import Card, Score, card_text
from mnv2_sweep.formats.check import Check
from mnv2_sweep.formats.folder import Preprocess, Written, write_folder
from mnv2_sweep.trials.pixels import Pixels

LABELS = ["a cat", "dog", "Hüte", "two\nlines"]
CARD = Card(
    "0.35 at 40", "toys", "mnv2-sweep export 0.35@40 --to onnx", "weights of someone, MIT",
    "probe (a classifier), seed 0", (Score("validation top-1", 0.801, 0.75, 0.84, 341),), {"MAdds": "3.1 M"},
    ("Photos gone.",),
)  # fmt: skip
RGB = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
GREY = Pixels((0.5,), (0.25,))
SQUARE = Preprocess(square(40), RGB, square(64))
WHY = "its runtime is not installed"
CHECKED = Check(341, 273, 339, 1, 0, 0.4, "onnxruntime", "1.32.0")


def test_the_folder_holds_what_is_needed(tmp_path):
    models = {"model.onnx": b"1", "model.tflite": b"22", "model.safetensors": b"333"}
    write_folder(
        tmp_path / "out", models, LABELS, SQUARE, CARD, lambda path: CHECKED if path.suffix == ".onnx" else WHY
    )
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    written = ["README.md", "check.json", "classify.py", "labels.txt", "preprocess.json"]
    assert sorted(files) == sorted([*models, *written]) and files.items() >= models.items()
    assert files["labels.txt"].decode().splitlines() == ["a cat", "dog", "Hüte", "two lines"]
    how = json.loads(files["preprocess.json"])
    assert (how["width"], how["height"], how["channels"], how["mean"], how["std"]) == (40, 40, 3, [0.5] * 3, [0.5] * 3)
    assert how["first_size"] == [64, 64] and how["models"] == ["model.onnx", "model.tflite"]
    checks = json.loads(files["check.json"])
    assert Check.load(checks["model.onnx"]) == CHECKED and checks["model.tflite"]["unchecked"] == WHY
    for name, content in models.items():
        known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "command": CARD.command}
        assert checks[name].items() >= known.items()


def test_weights_alone_come_without_a_script(tmp_path):
    write_folder(tmp_path / "out", {"model.safetensors": b"1"}, LABELS, SQUARE, CARD, lambda path: WHY)
    assert not (tmp_path / "out" / "classify.py").exists()
    assert "pip install" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def export(out: Path, digest: str, **models: bytes) -> Written:
    files = {f"{name}.onnx": content for name, content in models.items()}
    card = replace(CARD, digest=digest, command=f"write {' '.join(models)}")
    return write_folder(out, files, LABELS, Preprocess(Size(20, 30), GREY), card, lambda path: CHECKED)


def test_files_of_the_same_network_stay_with_their_checks(tmp_path):
    out = tmp_path / "a" / "out"
    export(out, "digest", one=b"1", two=b"2")
    written = export(out, "digest", two=b"22", three=b"3")
    assert (list(written.checks), written.stayed, written.removed) == (["two.onnx", "three.onnx"], ("one.onnx",), ())
    assert {path.name: path.read_bytes() for path in out.glob("*.onnx")} == {
        "one.onnx": b"1", "two.onnx": b"22", "three.onnx": b"3",
    }  # fmt: skip
    records = json.loads((out / "check.json").read_text())
    assert records == written.records and list(records) == ["one.onnx", "two.onnx", "three.onnx"]
    assert json.loads((out / "preprocess.json").read_text())["models"] == list(records)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert card.count(" | 80.1 % | ") == 4 and card.endswith("```\nwrite one two\nwrite two three\n```\n")


def test_files_of_another_network_go_by_name_and_anything_else_is_refused(tmp_path):
    out = tmp_path / "a" / "out"
    export(out, "digest", old=b"1", other=b"2")
    written = export(out, "another", new=b"3")
    assert (written.stayed, written.removed) == ((), ("old.onnx", "other.onnx"))
    assert (out / "new.onnx").read_bytes() == b"3" and not (out / "old.onnx").exists()
    (out / "check.json").write_text('{"new.onnx": "unchecked: as earlier versions said"}')
    assert export(out, "another", newer=b"4").removed == ("new.onnx",)
    refused = {
        "thesis.txt": "it holds thesis.txt, which no export is known to have written",
        "copied.onnx": "it holds copied.onnx, which no export is known to have written",
        "newer.onnx": "newer.onnx in it is not the file that was exported",
    }
    for name, message in refused.items():
        before = (out / name).read_bytes() if (out / name).exists() else None
        (out / name).write_bytes(b"three years")
        with pytest.raises(StoreError, match=f"out: {message}; choose another --out"):
            export(out, "another", newest=b"5")
        assert (out / name).read_bytes() == b"three years" and [path.name for path in out.parent.iterdir()] == ["out"]
        (out / name).unlink() if before is None else (out / name).write_bytes(before)
    with pytest.raises(StoreError, match="it is a file; give --out the name of a folder"):
        export(out / "newer.onnx", "another")


@pytest.mark.parametrize("name", ["README.md", "new.onnx", "labels.txt", "classify.py"])
def test_files_with_an_export_s_names_are_somebody_s_where_no_export_is_on_record(tmp_path, name):
    out = tmp_path / "project"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(StoreError, match=f"it holds {name}, which no export is known to have written"):
        export(out, "digest", new=b"1")
    assert [path.name for path in out.iterdir()] == [name] and (out / name).read_text() == "mine"


def test_nothing_is_left_of_an_export_that_fails(tmp_path):
    def fail(path):
        raise StoreError("no")

    with pytest.raises(StoreError, match="^no$"):
        write_folder(tmp_path / "out", {"model.onnx": b"1"}, LABELS, SQUARE, CARD, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_killed_at_random_nothing_half_is_left(tmp_path):
    """The folder is an earlier one, whole, or not there; what a killed export left beside it goes with the next one."""
    out, moments, found = tmp_path / "exports" / "out", random.Random(0), []
    models = {f"model.{form}": bytes([at]) * 300_000 for at, form in enumerate(("onnx", "tflite"))}

    def write() -> None:
        write_folder(out, models, LABELS, SQUARE, CARD, lambda path: CHECKED)

    began = time.perf_counter()
    write()
    taken = time.perf_counter() - began
    shutil.rmtree(out)
    for _ in range(20):
        child = os.fork()
        if not child:
            while True:
                write()
        time.sleep(moments.uniform(0, 2.5 * taken))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found.append(out.exists())
        taken *= 1 if any(found) else 2  # a busy machine, where none has come to its end yet
        if found[-1]:
            assert all((out / name).read_bytes() == content for name, content in models.items())
            records = json.loads((out / "check.json").read_text())
            assert {name: Check.load(record) for name, record in records.items()} == dict.fromkeys(models, CHECKED)
            assert (out / "README.md").read_text(encoding="utf-8").endswith("```\n")
    assert any(found)
    write()
    assert [path.name for path in out.parent.iterdir()] == ["out"] and len([*out.iterdir()]) == 7


MIDDLE = Preprocess(Size(20, 30), replace(GREY, eval_crop=0.7), Size(18, 27))


@pytest.mark.parametrize("size", [SQUARE, Preprocess(Size(20, 30), GREY), MIDDLE], ids=["square", "grey", "middle"])
def test_what_a_photo_becomes_is_read_again(size):
    assert Preprocess.load(json.loads(json.dumps(size.record()))) == size
    for name, wrong in (("mean", [0.5, 0.5]), ("std", 3), ("width", 0), ("height", "9"), ("first_size", [3])):
        with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
            Preprocess.load({**size.record(), name: wrong})
    for name, wrong in (("eval_crop", 1e-9), ("eval_crop", 1.2), ("eval_crop", "x"), ("crop_from", [31, 20])):
        with pytest.raises(ValueError):
            Preprocess.load({**size.record(), name: wrong})


def test_no_photo_is_made_larger_than_any_network_reads():
    huge = replace(MIDDLE, size=Size(2**14, 30))
    with pytest.raises(ValueError, match="crop_from"):
        Preprocess.load(huge.record())


def test_what_earlier_versions_wrote_has_no_middle():
    record = SQUARE.record()
    del record["eval_crop"], record["crop_from"]
    assert Preprocess.load(record) == SQUARE
    assert MIDDLE.record()["crop_from"] == [43, 29] and SQUARE.record()["crop_from"] is None


def test_the_card_says_what_is_known():
    how = Preprocess(Size(120, 160), GREY, square(256)).record() | {"models": ["a.onnx", "b.onnx"]}
    worse = Check(341, 200, 210, 80, 3, 9.0, "onnxruntime", "1.32.0")
    checks = {"a.onnx": CHECKED, "b.onnx": worse, "c.onnx": WHY}
    told = {"bytes": 1_234_567, "command": CARD.command}
    found = {
        name: check.record() if isinstance(check, Check) else {"unchecked": check} for name, check in checks.items()
    }
    records = {name: told | one for name, one in found.items()}
    text = card_text(CARD, how, records)
    for part in (
        "# 0.35 at 40\n", "Trained on toys.", "How: probe (a classifier), seed 0.",
        "Began from weights of someone, MIT.", "| MAdds | 3.1 M |",
        "| validation top-1 | 80.1 % | 75.0 to 84.0 % | 341 |",
        "| a.onnx | 1,234,567 | 80.1 % | 75.5 to 84.0 % | 341 | 99.4 % | 0.4 | onnxruntime 1.32.0 |",
        f"| c.onnx | 1,234,567 | unchecked: {WHY} | | | | | |",
        "\n\nPhotos gone.\n\n| score", "**b.onnx: fewer right than the network in torch",
        "160 x 120 pixels, grey (luma): ", "by way of 256 x 256", "mean 0.5 and std 0.25", CARD.command,
        "pip install numpy pillow onnxruntime\n",
    ):  # fmt: skip
        assert part in text
    assert "no floats" not in text
    text = card_text(CARD, how, records | {"d.tflite": told | CHECKED.record() | {"ends": "uint8"}})
    assert "d.tflite reads and gives uint8, no floats: of each number x of the image it reads round(x / scale +" in text
