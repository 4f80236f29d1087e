"""Intervals against scipy and hand-computed values; the summary on small tables of trials."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.analysis.agreement import compare_published
from mnv2_sweep.analysis.stats import kendall_tau, mean_interval, read_facts, start_kinds, summarise, summary_columns
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.intervals import wilson_interval
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.trials.executed import executed_network
from mnv2_sweep.trials.recipe import RECIPES

SMALL, BIG = ArchSpec(width=0.35, resolution=96), ArchSpec(width=0.5, resolution=96)


def make_trial(arch: ArchSpec, seed: int, top1: float | None, **changes) -> dict:
    """A row as `frame` makes it; top1 None is a failed trial."""
    cost, done = count_cost(arch), top1 is not None
    row = {
        "trial_id": f"{arch_key(arch)}-{seed}",
        "sweep": "test",
        "status": "done" if done else "failed",
        "network": arch_label(arch),
        "arch_key": arch_key(arch),
        "family": arch.family,
        "width": arch.width,
        "resolution": arch.resolution,
        "train_size": arch.resolution // 4,
        "recipe": "short",
        "data": "shapes",
        "data_classes": 10,
        "training": "alone",
        "seed": seed,
        "val_top1": top1 if done else np.nan,
        "val_images": 1000 if done else np.nan,
        "test_top1": top1 - 0.01 if done else np.nan,
        "test_images": 2000 if done else np.nan,
        "train_images": 8000 if done else np.nan,
        "seconds": 10.0 + seed if done else np.nan,
        "images_per_second": 100.0 if done else np.nan,
        "peak_memory_bytes": 1000 + seed if done else np.nan,
        "device": "cpu" if done else None,
        "madds": cost.madds,
        "params": cost.params,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "depth": cost.depth,
        "executed_madds": cost.madds,
        "executed_fraction": 1.0,
    }
    return {**row, **changes}


def test_mean_interval_by_hand():
    # mean 0.61, sd 0.01, t(2 degrees, 97.5 %) = 4.302653: half width 4.302653 x 0.01 / sqrt(3)
    mean, low, high = mean_interval([0.60, 0.61, 0.62])
    assert (mean, high - mean, mean - low) == pytest.approx((0.61, 0.0248414, 0.0248414), abs=1e-7)


def test_mean_interval_of_few_values():
    assert mean_interval([0.5])[0] == 0.5 and np.isnan(mean_interval([0.5])[1:]).all()
    assert np.isnan(mean_interval([])).all()


def test_kendall_tau_by_hand():
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)  # 5 pairs agree, 1 does not, of 6
    assert kendall_tau([1, 2, 2], [1, 2, 3]) == pytest.approx(2 / np.sqrt(2 * 3))  # tau-b: one tie in x
    assert np.isnan(kendall_tau([1], [1])) and np.isnan(kendall_tau([1, 1], [1, 2]))


def test_summary_of_seeds_and_failures():
    trials = [
        make_trial(BIG, 0, 0.7),
        make_trial(SMALL, 0, 0.60),
        make_trial(SMALL, 1, 0.62),
        make_trial(SMALL, 2, None),
    ]
    summary = summarise(pd.DataFrame(trials))
    assert list(summary.columns) == summary_columns("top1")
    assert summary["network"].tolist() == ["0.35 at 96", "0.5 at 96"]  # in order of MAdds
    small, big = summary.iloc[0], summary.iloc[1]
    assert (small["seeds"], small["failed"], big["seeds"], big["failed"]) == (2, 1, 1, 0)
    assert (small["top1"], small["top1_sd"]) == pytest.approx((0.61, 0.0141421356))
    assert small["seed_half_width"] == pytest.approx(12.7062047 * 0.01)  # t(1 degree) x sd / sqrt(2)
    assert np.isnan(big["top1_sd"]) and np.isnan(big["seed_half_width"])
    assert (small["low"], small["high"]) == wilson_interval(small["top1"], 1000)  # images, not images x seeds
    assert (small["test_low"], small["test_high"]) == wilson_interval(small["test_top1"], 2000)
    assert (small["seconds"], small["peak_memory_bytes"], small["val_images"]) == (10.5, 1001, 1000)
    assert (small["published_top1"], big["published_top1"]) == (0.455, 0.512)
    assert summary["on_front"].tolist() == [True, True]


def test_network_without_a_result_keeps_its_row():
    summary = summarise(pd.DataFrame([make_trial(SMALL, 0, None), make_trial(BIG, 0, 0.1)]))
    lost = summary.iloc[0]
    assert (lost["seeds"], lost["failed"], lost["on_front"]) == (0, 1, False)
    assert lost[["top1", "low", "high", "val_images", "test_top1", "seconds"]].isna().all()
    assert lost["madds"] == count_cost(SMALL).madds and summary["on_front"].tolist() == [False, True]


def test_only_failures_and_no_trials():
    summary = summarise(pd.DataFrame([make_trial(SMALL, 0, None)]))
    assert summary["top1"].isna().all() and compare_published(summary) is None
    assert list(summarise(pd.DataFrame([])).columns) == summary_columns("top1")


def test_data_without_a_test_split():
    row = summarise(pd.DataFrame([make_trial(SMALL, 0, 0.5, test_top1=np.nan, test_images=0)])).iloc[0]
    assert row[["test_top1", "test_low", "test_high"]].isna().all() and row["test_images"] == 0


def test_a_trial_held_by_two_sweeps_counts_once():
    trials = [make_trial(SMALL, 0, None), make_trial(SMALL, 0, 0.6), make_trial(SMALL, 0, 0.6, sweep="other")]
    row = summarise(pd.DataFrame(trials)).iloc[0]
    assert (row["seeds"], row["failed"]) == (1, 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": "photos"}, "data photos, shapes"),
        ({"recipe": "long"}, "recipe long"),
        ({"train_size": 96}, "24 px.*96 px"),
        ({"train_size": "160x120"}, "24 px and at 160x120 px"),
        ({"train_size": "100x4"}, "at 100x4 px and at 24 px"),
    ],
    ids=["data", "recipe", "size", "rectangle", "smaller-rectangle"],
)
def test_trials_that_cannot_be_averaged_are_refused(changes, message):
    trials = [make_trial(SMALL, 0, 0.6), make_trial(SMALL, 1, 0.7, trial_id="other", **changes)]
    with pytest.raises(SweepError, match=message):
        summarise(pd.DataFrame(trials))


def test_published_networks_are_known_by_all_but_their_classes():
    ours = [
        ArchSpec(width=0.5, resolution=96, classes=10),
        ArchSpec(width=0.5, resolution=96, kernel=5),
        ArchSpec(width=0.6),
    ]
    summary = summarise(pd.DataFrame([make_trial(arch, 0, 0.5) for arch in ours])).set_index("network")
    assert summary["published_top1"].dropna().to_dict() == {"0.5 at 96": 0.512}


def test_compare_published_in_published_order():
    trials = [make_trial(c.arch, 0, c.top1_percent / 100) for c in CHECKPOINTS]
    same = compare_published(summarise(pd.DataFrame(trials)))
    ours = same.ours
    assert (ours.networks, ours.tau, ours.near_same) == (22, pytest.approx(1), ours.near_pairs)
    assert same.near_tied == 1  # 1.0 at 96 and 0.35 at 224, both 60.3
    assert same.executed is None  # at the nominal size
    turned = [{**trial, "val_top1": 1 - trial["val_top1"]} for trial in trials]
    turned = compare_published(summarise(pd.DataFrame(turned)))
    assert turned.ours.tau == pytest.approx(-1) and turned.ours.near_same == 0
    assert turned.ours.near_pairs == same.ours.near_pairs > 10
    assert turned.madds.tau == same.madds.tau == pytest.approx(0.948, abs=0.01)


def test_compare_published_beside_the_madds_that_are_executed():
    third = replace(RECIPES["short"], input_scale=0.34)
    trials = [make_trial(c.arch, 0, c.top1_percent / 100) for c in CHECKPOINTS]
    for trial, checkpoint in zip(trials, CHECKPOINTS, strict=True):
        trial["executed_madds"] = count_cost(executed_network(checkpoint.arch, third)).madds
    found = compare_published(summarise(pd.DataFrame(trials)))
    assert (round(found.madds.tau, 3), found.madds.near_same) == (0.954, 16)
    assert (round(found.executed.tau, 3), found.executed.near_same, found.executed.near_pairs) == (0.894, 12, 21)


def test_compare_published_needs_three_networks():
    assert compare_published(summarise(pd.DataFrame([make_trial(SMALL, 0, 0.5), make_trial(BIG, 0, 0.6)]))) is None


def test_kinds_of_start_are_not_one_order():
    rows = [make_trial(SMALL, 0, 0.4, init="scratch"), make_trial(BIG, 0, 0.5, init="scratch")]
    rows += [make_trial(SMALL, 0, 0.8, init="imagenet", recipe="tune", training="tune")]
    summary = summarise(pd.DataFrame(rows))
    assert summary["on_front"].all() and start_kinds(summary) == ["scratch", "imagenet"]
    assert [*summary["network"]] == ["0.35 at 96, from scratch", "0.5 at 96, from scratch", "0.35 at 96, from imagenet"]
    assert [*summary["top1"]] == [0.4, 0.5, 0.8]
    facts = read_facts(pd.DataFrame(rows))
    assert (facts.recipe, facts.train_images) == ("short, tune", None)
    alone = summarise(pd.DataFrame(rows[2:]))
    assert alone["network"][0] == "0.35 at 96" and alone["init"][0] == "imagenet"
    with pytest.raises(SweepError, match="data"):
        summarise(pd.DataFrame([rows[0], {**rows[2], "data": "other"}]))
