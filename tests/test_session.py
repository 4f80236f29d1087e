"""What is checked, said and written before the first trial, and what a worker process does with one."""

import json
from dataclasses import replace

import pytest
import torch
from photo_samples import class_files, write_folder

from mnv2_sweep.archs.arch import ArchSpec, Stage
from mnv2_sweep.costs.cost import count_cost
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.errors import SweepError
from mnv2_sweep.sweeps import session
from mnv2_sweep.sweeps.session import (
    choose_device,
    describe_plan,
    open_session,
    prepare_session,
    train_in_worker,
)
from mnv2_sweep.sweeps.store import Outcome, record
from mnv2_sweep.training.trial import DataRef, Recipe

RECIPE = Recipe("tiny", images=600, input_scale=0.5, batch=20)
ARCHS = [ArchSpec(width=width, resolution=size, classes=3) for width, size in ((0.35, 32), (1.0, 24), (0.35, 24))]


def open_tiny(folder, data, archs=ARCHS, recipe=RECIPE, seeds=(0, 1)):
    return open_session(folder, archs, recipe, seeds, (data, "toy"), "cpu")


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize(
    "wanted, there, chosen",
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
    ids=str,
)
def test_device(monkeypatch, wanted, there, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(wanted) == chosen


@pytest.mark.parametrize("wanted", ["gpu", "CPU", "", "cuda:1", "mps"])
def test_another_device_is_refused(wanted):
    with pytest.raises(SweepError, match=f"--device {wanted}: auto, cpu or cuda"):
        choose_device(wanted)


def test_cuda_that_is_not_there_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SweepError, match="--device cuda: torch sees no CUDA device here; use --device cpu, or install"):
        choose_device("cuda")


# ---------------------------------------------------------------- opening


def test_opening_plans_what_is_missing_and_writes_nothing(tmp_path, tiny_data, make_result):
    first = open_tiny(tmp_path / "mine", tiny_data)
    assert not (tmp_path / "mine").exists()
    assert len(first.trials) == len(first.missing) == 6
    assert {trial.data for trial in first.trials} == {DataRef("toy", tiny_data.fingerprint, 3)}
    record(tmp_path / "mine", Outcome(first.missing[0], make_result()))
    record(tmp_path / "mine", Outcome(first.missing[1], error="died"))
    again = open_tiny(tmp_path / "mine", tiny_data)
    assert again.trials == first.trials and again.missing == first.missing[1:]


@pytest.mark.parametrize(
    "archs, recipe, message",
    [
        (
            [ArchSpec(), ArchSpec(classes=2)],
            RECIPE,
            "classes: 2 given, but toy has 3; leave classes out, or give at least 3",
        ),
        ([ArchSpec(width=0)], RECIPE, "width: 0 given, a number above 0"),
        ([ArchSpec(stages=())], RECIPE, "stages: "),
        (ARCHS, replace(RECIPE, lr=-1.0), "recipe 'tiny': lr: -1.0 given, a number above 0 allowed"),
        (ARCHS, replace(RECIPE, epochs=2), "exactly one of images and epochs"),
    ],
    ids=["classes", "width", "stages", "lr", "length"],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path, tiny_data, archs, recipe, message):
    with pytest.raises(SweepError) as caught:
        open_tiny(tmp_path / "mine", tiny_data, archs, recipe)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "mine").exists()


def test_the_plan_says_networks_trials_madds_and_sizes(tmp_path, tiny_data, make_result):
    opened = open_tiny(tmp_path, tiny_data)
    record(tmp_path, Outcome(opened.trials[2], make_result()))
    madds = sorted(count_cost(arch).madds / 1e6 for arch in ARCHS)
    assert describe_plan(open_tiny(tmp_path, tiny_data)) == [
        "data      toy: 3 classes; 60 train, 30 val, 45 test",
        f"networks  3, {madds[0]:.1f}M to {madds[-1]:.1f}M MAdds at the nominal resolution",
        "recipe    tiny: 600 images each, trained at 12 to 16 px (input scale 0.5)",
        "trials    6 (1 done, 5 to run), seeds 0, 1",
    ]


def test_the_plan_of_one_size_and_of_epochs(tmp_path, tiny_data):
    recipe = replace(RECIPE, images=None, epochs=2.5)
    lines = describe_plan(open_tiny(tmp_path, tiny_data, ARCHS[:1], recipe, (7,)))
    assert lines[2:] == [
        "recipe    tiny: 2.5 epochs each, trained at 16 px (input scale 0.5)",
        "trials    1 (0 done, 1 to run), seeds 7",
    ]


def test_networks_that_resolve_to_the_same_are_one(tmp_path, tiny_data):
    opened = open_tiny(tmp_path, tiny_data, [ArchSpec(classes=3), ArchSpec(width=1.001, classes=3)], seeds=(0,))
    assert len(opened.trials) == 1 and "networks  1," in describe_plan(opened)[1]


# ---------------------------------------------------------------- preparing


def test_preparing_writes_the_files_and_makes_every_size_once(tmp_path, tiny_data, monkeypatch, make_result):
    made, reported = [], []
    monkeypatch.setattr(session, "prepare_pixels", lambda data, size: made.append(size))
    opened = open_tiny(tmp_path, tiny_data)
    prepare_session(opened, "# space\n", {"torch": "1"}, lambda done, total: reported.append((done, total)))
    assert made == [12, 16] and reported == [(1, 2), (2, 2)]
    assert (tmp_path / "space.yaml").read_text() == "# space\n"
    assert json.loads((tmp_path / "env.json").read_text()) == {"torch": "1"}
    for trial in opened.trials:
        if trial.train_size == 16:
            record(tmp_path, Outcome(trial, make_result()))
    made.clear()
    prepare_session(open_tiny(tmp_path, tiny_data), "", {}, lambda done, total: None)
    assert made == [12]  # only what is still to be trained


# ---------------------------------------------------------------- workers


@pytest.fixture
def photos(tmp_path):
    """A folder of photos, its cache, and a trial on it."""
    folder = write_folder(tmp_path / "photos", class_files({"red": 6, "blue": 6}, side=16))
    return folder, tmp_path / "cache"


@pytest.fixture
def photo_trial(photos, make_trial):
    data = open_photos(*photos)
    arch = ArchSpec(stages=(Stage(1, 8, 1, 1),), width=0.25, resolution=16, last_channels=16)
    return make_trial(arch=arch, data=DataRef(data.name, data.fingerprint, 2), images=20, batch=5)


def test_a_worker_opens_the_data_once_and_trains(photos, photo_trial, monkeypatch):
    opened = []
    real = session.open_dataset
    monkeypatch.setattr(session, "open_dataset", lambda name, cache: opened.append(name) or real(name, cache))
    folder, cache = photos
    reports = []
    for _ in range(2):
        result = train_in_worker(str(folder), cache, "cpu", photo_trial, lambda *state: reports.append(state))
        assert (result.train_images, result.val_images, result.test_top1, result.device) == (20, 2, None, "cpu")
    assert opened == [str(folder)] and torch.get_num_threads() == 1
    assert [state[:2] for state in reports] == [(4, 4), (4, 4)]


def test_data_that_changed_since_the_plan_are_not_trained_on(photos, photo_trial):
    folder, cache = photos
    other = replace(photo_trial, data=replace(photo_trial.data, fingerprint="another"))
    with pytest.raises(RuntimeError, match="photos has changed since the sweep began; run the command again"):
        train_in_worker(str(folder), cache, "cpu", other, lambda *state: None)
