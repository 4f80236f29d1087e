"""A design space: YAML file --load_space--> Space --expand--> ArchSpecs, the same everywhere, in the same order.

    # Does a thinner network lose more at a low resolution?        (first comment: the question)
    stages: mobilenet_v2               # or rows of [t, c, n, s]
    fixed: {kernel: 3}                 # one value for every network, points too
    axes:                              # every combination; the last axis runs fastest
      width: [0.5, 1.0]
      expansion: [1, 6]                # t of every stage that expands
      stages.3.c: [48, 64]             # one cell of the block table, counted from 0; stages.*.n is a whole column
    points: [{width: 0.35}]            # single networks beside the grid; fields not named have ArchSpec's default
    constraints: {madds: "<= 300M"}    # on grid, sample and points alike
    sample: {size: 5, seed: 0}         # that many networks of the grid, drawn at random
    recipe: {base: short, epochs: 20}  # or only the name
    seeds: 3                           # 0, 1, 2; or a list
    data: shapes

Where several keys set the same cell, the narrower one wins: expansion, then stages.*.t, then stages.1.t.
"""

import itertools
import math
import operator
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import get_args

import numpy as np

from mnv2_sweep.arch import MOBILENET_V2, ArchSpec, Stage, set_expansion
from mnv2_sweep.arch import _rules as arch_rules
from mnv2_sweep.cost import Cost, count_cost
from mnv2_sweep.errors import SpaceError
from mnv2_sweep.trial import RECIPES, Recipe, recipe_rules
from mnv2_sweep.yamlfile import BROKEN, Entry, Mistakes, nearest, read_mapping, read_yaml, refusal, short, unknown_key

TABLES = {"mobilenet_v2": MOBILENET_V2}
COLUMNS = tuple(field.name for field in fields(Stage))
FIELD_TYPES = {field.name: field.type for field in fields(ArchSpec) if field.name != "stages"}
COSTS = tuple(field.name for field in fields(Cost))
RECIPE_TYPES = {field.name: field.type for field in fields(Recipe)}
SECTIONS = ("stages", "fixed", "axes", "points", "constraints", "sample", "recipe", "seeds", "data")

# So that a slip of the finger is a message and not an hour; `arch` itself sets no upper bound.
LIMITS = {"t": 100, "c": 10_000, "n": 100, "s": 16, "resolution": 4096, "kernel": 99, "last_channels": 100_000}
LIMITS["classes"] = 1_000_000
MAX_GRID = 100_000
MAX_SAMPLE = 1_000_000
MAX_SEED = 2**32 - 1
MAX_SEEDS = 1000
CHUNK = 4096  # rows drawn at once; the result does not depend on it

COUNT_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

# Words of other papers and libraries, and fields given one level too high.
SYNONYMS = {"t": "expansion", "alpha": "width", "width_mult": "width", "depth_multiplier": "width"}
SYNONYMS |= {"flops": "madds", "macs": "madds", "memory": "peak_activation_bytes", "parameters": "params"}
SYNONYMS |= {"image_size": "resolution", "input_size": "resolution", "batch_size": "batch", "learning_rate": "lr"}
HOMES = dict.fromkeys([*RECIPE_TYPES, "base"], "recipe") | dict.fromkeys(COSTS, "constraints")
HOMES |= dict.fromkeys([*FIELD_TYPES, "expansion"], "axes") | dict.fromkeys(["size", "seed"], "sample")


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
    def grid_size(self) -> int:
        """Combinations of the axes, before constraints; 0 without axes."""
        return math.prod(len(values) for _, values in self.axes) if self.axes else 0


# ---------------------------------------------------------------- Space -> networks


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


# ---------------------------------------------------------------- YAML -> Space


def load_space(path: Path) -> Space:
    """Read and check a design space. Raises SpaceError with every mistake of the file, in the order of its lines."""
    path = Path(path)
    mistakes = Mistakes(path)
    root = read_yaml(path, mistakes)
    top = read_mapping(root, "", SECTIONS, mistakes, HOMES)
    stages = _read_stages(top["stages"], mistakes) if "stages" in top else MOBILENET_V2
    fixed = _read_settings(top["fixed"], "fixed", stages, mistakes) if "fixed" in top else ()
    before = len(mistakes.found)
    axes = _read_axes(top["axes"], stages, fixed, mistakes) if "axes" in top else ()
    axes_fine = len(mistakes.found) == before
    points = _read_points(top["points"], stages, mistakes) if "points" in top else ()
    values = {"stages": stages or (), "fixed": fixed, "axes": axes, "points": points}
    readers = {"constraints": _read_constraints, "sample": _read_sample, "recipe": _read_recipe}
    readers |= {"seeds": _read_seeds, "data": _read_data}
    values |= {key: reader(top[key], mistakes) for key, reader in readers.items() if key in top}
    space = Space(path.stem, **values)
    if axes_fine and isinstance(root.value, dict) and root.value.keys() <= {*SECTIONS}:
        _check_size(space, top, mistakes)
    mistakes.stop()
    return space


