"""The 22 networks of paper_grid as ONNX and TFLite files, in 32-bit floats and in 8 bits: seconds, sizes, differences.

    python benchmarks/export.py [--networks 22] [--images 64] [--classes 1000] [--peer 22]
    python benchmarks/export.py --sweep results/NAME [--data PHOTOS] [--networks 22] [--seed 0]

Weights are random; batch norms know the images (`shapes`) and the classifier is fitted to them, so that answers mean
something. Random layers enlarge differences more than trained ones, so that 8 bits look worse than they are. By column:
- onnx s, tflite s: fold the batch norms and write the file in floats, imports done; the median of three.
- peer s: torch.onnx's default exporter (dynamo, without its own optimisation or checks switched off), once, for the
  first --peer networks; the first call, which also imports, is not counted. x: how many times as long as "onnx s".
- difference: the largest of a logit from torch, of the file in floats, as a share of the largest logit.
- int8 s: what the tensors hold over the images (in torch), then both files; ONNX with weights of 7 bits.
- agree: images that get torch's answer, of those that the classifier was fitted to.

With --sweep, the kept networks of a sweep instead, on its validation images and calibrated on its training images, a
row a file: seconds to write it (8 bits: both files, with what the tensors hold), its size, the largest difference of a
logit from torch, also as a share of the largest logit, images that get torch's answer, top-1 with its 95 % interval,
and a star where it gets fewer right than torch by more than chance explains.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mnv2_sweep.base.size import square
from mnv2_sweep.base.text import align
from mnv2_sweep.cli.progress import open_recorded
from mnv2_sweep.data.batches import scale_pixels
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.data.shapes import SHAPES
from mnv2_sweep.formats.check import Batch, Check, check_run
from mnv2_sweep.formats.graph import fold_plan
from mnv2_sweep.formats.onnx import write_onnx
from mnv2_sweep.formats.quantize import quantize_graph
from mnv2_sweep.formats.tflite import write_tflite
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.observe import observe_values
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.sweeps.deploy import (
    DEVICE,
    Deployed,
    Files,
    check_network,
    fold_network,
    load_network_file,
    make_files,
    validation_batches,
)
from mnv2_sweep.sweeps.export import export_network
from mnv2_sweep.sweeps.schedule import trained_madds
from mnv2_sweep.trials.tasks import trained_network
from mnv2_sweep.trials.trial import CLASSIFY, trial_id
from mnv2_sweep.trials.ways import is_kept, way_of

SPACE = Path(__file__).parent.parent / "spaces" / "paper_grid.yaml"
HEAD = (
    "network", "onnx s", "peer s", "x", "MB", "difference", "tflite s", "MB", "difference", "int8 s", "onnx MB",
    "agree %", "tflite MB", "agree %",
)  # fmt: skip
RIDGE = 1.0
SHORTCUT_GAIN = 0.2  # as trainings here begin


def make_network(arch: ArchSpec, images: torch.Tensor, labels: np.ndarray) -> nn.Module:
    """A network with random weights and a classifier fitted to the images by least squares."""
    torch.manual_seed(0)
    model = build_model(arch).to(memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        for norm in model.shortcut_norms():
            norm.weight.fill_(SHORTCUT_GAIN)
        model.train()(images)
        features = model.eval().features(images).mean(dim=(2, 3))
        wished = torch.eye(arch.classes)[torch.from_numpy(labels)]
        middle = features.mean(0)
        spread = features - middle
        inner = spread @ spread.T + RIDGE * torch.eye(len(images))
        weight = spread.T @ torch.linalg.solve(inner, wished - wished.mean(0))
        model.classifier[1].weight.copy_(10 * weight.T)
        model.classifier[1].bias.copy_(10 * (wished.mean(0) - middle @ weight))
    return model


def draw_images(count: int, size: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Images of the embedded data set [count, 3, size, size] and their labels."""
    scenes = SHAPES.draw(count, seed)
    pixels = np.concatenate(list(SHAPES.render_chunks(scenes, square(size))))
    return scale_pixels(torch.from_numpy(pixels)), scenes.label.astype(np.int64)


def seconds_of(work: Callable[[], Any], times: int = 1) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def export_by_peer(model: nn.Module, image: torch.Tensor, path: Path) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return seconds_of(lambda: torch.onnx.export(model, (image,), path, verbose=False))


