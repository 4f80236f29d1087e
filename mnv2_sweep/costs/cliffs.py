"""MAdds along one axis (widths or resolutions in order) -> its cliffs; networks along it -> its plateaus.

Channels are multiples of 8 and layers have whole sizes, so costs do not follow an axis evenly: over some values the
network stays the same, and at some the next value costs far more. MobileNetV2 at 224 from width 0.55 to 0.56: +38 %.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

LEAST_RISE = 0.10  # smaller rises do not decide which network to take
LEAST_TIMES = 3.0  # rises in proportion to the step are growth, not a cliff
MOST_TIMES = 1e9  # steps are counted up to here, as the power of a larger one may be no number (width 1.0e-300, 1.0)


@dataclass(frozen=True, slots=True)
class Cliff:
    """MAdds after the step are `ratio` times those before it; growth in proportion would make it `expected` times."""

    before: float
    after: float
    ratio: float
    expected: float


def find_cliffs(values: Sequence[float], madds: Sequence[int], power: float = 2.0) -> list[Cliff]:
    """The steps between neighbouring values where MAdds rise by at least 10 % and 3 times as much as in proportion.

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
    """First and last value of each run of neighbouring values with one key, two or more: one network by many names."""
    plateaus, first, before = [], 0, len(values) - 1
    assert len(keys) == len(values)
    for i in range(len(values)):
        if i == before or keys[i + 1] != keys[i]:
            if i > first:
                plateaus.append((values[first], values[i]))
            first = i + 1
    return plateaus
