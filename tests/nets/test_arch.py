"""Specs to plans: rounding against TF-slim's rule, shapes, shortcuts, what is refused, keys and labels."""

import re
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnv2_sweep.base.errors import ArchError, SweepError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.nets.arch import (
    ACTIVATIONS,
    CHOICES,
    CLASSIFIER,
    MOBILENET_V2,
    RESIDUALS,
    ArchSpec,
    Stage,
    arch_label,
    find_expansion,
    set_expansion,
)
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import round_channels
from mnv2_sweep.nets.resolve import arch_key, resolve

T1_EVERYWHERE = set_expansion(MOBILENET_V2, 1)


# ---------------------------------------------------------------- channels


@given(st.floats(0.001, 20_000))
def test_rounded_channels_are_multiples_of_8_near_the_wish(channels):
    rounded = round_channels(channels)
    assert rounded % 8 == 0 and rounded >= 8
    assert rounded >= 0.9 * channels
    nearest = int(channels / 8 + 0.5) * 8
    assert rounded == (nearest if nearest >= 8 and nearest >= 0.9 * channels else max(8, nearest + 8 * (nearest > 0)))


@pytest.mark.parametrize(
    "channels, rounded",
    [(1, 8), (5.6, 8), (8.4, 8), (11.2, 16), (12, 16), (22.4, 24), (33.6, 32), (44.8, 48), (134.4, 136), (448, 448)],
)
def test_rounded_channels_by_hand(channels, rounded):
    assert round_channels(channels) == rounded


@pytest.mark.parametrize(
    "width, last", [(0.35, 1280), (0.75, 1280), (1.0, 1280), (1.01, 1296), (1.3, 1664), (1.4, 1792)]
)
def test_last_convolution_grows_only_above_width_1(width, last):
    convolution, linear = resolve(ArchSpec(width=width)).convs[-2:]
    assert convolution.c_out == linear.c_in == last


def test_widths_in_steps_of_a_hundredth_are_87_networks():
    widths = [round(0.35 + 0.01 * i, 2) for i in range(106)]
    assert widths[-1] == 1.40 and len(set(widths)) == 106
    assert len({arch_key(ArchSpec(width=width)) for width in widths}) == 87


# ---------------------------------------------------------------- shapes


def test_paper_network_is_table_2():
    plan = resolve(ArchSpec())
    # (input channels, input size) of each row of table 2, then the 7x7 average pool's
    rows = [(3, 224), (32, 112), (16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7), (320, 7), (1280, 1)]
    starts = [0, 1, 2, 4, 7, 11, 14, 17, 18, 19]  # where the rows' first blocks are: n = 1 1 2 3 4 3 3 1
    first = [plan.blocks[i].convs[0] for i in starts]
    assert [(conv.c_in, conv.size_in.width) for conv in first] == rows
    assert len(plan.blocks) == 20 and plan.blocks[18].convs[0].size_out == square(7)
    assert [conv.stride for conv in plan.convs if conv.stride != 1] == [2] * 5
    assert len(plan.convs) == 53


@pytest.mark.parametrize(
    "resolution, sizes",
    [
        (224, {224, 112, 56, 28, 14, 7}),
        (97, {97, 49, 25, 13, 7, 4}),
        (33, {33, 17, 9, 5, 3, 2}),
        (5, {5, 3, 2, 1}),
        (1, {1}),
    ],
)
def test_sizes_are_halved_upwards_and_never_below_one_pixel(resolution, sizes):
    plan = resolve(ArchSpec(resolution=resolution))
    assert {conv.size_in.width for conv in plan.convs[:-1]} == sizes
    for before, after in zip(plan.convs[:-2], plan.convs[1:-1], strict=True):
        assert (after.c_in, after.size_in) == (before.c_out, before.size_out)
        assert before.size_out == before.size_in.shrink(before.stride)


