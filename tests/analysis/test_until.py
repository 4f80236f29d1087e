"""The rule by which a sweep decides itself: what each look does, and that early looks keep what is promised."""

from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.analysis.odds import find_odds
from mnv2_sweep.analysis.stops import end_lines, look_lines, stop_reasons
from mnv2_sweep.analysis.until import (
    HOPELESS,
    LEAST_FREEDOM,
    NEAR,
    OPEN,
    SPENT,
    SURE,
    WRONGLY,
    Question,
    decide,
    dump_look,
    find_further,
    find_out,
    find_rivals,
    first_seeds,
    follow,
    load_look,
)
from mnv2_sweep.trials.tasks import TOP1
from tests.answer_samples import answers_of, draw_world
from tests.choice_samples import OF_SEEDS
from tests.until_samples import WITHIN, tell_sweeps

ASKED, CLOSE = Question(0.9, WITHIN, 4), Question(0.95, 0.0, 6)


def draw_far(seeds: int = 4, networks: int = 8, seed: int = 3):
    costs, _, answers = draw_world(np.random.default_rng(seed), networks, 1500, seeds, 0.3, OF_SEEDS)
    return costs, answers


def follow_close():
    """A sweep whose first two networks are hard to tell apart, so that it has many looks."""
    costs, _, answers = draw_world(np.random.default_rng(3), 10, 1000, 6, 0.12, OF_SEEDS)
    return follow(answers, costs, CLOSE), answers


def look_after(answers, costs, counts, stopped=None, question=ASKED):
    own = first_seeds(answers, counts)
    return decide(own, find_odds(own, costs), counts, stopped or {}, question)


# ---------------------------------------------------------------- what is promised


@pytest.fixture(scope="module")
def told():
    return tell_sweeps(80, 0.9, 3, 3, networks=12, images=800, of_seeds=OF_SEEDS)


@pytest.mark.slow
def test_the_best_network_is_hardly_ever_put_out(told):
    assert told.wrongly.mean() <= WRONGLY and 0 < told.spent.mean() <= WRONGLY


@pytest.mark.slow
def test_answers_at_the_end_are_right_as_often_as_they_say(told):
    ended_near = np.array([verdict == NEAR for verdict in told.verdict])
    assert ended_near.sum() > 5 and (told.near_said[ended_near] >= 0.9).all()
    for said, true in ((told.said, told.right), (told.near_said, told.near)):
        for own in (ended_near, ~ended_near):
            error = np.sqrt((said[own] * (1 - said[own])).sum()) / own.sum()
            assert abs(said[own].mean() - true[own].mean()) < 2.5 * error


@pytest.mark.slow
def test_it_takes_less_than_the_full_sweep_and_answers_as_well(told):
    assert told.time.sum() < 0.5 * told.full_time.sum() and told.time.sum() < 0.8 * told.fitting_time.sum()
    assert told.as_good.mean() > 0.85 and {*told.verdict} <= {SURE, NEAR, HOPELESS, SPENT}


# ---------------------------------------------------------------- a sweep from look to look


def test_a_sweep_goes_from_one_seed_each_to_an_answer():
    costs, answers = draw_far()
    looks = follow(answers, costs, ASKED)
    first, last = looks[0], looks[-1]
    assert set(first.counts.values()) == {1} and first.verdict == OPEN and not first.stopped and not first.knows_seeds
    assert last.verdict in (SURE, NEAR) and last.knows_seeds and not last.stopped
    for before, after in zip(looks, looks[1:], strict=False):
        assert after.counts == before.wanted and before.verdict == OPEN and after.spent >= before.spent
        assert {n - before.counts[name] for name, n in before.wanted.items()} <= {0, 1}
    assert sum(last.counts.values()) < 4 * 8 and max(last.counts.values()) <= 4
    assert follow(answers, costs, ASKED) == looks  # a replay is the same


def test_who_is_out_gets_no_further_seed():
    looks, _ = follow_close()
    out = {}
    for look in looks:
        assert all(look.wanted[name] == look.counts[name] for name in {*out, *look.stopped})
        assert look.leader not in look.stopped and not out.keys() & look.stopped.keys()
        assert look.spent == pytest.approx(sum(out.values()) + sum(look.stopped.values())) and look.spent <= CLOSE.spare
        out |= look.stopped
    assert len(out) > 5 and sum(bool(look.stopped) for look in looks) > 1 and len(looks) > 3


def test_seeds_stay_unknown_until_enough_of_them_say_how_far_they_move_a_score():
    costs, answers = draw_far(networks=3)
    counts = dict.fromkeys(answers.networks, 1)
    first = look_after(answers, costs, counts)
    assert first.verdict == OPEN and sum(first.wanted.values()) == 6  # all three: there are no more
    second = look_after(answers, costs, first.wanted)
    assert second.freedom == 3 < LEAST_FREEDOM and second.verdict == OPEN and not second.stopped
    two = look_after(answers, costs, dict.fromkeys(answers.networks, 2), question=replace(ASKED, most=2))
    assert two.verdict == SPENT and two.wanted == two.counts


