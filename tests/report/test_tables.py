"""What the tables say about done, failed and untested trials, and that programs get the same numbers."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.analysis.answers import Answers
from mnv2_sweep.analysis.odds import UNKNOWN_ODDS, find_odds, front_text, probability_text
from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.text import align, megabytes, millions, percent
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.report.tables import frame_csv, frame_json, network_table, results_text, trials_table
from mnv2_sweep.trials.recipe import SCRATCH
from tests.answer_samples import answers_of

SMALL, LARGE = ArchSpec(width=0.35, resolution=96), ArchSpec(width=1.0, resolution=96)
UNTESTED = {"test_top1": None, "test_loss": None, "test_images": 0}


@pytest.fixture
def load_trials(tmp_path, make_trial, make_result):
    """load_trials((arch, seed, top-1 or None for a failure), ..., any field of Result) -> the table, read from disk."""

    def load(*runs, **changes):
        for arch, seed, top1 in runs:
            trial = make_trial(seed, arch=arch)
            outcome = Outcome(trial, error="ValueError: no luck") if top1 is None else None
            record(tmp_path / "mine", outcome or Outcome(trial, make_result(val_top1=top1, **changes)))
        return load_frame(tmp_path / "mine")

    return load


def test_results_of_two_networks(load_trials):
    trials = load_trials((LARGE, 0, 0.7), (SMALL, 0, 0.5), (SMALL, 1, 0.6), val_images=1000, test_images=500)
    lines = results_text(trials).splitlines()
    assert lines[:2] == ["mine: data toy, recipe tiny, cpu", ""]
    assert lines[2].split("  ")[-1] == "seconds" and "test top-1" in lines[2]
    small, large = lines[3].split(), lines[4].split()
    assert small[:4] == ["*", "0.35", "at", "96"] and small[4].endswith("M") and "±63.5" in small  # t(0.975, 1) x sd
    assert large[:4] == ["*", "1.0", "at", "96"] and "70.0" in large and not any("±" in cell for cell in large)
    assert lines[6].startswith(
        "best on validation: 1.0 at 96, trained at 96 px: top-1 70.0 % (95 % 67.1 to 72.8 over 1000 images), "
        "chosen among 2, which flatters it, by how much is not known; on test 40.0 % (35.8 to 44.4 over 500)"
    )
    assert lines[7].startswith("* = on the front") and lines[8] == UNKNOWN_ODDS and len(lines) == 9


def test_seeds_are_named_with_the_best(load_trials):
    text = results_text(load_trials((SMALL, 0, 0.5), (SMALL, 1, 0.6)))
    assert "top-1 55.0 % (95 % 37.7 to 71.2 over 30 images, ±63.5 over 2 seeds)" in text


def test_without_a_test_split_there_is_no_column(load_trials):
    trials = load_trials((SMALL, 0, 0.5), **UNTESTED)
    assert "test" not in results_text(trials)
    assert trials_table(trials)[1][5] == "-"


def test_failures_are_counted_named_and_never_zero(load_trials):
    trials = load_trials((SMALL, 0, 0.5), (SMALL, 1, None), (LARGE, 0, None))
    text = results_text(trials)
    assert "failed: 0.35 at 96, seed 1: ValueError: no luck" in text and "failed: 1.0 at 96, seed 0: " in text
    table = network_table(summarise(trials))
    columns = {name: [row[i] for row in table[1:]] for i, name in enumerate(table[0])}
    assert (columns["seeds"], columns["failed"], columns["val top-1"]) == (["1", "0"], ["1", "1"], ["50.0", "-"])
    assert columns["front"] == ["*", ""] and columns["seconds"] == ["2", "-"]


def test_the_device_of_a_failed_trial_is_not_made_up(load_trials):
    assert results_text(load_trials((SMALL, 0, 0.5), (SMALL, 1, None))).startswith("mine: data toy, recipe tiny, cpu\n")


def test_only_failures(load_trials):
    text = results_text(load_trials((SMALL, 0, None)))
    assert "no trial has a result yet\nfailed: 0.35 at 96, seed 0: ValueError: no luck" in text


def test_the_published_order_is_compared_from_three_networks_on(load_trials):
    archs = [checkpoint.arch for checkpoint in CHECKPOINTS if checkpoint.arch.resolution == 96]
    few = [(arch, 0, 0.2 * arch.width) for arch in archs]
    assert "published" not in results_text(load_trials(*few[:2]))
    text = results_text(load_trials(*few))
    assert f"order of {len(archs)} published networks: Kendall tau 1.000 with the published top-1" in text


def test_what_the_order_is_worth_ends_the_text(load_trials):
    trials = load_trials((SMALL, 0, 0.5), (LARGE, 0, 0.7))
    lines = results_text(trials, ["calibrated on toy", "within 25 %"]).splitlines()
    assert lines[-2:] == ["calibrated on toy", "within 25 %"] and lines[:-2] == results_text(trials).splitlines()


def test_trials_have_a_row_each(load_trials):
    rows = trials_table(load_trials((SMALL, 0, 0.5), (LARGE, 3, 0.7)))
    assert rows[1] == ["0.35 at 96", "96 px", "0", "done", "50.0", "40.0", "48", "2", ""]
    assert [row[2] for row in rows[1:]] == ["0", "3"] and {len(row) for row in rows} == {9}


def test_trials_that_failed_stand_beside_those_that_did_not(load_trials):
    rows = trials_table(load_trials((SMALL, 0, 0.5), (SMALL, 1, None)))
    assert [row[3:6] + row[8:] for row in rows[1:]] == [
        ["done", "50.0", "40.0", ""],
        ["failed", "-", "-", "ValueError: no luck"],
    ]
    assert "nan" not in align(rows)


def test_columns_are_aligned():
    rows = [["network", "seed", "error"], ["a", "7", ""], ["longer one", "123", "why"]]
    assert align(rows).splitlines() == ["network     seed  error", "a              7", "longer one   123  why"]


def test_json_and_csv_hold_the_frame(load_trials):
    trials = load_trials((SMALL, 0, 1 / 3), (LARGE, 1, None))
    for frame in (trials, summarise(trials)):
        rows = json.loads(frame_json(frame))
        read = pd.read_csv(io.StringIO(frame_csv(frame)))
        assert [list(row) for row in rows] == [list(frame.columns)] * len(frame)
        assert list(read.columns) == list(frame.columns) and not frame_csv(frame).endswith("\n")
        for name in frame.columns:
            for value, in_json, in_csv in zip(frame[name], (row[name] for row in rows), read[name], strict=True):
                if pd.isna(value):
                    assert in_json is None and pd.isna(in_csv)
                else:
                    assert in_json == (pytest.approx(value, rel=1e-14) if isinstance(value, float) else value)
                    assert in_csv == value  # floats to the last bit


def test_json_of_nothing_is_an_empty_list():
    assert json.loads(frame_json(summarise(pd.DataFrame()))) == []


@pytest.mark.parametrize(
    "shown, text",
    [
        (millions(300_774_272), "300.8M"), (millions(3_504_872, 2), "3.50M"), (millions(12_345_678_901), "12,345.7M"),
        (megabytes(6_422_528), "6.42 MB"), (percent(0.5), "50.0"), (percent(1.0), "100.0"), (percent(np.nan), "-"),
        (percent(None), "-"),
    ],
    ids=lambda value: str(value),
)  # fmt: skip
def test_numbers_for_people(shown, text):
    assert shown == text


def test_what_tuning_did_to_the_probes(load_trials):
    trials = load_trials((LARGE, 0, 0.7), (SMALL, 0, 0.5), val_probe_top1=0.6, test_probe_top1=0.6)
    lines = results_text(trials).splitlines()
    assert "tuning changed top-1 on validation by -10.0 to 10.0 points from the probes" in lines
    worse = [line for line in lines if line.startswith("tuning made it worse")]
    assert worse == ["tuning made it worse: 0.35 at 96, seed 0: top-1 60.0 % as a probe, 50.0 % after"]
    alone = results_text(trials[trials["val_top1"] == 0.5])
    assert "tuning changed top-1 on validation by -10.0 points from its probe" in alone.splitlines()
    assert "tuning" not in results_text(load_trials((LARGE, 3, 0.7)).iloc[-1:].drop(columns="val_probe_top1"))


def test_no_text_of_a_csv_is_a_formula_to_a_spreadsheet():
    frame = pd.DataFrame({"data": ["=1+1", "+x", "-y", "@z", "plain", None], "gain": [-1.5, 2.0, -3.0, 4.0, None, 6.0]})
    lines = frame_csv(frame).splitlines()
    assert lines == ["data,gain", "'=1+1,-1.5", "'+x,2.0", "'-y,-3.0", "'@z,4.0", "plain,", ",6.0"]
    assert frame["data"][0] == "=1+1"


def test_odds_stand_in_the_place_of_the_stars(load_trials):
    trials = load_trials((SMALL, 0, 0.5), (LARGE, 0, 0.7), (ArchSpec(width=0.5, resolution=96), 0, None))
    done = [arch_key(arch) for arch in (SMALL, LARGE)]
    random = np.random.default_rng(0)
    made = answers_of(random.random((1, 400)) < 0.5, random.random((1, 400)) < 0.54)
    odds = find_odds(Answers((*done,), made.seeds, made.terms, made.losses), [1, 2])
    header, *rows = network_table(summarise(trials), {SCRATCH: odds})
    assert header[0] == "on front" and [row[0] for row in rows] == [">99 %", "-", probability_text(odds.on_front[1])]
    text = results_text(trials, odds={SCRATCH: odds})
    assert "by how much is not known" not in text and UNKNOWN_ODDS not in text
    assert ", chosen among 2, their best with " in text and " points (95 % -" in text
    assert f"\non the front: {front_text(odds)} networks, 95 %\non front = how likely it is on the front of " in text
