"""ArchSpec: one network as a few numbers, what each may be, and a short name; `resolve` decides its shapes."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, NamedTuple

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.base.size import Size, as_size, square
from mnv2_sweep.nets.choice import (
    FLAG,
    WHOLE,
    Choice,
    Rule,
    annotated_choices,
    choice,
    choice_of,
    is_number,
    is_whole,
    one_of,
)

FAMILY_NAMES = {
    "mobilenet_v2": "MobileNetV2", "mobilenet_v1": "MobileNetV1", "shufflenet_v1": "ShuffleNet", "nasnet_a": "NASNet-A",
    "vgg16": "VGG-16", "darknet19": "Darknet-19", "resnet101": "ResNet-101",
}  # fmt: skip
V2, EVERY = ("mobilenet_v2",), tuple(FAMILY_NAMES)
CLASSIFIER = "classifier"
# Families that end in a classifier; the others are there for their heads alone.
CLASSIFIERS = ("mobilenet_v2", "mobilenet_v1", "shufflenet_v1", "nasnet_a")
HEADS = {  # head -> the families that it stands on
    CLASSIFIER: CLASSIFIERS,
    "ssdlite": CLASSIFIERS,
    "ssd": (*CLASSIFIERS, "vgg16"),
    "yolov2": ("darknet19",),
    "deeplabv3": ("mobilenet_v2", "mobilenet_v1", "resnet101"),
}
HEAD_NAMES = {"ssdlite": "SSDLite", "ssd": "SSD", "yolov2": "YOLOv2", "deeplabv3": "DeepLabv3"}
SSDS, DEEPLAB = ("ssdlite", "ssd"), ("deeplabv3",)
# Classes of a network of which nobody says how many: ImageNet's; COCO's objects; VOC's with the background.
USUAL_CLASSES = {CLASSIFIER: 1000, "ssdlite": 80, "ssd": 80, "yolov2": 80, "deeplabv3": 21}
NAMES = ("family", "head")  # fields that say which others there are
LARGEST_ANCHOR = 0.95  # of the last map, as a share of the image's side
RESIDUALS = ("bottleneck", "expansion", "none")
ACTIVATIONS = ("relu6", "relu", "hswish")
SAME = "same"  # TensorFlow's padding
SHUFFLENET_GROUPS = (1, 2, 3, 4, 8)  # ShuffleNet paper, table 1
MAX_RESOLUTION = 4096
MOST_CELLS = 2  # that a label names one by one
SHORTCUTS = {
    "bottleneck": "shortcut between bottlenecks", "expansion": "shortcut between expansions", "none": "no residual"
}  # fmt: skip
KERNEL = Rule("an odd whole number (3, 5, 7)", lambda value: is_whole(value) and value % 2 == 1)
SQUEEZE = Rule("a number from 0, at most 1", lambda value: is_number(value) and 0 <= value <= 1)
# Why rows with several values can't be slices of one.
STRIDES_APART = "a stage has one stride, as its blocks see one size"
KERNELS_APART = "kernels of two sizes have no common weights"
HEADS_APART = "a head is trained as a whole"
SQUEEZES_APART = "with and without squeeze-and-excite, or with another ratio, the same weights mean other things"


class Stage(NamedTuple):
    """One row of the block table (paper, table 2): n blocks of c channels, expansion t, first stride s. A further cell
    that has no value (None) takes the network's."""

    t: Annotated[int, Choice(WHOLE, "Expansion of its blocks.", limit=100)]
    c: Annotated[int, Choice(WHOLE, "Output channels at width 1.", limit=10_000)]
    n: Annotated[int, Choice(WHOLE, "Number of blocks.", limit=100)]
    s: Annotated[int, Choice(WHOLE, "Stride of the first block.", limit=16, apart=STRIDES_APART)]
    kernel: Annotated[
        int | None,
        Choice(KERNEL, "Side of its depthwise kernels.", limit=99, label="k={}".format, apart=KERNELS_APART),
    ] = None
    se_ratio: Annotated[
        float | None,
        Choice(SQUEEZE, "Squeeze-and-excite in its blocks.", label="se={:g}".format, apart=SQUEEZES_APART),
    ] = None


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
    ordinary convolution (figure 2a) in the place of each depthwise one. `se_ratio` above 0 puts squeeze-and-excite (Hu
    et al., arXiv 1709.01507) behind each depthwise convolution's activation, as MnasNet-A1 has it (arXiv 1807.11626):
    the mean over the map, a 1x1 layer to int(se_ratio * the block's input channels), at least 1, with ReLU, another
    back to all channels with a sigmoid, which the map is multiplied by. `padding` "same" is TensorFlow's: at stride 2
    and an even side nothing before a map, and one row and column after it (kernel 3); sizes and costs are the same.

    `head` is what the network ends in: a classifier, or one of a detector or segmenter (sections 6.2 and 6.3), see
    `nets.heads`. Each stands on some families only (HEADS), VGG-16, Darknet-19 and ResNet-101 under these alone, and
    has fields of its own. `classes` are those of the head, without a detector's background.

    Raises ArchError from `resolve`, not here, so that a caller can hold a spec and report its mistakes later.
    """

    family: str = choice(
        one_of(*FAMILY_NAMES), f"One of {', '.join(FAMILY_NAMES)}.", "mobilenet_v2", families=EVERY,
        label=lambda value: "",
    )  # fmt: skip
    stages: tuple[Stage, ...] = choice(
        Rule("at least one row (t, c, n, s)", lambda value: len(value) > 0), "The block table, rows of t, c, n, s.",
        MOBILENET_V2, families=V2, label=lambda value: _stages_label(value),
    )  # fmt: skip
    width: float = choice(
        Rule("a number above 0, at most 16", lambda value: is_number(value) and 0 < value <= 16), "Width multiplier.",
        1.0, families=EVERY, label=lambda value: "",
    )  # fmt: skip
    resolution: int | Size = choice(
        Rule(
            "a whole number of pixels from 1, or width x height as in 160x120", lambda value: _is_resolution(value),
            up_to=", each up to",
        ),
        "Side of the input in pixels, or width x height as in 160x120.", 224, limit=MAX_RESOLUTION, families=EVERY,
        label=lambda value: "", read=lambda value: _read_resolution(value),
    )  # fmt: skip
    kernel: int = choice(
        KERNEL, "Side of the depthwise kernels.", 3, limit=99, families=V2, label="k={}".format, apart=KERNELS_APART,
    )  # fmt: skip
    linear_bottleneck: bool = choice(
        FLAG, "ReLU6 after the projections.", True, families=V2, label=lambda value: "non-linear",
        values={True: "linear bottleneck", False: "ReLU6 in the bottleneck"},
        apart="the weights before and after a ReLU6 are not the same",
    )  # fmt: skip
    residual: str = choice(
        one_of(*RESIDUALS), "bottleneck, expansion or none.", "bottleneck", families=V2, values=SHORTCUTS,
        label=lambda value: "no residual" if value == "none" else "residual on expansions",
        apart="shortcuts elsewhere ask other weights of the same layers",
    )  # fmt: skip
    last_channels: int = choice(
        Rule(
            "a whole number from 1, or 0 for no last convolution", lambda value: type(value) is int and value >= 0,
            up_to=", up to",
        ),
        "Channels of the last convolution; 0 for none.", 1280, limit=100_000, families=V2,
        label=lambda value: f"last={value}" if value else "no last convolution",
    )  # fmt: skip
    classes: int = choice(
        WHOLE, "Classes.", 1000, limit=1_000_000, families=EVERY, label=lambda value: "",
        apart="the classifier has one output a class",
    )  # fmt: skip
    dropout: float = choice(
        Rule("a number from 0, below 1", lambda value: is_number(value) and 0 <= value < 1),
        "Fraction of the classifier's inputs that training drops.", 0.2, families=EVERY,
        label=lambda value: f"dropout={value:g}", apart="a shared training drops nothing out",
        heads=(CLASSIFIER, *DEEPLAB),
    )  # fmt: skip
    groups: int = choice(
        one_of(*SHUFFLENET_GROUPS), "Groups of ShuffleNet's 1x1 convolutions.", 3, families=("shufflenet_v1",),
        label=lambda value: f"g={value}",
    )  # fmt: skip
    activation: str = choice(
        one_of(*ACTIVATIONS), "relu6, relu or hswish.", "relu6", families=V2,
        values={word: word for word in ACTIVATIONS},
        apart="the weights after a ReLU6 and after another activation are not the same",
    )  # fmt: skip
    scale_last_conv: bool = choice(
        FLAG, "Narrow the last convolution too below width 1.", False, families=V2, label=lambda value: "last scaled",
        values={False: "last convolution kept", True: "last convolution scaled"},
    )  # fmt: skip
    depthwise: bool = choice(
        FLAG, "Ordinary convolutions in the place of depthwise ones.", True, families=V2,
        label=lambda value: "ordinary convolutions",
        values={True: "depthwise convolutions", False: "ordinary convolutions"},
        apart="an ordinary kernel has weights between channels, a depthwise one has none",
    )  # fmt: skip
    in_channels: int = choice(
        one_of(3, 1), "Channels of the image: 3, or 1 for grey ones.", 3, families=EVERY,
        label=lambda value: "grey", apart="the stem's weights are one set for each channel of the image",
    )  # fmt: skip
    stem_channels: int = choice(  # paper, table 2, first row
        WHOLE, "Channels of the first convolution at width 1.", 32, limit=10_000, families=V2, label="stem={}".format,
    )  # fmt: skip
    se_ratio: float = choice(
        SQUEEZE, "Channels of squeeze-and-excite, as a share of its block's input's; 0 for none.", 0.0, families=V2,
        label="se={:g}".format, apart=SQUEEZES_APART,
    )  # fmt: skip
    divisor: int = choice(
        WHOLE, "Channels are rounded to multiples of it.", 8, limit=64, families=V2, label="divisor={}".format,
    )  # fmt: skip
    padding: str = choice(
        one_of("torch", SAME), "torch: one pixel on each side of a 3x3 kernel; same: TensorFlow's.", "torch",
        families=V2, label=lambda value: "SAME padding",
        apart="with other padding the kernels see the image elsewhere",
    )  # fmt: skip
    head: str = choice(
        one_of(*HEADS), f"What it ends in: {', '.join(HEADS)}.", CLASSIFIER, families=EVERY,
        label=HEAD_NAMES.__getitem__, apart="heads have no common weights",
    )  # fmt: skip
    output_stride: int = choice(
        one_of(8, 16), "Pixels of the image for one of DeepLabv3's last map; strides beyond become dilation.", 16,
        families=HEADS["deeplabv3"], heads=DEEPLAB, label="stride {}".format, apart=HEADS_APART,
    )  # fmt: skip
    aspp: bool = choice(
        FLAG, "DeepLabv3 without its three dilated convolutions.", True, families=HEADS["deeplabv3"], heads=DEEPLAB,
        values={True: "ASPP", False: "no ASPP"}, label=lambda value: "no ASPP", apart=HEADS_APART,
    )  # fmt: skip
    scales: int = choice(
        one_of(2, 3, 4, 5, 6, 7), "Maps that a detector finds boxes on: two of the backbone, the rest extra layers'.",
        6, families=HEADS["ssd"], heads=SSDS, label="{} scales".format, apart=HEADS_APART,
    )  # fmt: skip
    anchors: int = choice(
        one_of(2, 4, 6), "Anchors at a place of a map; 3 on the first, on VGG-16 4 on the first and the last two.", 6,
        families=HEADS["ssd"], heads=SSDS, label="{} anchors".format, apart=HEADS_APART,
    )  # fmt: skip
    anchor_scale: float = choice(
        Rule(
            f"a number above 0, below {LARGEST_ANCHOR}", lambda value: is_number(value) and 0 < value < LARGEST_ANCHOR
        ),
        "Side of the first map's anchors as a share of the image's (its square one has half); the last map's are "
        f"{LARGEST_ANCHOR}.", 0.2, families=CLASSIFIERS, heads=SSDS, label="anchors from {:g}".format,
        apart=HEADS_APART,
    )  # fmt: skip
    extra_channels: int = choice(
        WHOLE, "Channels of the first extra layer at width 1; later ones have a half and a quarter.", 512, limit=10_000,
        families=HEADS["ssd"], heads=SSDS, label="extra={}".format, apart=HEADS_APART,
    )  # fmt: skip


def _is_resolution(value: object) -> bool:
    return is_whole(value) or (isinstance(value, Size) and not value.is_square and min(map(is_whole, value)))


def _read_resolution(value: object) -> object:
    if isinstance(value, str) and "x" in value:  # a side is a number, not a text
        with suppress(ValueError):  # the rule says what is allowed
            return as_size(value).plain
    return value


CHOICES: dict[str, Choice] = {field.name: choice_of(field) for field in fields(ArchSpec)}
CELLS: dict[str, Choice] = annotated_choices(Stage)
OPTIONAL_CELLS = tuple(Stage._field_defaults)  # fields of the network, too
_DEFAULTS = tuple((field.name, field.default) for field in fields(ArchSpec))


def choices_of(family: str, head: str) -> tuple[str, ...]:
    """Return the fields that a family lets one choose, beside its name and its head, where it ends in this head."""
    return _CHOICES_OF[family, head]


_CHOICES_OF = {
    (family, head): tuple(
        name for name, one in CHOICES.items()
        if family in one.families and name not in NAMES and (not one.heads or head in one.heads)
    )
    for head, families in HEADS.items() for family in families
}  # fmt: skip
# What each family lets one choose of its classifiers.
FAMILIES = {family: choices_of(family, CLASSIFIER) for family in CLASSIFIERS}


def check_arch(arch: ArchSpec) -> None:
    """Raise ArchError with every mistake of the spec: field, value, what is allowed."""
    mistakes = []
    for name, one in CHOICES.items():
        value = getattr(arch, name)
        if not one.rule.check(value):
            mistakes.append(f"{name}: {value!r} given; allowed: {one.rule.allowed}")
        if name == "stages":
            mistakes += _cell_mistakes(value)
    if not mistakes and arch.family not in HEADS[arch.head]:
        mistakes = [f"head: {no_such_head(arch.family, arch.head)}"]
    elif not mistakes:
        known = (*NAMES, *choices_of(arch.family, arch.head))
        mistakes = [
            f"{field.name}: {no_such_choice(arch.family, arch.head)}"
            for field in fields(ArchSpec)
            if field.name not in known and getattr(arch, field.name) != field.default
        ]
    if mistakes:
        raise ArchError("; ".join(mistakes))


def _cell_mistakes(stages: tuple[Stage, ...]) -> list[str]:
    """Return what is wrong in the rows; a cell without a value, which takes the network's, is not."""
    return [
        f"stages.{row}.{name}: {value!r} given; allowed: {one.rule.allowed}"
        for row, stage in enumerate(stages)
        for (name, one), value in zip(CELLS.items(), stage, strict=True)
        if (value is not None or name not in OPTIONAL_CELLS) and not one.rule.check(value)
    ]


def no_such_choice(family: str, head: str = CLASSIFIER) -> str:
    """Return the words for a field that a family does not have where it ends in this head."""
    with_head = "" if head == CLASSIFIER else f" with {HEAD_NAMES[head]}"
    return f"{FAMILY_NAMES[family]}{with_head} has no such choice; it has: {', '.join(choices_of(family, head))}"


def no_such_head(family: str, head: str) -> str:
    """Return the words for a head that does not stand on a family."""
    known = " | ".join(head for head, families in HEADS.items() if family in families)
    return f"{head} given; {FAMILY_NAMES[family]} allows: {known}"


def check_limits(arch: ArchSpec) -> None:
    """Raise ArchError with every value of a possible spec that is more than a user may ask for, so that a slip of the
    finger is a message, not an hour; `resolve` has no such bounds."""
    values = [(name, one, getattr(arch, name)) for name, one in CHOICES.items()]
    values += [(name, one, max(getattr(stage, name) or 0 for stage in arch.stages)) for name, one in CELLS.items()]
    over = [f"{name}: {value} given; allowed: {one.allowed}" for name, one, value in values if one.is_over(value)]
    if over:
        raise ArchError("; ".join(over))


def input_size(arch: ArchSpec) -> Size:
    """Return the nominal size of the network's images."""
    return arch.resolution if isinstance(arch.resolution, Size) else square(arch.resolution)


def cell_value(arch: ArchSpec, stage: Stage, name: str) -> object:
    """Return a cell of a row of the network's table: the row's own value, or else the network's."""
    value = getattr(stage, name)
    return getattr(arch, name) if value is None else value


def arch_record(arch: ArchSpec) -> dict:
    """Return the spec as a JSON object, without the fields and cells that have their default value."""
    record = {
        field.name: getattr(arch, field.name)
        for field in fields(ArchSpec)
        if getattr(arch, field.name) != field.default
    }
    if "stages" in record:
        record["stages"] = [stage_record(stage) for stage in arch.stages]
    if "resolution" in record:
        record["resolution"] = input_size(arch).cell
    return record


def stage_record(stage: Stage) -> dict:
    """Return the cells of a row that differ from their default, or have none."""
    defaults = Stage._field_defaults
    return {name: value for name, value in stage._asdict().items() if name not in defaults or value != defaults[name]}


def load_arch(record: dict) -> ArchSpec:
    """Return the spec of an object by `arch_record`. Raises KeyError, TypeError or ValueError on any other."""
    values = dict(record)
    if "stages" in values:
        values["stages"] = tuple(_find_stage(**stage) for stage in values["stages"])
    values = {name: CHOICES[name].read(value) for name, value in values.items()}
    for name, value in values.items():
        if not CHOICES[name].rule.check(value):
            raise TypeError(f"{name} is {value!r}")
    return ArchSpec(**values)


@lru_cache(maxsize=10_000, typed=True)
def _find_stage(**cells) -> Stage:
    """Return the one row with these cells: networks that have rows in common find their steps again by them."""
    stage = Stage(**cells)
    mistakes = _cell_mistakes((stage,))
    if mistakes:
        raise TypeError("; ".join(mistakes))
    return stage


def arch_label(arch: ArchSpec) -> str:
    """Return a short name for tables: "0.75 at 160", and whatever differs from the paper's network."""
    words = [f"{float(arch.width)!r} at {arch.resolution}"]
    if arch.family != "mobilenet_v2":
        words[0] = f"{FAMILY_NAMES[arch.family]} {words[0]}"
    if arch.family == "shufflenet_v1":  # a ShuffleNet is known by its groups
        words.append(CHOICES["groups"].label(arch.groups))
    for name, default in _DEFAULTS:
        value = getattr(arch, name)
        if value != default and name != "groups" and not _is_covered(arch, name):
            words.append(CHOICES[name].label(value))
    return ", ".join(filter(None, words))


def _is_covered(arch: ArchSpec, name: str) -> bool:
    """Say whether every row of the table has a value of its own in the place of the network's."""
    return name in OPTIONAL_CELLS and None not in {getattr(stage, name) for stage in arch.stages}


def _stages_label(stages: tuple[Stage, ...]) -> str:
    """Return "t=4" where only the expansion differs from table 2, else the rows as t-c-n-s, shortened by a digest; and
    further cells, as "k=5 in row 3" or "k=5 in every row", which are part of the digest where they are many."""
    cells: dict[str, list[int]] = {}
    texts = [_row_texts(stage) for stage in stages]
    for row, (_, own) in enumerate(texts):
        for word in own:
            cells.setdefault(word, []).append(row)
    named = {word: rows for word, rows in cells.items() if len(rows) in (1, len(stages))}
    plain, expansion = tuple([stage[:4] for stage in stages]), stages[-1].t
    table, words = " ".join([text for text, _ in texts]), []
    if named != cells or len(named) > MOST_CELLS:
        table, named = table + str(sorted(cells.items())), {}
    elif plain == _paper_rows(None):
        table = ""
    elif plain == _paper_rows(expansion):
        table, words = "", [f"t={expansion}"]
    if table:
        words.append("table " + hashlib.sha256(table.encode()).hexdigest()[:6])
    for word, rows in named.items():
        words.append(f"{word} in {'every row' if len(rows) > 1 else f'row {rows[0]}'}")
    return ", ".join(words)


@lru_cache(maxsize=10_000, typed=True)
def _row_texts(stage: Stage) -> tuple[str, list[str]]:
    """Return the words for the first four cells of a row, and for each further one that has a value."""
    further = zip(OPTIONAL_CELLS, stage[4:], strict=True)
    return "-".join(map(str, stage[:4])), [CELLS[name].label(value) for name, value in further if value is not None]


@lru_cache(maxsize=1000, typed=True)
def _paper_rows(t: int | None) -> tuple[tuple, ...]:
    """Return the first four cells of the rows of table 2, with another expansion if one is given."""
    return tuple(stage[:4] for stage in (MOBILENET_V2 if t is None else set_expansion(MOBILENET_V2, t)))


def set_expansion(stages: tuple[Stage, ...], t: int) -> tuple[Stage, ...]:
    """Return the block table with expansion t in every stage that expands: table 2's first stage keeps its t = 1."""
    return tuple(stage._replace(t=t) if stage.t > 1 else stage for stage in stages)


def find_expansion(stages: tuple[Stage, ...]) -> int | None:
    """Return the t of every stage that expands, 1 where none does; None where they differ."""
    expansions = {stage.t for stage in stages if stage.t > 1} or {1}
    return expansions.pop() if len(expansions) == 1 else None
