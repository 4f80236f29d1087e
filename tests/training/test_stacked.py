"""Seeds trained as one network against each trained by `run_trial`."""

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.data import batches as data_batches
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.tasks import task
from mnv2_sweep.training import batch, loop, start
from mnv2_sweep.training import stacked as stacked_train
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.loop import begin_course, run_trial
from mnv2_sweep.training.stacked import begin_stack, has_seed, run_stacked_trial, train_stacked
from mnv2_sweep.training.ways.way import join_trials
from mnv2_sweep.trials.trial import Result, Sharing, Trial
from tests.trial_samples import check_terms

torch.set_num_threads(1)

SEEDS = (3, 0, 5)
OPTIMIZERS = [("sgd", 0.05), ("rmsprop", 0.02), ("adamw", 0.01), ("rmsprop_tf", 0.02)]


@pytest.fixture
def make_seeds(make_trial, tiny_arch):
    """make_seeds(any field of Recipe) -> trials of a dozen steps with much dropout, alike but for their seeds."""

    def make(*seeds: int, **recipe) -> list[Trial]:
        values = {"images": 240, "weight_decay": 0.01, "shortcut_gain": 0.5, **recipe}
        return [make_trial(seed, replace(tiny_arch, dropout=0.5), **values) for seed in seeds or SEEDS]

    return make


@pytest.fixture
def doubled(monkeypatch):
    """All training in float64, where a dozen steps make nothing large of a rounding error."""

    def double(module, name: str) -> None:
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: original(*args).double())

    double(start, "build_model")
    double(data_batches, "image_batch")
    double(task, "draw_crops")
    double(batch, "image_batch")


@pytest.fixture
def final_weights(monkeypatch) -> list[dict[str, Tensor]]:
    """Of the networks whose training ended, one after the other."""
    kept, measure_model = [], loop.measure_model

    def measure(course, *rest):
        kept.append({name: value.clone() for name, value in course.model.state_dict().items()})
        return measure_model(course, *rest)

    monkeypatch.setattr(loop, "measure_model", measure)
    monkeypatch.setattr(stacked_train, "measure_model", measure)
    return kept


def begin_spoilt(trial: Trial, *rest):
    """As `begin_course`, but one of the seeds has no numbers."""
    course = begin_course(trial, *rest)
    if trial.seed == SEEDS[1]:
        course.model.classifier[1].weight.data[0, 0] = torch.nan
    return course


def assert_close(ours: Result, theirs: Result, error: float) -> None:
    """All but what the clock and the machine's memory say."""
    assert len(ours.curve) == len(theirs.curve) > 9
    for a, b in zip(ours.curve, theirs.curve, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, abs=error)
        assert replace(a, train_loss=0.0) == replace(b, train_loss=0.0)
    ours, theirs = ours.flat(), theirs.flat()
    for name in ("val_loss", "test_loss", "train_loss"):
        assert ours[name] == pytest.approx(theirs[name], abs=error)
    for name in ("val_top1", "val_images", "test_top1", "test_images", "train_images", "device"):
        assert ours[name] == theirs[name]


# ---------------------------------------------------------------- as alone


@pytest.mark.slow
@pytest.mark.parametrize("optimizer, lr", OPTIMIZERS)
def test_seeds_train_as_alone(make_seeds, tiny_data, doubled, final_weights, optimizer, lr):
    trials = make_seeds(optimizer=optimizer, lr=lr)
    alone = [run_trial(trial, tiny_data) for trial in trials]
    stacked = train_stacked(trials, tiny_data)
    weights, stacked_weights = final_weights[:3], final_weights[3:]
    for ours, theirs in zip(stacked, alone, strict=True):
        assert_close(ours, theirs, 1e-8)
    for ours, theirs in zip(stacked_weights, weights, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert value.dtype == torch.float64 or name.endswith("num_batches_tracked")
            torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-8)
    assert len({result.score("val", "loss") for result in alone}) == 3  # seeds differ by more than any error allowed
    assert max(point.train_loss for point in alone[0].curve) - min(point.train_loss for point in alone[0].curve) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("optimizer, lr", OPTIMIZERS)
