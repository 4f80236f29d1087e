"""What the figures say and hold (labels, bars, captions), not how they look."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from mnv2_sweep.analysis.agreement import compare_published, tau_text
from mnv2_sweep.analysis.answers import Answers
from mnv2_sweep.analysis.odds import find_odds, front_band, front_text
from mnv2_sweep.analysis.stats import Facts, read_facts, summarise
from mnv2_sweep.nets.arch import FAMILY_NAMES, MOBILENET_V2, ArchSpec, arch_label, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.plots import pareto
from mnv2_sweep.plots.labels import MOST_FRONT_LABELS
from mnv2_sweep.plots.pareto import MOST_LABELS, Doubt, plot_pareto
from mnv2_sweep.plots.style import MARKERS
from mnv2_sweep.trials.recipe import SCRATCH
from tests.answer_samples import answers_of
from tests.plot_samples import FACTS, PAPER, caption, count_bars, labels, make_trials, words


@pytest.fixture(scope="module")
def paper_summary() -> pd.DataFrame:
    return summarise(make_trials(PAPER))


@pytest.fixture(scope="module")
def paper_figure(paper_summary) -> Figure:
    return plot_pareto(paper_summary, FACTS, compare_published(paper_summary))


@pytest.mark.slow
def test_every_paper_network_is_named_in_both_panels(paper_figure):
    for axes in paper_figure.axes:
        assert sorted(labels(axes)) == sorted(arch_label(arch) for arch in PAPER)
    assert [count_bars(axes) for axes in paper_figure.axes] == [22, 0]


@pytest.mark.slow
def test_panels_share_the_cost_axis_and_are_wide_enough(paper_figure, paper_summary):
    ours, published = paper_figure.axes
    assert ours.get_xlim() == published.get_xlim() and ours.get_xscale() == "log"
    assert ours.get_xlim()[0] < paper_summary["madds"].min() / 1e6
    assert ours.get_xlim()[1] > paper_summary["madds"].max() / 1e6


@pytest.mark.slow
def test_front_is_drawn_as_steps_through_the_front_rows(paper_figure, paper_summary):
    front = next(line for line in paper_figure.axes[0].lines if line.get_gid() == "front")
    assert front.get_drawstyle() == "steps-post"
    assert front.get_ydata()[:-1] == pytest.approx(
        100 * paper_summary.loc[paper_summary["on_front"], "top1"].to_numpy()
    )


@pytest.mark.slow
def test_caption_of_one_seed(paper_figure, paper_summary):
    text = caption(paper_figure)
    assert "Data shapes; recipe short; 8,000 training images" in text and "on cpu" in text
    assert "at 24 to 56 px (0.25 of nominal)" in text and "22 trials done, 0 failed" in text
    assert "95 % Wilson interval over 1,000 validation images; one seed" in text
    assert f"Kendall tau {tau_text(compare_published(paper_summary).ours)}" in text
    assert "order of 22 networks" in text and "1 tied" in text
    assert "shapes" in words(paper_figure) and "Published: ImageNet" in words(paper_figure)


@pytest.mark.slow
def test_caption_says_what_the_order_is_worth(paper_summary, paper_figure):
    verdict = ["calibrated on shapes: tau 0.8", "within 25 % it is open"]
    text = caption(plot_pareto(paper_summary, FACTS, compare_published(paper_summary), verdict=verdict))
    assert text == f"{caption(paper_figure)} Calibrated on shapes: tau 0.8. Within 25 % it is open."


def test_caption_counts_seeds_failures_and_networks_without_a_result():
    trials = make_trials(PAPER[-4:], seeds=3, failed=((0, 0), (0, 1), (0, 2), (1, 2)), scale=1)
    fig = plot_pareto(summarise(trials), read_facts(trials))
    text = caption(fig)
    assert "95 % t interval over 2 to 3 seeds, all on the same 1,000 validation images" in text
    assert "8 trials done, 4 failed (1 of 4 networks without a result)" in text
    assert "at 96 to 192 px (nominal)" in text and "Kendall" not in text
    assert len(labels(fig.axes[0])) == 3 and count_bars(fig.axes[0]) == 3


def test_caption_tells_the_two_kinds_of_bars_apart():
    trials = make_trials(PAPER[-3:], seeds=2, failed=((0, 1),))
    text = caption(plot_pareto(summarise(trials), FACTS))
    assert (
        "95 % t interval over 2 seeds; over 1,000 validation images (95 % Wilson) for 1 network with one seed" in text
    )


def test_bars_are_the_interval_over_seeds_where_there_is_one():
    summary = summarise(make_trials(PAPER[-1:], seeds=3))
    bars = next(
        artist for artist in plot_pareto(summary, FACTS).axes[0].collections if isinstance(artist, LineCollection)
    )
    low, high = bars.get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(100 * summary["seed_half_width"][0])


def test_networks_outside_the_paper_have_one_panel():
    archs = [ArchSpec(width=0.35, resolution=96, stages=set_expansion(MOBILENET_V2, t)) for t in (3, 4)]
    fig = plot_pareto(summarise(make_trials(archs)), FACTS)
    assert len(fig.axes) == 1 and labels(fig.axes[0]) == ["0.35 at 96, t=3", "0.35 at 96, t=4"]


def test_one_network_and_none():
    one = summarise(make_trials(PAPER[:1]))
    assert [labels(axes) for axes in plot_pareto(one, FACTS).axes] == [["1.4 at 224"]] * 2
    none = summarise(make_trials(PAPER[:1], failed=((0, 0),)))
    assert "no network has a result" in words(plot_pareto(none, FACTS)) and "0 trials done, 1 failed" in words(
        plot_pareto(none, FACTS)
    )
    assert "no network" in words(plot_pareto(summarise(pd.DataFrame([])), FACTS))


@pytest.mark.slow
def test_a_large_space_names_some_of_its_front():
    archs = [ArchSpec(width=0.3 + 0.01 * i, resolution=size) for i in range(60) for size in (32, 64)]
    summary = summarise(make_trials(archs)).drop_duplicates("madds", ignore_index=True)
    assert len(summary) > MOST_LABELS and summary["on_front"].sum() > MOST_FRONT_LABELS
    fig = plot_pareto(summary, FACTS)
    assert len(labels(fig.axes[0])) == MOST_FRONT_LABELS
    assert f"Named: {MOST_FRONT_LABELS} of the {summary['on_front'].sum()} on the front" in caption(fig)


@pytest.mark.parametrize("classes, drawn", [(3, True), (10, False), (None, False)])
def test_chance_is_drawn_only_where_it_is_in_range(classes, drawn):
    axes = plot_pareto(summarise(make_trials(PAPER[-2:])), Facts("shapes", "short", classes=classes)).axes[0]
    assert (f"chance, {classes} classes" in [text.get_text() for text in axes.get_legend().get_texts()]) == drawn


def test_names_are_never_read_as_mathematics():
    fig = plot_pareto(summarise(make_trials(PAPER[-1:])), Facts("my_$data$_\\x", "short"))
    fig.canvas.draw()
    assert "my_$data$_\\x" in words(fig)


def test_families_have_their_own_marks_and_published_points():
    archs = [ArchSpec(family=f, width=w) for f in ("mobilenet_v2", "mobilenet_v1") for w in (0.5, 0.75, 1.0)]
    trials = make_trials(archs)
    summary = summarise(trials)
    fig = plot_pareto(summary, FACTS, compare_published(summary))
    assert "MobileNetV2 and MobileNetV1 on shapes" in words(fig)
    assert len(fig.axes) == 2  # all six are published
    names = [text.get_text() for text in fig.axes[0].get_legend().get_texts()]
    assert {"MobileNetV2", "MobileNetV1"} <= set(names)
    marks = [[c for c in axes.collections if isinstance(c, PathCollection)] for axes in fig.axes]
    drawn = sorted(x for points in marks[1] for x, _ in points.get_offsets())
    assert drawn == pytest.approx(sorted(count_cost(arch).madds / 1e6 for arch in archs))
    shapes = {tuple(map(tuple, points.get_paths()[0].vertices)) for points in marks[0] if len(points.get_offsets())}
    assert len(shapes) == 2


@pytest.mark.slow
def test_any_number_of_families_is_drawn_and_named():
    """More of them than there are markers: as if each were registered in turn."""
    families = [*FAMILY_NAMES, *(f"family {number:02d}" for number in range(len(MARKERS)))]
    trials = make_trials([ArchSpec(width=0.35 + 0.05 * i, resolution=96) for i in range(len(families))])
    trials = trials.assign(family=families, network=[f"{family} at 96" for family in families])
    fig = plot_pareto(summarise(trials), FACTS)
    axes = fig.axes[0]
    marks = [c for c in axes.collections if isinstance(c, PathCollection) and len(c.get_offsets())]
    assert sorted(x for points in marks for x, _ in points.get_offsets()) == pytest.approx(
        sorted(trials["madds"] / 1e6)
    )
    assert len({tuple(map(tuple, points.get_paths()[0].vertices)) for points in marks}) == len(families)
    named = {text.get_text() for text in axes.get_legend().get_texts()}
    assert {FAMILY_NAMES.get(family, family) for family in families} <= named
    assert f"{len(families)} families on shapes" in words(fig)


@pytest.mark.parametrize(
    "train, nominal, text",
    [
        (["40x30"], ["160x120"], "trained at 40x30 px (0.25 of nominal)"),
        ([24, "40x30"], [96, "160x120"], "trained at 24 to 40x30 px (0.25 of nominal)"),
        (["40x30", "31x23"], ["40x30", "31x23"], "trained at 31x23 to 40x30 px (nominal)"),
        (["40x31"], ["160x120"], "trained at 40x31 px (nominal 160x120 px)"),
    ],
)
def test_rectangles_are_said_as_cameras_say_them(train, nominal, text):
    summary = summarise(make_trials(PAPER[-len(train) :]))
    sized = summary.assign(train_size=train, resolution=nominal)
    assert text in caption(plot_pareto(sized, FACTS))


def test_lines_join_resolutions_in_order_of_area():
    names = ["0.5 at 100", "0.5 at 160x120", "0.5 at 64x48", "1.0 at 160x120"]
    networks = pd.DataFrame({"network": names, "resolution": [100, "160x120", "64x48", "160x120"]})
    assert {name: rows.tolist() for name, rows in pareto._series(networks).items()} == {"0.5": [2, 0, 1], "1.0": [3]}


# ---------------------------------------------------------------- how sure the front is


@pytest.fixture
def doubted():
    """Summary and odds of the paper's networks, with answers that agree with neither their costs nor their scores."""
    summary = summarise(make_trials(PAPER))
    random = np.random.default_rng(0)
    made = answers_of(*(random.random((1, 300)) < share for share in np.linspace(0.4, 0.6, len(PAPER))))
    answers = Answers(tuple(summary["arch_key"]), made.seeds, made.terms, made.losses)
    return summary, find_odds(answers, summary["madds"], draws=200)


