"""Pairs of networks as rows, and what is said of them."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from mnv2_sweep.analysis.answers import Answers, compare_answers, load_answers, pool_spread
from mnv2_sweep.analysis.pairs import list_pairs, pairs_table, settled_text, splits_text
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.trials.tasks import TOP1
from tests.answer_samples import answers_of
from tests.plot_samples import PAPER, make_trials

ARCHS = sorted(PAPER, key=lambda arch: count_cost(arch).madds)[:4]  # 11.9, 18.9, 20.2 and 30.9 million


@pytest.fixture
def answers() -> Answers:
    random = np.random.default_rng(0)
    ease = random.random(800)
    made = answers_of(*([ease < skill] for skill in (0.4, 0.5, 0.5, 0.6)))
    return Answers(tuple(map(arch_key, ARCHS)), made.seeds, made.terms, made.losses)


def test_every_pair_cheaper_first_or_those_that_are_near(answers):
    trials = make_trials(ARCHS)
    pairs = list_pairs(answers, trials)
    assert len(pairs) == 6 and (pairs["cheaper_madds"] < pairs["dearer_madds"]).all()
    first = pairs.iloc[0]
    assert (first["cheaper"], first["dearer"], first["seeds"]) == ("0.35 at 96", "0.5 at 96", 1)
    assert first["better_by"] == pytest.approx(0.1, abs=0.03) and first["low"] > 0 and not first["over_seeds"]
    (near,) = list_pairs(answers, trials, near_only=True).to_dict("records")
    assert (near["cheaper"], near["dearer"]) == ("0.5 at 96", "0.35 at 128") and pairs["near"].sum() == 1


def test_what_a_person_sees(answers):
    pairs = list_pairs(answers, make_trials(ARCHS))
    header, *rows = pairs_table(pairs, TOP1)
    assert header[4:7] == ["top-1 better by", "95 %", "better"] and {len(row) for row in rows} == {len(header)}
    assert rows[3][:2] == ["0.5 at 96", "0.35 at 128"] and rows[3][4] == "+0.0" and rows[3][6] == "50 %"
    assert settled_text(pairs, TOP1) == (
        "of 6 pairs, 5 are told apart by top-1 and 5 by the loss: intervals at 95 %, each by itself, paired over the "
        "same images, for these very weights"
    )


def test_validation_and_test_are_held_against_each_other():
    trials = make_trials(PAPER).assign(val_loss=1.0, test_loss=1.0)
    trials["val_loss"] = 2 - trials["val_top1"]
    trials["test_loss"] = 2 + trials["val_top1"]
    text = splits_text(trials)
    assert text.startswith("pairs within 25 % of MAdds in one order on validation and on test: ")
    assert " by top-1" in text and ", 0 of " in text
    assert splits_text(trials.assign(test_top1=np.nan)) == "" == splits_text(trials[:1])


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """McNemar's mid-p of two networks that are right or not on each image."""
    more, less = int((first > second).sum()), int((first < second).sum())
    k, n = min(more, less), more + less
    return min(1.0, 2 * binom.cdf(k, n, 0.5) - binom.pmf(k, n, 0.5)) if n else 1.0


def test_on_real_pairs_our_interval_mcnemar_and_the_paired_bootstrap_agree():
    """Of the committed example, seed by seed: all three tell the same pairs apart, but for some on the edge."""
    folder = Path(__file__).parents[2] / "results" / "example"
    answers, told = load_answers(folder, load_frame(folder)), []
    for seed in range(3):
        rows = np.stack([terms[seed] for terms in answers.terms])
        counts = np.random.default_rng(seed).multinomial(5000, np.full(5000, 1 / 5000), 1000)
        draws = counts @ rows.T / 5000
        for one, other in combinations(range(22), 2):
            low, high = np.percentile(draws[:, one] - draws[:, other], [2.5, 97.5])
            sides = rows[one][None], rows[other][None]
            mean, half = compare_answers(*sides, pool_spread(sides), is_fraction=True)
            told.append((mcnemar(rows[one], rows[other]) <= 0.05, low > 0 or high < 0, abs(mean) > half))
    told = np.array(told)
    assert len(told) == 3 * 231 and 0.3 < told[:, 0].mean() < 0.95
    assert (told[:, 0] != told[:, 2]).mean() < 0.01 and (told[:, 0] != told[:, 1]).mean() < 0.02
