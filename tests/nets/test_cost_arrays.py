"""Costs as arrays hold what `count_cost` says, also where 64 bits do not."""

import numpy as np
import pytest

from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.cost_arrays import COSTS, count_archs, integer_array, join_costs
from mnv2_sweep.paper.published import CHECKPOINTS
from tests.arch_samples import draw_arch

HUGE = ArchSpec(width=16.0, resolution=4096, stages=(Stage(100, 10_000, 100, 1), Stage(100, 10_000, 100, 1)))


def test_published_checkpoints_as_arrays():
    counted = count_archs([checkpoint.arch for checkpoint in CHECKPOINTS])
    assert [counted.cost(i) for i in range(len(counted))] == [count_cost(checkpoint.arch) for checkpoint in CHECKPOINTS]


def test_costs_above_64_bits_are_exact():
    counted = count_archs([ArchSpec(), HUGE])
    assert count_cost(HUGE).madds > 2**63 and counted.madds.dtype == object
    assert counted.cost(1) == count_cost(HUGE) and counted.depth.dtype == np.int64


@pytest.mark.parametrize(("numbers", "kind"), [((2**62,), np.int64), ((1, 2**62 + 1), object), ((), np.int64)])
def test_integers_that_sums_could_overflow_are_pythons(numbers, kind):
    assert integer_array(numbers).dtype == kind


def test_costs_are_taken_and_joined():
    counted = count_archs([draw_arch(seed) for seed in range(5)])
    again = join_costs([counted.take(np.array([0, 1])), counted.take(np.array([False, False, True, True, True]))])
    assert all((getattr(again, name) == getattr(counted, name)).all() for name in COSTS)
