"""Cliffs and plateaus: known ones of MobileNetV2, small examples by hand, and what holds for any list."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.spaces.landscape import Cliff, find_cliffs, find_plateaus

WIDTHS = [round(0.35 + 0.01 * i, 2) for i in range(106)]
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
