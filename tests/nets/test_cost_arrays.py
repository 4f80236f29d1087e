"""Costs as arrays against the one-by-one count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.nets import cost_arrays
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.cost_arrays import COSTS, columns_of, count_columns, join_costs, round_array
from mnv2_sweep.nets.plan import round_channels
from mnv2_sweep.paper.published import CHECKPOINTS
from tests.arch_samples import draw_arch, draw_other, draw_twin

KINDS = {"any": draw_arch, "twins": draw_twin, "other families": draw_other}


@pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)
def test_arrays_equal_the_one_by_one_count(draw):
    archs = [draw(seed) for seed in range(300)]
    counted = count_columns(columns_of(archs))
    assert [counted.cost(i) for i in range(len(archs))] == [count_cost(arch) for arch in archs]
    assert {getattr(counted, name).dtype for name in COSTS} == {np.dtype(np.int64)}


@given(seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=6), kinds=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_arrays_of_mixed_networks(seeds, kinds):
    archs = [kinds.choice(list(KINDS.values()))(seed) for seed in seeds]
    columns = columns_of(archs)
    counted = count_columns(columns)
    assert [counted.cost(i) for i in range(len(archs))] == [count_cost(arch) for arch in archs]
    assert [columns.arch(i) for i in range(len(archs))] == archs


def test_published_networks():
    counted = count_columns(columns_of([checkpoint.arch for checkpoint in CHECKPOINTS]))
    assert (counted.madds // 1_000_000).tolist() == [checkpoint.madds_m for checkpoint in CHECKPOINTS]
    assert counted.cost(2).madds == 300_774_272 and counted.cost(2).params == 3_504_872


def test_huge_networks_do_not_overflow():
    """Beyond 64 bits they are counted with Python's integers; the most that a space file allows is so large."""
    huge = ArchSpec(
        stages=(Stage(100, 10_000, 100, 1),), width=16.0, resolution=4096, kernel=99, last_channels=100_000,
        classes=1_000_000,
    )  # fmt: skip
    cost = count_cost(huge)
    assert cost.madds > 2**63
    counted = count_columns(columns_of([ArchSpec(stages=(Stage(1, 8, 1, 1),)), huge]))
    assert counted.cost(1) == cost and counted.madds.dtype == object
    v1 = ArchSpec(family="mobilenet_v1")
    mixed = count_columns(columns_of([v1, huge]))
    assert [mixed.cost(0), mixed.cost(1)] == [count_cost(v1), cost]


def test_a_bound_below_the_limit_is_a_bound(monkeypatch):
    """What decides for 64 bits costs at least as much as every row."""
    archs = [draw_arch(seed) for seed in range(60)]
    largest = []
    monkeypatch.setattr(cost_arrays, "count_cost", lambda arch: largest.append(count_cost(arch)) or largest[-1])
    counted = count_columns(columns_of(archs))
    for name in ("madds", "params", "peak_activation_bytes"):
        assert getattr(largest[0], name) >= getattr(counted, name).max()


@given(st.floats(0.01, 1e6))
def test_rounding_an_array_is_rounding_each(channels):
    assert round_array(np.array([channels])).tolist() == [round_channels(channels)]


def test_other_families_are_counted_once_each(monkeypatch):
    calls = []
    monkeypatch.setattr(cost_arrays, "count_cost", lambda arch: calls.append(arch) or count_cost(arch))
    v1 = ArchSpec(family="mobilenet_v1", resolution=32)
    assert len(count_columns(columns_of([v1] * 50))) == 50 and calls == [v1]


def test_join_and_take():
    counted = count_columns(columns_of([draw_arch(seed) for seed in range(5)]))
    again = join_costs([counted.take(np.array([0, 1])), counted.take(np.array([False, False, True, True, True]))])
    assert [again.cost(i) for i in range(5)] == [counted.cost(i) for i in range(5)]
