"""ArchSpec: one network as a few numbers, what each may be, and a short name; `resolve` decides its shapes."""

import hashlib
from dataclasses import dataclass, fields, replace

from mnv2_sweep.base.errors import ArchError

RESIDUALS = ("bottleneck", "expansion", "none")
ACTIVATIONS = ("relu6", "relu", "hswish")
MAX_RESOLUTION = 4096
# The most a user may ask for, so that a slip of the finger is a message, not an hour; `resolve` has no such bounds.
LIMITS = {"t": 100, "c": 10_000, "n": 100, "s": 16, "resolution": MAX_RESOLUTION, "kernel": 99}
LIMITS |= {"last_channels": 100_000, "classes": 1_000_000}
SHUFFLENET_GROUPS = (1, 2, 3, 4, 8)  # ShuffleNet paper, table 1

# What each family lets one choose, beside its name.
_COMMON = ("width", "resolution", "classes", "dropout")
FAMILIES = {
    "mobilenet_v2": (
        *("stages", "width", "resolution", "kernel", "linear_bottleneck", "residual", "last_channels"),
        *("classes", "dropout", "activation", "scale_last_conv", "depthwise"),
    ),
    "mobilenet_v1": _COMMON,
    "shufflenet_v1": (*_COMMON, "groups"),
    "nasnet_a": _COMMON,
}
FAMILY_NAMES = {
    "mobilenet_v2": "MobileNetV2", "mobilenet_v1": "MobileNetV1", "shufflenet_v1": "ShuffleNet", "nasnet_a": "NASNet-A"
}  # fmt: skip


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

    `family` is MobileNetV2, or one of those the paper compares itself with (table 4, figure 5), which know fewer
    choices (FAMILIES): MobileNetV1, ShuffleNet v1 (`width` is its scale factor, `groups` its pointwise groups) and
    NASNet-A mobile (`width` scales its 44 filters). `width` and `resolution` are common to all.
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

    `activation` takes the place of every ReLU6: "relu", or "hswish", x * relu6(x + 3) / 6. `scale_last_conv` narrows
    the last convolution too where the width is below 1 (section 4 leaves it as it is). `depthwise=False` puts an
    ordinary convolution (figure 2a) in the place of each depthwise one.

    Raises ArchError from `resolve`, not here, so that a caller can hold a spec and report its mistakes later.
    """

    family: str = "mobilenet_v2"
    stages: tuple[Stage, ...] = MOBILENET_V2
    width: float = 1.0
    resolution: int = 224
    kernel: int = 3
    linear_bottleneck: bool = True
    residual: str = "bottleneck"
    last_channels: int = 1280
    classes: int = 1000
    dropout: float = 0.2
    groups: int = 3
    activation: str = "relu6"
    scale_last_conv: bool = False
    depthwise: bool = True


def check_arch(arch: ArchSpec) -> None:
    """Raise ArchError with every mistake of the spec: field, value, what is allowed."""
    mistakes = [
        f"{name}: {value!r} given, {allowed} allowed" for name, value, ok, allowed in arch_rules(arch) if not ok
    ]
    if not mistakes:
        mistakes = [
            f"{field.name}: {FAMILY_NAMES[arch.family]} has no such choice; it has: {', '.join(FAMILIES[arch.family])}"
            for field in fields(ArchSpec)
            if field.name not in ("family", *FAMILIES[arch.family]) and getattr(arch, field.name) != field.default
        ]
    if mistakes:
        raise ArchError("; ".join(mistakes))


def check_limits(arch: ArchSpec) -> None:
    """Raise ArchError with every value of a possible spec that is over LIMITS."""
    values = [(name, getattr(arch, name)) for name in ("resolution", "kernel", "last_channels", "classes")]
    values += [(f.name, max(getattr(stage, f.name) for stage in arch.stages)) for f in fields(Stage)]
    over = [
        f"{name}: {value} given, at most {LIMITS[name]:,} allowed" for name, value in values if value > LIMITS[name]
    ]
    if over:
        raise ArchError("; ".join(over))


def arch_rules(arch: ArchSpec):
    """Yield (field, value, whether it is allowed, what is allowed) for every field of the spec."""
    yield "family", arch.family, arch.family in tuple(FAMILIES), " | ".join(FAMILIES)
    yield "stages", arch.stages, len(arch.stages) > 0, "at least one row (t, c, n, s)"
    for i, stage in enumerate(arch.stages):
        if not (_is_whole(stage.t) and _is_whole(stage.c) and _is_whole(stage.n) and _is_whole(stage.s)):
            for field in fields(Stage):
                value = getattr(stage, field.name)
                yield f"stages.{i}.{field.name}", value, _is_whole(value), "a whole number from 1"
    width = _is_number(arch.width) and 0 < arch.width <= 16
    yield "width", arch.width, width, "a number above 0, at most 16"
    yield "resolution", arch.resolution, _is_whole(arch.resolution), "a whole number of pixels from 1"
    odd = _is_whole(arch.kernel) and arch.kernel % 2 == 1
    yield "kernel", arch.kernel, odd, "an odd whole number (3, 5, 7)"
    yield "linear_bottleneck", arch.linear_bottleneck, isinstance(arch.linear_bottleneck, bool), "true or false"
    yield "residual", arch.residual, arch.residual in RESIDUALS, " | ".join(RESIDUALS)
    yield "last_channels", arch.last_channels, _is_whole(arch.last_channels), "a whole number from 1"
    yield "classes", arch.classes, _is_whole(arch.classes), "a whole number from 1"
    yield "dropout", arch.dropout, _is_number(arch.dropout) and 0 <= arch.dropout < 1, "a number from 0, below 1"
    groups = _is_whole(arch.groups) and arch.groups in SHUFFLENET_GROUPS
    yield "groups", arch.groups, groups, " | ".join(map(str, SHUFFLENET_GROUPS))
    yield "activation", arch.activation, arch.activation in ACTIVATIONS, " | ".join(ACTIVATIONS)
    for name in ("scale_last_conv", "depthwise"):
        yield name, getattr(arch, name), isinstance(getattr(arch, name), bool), "true or false"


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def arch_label(arch: ArchSpec) -> str:
    """Return a short name for tables: "0.75 at 160", and whatever differs from the paper's network."""
    words = [f"{float(arch.width)!r} at {arch.resolution}"]
    if arch.family != "mobilenet_v2":
        words[0] = f"{FAMILY_NAMES[arch.family]} {words[0]}"
    if arch.family == "shufflenet_v1":
        words.append(f"g={arch.groups}")
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
    if arch.activation != "relu6":
        words.append(arch.activation)
    if arch.scale_last_conv:
        words.append("last scaled")
    if not arch.depthwise:
        words.append("ordinary convolutions")
    return ", ".join(words)


def _stages_label(stages: tuple[Stage, ...]) -> str:
    """Return "t=4" where only the expansion differs from table 2, else the rows as t-c-n-s, shortened by a digest."""
    expansion = stages[-1].t
    if set_expansion(MOBILENET_V2, expansion) == stages:
        return f"t={expansion}"
    rows = " ".join(f"{s.t}-{s.c}-{s.n}-{s.s}" for s in stages)
    return "table " + hashlib.sha256(rows.encode()).hexdigest()[:6]


def set_expansion(stages: tuple[Stage, ...], t: int) -> tuple[Stage, ...]:
    """Return the block table with expansion t in every stage that expands: table 2's first stage keeps its t = 1."""
    return tuple(replace(stage, t=t) if stage.t > 1 else stage for stage in stages)


def find_expansion(stages: tuple[Stage, ...]) -> int | None:
    """Return the t of every stage that expands, 1 where none does; None where they differ."""
    expansions = {stage.t for stage in stages if stage.t > 1} or {1}
    return expansions.pop() if len(expansions) == 1 else None
