"""CUDA graphs: the same training as without them; on a CPU nothing changes."""

from dataclasses import replace

import pytest
import torch

from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.training.cuda_graphs import graph_passes
from mnv2_sweep.training.loop import run_trial

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
WITHOUT_TIMES = {"seconds": 0.0, "images_per_second": 0.0, "peak_memory_bytes": 0}


def test_on_a_cpu_there_are_none(make_trial, tiny_data):
    trial = make_trial(images=40, batch=8, curve_images=10)
    one, two = (replace(run_trial(trial, tiny_data, graphs=graphs), **WITHOUT_TIMES) for graphs in (False, True))
    assert one == two


@pytest.mark.gpu
@ON_GPU
def test_a_graphed_network_gives_the_same_gradients_and_is_left_as_it_was():
    torch.manual_seed(0)
    model = build_model(ArchSpec(width=0.35, resolution=32, classes=10, dropout=0.0)).cuda().train()
    before, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.cuda.get_rng_state()
    images = torch.randn(8, 3, 32, 32, device="cuda")
    lines = []
    with torch.autocast("cuda", torch.bfloat16):
        plain = torch.autograd.grad(model(images).float().square().sum(), list(model.parameters()))
    model.load_state_dict(before)
    kept = graph_passes(model, images, lines.append)
    assert len(lines) == 1 and ("forward" in vars(model)) == kept
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.cuda.get_rng_state(), random) and all(p.grad is None for p in model.parameters())
    with torch.autocast("cuda", torch.bfloat16):
        model(images).float().square().sum().backward()
    for parameter, wanted in zip(model.parameters(), plain, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=0.1, atol=0.1 * wanted.abs().max().item())
    model.eval()
    assert torch.isfinite(model(images[:3])).all()  # another shape


@pytest.mark.gpu
@ON_GPU
def test_a_trial_learns_with_graphs_as_without(make_trial, tiny_data):
    trial = make_trial(images=240, batch=8, curve_images=10)
    one, two = (run_trial(trial, tiny_data, "cuda", graphs=graphs) for graphs in (False, True))
    assert two.train_images == one.train_images and two.train_loss == pytest.approx(one.train_loss, rel=0.2)
