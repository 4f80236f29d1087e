"""A design space as a record, and one network of it; `networks` finds them all, `read` reads one from a file.

Where several keys set the same cell, the narrower one wins: expansion, then stages.*.t, then stages.1.t.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import NamedTuple

from mnv2_sweep.nets.arch import CLASSIFIER, MOBILENET_V2, USUAL_CLASSES, ArchSpec, Stage, set_expansion
from mnv2_sweep.trials.recipe import RECIPES, SCRATCH, Recipe
from mnv2_sweep.trials.trial import CLASSIFY

FIELD_TYPES = {field.name: field.type for field in fields(ArchSpec) if field.name != "stages"}
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on a cost: `cost` is its name (`devices.costs`), `limit` is in its own unit and exact, milliseconds of a
    latency may be a fraction; `text` is how the file says it."""

    cost: str
    operator: str
    limit: int | float
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """How many networks to draw from the grid, and the seed of the draw."""

    size: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Strategy:
    """How the networks get their weights (`trials.ways`): "separate", each trained alone, or "shared", as slices of a
    supernet that is trained once, on that many `images` (None: as many as the way finds right), the best of them then
    trained on alone for `finetune` epochs (None: none are); or another way, with what it needs to know in `settings`.
    """

    name: str = "separate"
    images: int | None = None
    finetune: float | None = None
    settings: tuple[tuple[str, str | int | float | bool], ...] = ()


ALONE = Strategy()


class Kind(NamedTuple):
    """A kind of start that networks of a sweep have, which `recipe.init` says, and how those of it are trained."""

    recipe: Recipe
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Space:
    """A checked design space; keys and values are as in the file, in its order.

    `with_weights` are recipe and strategy where all its networks have pretrained weights; else those beside it are.
    With `inits`, the axis `init`, the sweep has each network once for each: SCRATCH as `recipe` and `strategy` say, any
    other as `with_weights` does.
    """

    name: str
    stages: tuple[Stage, ...] = MOBILENET_V2
    fixed: tuple[tuple[str, object], ...] = ()
    axes: tuple[tuple[str, tuple], ...] = ()
    points: tuple[tuple[tuple[str, object], ...], ...] = ()
    constraints: tuple[Constraint, ...] = ()
    sample: Sample | None = None
    recipe: Recipe = RECIPES["short"]
    strategy: Strategy = ALONE
    task: str = CLASSIFY
    seeds: tuple[int, ...] = (0,)
    data: str = "shapes"
    with_weights: tuple[Recipe, Strategy] | None = None
    inits: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return how its networks begin and are trained: in one way, or, with an axis `init`, in several."""
        if not self.inits:
            return (Kind(self.recipe, self.strategy),)
        recipe, strategy = self.with_weights or (RECIPES["tune"], Strategy("tune"))
        return tuple(
            Kind(self.recipe, self.strategy) if init == SCRATCH else Kind(replace(recipe, init=init), strategy)
            for init in self.inits
        )

    @property
    def sets_padding(self) -> bool:
        """Return whether it says of some network how it pads: then weights of other padding are none of its."""
        return any("padding" in dict(settings) for settings in (self.fixed, self.axes, *self.points))

    @property
    def leaves_classes_open(self) -> bool:
        """Return whether some network's classes are the data set's number."""
        axes, fixed = dict(self.axes), dict(self.fixed)
        points = all("classes" in dict(point) for point in self.points)
        return "classes" not in fixed and not (points and ("classes" in axes or not axes))

    @property
    def heads(self) -> tuple[str, ...]:
        """Return the heads that its networks end in."""
        default = dict(self.fixed).get("head", CLASSIFIER)
        of_axes = dict(self.axes).get("head", (default,)) if self.axes else ()
        return tuple(dict.fromkeys([*of_axes, *(dict(point).get("head", default) for point in self.points)]))

    @property
    def grid_size(self) -> int:
        """Count the combinations of the axes, before constraints; 0 without axes."""
        return math.prod(len(values) for _, values in self.axes) if self.axes else 0


def field_of(key: str) -> str:
    """Return the field of ArchSpec that a setting is about: `expansion` and cells are parts of the block table."""
    return "stages" if key == "expansion" or key.startswith("stages.") else key


_stage = lru_cache(maxsize=100_000, typed=True)(Stage)  # counting finds again what it has met by the object


def list_cells(settings: Mapping[str, object], rows: int) -> list[tuple[int, str, object]]:
    """List (row, column, value) of the cells that settings such as "stages.3.c" and "stages.*.c" set in a table of that
    many rows, in the order in which they are set: the narrower last."""
    cells = [(*key.split(".")[1:], value) for key, value in settings.items() if key.startswith("stages.")]
    cells.sort(key=lambda cell: cell[0] != "*")
    return [(i, column, value) for row, column, value in cells for i in (range(rows) if row == "*" else (int(row),))]


def set_table(stages: tuple[Stage, ...], settings: Mapping[str, object]) -> tuple[Stage, ...]:
    """Return the block table with what `expansion` and cells among the settings say."""
    if "expansion" in settings:
        stages = set_expansion(stages, settings["expansion"])
    if cells := list_cells(settings, len(stages)):
        table = [stage._asdict() for stage in stages]
        for row, column, value in cells:
            table[row][column] = value
        stages = tuple(_stage(*row.values()) for row in table)
    return stages


def build_arch(space: Space, settings: dict, classes: int | None = None) -> ArchSpec:
    """Build one network: the space's table and fixed fields, then `settings` (the keys of an axis, single values).
    Where nobody says how many classes it has, `classes` does, or else its head."""
    settings = {**dict(space.fixed), **settings}
    stages = set_table(space.stages, settings)
    scalars = {key: value for key, value in settings.items() if key in FIELD_TYPES}
    if classes is not None:
        scalars.setdefault("classes", classes)
    elif "head" in scalars:
        scalars.setdefault("classes", USUAL_CLASSES[scalars["head"]])
    return ArchSpec(stages=stages, **scalars)
