"""Space -> its networks, as Networks: index rows into the axes and arrays of costs, so that a million fit in memory.

The same file gives the same networks in the same order on every machine. Costs are counted and constraints applied
on columns of numbers, a chunk at a time; an ArchSpec is made only for a network that somebody looks at.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost_arrays import CODES, Columns, CostArrays, columns_of, count_columns, join_costs
from mnv2_sweep.spaces.space import OPERATORS, Constraint, Space, build_arch

CHUNK = 16_384  # rows at once: their columns stay in the cache; the result does not depend on it


class Networks(Sequence):
    """Networks in their order, made into ArchSpecs one by one on demand; `costs` has them all as arrays."""

    def __init__(self, space: Space, classes: int | None, rows: np.ndarray, points: list[ArchSpec], costs: CostArrays):
        self.space, self.classes, self.rows, self.points, self.costs = space, classes, rows, points, costs

    def __len__(self) -> int:
        return len(self.rows) + len(self.points)

    def __getitem__(self, at):
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        at = range(len(self))[at]  # negative ones count from the end; raises IndexError
        if at >= len(self.rows):
            return self.points[at - len(self.rows)]
        axes = self.space.axes
        settings = {key: values[i] for (key, values), i in zip(axes, self.rows[at].tolist(), strict=True)}
        return build_arch(self.space, settings, self.classes)

    def columns(self) -> Iterator[Columns]:
        """Yield all of them as columns, a chunk at a time."""
        cells = Cells(self.space, self.classes)
        for start in range(0, len(self.rows), CHUNK):
            yield cells.columns(self.rows[start : start + CHUNK])
        if self.points:
            yield columns_of(self.points)


class Picked(Sequence):
    """Some of the networks, by their places."""

    def __init__(self, networks: Networks, places: np.ndarray):
        self.networks, self.places = networks, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at):
        return self.networks[int(self.places[at])]


def expand(space: Space, classes: int | None = None) -> tuple[ArchSpec, ...]:
    """Return the networks of the space as specs; see `select_networks`."""
    return tuple(select_networks(space, classes))


def select_networks(space: Space, classes: int | None = None) -> Networks:
    """Return the networks of the space, without duplicates, within its constraints: grid or sample, then points.

    `classes` is the data set's number, for networks whose classes the space leaves open (None: ArchSpec's).
    Raises SpaceError if no network is left, or if the sample cannot be drawn.
    """
    chosen = _Selection(space, classes)
    for rows in _draw_rows(space) if space.sample else _grid_rows(space):
        if not chosen.consider(rows):
            break
    chosen.consider_points([build_arch(space, dict(point), classes) for point in space.points])
    if not len(found := chosen.networks()):
        candidates = f"{chosen.candidates:,} candidates{chosen.refusals()}"
        raise SpaceError([f"space '{space.name}': no network is left of {candidates}"])
    return found


class Cells:
    """Where each number of a spec comes from: a constant, or an axis by its index (as [index])."""

    def __init__(self, space: Space, classes: int | None):
        self.axes, self.stages = space.axes, len(space.stages)
        settings = dict(space.fixed) | {key: [k] for k, (key, _) in enumerate(space.axes)}
        self.table = {(i, f): getattr(stage, f) for i, stage in enumerate(space.stages) for f in "tcns"}
        if "expansion" in settings:  # as set_expansion
            self.table |= {(i, "t"): settings["expansion"] for i, stage in enumerate(space.stages) if stage.t > 1}
        cells = [key.split(".")[1:] + [value] for key, value in settings.items() if key.startswith("stages.")]
        for row, column, value in sorted(cells, key=lambda cell: cell[0] != "*"):
            at = range(self.stages) if row == "*" else [int(row)]
            self.table |= {(i, column): value for i in at}
        defaults = {f.name: f.default for f in fields(ArchSpec) if f.name != "stages"}
        if classes is not None:
            defaults["classes"] = classes
        self.fields = {name: settings.get(name, value) for name, value in defaults.items()}
        origins = [*self.table.values(), *self.fields.values()]
        self.used = sorted({origin[0] for origin in origins if isinstance(origin, list)})

    def columns(self, rows: np.ndarray) -> Columns:
        """Return index rows [N, axes] as numbers."""
        arrays = {f: np.empty((len(rows), self.stages), np.int64) for f in "tcns"}
        for (i, f), origin in self.table.items():
            arrays[f][:, i] = self._values(origin, rows)
        scalars = {name: np.empty(len(rows), np.int64) for name in self.fields}
        for name, origin in self.fields.items():
            values = self._values(origin, rows, CODES.get(name))
            scalars[name] = np.broadcast_to(values, len(rows))
        return Columns(*arrays.values(), scalars)

    def _values(self, origin, rows: np.ndarray, words: tuple | None = None) -> np.ndarray:
        values = self.axes[origin[0]][1] if isinstance(origin, list) else (origin,)
        known = np.array([words.index(value) for value in values] if words else values)
        return known[rows[:, origin[0]]] if isinstance(origin, list) else known[0]

    def row_of(self, arch: ArchSpec) -> np.ndarray | None:
        """Return the index row [1, axes] of a spec, 0 at axes without effect; None for one outside the grid."""
        row = np.zeros((1, len(self.axes)), np.int64)
        given = {(i, f): getattr(stage, f) for i, stage in enumerate(arch.stages) for f in "tcns"}
        given |= {name: getattr(arch, name) for name in self.fields}
        fixed: dict[int, object] = {}
        for cell, origin in (self.table | self.fields).items():
            wanted = fixed.setdefault(origin[0], given[cell]) if isinstance(origin, list) else origin
            if wanted != given[cell]:
                return None
        for k, value in fixed.items():
            if value not in self.axes[k][1]:
                return None
            row[0, k] = self.axes[k][1].index(value)
        return row


class _Selection:
    """The networks found so far, every candidate seen, and how many each constraint refused."""

    def __init__(self, space: Space, classes: int | None):
        self.space, self.classes, self.cells = space, classes, Cells(space, classes)
        most = max((len(values) for _, values in space.axes), default=1)
        self.index_type = np.min_scalar_type(most)
        self.found: list[np.ndarray] = []
        self.costs: list[CostArrays] = []
        self.points: list[ArchSpec] = []
        self.count = self.draws = self.candidates = 0
        self.refused: Counter[Constraint] = Counter()
        # A grid repeats itself only where an axis has no effect, as a narrower key overrides it.
        self.may_repeat = space.sample is not None or len(self.cells.used) < len(space.axes)
        self.seen: set[bytes] = set()

    def consider(self, rows: np.ndarray) -> bool:
        """Take the rows [N, axes] that are new and allowed; False once a sample is complete."""
        costs = count_columns(self.cells.columns(rows))
        allowed = self._allow(costs)
        fine = np.logical_and.reduce([np.ones(len(rows), bool), *allowed.values()])
        new, end = self._find_new(rows, fine) if self.may_repeat else (np.ones(len(rows), bool), len(rows))
        new, fine = new[:end], fine[:end]
        self.candidates += int(new.sum())
        for constraint, ok in allowed.items():
            self.refused[constraint] += int((new & ~ok[:end]).sum())
        if self.space.sample and end < len(rows):
            self._stop_if_hopeless(self.count + int((new & fine).sum()))
        chosen = np.flatnonzero(new & fine)
        self.count += len(chosen)
        self.found.append(rows[chosen].astype(self.index_type))
        self.costs.append(costs.take(chosen))
        return end == len(rows)

    def _find_new(self, rows: np.ndarray, fine: np.ndarray) -> tuple[np.ndarray, int]:
        """Return (which rows were not seen before, where the sample is complete or hopeless), in the order of the
        draws."""
        size = self.space.sample.size if self.space.sample else math.inf
        new, count = np.zeros(len(rows), bool), self.count
        for at, (key, allowed) in enumerate(zip(self._keys(rows), fine.tolist(), strict=True)):
            if count == size or self._is_hopeless(count):
                return new, at
            self.draws += 1
            if key not in self.seen:
                self.seen.add(key)
                new[at] = True
                count += allowed
        return new, len(rows)

    def _keys(self, rows: np.ndarray) -> list[bytes]:
        """Return each row's indices as bytes, of the axes that have an effect."""
        if not self.cells.used:  # every network is the same
            return [b""] * len(rows)
        used = np.ascontiguousarray(rows[:, self.cells.used], self.index_type)
        return used.view(np.dtype((np.void, used.dtype.itemsize * used.shape[1]))).ravel().tolist()

    def consider_points(self, archs: list[ArchSpec]) -> None:
        """Take the single networks that are new and allowed."""
        archs = [arch for arch in dict.fromkeys(archs) if not self._is_known(arch)]
        self.candidates += len(archs)
        if archs:
            costs = count_columns(columns_of(archs))
            allowed = self._allow(costs)
            for constraint, ok in allowed.items():
                self.refused[constraint] += int((~ok).sum())
            fine = np.flatnonzero(np.logical_and.reduce([np.ones(len(archs), bool), *allowed.values()]))
            self.points = [archs[i] for i in fine]
            self.costs.append(costs.take(fine))

    def _is_known(self, arch: ArchSpec) -> bool:
        row = self.cells.row_of(arch) if self.space.axes else None
        return row is not None and (self.space.sample is None or self._keys(row)[0] in self.seen)

    def _allow(self, costs: CostArrays) -> dict[Constraint, np.ndarray]:
        """Return which rows each constraint allows."""
        return {c: OPERATORS[c.operator](getattr(costs, c.cost), c.limit) for c in self.space.constraints}

    def _is_hopeless(self, count: int) -> bool:
        """Return whether all is seen, or less than one draw in a hundred gives a new network."""
        if self.space.sample is None:
            return False
        return len(self.seen) >= self.space.grid_size or self.draws >= 10_000 + 100 * count

    def _stop_if_hopeless(self, count: int) -> None:
        space = self.space
        if count == space.sample.size or not self._is_hopeless(count):
            return
        wish = f"a sample of {space.sample.size:,} was asked for, {count:,} found in {self.draws:,} draws"
        seen = f"({len(self.seen):,} different networks of {space.grid_size:,} combinations seen)"
        raise SpaceError([f"space '{space.name}': {wish} {seen}{self.refusals()}. Ask for fewer or allow more"])

    def refusals(self) -> str:
        """Say how many candidates each constraint refused; "" without constraints."""
        return "".join(f"; {c.cost} {c.text} refused {self.refused[c]:,}" for c in self.space.constraints)

    def networks(self) -> Networks:
        """Return all that was taken, the grid's or the sample's before the points."""
        rows = np.concatenate(self.found) if self.found else np.zeros((0, 0), np.uint8)
        costs = join_costs(self.costs) if self.costs else CostArrays(*(np.zeros(0, np.int64) for _ in range(4)))
        return Networks(self.space, self.classes, rows, self.points, costs)


def _grid_rows(space: Space) -> Iterator[np.ndarray]:
    """Yield every combination as index rows [N, axes], the last axis fastest."""
    lengths = [len(values) for _, values in space.axes]
    for start in range(0, space.grid_size, CHUNK):
        numbers = np.arange(start, min(start + CHUNK, space.grid_size))
        yield np.stack(np.unravel_index(numbers, lengths), axis=1)


def _draw_rows(space: Space) -> Iterator[np.ndarray]:
    """Draw endless random combinations as index rows, uniform and independent, the same on every machine.

    Raw PCG64 words, whose stream NumPy keeps across versions, row by row; the upper 32 bits scale to an index.
    """
    bits = np.random.PCG64(space.sample.seed)
    lengths = np.array([len(values) for _, values in space.axes], np.uint64)
    while True:
        words = bits.random_raw(CHUNK * len(lengths)).reshape(CHUNK, len(lengths))
        yield (((words >> np.uint64(32)) * lengths) >> np.uint64(32)).astype(np.int64)
