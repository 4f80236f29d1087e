"""What the figures say and hold (labels, bars, captions, files), not how they look."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from mnv2_sweep.arch import MOBILENET_V2, ArchSpec, arch_key, arch_label, set_expansion
from mnv2_sweep.cost import count_cost
from mnv2_sweep.plot import (
    MOST_FRONT_LABELS,
    MOST_LABELS,
    AblationPairs,
    Facts,
    plot_ablation,
    plot_contact_sheet,
    plot_pareto,
    read_facts,
    save_figure,
)
from mnv2_sweep.reference import CHECKPOINTS
from mnv2_sweep.stats import compare_published, paired_difference, summarise

FACTS = Facts("shapes", "short", train_images=8000, classes=10, device="cpu")
PAPER = [checkpoint.arch for checkpoint in CHECKPOINTS]


def make_trials(archs: list[ArchSpec], seeds: int = 1, failed: tuple = (), scale: float = 0.25) -> pd.DataFrame:
    """Trials whose top-1 grows with MAdds and differs between seeds; `failed` holds pairs (network, seed)."""
    rows = []
    for i, arch in enumerate(archs):
        cost = count_cost(arch)
        for seed in range(seeds):
            done = (i, seed) not in failed
            top1 = 0.15 + 0.2 * np.log10(cost.madds / 1e6) + 0.01 * seed
            rows.append(
                {
                    "trial_id": f"{i}-{seed}",
                    "status": "done" if done else "failed",
                    "network": arch_label(arch),
                    "arch_key": arch_key(arch),
                    "width": arch.width,
                    "resolution": arch.resolution,
                    "train_size": round(arch.resolution * scale),
                    "recipe": "short",
                    "data": "shapes",
                    "data_classes": 10,
                    **{name: top1 if done else np.nan for name in ("val_top1", "test_top1")},
                    **{name: 1000 if done else np.nan for name in ("val_images", "test_images", "train_images")},
                    **{name: 1.0 for name in ("seconds", "images_per_second", "peak_memory_bytes")},
                    "device": "cpu" if done else None,
                    "madds": cost.madds,
                    "params": cost.params,
                    "peak_activation_bytes": cost.peak_activation_bytes,
                }
            )
    return pd.DataFrame(rows)


def labels(axes) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_gid() == "label"]


def caption(fig: Figure) -> str:
    return next(text.get_text() for text in fig.texts if text.get_gid() == "caption").replace("\n", " ")


def words(fig: Figure) -> str:
    axes = [text for panel in fig.axes for text in (*panel.texts, panel.title, panel.xaxis.label, panel.yaxis.label)]
    loc_left = [panel.get_title(loc="left") for panel in fig.axes]
    return " | ".join([text.get_text() for text in (*fig.texts, *axes)] + loc_left)


def count_bars(axes) -> int:
    return sum(isinstance(artist, LineCollection) for artist in axes.collections)


@pytest.fixture(scope="module")
def paper_summary() -> pd.DataFrame:
    return summarise(make_trials(PAPER))


@pytest.fixture(scope="module")
def paper_figure(paper_summary) -> Figure:
    return plot_pareto(paper_summary, FACTS, compare_published(paper_summary))


def test_every_paper_network_is_named_in_both_panels(paper_figure):
    for axes in paper_figure.axes:
        assert sorted(labels(axes)) == sorted(arch_label(arch) for arch in PAPER)
    assert [count_bars(axes) for axes in paper_figure.axes] == [22, 0]


def test_labels_neither_overlap_nor_leave_the_panel(paper_figure):
    for axes in paper_figure.axes:
        boxes = [Text.get_window_extent(text) for text in axes.texts if text.get_gid() == "label"]
        for i, box in enumerate(boxes):
            assert (
                axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
            )
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_panels_share_the_cost_axis_and_are_wide_enough(paper_figure, paper_summary):
    ours, published = paper_figure.axes
    assert ours.get_xlim() == published.get_xlim() and ours.get_xscale() == "log"
    assert ours.get_xlim()[0] < paper_summary["madds"].min() / 1e6
    assert ours.get_xlim()[1] > paper_summary["madds"].max() / 1e6


def test_front_is_drawn_as_steps_through_the_front_rows(paper_figure, paper_summary):
    front = next(line for line in paper_figure.axes[0].lines if line.get_gid() == "front")
    assert front.get_drawstyle() == "steps-post"
    assert front.get_ydata()[:-1] == pytest.approx(
        100 * paper_summary.loc[paper_summary["on_front"], "top1"].to_numpy()
    )


def test_caption_of_one_seed(paper_figure, paper_summary):
    text = caption(paper_figure)
    assert "Data shapes; recipe short; 8,000 training images" in text and "on cpu" in text
    assert "at 24 to 56 px (0.25 of nominal)" in text and "22 trials done, 0 failed" in text
    assert "95 % Wilson interval over 1,000 validation images; one seed" in text
    tau = compare_published(paper_summary).tau
    assert f"Kendall tau {tau:.2f}" in text and "order of 22 networks" in text and "1 tied" in text
    assert "shapes" in words(paper_figure) and "Published: ImageNet" in words(paper_figure)


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


def test_facts_of_a_table():
    assert read_facts(make_trials(PAPER[:1], seeds=2)) == Facts("shapes", "short", 1000, 10, "cpu")
    assert read_facts(make_trials(PAPER[:1], failed=((0, 0),))) == Facts("shapes", "short", None, 10, None)


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


def test_contact_sheet_keeps_every_pixel():
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 8, 8, 3), dtype=np.uint8)
    axes = plot_contact_sheet(images, ["hat", "$hoe"], "clothes").axes[0]
    sheet = axes.images[0].get_array()
    assert sheet.shape == (17, 26, 3)
    assert (sheet[9:, 18:] == images[1, 2]).all()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["hat", "$hoe"]


def test_files_are_whole_and_repeatable(tmp_path):
    first, second = (
        save_figure(plot_pareto(summarise(make_trials(PAPER[-2:])), FACTS), tmp_path / name / "pareto v1.0")
        for name in "ab"
    )
    assert [path.name for path in first] == ["pareto v1.0.png", "pareto v1.0.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG") and first[1].read_text().rstrip().endswith("</svg>")
    assert sorted(first[0].parent.iterdir()) == first  # nothing unfinished is left
