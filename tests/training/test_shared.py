"""One training for a whole supernet: repeatable, resumable, and every slice of it is the network that was measured."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mnv2_sweep.base.size import square
from mnv2_sweep.data.batches import apply_crops, augment, draw_crops, image_batch, train_level
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.shared import SharedWeights, cut_slice
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.training import shared as shared_train
from mnv2_sweep.training.checkpoint import BatchOrder, read_packed
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.loop import evaluate_model, learning_rate
from mnv2_sweep.training.shared import (
    STUDENT_WEIGHT,
    Sandwich,
    Supernet,
    TrainedSupernet,
    calibration_batches,
    cut_network,
    has_weights,
    read_shared,
    run_shared_trial,
    train_shared,
)
from mnv2_sweep.training.ways import finetuned
from mnv2_sweep.training.ways.finetuned import FINETUNE_RATE, run_finetuned_trial
from mnv2_sweep.trials.preview import read_preview
from mnv2_sweep.trials.terms import unpack_terms
from mnv2_sweep.trials.trial import CODE_VERSION, Trial, shared_id
from tests.conftest import ToyData
from tests.stops import Killed, Stop, measured
from tests.supernet_samples import DEEP, LARGEST, SMALLEST, SUPERNET, WIDE, first_values, named_parameters, share
from tests.trial_samples import check_terms

torch.set_num_threads(1)

NEVER = 1e9


@pytest.fixture
def make_slice(make_trial) -> Callable[..., Trial]:
    """make_slice(arch, archs, images, seed, finetune, any field of Recipe) -> the trial of a slice."""

    def make(arch=LARGEST, archs=SUPERNET, images=24, seed=0, finetune=None, **recipe) -> Trial:
        values = {"batch": 8, "lr": 0.03, "curve_images": 10, "shortcut_gain": 0.2, **recipe}
        return share(make_trial(seed, arch=arch, **values), archs, images, finetune)

    return make


@pytest.fixture
def path(tmp_path) -> Path:
    """Where the weights belong, in a folder of their own."""
    return tmp_path / "shared" / "weights.pt"


@pytest.fixture(scope="module")
def undisturbed(tiny_data, tmp_path_factory):
    """undisturbed(trial, archs) -> the file of its shared training, run in one go by one thread."""
    known: dict[str, Path] = {}

    def run(trial: Trial, archs=SUPERNET) -> Path:
        if shared_id(trial) not in known:
            path = tmp_path_factory.mktemp("undisturbed") / "weights.pt"
            train_shared(trial, tiny_data, "cpu", Control(), Supernet(archs, path))
            known[shared_id(trial)] = path
        return known[shared_id(trial)]

    return run


def read(path: Path, trial: Trial, archs=SUPERNET) -> TrainedSupernet:
    lines = []
    found = read_shared(trial, Supernet(archs, path), lines.append)
    assert found is not None and lines == []
    return found


def check_same(one: TrainedSupernet, other: TrainedSupernet) -> None:
    """Bit for bit, in weights and curve."""
    assert one.curve == other.curve and one.images == other.images
    first, second = one.weights.state_dict(), other.weights.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def only_file(path: Path) -> bool:
    return list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- steps


def add_network(
    total: dict[str, Tensor], weights: SharedWeights, arch: ArchSpec, trial: Trial, batch: tuple[Tensor, ...], data
) -> tuple[Tensor, float]:
    """Add what the network's gradients would be, alone -> (its logits, its share of the loss). All but the largest
    count STUDENT_WEIGHT."""
    chosen, crops, target = batch
    model = cut_slice(weights, arch).train()
    model.classifier[0].p = 0.0
    pixels = train_level(data, square(arch.resolution))
    logits = model(apply_crops(image_batch(pixels, chosen, "cpu"), square(arch.resolution), crops))
    smoothing = trial.recipe.label_smoothing if target.ndim == 1 else 0.0
    loss = nn.functional.cross_entropy(logits, target, label_smoothing=smoothing) * len(chosen) / trial.recipe.batch
    loss.backward()
    for name, own in named_parameters(arch, model).items():
        first_values(total[name], own).add_(own.grad, alpha=1.0 if arch == LARGEST else STUDENT_WEIGHT)
    return logits.detach(), loss.item()


def test_the_largest_learns_from_labels_and_three_others_from_these_and_its_outputs(make_slice, tiny_data, path):
    """The gradients that each step leaves, beside those of networks cut and added up here."""
    trial, labels = make_slice(batch=6), torch.from_numpy(tiny_data.labels["train"]).long()
    sandwich = Sandwich(trial, tiny_data, "cpu", Supernet(SUPERNET, path))
    course = sandwich.begin()
    assert sandwich.largest == LARGEST and set(sandwich.others) == {SMALLEST, WIDE, DEEP}
    with sandwich.running(course):
        for share in (0.0, 0.25):
            course.step = round(share * sandwich.steps)
            order = BatchOrder(60, torch.Generator())
            order.restore(course.order.state())
            chosen = order.take(6)
            crops = draw_crops(6, trial.recipe, order.generator)
            total = {name: torch.zeros_like(value) for name, value in course.model.named_parameters()}
            ends = []
            for half in (slice(0, 3), slice(3, 6)):  # each is a batch of its own for batch norm
                batch = chosen[half], crops[half], labels[chosen[half]]
                ends.append(add_network(total, course.model, LARGEST, trial, batch, tiny_data))
            hard = torch.full((6, 3), 0.1 / 3).scatter_(1, labels[chosen][:, None], 0.9 + 0.1 / 3)
            soft = torch.cat([logits for logits, _ in ends]).softmax(1)
            batch = chosen, crops, (1 - share) * hard + share * soft
            *others, dearest = sorted((WIDE, DEEP, SMALLEST), key=lambda arch: count_cost(arch).madds)
            for half in (slice(0, 3), slice(3, 6)):
                add_network(total, course.model, dearest, trial, [part[half] for part in batch], tiny_data)
            for arch in others:
                add_network(total, course.model, arch, trial, batch, tiny_data)
            assert sandwich.step().item() == pytest.approx(sum(loss for _, loss in ends), rel=1e-5)
            for name, value in course.model.named_parameters():
                torch.testing.assert_close(value.grad, total[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("after, part, seconds, seen", [(0, 1.0, 60, 4), (0, 1.0, 0, 1), (9999, 1.0, 60, 0)])
def test_a_preview_is_left_while_it_trains_and_changes_nothing(
    make_slice, tiny_data, path, undisturbed, monkeypatch, after, part, seconds, seen
):
    """Of as many networks as there is time for, the largest first; it goes when the training is over."""
    trial, left = make_slice(), []
    monkeypatch.setattr(shared_train, "PREVIEW_AFTER", after)
    monkeypatch.setattr(shared_train, "PREVIEW_PART", part)
    monkeypatch.setattr(shared_train, "PREVIEW_SECONDS", seconds)
    monkeypatch.setattr(shared_train, "PREVIEW_IMAGES", 7)
    control = Control(point=lambda point: left.append((point.images, read_preview(path))))
    train_shared(trial, tiny_data, "cpu", control, Supernet(SUPERNET, path))
    assert [images for images, _ in left] == [8, 16, 24]
    assert only_file(path) and read_preview(path) is None
    check_same(read(path, trial), read(undisturbed(trial), trial))
    if not seen:
        return
    first = left[0][1]
    assert (first.images, first.whole, first.val_images, len(first.scores)) == (8, 24, 7, seen)
    assert next(iter(first.scores)) == arch_key(LARGEST)
    assert all(round(7 * score, 9).is_integer() for score in first.scores.values())
    assert [preview.images for _, preview in left] == [8, 16, 16]  # none of what is trained


def test_the_classifier_has_a_rate_of_its_own(make_slice, tiny_data, path):
    """Both are so many times the rate that a network alone has at that step; also on from a checkpoint."""
    trial = make_slice(lr=0.01, images=40)
    for stop, step in ((7, 3), (3, 4)):  # asked after each step and twice in each look
        control = Control(should_stop=Stop(stop), checkpoint=path, checkpoint_seconds=NEVER)
        with pytest.raises(Interrupted):
            train_shared(trial, tiny_data, "cpu", control, Supernet(SUPERNET, path))
        _, state = read_packed(path.with_suffix(".checkpoint"), {})
        assert state["step"] == step
        usual = learning_rate(trial.recipe, step - 1, 5, 60)
        rates = {
            (len(group["params"]) > 1, group["weight_decay"] > 0): group["lr"] / usual
            for group in state["optimizer"]["param_groups"]
        }
        assert rates == {
            (several, decays): pytest.approx(shared_train.WEIGHTS_RATE if several else shared_train.CLASSIFIER_RATE)
            for several in (True, False)
            for decays in (True, False)
        }


def watch_steps(monkeypatch, path, trial, data, archs, steps: int) -> list[list[tuple[ArchSpec, int]]]:
    """The networks of each of some steps, with how many images each of their parts sees."""
    seen, real = [], Sandwich.train_one

    def train_one(self, network, rows, batch):
        seen[-1].append((network.arch, len(batch.chosen[rows])))
        return real(self, network, rows, batch)

    monkeypatch.setattr(Sandwich, "train_one", train_one)
    sandwich = Sandwich(trial, data, "cpu", Supernet(archs, path))
    with sandwich.running(sandwich.begin()):
        for _ in range(steps):
            seen.append([])
            sandwich.step()
            sandwich.course.step += 1
    return seen


def test_the_others_are_drawn_three_a_step_and_each_once_a_round(make_slice, tiny_data, path, monkeypatch):
    archs = (LARGEST, *(replace(SMALLEST, last_channels=8 * n) for n in range(3, 9)))
    steps = watch_steps(monkeypatch, path, make_slice(archs=archs, batch=4), tiny_data, archs, 12)
    others = [{arch for arch, _ in step} - {LARGEST} for step in steps]
    assert all(step[:2] == [(LARGEST, 2)] * 2 and step[2] == step[3] for step in steps)
    assert all([images for _, images in step] == [2, 2, 2, 2, 4, 4] for step in steps)
    assert all(len(drawn) == 3 for drawn in others)
    costs = [[count_cost(arch).madds for arch, _ in step] for step in steps]
    assert costs == [sorted(step, reverse=True) for step in costs]
    rounds = [one | two for one, two in zip(others[::2], others[1::2], strict=True)]
    assert rounds == [set(archs) - {LARGEST}] * 6 and len(set(map(frozenset, others))) > 4


@pytest.mark.slow
@given(st.integers(0, 9), st.integers(0, 99))
def test_a_round_has_every_network_once_however_many_there_are(count, seed):
    """And what a step draws depends on nothing but the seed and its number: so it goes on from a checkpoint."""
    sandwich = object.__new__(Sandwich)
    sandwich.others, sandwich.trial = list(range(count)), SimpleNamespace(seed=seed)
    steps = -(-count // shared_train.RANDOM)
    for turn in range(3):
        drawn = [sandwich.pick_others(step) for step in range(turn * steps, (turn + 1) * steps)]
        assert sorted(sum(drawn, [])) == sandwich.others
        assert all(len(one) in (shared_train.RANDOM, count % shared_train.RANDOM) for one in drawn)
        assert all(one == sorted(one) for one in drawn)


def test_sizes_above_the_data_s_own_read_the_same_images(make_slice, tiny_data, path):
    """Mapped, or on a GPU, once."""
    archs = tuple(replace(SMALLEST, resolution=resolution) for resolution in (8, 16, 20, 24))
    levels = Sandwich(make_slice(archs=archs), tiny_data, "cpu", Supernet(archs, path)).levels
    small, *same = (levels[square(side)] for side in (8, 16, 20, 24))
    assert same[0] is same[1] is same[2] and small.shape == (60, 10, 10, 3)


@pytest.mark.slow
def test_what_is_free_is_given_back_now_and_then(make_slice, tiny_data, path, monkeypatch):
    trimmed = []
    monkeypatch.setattr(shared_train, "trim_heap", lambda: trimmed.append(course.step))
    sandwich = Sandwich(make_slice(batch=2), tiny_data, "cpu", Supernet(SUPERNET, path))
    course = sandwich.begin()
    with sandwich.running(course):
        for course.step in range(2 * shared_train.TRIM_STEPS + 1):
            sandwich.step()
    assert trimmed == [0, shared_train.TRIM_STEPS, 2 * shared_train.TRIM_STEPS]


@pytest.mark.parametrize("batch, halves", [(2, [2]), (3, [3]), (4, [2, 2]), (5, [2, 3])])
def test_small_batches_leave_batch_norm_two_images(make_slice, tiny_data, path, monkeypatch, batch, halves):
    flat = tuple(replace(arch, resolution=4) for arch in SUPERNET)  # maps of 1x1, where one image has no variance
    (step,) = watch_steps(monkeypatch, path, make_slice(archs=flat, batch=batch), tiny_data, flat, 1)
    assert [images for _, images in step] == [*halves, *halves, batch, batch]


def test_nothing_is_dropped_out_while_training_and_something_is_in_a_slice(make_slice, tiny_data, path):
    sandwich = Sandwich(make_slice(), tiny_data, "cpu", Supernet(SUPERNET, path))
    course = sandwich.begin()
    with sandwich.running(course):
        before = torch.get_rng_state()
        sandwich.step()
        assert torch.equal(torch.get_rng_state(), before)
        assert {network.model.classifier[0].p for network in sandwich.slices.values()} == {0.0}
    assert cut_slice(course.model, LARGEST).classifier[0].p == LARGEST.dropout == 0.2


# ---------------------------------------------------------------- the same numbers


def test_threads_change_nothing(make_slice, tiny_data, path, undisturbed):
    trial = make_slice()
    shared = train_shared(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET, path, threads=2))
    check_same(shared, read(undisturbed(trial), trial))
    check_same(shared, read(path, trial))
    assert only_file(path)


def test_few_modules_at_once_change_nothing(make_slice, tiny_data, path, undisturbed, monkeypatch):
    """A supernet may have more networks than are kept as modules, even fewer than a step has."""
    trial, held = make_slice(), []
    real = Sandwich.step

    def step(self):
        loss = real(self)
        held.append(len(self.slices))
        return loss

    monkeypatch.setattr(Sandwich, "step", step)
    monkeypatch.setattr(shared_train, "MOST_SLICES", 2)
    shared = train_shared(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET, path))
    check_same(shared, read(undisturbed(trial), trial))
    assert held == [2, 2, 2]


def test_a_network_that_is_there_twice_counts_once(make_slice, tiny_data, path, undisturbed):
    """As a space's widths can round to the same channels; the supernet has one name with and without it."""
    twins = (*SUPERNET, replace(WIDE, width=1.001))
    trial, lines = make_slice(archs=twins), []
    assert shared_id(trial) == shared_id(make_slice())
    shared = train_shared(trial, tiny_data, "cpu", Control(log=lines.append), Supernet(twins, path))
    check_same(shared, read(undisturbed(make_slice()), trial))
    assert lines[-1].startswith("shared training of 4 networks: ")


