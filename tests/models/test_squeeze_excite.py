"""Squeeze-and-excite as one field: shapes, roles, weights between 0 and 1, slices, labels."""

from dataclasses import replace

import pytest
import torch

from mnv2_sweep.models.build import PlanNetwork, SqueezeExcite, build_model
from mnv2_sweep.models.check_fvcore import check_fvcore
from mnv2_sweep.models.shared import SharedWeights, cut_slice
from mnv2_sweep.nets.arch import ArchSpec, Stage, arch_label
from mnv2_sweep.nets.memory import bound_operations
from mnv2_sweep.nets.resolve import resolve

TABLE = (Stage(1, 16, 1, 1), Stage(6, 24, 2, 2), Stage(6, 24, 1, 1))
SMALL = ArchSpec(stages=TABLE, width=0.5, resolution=32, classes=4, last_channels=64, se_ratio=0.25)


def test_squeezed_channels_are_a_share_of_the_block_s_input():
    blocks = [block for block in resolve(SMALL).blocks if block.kind == "bottleneck"]
    assert [(b.layers[0].c_in, b.hidden, b.find("reduce").c_out) for b in blocks] == [
        (16, 16, 4), (8, 48, 2), (16, 96, 4), (16, 96, 4),
    ]  # fmt: skip
    assert blocks[1].roles == ("expand", "depthwise", "squeeze", "reduce", "restore", "scale", "project")
    assert resolve(replace(SMALL, se_ratio=0.01)).blocks[1].find("reduce").c_out == 1


def test_one_row_alone_has_it():
    stages = (*TABLE[:1], TABLE[1]._replace(se_ratio=0.5), *TABLE[2:])
    arch = replace(SMALL, stages=stages, se_ratio=0.0)
    assert ["squeeze" in block.roles for block in resolve(arch).blocks] == [False, False, True, True, *[False] * 3]
    assert "se=0.5 in row 1" in arch_label(arch) and "se=0.25" in arch_label(SMALL)


@pytest.mark.parametrize("residual", ["bottleneck", "expansion", "none"])
def test_fvcore_counts_what_we_count(residual):
    assert check_fvcore(replace(SMALL, residual=residual)) == []


def test_channels_are_weighted_by_their_means():
    block = next(m for m in build_model(SMALL).modules() if isinstance(m, SqueezeExcite))
    x = torch.rand(2, 16, 5, 4)
    with torch.no_grad():
        weights = block(x) / x
    assert weights.std(dim=(2, 3)).max() < 1e-5 and 0 < weights.min() < weights.max() < 1


def test_a_network_of_the_plan_s_layers_computes_the_same():
    torch.manual_seed(0)
    model, other = build_model(SMALL).eval(), PlanNetwork(resolve(SMALL)).eval()
    other.load_state_dict(model.state_dict())
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(other(x), model(x))


def test_slices_of_shared_weights_have_their_part():
    large = replace(SMALL, width=1.0)
    weights = SharedWeights([large, SMALL])
    model = cut_slice(weights, SMALL)
    reduce = model.features[2].conv[2].fc1.weight
    torch.testing.assert_close(reduce, getattr(weights, "1_0_reduce_weight")[:2, :48])
    assert torch.isfinite(model(torch.rand(2, 3, 32, 32))).all()


def test_blocks_with_it_are_not_split():
    assert {operation.groups for operation in bound_operations(resolve(SMALL), 3)} == {1}
