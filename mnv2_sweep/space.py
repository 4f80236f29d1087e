"""A design space: Space --expand--> ArchSpecs, the same everywhere, in the same order; spacefile.py reads one.

Where several keys set the same cell, the narrower one wins: expansion, then stages.*.t, then stages.1.t.
"""

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from mnv2_sweep.arch import MOBILENET_V2, ArchSpec, Stage, set_expansion
from mnv2_sweep.cost import Cost, count_cost
from mnv2_sweep.errors import SpaceError
from mnv2_sweep.trial import RECIPES, Recipe

FIELD_TYPES = {field.name: field.type for field in fields(ArchSpec) if field.name != "stages"}
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
CHUNK = 4096  # rows drawn at once; the result does not depend on it


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on a cost: `cost` is a field of Cost, `limit` is exact, `text` is how the file says it."""

    cost: str
    operator: str
    limit: int
    text: str

    def allows(self, cost: Cost) -> bool:
        return OPERATORS[self.operator](getattr(cost, self.cost), self.limit)


@dataclass(frozen=True, slots=True)
class Sample:
    """How many networks to draw from the grid, and the seed of the draw."""

    size: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Space:
    """A checked design space; keys and values are as in the file, in its order."""

    name: str
    stages: tuple[Stage, ...] = MOBILENET_V2
    fixed: tuple[tuple[str, object], ...] = ()
    axes: tuple[tuple[str, tuple], ...] = ()
    points: tuple[tuple[tuple[str, object], ...], ...] = ()
    constraints: tuple[Constraint, ...] = ()
    sample: Sample | None = None
    recipe: Recipe = RECIPES["short"]
    seeds: tuple[int, ...] = (0,)
    data: str = "shapes"

    @property
    def leaves_classes_open(self) -> bool:
        """Whether some network's classes are the data set's number."""
        axes, fixed = dict(self.axes), dict(self.fixed)
        points = all("classes" in dict(point) for point in self.points)
        return "classes" not in fixed and not (points and ("classes" in axes or not axes))

    @property
    def grid_size(self) -> int:
        """Combinations of the axes, before constraints; 0 without axes."""
        return math.prod(len(values) for _, values in self.axes) if self.axes else 0


def expand(space: Space, classes: int | None = None) -> tuple[ArchSpec, ...]:
    """The networks of the space, without duplicates: grid or sample, then points.

    `classes` is the data set's number, for networks whose classes the space leaves open (None: ArchSpec's).
    Raises SpaceError if no network is left, or if the sample cannot be drawn.
    """
    chosen = _Selection(space, classes)
    names = [key for key, _ in space.axes]
    if space.sample:
        for draws, values in enumerate(draw_values(space.axes, space.sample.seed)):
            if len(chosen.found) == space.sample.size:
                break
            chosen.stop_if_hopeless(draws)
            chosen.consider(dict(zip(names, values, strict=True)))
    elif space.axes:
        for values in itertools.product(*(values for _, values in space.axes)):
            chosen.consider(dict(zip(names, values, strict=True)))
    for point in space.points:
        chosen.consider(dict(point))
    if not chosen.found:
        candidates = f"{len(chosen.seen):,} candidates{chosen.refusals()}"
        raise SpaceError([f"space '{space.name}': no network is left of {candidates}"])
    return tuple(chosen.found)


class _Selection:
    """The networks found so far, every one seen, and how many each constraint refused."""

    def __init__(self, space: Space, classes: int | None):
        self.space, self.classes = space, classes
        self.found: list[ArchSpec] = []
        self.seen: set[ArchSpec] = set()
        self.refused: Counter[Constraint] = Counter()

    def consider(self, settings: dict) -> None:
        arch = build_arch(self.space, settings, self.classes)
        if arch in self.seen:
            return
        self.seen.add(arch)
        cost = count_cost(arch) if self.space.constraints else None
        failed = [constraint for constraint in self.space.constraints if not constraint.allows(cost)]
        self.refused.update(failed)
        if not failed:
            self.found.append(arch)

    def stop_if_hopeless(self, draws: int) -> None:
        """Raise SpaceError once all is seen, or less than one draw in a hundred gives a new network."""
        space = self.space
        if len(self.seen) < space.grid_size and draws < 10_000 + 100 * len(self.found):
            return
        wish = f"a sample of {space.sample.size:,} was asked for, {len(self.found):,} found in {draws:,} draws"
        seen = f"({len(self.seen):,} different networks of {space.grid_size:,} combinations seen)"
        raise SpaceError([f"space '{space.name}': {wish} {seen}{self.refusals()}. Ask for fewer or allow more"])

    def refusals(self) -> str:
        return "".join(f"; {c.cost} {c.text} refused {self.refused[c]:,}" for c in self.space.constraints)


def draw_values(axes: tuple[tuple[str, tuple], ...], seed: int) -> Iterator[tuple]:
    """Endless random combinations of axis values, uniform and independent, the same on every machine.

    Raw PCG64 words, whose stream NumPy keeps across versions, row by row; the upper 32 bits scale to an index.
    """
    bits = np.random.PCG64(seed)
    lengths = np.array([len(values) for _, values in axes], np.uint64)
    while True:
        words = bits.random_raw(CHUNK * len(axes)).reshape(CHUNK, len(axes))
        for row in (((words >> np.uint64(32)) * lengths) >> np.uint64(32)).tolist():
            yield tuple(values[index] for (_, values), index in zip(axes, row, strict=True))


def build_arch(space: Space, settings: dict, classes: int | None = None) -> ArchSpec:
    """One network: the space's table and fixed fields, then `settings` (the keys of an axis, single values)."""
    settings = {**dict(space.fixed), **settings}
    stages = space.stages
    if "expansion" in settings:
        stages = set_expansion(stages, settings["expansion"])
    cells = [key.split(".")[1:] + [value] for key, value in settings.items() if key.startswith("stages.")]
    for row, column, value in sorted(cells, key=lambda cell: cell[0] != "*"):
        at = range(len(stages)) if row == "*" else [int(row)]
        stages = tuple(replace(stage, **{column: value}) if i in at else stage for i, stage in enumerate(stages))
    scalars = {key: value for key, value in settings.items() if key in FIELD_TYPES}
    if classes is not None:
        scalars.setdefault("classes", classes)
    return ArchSpec(stages=stages, **scalars)
