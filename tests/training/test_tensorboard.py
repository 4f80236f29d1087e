"""Curve points as TensorBoard reads them; skipped where tensorboard is not installed."""

import resource
import threading
from dataclasses import replace

import pytest

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from mnv2_sweep.training.control import Control  # noqa: E402
from mnv2_sweep.training.loop import run_trial  # noqa: E402
from mnv2_sweep.training.tensorboard import event_points  # noqa: E402
from mnv2_sweep.trials.trial import CurvePoint  # noqa: E402


def read_events(folder) -> dict[str, list[tuple[int, float]]]:
    """Name -> (images, value), as TensorBoard shows it."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def curve(*losses: float, first: int = 20) -> list[CurvePoint]:
    return [CurvePoint(i / 60, first + 20 * i, loss, 0.25, {"top1": 0.5}) for i, loss in enumerate(losses)]


def test_a_trial_s_curve_is_written(make_trial, tiny_data, tmp_path):
    trial = make_trial(images=100)
    with event_points(tmp_path / "events", trial) as point:
        result = run_trial(trial, tiny_data, "cpu", Control(point=point))
    events = read_events(tmp_path / "events")
    scalars = ("train_loss", "lr", "val_top1")
    assert sorted(events) == sorted(scalars)
    for name in scalars:
        expected = [(point.images, pytest.approx(point.flat()[name], rel=1e-6)) for point in result.curve]
        assert events[name] == expected and len(expected) == 5


def test_each_point_can_be_read_at_once(make_trial, tmp_path):
    with event_points(tmp_path, make_trial()) as point:
        for count, reached in enumerate(curve(1.0, 0.5, 0.25), 1):
            point(reached)
            assert len(read_events(tmp_path)["val_top1"]) == count


def test_a_point_without_a_look_has_no_top1(make_trial, tmp_path):
    with event_points(tmp_path, make_trial()) as point:
        point(replace(curve(1.0)[0], scores={}))
    assert read_events(tmp_path) == {"train_loss": [(20, 1.0)], "lr": [(20, 0.25)]}


def test_points_that_a_killed_attempt_had_got_ahead_with_are_hidden(make_trial, tmp_path):
    for points in (curve(1.0, 0.75, 0.5, 0.25), curve(0.625, 0.375, first=60)):
        with event_points(tmp_path, make_trial()) as point:
            for reached in points:
                point(reached)
    assert read_events(tmp_path)["train_loss"] == [(20, 1.0), (40, 0.75), (60, 0.625), (80, 0.375)]


def test_an_attempt_without_a_point_leaves_no_file(make_trial, tmp_path):
    with event_points(tmp_path / "events", make_trial()):
        pass
    assert not (tmp_path / "events").exists()


def test_a_folder_that_cannot_be_made_harms_nothing(make_trial, tmp_path):
    (tmp_path / "file").touch()
    lines = []
    with event_points(tmp_path / "file" / "events", make_trial(), lines.append) as point:
        for reached in curve(1.0, 0.5):
            point(reached)
    assert len(lines) == 1 and lines[0].startswith("no TensorBoard events from here on: ")


def test_a_full_disk_harms_nothing(make_trial, tmp_path, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # TensorBoard's writing thread ends with a trace
    lines, threads, limits = [], set(threading.enumerate()), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with event_points(tmp_path, make_trial(), lines.append) as point:
            first, *rest = curve(*[0.5] * 40)
            point(first)
            resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
            for reached in rest:
                point(reached)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for thread in set(threading.enumerate()) - threads:
        thread.join(5)
    assert len(lines) == 1 and lines[0].startswith("no TensorBoard events from here on: ")