@pytest.mark.slow
def test_the_order_of_the_networks_changes_nothing_and_the_seed_does(make_slice, tiny_data, path, undisturbed):
    trial = make_slice(DEEP)
    shared = train_shared(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET[::-1], path))
    usual = read(undisturbed(trial), trial)
    check_same(shared, usual)
    other = read(undisturbed(make_slice(seed=1)), make_slice(seed=1))
    assert not torch.equal(usual.weights.stem_0_conv_weight, other.weights.stem_0_conv_weight)


# ---------------------------------------------------------------- stopped and killed


@pytest.mark.slow
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(make_slice, tiny_data, path, undisturbed):
    """After every step, and before every batch of every look: of the images that calibrate and of those evaluated."""
    archs = (WIDE, SMALLEST, DEEP)  # the quick ones
    trial, stop = make_slice(WIDE, archs), Stop()
    usual = read(undisturbed(trial, archs), trial, archs)
    train_shared(trial, tiny_data, "cpu", Control(should_stop=stop), Supernet(archs, path))
    assert stop.asked == 3 * (1 + 1 + 1)
    path.unlink()
    checkpoint = path.with_suffix(".checkpoint")
    for at in range(1, stop.asked + 1):
        control = Control(should_stop=Stop(at), checkpoint=path.parent / "trial.pt", checkpoint_seconds=NEVER)
        with pytest.raises(Interrupted):
            train_shared(trial, tiny_data, "cpu", control, Supernet(archs, path))
        assert only_file(checkpoint)
        lines = []
        control = Control(log=lines.append, checkpoint=path.parent / "trial.pt", checkpoint_seconds=NEVER)
        again = train_shared(trial, tiny_data, "cpu", control, Supernet(archs, path, threads=2))
        check_same(again, usual)
        check_same(read(path, trial, archs), usual)
        assert lines[0] == f"resumed after step {(at + 2) // 3}" and only_file(path)
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_in_any_step_it_goes_on_from_the_one_before(make_slice, tiny_data, path, undisturbed, step):
    """And so does another network of the supernet, whose trial then leads."""
    lines = []

    def report(done: int, *_: float) -> None:
        if done == step:
            raise Killed

    control = Control(report, checkpoint=path.parent / "first.pt", checkpoint_seconds=0.0)
    with pytest.raises(Killed):
        train_shared(make_slice(LARGEST), tiny_data, "cpu", control, Supernet(SUPERNET, path))
    trial = make_slice(DEEP)
    control = Control(log=lines.append, checkpoint=path.parent / "second.pt", checkpoint_seconds=0.0)
    shared = train_shared(trial, tiny_data, "cpu", control, Supernet(SUPERNET, path))
    check_same(shared, read(undisturbed(trial), trial))
    assert [line for line in lines if "resumed" in line] == [f"resumed after step {step - 1}"] * (step > 1)
    assert only_file(path)


