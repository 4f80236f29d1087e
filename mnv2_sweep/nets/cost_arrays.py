"""Many networks as columns -> their costs as arrays of integers, equal to `count_cost` of each, without a Plan.

MobileNetV2 is counted for all rows at once: the blocks of a stage are at most three different ones (the first, the
second, and all later ones, which are alike), so a network of any depth is a fixed number of sums. The other
families have few different networks in a space; each is counted once. So is a MobileNetV2 with a choice that these
sums do not know (SUMMED, FREE): a field that is added to ArchSpec costs time here, but no row another network's cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mnv2_sweep.nets.arch import CELLS, CHOICES, FAMILIES, RESIDUALS, ArchSpec, Stage
from mnv2_sweep.nets.cost import BYTES_PER_ACTIVATION, Cost, count_cost
from mnv2_sweep.nets.mobilenet_v2 import STEM_CHANNELS

# Fields of text are columns of indices into these.
CODES = {field.name: CHOICES[field.name].rule.words for field in fields(ArchSpec) if field.type is str}
assert all(CODES.values()), "a field of text needs its words"
assert tuple(CELLS) == ("t", "c", "n", "s"), "Columns has these columns of the table"
# MobileNetV2's fields that the sums for all rows at once are made of, and those that change no cost.
SUMMED = ("stages", "width", "resolution", "kernel", "residual", "last_channels", "classes")
SUMMED += ("scale_last_conv", "depthwise")
FREE = tuple(name for name, one in CHOICES.items() if one.is_free)
LARGEST = 2**62  # above this a sum might not fit 64 bits


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Networks, a row each: the block table's columns [N, stages], each other field of ArchSpec [N].

    A table with fewer rows than the longest has n = 0 in the rest.
    """

    t: np.ndarray
    c: np.ndarray
    n: np.ndarray
    s: np.ndarray
    fields: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.t)

    def take(self, rows: np.ndarray) -> "Columns":
        """Return the chosen rows (indices or a mask)."""
        chosen = {name: values[rows] for name, values in self.fields.items()}
        return Columns(self.t[rows], self.c[rows], self.n[rows], self.s[rows], chosen)

    def arch(self, row: int) -> ArchSpec:
        """Return one row as a spec."""
        cells = zip(self.t[row], self.c[row], self.n[row], self.s[row], strict=True)
        values = {name: column[row].item() for name, column in self.fields.items()}
        values |= {name: words[values[name]] for name, words in CODES.items()}
        return ArchSpec(stages=tuple(Stage(*map(int, cell)) for cell in cells if cell[2]), **values)


@dataclass(frozen=True, slots=True, eq=False)
class CostArrays:
    """The fields of Cost, each an array [N] of integers."""

    madds: np.ndarray
    params: np.ndarray
    peak_activation_bytes: np.ndarray
    depth: np.ndarray

    def __len__(self) -> int:
        return len(self.madds)

    def take(self, rows: np.ndarray) -> "CostArrays":
        """Return the chosen rows (indices or a mask)."""
        return CostArrays(*(getattr(self, name)[rows] for name in COSTS))

    def cost(self, row: int) -> Cost:
        """Return one row's costs."""
        return Cost(*(int(getattr(self, name)[row]) for name in COSTS))


COSTS = tuple(CostArrays.__dataclass_fields__)


def join_costs(parts: Sequence[CostArrays]) -> CostArrays:
    """Return the costs of all parts, one after the other."""
    return CostArrays(*(np.concatenate([getattr(part, name) for part in parts]) for name in COSTS))


def columns_of(archs: Sequence[ArchSpec]) -> Columns:
    """Return the specs as columns. They must be possible ones (`check_arch`)."""
    rows = max(len(arch.stages) for arch in archs)
    empty = Stage(1, 1, 0, 1)
    tables = [[*arch.stages, *[empty] * (rows - len(arch.stages))] for arch in archs]
    cells = np.array([[(s.t, s.c, s.n, s.s) for s in table] for table in tables], np.int64).reshape(-1, rows, 4)
    fields = {}
    for name in (name for name in ArchSpec.__dataclass_fields__ if name != "stages"):
        values = [getattr(arch, name) for arch in archs]
        fields[name] = np.array([CODES[name].index(value) for value in values] if name in CODES else values)
    return Columns(*(cells[:, :, i] for i in range(4)), fields)


