"""A stopped trial goes on bit for bit; a file that cannot be gone on from is as good as none."""

import errno
import io
import json
import os
import pickle
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.training import batch, loop
from mnv2_sweep.training.checkpoint import BatchOrder, Course, read_checkpoint, write_checkpoint
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.loop import begin_course, run_trial, train_model
from mnv2_sweep.trials.trial import Result, Trial, trial_id
from tests.stops import Killed, Stop, measured

torch.set_num_threads(1)

SMALL = ArchSpec(stages=(Stage(1, 8, 2, 1),), width=0.25, resolution=8, last_channels=16, classes=3, dropout=0.2)
NEVER = 1e9


def stop_once(trial: Trial, dataset, path: Path, at: int) -> None:
    with pytest.raises(Interrupted):
        run_trial(trial, dataset, "cpu", Control(should_stop=Stop(at), checkpoint=path, checkpoint_seconds=NEVER))
    assert list(path.parent.iterdir()) == [path]


def resume(trial: Trial, dataset, path: Path, device: str = "cpu") -> tuple[Result, list[str]]:
    """The result of an attempt that nobody disturbs, and its log; nothing may be left on disk."""
    lines = []
    result = run_trial(trial, dataset, device, Control(log=lines.append, checkpoint=path, checkpoint_seconds=NEVER))
    assert list(path.parent.iterdir()) == []
    return measured(result), lines


def kill_at(trial: Trial, dataset, path: Path, step: int, **changes) -> None:
    """Writes the state after every step and dies in step `step`, before that one's is written."""

    def report(done: int, *_: float) -> None:
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        run_trial(trial, dataset, "cpu", Control(report, checkpoint=path, checkpoint_seconds=0.0, **changes))


@pytest.fixture
def make_small(make_trial) -> Callable[..., Trial]:
    """make_trial with a network of two blocks, one of which has a shortcut."""
    return lambda seed=0, **changes: make_trial(seed, **{"arch": SMALL, **changes})


