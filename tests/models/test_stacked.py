"""Seeds stacked into one network against the same networks alone, in float64, where rounding hides nothing."""

import pytest
import torch
from torch import Tensor, nn

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.stacked import StackedNetwork, stack_models, widen_plan
from mnv2_sweep.nets.arch import RESIDUALS, ArchSpec, Stage
from mnv2_sweep.nets.plan import Plan
from mnv2_sweep.nets.resolve import resolve

torch.set_num_threads(1)

MIXED = (Stage(1, 8, 2, 1), Stage(3, 8, 3, 1), Stage(1, 16, 2, 2), Stage(2, 16, 2, 1))
SEEDS = (4, 0, 7)
VARIANTS = [(residual, linear) for residual in RESIDUALS for linear in (True, False)]


def mixed_arch(**changes) -> ArchSpec:
    values = {"stages": MIXED, "width": 0.5, "resolution": 10, "last_channels": 24, "classes": 5, "dropout": 0.4}
    return ArchSpec(**{**values, **changes})


def build_seeds(arch: ArchSpec, seeds=SEEDS) -> tuple[list[nn.Module], list[Tensor]]:
    """Networks whose layers all differ, and what their dropout draws from."""
    models, states = [], []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(build_model(arch).double())
        states.append(torch.get_rng_state())
        generator = torch.Generator().manual_seed(seed)
        for name, value in models[-1].state_dict().items():
            if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.5, generator=generator)
    return models, states


def draw_images(*shape: int) -> Tensor:
    return torch.randn(*shape, 3, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def run_alone(model: nn.Module, state: Tensor, batches: Tensor, weights: Tensor) -> list[Tensor]:
    """Logits of batches in a row, as a seed alone draws its dropout; the gradients add up."""
    torch.set_rng_state(state)
    logits = [model(images) for images in batches]
    sum((one * weights).sum() for one in logits).backward()
    return logits


# ---------------------------------------------------------------- the same numbers


@pytest.mark.slow
@pytest.mark.parametrize("residual, linear", VARIANTS)
def test_stacked_seeds_train_as_alone(residual, linear):
    """Logits, gradients and the statistics of batch norm, over three batches with dropout."""
    arch = mixed_arch(residual=residual, linear_bottleneck=linear)
    models, states = build_seeds(arch)
    network = stack_models(models, arch, states).train()
    batches, weights = draw_images(3, len(SEEDS), 4), torch.randn(4, 5, dtype=torch.float64)
    stacked = [network(images) for images in batches]
    sum((logits * weights).sum() for logits in stacked).backward()
    assert [tuple(logits.shape) for logits in stacked] == [(3, 4, 5)] * 3
    gradients = {name: value.grad for name, value in network.named_parameters()}
    for at, (model, state) in enumerate(zip(models, states, strict=True)):
        alone = run_alone(model.train(), state, batches[:, at], weights)
        for logits, expected in zip(stacked, alone, strict=True):
            close(logits[at], expected)
        assert alone[0].std() > 0.001  # else anything is close
        for name, value in model.named_parameters():
            close(gradients[name].chunk(len(SEEDS))[at], value.grad)
            assert value.grad.abs().sum() > 0, name
        own = network.seed_state(at)
        for name, value in model.state_dict().items():
            close(own[name], value)
        assert own["features.0.1.num_batches_tracked"] == 3


@pytest.mark.parametrize(
    "changes", [{}, {"kernel": 5, "width": 1.3}, {"stages": (Stage(1, 8, 1, 1),), "classes": 1}, {"dropout": 0.0}]
)
def test_stacked_seeds_evaluate_as_alone(changes):
    arch = mixed_arch(**changes)
    models, states = build_seeds(arch)
    network, images = stack_models(models, arch, states).eval(), draw_images(len(SEEDS), 2)
    with torch.inference_mode():
        logits = network(images)
        for at, model in enumerate(models):
            close(logits[at], model.eval()(images[at]))


def test_one_seed_is_the_network_itself():
    arch = mixed_arch()
    models, states = build_seeds(arch, (3,))
    network, images = stack_models(models, arch, states), draw_images(1, 4)
    stacked = network(images)
    torch.set_rng_state(states[0])
    close(stacked[0], models[0](images[0]))


def test_the_plan_is_widened_in_every_layer_but_the_classifier():
    plan = resolve(mixed_arch(residual="expansion"))
    wide = widen_plan(plan, 3)
    assert isinstance(wide, Plan) and wide.blocks[-1] == plan.blocks[-1]
    for before, after in zip(plan.layers[:-2], wide.layers[:-2], strict=True):  # less the pool and the classifier
        assert (after.c_in, after.c_out, after.groups) == (3 * before.c_in, 3 * before.c_out, 3 * before.groups)
        assert after.madds == 3 * before.madds and after.params == 3 * before.params


# ---------------------------------------------------------------- dropout


def test_dropout_draws_each_seed_s_own_masks_and_nobody_else_s():
    arch = mixed_arch(dropout=0.5)
    models, states = build_seeds(arch)
    dropout = stack_models(models, arch, states).classifier[0]
    torch.manual_seed(99)
    before, ones = torch.get_rng_state(), torch.ones(3, 6, 24)
    drawn = [dropout(ones) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    for at, state in enumerate(states):
        torch.set_rng_state(state)
        for masks in drawn:
            assert torch.equal(masks[at], nn.functional.dropout(ones[at], 0.5))
    assert not torch.equal(drawn[0][0], drawn[1][0]) and not torch.equal(drawn[0][0], drawn[0][1])
    kept = [state.clone() for state in dropout.states]
    assert torch.equal(dropout.eval()(ones), ones)
    assert all(torch.equal(a, b) for a, b in zip(dropout.states, kept, strict=True))


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("residual", RESIDUALS)
def test_the_way_back_gives_the_same_weights(residual):
    arch = mixed_arch(residual=residual)
    models, states = build_seeds(arch)
    network = stack_models(models, arch, states).to(memory_format=torch.channels_last)
    for at, model in enumerate(models):
        own, expected = network.seed_state(at), model.state_dict()
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[name], value) for name, value in expected.items())
        fresh = build_model(arch).double()
        fresh.load_state_dict(own, strict=True)
        with torch.no_grad():  # the copy in the stack is one
            model.features[0][0].weight.zero_()
    assert all(network.features[0][0].weight.abs().flatten(1).sum(1) > 0)


