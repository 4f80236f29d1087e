"""Curves of several expansions, and both claims on trials whose truth is known."""

import math
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.analysis.expansion import (
    POINTS,
    SAME,
    ClaimVerdict,
    TradeOff,
    claims_text,
    common_madds,
    find_trade_offs,
    judge_claims,
)
from mnv2_sweep.analysis.paired import Further, estimate_difference, further_seeds
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import CHOICES, MOBILENET_V2, ArchSpec, arch_label, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key

WIDTHS, EXPANSIONS = (0.35, 0.5, 0.75, 1.0), (1, 3, 6, 8, 10)


def smooth(madds: float, t: int, tilt: float) -> float:
    """Top-1 in percent that grows with cost and up to t = 5; beyond, `tilt` points for each doubling of t and each
    tenfold cost above 50M."""
    size = math.log10(madds / 50e6)
    return 50 + 15 * size + (tilt * size * math.log2(t / 5) if t > 5 else 4 * math.log2(t / 5))


def make_trials(
    tilt=0.0, seeds=5, spread=0.3, widths=WIDTHS, expansions=EXPANSIONS, shift=0.0, **changes
) -> pd.DataFrame:
    """Trials of every width and t; `shift` is added to t = 10."""
    random, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        of_seed = random.normal(0, 1)
        for width in widths:
            for t in expansions:
                stages = set_expansion(MOBILENET_V2, t)
                arch = ArchSpec(width=width, resolution=128, stages=stages, **changes)
                cost = count_cost(arch)
                top1 = smooth(cost.madds, t, tilt) + of_seed + random.normal(0, spread) + shift * (t == 10)
                rows.append(
                    {
                        **{name: getattr(arch, name) for name in SAME},
                        **{"arch_key": arch_key(arch), "network": arch_label(arch), "family": arch.family},
                        **{"expansion": t, "width": width, "status": "done", "seed": seed, "madds": cost.madds},
                        **{"val_top1": top1 / 100, "seconds": 20.0},
                    }
                )
    return pd.DataFrame(rows)


def verdicts(trials: pd.DataFrame) -> list[str]:
    return [one.verdict for one in judge_claims(find_trade_offs(trials)[0])]


def test_the_fields_that_must_not_differ_are_all_but_width_and_the_table():
    others = {"family", "stages", "width", "groups", "head"} | {name for name, one in CHOICES.items() if one.heads}
    assert {*SAME} | others == {field.name for field in fields(ArchSpec)}


def test_a_curve_for_each_expansion_in_order_of_cost():
    trials = make_trials(seeds=2).sample(frac=1, random_state=0)
    curves, seeds = find_trade_offs(trials)
    assert [curve.t for curve in curves] == list(EXPANSIONS) and seeds == (0, 1)
    for curve in curves:
        assert curve.widths.tolist() == list(WIDTHS) and curve.top1.shape == (4, 2)
        assert (np.diff(curve.madds) > 0).all() and curve.seconds.tolist() == [20.0] * 4
    one = trials[(trials["expansion"] == 6) & (trials["width"] == 0.5) & (trials["seed"] == 1)].iloc[0]
    assert curves[2].top1[1, 1] == pytest.approx(100 * one["val_top1"]) and curves[2].madds[1] == one["madds"]


def bend(madds: np.ndarray, height: float) -> np.ndarray:
    """Top-1 that rises steeply and levels off."""
    return 75 - height * (madds / 10e6) ** -0.8


def test_between_networks_curves_bend_as_those_through_the_nearest_do():
    madds = np.geomspace(10e6, 80e6, 4)
    curve = TradeOff(6, madds, madds, bend(madds, 30)[:, None], np.ones(4))
    between = np.geomspace(10e6, 80e6, 41)
    straight = np.interp(np.log(between), np.log(madds), curve.top1[:, 0]) - bend(between, 30)
    smooth = np.array([curve.at(at)[0] for at in between]) - bend(between, 30)
    assert np.abs(straight).max() > 0.8 and np.abs(smooth).max() < 0.3
    allowed = np.array([abs(curve.at(at)[0] - curve.at(at, fewer=1)[0]) for at in between])
    assert (np.abs(smooth) <= allowed + 1e-9).all() and allowed.max() < 0.4
    assert [curve.at(at)[0] for at in madds] == pytest.approx(curve.top1[:, 0])
    line = TradeOff(6, madds[:2], madds[:2], curve.top1[:2], np.ones(2))
    assert line.at(math.sqrt(madds[0] * madds[1])) == pytest.approx(curve.top1[:2].mean())