def _check_size(space: Space, top: dict[str, Entry], mistakes: Mistakes) -> None:
    """Mistakes of the file as a whole, which could be mere consequences where axes or sections are mistaken."""
    if "axes" not in top and "points" not in top:
        mistakes.add(0, "there is no network in it; give 'axes' (lists of values) or 'points' (single networks)")
    elif "axes" in top and not space.axes:
        mistakes.add(top["axes"].line, "axes: there is none; give at least one, as in width: [0.5, 1.0]")
    elif "sample" in top and "axes" not in top:
        mistakes.add(top["sample"].line, "sample: there are no axes to draw from; points are always taken whole")
    elif space.sample and space.sample.size > space.grid_size:
        text = f"sample.size: {space.sample.size:,} given, but the axes have only {space.grid_size:,} combinations"
        mistakes.add(top["sample"].value["size"].line, text)
    elif "sample" not in top and space.grid_size > MAX_GRID:
        text = f"axes: {space.grid_size:,} combinations, at most {MAX_GRID:,} allowed; take a 'sample: {{size: 1000}}'"
        mistakes.add(top["axes"].line, text)


def _read_stages(entry: Entry, mistakes: Mistakes) -> tuple[Stage, ...] | None:
    """The block table, or None after a mistake (then keys such as stages.3.c are not held against it)."""
    if isinstance(entry.value, str) and entry.value in TABLES:
        return TABLES[entry.value]
    if not isinstance(entry.value, tuple) or not 1 <= len(entry.value) <= 100:
        near = nearest(entry.text, TABLES)
        hint = f"; did you mean {near}?" if near else ""
        allowed = f"{', '.join(TABLES)}, or 1 to 100 rows of [t, c, n, s]"
        mistakes.add(entry.line, refusal("stages", entry, allowed) + hint)
        return None
    rows = []
    for i, row in enumerate(entry.value):
        if not isinstance(row.value, tuple) or len(row.value) != 4:
            if row.value is not BROKEN:
                mistakes.add(row.line, f"stages.{i}: four numbers [t, c, n, s] are needed, as in [6, 24, 2, 2]")
            continue
        cells = zip(COLUMNS, row.value, strict=True)
        cells = [_read_value(f"stages.{i}.{column}", cell, "", mistakes) for column, cell in cells]
        rows.append(None if None in cells else Stage(*cells))
    return tuple(rows) if len(rows) == len(entry.value) and None not in rows else None


def _read_axes(entry: Entry, stages: tuple[Stage, ...] | None, fixed: tuple, mistakes: Mistakes) -> tuple:
    axes = []
    for key, values in _known_settings(entry, "axes", stages, mistakes).items():
        name = f"axes.{key}"
        if key in dict(fixed):
            mistakes.add(values.line, f"{name}: 'fixed' gives it too; keep one of them")
        if not isinstance(values.value, tuple) or not values.value:
            mistakes.add(values.line, refusal(name, values, "a list of values (a single one goes under 'fixed')"))
            continue
        lines: dict[object, int] = {}
        for item in values.value:
            value = _read_value(key, item, "axes.", mistakes)
            if value is not None and value in lines:
                where = "" if lines[value] == item.line else f" (first on line {lines[value]})"
                mistakes.add(item.line, f"{name}: {short(item.text)} is in the list twice{where}")
            lines.setdefault(value, item.line)
        axes.append((key, tuple(lines)))
    return tuple(axes)


