"""The `axes` section of a design space file: lists of values or ranges, and whether a family has such a choice."""

from dataclasses import replace
from decimal import Decimal

from mnv2_sweep.archs.arch import FAMILIES, MOBILENET_V2, ArchSpec, Stage
from mnv2_sweep.spaces.space import Space
from mnv2_sweep.spaces.spacekeys import known_settings, read_value
from mnv2_sweep.spaces.yamlfile import Entry, Mistakes, read_mapping, refusal, short

MAX_RANGE = 100_000
OWN_FIELDS = {field for choices in FAMILIES.values() for field in choices}


def read_axes(entry: Entry, stages: tuple[Stage, ...] | None, fixed: tuple, mistakes: Mistakes) -> tuple:
    """(key, values) of every axis."""
    axes = []
    for key, values in known_settings(entry, "axes", stages, mistakes).items():
        name = f"axes.{key}"
        if key in dict(fixed):
            mistakes.add(values.line, f"{name}: 'fixed' gives it too; keep one of them")
        given = values.value
        if isinstance(given, dict):
            given = _read_range(name, values, mistakes)
            if given is None:
                continue
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


def _read_range(name: str, entry: Entry, mistakes: Mistakes) -> tuple[Entry, ...] | None:
    """{from, to, step} as the entries of a list, both ends included; None after a mistake."""
    parts = read_mapping(entry, name, ("from", "to", "step"), mistakes, {})
    if len(parts) < len(entry.value):
        return None
    numbers = {}
    for part in ("from", "to", "step"):
        if part not in parts:
            mistakes.add(entry.line, f"{name}.{part}: it is missing; a range is {{from: 0.35, to: 1.4, step: 0.01}}")
        elif type(parts[part].value) not in (int, float):
            mistakes.add(parts[part].line, refusal(f"{name}.{part}", parts[part], "a number"))
        else:
            numbers[part] = Decimal(repr(parts[part].value))  # exact in the decimals that were written
    if len(numbers) < 3:
        return None
    low, high, step = numbers.values()
    if step <= 0 or high < low:
        mistakes.add(entry.line, f"{name}: from {low} to {high} by {step} given; it must go up, by a step above 0")
        return None
    count = int((high - low) / step) + 1
    if count > MAX_RANGE:
        mistakes.add(entry.line, f"{name}: {count:,} values, at most {MAX_RANGE:,} allowed; take a larger step")
        return None
    whole = all(type(parts[part].value) is int for part in parts)
    values = [low + step * i for i in range(count)]
    return tuple(replace(entry, value=int(v) if whole else float(v), text=str(v)) for v in values)


def check_families(space: Space, top: dict[str, Entry], mistakes: Mistakes) -> None:
    """Keys that a family of the space does not have, each once, with its line."""
    fixed = dict(space.fixed)
    default = ArchSpec().family
    families = dict(space.axes).get("family", (fixed.get("family", default),))
    sections = [("fixed", families), ("axes", families)] if space.axes else []
    if "stages" in top and space.stages != MOBILENET_V2:
        _check_keys("", {"stages": top["stages"]}, families if space.axes else (), mistakes)
    for section, of_section in sections:
        entries = top[section].value if section in top else None
        if isinstance(entries, dict):
            _check_keys(f"{section}.", entries, of_section, mistakes)
    for i, point in enumerate(space.points):
        family = dict(point).get("family", fixed.get("family", default))
        entries = top["points"].value[i].value
        if isinstance(entries, dict):
            _check_keys(f"points.{i}.", entries, (family,), mistakes)


def _check_keys(where: str, entries: dict[str, Entry], families: tuple, mistakes: Mistakes) -> None:
    for key, entry in entries.items():
        field = "stages" if key == "expansion" or key.startswith("stages") else key
        for family in families:
            if family in FAMILIES and field in OWN_FIELDS and field not in FAMILIES[family]:
                choices = ", ".join(FAMILIES[family])
                mistakes.add(entry.line, f"{where}{key}: family {family} has no such choice; it has: {choices}")
                break
