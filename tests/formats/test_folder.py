"""The export folder: what is in it, whole or not at all, and its script in a process that has no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.batches import augment, scale_pixels
from mnv2_sweep.data.decode import decode_photo
from mnv2_sweep.formats.card import Card, Score, card_text
from mnv2_sweep.formats.check import Check
from mnv2_sweep.formats.folder import Preprocess, write_folder
from mnv2_sweep.formats.onnx import make_onnx
from mnv2_sweep.formats.quantize import quantize_graph
from mnv2_sweep.formats.runtimes import load_file
from mnv2_sweep.formats.tflite import make_tflite
from mnv2_sweep.models.observe import observe_values
from mnv2_sweep.nets.arch import ArchSpec
from tests.export_samples import random_images, random_network, torch_logits

ARCH = ArchSpec(width=0.35, resolution=40, classes=7)
LABELS = ["a cat", "dog", "Hüte", "x", "y", "z", "last"]
STORED = 64
CARD = Card(
    "0.35 at 40", "toys", "mnv2-sweep export 0.35@40 --to onnx", "weights of someone, MIT",
    (Score("validation top-1", 0.801, 0.75, 0.84, 341),), {"MAdds": "3.1 M"},
)  # fmt: skip
HALF = (0.5, 0.5, 0.5)
# Shapes, turned ones, transparency, palettes, 16 bits, smaller than the network.
PHOTOS = {
    "wide.jpg": ("RGB", (300, 200), {}), "tall.jpg": ("RGB", (90, 260), {}), "large.jpg": ("RGB", (1400, 1100), {}),
    "turned.jpg": ("RGB", (200, 130), {"exif": 6}), "grey.jpg": ("L", (80, 99), {}), "tiny.png": ("RGB", (20, 31), {}),
    "clear.png": ("RGBA", (90, 70), {}), "palette.png": ("P", (77, 120), {}), "deep.png": ("I;16", (70, 80), {}),
    "print.jpg": ("CMYK", (130, 100), {}),
}  # fmt: skip


def save_photo(path, mode, size, how) -> None:
    channels = {"RGB": 3, "RGBA": 4, "CMYK": 4}.get(mode, 0)
    random, shape = np.random.RandomState(sum(map(ord, path.name))), (size[1], size[0])
    if mode == "I;16":
        Image.fromarray(random.randint(0, 2**16, shape).astype(np.uint16)).save(path)
        return
    coarse = random.randint(0, 256, (6, 6, channels) if channels else (6, 6)).astype(np.uint8)
    image = Image.fromarray(coarse, mode if channels else "L").resize(size)
    image = image.quantize(16) if mode == "P" else image
    exif = Image.Exif()
    if "exif" in how:
        exif[274] = how["exif"]
    image.save(path, **({"exif": exif} if how else {}))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export folder with three files, photos, and the network in torch."""
    network, graph = random_network(ARCH)
    images = torch.from_numpy(random_images(ARCH, 16))
    quantized = quantize_graph(graph, observe_values(graph, [images]))
    models = {
        "model.onnx": make_onnx(graph, {}).SerializeToString(),
        "model.tflite": make_tflite(graph, {}),
        "model-uint8.tflite": make_tflite(graph, {}, quantized, "uint8"),
    }
    root = tmp_path_factory.mktemp("export")
    for name, photo in PHOTOS.items():
        save_photo(root / name, *photo)
    preprocess = Preprocess(square(40), 3, HALF, HALF, square(STORED))
    write_folder(root / "out", models, LABELS, preprocess, CARD, lambda path: None)
    return root, network


def seen_in_training(path, kept: int, side: int) -> np.ndarray:
    """A photo as the data sets have it: a square at the side at which it is kept, then a smaller one of that; a larger
    one is made of the batch."""
    pixels = decode_photo(path.read_bytes(), kept, path.name)
    pixels = np.asarray(Image.fromarray(pixels).resize((min(kept, side),) * 2, Image.Resampling.LANCZOS))
    return augment(scale_pixels(torch.from_numpy(pixels[None].copy())), side).numpy()


def best_answer(logits: np.ndarray) -> tuple[str, float]:
    odds = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    return LABELS[odds.argmax()], 100 * odds.max()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["", "model.tflite", "model-uint8.tflite"])
