"""Which networks may share one set of weights, what a supernet is called, and where its layers lie."""

import re
from dataclasses import replace

import pytest

from mnv2_sweep.base.errors import ArchError
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.nets.supernet import check_supernet, supernet_digest, supernet_places
from tests.supernet_samples import DEEP, LARGEST, SMALLEST, SUPERNET, WIDE, draw_supernet


@pytest.mark.parametrize("seed", range(20))
def test_width_resolution_expansion_depth_and_last_channels_may_differ(seed):
    check_supernet(draw_supernet(seed))


def test_a_single_network_is_a_supernet():
    check_supernet([ArchSpec()])


ONE = "one value allowed: "
REFUSED = {
    "kernel": ([{"kernel": 5}], f"kernel: 3, 5 given, {ONE}kernels of two sizes have no common weights"),
    "residual": (
        [{"residual": "none"}, {"residual": "expansion"}],
        f"residual: bottleneck, expansion, none given, {ONE}shortcuts elsewhere ask other weights of the same layers",
    ),
    "linear bottleneck": (
        [{"linear_bottleneck": False}],
        f"linear_bottleneck: False, True given, {ONE}the weights before and after a ReLU6 are not the same",
    ),
    "activation": (
        [{"activation": "hswish"}],
        f"activation: hswish, relu6 given, {ONE}the weights after a ReLU6 and after another activation are not the "
        "same",
    ),
    "depthwise": (
        [{"depthwise": False}],
        f"depthwise: False, True given, {ONE}an ordinary kernel has weights between channels, a depthwise one has none",
    ),
    "classes": ([{"classes": 4}], f"classes: 3, 4 given, {ONE}the classifier has one output a class"),
    "dropout": ([{"dropout": 0.1}], f"dropout: 0.1, 0.2 given, {ONE}a shared training drops nothing out"),
    "squeezes": (
        [{"se_ratio": 0}, {"se_ratio": 0.25}],
        f"se_ratio: 0, 0.25 given, {ONE}with and without squeeze-and-excite, or with another ratio, the same weights "
        "mean other things",
    ),
    "many values": (
        [{"kernel": kernel} for kernel in range(5, 19, 2)],
        f"kernel: 3, 5, 7, 9, 11, 13, ... given, {ONE}kernels of two sizes have no common weights",
    ),
    "stride": (
        [{"stages": (LARGEST.stages[0], LARGEST.stages[1]._replace(s=1))}],
        f"stages.1.s: 1, 2 given, {ONE}a stage has one stride, as its blocks see one size",
    ),
    "rows": (
        [{"stages": LARGEST.stages[:1]}, {"stages": (*LARGEST.stages, Stage(6, 32, 1, 1))}],
        f"stages: 1, 2, 3 rows given, {ONE}rows of one table have no place in another",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shared_is_named(name):
    changes, message = REFUSED[name]
    archs = [LARGEST, SMALLEST, *(replace(LARGEST, **change) for change in changes)]
    for given in (archs, archs[::-1]):
        with pytest.raises(ArchError, match=f"^{re.escape(message)}$"):
            check_supernet(given)


@pytest.mark.parametrize(
    "families, given",
    [
        (["mobilenet_v1"], "mobilenet_v1"),
        (["mobilenet_v2", "shufflenet_v1"], "mobilenet_v2, shufflenet_v1"),
        (["nasnet_a", "mobilenet_v2", "mobilenet_v1"], "mobilenet_v1, mobilenet_v2, nasnet_a"),
    ],
)
def test_other_families_have_no_slices(families, given):
    with pytest.raises(ArchError) as caught:
        check_supernet([ArchSpec(family=family) for family in families])
    assert str(caught.value) == f"family: {given} given, only mobilenet_v2 allowed: the others have no slices"


def test_a_supernet_is_called_the_same_in_any_order_and_however_its_networks_are_written():
    twin = replace(WIDE, width=1.001)  # resolves to the same network
    names = {
        supernet_digest(archs)
        for archs in (SUPERNET, SUPERNET[::-1], (*SUPERNET, LARGEST), (twin, SMALLEST, LARGEST, DEEP))
    }
    assert len(names) == 1 and re.fullmatch("[0-9a-f]{16}", names.pop())


def test_other_families_are_called_otherwise():
    larger, smaller, other = (
        (*SUPERNET, replace(WIDE, resolution=9)),
        SUPERNET[1:],
        (*SUPERNET[1:], replace(WIDE, width=0.75)),
    )
    names = [supernet_digest(archs) for archs in (SUPERNET, larger, smaller, other)]
    assert len(set(names)) == 4


def test_layers_are_named_by_stage_repeat_and_role():
    assert [place for place, _ in supernet_places(resolve(LARGEST))] == [
        *("stem_0_conv", "0_0_depthwise", "0_0_project"),
        *("1_0_expand", "1_0_depthwise", "1_0_project", "1_1_expand", "1_1_depthwise", "1_1_project"),
        *("last_0_conv", "classifier_0_conv"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_layer_with_weights_has_one_place_and_it_does_not_depend_on_the_network(seed):
    for arch in draw_supernet(seed):
        plan = resolve(arch)
        places = supernet_places(plan)
        assert [layer for _, layer in places] == list(plan.convs) and len(dict(places)) == len(places)
        wide = dict(supernet_places(resolve(replace(arch, width=2.0, resolution=32, last_channels=99))))
        assert {place: (layer.name, layer.kernel, layer.stride) for place, layer in places} == {
            place: (layer.name, layer.kernel, layer.stride) for place, layer in wide.items()
        }


def test_a_cell_of_every_row_counts_in_the_place_of_the_network_s():
    """Two networks whose rows have kernels of their own share weights, whatever kernel the networks would have."""
    own = tuple(stage._replace(kernel=5) for stage in LARGEST.stages)
    check_supernet([replace(LARGEST, stages=own, kernel=3), replace(LARGEST, stages=own, kernel=7)])
    with pytest.raises(ArchError, match=r"stages.0.kernel: 3, 5 given, one value allowed"):
        check_supernet([replace(LARGEST, kernel=3), replace(LARGEST, stages=own)])
