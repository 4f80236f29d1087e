"""Combinations of a space's axes, as rows of indices -> costs, names and other sums of their networks' parts, gathered
as arrays.

A network is steps (`nets.steps`), and a step depends on few of the axes. So for each place the steps of all rows are
looked up by the indices of its axes, then the parts by what came before them: what is new is resolved and counted
once, by the plan's layers, and all else are gathers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mnv2_sweep.nets.arch import NAMES, ArchSpec
from mnv2_sweep.nets.cost import BYTES_PER_ACTIVATION
from mnv2_sweep.nets.cost_arrays import LARGEST, CostArrays, integer_array
from mnv2_sweep.nets.resolve import find_steps, step_fields
from mnv2_sweep.nets.steps import START, Part, State, Step

MOST_CELLS = 2**22  # of a table of combinations; where there are more, only those are kept that are met
UNKNOWN = -1
COLUMNS = ("madds", "params", "peak_elements", "depth")  # of a Part
JOINS = (np.add, np.add, np.maximum, np.add)  # the parts' to the network's


class Gather:
    """The costs of a space's rows [N, axes]; `build` makes the spec of one row."""

    def __init__(self, axes: Sequence[tuple[str, tuple]], used: Callable, build: Callable[[np.ndarray], ArchSpec]):
        """`used(fields, row)` returns which axes set any of these fields of ArchSpec, and the table's row if given."""
        self.axes, self.used, self.build = axes, used, build
        self.places: dict[tuple, list[_Place]] = {}
        self.at_names = [at for at, (key, _) in enumerate(axes) if key in NAMES]

    def costs(self, rows: np.ndarray) -> CostArrays:
        """Count every row."""
        whole = [np.zeros(len(rows), np.int64) for _ in range(4)]
        for chosen, places in self._by_kind(rows):
            sums: list[np.ndarray] = []
            for place, parts in self._walk(rows[chosen], places):
                own = [column[parts] for column in place.columns()]
                sums = [join(*pair) for join, *pair in zip(JOINS, sums, own, strict=True)] if sums else own
            for at, values in enumerate(sums):
                if values.dtype == object:
                    whole[at] = whole[at].astype(object, copy=False)
                whole[at][chosen] = values
        return CostArrays(whole[0], whole[1], BYTES_PER_ACTIVATION * whole[2], whole[3])

    def names(self, rows: np.ndarray) -> np.ndarray:
        """Return numbers [N, 2] that are the same for two rows exactly if their networks have the same blocks."""
        names = np.zeros((len(rows), 2), np.uint64)
        for chosen, places in self._by_kind(rows):
            total = np.zeros_like(names[chosen])
            for place, parts in self._walk(rows[chosen], places):
                factors, summands = place.digests()
                total = total * factors[parts] + summands[parts]
            names[chosen] = total
        return names

    def sums(self, rows: np.ndarray, count: Callable[[Part], np.ndarray]) -> np.ndarray:
        """Return for every row the sum [N, K] of what `count` makes of its network's parts [K]."""
        sums = [
            (chosen, sum(place.counts(count).take(parts, axis=0) for place, parts in self._walk(rows[chosen], places)))
            for chosen, places in self._by_kind(rows)
        ]
        whole = np.zeros((len(rows), sums[0][1].shape[1] if sums else 0))
        for chosen, total in sums:
            whole[chosen] = total
        return whole

    def _by_kind(self, rows: np.ndarray) -> list[tuple]:
        """Return (which rows, their places) for every family and head, so that the number of places is the same."""
        if not self.at_names:
            return [(slice(None), self._places((), rows[0]))] if len(rows) else []
        kinds, which = np.unique(rows[:, self.at_names], axis=0, return_inverse=True)
        chosen = [np.flatnonzero(which.reshape(-1) == kind) for kind in range(len(kinds))]
        return [
            (own, self._places(tuple(kind), rows[own[0]])) for kind, own in zip(kinds.tolist(), chosen, strict=True)
        ]

    def _places(self, kind: tuple, row: np.ndarray) -> list["_Place"]:
        if kind not in self.places:
            arch = self.build(row)
            places = []
            for at, (fields, table_row) in enumerate(step_fields(arch)):
                lengths = {axis: len(self.axes[axis][1]) for axis in self.used(fields, table_row)}
                places.append(_Place(at, lengths, self.build))
            self.places[kind] = places
        return self.places[kind]

    def _walk(self, rows: np.ndarray, places: Sequence["_Place"]):
        """Yield each place with the parts of all rows there, by their numbers."""
        states = np.zeros(len(rows), np.int64)
        known: list[State] = [START]
        for place in places:
            parts = place.find_parts(place.find_steps(rows), states, known)
            yield place, parts
            states, known = place.after[parts], place.states


