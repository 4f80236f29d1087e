"""Costs and names that are gathered for a whole space against those of its networks one by one."""

import random

import numpy as np
import pytest

from mnv2_sweep.nets import steps
from mnv2_sweep.nets.arch import ACTIVATIONS, CLASSIFIERS, FAMILIES, HEADS, RESIDUALS, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.spaces import gather
from mnv2_sweep.spaces.coincide import find_coinciding
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Sample, Space

VALUES = {
    "width": (0.35, 1.0, 1.01, 1.4), "resolution": (31, 32, 64), "kernel": (3, 5), "residual": RESIDUALS,
    "activation": ACTIVATIONS, "depthwise": (True, False), "linear_bottleneck": (True, False), "expansion": (1, 2, 6),
    "last_channels": (8, 64), "scale_last_conv": (True, False), "classes": (1, 10), "dropout": (0.0, 0.2),
    "stages.*.n": (1, 2), "stages.0.c": (8, 16, 17), "stages.1.t": (1, 3), "stages.1.c": (16, 24),
    "stages.1.n": (1, 2, 3), "stages.1.s": (1, 2), "stages.2.s": (1, 2), "stages.2.c": (16, 17),
}  # fmt: skip
TABLE = (Stage(1, 16, 1, 1), Stage(2, 16, 2, 2), Stage(2, 16, 2, 1))


def draw_space(seed: int) -> Space:
    """A space with a handful of axes of every kind, a sample of which is taken."""
    draw = random.Random(seed)
    names = draw.sample(sorted(VALUES), 6)
    space = Space("drawn", TABLE, axes=tuple((name, VALUES[name]) for name in names))
    points = ((("width", 0.5), ("resolution", 32)), (("width", 1.4), ("resolution", 31)))
    return Space(**{**{name: getattr(space, name) for name in Space.__dataclass_fields__}, "points": points})


@pytest.mark.parametrize("seed", range(12))
def test_gathered_costs_and_names_are_those_of_each_network(seed):
    networks = select_networks(draw_space(seed))
    places = random.Random(seed).sample(range(len(networks)), min(len(networks), 120)) + [-1, -2]
    assert [networks.costs.cost(place) for place in places] == [count_cost(networks[place]) for place in places]
    network_of, keys = find_coinciding(networks).network_of, [arch_key(networks[place]) for place in places]
    ours = [network_of[place] for place in places]
    assert len(set(ours)) == len(set(keys)) == len(set(zip(ours, keys, strict=True)))


def test_families_of_one_space_are_gathered_each_by_its_own_fields():
    axes = (("family", tuple(FAMILIES)), ("width", (0.5, 1.0)), ("resolution", (32, 33)), ("classes", (10,)))
    networks = select_networks(Space("families", axes=axes))
    assert [networks.costs.cost(i) for i in range(len(networks))] == [count_cost(arch) for arch in networks]
    assert len(find_coinciding(networks).first) == len({arch_key(arch) for arch in networks})


