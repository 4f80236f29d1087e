"""Cliffs and plateaus: known ones of MobileNetV2, small ones by hand, any list; what `plan` says of them and twins."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.spaces.landscape import Cliff, describe_landscape, find_cliffs, find_plateaus
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Sample, Space

WIDTHS = tuple(round(0.35 + 0.01 * i, 2) for i in range(106))
MADDS = st.lists(st.integers(1, 10**9), min_size=0, max_size=12)


@pytest.fixture(scope="module")
def madds_by_width() -> list[int]:
    return [count_cost(ArchSpec(width=width)).madds for width in WIDTHS]


def test_cliffs_of_106_widths(madds_by_width):
    cliffs = find_cliffs(WIDTHS, madds_by_width)
    assert [(c.before, c.after, round(c.ratio, 2)) for c in cliffs] == [
        (0.37, 0.38, 1.34),
        (0.55, 0.56, 1.38),
        (0.74, 0.75, 1.12),
        (1.11, 1.12, 1.26),
    ]
    assert cliffs[1].expected == pytest.approx((56 / 55) ** 2)


def test_plateaus_of_106_widths_are_the_19_names_too_many():
    keys = [arch_key(ArchSpec(width=width)) for width in WIDTHS]
    plateaus = find_plateaus(WIDTHS, keys)
    lengths = [WIDTHS.index(last) - WIDTHS.index(first) + 1 for first, last in plateaus]
    assert len(WIDTHS) - len(set(keys)) == sum(lengths) - len(plateaus) == 19


def test_cliffs_of_resolutions_are_where_a_stride_rounds_up():
    sizes = list(range(96, 225))
    cliffs = find_cliffs(sizes, [count_cost(ArchSpec(resolution=size)).madds for size in sizes])
    assert [cliff.after for cliff in cliffs] == [97, 113, 129, 161, 193]


def test_a_coarse_grid_has_no_cliffs():
    widths = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
    assert find_cliffs(widths, [count_cost(ArchSpec(width=width)).madds for width in widths]) == []


@pytest.mark.parametrize(
    "madds, power, found",
    [
        ((1000, 1100), 2.0, True),  # exactly 10 %, and far over 3 times 2 %
        ((1000, 1099), 2.0, False),
        ((1000, 900), 2.0, False),
        ((1000, 1100), 4.0, False),  # 10 % is less than 3 times the 4 % in proportion
        ((1000, 1130), 4.0, True),
    ],
    ids=["10 percent", "less", "a fall", "growth", "more than growth"],
)
def test_the_rule(madds, power, found):
    cliff = Cliff(100, 101, madds[1] / madds[0], 1.01**power)
    assert find_cliffs((100, 101), madds, power) == [cliff] * found


def test_lists_of_none_and_one():
    assert find_cliffs([], []) == find_cliffs([1.0], [5]) == []
    assert find_plateaus([], []) == find_plateaus([1.0], ["a"]) == []


def test_values_out_of_order_are_a_mistake_of_ours():
    with pytest.raises(AssertionError):
        find_cliffs([1.0, 0.5], [1, 2])


@pytest.mark.parametrize(
    "keys, plateaus",
    [("abc", []), ("aab", [(1, 2)]), ("abb", [(2, 3)]), ("aaa", [(1, 3)]), ("aabbb", [(1, 2), (3, 5)]), ("aba", [])],
)
def test_plateaus_by_hand(keys, plateaus):
    assert find_plateaus(range(1, len(keys) + 1), keys) == plateaus


@settings(max_examples=100)
@given(MADDS)
def test_every_cliff_is_a_step_of_the_list_and_no_step_is_forgotten(madds):
    values = [1.0 + 0.01 * i for i in range(len(madds))]
    found = {cliff.after: cliff for cliff in find_cliffs(values, madds)}
    for i in range(1, len(values)):
        rise, growth = madds[i] / madds[i - 1] - 1, (values[i] / values[i - 1]) ** 2 - 1
        assert (values[i] in found) == (rise >= 0.1 and rise >= 3 * growth)
        if values[i] in found:
            cliff = found[values[i]]
            assert (cliff.before, cliff.ratio) == (values[i - 1], madds[i] / madds[i - 1])


@settings(max_examples=50)
@given(MADDS, st.integers(2, 1000))
def test_cliffs_depend_on_neither_unit(madds, times):
    values = [float(2**i) for i in range(len(madds))]
    scaled = find_cliffs([8 * value for value in values], [times * cost for cost in madds])
    assert [cliff.after / 8 for cliff in scaled] == [cliff.after for cliff in find_cliffs(values, madds)]


@settings(max_examples=100)
@given(st.lists(st.sampled_from("ab"), max_size=12))
def test_plateaus_are_the_whole_runs(keys):
    plateaus = find_plateaus(range(len(keys)), keys)
    inside = {i for first, last in plateaus for i in range(first, last + 1)}
    for i, key in enumerate(keys):
        assert (i in inside) == (key in (keys[i - 1 : i] + keys[i + 1 : i + 2]))
    for first, last in plateaus:
        assert len(set(keys[first : last + 1])) == 1
        assert keys[first - 1 : first] != [keys[first]] and keys[last + 1 : last + 2] != [keys[last]]


@pytest.mark.parametrize("values", [[1e-300, 1.0], [5e-324, 16.0], [5e-324, 1e-301, 0.5]])
def test_steps_over_hundreds_of_orders_of_magnitude_are_no_cliffs(values):
    """Widths that a file may give; their ratio's square is no float."""
    assert find_cliffs(values, [10**3, 10**8, 10**12][: len(values)]) == []


