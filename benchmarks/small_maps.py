"""Training on small maps: torch's own convolutions against `models.convolution`, in turns, one thread.

python benchmarks/small_maps.py [--batch 64]: a line for each layer and each network, medians of images/s and the ratio.
"""

import argparse
import statistics
import time
from contextlib import nullcontext

import torch
from torch import nn

from mnv2_sweep.base.heap import keep_heap
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.convolution import fast_convolutions
from mnv2_sweep.nets.arch import ArchSpec, arch_label

NETWORKS = [(0.35, 24), (0.5, 32), (1.0, 40), (1.0, 56), (1.4, 56), (1.0, 96)]
ROUNDS = 7


def layers(batch: int) -> list[tuple[str, nn.Module, torch.Tensor]]:
    made = []
    for side in (1, 2, 3, 4):
        depthwise = nn.Conv2d(576, 576, 3, 1, 1, groups=576, bias=False)
        pointwise = nn.Conv2d(96, 576, 1, bias=False)
        for name, layer in (("depthwise 3x3 of 576", depthwise), ("pointwise 96 to 576", pointwise)):
            images = torch.randn(batch, layer.in_channels, side, side)
            made.append((f"{name} on {side}x{side}", layer, images))
    return made


def networks(batch: int) -> list[tuple[str, nn.Module, torch.Tensor]]:
    made = []
    for width, side in NETWORKS:
        arch = ArchSpec(width=width, resolution=side, classes=10)
        made.append((arch_label(arch), build_model(arch), torch.randn(batch, 3, side, side)))
    return made


def time_training(model: nn.Module, images: torch.Tensor, fast: bool) -> float:
    """Seconds of a forward and backward pass, as in a training step."""
    began = time.perf_counter()
    with fast_convolutions(model) if fast else nullcontext():
        out = model(images)
    out.square().sum().backward()
    return time.perf_counter() - began


def compare(model: nn.Module, images: torch.Tensor) -> tuple[float, float]:
    """Median seconds with torch's convolutions and with ours, in turns."""
    model = model.to(memory_format=torch.channels_last).train()
    images = images.to(memory_format=torch.channels_last)
    seconds: list[list[float]] = [[], []]
    for _ in range(ROUNDS + 1):
        for fast in (False, True):
            seconds[fast].append(time_training(model, images, fast))
    seconds = [taken[1:] for taken in seconds]  # the first round warms up
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    batch = parser.parse_args().batch
    torch.set_num_threads(1)
    keep_heap()
    print(f"torch {torch.__version__}, one thread, batch {batch}, images/s (median of {ROUNDS})")
    for name, model, images in layers(batch) + networks(batch):
        torchs, ours = compare(model, images)
        print(f"{name:28} torch {batch / torchs:8,.0f}   ours {batch / ours:8,.0f}   ratio {torchs / ours:5.2f}")


if __name__ == "__main__":
    main()
