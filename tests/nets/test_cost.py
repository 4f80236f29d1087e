"""Costs against published numbers and against lists of operations written by hand."""

from dataclasses import replace

import pytest

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, set_expansion
from mnv2_sweep.nets.cost import Cost, count_cost, count_parts, count_plan
from mnv2_sweep.nets.resolve import arch_key, change_classes, network_parts, resolve
from mnv2_sweep.nets.steps import live_elements
from mnv2_sweep.paper.published import CHECKPOINTS
from tests.arch_samples import draw_arch, draw_other


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda c: f"{c.arch.width}-{c.arch.resolution}")
def test_madds_cut_to_millions_are_the_published_ones(checkpoint):
    assert count_cost(checkpoint.arch).madds // 1_000_000 == checkpoint.madds_m


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda c: f"{c.arch.width}-{c.arch.resolution}")
def test_params_without_batch_norm_are_the_published_ones(checkpoint):
    """TF-slim leaves batch norm out and has a class more, the background."""
    plan = resolve(replace(checkpoint.arch, classes=1001))
    params = count_plan(plan).params - sum(2 * conv.c_out for conv in plan.convs if conv.norm)
    assert params / 1e6 == pytest.approx(checkpoint.params_m, abs=0.006)


def test_paper_network_exactly():
    cost = count_cost(ArchSpec())
    assert cost.madds == 300_774_272  # fvcore's convolutions and linear layer
    assert cost.params == 3_504_872  # torchvision's mobilenet_v2
    # Block 2 expands 16 channels to 96 at 112, then halves the map: its depthwise convolution reads and writes most.
    assert cost.peak_activation_bytes == 4 * (96 * 112**2 + 96 * 56**2)


# One network small enough to write down: stem 3 -> 32, then blocks 32 -> 8 (t=1), 8 -> 8, 8 -> 8 and 8 -> 16 with
# stride 2 (all t=2), last convolution 16 -> 16, classifier -> 10. Elements: image 3 x 8 x 8 = 192, then at 4 px 32
# channels are 512, 16 are 256 and 8 are 128; at 2 px 16 channels are 64.
SMALL = ArchSpec(
    stages=(Stage(1, 8, 1, 1), Stage(2, 8, 2, 1), Stage(2, 16, 1, 2)), resolution=8, last_channels=16, classes=10
)
STEM = {"image": 192, "stem": 512, "deep1": 512, "out1": 128}
REST = {"wide2": 256, "deep2": 256, "out2": 128, "wide3": 256, "deep3": 256, "out3": 128}
TAIL = {"wide4": 256, "deep4": 64, "out4": 64, "last": 64, "pooled": 16, "logits": 10}
SIZES = STEM | REST | TAIL

# Each operation: what it reads -> what it writes.
NONE = [
    *["image>stem", "stem>deep1", "deep1>out1"],
    *["out1>wide2", "wide2>deep2", "deep2>out2"],
    *["out2>wide3", "wide3>deep3", "deep3>out3"],
    *["out3>wide4", "wide4>deep4", "deep4>out4"],
    *["out4>last", "last>pooled", "pooled>logits"],
]
BOTTLENECK = [{"deep2>out2": "deep2,out1>out2", "deep3>out3": "deep3,out2>out3"}.get(op, op) for op in NONE]
EXPANSION = [{"out2>wide3": "out2,wide2>wide3", "out3>wide4": "out3,wide3>wide4"}.get(op, op) for op in NONE]

# Without expansions: stem 3 -> 32, three blocks 32 -> 32, last convolution 32 -> 8, one class. A sum of two tensors
# is an operation of its own here, because no expansion is there to take it in.
FLAT = ArchSpec(stages=(Stage(1, 32, 3, 1),), resolution=8, last_channels=8, classes=1, residual="expansion")
FLAT_SIZES = {"image": 192, "last": 128, "pooled": 8, "logits": 1}
FLAT_SIZES |= dict.fromkeys(["stem", "deep1", "out1", "sum2", "deep2", "out2", "sum3", "deep3", "out3"], 512)
FLAT_OPS = [
    *["image>stem", "stem>deep1", "deep1>out1", "out1,stem>sum2"],
    *["sum2>deep2", "deep2>out2", "out2,sum2>sum3", "sum3>deep3", "deep3>out3"],
    *["out3>last", "last>pooled", "pooled>logits"],
]


def hold_tensors(operations: list[str], sizes: dict[str, int]) -> list[int]:
    """Elements held during each operation: what it writes, and all made earlier that it or a later one reads."""
    parsed = [(operation.split(">")[0].split(","), operation.split(">")[1]) for operation in operations]
    held = []
    for i, (_, made) in enumerate(parsed):
        earlier = {"image", *(tensor for _, tensor in parsed[:i])}
        needed = {tensor for reads, _ in parsed[i:] for tensor in reads}
        held.append(sizes[made] + sum(sizes[tensor] for tensor in earlier & needed))
    return held


