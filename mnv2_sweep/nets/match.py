"""A changed network -> the width at which it costs what another one costs, by exact counts over a fine grid of widths.

Channels are multiples of 8, so costs move in steps, and the nearest width may be off by a little: at most TOLERANCE.
No cost falls where the width grows, so few of the widths are counted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost

MATCHED = {"madds": "MAdds", "params": "params"}  # costs that can be matched, and their names for people
TOLERANCE = 0.02
WIDTHS = np.concatenate([np.arange(1, 4000) / 1000, np.arange(400, 1601) / 100])


def is_matched(arch: ArchSpec, base: ArchSpec, cost: str) -> bool:
    """Return whether both cost the same within TOLERANCE."""
    ours, theirs = (getattr(count_cost(one), cost) for one in (arch, base))
    return abs(ours / theirs - 1) <= TOLERANCE


def nearest_widths(arch: ArchSpec, target: int, cost: str, widths: Sequence[float]) -> Sequence[float]:
    """Return those of the widths, which are in order, at which `arch` has the `cost` nearest to the target."""

    def count(width: float) -> int:
        return getattr(count_cost(replace(arch, width=width)), cost)

    at = bisect_left(widths, target, key=count)
    beside = {counted: abs(counted - target) for counted in map(count, widths[max(0, at - 1) : at + 1])}
    nearest = [counted for counted, distance in beside.items() if distance == min(beside.values())]
    return widths[bisect_left(widths, nearest[0], key=count) : bisect_right(widths, nearest[-1], key=count)]


def match_width(arch: ArchSpec, base: ArchSpec, cost: str) -> ArchSpec:
    """Return `arch` at the width at which its `cost` is nearest to the base's.

    Where several widths are one network it takes its own, or else the roundest. Raises SweepError where the nearest is
    off by more than TOLERANCE.
    """
    target = getattr(count_cost(base), cost)
    nearest = nearest_widths(arch, target, cost, WIDTHS.tolist())
    width = min(nearest, key=lambda width: (width != arch.width, len(f"{width:g}"), abs(width - arch.width)))
    matched = replace(arch, width=width)
    if not is_matched(matched, base, cost):
        found = getattr(count_cost(matched), cost)
        raise SweepError(
            f"--match {cost}: {arch_label(arch)}: no width comes within {100 * TOLERANCE:g} % of {target:,} "
            f"{MATCHED[cost]}; the nearest, {width:g}, has {found:,} ({100 * (found / target - 1):+.2f} %)"
        )
    return matched
