"""ArchSpec -> the last step of its network, its head: a classifier, a detector or a segmenter.

What it reads are the last map and, where the backbone taps one, the finer map before the last stride. Outputs, for an
image: of a classifier classes x 1 x 1; of `ssdlite` and `ssd`, for each map, 4 * anchors and (1 + classes) * anchors,
the background first; of `yolov2` anchors * (5 + classes) on one map; of `deeplabv3` classes at the size of the image.

Sources: tensorflow/models, object_detection (ssd_mobilenet_v1 and v2_feature_extractor.py, feature_map_generators.py,
convolutional_box_predictor.py) and deeplab (model.py); weiliu89/caffe (ssd); pjreddie/darknet, cfg/yolov2.cfg.
"""

from typing import NamedTuple

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.anchors import Shares, ssd_anchors, vgg_anchors, yolo_anchors
from mnv2_sweep.nets.arch import CLASSIFIER, DEEPLAB, SSDS, ArchSpec, input_size
from mnv2_sweep.nets.plan import DOT, border, classifier_block, cut_channels
from mnv2_sweep.nets.steps import After, State, Step, find_step
from mnv2_sweep.nets.tape import Map, Tape

ASPP_DILATIONS, ASPP_STRIDE = (6, 12, 18), 16  # at that output stride; at half of it they are twice as large
ASPP_CHANNELS = 256
LEAST_CHANNELS = 16  # of an extra layer
ACTIVATIONS = {"mobilenet_v1": "relu6", "shufflenet_v1": "relu", "nasnet_a": "relu", "vgg16": "relu"}  # of an SSD
YOLO_CHANNELS, PASSED_CHANNELS = 1024, 64
FIELDS = {  # that the step sees, beside what came before it
    CLASSIFIER: ("classes",),
    **dict.fromkeys(SSDS, (
        "classes", "head", "family", "width", "scales", "anchors", "anchor_scale", "extra_channels", "activation",
        "padding",
    )),
    "yolov2": ("classes", "width"),
    "deeplabv3": ("classes", "aspp", "output_stride", "resolution"),
}  # fmt: skip


def head_fields(head: str) -> tuple[str, ...]:
    """Return the fields of ArchSpec that a head's step sees."""
    return FIELDS[head]


def head_step(arch: ArchSpec) -> Step:
    """Return the last step of the network."""
    if arch.head == CLASSIFIER:
        return find_step(build_classifier, arch.classes)
    if arch.head in SSDS:
        return find_step(build_ssd, arch.classes, *_ssd_shape(arch))
    if arch.head in DEEPLAB:
        return find_step(build_deeplab, arch.classes, arch.aspp, arch.output_stride, input_size(arch))
    return find_step(build_yolo, arch.classes, arch.width)


def build_classifier(state: State, at: int, row: int, classes: int) -> tuple:
    """Make the mean over the map and the linear layer."""
    return (classifier_block(state.channels, state.size, classes),), After(classes, DOT)


# ---------------------------------------------------------------- SSD


class Extra(NamedTuple):
    """An extra layer, which makes a smaller map: a 1x1 convolution to `middle` channels, and a larger one to `out`."""

    middle: int
    out: int
    kernel: int = 3
    stride: int = 2
    padding: int | None = None


class Style(NamedTuple):
    """`lite`: depthwise and 1x1 convolutions in the place of ordinary ones. `norm`: batch norm, but for predictors.
    `scaled`: an L2 norm before the predictors of the first map."""

    lite: bool
    act: str
    norm: bool
    padding: str
    scaled: bool


