"""What the figure of an ablation says and holds."""

import numpy as np
from plot_samples import FACTS, caption, count_bars, words

from mnv2_sweep.plots.plot_ablation import plot_ablation
from mnv2_sweep.results.ablate import AblationPairs
from mnv2_sweep.results.stats import paired_difference


def make_pairs(a, b, gap=0.58, failed=0) -> AblationPairs:
    difference = paired_difference(a, b)
    return AblationPairs("0.5 at 160", "linear", "ReLU6", a, b, difference, gap, 40, 1000, FACTS, failed)


def test_ablation_names_what_was_compared_and_the_published_gap():
    fig = plot_ablation(make_pairs((0.613, 0.622, 0.605), (0.598, 0.611, 0.602), failed=1))
    text = words(fig)
    for part in (
        "0.5 at 160: linear against ReLU6",
        "61.3",
        "60.4",
        "+0.97",
        "95 %: -0.55 to +2.48",
        "+0.58",
        "figure 6",
    ):
        assert part in text
    assert "over 3 seeds" in caption(fig) and "do not settle the sign" in caption(fig)
    assert "at 40 px; 3 pairs of trials done, 1 failed" in caption(fig)
    assert [tick.get_text() for tick in fig.axes[1].get_yticklabels()] == ["each seed", "mean", "published"]
    joined = [line for line in fig.axes[0].lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert [np.round(line.get_ydata(), 6).tolist() for line in joined] == [[61.3, 59.8], [62.2, 61.1], [60.5, 60.2]]


def test_ablation_with_one_seed_has_no_interval():
    fig = plot_ablation(make_pairs((0.613,), (0.598,), gap=None))
    assert "One seed: no interval" in caption(fig) and "95 %" not in words(fig) and "figure 6" not in words(fig)
    assert [count_bars(axes) for axes in fig.axes] == [0, 0]


def test_ablation_that_is_settled_says_so():
    assert "leaves out zero" in caption(plot_ablation(make_pairs((0.7, 0.71, 0.72), (0.6, 0.612, 0.618))))
