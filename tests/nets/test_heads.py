"""Detectors and segmenters as plans: their counts, maps, anchors, strides, memory and names, from what their sources
say."""

from dataclasses import fields, replace

import pytest

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.nets.anchors import YOLO, vgg_anchors
from mnv2_sweep.nets.arch import (
    CHOICES,
    CLASSIFIER,
    CLASSIFIERS,
    HEADS,
    NAMES,
    ArchSpec,
    Stage,
    arch_label,
    arch_record,
    choices_of,
    load_arch,
)
from mnv2_sweep.nets.cost import body_madds, count_cost, count_plan
from mnv2_sweep.nets.dilate import Row, dilate_rows
from mnv2_sweep.nets.memory import bound_operations
from mnv2_sweep.nets.plan import DOT, Plan
from mnv2_sweep.nets.resolve import arch_key, name_network, resolve
from mnv2_sweep.nets.steps import live_elements
from tests.arch_samples import draw_head

SSDLITE = ArchSpec(resolution=320, classes=80, head="ssdlite")
SSD = replace(SSDLITE, head="ssd")
SSD300 = ArchSpec(family="vgg16", head="ssd", resolution=300, classes=80)
SSD512 = replace(SSD300, resolution=512, scales=7)
YOLOV2 = ArchSpec(family="darknet19", head="yolov2", resolution=416, classes=80)
DEEPLAB = ArchSpec(head="deeplabv3", resolution=513, classes=21, last_channels=0)  # V2* of the paper's table 7
DEEPLAB_V1 = replace(ArchSpec(family="mobilenet_v1"), head="deeplabv3", resolution=513, classes=21)
DEEPLAB_101 = replace(DEEPLAB_V1, family="resnet101")
DRAWN = {f"drawn {seed}": draw_head(seed) for seed in range(60)}
NAMED = {
    "SSDLite": SSDLITE, "SSD": SSD, "SSD300": SSD300, "SSD512": SSD512, "YOLOv2": YOLOV2, "DeepLabv3": DEEPLAB,
    "DeepLabv3 on V1": DEEPLAB_V1, "DeepLabv3 on 101": DEEPLAB_101,
}  # fmt: skip
every_head = pytest.mark.parametrize("arch", (NAMED | DRAWN).values(), ids=NAMED | DRAWN)


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize(
    "arch, params, madds",
    [
        (SSDLITE, 4_337_013, 788_830_144),
        (SSD, 17_000_501, 1_870_281_472),
        (replace(SSDLITE, family="mobilenet_v1"), 5_100_661, 1_309_162_944),
        (SSD300, 34_305_206, 34_360_351_232),
        (replace(SSD300, classes=90), 35_641_826, 34_858_153_472),  # torchvision's ssd300_vgg16 has so many params
        (SSD512, 36_038_196, 98_628_936_704),
        (YOLOV2, 50_962_889, 14_732_084_224),
        (replace(YOLOV2, classes=20), 50_655_389, 14_680_167_424),
        (DEEPLAB, 4_523_541, 5_363_508_928),
        (replace(DEEPLAB, aspp=False), 2_113_557, 2_740_709_056),
        (DEEPLAB_V1, 11_145_301, 12_760_886_976),
        (DEEPLAB_101, 58_164_437, 76_052_470_720),
    ],
    ids=lambda value: arch_label(value) if isinstance(value, ArchSpec) else "",
)
def test_counts(arch, params, madds):
    cost = count_cost(arch)
    assert (cost.params, cost.madds) == (params, madds)


@every_head
def test_parts_count_what_the_whole_plan_counts(arch):
    assert count_cost(arch) == count_plan(resolve(arch))


def test_drawn_heads_reach_every_corner():
    drawn = DRAWN.values()
    assert {(arch.head, arch.family) for arch in drawn} == {
        (head, family) for head, families in HEADS.items() for family in families if head != CLASSIFIER
    }
    of_heads = [name for name, one in CHOICES.items() if one.heads and name != "dropout"]
    assert all(len({getattr(arch, name) for arch in drawn}) > 1 for name in of_heads)
    assert any(arch.residual == "expansion" and arch.head in ("ssd", "ssdlite") for arch in drawn)


