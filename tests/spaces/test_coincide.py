"""Which specs are one network: the same answer as `arch_key`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.resolve import arch_key, name_network
from mnv2_sweep.spaces.coincide import find_coinciding
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Space
from tests.arch_samples import draw_arch, draw_head, draw_other, draw_twin


def test_keys_part_networks_as_arch_keys_do():
    archs = (
        [draw_twin(s) for s in range(1500)]
        + [draw_arch(s) for s in range(100)]
        + [draw_other(s) for s in range(80)]
        + [draw_head(s) for s in range(80)]
    )
    ours, theirs = [(*name_network(arch), arch.dropout) for arch in archs], [arch_key(arch) for arch in archs]
    assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs, strict=True)))
    assert len(set(ours)) < len(set(archs)) - 100  # the corner has many twins, so equality was tried as well


@given(st.integers(0, 2**32), st.integers(0, 2**32))
@settings(max_examples=150)
def test_two_keys(one, other):
    archs = [draw_twin(one), draw_twin(other)]
    first, second = map(name_network, archs)
    assert (first == second) == (arch_key(archs[0]) == arch_key(archs[1]))


@pytest.mark.parametrize(
    "stages, residual, same",
    [
        ((Stage(2, 16, 3, 2),), "bottleneck", (Stage(2, 16, 1, 2), Stage(2, 16, 2, 1))),
        ((Stage(2, 16, 3, 2),), "expansion", (Stage(2, 16, 2, 2), Stage(2, 16, 1, 1))),
        ((Stage(2, 16, 1, 2),), "bottleneck", (Stage(2, 17, 1, 2),)),
    ],
    ids=["rows split", "rows split, expansion", "channels round alike"],
)
def test_equal_tables(stages, residual, same):
    one, other = (ArchSpec(stages=table, residual=residual) for table in (stages, same))
    first, second = name_network(one), name_network(other)
    assert first == second and arch_key(one) == arch_key(other)


def test_106_widths_are_87_networks():
    widths = tuple(round(0.35 + 0.01 * i, 2) for i in range(106))
    networks = select_networks(Space("s", axes=(("width", widths),)))
    coinciding = find_coinciding(networks)
    assert (len(networks), len(coinciding.first)) == (106, 87)
    firsts: dict[str, int] = {}
    places = [firsts.setdefault(arch_key(arch), len(firsts)) for arch in networks]
    assert coinciding.network_of.tolist() == places
    assert [places.index(place) for place in range(87)] == coinciding.first.tolist()
