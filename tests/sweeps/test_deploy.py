"""The export folder of a network: files that say what torch says, calibrated on training images; its script in a
process that has neither torch nor this program."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from torch import nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.batches import whole_batch, whole_pixels
from mnv2_sweep.data.decode import Decoding
from mnv2_sweep.data.photos import PhotoData, find_decoding, find_first_size, open_photos
from mnv2_sweep.formats.card import Card, advise
from mnv2_sweep.formats.check import Check
from mnv2_sweep.formats.folder import Preprocess
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.pretrained import set_conventions
from mnv2_sweep.nets.arch import ArchSpec, arch_label, input_size
from mnv2_sweep.sweeps.deploy import (
    Deployed,
    Files,
    file_input,
    fold_network,
    read_batches,
    write_device_folder,
)
from mnv2_sweep.trials.pixels import Pixels, whole_level
from mnv2_sweep.trials.weights import HALF, WeightsRecord
from tests.conftest import TINY_ARCH
from tests.export_samples import NEEDS_RUNTIMES

CARD = Card("tiny", "toy", "mnv2-sweep export tiny --to onnx")
BOTH = Files(("onnx", "tflite"), int8=True, ends="uint8")
RUNTIMES = ("onnxruntime", "ai_edge_litert")
MISSING = [name for name in RUNTIMES if importlib.util.find_spec(name) is None]
needs_runtimes = pytest.mark.skipif(bool(MISSING), reason=NEEDS_RUNTIMES)
# Shapes, turned ones, transparency, palettes, 16 bits, smaller than the network.
PHOTOS = {
    "wide.jpg": ("RGB", (300, 200), {}), "tall.jpg": ("RGB", (90, 260), {}), "large.jpg": ("RGB", (1400, 1100), {}),
    "turned.jpg": ("RGB", (200, 130), {"exif": 6}), "grey.jpg": ("L", (80, 99), {}), "tiny.png": ("RGB", (20, 31), {}),
    "clear.png": ("RGBA", (90, 70), {}), "palette.png": ("P", (77, 120), {}), "deep.png": ("I;16", (70, 80), {}),
    "print.jpg": ("CMYK", (130, 100), {}),
}  # fmt: skip
# Smaller than the photos are kept, and larger; square, wide, tall, grey.
SHAPES = [
    TINY_ARCH, replace(TINY_ARCH, resolution=Size(24, 40)), replace(TINY_ARCH, resolution=Size(40, 30), in_channels=1),
    replace(TINY_ARCH, resolution=144), replace(TINY_ARCH, resolution=Size(150, 120), in_channels=1),
]  # fmt: skip
# As networks that begin with published weights are: torchvision's pixels, and Google's padding and epsilon, and both.
IMAGENET = WeightsRecord("torch's", "0" * 64, "torchvision")
GOOGLE = WeightsRecord("google's", "1" * 64, "keras", epsilon=1e-3, padding="same", mean=HALF, std=HALF)
MIXED = WeightsRecord(
    "mixed", "2" * 64, "timm", epsilon=0.01, padding="same", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
)
STARTS = [
    (TINY_ARCH, IMAGENET), (TINY_ARCH, GOOGLE), (replace(TINY_ARCH, resolution=Size(23, 40)), MIXED),
    (replace(TINY_ARCH, resolution=33), MIXED), (replace(TINY_ARCH, resolution=Size(34, 26)), GOOGLE),
]  # fmt: skip
STARTED = [(replace(arch, padding=start.padding), start) for arch, start in STARTS]
# Evaluated on the middle of larger images, by how much: square, tall and grey, larger than the photos are kept, and at
# sizes of which the margins are odd.
CROPPED = [
    (SHAPES[0], None, 0.875), (SHAPES[2], None, 0.7), (SHAPES[3], None, 0.9), (SHAPES[4], None, 0.5),
    (*STARTED[2], 0.8),
]  # fmt: skip


def save_photo(path: Path, mode: str, size: tuple[int, int], how: dict) -> None:
    channels = {"RGB": 3, "RGBA": 4, "CMYK": 4}.get(mode, 0)
    random, shape = np.random.RandomState(sum(map(ord, path.name))), (size[1], size[0])
    path.parent.mkdir(parents=True, exist_ok=True)
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
def photos(tmp_path_factory) -> PhotoData:
    """Three classes of photos of many shapes and kinds; the same kinds to learn from and to be measured on."""
    root = tmp_path_factory.mktemp("deploy")
    for i, (name, photo) in enumerate(PHOTOS.items()):
        for split in ("train", "val"):
            save_photo(root / "photos" / split / "abc"[i % 3] / f"{split}-{name}", *photo)
    return open_photos(root / "photos", root / "cache")


def started_id(value) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return arch_label(value) if isinstance(value, ArchSpec) else value.name if value else "scratch"


def deploy(arch: ArchSpec, dataset, start: WeightsRecord | None = None, crop: float = 1.0) -> Deployed:
    """A network with random weights whose batch norms know the images, with the conventions of a start; `crop` as in
    Recipe.eval_crop."""
    torch.manual_seed(0)
    model, half = build_model(arch), HALF[: arch.in_channels]
    if start is not None:
        set_conventions(model, start)
    pixels = Pixels(start.mean, start.std, crop) if start else Pixels(half, half, crop)
    size = input_size(arch)
    first = find_first_size(dataset, whole_level(size, crop))
    deployed = Deployed(model, arch, dataset.classes, Preprocess(size, pixels, first, find_decoding(dataset)))
    images = next(read_batches(deployed, dataset, "train"))
    with torch.no_grad():
        for module in deployed.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        deployed.model.train()(images)
        linear = deployed.model.eval().classifier[1]
        nn.init.normal_(linear.weight, 0, 1)
        linear.bias -= deployed.model(images).mean(0)  # else all images get one answer
    return deployed


@pytest.fixture(scope="module")
def deployed(tiny_data) -> Deployed:
    return deploy(TINY_ARCH, tiny_data)


# ---------------------------------------------------------------- classify.py


@pytest.mark.parametrize(("arch", "start"), [*((arch, None) for arch in SHAPES), *STARTED], ids=started_id)
def test_the_script_reads_photos_as_training_does(photos, tmp_path, arch, start):
    check_script(photos, tmp_path, arch, start)


@pytest.mark.parametrize(("arch", "start", "crop"), CROPPED, ids=started_id)
def test_the_script_cuts_the_middle_out_as_evaluation_does(photos, tmp_path, arch, start, crop, make_trial):
    check_script(photos, tmp_path, arch, start, crop)
    how = json.loads((tmp_path / "out" / "preprocess.json").read_text())
    trial = replace(make_trial(arch=arch, eval_crop=crop), start=start)
    pixels, size = whole_pixels(photos, "val", trial), trial.train_size
    assert how["crop_from"] == [round(size.width / crop), round(size.height / crop)]
    (seen,) = read_batches(deploy(arch, photos, start, crop), photos, "val")
    assert torch.equal(seen, whole_batch(pixels, torch.arange(len(pixels)), trial, "cpu"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"the middle {crop:g} of each side of the largest part of the middle" in card
    assert f" The middle is cut out of {how['crop_from'][0]} x {how['crop_from'][1]} pixels." in card


@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_the_script_fits_photos_as_training_does(tmp_path, fit):
    """With 12-bit greys among the photos too."""
    for split in ("train", "val"):
        save_photo(tmp_path / "photos" / split / "a" / f"{split}-wide.jpg", *PHOTOS["wide.jpg"])
        save_photo(tmp_path / "photos" / split / "a" / f"{split}-clear.png", *PHOTOS["clear.png"])
        grey = np.random.RandomState(0).randint(0, 2**12, (70, 90)).astype(np.uint16)
        (tmp_path / "photos" / split / "b").mkdir()
        Image.fromarray(grey).save(tmp_path / "photos" / split / "b" / "grey.png")
    data = open_photos(tmp_path / "photos", tmp_path / "cache", options=PhotoOptions(fit=fit))
    assert find_decoding(data) == Decoding(fit, 4095)
    for arch, crop in ((SHAPES[0], 1), (SHAPES[2], 1), (SHAPES[2], 0.7)):
        check_script(data, tmp_path, arch, crop=crop)


def check_script(
    photos: PhotoData, tmp_path: Path, arch: ArchSpec, start: WeightsRecord | None = None, crop: float = 1.0
) -> None:
    one = deploy(arch, photos, start, crop)
    write_device_folder(tmp_path / "out", one, photos, Files(("onnx",)), CARD)
    script = (tmp_path / "out" / "classify.py").read_text(encoding="utf-8").partition("\nphotos = ")[0]
    names = {"__file__": str(tmp_path / "out" / "classify.py")}
    exec(script, names)
    scale, bound = file_input(one), 1e-5 * 0.5 / min(one.preprocess.pixels.std)  # a smaller std enlarges all rounding
    for images in read_batches(one, photos, "val"):
        for judged, name in zip(scale(images).numpy(), photos.names["val"], strict=True):
            image = names["read_photo"](photos.source / name)
            assert image.shape == (1, arch.in_channels, *one.size) and image.dtype == np.float32
            assert np.abs(image[0] - judged).max() < bound, name


CALL = """
import runpy, sys
for name in ("torch", "mnv2_sweep", *sys.argv.pop(1).split(",")):
    sys.modules[name] = None