def test_marks_title_and_caption_say_how_sure_the_front_is(doubted):
    summary, odds = doubted
    fig = plot_pareto(summary, FACTS, doubt=Doubt({SCRATCH: odds}))
    assert f": {front_text(odds)} networks on the front" in words(fig)
    over = "Bars: 95 % interval over other images of the kind, for these very weights; measured on the same 1,000 "
    assert over in caption(fig) and "filled: on the front with 50 % or more, over the same." in caption(fig)
    faces = [len(marks.get_offsets()) for marks in fig.axes[0].collections if hasattr(marks, "get_sizes")]
    assert odds.front_size in faces and len(PAPER) - odds.front_size in faces
    legend = [text.get_text() for text in fig.axes[0].get_legend().get_texts()]
    assert {"on the front: 50 % or more", "less"} <= set(legend)
    assert not any(artist.get_gid() == "band" for artist in fig.axes[0].collections)


def test_bars_are_the_intervals_over_images_and_seeds_together(doubted):
    summary, odds = doubted
    near = odds.low < summary["top1"]  # the made-up answers and scores have nothing to do with each other
    axes = plot_pareto(summary, FACTS, doubt=Doubt({SCRATCH: odds})).axes[0]
    ends = np.array([bar.lines[2][0].get_segments()[0][:, 1] for bar in axes.containers])
    assert ends[near, 0] == pytest.approx(100 * odds.low[near]) and near.any()
    assert ends[:, 1] == pytest.approx(100 * np.maximum(odds.high, summary["top1"]))


