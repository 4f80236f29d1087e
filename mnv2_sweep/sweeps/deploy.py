"""A network in torch and its data -> the export folder for a device, each file run on the validation images.

Written from the plan and the weights, calibrated on training images, and compared with torch image by image. Where a
runtime is not installed, its files are written and marked as not run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.size import square
from mnv2_sweep.data.batches import augment, image_batch
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.formats.card import Card
from mnv2_sweep.formats.check import Batch, Check, check_file
from mnv2_sweep.formats.folder import Preprocess, write_folder
from mnv2_sweep.formats.graph import EPSILON, Graph, fold_plan
from mnv2_sweep.formats.onnx import make_onnx
from mnv2_sweep.formats.quantize import Quantized, quantize_graph
from mnv2_sweep.formats.tflite import make_tflite
from mnv2_sweep.models.observe import observe_values
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.resolve import resolve

FORMATS, ENDS = ("onnx", "tflite"), ("float", "uint8", "int8")
WEIGHT_BITS = {
    "onnx": 7,
    "tflite": 8,
}  # onnxruntime multiplies 8 bits exactly only where the processor has VNNI or is an ARM
CALIBRATION_IMAGES, BATCH = 128, 64


@dataclass(frozen=True)
class Deployed:
    """A network in eval mode, what it is, and the side in pixels of the images it was trained on."""

    model: nn.Module
    arch: ArchSpec  # with the classes of its data
    size: int


@dataclass(frozen=True)
class Files:
    """Which files are wished: some of FORMATS, in 8 bits too or not, with which ends a TFLite file in 8 bits (one of
    ENDS), how many images an ONNX file reads at once (None: any number)."""

    formats: tuple[str, ...]
    int8: bool = False
    ends: str = "float"
    batch: int | None = None


def write_device_folder(folder: Path, deployed: Deployed, dataset: Dataset, files: Files, card: Card) -> dict[
    str, Check | None
]:  # fmt: skip
    """Write the folder, whole or not at all; return how each file does on the validation images, None where its runtime
    is not there. Raises StoreError."""
    graph = fold_network(deployed)
    contents = make_files(graph, deployed, dataset, files)
    checked: list[Batch] = []

    def check(path: Path) -> Check | None:
        checked[:] = checked or validation_batches(deployed, dataset)
        try:
            return check_file(path, checked)
        except StoreError:
            raise
        except SweepError:  # no runtime
            return None

    return write_folder(folder, contents, dataset.classes, preprocess_of(deployed, dataset), card, check)


def fold_network(deployed: Deployed) -> Graph:
    """Return the network as a device runs it, at the size that it was trained at."""
    norms = (module for module in deployed.model.modules() if isinstance(module, nn.BatchNorm2d))
    epsilon = next((norm.eps for norm in norms), EPSILON)
    state = {name: tensor.cpu() for name, tensor in deployed.model.state_dict().items()}
    return fold_plan(resolve(replace(deployed.arch, resolution=deployed.size)), state, epsilon)


def make_files(graph: Graph, deployed: Deployed, dataset: Dataset, files: Files) -> dict[str, bytes]:
    """Return the files' contents by their names."""
    about = {"classes": list(dataset.classes), "preprocess": preprocess_of(deployed, dataset).record()}
    write: dict[str, Callable[[Quantized | None], bytes]] = {
        "onnx": lambda quantized: make_onnx(graph, about, quantized, files.batch).SerializeToString(),
        "tflite": lambda quantized: make_tflite(graph, about, quantized, files.ends),
    }
    contents = {f"model.{form}": write[form](None) for form in files.formats}
    if files.int8:
        values = observe_values(graph, read_batches(deployed, dataset, "train", CALIBRATION_IMAGES))
        for form in files.formats:
            contents[f"model-int8.{form}"] = write[form](quantize_graph(graph, values, WEIGHT_BITS[form]))
    return contents


def read_batches(deployed: Deployed, dataset: Dataset, split: str, most: int | None = None) -> Iterator[Tensor]:
    """Yield images as evaluation sees them, float32 [N, channels, size, size]; of all, or `most` drawn from them."""
    pixels = dataset.pixels(split, deployed.size)
    for chosen in _drawn(len(pixels), most).split(BATCH):
        yield augment(image_batch(pixels, chosen, "cpu"), deployed.size).contiguous()


def _drawn(count: int, most: int | None) -> Tensor:
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return drawn[: count if most is None else most].sort().values


@torch.inference_mode()
def validation_batches(deployed: Deployed, dataset: Dataset) -> list[Batch]:
    """Return the validation images with their labels and the network's logits."""
    model, labels = deployed.model.cpu().eval(), dataset.labels["val"]
    batches, at = [], 0
    for images in read_batches(deployed, dataset, "val"):
        batches.append(Batch(images.numpy(), labels[at : at + len(images)], model(images).numpy()))
        at += len(images)
    return batches


def preprocess_of(deployed: Deployed, dataset: Dataset) -> Preprocess:
    """Return what was done to the images: pixels from -1 to 1, by way of the side at which photos are kept."""
    stored = getattr(dataset, "side", None)
    half = (0.5,) * 3
    return Preprocess(square(deployed.size), 3, half, half, None if stored is None else square(stored))
