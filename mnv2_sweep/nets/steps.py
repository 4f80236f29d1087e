"""A network as steps, each of which turns what came before it into blocks; what a step costs is counted once.

A Step is a function and its values, a State what blocks leave to the next step, a Part a step at a State, with its
costs. All three are kept and found again, so a network that has its parts in common with earlier ones costs a few
lookups, and a whole design space is arrays of them (`spaces.gather`).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.plan import WEIGHTED, Block, Layer

MOST_PARTS = 200_000  # kept: some 300 bytes each
DIGEST_BITS, DIGEST_BASES = 2**64, (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # odd, as products stay different then


@dataclass(eq=False, slots=True)
class State:
    """What the blocks so far leave: channels and size of their output, and the last block where the next step may read
    a tensor inside it. `parts` are the parts that begin here."""

    channels: int
    size: Size
    block: Block | None
    parts: dict["Step", "Part"] = field(default_factory=dict, repr=False)


@dataclass(eq=False, slots=True)
class Step:
    """`build(state, at, row, *values)` returns the blocks, the first of which is the network's block `at`, and what
    they leave as (channels, size, last block or None); `row` is the step's place, for the names of stages."""

    build: Callable[..., tuple[tuple[Block, ...], tuple[int, Size, Block | None]]]
    values: tuple

    def at(self, state: State) -> "Part":
        """Return the step's part after `state`."""
        return state.parts.get(self) or _make_part(self, state)


@dataclass(eq=False, slots=True)
class Part:
    """What a step costs after a state, as Cost has it, activations in elements; `after` is what it leaves."""

    madds: int
    params: int
    peak_elements: int
    depth: int
    after: State
    step: Step = field(repr=False)
    before: State = field(repr=False)
    _digest: tuple[int, ...] = field(default=(), repr=False)
    _texts: "Texts | None" = field(default=None, repr=False)

    def digest(self) -> tuple[int, ...]:
        """Return numbers that name its blocks: a factor and a summand for each base, see `resolve.name_network`."""
        if not self._digest:
            names = [name_block(block) for block in self._blocks()]
            self._digest = tuple(number for base in DIGEST_BASES for number in _join_names(names, base))
        return self._digest

    def texts(self) -> "Texts":
        """Return what its blocks and layers do, see `resolve.arch_key`."""
        if self._texts is None:
            blocks = self._blocks()
            layers = [layer for block in blocks for layer in block.layers]
            is_plain = all(x.op in PLAIN[0] and x.act in PLAIN[1] and x.padding is None for x in layers)
            self._texts = Texts(json.dumps([_describe_block(block) for block in blocks])[1:-1], is_plain)
        return self._texts

    def layers_text(self) -> str:
        """Return the items of a JSON list of what its layers do, which is asked of few networks."""
        return json.dumps([[x.op, x.act, x.reads, x.padding] for x in self.layers()])[1:-1]

    def layers(self) -> list[Layer]:
        """Return its layers in order."""
        return [layer for block in self._blocks() for layer in block.layers]

    def _blocks(self) -> tuple[Block, ...]:
        return _build(self.step, self.before)[0]


class Texts(NamedTuple):
    """The items of a JSON list of a part's blocks, whatever they are called and wherever they stand; `is_plain`:
    operations and activations are the usual ones, so that the blocks' convolutions and shortcuts say all."""

    blocks: str
    is_plain: bool


PLAIN = {"conv", "linear", "add", "global_pool"}, {"", "relu6"}  # operations and activations


def _describe_block(block: Block) -> list:
    convs = [[c.c_in, c.c_out, c.kernel, c.stride, c.groups, _sides(c.size_in), c.act == "relu6"] for c in block.convs]
    return [block.kind, block.shortcut, convs]


def _sides(size: Size) -> int | list[int]:
    return size.height if size.is_square else [*size]


def _join_names(names: Sequence[int], base: int) -> tuple[int, int]:
    """Return what a number for the blocks before is multiplied by, and what is added then, so that it names all."""
    factor, total = 1, 0
    for name in names:
        factor, total = factor * base % DIGEST_BITS, (total * base + name) % DIGEST_BITS
    return factor, total


START = State(0, Size(0, 0), None)
_states: dict[tuple, State] = {}
_steps: dict[tuple, Step] = {}
_forgets: list[Callable[[], None]] = []


def find_step(build: Callable, *values) -> Step:
    """Return the one step with this function and these values, which are hashable."""
    step = _steps.get((build, values))
    if step is None:
        step = _steps[build, values] = Step(build, values)
    return step