def test_what_has_one_dimension_alone_has_one_in_the_stack():
    """By which weight decay tells them apart."""
    models, states = build_seeds(mixed_arch())
    alone = {name: value.ndim > 1 for name, value in models[0].named_parameters()}
    stacked = stack_models(models, mixed_arch(), states).named_parameters()
    assert {name: value.ndim > 1 for name, value in stacked} == alone


def test_no_number_is_drawn_and_every_weight_is_real():
    models, states = build_seeds(mixed_arch())
    before = torch.get_rng_state()
    network = stack_models(models, mixed_arch(), states)
    assert torch.equal(torch.get_rng_state(), before)
    assert {value.device.type for value in network.state_dict().values()} == {"cpu"}
    assert all(value.requires_grad for value in network.parameters())


def test_a_seed_without_numbers_leaves_the_others_alone():
    models, states = build_seeds(mixed_arch(dropout=0.0))
    images, labels = draw_images(3, 4), torch.arange(12) % 5
    found = []
    for spoilt in (False, True):
        network = stack_models(models, mixed_arch(dropout=0.0), states).train()
        if spoilt:
            with torch.no_grad():
                for value in network.state_dict().values():
                    if value.ndim:
                        value.chunk(3)[1].fill_(torch.nan)
        losses = nn.functional.cross_entropy(network(images).flatten(0, 1), labels, reduction="none").view(3, 4).mean(1)
        losses.sum().backward()
        gradients = [[value.grad.chunk(3)[at] for value in network.parameters()] for at in range(3)]
        found.append((losses, gradients))
    (losses, gradients), (spoilt_losses, spoilt_gradients) = found
    assert spoilt_losses.isnan().tolist() == [False, True, False]
    for at in (0, 2):
        assert torch.equal(losses[at], spoilt_losses[at])
        for ours, theirs in zip(gradients[at], spoilt_gradients[at], strict=True):
            assert torch.equal(ours, theirs)


# ---------------------------------------------------------------- what can't be stacked


@pytest.mark.parametrize("family, name", [("mobilenet_v1", "MobileNetV1"), ("shufflenet_v1", "ShuffleNet")])
def test_other_families_are_refused(family, name):
    arch = ArchSpec(family=family, width=0.25, resolution=16)
    with pytest.raises(SweepError, match=f"stack: {name} given, only MobileNetV2 allowed; train the seeds of {name}"):
        stack_models([build_model(arch)], arch, [torch.get_rng_state()])


@pytest.mark.parametrize(
    "changes",
    [{"width": 1.0}, {"residual": "none"}, {"linear_bottleneck": False}, {"dropout": 0.1}, {"kernel": 5}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_model_of_another_network_is_refused(changes):
    models = [build_model(mixed_arch()), build_model(mixed_arch(**changes))]
    with pytest.raises(SweepError, match="stack: model 1 is another network than the spec's; build each with"):
        stack_models(models, mixed_arch(), [torch.get_rng_state()] * 2)


def test_a_model_that_is_no_mobilenet_is_refused():
    with pytest.raises(SweepError, match="stack: model 0 is another network"):
        stack_models([nn.Linear(1, 1)], mixed_arch(), [torch.get_rng_state()])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_stacked_seeds_train_as_alone_on_a_gpu():
    arch = mixed_arch()
    models, states = [], []
    for seed in SEEDS:
        torch.manual_seed(seed)
        models.append(build_model(arch).cuda())
        states.append(torch.cuda.get_rng_state())
    network: StackedNetwork = stack_models(models, arch, states).train()
    images = draw_images(len(SEEDS), 8).float().cuda()
    logits = network(images)
    for at, (model, state) in enumerate(zip(models, states, strict=True)):
        torch.cuda.set_rng_state(state)
        torch.testing.assert_close(logits[at], model.train()(images[at]), rtol=1e-2, atol=1e-3)
