"""Which networks of a space are measured: spread over what they cost and over every axis, its ends among them."""

from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.devices.design import choose_networks
from mnv2_sweep.devices.features import arch_features
from mnv2_sweep.formats.measure import choose_archs
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Space

SPACES = Path(__file__).parents[2] / "spaces"


def test_the_ends_of_every_feature_are_measured_and_every_value_of_every_axis():
    networks = select_networks(load_space(SPACES / "blocks.yaml"))
    features, axes = networks.features(), networks.rows.astype(int)
    chosen = choose_networks(features, axes, 50)
    assert len(chosen) == len(set(chosen.tolist())) == 50
    assert np.array_equal(features[chosen].min(axis=0), features.min(axis=0))
    assert np.array_equal(features[chosen].max(axis=0), features.max(axis=0))
    for (key, values), column in zip(networks.space.axes, axes[chosen].T, strict=True):
        assert set(column) == set(range(len(values))), key
    assert np.array_equal(chosen, choose_networks(features, axes, 50))


def test_no_network_is_as_far_from_the_chosen_as_from_evenly_drawn_ones():
    """In logarithms of features, each from 0 to 1."""
    networks = select_networks(load_space(SPACES / "blocks.yaml"))
    features = networks.features()
    points = np.log1p(features[:, np.ptp(features, axis=0) > 0])
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    farthest = []
    for places in (choose_networks(features, networks.rows.astype(int), 40), np.arange(0, 1000, 25)):
        farthest.append(np.linalg.norm(points[:, None] - points[places][None], axis=2).min(axis=1).max())
    assert farthest[0] < 0.8 * farthest[1]


def test_networks_that_a_device_can_t_tell_apart_are_measured_once():
    archs = [ArchSpec(width=width, dropout=drop) for width in (0.35, 1.0) for drop in (0.0, 0.1, 0.2)]
    chosen = choose_networks(arch_features(archs), np.zeros((6, 0), int), 5)
    assert [archs[at].width for at in chosen] == [0.35, 1.0]


def test_a_space_with_few_networks_is_refused_and_points_are_chosen_like_others():
    axes = (("width", (0.35, 0.5, 0.75, 1.0)), ("resolution", (96, 128)))
    with pytest.raises(SweepError, match="few: 8 networks that a device could tell apart, at least 12 are needed"):
        choose_archs(select_networks(Space("few", axes=axes)), 50)
    points = tuple((("width", width), ("resolution", 224)) for width in (0.35, 0.5, 0.75, 1.0, 1.3))
    chosen = choose_archs(select_networks(Space("more", axes=axes, points=points)), 50)
    assert len(chosen) == 13 and ArchSpec(width=1.3) in chosen
