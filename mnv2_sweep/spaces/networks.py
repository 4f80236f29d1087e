"""Space -> its networks, as Networks: index rows into the axes and arrays of costs, so that a million fit in memory.

The same file gives the same networks in the same order on every machine. Costs are gathered and constraints applied
on arrays, a chunk at a time; an ArchSpec is made only for a network that somebody looks at.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

import numpy as np

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.devices.costs import (
    Rows,
    Values,
    arch_contents,
    count_rows,
    estimate,
    find_model,
    join_values,
    part_contents,
)
from mnv2_sweep.devices.features import arch_features, part_features
from mnv2_sweep.nets.arch import CELLS, OPTIONAL_CELLS, USUAL_CLASSES, ArchSpec, arch_label
from mnv2_sweep.nets.cost_arrays import CostArrays, count_archs, join_costs
from mnv2_sweep.nets.resolve import name_network
from mnv2_sweep.spaces.gather import Gather
from mnv2_sweep.spaces.space import OPERATORS, Constraint, Space, build_arch, list_cells

CHUNK = 16_384  # rows at once: their columns stay in the cache; the result does not depend on it


class Networks(Sequence):
    """Networks in their order, made into ArchSpecs one by one on demand; `costs` has them all as arrays. `notes` are
    lines on what was left out and why a person should know."""

    def __init__(
        self, space: Space, classes: int | None, rows: np.ndarray, points: list[ArchSpec], costs: CostArrays,
        notes: Sequence[str] = (),
    ):  # fmt: skip
        self.space, self.classes, self.rows, self.points, self.costs = space, classes, rows, points, costs
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self.rows) + len(self.points)

    def __getitem__(self, at):
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        at = range(len(self))[at]  # negative ones count from the end; raises IndexError
        if at >= len(self.rows):
            return self.points[at - len(self.rows)]
        return self._build(self.rows[at])

    def names(self) -> np.ndarray:
        """Return numbers [N, 3] that are the same for two specs exactly if they resolve to the same plan."""
        gather = Cells(self.space, self.classes).gather()
        names = [gather.names(chunk) for chunk in self._chunks()]
        points = [name_network(arch) for arch in self.points]
        names.append(np.array(points, np.uint64).reshape(-1, 2))
        return np.column_stack([np.concatenate(names), self._dropouts()])

    def features(self) -> np.ndarray:
        """Return what a device has to do for every network [N, F], see `devices.features`."""
        gather = Cells(self.space, self.classes).gather()
        parts = [gather.sums(chunk, part_features) for chunk in self._chunks()]
        return np.concatenate([*parts, arch_features(self.points)])

    def contents(self) -> np.ndarray:
        """Return weights and biases of every network's file [N, 2], see `devices.costs`."""
        gather = Cells(self.space, self.classes).gather()
        parts = [gather.sums(chunk, part_contents) for chunk in self._chunks()]
        return np.concatenate([*parts, arch_contents(self.points)])

    def estimates(self, names: Sequence[str]) -> dict[str, Values]:
        """Return these costs of every network (`devices.costs`), a chunk at a time: features of a million networks
        never lie in memory. Raises ProfileError."""
        gather, start, parts = Cells(self.space, self.classes).gather(), 0, []
        for chunk in self._chunks():
            costs = self.costs.take(np.arange(start, start + len(chunk)))
            rows = gather_rows(gather, chunk, costs)
            parts.append([estimate(name, rows) for name in names])
            start += len(chunk)
        if self.points:
            rows = count_rows(self.points)
            parts.append([estimate(name, rows) for name in names])
        return {name: join_values([part[at] for part in parts]) for at, name in enumerate(names)}

    def count_changed(self, change: Callable[[ArchSpec], ArchSpec]) -> CostArrays:
        """Return what all would cost with their size or their number of classes changed, each by its own alone."""
        gather = Gather(self.space.axes, Cells(self.space, self.classes).axes_of, lambda row: change(self._build(row)))
        parts = [gather.costs(chunk) for chunk in self._chunks()]
        return join_costs([*parts, count_archs([change(arch) for arch in self.points])])

    def _build(self, row: np.ndarray) -> ArchSpec:
        return build_row(self.space, row, self.classes)

    def _chunks(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.rows), CHUNK):
            yield self.rows[start : start + CHUNK].astype(np.int64)

    def _dropouts(self) -> np.ndarray:
        """Return the bits of every network's dropout, which no block shows."""
        axes = dict(self.space.axes)
        if "dropout" in axes:
            of_rows = np.array(axes["dropout"])[self.rows[:, list(axes).index("dropout")]]
        else:
            of_rows = np.full(len(self.rows), self[0].dropout if len(self.rows) else 0.0)
        dropouts = np.concatenate([of_rows, [arch.dropout for arch in self.points]])
        return np.ascontiguousarray(dropouts, np.float64).view(np.uint64)


