"""The changed network, and pairs found again in a table of trials."""

from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.errors import SweepError
from mnv2_sweep.results.ablate import LINEAR_BOTTLENECK, ablated, find_pairs, parse_base
from mnv2_sweep.results.frame import load_frame
from mnv2_sweep.sweeps.store import Outcome, record

LINEAR = ArchSpec(width=0.5, resolution=160)
RELU6 = replace(LINEAR, linear_bottleneck=False)


@pytest.mark.parametrize(
    "text, width, resolution", [("1.0@160", 1.0, 160), ("0.35@96", 0.35, 96), (" 1@224 ", 1.0, 224)], ids=str
)
def test_a_base_is_a_width_and_a_resolution(text, width, resolution):
    assert parse_base(text) == ArchSpec(width=width, resolution=resolution)


@pytest.mark.parametrize(
    "text", ["", "1.0", "@96", "1.0@", "1.0@96.5", "-1@96", "1e0@96", "1.0@96@3", "x@96", "1.0 @ 96"]
)
def test_any_other_base_is_refused(text):
    with pytest.raises(SweepError) as caught:
        parse_base(text)
    assert str(caught.value) == f"--base {text}: a width and a resolution are wanted, as in 1.0@96"


def test_the_ablation_changes_one_field():
    assert ablated(LINEAR, LINEAR_BOTTLENECK) == RELU6
    assert ablated(RELU6, LINEAR_BOTTLENECK) == RELU6


@pytest.fixture
def load_trials(tmp_path, make_trial, make_result):
    """load_trials({arch: {seed: top-1, or None for a failure}}) -> the table, as read from disk."""

    def load(top1s):
        for arch, of_arch in top1s.items():
            for seed, top1 in of_arch.items():
                trial = make_trial(seed, arch=arch, input_scale=0.25)
                outcome = Outcome(trial, error="died") if top1 is None else Outcome(trial, make_result(val_top1=top1))
                record(tmp_path, outcome)
        return load_frame(tmp_path)

    return load


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 1, 3, 2, 0, 4]], ids=["as recorded", "shuffled"])
def test_seeds_are_paired_whatever_the_order_of_the_rows(load_trials, order):
    trials = load_trials({LINEAR: {0: 0.61, 1: 0.65, 2: 0.60}, RELU6: {2: 0.61, 1: 0.62, 0: 0.60}})
    (pair,) = find_pairs(trials.iloc[order], LINEAR_BOTTLENECK)
    assert (pair.values_a, pair.values_b) == ((0.61, 0.65, 0.60), (0.60, 0.62, 0.61))
    assert pair.difference.difference == pytest.approx(0.01) and pair.difference.n == 3
    assert pair.difference.high - 0.01 == pytest.approx(0.01 - pair.difference.low) == pytest.approx(0.0497, abs=1e-4)
    assert (pair.network, pair.label_a, pair.label_b) == ("0.5 at 160", "linear bottleneck", "ReLU6 in the bottleneck")
    assert (pair.published_gap, pair.failed, pair.train_size, pair.val_images) == (0.58, 0, 40, 30)
    assert (pair.facts.data, pair.facts.recipe, pair.facts.classes, pair.facts.device) == ("toy", "tiny", 3, "cpu")


def test_a_seed_of_one_side_only_is_left_out_and_failures_are_counted(load_trials):
    trials = load_trials({LINEAR: {0: 0.5, 1: None, 2: 0.6, 3: 0.7}, RELU6: {0: 0.4, 1: 0.5, 2: None, 3: 0.5, 4: 0.9}})
    (pair,) = find_pairs(trials, LINEAR_BOTTLENECK)
    assert (pair.values_a, pair.values_b, pair.failed) == ((0.5, 0.7), (0.4, 0.5), 2)


def test_every_base_of_the_table_is_found_and_no_other_network(load_trials):
    second, values = ArchSpec(width=1.0, resolution=96), {0: 0.5, 1: 0.6}
    others = [ArchSpec(width=0.35, resolution=96), replace(RELU6, kernel=5), replace(LINEAR, residual="none")]
    both = [LINEAR, RELU6, second, ablated(second, LINEAR_BOTTLENECK)]
    pairs = find_pairs(load_trials(dict.fromkeys([*others, *both], values)), LINEAR_BOTTLENECK)
    assert [pair.network for pair in pairs] == ["0.5 at 160", "1.0 at 96"]


def test_one_seed_has_no_interval(load_trials):
    (pair,) = find_pairs(load_trials({LINEAR: {7: 0.5}, RELU6: {7: 0.25}}), LINEAR_BOTTLENECK)
    assert (pair.difference.difference, pair.difference.n) == (0.25, 1)
    assert np.isnan([pair.difference.low, pair.difference.high]).all()


@pytest.mark.parametrize(
    "top1s",
    [
        {},
        {LINEAR: {0: 0.5, 1: 0.5}},
        {LINEAR: {0: None, 1: None}, RELU6: {0: 0.5, 1: 0.5}},
        {LINEAR: {0: None, 1: 0.5}, RELU6: {0: 0.5, 1: None}},
        {LINEAR: {0: 0.5}, replace(RELU6, resolution=96): {0: 0.5}},
    ],
    ids=["empty", "one side", "one side failed", "no seed in common", "other resolution"],
)
def test_no_pair_is_made_up(load_trials, top1s):
    assert find_pairs(load_trials(top1s), LINEAR_BOTTLENECK) == []