def test_the_band_holds_the_front_of_the_draws(doubted):
    summary, odds = doubted
    fig = plot_pareto(summary, FACTS, doubt=Doubt({SCRATCH: odds}, band=True))
    (band,) = [artist for artist in fig.axes[0].collections if artist.get_gid() == "band"]
    (path,) = band.get_paths()
    _, low, high = front_band(odds, summary["madds"])
    assert path.vertices[:, 1].min() == pytest.approx(100 * low[0]) and "Grey: where the front passes" in caption(fig)
    assert path.vertices[:, 1].max() == pytest.approx(100 * high[-1])


@pytest.mark.parametrize("top1", [0.03, 0.5, 0.97])
def test_bars_never_leave_the_panel(top1):
    """Two seeds ten points apart have an interval of 64 points to each side."""
    trials = make_trials(PAPER[-2:], seeds=2)
    for name in ("val_top1", "test_top1"):
        trials[name] = top1 + trials["seed"].map({0: -0.03, 1: 0.03})
    axes = plot_pareto(summarise(trials), FACTS).axes[0]
    low, high = axes.get_ylim()
    bars = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    ends = np.array([segment[:, 1] for artist in bars for segment in artist.get_segments()])
    assert len(ends) and (ends >= max(0, low) - 1e-9).all() and (ends <= min(100, high) + 1e-9).all()
    assert np.ptp(ends, axis=1).max() > 25


@pytest.mark.parametrize(
    ("guess", "text"),
    [(0.5, "always the largest class, 50.0 %"), (0.1, "chance, 10 classes"), (None, "chance, 10 classes")],
)
def test_chance_is_what_guessing_reaches(guess, text):
    trials = make_trials(PAPER[-2:]).assign(val_top1=[0.08, 0.55])
    axes = plot_pareto(summarise(trials), replace(FACTS, guess=guess)).axes[0]
    assert text in [one.get_text() for one in axes.get_legend().get_texts()]
    (line,) = [one for one in axes.lines if one.get_gid() == "chance"]
    assert line.get_ydata()[0] == pytest.approx(100 * (guess or 0.1))