@pytest.fixture
def path(tmp_path) -> Path:
    """Where the trial's checkpoint belongs, in a folder of its own."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder / "trial.pt"


@pytest.fixture(scope="module")
def undisturbed(tiny_data):
    """undisturbed(trial) -> its result when run in one go."""
    known = {}

    def run(trial: Trial) -> Result:
        if trial not in known:
            known[trial] = measured(run_trial(trial, tiny_data))
        return known[trial]

    return run


@pytest.fixture
def small_batches(monkeypatch):
    """Several batches in each evaluation: two in a look, two of val, three of test."""
    monkeypatch.setattr(loop, "EVAL_BATCH", 15)


# ---------------------------------------------------------------- bit for bit

RECIPES = {
    "sgd": {"shortcut_gain": 0.2, "batch": 17, "images": 17 * 4},  # the passes over 60 images end within batches
    "plain sgd": {"momentum": 0.0, "batch": 80, "images": 80 * 3},  # each batch holds some images twice
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.02, "schedule": "exponential", "images": 80},
    "rmsprop_tf": {"optimizer": "rmsprop_tf", "lr": 0.02, "average": 0.9, "images": 80, "saturation": 0.5},
    "adamw": {"optimizer": "adamw", "lr": 0.01, "epochs": 1, "shortcut_gain": 0.5, "input_scale": 0.5},
    "long": {"images": 20 * 13, "lr": 0.03},  # more steps than looks; every fifth stop will do
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_stopped_anywhere_a_trial_ends_as_if_it_had_not_been(
    make_small, tiny_data, path, small_batches, undisturbed, name
):
    """After every step, and before every batch of every look and of the final evaluation."""
    trial = make_small(seed=1, curve_images=30, **RECIPES[name])
    usual, stop = undisturbed(trial), Stop()
    run_trial(trial, tiny_data, "cpu", Control(should_stop=stop))
    steps = usual.train_images // trial.recipe.batch
    assert stop.asked == steps + 2 * len(usual.curve) + 2 + 3
    for at in range(1, stop.asked + 1, 5 if name == "long" else 1):
        stop_once(trial, tiny_data, path, at)
        assert resume(trial, tiny_data, path)[0] == usual


@pytest.mark.slow
@pytest.mark.parametrize(
    "family, width, optimizer",
    [("mobilenet_v1", 0.25, "sgd"), ("shufflenet_v1", 0.25, "rmsprop"), ("mobilenet_v2", 0.35, "adamw")],
)
def test_other_networks_go_on_as_well(make_small, tiny_data, path, undisturbed, family, width, optimizer):
    arch = ArchSpec(family=family, width=width, resolution=16)
    trial = make_small(arch=arch, optimizer=optimizer, lr=0.01, shortcut_gain=0.2, images=80, curve_images=10)
    for at in (1, 4):  # after the first step, and in the second look
        stop_once(trial, tiny_data, path, at)
        assert resume(trial, tiny_data, path)[0] == undisturbed(trial)


def test_a_trial_may_be_stopped_many_times(make_small, tiny_data, path, small_batches, undisturbed):
    """Each attempt gets one question further than the one before; every point of the curve is told just once."""
    trial, points, attempts = make_small(seed=2, images=20 * 15, curve_images=30), [], 0
    result = None
    while result is None:
        attempts += 1
        control = Control(should_stop=Stop(attempts), point=points.append, checkpoint=path, checkpoint_seconds=NEVER)
        try:
            result = run_trial(trial, tiny_data, "cpu", control)
        except Interrupted:
            assert list(path.parent.iterdir()) == [path]
    assert attempts > 8 and measured(result) == undisturbed(trial)
    assert tuple(points) == result.curve
    assert not list(path.parent.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 5, 10])
def test_a_killed_trial_goes_on_from_its_last_checkpoint(make_small, tiny_data, path, undisturbed, step):
    trial = make_small(optimizer="adamw", lr=0.01, images=200)
    kill_at(trial, tiny_data, path, step)
    result, lines = resume(trial, tiny_data, path)
    assert result == undisturbed(trial)
    assert [line for line in lines if "resumed" in line] == [f"resumed after step {step - 1}"] * (step > 1)


def test_a_trial_stopped_while_it_is_evaluated_is_not_trained_again(
    make_small, tiny_data, path, small_batches, undisturbed, monkeypatch
):
    trial = make_small(images=60, curve_images=1)
    usual = undisturbed(trial)
    stop_once(trial, tiny_data, path, 3 + 3 + 5)  # before the last batch of the test split
    monkeypatch.setattr(loop, "take_step", None)
    result, lines = resume(trial, tiny_data, path)
    assert result == usual
    assert lines[0] == "resumed after step 3" and len(lines) == 3


def test_the_state_is_the_same_down_to_the_order_in_memory(make_small, tiny_arch, tiny_data, path):
    """Channels last in weights, and in whatever the optimizer keeps about them."""
    arch = replace(tiny_arch, width=1.0)
    for optimizer in ("sgd", "rmsprop", "adamw"):
        trial = make_small(arch=arch, optimizer=optimizer, lr=0.01)
        live = begin_course(trial, tiny_data, "cpu")
        with pytest.raises(Interrupted):
            train_model(live, trial, tiny_data, Control(should_stop=Stop(2)))
        write_checkpoint(path, trial_id(trial), live, print)
        again = begin_course(trial, tiny_data, "cpu")
        again.restore(read_checkpoint(path, trial_id(trial), "cpu", print))
        one, other = flat(live.state()), flat(again.state())
        assert one.keys() == other.keys()
        first = [name for name, value in one.items() if is_tensor(value) and not value.is_contiguous()]
        assert any("optimizer" in name for name in first) and any(
            "model" in name for name in first
        )  # the first layer's
        for name, value in one.items():
            if is_tensor(value):
                assert torch.equal(value, other[name]) and value.stride() == other[name].stride(), name
            elif name not in ("/seconds", "/core_seconds", "/aside"):
                assert value == other[name], name


def is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def flat(value: object, name: str = "") -> dict[str, object]:
    """A nested state as one dictionary."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in flat(part, f"{name}/{key}").items()}
    if isinstance(value, list):
        return flat(dict(enumerate(value)), name)
    return {name: value}


