"""Entries of a design space file -> settings of its networks: which fields there are, single values, and axes.

A setting is a field of ArchSpec, `expansion`, or a cell or column of the block table, as `build_arch` takes them. An
axis gives a setting a list of values or a range. What a family of the space has no choice of is a mistake, too.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product

from mnv2_sweep.nets.arch import (
    CELLS,
    CHOICES,
    CLASSIFIER,
    HEADS,
    MOBILENET_V2,
    NAMES,
    ArchSpec,
    Stage,
    choices_of,
    no_such_head,
)
from mnv2_sweep.spaces.space import FIELD_TYPES, Space, field_of
from mnv2_sweep.spaces.yamlfile import BROKEN, Entry, Mistakes, nearest, read_mapping, refusal, short, unknown_key
from mnv2_sweep.trials.recipe import RECIPE_CHOICES

COLUMNS = tuple(CELLS)

CELL = re.compile(r"stages\.(\*|0|[1-9][0-9]?)\.([a-z_]+)")
PARTS_OF_CELL = re.compile(r"stages(?:\.(?P<row>\*|[-+]?[0-9]+))?(?:\.(?P<column>[^.]+))?")  # wrong ones, too

# Words of other papers and libraries.
SYNONYMS = {"t": "expansion", "alpha": "width", "width_mult": "width", "depth_multiplier": "width", "scale": "width"}
SYNONYMS |= {"flops": "madds", "macs": "madds", "memory": "peak_activation_bytes", "parameters": "params"}
SYNONYMS |= {"image_size": "resolution", "input_size": "resolution", "layers": "depth", "g": "groups"}
SYNONYMS |= {"batch_size": "batch", "learning_rate": "lr", "k": "kernel", "kernel_size": "kernel"}
SYNONYMS |= dict.fromkeys(["ema", "ema_decay", "moving_average_decay"], "average")
SYNONYMS |= {"num_epochs_per_decay": "decay_epochs", "opt_epsilon": "rmsprop_epsilon", "bn_momentum": "norm_momentum"}
SYNONYMS |= {"in_chans": "in_channels", "input_channels": "in_channels", "channels": "in_channels"}
SYNONYMS |= {"round_nearest": "divisor", "channel_divisor": "divisor", "stem_size": "stem_channels"}
SYNONYMS |= {"stem": "stem_channels", "grey": "in_channels", "gray": "in_channels"}
SYNONYMS |= dict.fromkeys(["se", "squeeze", "squeeze_excite", "squeeze_ratio"], "se_ratio")
OF_ROWS = {"expansion": "t", "channels": "c", "out_channels": "c", "width": "c", "blocks": "n", "repeats": "n"}
OF_ROWS |= {"depth": "n", "layers": "n", "stride": "s"}
COLUMN_SYNONYMS = SYNONYMS | OF_ROWS
MAX_RANGE = 100_000
MOST_ROWS = 100  # of a block table
OWN_FIELDS = set(CHOICES).difference(NAMES)


# ---------------------------------------------------------------- settings


def read_settings(entry: Entry, where: str, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> tuple:
    """Read single values by key, as in `fixed` and in one point."""
    known = known_settings(entry, where, stages, mistakes)
    return tuple((key, read_value(key, value, f"{where}.", mistakes)) for key, value in known.items())


def known_settings(entry: Entry, where: str, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> dict[str, Entry]:
    """Return the entries whose keys are fields of a network, `expansion`, or cells of the block table."""
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
    if key in FIELD_TYPES:
        return ""
    if key == "expansion":
        fruitless = stages and all(stage.t == 1 for stage in stages)
        return f"{where}.expansion: it would change nothing, as every row of 'stages' has t = 1" if fruitless else ""
    if key == "stages":
        return (
            f"{where}.stages: give single cells, as in stages.3.c; a whole table is 'stages' at the top of a space file"
        )
    match = CELL.fullmatch(key)
    if match and match[2] in COLUMNS and (stages is None or match[1] == "*" or int(match[1]) < len(stages)):
        return ""
    shown = f"stages.<{f'0 to {len(stages) - 1} or ' if stages else ''}*>.<{'|'.join(COLUMNS)}>"
    if parts := PARTS_OF_CELL.fullmatch(key):
        return _cell_mistake(f"{where}.{short(key)}", parts["row"], parts["column"], stages, shown)
    field = key.removeprefix("recipe.")
    field = SYNONYMS.get(field, field)
    if field in RECIPE_CHOICES and field != "name" or key.partition(".")[0] == "recipe":
        whose = "the recipe" if field == "recipe" else f"'{short(field)}' of the recipe"
        return (
            f"{where}.{short(key)}: no field of a network; {whose} is for all networks, under 'recipe' in a space file"
        )
    cells = [f"stages.{row}.{column}" for row in [*range(len(stages or ())), "*"] for column in COLUMNS]
    known = [*FIELD_TYPES, "expansion"]
    return unknown_key(where, key, [*known, *cells], SYNONYMS, ", ".join([*known, shown]))


def _cell_mistake(
    name: str, row: str | None, column: str | None, stages: tuple[Stage, ...] | None, allowed: str
) -> str:
    """Say what is wrong with the key of a cell, of which the row or the column may be missing."""
    if row not in (None, "*", *map(str, range(len(stages) if stages else MOST_ROWS))):
        text = f"{name}: there is no stage {short(row)}; stages count from 0"
        if not stages:
            return text
        first, last = (f"[{s.t}, {s.c}, {s.n}, {s.s}]" for s in (stages[0], stages[-1]))
        return f"{text}, which is {first}, to {len(stages) - 1}, which is {last}"
    if column is None:
        return f"{name}: name a cell of the row, as in stages.{short(row)}.c; there is: {', '.join(COLUMNS)}"
    meant = column if column in COLUMNS else COLUMN_SYNONYMS.get(column, nearest(column, COLUMNS))
    keys = [f"stages.{short(row or '*')}.{meant}"] if meant in COLUMNS else []
    everywhere = "expansion" if meant == "t" else meant
    if row is None and everywhere in (*FIELD_TYPES, "expansion"):
        keys.insert(0, everywhere)
    hint = f"did you mean {' or '.join(map(repr, keys))}? " if keys else ""
    return f"unknown key '{name}'; {hint}Allowed: {allowed}"


def _type(key: str) -> type | None:
    """Return the type of a field, or of a cell that is a field of the network, too; None of other cells."""
    return FIELD_TYPES.get(key.rpartition(".")[2])


def read_value(key: str, entry: Entry, where: str, mistakes: Mistakes) -> object:
    """Read one value of one field of a network; None after a mistake."""
    if entry.value is BROKEN:
        return None
    name = "t" if key == "expansion" else key.rpartition(".")[2]
    one = (CELLS if field_of(key) == "stages" else CHOICES)[name]
    if isinstance(entry.value, (tuple, dict)):
        mistakes.add(entry.line, refusal(where + key, entry, f"one value: {one.allowed}"))
        return None
    value = one.read(entry.value)
    if allowed := one.refuse(value):
        mistakes.add(entry.line, refusal(where + key, entry, allowed))
        return None
    return float(value) + 0.0 if _type(key) is float else value  # + 0.0: no minus zero


# ---------------------------------------------------------------- axes


def read_axes(entry: Entry, stages: tuple[Stage, ...] | None, fixed: tuple, mistakes: Mistakes) -> tuple:
    """Read (key, values) of every axis."""
    axes = []
    for key, values in known_settings(entry, "axes", stages, mistakes).items():
        name = f"axes.{key}"
        if key in dict(fixed):
            mistakes.add(values.line, f"{name}: 'fixed' gives it too; keep one of them")
        if isinstance(values.value, dict):
            found = _read_range(key, values, mistakes)
            if found:
                axes.append((key, found))
            continue
        given = values.value
        if not isinstance(given, tuple) or not given:
            allowed = "a list of values (a single one goes under 'fixed'), or {from: 1, to: 9, step: 2}"
            mistakes.add(values.line, refusal(name, values, allowed))
            continue
        lines: dict[object, int] = {}
        for item in given:
            value = read_value(key, item, "axes.", mistakes)
            if value is not None and value in lines:
                where = "" if lines[value] == item.line else f" (first on line {lines[value]})"
                mistakes.add(item.line, f"{name}: {short(item.text)} is in the list twice{where}")
            lines.setdefault(value, item.line)
        axes.append((key, tuple(lines)))
    return tuple(axes)


def _read_range(key: str, entry: Entry, mistakes: Mistakes) -> tuple:
    """Read the values of {from, to, step}, both ends among them; none after a mistake, of which one is told."""
    name = f"axes.{key}"
    parts = read_mapping(entry, name, ("from", "to", "step"), mistakes, {})
    if len(parts) < len(entry.value):
        return ()
    if _type(key) in (str, bool):
        mistakes.add(entry.line, f"{name}: a range is for numbers; a list of values is wanted here")
        return ()
    kinds, wanted = ((int, float), "a number") if _type(key) is float else ((int,), "a whole number")
    numbers = {}
    for part in ("from", "to", "step"):
        if part not in parts:
            mistakes.add(entry.line, f"{name}.{part}: it is missing; a range is {{from: 0.35, to: 1.4, step: 0.01}}")
        elif type(parts[part].value) not in kinds:
            mistakes.add(parts[part].line, refusal(f"{name}.{part}", parts[part], wanted))
        else:
            numbers[part] = Decimal(repr(parts[part].value))  # exact in the decimals that were written
    if len(numbers) < 3:
        return ()
    problem = _range_problem(*numbers.values())
    if problem:
        mistakes.add(entry.line, f"{name}: {problem}")
        return ()
    low, high, step = numbers.values()
    values = [low + step * i for i in range(int((high - low) / step) + 1)]
    return _check_values(key, entry, [int(v) if kinds == (int,) else float(v) for v in values], mistakes)


def _range_problem(low: Decimal, high: Decimal, step: Decimal) -> str:
    if step <= 0 or high < low:
        return f"from {low} to {high} by {step} given; it must go up, by a step above 0"
    if (high - low) / step >= MAX_RANGE:
        return f"from {low} to {high} by {step} given, at most {MAX_RANGE:,} values allowed; take a larger step"
    last = low + step * int((high - low) / step)
    return "" if last == high else f"from {low} to {high} by {step} ends at {last}; give a step that reaches {high}"


def _check_values(key: str, entry: Entry, values: list, mistakes: Mistakes) -> tuple:
    """Return the values as the network takes them; of those that are refused the first is told, for all."""
    told = Mistakes(mistakes.path)
    for i, value in enumerate(values, 1):
        read_value(key, replace(entry, value=value, text=str(value)), "axes.", told)
        if told.found:
            mistakes.add(entry.line, f"{told.found[0][1]}; it is number {i:,} of the range's {len(values):,} values")
            return ()
    return tuple(values)


# ---------------------------------------------------------------- families


def check_families(space: Space, top: dict[str, Entry], mistakes: Mistakes) -> None:
    """Note the keys that a family of the space does not have with its head, and the heads that do not stand on it, each
    once, with its line."""
    defaults = {name: dict(space.fixed).get(name, getattr(ArchSpec(), name)) for name in NAMES}
    axes = dict(space.axes)
    of_axes = list(product(*(axes.get(name, (value,)) for name, value in defaults.items()))) if axes else []
    of_points = [tuple(dict(point).get(name, value) for name, value in defaults.items()) for point in space.points]
    everywhere = list(dict.fromkeys([*of_axes, *of_points]))
    if "stages" in top and space.stages != MOBILENET_V2:
        _check_keys("", {"stages": top["stages"]}, everywhere, mistakes)
    for section, kinds in (("fixed", everywhere), ("axes", of_axes)):
        entries = top[section].value if section in top else None
        if isinstance(entries, dict):
            _check_keys(f"{section}.", entries, kinds, mistakes)
    for i, kind in enumerate(of_points):
        entries = top["points"].value[i].value
        if isinstance(entries, dict):
            _check_keys(f"points.{i}.", entries, [kind], mistakes)


def _check_keys(where: str, entries: dict[str, Entry], kinds: Sequence[tuple], mistakes: Mistakes) -> None:
    """`kinds` are families and heads; those that are no words of ours are mistakes noted already."""
    known = [(family, head) for family, head in kinds if head in HEADS and family in CHOICES["family"].rule.words]
    wrong = next(((family, head) for family, head in known if family not in HEADS[head]), None)
    if wrong and (name := next((name for name in reversed(NAMES) if name in entries), None)):
        mistakes.add(entries[name].line, f"{where}{name}: head {no_such_head(*wrong)}")
    for key, entry in entries.items():
        field = field_of(key)
        for family, head in known:
            if family in HEADS[head] and field in OWN_FIELDS and field not in choices_of(family, head):
                kind = family if head == CLASSIFIER else f"{family} with head {head}"
                choices = ", ".join(choices_of(family, head))
                mistakes.add(entry.line, f"{where}{key}: family {kind} has no such choice; it has: {choices}")
                break
