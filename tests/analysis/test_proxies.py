"""From recorded trials to a passport: which trials count, which networks are compared, what is said of failures."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnv2_sweep.analysis import proxies
from mnv2_sweep.analysis.calibration import PROXIES, lengthen_recipe, plan_calibration
from mnv2_sweep.analysis.passport import (
    EXECUTED,
    MADDS_ALONE,
    SHARED_WEIGHTS,
    SHORT_SCHEDULE,
    SMALL_INPUT,
    SYNFLOW,
    verdict_lines,
)
from mnv2_sweep.analysis.proxies import Order, make_passport, read_order, score_order
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import square
from mnv2_sweep.models.synflow import synflow_score
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.record.store import Outcome, read_outcomes, record_all
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.trials.executed import executed_network
from mnv2_sweep.trials.recipe import RECIPES
from mnv2_sweep.trials.trial import DataRef, How, Sharing, Trial, dump_trial
from mnv2_sweep.trials.weights import WeightsRecord

THIRD = replace(RECIPES["short"], input_scale=0.34, name="short at a third of the side")
SPACE = replace(load_space(Path(__file__).parents[2] / "spaces" / "paper_grid.yaml"), recipe=THIRD)
CALIBRATION = plan_calibration(SPACE, 8, tuple(PROXIES), lengthen_recipe(SPACE.recipe, None, None, 1000), 10)
PARTS = {part.proxy: part for part in CALIBRATION.parts}
PUBLISHED = {arch_key(c.arch): c.top1_percent for c in CHECKPOINTS}
DATA = DataRef("toy", "70791d0f", 10)
TINY = ArchSpec(stages=(Stage(1, 8, 1, 1), Stage(3, 8, 2, 2)), width=0.5, resolution=16, classes=3)


def record_part(folder: Path, proxy: str, make_result, seeds=(0,), skip=(), sharing=None) -> None:
    """Top-1 as published, a seed's hundredth apart, two seconds each; the networks at `skip` failed."""
    part = PARTS[proxy]
    outcomes = []
    for seed in seeds:
        for i, arch in enumerate(part.archs):
            trial = Trial(arch, part.recipe, DATA, seed, sharing)
            top1 = PUBLISHED[arch_key(arch)] / 100 + 0.01 * seed
            result = make_result(val_top1=top1, seconds=2.0)
            failed = Outcome(trial, error="ValueError: no luck\nmore")
            outcomes.append(failed if i in skip else Outcome(trial, result))
    record_all(folder, outcomes)


def order_of(archs, value, **more) -> Order:
    return Order({arch_key(arch): value(arch) for arch in archs}, **more)


def published(arch) -> float:
    return PUBLISHED[arch_key(arch)]


def test_the_mean_over_seeds_and_the_sum_of_seconds(tmp_path, make_result):
    record_part(tmp_path, SHORT_SCHEDULE, make_result, seeds=(0, 1, 2))
    order = read_order(tmp_path, PARTS[SHORT_SCHEDULE], (0, 1))  # the third seed is of another calibration
    first = CALIBRATION.picked[0]
    assert order.values[arch_key(first)] == pytest.approx(published(first) / 100 + 0.005)
    assert (len(order.values), order.seconds, order.failed) == (8, 32.0, "")
    assert order.trial.recipe == SPACE.recipe and order.trial.seed == 0


def test_results_of_an_older_version_are_not_mixed_in(tmp_path, make_result):
    record_part(tmp_path, SHORT_SCHEDULE, make_result)
    before = read_order(tmp_path, PARTS[SHORT_SCHEDULE], (0,))
    older = [
        replace(outcome, stored_id=f"older-{outcome.id}", result=make_result(val_top1=0.5))
        for outcome in read_outcomes(tmp_path)
    ]
    record_all(tmp_path, older)
    assert read_order(tmp_path, PARTS[SHORT_SCHEDULE], (0,)) == before


def test_networks_of_a_larger_calibration_are_not_counted(tmp_path, make_result):
    record_part(tmp_path, SHORT_SCHEDULE, make_result)
    part = replace(PARTS[SHORT_SCHEDULE], archs=CALIBRATION.picked[:5])
    assert (len(read_order(tmp_path, part, (0,)).values), read_order(tmp_path, part, (0,)).seconds) == (5, 10.0)


def test_a_shared_training_costs_what_all_its_networks_cost(tmp_path, make_result):
    record_part(tmp_path, SHARED_WEIGHTS, make_result, sharing=Sharing("f", 1000))
    order = read_order(tmp_path, PARTS[SHARED_WEIGHTS], (0,))
    assert (len(order.values), order.seconds) == (22, 44.0)