def naive_peak(plan: Plan) -> int:
    """The most elements alive, by asking at every layer of every tensor whether somebody still needs it."""
    layers, most = plan.layers, 0
    sizes = [layers[0].input_elements, *(layer.output_elements for layer in layers)]
    reads = [{i + 1 + back for back in layer.reads} for i, layer in enumerate(layers)]
    for at in range(len(layers)):
        needed = set(plan.outputs).union(*reads[at:])
        most = max(most, sum(sizes[tensor] for tensor in range(at + 1) if tensor in needed) + sizes[at + 1])
    return most


@every_head
def test_outputs_and_maps_that_a_head_reads_stay_alive(arch):
    plan = resolve(arch)
    assert 4 * naive_peak(plan) == count_cost(arch).peak_activation_bytes


def test_memory_at_the_end_is_the_outputs():
    plan = resolve(SSDLITE)
    last, outputs = plan.layers[-1], [plan.layers[tensor - 1].output_elements for tensor in plan.outputs]
    assert live_elements(plan.layers, plan.outputs)[-1] == last.input_elements + sum(outputs)
    assert len(plan.outputs) == 12 and plan.outputs[-1] == len(plan.layers)


def test_depth_is_that_of_the_deepest_output():
    # 52 to the last map, 3 for each of four extra layers, 2 for a predictor
    assert count_cost(SSDLITE).depth == 52 + 4 * 3 + 2
    assert count_cost(replace(SSDLITE, scales=2)).depth == 52 + 2
    assert count_cost(DEEPLAB).depth == 51 + 3  # a branch, the projection, the classes


def test_one_class_less_is_what_the_body_has():
    assert body_madds(SSDLITE, count_cost(SSDLITE).madds) == count_cost(replace(SSDLITE, classes=1)).madds


# ---------------------------------------------------------------- maps and anchors


def output_shapes(arch: ArchSpec) -> list[tuple[int, Size]]:
    plan = resolve(arch)
    return [(plan.layers[tensor - 1].c_out, plan.layers[tensor - 1].size_out) for tensor in plan.outputs]


@pytest.mark.parametrize(
    "arch, sides, anchors, boxes",
    [
        (SSDLITE, (20, 10, 5, 3, 2, 1), (3, 6, 6, 6, 6, 6), 2034),
        (SSD, (20, 10, 5, 3, 2, 1), (3, 6, 6, 6, 6, 6), 2034),
        (replace(SSDLITE, family="mobilenet_v1"), (20, 10, 5, 3, 2, 1), (3, 6, 6, 6, 6, 6), 2034),
        (replace(SSDLITE, family="shufflenet_v1", anchors=4), (20, 10, 5, 3, 2, 1), (3, 4, 4, 4, 4, 4), 1756),
        (replace(SSDLITE, family="nasnet_a", scales=3), (20, 10, 5), (3, 6, 6), 1950),
        (SSD300, (38, 19, 10, 5, 3, 1), (4, 6, 6, 6, 4, 4), 8732),
        (SSD512, (64, 32, 16, 8, 4, 2, 1), (4, 6, 6, 6, 6, 4, 4), 24564),
    ],
    ids=lambda value: arch_label(value) if isinstance(value, ArchSpec) else "",
)
def test_maps_of_an_ssd(arch, sides, anchors, boxes):
    shapes = output_shapes(arch)
    assert shapes[::2] == [(4 * a, square(side)) for side, a in zip(sides, anchors, strict=True)]
    assert shapes[1::2] == [(81 * a, square(side)) for side, a in zip(sides, anchors, strict=True)]
    predictors = [block for block in resolve(arch).blocks if block.kind == "boxes"]
    assert [len(block.anchors) for block in predictors] == list(anchors)
    assert sum(side**2 * a for side, a in zip(sides, anchors, strict=True)) == boxes


def test_an_ssd_reads_the_expanded_tensor_and_the_last_map():
    plan = resolve(SSDLITE)
    places = {layer.name: i for i, layer in enumerate(plan.layers)}
    for name, read in (("head.boxes.0.0", "features.14.conv.0.0"), ("head.scores.1.0", "features.18.0")):
        layer = plan.layers[places[name]]
        assert plan.layers[places[name] + layer.reads[0]].name == read
        assert layer.c_in == {"head.boxes.0.0": 576, "head.scores.1.0": 1280}[name]