def find_parts(steps: Iterable[Step]) -> list[Part]:
    """Return the part of each step of a network, in order."""
    state, parts = START, []
    for step in steps:
        part = state.parts.get(step) or step.at(state)
        parts.append(part)
        state = part.after
    return parts


def run_steps(steps: Iterable[Step]) -> Iterator[Block]:
    """Yield the blocks of the network in order."""
    state, at = START, 0
    for place, step in enumerate(steps):
        blocks, after = step.build(state, at, place - 1, *step.values)
        yield from blocks
        at += len(blocks)
        state = _find_state(after)


def count_layers(layers: Sequence[Layer], before: Sequence[Layer] = (), kept: Iterable[int] = ()) -> tuple[int, ...]:
    """Count MAdds, params, most activation elements alive, and depth of layers that follow others.

    `before` are the layers of the block before, whose tensors these may read; the most alive includes what these hold
    while `before` runs. `kept` are numbers of tensors that live to the end, as a network's outputs do.
    """
    madds = params = 0
    for layer in layers:
        if layer.op in WEIGHTED:
            weights = layer.weights
            madds += layer.size_out.area * weights
            params += weights + (2 if layer.norm else layer.bias) * layer.c_out
    whole = (*before, *layers)
    depths = count_depths(whole)
    return madds, params, max(live_elements(whole, kept)), depths[-1] - depths[len(before)]


def live_elements(layers: Sequence[Layer], kept: Iterable[int] = ()) -> list[int]:
    """Return the activation elements alive during each layer, in order; sums are made in place of a layer's output.

    Tensors in `kept` (0 is the first layer's input, i + 1 the output of layer i) live to the end. What lies before the
    first layer's input counts for nothing.
    """
    sizes = [layers[0].input_elements]
    last_reader = [0] * (len(layers) + 1)
    for i, layer in enumerate(layers):
        sizes.append(layer.output_elements)
        for back in layer.reads:
            if i + 1 + back >= 0:
                last_reader[i + 1 + back] = i
    for tensor in kept:
        last_reader[tensor] = len(layers) - 1
    done_after: list[list[int]] = [[] for _ in layers]
    for tensor, i in enumerate(last_reader[:-1]):
        done_after[i].append(tensor)
    alive, held = sizes[0], []
    for i in range(len(layers)):
        alive += sizes[i + 1]
        held.append(alive)
        for tensor in done_after[i]:
            alive -= sizes[tensor]
    return held


def count_depths(layers: Sequence[Layer]) -> list[int]:
    """Return for every tensor, the first layer's input first, the layers with weights on the longest way to it."""
    depths = [0]
    for layer in layers:
        through = depths[layer.reads[0]] + (layer.op in WEIGHTED)
        # What is added to its output does not go through it. What lies before the first layer is no longer a way.
        others = [depths[back] for back in layer.reads[1:] if len(depths) + back >= 0]
        depths.append(max([through, *others]))
    return depths


def name_block(block: Block) -> int:
    """Return 64 bits that name what the block does, whatever it is called and wherever it stands."""
    convs = [[c.c_in, c.c_out, c.kernel, c.stride, c.groups, *c.size_in] for c in block.convs]
    layers = [[x.op, x.act, x.reads, x.padding, x.sum_last] for x in block.layers]
    text = json.dumps([block.kind, block.shortcut, convs, layers])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def on_forget(forget: Callable[[], None]) -> None:
    """Have `forget` called when parts are forgotten, by whoever keeps steps of its own."""
    _forgets.append(forget)


@lru_cache(maxsize=64)  # of few networks: who counts one asks for its name next
def _build(step: Step, state: State) -> tuple[tuple[Block, ...], tuple[int, Size, Block | None]]:
    return step.build(state, 0, 0, *step.values)


def _make_part(step: Step, state: State) -> Part:
    blocks, after = _build(step, state)
    before = state.block.layers if state.block else ()
    layers = [layer for block in blocks for layer in block.layers]
    costs = count_layers(layers, before) if layers else (0, 0, 0, 0)
    part = state.parts[step] = Part(*costs, _find_state(after), step, state)
    return part


def _find_state(after: tuple[int, Size, Block | None]) -> State:
    state = _states.get(after)
    if state is None:
        _forget_if_full()
        state = _states[after] = State(*after)
    return state


def _forget_if_full() -> None:
    """Begin anew where too much is kept; parts that somebody holds go on to be right."""
    if len(_states) + len(_steps) > MOST_PARTS:
        for forget in (_states.clear, _steps.clear, START.parts.clear, _build.cache_clear, *_forgets):
            forget()
