"""Costs as arrays against the one-by-one count."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.nets import arch, cost_arrays, resolve
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.cost_arrays import COSTS, columns_of, count_columns, join_costs, round_array
from mnv2_sweep.nets.mobilenet_v2 import resolve_mobilenet_v2
from mnv2_sweep.nets.plan import round_channels
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.spaces.coincide import network_keys
from tests.arch_samples import draw_arch, draw_other, draw_twin

KINDS = {"any": draw_arch, "twins": draw_twin, "other families": draw_other}


@pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)
def test_arrays_equal_the_one_by_one_count(draw):
    archs = [draw(seed) for seed in range(300)]
    counted = count_columns(columns_of(archs))
    assert [counted.cost(i) for i in range(len(archs))] == [count_cost(spec) for spec in archs]
    assert {getattr(counted, name).dtype for name in COSTS} == {np.dtype(np.int64)}


@pytest.mark.slow
@given(seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=6), kinds=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_arrays_of_mixed_networks(seeds, kinds):
    archs = [kinds.choice(list(KINDS.values()))(seed) for seed in seeds]
    columns = columns_of(archs)
    counted = count_columns(columns)
    assert [counted.cost(i) for i in range(len(archs))] == [count_cost(spec) for spec in archs]
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


def test_a_family_s_own_field_counts(monkeypatch):
    """A new family may have any field: here kernel and table, which the other families beside MobileNetV2 have not."""
    monkeypatch.setitem(arch.FAMILIES, "toy", arch.FAMILIES["mobilenet_v2"])
    monkeypatch.setitem(cost_arrays.CODES, "family", tuple(arch.FAMILIES))
    monkeypatch.setitem(resolve._RESOLVE, "toy", resolve_mobilenet_v2)
    archs = [ArchSpec("toy", stages=(Stage(t, 8, n, 1),), kernel=k) for t in (1, 6) for n in (1, 2) for k in (3, 5)]
    archs += [
        ArchSpec("mobilenet_v1"),
        ArchSpec(),
        ArchSpec("toy", residual="none"),
        ArchSpec("toy", activation="relu"),
    ]
    counted = count_columns(columns_of(archs))
    assert [counted.cost(i) for i in range(len(archs))] == [count_cost(spec) for spec in archs]


def test_a_choice_that_the_sums_do_not_know_is_counted_by_the_plan(monkeypatch):
    """As a new field of MobileNetV2 would be; `groups` plays its part, and widens the last convolution."""
    monkeypatch.setitem(arch.FAMILIES, "mobilenet_v2", (*arch.FAMILIES["mobilenet_v2"], "groups"))
    wider = {groups: replace(ArchSpec(), last_channels=1000 * groups) for groups in (1, 2, 8)}
    monkeypatch.setitem(
        resolve._RESOLVE, "mobilenet_v2", lambda spec: resolve_mobilenet_v2(wider.get(spec.groups, spec))
    )
    archs = [ArchSpec(groups=groups) for groups in (3, 1, 2, 8, 1, 3)]
    counted = count_columns(columns_of(archs))
    assert [counted.cost(i) for i in range(len(archs))] == [count_cost(spec) for spec in archs]
    assert len({counted.cost(i) for i in range(len(archs))}) == 4
    keys = network_keys(columns_of(archs))
    assert [keys.index(key) for key in keys] == [0, 1, 2, 3, 1, 0]


def test_join_and_take():
    counted = count_columns(columns_of([draw_arch(seed) for seed in range(5)]))
    again = join_costs([counted.take(np.array([0, 1])), counted.take(np.array([False, False, True, True, True]))])
    assert [again.cost(i) for i in range(5)] == [counted.cost(i) for i in range(5)]
