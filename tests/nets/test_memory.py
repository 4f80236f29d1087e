"""The paper's bound (section 5.1) against sums made by hand."""

from dataclasses import replace

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.memory import bound_operations, count_memory, find_peak, memory_text, most_splits
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.nets.steps import live_elements

MAP = 112 * 112  # at 224 px everything in the first blocks is a multiple of it

# Stem 3 -> 32, then 32 -> 8 without expansion, 8 -> 48 -> 8 with a shortcut, 8 -> 48 -> 16 with stride 2, last 16 -> 8.
SMALL = ArchSpec(
    stages=(Stage(1, 8, 1, 1), Stage(6, 8, 1, 1), Stage(6, 16, 1, 2)), resolution=16, last_channels=8, classes=2
)


def held(arch: ArchSpec, splits: int, unit: int) -> list[tuple[str, float]]:
    """Each operation's block and what it holds, in maps of `unit` numbers."""
    return [(op.block.name[9:], op.elements / unit) for op in bound_operations(resolve(arch), splits)]


def block_peak(arch: ArchSpec, name: str, splits: int) -> int:
    return max(op.elements for op in bound_operations(resolve(arch), splits) if op.block.name == name)


# ---------------------------------------------------------------- MobileNetV2 1.0 at 224


@pytest.mark.parametrize(
    "splits, maps",
    [
        (1, 96 + 24),  # layer by layer, the depthwise convolution: 96 channels at 112, 96 at 56, which are 24
        (2, 16 + 6 + 48 + 12),  # input, 24 channels at 56, half of what is expanded and half of that at 56
        (3, 16 + 6 + 32 + 8),
        (4, 52),
        (5, 16 + 6 + 20 + 5),  # groups of 20, 19, 19, 19, 19
        (96, 16 + 6 + 1 + 0.25),
        (960, 23.25),
    ],
)
def test_block_that_holds_most(splits, maps):
    assert block_peak(ArchSpec(), "features.2", splits) == maps * MAP


@pytest.mark.parametrize(
    "splits, maps", [(1, 32 + 32), (2, 64), (3, 32 + 16 + 11), (4, 56), (5, 32 + 16 + 7), (32, 49), (960, 49)]
)
def test_block_without_expansion(splits, maps):
    """Only the depthwise convolution's output is split; in two halves that holds as much as layer by layer."""
    assert block_peak(ArchSpec(), "features.1", splits) == maps * MAP


def test_peak_of_the_network():
    """Until block 2 is split so finely that block 1 holds more."""
    peaks = count_memory(ArchSpec())
    assert [(peak.splits, peak.operation.elements / MAP) for peak in peaks] == [
        *[(1, 120), (2, 82), (3, 62), (4, 56), (5, 55), (960, 49)]
    ]
    assert [peak.operation.block.name for peak in peaks] == ["features.2"] * 3 + ["features.1"] * 3
    assert block_peak(ArchSpec(), "features.2", 4) <= 0.5 * peaks[0].operation.elements


@pytest.mark.parametrize("bits, size", [(8, 1), (16, 2), (32, 4)])
def test_bytes_of_an_activation(bits, size):
    assert find_peak(resolve(ArchSpec()), 3).bytes(bits) == 62 * MAP * size
    assert find_peak(resolve(ArchSpec()), 3).bytes(bits) == 62 * MAP * size


# ---------------------------------------------------------------- a small network, every operation

STEM = [12 + 32]
TAIL = [4 + 2, 2 + 8 / 64, 10 / 64]  # last convolution, pooling, classifier


def test_small_network_unsplit():
    one, two, three = [32 + 32, 32 + 8], [8 + 48, 8 + 48 + 48, 8 + 48 + 8], [8 + 48, 48 + 12, 12 + 4]
    assert [maps for _, maps in held(SMALL, 1, 64)] == [*STEM, *one, *two, *three, *TAIL]


@pytest.mark.parametrize(
    "splits, one, two, three",
    [
        (2, 32 + 8 + 16, 8 + 8 + 24 + 24, 8 + 4 + 24 + 6),
        (4, 32 + 8 + 8, 8 + 8 + 12 + 12, 8 + 4 + 12 + 3),
        (5, 32 + 8 + 7, 8 + 8 + 10 + 10, 8 + 4 + 10 + 2.5),
        (7, 32 + 8 + 5, 8 + 8 + 7 + 7, 8 + 4 + 7 + 1.75),
        (48, 32 + 8 + 1, 8 + 8 + 1 + 1, 8 + 4 + 1 + 0.25),
        (1000, 32 + 8 + 1, 8 + 8 + 1 + 1, 8 + 4 + 1 + 0.25),
    ],
)
def test_small_network_split(splits, one, two, three):
    assert [maps for _, maps in held(SMALL, splits, 64)] == [*STEM, one, two, three, *TAIL]


def test_groups_are_as_many_as_asked_for_but_no_more_than_channels():
    groups = [op.groups for op in bound_operations(resolve(SMALL), 40)]
    assert groups == [1, 32, 40, 40, 1, 1, 1]


def test_shortcut_between_expansions_keeps_its_blocks_whole():
    """It runs from block 2's expanded tensor to block 3's. At its width and stride both have 48 channels at 8 px."""
    operations = held(replace(SMALL, residual="expansion"), 4, 64)
    assert [name for name, _ in operations][:8] == ["0", "1", "2", "2", "2", "3", "3", "3"]
    assert operations[1] == ("1", 48)
    # Block 2's expanded tensor waits until block 3 has expanded.
    assert [maps for _, maps in operations[2:8]] == [8 + 48, 48 + 48, 48 + 48 + 8, 48 + 8 + 48, 48 + 12, 12 + 4]


