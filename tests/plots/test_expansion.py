"""What the figure of the expansions says and holds."""

import pytest

from mnv2_sweep.analysis.expansion import common_madds, find_trade_offs, judge_claims
from mnv2_sweep.plots.expansion import plot_expansion
from tests.analysis.test_expansion import EXPANSIONS, make_trials
from tests.plot_samples import FACTS, caption, count_bars, words


def draw(**settings):
    curves, seeds = find_trade_offs(make_trials(**settings))
    return plot_expansion(curves, seeds, judge_claims(curves), FACTS, "32 px"), curves


def lines(axes, gid: str) -> list:
    return [line for line in axes.lines if line.get_gid() == gid]


def test_a_line_for_each_expansion_with_bars_over_seeds():
    fig, curves = draw(seeds=3)
    left = fig.axes[0]
    drawn = lines(left, "curve")
    assert [line.get_label() for line in drawn] == [f"t = {t}" for t in EXPANSIONS]
    for line, curve in zip(drawn, curves, strict=True):
        assert line.get_xdata() == pytest.approx(curve.madds / 1e6)
        assert line.get_ydata() == pytest.approx(curve.top1.mean(axis=1))
    assert count_bars(left) == len(curves)
    assert [line.get_linestyle() for line in drawn] == ["--", "--", "-", "-", "-"]  # solid from 5 to 10


def test_the_same_is_read_across_at_equal_costs():
    fig, curves = draw(seeds=3)
    levels = lines(fig.axes[1], "level")
    madds = common_madds([curve for curve in curves if curve.t >= 5])
    assert [line.get_label() for line in levels] == [f"{at / 1e6:,.3g}M MAdds" for at in madds]
    largest = dict(zip(levels[-1].get_xdata(), levels[-1].get_ydata(), strict=True))
    assert list(largest) == [6, 8, 10]  # the others don't reach so far, and are not extrapolated
    assert largest[6] == pytest.approx(curves[2].top1[-1].mean())


def test_verdicts_stand_in_the_caption():
    fig, _ = draw(tilt=3.0, spread=0.1)
    text = caption(fig)
    assert (
        "Reproduced: expansions from 5 to 10 have nearly the same accuracy at the same cost (section 4; 'nearly'"
        in text
    )
    assert "Reproduced: among them small networks are better with a smaller, large ones with a larger expansion" in text
    assert "trained at 32 px; 5 seeds" in text and "Expansion ratio on shapes: 5 curves" in words(fig)


@pytest.mark.parametrize("settings", [{"seeds": 1}, {"seeds": 1, "widths": (0.5,)}], ids=["curves", "single networks"])
def test_one_seed_has_no_bars(settings):
    fig, _ = draw(**settings)
    assert [count_bars(axes) for axes in fig.axes] == [0, 0] and "the spread over seeds is unknown" in caption(fig)
    assert ("no cost that all t from 5 to 10 cover" in words(fig)) == ("widths" in settings)