def test_seeds_train_as_alone_in_float32(make_seeds, tiny_data, optimizer, lr):
    trials = make_seeds(optimizer=optimizer, lr=lr / 10)
    for ours, trial in zip(train_stacked(trials, tiny_data), trials, strict=True):
        theirs = run_trial(trial, tiny_data)
        assert [point.train_loss for point in ours.curve] == pytest.approx(
            [point.train_loss for point in theirs.curve], abs=1e-3
        )
        assert ours.score("val", "loss") == pytest.approx(theirs.score("val", "loss"), abs=1e-2)


def test_another_size_and_other_shortcuts(make_seeds, tiny_data, doubled):
    """8 px images from crops of 10 px ones, without a test split."""

    class NoTest:
        labels = {split: tiny_data.labels[split] for split in ("train", "val")}
        pixels = staticmethod(tiny_data.pixels)

    trials = make_seeds(1, 2, input_scale=0.5, label_smoothing=0.0, schedule="exponential", lr_decay=0.5, flip=False)
    trials = [replace(trial, arch=replace(trial.arch, residual="expansion", classes=1000)) for trial in trials]
    for ours, trial in zip(train_stacked(trials, NoTest()), trials, strict=True):
        assert_close(ours, run_trial(trial, NoTest()), 1e-8)
        assert ours.score("test", "top1") is None


@pytest.mark.slow
def test_the_toy_data_are_learnt(make_seeds, tiny_data):
    trials = [replace(trial, arch=replace(trial.arch, dropout=0.1)) for trial in make_seeds(images=1200)]
    assert all(result.score("val", "top1") > 0.9 for result in train_stacked(trials, tiny_data))


@pytest.mark.parametrize("optimizer, lr", OPTIMIZERS)
def test_weight_decay_is_on_the_same_tensors(make_seeds, tiny_data, optimizer, lr):
    trials = make_seeds(optimizer=optimizer, lr=lr)
    stack = begin_stack(trials, tiny_data, "cpu")
    named = {value: name for name, value in stack.course.model.named_parameters()}
    groups = [[named[value] for value in group["params"]] for group in stack.course.optimizer.param_groups]
    course = begin_course(trials[0], tiny_data, "cpu")
    alone = {value: name for name, value in course.model.named_parameters()}
    assert groups == [[alone[value] for value in group["params"]] for group in course.optimizer.param_groups]
    assert [group["weight_decay"] for group in stack.course.optimizer.param_groups] == [0.01, 0.0]
    assert "classifier.1.weight" in groups[0] and "classifier.1.bias" in groups[1]


# ---------------------------------------------------------------- a seed that ends


def test_a_seed_without_numbers_ends_and_the_others_do_not_feel_it(make_seeds, tiny_data, monkeypatch):
    trials, lines, points = make_seeds(), [], []
    usual = train_stacked(trials, tiny_data)

    monkeypatch.setattr(stacked_train, "begin_course", begin_spoilt)
    first, ended, last = train_stacked(trials, tiny_data, control=Control(log=lines.append, point=points.append))
    assert isinstance(ended, FloatingPointError)
    assert str(ended) == "the training loss became nan by step 1 of 12; try a lower lr"
    assert f"seed {SEEDS[1]}: ended: {ended}" in lines
    for ours, theirs in ((first, usual[0]), (last, usual[2])):
        assert_close(ours, theirs, 0.0)
    assert len(points) == 10
    for at, point in enumerate(points):  # the means of those left
        assert point.train_loss == pytest.approx((first.curve[at].train_loss + last.curve[at].train_loss) / 2)
        assert point.scores.get("top1") == pytest.approx(
            (first.curve[at].scores.get("top1") + last.curve[at].scores.get("top1")) / 2
        )


