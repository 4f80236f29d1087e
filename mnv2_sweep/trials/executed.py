"""What training executes at its own sizes, beside what the networks cost nominally, and whether the two keep step.

A layer's map has ceil(side / stride) positions, so half of a side costs a quarter only where the side divides. Where
the sizes of a space round differently, networks that are told apart by their nominal costs have executed others, and
the order that training finds follows those. The classifier is left apart: it costs the same at every size.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from mnv2_sweep.base.text import percent
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import body_madds, count_cost
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import train_size

MOST_OFF = 0.15  # of the median fraction, either way: what is in step
NEARBY = np.arange(1, 26) / 100  # how far from the scale of a recipe one is looked for that keeps step
MOST_LOOKED_AT = 200  # networks, for that


def executed_network(arch: ArchSpec, recipe: Recipe) -> ArchSpec:
    """Return the network at the size at which the recipe trains it."""
    return replace(arch, resolution=train_size(arch, recipe).plain)


def executed_fraction(arch: ArchSpec, recipe: Recipe) -> float:
    """Return executed over nominal MAdds, about `input_scale` squared, of the network with one class, so that the
    classifier, the same at every size, counts for nothing."""
    executed = executed_network(arch, recipe)
    return body_madds(executed, count_cost(executed).madds) / body_madds(arch, count_cost(arch).madds)


def with_one_class(arch: ArchSpec) -> ArchSpec:
    """Return the network with the smallest classifier."""
    return replace(arch, classes=1)


def is_in_step(fractions: Iterable[float]) -> bool:
    """Return whether training executes about the same share of every network's nominal costs."""
    known = np.array([*fractions])
    return not len(known) or bool((np.abs(known / np.median(known) - 1) <= MOST_OFF).all())


def executed_text(fractions: Sequence[float]) -> str:
    """Say what share of nominal MAdds is executed, as in "22 to 26 % of nominal MAdds, the classifier apart"."""
    low, high = percent(min(fractions), 0), percent(max(fractions), 0)
    return f"{low if low == high else f'{low} to {high}'} % of nominal MAdds, the classifier apart"


def spread_warning(fractions: Sequence[float], find_scale: Callable[[], float | None] = lambda: None) -> str:
    """Say where costs are not in step, and which scale keeps them so; "" where they are."""
    if is_in_step(fractions):
        return ""
    scale = find_scale()
    advice = "" if scale is None else f"; input_scale {scale:g} keeps them in step"
    return f"training executes {executed_text(fractions)}, and accuracy follows what is executed{advice}"


def find_scale_in_step(archs: Sequence[ArchSpec], recipe: Recipe) -> float | None:
    """Return the scale nearest to the recipe's, of those in hundredths, at which the networks keep step; None for
    none."""
    some = [archs[i] for i in np.linspace(0, len(archs) - 1, min(len(archs), MOST_LOOKED_AT)).astype(int)]
    for distance in NEARBY:
        for scale in (recipe.input_scale + distance, recipe.input_scale - distance):
            other = replace(recipe, input_scale=round(float(scale), 2))
            if 0 < other.input_scale <= 1 and is_in_step(executed_fraction(arch, other) for arch in some):
                return other.input_scale
    return None
