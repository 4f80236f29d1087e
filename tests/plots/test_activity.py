"""What figure 7 says and holds."""

from dataclasses import replace

from mnv2_sweep.paper.manifold import Activities, LayerActivity
from mnv2_sweep.plots.activity import plot_activity
from tests.plot_samples import FACTS, caption, words


def make_layers(**changes) -> tuple[LayerActivity, ...]:
    """Two blocks of t = 6 and t = 3; the changes are of the second expansion."""
    layers = [
        LayerActivity(f"features.{block}.conv.{at}.0", kind, 8 * t, 8, 4.0 * t, 3.0, 3 * t, 6 * t, 0.0, 0.0)
        for block, t in ((2, 6), (3, 3))
        for at, kind in enumerate(("expansion", "depthwise"))
    ]
    layers[2] = replace(layers[2], **changes)
    return tuple(layers)


def draw(**changes):
    activities = Activities(make_layers(), make_layers(**changes), 500, 1984, 0.375)
    return plot_activity(activities, "1.0 at 96", 24, 7, FACTS)


def test_it_says_what_was_measured_and_on_what():
    fig = draw()
    text = words(fig)
    for part in ("1.0 at 96 on shapes", "At the start: no expansion below 1 / t", "After training: no expansion below"):
        assert part in text
    for part in (
        "recipe short",
        "24 px",
        "seed 7",
        "top-1 37.5 %",
        "500 validation images",
        "Lemma 2",
        "No channel is",
    ):
        assert part in caption(fig)


def test_layers_below_the_threshold_are_counted():
    text = words(fig := draw(low=2, below=0.031, clipped=0.002))
    assert "After training: 1 of 2 expansions below 1 / t somewhere, at most 3.1 % of positions" in text
    assert "at most 0.2 % of a layer's channels are at ReLU6's upper end" in caption(fig)


def test_marks_are_in_percent_of_the_channels_and_the_threshold_is_each_layers_own():
    start, trained = draw(mean=6.0, low=0, high=24).axes
    means = [line for line in trained.lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in means] == [[1, 3], [2, 4]]
    assert [list(line.get_ydata()) for line in means] == [[50, 25], [50, 50]]
    spans = [segment[:, 1].tolist() for segment in trained.collections[0].get_segments()]
    assert spans == [[37.5, 75], [0, 100]]
    (stairs,) = [patch for patch in trained.patches if patch.get_label() == "1 / t"]
    assert [round(value, 1) for value in stairs.get_data().values] == [16.7, 16.7, 33.3, 33.3]
    assert [tick.get_text() for tick in start.get_xticklabels()] == ["2", "3"]
    assert start.get_ylim() == trained.get_ylim() == (0, 100)