@pytest.mark.slow
def test_a_checkpoint_of_another_training_is_not_used(make_slice, tiny_data, path, undisturbed):
    control = Control(should_stop=Stop(4), checkpoint=path)
    with pytest.raises(Interrupted):
        train_shared(make_slice(seed=1), tiny_data, "cpu", control, Supernet(SUPERNET, path))
    trial, lines = make_slice(seed=2), []
    shared = train_shared(trial, tiny_data, "cpu", Control(log=lines.append, checkpoint=path), Supernet(SUPERNET, path))
    assert lines[0].startswith("the checkpoint is not used: ValueError: its trial is '") and only_file(path)
    check_same(shared, read(undisturbed(trial), trial))


def test_a_training_that_diverges_says_so_once_for_all_its_networks(make_slice, tiny_data, path, monkeypatch):
    control = Control(checkpoint=path.parent / "trial.pt", checkpoint_seconds=0.0)
    for arch in (LARGEST, SMALLEST):
        trial = make_slice(arch, lr=1e30)
        with pytest.raises(FloatingPointError, match=r"the training loss became (nan|inf) by step \d of 3; try"):
            run_shared_trial(trial, tiny_data, "cpu", control, Supernet(SUPERNET, path))
        assert only_file(path) and has_weights(path, trial)
        monkeypatch.setattr(shared_train, "train_shared", None)  # nobody trains again


