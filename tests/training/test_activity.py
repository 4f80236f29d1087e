"""A network trained for figure 7 is the one that a sweep trains."""

import pytest
import torch

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.training.activity import measure_activities
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import run_trial

CONTROL = Control()


@pytest.mark.slow
def test_it_trains_what_a_trial_trains_and_measures_both_ends(make_trial, tiny_data):
    trial, threads = make_trial(seed=3), torch.get_num_threads()
    lines = []
    activities = measure_activities(trial, tiny_data, "cpu", Control(log=lines.append))
    assert activities.top1 == run_trial(trial, tiny_data).score("val", "top1")
    assert (activities.images, activities.train_images) == (30, 600)
    assert lines and torch.get_num_threads() == threads
    expected = [layer.name for block in resolve(trial.arch).blocks if block.expands for layer in block.convs[:2]]
    for layers in (activities.start, activities.trained):
        assert [layer.name for layer in layers] == expected
    assert all(0.35 < layer.mean / layer.channels < 0.65 for layer in activities.start)
    assert activities.start != activities.trained
    assert measure_activities(trial, tiny_data, "cpu", CONTROL) == activities


def test_divergence_is_one_line(make_trial, tiny_data):
    with pytest.raises(SweepError, match="activity: the training loss became nan by step"):
        measure_activities(make_trial(lr=1e9), tiny_data, "cpu", CONTROL)


def test_one_validation_image_is_too_few(make_trial, tiny_data):
    few = type(tiny_data)(train=60, val=1)
    with pytest.raises(SweepError, match="toy has one validation image"):
        measure_activities(make_trial(), few, "cpu", CONTROL)