@pytest.mark.parametrize("count, batch", [(10, 4), (10, 10), (3, 8)])
def test_batches_go_on_where_they_were(count, batch):
    order = BatchOrder(count, torch.Generator().manual_seed(5))
    whole = [order.take(batch).tolist() for _ in range(9)]
    for stop in range(9):
        order = BatchOrder(count, torch.Generator().manual_seed(5))
        first = [order.take(batch).tolist() for _ in range(stop)]
        other = BatchOrder(count, torch.Generator())
        assert order.state()["waiting"].untyped_storage().nbytes() == 8 * len(order.waiting)  # and not of all the pass
        other.restore(order.state())
        assert first + [other.take(batch).tolist() for _ in range(9 - stop)] == whole


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_trial_goes_on_on_a_gpu(make_small, tiny_data, path):
    trial = make_small(images=400)
    with pytest.raises(Interrupted):
        run_trial(trial, tiny_data, "cuda", Control(should_stop=Stop(9), checkpoint=path))
    result, lines = resume(trial, tiny_data, path, "cuda")
    assert result.device == "cuda" and len(result.curve) == 10
    assert any(line.startswith("resumed after step") for line in lines)


# ---------------------------------------------------------------- when it is written, and that it goes


def watch_writing(monkeypatch) -> list[int]:
    """The steps of which checkpoints are written from now on."""
    steps = []

    def write(path: Path, owner: str, course: Course, log) -> None:
        steps.append(course.step)
        write_checkpoint(path, owner, course, log)

    monkeypatch.setattr(loop, "write_checkpoint", write)
    return steps


@pytest.mark.parametrize("seconds, steps", [(0.0, [1, 2, 3, 4, 5, 5]), (NEVER, [5])])
def test_checkpoints_are_written_by_the_clock_and_at_the_end_of_training(
    make_small, tiny_data, path, undisturbed, monkeypatch, seconds, steps
):
    trial, written = make_small(images=100), watch_writing(monkeypatch)
    result = run_trial(trial, tiny_data, "cpu", Control(checkpoint=path, checkpoint_seconds=seconds))
    assert written == steps and measured(result) == undisturbed(trial)
    assert not list(path.parent.iterdir())


