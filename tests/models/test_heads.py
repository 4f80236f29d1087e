"""Networks with the heads of detectors and segmenters, built: their outputs, and what each new operation computes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnv2_sweep.models.build import ACTIVATIONS, L2Norm, PlanNetwork, build_model, join_maps, set_norms
from mnv2_sweep.models.check_fvcore import check_fvcore
from mnv2_sweep.nets.arch import ArchSpec, arch_label, input_size
from mnv2_sweep.nets.plan import Layer, norm_name
from mnv2_sweep.nets.resolve import resolve
from tests.arch_samples import draw_head

SSDLITE = ArchSpec(head="ssdlite", width=0.35, resolution=96, classes=3)
SMALL = {
    "SSDLite": SSDLITE,
    "SSD": replace(SSDLITE, head="ssd"),
    "SSDLite on V1": ArchSpec("mobilenet_v1", head="ssdlite", width=0.25, resolution=64, classes=3),
    "SSDLite on ShuffleNet": ArchSpec("shufflenet_v1", head="ssdlite", width=0.25, resolution=64, classes=3),
    "SSD300": ArchSpec("vgg16", head="ssd", width=0.05, resolution=300, classes=3),
    "SSD512": ArchSpec("vgg16", head="ssd", width=0.03, resolution=512, classes=3, scales=7),
    "YOLOv2": ArchSpec("darknet19", head="yolov2", width=0.1, resolution=99, classes=3),
    "DeepLabv3": ArchSpec(head="deeplabv3", width=0.35, resolution=65, classes=3, last_channels=0),
    "DeepLabv3 on V1": ArchSpec(
        "mobilenet_v1", head="deeplabv3", width=0.25, resolution=65, classes=3, output_stride=8
    ),
    "DeepLabv3 on 101": ArchSpec("resnet101", head="deeplabv3", width=0.1, resolution=64, classes=3, aspp=False),
}
DRAWN = {f"drawn {seed}": draw_head(seed) for seed in range(12)}


def build(arch: ArchSpec) -> nn.Module:
    torch.manual_seed(0)
    return build_model(arch).eval()


def run(model: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        made = model(images)
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize(
    "arch", [*SMALL.values(), *(pytest.param(arch, marks=pytest.mark.slow) for arch in DRAWN.values())],
    ids=SMALL | DRAWN,
)  # fmt: skip
def test_fvcore_agrees_layer_by_layer_and_outputs_have_the_plan_s_shapes(arch):
    plan, model = resolve(arch), build(arch)
    made = run(model, torch.zeros(2, arch.in_channels, *input_size(arch)))
    layers = [plan.layers[tensor - 1] for tensor in plan.outputs]
    assert [tuple(output.shape) for output in made] == [(2, layer.c_out, *layer.size_out) for layer in layers]
    assert check_fvcore(arch) == []


def test_fvcore_sees_the_scales_of_an_l2_norm(monkeypatch):
    arch = replace(SMALL["SSD300"], resolution=64)
    monkeypatch.setattr(Layer, "params", property(lambda layer: 7 if layer.op == "l2_norm" else layer.weights))
    assert ("head.scale", "params", 7, 25) in [(d.layer, d.what, d.ours, d.theirs) for d in check_fvcore(arch)]


def test_a_detector_gives_boxes_and_scores_of_each_map():
    made = run(build(SSDLITE), torch.zeros(1, 3, 96, 96))
    assert [tuple(output.shape[1:]) for output in made[:4]] == [(12, 6, 6), (12, 6, 6), (24, 3, 3), (24, 3, 3)]
    assert len(made) == 12 and type(build_model(SSDLITE)) is PlanNetwork


def test_a_backbone_has_the_names_of_its_classifier():
    """So that the weights of one load into the other."""
    classifier, detector = build_model(ArchSpec(width=0.35)).state_dict(), build_model(SSDLITE).state_dict()
    shapes = {name: value.shape for name, value in classifier.items() if name.startswith("features.")}
    assert shapes == {name: value.shape for name, value in detector.items() if name.startswith("features.")}
    assert {name.split(".")[0] for name in detector} == {"features", "head"}


def test_ssd300_is_torchvision_s():
    models = pytest.importorskip("torchvision.models.detection")
    theirs = models.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=91)
    ours = build_model(ArchSpec("vgg16", head="ssd", resolution=300, classes=90))
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters()) == 35_641_826


# ---------------------------------------------------------------- TensorFlow's padding


def convolve_same(model: PlanNetwork, layer: Layer, x: Tensor) -> Tensor:
    """A convolution with TensorFlow's SAME padding, then batch norm and activation, from the turned network's parts."""
    conv = model.get_submodule(layer.name)
    reach = layer.dilation * (layer.kernel - 1) + 1
    missing = [max(0, (made - 1) * layer.stride + reach - read) for read, made in zip(layer.size_in, layer.size_out,
                                                                                  strict=True)]  # fmt: skip
    (top, bottom), (left, right) = ((m // 2, m - m // 2) for m in missing)
    x = functional.pad(x, (left, right, top, bottom))
    weight = conv.weight.flip(2, 3)
    x = functional.conv2d(x, weight, conv.bias, layer.stride, 0, layer.dilation, layer.groups)
    return model.get_submodule(norm_name(layer.name))(x) if layer.norm else x


@pytest.mark.parametrize(
    "arch",
    [
        replace(SSDLITE, padding="same", resolution=64),
        replace(SMALL["DeepLabv3"], padding="same", resolution=48, output_stride=8),
    ],
    ids=arch_label,
)
def test_heads_with_same_padding_compute_what_tensorflow_s_do(arch):
    model, plan = build(arch).double(), resolve(arch)
    images = torch.randn(2, 3, *input_size(arch), generator=torch.Generator().manual_seed(1)).double()
    set_norms(model, 1e-5, 1.0)
    with torch.no_grad():
        model.train()(images)  # so that no batch norm makes its map all but even
    model.eval()
    tensors = [images]
    with torch.no_grad():
        for i, layer in enumerate(plan.layers):
            x, *others = (tensors[i + 1 + back] for back in layer.reads)
            if layer.op == "conv":
                x = convolve_same(model, layer, x)
                x = x + others[0] if others else x
            else:
                x = join_maps(layer, x, *others)
            tensors.append(ACTIVATIONS[layer.act]()(x) if layer.act else x)
    for output, expected in zip(run(model, images), (tensors[tensor] for tensor in plan.outputs), strict=True):
        torch.testing.assert_close(output, expected, atol=1e-8, rtol=1e-8)
    first, plain = run(model, images)[0], build(replace(arch, padding="torch")).double()
    plain.load_state_dict(model.state_dict())
    assert first.std() > 0.1 and not torch.allclose(run(plain, images)[0], first, atol=0.1)


# ---------------------------------------------------------------- operations


def layer_of(op: str, c_in: int, c_out: int, size_in, size_out, **more) -> Layer:
    return Layer("x", op, c_in, c_out, 1, more.pop("stride", 1), 1, size_in, size_out, norm=False, **more)


def test_l2_norm_has_length_1_over_the_channels_times_its_scales():
    size = input_size(ArchSpec(resolution=2))
    norm = L2Norm(layer_of("l2_norm", 3, 3, size, size))
    x = torch.tensor([3.0, 0.0, 4.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert [round(value, 3) for value in norm(x)[0, :, 1, 1].tolist()] == [12.0, 0.0, 16.0]
    norm.scale.data[2] = 1.0
    assert [round(value, 3) for value in norm(x)[0, :, 0, 0].tolist()] == [12.0, 0.0, 0.8]


def test_space_to_depth_takes_squares_apart_and_fills_up_with_zeros():
    size = input_size(ArchSpec(resolution=3))
    layer = layer_of("space_to_depth", 1, 4, size, size.shrink(2), stride=2)
    made = join_maps(layer, torch.arange(1.0, 10.0).view(1, 1, 3, 3))[0]
    assert made[:, 0, 0].tolist() == [1, 2, 4, 5]
    assert made[:, 1, 1].tolist() == [9, 0, 0, 0] and made.shape == (4, 2, 2)


def test_resize_puts_corners_on_corners():
    sizes = [input_size(ArchSpec(resolution=side)) for side in (2, 3)]
    made = join_maps(layer_of("resize", 1, 1, *sizes), torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]))
    assert made[0, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]


def test_leaky_relu_keeps_a_tenth():
    assert ACTIVATIONS["leaky"]()(torch.tensor([-2.0, 3.0])).tolist() == pytest.approx([-0.2, 3.0])


def test_a_pool_of_2_takes_what_is_there_at_an_odd_side():
    model = build_model(replace(SMALL["SSD300"], resolution=75))
    pool = model.get_submodule("pool.1")
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert pool(x)[0, 0].tolist() == [[4, 5], [7, 8]]
    last = model.get_submodule("pool.5")
    assert (last.kernel_size, last.stride, last.padding) == (3, 1, 1)


def test_only_deeplab_and_classifiers_drop_out():
    assert build_model(SMALL["DeepLabv3"]).dropped == "head.classes"
    assert build_model(SSDLITE).dropped == ""
    dropping = build_model(replace(SMALL["DeepLabv3"], dropout=0.5)).train()
    images = torch.randn(2, 3, 65, 65)
    assert not torch.equal(dropping(images), dropping(images))


@pytest.mark.parametrize(
    ("arch", "stddev", "of"),
    [
        (ArchSpec(width=0.35, resolution=64, classes=3, head="ssdlite"), 0.03, "head.scores.0.2"),
        (ArchSpec(width=0.35, resolution=64, classes=3, head="deeplabv3", last_channels=0), 0.01, "head.classes"),
        (ArchSpec(family="darknet19", width=0.25, head="yolov2", resolution=64, classes=3), (2 / 256) ** 0.5, "head.8"),
    ],
    ids=["ssdlite", "deeplabv3", "yolov2"],
)
def test_predictors_begin_near_0_as_their_sources_have_it(arch, stddev, of):
    torch.manual_seed(0)
    predictor = build_model(arch).get_submodule(of)
    assert predictor.weight.std().item() == pytest.approx(stddev, rel=0.1) and not predictor.bias.any()
    same = build_model(arch, stddev=0.5).get_submodule(of)
    assert same.weight.std().item() > 0.3