def test_what_a_curve_may_be_off_is_taken_off_the_margin():
    """Equal in truth; one is measured at other costs, so that its curve is off between them."""
    seeds, costs = np.array([-0.01, 0.0, 0.01, 0.0, 0.005]), (np.geomspace(20e6, 120e6, 3), np.geomspace(27e6, 90e6, 3))
    curves = [
        TradeOff(t, madds, madds, bend(madds, 60)[:, None] + seeds * t, np.ones(3))
        for t, madds in zip((6, 8), costs, strict=True)
    ]
    same, _ = judge_claims(curves)
    off = float(same.why.split("curves may be off by ")[1].split(",")[0])
    assert off > 0.3 and same.verdict == "undecided"


def test_curves_cover_their_own_range():
    curve = find_trade_offs(make_trials(spread=0, seeds=1, expansions=(6, 8)))[0][0]
    assert curve.covers(curve.madds[0]) and curve.covers(curve.madds[-1]) and not curve.covers(1.1 * curve.madds[-1])


def test_costs_in_common_lie_within_every_curve():
    curves = [curve for curve in find_trade_offs(make_trials(seeds=1))[0] if curve.t >= 5]
    madds = common_madds(curves)
    assert len(madds) == POINTS and madds == sorted(madds)
    assert madds[0] == pytest.approx(curves[-1].madds[0]) and madds[-1] == pytest.approx(curves[0].madds[-1])
    assert all(curve.covers(at) for curve in curves for at in madds)
    assert common_madds([]) == common_madds([replace(curves[0], madds=curves[0].madds + 1e12), curves[1]]) == []


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"tilt": 0.0, "spread": 0.1}, ["reproduced", "undecided"]),
        ({"tilt": 3.0, "spread": 0.1}, ["reproduced", "reproduced"]),
        ({"tilt": -3.0, "spread": 0.1}, ["reproduced", "contradicted"]),
        ({"shift": 4.0}, ["contradicted", "contradicted"]),  # better with t = 10, also where networks are small
        ({"shift": 0.9, "spread": 0.6}, ["undecided", "contradicted"]),
        ({"spread": 3.0}, ["undecided", "undecided"]),
    ],
    ids=["the same", "by size", "the other way", "t = 10 far above", "on the margin", "noise"],
)
def test_verdicts_on_known_truths(settings, expected):
    assert verdicts(make_trials(**settings)) == expected


def test_why_names_the_largest_difference_and_the_slopes():
    same, by_size = judge_claims(find_trade_offs(make_trials(shift=4.0))[0])
    assert (
        same.why.startswith("largest difference: t = 10 minus t = 6 at ") and "beyond it somewhere: p 0.00" in same.why
    )
    assert by_size.why.startswith("points for each doubling of t: +") and "; the second minus the first " in by_size.why
    assert same.sentence.startswith(
        "contradicted: expansions from 5 to 10 have nearly the same accuracy at the same cost"
    )


def test_an_undecided_claim_asks_for_seeds_and_says_how_long():
    claims = judge_claims(find_trade_offs(make_trials(tilt=1.0, spread=0.8))[0])
    same, by_size = claims_text(claims, 5).splitlines()
    assert claims[0].seconds == claims[1].seconds == 3 * 4 * 20
    for one, line in zip(claims, (same, by_size), strict=True):
        assert line.startswith(f"undecided: {one.text} (section 4") and one.further.low >= 1
        high = one.further.high
        many = f"{one.further.low} to {high} further seeds" if high else f"{one.further.low} further seeds or more"
        assert f"; {many} would settle it with 80 % power, from " in line and " of one worker" in line
    few = claims_text(judge_claims(find_trade_offs(make_trials(tilt=1.0, spread=0.8, seeds=4))[0]), 4)
    assert few.splitlines()[0].endswith("; how many further seeds would settle it can be told from 5 on")


NOISE = np.array([-1.5, 0.2, 1.3, -0.7, 0.7])  # of five seeds; 0 on average


def make_curve(t: int, *above: np.ndarray) -> TradeOff:
    """Networks at 20M to 120M MAdds, of top-1 so much above 50 % at the smallest and at the largest."""
    madds = np.geomspace(20e6, 120e6, len(above))
    return TradeOff(t, madds, madds, 50 + np.array(above), np.ones(len(above)))


def test_one_curve_far_off_would_settle_that_they_are_not_the_same():
    """t = 8 is on the margin from t = 6, which no number of seeds would settle; t = 10 is beyond it."""
    own, margin, far = (make_curve(t, gap, gap) for t, gap in ((6, 0 * NOISE), (8, 1 + NOISE), (10, 2.5 + NOISE)))
    same, _ = judge_claims([own, margin, far])
    assert (same.verdict, same.further) == ("undecided", further_seeds(estimate_difference(2.5 + NOISE), 0.05 / 6, 1.0))
    assert judge_claims([own, far])[0].further.high < same.further.high  # fewer comparisons to correct for