def test_when_all_end_each_has_its_own_error(make_seeds, tiny_data):
    trials, steps = make_seeds(lr=1e30, images=600), []
    errors = train_stacked(trials, tiny_data, control=Control(report=lambda step, *rest: steps.append(step)))
    for error, trial in zip(errors, trials, strict=True):
        assert isinstance(error, FloatingPointError)
        with pytest.raises(FloatingPointError, match=re.escape(str(error))):
            run_trial(trial, tiny_data)
    assert steps[-1] < 30  # nobody is left to train for


# ---------------------------------------------------------------- time, reports, stopping


def test_seconds_of_all_seeds_are_the_time_it_took(make_seeds, tiny_data):
    began = time.perf_counter()
    results = train_stacked(make_seeds(), tiny_data, control=Control(report=lambda *report: time.sleep(0.02)))
    took = time.perf_counter() - began
    training = 12 * 0.02  # seconds, at least
    assert training < sum(result.seconds for result in results) < took
    for result in results:
        assert training / 3 < result.train_images / result.images_per_second < result.seconds
    assert sum(result.train_images / result.images_per_second for result in results) < took


def test_every_step_is_reported_and_each_seed_has_its_lines(make_seeds, tiny_data):
    reports, lines = [], []
    results = train_stacked(
        make_seeds(), tiny_data, control=Control(report=lambda *report: reports.append(report), log=lines.append)
    )
    assert [report[:2] for report in reports] == [(step, 12) for step in range(1, 13)]
    assert all(0 < loss < 5 and speed > 0 for _, _, loss, speed in reports)
    losses = [result.curve[0].train_loss for result in results]
    assert reports[0][2] == pytest.approx(np.mean(losses))  # the first point is of the first step
    assert reports[-1][3] == pytest.approx(results[0].images_per_second, rel=0.5)
    assert lines[0].endswith("seeds 3, 0, 5 as one: 12 steps of 20 each on cpu")
    for seed, result in zip(SEEDS, results, strict=True):
        own = [line for line in lines if line.startswith(f"seed {seed}: ")]
        assert len(own) == 11 and own[0].startswith(
            f"seed {seed}: step 1: loss {result.curve[0].train_loss:.4f}, top-1 "
        )
        assert own[-1].startswith(f"seed {seed}: top-1 {100 * result.score('val', 'top1'):.2f} % in ")
    assert len(lines) == 44  # ten of the means


@pytest.mark.slow
@pytest.mark.parametrize("asked", [1, 3, 5, 10, 25, 45])
def test_stopped_anywhere_it_goes_on_bit_for_bit(make_seeds, tiny_data, tmp_path, asked):
    undisturbed, lines, left = train_stacked(make_seeds(), tiny_data), [], iter(range(asked))
    path = tmp_path / "checkpoint"
    control = Control(should_stop=lambda: next(left, None) is None, log=lines.append, checkpoint=path)
    with pytest.raises(Interrupted):
        train_stacked(make_seeds(), tiny_data, control=control)
    assert re.fullmatch(r"stopped after step \d+, as asked", lines[-1]) and path.exists()
    torch.rand(1)  # whoever draws in between
    resumed = train_stacked(make_seeds(), tiny_data, control=Control(log=lines.append, checkpoint=path))
    assert any(re.fullmatch(r"resumed after step [1-9]\d*", line) for line in lines) and not path.exists()
    for ours, theirs in zip(resumed, undisturbed, strict=True):
        assert_close(ours, theirs, 0.0)


@pytest.mark.slow
def test_a_seed_that_ended_stays_so(make_seeds, tiny_data, tmp_path, monkeypatch):
    path, asked = tmp_path / "checkpoint", iter(range(30))

    monkeypatch.setattr(stacked_train, "begin_course", begin_spoilt)
    undisturbed = train_stacked(make_seeds(), tiny_data)
    with pytest.raises(Interrupted):
        train_stacked(
            make_seeds(), tiny_data, control=Control(should_stop=lambda: next(asked, None) is None, checkpoint=path)
        )
    first, ended, last = train_stacked(make_seeds(), tiny_data, control=Control(checkpoint=path))
    assert str(ended) == str(undisturbed[1])
    assert_close(first, undisturbed[0], 0.0)
    assert_close(last, undisturbed[2], 0.0)


