"""Networks -> the different ones, with remarks: which specs are the same network, and where costs jump."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.archs.arch import FAMILY_NAMES, arch_label
from mnv2_sweep.costs.cliffs import find_cliffs, find_plateaus
from mnv2_sweep.costs.listing import Listing
from mnv2_sweep.spaces.merge import Merged, merge_networks
from mnv2_sweep.spaces.networks import Networks, Picked

AXES = ("width", "resolution")  # that have an order and a growth to compare with
MOST_NAMES = 3  # of the specs that are one network
MOST_LINES = 8  # of cliffs and plateaus


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
    """The different networks with remarks, and lines about what was merged, plateaus and cliffs."""
    merged = merge_networks(networks)
    remarks = _name_twins(networks, merged)
    lines = []
    if len(merged.first) < len(networks):
        same = len(networks) - len(merged.first)
        lines.append(f"{same:,} of {len(networks):,} specs resolve to a network listed already")
    for axis in AXES if networks.space.sample is None else ():
        lines += _describe_axis(networks, merged, axis, remarks)
    return Listing(Picked(networks, merged.first), networks.costs.take(merged.first), remarks), lines


def _name_twins(networks: Networks, merged: Merged) -> dict[int, str]:
    """Place of a network -> "= 0.36 at 224, 0.37 at 224": the other specs that resolve to it."""
    firsts = np.zeros(len(networks), bool)
    firsts[merged.first] = True
    twins: dict[int, list[int]] = defaultdict(list)
    for spec in np.flatnonzero(~firsts).tolist():
        twins[int(merged.network_of[spec])].append(spec)
    remarks = {}
    for place, specs in twins.items():
        more = f" and {len(specs) - MOST_NAMES:,} more" if len(specs) > MOST_NAMES else ""
        remarks[place] = "= " + ", ".join(arch_label(networks[spec]) for spec in specs[:MOST_NAMES]) + more
    return remarks


def _describe_axis(networks: Networks, merged: Merged, axis: str, remarks: dict[int, str]) -> list[str]:
    """Lines about one axis; the networks right after a cliff get a remark."""
    at = [key for key, _ in networks.space.axes].index(axis) if axis in dict(networks.space.axes) else None
    if at is None or len(networks.rows) < 2:
        return []
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
            place = int(merged.network_of[group[along.index(cliff.after)]])
            text = f"cliff: {100 * (cliff.ratio - 1):+.0f} % from {axis} {cliff.before:g}"
            remarks[place] = f"{remarks[place]}; {text}" if place in remarks else text
        for run in find_plateaus(along, merged.network_of[group].tolist()):
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
    rise = f"{100 * (step.ratio - 1):.0f} % more MAdds"
    text = f"cliff of {family}{step.axis}: {step.before:g} to {step.after:g} costs {rise}"
    return text if step.of == 1 else f"{text}, in {step.rows:,} of {step.of:,} rows of the grid"
