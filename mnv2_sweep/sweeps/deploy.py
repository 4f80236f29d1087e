"""A network in torch and its data -> the export folder for a device, each file run on the validation images.

Written from the plan and the weights, calibrated on training images, and compared with torch image by image. Files read
the pixels that the network was trained on, `Pixels`; in torch it makes them of images from -1 to 1 itself. Where a
runtime is not installed, or the data are gone, files are written and marked as unchecked.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mnv2_sweep.analysis.confidence import confidence_record
from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.batches import cut_middle, image_batch
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.formats.card import NO_IMAGES, NO_RUNTIME, Card
from mnv2_sweep.formats.check import Batch, Check, check_run
from mnv2_sweep.formats.folder import Preprocess, Written, write_folder
from mnv2_sweep.formats.graph import Graph, fold_plan
from mnv2_sweep.formats.onnx import make_onnx
from mnv2_sweep.formats.quantize import WEIGHT_BITS, Quantized, quantize_graph
from mnv2_sweep.formats.runtimes import Run, load_file, runtime_version
from mnv2_sweep.formats.tflite import make_tflite
from mnv2_sweep.models.network_files import find_epsilon, load_pt2, load_safetensors, make_pt2, make_safetensors
from mnv2_sweep.models.observe import observe_values
from mnv2_sweep.models.padding import ImageInput, upright_state
from mnv2_sweep.models.pte_files import executorch_version, load_pte, make_pte
from mnv2_sweep.nets.arch import ArchSpec, arch_record
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.training.kept import tensors_digest

ONNX, TFLITE = DEVICE = ("onnx", "tflite")
OF_TORCH = {"safetensors": load_safetensors, "pt2": load_pt2}
PTE = "pte"
FORMATS, ENDS = (*DEVICE, *OF_TORCH, PTE), ("float", "uint8", "int8")
CALIBRATION_IMAGES, BATCH = 128, 64


@dataclass(frozen=True)
class Deployed:
    """A network in eval mode, and what it is: with the head and at the size that it was trained with, its classes by
    name, what a photo becomes before it."""

    model: nn.Module
    arch: ArchSpec
    classes: tuple[str, ...]
    preprocess: Preprocess

    @property
    def size(self) -> Size:
        """Return the size of its images."""
        return self.preprocess.size

    @property
    def digest(self) -> str:
        """Return a digest of all that its files are made of."""
        told = [arch_record(self.arch), self.classes, self.preprocess.record(), find_epsilon(self.model)]
        parts = json.dumps(told, sort_keys=True) + tensors_digest(upright_state(self.model))
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(frozen=True)
class Files:
    """Which files are wished: some of FORMATS, those for a DEVICE in 8 bits too or not, which ends a TFLite file has in
    8 bits (one of ENDS), how many images an ONNX file reads at once (None: any number)."""

    formats: tuple[str, ...]
    int8: bool = False
    ends: str = "float"
    batch: int | None = None


def write_device_folder(folder: Path, deployed: Deployed, dataset: Dataset | None, files: Files, card: Card) -> Written:
    """Write the folder, whole or not at all, with how each file does on the validation images, or why it was not run.
    Raises SweepError where 8 bits are wished and the data are gone, StoreError."""
    contents = make_files(fold_network(deployed), deployed, dataset, files)
    logits: list[np.ndarray] = []

    def check(path: Path) -> Check | str:
        if dataset is None:
            return NO_IMAGES
        try:
            run, *ran_by = load_network_file(path)
        except StoreError:
            raise
        except SweepError:
            return NO_RUNTIME
        return check_network(run, validation_batches(deployed, dataset, logits), *ran_by)

    ends = {f"model-int8.{TFLITE}": files.ends} if files.int8 and files.ends != ENDS[0] else {}
    card = replace(card, digest=deployed.digest, ends=ends)
    return write_folder(folder, contents, deployed.classes, deployed.preprocess, card, check)


def load_network_file(path: Path) -> tuple[Run, str, str]:
    """Return what runs a file, what that is called, and its version. Raises StoreError where the file is no network,
    SweepError where its runtime is missing."""
    if path.suffix == f".{PTE}":
        return load_pte(path), *executorch_version()
    load = OF_TORCH.get(path.suffix[1:])
    if load is not None:
        return run_module(load(path)), "torch", torch.__version__
    return load_file(path), *runtime_version(path)


def check_network(run: Run, batches: Iterator[Batch], runtime: str, version: str) -> Check:
    """Hold what a file gives against torch and the labels, and fit its confidence to it."""
    logits, labels = [], []

    def run_and_note(images: np.ndarray) -> np.ndarray:
        logits.append(run(images))
        return logits[-1]

    def noted() -> Iterator[Batch]:
        for batch in batches:
            labels.append(batch.labels)
            yield batch

    check = check_run(run_and_note, noted(), runtime, version)
    return check._replace(confidence=confidence_record(np.concatenate(logits), np.concatenate(labels)))


def fold_network(deployed: Deployed) -> Graph:
    """Return the network as a device runs it, at the size that it was trained at."""
    return fold_plan(resolve(deployed.arch), upright_state(deployed.model), find_epsilon(deployed.model))


def make_files(graph: Graph, deployed: Deployed, dataset: Dataset | None, files: Files) -> dict[str, bytes]:
    """Return the files' contents by their names. Raises SweepError where 8 bits are wished and the data are gone."""
    if files.int8 and dataset is None:
        raise SweepError(
            "--int8: 8 bits are calibrated on training images, which are gone; give their place with --data PATH, or "
            "leave --int8 out"
        )
    about = {"classes": list(deployed.classes), "preprocess": deployed.preprocess.record()}
    write: dict[str, Callable[[Quantized | None], bytes]] = {
        "onnx": lambda quantized: make_onnx(graph, about, quantized, files.batch).SerializeToString(),
        "tflite": lambda quantized: make_tflite(graph, about, quantized, files.ends),
        "safetensors": lambda _: make_safetensors(deployed.model, deployed.arch, about),
        "pt2": lambda _: make_pt2(graph, about),
        PTE: lambda _: make_pte(graph),
    }
    contents = {f"model.{form}": write[form](None) for form in files.formats}
    if files.int8:
        scale, batches = file_input(deployed), read_batches(deployed, dataset, "train", CALIBRATION_IMAGES)
        values = observe_values(graph, map(scale, batches))
        for form in (form for form in files.formats if form in DEVICE):
            contents[f"model-int8.{form}"] = write[form](quantize_graph(graph, values, WEIGHT_BITS[form]))
    return contents