def test_a_fine_axis_of_widths():
    networks = select_networks(Space("s", axes=(("width", WIDTHS), ("resolution", (96, 224)))))
    listing, lines = describe_landscape(networks)
    assert len(listing.archs) == len(listing.costs) == 2 * 87
    assert lines[0] == "38 of 212 specs resolve to a network listed already"
    assert lines[1].startswith("plateaus of width, one network each: 0.35 to 0.36, 0.39 to 0.41, ")
    assert "cliff of width: 0.55 to 0.56 costs 38 % more MAdds, in 2 of 2 rows of the grid" in lines
    remarks = {arch_label(listing.archs[place]): remark for place, remark in listing.remarks.items()}
    assert remarks["0.35 at 224"] == "= 0.36 at 224" and remarks["0.39 at 96"] == "= 0.4 at 96, 0.41 at 96"
    assert remarks["0.56 at 224"] == "cliff: +38 % from width 0.55"
    assert "0.42 at 224" not in remarks
    assert [listing.costs.cost(i).madds for i in (0, 1)] == [11934128, 59285808]


def test_the_order_of_the_list_does_not_matter():
    widths = (0.56, 0.36, 0.55, 0.35)
    _, lines = describe_landscape(select_networks(Space("s", axes=(("width", widths),))))
    assert lines == [
        "1 of 4 specs resolve to a network listed already",
        "plateaus of width, one network each: 0.35 to 0.36",
        "cliff of width: 0.55 to 0.56 costs 38 % more MAdds",
    ]


def test_coarse_grids_samples_and_points_have_neither():
    axes = (("width", (0.35, 0.5, 0.75, 1.0)), ("resolution", (96, 128, 160)))
    for space in (
        Space("s", axes=axes),
        Space("s", axes=axes, sample=Sample(12)),
        Space("s", points=((("width", 0.35),), (("width", 0.5),))),
    ):
        listing, lines = describe_landscape(select_networks(space))
        assert lines == [] and listing.remarks == {}


def test_many_twins_are_not_all_named():
    widths = tuple(1 + i / 10_000 for i in range(6))
    listing, _ = describe_landscape(select_networks(Space("s", axes=(("width", widths),))))
    assert listing.remarks == {0: "= 1.0001 at 224, 1.0002 at 224, 1.0003 at 224 and 2 more"}


def test_cliffs_say_which_family_s_they_are():
    axes = (("family", ("mobilenet_v1", "mobilenet_v2")), ("width", (0.55, 0.56)))
    _, lines = describe_landscape(select_networks(Space("s", axes=axes)))
    assert lines == ["cliff of MobileNetV2, width: 0.55 to 0.56 costs 38 % more MAdds, in 1 of 2 rows of the grid"]
