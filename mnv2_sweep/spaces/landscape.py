"""Networks of a space -> the different ones, with remarks: which specs are one network, and where costs jump.

Channels are multiples of 8 and layers have whole sizes, so costs do not follow an axis evenly: over some values the
network stays the same, a plateau, and at some the next value costs far more, a cliff. MobileNetV2 at 224 from width
0.55 to 0.56: +38 % MAdds.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mnv2_sweep.base.text import percent
from mnv2_sweep.explain.listing import Listing
from mnv2_sweep.nets.arch import FAMILY_NAMES, arch_label
from mnv2_sweep.nets.choice import is_number
from mnv2_sweep.spaces.coincide import Coinciding, find_coinciding
from mnv2_sweep.spaces.networks import Networks, Picked
from mnv2_sweep.trials.executed import (
    executed_network,
    executed_text,
    find_scale_in_step,
    spread_warning,
    with_one_class,
)

LEAST_RISE = 0.10  # smaller rises do not decide which network to take
LEAST_TIMES = 3.0  # rises in proportion to the step are growth, not a cliff
MOST_TIMES = 1e9  # steps are counted up to here, as the power of a larger one may be no number (width 1.0e-300, 1.0)
AXES = ("width", "resolution")  # that have an order and a growth to compare with
MOST_NAMES = 3  # of the specs that are one network
MOST_LINES = 8  # of cliffs and plateaus


# ---------------------------------------------------------------- one axis: values and what they cost


@dataclass(frozen=True, slots=True)
class Cliff:
    """A step along an axis: MAdds after it are `ratio` times those before it; growth in proportion would make it
    `expected` times."""

    before: float
    after: float
    ratio: float
    expected: float


def find_cliffs(values: Sequence[float], madds: Sequence[int], power: float = 2.0) -> list[Cliff]:
    """Return the steps between neighbouring values where MAdds rise by at least 10 % and 3 times as much as in
    proportion.

    In proportion: MAdds grow like value ** power, which is near the truth for width and for resolution. A coarse list
    of values has no cliffs, as each of its steps is meant to cost. Values are above 0 and rise strictly.
    """
    assert all(before < after for before, after in zip(values, values[1:], strict=False)), "values must rise"
    assert len(values) == 0 or values[0] > 0
    cliffs, costs = [], list(zip(values, madds, strict=True))
    for (before, low), (after, high) in zip(costs, costs[1:], strict=False):
        ratio, expected = high / low, min(after / before, MOST_TIMES) ** power
        if ratio - 1 >= LEAST_RISE and ratio - 1 >= LEAST_TIMES * (expected - 1):
            cliffs.append(Cliff(before, after, ratio, expected))
    return cliffs


def find_plateaus(values: Sequence[float], keys: Sequence[Hashable]) -> list[tuple[float, float]]:
    """Return first and last value of each run of neighbouring values with one key, two or more: one network by many
    names."""
    plateaus, first, before = [], 0, len(values) - 1
    assert len(keys) == len(values)
    for i in range(len(values)):
        if i == before or keys[i + 1] != keys[i]:
            if i > first:
                plateaus.append((values[first], values[i]))
            first = i + 1
    return plateaus


# ---------------------------------------------------------------- a whole space


@dataclass(frozen=True, slots=True)
class Step:
    """A cliff between two neighbouring values of an axis: the largest ratio of MAdds and in how many rows; the family
    where there are several."""

    axis: str
    family: str
    before: float
    after: float
    ratio: float
    rows: int
    of: int


def describe_landscape(networks: Networks) -> tuple[Listing, list[str]]:
    """Return the different networks with remarks, and lines about specs that coincide, plateaus and cliffs."""
    coinciding = find_coinciding(networks)
    remarks = _name_twins(networks, coinciding)
    lines = []
    if len(coinciding.first) < len(networks):
        same = len(networks) - len(coinciding.first)
        lines.append(f"{same:,} of {len(networks):,} specs resolve to a network listed already")
    for axis in AXES if networks.space.sample is None else ():
        lines += _describe_axis(networks, coinciding, axis, remarks)
    picked, costs = Picked(networks, coinciding.first), networks.costs.take(coinciding.first)
    if networks.space.recipe.input_scale == 1:
        return Listing(picked, costs, remarks), lines
    executed = count_executed(networks)
    fractions = executed.fractions[coinciding.first].tolist()
    warning = spread_warning(fractions, lambda: find_scale_in_step(picked, networks.space.recipe))
    lines.append(f"warning: {warning}" if warning else f"training executes {executed_text(fractions)}")
    return Listing(picked, costs, remarks, executed.madds[coinciding.first]), lines


class Executed(NamedTuple):
    """MAdds that training executes, and what they are of the nominal ones, the classifier apart, each an array [N]."""

    madds: np.ndarray
    fractions: np.ndarray


def count_executed(networks: Networks) -> Executed:
    """Count what the recipe of a space executes of each of its networks, as `executed_fraction` does one by one."""
    recipe = networks.space.recipe
    body = networks.count_changed(with_one_class).madds
    executed = networks.count_changed(lambda arch: executed_network(with_one_class(arch), recipe)).madds
    whole = networks.count_changed(lambda arch: executed_network(arch, recipe)).madds
    return Executed(whole, executed / body)


def _name_twins(networks: Networks, coinciding: Coinciding) -> dict[int, str]:
    """Return by place of a network "= 0.36 at 224, 0.37 at 224": the other specs that resolve to it."""
    firsts = np.zeros(len(networks), bool)
    firsts[coinciding.first] = True
    twins: dict[int, list[int]] = defaultdict(list)
    for spec in np.flatnonzero(~firsts).tolist():
        twins[int(coinciding.network_of[spec])].append(spec)
    remarks = {}
    for place, specs in twins.items():
        more = f" and {len(specs) - MOST_NAMES:,} more" if len(specs) > MOST_NAMES else ""
        remarks[place] = "= " + ", ".join(arch_label(networks[spec]) for spec in specs[:MOST_NAMES]) + more
    return remarks


def _describe_axis(networks: Networks, coinciding: Coinciding, axis: str, remarks: dict[int, str]) -> list[str]:
    """Return lines about one axis; the networks right after a cliff get a remark."""
    at = [key for key, _ in networks.space.axes].index(axis) if axis in dict(networks.space.axes) else None
    if at is None or len(networks.rows) < 2 or not all(map(is_number, networks.space.axes[at][1])):
        return []  # rectangles have no order
    values = np.array(networks.space.axes[at][1], float)
    rows = networks.rows.astype(np.int64)
    rank = np.argsort(np.argsort(values, kind="stable"))
    keys = [rank[rows[:, at]], *(rows[:, k] for k in range(rows.shape[1]) if k != at)]
    order = np.lexsort(keys)  # by the other axes, then along this one
    others = np.delete(rows, at, axis=1)[order]
    starts = np.flatnonzero(np.r_[True, (others[1:] != others[:-1]).any(axis=1)])
    families = (
        [key for key, _ in networks.space.axes].index("family") if "family" in dict(networks.space.axes) else None
    )
    steps: dict[tuple, list[float]] = defaultdict(list)
    plateaus: dict[tuple, int] = defaultdict(int)
    for group in np.split(order, starts[1:]):
        along, madds = values[rows[group, at]].tolist(), networks.costs.madds[group].tolist()
        for cliff in find_cliffs(along, madds):
            family = "" if families is None else networks.space.axes[families][1][rows[group[0], families]]
            steps[family, cliff.before, cliff.after].append(cliff.ratio)
            place = int(coinciding.network_of[group[along.index(cliff.after)]])
            text = f"cliff: {100 * (cliff.ratio - 1):+.0f} % from {axis} {cliff.before:g}"
            remarks[place] = f"{remarks[place]}; {text}" if place in remarks else text
        for run in find_plateaus(along, coinciding.network_of[group].tolist()):
            plateaus[run] += 1
    cliffs = [Step(axis, *step, max(ratios), len(ratios), len(starts)) for step, ratios in steps.items()]
    lines = [_cliff_line(cliff) for cliff in sorted(cliffs, key=lambda cliff: -cliff.ratio)[:MOST_LINES]]
    if len(cliffs) > MOST_LINES:
        lines.append(f"  and {len(cliffs) - MOST_LINES:,} smaller cliffs of {axis}")
    if plateaus:
        runs = [f"{low:g} to {high:g}" for low, high in sorted(plateaus)]
        more = f" and {len(runs) - MOST_LINES:,} more" if len(runs) > MOST_LINES else ""
        lines.insert(0, f"plateaus of {axis}, one network each: {', '.join(runs[:MOST_LINES])}{more}")
    return lines


def _cliff_line(step: Step) -> str:
    family = f"{FAMILY_NAMES[step.family]}, " if step.family else ""
    rise = f"{percent(step.ratio - 1, 0)} % more MAdds"
    text = f"cliff of {family}{step.axis}: {step.before:g} to {step.after:g} costs {rise}"
    return text if step.of == 1 else f"{text}, in {step.rows:,} of {step.of:,} rows of the grid"
