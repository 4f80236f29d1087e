"""MobileNetV1, ShuffleNet and NASNet-A: plan against built network, published figures, and a second forward pass.

And the module that runs any plan against the one that MobileNetV2 has for itself.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.base.size import square
from mnv2_sweep.models.build import PlanNetwork, build_model
from mnv2_sweep.nets.arch import FAMILIES, FAMILY_NAMES, MOBILENET_V2, SHUFFLENET_GROUPS, ArchSpec, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import WEIGHTED, Layer, Plan
from mnv2_sweep.nets.resolve import arch_key, resolve
from mnv2_sweep.nets.steps import live_elements

torch.set_num_threads(1)

V1 = ArchSpec(family="mobilenet_v1")
SHUFFLE = ArchSpec(family="shufflenet_v1")
NASNET = ArchSpec(family="nasnet_a")

RESOLUTIONS = (1, 7, 32, 33, 64)
SHUFFLE_WIDTHS = (0.25, 0.5, 1, 1.5, 2)


def some_specs() -> list[ArchSpec]:
    """Every resolution with a narrow network; every ShuffleNet, with the resolutions dealt out over them."""
    specs = [replace(V1, width=0.25, resolution=size) for size in RESOLUTIONS]
    specs += [replace(V1, width=width, resolution=33) for width in (0.01, 0.6, 1.4)]
    specs += [
        replace(SHUFFLE, groups=groups, width=width, resolution=RESOLUTIONS[(i + j) % 5])
        for i, groups in enumerate(SHUFFLENET_GROUPS)
        for j, width in enumerate(SHUFFLE_WIDTHS)
    ]
    specs += [replace(NASNET, width=0.25, resolution=size) for size in (*RESOLUTIONS, 2)]
    specs += [replace(NASNET, width=width, resolution=19) for width in (0.01, 1)]
    return [replace(spec, classes=5) for spec in specs]


SPECS = some_specs()
SPEC_IDS = [f"{spec.family}-g{spec.groups}-{spec.width}-{spec.resolution}" for spec in SPECS]
every_spec = pytest.mark.parametrize("arch", SPECS, ids=SPEC_IDS)


def images(arch: ArchSpec, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, arch.resolution, arch.resolution, generator=generator)


def enliven(model: nn.Module, arch: ArchSpec) -> nn.Module:
    """Eval mode, with a scale and a shift for each channel, and statistics by which no layer loses its signal."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
            module.momentum = 1  # the statistics become those of the next batch
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.1)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        model.train()(images(arch, 4))
    return model.eval()


# ---------------------------------------------------------------- the built network is the plan


@pytest.mark.slow
@every_spec
def test_built_network_has_the_plan_s_shapes(arch):
    """Convolutions by hooks at their names, all other layers by what they are given and give back."""
    plan, model = resolve(arch), build_model(arch).eval()
    shapes, joins, run_layer = {}, {}, model.run_layer

    def note_conv(name):
        def note(module, inputs, output):
            shapes[name] = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])

        return note

    def note_layer(layer, reads):
        output = run_layer(layer, reads)
        if layer.op not in WEIGHTED:
            channels = sum(x.shape[1] for x in reads) if layer.op == "concat" else reads[0].shape[1]
            joins[layer.name] = channels, {x.shape[2] for x in reads}, tuple(output.shape[1:])
        return output

    for conv in plan.convs:
        model.get_submodule(conv.name).register_forward_hook(note_conv(conv.name))
    model.run_layer = note_layer
    with torch.inference_mode():
        assert model(images(arch)).shape == (2, 5)
    expected = {c.name: ((c.c_in, *c.size_in), (c.c_out, *c.size_out)) for c in plan.convs}
    expected["classifier.1"] = ((plan.convs[-1].c_in,), (5,))  # reads and writes vectors
    assert shapes == expected and list(shapes) == list(expected)
    assert joins == {
        layer.name: (layer.c_in, {*layer.size_in}, (layer.c_out, *layer.size_out))
        for layer in plan.layers
        if layer.op not in WEIGHTED
    }
    assert sum(parameter.numel() for parameter in model.parameters()) == count_cost(arch).params