def test_a_checkpoint_of_other_seeds_is_not_used(make_seeds, tiny_data, tmp_path):
    path, asked, lines = tmp_path / "checkpoint", iter(range(8)), []
    with pytest.raises(Interrupted):
        train_stacked(
            make_seeds(), tiny_data, control=Control(should_stop=lambda: next(asked, None) is None, checkpoint=path)
        )
    train_stacked(make_seeds(0, 1), tiny_data, control=Control(checkpoint=path, log=lines.append))
    assert lines[0].startswith("the checkpoint is not used: ValueError: its trial is ")


# ---------------------------------------------------------------- each seed a trial


@pytest.fixture
def place(tmp_path):
    """place(trials) -> where the outcome of each belongs."""
    return lambda trials: {trial: tmp_path / "stacked" / f"{trial.seed}.pt" for trial in trials}


def are_there(paths: dict[Trial, Path]) -> list[bool]:
    return [has_seed(path, trial) for trial, path in paths.items()]


@pytest.mark.slow
def test_the_first_trial_trains_all_and_the_others_find_theirs(make_seeds, tiny_data, place, monkeypatch):
    trials, lines = make_seeds(), []
    together, paths = train_stacked(trials, tiny_data), place(trials)
    assert are_there(paths) == [False] * 3
    first = run_stacked_trial(trials[1], paths, tiny_data, "cpu", Control())
    assert are_there(paths) == [True] * 3 and not has_seed(paths[trials[0]], trials[1])
    monkeypatch.setattr(stacked_train, "train_stacked", None)  # nobody trains again
    assert_close(first, together[1], 0.0)
    for trial, theirs in zip(trials, together, strict=True):
        found = run_stacked_trial(trial, paths, tiny_data, "cpu", Control(log=lines.append))
        assert_close(found, theirs, 0.0)
    assert len(lines) == 3 and all(line.endswith("trained as one with other seeds") for line in lines)


def test_seeds_that_come_later_are_trained_alone_and_the_earlier_stay(make_seeds, tiny_data, place):
    earlier, both, lines = make_seeds(1, 2), make_seeds(1, 2, 7, 8), []
    kept = run_stacked_trial(earlier[0], place(earlier), tiny_data, "cpu", Control())
    run_stacked_trial(both[2], place(both), tiny_data, "cpu", Control(log=lines.append))
    assert "seeds 7, 8 as one" in lines[0] and are_there(place(both)) == [True] * 4
    found = run_stacked_trial(both[0], place(both), tiny_data, "cpu", Control())
    assert found == kept and found.each == kept.each
    check_terms(found)


def test_groups_of_one_network_that_train_at_once_lose_nothing(make_seeds, tiny_data, place, monkeypatch):
    """The second one trains and writes while the first one trains."""
    first, second = make_seeds(1, 2), make_seeds(3, 4)

    def train(trials, *words):
        if trials == first:
            run_stacked_trial(second[0], place(second), *words)
        return train_stacked(trials, *words)

    monkeypatch.setattr(stacked_train, "train_stacked", train)
    run_stacked_trial(first[0], place(first), tiny_data, "cpu", Control())
    assert are_there(place([*first, *second])) == [True] * 4


def test_damaged_results_are_trained_again(make_seeds, tiny_data, place):
    trials, lines = make_seeds(1, 2), []
    paths = place(trials)
    kept = run_stacked_trial(trials[0], paths, tiny_data, "cpu", Control())
    for path in paths.values():
        path.write_bytes(path.read_bytes()[:-3])
    assert are_there(paths) == [False] * 2
    again = run_stacked_trial(trials[0], paths, tiny_data, "cpu", Control(log=lines.append))
    assert lines[0] == "the seed's result is not used: ValueError: it is damaged"
    assert_close(again, kept, 0.0)


