"""Networks of every family and choice with random weights, in torch and as graphs, and how far logits differ."""

import numpy as np
import pytest
import torch
from torch import nn

from mnv2_sweep.base.size import Size
from mnv2_sweep.formats.graph import Graph, fold_plan
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.padding import upright_state
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, arch_label, input_size
from mnv2_sweep.nets.resolve import resolve
from tests.arch_samples import draw_arch

NEEDS_RUNTIMES = "needs the extra 'export': pip install 'mnv2-sweep[export]'"
SMALL = {"width": 0.35, "classes": 10}
BY_ROW = (Stage(1, 16, 1, 1, 5), Stage(4, 24, 2, 2, 3, 0.0), Stage(3, 32, 2, 2, 7))
SAMPLES = [
    ArchSpec(resolution=64, **SMALL),
    ArchSpec(resolution=33, activation="relu", residual="none", **SMALL),
    ArchSpec(resolution=48, activation="hswish", residual="expansion", **SMALL),
    ArchSpec(resolution=31, residual="expansion", linear_bottleneck=False, **SMALL),
    ArchSpec(resolution=32, activation="hswish", linear_bottleneck=False, stages=MOBILENET_V2[:3], **SMALL),
    ArchSpec(resolution=40, depthwise=False, stages=MOBILENET_V2[:4], kernel=5, **SMALL),
    ArchSpec(resolution=1, **SMALL),
    ArchSpec(family="mobilenet_v1", width=0.25, resolution=64, classes=10),
    ArchSpec(family="mobilenet_v1", width=0.25, resolution=31, classes=1),
    *(
        ArchSpec(family="shufflenet_v1", groups=groups, width=0.5, resolution=size, classes=10)
        for groups, size in ((1, 32), (2, 50), (3, 64), (4, 33), (8, 31))
    ),
    *(ArchSpec(family="nasnet_a", width=0.25, resolution=size, classes=10) for size in (1, 31, 64)),
    ArchSpec(resolution=64, padding="same", **SMALL),
    ArchSpec(resolution=Size(37, 50), padding="same", se_ratio=0.5, in_channels=1, stages=BY_ROW, **SMALL),
    ArchSpec(resolution=31, padding="same", residual="expansion", kernel=5, **SMALL),
    ArchSpec(resolution=32, se_ratio=0.25, stages=MOBILENET_V2[:3], **SMALL),
    ArchSpec(resolution=Size(23, 40), se_ratio=0.5, activation="hswish", residual="expansion", stages=BY_ROW, **SMALL),
    ArchSpec(resolution=Size(40, 30), in_channels=1, last_channels=0, stem_channels=8, divisor=4, **SMALL),
    ArchSpec(family="mobilenet_v1", width=0.25, resolution=Size(33, 64), in_channels=1, classes=10),
    ArchSpec(family="shufflenet_v1", groups=3, width=0.25, resolution=Size(64, 35), in_channels=1, classes=10),
    ArchSpec(family="nasnet_a", width=0.25, resolution=Size(20, 33), in_channels=1, classes=10),
]
# NASNet has 478 layers at any width: one of it is enough for `make test`.
MARKED = [
    pytest.param(
        arch,
        id=arch_label(arch),
        marks=[pytest.mark.heavy] if arch.family == "nasnet_a" and arch != SAMPLES[-1] else [],
    )
    for arch in SAMPLES
]
DRAWN = [draw_arch(seed) for seed in range(8)]


@torch.no_grad()
def random_network(arch: ArchSpec, seed: int = 0, knows_images: bool = False) -> tuple[nn.Module, Graph]:
    """The network in torch with random weights, and the same as a graph. Where its batch norms know images, as those of
    trained networks do, differences between images reach its end, and those of rounding are enlarged on the way."""
    torch.manual_seed(seed)
    model = build_model(arch).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
    if knows_images:
        model.train()(torch.from_numpy(random_images(arch, 16)))
    return model.eval(), fold_plan(resolve(arch), upright_state(model))


def random_images(arch: ArchSpec, count: int = 4, seed: int = 1) -> np.ndarray:
    """Noise that is smooth in places, float32 [count, channels, height, width] in [-1, 1]."""
    channels, size = arch.in_channels, input_size(arch)
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=size, mode="bilinear")
    fine = torch.rand(count, channels, *size, generator=generator)
    return (0.7 * smooth + 0.3 * fine).mul(2).sub(1).numpy()


@torch.inference_mode()
def torch_logits(model: nn.Module, images: np.ndarray) -> np.ndarray:
    return model(torch.from_numpy(images)).numpy()


def largest_difference(logits: np.ndarray, judged: np.ndarray) -> float:
    """As a share of the largest logit: NASNet's random weights make thousands of the input's ones."""
    assert logits.shape == judged.shape
    return float(np.abs(logits - judged).max() / max(1.0, np.abs(judged).max()))


def signal_db(logits: np.ndarray, judged: np.ndarray) -> float:
    """How far the spread of the logits lies above that of the differences, in decibels."""
    spread = np.square(judged - judged.mean(axis=0)).sum() + 1e-20
    return float(10 * np.log10(spread / (np.square(logits - judged).sum() + 1e-20)))