models = sys.argv.pop(1).split(",")
folder, *photos = sys.argv[1:]
for model in models:
    sys.argv = [folder, *([f"{folder}/{model}"] if model else []), *photos]
    runpy.run_path(f"{folder}/classify.py")
"""


def run_script(out: Path, photos: list[str], models: str = "", without: str = "") -> subprocess.CompletedProcess:
    """Run classify.py with these models, "" for none named, without torch and some modules."""
    command = [sys.executable, "-c", CALL, without or "mnv2_sweep", models, str(out), *photos]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


@needs_runtimes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "start", "crop"), [*((arch, None, 1.0) for arch in SHAPES[:3]), (*STARTED[2], 1.0), *CROPPED[1:3]],
    ids=started_id,
)  # fmt: skip
def test_the_script_gives_the_recorded_predictions_without_torch(photos, tmp_path, arch, start, crop):
    one = deploy(arch, photos, start, crop)
    write_device_folder(tmp_path / "out", one, photos, BOTH, CARD)
    paths = [str(photos.source / name) for name in photos.names["val"]]
    run = run_script(tmp_path / "out", paths, "model.onnx,model.tflite,model-int8.tflite")
    assert run.returncode == 0, run.stderr
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == 3 * paths
    logits = torch.cat([one.model(images).detach() for images in read_batches(one, photos, "val")])
    checks = json.loads((tmp_path / "out" / "check.json").read_text())
    check, warm = checks["model-int8.tflite"], checks["model.onnx"]["confidence"]["temperature"]
    odds = (logits / warm).softmax(1)
    assert abs(warm - 1) > 0.05
    for i, (line, share) in enumerate(zip(lines, [*odds, *odds, *odds], strict=True)):
        said = {words.split()[0]: float(words.split()[1]) / 100 for words in line[1:]}
        judged = dict(zip(photos.classes, share.tolist(), strict=True))
        if i < 2 * len(paths):
            assert said == pytest.approx(judged, abs=0.0006) and max(said, key=said.get) == max(judged, key=judged.get)
    answers = [line[1].split()[0] for line in lines[2 * len(paths) :]]
    right = [answer == photos.classes[label] for answer, label in zip(answers, photos.labels["val"], strict=True)]
    assert np.mean(right) == check["top1"] and len(set(answers)) > 1
    checks["model.onnx"]["sha256"] = "of another file"  # whose temperature says nothing of this one
    (tmp_path / "out" / "check.json").write_text(json.dumps(checks))
    (line,) = run_script(tmp_path / "out", paths[:1], "model.onnx").stdout.splitlines()
    said = {words.split()[0]: float(words.split()[1]) / 100 for words in line.split("\t")[1:]}
    assert said == pytest.approx(dict(zip(photos.classes, logits[0].softmax(0).tolist(), strict=True)), abs=0.0006)


@needs_runtimes
def test_the_script_takes_the_model_whose_runtime_is_there_and_names_what_it_cannot_read(deployed, tmp_path):
    out = tmp_path / "out"
    write_device_folder(out, deployed, None, Files(("onnx", "tflite")), CARD)
    save_photo(tmp_path / "good\nname.png", *PHOTOS["tiny.png"])
    (tmp_path / "bad\x1b.png").write_bytes(b"junk")
    Image.fromarray(np.zeros((9, 9), np.int32)).save(tmp_path / "deep.tif")
    photos = [str(tmp_path / name) for name in ("bad\x1b.png", "good\nname.png", "deep.tif", "none.png")]
    for without in ("onnxruntime", "ai_edge_litert"):
        run = run_script(out, photos, without=without)
        (line,) = run.stdout.splitlines()
        assert run.returncode == 1 and line.startswith(f"{tmp_path}/good?name.png\t")
        named = [line for line in run.stderr.splitlines() if not line.startswith("INFO: ")]
        assert [line.partition(": ")[0] for line in named] == [
            f"{tmp_path}/{n}" for n in ("bad?.png", "deep.tif", "none.png")
        ]
    run = run_script(out, photos, without="onnxruntime,ai_edge_litert")
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert run.stderr.startswith("error: needs onnxruntime (.onnx) or ai-edge-litert (.tflite), with pip install, for ")
    (out / "model.onnx").write_bytes(b"junk")
    run = run_script(out, photos)
    assert run.returncode == 1 and run.stderr.startswith(f"error: {out}/model.onnx: ") and run.stderr.count("\n") == 1


# ---------------------------------------------------------------- files


@needs_runtimes
@pytest.mark.slow
def test_every_file_is_run_on_the_validation_images(deployed, tiny_data, tmp_path):
    files = Files(("onnx", "tflite", "safetensors"), int8=True)
    checks = write_device_folder(tmp_path / "out", deployed, tiny_data, files, CARD).checks
    names = [f"model.{form}" for form in files.formats]
    assert list(checks) == [*names, "model-int8.onnx", "model-int8.tflite"]
    images = len(tiny_data.labels["val"])
    for name, check in checks.items():
        assert check.images == images and not check.is_worse
        if "int8" not in name:
            assert check.agree == images and check.difference < 1e-5
    assert [check.runtime for check in checks.values()] == [
        "onnxruntime", "ai-edge-litert", "torch", "onnxruntime", "ai-edge-litert"
    ]  # fmt: skip
    records = json.loads((tmp_path / "out" / "check.json").read_text())
    assert {name: Check.load(record) for name, record in records.items()} == checks
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| model-int8.tflite |" in card and "unchecked" not in card


@needs_runtimes
@pytest.mark.slow
@pytest.mark.parametrize(("arch", "start"), STARTED, ids=started_id)
def test_files_have_the_conventions_of_the_weights_that_a_network_begins_with(photos, tmp_path, arch, start):
    one, files = deploy(arch, photos, start), Files(("onnx", "tflite", "safetensors"), int8=True)
    checks = write_device_folder(tmp_path / "out", one, photos, files, CARD).checks
    largest = max(float(one.model(images).detach().abs().max()) for images in read_batches(one, photos, "val"))
    for name, check in checks.items():
        assert check.agreement >= (0.8 if "int8" in name else 1)
        assert "int8" in name or check.difference < 1e-5 * largest
    how = json.loads((tmp_path / "out" / "preprocess.json").read_text())
    assert (how["mean"], how["std"]) == (list(start.mean), list(start.std))
    kernel = fold_network(one).nodes[0].weight
    model = onnx.load(tmp_path / "out" / "model.onnx")
    stem = numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == "features.0.0.weight"))
    assert np.array_equal(stem, kernel)
    scale = one.model.features[0][1].weight / torch.sqrt(one.model.features[0][1].running_var + start.epsilon)
    upright = one.model.features[0][0].weight * scale[:, None, None, None]
    upright = upright.flip(2, 3) if start.padding == "same" else upright
    np.testing.assert_allclose(stem, upright.detach().numpy(), rtol=1e-5)


def test_what_can_be_is_written_where_the_data_are_gone(deployed, tmp_path):
    files = Files(("onnx", "tflite", "safetensors"))
    checks = write_device_folder(tmp_path / "out", deployed, None, files, replace(CARD, notes=("gone",))).checks
    assert set(checks.values()) == {"the validation images are gone"}
    records = json.loads((tmp_path / "out" / "check.json").read_text())
    assert {record["unchecked"] for record in records.values()} == {"the validation images are gone"}
    assert (tmp_path / "out" / "labels.txt").read_text().split() == list(deployed.classes)
    with pytest.raises(SweepError, match="--int8: .* training images, which are gone; give their place with --data"):
        write_device_folder(tmp_path / "other", deployed, None, replace(files, int8=True), CARD)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("file", "words"),
    [("model.onnx", "fault of the export"), ("model-int8.onnx", "8 bits instead of 7, or the floats, model.onnx"),
     ("model-int8.tflite", "try the floats, model.tflite")],
)  # fmt: skip
def test_what_to_try_is_true_of_the_file(file, words):
    assert advise(file).endswith(words) or words in advise(file)


@pytest.mark.slow
def test_files_whose_runtime_is_missing_are_written_and_marked(deployed, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    checks = write_device_folder(tmp_path / "out", deployed, tiny_data, Files(("onnx", "safetensors")), CARD).checks
    assert checks["model.onnx"] == "its runtime is not installed" and checks["model.safetensors"].agreement == 1
    assert (tmp_path / "out" / "model.onnx").stat().st_size > 1000
    said = "its runtime is not installed"
    assert f"unchecked: {said}" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "check.json").read_text())["model.onnx"]["unchecked"] == said


@pytest.mark.heavy
def test_a_program_of_torchs_is_run_too(deployed, tiny_data, tmp_path):
    (check,) = write_device_folder(tmp_path / "out", deployed, tiny_data, Files(("pt2",)), CARD).checks.values()
    assert check.agreement == 1 and check.difference < 1e-5 and check.runtime == "torch"


def test_files_of_another_training_do_not_stay(deployed, tiny_data, tmp_path):
    write_device_folder(tmp_path / "out", deployed, None, Files(("onnx",)), CARD)
    one = write_device_folder(tmp_path / "out", deployed, None, Files(("safetensors",)), CARD)
    assert (one.stayed, one.removed) == (("model.onnx",), ()) and list(one.records) == [
        "model.onnx",
        "model.safetensors",
    ]
    other = deploy(TINY_ARCH, tiny_data)
    with torch.no_grad():
        other.model.classifier[1].bias += 1
    one = write_device_folder(tmp_path / "out", other, None, Files(("tflite",)), CARD)
    assert one.stayed == () and one.removed == ("model.onnx", "model.safetensors")
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_a_network_goes_out_with_its_own_epsilon():
    arch = ArchSpec(width=0.25, resolution=Size(24, 32), classes=3)
    model = build_model(arch).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.5
    how = Preprocess(Size(24, 32), Pixels(HALF, HALF))
    graph = fold_network(Deployed(model, arch, ("a", "b", "c"), how))
    assert graph.image.size == (24, 32)
    weight = model.features[0][0].weight.detach().numpy() / np.sqrt(1.5)
    np.testing.assert_allclose(graph.nodes[0].weight, weight, rtol=1e-6)


def test_data_that_were_never_photos_have_no_size_at_which_they_are_kept(tiny_data):
    assert find_first_size(tiny_data, square(16)) is None