def test_without_room_for_all_a_trial_is_trained_alone(make_seeds, tiny_data, place, monkeypatch):
    def fill(*words):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stacked_train, "train_stacked", fill)
    trials, lines = make_seeds(1, 2), []
    ours = run_stacked_trial(trials[1], place(trials), tiny_data, "cpu", Control(log=lines.append))
    assert_close(ours, run_trial(trials[1], tiny_data), 0.0)
    assert lines[0] == "no memory for 2 seeds at once; this one is trained alone"
    assert are_there(place(trials)) == [False, True]  # nobody waits for this one any more
    for trial in make_seeds(1, 2, lr=1e30):
        with pytest.raises(FloatingPointError):
            run_stacked_trial(trial, place(make_seeds(1, 2, lr=1e30)), tiny_data, "cpu", Control())
    assert are_there(place(make_seeds(1, 2, lr=1e30))) == [True, True]


def test_a_seed_without_numbers_raises_in_its_own_trial(make_seeds, tiny_data, place):
    trials = make_seeds(1, 2, lr=1e30)
    for trial in trials:
        with pytest.raises(FloatingPointError, match="the training loss became"):
            run_stacked_trial(trial, place(trials), tiny_data, "cpu", Control())
    assert are_there(place(trials)) == [True] * 2


def test_who_is_trained_with_whom(make_seeds, make_trial):
    twelve, lonely = make_seeds(*range(12)), make_seeds(5, images=260)
    others = [make_trial(seed, ArchSpec(family="mobilenet_v1", width=0.25, resolution=16)) for seed in (0, 1)]
    slices = [replace(trial, shared=Sharing("0123", 100)) for trial in twelve[:2]]
    groups = join_trials([*others, *twelve, *lonely, *slices])
    assert set(groups) == set(twelve)
    assert {tuple(trial.seed for trial in group) for group in groups.values()} == {
        (0, 2, 4, 6, 8, 10),
        (1, 3, 5, 7, 9, 11),
    }
    assert all(trial in group for trial, group in groups.items())


# ---------------------------------------------------------------- what can't be stacked


def test_what_differs_in_more_than_the_seed_is_refused(make_seeds, make_trial, tiny_data):
    one, other = make_seeds(1, 2)
    wrong = [
        ([], "no trial given, one allowed"),
        ([one, replace(other, recipe=replace(one.recipe, lr=0.1))], "2 kinds of trials given, one allowed; stack the"),
        ([one, replace(other, arch=replace(one.arch, width=1.0))], "2 kinds of trials given"),
        ([one, replace(other, data=replace(one.data, fingerprint="0"))], "2 kinds of trials given"),
        ([one, other, one], "seeds 1, 2, 1 given; give every seed once"),
        ([replace(trial, shared=Sharing("0123", 100)) for trial in (one, other)], "shared weights given"),
        ([make_trial(arch=ArchSpec(family="mobilenet_v1", width=0.25, resolution=16))], "MobileNetV1 given, only Mob"),
    ]
    for trials, message in wrong:
        with pytest.raises(SweepError, match=f"^stack: {message}"):
            train_stacked(trials, tiny_data)


# ---------------------------------------------------------------- GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_seeds_train_as_alone_on_a_gpu(make_seeds, tiny_data, monkeypatch):
    """Within bfloat16's rounding, and none of them feels one that has no numbers."""
    trials = make_seeds(lr=0.005)
    alone = [run_trial(trial, tiny_data, "cuda") for trial in trials]

    def spoil(trial, *rest):
        course = begin_course(trial, *rest)
        if trial.seed == SEEDS[1]:
            course.model.features[0][0].weight.data.fill_(torch.nan)
        return course

    for begin in (begin_course, spoil):
        monkeypatch.setattr(stacked_train, "begin_course", begin)
        stacked = train_stacked(trials, tiny_data, "cuda")
        assert isinstance(stacked[1], FloatingPointError) == (begin is spoil)
        for ours, theirs in zip(stacked, alone, strict=True):
            if isinstance(ours, Result):
                assert ours.device == "cuda" and ours.peak_memory_bytes > 0
                assert [point.train_loss for point in ours.curve] == pytest.approx(
                    [point.train_loss for point in theirs.curve], abs=0.05
                )
