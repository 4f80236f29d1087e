"""The classifier in closed form against the same found the long way: image by image, and by its effect."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mnv2_sweep.training import refit
from mnv2_sweep.training.refit import fit_least_squares
from mnv2_sweep.trials.recipe import RECIPES

IMAGES, CHANNELS, CLASSES = 40, 6, 3


@pytest.fixture
def sample(make_trial):
    """A trial, features in units far apart with a channel that never varies, and classes that they tell in part."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(IMAGES, CHANNELS, generator=generator) * torch.tensor([5.0, 1, 1, 0.2, 1, 0]) + 2
    targets = (features[:, :3] + torch.randn(IMAGES, 3, generator=generator)).argmax(1)
    trial = make_trial()
    assert trial.data.classes == CLASSES
    return replace(trial, recipe=RECIPES["short"]), features, targets


def ridge_outputs(features, wanted, of, strength):
    """Return what least squares with this penalty, fitted to `features`, says of others; the features are standard."""
    middle, centre = wanted.mean(0), features.mean(0)
    own = features - centre
    weight = torch.linalg.solve(own.T @ own + strength * len(wanted) * torch.eye(CHANNELS), own.T @ (wanted - middle))
    return middle + (of - centre) @ weight


@pytest.mark.parametrize("strength", refit.STRENGTHS)
def test_what_it_says_of_each_image_is_what_a_fit_to_all_others_says(sample, monkeypatch, strength):
    trial, features, targets = sample
    monkeypatch.setattr(refit, "STRENGTHS", (strength,))
    linear = fit_least_squares(trial, features, targets)
    centred = (features - features.mean(0)).double()
    standard = centred / features.var(0).mean().sqrt()
    wanted = nn.functional.one_hot(targets, CLASSES).double()
    outputs = torch.stack(
        # A penalty of as much in all, whether an image is left out or not.
        [ridge_outputs(standard[kept], wanted[kept], standard[i], strength * IMAGES / (IMAGES - 1))
         for i in range(IMAGES) for kept in [[j for j in range(IMAGES) if j != i]]]
    )  # fmt: skip
    losses = [
        nn.functional.cross_entropy((factor * outputs).float(), targets).item()
        for factor in torch.linspace(0, 60, 2401)
    ]
    assert linear.train_loss == pytest.approx(min(losses), abs=1e-4)


def test_the_penalty_and_the_factor_are_the_best_of_those_tried_on_images_left_out(sample, monkeypatch):
    trial, features, targets = sample
    best = fit_least_squares(trial, features, targets)
    errors = {}
    for strength in refit.STRENGTHS:
        monkeypatch.setattr(refit, "STRENGTHS", (strength,))
        errors[strength] = fit_least_squares(trial, features, targets).train_loss
    assert best.train_loss == errors[best.strength] <= min(errors.values()) + 0.01
    guessing = nn.functional.cross_entropy(torch.zeros(IMAGES, CLASSES), targets).item()
    assert best.train_loss < 0.9 * guessing


def test_its_outputs_are_logits_whose_loss_on_other_images_is_as_said(make_trial):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(20, CLASSES, generator=generator)

    def draw(count):
        features = torch.randn(count, 20, generator=generator)
        return features, (features @ truth + 4 * torch.randn(count, CLASSES, generator=generator)).argmax(1)

    linear = fit_least_squares(make_trial(), *draw(2000))
    features, targets = draw(5000)
    assert nn.functional.cross_entropy(linear.outputs(features), targets).item() == pytest.approx(
        linear.train_loss, abs=0.02
    )


def test_fewer_images_than_channels_and_a_single_class(make_trial):
    features = torch.randn(4, 30, generator=torch.Generator().manual_seed(1))
    linear = fit_least_squares(make_trial(), features, torch.tensor([0, 1, 2, 0]))
    assert linear.weight.isfinite().all() and linear.outputs(features).argmax(1).tolist() == [0, 1, 2, 0]
    alone = fit_least_squares(make_trial(), features, torch.zeros(4, dtype=torch.int64))
    assert alone.outputs(features).argmax(1).tolist() == [0] * 4