def measure(arch: ArchSpec, count: int, folder: Path, has_peer: bool) -> list[str]:
    """One row of the table."""
    images, labels = draw_images(count, arch.resolution, 0)
    model = make_network(arch, images, labels)
    with torch.inference_mode():
        logits = model(images).numpy()
    batches = [Batch(images.numpy(), labels, logits)]
    plan, state = resolve(arch), model.state_dict()
    onnx, tflite, peer = folder / "model.onnx", folder / "model.tflite", folder / "peer.onnx"
    onnx_seconds = seconds_of(lambda: write_onnx(onnx, fold_plan(plan, state), {}), 3)
    tflite_seconds = seconds_of(lambda: write_tflite(tflite, fold_plan(plan, state), {}), 3)
    peer_seconds = export_by_peer(model, images[:1].contiguous(), peer) if has_peer else None
    most = float(np.abs(logits).max())
    row = [arch_label(arch), f"{onnx_seconds:.3f}", *_ratio(peer_seconds, onnx_seconds)]
    row += [*_floats(onnx, batches, most), f"{tflite_seconds:.3f}", *_floats(tflite, batches, most)]

    def write_int8() -> None:
        graph = fold_plan(plan, state)
        values = observe_values(graph, [images])
        write_onnx(onnx, graph, {}, quantize_graph(graph, values, 7))
        write_tflite(tflite, graph, {}, quantize_graph(graph, values, 8))

    row.append(f"{seconds_of(write_int8):.1f}")
    for path in (onnx, tflite):
        check = _check(path, batches)
        row += [_megabytes(path), f"{100 * check.agree / check.images:.1f}"]
    return row


def _ratio(peer_seconds: float | None, seconds: float) -> list[str]:
    return ["", ""] if peer_seconds is None else [f"{peer_seconds:.2f}", f"{peer_seconds / seconds:.0f}"]


def _floats(path: Path, batches: list[Batch], most: float) -> list[str]:
    check: Check = _check(path, batches)
    assert check.agree == check.images, f"{path}: {check}"
    return [_megabytes(path), f"{check.difference / most:.1e}"]


def _check(path: Path, batches: list[Batch]) -> Check:
    run, *ran_by = load_network_file(path)
    return check_run(run, batches, *ran_by)


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f}"


# ---------------------------------------------------------------- the networks of a sweep

SWEEP_HEAD = ("network", "file", "seconds", "MB", "difference", "of largest", "agree %", "top-1 %", "95 %", "worse")


def measure_sweep(folder: Path, data: str | None, count: int, seed: int) -> list[list[str]]:
    """A table with a row for each file of each kept network, in the order of their cost."""
    outcomes = [one for one in read_outcomes(folder) if one.status == "done" and one.trial.seed == seed]
    kept = [one.trial for one in outcomes if is_kept(folder, one.trial) and one.trial.task == CLASSIFY]
    kept = sorted({trial_id(trial): trial for trial in kept}.values(), key=trained_madds)
    rows = [list(SWEEP_HEAD)]
    for trial in kept[:count]:
        dataset = open_recorded(folder, trial, data)
        exported = export_network(folder, dataset, arch_label(trial.arch), seed, not way_of(trial).goes_on)
        deployed = Deployed(exported.model, trained_network(trial), exported.classes, exported.preprocess)
        for row in measure_files(deployed, dataset):
            rows.append([arch_label(trial.arch), *row])
            print("  ".join(rows[-1]), flush=True)
    print(f"\n{folder}: {len(kept)} networks with their weights, {len(outcomes) - len(kept)} without", flush=True)
    return rows


def measure_files(deployed: Deployed, dataset: Dataset) -> Iterator[list[str]]:
    logits: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        for form in DEVICE:
            for int8 in (False, True):
                path, files = Path(folder) / f"model{'-int8' * int8}.{form}", Files((form,), int8)
                seconds = seconds_of(partial(_write_file, path, deployed, dataset, files), 1 if int8 else 3)
                run, *ran_by = load_network_file(path)
                check = check_network(run, validation_batches(deployed, dataset, logits), *ran_by)
                most = max(float(np.abs(part).max()) for part in logits)
                low, high = check.interval
                yield [
                    path.name, f"{seconds:.2f}", _megabytes(path), f"{check.difference:.1e}",
                    f"{check.difference / most:.1e}", f"{100 * check.agreement:.1f}", f"{100 * check.top1:.1f}",
                    f"{100 * low:.1f}-{100 * high:.1f}", "*" if check.is_worse else "",
                ]  # fmt: skip


def _write_file(path: Path, deployed: Deployed, dataset: Dataset, files: Files) -> None:
    path.write_bytes(make_files(fold_network(deployed), deployed, dataset, files)[path.name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=22)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--peer", type=int, default=22)
    parser.add_argument("--sweep", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.sweep is not None:
        rows = measure_sweep(chosen.sweep, chosen.data, chosen.networks, chosen.seed)
        print("\n" + align(rows, left=("network", "file")))
        return
    archs = [replace(arch, classes=chosen.classes) for arch in expand(load_space(SPACE))]
    with tempfile.TemporaryDirectory() as folder:
        if chosen.peer:
            tiny = ArchSpec(width=0.35, resolution=32, classes=10)
            export_by_peer(build_model(tiny).eval(), torch.zeros(1, 3, 32, 32), Path(folder) / "peer.onnx")
        rows = [list(HEAD)]
        for at, arch in enumerate(archs[: chosen.networks]):
            rows.append(measure(arch, chosen.images, Path(folder), at < chosen.peer))
            print("  ".join(rows[-1]), flush=True)
    print("\n" + align(rows))


if __name__ == "__main__":
    main()
