"""A cost of a sweep's networks -> the axis of a figure."""

from collections.abc import Sequence

import numpy as np

from mnv2_sweep.devices.costs import CostName, count_rows, estimate
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.plots.pareto import CostAxis
from mnv2_sweep.report.costs import FurtherCosts, arch_columns, columns_text


def axis_unit(cost: CostName) -> tuple[float, str]:
    """Return how much of its own unit one of a figure's axis is, and what stands there."""
    if not cost.whole:
        return 1.0, f"{cost.name} (ms, log scale)"
    if cost.name in ("madds", "params"):
        return 1e6, f"{cost.heading} (millions, log scale)"
    if cost.name == "depth":
        return 1.0, "depth (log scale)"
    return 1e6, f"{cost.heading.replace('(bytes)', '(MB, log scale)')}"


def cost_axis(cost: CostName, costs: FurtherCosts) -> CostAxis:
    """Return the axis of figures that have this cost of a sweep's networks."""
    archs = list(costs.archs.values())

    def count(others: Sequence[ArchSpec]) -> np.ndarray:
        return estimate(cost.name, count_rows(others)).values.astype(float)

    madds = np.array([count_cost(arch).madds for arch in archs])
    scale, title = axis_unit(cost)
    lines = [f"{line}." for line in columns_text(arch_columns(archs, [cost.name]), madds)]
    return CostAxis(cost.name, scale, title, cost.words, lines, count)
