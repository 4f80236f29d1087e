"""Rare classes made up for: by what their images count in the loss, or by how often they are drawn."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mnv2_sweep.training.batch import draw_batch, find_loss, join_batches, weigh_classes, weigh_images
from mnv2_sweep.training.checkpoint import BatchOrder
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.linear import Examples, fit_linear
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.training.refit import fit_least_squares
from mnv2_sweep.training.shared import Supernet, train_shared
from mnv2_sweep.training.stacked import train_stacked
from mnv2_sweep.trials.trial import trial_id
from tests.stops import Stop, measured
from tests.supernet_samples import SUPERNET, share

torch.set_num_threads(1)

LABELS = np.array([0] * 8 + [1] * 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def uneven_data(tiny_data):
    """The tiny data with a sixth of the images of two classes in training."""
    data, labels = copy(tiny_data), tiny_data.labels["train"]
    kept = np.flatnonzero((labels == 0) | (np.arange(len(labels)) < len(labels) // 6))
    data.labels = {**data.labels, "train": labels[kept]}
    data.images = {**data.images, "train": data.images["train"][kept]}
    return data


def test_all_classes_count_the_same_and_images_1_on_average():
    weights = weigh_classes(LABELS, 3)  # the third has no image
    assert weights.tolist() == [10 / 16, 10 / 4, 0]
    assert weights[torch.from_numpy(LABELS)].mean().item() == pytest.approx(1)


def test_without_balance_nothing_is_weighed(make_trial):
    assert weigh_images(make_trial(), LABELS) is None
    order = BatchOrder(10, generator(), None, False)
    assert order.weights is order.drawn is None and sorted(order.take(10).tolist()) == [*range(10)]


def test_losses_count_as_their_images_do_mixed_ones_by_their_shares(make_trial):
    trial, targets, outputs = make_trial(balance="weights"), torch.from_numpy(LABELS), torch.randn(4, 3)
    chosen, weights = torch.tensor([0, 9, 1, 8]), weigh_images(make_trial(balance="weights"), LABELS)
    batch = draw_batch(targets, chosen, trial, generator(), weights)
    losses = nn.functional.cross_entropy(outputs, targets[chosen], reduction="none", label_smoothing=0.1)
    trial = replace(trial, recipe=replace(trial.recipe, label_smoothing=0.1))
    own = torch.tensor([weights[0], weights[9], weights[1], weights[8]])
    torch.testing.assert_close(find_loss(outputs, batch, trial), (own * losses).mean())
    torch.testing.assert_close(find_loss(outputs, batch, trial, each=True), own * losses)
    half = find_loss(outputs[:2], batch, trial, slice(0, 2))
    torch.testing.assert_close(half, (own * losses)[:2].mean())
    mixing = replace(trial, recipe=replace(trial.recipe, mixup=1.0))
    mixed = draw_batch(targets, chosen, mixing, generator(), weights)
    share = mixed.shares[0, 0]
    torch.testing.assert_close(mixed.weights, share * own + (1 - share) * own.roll(1, 0))
    other = draw_batch(targets, chosen.flip(0), trial, generator(), weights)
    assert torch.equal(join_batches([batch, other]).weights, torch.cat([own, own.flip(0)]))


def test_the_sampler_draws_each_class_as_often_and_goes_on_from_its_state():
    weights = weigh_classes(LABELS, 2)[torch.from_numpy(LABELS)]
    order = BatchOrder(10, generator(1), weights, is_drawn=True)
    drawn = torch.cat([order.take(7) for _ in range(400)])
    assert abs(LABELS[drawn.numpy()].mean() - 0.5) < 0.04 and order.weights is None
    other = BatchOrder(10, generator(2), weights, is_drawn=True)
    other.restore(order.state())
    assert torch.equal(other.take(25), order.take(25))


@pytest.mark.parametrize("balance", ["weights", "sampler"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(balance, make_trial, uneven_data, tmp_path):
    trial = make_trial(balance=balance, images=96)
    whole = run_trial(trial, uneven_data)
    assert measured(whole) != measured(run_trial(make_trial(images=96), uneven_data))
    control = Control(checkpoint=tmp_path / "c", should_stop=Stop(4))
    with pytest.raises(Interrupted):
        run_trial(trial, uneven_data, control=control)
    assert measured(run_trial(trial, uneven_data, control=Control(checkpoint=tmp_path / "c"))) == measured(whole)


@pytest.mark.parametrize("balance", ["weights", "sampler"])
def test_stacked_seeds_and_shared_weights_are_balanced_too(balance, make_trial, uneven_data, tmp_path):
    trials = [make_trial(seed=seed, balance=balance, images=64) for seed in (0, 1)]
    for trial, result in zip(trials, train_stacked(trials, uneven_data), strict=True):
        alone = run_trial(trial, uneven_data)
        assert result.train_loss == pytest.approx(alone.train_loss, rel=0.02)
    losses = set()
    for name in ("none", balance):
        trial = share(make_trial(balance=name), images=64)
        assert trial_id(trial)
        trained = train_shared(trial, uneven_data, "cpu", Control(), Supernet(SUPERNET, tmp_path / f"{name}.pt"))
        losses.add(trained.curve[-1].train_loss)
    assert len(losses) == 2


def test_a_probe_with_weights_finds_more_of_the_rare_class(make_trial):
    random = generator(3)
    features = torch.randn(330, 4, generator=random)
    labels = np.array([0] * 300 + [1] * 30)
    features[labels == 1, 0] += 1.0
    targets, recalls = torch.from_numpy(labels), []
    for balance in ("none", "weights"):
        trial = make_trial(balance=balance)
        examples = Examples(features, targets, weigh_images(trial, labels))
        given = fit_linear(trial, examples, examples, Control()).outputs(features).argmax(1)
        recalls.append((given == targets)[labels == 1].float().mean().item())
    assert recalls[0] < 0.3 and recalls[1] > 0.5


def test_a_classifier_that_is_refitted_is_balanced_too(make_trial):
    random = generator(3)
    features, labels = torch.randn(330, 4, generator=random), np.array([0] * 300 + [1] * 30)
    features[labels == 1, 0] += 1.0
    targets, recalls = torch.from_numpy(labels), []
    for balance in ("none", "weights", "sampler"):
        trial = make_trial(balance=balance)
        given = fit_least_squares(trial, features, targets, weigh_images(trial, labels)).outputs(features).argmax(1)
        recalls.append((given == targets)[labels == 1].float().mean().item())
    assert recalls[0] < 0.3 and recalls[1] == recalls[2] > 0.5
    same = fit_least_squares(make_trial(), features, targets, torch.ones(330))
    plain = fit_least_squares(make_trial(), features, targets)
    torch.testing.assert_close(same.weight, plain.weight, rtol=0.02, atol=1e-3)  # the factor is sought to 0.01
