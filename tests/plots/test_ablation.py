"""What the figures of an ablation say and hold."""

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.analysis.ablation import NO_LINEAR_BOTTLENECK, NO_RESIDUAL, change_activation, change_expansion
from mnv2_sweep.analysis.differences import Reading
from mnv2_sweep.analysis.paired import ALWAYS, ONCE
from mnv2_sweep.analysis.stats import mean_interval
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.plots.ablation import plot_ablation, plot_readings
from tests.plot_samples import caption, count_bars, words
from tests.reading_samples import BASE, read_changes

HIGH, LOW = [61.3, 62.2, 60.5], [59.8, 61.1, 60.2]
NONE = pd.DataFrame(columns=["arch_key", "seed", "images", "val_top1"])


def make_curves(reading: Reading, points: int = 4, top1: float | None = None) -> pd.DataFrame:
    """Curves that rise to what each seed reached; `top1` stands in the place of all of it."""
    rows = []
    for arch, values in ((reading.comparison.base, reading.base), (reading.comparison.variant, reading.variant)):
        for seed, value in zip(reading.seeds, values, strict=True):
            for point in range(1, points + 1):
                reached = value / 100 * point / points if top1 is None else top1
                rows.append((arch_key(arch), seed, 1000 * point, reached))
    return pd.DataFrame(rows, columns=NONE.columns)


def lines(axes, gid: str) -> list:
    return [line for line in axes.lines if line.get_gid() == gid]


def test_a_comparison_says_what_was_compared_and_what_was_published():
    (reading,) = read_changes({NO_LINEAR_BOTTLENECK: [*LOW, None]}, [*HIGH, 62.0])
    fig = plot_ablation(reading, make_curves(reading), ONCE)
    text = words(fig)
    for part in (
        "0.5 at 96: linear bottleneck against ReLU6 in the bottleneck",
        *("+0.97", "95 %: -0.55 to +2.48", "+0.58", "figure 6a, read off"),
    ):
        assert part in text
    for part in (
        *("trained at 24 px; 3 pairs of trials done, 1 failed", "on all 1,000", "95 % t interval over seeds, paired"),
        "Verdict: undecided (p 0.111, Holm 0.111); the paper: linear bottlenecks are better",
        "published +0.58 points (figure 6a), inside the interval.",
    ):
        assert part in caption(fig)
    assert [tick.get_text() for tick in fig.axes[1].get_yticklabels()] == ["each seed", "mean", "published"]
    points = next(line for line in fig.axes[1].lines if line.get_linestyle() == "None" and len(line.get_xdata()) == 3)
    assert points.get_xdata() == pytest.approx([1.5, 1.1, 0.3])


def test_p_values_are_of_all_readings_and_not_all_are_drawn(monkeypatch):
    readings = read_changes({NO_RESIDUAL: LOW, NO_LINEAR_BOTTLENECK: LOW, change_expansion(3): []}, HIGH)
    fig = plot_readings(readings, ONCE, "2 seeds")
    assert "shapes: 2 comparisons" in words(fig) and "Holm) over 3 readings" in caption(fig)
    assert "paired, each by itself. Looked at before, with 2 seeds: too short." in caption(fig)
    monkeypatch.setattr("mnv2_sweep.plots.ablation.MOST_READINGS", 1)
    assert "shapes: the first 1 of 2 comparisons" in words(plot_readings(readings, ONCE))


def test_progress_is_mean_and_band_over_seeds():
    (reading,) = read_changes({NO_RESIDUAL: LOW}, HIGH)
    axes = plot_ablation(reading, make_curves(reading), ONCE).axes[0]
    base, changed = lines(axes, "mean")
    assert [line.get_label() for line in (base, changed)] == ["shortcut between bottlenecks", "no residual"]
    assert base.get_xdata() == pytest.approx([1, 2, 3, 4]) and base.get_ydata()[-1] == pytest.approx(np.mean(HIGH))
    assert changed.get_ydata() == pytest.approx([np.mean(LOW) * share for share in (0.25, 0.5, 0.75, 1)])
    bands = [artist for artist in axes.collections if artist.get_gid() == "band"]
    at_end = [y for x, y in bands[0].get_paths()[0].vertices if x == pytest.approx(4)]
    assert (min(at_end), max(at_end)) == pytest.approx(mean_interval(HIGH)[1:])
    assert len(bands) == 2 and sum(line.get_alpha() == 0.3 for line in axes.lines) == 6  # a thin line a seed