@every_spec
def test_plan_is_sound(arch):
    plan = resolve(arch)
    layers = plan.layers
    assert len({layer.name for layer in layers}) == len(layers)
    assert len({block.name for block in plan.blocks}) == len(plan.blocks)
    for layer in layers:
        if layer.padding is None and layer.op != "global_pool":
            assert layer.size_out == layer.size_in.shrink(layer.stride), layer
    for layer in plan.convs:
        assert layer.c_in % layer.groups == layer.c_out % layer.groups == 0, layer
    tensors = [(3, square(arch.resolution)), *((layer.c_out, layer.size_out) for layer in layers)]
    for i, layer in enumerate(layers):
        read = [tensors[i + 1 + back] for back in layer.reads]
        if layer.op == "concat":
            assert sum(channels for channels, _ in read) == layer.c_in
        else:
            assert read[0] == (layer.c_in, layer.size_in)
            assert {*read[1:]} <= {(layer.c_out, layer.size_out)}, layer  # added to the output
    used = {i + 1 + back for i, layer in enumerate(layers) for back in layer.reads}
    assert used == set(range(len(layers)))  # no layer works for nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch", [replace(V1, width=0.25), replace(SHUFFLE, width=0.5), replace(NASNET, width=0.25)], ids=lambda a: a.family
)
@pytest.mark.parametrize("size", [1, 19])
def test_every_parameter_learns(arch, size):
    """Also where maps are one pixel; there NASNet's shifted maps are all zeros, so what reads them rests.

    A narrower NASNet has layers of one weight, whose scale the batch norm behind takes out: their gradients are what
    rounding leaves, on some processors nothing.
    """
    torch.manual_seed(0)
    arch = replace(arch, resolution=size, classes=3, dropout=0)
    model = build_model(arch)
    functional.cross_entropy(model(images(arch, 6)), torch.arange(6) % 3).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    resting = {name.rpartition(".")[0] for name, parameter in model.named_parameters() if not parameter.grad.any()}
    shifted = [f"features.{cell}.before.{at}" for cell in (2, 3, 8, 13) for at in (2, 3)]
    assert resting == (set(shifted) if arch.family == "nasnet_a" and size == 1 else set())


# ---------------------------------------------------------------- published figures


def test_mobilenet_v1_figures():
    """TF-slim's README: 569 million MAdds and 4.24 million params; 41, 0.47 at 0.25. Keras: 4,253,864 params, of
    which 21,888 are running statistics. Paper, table 1: 28 layers."""
    cost = count_cost(V1)
    assert (cost.madds, cost.params, cost.depth) == (568_740_352, 4_231_976, 28)
    assert cost.params + 21_888 == 4_253_864
    narrow = count_cost(replace(V1, width=0.25))
    assert (narrow.madds, narrow.params) == (41_030_272, 470_072)
    assert count_cost(replace(V1, width=0.5)).madds // 1_000_000 == 149  # paper, table 6
    assert count_cost(replace(V1, width=0.75)).madds // 1_000_000 == 325


def test_mobilenet_v1_width_cuts_channels():
    channels = [block.convs[-1].c_out for block in resolve(replace(V1, width=0.3)).blocks]
    assert channels == [9, 19, 38, 38, 76, 76, *[153] * 6, 307, 307, 1000]
    assert resolve(replace(V1, width=0.01)).layers[0].c_out == 8


@pytest.mark.parametrize("width, madds", [(1, 137_460_672), (1.5, 292_443_552), (2, 524_045_184)])
def test_shufflenet_figures(width, madds):
    cost = count_cost(replace(SHUFFLE, width=width))
    assert (cost.madds, cost.depth) == (madds, 50)


