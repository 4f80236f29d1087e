"""Networks and their MAdds -> a handful of them, by their places: what a calibration trains on a longer schedule.

They are spread over the range of cost, the cheapest and the dearest among them, and hold pairs within 25 % of each
other in MAdds wherever the networks have such pairs: only there can a proxy say more than MAdds. The range is cut into
strata of equal width in log MAdds. In each, the near pair is taken whose shapes differ most (as 1.0 at 96 and 0.35 at
224 do), and then, stratum by stratum, networks near as many of those taken as can be: k networks close together make
k (k - 1) / 2 pairs. No chance is in it. Two specs of one network are no pair to learn from: give each network once.
"""

from collections.abc import Sequence

import numpy as np

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.results.stats import near_pairs

GROUP = 3  # networks for one stratum
# Of more networks than this, as many are looked at, evenly by rank. A range of cost of 25 % ^ 512 does not exist, so
# that some of them are near each other, as some of all are.
MOST = 512


def stratify(archs: Sequence[ArchSpec], madds: Sequence[int], count: int) -> tuple[int, ...]:
    """Places of `count` of the networks (of all, if there are fewer), in order of MAdds, the earlier first of equals.

    From two on, the cheapest and the dearest are among them; from four on, a near pair, if there is one.
    """
    if len(archs) != len(madds):
        raise ValueError(f"networks: {len(archs)} and {len(madds)} MAdds given, one for each allowed")
    if count < 1:
        return ()
    order = np.argsort(np.asarray(madds, dtype=float), kind="stable")
    if count >= len(order):
        return tuple(order.tolist())
    looked_at = order[np.linspace(0, len(order) - 1, min(len(order), max(MOST, count))).astype(int)]
    ordered = np.asarray(madds, dtype=float)[looked_at]
    chosen = _choose(np.log(ordered), near_pairs(ordered), _differences([archs[i] for i in looked_at]), count)
    return tuple(looked_at[sorted(chosen)].tolist())


def _choose(log_madds: np.ndarray, near: np.ndarray, differences: np.ndarray, count: int) -> list[int]:
    """`count` of the networks, which are in order of MAdds."""
    last = len(log_madds) - 1
    if count == 1:
        return [int(np.abs(log_madds - log_madds[[0, last]].mean()).argmin())]
    chosen = [0, last]
    edges = np.linspace(log_madds[0], log_madds[last], max(1, (count - 2) // GROUP) + 1)
    if count >= 4:
        for pair in _pairs_of_strata(edges, log_madds, near, differences):
            chosen += [i for i in pair if i not in chosen]
    stratum = np.searchsorted(edges[1:-1], log_madds, side="right")
    while len(chosen) < count:
        chosen.append(_next(chosen, stratum, log_madds, near, differences))
    return chosen


def _pairs_of_strata(edges: np.ndarray, log_madds: np.ndarray, near: np.ndarray, differences: np.ndarray):
    """In each stratum that has near pairs, by their mean in log MAdds, the one whose shapes differ most."""
    first, second = np.nonzero(np.triu(near))
    stratum = np.searchsorted(edges[1:-1], (log_madds[first] + log_madds[second]) / 2, side="right")
    for each in range(len(edges) - 1):
        inside = np.flatnonzero(stratum == each)
        if len(inside):
            best = inside[differences[first[inside], second[inside]].argmax()]
            yield int(first[best]), int(second[best])


def _next(
    chosen: list[int], stratum: np.ndarray, log_madds: np.ndarray, near: np.ndarray, differences: np.ndarray
) -> int:
    """Of the networks near a chosen one those in the stratum with fewest chosen, of these the one near most of them,
    of these the most different in shape from those it is near to. Where none is near one, the farthest in cost."""
    taken = np.bincount(stratum[chosen], minlength=len(log_madds))
    beside = near[:, chosen].sum(axis=1)
    shape = np.where(near[:, chosen], differences[:, chosen], np.inf).min(axis=1)
    gap = np.abs(np.subtract.outer(log_madds, log_madds[chosen])).min(axis=1)
    free = np.setdiff1d(np.arange(len(log_madds)), chosen).tolist()
    if not beside[free].any():
        return max(free, key=lambda i: gap[i])  # max keeps the first of equals
    return max((i for i in free if beside[i]), key=lambda i: (-taken[stratum[i]], beside[i], shape[i]))


def _differences(archs: list[ArchSpec]) -> np.ndarray:
    """[n, n]: how much shapes differ: the sum over their numbers, each counted in shares of its range here."""
    shapes = np.array([_shape(arch) for arch in archs], dtype=float)
    span = np.ptp(shapes, axis=0)
    shapes = shapes[:, span > 0] / span[span > 0]
    total = np.zeros((len(archs), len(archs)))
    for column in shapes.T:
        total += np.abs(np.subtract.outer(column, column))
    families = np.array([arch.family for arch in archs])
    return total + (families[:, None] != families[None, :])


def _shape(arch: ArchSpec) -> list[float]:
    """Numbers that tell what a network spends its MAdds on; sizes as logarithms, so that ratios count."""
    blocks = sum(stage.n for stage in arch.stages)
    expansion = sum(stage.n * stage.t for stage in arch.stages) / blocks
    channels = sum(stage.n * stage.c for stage in arch.stages) / blocks
    sizes = (arch.width, arch.resolution, arch.kernel, arch.last_channels, arch.groups, blocks, expansion, channels)
    words = (arch.linear_bottleneck, arch.residual == "bottleneck", arch.residual == "expansion")
    words += (arch.activation == "relu6", arch.activation == "hswish", arch.scale_last_conv, arch.depthwise)
    return [*np.log(sizes), *words]