def test_the_published_panel_has_figure_6_s_curves():
    (reading,) = read_changes({NO_RESIDUAL: LOW}, HIGH)
    fig = plot_ablation(reading, make_curves(reading), ONCE)
    base, changed = lines(fig.axes[2], "published")
    assert (base.get_ydata()[-1], changed.get_ydata()[-1]) == (71.0, 69.59)
    assert [line.get_label() for line in (base, changed)] == ["shortcut between bottlenecks", "no residual"]
    assert "Right: the paper's network on ImageNet" in caption(fig)


def test_a_change_that_figure_6_does_not_show_has_two_panels():
    (reading,) = read_changes({change_activation("hswish"): LOW}, HIGH)
    fig = plot_ablation(reading, make_curves(reading), ONCE)
    assert len(fig.axes) == 2 and "Right:" not in caption(fig) and "claims nothing here" in caption(fig)
    assert [tick.get_text() for tick in fig.axes[1].get_yticklabels()] == ["each seed", "mean"]


@pytest.mark.parametrize("curves", ["none", "without top-1"])
def test_without_curves_the_ends_are_drawn(curves):
    (reading,) = read_changes({NO_RESIDUAL: LOW}, HIGH)
    fig = plot_ablation(reading, NONE if curves == "none" else make_curves(reading, top1=np.nan), ONCE)
    axes = fig.axes[0]
    joined = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert [line.get_ydata() for line in joined] == [pytest.approx(pair) for pair in zip(HIGH, LOW, strict=True)]
    assert "Each seed" in axes.get_title(loc="left") and "bands" not in caption(fig)


def test_one_seed_has_neither_band_nor_interval():
    (reading,) = read_changes({NO_RESIDUAL: LOW[:1]}, HIGH[:1])
    fig = plot_ablation(reading, make_curves(reading), ONCE)
    assert not [artist for artist in fig.axes[0].collections if artist.get_gid() == "band"]
    assert "95 %:" not in words(fig) and [count_bars(axes) for axes in fig.axes] == [0, 0, 0]


def test_intervals_of_many_looks_are_called_so():
    (reading,) = read_changes({NO_RESIDUAL: LOW}, HIGH, looks=ALWAYS)  # three seeds: no bound is known yet
    fig = plot_ablation(reading, make_curves(reading), ALWAYS)
    assert "95 % interval that holds at every look" in caption(fig) and "95 %:" not in words(fig)


def test_all_comparisons_at_a_glance():
    readings = read_changes({NO_RESIDUAL: [50.0, 51.0, 49.6], change_expansion(3): LOW, NO_LINEAR_BOTTLENECK: []}, HIGH)
    fig = plot_readings(readings, ONCE)
    (axes,) = fig.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["no residual", "t = 3"]
    verdicts = [text.get_text() for text in axes.texts if text.get_gid() == "verdict"]
    assert verdicts[0].startswith("+11.13, 3 seeds, MAdds same, Holm p ") and verdicts[0].endswith(
        ": same sign, 7.9 times"
    )
    assert verdicts[1].startswith("+0.97, 3 seeds, MAdds -") and verdicts[1].endswith(": undecided")
    assert "0.5 at 96 on shapes: 2 comparisons" in words(fig) and "(Holm) over 3 readings" in caption(fig)
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"] == [1.41]


def test_a_difference_without_an_interval_is_hollow():
    readings = read_changes(
        {NO_RESIDUAL: LOW, change_expansion(3): [*LOW, 60.9, 60.0]}, [*HIGH, 61.0, 62.0], looks=ALWAYS
    )
    axes = plot_readings(readings, ALWAYS).axes[0]
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    assert [diamond.get_markerfacecolor() == "white" for diamond in diamonds] == [True, False]
    assert count_bars(axes) == 1


def test_other_images_and_failed_trainings_are_in_the_caption():
    base, variant = [*HIGH, 61.0, 61.8], [*LOW, 59.9, 10.0]
    (reading,) = read_changes({NO_RESIDUAL: variant}, base, images=2000)
    text = caption(plot_ablation(reading, make_curves(reading), ONCE))
    low, high = reading.joint
    assert f"Over other images of the kind too: {low:+.2f} to {high:+.2f}." in text
    assert (
        "Seed 4 of no residual looks like a failed training: 10.0 %, where the median of its seeds is 59.9 %." in text
    )


def test_several_bases_are_named():
    readings = [
        *read_changes({NO_RESIDUAL: LOW}, HIGH),
        *read_changes({NO_RESIDUAL: LOW}, HIGH, BASE.__class__(width=1.0)),
    ]
    fig = plot_readings(readings, ONCE)
    labels = [tick.get_text() for tick in fig.axes[0].get_yticklabels()]
    assert labels == ["no residual (0.5 at 96)", "no residual (1.0 at 224)"] and "2 networks on shapes" in words(fig)