# Table 1: by groups, channels of stages 2 to 4, and complexity in millions.
TABLE_1 = [
    (1, (144, 288, 576), 143),
    (2, (200, 400, 800), 140),
    (3, (240, 480, 960), 137),
    (4, (272, 544, 1088), 133),
    (8, (384, 768, 1536), 137),
]


@pytest.mark.parametrize("groups, channels, madds_m", TABLE_1)
def test_shufflenet_table_1(groups, channels, madds_m):
    arch = replace(SHUFFLE, groups=groups)
    stem, pool, *units, classifier = resolve(arch).blocks
    assert (stem.layers[0].c_out, stem.layers[0].size_out.width, pool.layers[0].size_out.width) == (24, 112, 56)
    expected = [
        (str(stage + 2), c, 28 // 2**stage)
        for stage, (c, repeats) in enumerate(zip(channels, (4, 8, 4), strict=True))
        for _ in range(repeats)
    ]
    assert [(unit.stage, unit.layers[-1].c_out, unit.layers[-1].size_out.width) for unit in units] == expected
    # The table's figures are these without the classifier, rounded.
    assert round((count_cost(arch).madds - classifier.convs[0].madds) / 1e6) == madds_m


def test_nasnet_figures():
    """Published: 564 million MAdds, 5.3 million params. Keras: 5,326,716 params, 36,738 of which are running
    statistics; Cadene's PyTorch port without auxiliary head: 5,289,978."""
    cost = count_cost(NASNET)
    assert (cost.madds, cost.params) == (563_638_816, 5_289_978)
    running = sum(2 * conv.c_out for conv in resolve(NASNET).convs if conv.norm)
    assert running == 36_738 and cost.params + running == 5_326_716
    # TF-slim's 1001 classes change no digit of the published figures, nor would a stem with padding, which 226 px give.
    assert count_cost(replace(NASNET, classes=1001)).madds == 563_638_816 + 1056
    assert count_cost(replace(NASNET, resolution=226)).madds == 563_909_984


def test_nasnet_depth():
    """Stem, five layers in each of twelve normal cells, nine in each of four reduction cells, classifier."""
    assert count_cost(NASNET).depth == 1 + 12 * 5 + 4 * 9 + 1


def test_nasnet_cells():
    blocks = resolve(NASNET).blocks
    shapes = [(block.stage, block.layers[-1].c_out, block.layers[-1].size_out.width) for block in blocks]
    assert shapes == [
        *[("stem", 32, 111), ("stem", 44, 56), ("stem", 88, 28)],
        *[("1", 264, 28)] * 4,
        ("reduction 1", 352, 14),
        *[("2", 528, 14)] * 4,
        ("reduction 2", 704, 7),
        *[("3", 1056, 7)] * 4,
        ("classifier", 1000, 1),
    ]
    assert {block.kind for block in blocks[1:-1]} == {"cell"}


@pytest.mark.parametrize("width, filters", [(0.01, 4), (0.25, 12), (0.5, 24), (1, 44), (1.01, 44), (64 / 44, 64)])
def test_nasnet_width_scales_the_cells_and_not_the_stem(width, filters):
    layers = resolve(replace(NASNET, width=width)).layers
    assert (layers[0].c_out, layers[-1].c_in) == (32, 24 * filters)


def test_nasnet_stem_has_no_padding_where_it_can():
    stems = [resolve(replace(NASNET, resolution=size)).layers[0] for size in (1, 2, 3, 4, 5, 224)]
    assert [(stem.size_out.width, stem.padding) for stem in stems] == [
        (1, None),
        (1, None),
        (1, 0),
        (1, 0),
        (2, 0),
        (111, 0),
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_the_same_at_every_resolution(family):
    weights = {
        tuple((c.name, c.c_in, c.c_out, c.kernel, c.stride, c.groups) for c in resolve(arch).convs)
        for arch in (ArchSpec(family=family, resolution=size) for size in (1, 2, 7, 18, 224))
    }
    assert len(weights) == 1


def test_nasnet_memory_is_that_of_the_shifted_stem():
    """The stem's map twice, as it is and shifted, beside the first cell's output and half of the second's input."""
    held = live_elements(resolve(NASNET).layers)
    assert max(held) == 2 * 32 * 111**2 + 44 * 56**2 + 11 * 56**2
    assert count_cost(NASNET).peak_activation_bytes == 4 * max(held)


# ---------------------------------------------------------------- what the networks compute


def run_shuffle(groups: int, values: list[int]) -> list[int]:
    network = PlanNetwork(resolve(replace(SHUFFLE, width=0.25, groups=groups)))
    layer = Layer("shuffle", "shuffle", len(values), len(values), 1, 1, groups, 1, 1, norm=False)
    return network.run_layer(layer, [torch.tensor(values).reshape(1, -1, 1, 1)]).flatten().tolist()


def test_shuffle_is_figure_1():
    """Each group of what comes out has its share of every group that went in: here the tens name the group."""
    assert run_shuffle(3, [11, 12, 13, 21, 22, 23, 31, 32, 33]) == [11, 21, 31, 12, 22, 32, 13, 23, 33]
    assert run_shuffle(2, [11, 12, 13, 21, 22, 23]) == [11, 21, 12, 22, 13, 23]
    assert run_shuffle(3, [11, 12, 21, 22, 31, 32]) == [11, 21, 31, 12, 22, 32]


@pytest.mark.parametrize("groups", SHUFFLENET_GROUPS)
def test_shuffle_follows_every_group_convolution_at_a_unit_s_start(groups):
    units = [block for block in resolve(replace(SHUFFLE, groups=groups)).blocks if block.kind == "unit"]
    for at, unit in enumerate(units):
        ops = [layer.op for layer in unit.layers[:2]]
        assert ops == (["conv", "conv"] if at == 0 or groups == 1 else ["conv", "shuffle"])
        assert [conv.groups for conv in unit.convs] == [1 if at == 0 else groups, unit.convs[1].c_in, groups]


def convolve(state: dict[str, Tensor], x: Tensor, name: str, stride: int = 1, padding: int | None = None) -> Tensor:
    """A convolution by its name, and the batch norm after it where there is one."""
    weight = state[f"{name}.weight"]
    padding = weight.shape[-1] // 2 if padding is None else padding
    x = functional.conv2d(x, weight, None, stride, padding, 1, x.shape[1] // weight.shape[1])
    before, _, at = name.rpartition(".")
    norm = f"{before}.{int(at) + 1}"
    if f"{norm}.running_mean" not in state:
        return x
    entries = [state[f"{norm}.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(x, *entries)


def classify(state: dict[str, Tensor], x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3)) @ state["classifier.1.weight"].T + state["classifier.1.bias"]


def shufflenet_by_hand(state: dict[str, Tensor], x: Tensor, groups: int) -> Tensor:
    """Figure 2b and 2c. Channels come from the state, so that nothing is decided again."""
    x = functional.max_pool2d(convolve(state, x, "features.0.0", 2).relu(), 3, 2, 1)
    for at in range(2, 18):
        unit, stride = f"features.{at}.conv", 2 if at in (2, 6, 14) else 1
        y = convolve(state, x, f"{unit}.0").relu()
        if at > 2:
            per_group = y.shape[1] // groups
            y = torch.stack([y[:, c::per_group] for c in range(per_group)], 1).flatten(1, 2)
        y = convolve(state, convolve(state, y, f"{unit}.2", stride), f"{unit}.4")
        if stride == 1:
            x = (x + y).relu()
        else:
            x = torch.cat([functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False), y], 1).relu()
    return classify(state, x)


def nasnet_by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Figure 4, in the words of TF-slim: ReLU before each convolution, none kept from one to the next.

    Compared once with Cadene's port (pretrainedmodels 0.7.4, same weights, its paddings made symmetric): logits equal
    to six digits at 224, 96, 75 and 67 px.
    """

    def separable(x: Tensor, name: str, stride: int = 1) -> Tensor:
        for first, step in ((0, stride), (3, 1)):
            x = convolve(state, convolve(state, x.relu(), f"{name}.{first}", step), f"{name}.{first + 1}")
        return x

    def largest(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 3, 2, 1)

    def mean(x: Tensor, stride: int = 1) -> Tensor:
        return functional.avg_pool2d(x, 3, stride, 1, count_include_pad=False)

    outputs = [convolve(state, x, "features.0.0", 2, padding=0)]
    for at in range(1, 17):
        cell, now = f"features.{at}", outputs[-1].relu()
        h = convolve(state, now, f"{cell}.now.0")
        if at == 1:
            p = outputs[-1]
        elif f"{cell}.before.2.weight" in state:
            before = outputs[-2].relu()
            odd = functional.pad(before, (0, 1, 0, 1))[:, :, 1::2, 1::2]
            even = convolve(state, before[:, :, ::2, ::2], f"{cell}.before.0")
            p = torch.cat([even, convolve(state, odd, f"{cell}.before.2")], 1)
        else:
            p = convolve(state, outputs[-2].relu(), f"{cell}.before.0")
        if at in (1, 2, 7, 12):
            a = separable(h, f"{cell}.left0", 2) + separable(p, f"{cell}.right0", 2)
            b = largest(h) + separable(p, f"{cell}.right1", 2)
            c = mean(h, 2) + separable(p, f"{cell}.right2", 2)
            outputs.append(torch.cat([b, c, b + mean(a), separable(a, f"{cell}.left4") + largest(h)], 1))
        else:
            a = separable(h, f"{cell}.left0") + separable(p, f"{cell}.right0")
            b = separable(p, f"{cell}.left1") + separable(p, f"{cell}.right1")
            e = separable(h, f"{cell}.left4") + h
            outputs.append(torch.cat([p, a, b, mean(h) + p, mean(p) + mean(p), e], 1))
    return classify(state, outputs[-1].relu())


def mobilenet_v1_by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    x = convolve(state, x, "features.0.0", 2).clamp(0, 6)
    for at in range(1, 14):
        x = convolve(state, x, f"features.{at}.0.0", 2 if at in (2, 4, 6, 12) else 1).clamp(0, 6)
        x = convolve(state, x, f"features.{at}.1.0").clamp(0, 6)
    return classify(state, x)


BY_HAND = {
    "mobilenet_v1": (replace(V1, width=0.25), mobilenet_v1_by_hand),
    "shufflenet_v1": (SHUFFLE, lambda state, x: shufflenet_by_hand(state, x, 3)),
    "nasnet_a": (replace(NASNET, width=0.25), nasnet_by_hand),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", BY_HAND)
@pytest.mark.parametrize("size", [33, 64])
def test_forward_by_hand(family, size):
    arch, by_hand = BY_HAND[family]
    arch = replace(arch, resolution=size, classes=7)
    model = enliven(build_model(arch), arch)
    with torch.inference_mode():
        logits, expected = model(images(arch)), by_hand(model.state_dict(), images(arch))
    assert (expected[0] - expected[1]).abs().max() > 0.1  # else anything is close
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- one module for any plan, one for MobileNetV2

MOBILENETS = {
    "paper": ArchSpec(resolution=32),
    "expansion, t=1": ArchSpec(resolution=32, residual="expansion", stages=set_expansion(MOBILENET_V2, 1)),
    "expansion": ArchSpec(resolution=32, width=0.35, residual="expansion"),
    "non-linear": ArchSpec(resolution=32, width=0.5, linear_bottleneck=False),
    "no residual": ArchSpec(resolution=32, width=0.5, residual="none"),
    "kernel 5": ArchSpec(resolution=32, width=0.5, kernel=5),
    "narrow": ArchSpec(resolution=32, width=0.35),
    "relu": ArchSpec(resolution=32, width=0.35, activation="relu", residual="expansion", linear_bottleneck=False),
    "hswish": ArchSpec(resolution=32, width=0.35, activation="hswish", linear_bottleneck=False),
    "ordinary convolutions": ArchSpec(resolution=32, width=0.35, depthwise=False, scale_last_conv=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("arch", MOBILENETS.values(), ids=MOBILENETS)
def test_plan_network_is_mobilenet_v2(arch):
    model, network = enliven(build_model(arch), arch), PlanNetwork(resolve(arch)).eval()
    state = model.state_dict()
    assert type(model) is not PlanNetwork
    assert list(network.state_dict()) == list(state)
    network.load_state_dict(state)
    with torch.inference_mode():
        logits, expected = network(images(arch)), model(images(arch))
    assert (expected[0] - expected[1]).abs().max() > 0.1
    torch.testing.assert_close(logits, expected)


# ---------------------------------------------------------------- names, and what a family does not have


def test_keys_tell_networks_apart():
    specs = [ArchSpec(family=family) for family in FAMILIES]
    specs += [replace(SHUFFLE, groups=groups) for groups in SHUFFLENET_GROUPS if groups != 3]
    specs += [replace(spec, width=0.5) for spec in (V1, SHUFFLE, NASNET)]
    specs += [replace(spec, resolution=192) for spec in (V1, SHUFFLE, NASNET)]
    specs += [replace(spec, classes=10) for spec in (V1, SHUFFLE, NASNET)]
    specs += [replace(spec, dropout=0.5) for spec in (V1, SHUFFLE, NASNET)]
    assert len({arch_key(spec) for spec in specs}) == len(specs)


def test_specs_of_the_same_network_share_a_key():
    assert arch_key(replace(NASNET, width=1.01)) == arch_key(NASNET)
    assert arch_key(replace(V1, width=0.001)) == arch_key(replace(V1, width=0.002))


CHOICES = ", ".join(FAMILIES["mobilenet_v1"])


@pytest.mark.parametrize(
    "arch, message",
    [
        (replace(V1, kernel=5), f"kernel: MobileNetV1 has no such choice; it has: {CHOICES}"),
        (replace(V1, groups=4), f"groups: MobileNetV1 has no such choice; it has: {CHOICES}"),
        (
            replace(SHUFFLE, residual="none"),
            f"residual: ShuffleNet has no such choice; it has: {', '.join(FAMILIES['shufflenet_v1'])}",
        ),
        (replace(NASNET, last_channels=64), f"last_channels: NASNet-A has no such choice; it has: {CHOICES}"),
        (
            replace(NASNET, linear_bottleneck=False),
            f"linear_bottleneck: NASNet-A has no such choice; it has: {CHOICES}",
        ),
        (
            ArchSpec(groups=4),
            f"groups: MobileNetV2 has no such choice; it has: {', '.join(FAMILIES['mobilenet_v2'])}",
        ),
        (replace(SHUFFLE, groups=5), "groups: 5 given; allowed: 1 | 2 | 3 | 4 | 8"),
        (replace(SHUFFLE, groups=True), "groups: True given; allowed: 1 | 2 | 3 | 4 | 8"),
        (ArchSpec(family="resnet"), f"family: 'resnet' given; allowed: {' | '.join(FAMILY_NAMES)}"),
        (
            replace(NASNET, resolution=0),
            "resolution: 0 given; allowed: a whole number of pixels from 1, or width x height as in 160x120",
        ),
        (
            replace(V1, kernel=5, residual="none"),
            f"kernel: MobileNetV1 has no such choice; it has: {CHOICES}; "
            f"residual: MobileNetV1 has no such choice; it has: {CHOICES}",
        ),
    ],
    ids=lambda value: value.family if isinstance(value, ArchSpec) else value.partition(":")[0],
)
def test_impossible_specs(arch, message):
    for use in (resolve, count_cost, arch_key, build_model):
        with pytest.raises(ArchError) as raised:
            use(arch)
        assert str(raised.value) == message


def test_plans_are_values():
    assert isinstance(resolve(NASNET), Plan)
    for arch in (V1, SHUFFLE, NASNET):
        assert resolve(arch) == resolve(replace(arch))
