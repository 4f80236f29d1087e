"""Images mixed two at a time, with their targets: what is drawn, and that it reaches every way to train."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mnv2_sweep.base.size import square
from mnv2_sweep.data.batches import apply_crops, draw_crops, image_batch
from mnv2_sweep.tasks.task import Work
from mnv2_sweep.training import batch as batches
from mnv2_sweep.training.batch import draw_batch, join_batches
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.training.shared import Supernet, train_shared
from mnv2_sweep.training.stacked import train_stacked
from mnv2_sweep.training.ways.finetuned import run_finetuned_trial
from mnv2_sweep.trials.trial import Trial, trial_id
from tests.stops import Stop, measured
from tests.supernet_samples import SUPERNET, WIDE, check_stopped_shared, share

torch.set_num_threads(1)

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
CHOSEN = torch.tensor([5, 0, 3, 7, 1])
NEVER = 1e9


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_mixup_nothing_is_drawn_for_it(make_trial):
    trial, random_before, drawn = make_trial(), random.getstate(), generator()
    batch = draw_batch(LABELS, CHOSEN, trial, drawn)
    assert torch.equal(batch.chosen, CHOSEN[:, None]) and torch.equal(batch.targets, LABELS[CHOSEN])
    usual = generator()
    assert torch.equal(batch.crops[:, 0], draw_crops(5, trial.recipe, usual))
    assert torch.equal(drawn.get_state(), usual.get_state()) and random.getstate() == random_before


def test_each_image_and_its_target_are_mixed_with_the_one_before(make_trial, tiny_data):
    trial, pixels = make_trial(mixup=0.7, label_smoothing=0.3), tiny_data.pixels("train", square(16))
    batch = draw_batch(LABELS, CHOSEN, trial, generator(3))
    (first,) = set(batch.shares[:, 0].tolist())
    assert 0 < first < 1 and torch.allclose(batch.shares.sum(1), torch.ones(5))
    crops = draw_crops(5, trial.recipe, generator(3))
    alone = apply_crops(image_batch(pixels, CHOSEN, "cpu"), square(8), crops)
    torch.testing.assert_close(batch.images(pixels, square(8), "cpu"), first * alone + (1 - first) * alone.roll(1, 0))
    smooth = nn.functional.one_hot(LABELS[CHOSEN], 3) * 0.7 + 0.1
    torch.testing.assert_close(batch.targets, first * smooth + (1 - first) * smooth.roll(1, 0))


def test_parts_of_a_batch_and_joined_ones_have_the_same_mixtures(make_trial, tiny_data):
    trial, pixels = make_trial(mixup=1.0), tiny_data.pixels("train", square(16))
    one, other = (draw_batch(LABELS, CHOSEN, trial, generator(seed)) for seed in (1, 2))
    whole = [each.images(pixels, square(8), "cpu") for each in (one, other)]
    assert torch.equal(
        torch.cat([one.images(pixels, square(8), "cpu", rows) for rows in (slice(2), slice(2, 5))]), whole[0]
    )
    joined = join_batches([one, other])
    assert torch.equal(joined.images(pixels, square(8), "cpu"), torch.cat(whole))
    assert torch.equal(joined.targets, torch.cat([one.targets, other.targets]))


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 100.0])
def test_shares_are_of_the_beta_distribution_and_of_the_generator_alone(make_trial, alpha):
    """Its mean is 1/2, its variance 1 / (4 (2 alpha + 1))."""
    trial, drawn = make_trial(mixup=alpha), generator()
    state = torch.get_rng_state(), random.getstate()
    shares = torch.cat([draw_batch(LABELS, CHOSEN, trial, drawn).shares[:1, 0] for _ in range(3000)]).double()
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / (8 * alpha + 4), rel=0.1)
    again = generator()
    assert [draw_batch(LABELS, CHOSEN, trial, again).shares[0, 0].item() for _ in range(20)] == shares[:20].tolist()
    assert torch.equal(torch.get_rng_state(), state[0]) and random.getstate() == state[1]


def test_targets_of_other_tasks_are_numbers_of_which_means_are_taken(make_trial):
    assert Work().soften(torch.tensor([1, 3]), 1, make_trial().recipe).tolist() == [1.0, 3.0]


# ---------------------------------------------------------------- every way


@pytest.fixture
def make_mixed(make_trial) -> Callable[..., Trial]:
    """make_mixed(seed, any field of Recipe) -> a trial of a few steps that mixes its images."""
    return lambda seed=0, **recipe: make_trial(seed, **{"images": 100, "mixup": 0.4, "curve_images": 10, **recipe})


def alone(trial: Trial, data, path: Path) -> float:
    return run_trial(trial, data).train_loss


def stacked(trial: Trial, data, path: Path) -> float:
    return train_stacked([trial, replace(trial, seed=9)], data)[0].train_loss


def shared(trial: Trial, data, path: Path) -> float:
    return train_shared(share(trial), data, "cpu", Control(), Supernet(SUPERNET, path)).curve[-1].train_loss


def finetuned(trial: Trial, data, path: Path) -> float:
    trial = share(replace(trial, arch=WIDE), finetune=0.5)
    train_shared(trial, data, "cpu", Control(), Supernet(SUPERNET, path))
    return run_finetuned_trial(trial, data, "cpu", Control(), Supernet(SUPERNET, path)).train_loss


@pytest.mark.parametrize("way", [alone, stacked, shared, finetuned], ids=lambda way: way.__name__)
def test_it_reaches_every_way(make_mixed, tiny_data, tmp_path, monkeypatch, way):
    mixed, real = [], batches.mix_images
    monkeypatch.setattr(batches, "mix_images", lambda *given: mixed.append(len(given[0].chosen)) or real(*given))
    losses = [way(make_mixed(batch=10, mixup=alpha), tiny_data, tmp_path / f"{alpha}.pt") for alpha in (0.0, 0.4, 0.4)]
    steps = {alone: 10, stacked: 2 * 10, shared: 4, finetuned: 4 + 3}[way]
    assert mixed == [10] * (2 * steps)  # 60 images, and 40 of the shared training
    assert losses[0] != losses[1] == losses[2]


def test_seeds_mix_as_alone(make_mixed, tiny_data):
    trials = [make_mixed(seed, lr=0.005) for seed in (3, 0, 5)]
    for ours, trial in zip(train_stacked(trials, tiny_data), trials, strict=True):
        theirs = run_trial(trial, tiny_data)
        assert [point.train_loss for point in ours.curve] == pytest.approx(
            [point.train_loss for point in theirs.curve], abs=1e-4
        )


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_stopped_a_trial_ends_as_if_it_had_not_been(make_mixed, tiny_data, tmp_path, stop):
    trial, path = make_mixed(), tmp_path / "trial.pt"
    with pytest.raises(Interrupted):
        run_trial(trial, tiny_data, "cpu", Control(should_stop=Stop(stop), checkpoint=path, checkpoint_seconds=NEVER))
    control = Control(checkpoint=path, checkpoint_seconds=NEVER)
    assert measured(run_trial(trial, tiny_data, "cpu", control)) == measured(run_trial(trial, tiny_data))


def test_a_stopped_shared_training_ends_as_if_it_had_not_been(make_mixed, tiny_data, tmp_path):
    check_stopped_shared(share(make_mixed(batch=8)), tiny_data, tmp_path)


def test_trials_with_other_mixtures_are_other_trials(make_trial):
    assert len({trial_id(make_trial(mixup=alpha)) for alpha in (0, 0.2, 0.4)}) == 3
    assert trial_id(make_trial(mixup=0)) == trial_id(make_trial())
