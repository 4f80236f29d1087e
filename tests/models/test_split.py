"""Networks whose blocks are split: the same logits as the model they come from, and no more memory than the bound."""

import functools
import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.check_split import live_bytes
from mnv2_sweep.models.split import SplitNetwork, split_model, tap_by_tap
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, set_expansion
from mnv2_sweep.nets.memory import bound_operations, find_peak
from mnv2_sweep.nets.resolve import resolve

torch.set_num_threads(1)

STAGES = (Stage(1, 8, 2, 1), Stage(6, 8, 2, 2), Stage(3, 12, 3, 1))
SMALL = ArchSpec(stages=STAGES, width=0.9, resolution=20, last_channels=24, classes=7)
SPECS = {
    "small": SMALL,
    "no residual": replace(SMALL, residual="none"),
    "residual expansion": replace(SMALL, residual="expansion"),
    "expansion at t=1": replace(SMALL, stages=set_expansion(STAGES, 1), residual="expansion"),
    "non-linear": replace(SMALL, linear_bottleneck=False),
    "non-linear, expansion": replace(SMALL, linear_bottleneck=False, residual="expansion"),
    "kernel 1": replace(SMALL, kernel=1),
    "kernel 5": replace(SMALL, kernel=5, resolution=19),
    "kernel 7, flat": replace(SMALL, kernel=7, stages=set_expansion(STAGES, 1)),
    "stride 3": replace(SMALL, stages=(Stage(2, 16, 2, 3), Stage(4, 8, 2, 5))),
    "one pixel": replace(SMALL, resolution=1, kernel=7),
    "table 2": ArchSpec(width=0.2, resolution=33, last_channels=40, classes=5),
    "relu": replace(SMALL, activation="relu", linear_bottleneck=False),
    "hswish": replace(SMALL, activation="hswish", linear_bottleneck=False, residual="expansion"),
}
every_spec = pytest.mark.parametrize("arch", SPECS.values(), ids=SPECS)


def trained_model(arch: ArchSpec) -> nn.Module:
    """With batch norm statistics and weights as training leaves them: nowhere 0 or 1."""
    torch.manual_seed(0)
    model = build_model(arch)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                nn.init.normal_(tensor, 0, 0.3)
            for tensor in (module.running_var, module.weight):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return model.eval()


shared_model = functools.cache(trained_model)  # for tests that only read it


def random_images(arch: ArchSpec, count: int) -> Tensor:
    return torch.randn(count, 3, arch.resolution, arch.resolution, generator=torch.Generator().manual_seed(count))


# ---------------------------------------------------------------- outputs