def test_kernel_is_the_depthwise_ones_alone():
    plan = resolve(ArchSpec(kernel=7))
    depthwise = [conv for conv in plan.convs if conv.groups > 1]
    assert len(depthwise) == 17 and {conv.kernel for conv in depthwise} == {7}
    assert all(conv.groups == conv.c_in == conv.c_out for conv in depthwise)
    assert plan.convs[0].kernel == 3 and {conv.kernel for conv in plan.convs[1:] if conv.groups == 1} == {1}


def test_without_expansion_every_block_has_two_convolutions():
    plan = resolve(ArchSpec(stages=T1_EVERYWHERE))
    assert [len(block.convs) for block in plan.blocks] == [1] + [2] * 17 + [1, 1]
    assert not any(block.expands for block in plan.blocks)
    assert [block.hidden for block in plan.blocks[1:-2]] == [block.convs[0].c_in for block in plan.blocks[1:-2]]


def test_hidden_channels_are_the_block_input_times_t_unrounded():
    arch = ArchSpec(stages=(Stage(1, 20, 1, 1), Stage(5, 40, 1, 1)), width=1.0)
    assert resolve(arch).blocks[2].hidden == 5 * 24  # 20 channels round to 24; 24 x 5 is not rounded again


@pytest.mark.parametrize("linear", [True, False])
def test_relu6_after_projections_only_when_not_linear(linear):
    blocks = resolve(ArchSpec(linear_bottleneck=linear)).blocks[1:-2]
    assert {block.convs[-1].act for block in blocks} == {"" if linear else "relu6"}
    assert all(conv.act == "relu6" for block in blocks for conv in block.convs[:-1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("linear", [True, False])
def test_every_relu6_gives_way_to_another_activation(activation, linear):
    spec = ArchSpec(linear_bottleneck=linear)
    plain, changed = resolve(spec).layers, resolve(replace(spec, activation=activation)).layers
    assert changed == tuple(layer._replace(act=activation) if layer.act else layer for layer in plain)


@pytest.mark.parametrize(
    "width, scaled, last",
    [(0.5, True, 640), (0.5, False, 1280), (0.35, True, 448), (1.0, True, 1280), (1.4, True, 1792), (1.4, False, 1792)],
)
def test_last_convolution_narrows_below_width_1_only_when_told(width, scaled, last):
    assert resolve(ArchSpec(width=width, scale_last_conv=scaled)).convs[-1].c_in == last


def test_an_ordinary_convolution_differs_in_its_groups_alone():
    plain, changed = resolve(ArchSpec(kernel=5)).layers, resolve(ArchSpec(kernel=5, depthwise=False)).layers
    assert sum(layer.groups > 1 for layer in plain) == 17
    assert changed == tuple(layer._replace(groups=1) for layer in plain)


# ---------------------------------------------------------------- shortcuts


@pytest.mark.parametrize("residual, count", [("bottleneck", 10), ("expansion", 10), ("none", 0)])
def test_shortcuts_of_table_2(residual, count):
    shortcuts = [block.shortcut for block in resolve(ArchSpec(residual=residual)).blocks]
    assert sum(shortcut is not None for shortcut in shortcuts) == count
    assert {shortcut for shortcut in shortcuts if shortcut} == ({residual} if count else set())


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.4])
def test_both_kinds_of_shortcut_jump_over_the_same_ten_places(width):
    """A place is a pair of consecutive narrow tensors (between blocks) or wide ones (within them)."""
    narrow = resolve(ArchSpec(width=width)).blocks
    wide = resolve(ArchSpec(width=width, residual="expansion")).blocks
    assert (
        sum(block.shortcut is not None for block in narrow) == sum(block.shortcut is not None for block in wide) == 10
    )
    # A stage of n blocks has n - 1 of either kind: "bottleneck" in its blocks 2..n. Between expansions the jump
    # from block i to i + 1 needs stride 1 in block i and equal expanded tensors, so it moves one block along.
    assert [i for i, block in enumerate(narrow) if block.shortcut] == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    assert [i for i, block in enumerate(wide) if block.shortcut] == [4, 6, 7, 9, 10, 11, 13, 14, 16, 17]


