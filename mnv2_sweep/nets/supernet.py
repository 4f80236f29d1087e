"""Networks that share one set of weights, a supernet: each is a slice, the first channels and blocks of every stage.

Width, expansion, depth and resolution differ between slices (slimmable networks, Yu et al. 2018; once-for-all, Cai
et al. 2019). What changes a weight's meaning, and not only how much of it is used, can't be shared.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.nets.arch import CELLS, CHOICES, OPTIONAL_CELLS, ArchSpec, cell_value
from mnv2_sweep.nets.plan import WEIGHTED, Layer, Plan
from mnv2_sweep.nets.resolve import arch_key, resolve


def check_supernet(archs: Sequence[ArchSpec]) -> None:
    """Raise ArchError, which names the axis, where the networks can't share weights."""
    families = sorted({arch.family for arch in archs})
    if families != ["mobilenet_v2"]:
        raise ArchError(f"family: {', '.join(families)} given, only mobilenet_v2 allowed: the others have no slices")
    # Cells that rows may have of their own are compared row by row, where a network has any.
    own = [name for name in OPTIONAL_CELLS if any(getattr(row, name) is not None for a in archs for row in a.stages)]
    for name, one in CHOICES.items():
        if one.apart and name not in own:
            _check_axis(name, {getattr(arch, name) for arch in archs}, one.apart)
    tables = {arch.stages for arch in archs}
    _check_axis("stages", {len(table) for table in tables}, "rows of one table have no place in another", "rows")
    for name in (name for name, cell in CELLS.items() if cell.apart and (name in own or name not in OPTIONAL_CELLS)):
        for row in range(len(archs[0].stages)):
            values = {cell_value(arch, arch.stages[row], name) for arch in archs}
            _check_axis(f"stages.{row}.{name}", values, CELLS[name].apart)
    if len({bool(arch.last_channels) for arch in archs}) > 1:
        _check_axis("last_channels", {arch.last_channels for arch in archs}, "some of them have no last convolution")


def _check_axis(axis: str, values: set, why: str, unit: str = "") -> None:
    if len(values) > 1:
        shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(values)]
        given = ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "") + (f" {unit}" if unit else "")
        raise ArchError(f"{axis}: {given} given, one value allowed: {why}")


def supernet_digest(archs: Sequence[ArchSpec]) -> str:
    """Return 16 hex digits that name the supernet of these networks, in any order."""
    return hashlib.sha256("\n".join(sorted({arch_key(arch) for arch in archs})).encode()).hexdigest()[:16]


def supernet_places(plan: Plan) -> list[tuple[str, Layer]]:
    """Return a network's layers with weights and their places in the supernet, as "3_0_expand" in stage 3's first
    block."""
    places, repeats = [], {}
    for block in plan.blocks:
        repeat = repeats.get(block.stage, 0)
        repeats[block.stage] = repeat + 1
        for role, layer in zip(block.roles or ("conv",) * len(block.layers), block.layers, strict=True):
            if layer.op in WEIGHTED:
                places.append((f"{block.stage}_{repeat}_{role}", layer))
    return places


def find_convolutions(arch: ArchSpec) -> dict[str, Layer]:
    """Return a network's convolutions by their places in a supernet, in order."""
    return {place: layer for place, layer in supernet_places(resolve(arch)) if layer.op == "conv"}


def check_slice(whole: ArchSpec, arch: ArchSpec) -> None:
    """Raise ArchError, which says why, where a network's convolutions are no part of another's, some of its channels
    and blocks."""
    check_supernet([replace(whole, classes=arch.classes, dropout=arch.dropout), arch])
    theirs = find_convolutions(whole)
    for place, layer in find_convolutions(arch).items():
        if place not in theirs:
            row, block, role = place.split("_")
            raise ArchError(f"stages.{row}: no {role} layer in its block {block} there")
        if layer.c_out > theirs[place].c_out:
            raise ArchError(f"{layer.name} has {layer.c_out} channels, there {theirs[place].c_out}")