@pytest.mark.slow
@every_spec
@pytest.mark.parametrize("splits", [1, 2, 3, 5, 7, 1000])
def test_logits_are_the_models(arch, splits):
    model = shared_model(arch)
    network = split_model(model, arch, splits)
    for count in (3, 1):
        images = random_images(arch, count)
        with torch.no_grad():
            expected = model(images)
        for given in (images, [images.contiguous(memory_format=torch.channels_last)]):
            torch.testing.assert_close(network(given), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_specs_split_as_meant():
    """Else the test above would compare whole blocks with whole blocks."""
    groups = {
        name: [op.groups for op in bound_operations(resolve(arch), 5) if op.groups > 1] for name, arch in SPECS.items()
    }
    assert groups["small"] == [5] * 7 and groups["residual expansion"] == [5] * 4
    assert groups["table 2"] == [5] * 17
    assert all(groups.values())


def test_other_resolutions_than_the_nominal():
    model = trained_model(SMALL)
    images = random_images(replace(SMALL, resolution=31), 2)
    with torch.no_grad():
        torch.testing.assert_close(split_model(model, SMALL, 3)(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (8, 5)], ids=str)
def test_tap_by_tap_is_a_depthwise_convolution(kernel, stride, size):
    """Of a slice of channels that lie between others."""
    x, weight, bias = torch.randn(2, *size, 6), torch.randn(3, 1, kernel, kernel), torch.randn(3)
    x = x[..., 2:5]
    expected = functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, kernel // 2, groups=3)
    out = tap_by_tap(x, weight.flatten(1).t(), bias, kernel, stride)
    torch.testing.assert_close(out, expected.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_ordinary_convolutions_cannot_be_split():
    arch = replace(SMALL, depthwise=False)
    with pytest.raises(SweepError) as caught:
        split_model(build_model(arch), arch, 2)
    assert str(caught.value).startswith("split: 0.9 at 20, table ")
    assert str(caught.value).endswith(
        "ordinary convolutions given; a group of channels needs depthwise convolutions (depthwise: true)"
    )


# ---------------------------------------------------------------- what is left as it was


@pytest.mark.parametrize("splits", [1, 4])
def test_model_and_images_stay_as_they_are(splits):
    model = trained_model(SMALL)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images = random_images(SMALL, 1).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    network = split_model(model, SMALL, splits)
    first, second = network(images), network(images)
    assert torch.equal(first, second) and torch.equal(images, before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(network(images), first)  # its weights are its own


@pytest.mark.parametrize("splits", [2, 1000])
def test_weights_stay_as_they_are_on_maps_of_one_pixel(splits):
    """There a bias has the shape of a whole map, and sums are made in place."""
    arch = SPECS["one pixel"]
    network = split_model(trained_model(arch), arch, splits)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network(random_images(arch, 1))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_training_mode_does_not_matter():
    model = trained_model(SMALL)
    images = random_images(SMALL, 2)
    expected = split_model(model, SMALL, 3)(images)
    assert torch.equal(split_model(model.train(), SMALL, 3).train()(images), expected)


def test_no_gradients():
    assert not split_model(trained_model(SMALL), SMALL, 2)(random_images(SMALL, 1).requires_grad_()).requires_grad


def test_image_handed_over_is_let_go():
    images = [random_images(SMALL, 1)]
    split_model(trained_model(SMALL), SMALL, 2)(images)
    assert images == []


@pytest.mark.parametrize("family", ["mobilenet_v1", "shufflenet_v1", "nasnet_a"])
def test_other_families_cannot_be_split(family):
    arch = ArchSpec(family=family, width=0.25, resolution=32, classes=2)
    with pytest.raises(SweepError, match="split: .* given; only MobileNetV2 has bottleneck blocks to split"):
        split_model(build_model(arch), arch, 2)


def test_splits_from_1():
    with pytest.raises(SweepError, match="splits: 0 given"):
        split_model(trained_model(SMALL), SMALL, 0)


# ---------------------------------------------------------------- memory

# The stem reads 27,648 numbers: torch gives fewer than 20,480 to an implementation that unfolds them.
MEASURED = ArchSpec(stages=MOBILENET_V2[:3], width=0.35, resolution=96, last_channels=64)


def network_peak(network: SplitNetwork) -> int:
    def make_image() -> list[Tensor]:
        return [torch.ones(1, 96, 96, 3).permute(0, 3, 1, 2)]

    return live_bytes(make_image, network)


def block_peak(network: SplitNetwork, name: str) -> int:
    places = [i for i, operation in enumerate(network.operations) if operation.block.name == name]

    def run_before() -> dict[int, Tensor]:
        maps = {0: torch.ones(1, 96, 96, 3)}
        network.run_operations(maps, 0, places[0])
        return maps

    return live_bytes(run_before, lambda maps: network.run_operations(maps, places[0], places[-1] + 1))


@pytest.mark.slow
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="other convolutions take more memory")
@pytest.mark.parametrize(
    "arch, tried",
    [
        (MEASURED, (1, 2, 3, 4, 5, 1000)),
        (replace(MEASURED, residual="expansion"), (1, 4)),
        (replace(MEASURED, linear_bottleneck=False, kernel=5), (1, 4)),
    ],
    ids=["bottleneck", "expansion", "non-linear, kernel 5"],
)
def test_live_memory_is_the_bound(arch, tried):
    model, plan = trained_model(arch), resolve(arch)
    for splits in tried:
        network, operations = split_model(model, arch, splits), bound_operations(plan, splits)
        assert 0.99 < network_peak(network) / find_peak(plan, splits).bytes() < 1.1
        bound = 4 * max(operation.elements for operation in operations if operation.block.name == "features.2")
        assert 0.99 < block_peak(network, "features.2") / bound < 1.1


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="other convolutions take more memory")
def test_every_operation_of_the_large_maps_holds_its_bound():
    """Drawn operations of the paper's network, each alone; the last ones are as small as the weights of a layer."""
    arch = ArchSpec(resolution=224)
    network = split_model(trained_model(arch), arch, 4)
    for i in random.Random(0).sample(range(12), 4):

        def run_before(stop=i) -> dict[int, Tensor]:
            maps = {0: torch.ones(1, 224, 224, 3)}
            network.run_operations(maps, 0, stop)
            return maps

        live = live_bytes(run_before, lambda maps, at=i: network.run_operations(maps, at, at + 1))
        assert 0.99 < live / (4 * network.operations[i].elements) < 1.1, network.operations[i].shape