def gather_rows(gather: Gather, rows: np.ndarray, costs: CostArrays) -> Rows:
    """Return index rows of a space, which have these costs, as arrays of what else is counted of them."""
    return Rows(costs, lambda: gather.sums(rows, part_features), lambda: gather.sums(rows, part_contents))


class Picked(Sequence):
    """Some of the networks, by their places."""

    def __init__(self, networks: Networks, places: np.ndarray):
        self.networks, self.places = networks, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at):
        return self.networks[int(self.places[at])]


def build_row(space: Space, row: np.ndarray, classes: int | None) -> ArchSpec:
    """Return the network of a row of indices into the axes."""
    settings = {key: values[i] for (key, values), i in zip(space.axes, row.tolist(), strict=True)}
    return build_arch(space, settings, classes)


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
        self.space, self.classes, self.axes = space, classes, space.axes
        settings = dict(space.fixed) | {key: [k] for k, (key, _) in enumerate(space.axes)}
        self.table = {(i, f): getattr(stage, f) for i, stage in enumerate(space.stages) for f in CELLS}
        if "expansion" in settings:  # as set_expansion
            self.table |= {(i, "t"): settings["expansion"] for i, stage in enumerate(space.stages) if stage.t > 1}
        self.table |= {(row, column): value for row, column, value in list_cells(settings, len(space.stages))}
        defaults = {f.name: f.default for f in fields(ArchSpec) if f.name != "stages"}
        if classes is not None:
            defaults["classes"] = classes
        self.fields = {name: settings.get(name, value) for name, value in defaults.items()}
        self.usual_classes = classes is None and "classes" not in settings  # those of the head
        full = [
            name for name in OPTIONAL_CELLS if all(self.table[i, name] is not None for i in range(len(space.stages)))
        ]
        origins = [*self.table.values(), *(origin for name, origin in self.fields.items() if name not in full)]
        self.used = sorted({origin[0] for origin in origins if isinstance(origin, list)})

    def gather(self) -> Gather:
        """Return what counts rows of indices."""
        return Gather(self.axes, self.axes_of, lambda row: build_row(self.space, row, self.classes))

    def axes_of(self, names: Sequence[str], row: int | None) -> set[int]:
        """Return the axes that set any of these fields, and any cell of a row of the table, of all where the whole
        table is among the fields, or of a column where "stages.s" is."""
        names = {*names, "head"} if self.usual_classes and "classes" in names else names
        origins = [origin for name, origin in self.fields.items() if name in names]
        origins += [
            origin for (i, column), origin in self.table.items()
            if i == row or "stages" in names or f"stages.{column}" in names
        ]  # fmt: skip
        return {origin[0] for origin in origins if isinstance(origin, list)}

    def row_of(self, arch: ArchSpec) -> np.ndarray | None:
        """Return the index row [1, axes] of a spec, 0 at axes without effect; None for one outside the grid."""
        row = np.zeros((1, len(self.axes)), np.int64)
        if self.usual_classes:
            if arch.classes != USUAL_CLASSES[arch.head]:
                return None
            arch = replace(arch, classes=self.fields["classes"])
        given = {(i, f): getattr(stage, f) for i, stage in enumerate(arch.stages) for f in CELLS}
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
        self.gather = self.cells.gather()
        most = max((len(values) for _, values in space.axes), default=1)
        self.index_type = np.min_scalar_type(most)
        self.found: list[np.ndarray] = []
        self.costs: list[CostArrays] = []
        self.points: list[ArchSpec] = []
        self.count = self.draws = self.candidates = 0
        self.refused: Counter[Constraint] = Counter()
        self.outside: Counter[str] = Counter()  # by cost: networks of which no device says it
        self.example: dict[str, ArchSpec] = {}
        # A grid repeats itself only where an axis has no effect, as a narrower key overrides it.
        self.may_repeat = space.sample is not None or len(self.cells.used) < len(space.axes)
        self.seen: set[bytes] = set()

    def consider(self, rows: np.ndarray) -> bool:
        """Take the rows [N, axes] that are new and allowed; False once a sample is complete."""
        costs = self.gather.costs(rows)
        allowed, outside = self._allow(gather_rows(self.gather, rows, costs))
        fine = np.logical_and.reduce([np.ones(len(rows), bool), *allowed.values()])
        new, end = self._find_new(rows, fine) if self.may_repeat else (np.ones(len(rows), bool), len(rows))
        new, fine = new[:end], fine[:end]
        self.candidates += int(new.sum())
        for constraint, ok in allowed.items():
            self.refused[constraint] += int((new & ~ok[:end]).sum())
        for cost, unknown in outside.items():
            self._note_outside(cost, new & unknown[:end], lambda at: build_row(self.space, rows[at], self.classes))
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
            rows = count_rows(archs)
            allowed, outside = self._allow(rows)
            for constraint, ok in allowed.items():
                self.refused[constraint] += int((~ok).sum())
            for cost, unknown in outside.items():
                self._note_outside(cost, unknown, archs.__getitem__)
            fine = np.flatnonzero(np.logical_and.reduce([np.ones(len(archs), bool), *allowed.values()]))
            self.points = [archs[i] for i in fine]
            self.costs.append(rows.costs.take(fine))

    def _is_known(self, arch: ArchSpec) -> bool:
        row = self.cells.row_of(arch) if self.space.axes else None
        return row is not None and (self.space.sample is None or self._keys(row)[0] in self.seen)

    def _allow(self, rows: Rows) -> tuple[dict[Constraint, np.ndarray], dict[str, np.ndarray]]:
        """Return which rows each constraint allows; and those that only the constraints on a cost refuse, as no device
        says it of them."""
        names = dict.fromkeys(constraint.cost for constraint in self.space.constraints)
        values = {name: estimate(name, rows).values for name in names}
        allowed = {c: OPERATORS[c.operator](values[c.cost], c.limit) for c in self.space.constraints}
        outside = {}
        for name in (name for name in names if "@" in name):
            others = [ok for constraint, ok in allowed.items() if constraint.cost != name]
            outside[name] = np.logical_and.reduce([np.isnan(values[name]), *others])
        return allowed, outside

    def _note_outside(self, cost: str, outside: np.ndarray, build: Callable[[int], ArchSpec]) -> None:
        """Count those outside of what was measured, and keep the first as an example."""
        self.outside[cost] += int(outside.sum())
        if outside.any() and cost not in self.example:
            self.example[cost] = build(int(outside.argmax()))

    def notes(self) -> list[str]:
        """Say of how many candidates no device says the cost, and why, by an example."""
        lines = []
        for cost, count in self.outside.items():
            one = find_model(cost)
            if one.profile.source:
                lines.append(f"{cost}: published by others, not measured by you: {one.profile.source}")
            if count:
                arch = self.example[cost]
                reason = one.model.reasons(one.rows(count_rows([arch]))[0])[0]
                lines.append(
                    f"{cost}: {count_noun(count, 'network')} lie{'s' * (count == 1)} outside of what was measured on "
                    f"{one.profile.name}, and {'is' if count == 1 else 'are'} left out, for instance "
                    f"{arch_label(arch)} ({reason}); 'mnv2-sweep device show {one.profile.name} SPACE' says which to "
                    "measure, too"
                )
        return lines

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
        refused = "".join(f"; {c.cost} {c.text} refused {self.refused[c]:,}" for c in self.space.constraints)
        return "".join([refused, *(f"; {line}" for line in self.notes())])

    def networks(self) -> Networks:
        """Return all that was taken, the grid's or the sample's before the points."""
        rows = np.concatenate(self.found) if self.found else np.zeros((0, 0), np.uint8)
        costs = join_costs(self.costs) if self.costs else CostArrays(*(np.zeros(0, np.int64) for _ in range(4)))
        return Networks(self.space, self.classes, rows, self.points, costs, self.notes())


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
