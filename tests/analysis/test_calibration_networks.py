"""Which networks a calibration trains: on the published networks, on the spaces that ship, on any networks at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.analysis.calibration import MOST, stratify
from mnv2_sweep.analysis.stats import near_pairs
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space

SPACES = Path(__file__).parents[2] / "spaces"
ARCHS = [checkpoint.arch for checkpoint in CHECKPOINTS]
MADDS = [count_cost(arch).madds for arch in ARCHS]


def count_pairs(madds) -> int:
    return int(near_pairs(madds).sum()) // 2


def names(places) -> list[tuple[float, int]]:
    return [(ARCHS[i].width, ARCHS[i].resolution) for i in places]


def test_four_published_networks_hold_the_pair_that_differs_most_in_shape():
    assert names(stratify(ARCHS, MADDS, 4)) == [(0.35, 96), (1.0, 96), (0.35, 224), (1.4, 224)]


@pytest.mark.parametrize("count, pairs", [(5, 3), (6, 5), (8, 6), (10, 9), (12, 12)])
def test_more_published_networks_hold_more_pairs_over_more_of_the_range(count, pairs):
    chosen = [MADDS[i] for i in stratify(ARCHS, MADDS, count)]
    assert count_pairs(chosen) == pairs
    assert chosen == sorted(chosen) and np.diff(np.log(chosen)).max() < np.log(12)
    if count >= 8:  # near pairs on both halves of the range of cost
        middle = np.sqrt(min(MADDS) * max(MADDS))
        assert count_pairs([m for m in chosen if m < middle]) and count_pairs([m for m in chosen if m > middle])


def test_the_middle_network_stands_for_all_and_two_are_the_ends():
    cheapest, dearest = int(np.argmin(MADDS)), int(np.argmax(MADDS))
    assert stratify(ARCHS, MADDS, 2) == (cheapest, dearest)
    (one,) = stratify(ARCHS, MADDS, 1)
    middle = np.log(MADDS[cheapest] * MADDS[dearest]) / 2
    assert abs(np.log(MADDS[one]) - middle) == min(abs(np.log(m) - middle) for m in MADDS)
    assert stratify(ARCHS, MADDS, 0) == () and stratify([], [], 3) == ()


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_space_that_ships_can_be_sampled(path):
    networks = select_networks(load_space(path), 10)
    madds = networks.costs.madds
    chosen = [int(madds[i]) for i in stratify(networks, madds, 8)]
    assert len(chosen) == min(8, len(networks)) and {min(chosen), max(chosen)} == {madds.min(), madds.max()}
    assert count_pairs(chosen) >= 6 or count_pairs(madds) < 6


@pytest.mark.slow
def test_of_too_many_networks_some_are_looked_at():
    archs = [ArchSpec(width=1 + i / 10_000) for i in range(4 * MOST)]
    madds = [10**6 + 1000 * i for i in range(len(archs))]
    places = stratify(archs, madds, 6)
    assert len(set(places)) == 6 and {places[0], places[-1]} == {0, len(archs) - 1}
    assert count_pairs([madds[i] for i in places]) > 0
    assert len(set(stratify(archs, madds, MOST + 100))) == MOST + 100


def test_a_difference_in_any_number_counts():
    others = [
        replace(ARCHS[2], stages=set_expansion(MOBILENET_V2, 3)),
        replace(ARCHS[2], residual="none"),
        ArchSpec(family="mobilenet_v1"),
    ]
    for other in others:  # two twins and one that differs, all of one cost: the pair has the other one
        archs = [ARCHS[-1], ARCHS[2], ARCHS[2], other, ARCHS[0]]
        assert 3 in stratify(archs, [10, 300, 300, 300, 900], 4)


def test_as_many_costs_as_networks():
    with pytest.raises(ValueError, match="2 and 1 MAdds given"):
        stratify(ARCHS[:2], MADDS[:1], 1)


networks_of_any_kind = st.lists(
    st.tuples(st.sampled_from(ARCHS), st.integers(1, 5000) | st.integers(1, 10**12)), min_size=1, max_size=40
)


@settings(max_examples=150)
@given(networks_of_any_kind, st.integers(1, 14))
def test_what_holds_for_any_networks(networks, count):
    archs, madds = zip(*networks, strict=True)
    places = stratify(archs, madds, count)
    assert len(places) == len(set(places)) == min(count, len(archs))
    assert all(type(i) is int and 0 <= i < len(archs) for i in places)
    chosen = [madds[i] for i in places]
    assert chosen == sorted(chosen) and places == stratify(archs, madds, count)
    if count >= 2:
        assert chosen[0] == min(madds) and chosen[-1] == max(madds)
    if count >= 4 and count_pairs(madds):
        assert count_pairs(chosen)
