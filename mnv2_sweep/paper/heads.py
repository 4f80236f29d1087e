"""Tables 5, 6 and 7: what their rows cost by our count and by TensorFlow's graph, and why printed figures differ.

A reason is arithmetic on plans; where it is not known how a figure came about, the reason says what was tried. Params
and MAdds are in millions and billions, as the tables have them.
"""

from dataclasses import replace

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import Layer, Plan
from mnv2_sweep.nets.resnet101 import MULTI_GRID
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.paper.published import SCALES, TABLE_6, TABLE_7, Detector, Head, Segmenter
from mnv2_sweep.paper.reasons import is_cut, is_rounded
from mnv2_sweep.paper.tensorflow import graph_madds

MILLION, BILLION = 1e6, 1e9
BASE = 512  # px, side of an image at scale 1; one is added to each side
TIMES = 4.9, 5.7  # section 6.3: by how much fewer MAdds MobileNetV1 needs than ResNet-101


def head_layers(arch: ArchSpec) -> list[Layer]:
    """Return the layers of the head alone."""
    return [layer for block in resolve(arch).blocks if block.stage == "head" for layer in block.layers]


def count_head(arch: ArchSpec) -> tuple[float, float]:
    """Count millions of params and billions of MAdds of the head alone."""
    layers = head_layers(arch)
    return sum(layer.params for layer in layers) / MILLION, sum(layer.madds for layer in layers) / BILLION


def pass_plans(row: Segmenter) -> list[Plan]:
    """Return the plan of every pass that a row of table 7 takes: one, or one for each scale and side."""
    if not row.many:
        return [resolve(row.arch)]
    return [plan for s in SCALES for plan in [resolve(replace(row.arch, resolution=int(BASE * s + 1)))] * 2]


def count_passes(row: Segmenter) -> float:
    """Count billions of MAdds of a row of table 7, plainly."""
    return sum(layer.madds for plan in pass_plans(row) for layer in plan.convs) / BILLION


def count_graph(row: Segmenter, gridded: bool = True) -> float:
    """Count billions of MAdds of a row of table 7 as TensorFlow's graph has them: it resizes the logits of every pass
    to the image. `gridded=False` leaves out the dilations of ResNet's last stage that are beside the network's own."""
    resized = row.arch.classes * (BASE + 1) ** 2
    plans = pass_plans(row)
    return sum(graph_madds(plan if gridded else _without_grid(plan), resized) for plan in plans) / BILLION