def test_the_script_gives_what_training_would_without_torch(exported, model):
    root, network = exported
    chosen = [str(root / "out" / model)] if model else []
    block = "import sys; sys.modules['torch'] = sys.modules['mnv2_sweep'] = None; import runpy; "
    block += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    script = [sys.executable, "-c", block, str(root / "out" / "classify.py")]
    run = subprocess.run([*script, *chosen, *PHOTOS], cwd=root, capture_output=True, text=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == list(PHOTOS)
    for name, best, *_ in lines:
        image = seen_in_training(root / name, STORED, 40)
        logits = load_file(root / "out" / model)(image) if "uint8" in model else torch_logits(network, image)
        label, share = best_answer(logits[0])
        said, shown = best.removesuffix(" %").rsplit(" ", 1)
        assert said == label and abs(float(shown) - share) < 0.1


@pytest.mark.parametrize(("kept", "side", "channels"), [(64, 40, 3), (32, 40, 3), (40, 40, 3), (64, 40, 1)])
def test_the_script_reads_photos_as_data_sets_do(exported, tmp_path, kept, side, channels):
    root, _ = exported
    how = Preprocess(square(side), channels, HALF[:channels], HALF[:channels], square(kept))
    write_folder(tmp_path / "out", {}, LABELS, how, CARD, lambda path: None)
    script = (tmp_path / "out" / "classify.py").read_text(encoding="utf-8").partition("\nphotos = ")[0]
    names = {"__file__": str(tmp_path / "out" / "classify.py")}
    exec(script, names)
    for name in PHOTOS:
        image, judged = names["read_photo"](root / name), seen_in_training(root / name, kept, side)
        if channels == 1:
            red, green, blue = judged[:, 0], judged[:, 1], judged[:, 2]
            judged = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
        assert image.shape == judged.shape == (1, channels, side, side) and image.dtype == np.float32
        assert np.abs(image - judged).max() < (0.006 if channels == 1 else 1e-5), name  # luma is rounded


def test_the_folder_holds_what_is_needed(exported):
    root, _ = exported
    out = root / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "classify.py", "labels.txt", "model-uint8.tflite", "model.onnx", "model.tflite", "preprocess.json"
    ]  # fmt: skip
    assert (out / "labels.txt").read_text(encoding="utf-8").splitlines() == LABELS
    how = json.loads((out / "preprocess.json").read_text())
    assert (how["width"], how["height"], how["channels"], how["mean"], how["std"]) == (40, 40, 3, [0.5] * 3, [0.5] * 3)
    assert how["first_size"] == [STORED, STORED] and how["models"][0] == "model.onnx"


def test_an_older_export_is_replaced_and_anything_else_is_not(tmp_path):
    preprocess = Preprocess(Size(20, 30), 1, (0.5,), (0.5,))
    out = tmp_path / "a" / "out"

    def write(**models: bytes) -> None:
        files = {f"{name}.onnx": content for name, content in models.items()}
        write_folder(out, files, LABELS, preprocess, CARD, lambda path: None)

    write(old=b"1", other=b"2")
    write(new=b"3")
    assert (out / "new.onnx").read_bytes() == b"3" and not (out / "old.onnx").exists()
    (out / "thesis.txt").write_text("three years")
    with pytest.raises(StoreError, match=r"out: it holds thesis.txt, which no export wrote; choose another --out"):
        write(new=b"4")
    assert (out / "new.onnx").read_bytes() == b"3" and [path.name for path in out.parent.iterdir()] == ["out"]
    with pytest.raises(StoreError, match="it is a file; give --out the name of a folder"):
        write_folder(out / "thesis.txt", {}, LABELS, preprocess, CARD, lambda path: None)


def test_nothing_is_left_of_an_export_that_fails(tmp_path):
    def fail(path):
        raise StoreError("no")

    preprocess = Preprocess(square(20), 3, HALF, HALF)
    with pytest.raises(StoreError, match="^no$"):
        write_folder(tmp_path / "out", {"model.onnx": b"1"}, LABELS, preprocess, CARD, fail)
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_is_known():
    how = Preprocess(Size(120, 160), 1, (0.5,), (0.25,), square(256)).record()
    checks = {"a.onnx": Check(341, 273, 339, 1, 0, 0.4), "b.onnx": Check(341, 200, 210, 80, 3, 9.0), "c.onnx": None}
    text = card_text(CARD, how, checks, dict.fromkeys(checks, 1_234_567))
    for part in (
        "# 0.35 at 40\n", "Trained on toys.", "Began from weights of someone, MIT.", "| MAdds | 3.1 M |",
        "| validation top-1 | 80.1 % | 75.0 to 84.0 % | 341 |", "| a.onnx | 1,234,567 | 80.1 % | 99.4 % | 0.4 |",
        "| c.onnx | 1,234,567 | not run here | | |", "**b.onnx: fewer right than the network in torch",
        "160 x 120 pixels, grey (luma): ", "by way of 256 x 256", "mean 0.5 and std 0.25", CARD.command,
    ):  # fmt: skip
        assert part in text