def test_the_interval_counts_from_the_last_writing(make_small, tiny_data, path, monkeypatch):
    written, now = watch_writing(monkeypatch), [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    real = loop.take_step

    def take_step(*args) -> torch.Tensor:
        now[0] += 1.0
        return real(*args)

    monkeypatch.setattr(loop, "take_step", take_step)
    run_trial(make_small(images=200), tiny_data, "cpu", Control(checkpoint=path, checkpoint_seconds=3.0))
    assert written == [3, 6, 9, 10]


def test_without_a_place_nothing_is_kept(make_small, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted):
        run_trial(make_small(images=100), tiny_data, "cpu", Control(should_stop=Stop(3), checkpoint_seconds=0.0))
    assert not list(tmp_path.iterdir())


def test_the_folder_is_made(make_small, tiny_data, tmp_path):
    path = tmp_path / "sweep" / "checkpoints" / "trial.pt"
    stop_once(make_small(images=100), tiny_data, path, 3)


def test_a_trial_that_diverges_keeps_nothing(make_small, tiny_data, path):
    """Going on from there would only diverge again."""
    with pytest.raises(FloatingPointError):
        run_trial(make_small(lr=1e30), tiny_data, "cpu", Control(checkpoint=path, checkpoint_seconds=0.0))
    assert not list(path.parent.iterdir())


def test_any_other_error_leaves_the_last_checkpoint(make_small, tiny_data, path, undisturbed):
    def point(reached) -> None:
        if reached.images == 80:
            raise RuntimeError("out of memory")

    trial = make_small(images=200)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_trial(trial, tiny_data, "cpu", Control(point=point, checkpoint=path, checkpoint_seconds=0.0))
    assert list(path.parent.iterdir()) == [path]
    assert resume(trial, tiny_data, path)[0] == undisturbed(trial)


def test_what_a_kill_in_mid_writing_left_is_removed(make_small, tiny_data, path, undisturbed):
    trial = make_small(images=100)
    stop_once(trial, tiny_data, path, 4)
    (path.parent / f"{path.name}.0123.tmp").write_bytes(b"half")
    neighbour = path.parent / "other.pt.0123.tmp"
    neighbour.write_bytes(b"of another trial")
    seen = []

    def report(*_: float) -> None:
        seen.append(sorted(path.parent.iterdir()))

    result = run_trial(trial, tiny_data, "cpu", Control(report, checkpoint=path))
    assert measured(result) == undisturbed(trial) and seen[0] == [neighbour, path]
    assert list(path.parent.iterdir()) == [neighbour]


# ---------------------------------------------------------------- files that cannot be gone on from


def rewrite(path: Path, header: dict | None = None, state: dict | None = None) -> None:
    """Change a checkpoint's header or its state, with the digest that fits."""
    line, payload = path.read_bytes().split(b"\n", 1)
    if state is not None:
        packed = io.BytesIO()
        torch.save(torch.load(io.BytesIO(payload), weights_only=True) | state, packed)
        payload = packed.getvalue()
    values = json.loads(line) | {"sha256": sha256(payload).hexdigest()} | (header or {})
    path.write_bytes(json.dumps(values).encode() + b"\n" + payload)


def flip(path: Path, at: float) -> None:
    """Another byte at a share of the file."""
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 16
    path.write_bytes(content)


def cut(path: Path, at: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(at * (len(content) - 1))])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    **{f"cut at {at}": lambda path, at=at: cut(path, at) for at in (0.0, 0.001, 0.3, 0.999, 1.0)},
    **{f"byte {at}": lambda path, at=at: flip(path, at) for at in (0.0, 0.001, 0.1, 0.35, 0.6, 0.85, 1.0)},
    "text": lambda path: path.write_text("{}\n"),
    "a number": lambda path: path.write_text("7\nabc"),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "another trial": lambda path: rewrite(path, {"trial": "0123456789abcdef"}),
    "another version": lambda path: rewrite(path, {"code_version": 0}),
    "another torch": lambda path: rewrite(path, {"torch": "2.0.0"}),
    "another device": lambda path: rewrite(path, {"device": "cuda"}),
    "another step": lambda path: rewrite(path, {"step": 5}),
    "another layout of the state": lambda path: rewrite(path, state={"order": {"waiting": torch.arange(3)}}),
    "another optimizer": lambda path: rewrite(path, state={"optimizer": {"state": {}, "param_groups": []}}),
    "another network": lambda path: rewrite(path, state={"model": {"weight": torch.zeros(3)}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_no_good_is_ignored(make_small, tiny_data, path, undisturbed, damage):
    trial = make_small(images=40)
    stop_once(trial, tiny_data, path, 3)
    DAMAGES[damage](path)
    result, lines = resume(trial, tiny_data, path)
    assert result == undisturbed(trial)
    assert lines[0].startswith("the checkpoint is not used: ") and len(lines[0]) < 300 and "\n" not in lines[0]
    assert not any(line.startswith("resumed") for line in lines)


def test_a_checkpoint_of_another_seed_is_not_used(make_small, tiny_data, path, undisturbed):
    stop_once(make_small(seed=1, images=40), tiny_data, path, 3)
    result, lines = resume(make_small(seed=2, images=40), tiny_data, path)
    assert result == undisturbed(make_small(seed=2, images=40))
    assert lines[0].startswith("the checkpoint is not used: ValueError: its trial is '")


def test_a_folder_in_its_place_stops_nothing(make_small, tiny_data, path, undisturbed):
    trial, lines = make_small(images=40), []
    path.mkdir()
    result = run_trial(trial, tiny_data, "cpu", Control(log=lines.append, checkpoint=path, checkpoint_seconds=0.0))
    assert measured(result) == undisturbed(trial) and list(path.parent.iterdir()) == [path]
    assert lines[0].startswith("the checkpoint is not used: IsADirectoryError")


class Malicious:
    """Unpickled by pickle itself, it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["pickle", "torch.save", "with our header"])
def test_no_code_in_a_file_is_run(make_small, tiny_data, path, tmp_path, undisturbed, kind):
    trial, trap = make_small(images=40), tmp_path / "trap"
    stop_once(trial, tiny_data, path, 3)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious(trap)))
    elif kind == "torch.save":
        torch.save({"step": Malicious(trap)}, path)
    else:
        line, packed = path.read_bytes().split(b"\n", 1)[0], io.BytesIO()
        torch.save({"step": Malicious(trap)}, packed)
        values = json.loads(line) | {"sha256": sha256(packed.getvalue()).hexdigest()}
        path.write_bytes(json.dumps(values).encode() + b"\n" + packed.getvalue())
    result, lines = resume(trial, tiny_data, path)
    assert result == undisturbed(trial) and "the checkpoint is not used" in lines[0]
    assert ("UnpicklingError: Weights only load failed" in lines[0]) == (kind == "with our header")
    assert not trap.exists()


def test_the_trap_above_would_spring(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "trap")))
    assert (tmp_path / "trap").is_dir()


# ---------------------------------------------------------------- a disk that refuses


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_fails_no_trial(make_small, tiny_data, path, undisturbed, monkeypatch, place):
    trial, lines = make_small(images=100), []
    monkeypatch.setattr(os, place, full_disk)
    control = Control(log=lines.append, checkpoint=path, checkpoint_seconds=0.0)
    assert measured(run_trial(trial, tiny_data, "cpu", control)) == undisturbed(trial)
    refused = [line for line in lines if "could not be written" in line]
    assert len(refused) == 6
    assert refused[0] == "the checkpoint of step 1 could not be written: No space left on device"
    assert not list(path.parent.iterdir())


def test_a_disk_that_is_really_full(make_small, tiny_data, path, undisturbed):
    trial, lines = make_small(images=100), []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def report(*_: float) -> None:  # from here on no file may be larger
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))

    try:
        result = run_trial(trial, tiny_data, "cpu", Control(report, log=lines.append, checkpoint=path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert measured(result) == undisturbed(trial) and not list(path.parent.iterdir())
    assert sum("of step 5 could not be written" in line for line in lines) == 1


def test_stopped_with_a_full_disk_a_trial_goes_on_from_the_checkpoint_before(
    make_small, tiny_data, path, undisturbed, monkeypatch
):
    trial = make_small(images=200)
    stop_once(trial, tiny_data, path, 7)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        stop_once(trial, tiny_data, path, 5)
    assert path.read_bytes() == before
    assert resume(trial, tiny_data, path)[0] == undisturbed(trial)


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_ended_in_mid_writing_the_file_is_the_one_before(make_small, tiny_data, path, undisturbed, monkeypatch, place):
    trial = make_small(images=200)
    stop_once(trial, tiny_data, path, 7)
    before = path.read_bytes()

    def end(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, place, end)
        run_trial(trial, tiny_data, "cpu", Control(checkpoint=path, checkpoint_seconds=0.0))
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    assert resume(trial, tiny_data, path)[0] == undisturbed(trial)


# ---------------------------------------------------------------- clock and memory


def test_seconds_and_speed_are_of_all_attempts(make_small, tiny_data, path, monkeypatch):
    """A second for each step in the first attempt, two in the second, ten for each batch that is evaluated."""
    trial, now, pace = make_small(images=100), [0.0], [1.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def slow_down(module, name: str, seconds: Callable[[], float]) -> None:
        real = getattr(module, name)

        def slow(*given):
            now[0] += seconds()
            return real(*given)

        monkeypatch.setattr(module, name, slow)

    slow_down(loop, "whole_batch", lambda: 10.0)
    slow_down(batch, "apply_crops", lambda: pace[0])
    stop_once(trial, tiny_data, path, 4)  # two steps, one look and one that it is stopped in
    now[0] += 1000.0  # nobody runs it
    pace[0] = 2.0
    result = run_trial(trial, tiny_data, "cpu", Control(checkpoint=path))
    assert result.seconds == 2 * 1 + 3 * 2 + 5 * 10 + 2 * 10
    assert result.images_per_second == 100 / (2 * 1 + 3 * 2)


def test_peak_memory_is_of_all_attempts(make_small, tiny_data, path, monkeypatch):
    trial = make_small(images=100)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "peak_memory_bytes", lambda device: 10**15)
        stop_once(trial, tiny_data, path, 4)
    assert run_trial(trial, tiny_data, "cpu", Control(checkpoint=path)).peak_memory_bytes == 10**15
