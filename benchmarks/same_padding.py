"""TensorFlow's SAME padding at stride 2 in torch, five ways: what a training step costs, and that all compute the same.

    python benchmarks/same_padding.py [WIDTH@SIZE ...]        default: 0.35@96 1.0@96 0.35@224

Each way is one network with the same weights: a step (forward, backward, SGD) on 64 images (16 from 160 px on), one
thread, the ways in turn in one process, median of the rounds as a ratio to torch's own padding. "turned" is exact
because SAME at a side of any parity is torch's padding upside down: kernels and images are turned by 180 degrees.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec

ROUNDS = 15


class Padded(nn.Conv2d):
    """Zeros joined to the map, then no padding."""

    def forward(self, x):
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), self.weight, None, 2, 0, 1, self.groups)


class Cropped(nn.Conv2d):
    """Two pixels on each side, and the first row and column of the output left out."""

    def forward(self, x):
        return functional.conv2d(x, self.weight, None, 2, 2, 1, self.groups)[:, :, 1:, 1:]


class Wider(nn.Conv2d):
    """A 4x4 kernel with a first row and column of zeros."""

    def forward(self, x):
        return functional.conv2d(x, functional.pad(self.weight, (1, 0, 1, 0)), None, 2, 1, 1, self.groups)


class Turned(nn.Module):
    """The network with its kernels turned, which turns its images."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
                    module.weight.copy_(module.weight.flip(2, 3))

    def forward(self, x):
        return self.model(x.flip(2, 3))


def make(way: str, arch: ArchSpec) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(arch).to(memory_format=torch.channels_last)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 1.0
    with torch.no_grad():  # statistics with which outputs are of some size and rounding does not grow
        model.train()(torch.randn(8, 3, arch.resolution, arch.resolution))
    kinds = {"padded": Padded, "cropped": Cropped, "4x4 kernel": Wider}
    if way in kinds:
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.__class__ = kinds[way]
    return Turned(model).to(memory_format=torch.channels_last) if way == "turned" else model


def measure(width: float, size: int) -> None:
    arch = ArchSpec(width=width, resolution=size, classes=10, dropout=0.0)
    ways = ("torch", "padded", "cropped", "4x4 kernel", "turned")
    models = {way: make(way, arch) for way in ways}
    optimizers = {way: torch.optim.SGD(model.parameters(), 1e-3, 0.9) for way, model in models.items()}
    images = torch.randn(64 if size < 160 else 16, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.arange(len(images)) % 10
    with torch.no_grad():
        outputs = {way: model.eval()(images) for way, model in models.items()}
    apart = {way: float((outputs[way] - outputs["padded"]).abs().max()) for way in ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(ROUNDS + 2):
        for way in ways[i % 5 :] + ways[: i % 5]:
            models[way].train()
            start = time.process_time()
            functional.cross_entropy(models[way](images), labels).backward()
            optimizers[way].step()
            optimizers[way].zero_grad()
            seconds[way] += [time.process_time() - start] if i > 1 else []
    largest = outputs["padded"].abs().max()
    print(f"{width} at {size}, {len(images)} images, torch {torch.__version__}; outputs to {largest:.2g}")
    base = statistics.median(seconds["torch"])
    for way in ways:
        median = statistics.median(seconds[way])
        print(f"  {way:12}{1000 * median:8.0f} ms  {median / base:6.3f}  from padded: {apart[way]:.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for word in sys.argv[1:] or ("0.35@96", "1.0@96", "0.35@224"):
        width, size = word.split("@")
        measure(float(width), int(size))