def test_one_network_alone_is_the_answer_and_two_that_are_alike_are_near():
    random = np.random.default_rng(0)
    one = answers_of(random.random((1, 300)) < 0.6)
    look = decide(one, find_odds(one, [1.0]), {"0": 1}, {}, ASKED)
    assert look.verdict == SURE and look.probability == {"0": 1.0}
    rows = random.random((4, 3000)) < 0.6
    alike = answers_of(rows, rows)
    counts = dict.fromkeys("01", 4)
    look = decide(alike, find_odds(alike, [1.0, 2.0]), counts, {}, Question(0.9, 0.05, 9))
    assert look.verdict == NEAR and look.near >= 0.9 > max(look.probability.values())
    strict = decide(alike, find_odds(alike, [1.0, 2.0]), counts, {}, Question(0.9, 0.0, 4))
    assert strict.verdict == SPENT
    few = answers_of(random.random((6, 40)) < 0.6, random.random((6, 40)) < 0.6)  # 40 images say little
    look = decide(few, find_odds(few, [1.0, 2.0]), dict.fromkeys("01", 6), {}, Question(0.99, 0.0, 7))
    assert look.verdict == HOPELESS and look.wanted == look.counts


def test_half_of_what_may_be_spent_is_spent_at_a_look_on_the_unlikeliest():
    probability = np.array([0.5, 0.002, 0.0, 0.01, 0.47, 0.018])
    every = np.ones(6, bool)
    assert find_out(probability, every, 0, 0.0, 0.05, 0.0005) == [2, 1, 3]
    assert find_out(probability, every, 0, 0.04, 0.05, 0.0005) == [2, 1]
    assert find_out(probability, every, 0, 0.05, 0.05, 0.0005) == []
    assert find_out(probability, every, 2, 0.0, 0.05, 0.0005) == [1, 3]  # never the leader
    assert find_out(probability, np.array([1, 0, 0, 1, 1, 1], bool), 0, 0.0, 0.05, 0.0005) == [3]


def test_seeds_go_to_the_likeliest_and_of_these_to_those_with_the_fewest():
    probability, losses = np.array([0.5, 0.3, 0.12, 0.06, 0.02, 0.0]), np.arange(6.0)
    every = np.ones(6, bool)
    assert find_rivals(probability, losses, every, 0.95, 2) == [0, 1, 2, 3]
    assert find_rivals(probability, losses, np.array([1, 0, 1, 1, 1, 1], bool), 0.95, 2) == [0, 2, 3, 4, 5]
    assert find_rivals(np.eye(6)[0], losses, every, 0.95, 2) == [0, 1]
    assert find_rivals(np.eye(6)[0], losses, every, 0.95, 5) == [0, 1, 2, 3, 4]
    given = np.array([3, 1, 3, 2, 1, 1])
    assert find_further([0, 1, 2, 3], given, every, 3) == [1]
    assert find_further([0, 2, 3], given, every, 3) == [3]
    assert find_further([0, 2], given, every, 3) == [1, 4, 5]  # the others, where all rivals have had theirs
    assert find_further([0, 2], given, np.array([1, 0, 1, 0, 0, 0], bool), 3) == []


def test_so_little_may_be_spent_that_the_answer_can_still_be_as_sure_as_is_wanted():
    assert Question(0.5, 0.0, 3).spare == WRONGLY and Question(0.9, 0.0, 3).spare == pytest.approx(0.05)
    assert Question(0.99, 0.0, 3).spare == pytest.approx(0.005)


# ---------------------------------------------------------------- on record and in words


def test_a_look_is_kept_as_it_was_with_its_reasons():
    looks, answers = follow_close()
    labels = {name: f"network {name}" for name in answers.networks}
    for number, look in enumerate(looks, 1):
        reasons = stop_reasons(look, labels, TOP1)
        text = dump_look(look, labels, reasons)
        assert load_look(text) == look and load_look(text).agrees(look) and "network 0" in text
        lines = look_lines(look, number, labels, TOP1)
        assert lines[0].startswith(f"look {number}    ") and len(lines) == 1 + bool(look.stopped)
    stopped = next(look for look in looks if look.stopped)
    name, chance = next(iter(stopped.stopped.items()))
    reason = stop_reasons(stopped, labels, TOP1)[name]
    assert reason.startswith(f"network {name} (best with ") and reason.endswith("seed)") and chance < 0.05
    assert f"points behind network {stopped.leader} after " in reason
    assert not stopped.agrees(replace(stopped, stopped={})) and not stopped.agrees(replace(stopped, verdict=SURE))
    with pytest.raises(TypeError):
        load_look('{"look": 1}')


def test_how_it_ended_is_said():
    costs, answers = draw_far()
    labels = {name: f"network {name}" for name in answers.networks}
    last = follow(answers, costs, ASKED)[-1]

    def said(verdict: str, question: Question = ASKED) -> str:
        (line,) = end_lines(replace(last, verdict=verdict), labels, TOP1, question)
        return line

    leader = f"network {last.leader}"
    assert said(SURE).startswith(f"decided   {leader} is the best of the 8 networks that fit, with ")
    assert said(NEAR).startswith(
        f"decided   {leader} is within 0.5 points of the best of the 8 networks that fit, with "
    )
    assert said(SPENT).endswith("where 90 % was wanted: no seeds are left")
    assert "within" not in said(SPENT, replace(ASKED, within=0.0)) and "within 0.5 points" in said(SPENT)
    assert said(HOPELESS).endswith(
        "further seeds on these 1,500 images would hardly ever decide it, or better the answer"
    )
    assert said(OPEN).endswith("it was interrupted; the same command goes on")
