"""A network as steps, each of which turns what came before it into blocks; what a step costs is counted once.

A Step is a function and its values, a State what blocks leave to the next step, a Part a step at a State, with its
costs. All three are kept and found again, so a network that has its parts in common with earlier ones costs a few
lookups, and a whole design space is arrays of them (`spaces.gather`).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.plan import WEIGHTED, Block, Layer

MOST_PARTS = 200_000  # kept: some 300 bytes each
DIGEST_BITS, DIGEST_BASES = 2**64, (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # odd, as products stay different then


class Held(NamedTuple):
    """A map that a later step reads: it lies so many tensors behind the last one, and so many layers with weights less
    deep."""

    back: int
    channels: int
    size: Size
    lag: int = 0


class After(NamedTuple):
    """What a step leaves: channels and size of its output, and the last block where the next step may read a tensor
    inside it. `taps` are tensors that a later step reads, `outputs` those that are outputs of the network, which ends
    there; both by their numbers in the step, 0 for what it reads and i + 1 for the output of its layer i."""

    channels: int
    size: Size
    block: Block | None = None
    taps: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class State:
    """What the blocks so far leave: channels and size of their output, the last block where the next step may read a
    tensor inside it, and the maps that are held for later steps. `parts` are the parts that begin here."""

    channels: int
    size: Size
    block: Block | None
    held: tuple[Held, ...] = ()
    parts: dict["Step", "Part"] = field(default_factory=dict, repr=False)


@dataclass(eq=False, slots=True)
class Step:
    """`build(state, at, row, *values)` returns the blocks, the first of which is the network's block `at`, and what
    they leave; `row` is the step's place, for the names of stages."""

    build: Callable[..., tuple[tuple[Block, ...], After]]
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
            is_plain = all(
                x.op in PLAIN[0] and x.act in PLAIN[1] and x.padding is None and x.dilation == 1 for x in layers
            )
            self._texts = Texts(json.dumps([_describe_block(block) for block in blocks])[1:-1], is_plain)
        return self._texts

    def layers_text(self) -> str:
        """Return the items of a JSON list of what its layers do, which is asked of few networks."""
        return json.dumps([_describe_layer(layer) for layer in self.layers()])[1:-1]

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
    return [block.kind, block.shortcut, convs, *([block.anchors] if block.anchors else [])]


def _describe_layer(layer: Layer) -> list:
    dilation = [layer.dilation] if layer.dilation > 1 else []
    return [layer.op, layer.act, layer.reads, layer.padding, *dilation]


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


def run_steps(steps: Iterable[Step]) -> tuple[tuple[Block, ...], tuple[int, ...]]:
    """Return the blocks of the network in order, and the numbers of its outputs where it has several tensors of them,
    see Plan."""
    state, run, outputs = START, [], ()
    for place, step in enumerate(steps):
        blocks, after = step.build(state, len(run), place - 1, *step.values)
        before = sum(len(block.layers) for block in run) if after.outputs else 0
        outputs = tuple(before + tensor for tensor in after.outputs)
        run += blocks
        state = _leave(state, [layer for block in blocks for layer in block.layers], after)
    return tuple(run), outputs


def count_layers(
    layers: Sequence[Layer],
    before: Sequence[Layer] = (),
    outputs: Sequence[int] = (),
    taps: Iterable[int] = (),
    held: Iterable[Held] = (),
) -> tuple[int, ...]:
    """Count MAdds, params, most activation elements alive, and depth of layers that follow others.

    `before` are the layers of the block before, whose tensors these may read; the most alive includes what these hold
    while `before` runs. `held` are maps before these layers that are alive, too. `outputs` are numbers of tensors that
    are outputs of the network: they live to the end, and the depth is that of the deepest. Without them layers follow
    for which `held` and `taps` live on.
    """
    madds = params = 0
    for layer in layers:
        if layer.op in WEIGHTED:
            weights = layer.weights
            madds += layer.size_out.area * weights
            params += weights + (2 if layer.norm else layer.bias) * layer.c_out
        else:
            params += layer.params
    whole, first = (*before, *layers), len(before)
    kept = [first + tensor for tensor in (*outputs, *taps)]
    if not outputs:
        kept += [first - each.back for each in held]
    around = {first - each.back: each for each in held if each.back > first}
    alive = live_elements(whole, kept, {number: each.channels * each.size.area for number, each in around.items()})
    depths = count_depths(whole, {number: each.lag for number, each in around.items()})
    deepest = max(depths[first + tensor] for tensor in outputs) if outputs else depths[-1]
    return madds, params, max(alive), deepest - depths[first]


