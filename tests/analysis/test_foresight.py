"""What would settle an answer: foreseen as it then comes."""

import numpy as np
import pytest

from mnv2_sweep.analysis.choice import choose
from mnv2_sweep.analysis.foresight import MOST_CONTENDERS, OFTEN, SEEDS, find_contenders, foresee, foresee_results
from mnv2_sweep.analysis.odds import find_odds
from tests.answer_samples import answers_of, draw_world, keep_seeds
from tests.choice_samples import OF_SEEDS, tell_foreseen


@pytest.mark.slow
def test_the_odds_after_more_seeds_come_as_they_are_foreseen():
    told = tell_foreseen(60, 4, draws=500, networks=12, images=300, seeds=2, of_seeds=0.12)
    error = (told["then"] - told["foreseen"]).std() / np.sqrt(60)
    assert told["foreseen"].mean() > told["now"].mean() + 0.02
    assert abs(told["then"].mean() - told["foreseen"].mean()) < 2.5 * error
    assert told["loss_foreseen"].mean() < told["loss_now"].mean()
    assert abs(told["loss_then"].mean() - told["loss_foreseen"].mean()) < 0.5 * told["loss_now"].mean()
    assert abs(told["settled"].mean() - told["settled_foreseen"].mean()) < 0.15


def see(seeds: int = 3, apart: float = 0.05, seed: int = 5, at_least: float = 0.95):
    costs, _, answers = draw_world(np.random.default_rng(seed), 8, 600, seeds, apart, OF_SEEDS)
    odds = find_odds(answers, costs)
    choice = choose(odds.scores, np.ones(8, bool), costs, at_least, 0.0)
    return answers, odds, choice


def test_more_brings_more_and_nothing_brings_nothing():
    answers, odds, choice = see()
    places = find_contenders(choice)
    scores, noise = odds.scores[:, places], np.eye(len(places))
    then = [foresee_results(scores, scores, amount * noise, 0.9) for amount in (1e6, 1e-3, 1e-4, 1e-5, 1e-9)]
    assert then[0][0] == pytest.approx(choice.probability[choice.leader], abs=0.02)
    probabilities, losses, settled = np.array(then).T
    assert (np.diff(probabilities) > 0).all() and (np.diff(losses) < 0).all() and (np.diff(settled) >= 0).all()
    assert probabilities[-1] > 0.97 and losses[-1] < 1e-4


def test_seeds_that_show_no_spread_bring_nothing_but_images_do():
    same = np.repeat(np.random.default_rng(0).random((3, 1, 400)) < 0.5, 2, axis=1)  # two seeds, alike
    answers, costs = answers_of(*same), np.arange(1.0, 4)
    odds = find_odds(answers, costs)
    choice = choose(odds.scores, np.ones(3, bool), costs, 0.99, 0.0)
    seeds, images, *_ = foresee(answers, odds, choice, 0.99)
    assert seeds.probability == pytest.approx(choice.probability[choice.leader], abs=0.001)
    assert images.probability > seeds.probability + 0.1


def test_efforts_are_the_least_that_settle_or_the_largest():
    answers, odds, choice = see()
    efforts = foresee(answers, odds, choice, 0.55)
    assert [bool(one.images) for one in efforts] == [False, True] and efforts[0].settled >= OFTEN
    assert efforts[0].seeds == SEEDS[0] and set(efforts[0].places) == set(find_contenders(choice))
    hard = foresee(answers, odds, choice, 0.999)
    assert hard[0].seeds == SEEDS[-1] and len(hard) == 3 and hard[2].images and hard[2].seeds == 24
    assert hard[1].seeds == 3 and hard[1].images == 16 * 600
    assert hard[2].probability > max(hard[0].probability, hard[1].probability)
    assert foresee(answers, odds, choice, 0.999) == hard


def test_nothing_is_foreseen_of_one_seed_or_where_nobody_else_may_be_best():
    answers, odds, choice = see()
    one_seed = keep_seeds(answers, 1)
    costs = np.arange(1.0, 9)
    odds = find_odds(one_seed, costs)
    assert foresee(one_seed, odds, choose(odds.scores, np.ones(8, bool), costs, 0.95, 0.0), 0.95) == []
    answers, odds, choice = see(seed=11)
    assert len(find_contenders(choice)) == 1 and foresee(answers, odds, choice, 0.95) == []


def test_contenders_are_few_and_the_one_that_is_taken_is_among_them():
    scores = np.random.default_rng(0).standard_normal((3000, 30))
    scores[:, 7] += 0.2
    choice = choose(scores, np.ones(30, bool), np.arange(30.0), 0.85, 0.5)
    places = find_contenders(choice)
    assert choice.taken in places and choice.leader in places and len(places) <= MOST_CONTENDERS + 2
