"""A design space as a file: YAML --load_space--> Space, or SpaceError with every mistake of the file at once.

    # Does a thinner network lose more at a low resolution?        (first comment: the question)
    stages: mobilenet_v2               # or rows of [t, c, n, s], or of {t: 6, c: 24, n: 2, s: 2, kernel: 5}
    fixed: {kernel: 3}                 # one value for every network, points too
    axes:                              # every combination; the last axis runs fastest
      width: [0.5, 1.0]
      expansion: [1, 6]                # t of every stage that expands
      resolution: {from: 96, to: 224, step: 32}
      stages.3.c: [48, 64]             # one cell of the block table, counted from 0; stages.*.n is a whole column
    points: [{width: 0.35}]            # single networks beside the grid; fields not named have ArchSpec's default
    constraints: {madds: "<= 300M"}    # on grid, sample and points alike; also latency@pi4: "<= 15 ms"
    sample: {size: 5, seed: 0}         # that many networks of the grid, drawn at random
    recipe: {base: short, epochs: 20}  # or only the name
    strategy: shared                   # one training for all; or separate (the default), {name: shared, images: 90000}
    finetune: 2                        # epochs, of the networks on the front of a shared training
    task: classify                     # what is learnt
    seeds: 3                           # 0, 1, 2; or a list
    data: shapes                       # or a path, or {path: photos.zip, fit: pad, labels: labels.csv}, see `dataset`
    with_weights: {recipe: tune, strategy: tune}  # in their place where every network has pretrained weights here

An axis `init: [scratch, imagenet]` has every network once from scratch, as recipe and strategy say, and once with
weights, as with_weights does: see `Space.inits`.

Where several keys set the same cell, the narrower one wins: expansion, then stages.*.t, then stages.1.t.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.costs import COUNTED, CostName, find_cost, looks_like_cost
from mnv2_sweep.devices.costs import FORMS as DEVICE_COSTS
from mnv2_sweep.nets.arch import MOBILENET_V2, Stage
from mnv2_sweep.spaces.bounds import bounds_of, lacks_direction, parse_bound
from mnv2_sweep.spaces.dataset import read_data
from mnv2_sweep.spaces.fields import (
    COLUMN_SYNONYMS,
    COLUMNS,
    MOST_ROWS,
    SYNONYMS,
    check_families,
    read_axes,
    read_settings,
    read_value,
)
from mnv2_sweep.spaces.inits import check_inits, split_inits
from mnv2_sweep.spaces.networks import Cells
from mnv2_sweep.spaces.recipes import RECIPE_KEYS, read_recipe
from mnv2_sweep.spaces.space import FIELD_TYPES, Constraint, Sample, Space, Strategy
from mnv2_sweep.spaces.yamlfile import BROKEN, Entry, Mistakes, nearest, read_mapping, read_yaml, refusal, short
from mnv2_sweep.trials.recipe import MAX_EPOCHS, RECIPE_CHOICES, RECIPES, SCRATCH, Recipe
from mnv2_sweep.trials.tasks import TASKS
from mnv2_sweep.trials.trial import CLASSIFY
from mnv2_sweep.trials.ways import find_strategy, strategy_names

TABLES = {"mobilenet_v2": MOBILENET_V2}
SECTIONS = ("stages", "fixed", "axes", "points", "constraints", "sample", "recipe", "strategy", "finetune")
SECTIONS += ("task", "seeds", "data", "with_weights")

MAX_GRID = 1_000_000
MAX_SAMPLE = 1_000_000
MAX_SEED = 2**32 - 1
MAX_SEEDS = 1000
MAX_SHARED_IMAGES = 10**12
SHARED_IMAGES = {"images": 1, "refit": 0}  # settings of a shared training that are numbers of images, at least so many

# Fields given one level too high.
HOMES = dict.fromkeys(RECIPE_KEYS, "recipe") | dict.fromkeys(COUNTED, "constraints")
HOMES |= dict.fromkeys([*FIELD_TYPES, "expansion"], "axes") | dict.fromkeys(["size", "seed"], "sample")


def load_space(path: Path) -> Space:
    """Read and check a design space. Raises SpaceError with every mistake of the file, in the order of its lines."""
    path = Path(path)
    mistakes = Mistakes(path)
    root = read_yaml(path, mistakes)
    top = read_mapping(root, "", SECTIONS, mistakes, HOMES)
    stages = _read_stages(top["stages"], mistakes) if "stages" in top else MOBILENET_V2
    fixed = read_settings(top["fixed"], "fixed", stages, mistakes) if "fixed" in top else ()
    before = len(mistakes.found)
    inits, of_networks = split_inits(top["axes"], mistakes) if "axes" in top else ((), None)
    axes = read_axes(of_networks, stages, fixed, mistakes) if of_networks else ()
    axes_fine = len(mistakes.found) == before
    points = _read_points(top["points"], stages, mistakes) if "points" in top else ()
    values = {"stages": stages or (), "fixed": fixed, "axes": axes, "points": points, "inits": inits}
    readers = {"constraints": read_constraints, "sample": _read_sample, "recipe": read_recipe}
    readers |= {"seeds": _read_seeds, "data": read_data, "task": _read_task}
    values |= {key: reader(top[key], mistakes) for key, reader in readers.items() if key in top}
    values["strategy"] = _read_strategy(top.get("strategy"), top.get("finetune"), mistakes)
    if "with_weights" in top:
        values["with_weights"] = _read_with_weights(top["with_weights"], mistakes)
    space = Space(path.stem, **values)
    sections = root.value if isinstance(root.value, dict) else {}
    is_whole = all(key in SECTIONS and entry.value is not BROKEN for key, entry in sections.items())
    if axes_fine and sections and is_whole:
        _check_size(space, top, mistakes)
        check_families(space, top, mistakes)
        _check_use(space, top, mistakes)
        check_inits(space, top, mistakes)
    mistakes.stop()
    return space


def _check_use(space: Space, top: dict[str, Entry], mistakes: Mistakes) -> None:
    """Note axes that change nothing, as narrower keys set all of their cells."""
    used = Cells(space, None).used if space.axes else ()
    for k, (key, _) in enumerate(space.axes):
        if k not in used:
            text = f"axes.{key}: it would change nothing, as narrower keys set the same cells"
            mistakes.add(top["axes"].value[key].line, text)


def _check_size(space: Space, top: dict[str, Entry], mistakes: Mistakes) -> None:
    """Note mistakes of the file as a whole, which could be mere consequences where axes or sections are mistaken."""
    if "axes" not in top and "points" not in top:
        mistakes.add(0, "there is no network in it; give 'axes' (lists of values) or 'points' (single networks)")
    elif "axes" in top and not space.axes and not (space.inits and space.points):
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
    """Read the block table; None after a mistake (then keys such as stages.3.c are not held against it)."""
    if isinstance(entry.value, str) and entry.value in TABLES:
        return TABLES[entry.value]
    if not isinstance(entry.value, tuple) or not 1 <= len(entry.value) <= MOST_ROWS:
        near = nearest(entry.text, TABLES)
        hint = f"; did you mean {near}?" if near else ""
        allowed = f"{', '.join(TABLES)}, or 1 to {MOST_ROWS} rows of [t, c, n, s]"
        mistakes.add(entry.line, refusal("stages", entry, allowed) + hint)
        return None
    rows = []
    for i, row in enumerate(entry.value):
        cells = _read_cells(f"stages.{i}", row, mistakes)
        values = {name: read_value(f"stages.{i}.{name}", cell, "", mistakes) for name, cell in cells.items()}
        rows.append(Stage(**values) if values and None not in values.values() else None)
    return tuple(rows) if len(rows) == len(entry.value) and None not in rows else None


def _read_cells(where: str, row: Entry, mistakes: Mistakes) -> dict[str, Entry]:
    """Return the cells of a row of the block table, [t, c, n, s] or {t: 6, c: 24, n: 2, s: 2, kernel: 5}; none after a
    mistake."""
    if isinstance(row.value, dict):
        before = len(mistakes.found)
        cells = read_mapping(row, where, COLUMNS, mistakes, COLUMN_SYNONYMS)
        missing = [name for name in COLUMNS[:4] if name not in row.value]
        if missing and len(mistakes.found) == before:
            mistakes.add(row.line, f"{where}.{missing[0]}: it is missing; a row has t, c, n and s")
        return cells if len(mistakes.found) == before else {}
    if isinstance(row.value, tuple) and len(row.value) == 4:
        return dict(zip(COLUMNS, row.value, strict=False))
    if row.value is not BROKEN:
        text = f"{where}: four numbers [t, c, n, s] are needed, as in [6, 24, 2, 2], or further cells by name"
        mistakes.add(row.line, f"{text}, as in {{t: 6, c: 24, n: 2, s: 2, kernel: 5}}")
    return {}


def _read_points(entry: Entry, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> tuple:
    if not isinstance(entry.value, tuple) or not entry.value:
        if entry.value is not BROKEN:
            mistakes.add(entry.line, refusal("points", entry, "a list of networks, as in [{width: 1.3}]"))
        return ()
    return tuple(read_settings(point, f"points.{i}", stages, mistakes) for i, point in enumerate(entry.value))


def read_constraints(entry: Entry, mistakes: Mistakes) -> tuple[Constraint, ...]:
    """Read bounds on costs: a mapping of one bound, or a list of them, by cost."""
    constraints = []
    of_devices = [key for key in entry.value if looks_like_cost(key)] if isinstance(entry.value, dict) else []
    shown = f"{', '.join(COUNTED)}, {DEVICE_COSTS}"
    for name, bounds in read_mapping(entry, "constraints", (*COUNTED, *of_devices), mistakes, SYNONYMS, shown).items():
        try:
            cost = find_cost(name)
        except ProfileError as error:
            mistakes.add(bounds.line, f"constraints.{short(name)}: {error}")
            continue
        if bounds.value == ():
            mistakes.add(bounds.line, refusal(f"constraints.{name}", bounds, "one bound, or a list of them"))
        for bound in bounds.value if isinstance(bounds.value, tuple) else (bounds,):
            if bound.value is not BROKEN:
                constraints.append(_read_constraint(cost, bound, mistakes))
    return tuple(constraints)


def _read_constraint(cost: CostName, entry: Entry, mistakes: Mistakes) -> Constraint | None:
    found = parse_bound(cost, entry.text)
    if found is None and lacks_direction(cost, entry.text):
        shown = short(entry.text)
        text = (
            f'constraints.{cost.name}: {shown} given, but not whether more or less; write "<= {shown}" or ">= {shown}"'
        )
        mistakes.add(entry.line, text)
    elif found is None:
        mistakes.add(entry.line, refusal(f"constraints.{cost.name}", entry, bounds_of(cost)))
    return found


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


def _read_task(entry: Entry, mistakes: Mistakes) -> str:
    if isinstance(entry.value, str) and entry.value in TASKS:
        return entry.value
    if entry.value is not BROKEN:
        mistakes.add(entry.line, refusal("task", entry, " | ".join(TASKS)))
    return CLASSIFY


def _read_strategy(entry: Entry | None, finetune: Entry | None, mistakes: Mistakes) -> Strategy:
    """Read a name, or {name: shared, images: N}; `finetune` is only for a shared training."""
    name, values = "separate", {}
    if entry is not None:
        key, values = "strategy", {"name": entry}
        if isinstance(entry.value, dict):
            keys = dict.fromkeys(key for name in strategy_names() for key in find_strategy(name).keys)
            key, values = "strategy.name", read_mapping(entry, "strategy", ("name", *keys), mistakes, {})
            if "name" not in entry.value:
                mistakes.add(entry.line, f"strategy.name: it is missing; give {_either(strategy_names())}")
        name = _read_strategy_name(key, values.get("name"), mistakes)
    settings = {key: _read_setting(name, key, values[key], mistakes) for key in values if key != "name"}
    epochs = _read_epochs(finetune, name, mistakes) if finetune is not None else None
    return Strategy(name, settings.pop("images", None), epochs, tuple(settings.items()))


def _either(names: Sequence[str]) -> str:
    """Return "separate, shared or probe"."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _read_with_weights(entry: Entry, mistakes: Mistakes) -> tuple[Recipe, Strategy]:
    """Read recipe and strategy for networks that have weights, "tune" where they are not given."""
    values = read_mapping(entry, "with_weights", ("recipe", "strategy"), mistakes, {})
    recipe = read_recipe(values["recipe"], mistakes) if "recipe" in values else RECIPES["tune"]
    if recipe.init == SCRATCH:
        text = (
            f"with_weights.recipe: it begins from {SCRATCH}; give {{base: tune}}, or {{init: imagenet}} beside its base"
        )
        mistakes.add(entry.line, text)
    strategy = _read_strategy(values["strategy"], None, mistakes) if "strategy" in values else Strategy("tune")
    return recipe, strategy