@pytest.mark.parametrize(
    "arch, operations, sizes, peak",
    [
        (replace(SMALL, residual="none"), NONE, SIZES, 1024),
        (SMALL, BOTTLENECK, SIZES, 1024),
        (replace(SMALL, residual="expansion"), EXPANSION, SIZES, 1024),
        (FLAT, FLAT_OPS, FLAT_SIZES, 1536),
        (replace(SMALL, linear_bottleneck=False), BOTTLENECK, SIZES, 1024),
    ],
    ids=["none", "bottleneck", "expansion", "expansion, t=1", "non-linear"],
)
def test_activation_memory_by_hand(arch, operations, sizes, peak):
    held = hold_tensors(operations, sizes)
    assert live_elements(resolve(arch).layers) == held
    assert count_cost(arch).peak_activation_bytes == 4 * max(held) == 4 * peak


def test_hand_written_memory_tells_the_residuals_apart():
    """The sums themselves, so that the lists above are not only compared with their like."""
    assert hold_tensors(NONE, SIZES)[3:9] == [384, 512, 384, 384, 512, 384]
    assert hold_tensors(BOTTLENECK, SIZES)[3:9] == [384, 640, 512, 384, 640, 512]
    assert hold_tensors(EXPANSION, SIZES)[3:9] == [384, 512, 640, 640, 512, 640]


@pytest.mark.parametrize(
    "residual, channels", [("none", 192 + 192), ("bottleneck", 192 + 192 + 32), ("expansion", 192 + 192 + 32)]
)
def test_peak_includes_what_a_shortcut_holds(residual, channels):
    """32 channels expanded to 192, all at 8 px: the depthwise convolution's input and output, and what waits."""
    arch = ArchSpec(stages=(Stage(6, 32, 3, 1),), resolution=16, last_channels=8, residual=residual)
    assert count_cost(arch).peak_activation_bytes == 4 * channels * 8**2


def test_madds_and_params_by_hand():
    arch = ArchSpec(stages=(Stage(2, 16, 1, 2),), resolution=8, kernel=5, last_channels=24, classes=3)
    madds = 27 * 32 * 16 + 32 * 64 * 16 + 25 * 64 * 4 + 64 * 16 * 4 + 16 * 24 * 4 + 24 * 3
    weights = 27 * 32 + 32 * 64 + 25 * 64 + 64 * 16 + 16 * 24 + 24 * 3
    assert count_cost(arch) == Cost(madds, weights + 2 * (32 + 64 + 64 + 16 + 24) + 3, 4 * (32 + 64) * 16, 6)


def test_an_ordinary_convolution_by_hand():
    """As above, with 64 x 64 kernels of 5 x 5 in the place of 64."""
    arch = ArchSpec(stages=(Stage(2, 16, 1, 2),), resolution=8, kernel=5, last_channels=24, classes=3)
    one, other = count_cost(arch), count_cost(replace(arch, depthwise=False))
    assert other.madds - one.madds == 25 * 64 * 63 * 4 and other.params - one.params == 25 * 64 * 63
    assert (other.depth, other.peak_activation_bytes) == (one.depth, one.peak_activation_bytes)


@pytest.mark.parametrize(
    "changes",
    [
        *({"residual": "none"}, {"residual": "expansion"}, {"linear_bottleneck": False}, {"dropout": 0.5}),
        *({"activation": "relu"}, {"activation": "hswish"}, {"scale_last_conv": True}),
    ],
)
def test_ablations_cost_the_same(changes):
    assert replace(count_cost(ArchSpec(**changes)), peak_activation_bytes=0) == replace(
        count_cost(ArchSpec()), peak_activation_bytes=0
    )


def test_expansion_and_one_pixel():
    t1 = count_cost(ArchSpec(stages=set_expansion(MOBILENET_V2, 1)))
    assert t1.madds < count_cost(ArchSpec(stages=set_expansion(MOBILENET_V2, 2))).madds < count_cost(ArchSpec()).madds
    one = count_cost(ArchSpec(resolution=1))
    assert one.params == count_cost(ArchSpec()).params
    assert one.madds == sum(conv.weights for conv in resolve(ArchSpec()).convs)


def test_impossible_spec_has_no_cost():
    with pytest.raises(ArchError, match="kernel: 2 given"):
        count_cost(ArchSpec(kernel=2))


@pytest.mark.parametrize("draw", [draw_arch, draw_other])
@pytest.mark.parametrize("seed", range(5))
def test_other_classes_cost_what_the_network_with_them_does(draw, seed):
    arch = draw(seed)
    other, parts = replace(arch, classes=arch.classes + 3), network_parts(arch)
    changed = change_classes(arch, parts, other.classes)
    assert count_parts(changed) == count_cost(other) and count_parts(parts) == count_cost(arch)
    assert arch_key(other, changed) == arch_key(other) != arch_key(arch, parts) == arch_key(arch)
