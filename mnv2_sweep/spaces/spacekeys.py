"""Entries of a design space file -> settings of a network: which keys there are, and what each may be.

A setting is a field of ArchSpec, `expansion`, or a cell or column of the block table, as in `space.build_arch`.
"""

import re
from dataclasses import fields, replace

from mnv2_sweep.archs.arch import LIMITS, ArchSpec, Stage, arch_rules
from mnv2_sweep.spaces.space import FIELD_TYPES
from mnv2_sweep.spaces.yamlfile import BROKEN, Entry, Mistakes, read_mapping, refusal, unknown_key

COLUMNS = tuple(field.name for field in fields(Stage))

# Words of other papers and libraries.
SYNONYMS = {"t": "expansion", "alpha": "width", "width_mult": "width", "depth_multiplier": "width", "scale": "width"}
SYNONYMS |= {"flops": "madds", "macs": "madds", "memory": "peak_activation_bytes", "parameters": "params"}
SYNONYMS |= {
    "image_size": "resolution",
    "layers": "depth",
    "g": "groups",
    "input_size": "resolution",
    "batch_size": "batch",
    "learning_rate": "lr",
}


def read_settings(entry: Entry, where: str, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> tuple:
    """Single values by key, as in `fixed` and in one point."""
    known = known_settings(entry, where, stages, mistakes)
    return tuple((key, read_value(key, value, f"{where}.", mistakes)) for key, value in known.items())


def known_settings(entry: Entry, where: str, stages: tuple[Stage, ...] | None, mistakes: Mistakes) -> dict[str, Entry]:
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


def read_value(key: str, entry: Entry, where: str, mistakes: Mistakes) -> object:
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