def file_input(deployed: Deployed) -> ImageInput:
    """Return what makes of images from -1 to 1 those that a file reads."""
    return ImageInput(False, deployed.preprocess.pixels.mean, deployed.preprocess.pixels.std)


def read_batches(deployed: Deployed, dataset: Dataset, split: str, most: int | None = None) -> Iterator[Tensor]:
    """Yield images as evaluation sees them, float32 [N, channels, height, width]; all, or `most` drawn from them."""
    pixels, crop = dataset.pixels(split, deployed.preprocess.whole), deployed.preprocess.pixels.eval_crop
    for chosen in _drawn(len(pixels), most).split(BATCH):
        images = image_batch(pixels, chosen, "cpu", deployed.arch.in_channels)
        yield cut_middle(images, deployed.size, crop).contiguous()


def _drawn(count: int, most: int | None) -> Tensor:
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return drawn[: count if most is None else most].sort().values


def validation_batches(deployed: Deployed, dataset: Dataset, logits: list[np.ndarray]) -> Iterator[Batch]:
    """Yield the validation images as files read them, with their labels and the network's logits, which it computes
    unless they are known from a time before: a list of them by batch, which is filled."""
    run, labels, at = run_module(deployed.model.cpu().eval()), dataset.labels["val"], 0
    scale = file_input(deployed)
    for i, images in enumerate(read_batches(deployed, dataset, "val")):
        if i == len(logits):
            logits.append(run(images.numpy()))
        yield Batch(scale(images).numpy(), labels[at : at + len(images)], logits[i])
        at += len(images)


def run_module(model: nn.Module) -> Run:
    """Return what runs a network in torch as files are run."""

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(images)).numpy()

    return run