def _read_points(entry: Entry, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> tuple:
    if not isinstance(entry.value, tuple) or not entry.value:
        if entry.value is not BROKEN:
            mistakes.add(entry.line, refusal("points", entry, "a list of networks, as in [{width: 1.3}]"))
        return ()
    return tuple(_read_settings(point, f"points.{i}", stages, mistakes) for i, point in enumerate(entry.value))


def _read_settings(entry: Entry, where: str, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> tuple:
    """Single values by key, as in `fixed` and in one point."""
    known = _known_settings(entry, where, stages, mistakes)
    return tuple((key, _read_value(key, value, f"{where}.", mistakes)) for key, value in known.items())


def _known_settings(entry: Entry, where: str, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> dict[str, Entry]:
    """The entries whose keys are fields of a network, `expansion`, or cells of the block table."""
    if not isinstance(entry.value, dict):
        return read_mapping(entry, where, (), mistakes, {})
    known = {}
    for key, value in entry.value.items():
        message = _key_mistake(key, where, stages)
        if message:
            mistakes.add(value.line, message)
        elif value.value is not BROKEN:
            known[key] = value
    return known


def _key_mistake(key: str, where: str, stages: tuple[Stage, ...] | None) -> str:
    rows = [*range(len(stages)), "*"] if stages else ["*"]
    if key in FIELD_TYPES:
        return ""
    if key == "expansion":
        fruitless = stages and all(stage.t == 1 for stage in stages)
        return f"{where}.expansion: it would change nothing, as every row of 'stages' has t = 1" if fruitless else ""
    if key == "stages":
        return f"{where}.stages: give single cells here, as in stages.3.c, or the whole table as 'stages' at the top"
    match = re.fullmatch(r"stages\.(\*|0|[1-9][0-9]{0,3})\.([a-z])", key)
    if match and match[2] in COLUMNS and (stages is None or match[1] == "*" or int(match[1]) < len(stages)):
        return ""
    if match and match[2] in COLUMNS:
        first, last = (f"[{s.t}, {s.c}, {s.n}, {s.s}]" for s in (stages[0], stages[-1]))
        table = f"0, which is {first}, to {len(stages) - 1}, which is {last}"
        return f"{where}.{key}: there is no stage {match[1]}; stages count from {table}"
    cells = [f"stages.{row}.{column}" for row in rows for column in COLUMNS]
    shown = ", ".join([*FIELD_TYPES, "expansion", f"stages.<0 to {len(rows) - 2} or *>.<{'|'.join(COLUMNS)}>"])
    return unknown_key(where, key, [*FIELD_TYPES, "expansion", *cells], SYNONYMS, shown)


def _read_value(key: str, entry: Entry, where: str, mistakes: Mistakes) -> object:
    """One value of one field of a network, or None after a mistake."""
    if entry.value is BROKEN:
        return None
    if isinstance(entry.value, (tuple, dict)):
        mistakes.add(entry.line, refusal(where + key, entry, "one value"))
        return None
    column = "t" if key == "expansion" else key.rpartition(".")[2]
    if column in COLUMNS:
        arch, rule = ArchSpec(stages=(replace(Stage(1, 1, 1, 1), **{column: entry.value}),)), f"stages.0.{column}"
    else:
        arch, rule = replace(ArchSpec(), **{key: entry.value}), key
    allowed = [allowed for name, _, ok, allowed in arch_rules(arch) if name == rule and not ok]
    if column in LIMITS and not allowed and entry.value > LIMITS[column]:
        allowed = [f"a whole number up to {LIMITS[column]:,}"]
    if isinstance(entry.value, bool) and entry.trap:  # `no` for false
        allowed = allowed or ["true or false"]
    if allowed:
        mistakes.add(entry.line, refusal(where + key, entry, allowed[0]))
        return None
    return float(entry.value) + 0.0 if FIELD_TYPES.get(key) is float else entry.value  # + 0.0: no minus zero


def _read_constraints(entry: Entry, mistakes: Mistakes) -> tuple[Constraint, ...]:
    constraints = []
    for cost, bounds in read_mapping(entry, "constraints", COSTS, mistakes, SYNONYMS).items():
        if bounds.value == ():
            mistakes.add(bounds.line, refusal(f"constraints.{cost}", bounds, "one bound, or a list of them"))
        for bound in bounds.value if isinstance(bounds.value, tuple) else (bounds,):
            if bound.value is not BROKEN:
                constraints.append(_read_constraint(cost, bound, mistakes))
    return tuple(constraints)


def _read_constraint(cost: str, entry: Entry, mistakes: Mistakes) -> Constraint | None:
    units = BYTE_UNITS if cost.endswith("_bytes") else COUNT_UNITS
    example = '"<= 2 MiB"' if units is BYTE_UNITS else '"<= 300M"'
    match = re.fullmatch(r"(<=|>=|<|>|)\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", entry.text.strip())
    operators = f"{', '.join(list(OPERATORS)[:-1])} or {list(OPERATORS)[-1]}"
    names = ", ".join(filter(None, units))
    text = refusal(f"constraints.{cost}", entry, f"{operators}, a number and a unit ({names}), as in {example}")
    if match and match[3] in units:
        limit = Decimal(match[2]) * units[match[3]]
        if match[1] and limit == int(limit):
            return Constraint(cost, match[1], int(limit), entry.text.strip())
        if not match[1]:
            shown = short(entry.text)
            text = (
                f'constraints.{cost}: {shown} given, but not whether more or less; write "<= {shown}" or ">= {shown}"'
            )
    mistakes.add(entry.line, text)
    return None


def _read_sample(entry: Entry, mistakes: Mistakes) -> Sample | None:
    values = read_mapping(entry, "sample", ("size", "seed"), mistakes, SYNONYMS)
    size = _read_whole("sample.size", values["size"], 1, MAX_SAMPLE, mistakes) if "size" in values else None
    if isinstance(entry.value, dict) and "size" not in entry.value:
        mistakes.add(entry.line, "sample.size: it is missing; say how many networks to draw")
    seed = _read_whole("sample.seed", values["seed"], 0, MAX_SEED, mistakes) if "seed" in values else 0
    return Sample(size, seed) if size is not None and seed is not None else None


def _read_whole(name: str, entry: Entry, low: int, high: int, mistakes: Mistakes) -> int | None:
    if type(entry.value) is int and low <= entry.value <= high:
        return entry.value
    if entry.value is not BROKEN:
        mistakes.add(entry.line, refusal(name, entry, f"a whole number from {low} to {high:,}"))
    return None


def _read_seeds(entry: Entry, mistakes: Mistakes) -> tuple[int, ...]:
    if not isinstance(entry.value, tuple):
        return tuple(range(_read_whole("seeds", entry, 1, MAX_SEEDS, mistakes) or 0))
    if not 1 <= len(entry.value) <= MAX_SEEDS:
        mistakes.add(
            entry.line, f"seeds: {len(entry.value):,} given; allowed: a count, or a list of 1 to {MAX_SEEDS:,}"
        )
        return ()
    seeds: list[int | None] = []
    for item in entry.value:
        seed = _read_whole("seeds", item, 0, MAX_SEED, mistakes)
        if seed is not None and seed in seeds:
            mistakes.add(item.line, f"seeds: {seed} is in the list twice")
        seeds.append(seed)
    return tuple(seeds)


def _read_data(entry: Entry, mistakes: Mistakes) -> str:
    if isinstance(entry.value, str) and entry.value.isprintable() and entry.value.strip():
        return entry.value
    if entry.value is not BROKEN:
        mistakes.add(entry.line, refusal("data", entry, "the name of a data set or a path, in quotes if need be"))
    return ""


def _read_recipe(entry: Entry, mistakes: Mistakes) -> Recipe:
    """A named recipe, or a named one with changes; `images` and `epochs` replace each other."""
    if not isinstance(entry.value, dict):
        return _read_base("recipe", entry, mistakes)
    values = read_mapping(entry, "recipe", ["base", *RECIPE_TYPES], mistakes, SYNONYMS)
    base = _read_base("recipe.base", values.pop("base"), mistakes) if "base" in values else RECIPES["short"]
    if "images" in values and "epochs" in values:
        line = max(values["images"].line, values["epochs"].line)
        mistakes.add(line, "recipe: images and epochs given, one of them allowed; both say how long to train")
    if values.keys() & {"images", "epochs"}:
        base = replace(base, images=None, epochs=None)
    changes = {name: _read_recipe_field(name, value, base, mistakes) for name, value in values.items()}
    recipe = replace(base, **changes)
    # A changed recipe must not pass for the one it comes from.
    return (
        recipe
        if "name" in changes or recipe == RECIPES.get(base.name)
        else replace(recipe, name=f"{base.name}, changed")
    )


def _read_base(key: str, entry: Entry, mistakes: Mistakes) -> Recipe:
    if isinstance(entry.value, str) and entry.value in RECIPES:
        return RECIPES[entry.value]
    if entry.value is not BROKEN:
        mistakes.add(entry.line, refusal(key, entry, " | ".join(RECIPES)))
    return RECIPES["short"]


def _read_recipe_field(name: str, entry: Entry, base: Recipe, mistakes: Mistakes) -> object:
    """The value of one field, or the base's after a mistake."""
    kind = next((kind for kind in get_args(RECIPE_TYPES[name]) if kind is not type(None)), RECIPE_TYPES[name])
    kinds = (int, float) if kind is float else (kind,)
    value = float(entry.value) if kind is float and type(entry.value) is int else entry.value
    fits = type(entry.value) in kinds and not (kind is bool and entry.trap)
    if fits and kind is str:
        fits = entry.text.isprintable() and 0 < len(entry.text.strip()) <= 60
    rules = list(recipe_rules(replace(base, **{name: value}) if fits else base))
    plain = {bool: "true or false", str: "a name of at most 60 characters"}.get(kind, "a number")
    allowed = [allowed for rule, _, _, allowed in rules if rule == name][-1:] or [plain]
    if fits and all(ok for rule, _, ok, _ in rules if rule == name):
        return value
    mistakes.add(entry.line, refusal(f"recipe.{name}", entry, allowed[0]))
    return getattr(base, name)