def _ssd_shape(arch: ArchSpec) -> tuple[Style, tuple[Extra, ...], tuple[Shares, ...]]:
    """Return what the spec says of an SSD: its style, its extra layers, and the anchors of each map."""
    act = arch.activation if arch.family == "mobilenet_v2" else ACTIVATIONS[arch.family]
    vgg = arch.family == "vgg16"
    style = Style(arch.head == "ssdlite", act, not vgg, arch.padding, vgg)
    if vgg:
        return style, _vgg_extras(arch), vgg_anchors(arch.scales, arch.anchors)
    depths = [arch.extra_channels // part for part in (1, 2, 2, 4, 4)][: arch.scales - 2]
    outs = [cut_channels(depth, arch.width, LEAST_CHANNELS) for depth in depths]
    extras = tuple(Extra(max(1, out // 2), out) for out in outs)
    return style, extras, ssd_anchors(arch.scales, arch.anchors, arch.anchor_scale)


def _vgg_extras(arch: ArchSpec) -> tuple[Extra, ...]:
    """Return the extra layers of SSD300, or of SSD512 with 7 maps."""
    deep, flat = (cut_channels(arch.extra_channels // part, arch.width, LEAST_CHANNELS) for part in (1, 2))
    half = Extra(flat // 2, flat)
    if arch.scales == 7:
        ends = (half, half, Extra(flat // 2, flat, 4, 1, 1))
    else:
        ends = (half._replace(stride=1, padding=0),) * 2
    return (Extra(deep // 2, deep), half, *ends)[: arch.scales - 2]


def build_ssd(
    state: State, at: int, row: int, classes: int, style: Style, extras: tuple[Extra, ...], anchors: tuple[Shares, ...]
) -> tuple:
    """Make extra layers and predictors, each as soon as it has what it reads, and so map after map."""
    tape, outputs = Tape(state), []
    x, last = tape.held[0], tape.input
    if style.scaled:
        x = tape.add("head.scale", "l2_norm", x)
        tape.cut("head.scale", "extra", "head")
    for i, shares in enumerate(anchors):
        if i > 0:
            x = last if i == 1 else _add_extra(tape, f"head.extra.{i - 2}", x, style, extras[i - 2])
        for kind, columns in (("boxes", 4), ("scores", 1 + classes)):
            outputs.append(_add_predictor(tape, f"head.{kind}.{i}", kind, x, style, columns, shares))
    end = outputs[-1]
    return tuple(tape.blocks), After(end.channels, end.size, outputs=tuple(output.number for output in outputs))


def _add_extra(tape: Tape, name: str, x: Map, style: Style, extra: Extra) -> Map:
    style_of = {"act": style.act, "norm": style.norm}
    x = tape.conv(f"{name}.0", x, extra.middle, **style_of)
    if style.lite:
        x = tape.deep(f"{name}.2", x, extra.stride, padding=border(style.padding, extra.stride), **style_of)
        x = tape.conv(f"{name}.4", x, extra.out, **style_of)
    elif extra.padding is None or min(x.size) + 2 * extra.padding < extra.kernel:  # nothing would be left of the map
        padding = border(style.padding, extra.stride)
        x = tape.conv(f"{name}.2", x, extra.out, 3, stride=extra.stride, padding=padding, **style_of)
    else:
        size = Size(*((side + 2 * extra.padding - extra.kernel) // extra.stride + 1 for side in x.size))
        shape = {"stride": extra.stride, "padding": extra.padding, "size": size}
        x = tape.conv(f"{name}.2", x, extra.out, extra.kernel, **shape, **style_of)
    tape.cut(name, "extra", "head")
    return x


def _add_predictor(tape: Tape, name: str, kind: str, x: Map, style: Style, columns: int, shares: Shares) -> Map:
    c_out = columns * len(shares)
    if style.lite:
        x = tape.deep(f"{name}.0", x, act=style.act)
        x = tape.conv(f"{name}.2", x, c_out, norm=False)
    else:
        x = tape.conv(f"{name}.0", x, c_out, 3, norm=False)
    tape.cut(name, kind, "head", anchors=shares)
    return x


# ---------------------------------------------------------------- YOLOv2


def build_yolo(state: State, at: int, row: int, classes: int, width: float) -> tuple:
    """Make two convolutions, the finer map beside them, a third over both, and the predictor."""
    tape, channels = Tape(state), cut_channels(YOLO_CHANNELS, width)
    x = tape.input
    for i in (0, 1):
        x = tape.conv(f"head.{2 * i}", x, channels, 3, act="leaky")
    fine = tape.conv("head.4", tape.held[0], cut_channels(PASSED_CHANNELS, width), act="leaky")
    passed = tape.add("head.reorg", "space_to_depth", fine, c_out=4 * fine.channels, stride=2)
    x = tape.add("head.join", "concat", passed, x)
    x = tape.conv("head.6", x, channels, 3, act="leaky")
    tape.cut("head", "extra", "head")
    shares = yolo_anchors(x.size)
    x = tape.conv("head.8", x, len(shares) * (5 + classes), norm=False)
    tape.cut("head.boxes", "boxes", "head", anchors=shares)
    return tuple(tape.blocks), After(x.channels, x.size, outputs=(x.number,))


# ---------------------------------------------------------------- DeepLabv3


def build_deeplab(state: State, at: int, row: int, classes: int, aspp: bool, output_stride: int, image: Size) -> tuple:
    """Make image pooling, a 1x1 convolution and, with ASPP, three dilated ones side by side; what joins them; the
    classes of every place, at the size of the image."""
    tape = Tape(state)
    x, style = tape.input, {"act": "relu"}
    pooled = tape.add("head.mean", "global_pool", x, size=DOT)
    pooled = tape.conv("head.pooled.0", pooled, ASPP_CHANNELS, **style)
    branches = [tape.add("head.spread", "resize", pooled, size=x.size)]
    branches.append(tape.conv("head.point.0", x, ASPP_CHANNELS, **style))
    for i, dilation in enumerate(ASPP_DILATIONS if aspp else ()):
        wide = dilation * ASPP_STRIDE // output_stride
        branches.append(tape.conv(f"head.aspp.{i}.0", x, ASPP_CHANNELS, 3, dilation=wide, **style))
    x = tape.add("head.join", "concat", *branches)
    tape.cut("head.branches", "branches", "head")
    x = tape.conv("head.project.0", x, ASPP_CHANNELS, **style)
    x = tape.conv("head.classes", x, classes, norm=False)
    x = tape.add("head.resize", "resize", x, size=image)
    tape.cut("head.segmenter", "segmenter", "head")
    return tuple(tape.blocks), After(x.channels, x.size, outputs=(x.number,))