HEAD_VALUES = {
    "head": ("ssdlite", "ssd"), "scales": (2, 6, 7), "anchors": (4, 6), "anchor_scale": (0.1, 0.2),
    "extra_channels": (64, 512), "classes": (1, 3), "width": (0.35, 1.0), "resolution": (31, 64),
    "residual": RESIDUALS, "activation": ACTIVATIONS, "expansion": (1, 6), "stages.1.s": (1, 2), "stages.2.s": (1, 2),
    "stages.1.t": (1, 2), "stages.2.n": (1, 3), "last_channels": (0, 64), "padding": ("torch", "same"),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_detectors_are_gathered_as_they_are_counted(seed):
    """Which tensor a head reads depends on the strides of all rows; the maps in between hold it."""
    draw = random.Random(seed)
    names = draw.sample(sorted(HEAD_VALUES), 6)
    fixed = () if "head" in names else (("head", draw.choice(HEAD_VALUES["head"])),)
    table = (*TABLE, Stage(2, 24, 2, 2))
    networks = select_networks(Space("drawn", table, fixed, tuple((name, HEAD_VALUES[name]) for name in names)))
    places = draw.sample(range(len(networks)), min(len(networks), 100))
    assert [networks.costs.cost(place) for place in places] == [count_cost(networks[place]) for place in places]
    network_of, keys = find_coinciding(networks).network_of, [arch_key(networks[place]) for place in places]
    ours = [network_of[place] for place in places]
    assert len(set(ours)) == len(set(keys)) == len(set(zip(ours, keys, strict=True)))


@pytest.mark.parametrize(
    "axes",
    [
        (("head", ("classifier", "ssdlite", "ssd")), ("family", CLASSIFIERS), ("width", (0.25, 0.5))),
        (("head", ("deeplabv3",)), ("family", HEADS["deeplabv3"]), ("width", (0.1, 0.2)), ("output_stride", (16, 8)),
         ("aspp", (True, False))),
        (("head", ("classifier", "deeplabv3", "ssd")), ("stages.3.s", (1, 2)), ("stages.5.s", (1, 2)),
         ("resolution", (64, 65))),
        (("family", ("darknet19",)), ("head", ("yolov2",)), ("width", (0.1, 0.2)), ("classes", (3, 4))),
        (("family", ("vgg16",)), ("head", ("ssd",)), ("width", (0.1,)), ("scales", (6, 7)), ("resolution", (64, 300))),
    ],
    ids=["detectors", "segmenters", "strides", "yolov2", "vgg16"],
)  # fmt: skip
def test_heads_of_one_space_are_gathered_each_by_its_own_fields(axes):
    networks = select_networks(Space("heads", axes=axes))
    assert [networks.costs.cost(i) for i in range(len(networks))] == [count_cost(arch) for arch in networks]
    assert len(find_coinciding(networks).first) == len({arch_key(arch) for arch in networks})


def test_classes_that_nobody_says_are_the_head_s():
    axes = (("head", ("classifier", "ssdlite", "deeplabv3")), ("width", (0.35, 0.5)))
    points = ((("head", "ssdlite"), ("width", 0.35)), (("head", "ssdlite"), ("width", 1.0)))
    networks = select_networks(Space("heads", axes=axes, points=points))
    assert [arch.classes for arch in networks] == [1000, 1000, 80, 80, 21, 21, 80]  # the first point is in the grid
    assert [networks.costs.cost(i) for i in range(7)] == [count_cost(arch) for arch in networks]
    assert [arch.classes for arch in select_networks(Space("heads", axes=axes), 5)] == [5] * 6


def test_combinations_beyond_a_table_are_kept_as_they_are_met(monkeypatch):
    monkeypatch.setattr(gather, "MOST_CELLS", 3)
    networks = select_networks(draw_space(3))
    assert networks.costs.cost(7) == count_cost(networks[7])


def test_rows_over_64_bits_are_exact_beside_small_ones():
    table = (Stage(100, 10_000, 100, 1), Stage(100, 10_000, 100, 1))
    networks = select_networks(Space("huge", table, axes=(("resolution", (8, 4096)), ("width", (0.35, 16.0)))))
    assert networks.costs.madds.dtype == object
    assert [networks.costs.cost(i) for i in range(4)] == [count_cost(arch) for arch in networks]


def test_forgetting_what_is_kept_changes_no_count(monkeypatch):
    monkeypatch.setattr(steps, "MOST_PARTS", 10)
    networks = select_networks(Space("widths", TABLE, axes=(("width", (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),)))
    assert [networks.costs.cost(i) for i in range(6)] == [count_cost(arch) for arch in networks]


def test_a_sample_is_gathered_as_its_grid_is():
    axes = tuple((name, VALUES[name]) for name in ("width", "resolution", "kernel", "stages.1.c"))
    grid = select_networks(Space("grid", TABLE, axes=axes))
    sample = select_networks(Space("sample", TABLE, axes=axes, sample=Sample(20, seed=1)))
    costs = {arch: grid.costs.cost(i) for i, arch in enumerate(grid)}
    assert [sample.costs.cost(i) for i in range(20)] == [costs[arch] for arch in sample]
    assert isinstance(sample.rows, np.ndarray)
