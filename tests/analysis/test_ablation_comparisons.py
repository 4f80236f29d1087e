"""From options to comparisons: which networks are trained beside which, what is left out, what is refused."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mnv2_sweep.analysis.ablation import (
    ALL,
    NO_DEPTHWISE,
    NO_LINEAR_BOTTLENECK,
    NO_RESIDUAL,
    SCALE_LAST_CONV,
    WIDE_RESIDUAL,
    change_activation,
    change_expansion,
    changed_arch,
    choose_changes,
    infer_comparisons,
    list_networks,
    name_changes,
    parse_bases,
    plan_comparisons,
)
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, arch_label, set_expansion
from mnv2_sweep.nets.cost import count_cost

DOCS = Path(__file__).parents[2] / "docs" / "ablations.md"
SMALL, BASE = ArchSpec(width=0.35, resolution=96), ArchSpec(width=1.0, resolution=96)


def refusal(function, *words, **options) -> str:
    with pytest.raises(SweepError) as caught:
        function(*words, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- bases


@pytest.mark.parametrize(
    "text, bases",
    [
        ("1.0@160", [(1.0, 160)]),
        (" 1@224 ", [(1.0, 224)]),
        ("0.35@96,1.0@96", [(0.35, 96), (1.0, 96)]),
        ("1@96, 1@128", [(1.0, 96), (1.0, 128)]),
    ],
    ids=str,
)
def test_bases_are_widths_and_resolutions(text, bases):
    assert parse_bases(text) == tuple(ArchSpec(width=width, resolution=size) for width, size in bases)


@pytest.mark.parametrize(
    "text", ["", "1.0", "@96", "1.0@", "1.0@96.5", "-1@96", "1e0@96", "1.0@96@3", "x@96", "1@9" + 30 * "9"]
)
def test_any_other_base_is_refused(text):
    words = "or several with commas between, or a design space (.yaml)"
    message = f"a width and a resolution are wanted, as in 1.0@96 or 1.0@160x120, {words}"
    assert refusal(parse_bases, text) == f"--base {text}: {message}"


@pytest.mark.parametrize(
    "text, message",
    [
        ("0@96", "--base 0@96: width: 0.0 given; allowed: a number above 0, at most 16"),
        ("17@96", "--base 17@96: width: 17.0 given; allowed: a number above 0, at most 16"),
        (
            "1.0@0",
            "--base 1.0@0: resolution: 0 given; allowed: a whole number of pixels from 1, or width x height as in "
            "160x120",
        ),
        ("1@96,1@5000", "--base 1@5000: resolution: 5000 given; allowed: a whole number of pixels from 1, or width x "
         "height as in 160x120, each up to 4,096"),
        ("1@96,1.0@96", "--base 1@96,1.0@96: 1.0 at 96 is there twice"),
    ],
)  # fmt: skip
def test_a_base_that_cannot_be(text, message):
    assert refusal(parse_bases, text) == message


# ---------------------------------------------------------------- changes


@pytest.mark.parametrize(
    "options, changes",
    [
        ({"no_linear_bottleneck": True}, [NO_LINEAR_BOTTLENECK]),
        ({"residual": "none"}, [NO_RESIDUAL]),
        ({"residual": "expansion, none"}, [WIDE_RESIDUAL, NO_RESIDUAL]),
        ({"expansion": "1,10"}, [change_expansion(1), change_expansion(10)]),
        ({"activation": "hswish"}, [change_activation("hswish")]),
        ({"scale_last_conv": True, "no_depthwise": True}, [SCALE_LAST_CONV, NO_DEPTHWISE]),
        ({"residual": "none", "no_linear_bottleneck": True}, [NO_LINEAR_BOTTLENECK, NO_RESIDUAL]),
        ({"everything": True}, list(ALL)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_are_changes(options, changes):
    assert list(choose_changes(**options)) == changes


OPTIONS = "--no-linear-bottleneck, --residual, --expansion, --activation, --scale-last-conv, --no-depthwise, --all"


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, f"ablate: say what to change; there is: {OPTIONS}"),
        ({"everything": True, "residual": "none"}, "ablate: --all has --residual in it; leave one of them out"),
        ({"everything": True, "no_depthwise": True}, "ablate: --all has --no-depthwise in it; leave one of them out"),
        ({"residual": "bottleneck"}, "--residual bottleneck: that is how the base has it; none or expansion"),
        ({"residual": "wide"}, "--residual wide: none or expansion; several with commas between"),
        ({"residual": "none,none"}, "--residual none,none: none is there twice"),
        ({"activation": "swish"}, "--activation swish: relu6, relu or hswish; several with commas between"),
        ({"activation": ""}, "--activation : relu6, relu or hswish; several with commas between"),
        ({"expansion": "0"}, "--expansion 0: a whole number from 1 to 100, or several, as in 1,3,6"),
        ({"expansion": "1,101"}, "--expansion 101: a whole number from 1 to 100, or several, as in 1,3,6"),
        ({"expansion": "2.5"}, "--expansion 2.5: a whole number from 1 to 100, or several, as in 1,3,6"),
        ({"expansion": "3,"}, "--expansion : a whole number from 1 to 100, or several, as in 1,3,6"),
        ({"expansion": "-3"}, "--expansion -3: a whole number from 1 to 100, or several, as in 1,3,6"),
        ({"expansion": "²"}, "--expansion ²: a whole number from 1 to 100, or several, as in 1,3,6"),
        ({"expansion": "3,03"}, "--expansion 3,03: 3 is there twice"),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be(options, message):
    assert refusal(choose_changes, **options) == message


# ---------------------------------------------------------------- comparisons


def test_a_change_is_one_field_and_all_of_them_are_different_networks():
    changed = {change.name: changed_arch(SMALL, change) for change in ALL}
    assert changed["no-linear-bottleneck"] == replace(SMALL, linear_bottleneck=False)
    assert changed["residual-none"] == replace(SMALL, residual="none")
    assert changed["expansion-3"] == replace(SMALL, stages=set_expansion(MOBILENET_V2, 3))
    assert changed["activation-hswish"] == replace(SMALL, activation="hswish")
    assert changed["scale-last-conv"] == replace(SMALL, scale_last_conv=True)
    assert changed["no-depthwise"] == replace(SMALL, depthwise=False)
    assert len(set(changed.values())) == len(ALL) - 1  # t = 6 and ReLU6 are both the base
    assert changed["expansion-6"] == changed["activation-relu6"] == SMALL


def test_every_change_stands_beside_every_base():
    comparisons, notes = plan_comparisons([SMALL, BASE], [NO_RESIDUAL, change_expansion(3)])
    assert [(one.base, one.change.name, one.label, one.matched) for one in comparisons] == [
        (SMALL, "residual-none", "no residual", ""),
        (SMALL, "expansion-3", "t = 3", ""),
        (BASE, "residual-none", "no residual", ""),
        (BASE, "expansion-3", "t = 3", ""),
    ]
    assert notes == [] and [one.change.before for one in comparisons[:2]] == ["shortcut between bottlenecks", "t = 6"]
    networks = list_networks(comparisons)
    assert networks[:2] == (SMALL, replace(SMALL, residual="none")) and len(networks) == 6


def test_a_change_that_changes_nothing_is_left_out_and_said():
    comparisons, notes = plan_comparisons([SMALL, BASE], [SCALE_LAST_CONV])
    assert [one.base for one in comparisons] == [SMALL]
    assert notes == ["left out: last convolution scaled changes nothing in 1.0 at 96"]
    everything, notes = plan_comparisons([BASE], ALL)
    assert [note.split(": ")[1] for note in notes] == [
        "t = 6 changes nothing in 1.0 at 96",
        "relu6 changes nothing in 1.0 at 96",
        "last convolution scaled changes nothing in 1.0 at 96",
    ]
    assert len(everything) == len(ALL) - 3


def test_two_bases_that_are_one_network_are_compared_once():
    bases = [replace(SMALL, width=width) for width in (0.4, 0.41, 0.5)]
    comparisons, notes = plan_comparisons(bases, [NO_RESIDUAL])
    assert [one.base.width for one in comparisons] == [0.4, 0.5]
    assert notes == ["left out: 0.41 at 96 is the same network as 0.4 at 96"]


@pytest.mark.parametrize(
    "own, change, before, after",
    [
        ({"residual": "none"}, WIDE_RESIDUAL, "no residual", "shortcut between expansions"),
        ({"residual": "expansion"}, NO_RESIDUAL, "shortcut between expansions", "no residual"),
        ({"activation": "hswish"}, NO_LINEAR_BOTTLENECK, "linear bottleneck", "hswish in the bottleneck"),
        ({"activation": "relu"}, NO_LINEAR_BOTTLENECK, "linear bottleneck", "ReLU in the bottleneck"),
        ({"activation": "relu"}, change_activation("hswish"), "relu", "hswish"),
        ({}, NO_LINEAR_BOTTLENECK, "linear bottleneck", "ReLU6 in the bottleneck"),
    ],
)
def test_both_sides_are_named_after_what_the_base_has(own, change, before, after):
    ((one,), _) = plan_comparisons([replace(SMALL, **own)], [change])
    assert (one.change.before, one.label) == (before, after)


def test_a_match_adds_the_variant_at_another_width_where_costs_differ():
    comparisons, notes = plan_comparisons([BASE], [NO_RESIDUAL, change_expansion(3)], "madds")
    assert [(one.label, one.name, arch_label(one.variant)) for one in comparisons] == [
        ("no residual", "residual-none", "1.0 at 96, no residual"),
        ("t = 3", "expansion-3", "1.0 at 96, t=3"),
        ("t = 3, same MAdds", "expansion-3-madds", "1.33 at 96, t=3"),
    ]
    assert notes == [] and abs(count_cost(comparisons[2].variant).madds / count_cost(BASE).madds - 1) < 0.02


def test_the_matched_widths_of_the_docs_are_these():
    rows = re.findall(r"^\| (t = \d+|ordinary convolutions) \| (.*) \|$", DOCS.read_text(encoding="utf-8"), re.M)
    comparisons, notes = plan_comparisons([BASE], ALL, "madds")
    found = {one.label: one.variant for one in comparisons}
    assert [name for name, _ in rows] == [*(f"t = {t}" for t in (1, 2, 3, 4, 8, 10)), "ordinary convolutions"]
    for name, row in rows:
        madds, _, width, matched, change, params, _ = (cell.strip() for cell in row.split("|"))
        assert madds == f"{count_cost(found[name]).madds:,}"
        if width.startswith("none; nearest "):
            width = width.removeprefix("none; nearest ")
            assert any(f"the nearest, {width}, has {matched} ({change})" in note for note in notes)
        else:
            cost = count_cost(found[f"{name}, same MAdds"])
            assert float(width) == found[f"{name}, same MAdds"].width
            assert (matched, params) == (f"{cost.madds:,}", f"{cost.params:,}")


def test_of_several_matches_those_that_no_width_meets_are_left_out_and_said():
    comparisons, notes = plan_comparisons([BASE], [change_expansion(8), change_expansion(10)], "madds")
    assert [one.name for one in comparisons] == ["expansion-8", "expansion-8-madds", "expansion-10"]
    assert len(notes) == 1 and notes[0].startswith("--match madds: 1.0 at 96, t=10: no width comes within 2 % of ")


@pytest.mark.parametrize(
    "bases, changes, match, message",
    [
        ([BASE], [SCALE_LAST_CONV], None, "last convolution scaled changes nothing in 1.0 at 96: nothing to compare"),
        ([BASE], [change_expansion(6)], "madds", "t = 6 changes nothing in 1.0 at 96: nothing to compare"),
        ([BASE], [NO_RESIDUAL], "flops", "--match flops: madds or params"),
        (
            [SMALL], [NO_DEPTHWISE, NO_RESIDUAL], "madds",
            "--match madds: 0.35 at 96, ordinary convolutions: no width comes within 2 % of 11,934,128 MAdds; the "
            "nearest, 0.02, has 44,481,152 (+272.72 %)",
        ),
        (
            [ArchSpec("mobilenet_v1", width=0.5)], [NO_LINEAR_BOTTLENECK], None,
            "ablate: base MobileNetV1 0.5 at 224: MobileNetV1 has no such part to change",
        ),
        (
            [replace(BASE, resolution=size) for size in range(1, 102)], [NO_RESIDUAL], None,
            "--base: 101 networks, at most 100 allowed; take some of them",
        ),
    ],
    ids=["nothing changes", "the base's own t", "no such cost", "no match is met", "other family", "too many"],
)  # fmt: skip
def test_comparisons_that_cannot_be(bases, changes, match, message):
    assert refusal(plan_comparisons, bases, changes, match).removeprefix("ablate: ") == message.removeprefix("ablate: ")


# ---------------------------------------------------------------- of any networks


def test_pairs_are_found_among_networks_that_differ_in_one_part():
    others = [ArchSpec(width=0.35, resolution=128), replace(SMALL, residual="none", kernel=5)]
    relu6, none = replace(SMALL, linear_bottleneck=False), replace(BASE, residual="none")
    both = replace(SMALL, linear_bottleneck=False, residual="none")
    found = infer_comparisons([*others, SMALL, relu6, none, BASE, both, ArchSpec("mobilenet_v1")])
    assert [(one.base, one.change.name, one.variant) for one in found] == [
        (SMALL, "no-linear-bottleneck", relu6),
        (relu6, "residual-none", both),
        (BASE, "residual-none", none),
    ]
    assert infer_comparisons([]) == infer_comparisons([SMALL, BASE]) == ()


# ---------------------------------------------------------------- cells of the block table, rectangles


def test_a_cell_of_one_row_or_of_all_is_changed():
    words = {"stages.3.kernel": (5,), "stages.*.se_ratio": (0.25,)}
    comparisons, _ = plan_comparisons([SMALL], choose_changes(words=words))
    tables = [one.variant.stages for one in comparisons]
    assert [stage.kernel for stage in tables[0]] == [None, None, None, 5, *[None] * (len(SMALL.stages) - 4)]
    assert {stage.se_ratio for stage in tables[1]} == {0.25}
    assert [(one.change.before, one.change.after, one.name) for one in comparisons] == [
        ("kernel 3 in row 3", "kernel 5 in row 3", "stages-3-kernel-5"),
        ("se_ratio 0.0 in every row", "se_ratio 0.25 in every row", "stages-all-se-ratio-0.25"),
    ]


def test_a_row_that_a_base_has_not_is_named():
    short = replace(SMALL, stages=SMALL.stages[:2])
    with pytest.raises(SweepError, match=r"stages.3.kernel: base .* has rows 0 to 1, no 3"):
        plan_comparisons([short], choose_changes(words={"stages.3.kernel": (5,)}))


def test_a_base_may_be_a_rectangle():
    assert parse_bases("0.35@160x120,1.0@96")[0] == ArchSpec(width=0.35, resolution=Size(120, 160))


def test_a_name_of_many_changes_is_short():
    name = name_changes(choose_changes(words={"kernel": tuple(range(5, 99, 2))}))
    assert name.startswith("kernel-5-and-46-more-") and len(name) < 40
