"""Pairs of networks as rows, and what is said of them."""

import numpy as np
import pytest

from mnv2_sweep.analysis.answers import Answers
from mnv2_sweep.analysis.pairs import list_pairs, pairs_table, settled_text, splits_text
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
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
