"""ArchSpec -> the steps of a MobileNetV2 (paper, section 3, tables 1 and 2): stem, a step for each row of the table,
last convolution, head. Names of layers are torchvision's.

A detector reads the tensor that the last strided row expands to, before its depthwise convolution (`layer_15` of
TF-slim), and the last map. DeepLabv3 reads the last map: the paper's V2*, which takes the second last, has
`last_channels=0`.
"""

from collections import namedtuple
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import (
    CHOICES,
    CLASSIFIER,
    FAMILIES,
    OPTIONAL_CELLS,
    SSDS,
    ArchSpec,
    Stage,
    cell_value,
    check_arch,
    input_size,
)
from mnv2_sweep.nets.dilate import dilate_rows
from mnv2_sweep.nets.heads import head_fields, head_step
from mnv2_sweep.nets.plan import DOT, Block, Layer, border, round_channels
from mnv2_sweep.nets.steps import After, State, Step, find_step, on_forget

# Which fields the steps see, beside what came before them: the stem, the last convolution, the head, and rows of the
# table, which see all others. Which row a head reads, and which are dilated, depends on all strides.
STEM = ("in_channels", "stem_channels", "width", "divisor", "resolution", "activation", "padding")
LAST = ("last_channels", "scale_last_conv", "width", "divisor", "activation")
END = head_fields(CLASSIFIER)
Style = namedtuple("Style", [
    name for name in FAMILIES["mobilenet_v2"]
    if name in ("activation", "padding") or name not in ("stages", "dropout", *STEM, *LAST, *END)
])  # fmt: skip
SCALING = ("width", "divisor")  # through its channels
OF_HEAD = ("head", "output_stride", "stages.s")
_scalars = attrgetter(*(name for name in CHOICES if name != "stages"))


class _Own:
    """The steps that networks have in common which differ in their tables only; those of rows as they are met."""

    def __init__(self, arch: ArchSpec):
        self.arch = arch
        self.stem = find_step(build_stem, *attrgetter(*STEM)(replace(arch, resolution=input_size(arch))))
        self.ends = (find_step(build_last, *attrgetter(*LAST)(arch)), head_step(arch))
        self.style = Style(*(getattr(arch, name) for name in Style._fields))
        self.rows: dict[Stage, tuple[Stage, Step]] = {}

    def row(self, stage: Stage) -> Step:
        """Return the step of a row of the table."""
        step = find_step(build_row, self.style, self._fill(stage))
        self.rows[stage] = stage, step
        return step

    def read_rows(self, stages: tuple[Stage, ...]) -> list[Step]:
        """Return the steps of the rows where a head reads one of them, or has some dilated. Raises ArchError."""
        filled = [self._fill(stage) for stage in stages]
        if self.arch.head in SSDS:
            tapped = max((row for row, stage in enumerate(stages) if stage.s > 1), default=None)
            if tapped is None:
                raise ArchError(
                    f"stages: no row has a stride above 1; head {self.arch.head} reads the map before the last such row"
                )
            return [find_step(build_row, self.style, stage, 1, 1, i == tapped) for i, stage in enumerate(filled)]
        rows = dilate_rows(2, [(stage.s, stage.n) for stage in stages], self.arch.output_stride)
        return [
            find_step(build_row, self.style, stage._replace(s=row.stride), row.first, row.others)
            for stage, row in zip(filled, rows, strict=True)
        ]

    def _fill(self, stage: Stage) -> Stage:
        """Return the row with its channels at the width, and all cells."""
        c = round_channels(stage.c * self.arch.width, self.arch.divisor)
        return stage._replace(c=c, **{name: cell_value(self.arch, stage, name) for name in OPTIONAL_CELLS})


@lru_cache(maxsize=20_000, typed=True)
def _own(*scalars) -> _Own:
    arch = ArchSpec(**dict(zip((name for name in CHOICES if name != "stages"), scalars, strict=True)))
    check_arch(arch)
    return _Own(arch)


on_forget(_own.cache_clear)


def mobilenet_v2_steps(arch: ArchSpec) -> list[Step]:
    """Return the steps of the network. Raises ArchError on an impossible spec."""
    try:
        own = _own(*_scalars(arch))
        steps, rows = [own.stem], own.rows
        if arch.head != CLASSIFIER:
            check_arch(arch)
            return [own.stem, *own.read_rows(arch.stages), *own.ends]
        for stage in arch.stages:
            known = rows.get(stage)
            if known is None or known[0] is not stage:  # also where it equals a known one, as True does 1
                check_arch(arch)
                steps[1:] = map(own.row, arch.stages)
                break
            steps.append(known[1])
    except Exception:  # of the whole spec all mistakes are told
        check_arch(arch)
        raise
    if len(steps) == 1 or type(arch.resolution) is Size:  # whose sides are cached without their types
        check_arch(arch)
    steps += own.ends
    return steps


def mobilenet_v2_fields(arch: ArchSpec) -> list[tuple[tuple[str, ...], int | None]]:
    """Return for each step the fields that it sees, and its row of the table."""
    of_head = () if arch.head == CLASSIFIER else OF_HEAD
    rows = [((*Style._fields, *SCALING, *of_head), row) for row in range(len(arch.stages))]
    return [(STEM, None), *rows, (LAST, None), (head_fields(arch.head), None)]