def _read_setting(strategy: str, key: str, entry: Entry, mistakes: Mistakes) -> str | int | float | bool | None:
    """Read what stands beside a strategy's name."""
    if key not in find_strategy(strategy).keys:
        text = f"it is for {' and '.join(name for name in strategy_names() if key in find_strategy(name).keys)}"
        if key == "images":
            text = "it is of a shared training; networks trained alone have recipe.images"
        mistakes.add(entry.line, f"strategy.{key}: {text}")
    if key in SHARED_IMAGES:
        return _read_whole(f"strategy.{key}", entry, SHARED_IMAGES[key], MAX_SHARED_IMAGES, mistakes)
    if not isinstance(entry.value, (str, int, float)) and entry.value is not BROKEN:
        mistakes.add(entry.line, refusal(f"strategy.{key}", entry, "one value"))
    return entry.value


def _read_strategy_name(key: str, entry: Entry | None, mistakes: Mistakes) -> str:
    """Read a strategy's name; after a mistake it is "shared": what follows is not held against it."""
    names = strategy_names()
    if entry is not None and entry.value in names:
        return entry.value
    if entry is not None and entry.value is not BROKEN:
        mistakes.add(entry.line, refusal(key, entry, _either(names)))
    return "shared"


def _read_epochs(entry: Entry, strategy: str, mistakes: Mistakes) -> float | None:
    """Read a number of epochs, also as in "2 epochs"."""
    match = re.fullmatch(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)(?: epochs?)?", entry.text.strip())
    epochs = float(match[1]) if match else entry.value
    if strategy != "shared":
        mistakes.add(entry.line, "finetune: it goes on from a shared training; add strategy: shared, or leave it out")
    elif RECIPE_CHOICES["epochs"].rule.check(epochs):
        return float(epochs)
    elif entry.value is not BROKEN:
        mistakes.add(entry.line, refusal("finetune", entry, f"a number of epochs above 0, at most {MAX_EPOCHS:,}"))
    return None