def test_shortcut_between_expansions_needs_equal_tensors_and_stride_1_in_the_first_block():
    def shortcuts(*stages: Stage) -> list[str | None]:
        return [block.shortcut for block in resolve(ArchSpec(stages=stages, residual="expansion")).blocks[1:-2]]

    assert shortcuts(Stage(2, 32, 2, 1)) == [None, "expansion"]
    assert shortcuts(Stage(2, 32, 2, 2)) == [None, None]  # the first block halves the map
    assert shortcuts(Stage(2, 16, 2, 1)) == [None, None]  # 64 and 32 expanded channels
    assert shortcuts(Stage(2, 32, 1, 1), Stage(3, 32, 1, 1)) == [None, None]  # 64 and 96
    assert shortcuts(Stage(2, 32, 1, 1), Stage(2, 64, 1, 2)) == [None, "expansion"]  # joined before the stride
    assert shortcuts(Stage(2, 16, 1, 1), Stage(4, 16, 1, 1)) == [None, "expansion"]  # 32 x 2 = 16 x 4
    assert shortcuts(Stage(1, 32, 2, 1)) == [None, "expansion"]  # t = 1: the block's input is the expanded tensor


@pytest.mark.parametrize("residual", RESIDUALS)
def test_shortcuts_without_expansion(residual):
    shortcuts = [block.shortcut for block in resolve(ArchSpec(stages=T1_EVERYWHERE, residual=residual)).blocks]
    assert sum(shortcut is not None for shortcut in shortcuts) == (0 if residual == "none" else 10)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"stages": ()}, "stages: () given; allowed: at least one row (t, c, n, s)"),
        ({"stages": (Stage(0, 16, 1, 1),)}, "stages.0.t: 0 given; allowed: a whole number from 1"),
        ({"stages": (*MOBILENET_V2, Stage(1, 16, 1, 0))}, "stages.7.s: 0 given; allowed: a whole number from 1"),
        ({"stages": (Stage(1, 16, 1.0, 1),)}, "stages.0.n: 1.0 given; allowed: a whole number from 1"),
        ({"stages": (Stage(1, True, 1, 1),)}, "stages.0.c: True given; allowed: a whole number from 1"),
        ({"stages": (Stage(1, [16], 1, 1),)}, "stages.0.c: [16] given; allowed: a whole number from 1"),
        ({"width": 0}, "width: 0 given; allowed: a number above 0, at most 16"),
        ({"width": -0.5}, "width: -0.5 given; allowed: a number above 0, at most 16"),
        ({"width": float("nan")}, "width: nan given; allowed: a number above 0, at most 16"),
        ({"width": float("inf")}, "width: inf given; allowed: a number above 0, at most 16"),
        ({"width": "1.0"}, "width: '1.0' given; allowed: a number above 0, at most 16"),
        ({"width": True}, "width: True given; allowed: a number above 0, at most 16"),
        (
            {"resolution": 0},
            "resolution: 0 given; allowed: a whole number of pixels from 1, or width x height as in 160x120",
        ),
        (
            {"resolution": 96.0},
            "resolution: 96.0 given; allowed: a whole number of pixels from 1, or width x height as in 160x120",
        ),
        ({"kernel": 4}, "kernel: 4 given; allowed: an odd whole number (3, 5, 7)"),
        ({"kernel": -3}, "kernel: -3 given; allowed: an odd whole number (3, 5, 7)"),
        ({"linear_bottleneck": 1}, "linear_bottleneck: 1 given; allowed: true or false"),
        ({"residual": "yes"}, "residual: 'yes' given; allowed: bottleneck | expansion | none"),
        (
            {"last_channels": -1},
            "last_channels: -1 given; allowed: a whole number from 1, or 0 for no last convolution",
        ),
        ({"in_channels": 2}, "in_channels: 2 given; allowed: 3 | 1"),
        (
            {"resolution": Size(0, 8)},
            "resolution: Size(height=0, width=8) given; allowed: a whole number of pixels from 1, or "
            "width x height as in 160x120",
        ),
        (
            {"resolution": Size(8, 8)},
            "resolution: Size(height=8, width=8) given; allowed: a whole number of pixels from 1, or "
            "width x height as in 160x120",
        ),
        ({"se_ratio": 1.5}, "se_ratio: 1.5 given; allowed: a number from 0, at most 1"),
        ({"divisor": 0}, "divisor: 0 given; allowed: a whole number from 1"),
        ({"classes": 0}, "classes: 0 given; allowed: a whole number from 1"),
        ({"dropout": 1}, "dropout: 1 given; allowed: a number from 0, below 1"),
        ({"dropout": -0.1}, "dropout: -0.1 given; allowed: a number from 0, below 1"),
        ({"activation": "swish"}, "activation: 'swish' given; allowed: relu6 | relu | hswish"),
        ({"scale_last_conv": 0}, "scale_last_conv: 0 given; allowed: true or false"),
        ({"depthwise": None}, "depthwise: None given; allowed: true or false"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_impossible_specs_are_refused(changes, text):
    with pytest.raises(ArchError) as caught:
        resolve(ArchSpec(**changes))
    assert str(caught.value) == text


@pytest.mark.parametrize("ask", [resolve, count_cost])
@pytest.mark.parametrize(
    "right, wrong",
    [
        (ArchSpec(stages=(Stage(1, 1, 1, 1),)), ArchSpec(stages=(Stage(1, 1, True, 1),))),
        (ArchSpec(divisor=1), ArchSpec(divisor=True)),
        (ArchSpec(resolution=Size(1, 8)), ArchSpec(resolution=Size(True, 8))),
    ],
    ids=["cell", "field", "side"],
)
def test_a_spec_that_equals_a_known_one_is_refused(ask, right, wrong):
    ask(right)
    with pytest.raises(ArchError, match="True"):
        ask(wrong)


def test_all_mistakes_are_told_together():
    with pytest.raises(SweepError) as caught:
        resolve(ArchSpec(width=0, kernel=2, residual="both"))
    assert re.findall(r"(\w+): \S+ given; allowed: ", str(caught.value)) == ["width", "kernel", "residual"]


# ---------------------------------------------------------------- names


def test_arch_key_of_the_paper_network_stays():
    """Results are stored under ids made from it: a changed key orphans every stored result."""
    assert arch_key(ArchSpec()) == "c05744b7e094"


@pytest.mark.parametrize(
    "one, other",
    [
        (ArchSpec(), ArchSpec(width=1)),
        (ArchSpec(), ArchSpec(width=1.001)),
        (ArchSpec(stages=(Stage(2, 16, 1, 1),)), ArchSpec(stages=(Stage(2, 16, 1, 1),), residual="none")),
        (ArchSpec(stages=(Stage(1, 32, 2, 1),)), ArchSpec(stages=(Stage(1, 32, 1, 1), Stage(1, 32, 1, 1)))),
        (ArchSpec(stages=(Stage(2, 17, 1, 1),)), ArchSpec(stages=(Stage(2, 16, 1, 1),))),
    ],
    ids=["whole width", "width too near", "nothing to join", "rows split", "channels round alike"],
)
def test_specs_of_one_plan_share_their_key(one, other):
    assert resolve(one).layers == resolve(other).layers
    assert arch_key(one) == arch_key(other)


def test_whole_dropout_shares_its_key():
    assert resolve(ArchSpec(dropout=0)) == resolve(ArchSpec(dropout=0.0))
    assert arch_key(ArchSpec(dropout=0)) == arch_key(ArchSpec(dropout=0.0))


OTHERS = {
    "stages": T1_EVERYWHERE,
    "width": 0.75,
    "resolution": 223,  # the same sizes from the stem on
    "kernel": 5,
    "linear_bottleneck": False,
    "residual": "expansion",
    "last_channels": 640,
    "classes": 10,
    "dropout": 0.0,
    "family": "mobilenet_v1",
    "activation": "relu",
    "depthwise": False,
    "in_channels": 1,
    "stem_channels": 16,
    "se_ratio": 0.25,
    "divisor": 24,
    "padding": "same",
}


def test_every_field_changes_the_key():
    # ShuffleNet's groups: see test_families; the other one changes nothing from width 1 on
    # and those of heads are in test_heads.
    of_heads = {"head", *(name for name, one in CHOICES.items() if one.heads and CLASSIFIER not in one.heads)}
    assert {*OTHERS, *of_heads, "groups", "scale_last_conv"} == {field.name for field in fields(ArchSpec)}
    keys = [arch_key(replace(ArchSpec(), **{name: value})) for name, value in OTHERS.items()]
    keys.append(arch_key(ArchSpec(activation="relu", linear_bottleneck=False)))
    keys += [arch_key(ArchSpec(width=0.5, scale_last_conv=scaled)) for scaled in (False, True)]
    assert len({arch_key(ArchSpec()), *keys}) == 4 + len(OTHERS)


@pytest.mark.parametrize(
    "arch, label",
    [
        (ArchSpec(), "1.0 at 224"),
        (ArchSpec(width=1, resolution=96), "1.0 at 96"),
        (ArchSpec(width=0.75, resolution=160), "0.75 at 160"),
        (ArchSpec(classes=10), "1.0 at 224"),
        (ArchSpec(stages=set_expansion(MOBILENET_V2, 4)), "1.0 at 224, t=4"),
        (ArchSpec(stages=T1_EVERYWHERE), "1.0 at 224, t=1"),
        (ArchSpec(kernel=5), "1.0 at 224, k=5"),
        (ArchSpec(linear_bottleneck=False), "1.0 at 224, non-linear"),
        (ArchSpec(residual="none"), "1.0 at 224, no residual"),
        (ArchSpec(residual="expansion"), "1.0 at 224, residual on expansions"),
        (ArchSpec(last_channels=640), "1.0 at 224, last=640"),
        (ArchSpec(dropout=0), "1.0 at 224, dropout=0"),
        (ArchSpec(activation="hswish"), "1.0 at 224, hswish"),
        (ArchSpec(width=0.5, scale_last_conv=True), "0.5 at 224, last scaled"),
        (ArchSpec(depthwise=False), "1.0 at 224, ordinary convolutions"),
        (
            ArchSpec(width=1.4, resolution=97, kernel=7, linear_bottleneck=False, residual="none", dropout=0.5),
            "1.4 at 97, k=7, non-linear, no residual, dropout=0.5",
        ),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_labels(arch, label):
    assert arch_label(arch) == label


def test_tables_of_their_own_have_a_digest_in_the_label():
    labels = [arch_label(ArchSpec(stages=stages)) for stages in (MOBILENET_V2[:6], MOBILENET_V2[1:], MOBILENET_V2[:1])]
    assert len(set(labels)) == 3
    for label in labels:
        assert label.startswith("1.0 at 224, table ") and len(label) == len("1.0 at 224, table ") + 6


def test_set_expansion_leaves_rows_that_do_not_expand():
    stages = set_expansion(MOBILENET_V2, 3)
    assert [stage.t for stage in stages] == [1, 3, 3, 3, 3, 3, 3]
    assert [(s.c, s.n, s.s) for s in stages] == [(s.c, s.n, s.s) for s in MOBILENET_V2]


def test_plans_and_costs_need_no_torch():
    code = (
        "import sys, mnv2_sweep.nets.cost, mnv2_sweep.trials.trial, mnv2_sweep.paper.published; "
        "mnv2_sweep.nets.cost.count_cost(mnv2_sweep.nets.arch.ArchSpec()); "
        "print(sorted({'torch', 'numpy', 'pandas', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("t", [1, 2, 6, 10])
def test_the_expansion_of_a_table_is_found_again(t):
    assert find_expansion(set_expansion(MOBILENET_V2, t)) == t


def test_a_table_of_several_expansions_has_none():
    assert find_expansion((Stage(1, 16, 1, 1), Stage(3, 24, 1, 1), Stage(6, 24, 1, 1))) is None
