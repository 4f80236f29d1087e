"""What a device has to do for a network, counted from parts, from the whole plan and for whole spaces."""

import numpy as np
import pytest

from mnv2_sweep.devices.features import FEATURES, PLACES, arch_features, layer_features
from mnv2_sweep.nets.arch import FAMILIES, ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import WEIGHTED
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Space
from tests.arch_samples import draw_arch, draw_other
from tests.spaces.test_gather import draw_space

ARCHS = [draw_arch(seed) for seed in range(20)] + [draw_other(seed) for seed in range(8)]
MADDS = [PLACES[name] for name, one in FEATURES.items() if one.unit == "MAdds"]


@pytest.mark.parametrize("arch", ARCHS, ids=lambda arch: arch.family)
def test_features_are_those_of_the_plan_s_layers(arch):
    layers = resolve(arch).layers
    (features,) = arch_features([arch])
    assert np.array_equal(features, layer_features(layers, is_start=True))
    assert features[MADDS].sum() == count_cost(arch).madds
    assert features[PLACES["weights"]] == sum(layer.weights for layer in layers)
    assert features[PLACES["elements"]] == sum(layer.output_elements for layer in layers if layer.op in WEIGHTED)
    assert features[PLACES["constant"]] == 1


def counted(**fields) -> dict[str, float]:
    arch = ArchSpec(
        **{"stages": (Stage(1, 16, 1, 1), Stage(2, 16, 2, 1)), "resolution": 32, "last_channels": 0, **fields}
    )
    return dict(zip(FEATURES, arch_features([arch])[0], strict=True))


def test_each_kind_of_work_has_a_feature_of_its_own():
    plain = counted()
    assert plain["stem"] == 16 * 16 * 9 * 3 * 32
    assert plain["depthwise3"] == 16 * 16 * 9 * (32 + 32 + 32) and plain["depthwise5"] == plain["other"] == 0
    assert plain["joined"] == 2 * 16 * 16 * 16  # of both blocks with 16 channels on either side
    assert plain["curved"] == 0 and plain["moved"] == 16 * 16 * 16  # the mean over the last map
    wider = counted(kernel=5)
    assert wider["depthwise5"] == plain["depthwise3"] / 9 * 25 and wider["depthwise3"] == 0
    assert counted(kernel=9)["other"] > 0 and counted(depthwise=False)["other"] > 0
    curved = counted(activation="hswish")
    # An operation for each activation: stem, three depthwise convolutions, two expansions.
    assert curved["layers"] == plain["layers"] + 6 and curved["curved"] == 16 * 16 * (32 + 3 * 32 + 2 * 32)
    assert counted(residual="none")["joined"] == 0
    squeezed = counted(se_ratio=0.25)
    assert squeezed["joined"] == plain["joined"] + 3 * 16 * 16 * 32
    assert squeezed["curved"] == 3 * 32 and squeezed["moved"] == plain["moved"] + 3 * 16 * 16 * 32


def test_families_of_one_space_are_each_counted_by_their_own_layers():
    axes = (("family", tuple(FAMILIES)), ("width", (0.5, 1.0)), ("resolution", (32, 33)))
    networks = select_networks(Space("families", axes=axes, points=((("width", 1.4),),)))
    assert np.array_equal(networks.features(), arch_features([*networks]))


@pytest.mark.parametrize("seed", range(6))
def test_those_of_a_space_are_those_of_each_network(seed):
    networks = select_networks(draw_space(seed))
    features = networks.features()
    places = [*range(0, len(networks), max(1, len(networks) // 60)), len(networks) - 1, len(networks) - 2]
    assert features.shape == (len(networks), len(FEATURES))
    assert np.array_equal(features[places], arch_features([networks[place] for place in places]))