def test_a_probe_is_of_the_published_networks_too_and_costs_what_the_picked_ones_do(tmp_path, make_result):
    recipe, asked = replace(SPACE.recipe, init="imagenet"), []

    def plan(find_probe):
        longer = lengthen_recipe(SPACE.recipe, None, None, 1000)
        return plan_calibration(SPACE, 4, ("probe",), longer, 10, find_probe)

    planned = plan(lambda archs: asked.append(archs) or recipe)
    part = planned.parts[1]
    assert (part.archs, part.costed, len(part.archs)) == (asked[0], planned.picked, 22)
    trials = [
        Trial(replace(arch, padding="same"), recipe, DATA, 0, how=How("probe"), start=WeightsRecord("w", "0" * 64, "x"))
        for arch in part.archs
    ]
    record_all(tmp_path, [Outcome(trial, make_result(seconds=2.0)) for trial in trials])
    order = read_order(tmp_path, part, (0,))
    assert order.values.keys() == set(map(arch_key, part.archs)) and order.seconds == 8.0

    def refuse(archs):
        raise SweepError("no weights here")

    assert plan(refuse).refused == ((part.proxy, "no weights here"),)


def test_failures_are_named(tmp_path, make_result):
    record_part(tmp_path, SHORT_SCHEDULE, make_result, skip=(1, 2))
    order = read_order(tmp_path, PARTS[SHORT_SCHEDULE], (0,))
    assert len(order.values) == 6 and order.failed == "2 trials failed: ValueError: no luck"


def test_nothing_recorded_is_an_empty_order(tmp_path):
    assert read_order(tmp_path / "none", PARTS[""], (0,)) == Order({}, 0, None, "")


def test_synflow_is_a_mean_at_the_trained_size_with_the_datas_classes(monkeypatch):
    monkeypatch.setattr(proxies, "time", SimpleNamespace(process_time=itertools.count().__next__))  # a second each
    recipe = replace(SPACE.recipe, input_scale=0.5)
    other = replace(TINY, width=1.0)
    order = score_order((TINY, other), (TINY,), recipe, 7)
    expected = sum(synflow_score(replace(TINY, classes=7), square(8), seed) for seed in range(3)) / 3
    assert order.values[arch_key(TINY)] == expected and len(order.values) == 2
    assert order.seconds == 1 and score_order((TINY, other), (TINY, other), recipe, 7).seconds == 2


def test_a_score_beyond_numbers_is_a_reason_and_no_error(monkeypatch):
    def fail(arch, size, seed):
        raise SweepError("0.5 at 16: its SynFlow score is beyond float64")

    monkeypatch.setattr(proxies, "synflow_score", fail)
    order = score_order((TINY,), (TINY,), SPACE.recipe, 3)
    assert order == Order({}, failed="0.5 at 16: its SynFlow score is beyond float64")


def make(found: dict, calibration=CALIBRATION):
    return make_passport(calibration, found, "toy", 2, "2026-01-31", "2 cores")


PICKED, EVERY = CALIBRATION.picked, CALIBRATION.published
TRIAL = Trial(PICKED[0], SPACE.recipe, DATA, 0)


@pytest.fixture(scope="module")
def passport():
    """A reference as published; a short schedule that agrees; shared weights and scores that go by MAdds."""
    return make(
        {
            "": order_of(PICKED, published, seconds=1000.0),
            SHORT_SCHEDULE: order_of(PICKED, published, seconds=250.0, trial=TRIAL),
            SHARED_WEIGHTS: order_of(EVERY, lambda arch: count_cost(arch).madds, seconds=90.0,
                                     trial=replace(TRIAL, shared=Sharing("f", 132_000))),
            SYNFLOW: order_of(EVERY, lambda arch: -count_cost(arch).madds, seconds=3.0),
        }
    )  # fmt: skip


def test_what_a_passport_says_of_itself(passport):
    assert (passport.space, passport.data) == ("paper_grid", "toy")
    assert passport.reference == "88,000 images each, 8 networks, 2 seeds" and passport.reference_seconds == 1000.0
    assert passport.reference_with_published.tau == 1.0 and passport.reference_with_published.networks == 8
    assert [proxy.name for proxy in passport.proxies] == [
        SHORT_SCHEDULE,
        SHARED_WEIGHTS,
        SYNFLOW,
        MADDS_ALONE,
        EXECUTED,
    ]


def test_agreement_cost_and_note_of_each_proxy(passport):
    short, shared, synflow, alone, executed = passport.proxies
    assert (short.agreement_with_reference.tau, short.cost_seconds, short.trial) == (1.0, 250.0, dump_trial(TRIAL))
    assert short.note == "22,000 images each at 33 to 76 px"
    assert shared.note == "one training of 132,000 images for all 22 networks of the space"
    assert synflow.note == "mean of 3 first weights, no training" and synflow.agreement_with_reference.tau < 0
    assert (alone.cost_seconds, alone.trial, alone.note) == (0.0, "", "")
    assert shared.agreement_with_reference.tau == alone.agreement_with_reference.tau < 1
    assert {proxy.agreement_with_reference.networks for proxy in passport.proxies} == {8}


