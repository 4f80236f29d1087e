"""A design space or a network -> its costs as text, CSV or JSON; no torch, no pandas."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from mnv2_sweep.arch import ArchSpec, arch_key, arch_label
from mnv2_sweep.cost import Cost, count_cost

SHOWN = 40  # networks listed for a person; programs get all

Costs = Sequence[tuple[ArchSpec, Cost]]


def count_networks(archs: Sequence[ArchSpec]) -> Costs:
    """Each network with its costs, in the given order."""
    return [(arch, count_cost(arch)) for arch in archs]


def distinct_networks(archs: Sequence[ArchSpec]) -> list[ArchSpec]:
    """The first of every group of specs that resolve to the same network."""
    first: dict[str, ArchSpec] = {}
    for arch in archs:
        first.setdefault(arch_key(arch), arch)
    return list(first.values())


def costs_text(costs: Costs, note: str = "") -> str:
    """A table; of many networks the first ones, and the range of each cost over all."""
    rows = [("network", "MAdds", "params", "peak activations (bytes)")]
    for arch, cost in costs[:SHOWN]:
        rows.append((arch_label(arch), *(f"{value:,}" for value in asdict(cost).values())))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    if len(costs) > SHOWN:
        lines.append(f"... and {len(costs) - SHOWN:,} more (--csv or --json lists all)")
    if len(costs) > 1:
        for title, field in (("MAdds", "madds"), ("params", "params"), ("peak activations", "peak_activation_bytes")):
            values = sorted(getattr(cost, field) for _, cost in costs)
            lines.append(f"{title}: {values[0]:,} to {values[-1]:,}, median {values[len(values) // 2]:,}")
    return "\n".join([*lines, *([note] if note else [])])


def costs_json(costs: Costs) -> str:
    """A list of objects, one a network: label, every field of the spec, every cost."""
    return json.dumps([_record(arch, cost) for arch, cost in costs])


def cost_json(arch: ArchSpec, cost: Cost) -> str:
    """One object."""
    return json.dumps(_record(arch, cost))


def costs_csv(costs: Costs) -> str:
    text = io.StringIO()
    records = [_record(arch, cost) for arch, cost in costs]
    writer = csv.DictWriter(text, records[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**record, "stages": _stages(record["stages"])} for record in records)
    return text.getvalue().rstrip("\n")


def count_noun(count: int, noun: str) -> str:
    """ "1 trial", "2,000 trials"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds for a person: "48 s", "12 min", "2 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _record(arch: ArchSpec, cost: Cost) -> dict:
    fields = asdict(arch)
    fields["stages"] = [list(stage.values()) for stage in fields["stages"]]
    return {"network": arch_label(arch), **asdict(cost), **fields}


def _stages(rows: list[list[int]]) -> str:
    """Rows as "1-16-1-1 6-24-2-2", t-c-n-s."""
    return " ".join("-".join(map(str, row)) for row in rows)