# ---------------------------------------------------------------- the file


DAMAGES = {
    "a byte": lambda path, other: flip(path),
    "cut": lambda path, other: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path, other: path.write_bytes(b""),
    "of another seed": lambda path, other: shutil.copy(other, path),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_weights_that_are_no_good_are_trained_again(make_slice, tiny_data, path, undisturbed, damage):
    trial, lines = make_slice(), []
    path.parent.mkdir()
    shutil.copy(undisturbed(trial), path)
    DAMAGES[damage](path, undisturbed(make_slice(seed=1)))
    result = run_shared_trial(trial, tiny_data, "cpu", Control(log=lines.append), Supernet(SUPERNET, path))
    assert lines[0].startswith("the shared weights are not used: ") and "\n" not in lines[0]
    assert ("its shared is '" in lines[0]) == (damage == "of another seed")
    assert any(line.startswith("shared training of 4 networks: 24 images, ") for line in lines)
    check_same(read(path, trial), read(undisturbed(trial), trial))
    assert measured(result) == measured(
        run_shared_trial(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET, undisturbed(trial)))
    )


def test_weights_of_another_code_are_trained_again(make_slice, tiny_data, path, undisturbed, monkeypatch):
    trial, lines = make_slice(), []
    monkeypatch.setattr(shared_train, "CODE_VERSION", CODE_VERSION + 1)
    assert read_shared(trial, Supernet(SUPERNET, undisturbed(trial)), lines.append) is None
    why = f"its code_version is {CODE_VERSION}, not {CODE_VERSION + 1}"
    assert lines == [f"the shared weights are not used: ValueError: {why}"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_weights_are_there_if_they_can_be_used(make_slice, path, undisturbed, damage):
    trial = make_slice()
    assert not has_weights(path, trial)
    path.parent.mkdir()
    shutil.copy(undisturbed(trial), path)
    assert has_weights(path, trial) and not has_weights(path, make_slice(seed=1))
    DAMAGES[damage](path, undisturbed(make_slice(seed=1)))
    assert not has_weights(path, trial)


def test_a_file_of_weights_is_looked_through_once(make_slice, path, undisturbed, monkeypatch):
    trial, looked, real = make_slice(), [], shared_train.is_whole
    monkeypatch.setattr(shared_train, "is_whole", lambda *words: looked.append(words) or real(*words))
    path.parent.mkdir()
    for _ in range(2):
        path.unlink(missing_ok=True)
        shutil.copy(undisturbed(trial), path)
        assert all(has_weights(path, trial) for _ in range(5))
    assert len(looked) == 2


def test_weights_are_read_once_for_all_slices_of_them(make_slice, path, undisturbed, monkeypatch):
    """Laying them out takes as many networks as the space has: a space of hundreds would do that for each."""
    opened, real = [], shared_train.read_packed
    monkeypatch.setattr(shared_train, "read_packed", lambda *words: opened.append(words) or real(*words))
    supernet = Supernet(SUPERNET, path)
    path.parent.mkdir()
    for seed in (0, 1):
        shutil.copy(undisturbed(make_slice(seed=seed)), path)
        found = [read_shared(make_slice(arch, seed=seed), supernet, print) for arch in SUPERNET]
        check_same(found[0], read(undisturbed(make_slice(seed=seed)), make_slice(seed=seed)))
        assert all(one is found[0] for one in found)
    assert [words[0] for words in opened if words[0] == path] == [path, path]


def test_no_weights_are_no_mistake(make_slice, path):
    lines = []
    assert read_shared(make_slice(), Supernet(SUPERNET, path), lines.append) is None and lines == []


def test_weights_of_other_networks_are_not_those_of_the_supernet(make_slice, undisturbed):
    """Their name says so already; here the file is right and the networks are not."""
    trial, lines = make_slice(), []
    assert read_shared(trial, Supernet((SMALLEST, DEEP), undisturbed(trial)), lines.append) is None
    assert lines[0].startswith("the shared weights are not used: RuntimeError: ")


# ---------------------------------------------------------------- slices


@pytest.fixture
def trained(make_slice, path, undisturbed) -> Supernet:
    """A supernet whose weights are there."""
    path.parent.mkdir()
    shutil.copy(undisturbed(make_slice()), path)
    return Supernet(SUPERNET, path)


def predictions(model: nn.Module, data: ToyData, size: int, split: str = "val") -> np.ndarray:
    with torch.no_grad():
        return model.eval()(
            augment(image_batch(data.pixels(split, square(size)), torch.arange(30), "cpu"), square(size))
        ).numpy()


@pytest.mark.parametrize("arch", SUPERNET, ids=["wide", "smallest", "largest", "deep"])
def test_an_exported_slice_predicts_as_the_one_that_was_measured_image_by_image(make_slice, tiny_data, trained, arch):
    trial = make_slice(arch)
    result = run_shared_trial(trial, tiny_data, "cpu", Control(), trained)
    weights = read(trained.path, trial).weights
    first, second = (cut_network(trial, weights, tiny_data, "cpu") for _ in range(2))
    exported = build_model(arch).to(memory_format=torch.channels_last)
    exported.load_state_dict(first.state_dict())
    logits = [predictions(model, tiny_data, arch.resolution) for model in (first, second, exported)]
    assert all(np.array_equal(logits[0], other) for other in logits[1:]) and np.ptp(logits[0]) > 0
    right = logits[0].argmax(1) == tiny_data.labels["val"]
    assert np.array_equal(unpack_terms(result.each)["val"]["top1"], right)
    assert (
        right.mean() == result.score("val", "top1") == evaluate_model(second, trial, tiny_data, "val", "cpu")[0]["top1"]
    )
    assert np.isfinite(result.score("val", "loss")) and result.images.get("val", 0) == 30
    plain = build_model(arch)  # as a user loads it, with the channels first
    plain.load_state_dict(first.state_dict())
    np.testing.assert_allclose(predictions(plain, tiny_data, arch.resolution), logits[0], rtol=1e-4, atol=1e-5)


def test_results_of_a_family_come_from_one_training(make_slice, tiny_data, trained, monkeypatch):
    monkeypatch.setattr(shared_train, "train_shared", None)
    shared = read(trained.path, make_slice())
    results = {arch: run_shared_trial(make_slice(arch), tiny_data, "cpu", Control(), trained) for arch in SUPERNET}
    for arch, result in results.items():
        assert (result.train_images, result.images.get("test", 0), result.images_per_second) == (
            24,
            45,
            shared.images_per_second,
        )
        assert result.train_loss == shared.curve[-1].train_loss and shared.seconds / 4 < result.seconds
        looks = [point.scores.get("top1") for point in result.curve]
        assert looks == ([point.scores.get("top1") for point in shared.curve] if arch == LARGEST else [None] * 3)
    assert len({result.score("val", "loss") for result in results.values()}) == 4


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Seconds of one core, all on the clock that counts these: it is read here alone."""
    now = [0]
    for module in ("checkpoint", "shared"):
        monkeypatch.setattr(f"mnv2_sweep.training.{module}.core_clock", lambda device: lambda: now[0])
    return now


def test_seconds_are_of_one_core_also_after_a_stop(make_slice, tiny_data, path, counted):
    """Of every step 1000, then of each slice 8: its own, and a fourth of the training."""

    def report(*_: float) -> None:
        counted[0] += 1000

    def should_stop() -> bool:
        return stops and counted[0] == 2000

    control, stops = Control(report, should_stop, checkpoint=path.parent / "trial.pt", checkpoint_seconds=NEVER), True
    with pytest.raises(Interrupted):
        run_shared_trial(make_slice(), tiny_data, "cpu", control, Supernet(SUPERNET, path, threads=2))
    counted[0], stops = 70_000, False
    first = run_shared_trial(make_slice(), tiny_data, "cpu", control, Supernet(SUPERNET, path))
    assert read(path, make_slice()).seconds == 3000

    def look() -> bool:
        counted[0] += 2
        return False

    second = run_shared_trial(make_slice(DEEP), tiny_data, "cpu", Control(should_stop=look), Supernet(SUPERNET, path))
    assert (first.seconds, second.seconds) == (750, 750 + 3 * 2)  # it calibrates, evaluates and tests in a batch each
    assert first.images_per_second == second.images_per_second > 0


def test_the_shared_training_is_no_part_of_the_trial_that_does_it(make_slice, tiny_data, path):
    told = []
    control = Control(lambda *_: told.append("step"), count_time=told.append)
    run_shared_trial(make_slice(), tiny_data, "cpu", control, Supernet(SUPERNET, path))
    assert told == [False, "step", "step", "step", True]
    run_shared_trial(make_slice(DEEP), tiny_data, "cpu", control, Supernet(SUPERNET, path))
    assert len(told) == 5  # the weights are there


def test_the_largest_is_so_with_the_data_s_classes(make_slice, tiny_data, path):
    """More classes than the data's make the one of more last channels the dearer one, but only on paper."""
    archs = (replace(SMALLEST, classes=5000, last_channels=640), replace(LARGEST, classes=5000, last_channels=16))
    supernet = Supernet(archs, path)
    looks = [
        {point.scores.get("top1") is not None for point in run_shared_trial(
            make_slice(arch, archs, images=8), tiny_data, "cpu", Control(), supernet).curve}
        for arch in archs
    ]  # fmt: skip
    assert looks == [{False}, {True}]


def test_the_same_images_calibrate_every_time(tiny_data, monkeypatch, make_trial):
    trial = make_trial(arch=ArchSpec(resolution=8))
    one, other = ([batch.clone() for batch in calibration_batches(trial, tiny_data, "cpu", 20)] for _ in range(2))
    assert len(one) == 1 and one[0].shape == (20, 3, 8, 8) and torch.equal(one[0], other[0])
    monkeypatch.setattr(shared_train, "CALIBRATION_BATCH", 7)
    assert [len(batch) for batch in calibration_batches(trial, tiny_data, "cpu", 22)] == [7] * 3  # none of one
    assert [len(batch) for batch in calibration_batches(trial, tiny_data, "cpu", 999)] == [7] * 8 + [4]


def test_a_slice_gets_a_classifier_of_its_own_from_the_same_training(make_slice, tiny_data, trained):
    """Of the same shared weights; everything but the classifier stays as it is without."""
    shared, before = make_slice(), trained.path.read_bytes()
    own = replace(shared, shared=replace(shared.shared, refit=40))
    weights = read(trained.path, own).weights
    plain, refitted = (cut_network(trial, weights, tiny_data, "cpu").state_dict() for trial in (shared, own))
    assert {name for name in plain if not torch.equal(plain[name], refitted[name])} == {
        "classifier.1.weight", "classifier.1.bias",
    }  # fmt: skip
    models = [cut_network(trial, weights, tiny_data, "cpu") for trial in (shared, own)]
    losses = [evaluate_model(model, own, tiny_data, "val", "cpu")[0]["loss"] for model in models]
    assert losses[1] < losses[0]
    result = run_shared_trial(own, tiny_data, "cpu", Control(), trained)
    assert result.score("val", "loss") == losses[1] and trained.path.read_bytes() == before


def test_features_that_are_no_numbers_leave_the_classifier(make_slice, tiny_data, trained):
    own = make_slice()
    own = replace(own, shared=replace(own.shared, refit=40))
    model = cut_slice(read(trained.path, own).weights, own.arch).eval()
    before = model.classifier[-1].weight.clone()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    shared_train.refit_classifier(model, own, tiny_data, "cpu", Control())
    assert torch.equal(model.classifier[-1].weight, before)


def test_asked_to_stop_while_a_slice_is_evaluated_the_weights_stay(make_slice, tiny_data, trained):
    for at in (1, 2, 3):  # calibrating, evaluating, testing
        with pytest.raises(Interrupted):
            run_shared_trial(make_slice(), tiny_data, "cpu", Control(should_stop=Stop(at)), trained)
    assert only_file(trained.path)


def test_a_family_of_one(make_slice, tiny_data, path):
    trial = make_slice(WIDE, (WIDE,), images=80)
    result = run_shared_trial(trial, tiny_data, "cpu", Control(), Supernet((WIDE,), path))
    assert result.train_images == 80 and result.curve[-1].scores.get("top1") is not None and len(result.curve) == 10


@pytest.mark.slow
def test_a_family_learns(make_slice, tiny_data, path):
    """Chance is a third."""
    tops = {}
    for arch in SUPERNET:
        trial = make_slice(arch, images=500, batch=20)
        tops[arch] = run_shared_trial(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET, path)).score("val", "top1")
    assert tops[LARGEST] > 0.6 and sum(tops.values()) > 4 * 0.5, tops


