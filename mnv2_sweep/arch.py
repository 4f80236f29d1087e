"""ArchSpec (a few numbers) -> Plan (every convolution with its real shape), decided here once.

The counters add a Plan up and `model` builds it, so channel rounding, hidden widths, strides, shortcuts and
spatial sizes exist in one place. Conventions: images are square and `size` is the side in pixels; a map's
shape is channels x size x size; padding is kernel // 2, so a stride-s convolution gives ceil(size / s).
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace

from mnv2_sweep.errors import ArchError

RESIDUALS = ("bottleneck", "expansion", "none")
MAX_RESOLUTION = 4096  # of what a user may ask for, so that a slip of the finger is a message and not an hour
STEM_CHANNELS = 32  # paper, table 2, first row; scaled by the width multiplier like every block


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the block table (paper, table 2): n blocks of c channels, expansion t, first stride s."""

    t: int
    c: int
    n: int
    s: int


MOBILENET_V2 = (  # paper, table 2
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


@dataclass(frozen=True, slots=True)
class ArchSpec:
    """One network of the design space; the defaults are the paper's MobileNetV2 1.0 at 224.

    `kernel` is the depthwise kernel; the stem stays 3x3. `linear_bottleneck=False` puts a ReLU6 after each
    projection (section 6.4, figure 6a). `residual` places the shortcut (section 6.4, figures 4 and 6b):

    - "bottleneck": from block input to block output, where the stride is 1 and both have the same channels.
    - "expansion": our reading of "shortcuts connecting the expanded layers". Figure 3a and [ResNet] join the
      wide tensors, with the narrow one inside the jump. So the shortcut runs from one block's expanded tensor
      (the input of its depthwise convolution) over depthwise, projection and the next block's expansion to
      the next block's expanded tensor, and is added before that tensor's ReLU6, as ResNet adds before its
      ReLU. It exists where the first block has stride 1 and both expanded tensors have the same channels;
      for table 2 these are the same ten places as for "bottleneck", so the two differ in placement only.
      A t=1 block has no expansion: its input is its expanded tensor.
    - "none": no shortcuts.

    Raises ArchError from `resolve`, not here, so that a caller can hold a spec and report its mistakes later.
    """

    stages: tuple[Stage, ...] = MOBILENET_V2
    width: float = 1.0
    resolution: int = 224
    kernel: int = 3
    linear_bottleneck: bool = True
    residual: str = "bottleneck"
    last_channels: int = 1280
    classes: int = 1000
    dropout: float = 0.2


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution (or the linear layer: 1x1 on a 1x1 map, as in the last row of table 2).

    `name` is its place in the built network, for instance "features.2.conv.0.0".
    """

    name: str
    c_in: int
    c_out: int
    kernel: int
    stride: int
    groups: int
    size_in: int
    size_out: int
    relu6: bool
    norm: bool = True  # batch norm follows, and the convolution has no bias
    op: str = "conv"  # "conv" | "linear"

    @property
    def madds(self) -> int:
        """Multiply-adds for one image: one per weight and output position."""
        return self.size_out**2 * self.kernel**2 * self.c_out * (self.c_in // self.groups)

    @property
    def weights(self) -> int:
        """Weights of the kernel alone."""
        return self.kernel**2 * self.c_out * (self.c_in // self.groups)

    @property
    def params(self) -> int:
        """Trainable parameters: weights, and batch norm's scale and shift or else the bias."""
        return self.weights + (2 if self.norm else 1) * self.c_out

    @property
    def input_elements(self) -> int:
        return self.c_in * self.size_in**2

    @property
    def output_elements(self) -> int:
        return self.c_out * self.size_out**2


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions in a row. kind: "conv" (stem, last convolution) | "bottleneck" | "classifier".

    `shortcut` is "bottleneck": the block's input is added to its output; "expansion": the expanded tensor of
    the block before is added to this block's expanded tensor; or None. A "classifier" pools its input to
    1x1 first.
    """

    name: str
    kind: str
    convs: tuple[Conv, ...]
    shortcut: str | None = None

    @property
    def expands(self) -> bool:
        return self.kind == "bottleneck" and len(self.convs) == 3

    @property
    def hidden(self) -> int:
        """Channels of the expanded tensor, the depthwise convolution's input."""
        return self.convs[-2].c_in


@dataclass(frozen=True, slots=True)
class Plan:
    """A network with every shape decided: stem, bottlenecks, last convolution, classifier."""

    blocks: tuple[Block, ...]
    resolution: int
    dropout: float

    @property
    def convs(self) -> tuple[Conv, ...]:
        return tuple(conv for block in self.blocks for conv in block.convs)


def round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of 8, at least 8 and never below 90 % of the wish (TF-slim's rule, every width of it)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def check_arch(arch: ArchSpec) -> None:
    """Raise ArchError with every mistake of the spec: field, value, what is allowed."""
    mistakes = [
        f"{name}: {value!r} given, {allowed} allowed" for name, value, ok, allowed in arch_rules(arch) if not ok
    ]
    if mistakes:
        raise ArchError("; ".join(mistakes))


def arch_rules(arch: ArchSpec):
    """(field, value, whether it is allowed, what is allowed) for every field of the spec."""
    yield "stages", arch.stages, len(arch.stages) > 0, "at least one row (t, c, n, s)"
    for i, stage in enumerate(arch.stages):
        for field in fields(Stage):
            value = getattr(stage, field.name)
            yield f"stages.{i}.{field.name}", value, _is_int(value) and value >= 1, "a whole number from 1"
    number = isinstance(arch.width, (int, float)) and not isinstance(arch.width, bool)
    yield "width", arch.width, number and 0 < arch.width <= 16, "a number above 0, at most 16"
    yield (
        "resolution",
        arch.resolution,
        _is_int(arch.resolution) and arch.resolution >= 1,
        "a whole number of pixels from 1",
    )
    odd = _is_int(arch.kernel) and arch.kernel >= 1 and arch.kernel % 2 == 1
    yield "kernel", arch.kernel, odd, "an odd whole number (3, 5, 7)"
    yield "linear_bottleneck", arch.linear_bottleneck, isinstance(arch.linear_bottleneck, bool), "true or false"
    yield "residual", arch.residual, arch.residual in RESIDUALS, " | ".join(RESIDUALS)
    yield (
        "last_channels",
        arch.last_channels,
        _is_int(arch.last_channels) and arch.last_channels >= 1,
        "a whole number from 1",
    )
    yield "classes", arch.classes, _is_int(arch.classes) and arch.classes >= 1, "a whole number from 1"
    number = isinstance(arch.dropout, (int, float)) and not isinstance(arch.dropout, bool)
    yield "dropout", arch.dropout, number and 0 <= arch.dropout < 1, "a number from 0, below 1"


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def resolve(arch: ArchSpec) -> Plan:
    """Decide every shape of the network (paper, table 2 and section 4). Raises ArchError on an impossible spec."""
    check_arch(arch)
    channels, size = round_channels(STEM_CHANNELS * arch.width), -(-arch.resolution // 2)
    stem = Conv("features.0.0", 3, channels, 3, 2, 1, arch.resolution, size, relu6=True)
    blocks = [Block("features.0", "conv", (stem,))]
    for stage in arch.stages:
        c_out = round_channels(stage.c * arch.width)
        for repeat in range(stage.n):
            stride = stage.s if repeat == 0 else 1
            blocks.append(
                _bottleneck(arch, f"features.{len(blocks)}", channels, c_out, stage.t, stride, size, blocks[-1])
            )
            channels, size = c_out, blocks[-1].convs[-1].size_out
    # Below width 1 the last convolution keeps its channels (paper, section 4).
    last = round_channels(arch.last_channels * max(1.0, arch.width))
    name = f"features.{len(blocks)}"
    blocks.append(Block(name, "conv", (Conv(f"{name}.0", channels, last, 1, 1, 1, size, size, relu6=True),)))
    linear = Conv("classifier.1", last, arch.classes, 1, 1, 1, 1, 1, relu6=False, norm=False, op="linear")
    blocks.append(Block("classifier", "classifier", (linear,)))
    return Plan(tuple(blocks), arch.resolution, arch.dropout)


def _bottleneck(
    arch: ArchSpec, name: str, c_in: int, c_out: int, t: int, stride: int, size: int, before: Block
) -> Block:
    """Paper, table 1: 1x1 expansion + ReLU6 (left out at t = 1), depthwise + ReLU6, linear 1x1 projection."""
    hidden, size_out, convs = c_in * t, -(-size // stride), []
    if t > 1:
        convs.append(Conv(f"{name}.conv.0.0", c_in, hidden, 1, 1, 1, size, size, relu6=True))
    at = len(convs)
    convs.append(Conv(f"{name}.conv.{at}.0", hidden, hidden, arch.kernel, stride, hidden, size, size_out, relu6=True))
    convs.append(
        Conv(f"{name}.conv.{at + 1}", hidden, c_out, 1, 1, 1, size_out, size_out, relu6=not arch.linear_bottleneck)
    )
    shortcut = None
    if arch.residual == "bottleneck" and stride == 1 and c_in == c_out:
        shortcut = "bottleneck"
    if arch.residual == "expansion" and before.kind == "bottleneck":
        if before.convs[-2].stride == 1 and before.hidden == hidden:
            shortcut = "expansion"
    return Block(name, "bottleneck", tuple(convs), shortcut)


def arch_key(arch: ArchSpec) -> str:
    """12 hex digits that name the resolved network: two specs that resolve to the same plan share it."""
    plan = resolve(arch)
    blocks = [
        [
            block.kind,
            block.shortcut,
            [[c.c_in, c.c_out, c.kernel, c.stride, c.groups, c.size_in, c.relu6] for c in block.convs],
        ]
        for block in plan.blocks
    ]
    return hashlib.sha256(json.dumps([blocks, float(plan.dropout)]).encode()).hexdigest()[:12]


def arch_label(arch: ArchSpec) -> str:
    """A short name a person can find in a table: "0.75 at 160", and whatever differs from the paper's network."""
    words = [f"{float(arch.width)!r} at {arch.resolution}"]
    if arch.stages != MOBILENET_V2:
        words.append(_stages_label(arch.stages))
    if arch.kernel != 3:
        words.append(f"k={arch.kernel}")
    if not arch.linear_bottleneck:
        words.append("non-linear")
    if arch.residual != "bottleneck":
        words.append("no residual" if arch.residual == "none" else "residual on expansions")
    if arch.last_channels != 1280:
        words.append(f"last={arch.last_channels}")
    if arch.dropout != 0.2:
        words.append(f"dropout={arch.dropout:g}")
    return ", ".join(words)


def _stages_label(stages: tuple[Stage, ...]) -> str:
    """ "t=4" where only the expansion differs from table 2, else the rows as t-c-n-s, shortened by a digest."""
    expansion = stages[-1].t
    if set_expansion(MOBILENET_V2, expansion) == stages:
        return f"t={expansion}"
    rows = " ".join(f"{s.t}-{s.c}-{s.n}-{s.s}" for s in stages)
    return "table " + hashlib.sha256(rows.encode()).hexdigest()[:6]


def set_expansion(stages: tuple[Stage, ...], t: int) -> tuple[Stage, ...]:
    """The block table with expansion t in every stage that expands: table 2's first stage keeps its t = 1."""
    return tuple(replace(stage, t=t) if stage.t > 1 else stage for stage in stages)