def live_elements(
    layers: Sequence[Layer], kept: Iterable[int] = (), held: Mapping[int, int] | None = None
) -> list[int]:
    """Return the activation elements alive during each layer, in order; sums are made in place of a layer's output.

    Tensors in `kept` (0 is the first layer's input, i + 1 the output of layer i) live to the end. What lies before the
    first layer's input counts for nothing, but for tensors whose elements `held` has, by their numbers below 0.
    """
    sizes = [layers[0].input_elements]
    last_reader = [0] * (len(layers) + 1)
    for i, layer in enumerate(layers):
        sizes.append(layer.output_elements)
        for back in layer.reads:
            if i + 1 + back >= 0:
                last_reader[i + 1 + back] = i
    kept = set(kept)
    for tensor in kept:
        if tensor >= 0:
            last_reader[tensor] = len(layers) - 1
    done_after: list[list[int]] = [[] for _ in layers]
    for tensor, i in enumerate(last_reader[:-1]):
        done_after[i].append(tensor)
    alive, most = sizes[0], []
    for i in range(len(layers)):
        alive += sizes[i + 1]
        most.append(alive)
        for tensor in done_after[i]:
            alive -= sizes[tensor]
    for tensor, elements in (held or {}).items():
        readers = [i for i, layer in enumerate(layers) if tensor - i - 1 in layer.reads]
        until = len(layers) if tensor in kept else max(readers, default=-1) + 1
        most[:until] = [others + elements for others in most[:until]]
    return most


def count_depths(layers: Sequence[Layer], lags: Mapping[int, int] | None = None) -> list[int]:
    """Return for every tensor, the first layer's input first, the layers with weights on the longest way to it.

    `lags` are those of tensors before the first layer's input, by their numbers below 0: by so many it is deeper.
    """
    depths, lags = [0], lags or {}
    for layer in layers:
        ways = []
        for place, back in enumerate(layer.reads):
            tensor = len(depths) + back
            # What is added to its output does not go through it. What else lies before the first layer is no longer
            # a way.
            if tensor >= 0 or tensor in lags:
                depth = depths[tensor] if tensor >= 0 else -lags[tensor]
                ways.append(depth + (place == 0 and layer.op in WEIGHTED))
        depths.append(max(ways))
    return depths


def name_block(block: Block) -> int:
    """Return 64 bits that name what the block does, whatever it is called and wherever it stands."""
    convs = [[c.c_in, c.c_out, c.kernel, c.stride, c.groups, *c.size_in] for c in block.convs]
    layers = [[x.op, x.act, x.reads, x.padding, x.sum_last, x.dilation] for x in block.layers]
    text = json.dumps([block.kind, block.shortcut, convs, layers, block.anchors])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def on_forget(forget: Callable[[], None]) -> None:
    """Have `forget` called when parts are forgotten, by whoever keeps steps of its own."""
    _forgets.append(forget)


@lru_cache(maxsize=64)  # of few networks: who counts one asks for its name next
def _build(step: Step, state: State) -> tuple[tuple[Block, ...], After]:
    return step.build(state, 0, 0, *step.values)


def _make_part(step: Step, state: State) -> Part:
    blocks, after = _build(step, state)
    before = state.block.layers if state.block else ()
    layers = [layer for block in blocks for layer in block.layers]
    costs = count_layers(layers, before, after.outputs, after.taps, state.held) if layers else (0, 0, 0, 0)
    part = state.parts[step] = Part(*costs, _leave(state, layers, after), step, state)
    return part


def _leave(state: State, layers: Sequence[Layer], after: After) -> State:
    """Return the state after these layers: what was held before is, too, and what they tap."""
    held: tuple[Held, ...] = ()
    if (state.held or after.taps) and not after.outputs:
        depths = count_depths(layers, {-each.back: each.lag for each in state.held if each.back})
        passed = [each._replace(back=each.back + len(layers), lag=each.lag + depths[-1]) for each in state.held]
        tapped = [_hold(state, layers, tensor, depths[-1] - depths[tensor]) for tensor in after.taps]
        held = (*passed, *tapped)
    key = (after.channels, after.size, after.block, held)
    known = _states.get(key)
    if known is None:
        _forget_if_full()
        known = _states[key] = State(*key)
    return known


def _hold(state: State, layers: Sequence[Layer], tensor: int, lag: int) -> Held:
    """Return a tensor of these layers, or their input, as a later step finds it."""
    if tensor == 0:
        return Held(len(layers), state.channels, state.size, lag)
    return Held(len(layers) - tensor, layers[tensor - 1].c_out, layers[tensor - 1].size_out, lag)


def _forget_if_full() -> None:
    """Begin anew where too much is kept; parts that somebody holds go on to be right."""
    if len(_states) + len(_steps) > MOST_PARTS:
        for forget in (_states.clear, _steps.clear, START.parts.clear, _build.cache_clear, *_forgets):
            forget()