def build_stem(
    state: State, at: int, row: int, c_in: int, channels: int, width: float, divisor: int, image: Size, act: str,
    padding: str,
) -> tuple:  # fmt: skip
    """Make the first convolution."""
    c_out, size = round_channels(channels * width, divisor), image.shrink(2)
    stem = Layer(f"features.{at}.0", "conv", c_in, c_out, 3, 2, 1, image, size, act, padding=border(padding, 2))
    return (Block(f"features.{at}", "conv", "stem", (stem,)),), After(c_out, size)


def build_row(
    state: State, at: int, row: int, style: Style, stage: Stage, first: int = 1, others: int = 1, tapped: bool = False
) -> tuple:
    """Make the blocks of a row of the table, whose channels are those at the width; the depthwise convolutions of the
    first and of the other ones have these dilations. A later step reads the first's expanded tensor, if it is tapped.
    """
    blocks: list[Block] = []
    channels, size, before = state.channels, state.size, state.block
    for repeat in range(stage.n):
        block_stage, dilation = stage._replace(s=stage.s if repeat == 0 else 1), others if repeat else first
        before = _bottleneck(style, block_stage, f"features.{at + repeat}", str(row), channels, size, before, dilation)
        blocks.append(before)
        channels, size = stage.c, before.layers[-1].size_out
    # What it is called does not matter to the next.
    joinable = style.residual == "expansion" and before.find("depthwise").stride == 1
    last = before._replace(name="", stage="") if joinable else None
    return tuple(blocks), After(channels, size, last, (blocks[0].roles.index("depthwise"),) if tapped else ())


def build_last(
    state: State, at: int, row: int, channels: int, scaled: bool, width: float, divisor: int, act: str
) -> tuple:
    """Make the last convolution, which below width 1 keeps its channels (paper, section 4); none of 0 channels."""
    if not channels:
        return (), After(state.channels, state.size)
    c_out, size = round_channels(channels * (width if scaled else max(1.0, width)), divisor), state.size
    conv = Layer(f"features.{at}.0", "conv", state.channels, c_out, 1, 1, 1, size, size, act)
    return (Block(f"features.{at}", "conv", "last", (conv,)),), After(c_out, size)


def _bottleneck(
    style: Style, stage: Stage, name: str, row: str, c_in: int, size: Size, before: Block | None, dilation: int
) -> Block:
    """Make a block as in the paper's table 1: 1x1 expansion + ReLU6 (left out at t = 1), depthwise + ReLU6, linear 1x1
    projection. `before` is the block before, where its expanded tensor may be joined to."""
    t, c_out, stride = stage.t, stage.c, stage.s
    hidden, size_out, act = c_in * t, size.shrink(stride), style.activation
    narrow = style.residual == "bottleneck" and stride == 1 and c_in == c_out
    wide = style.residual == "expansion" and before is not None and before.hidden == hidden
    wide = wide and before.find("depthwise").stride == 1
    parts: list[tuple[str, Layer]] = []
    # How far back the expanded tensor of the block before lies: behind the output of all that follows it.
    reads = (-1, before.roles.index("depthwise") - len(before.layers) - 1) if wide else (-1,)
    if t > 1:
        expand = Layer(f"{name}.conv.0.0", "conv", c_in, hidden, 1, 1, 1, size, size, act, True, reads)
        parts.append(("expand", expand))
    elif wide:
        parts.append(("sum", Layer(f"{name}.sum", "add", c_in, c_in, 1, 1, 1, size, size, norm=False, reads=reads)))
    at = int(t > 1)
    groups = hidden if style.depthwise else 1
    deep = Layer(
        f"{name}.conv.{at}.0", "conv", hidden, hidden, stage.kernel, stride, groups, size, size_out, act,
        padding=border(style.padding, stride), dilation=dilation,
    )  # fmt: skip
    parts.append(("depthwise", deep))
    if stage.se_ratio:
        parts += _squeeze_excite(f"{name}.conv.{at + 1}", hidden, max(1, int(c_in * stage.se_ratio)), size_out)
        at += 1
    reads = (-1, -1 - len(parts)) if narrow else (-1,)
    act = "" if style.linear_bottleneck else act
    place, ends = f"{name}.conv.{at + 1}", (1, 1, 1, size_out, size_out)
    parts.append(("project", Layer(place, "conv", hidden, c_out, *ends, act, True, reads, None, narrow)))
    roles, layers = zip(*parts, strict=True)
    return Block(name, "bottleneck", row, layers, "bottleneck" if narrow else "expansion" if wide else None, roles)


def _squeeze_excite(name: str, channels: int, squeezed: int, size: Size) -> list[tuple[str, Layer]]:
    """Make the layers that weight the channels of the map before them, with their roles."""
    return [
        ("squeeze", Layer(f"{name}.squeeze", "global_pool", channels, channels, 1, 1, 1, size, DOT, norm=False)),
        ("reduce", Layer(f"{name}.fc1", "conv", channels, squeezed, 1, 1, 1, DOT, DOT, "relu", False)),
        ("restore", Layer(f"{name}.fc2", "conv", squeezed, channels, 1, 1, 1, DOT, DOT, "sigmoid", False)),
        ("scale", Layer(f"{name}.scale", "multiply", channels, channels, 1, 1, 1, size, size, "", False, (-4, -1))),
    ]
