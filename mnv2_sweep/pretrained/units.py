"""Units (convolutions with their batch norms, in the order in which they run) -> ArchSpec, and arrays by our names.

Every reader ends here, whatever its file looks like: which network a file holds is found from the shapes of its
kernels, and the plan gives each of them its name. Arrays are float32; kernels are [out, in / groups, height, width].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.pretrained.deepened import DEEPENED

WIDTHS = (1.0, 0.1, 0.25, 0.35, 0.5, 0.75, 1.3, 1.4, 2.0)  # the published ones first: close widths can be one network
NORM_NAMES = ("weight", "bias", "running_mean", "running_var")  # of the fields of Norm


@dataclass(frozen=True, eq=False)
class Norm:
    """A batch norm's arrays, each [channels]."""

    scale: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True, eq=False)
class Unit:
    """A convolution, or the classifier as a 1x1 one, with its batch norm, or else its bias [out]; named as in its
    file."""

    name: str
    kernel: np.ndarray
    norm: Norm | None = None
    bias: np.ndarray | None = None


def fit_units(
    units: Sequence[Unit], where: str, epsilon: float, named: ArchSpec | None = None
) -> tuple[ArchSpec, dict[str, np.ndarray], bool]:
    """Return the network that has these units in this order (`named`, where the file says which), its arrays by our
    names, and whether batch norms were folded; without a classifier the network has 1 class. Raises WeightsError.

    Where they were folded, each norm has the bias as its shift and, with `epsilon`, changes nothing else.
    """
    if not units:
        raise WeightsError(f"{where}: no convolution in it")
    arch = _find_arch(units, where, named)
    layers = [layer for layer in resolve(arch).convs if layer.op == "conv"]
    convolutions, classifier = units[: len(layers)], units[len(layers) :]
    folded = all(unit.norm is None for unit in convolutions)
    arrays: dict[str, np.ndarray] = {}
    for layer, unit in zip(layers, convolutions, strict=True):
        norm = unit.norm or (_neutral_norm(unit, epsilon) if folded else None)
        if norm is None:
            raise WeightsError(f"{where}: {unit.name} has no batch norm, others have one; the file is cut")
        arrays[f"{layer.name}.weight"] = _checked(unit.kernel, f"{where}: {unit.name}")
        if named is None and not unit.kernel.any():  # in a sweep's own network a block beside its shortcut may die
            raise WeightsError(
                f"{where}: {unit.name} is all zeros, which no training leaves; the file was never filled"
            )
        for name, array in zip(NORM_NAMES, vars(norm).values(), strict=True):
            arrays[f"{_norm_place(layer.name)}.{name}"] = _checked(array, f"{where}: {unit.name}, {name}", layer.c_out)
        if norm.variance.min() < 0:
            raise WeightsError(f"{where}: {unit.name} has a negative variance; the file is damaged, or mixes up layers")
    for unit in classifier:
        kernel = _checked(unit.kernel, f"{where}: {unit.name}")
        bias = np.zeros(len(kernel), np.float32) if unit.bias is None else unit.bias
        arrays["classifier.1.weight"] = kernel.reshape(kernel.shape[:2])
        arrays["classifier.1.bias"] = _checked(bias, f"{where}: {unit.name}, bias", len(kernel))
    return arch, arrays, folded


def _norm_place(name: str) -> str:
    """Return the place of the batch norm after a convolution, the next one."""
    before, _, at = name.rpartition(".")
    return f"{before}.{int(at) + 1}"


def _neutral_norm(unit: Unit, epsilon: float) -> Norm:
    zeros, ones = np.zeros(len(unit.kernel), np.float32), np.ones(len(unit.kernel), np.float32)
    return Norm(ones, zeros if unit.bias is None else unit.bias, zeros, ones - np.float32(epsilon))


def _checked(array: np.ndarray, where: str, channels: int | None = None) -> np.ndarray:
    """Return the array as contiguous float32 that can be written to. Raises WeightsError on values that no training
    leaves."""
    if channels is not None and array.shape != (channels,):
        raise WeightsError(f"{where}: shape {array.shape} given, ({channels},) allowed, as its kernel has it")
    if not np.issubdtype(array.dtype, np.floating):
        raise WeightsError(f"{where}: {array.dtype} given, floats allowed; rounded so, weights compute something else")
    wrong = int((~np.isfinite(array)).sum())
    if wrong:
        raise WeightsError(f"{where}: {count_noun(wrong, 'value')} not finite; the training broke, or the file is "
                           "damaged")  # fmt: skip
    return np.require(array, np.float32, ["C", "W"])


# ---------------------------------------------------------------- which network


def _find_arch(units: Sequence[Unit], where: str, named: ArchSpec | None) -> ArchSpec:
    shapes = tuple(unit.kernel.shape for unit in units)
    nearest, fitting = None, -1
    for arch in [named] if named else _candidates():
        wanted = _shapes(replace(arch, classes=1))
        head = len(shapes) == len(wanted) and len(shapes[-1]) == 4
        classes = shapes[-1][0] if head else 1
        if head:
            wanted = (*wanted[:-1], (classes, *wanted[-1][1:]))
        if shapes in (wanted, wanted[:-1]):
            return replace(arch, classes=classes)
        alike = next((i for i, (a, b) in enumerate(zip(shapes, wanted, strict=False)) if a != b), len(shapes))
        if alike > fitting:
            nearest, fitting = (arch, wanted), alike
    raise WeightsError(f"{where}: {_misfit(units, shapes, *nearest, fitting)}")


def _misfit(units: Sequence[Unit], shapes: tuple, arch: ArchSpec, wanted: tuple, at: int) -> str:
    """Say where the shapes part from those of the network that fits longest."""
    label = f"MobileNetV2 {arch_label(arch)}".partition(" at ")[0]
    if at >= min(len(shapes), len(wanted)):
        return (f"{count_noun(len(shapes), 'layer')} with weights, {label} has {len(wanted)}; the file is cut, or of "
                "another network")  # fmt: skip
    odd = [(u.name, len(u.kernel)) for u, w in zip(units, wanted, strict=False) if len(u.kernel) % 8 and w[0] % 8 == 0]
    if odd and len(shapes) >= len(wanted) - 1:
        return (f"{odd[0][0]} has {odd[0][1]} channels; MobileNetV2 rounds channels to multiples of 8, so no width has "
                "these (PaddleClas cuts off fractions, d-li14's 0.1 takes multiples of 4)")  # fmt: skip
    return (f"{units[at].name} is {'x'.join(map(str, shapes[at]))}, in {label} it is "
            f"{'x'.join(map(str, wanted[at]))}; no MobileNetV2 of any width has these layers")  # fmt: skip


@cache
def _shapes(arch: ArchSpec) -> tuple[tuple[int, ...], ...]:
    return tuple((c.c_out, c.c_in // c.groups, c.kernel, c.kernel) for c in resolve(arch).convs)


def _candidates() -> Iterator[ArchSpec]:
    """Yield the published networks, then every width to two digits."""
    yield from (ArchSpec(width=width) for width in WIDTHS)
    yield from DEEPENED.values()
    yield from (ArchSpec(width=hundredths / 100) for hundredths in [*range(5, 305, 5), *range(1, 300)])
