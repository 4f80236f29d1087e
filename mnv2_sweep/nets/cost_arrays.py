"""Costs of many networks as arrays of integers, of Python's where one is too large for 64 bits."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import Cost, count_cost

LARGEST = 2**62  # above this a sum might not fit 64 bits


@dataclass(frozen=True, slots=True, eq=False)
class CostArrays:
    """The fields of Cost, each an array [N] of integers."""

    madds: np.ndarray
    params: np.ndarray
    peak_activation_bytes: np.ndarray
    depth: np.ndarray

    def __len__(self) -> int:
        return len(self.madds)

    def take(self, rows: np.ndarray) -> "CostArrays":
        """Return the chosen rows (indices or a mask)."""
        return CostArrays(*(getattr(self, name)[rows] for name in COSTS))

    def cost(self, row: int) -> Cost:
        """Return one row's costs."""
        return Cost(*(int(getattr(self, name)[row]) for name in COSTS))


COSTS = tuple(CostArrays.__dataclass_fields__)


def count_archs(archs: Sequence[ArchSpec]) -> CostArrays:
    """Count every network, one by one. Raises ArchError on an impossible spec."""
    costs = [astuple(count_cost(arch)) for arch in archs]
    return CostArrays(*(integer_array([cost[at] for cost in costs]) for at in range(len(COSTS))))


def integer_array(numbers: Sequence[int]) -> np.ndarray:
    """Return the numbers as 64-bit integers, or as Python's where one is above LARGEST."""
    return np.array(numbers, object if max(numbers, default=0) > LARGEST else np.int64)


def join_costs(parts: Sequence[CostArrays]) -> CostArrays:
    """Return the costs of all parts, one after the other."""
    return CostArrays(*(np.concatenate([getattr(part, name) for part in parts]) for name in COSTS))
