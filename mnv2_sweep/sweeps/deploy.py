"""A network in torch and its data -> the export folder for a device, each file run on the validation images.

Written from the plan and the weights, calibrated on training images, and compared with torch image by image. Where a
runtime is not installed, its files are written and marked as not run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.batches import augment, image_batch
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.data.photos import PhotoData
from mnv2_sweep.formats.card import Card
from mnv2_sweep.formats.check import Batch, Check, check_file, check_run
from mnv2_sweep.formats.folder import Preprocess, write_folder
from mnv2_sweep.formats.graph import Graph, fold_plan
from mnv2_sweep.formats.onnx import make_onnx
from mnv2_sweep.formats.quantize import Quantized, quantize_graph
from mnv2_sweep.formats.runtimes import Run
from mnv2_sweep.formats.tflite import make_tflite
from mnv2_sweep.models.network_files import find_epsilon, load_pt2, load_safetensors, make_pt2, make_safetensors
from mnv2_sweep.models.observe import observe_values
from mnv2_sweep.nets.arch import ArchSpec, input_size
from mnv2_sweep.nets.resolve import resolve

DEVICE, OF_TORCH = ("onnx", "tflite"), {"safetensors": load_safetensors, "pt2": load_pt2}
FORMATS, ENDS = (*DEVICE, *OF_TORCH), ("float", "uint8", "int8")
WEIGHT_BITS = {
    "onnx": 7,
    "tflite": 8,
}  # onnxruntime multiplies 8 bits exactly only where the processor has VNNI or is an ARM
CALIBRATION_IMAGES, BATCH = 128, 64


@dataclass(frozen=True)
class Deployed:
    """A network in eval mode, and what it is: with the head and at the size that it was trained with."""

    model: nn.Module
    arch: ArchSpec

    @property
    def size(self) -> Size:
        """Return the size of its images."""
        return input_size(self.arch)


@dataclass(frozen=True)
class Files:
    """Which files are wished: some of FORMATS, those for a DEVICE in 8 bits too or not, which ends a TFLite file has in
    8 bits (one of ENDS), how many images an ONNX file reads at once (None: any number)."""

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
    logits: list[np.ndarray] = []

    def check(path: Path) -> Check | None:
        batches, load = validation_batches(deployed, dataset, logits), OF_TORCH.get(path.suffix[1:])
        if load is not None:
            return check_run(run_module(load(path)), batches, "torch", torch.__version__)
        try:
            return check_file(path, batches)
        except StoreError:
            raise
        except SweepError:  # no runtime
            return None

    return write_folder(folder, contents, dataset.classes, preprocess_of(deployed, dataset), card, check)


def fold_network(deployed: Deployed) -> Graph:
    """Return the network as a device runs it, at the size that it was trained at."""
    state = {name: tensor.cpu() for name, tensor in deployed.model.state_dict().items()}
    return fold_plan(resolve(deployed.arch), state, find_epsilon(deployed.model))


def make_files(graph: Graph, deployed: Deployed, dataset: Dataset, files: Files) -> dict[str, bytes]:
    """Return the files' contents by their names."""
    about = {"classes": list(dataset.classes), "preprocess": preprocess_of(deployed, dataset).record()}
    write: dict[str, Callable[[Quantized | None], bytes]] = {
        "onnx": lambda quantized: make_onnx(graph, about, quantized, files.batch).SerializeToString(),
        "tflite": lambda quantized: make_tflite(graph, about, quantized, files.ends),
        "safetensors": lambda _: make_safetensors(deployed.model, deployed.arch, about),
        "pt2": lambda _: make_pt2(deployed.model, deployed.arch, about),
    }
    contents = {f"model.{form}": write[form](None) for form in files.formats}
    if files.int8:
        values = observe_values(graph, read_batches(deployed, dataset, "train", CALIBRATION_IMAGES))
        for form in (form for form in files.formats if form in DEVICE):
            contents[f"model-int8.{form}"] = write[form](quantize_graph(graph, values, WEIGHT_BITS[form]))
    return contents


def read_batches(deployed: Deployed, dataset: Dataset, split: str, most: int | None = None) -> Iterator[Tensor]:
    """Yield images as evaluation sees them, float32 [N, channels, height, width]; all, or `most` drawn from them."""
    pixels = dataset.pixels(split, deployed.size)
    for chosen in _drawn(len(pixels), most).split(BATCH):
        yield augment(image_batch(pixels, chosen, "cpu", deployed.arch.in_channels), deployed.size).contiguous()


def _drawn(count: int, most: int | None) -> Tensor:
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return drawn[: count if most is None else most].sort().values


def validation_batches(deployed: Deployed, dataset: Dataset, logits: list[np.ndarray]) -> Iterator[Batch]:
    """Yield the validation images with their labels and the network's logits, which it computes unless they are known
    from a time before: a list of them by batch, which is filled."""
    run, labels, at = run_module(deployed.model.cpu().eval()), dataset.labels["val"], 0
    for i, images in enumerate(read_batches(deployed, dataset, "val")):
        if i == len(logits):
            logits.append(run(images.numpy()))
        yield Batch(images.numpy(), labels[at : at + len(images)], logits[i])
        at += len(images)


def run_module(model: nn.Module) -> Run:
    """Return what runs a network in torch as files are run."""

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(images)).numpy()

    return run


def preprocess_of(deployed: Deployed, dataset: Dataset) -> Preprocess:
    """Return what was done to the images: pixels from -1 to 1, by way of the size at which photos are kept."""
    channels = deployed.arch.in_channels
    half = (0.5,) * channels
    if not isinstance(dataset, PhotoData):
        return Preprocess(deployed.size, channels, half, half)
    return Preprocess(deployed.size, channels, half, half, dataset.decoded_size(deployed.size), dataset.decoding)
