"""Networks with their costs -> text, CSV or JSON, the last two piece by piece: a million rows never lie in memory."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from mnv2_sweep.base.text import align_lines
from mnv2_sweep.nets.arch import ArchSpec, arch_label, input_size, stage_record
from mnv2_sweep.nets.cost import Cost
from mnv2_sweep.nets.cost_arrays import COSTS, CostArrays, count_archs

SHOWN = 40  # networks listed for a person; programs get all
ARCH_FIELDS = tuple(ArchSpec.__dataclass_fields__)
HEADINGS = ("MAdds", "params", "peak activations (bytes)", "depth")


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A further cost of networks: its name for programs, heading and title for people, how a value is written, values
    [N] and the interval of a prediction [N]; NaN where it is not known."""

    name: str
    heading: str
    title: str
    text: Callable[[float], str]
    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def cells(self, at: int) -> list[str]:
        """Return the cells of a network for a table, the interval in one of its own."""
        if self.low is None:
            return [self.text(self.values[at])]
        interval = (
            "outside" if np.isnan(self.values[at]) else f"{self.text(self.low[at])} to {self.text(self.high[at])}"
        )
        return [self.text(self.values[at]), interval]

    @property
    def headings(self) -> list[str]:
        """Return the headings of its cells."""
        return [self.heading] if self.low is None else [self.heading, "95 %"]

    def record(self, at: int) -> dict[str, float | None]:
        """Return what programs get of a network: the value, and the interval as `_low` and `_high`."""
        ends = {} if self.low is None else {"_low": self.low, "_high": self.high}
        return {f"{self.name}{end}": _number(values[at]) for end, values in {"": self.values, **ends}.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """Networks and their costs, the n-th of both belonging together; `remarks` by place, for some; the MAdds that are
    `executed` where training has other sizes; further costs as `columns`."""

    archs: Sequence[ArchSpec]
    costs: CostArrays
    remarks: dict[int, str]
    executed: np.ndarray | None = None
    columns: Sequence[Column] = ()


def list_networks(archs: Sequence[ArchSpec], columns: Sequence[Column] = ()) -> Listing:
    """List each network with its costs, in the given order, further ones as columns."""
    return Listing(archs, count_archs(archs), {}, None, columns)


def costs_text(listing: Listing, note: str = "") -> str:
    """Return a table; of many networks the first ones, and the range of each cost over all."""
    costs, count, executed = listing.costs, len(listing.costs), listing.executed
    headings = HEADINGS if executed is None else (HEADINGS[0], "executed MAdds", *HEADINGS[1:])
    headings = [*headings, *(heading for column in listing.columns for heading in column.headings)]
    rows = [("network", *headings, "")]
    for i in range(min(count, SHOWN)):
        numbers = [f"{value:,}" for value in astuple(costs.cost(i))]
        numbers[1:1] = [] if executed is None else [f"{executed[i]:,}"]
        numbers += [cell for column in listing.columns for cell in column.cells(i)]
        rows.append((arch_label(listing.archs[i]), *numbers, listing.remarks.get(i, "")))
    lines = align_lines(rows, left=(0, len(headings) + 1))
    if count > SHOWN:
        lines.append(f"... and {count - SHOWN:,} more (--csv or --json lists all)")
    if count > 1:
        for title, field in zip(("MAdds", "params", "peak activations", "depth"), COSTS, strict=True):
            values = np.sort(getattr(costs, field))
            lines.append(f"{title}: {values[0]:,} to {values[-1]:,}, median {values[count // 2]:,}")
        lines += [_range_text(column) for column in listing.columns]
    return "\n".join([*lines, *([note] if note else [])])


def _range_text(column: Column) -> str:
    """Say from where to where a further cost goes, and of how many networks it is not known."""
    known = np.sort(column.values[~np.isnan(column.values.astype(float))])
    outside = len(column.values) - len(known)
    text = "of none known"
    if len(known):
        low, high, middle = (column.text(value) for value in (known[0], known[-1], known[len(known) // 2]))
        text = f"{low} to {high}, median {middle}"
    more = f"; {outside:,} of {len(column.values):,} lie outside of what was measured" if outside else ""
    return f"{column.title}: {text}{more}"


def costs_json(listing: Listing) -> Iterator[str]:
    """Yield the parts of a list of objects, one a network: label, every field of the spec, every cost."""
    for i, record in enumerate(_records(listing)):
        yield ("[" if i == 0 else ", ") + json.dumps(record)
    yield "]\n"


def cost_json(arch: ArchSpec, columns: Sequence[Column] = ()) -> str:
    """Return one network's object, as `costs_json` lists it."""
    return json.dumps(next(_records(Listing([arch], count_archs([arch]), {}, None, columns))))


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
        extra |= {name: value for column in listing.columns for name, value in column.record(i).items()}
        extra |= {"remark": listing.remarks.get(i, "")} if listing.remarks else {}
        yield _record(arch, listing.costs.cost(i)) | extra


def _number(value: float) -> int | float | None:
    """Return a value as JSON has it: whole ones as such, others with six digits, None where it is not known."""
    if np.isnan(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


def _record(arch: ArchSpec, cost: Cost) -> dict:
    record = {"network": arch_label(arch)} | {name: getattr(cost, name) for name in COSTS}
    record |= {name: getattr(arch, name) for name in ARCH_FIELDS}
    record["resolution"] = input_size(arch).cell
    record["stages"] = [_row(stage_record(stage)) for stage in arch.stages]
    return record