def anchors_of(arch: ArchSpec) -> list[list[tuple[float, float]]]:
    kinds = [block.anchors for block in resolve(arch).blocks if block.kind == "boxes"]
    return [[tuple(round(side, 3) for side in shape) for shape in anchors] for anchors in kinds]


def test_anchors_of_ssdlite():
    first, second, *_, last = anchors_of(SSDLITE)
    assert first == [(0.1, 0.1), (0.283, 0.141), (0.141, 0.283)]
    assert second == [(0.35, 0.35), (0.495, 0.247), (0.247, 0.495), (0.606, 0.202), (0.202, 0.606), (0.418, 0.418)]
    assert last[0] == (0.95, 0.95) and last[-1] == (0.975, 0.975)
    assert anchors_of(replace(SSDLITE, anchor_scale=0.1))[0][0] == (0.05, 0.05)
    assert anchors_of(replace(SSDLITE, scales=2))[1][0] == (0.95, 0.95)
    assert [len(shapes) for shapes in anchors_of(replace(SSDLITE, anchors=2))] == [3, 2, 2, 2, 2, 2]


def test_anchors_of_ssd300_in_pixels():
    pixels = [[round(300 * width) for width, _ in shapes] for shapes in vgg_anchors(6, 6)]
    assert [row[0] for row in pixels] == [21, 45, 99, 153, 207, 261]
    assert [row[-1] for row in pixels] == [31, 67, 123, 178, 232, 287]  # between a scale and the next
    assert [len(row) for row in vgg_anchors(7, 4)] == [4] * 7


def test_anchors_of_yolov2_are_in_places_of_its_map():
    (block,) = [block for block in resolve(YOLOV2).blocks if block.kind == "boxes"]
    assert [(round(13 * w, 5), round(13 * h, 6)) for w, h in block.anchors] == list(YOLO)
    assert output_shapes(YOLOV2) == [(425, square(13))]


