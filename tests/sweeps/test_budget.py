"""What a estimate adds up to, which trials fit into a budget, and how both are said."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import square
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.sweeps import run
from mnv2_sweep.sweeps.budget import (
    TimeEstimate,
    command_wall,
    estimate_text,
    fit_budget,
    fitted_text,
    trials_wall,
    wall_seconds,
)
from mnv2_sweep.sweeps.request import SweepRequest
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import DataRef, Sharing, Trial

RECIPE = Recipe("tiny", images=600)
DATA = DataRef("toy", "70791d0fca31", 3)


def make_trials(widths, seeds) -> list[Trial]:
    return [Trial(ArchSpec(width=width, resolution=32), RECIPE, DATA, seed) for seed in seeds for width in widths]


def make_estimate(seconds: dict[float, float], seeds=(0,), workers: int = 1, **fields) -> TimeEstimate:
    """Seconds of a trial by the width of its network."""
    trials = make_trials(seconds, seeds)
    values = {"size_seconds": {}, "workers": workers, "device": "cpu", **fields}
    return TimeEstimate({trial: seconds[trial.arch.width] for trial in trials}, **values)


# ---------------------------------------------------------------- wall time


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


def test_a_command_is_its_own_time_the_images_a_start_and_the_trials():
    estimate = make_estimate({0.5: 10, 1.0: 30}, seeds=(0, 1), workers=2, start_seconds=3, command_seconds=7)
    assert estimate.wall_seconds == 7 + 3 + (30 + 10)
    assert (
        replace(estimate, size_seconds={square(32): 20.0, square(48): 100.0}).wall_seconds == 70
    )  # nothing is trained at 48
    assert command_wall(estimate, [trial for trial in estimate.trial_seconds if trial.arch.width == 0.5]) == 20
    assert command_wall(estimate, []) == 0 == replace(estimate, trial_seconds={}).wall_seconds


# ---------------------------------------------------------------- durations


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize(
    "budget, widths, seeds, dropped_seeds, dropped_widths",
    [
        (180, {0.5, 1.0, 1.4}, {0, 1, 2}, (), ()),
        (179, {0.5, 1.0, 1.4}, {0, 1}, (2,), ()),
        (119, {0.5, 1.0, 1.4}, {0}, (2, 1), ()),
        (59, {0.5, 1.0}, {0}, (2, 1), (1.4,)),
        (29, {0.5}, {0}, (2, 1), (1.4, 1.0)),
        (9, set(), set(), (2, 1), (1.4, 1.0, 0.5)),
    ],
)
def test_seeds_go_before_networks_and_the_longest_networks_first(budget, widths, seeds, dropped_seeds, dropped_widths):
    estimate = make_estimate({0.5: 10, 1.4: 30, 1.0: 20}, seeds=(0, 1, 2))
    fitted = fit_budget(estimate, budget)
    assert {trial.arch.width for trial in fitted.kept} == widths and {trial.seed for trial in fitted.kept} == seeds
    assert len(fitted.kept) == len(widths) * len(seeds) and fitted.seconds == command_wall(estimate, fitted.kept)
    assert fitted.dropped_seeds == dropped_seeds
    assert tuple(arch.width for arch in fitted.dropped_networks) == dropped_widths


def test_images_of_a_size_that_nothing_is_trained_at_any_more_are_not_paid_for():
    trials = [Trial(ArchSpec(width=0.5, resolution=size), RECIPE, DATA, 0) for size in (32, 64)]
    estimate = TimeEstimate(
        dict(zip(trials, (10, 20), strict=True)), 1, "cpu", {square(32): 5.0, square(64): 1000.0}, command_seconds=2
    )
    assert fit_budget(estimate, 20).kept == (trials[0],) and fit_budget(estimate, 20).seconds == 17


def test_what_is_left_of_an_interrupted_sweep_keeps_its_order():
    estimate = make_estimate({0.5: 10, 1.0: 20}, seeds=(0, 1))
    left = {
        trial: seconds
        for trial, seconds in estimate.trial_seconds.items()
        if (trial.seed, trial.arch.width) != (0, 0.5)
    }
    fitted = fit_budget(replace(estimate, trial_seconds=left), 20)  # seed 0 of the small one is done
    assert [(trial.seed, trial.arch.width) for trial in fitted.kept] == [(0, 1.0)] and fitted.dropped_seeds == (1,)


def test_nothing_to_run_fits_and_an_unknown_estimate_is_refused():
    nothing = make_estimate({})
    assert fit_budget(nothing, 1).kept == () and fitted_text(fit_budget(nothing, 1), nothing, 1) == [
        "budget    1 s: nothing is left to run"
    ]
    with pytest.raises(SweepError, match=r"--budget: the time is not known \(out of memory\); leave it out, or use"):
        fit_budget(replace(nothing, unknown="out of memory"), 60)


PRICES = st.builds(
    make_estimate,
    st.dictionaries(st.sampled_from([0.35, 0.5, 0.75, 1.0, 1.3, 1.4]), st.floats(0.1, 100), min_size=1),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True),
    workers=st.integers(1, 4),
    command_seconds=st.floats(0, 20),
    start_seconds=st.floats(0, 5),
)


@given(PRICES, st.floats(0.1, 2000))
def test_a_budget_is_kept_and_comparisons_stay_paired(estimate, budget):
    fitted = fit_budget(estimate, budget)
    assert command_wall(estimate, fitted.kept) == fitted.seconds <= budget
    archs, seeds = {trial.arch for trial in fitted.kept}, {trial.seed for trial in fitted.kept}
    assert len(fitted.kept) == len(archs) * len(seeds)  # every network has the same seeds
    everything = {trial.seed for trial in estimate.trial_seconds}
    if fitted.kept:
        assert seeds | set(fitted.dropped_seeds) == everything and max(seeds) < min(fitted.dropped_seeds, default=99)
    assert not fitted.dropped_networks or len(everything - set(fitted.dropped_seeds)) == 1
    times = {trial.arch: seconds for trial, seconds in estimate.trial_seconds.items()}
    dropped = [times[arch] for arch in fitted.dropped_networks]
    assert dropped == sorted(dropped, reverse=True)
    assert archs | set(fitted.dropped_networks) == set(times)
    assert min(dropped, default=1e9) >= max((times[arch] for arch in archs), default=0)


@given(PRICES)
def test_a_budget_of_the_whole_time_drops_nothing(estimate):
    fitted = fit_budget(estimate, estimate.wall_seconds)
    assert fitted.kept == tuple(estimate.trial_seconds)
    assert [": everything fits, in about " in line for line in fitted_text(fitted, estimate, 60)] == [True]


# ---------------------------------------------------------------- texts


def test_the_text_says_time_memory_disk_and_notes():
    fields = {"memory_bytes": 1_130_000_000, "disk_bytes": 14_200_000, "cache_bytes": 12_000_000, "command_seconds": 9}
    estimate = make_estimate({0.5: 12, 1.0: 32}, workers=2, **fields)
    estimate = replace(estimate, probed=tuple(estimate.trial_seconds)[::-1], notes=("take an umbrella",))
    assert estimate_text(estimate) == [
        "time      about 41 s with 2 workers on cpu (probed: 1.0 at 32, 0.5 at 32)",
        "memory    about 1.1 GB at the peak",
        "disk      about 14 MB, 12 MB of it image cache",
        "note      take an umbrella",
    ]
    gpu = estimate_text(replace(estimate, device="cuda", gpu_bytes=2_000_000_000, cache_bytes=0, workers=1))
    assert gpu[0].startswith("time      about 53 s with 1 worker on cuda")
    assert gpu[1:3] == ["memory    about 1.1 GB at the peak, 2.0 GB of the GPU's", "disk      about 14 MB"]


def test_the_text_of_nothing_and_of_the_unknown():
    assert estimate_text(make_estimate({})) == ["time      none: nothing is left to run"]
    unknown = make_estimate({}, unknown="the dearest network does not fit into memory")
    assert estimate_text(unknown) == [
        "time      unknown with 1 worker on cpu: the dearest network does not fit into memory"
    ]


@pytest.mark.parametrize(
    "budget, lines",
    [
        (1000, ["everything fits, in about 3 min"]),
        (100, ["3 of 9 trials fit, in about 60 s: 3 networks, seed 0", "seeds 1, 2 of every network"]),
        (30, ["2 of 9 trials fit, in about 30 s: 2 networks, seed 0", "seeds 1, 2 of every network",
              "1 network: 1.4 at 32"]),
        (19, ["1 of 9 trials fit, in about 10 s: 1 network, seed 0", "seeds 1, 2 of every network",
              "2 networks: 1.4 at 32; 1.0 at 32"]),
        (5, ["nothing fits; the shortest trial, 0.5 at 32, takes about 10 s in all"]),
    ],
)  # fmt: skip
def test_the_text_of_a_budget_says_what_is_dropped(budget, lines):
    estimate = make_estimate({0.5: 10, 1.0: 20, 1.4: 30}, seeds=(0, 1, 2))
    text = fitted_text(fit_budget(estimate, budget), estimate, budget)
    assert [line[10:] for line in text[1:]] == lines[1:] and all(line.startswith("dropped   ") for line in text[1:])
    assert text[0].startswith("budget    ") and text[0].endswith(f": {lines[0]}")


def test_many_seeds_are_a_range():
    estimate = make_estimate({0.5: 10}, seeds=range(20))
    text = fitted_text(fit_budget(estimate, 100), estimate, 100)
    assert text[0].endswith("10 of 20 trials fit, in about 2 min: 1 network, seeds 0 to 9")
    assert text[1:] == ["dropped   seeds 10 to 19 of every network"]


# ---------------------------------------------------------------- networks that share weights


def make_shared(seconds: dict[float, float], seed: int = 0, finetune: float | None = None) -> dict[Trial, float]:
    trials = make_trials(seconds, (seed,))
    return {replace(trial, shared=Sharing("fedcba", 9000, finetune)): seconds[trial.arch.width] for trial in trials}


@pytest.mark.parametrize("workers, wall", [(1, 104), (2, 50 + 2), (3, 100 / 3 + 2), (8, 100 / 8 + 2)])
def test_a_shared_training_takes_all_workers_and_its_networks_wait_for_it(workers, wall):
    seconds = make_shared({0.35: 1, 1.0: 100, 0.5: 1, 0.75: 2})
    assert trials_wall(seconds, tuple(seconds), workers) == pytest.approx(wall)


def test_each_seed_has_its_training_and_what_is_trained_on_comes_after():
    first, second = make_shared({1.0: 100, 0.5: 2}), make_shared({1.0: 60, 0.5: 2}, seed=1)
    tuned = make_shared({0.5: 500}, finetune=2.0)
    seconds = first | second | tuned
    assert trials_wall(seconds, tuple(seconds), 2) == 160 / 2 + 500
    assert trials_wall(seconds, tuple(tuned), 2) == 500  # the weights are there
    assert trials_wall(seconds, (), 2) == 0


def test_networks_alone_are_spread_as_they_always_were():
    estimate = make_estimate({0.35: 10, 1.0: 30, 0.5: 15}, seeds=(0, 1))
    trials = tuple(estimate.trial_seconds)
    for workers in (1, 2, 5):
        assert trials_wall(estimate.trial_seconds, trials, workers) == wall_seconds(
            list(estimate.trial_seconds.values()), workers
        )


def test_the_command_s_wall_time_knows_of_the_training():
    seconds = make_shared({1.0: 100, 0.5: 2})
    estimate = TimeEstimate(seconds, 2, "cpu", {square(32): 7.0}, start_seconds=3.0, command_seconds=9.0)
    assert estimate.wall_seconds == command_wall(estimate, tuple(seconds)) == 9 + 7 + 3 + 50 + 2


# ---------------------------------------------------------------- networks that share weights


def test_training_the_front_on_is_not_estimated_and_said(monkeypatch, tiny_data, tmp_path):
    estimated = []

    def estimate_sweep(trials, *rest):
        estimated.extend(trials)
        return TimeEstimate({trial: 60.0 for trial in trials}, 1, "cpu", {})

    monkeypatch.setattr(run, "estimate_sweep", estimate_sweep)
    archs = [ArchSpec(width=width, resolution=32) for width in (0.5, 1.0)]
    strategy = Strategy("shared", images=600, finetune=1.5)
    request = SweepRequest(tmp_path, archs, RECIPE, (0,), tiny_data, "toy", strategy=strategy)
    lines = run.estimate_request(request)
    assert [trial.shared.finetune for trial in estimated] == [None, None]
    assert "note      1.5 more epochs of the networks on the front come on top" in lines