def test_the_published_ones_of_the_picked_networks_and_all_of_the_space(passport):
    short, shared, synflow, alone, executed = passport.proxies
    assert {proxy.agreement_with_published.networks for proxy in passport.proxies} == {8}
    assert short.agreement_with_all_published is None  # it has no more of them
    for proxy in (shared, synflow, alone, executed):
        assert proxy.agreement_with_all_published.networks == 22
    assert round(alone.agreement_with_all_published.tau, 3) == 0.954
    assert round(executed.agreement_with_all_published.tau, 3) == 0.894
    assert passport.baseline == alone


def test_taus_are_weighed_back_to_the_space_s_pairs(passport):
    assert passport.near_share == 6 / 28 and passport.space_near_share == 22 / 231
    short, shared, synflow, alone, executed = passport.proxies
    assert short.tau_weighted == 1.0 and synflow.tau_weighted == -alone.tau_weighted
    assert alone.agreement_with_reference.tau + 0.1 < shared.tau_weighted == alone.tau_weighted < 1


def test_gains_are_over_the_costs_that_order_better():
    recipe = SPACE.recipe
    executed = order_of(PICKED, lambda arch: count_cost(executed_network(arch, recipe)).madds)
    found = make({"": executed, SHORT_SCHEDULE: executed})
    assert found.baseline.name == EXECUTED and found.baseline.agreement_with_reference.tau == pytest.approx(1)
    short = found.find_proxy(SHORT_SCHEDULE).agreement_with_reference
    assert (short.tau_gain, short.near_gain) == (0.0, 0.0)
    assert found.find_proxy(MADDS_ALONE).agreement_with_reference.tau_gain < 0
    assert "executed MAdds 1.000" in verdict_lines(found, SHORT_SCHEDULE)[0]


def test_at_the_nominal_size_there_is_one_cost():
    whole = replace(CALIBRATION.parts[0], recipe=replace(SPACE.recipe, input_scale=1.0))
    found = make({"": order_of(PICKED, published)}, replace(CALIBRATION, parts=(whole,)))
    assert [proxy.name for proxy in found.proxies] == [MADDS_ALONE] and found.baseline.name == MADDS_ALONE


def test_networks_that_failed_are_left_out_and_counted():
    reference = order_of(PICKED[1:], published, seconds=9.0, failed="1 trial failed: ValueError: no luck")
    short = order_of(PICKED[:6], published, seconds=1.0, failed="2 trials failed: KeyError: x", trial=TRIAL)
    found = make({"": reference, SHORT_SCHEDULE: short})
    assert found.reference == "88,000 images each, 7 networks, 2 seeds, 1 trial failed: ValueError: no luck"
    first, alone, _ = found.proxies
    assert (first.agreement_with_reference.networks, alone.agreement_with_reference.networks) == (5, 7)
    assert first.note == ("22,000 images each at 33 to 76 px; 2 trials failed: KeyError: x; 2 networks left out")
    assert first.agreement_with_published.networks == 6  # which need no reference


def test_a_proxy_without_results_is_listed_with_the_reason():
    failed = Order({}, 0.0, None, "8 trials failed: ValueError: no luck")
    found = make({"": order_of(PICKED, published), SMALL_INPUT: failed, SYNFLOW: Order({}, failed="too deep")})
    small, synflow, alone, _ = found.proxies
    assert not small.is_made and small.agreement_with_published is None and alone.is_made
    assert small.note == "8 trials failed: ValueError: no luck; 0 networks have a result, at least 3 are compared"
    assert synflow.note.endswith("no training; too deep; 0 networks have a result, at least 3 are compared")


def test_what_can_not_be_made_at_all_is_listed_with_the_reason():
    refused = replace(CALIBRATION, refused=((SHARED_WEIGHTS, "kernel: 3, 5 given"),))
    found = make({"": order_of(PICKED, published)}, refused)
    assert [proxy.name for proxy in found.proxies] == [MADDS_ALONE, EXECUTED, SHARED_WEIGHTS]
    assert found.proxies[2].note == "can't be made: kernel: 3, 5 given" and not found.proxies[2].is_made


def test_without_a_reference_there_is_no_passport():
    reference = order_of(PICKED[:2], published, failed="6 trials failed: ValueError: no luck")
    with pytest.raises(SweepError) as raised:
        make({"": reference})
    assert str(raised.value) == (
        "calibrate: 2 of 8 networks have a result on the longer schedule, at least 3 are needed (6 trials failed: "
        "ValueError: no luck); --retry-failed tries again"
    )


def test_networks_that_nobody_published_are_compared_with_the_reference_alone():
    archs = tuple(ArchSpec(width=width, resolution=100) for width in (0.35, 0.5, 0.75, 1.0))
    ours = replace(CALIBRATION, picked=archs, published=())
    alone, _ = make({"": order_of(archs, lambda arch: arch.width)}, ours).proxies
    assert alone.agreement_with_reference.tau == 1.0
    assert alone.agreement_with_published is None and alone.agreement_with_all_published is None