@pytest.mark.parametrize("side", [1, 2, 31, 33, 100, 299])
def test_yolo_joins_maps_of_any_size(side):
    plan = resolve(replace(YOLOV2, width=0.1, resolution=side))
    join = next(layer for layer in plan.layers if layer.name == "head.join")
    assert join.size_in == join.size_out == square(-(-side // 32))
    assert all(plan.layers[i + 1 + back - 1].size_out == join.size_in
               for i, layer in enumerate(plan.layers) if layer is join for back in layer.reads)  # fmt: skip


def test_a_segmenter_gives_a_map_of_the_size_of_the_image():
    assert output_shapes(DEEPLAB) == [(21, square(513))]
    assert output_shapes(replace(DEEPLAB, resolution=Size(100, 161))) == [(21, Size(100, 161))]


# ---------------------------------------------------------------- strides and dilations of DeepLab


def strides_of(arch: ArchSpec) -> dict[str, tuple[int, int]]:
    """Stride and dilation of every 3x3 convolution of the backbone, by its block."""
    return {
        block.name: (layer.stride, layer.dilation)
        for block in resolve(arch).blocks if block.stage != "head"
        for layer in block.layers if layer.kernel == 3 and layer.op == "conv"
    }  # fmt: skip


def test_strides_of_mobilenet_v2():
    at_16, at_8 = (strides_of(replace(DEEPLAB, output_stride=stride)) for stride in (16, 8))
    # TF-slim counts the stem as layer_1: its layer_15 is our features.14
    assert at_16["features.14"] == (1, 1) and {at_16[f"features.{i}"] for i in (15, 16, 17)} == {(1, 2)}
    assert at_16["features.7"] == (2, 1) and at_16["features.13"] == (1, 1)
    assert at_8["features.4"] == (2, 1) and at_8["features.7"] == (1, 1)
    assert {at_8[f"features.{i}"] for i in range(8, 15)} == {(1, 2)}
    assert {at_8[f"features.{i}"] for i in range(15, 18)} == {(1, 4)}


def test_strides_of_mobilenet_v1():
    at_16, at_8 = (strides_of(replace(DEEPLAB_V1, output_stride=stride)) for stride in (16, 8))
    assert at_16["features.12"] == (1, 1) and at_16["features.13"] == (1, 2) and at_16["features.6"] == (2, 1)
    assert at_8["features.6"] == (1, 1) and {at_8[f"features.{i}"] for i in range(7, 13)} == {(1, 2)}
    assert at_8["features.13"] == (1, 4)


def test_strides_of_resnet_101():
    at_16, at_8 = (strides_of(replace(DEEPLAB_101, output_stride=stride)) for stride in (16, 8))
    assert [at_16[f"features.4.{i}"] for i in range(3)] == [(1, 2), (1, 4), (1, 8)]  # multi-grid 1, 2, 4
    assert [at_8[f"features.4.{i}"] for i in range(3)] == [(1, 4), (1, 8), (1, 16)]
    assert at_16["features.1.2"] == at_16["features.2.3"] == (2, 1) and at_16["features.3.22"] == (1, 1)
    assert at_8["features.2.3"] == (1, 1) and {at_8[f"features.3.{i}"] for i in range(23)} == {(1, 2)}


def test_the_stride_is_reached_before_a_block_is():
    assert dilate_rows(2, [(2, 1), (2, 3), (1, 1), (2, 2)], 4) == [
        Row(2, 1, 1), Row(1, 1, 2), Row(1, 2, 2), Row(1, 2, 4)
    ]  # fmt: skip


@pytest.mark.parametrize("arch", [DEEPLAB, DEEPLAB_V1, DEEPLAB_101], ids=arch_label)
@pytest.mark.parametrize("stride, side", [(16, 33), (8, 65)])
def test_the_last_map_has_the_output_stride(arch, stride, side):
    plan = resolve(replace(arch, output_stride=stride, width=0.25))
    heads = [layer for block in plan.blocks if block.stage == "head" for layer in block.layers]
    assert heads[0].size_in == square(side)
    dilations = [layer.dilation for layer in heads if layer.kernel == 3]
    assert dilations == ([6, 12, 18] if stride == 16 else [12, 24, 36])


# ---------------------------------------------------------------- specs


@pytest.mark.parametrize(
    "arch, message",
    [
        (ArchSpec(family="vgg16"), "head: classifier given; VGG-16 allows: ssd"),
        (replace(SSDLITE, family="resnet101"), "head: ssdlite given; ResNet-101 allows: deeplabv3"),
        (ArchSpec(head="mask"), "head: 'mask' given; allowed: classifier | ssdlite | ssd | yolov2 | deeplabv3"),
        (replace(SSDLITE, aspp=False), "aspp: MobileNetV2 with SSDLite has no such choice; it has: "),
        (ArchSpec(anchors=4), "anchors: MobileNetV2 has no such choice; it has: "),
        (replace(SSD300, anchor_scale=0.1), "anchor_scale: VGG-16 with SSD has no such choice; it has: width, "),
        (replace(SSDLITE, anchors=5), "anchors: 5 given; allowed: 2 | 4 | 6"),
        (replace(SSDLITE, anchor_scale=0.95), "anchor_scale: 0.95 given; allowed: a number above 0, below 0.95"),
        (replace(DEEPLAB, output_stride=32), "output_stride: 32 given; allowed: 8 | 16"),
        (
            replace(SSDLITE, stages=(Stage(1, 8, 1, 1),)),
            "stages: no row has a stride above 1; head ssdlite reads the map before the last such row",
        ),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_impossible_heads(arch, message):
    for use in (resolve, count_cost, arch_key):
        with pytest.raises(ArchError) as raised:
            use(arch)
        assert str(raised.value).startswith(message)


@every_head
def test_records_are_read_back(arch):
    assert load_arch(arch_record(arch)) == arch


def test_a_classifier_s_record_and_name_say_nothing_of_heads():
    assert "head" not in arch_record(ArchSpec(width=0.5)) and arch_label(ArchSpec(width=0.5)) == "0.5 at 224"


@pytest.mark.parametrize(
    "arch, label",
    [
        (SSDLITE, "1.0 at 320, SSDLite"),
        (replace(SSD300, scales=7, anchors=4), "VGG-16 1.0 at 300, SSD, 7 scales, 4 anchors"),
        (replace(DEEPLAB, output_stride=8, aspp=False),
         "1.0 at 513, no last convolution, DeepLabv3, stride 8, no ASPP"),
        (replace(SSDLITE, anchor_scale=0.1, extra_channels=256), "1.0 at 320, SSDLite, anchors from 0.1, extra=256"),
    ],
)  # fmt: skip
def test_labels(arch, label):
    assert arch_label(arch) == label


OTHERS = {"scales": 5, "anchors": 4, "anchor_scale": 0.1, "extra_channels": 256, "output_stride": 8, "aspp": False}


def test_every_field_of_a_head_changes_the_key():
    assert set(OTHERS) == {name for name, one in CHOICES.items() if one.heads and CLASSIFIER not in one.heads}
    bases = (SSDLITE, DEEPLAB)
    specs = [
        replace(base, **{name: value}) for base in bases for name, value in OTHERS.items() if name in own_fields(base)
    ]
    specs += [*bases, SSD, replace(SSDLITE, classes=3), replace(DEEPLAB, last_channels=1280), ArchSpec(resolution=320)]
    assert len({arch_key(arch) for arch in specs}) == len({name_network(arch) for arch in specs}) == len(specs)


def own_fields(arch: ArchSpec) -> tuple[str, ...]:
    return choices_of(arch.family, arch.head)


def test_fields_of_heads_are_said_beside_them():
    for family in CLASSIFIERS:
        assert not {"scales", "aspp"} & set(choices_of(family, CLASSIFIER))
    assert {"scales", "anchors", "extra_channels"} <= set(choices_of("vgg16", "ssd"))
    assert "dropout" in choices_of("resnet101", "deeplabv3") and "dropout" not in choices_of("vgg16", "ssd")
    known = {name for head, families in HEADS.items() for family in families for name in choices_of(family, head)}
    assert known | set(NAMES) == {field.name for field in fields(ArchSpec)}


# ---------------------------------------------------------------- what is tapped, and split


def test_without_an_expansion_the_block_s_input_is_read():
    stages = (Stage(2, 16, 2, 2), Stage(1, 24, 2, 2), Stage(2, 32, 1, 1))
    plan = resolve(replace(SSDLITE, stages=stages, resolution=64))
    first = next(i for i, layer in enumerate(plan.layers) if layer.name == "head.boxes.0.0")
    tapped = plan.layers[first + plan.layers[first].reads[0]]
    assert tapped.name == "features.2.conv.2" and tapped.size_out == square(16)


def test_a_tensor_that_a_head_reads_keeps_its_block_whole():
    plan = resolve(replace(SSDLITE, resolution=96))
    operations = bound_operations(plan, 5)
    split = {operation.block.name for operation in operations if operation.groups > 1}
    assert "features.14" not in split and {"features.2", "features.15"} <= split
    classifier = bound_operations(resolve(ArchSpec(resolution=96)), 5)
    own = {operation.block.name: operation.elements for operation in classifier if operation.groups > 1}
    held = 576 * 6 * 6
    for operation in operations:
        if operation.groups > 1:
            later = int(operation.block.name.removeprefix("features.")) > 14
            assert operation.elements == own[operation.block.name] + held * later


def test_widths_narrow_extra_layers_without_rounding_to_8():
    names = {layer.name: layer for layer in resolve(replace(SSDLITE, width=0.35)).layers}
    assert [names[f"head.extra.{i}.4"].c_out for i in range(4)] == [179, 89, 89, 44]
    assert names["head.extra.0.0"].c_out == 89
    assert names["features.18.0"].c_out == 1280
    tiny = {layer.name: layer for layer in resolve(replace(SSDLITE, width=0.1)).layers}
    assert tiny["head.extra.3.4"].c_out == 16


def test_a_map_that_is_too_small_for_a_kernel_is_padded():
    sides = [size.width for _, size in output_shapes(replace(SSD300, resolution=64, width=0.1))[::2]]
    assert sides == [8, 4, 2, 1, 1, 1]
    for scales in (6, 7):
        assert {size for _, size in output_shapes(replace(SSD300, resolution=5, width=0.1, scales=scales))} == {DOT}