# ---------------------------------------------------------------- trained on


@pytest.fixture
def begun(monkeypatch) -> list:
    """The courses and trials that networks trained alone finish from now on, as they begin."""
    courses, real = [], finetuned.finish_course

    def finish_course(course, trial, *more):
        courses.append((course.step, {k: v.clone() for k, v in course.model.state_dict().items()}, trial))
        return real(course, trial, *more)

    monkeypatch.setattr(finetuned, "finish_course", finish_course)
    return courses


class Seen:
    """What is handed over to be kept."""

    def __init__(self):
        self.trials, self.state = [], {}

    def __call__(self, trial, model, result) -> None:
        self.trials.append(trial)
        self.state = {name: value.clone() for name, value in model.state_dict().items()}


def test_a_slice_is_trained_on_from_what_it_is_and_its_weights_are_kept(make_slice, tiny_data, trained, begun):
    trial = make_slice(DEEP, finetune=0.5)
    seen = Seen()
    result = run_finetuned_trial(trial, tiny_data, "cpu", Control(keep=seen), trained)
    ((step, state, tuned),) = begun
    recipe = tuned.recipe
    assert (step, recipe.lr, recipe.epochs, recipe.images) == (0, FINETUNE_RATE * 0.03, 0.5, None)
    slice_state = cut_network(trial, read(trained.path, trial).weights, tiny_data, "cpu").state_dict()
    assert state.keys() == slice_state.keys() and all(torch.equal(state[name], slice_state[name]) for name in state)
    assert (result.train_images, len(result.curve), result.images.get("val", 0)) == (32, 4, 30)
    check_terms(result)
    assert (
        result.curve[-1].scores.get("top1") is not None
        and max(point.lr for point in result.curve) <= FINETUNE_RATE * 0.03
    )
    assert seen.trials == [trial] and set(trained.path.parent.iterdir()) == {trained.path}
    model = build_model(DEEP).to(memory_format=torch.channels_last)
    model.load_state_dict(seen.state)
    assert (predictions(model, tiny_data, 8).argmax(1) == tiny_data.labels["val"]).mean() == result.score("val", "top1")
    assert not torch.equal(model.classifier[1].weight, slice_state["classifier.1.weight"])