def test_one_end_the_other_way_would_settle_it():
    """At the large end there is no slope at all, which no number of seeds would settle."""
    _, by_size = judge_claims([make_curve(6, 0 * NOISE, 0 * NOISE), make_curve(10, 0.5 + NOISE, NOISE)])
    slope = estimate_difference((0.5 + NOISE) / math.log2(10 / 6))
    assert (by_size.verdict, by_size.further) == ("undecided", further_seeds(slope, 0.025, 0.0))


def test_more_seeds_than_anybody_would_train_are_called_so():
    claims = [ClaimVerdict("it", "there", "undecided", "so", Further(None, None), 9.0)]
    assert claims_text(claims, 5) == "undecided: it (there); so; more than 1,000 seeds would be needed"
    claims = [ClaimVerdict("it", "there", "undecided", "so", Further(2, None), 60.0)]
    assert claims_text(claims, 5).endswith(
        "2 further seeds or more would settle it with 80 % power, from 2 min of one worker; how many at most is not "
        "known yet"
    )


@pytest.mark.slow
@pytest.mark.parametrize("above, wrong", [(0.0, ("contradicted", "reproduced")), (1.0, ("reproduced", "reproduced"))])
def test_verdicts_are_rarely_wrong(above, wrong):
    """Curves that are equal, or on the margin from each other: neither claim may be decided the wrong way too often."""
    random = np.random.default_rng(3)
    madds, seeds = np.geomspace(20e6, 120e6, 4), 5
    mistakes = np.zeros(2)
    for _ in range(400):
        shared = random.normal(0, 1, seeds)
        curves = [
            TradeOff(t, madds, madds, 50 + above * (t != 6) + shared + random.normal(0, 0.5, (4, seeds)), np.ones(4))
            for t in (6, 8)
        ]
        mistakes += [one.verdict == bad for one, bad in zip(judge_claims(curves), wrong, strict=True)]
    assert (mistakes / 400 <= 0.07).all()  # 5 % and what 400 experiments may add


def test_one_seed_settles_nothing():
    claims = judge_claims(find_trade_offs(make_trials(seeds=1))[0])
    assert [one.verdict for one in claims] == ["undecided"] * 2
    assert "seeds would" not in claims_text(claims, 1) and "nan" not in claims_text(claims, 1)


@pytest.mark.parametrize(
    "settings, why",
    [
        ({"expansions": (1, 3, 6)}, "at least two expansions from 5 to 10 are needed"),
        ({"widths": (0.5,)}, "their curves have no MAdds in common: add widths"),
    ],
    ids=["one t in range", "one width"],
)
def test_claims_that_cannot_be_tested_say_why(settings, why):
    claims = judge_claims(find_trade_offs(make_trials(seeds=3, **settings))[0])
    assert [(one.verdict, one.why) for one in claims] == [("undecided", why)] * 2


def test_a_seed_that_one_network_lacks_is_left_out():
    trials = make_trials(seeds=3)
    trials.loc[5, "status"] = "failed"
    curves, seeds = find_trade_offs(trials)
    assert seeds == (1, 2) and all(curve.top1.shape[1] == 2 for curve in curves)


@pytest.mark.parametrize(
    "trials, message",
    [
        (make_trials(seeds=1).iloc[:0], "plot --expansion: results of at least two expansions are needed; "),
        (make_trials(seeds=1, expansions=(6,)), "plot --expansion: results of at least two expansions are needed; "),
        (
            pd.concat([make_trials(seeds=1), make_trials(seeds=1, activation="relu")]),
            "plot --expansion: networks of activation relu, relu6; one is wanted, and only width and t differ",
        ),
        (
            pd.concat([make_trials(seeds=1), make_trials(seeds=1).assign(resolution=96)]),
            "plot --expansion: networks of resolution 96, 128; one is wanted",
        ),
    ],
    ids=["nothing", "one expansion", "two activations", "two resolutions"],
)
def test_sweeps_without_curves_are_refused(trials, message):
    with pytest.raises(SweepError) as caught:
        find_trade_offs(trials)
    assert str(caught.value).startswith(message)


def test_seeds_of_which_none_is_whole():
    trials = make_trials(seeds=2)
    trials.loc[[0, 25], "status"] = "failed"
    with pytest.raises(SweepError, match="no seed is done by every network; run the sweep to its end"):
        find_trade_offs(trials)
