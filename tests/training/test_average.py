"""The moving average of weights: TensorFlow's rule with numbers by hand, and that it reaches every way to train."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mnv2_sweep.training.checkpoint import BatchOrder, Course
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.loop import begin_course, evaluate_model, evaluate_splits, run_trial, train_model
from mnv2_sweep.training.shared import Supernet, run_shared_trial
from mnv2_sweep.training.stacked import train_stacked
from mnv2_sweep.training.ways.finetuned import run_finetuned_trial
from mnv2_sweep.trials.recipe import RECIPES
from mnv2_sweep.trials.trial import Result, Trial
from tests.stops import Stop, measured
from tests.supernet_samples import SUPERNET, WIDE, check_stopped_shared, share

torch.set_num_threads(1)

NEVER = 1e9
# All that the released training has and others lack; a decay that a few steps can tell.
RELEASED = {
    name: getattr(RECIPES["paper"], name)
    for name in ("optimizer", "decay_depthwise", "norm_momentum", "norm_epsilon", "init_stddev", "crop_draw")
} | {"brightness": 0.2, "saturation": 0.5, "eval_crop": 0.875, "average": 0.6}


def make_course(model: nn.Module, decay: float) -> Course:
    order, now = BatchOrder(4, torch.Generator()), time.perf_counter()
    course = Course(model, torch.optim.SGD(model.parameters(), 0.1), order, "cpu", began=now, kept=now)
    course.begin_average(decay)
    return course


def set_weight(model: nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def test_it_starts_as_tensorflows():
    """tensorflow/python/training/moving_averages.py, with num_updates as TF-slim gives it: from 0, through the weights
    11, -1 and 5 of three steps, whose decays are min(0.9999, (1 + n) / (10 + n)) = 2/11, 3/12 and 4/13:

    0 + (1 - 2/11) (11 - 0) = 9    9 + (1 - 3/12) (-1 - 9) = 1.5    1.5 + (1 - 4/13) (5 - 1.5) = 3.9230769
    """
    model, found = nn.Linear(1, 1, bias=False, dtype=torch.float64), []
    set_weight(model, 0.0)
    course = make_course(model, 0.9999)
    for value in (11.0, -1.0, 5.0):
        set_weight(model, value)
        course.after_step()
        course.step += 1
        found.append(course.average[0].item())
    assert found == pytest.approx([9.0, 1.5, 3.923076923076923], abs=1e-14) and model.weight.item() == 5.0
    course.settle()
    assert model.weight.item() == found[-1]


@pytest.mark.parametrize("steps, share", [(1, 9 / 11), (90, 0.09), (89_989, 9 / 89_999), (89_990, 1e-4), (10**7, 1e-4)])
def test_from_step_89_990_on_its_decay_is_the_recipe_s(steps, share):
    assert make_course(nn.Linear(1, 1), 0.9999).average_share(steps) == pytest.approx(share, abs=1e-12)


def test_statistics_are_averaged_and_counts_are_not(make_trial, tiny_data):
    course = begin_course(make_trial(average=0.9), tiny_data, "cpu")
    floats = [value for value in course.model.state_dict().values() if value.is_floating_point()]
    names = [name for name in course.model.state_dict() if "num_batches" not in name]
    assert len(course.average) == len(floats) == len(names) and any("running_var" in name for name in names)
    assert begin_course(make_trial(), tiny_data, "cpu").average == []


def test_what_is_looked_at_leaves_the_training_alone(make_trial, tiny_data):
    course = begin_course(make_trial(average=0.9), tiny_data, "cpu")
    weight = course.model.classifier[1].weight
    first, second = weight.detach().clone(), weight.detach() + 1
    weight.data.copy_(second)
    with pytest.raises(Interrupted), course.averaged():
        assert torch.equal(weight, first)
        raise Interrupted
    assert torch.equal(weight, second)


# ---------------------------------------------------------------- every way


@pytest.fixture
def make_averaged(make_trial) -> Callable[..., Trial]:
    """make_averaged(seed, any field of Recipe) -> a trial of a few steps with all that the released training has."""
    return lambda seed=0, **recipe: make_trial(seed, **{"images": 100, "curve_images": 30, **RELEASED, **recipe})


def test_a_trial_ends_with_the_average_of_its_steps(make_averaged, tiny_data):
    """Averaged once more beside the training, and looked at as the curve does."""
    trial = make_averaged()
    course, seen = begin_course(trial, tiny_data, "cpu"), []
    kept = [tensor.clone() for tensor in course.average]
    after_step = course.after_step

    class Watched(type(course)):
        __slots__ = ()

        def after_step(self) -> None:
            share = 1 - min(0.6, (2 + self.step) / (11 + self.step))
            for mean, now in zip(kept, self._numbers(), strict=True):
                mean += share * (now - mean)
            seen.append(self.step)
            after_step()

    course.__class__ = Watched
    train_model(course, trial, tiny_data, Control())
    course.settle()
    assert seen == [0, 1, 2, 3, 4]
    for mean, own in zip(kept, course._numbers(), strict=True):
        torch.testing.assert_close(own, mean, rtol=1e-5, atol=1e-6)
    scores, _ = evaluate_model(course.model, trial, tiny_data, "val", "cpu")
    assert course.curve[-1].scores == {"top1": scores["top1"]}
    result = run_trial(trial, tiny_data)
    assert result.scores["val"] == scores
    assert result.scores != run_trial(replace(trial, recipe=replace(trial.recipe, average=0.0)), tiny_data).scores


def alone(trial: Trial, data, path: Path, control: Control) -> Result:
    return run_trial(trial, data, "cpu", control)


def stacked(trial: Trial, data, path: Path, control: Control) -> Result:
    return train_stacked([trial, replace(trial, seed=9)], data, "cpu", control)[0]


def shared(trial: Trial, data, path: Path, control: Control) -> Result:
    return run_shared_trial(share(replace(trial, arch=WIDE)), data, "cpu", control, Supernet(SUPERNET, path))


def finetuned(trial: Trial, data, path: Path, control: Control) -> Result:
    trial = share(replace(trial, arch=WIDE), finetune=0.5)
    return run_finetuned_trial(trial, data, "cpu", control, Supernet(SUPERNET, path))


@pytest.mark.parametrize("field", RELEASED)
@pytest.mark.parametrize("way", [alone, stacked, shared, finetuned], ids=lambda way: way.__name__)
def test_every_field_reaches_every_way(make_averaged, make_trial, tiny_data, tmp_path, way, field):
    """Each by itself changes what is measured; slices of shared weights have statistics of their own, and
    `ways.shared` refuses another momentum."""
    value = {**RELEASED, "optimizer": "rmsprop_tf", "norm_momentum": 0.5, "norm_epsilon": 0.1}[field]
    more = {"weight_decay": 3.0} if field == "decay_depthwise" else {}
    usual, changed = (
        way(make_trial(0, images=60, batch=10, **more, **own), tiny_data, tmp_path / f"{len(own)}.pt", Control())
        for own in ({}, {field: value})
    )
    losses = [result.scores["val"]["loss"] for result in (usual, changed)]
    assert (losses[0] == losses[1]) == (way in (shared, finetuned) and field == "norm_momentum")


def test_seeds_are_as_alone(make_averaged, tiny_data):
    trials = [make_averaged(seed, lr=0.005) for seed in (3, 0, 5)]
    for ours, trial in zip(train_stacked(trials, tiny_data), trials, strict=True):
        theirs = run_trial(trial, tiny_data)
        assert ours.score("val", "loss") == pytest.approx(theirs.score("val", "loss"), abs=1e-4)
        assert [p.train_loss for p in ours.curve] == pytest.approx([p.train_loss for p in theirs.curve], abs=1e-4)


@pytest.mark.parametrize("way, stop", [(alone, 1), (alone, 4), (alone, 12), (stacked, 2), (stacked, 9)])
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(make_averaged, tiny_data, tmp_path, way, stop):
    """After a step, in a look at the curve, in the last evaluation."""
    trial, path = make_averaged(), tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        control = Control(should_stop=Stop(stop), checkpoint=path, checkpoint_seconds=NEVER)
        way(trial, tiny_data, tmp_path, control)
    lines: list[str] = []
    resumed = way(trial, tiny_data, tmp_path, Control(checkpoint=path, log=lines.append))
    assert any("resumed after step" in line for line in lines)
    assert measured(resumed) == measured(way(trial, tiny_data, tmp_path, Control()))


def test_a_stopped_shared_training_ends_as_if_it_had_not_been(make_averaged, tiny_data, tmp_path):
    check_stopped_shared(share(make_averaged(batch=8)), tiny_data, tmp_path)


def test_what_is_kept_is_what_was_evaluated(make_averaged, tiny_data):
    trial, kept = make_averaged(), []

    def keep(trial: Trial, model: nn.Module, result: Result) -> None:
        kept.append((evaluate_splits(model, trial, tiny_data, "cpu", Control())[0], dict(model.state_dict())))

    result = run_trial(trial, tiny_data, "cpu", Control(keep=keep))
    (scores, state), = kept  # fmt: skip
    assert scores == result.scores and all(isinstance(tensor, Tensor) for tensor in state.values())