class _Place:
    """One step of the networks of a family: the different steps there are, and the parts that they make."""

    def __init__(self, at: int, lengths: dict[int, int], build: Callable[[np.ndarray], ArchSpec]):
        self.at, self.build = at, build
        self.axes = sorted(lengths)
        self.lengths = [lengths[axis] for axis in self.axes]
        self.steps: list[Step] = []
        self.step_numbers: dict[Step, int] = {}
        cells = 1
        for length in self.lengths:
            cells *= length
        self.by_combination = np.full(cells, UNKNOWN, np.int32) if cells <= MOST_CELLS else None
        self.met: dict[bytes, int] = {}
        self.parts: list[Part] = []
        self.by_state = np.full((1, 1), UNKNOWN, np.int32)  # [states, steps] -> the part's number
        self.states: list[State] = []
        self.state_numbers: dict[State, int] = {}
        self.after = np.zeros(0, np.int64)
        self._columns: list[np.ndarray] = []
        self._digests: tuple[np.ndarray, np.ndarray] | None = None
        self._counts: dict[Callable, np.ndarray] = {}

    def find_steps(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the rows' steps."""
        if self.by_combination is None:
            return self._find_met(rows)
        combinations = np.zeros(len(rows), np.int64)
        for axis, length in zip(self.axes, self.lengths, strict=True):
            combinations = combinations * length + rows[:, axis]
        numbers = self.by_combination[combinations]
        if (unknown := np.flatnonzero(numbers == UNKNOWN)).size:
            new, first = np.unique(combinations[unknown], return_index=True)
            self.by_combination[new] = [self._number(rows[row]) for row in unknown[first]]
            numbers = self.by_combination[combinations]
        return numbers

    def _find_met(self, rows: np.ndarray) -> np.ndarray:
        own = np.ascontiguousarray(rows[:, self.axes])
        keys = own.view(np.dtype((np.void, own.dtype.itemsize * own.shape[1]))).ravel()
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        numbers = []
        for row in first:
            key = keys[row].tobytes()
            if key not in self.met:
                self.met[key] = self._number(rows[row])
            numbers.append(self.met[key])
        return np.array(numbers, np.int64)[which.reshape(-1)]

    def _number(self, row: np.ndarray) -> int:
        step = find_steps(self.build(row))[self.at]
        if step not in self.step_numbers:
            self.step_numbers[step] = len(self.steps)
            self.steps.append(step)
        return self.step_numbers[step]

    def find_parts(self, steps: np.ndarray, states: np.ndarray, known: Sequence[State]) -> np.ndarray:
        """Return the numbers of the parts that the steps make after the states, which are numbers in `known`."""
        self._grow(len(known), len(self.steps))
        width = self.by_state.shape[1]
        keys = states * width + steps
        table = self.by_state.reshape(-1)
        parts = table[keys]
        if (unknown := parts == UNKNOWN).any():
            for key in np.unique(keys[unknown]).tolist():
                table[key] = self._add_part(self.steps[key % width].at(known[key // width]))
            self.after = np.array([self.state_numbers[part.after] for part in self.parts], np.int64)
            self._columns, self._digests = [], None
            parts = table[keys]
        return parts

    def _grow(self, states: int, steps: int) -> None:
        have = self.by_state.shape
        if states > have[0] or steps > have[1]:
            grown = np.full((max(2 * have[0], states), max(2 * have[1], steps)), UNKNOWN, np.int32)
            grown[: have[0], : have[1]] = self.by_state
            self.by_state = grown

    def _add_part(self, part: Part) -> int:
        if part.after not in self.state_numbers:
            self.state_numbers[part.after] = len(self.states)
            self.states.append(part.after)
        self.parts.append(part)
        return len(self.parts) - 1

    def columns(self) -> list[np.ndarray]:
        """Return MAdds, params, most activation elements and depth of every part."""
        if not self._columns:
            # A network has at most some hundred parts: sums of these fit.
            small = LARGEST // 256
            for name in COLUMNS:
                numbers = [getattr(part, name) for part in self.parts]
                column = integer_array(numbers)
                self._columns.append(column if max(numbers) <= small else column.astype(object))
        return self._columns

    def digests(self) -> tuple[np.ndarray, np.ndarray]:
        """Return factors and summands [parts, 2] of the parts' names."""
        if self._digests is None:
            numbers = np.array([part.digest() for part in self.parts], np.uint64)
            self._digests = numbers[:, 0::2], numbers[:, 1::2]
        return self._digests

    def counts(self, count: Callable[[Part], np.ndarray]) -> np.ndarray:
        """Return what `count` makes of every part [parts, K]."""
        known = self._counts.get(count)
        have = 0 if known is None else len(known)
        if have < len(self.parts):
            new = np.array([count(part) for part in self.parts[have:]], float)
            self._counts[count] = new if known is None else np.concatenate([known, new])
        return self._counts[count]