def test_trained_on_it_goes_on_bit_for_bit(make_slice, tiny_data, trained, begun):
    """With dropout, whose random numbers go on too."""
    trial, stop = make_slice(WIDE, finetune=0.4), Stop()
    checkpoint, seen = trained.path.with_name("trial.pt"), Seen()
    usual = measured(run_finetuned_trial(trial, tiny_data, "cpu", Control(should_stop=stop, keep=seen), trained))
    state = seen.state
    for at in range(2, stop.asked + 1, 3):
        seen = Seen()
        control = Control(should_stop=Stop(at), checkpoint=checkpoint, checkpoint_seconds=NEVER)
        with pytest.raises(Interrupted):
            run_finetuned_trial(trial, tiny_data, "cpu", control, trained)
        assert set(trained.path.parent.iterdir()) == {trained.path, checkpoint}
        control = Control(checkpoint=checkpoint, checkpoint_seconds=NEVER, keep=seen)
        assert measured(run_finetuned_trial(trial, tiny_data, "cpu", control, trained)) == usual
        assert set(trained.path.parent.iterdir()) == {trained.path}
        assert all(torch.equal(value, seen.state[name]) for name, value in state.items())
    assert max(step for step, *_ in begun) > 0


def test_killed_as_its_weights_are_written_it_goes_on_to_the_same_ones(make_slice, tiny_data, trained):
    """Its checkpoint is there until they are."""
    trial, lines, seen, again = make_slice(DEEP, finetune=0.4), [], Seen(), Seen()
    checkpoint = trained.path.with_name("trial.pt")
    usual = measured(run_finetuned_trial(trial, tiny_data, "cpu", Control(keep=seen), trained))

    def die(*words: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        control = Control(checkpoint=checkpoint, checkpoint_seconds=NEVER, keep=die)
        run_finetuned_trial(trial, tiny_data, "cpu", control, trained)
    assert checkpoint.exists()
    control = Control(log=lines.append, checkpoint=checkpoint, checkpoint_seconds=NEVER, keep=again)
    assert measured(run_finetuned_trial(trial, tiny_data, "cpu", control, trained)) == usual
    assert lines[0] == "resumed after step 3" and not checkpoint.exists()
    assert all(torch.equal(value, again.state[name]) for name, value in seen.state.items())


def test_without_weights_they_are_trained_first(make_slice, tiny_data, path, undisturbed):
    trial = make_slice(DEEP, finetune=0.3)
    result = run_shared_trial(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET, path))
    check_same(read(path, trial), read(undisturbed(make_slice()), trial))
    there = run_shared_trial(trial, tiny_data, "cpu", Control(), Supernet(SUPERNET, undisturbed(make_slice())))
    assert measured(result) == measured(there)
