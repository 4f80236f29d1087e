"""What networks made of each class, from records; the numbers by hand."""

import numpy as np
import pytest

from mnv2_sweep.analysis.classes import (
    Given,
    balanced_interval,
    best_networks,
    guess_score,
    guess_text,
    load_given,
    tabulate_classes,
)
from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.intervals import wilson_interval
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import Outcome, read_each, read_truth, record, write_truth
from mnv2_sweep.trials.tasks import BALANCED, MACRO_F1, TOP1, TOP5, Score
from mnv2_sweep.trials.terms import MISTAKEN, Truth, pack_terms
from mnv2_sweep.trials.trial import trial_id

TRUTH = Truth(("cat", "dog", "owl"), {"val": np.array([0, 0, 0, 0, 1, 1, 2]), "test": np.array([2, 1])})
ARCHS = [ArchSpec(width=width, resolution=96) for width in (0.35, 0.5)]
SEEDS = [[0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 0]]


def pack(given: list[int], tested: list[int]) -> bytes:
    terms = {}
    for split, values in (("val", np.array(given)), ("test", np.array(tested))):
        right = values == TRUTH.labels[split]
        terms[split] = {"top1": right, "loss": np.ones(len(values)), MISTAKEN: values[~right]}
    return pack_terms(terms)


@pytest.fixture
def folder(tmp_path, make_trial, make_result):
    """A sweep of two networks with two seeds each."""
    for seed, given in enumerate(SEEDS):
        for arch, top1 in zip(ARCHS, (0.5, 0.25), strict=True):
            trial = make_trial(seed, arch=arch)
            record(tmp_path / "s", Outcome(trial, make_result(each=pack(given, [2, 2]), val_top1=top1)))
    write_truth(tmp_path / "s", trial.data.fingerprint, TRUTH)
    return tmp_path / "s"


def test_each_class_by_hand(folder):
    frame = load_frame(folder)
    first, tested, second, _ = load_given(folder, frame)
    assert (first.network, first.split, first.seeds, tested.split) == ("0.35 at 96", "val", 2, "test")
    assert np.array_equal(first.predicted, SEEDS) and second.network == "0.5 at 96"
    assert first.confusion().tolist() == [[3.5, 0.5, 0], [0.5, 1.5, 0], [1, 0, 0]]
    table = tabulate_classes(first).set_index("class")
    assert table["images"].tolist() == [4, 2, 1]
    assert table["recall"].tolist() == [7 / 8, 3 / 4, 0]
    assert table["predicted"].tolist() == [5, 2, 0]
    assert table["precision"].tolist()[:2] == [7 / 10, 3 / 4] and np.isnan(table["precision"]["owl"])
    assert table["f1"].tolist() == pytest.approx([2 * 3.5 / 9, 2 * 1.5 / 4, 0])
    assert (table["low"]["cat"], table["high"]["cat"]) == wilson_interval(7 / 8, 4)
    assert table["taken_for"].tolist() == ["dog", "cat", "cat"]
    assert table["taken_for_share"].tolist() == [1 / 8, 1 / 4, 1]
    cat = tabulate_classes(tested).set_index("class").loc["cat"]
    assert cat["images"] == 0 and np.isnan(cat["recall"]) and np.isnan(cat["low"]) and cat["taken_for"] == ""


def test_only_the_networks_that_are_asked_for_are_read(folder):
    frame = load_frame(folder)
    (key,) = best_networks(summarise(frame))
    assert [given.network for given in load_given(folder, frame, {key})] == ["0.35 at 96"] * 2


def test_truths_stay_with_their_data_and_a_name_is_kept_as_it_is(folder, make_trial):
    fingerprint = make_trial().data.fingerprint
    write_truth(folder, fingerprint, TRUTH._replace(classes=("a", "b", "c")))  # what stands there stays
    write_truth(folder, "other", TRUTH._replace(classes=("é\n=1", "b", "c")))
    found = read_truth(folder)
    assert found.classes == TRUTH.classes
    assert all(np.array_equal(found.labels[split], TRUTH.labels[split]) for split in ("val", "test"))
    assert found.counts("val").tolist() == [4, 2, 1] and found.counts("nowhere").tolist() == [0, 0, 0]


def test_what_is_not_on_record_is_said(tmp_path, make_trial, make_result):
    record(tmp_path, Outcome(make_trial(), make_result()))
    with pytest.raises(StoreError, match="not on record of all results .an earlier version, or --no-images"):
        list(load_given(tmp_path, load_frame(tmp_path)))
    write_truth(tmp_path, make_trial().data.fingerprint, TRUTH)
    with pytest.raises(StoreError, match="not on record of all results"):
        list(load_given(tmp_path, load_frame(tmp_path)))
    record(tmp_path / "failed", Outcome(make_trial(), error="died"))
    with pytest.raises(StoreError, match="no trial has a result yet"):
        list(load_given(tmp_path / "failed", load_frame(tmp_path / "failed")))
    assert read_truth(tmp_path / "nowhere") is None


def test_of_some_trials_alone_what_they_made_of_images_is_read(folder, make_trial):
    wanted = trial_id(make_trial(1, arch=ARCHS[1]))
    assert read_each(folder, [wanted, "nobody"]).keys() == {wanted} and len(read_each(folder)) == 4


@pytest.mark.parametrize(
    ("score", "counts", "guess"),
    [
        (TOP1, [96, 4], 0.96),
        (TOP1, [5, 5, 5], 1 / 3),
        (BALANCED, [96, 4], 0.5),
        (BALANCED, [9, 0, 1], 0.5),
        (TOP5, [5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 9 / 15),
        (MACRO_F1, [96, 4], 2 * 0.96 / 1.96 / 2),
        (MACRO_F1, [5, 5], 0.5),  # any class as often: precision and recall of a half
    ],
)
def test_what_guessing_reaches(score, counts, guess):
    assert guess_score(score, np.array(counts)) == pytest.approx(guess)


def test_what_guessing_reaches_of_another_score_is_not_known():
    assert np.isnan(guess_score(Score("mae", "mean error"), np.array([1, 2])))
    assert guess_text(TRUTH, TOP1) == "guessing: 57.1 % of the validation images are of the largest class, cat"
    assert guess_text(TRUTH, BALANCED).endswith("cat; without looking balanced accuracy 33.3 % at most")


def test_the_interval_of_balanced_accuracy_covers_it_in_19_of_20_samples():
    """Recall 0.9 of a class of 200 images and 0.5 of one of 20: 2,000 samples."""
    random, labels, inside = np.random.default_rng(0), np.repeat([0, 1], (200, 20)), 0
    truth = Truth(("a", "b"), {"val": labels})
    for _ in range(2000):
        right = random.random(220) < np.where(labels == 0, 0.9, 0.5)
        low, high = balanced_interval(
            tabulate_classes(Given("n", "k", "val", truth, np.where(right, labels, 1 - labels)[np.newaxis]))
        )
        inside += low <= 0.7 <= high
    assert 0.94 < inside / 2000 < 0.98
