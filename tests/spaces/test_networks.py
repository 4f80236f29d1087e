"""Spaces -> networks: their order, duplicates, constraints and samples."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.spaces import networks
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.space import Constraint, Sample, Space, build_arch


def test_fixed_holds_for_points_too_unless_they_say_otherwise():
    space = Space("s", fixed=(("classes", 7), ("kernel", 5)), points=((), (("kernel", 3),)))
    assert expand(space, classes=10) == (ArchSpec(classes=7, kernel=5), ArchSpec(classes=7))


def test_the_narrower_key_wins():
    axes = (("stages.1.t", (2,)), ("stages.*.t", (3,)), ("expansion", (4,)), ("stages.*.n", (1,)))
    (arch,) = expand(Space("s", axes=axes))
    assert [stage.t for stage in arch.stages] == [3, 2, 3, 3, 3, 3, 3]
    assert {stage.n for stage in arch.stages} == {1}
    assert expand(Space("s", axes=(("expansion", (6,)),))) == (ArchSpec(),)
    assert expand(Space("s", axes=(("expansion", (2,)),)))[0].stages == set_expansion(MOBILENET_V2, 2)


def test_no_network_left_says_what_each_constraint_refused():
    bounds = (Constraint("madds", "<=", 60_000_000, "<= 60M"), Constraint("params", "<", 9, "< 9"))
    space = Space("tight", axes=(("resolution", (96, 128)),), points=((("width", 1.4),),), constraints=bounds)
    with pytest.raises(SpaceError) as caught:
        expand(space)
    message = "space 'tight': no network is left of 3 candidates; madds <= 60M refused 2; params < 9 refused 3"
    assert caught.value.mistakes == [message]


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_sample_does_not_depend_on_the_chunk(monkeypatch, chunk):
    axes = (("width", (0.35, 0.5, 0.75, 1.0)), ("resolution", tuple(range(32, 256, 32))), ("kernel", (3, 5)))
    bound = (Constraint("params", "<=", 2_000_000, "<= 2M"),)
    space = Space("s", axes=axes, constraints=bound, sample=Sample(20, 3))
    archs = expand(space)
    monkeypatch.setattr(networks, "CHUNK", chunk)
    assert expand(space) == archs


def test_sample_grows_at_its_end():
    axes = (("stages.*.c", tuple(range(8, 800, 8))), ("resolution", (96, 128)))
    large, small = (expand(Space("s", axes=axes, sample=Sample(size))) for size in (60, 20))
    assert large[:20] == small
    assert large[:20] != expand(Space("s", axes=axes, sample=Sample(20, seed=1)))


def test_sample_of_the_whole_grid_has_every_network():
    axes = (("width", (0.5, 1.0)), ("resolution", (96, 128, 160)))
    assert set(expand(Space("s", axes=axes, sample=Sample(6)))) == set(expand(Space("s", axes=axes)))


def test_sample_that_is_too_large_stops_when_all_is_seen():
    axes = (("width", (0.5, 1.0)), ("resolution", (96, 128)))
    bound = (Constraint("madds", "<=", 60_000_000, "<= 60M"),)
    with pytest.raises(SpaceError) as caught:
        expand(Space("s", axes=axes, constraints=bound, sample=Sample(4)))
    (message,) = caught.value.mistakes
    assert message.startswith("space 's': a sample of 4 was asked for, 3 found in ")
    assert message.endswith(
        "(4 different networks of 4 combinations seen); madds <= 60M refused 1. Ask for fewer or allow more"
    )


def test_sample_under_an_impossible_bound_stops():
    axes = (("stages.0.c", tuple(range(1, 10_001))), ("classes", tuple(range(1, 10_001))))
    bound = (Constraint("params", "<", 0, "< 0"),)
    with pytest.raises(SpaceError, match="0 found in 10,000 draws"):
        expand(Space("s", axes=axes, constraints=bound, sample=Sample(4)))


AXIS_VALUES = {
    "width": [0.35, 0.5, 1.0],
    "resolution": [32, 64, 96],
    "expansion": [1, 3, 6],
    "stages.*.n": [1, 2],
    "stages.0.t": [1, 2],
    "stages.1.c": [16, 24],
    "residual": ["bottleneck", "none"],
}


AXES = st.lists(st.sampled_from(sorted(AXIS_VALUES)), min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.tuples(
        *(st.tuples(st.just(key), st.permutations(AXIS_VALUES[key]).map(tuple)) for key in keys),
    )
)


@given(axes=AXES, bound=st.integers(20, 4000), points=st.lists(st.sampled_from([0.35, 0.5, 1.0]), max_size=3))
@settings(max_examples=40)
def test_grid_properties(axes, bound, points):
    bounds = (Constraint("madds", "<=", bound * 100_000, ""),)
    tiny = (Stage(1, 8, 1, 1), Stage(6, 16, 1, 2))
    points = tuple((("width", width),) for width in points)
    space = Space("s", stages=tiny, axes=axes, points=points, constraints=bounds)
    everything = expand(Space("s", stages=tiny, axes=axes, points=points))
    allowed = tuple(arch for arch in everything if count_cost(arch).madds <= bound * 100_000)
    assert len(set(everything)) == len(everything)
    key, values = axes[0]
    if key in ("width", "resolution"):  # the first axis runs slowest
        runs = [value for value, _ in itertools.groupby(getattr(arch, key) for arch in everything)]
        assert tuple(runs[: len(values)]) == values
    if allowed:
        assert expand(space) == allowed  # constraints leave gaps, never another order
    else:
        with pytest.raises(SpaceError):
            expand(space)


@pytest.mark.slow
@given(axes=AXES, seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
@settings(max_examples=40)
def test_sample_properties(axes, seed, share):
    tiny = (Stage(1, 8, 1, 1), Stage(6, 16, 1, 2))
    grid = expand(Space("s", stages=tiny, axes=axes))
    size = max(1, round(share * len(grid)))
    archs = expand(Space("s", stages=tiny, axes=axes, sample=Sample(size, seed)))
    assert len(archs) == len(set(archs)) == size
    assert set(archs) <= set(grid)


# ---------------------------------------------------------------- Networks as a sequence


def test_networks_are_the_specs_on_demand():
    axes = (("width", (0.35, 1.0)), ("stages.1.c", (24, 32)), ("residual", ("none", "expansion")))
    space = Space("s", axes=axes, points=((("width", 0.5),), (("width", 0.35), ("residual", "none"))))
    found = networks.select_networks(space, classes=7)
    archs = [build_arch(space, dict(zip([key for key, _ in axes], values, strict=True)), 7)
             for values in itertools.product(*(values for _, values in axes))]  # fmt: skip
    assert list(found) == [*archs, ArchSpec(width=0.5, classes=7)]  # the second point is in the grid
    assert found[2:5] == tuple(archs[2:5]) and len(found) == 9
    with pytest.raises(IndexError):
        found[9]
    assert [found.costs.cost(i) for i in range(9)] == [count_cost(arch) for arch in found]


def test_families_side_by_side():
    axes = (("family", ("mobilenet_v1", "mobilenet_v2")), ("width", (0.5, 1.0)))
    points = ((("family", "shufflenet_v1"), ("groups", 4)),)
    found = networks.select_networks(Space("s", axes=axes, points=points))
    assert [(arch.family, arch.width, arch.groups) for arch in found] == [
        *[("mobilenet_v1", 0.5, 3), ("mobilenet_v1", 1.0, 3), ("mobilenet_v2", 0.5, 3), ("mobilenet_v2", 1.0, 3)],
        ("shufflenet_v1", 1.0, 4),
    ]
    assert found.costs.madds.tolist() == [count_cost(arch).madds for arch in found]


def test_few_are_built_before_somebody_looks(monkeypatch):
    """Each value of an axis is in some network that is built, not each combination."""
    built = []
    monkeypatch.setattr(networks, "build_row", lambda *row, make=networks.build_row: built.append(row) or make(*row))
    expansions = tuple((f"stages.{row}.t", (1, 2, 3, 4, 6)) for row in range(1, 5))
    axes = (("width", (0.35, 0.5)), ("resolution", (96, 128)), *expansions)
    bounds = (Constraint("madds", "<=", 15_000_000, ""), Constraint("depth", ">", 1, ""))
    found = networks.select_networks(Space("s", axes=axes, constraints=bounds))
    assert len(built) < 80 < found.costs.madds.size < 2500 == len(found.space.axes[2][1]) ** 4 * 4


@pytest.mark.parametrize("chunk", [1, 3, 10_000])
def test_grids_do_not_depend_on_the_chunk(monkeypatch, chunk):
    axes = (("width", (0.35, 0.5, 0.75)), ("expansion", (1, 2)), ("stages.*.t", (3, 4)))  # expansion has no effect
    space = Space("s", axes=axes)
    expected = expand(space)
    monkeypatch.setattr(networks, "CHUNK", chunk)
    assert expand(space) == expected and len(expected) == 6


def test_axes_without_any_effect_give_one_network():
    space = Space("s", fixed=(("stages.*.t", 3),), axes=(("expansion", (1, 6)),))
    assert expand(space) == (ArchSpec(stages=tuple(Stage(3, s.c, s.n, s.s) for s in MOBILENET_V2)),)


def test_an_axis_that_every_row_overrides_has_no_effect():
    space = Space("s", fixed=(("stages.*.kernel", 5),), axes=(("kernel", (3, 5)), ("width", (0.5, 1.0))))
    assert networks.Cells(space, None).used == [1] and len(expand(space)) == 2