@pytest.mark.parametrize("residual", ["bottleneck", "none"])
def test_shortcut_around_a_split_block_holds_nothing_more(residual):
    assert block_peak(replace(SMALL, residual=residual), "features.2", 4) == 40 * 64


def test_block_is_whole_where_splitting_would_hold_more():
    """8 -> 16 -> 64 at 8 px: at most 16 + 64 maps layer by layer, the two halves 8 + 64 + 8 + 8, the quarters 80."""
    arch = ArchSpec(stages=(Stage(1, 8, 1, 1), Stage(2, 64, 1, 1)), resolution=16)
    assert [(block_peak(arch, "features.2", t) / 64, len(held(arch, t, 64))) for t in (2, 4, 5)] == [
        *[(80, 8), (80, 8), (8 + 64 + 8, 8)]
    ]
    assert (block_peak(arch, "features.2", 6) / 64, len(held(arch, 6, 64))) == (8 + 64 + 6, 6)


# ---------------------------------------------------------------- any network

SPECS = {
    "paper": ArchSpec(),
    "odd sizes": ArchSpec(width=0.6, resolution=97),
    "flat": ArchSpec(stages=set_expansion(MOBILENET_V2, 1), resolution=64),
    "wide shortcuts": ArchSpec(residual="expansion", resolution=96),
    "strides": ArchSpec(stages=(Stage(2, 16, 2, 3), Stage(4, 8, 2, 5)), resolution=50, kernel=5),
    "one pixel": ArchSpec(resolution=1),
    "mobilenet_v1": ArchSpec(family="mobilenet_v1"),
    "shufflenet_v1": ArchSpec(family="shufflenet_v1"),
    "nasnet_a": ArchSpec(family="nasnet_a"),
}
every_spec = pytest.mark.parametrize("arch", SPECS.values(), ids=SPECS)


@every_spec
def test_one_split_is_the_layer_by_layer_peak(arch):
    plan = resolve(arch)
    assert [op.elements for op in bound_operations(plan, 1)] == live_elements(plan.layers)
    assert [layer for op in bound_operations(plan, 1) for layer in op.layers] == list(plan.layers)
    assert find_peak(plan, 1).bytes() == count_cost(arch).peak_activation_bytes


@every_spec
def test_more_splits_never_hold_more(arch):
    plan = resolve(arch)
    for block in {block.name: block for block in plan.blocks}.values():
        peaks = [block_peak(arch, block.name, splits) for splits in (1, 2, 3, 4, 5, 7, 20, most_splits(plan))]
        assert peaks == sorted(peaks, reverse=True), block.name
    assert find_peak(plan, most_splits(plan)).bytes() == find_peak(plan, 10**6).bytes()


@pytest.mark.parametrize("family", ["mobilenet_v1", "shufflenet_v1", "nasnet_a"])
def test_other_families_are_never_split(family):
    arch = ArchSpec(family=family)
    plan = resolve(arch)
    assert bound_operations(plan, 5) == bound_operations(plan, 1)
    assert most_splits(plan) == 1
    assert [peak.splits for peak in count_memory(arch)] == [1]
    assert "only MobileNetV2's bottleneck blocks are split" in memory_text(arch)


@pytest.mark.parametrize("residual", ["bottleneck", "expansion", "none"])
def test_ordinary_convolutions_are_never_split(residual):
    """They read every channel of the expanded tensor."""
    arch = replace(SMALL, depthwise=False, residual=residual)
    assert [maps for _, maps in held(arch, 4, 64)] == [maps for _, maps in held(replace(arch, depthwise=True), 1, 64)]
    assert [peak.splits for peak in count_memory(arch)] == [1]
    assert memory_text(arch).splitlines()[-1] == (
        "it runs layer by layer: an ordinary convolution reads all of its block's expanded tensor"
    )


def test_narrow_networks_have_fewer_splits():
    arch = ArchSpec(stages=(Stage(1, 8, 1, 1),), width=0.25)  # the stem's 8 channels
    assert [peak.splits for peak in count_memory(arch)] == [1, 2, 3, 4, 5, 8]
    assert [line.split()[0] for line in memory_text(arch).splitlines()[2:8]] == ["1", "2", "3", "4", "5", "n"]


@pytest.mark.parametrize("splits", [0, -1])
def test_splits_are_whole_numbers_from_1(splits):
    with pytest.raises(SweepError, match=f"splits: {splits} given, a whole number from 1 allowed"):
        bound_operations(resolve(SMALL), splits)


def test_text():
    lines = memory_text(ArchSpec()).splitlines()
    assert lines[1].split() == [
        "splits",
        "8",
        "bits",
        "16",
        "bits",
        "32",
        "bits",
        "of",
        "unsplit",
        "held",
        "most",
        "by",
    ]
    assert lines[2] == "     1  1.505 MB  3.011 MB  6.021 MB       100 %  features.2.conv.1.0: 96 -> 96, 112 px"
    assert lines[5] == "     4  0.702 MB  1.405 MB  2.810 MB        47 %  features.1: 32 -> 32 -> 16, 112 px"
    assert lines[7].split()[0] == "n" and "960" in lines[8] and len(lines) == 9
    assert "stay whole" in memory_text(ArchSpec(residual="expansion")).splitlines()[-1]
