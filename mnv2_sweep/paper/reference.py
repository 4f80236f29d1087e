"""Published accuracies of MobileNetV2 and V1, written out with their source, each tied to the ArchSpec it belongs to.

"Paper" is Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv 1801.04381 version 4. All accuracies are top-1 or top-5 on the ImageNet validation images, in percent as
printed; the look-ups say what they give. MAdds and params are in millions as printed, and TF-slim's two lists count
unlike each other: V2's cuts MAdds to whole millions (71.7 is printed as 71) and leaves batch norm out of params, V1's
rounds and counts three numbers per channel of batch norm. So compare costs by `count_cost`; `paper` says row by row
where and why the printed ones differ. The paper's own tables are in `published`.
"""

from dataclasses import dataclass, replace

from mnv2_sweep.archs.arch import ArchSpec, arch_label


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One trained network as its authors published it."""

    arch: ArchSpec
    madds_m: int
    params_m: float
    top1_percent: float
    top5_percent: float


@dataclass(frozen=True, slots=True)
class EndValue:
    """Where a curve of figure 6 ends: mean top-1 over 6.5 to 7.0 million steps."""

    arch: ArchSpec
    top1_percent: float


# tensorflow/models, research/slim/nets/mobilenet/README.md, the 22 MobileNetV2 checkpoints:
# width, resolution, MAdds (M), params (M), top-1, top-5.
_TF_SLIM = (
    (1.4, 224, 582, 6.06, 75.0, 92.5),
    (1.3, 224, 509, 5.34, 74.4, 92.1),
    (1.0, 224, 300, 3.47, 71.8, 91.0),
    (1.0, 192, 221, 3.47, 70.7, 90.1),
    (1.0, 160, 154, 3.47, 68.8, 89.0),
    (1.0, 128, 99, 3.47, 65.3, 86.9),
    (1.0, 96, 56, 3.47, 60.3, 83.2),
    (0.75, 224, 209, 2.61, 69.8, 89.6),
    (0.75, 192, 153, 2.61, 68.7, 88.9),
    (0.75, 160, 107, 2.61, 66.4, 87.3),
    (0.75, 128, 69, 2.61, 63.2, 85.3),
    (0.75, 96, 39, 2.61, 58.8, 81.6),
    (0.5, 224, 97, 1.95, 65.4, 86.4),
    (0.5, 192, 71, 1.95, 63.9, 85.4),
    (0.5, 160, 50, 1.95, 61.0, 83.2),
    (0.5, 128, 32, 1.95, 57.7, 80.8),
    (0.5, 96, 18, 1.95, 51.2, 75.8),
    (0.35, 224, 59, 1.66, 60.3, 82.9),
    (0.35, 192, 43, 1.66, 58.2, 81.2),
    (0.35, 160, 30, 1.66, 55.7, 79.1),
    (0.35, 128, 20, 1.66, 50.8, 75.0),
    (0.35, 96, 11, 1.66, 45.5, 70.4),
)
CHECKPOINTS = tuple(
    Checkpoint(ArchSpec(width=width, resolution=resolution), *figures) for width, resolution, *figures in _TF_SLIM
)

# tensorflow/models, research/slim/nets/mobilenet_v1.md, the 16 float MobileNetV1 checkpoints of 2018_02_22, same
# columns. Figure 5's V1 curve has other accuracies, those of the MobileNetV1 paper: `published.FIGURE_5`.
_TF_SLIM_V1 = (
    (1.0, 224, 569, 4.24, 70.9, 89.9),
    (1.0, 192, 418, 4.24, 70.0, 89.2),
    (1.0, 160, 291, 4.24, 68.0, 87.7),
    (1.0, 128, 186, 4.24, 65.2, 85.8),
    (0.75, 224, 317, 2.59, 68.4, 88.2),
    (0.75, 192, 233, 2.59, 67.2, 87.3),
    (0.75, 160, 162, 2.59, 65.3, 86.0),
    (0.75, 128, 104, 2.59, 62.1, 83.9),
    (0.5, 224, 150, 1.34, 63.3, 84.9),
    (0.5, 192, 110, 1.34, 61.7, 83.6),
    (0.5, 160, 77, 1.34, 59.1, 81.9),
    (0.5, 128, 49, 1.34, 56.3, 79.4),
    (0.25, 224, 41, 0.47, 49.8, 74.2),
    (0.25, 192, 34, 0.47, 47.7, 72.3),
    (0.25, 160, 21, 0.47, 45.5, 70.3),
    (0.25, 128, 14, 0.47, 41.5, 66.3),
)
MOBILENET_V1_CHECKPOINTS = tuple(
    Checkpoint(ArchSpec(family="mobilenet_v1", width=width, resolution=resolution), *figures)
    for width, resolution, *figures in _TF_SLIM_V1
)

# Paper, figure 6, digitised from the vector drawing. Panel a: the first two (linear bottleneck, ReLU6 in the
# bottleneck); panel b: the first, the third (shortcut between expansions) and the fourth (no residual). The paper
# names no width or resolution there; 1.0 at 224, the paper's usual network, is our reading. The linear curve ends
# near 71.0, not at table 4's 72.0, and section 3.2 speaks of "several percent" where figure 6a shows 0.58 points.
FIGURE_6 = (
    EndValue(ArchSpec(), 71.00),
    EndValue(ArchSpec(linear_bottleneck=False), 70.42),
    EndValue(ArchSpec(residual="expansion"), 70.59),
    EndValue(ArchSpec(residual="none"), 69.59),
)


def published_checkpoints() -> dict[str, Checkpoint]:
    """`arch_label` -> checkpoint, of TF-slim's 22 MobileNetV2 and 16 MobileNetV1.

    The label holds all that differs from the paper's network but the classes, which every data set sets anew.
    """
    return {arch_label(checkpoint.arch): checkpoint for checkpoint in (*CHECKPOINTS, *MOBILENET_V1_CHECKPOINTS)}


def published_gap(arch: ArchSpec, changed: ArchSpec) -> float | None:
    """Top-1 of `arch` minus top-1 of `changed` in percentage points, from figure 6.

    The two must differ in `linear_bottleneck` and `residual` only. Their width, resolution and expansion may be any:
    the figure stays the one the paper shows for its own network. None where figure 6 does not show the change.
    """
    if replace(arch, linear_bottleneck=changed.linear_bottleneck, residual=changed.residual) != changed:
        return None
    ends = {(e.arch.linear_bottleneck, e.arch.residual): e.top1_percent for e in FIGURE_6}
    a, b = (ends.get((spec.linear_bottleneck, spec.residual)) for spec in (arch, changed))
    return None if a is None or b is None else round(a - b, 2)
