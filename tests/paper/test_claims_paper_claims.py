"""Which claim of the paper a pair of networks tests."""

from dataclasses import replace

import pytest

from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, set_expansion
from mnv2_sweep.paper.claims import DEPTHWISE, EXPANSION, LAST_CONVOLUTION, LINEAR, PLACEMENT, RESIDUAL, find_claim

SMALL = ArchSpec(width=0.5, resolution=96)


def expanded(t: int, **changes) -> ArchSpec:
    return replace(SMALL, stages=set_expansion(MOBILENET_V2, t), **changes)


@pytest.mark.parametrize(
    "changed, claim",
    [
        (replace(SMALL, linear_bottleneck=False), LINEAR),
        (replace(SMALL, residual="none"), RESIDUAL),
        (replace(SMALL, residual="expansion"), PLACEMENT),
        (replace(SMALL, scale_last_conv=True), LAST_CONVOLUTION),
        (replace(SMALL, depthwise=False), DEPTHWISE),
        (replace(SMALL, activation="hswish"), None),
        (replace(SMALL, residual="none", linear_bottleneck=False), None),
        (replace(SMALL, depthwise=False, width=0.1), None),
        (expanded(8), None),
        (SMALL, None),
    ],
    ids=["linear", "none", "placement", "last", "depthwise", "hswish", "two changes", "width too", "t=8", "nothing"],
)
def test_claims_on_networks_of_one_width(changed, claim):
    assert find_claim(SMALL, changed, same_cost=False) is claim


@pytest.mark.parametrize(
    "t, width, claim", [(5, 0.5, EXPANSION), (10, 0.3, EXPANSION), (4, 0.6, None), (11, 0.3, None)]
)
def test_expansions_are_compared_at_one_cost(t, width, claim):
    assert find_claim(SMALL, expanded(t, width=width), same_cost=True) is claim


def test_there_is_no_claim_on_a_base_that_has_it_already():
    assert find_claim(replace(SMALL, width=1.0), ArchSpec(resolution=96, scale_last_conv=True), False) is None
    assert find_claim(replace(SMALL, linear_bottleneck=False), SMALL, False) is None
    assert find_claim(replace(SMALL, residual="none"), replace(SMALL, residual="expansion"), False) is None


def test_gaps_are_the_published_ones():
    assert [claim.gap for claim in (LINEAR, RESIDUAL, PLACEMENT, DEPTHWISE)] == [0.58, 1.41, 0.41, -1.1]
    assert all(claim.gap is None or claim.gap * claim.better > 0 for claim in (LINEAR, RESIDUAL, PLACEMENT, DEPTHWISE))
    assert (EXPANSION.better, EXPANSION.margin) == (0, 1.0)