def count_columns(columns: Columns) -> CostArrays:
    """Count the exact costs of every row, at its nominal resolution and classes."""
    known = known_rows(columns)
    if known.all():
        return _count_known(columns)
    parts = [(~known, _count_each(columns.take(~known)))]
    if known.any():
        parts.append((known, _count_known(columns.take(known))))
    arrays = []
    for name in COSTS:
        kind = np.result_type(*(getattr(part, name) for _, part in parts))  # object where one is too large for 64 bits
        array = np.zeros(len(columns), kind)
        for rows, part in parts:
            array[rows] = getattr(part, name)
        arrays.append(array)
    return CostArrays(*arrays)


def known_rows(columns: Columns) -> np.ndarray:
    """Return which rows [N] are MobileNetV2 with no other choice than those of SUMMED and FREE."""
    known = columns.fields["family"] == CODES["family"].index("mobilenet_v2")
    for field in fields(ArchSpec):
        if field.name in FAMILIES["mobilenet_v2"] and field.name not in (*SUMMED, *FREE):
            default = CODES[field.name].index(field.default) if field.name in CODES else field.default
            known = known & (columns.fields[field.name] == default)
    return known


def equal_rows(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each different spec, and for every row the place of its spec among these."""
    table = [column for name in "tcns" for column in getattr(columns, name).T] + [*columns.fields.values()]
    table = [column for column in table if (column != column[0]).any()] or table[:1]
    exact = np.stack([column.astype(np.float64) for column in table], axis=1)  # no number here needs over 53 bits
    _, first, which = np.unique(exact, axis=0, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def _count_each(columns: Columns) -> CostArrays:
    """Count each different network once, by its plan."""
    first, which = equal_rows(columns)
    costs = [count_cost(columns.arch(row)) for row in first]
    return CostArrays(*(np.array([getattr(cost, name) for cost in costs])[which] for name in COSTS))


def _count_known(columns: Columns) -> CostArrays:
    """Count all rows at once, or one by one where a sum might not fit 64 bits."""
    largest = count_cost(_largest_arch(columns))
    if (
        max(largest.madds, largest.params, largest.peak_activation_bytes) >= LARGEST
    ):  # Python's integers do not overflow
        costs = [count_cost(columns.arch(row)) for row in range(len(columns))]
        return CostArrays(*(np.array([getattr(cost, name) for cost in costs], object) for name in COSTS))
    return _count_mobilenet_v2(columns)


def _largest_arch(columns: Columns) -> ArchSpec:
    """Return a spec that costs at least what any row costs: the largest of every column, the smallest stride."""
    cells = zip(columns.t.max(0), columns.c.max(0), columns.n.max(0), columns.s.min(0), strict=True)
    stages = tuple(Stage(*map(int, cell)) for cell in cells if cell[2])
    top = {name: columns.fields[name].max().item() for name in ("width", "resolution", "last_channels", "classes")}
    top |= {"kernel": columns.fields["kernel"].max().item(), "depthwise": bool(columns.fields["depthwise"].all())}
    return replace(ArchSpec(stages=stages), **top)


def round_array(channels: np.ndarray) -> np.ndarray:
    """Return `round_channels` of every element."""
    rounded = np.maximum(8, (channels + 4).astype(np.int64) // 8 * 8)
    return rounded + 8 * (rounded < 0.9 * channels)


def last_channels(columns: Columns) -> np.ndarray:
    """Return the channels of MobileNetV2's last convolution."""
    width, scaled = columns.fields["width"], columns.fields["scale_last_conv"].astype(bool)
    return round_array(columns.fields["last_channels"] * np.where(scaled, width, np.maximum(1.0, width)))


def _count_mobilenet_v2(columns: Columns) -> CostArrays:
    """Make the sums that `resolve_mobilenet_v2` and `count_plan` make, for all rows at once."""
    width, image, kernel = columns.fields["width"], columns.fields["resolution"], columns.fields["kernel"]
    channels, size = round_array(STEM_CHANNELS * width), -(-image // 2)
    net = _Running(columns, channels, size)
    net.madds = size**2 * 27 * channels
    net.params = 29 * channels
    net.peak = 3 * image**2 + channels * size**2
    for row in range(columns.t.shape[1]):
        t, n, stride = columns.t[:, row], columns.n[:, row], columns.s[:, row]
        c_out = round_array(columns.c[:, row] * width)
        net.add_blocks(t, c_out, stride, kernel**2, np.minimum(n, 1))
        if (n > 1).any():
            net.add_blocks(t, c_out, 1, kernel**2, np.maximum(n - 1, 0), n > 1)
            if net.wide_allowed.any() and (n > 2).any():  # the third may be joined where the second is not
                net.add_blocks(t, c_out, 1, kernel**2, 0, n > 2)
    last = last_channels(columns)
    area, classes = net.size**2, columns.fields["classes"]
    net.madds += area * net.channels * last + last * classes
    net.params += net.channels * last + 2 * last + last * classes + classes
    for held in (area * (net.channels + last), area * last + last, last + classes):
        net.peak = np.maximum(net.peak, held)
    return CostArrays(net.madds, net.params, BYTES_PER_ACTIVATION * net.peak, net.depth + 3)


class _Running:
    """The sums so far, and what the next block must know of the one before."""

    def __init__(self, columns: Columns, channels: np.ndarray, size: np.ndarray):
        """Begin with what the stem leaves."""
        self.channels, self.size = channels, size
        self.narrow_allowed = columns.fields["residual"] == RESIDUALS.index("bottleneck")
        self.wide_allowed = columns.fields["residual"] == RESIDUALS.index("expansion")
        self.any_wide = bool(self.wide_allowed.any())
        self.ordinary = ~columns.fields["depthwise"].astype(bool)
        self.any_ordinary = bool(self.ordinary.any())
        self.depth = np.zeros(len(columns), np.int64)
        # The block before: channels and elements of its expanded tensor (0 where it can't be joined to), and what is
        # held while its projection runs.
        self.wide_channels, self.wide, self.projecting = (np.zeros(len(columns), np.int64) for _ in range(3))
        self.madds = self.params = self.peak = self.depth

    def add_blocks(self, t, c_out, stride, taps, times: np.ndarray, present: np.ndarray | None = None) -> None:
        """Add `times` equal blocks where `present` (default: where times is not 0); see `resolve` for each term."""
        present = times > 0 if present is None else present
        c_in, size, size_out = self.channels, self.size, -(-self.size // stride)
        hidden, expands, area, area_out = c_in * t, t > 1, size**2, size_out**2
        weights = hidden * (taps + c_out)
        if self.any_ordinary:
            weights = weights + hidden * (hidden - 1) * taps * self.ordinary
        self.madds = self.madds + times * (area * c_in * hidden * expands + area_out * weights)
        self.params = self.params + times * (hidden * (c_in + 2) * expands + weights + 2 * (hidden + c_out))
        self.depth = self.depth + times * (2 + expands)
        before, inner, deep, after = c_in * area, hidden * area, hidden * area_out, c_out * area_out
        waits = before * (self.narrow_allowed & (stride == 1) & (c_in == c_out))
        held = np.maximum((before + inner) * expands, inner + deep + waits * expands)
        projecting = deep + after + waits
        held = np.maximum(held, projecting)
        if self.any_wide:
            joined = self.wide_allowed & (self.wide_channels == hidden) & present
            held = np.maximum(held, (np.maximum(before + inner, self.projecting) + self.wide) * joined)
            # The expanded tensor can be joined to where this block keeps the map's size.
            self.wide_channels = np.where(present, hidden * (stride == 1), self.wide_channels)
            self.wide, self.projecting = (
                np.where(present, inner, self.wide),
                np.where(present, projecting, self.projecting),
            )
        self.peak = np.maximum(self.peak, held * present)
        self.channels, self.size = np.where(present, c_out, c_in), np.where(present, size_out, size)
