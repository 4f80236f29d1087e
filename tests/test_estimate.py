"""Seconds that trials will take: the line through two probes, and how workers share them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.sweeps.sweep import trained_madds
from mnv2_sweep.training import estimate
from mnv2_sweep.training.estimate import estimate_seconds, image_seconds, wall_seconds

ARCHS = [ArchSpec(width=width, resolution=32) for width in (1.0, 0.35, 0.5)]


@pytest.fixture
def probed(monkeypatch):
    """Time an image = 1 ms + 1 ns a multiply-add; which trials were timed."""
    timed = []

    def probe(trial, device):
        timed.append(trial)
        assert torch.get_num_threads() == 1
        return 1e-3 + 1e-9 * trained_madds(trial)

    monkeypatch.setattr(estimate, "image_seconds", probe)
    return timed


def test_the_cheapest_and_the_dearest_are_timed_and_the_others_lie_between(probed, make_trial, tiny_data):
    trials = [make_trial(seed, arch=arch) for seed in (0, 1) for arch in ARCHS]
    seconds = estimate_seconds(trials, tiny_data, "cpu")
    assert [trial.arch.width for trial in probed] == [0.35, 1.0] and list(seconds) == trials
    per_image = [1e-3 + 1e-9 * trained_madds(trial) for trial in trials]
    ratios = [seconds[trial] / each for trial, each in zip(trials, per_image, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * 6)  # the same number of images each
    assert 600 + 75 / 3 <= ratios[0] <= 1.5 * 600  # training, evaluation at a third, and looks at the curve


def test_longer_schedules_take_longer(probed, make_trial, tiny_data):
    short, long = (make_trial(images=images) for images in (600, 6000))
    times = [estimate_seconds([trial], tiny_data, "cpu")[trial] for trial in (short, long)]
    assert 6 < times[1] / times[0] < 10
    by_epochs = make_trial(epochs=10)  # of 60 images
    assert estimate_seconds([by_epochs], tiny_data, "cpu")[by_epochs] == pytest.approx(times[0])


def test_a_cheaper_network_that_was_slower_gives_no_negative_time(monkeypatch, make_trial, tiny_data):
    monkeypatch.setattr(estimate, "image_seconds", lambda trial, device: {0.35: 2.0, 1.0: 1.0}[trial.arch.width])
    trials = [make_trial(arch=arch) for arch in ARCHS]
    assert len({round(s, 6) for s in estimate_seconds(trials, tiny_data, "cpu").values()}) == 1


def test_the_number_of_threads_is_given_back(monkeypatch, make_trial, tiny_data):
    def broken(trial, device):
        raise MemoryError

    before = torch.get_num_threads()
    monkeypatch.setattr(estimate, "image_seconds", broken)
    torch.set_num_threads(2)
    try:
        assert set(estimate_seconds([make_trial()], tiny_data, "cpu").values()) == {0.0}  # unknown
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_nothing_to_run_takes_no_time(probed, tiny_data):
    assert estimate_seconds([], tiny_data, "cpu") == {} and probed == []


def test_a_real_network_is_timed(make_trial):
    trial = make_trial(batch=4)
    assert 1e-6 < image_seconds(trial, "cpu") < 1
    assert image_seconds(replace(trial, recipe=replace(trial.recipe, optimizer="adamw")), "cpu") > 0


@pytest.mark.parametrize(
    "seconds, workers, wall",
    [([], 2, 0), ([5], 4, 5), ([1, 1, 1, 1], 2, 2), ([3, 3, 2, 2, 2], 2, 7), ([9, 1, 1, 1], 2, 9), ([2, 3], 1, 5)],
    ids=str,
)
def test_wall_time_of_the_longest_first(seconds, workers, wall):
    assert wall_seconds(seconds, workers) == wall


@given(st.lists(st.floats(0, 1e4), max_size=30), st.integers(1, 8))
def test_wall_time_is_within_the_bounds_of_any_schedule(seconds, workers):
    wall, total, longest = wall_seconds(seconds, workers), sum(seconds), max(seconds, default=0)
    slack = 1e-9 * total
    assert max(longest, total / workers) - slack <= wall <= total / workers + longest + slack