def _without_grid(plan: Plan) -> Plan:
    """Return the plan of a ResNet with its last stage's units dilated alike."""
    last = max(block.stage for block in plan.blocks if block.kind == "residual")
    grid, blocks = iter(MULTI_GRID), []
    for block in plan.blocks:
        if block.kind == "residual" and block.stage == last:
            times = next(grid)
            layers = [x._replace(dilation=x.dilation // times) if x.dilation > 1 else x for x in block.layers]
            block = block._replace(layers=tuple(layers))
        blocks.append(block)
    return replace(plan, blocks=tuple(blocks))


def first_yolo(arch: ArchSpec) -> tuple[float, float]:
    """Count millions of params and billions of MAdds of YOLOv2 as it was released first: the finer map goes on with all
    of its channels, without a 1x1 convolution to 64."""
    cost, layers = count_cost(arch), {layer.name: layer for layer in head_layers(arch)}
    narrow, reorganised, joined = (layers[name] for name in ("head.4", "head.reorg", "head.6"))
    wide = joined._replace(c_in=joined.c_in - reorganised.c_out + 4 * narrow.c_in)
    params = cost.params - narrow.params - joined.params + wide.params
    return params / MILLION, (cost.madds - narrow.madds - joined.madds + wide.madds) / BILLION


def is_printed(published: float, ours: float) -> bool:
    """Return whether the print is ours cut or rounded to its digits."""
    step = printed_step(published)
    return is_cut(published, ours, step) or is_rounded(published, ours, step)


def printed_step(published: float) -> float:
    """Return what the last printed digit counts: 0.01 of 14.25, 1 of 387."""
    return 10.0 ** -len(str(published).partition(".")[2])


# ---------------------------------------------------------------- reasons


def head_madds_reason(row: Head) -> str:
    """Explain table 5, MAdds."""
    _, madds = count_head(row.arch)
    detector = next(other for other in TABLE_6 if other.arch == row.arch)
    whole = count_cost(row.arch).madds / BILLION
    body = whole - madds
    if not is_printed(row.madds_b, 2 * madds):
        return ""
    return (
        f"twice ours is {2 * madds:.3f}, which cuts to {row.madds_b}: as if every multiply-add were two. Table 6 has "
        f"{detector.madds_b} for the whole network, as ours, {body:.3f} + {madds:.3f} = {whole:.3f}; with "
        f"{row.madds_b} it would be {body + row.madds_b:.3f}"
    )


def detector_params_reason(row: Detector) -> str:
    """Explain table 6, params."""
    if row.arch.head == "yolov2":
        voc, (first, _) = count_cost(replace(row.arch, classes=20)).params / MILLION, first_yolo(row.arch)
        return (
            f"{row.params_m} is the later network, which has a 1x1 convolution to 64, with VOC's 20 classes: "
            f"{voc:.3f}. The one that was released first has {first:.3f}. So params and MAdds of this row are "
            "of two networks"
        )
    ssd300, ssd512 = (TABLE_6[i].arch for i in (0, 1))
    with_91 = [count_cost(replace(arch, classes=90)).params / MILLION for arch in (ssd300, ssd512)]
    text = f"SSD300 and SSD512 have the same print, which is SSD512's but for the last digit, {_params(ssd512):.3f}"
    if row.arch == ssd300:
        return f"{text}; ours with 91 columns, {with_91[0]:.6f}, is torchvision's ssd300_vgg16"
    return f"{text}; with 91 columns instead of 81 it has {with_91[1]:.3f}"


def detector_madds_reason(row: Detector) -> str:
    """Explain table 6, MAdds."""
    if row.arch.head == "yolov2":
        _, coco = first_yolo(row.arch)
        _, voc = first_yolo(replace(row.arch, classes=20))
        return (
            f"{row.madds_b} is the network that was released first, which reorganises the finer map with all of its "
            f"512 channels: {coco:.3f} with 80 classes, {voc:.3f} with 20"
        )
    more = [other.madds_b - count_cost(other.arch).madds / BILLION for other in TABLE_6[:2]]
    with_91 = count_cost(replace(row.arch, classes=90)).madds / BILLION
    return (
        f"SSD300 and SSD512 are printed {more[0]:.2f} and {more[1]:.2f} higher than ours, nearly the same at both "
        f"sizes: so it is no more channels or columns (with 91, {with_91:.3f}), which would grow with the map. "
        "Where it comes from is not said"
    )


def _params(arch: ArchSpec) -> float:
    return count_cost(arch).params / MILLION


def segmenter_madds_reason(row: Segmenter) -> str:
    """Explain table 7, MAdds."""
    graph = count_graph(row)
    text = f"by TensorFlow's graph {graph:.3f}"
    if is_printed(row.madds_b, graph):
        word = "rounds" if is_rounded(row.madds_b, graph, printed_step(row.madds_b)) else "cuts"
        zoo = ", and to the 152.59 of TensorFlow's model zoo" if is_rounded(152.59, graph, 0.01) else ""
        return f"{text}, which {word} to {row.madds_b}{zoo}"
    text += f" ({100 * (graph / row.madds_b - 1):+.2f} %)"
    if row.arch.family == "resnet101":
        return f"{text}, and without multi-grid {count_graph(row, gridded=False):.2f}; what is left is not known"
    if abs(graph / row.madds_b - 1) < 0.01:
        return f"{text}; what is left is not known"
    other = next(r for r in TABLE_7 if r.arch.family == "resnet101" and r.many == row.many)
    small = [
        next(r for r in TABLE_7 if r.arch.family == family and not r.many) for family in ("mobilenet_v1", "resnet101")
    ]
    printed, ours = other.madds_b / row.madds_b, count_graph(other) / graph
    at_16 = count_graph(small[1]) / count_graph(small[0])
    return (
        f"{text}. Section 6.3 says that MobileNetV1 needs {TIMES[0]} to {TIMES[1]} times fewer MAdds than ResNet-101: "
        f"by the graph {ours:.2f} and, at stride 16, {at_16:.2f} times, by this print {printed:.2f}. So it is "
        "probably a slip"
    )
