"""Three timings -> seconds of every trial, memory and disk; what happens when a timing does not fit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.sweeps import estimate, timing
from mnv2_sweep.sweeps.budget import estimate_text
from mnv2_sweep.sweeps.estimate import (
    choose_timed,
    count_work,
    estimate_sweep,
    interpolate,
    trained_network,
)
from mnv2_sweep.sweeps.timing import DoesNotFit, Timing
from mnv2_sweep.training.ways.shared import REFIT_SECONDS
from mnv2_sweep.training.ways.way import WayWork
from mnv2_sweep.trials.trial import Sharing, shared_id

WIDTHS = (0.5, 1.4, 0.35, 1.0, 0.75)
ARCHS = [ArchSpec(width=width, resolution=32) for width in WIDTHS]
SPEED = 1e-10  # seconds a unit of work


@pytest.fixture
def machine(monkeypatch):
    """Timings of a machine on which time is exactly proportional to work; what was timed, and in how many processes."""
    timed = []

    def timing(trial):
        seconds = SPEED * count_work(trial)
        return Timing(0.5, seconds, seconds / 4, peak_bytes=10**8, gpu_bytes=0, cpu_fraction=0.5)

    def team(trials, data_name, cache, device, workers):
        timed.append(([trial.arch.width for trial in trials], data_name, workers))
        return [timing(trial) for trial in trials], 2.0

    def here(trials, device):
        timed.append([trial.arch.width for trial in trials])
        return [timing(trial) for trial in trials]

    monkeypatch.setattr(estimate, "time_team", team)
    monkeypatch.setattr(estimate, "time_here", here)
    return timed


def test_the_dearest_the_cheapest_and_a_middle_network_are_timingd(machine, make_trial, tiny_data):
    trials = [make_trial(seed, arch=arch) for seed in (0, 1) for arch in ARCHS]
    estimate = estimate_sweep(trials, tiny_data, "toy", "cpu", 2)
    assert machine == [([1.4, 0.35, 0.75], "toy", 2)]
    assert [trial.arch.width for trial in estimate.probed] == [1.4, 0.35, 0.75]
    assert tuple(estimate.trial_seconds) == tuple(trials) and (estimate.workers, estimate.cpu_fraction) == (2, 0.5)
    for trial, seconds in estimate.trial_seconds.items():  # 10 looks at 30 images, then 75; half a core
        per_image = SPEED * count_work(trial)
        assert seconds == pytest.approx((0.5 + 600 * per_image + 375 * per_image / 4) / 0.5)
    assert estimate.start_seconds == 4 and estimate.command_seconds == (2 * 2 + 3) / 0.5
    assert any("a worker gets 50 % of a core; without them about" in note for note in estimate.notes)


def test_fewer_networks_need_fewer_timings_and_no_more_workers(machine, make_trial, tiny_data):
    one, two = make_trial(arch=ARCHS[0]), [make_trial(arch=arch) for arch in ARCHS[:2]]
    assert estimate_sweep([one], tiny_data, "toy", "cpu", 8).workers == 1
    estimate_sweep([*two, make_trial(1, arch=ARCHS[0])], tiny_data, "toy", "cpu", 8)
    assert machine == [([0.5], "toy", 1), ([1.4, 0.5], "toy", 3)]


def test_alone_only_the_ends_are_timingd_here(machine, make_trial, tiny_data):
    trials = [make_trial(arch=arch) for arch in ARCHS]
    estimate = estimate_sweep(trials, tiny_data, "toy", "cpu", 2, alone=True)
    assert machine == [[1.4, 0.35]] and estimate.start_seconds <= 10 / estimate.cpu_fraction
    assert set(estimate.trial_seconds) == set(trials)


def test_longer_schedules_take_longer(machine, make_trial, tiny_data):
    short, long, by_epochs = (make_trial(**length) for length in ({}, {"images": 6000}, {"epochs": 10}))  # 10 x 60
    times = [estimate_sweep([trial], tiny_data, "toy", "cpu", 1).wall_seconds for trial in (short, long, by_epochs)]
    assert times[0] < times[1] and times[0] == times[2]
    assert WayWork().count_images(short, tiny_data) == (600, 10 * 30 + 30 + 45)
    few = replace(short, recipe=replace(short.recipe, curve_images=7))
    assert WayWork().count_images(few, tiny_data) == (600, 10 * 7 + 30 + 45)
    assert WayWork().count_images(long, tiny_data) == (6000, 100 * 30 + 30 + 45)


def test_memory_is_the_workers_and_this_command_and_disk_a_checkpoint_a_worker(machine, make_trial, tiny_data):
    trials = [make_trial(arch=arch) for arch in ARCHS]
    one, two = (estimate_sweep(trials, tiny_data, "toy", "cpu", workers) for workers in (1, 2))
    assert two.memory_bytes - one.memory_bytes == pytest.approx(10**8, abs=5e6)
    assert 2e8 <= one.memory_bytes < 1e9
    params = max(count_cost(trained_network(trial)).params for trial in trials)
    assert two.disk_bytes - one.disk_bytes == 2 * 4 * params and two.cache_bytes == 0
    adamw = [replace(trial, recipe=replace(trial.recipe, optimizer="adamw")) for trial in trials]
    assert estimate_sweep(adamw, tiny_data, "toy", "cpu", 2).disk_bytes - two.disk_bytes == 2 * 4 * params


def test_too_little_memory_is_said(machine, make_trial, tiny_data, monkeypatch):
    free = estimate.psutil.virtual_memory()._replace(available=50_000_000)
    monkeypatch.setattr(estimate.psutil, "virtual_memory", lambda: free)
    notes = estimate_sweep([make_trial()], tiny_data, "toy", "cpu", 1).notes
    assert notes[-1] == "50 MB of memory are free: take fewer --workers, or a smaller batch"


@pytest.mark.parametrize(
    "error, why",
    [(DoesNotFit(), "does not fit into memory"), (TimeoutError(), "did not end a few steps within minutes")],
    ids=["memory", "time"],
)
@pytest.mark.parametrize("alone", [False, True])
def test_what_does_not_fit_makes_the_estimate_unknown(monkeypatch, make_trial, tiny_data, error, why, alone):
    def broken(*words):
        raise error

    monkeypatch.setattr(estimate, "time_team", broken)
    monkeypatch.setattr(estimate, "time_here", broken)
    trials = [make_trial(arch=arch) for arch in ARCHS]
    unknown = estimate_sweep(trials, tiny_data, "toy", "cpu", 2, alone)
    assert estimate_text(unknown) == [f"time      unknown with 2 workers on cpu: the dearest network, 1.4 at 32, {why}"]
    assert unknown.trial_seconds == {}


def test_nothing_to_run_costs_nothing(machine, tiny_data):
    estimate = estimate_sweep([], tiny_data, "toy", "cpu", 2)
    assert (estimate.wall_seconds, estimate.disk_bytes, machine) == (0, 0, [])


# ---------------------------------------------------------------- the model


@given(st.dictionaries(st.floats(1e3, 1e12), st.floats(1e-6, 1e3), min_size=1, max_size=3), st.floats(1e3, 1e12))
def test_the_curve_goes_through_the_timings_and_never_beyond_them(points, work):
    curve = interpolate(points)
    for known, value in points.items():
        assert curve(known) == pytest.approx(value, rel=1e-6)
    assert min(points.values()) * 0.999 <= curve(work) <= max(points.values()) * 1.001


def test_the_curve_goes_through_works_whose_logarithms_are_equal():
    curve = interpolate({1e12: 1.0, 999999999999.998: 2.0, 1e3: 0.5})
    assert (curve(1e12), curve(999999999999.998), curve(1e3)) == (1.0, 2.0, 0.5)


def test_between_two_timings_time_is_a_power_of_work():
    curve = interpolate({100: 1.0, 10_000: 100.0})
    assert curve(1000) == pytest.approx(10) and curve(10) == pytest.approx(1) and curve(10**6) == pytest.approx(100)
    assert interpolate({100: 0.0, 10_000: 1.0})(100) < 1e-8  # no start-up was seen


def test_networks_of_equal_work_are_timingd_once(make_trial):
    trials = [make_trial(seed, arch=ARCHS[0]) for seed in range(3)]
    works = {trained_network(trial): count_work(trial) for trial in trials}
    assert choose_timed(trials, works) == [trials[0]]


def test_work_grows_with_width_size_and_smaller_batches(make_trial):
    def work(width=0.5, resolution=32, **recipe):
        return count_work(make_trial(arch=ArchSpec(width=width, resolution=resolution), **recipe))

    assert work() < work(width=0.75) and work() < work(resolution=48) and work(batch=64) < work(batch=16)
    assert work(resolution=64, input_scale=0.5) == pytest.approx(work())  # the size it is trained at


@pytest.mark.parametrize(
    "arch, batch, milliseconds",
    [
        (ArchSpec(width=0.35, resolution=24), 64, 0.629),
        (ArchSpec(width=0.35, resolution=56), 16, 2.496),
        (ArchSpec(width=1.0, resolution=32), 16, 3.121),
        (ArchSpec(width=1.0, resolution=48), 64, 3.088),
        (ArchSpec(width=1.4, resolution=56), 64, 6.853),
        (ArchSpec(family="mobilenet_v1", width=1.0, resolution=56), 64, 5.265),
        (ArchSpec(family="shufflenet_v1", width=1.5, groups=3, resolution=56), 64, 3.938),
        (ArchSpec(family="nasnet_a", resolution=56), 64, 10.118),
    ],
    ids=str,
)
def test_work_follows_what_was_measured(make_trial, arch, batch, milliseconds):
    """Seconds of computing an image on one core of an AMD EPYC 9004."""
    unit = 4.75e-8  # milliseconds
    assert np.log(unit * count_work(make_trial(arch=arch, batch=batch)) / milliseconds) == pytest.approx(0, abs=0.25)


def test_a_network_that_is_trained_at_two_sizes_is_estimated_at_both(machine, make_trial, tiny_data):
    """As one that begins with weights in one kind of trial and from nothing in another."""
    trials = [make_trial(arch=ArchSpec(resolution=32), input_scale=scale) for scale in (0.5, 1.0)]
    seconds = estimate_sweep(trials, tiny_data, "toy", "cpu", 1).trial_seconds
    assert seconds[trials[1]] > 1.2 * seconds[trials[0]] > 0


# ---------------------------------------------------------------- networks that share weights

FINAL = 60 + 30 + 45  # images that each slice looks at: all that the data have


def shared_trials(make_trial, archs=ARCHS, seed: int = 0, images: int = 6000, finetune: float | None = None) -> list:
    return [replace(make_trial(seed, arch=arch), shared=Sharing("fedcba", images, finetune)) for arch in archs]


def test_the_first_of_each_shared_training_has_its_seconds(machine, make_trial, tiny_data):
    """A step trains the largest, and the four others take turns: a round of two steps has each of them."""
    trials = [*shared_trials(make_trial), *shared_trials(make_trial, seed=1)]
    estimate = estimate_sweep(trials, tiny_data, "toy", "cpu", 2)
    assert machine == [([1.4, 0.35, 0.75], "toy", 2)] and tuple(estimate.trial_seconds) == tuple(trials)
    works = sorted({trial.arch.width: count_work(trial) for trial in trials}.values())
    training = 6000 * SPEED * (works[-1] + sum(works[:-1]) / 2) / 0.5
    for i, (trial, seconds) in enumerate(estimate.trial_seconds.items()):
        evaluating = FINAL * SPEED / 4 * count_work(trial) / 0.5
        assert seconds == pytest.approx(evaluating + (training if i in (0, 5) else 0.0))
    alone = estimate_sweep([replace(trial, shared=None) for trial in trials], tiny_data, "toy", "cpu", 2)
    largest = max(alone.trial_seconds.values()) * 6000 / 600
    assert largest < estimate.trial_seconds[trials[0]] < 4 * largest


def test_where_the_weights_are_there_slices_are_only_evaluated(machine, make_trial, tiny_data):
    trials = [*shared_trials(make_trial), *shared_trials(make_trial, seed=1)]
    estimate = estimate_sweep(trials, tiny_data, "toy", "cpu", 2, trained={shared_id(trials[0])})
    evaluating = [FINAL * SPEED / 4 * count_work(trial) / 0.5 for trial in trials]
    assert list(estimate.trial_seconds.values())[:5] == pytest.approx(evaluating[:5])
    assert estimate.trial_seconds[trials[5]] > 2 * evaluating[5]  # the other seed's training is still to be done


@pytest.mark.parametrize("count, others", [(1, 0), (2, 1), (3, 2), (4, 3), (5, 2), (6, 2.5)])
def test_families_of_other_sizes_train_fewer_networks_a_step(machine, make_trial, tiny_data, count, others):
    trials = shared_trials(
        make_trial, [ArchSpec(width=0.5, resolution=size) for size in (24, 28, 32, 36, 40, 44)[:count]]
    )
    estimate = estimate_sweep(trials, tiny_data, "toy", "cpu", 1)
    works = sorted(map(count_work, trials))
    step = works[-1] + (others * np.mean(works[:-1]) if others else 0)
    expected = SPEED * (6000 * step + FINAL / 4 * works[0]) / 0.5
    assert estimate.trial_seconds[trials[0]] == pytest.approx(expected, rel=1e-3)


def test_a_classifier_of_its_own_takes_the_images_that_it_is_fitted_to_and_the_fit(machine, make_trial, tiny_data):
    def seconds(refit: int) -> float:
        trials = [replace(trial, shared=replace(trial.shared, refit=refit)) for trial in shared_trials(make_trial)]
        return estimate_sweep(trials, tiny_data, "toy", "cpu", 1, trained={shared_id(trials[0])}).trial_seconds[
            trials[0]
        ]

    looked_at = SPEED / 4 * count_work(shared_trials(make_trial)[0]) / 0.5
    for refit in (20, 60, 4000):  # of 60 that there are
        assert seconds(refit) - seconds(0) == pytest.approx(min(60, refit) * looked_at + REFIT_SECONDS / 0.5)


def test_longer_shared_trainings_take_longer_whatever_the_recipe_s_length(machine, make_trial, tiny_data):
    def seconds(shown: int, **recipe) -> float:
        trials = [replace(make_trial(arch=arch, **recipe), shared=Sharing("fedcba", shown)) for arch in ARCHS]
        return estimate_sweep(trials, tiny_data, "toy", "cpu", 1).trial_seconds[trials[0]]

    assert seconds(6000) == seconds(6000, images=60) and 5 < seconds(60_000) / seconds(6000) < 10


def test_what_is_trained_on_has_the_seconds_of_its_own_training(machine, make_trial, tiny_data):
    trials = [*shared_trials(make_trial), *shared_trials(make_trial, ARCHS[:2], finetune=2.0)]
    estimate = estimate_sweep(trials, tiny_data, "toy", "cpu", 1)
    for trial in trials[-2:]:
        expected = SPEED * count_work(trial) * (2 * 60 + FINAL / 4) / 0.5
        assert estimate.trial_seconds[trial] == pytest.approx(expected)
    there = {shared_id(trials[0])}
    only = estimate_sweep(trials[-2:], tiny_data, "toy", "cpu", 1, trained=there)  # nothing is trained for them
    assert only.trial_seconds == {trial: pytest.approx(estimate.trial_seconds[trial]) for trial in trials[-2:]}


def test_a_shared_sweep_is_estimated_on_real_timings(make_trial, tiny_data, tiny_arch, monkeypatch):
    monkeypatch.setattr(timing, "SHORT", (0.05, 0.02, 3))
    archs = [replace(tiny_arch, width=width, resolution=12) for width in (0.25, 1.0)]
    trials = shared_trials(make_trial, archs, images=8000)  # far dearer than what is measured beside it
    estimate = estimate_sweep(trials, tiny_data, "toy", "cpu", 1, alone=True)
    assert estimate.unknown == "" and 0 < estimate.trial_seconds[trials[1]] < estimate.trial_seconds[trials[0]] < 60
    assert estimate_text(estimate)[0].startswith("time      about ")
