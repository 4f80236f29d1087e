"""Differences image by image: what they hold, and that their intervals are as good as they say."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mnv2_sweep.analysis.answers import (
    Spread,
    compare_answers,
    find_difference,
    load_answers,
    pool_spread,
    score_interval,
)
from mnv2_sweep.analysis.odds import load_odds
from mnv2_sweep.base.intervals import wilson_interval
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.report.tables import results_text
from mnv2_sweep.trials.terms import pack_terms
from tests.answer_samples import answers_of, draw_world

ARCHS = (ArchSpec(width=0.35), ArchSpec(width=1.0))
RIGHT = np.array([True, True, False, False])


def terms_of(right: np.ndarray, losses: np.ndarray | None = None) -> bytes:
    return pack_terms({"val": {"top1": right, "loss": np.ones(len(right)) if losses is None else losses}})


@pytest.fixture
def write(tmp_path, make_trial, make_result):
    """write((place in ARCHS, seed, bytes), ...) -> folder and table of trials."""

    def make(*runs):
        for at, seed, each in runs:
            record(tmp_path / "mine", Outcome(make_trial(seed, arch=ARCHS[at]), make_result(each=each)))
        return tmp_path / "mine", load_frame(tmp_path / "mine")

    return make


def test_answers_are_loaded_cheapest_first_with_their_seeds(write):
    folder, frame = write((1, 0, terms_of(RIGHT)), (0, 3, terms_of(~RIGHT)), (0, 1, terms_of(RIGHT)))
    answers = load_answers(folder, frame)
    assert answers.seeds == ((1, 3), (0,)) and answers.images == 4
    assert np.array_equal(answers.terms[0], [RIGHT, ~RIGHT]) and np.array_equal(answers.losses[1], [[-1] * 4])
    assert load_answers(folder, frame, "test") is None and load_answers(folder, frame[:0]) is None


def test_each_kind_of_start_has_odds_of_its_own(write, monkeypatch):
    folder, frame = write(*((at, seed, terms_of(RIGHT)) for at, seed in ((0, 0), (1, 0), (1, 1))))
    odds = load_odds(folder, frame.assign(init=["scratch", "imagenet", "imagenet"]))
    assert {kind: len(one.networks) for kind, one in odds.items()} == {"scratch": 1, "imagenet": 1}
    assert len(load_odds(folder, frame)["scratch"].networks) == 2
    monkeypatch.setattr("mnv2_sweep.analysis.odds.MOST_NETWORKS", 1)
    assert load_odds(folder, frame) is None
    assert load_odds(folder, frame[:0]) is None and load_odds(folder, frame.assign(status="failed")) is None


def test_answers_that_are_too_many_are_not_read_and_that_is_said(write, monkeypatch):
    folder, frame = write(*((at, seed, terms_of(RIGHT)) for at in (0, 1) for seed in (0, 1)))
    most = int(frame["val_images"].sum())
    for module in ("mnv2_sweep.analysis.odds", "mnv2_sweep.report.tables"):
        monkeypatch.setattr(f"{module}.MOST_ANSWERS", most)
    assert "how sure the front is" not in results_text(frame, odds=load_odds(folder, frame))
    for module in ("mnv2_sweep.analysis.odds", "mnv2_sweep.report.tables"):
        monkeypatch.setattr(f"{module}.MOST_ANSWERS", most - 1)
    monkeypatch.setattr("mnv2_sweep.analysis.answers.read_each", lambda folder: pytest.fail("read all the same"))
    assert load_odds(folder, frame) is None
    assert "how sure the front is: for up to 500 networks and 0 million answers" in results_text(frame)


@pytest.mark.parametrize(
    "each", [b"", b"damaged", terms_of(RIGHT[:3]), pack_terms({"val": {"loss": np.ones(4)}})],
    ids=["none", "damaged", "other images", "no main score"],
)  # fmt: skip
def test_without_every_result_s_images_nothing_is_said(write, each):
    assert load_answers(*write((1, 0, terms_of(RIGHT)), (0, 0, each))) is None


def test_what_both_find_hard_drops_out():
    random = np.random.default_rng(0)
    hard = random.random(1000) < 0.5
    both = answers_of([hard], [hard & (random.random(1000) < 0.98)])
    one = find_difference(both, 0, 1)
    assert one.mean == pytest.approx(hard.mean() - both.terms[1].mean(), abs=1e-6) and one.low > 0 and one.above > 0.99
    assert one.high - one.low < 0.03  # two Wilson intervals are 0.06 wide each
    assert not one.knows_seeds and one.seeds == 1
    other = find_difference(both, 1, 0)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_equal_answers_are_not_known_to_be_equal_for_ever():
    same = find_difference(answers_of([RIGHT] * 1, [RIGHT] * 1), 0, 1)
    assert same.low < 0 == same.mean < same.high and same.above == 0.5
    assert find_difference(answers_of([RIGHT], [RIGHT], is_fraction=False), 0, 1).high == 0


def test_networks_without_a_seed_in_common_are_no_pair(write):
    folder, frame = write((1, 0, terms_of(RIGHT)), (0, 1, terms_of(~RIGHT)))
    assert find_difference(load_answers(folder, frame), 0, 1) is None


def test_the_loss_has_its_own_difference():
    answers = answers_of([RIGHT], [~RIGHT])
    assert find_difference(answers, 0, 1, of_loss=True).mean == 0.0
    assert find_difference(answers_of([RIGHT], [RIGHT & False]), 0, 1, of_loss=True).mean == 0.5


def test_the_spread_over_seeds_is_without_what_is_the_images():
    random = np.random.default_rng(0)
    moved = [random.normal(0, 0.1, (6, 1)) + random.standard_normal((6, 500)) for _ in range(40)]
    still = [random.standard_normal((6, 500)) for _ in range(40)]
    assert pool_spread(moved).variance == pytest.approx(0.01, rel=0.3) and pool_spread(moved).freedom == 200
    assert pool_spread(still).variance < 0.001 and pool_spread([rows[:1] for rows in still]).freedom == 0


@pytest.mark.parametrize("seeds, of_seeds", [(1, 0.0), (2, 0.05), (3, 0.05), (3, 0.2), (5, 0.2)])
def test_the_joint_interval_covers_93_to_97_percent(seeds, of_seeds):
    random, covered, tried = np.random.default_rng(3), 0, 0
    for _ in range(300):
        _, truth, answers = draw_world(random, 6, 400, seeds, of_seeds=of_seeds)
        for one, other in ((0, 3), (1, 4), (2, 5)):
            found = find_difference(answers, one, other)
            covered += found.low <= truth[one] - truth[other] <= found.high
            tried += 1
    assert 0.93 <= covered / tried <= 0.97


@pytest.mark.parametrize("seeds, of_seeds", [(1, 0.0), (2, 0.05), (3, 0.2), (5, 0.2)])
def test_the_interval_of_a_score_covers_93_to_97_percent(seeds, of_seeds):
    random, covered = np.random.default_rng(4), []
    for _ in range(150):
        _, truth, answers = draw_world(random, 6, 400, seeds, of_seeds=of_seeds)
        ends = [score_interval(rows, answers.spread, True) for rows in answers.terms]
        covered += [low <= true <= high for (low, high), true in zip(ends, truth, strict=True)]
    assert 0.92 <= np.mean(covered) <= 0.98  # six of a world share their images, so that 900 tell less than they seem


def test_the_interval_of_one_seed_is_wilson_s_and_of_no_share_student_s():
    right = np.arange(100)[None] < 30
    assert score_interval(right, Spread(0.0, 0), True) == pytest.approx(wilson_interval(0.3, 100))
    assert score_interval(np.ones((2, 50)), Spread(0.0, 1), True) == pytest.approx(wilson_interval(1.0, 50))
    ends = score_interval(np.arange(9.0)[None], Spread(0.0, 0), False)
    assert ends == pytest.approx(scipy_stats.ttest_1samp(np.arange(9), 0).confidence_interval(0.95))
    low, high = score_interval(right, Spread(0.01, 4), True)
    assert low == 0.3 - np.hypot(0.3 - wilson_interval(0.3, 100)[0], 0.1 * scipy_stats.t.ppf(0.975, 4)) and high < 1


def test_over_images_alone_several_seeds_would_be_too_sure():
    random, covered = np.random.default_rng(5), 0
    for _ in range(200):
        _, truth, answers = draw_world(random, 2, 400, 3, of_seeds=0.2)
        differences = answers.terms[0] - answers.terms[1]
        half = 1.96 * differences.mean(0).std(ddof=1) / 20
        covered += abs(differences.mean() - truth[0] + truth[1]) <= half
    assert covered / 200 < 0.85


def test_means_are_exact_for_any_number_of_rows():
    mean, half = compare_answers(np.eye(3), np.zeros((3, 3)), pool_spread([np.eye(3)]))
    assert mean == pytest.approx(1 / 3) and half >= 0
