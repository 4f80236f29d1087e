"""Networks with their costs -> text, CSV or JSON, the last two piece by piece: a million rows never lie in memory."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from mnv2_sweep.base.text import align_lines
from mnv2_sweep.nets.arch import ArchSpec, arch_label, input_size, stage_record
from mnv2_sweep.nets.cost import Cost, count_cost
from mnv2_sweep.nets.cost_arrays import COSTS, CostArrays, count_archs

SHOWN = 40  # networks listed for a person; programs get all
ARCH_FIELDS = tuple(ArchSpec.__dataclass_fields__)
HEADINGS = ("MAdds", "params", "peak activations (bytes)", "depth")


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """Networks and their costs, the n-th of both belonging together; `remarks` by place, for some; the MAdds that are
    `executed` where training has other sizes."""

    archs: Sequence[ArchSpec]
    costs: CostArrays
    remarks: dict[int, str]
    executed: np.ndarray | None = None


def list_networks(archs: Sequence[ArchSpec]) -> Listing:
    """List each network with its costs, in the given order."""
    return Listing(archs, count_archs(archs), {})


def costs_text(listing: Listing, note: str = "") -> str:
    """Return a table; of many networks the first ones, and the range of each cost over all."""
    costs, count, executed = listing.costs, len(listing.costs), listing.executed
    headings = HEADINGS if executed is None else (HEADINGS[0], "executed MAdds", *HEADINGS[1:])
    rows = [("network", *headings, "")]
    for i in range(min(count, SHOWN)):
        numbers = [f"{value:,}" for value in astuple(costs.cost(i))]
        numbers[1:1] = [] if executed is None else [f"{executed[i]:,}"]
        rows.append((arch_label(listing.archs[i]), *numbers, listing.remarks.get(i, "")))
    lines = align_lines(rows, left=(0, len(headings) + 1))
    if count > SHOWN:
        lines.append(f"... and {count - SHOWN:,} more (--csv or --json lists all)")
    if count > 1:
        for title, field in zip(("MAdds", "params", "peak activations", "depth"), COSTS, strict=True):
            values = np.sort(getattr(costs, field))
            lines.append(f"{title}: {values[0]:,} to {values[-1]:,}, median {values[count // 2]:,}")
    return "\n".join([*lines, *([note] if note else [])])


def costs_json(listing: Listing) -> Iterator[str]:
    """Yield the parts of a list of objects, one a network: label, every field of the spec, every cost."""
    for i, record in enumerate(_records(listing)):
        yield ("[" if i == 0 else ", ") + json.dumps(record)
    yield "]\n"


def cost_json(arch: ArchSpec) -> str:
    """Return one network's object, as `costs_json` lists it."""
    return json.dumps(_record(arch, count_cost(arch)))


def costs_csv(listing: Listing) -> Iterator[str]:
    """Yield a line a network, as `costs_json` has them; the block table as "1-16-1-1 6-24-2-2-kernel=5",
    t-c-n-s and further cells by name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for i, record in enumerate(_records(listing)):
        if i == 0:
            writer.writerow(record)
        record["stages"] = " ".join(map(_row_text, record["stages"]))
        writer.writerow(record.values())
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def _row(cells: dict) -> list | dict:
    """Return a row of the block table as [t, c, n, s], or with the names of its cells where it has more."""
    return list(cells.values()) if len(cells) == 4 else cells


def _row_text(row: list | dict) -> str:
    """Return "6-24-2-2", or "6-24-2-2-kernel=5"."""
    if isinstance(row, list):
        return "-".join(map(str, row))
    return "-".join([*map(str, list(row.values())[:4]), *(f"{name}={row[name]}" for name in list(row)[4:])])


def _records(listing: Listing) -> Iterator[dict]:
    for i, arch in enumerate(listing.archs):
        extra = {} if listing.executed is None else {"executed_madds": int(listing.executed[i])}
        extra |= {"remark": listing.remarks.get(i, "")} if listing.remarks else {}
        yield _record(arch, listing.costs.cost(i)) | extra


def _record(arch: ArchSpec, cost: Cost) -> dict:
    record = {"network": arch_label(arch)} | {name: getattr(cost, name) for name in COSTS}
    record |= {name: getattr(arch, name) for name in ARCH_FIELDS}
    record["resolution"] = input_size(arch).cell
    record["stages"] = [_row(stage_record(stage)) for stage in arch.stages]
    return record
