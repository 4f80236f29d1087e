"""Which files are drawn from a results folder or a data set, and what is refused."""

import os
from dataclasses import replace

import pytest

from mnv2_sweep.analysis.ablation import NO_LINEAR_BOTTLENECK, NO_RESIDUAL, changed_arch
from mnv2_sweep.analysis.passport import NOT_CALIBRATED
from mnv2_sweep.base.errors import DataError, StoreError, SweepError
from mnv2_sweep.base.size import square
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, set_expansion
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.store import Outcome, record, write_schedule
from mnv2_sweep.report import figures
from mnv2_sweep.report.figures import (
    SHEET_COLUMNS,
    describe_expansion,
    draw_ablation,
    draw_expansion,
    draw_pareto,
    draw_preview,
    draw_sheet,
)
from mnv2_sweep.trials.preview import Preview, write_preview
from mnv2_sweep.trials.tasks import trained_arch
from mnv2_sweep.trials.trial import Sharing
from mnv2_sweep.trials.ways import shared_file

BASE = ArchSpec(width=0.5, resolution=96)


@pytest.fixture(autouse=True)
def _small_images(monkeypatch):
    monkeypatch.setattr("mnv2_sweep.plots.style.PNG_DPI", 20)


@pytest.fixture
def write_sweep(tmp_path, make_trial, make_result):
    """write_sweep(name, {arch: {seed: top-1 or None}}) -> its folder."""

    def write(name, top1s):
        for arch, of_arch in top1s.items():
            for seed, top1 in of_arch.items():
                outcome = Outcome(make_trial(seed, arch=arch), make_result(val_top1=top1 or 0))
                record(tmp_path / name, outcome if top1 else Outcome(outcome.trial, error="died"))
        return tmp_path / name

    return write


@pytest.mark.slow
def test_the_front_is_drawn_with_a_copy_of_the_last_one(tmp_path, write_sweep):
    plots = tmp_path / "plots"
    first = write_sweep("first", {BASE: {0: 0.5, 1: 0.6}, ArchSpec(): {0: 0.7, 1: None}})
    second = write_sweep("second", {BASE: {0: 0.4}})
    for folder in (first, second):
        drawn = draw_pareto(folder, plots)
        names = [f"{folder.name}/pareto.png", f"{folder.name}/pareto.svg", "pareto.png", "pareto.svg"]
        assert drawn == [plots / name for name in names]
        for path in drawn[:2]:
            assert path.read_bytes() == (plots / path.name).read_bytes()
    assert (plots / "first" / "pareto.svg").read_bytes() != (plots / "second" / "pareto.svg").read_bytes()
    assert sum(len(files) for _, _, files in os.walk(plots)) == 6  # nothing unfinished is left


@pytest.mark.slow
def test_the_plot_says_that_the_order_was_not_calibrated(tmp_path, write_sweep, monkeypatch):
    drawn, draw = [], figures.plot_pareto
    monkeypatch.setattr(figures, "plot_pareto", lambda *words, **more: drawn.append(more) or draw(*words, **more))
    draw_pareto(write_sweep("two", {BASE: {0: 0.5}, ArchSpec(): {0: 0.6}}), tmp_path / "plots")
    draw_pareto(write_sweep("two", {ArchSpec(width=0.35): {0: 0.4}}), tmp_path / "plots")
    assert [more["verdict"] for more in drawn] == [[], [NOT_CALIBRATED]]


def test_the_committed_example_does_not_replace_a_persons_plot(tmp_path, write_sweep):
    drawn = draw_pareto(write_sweep("example", {BASE: {0: 0.5}}), tmp_path / "plots")
    assert [path.relative_to(tmp_path / "plots").parts[0] for path in drawn] == ["example", "example"]
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["example"]


@pytest.mark.parametrize("top1s", [{}, {BASE: {0: None, 1: None}}], ids=["nothing", "failures"])
def test_nothing_to_draw(tmp_path, write_sweep, top1s):
    with pytest.raises(StoreError, match="mine: no trial has a result yet"):
        draw_pareto(write_sweep("mine", top1s), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


@pytest.mark.slow
def test_an_ablation_is_drawn_and_each_base_has_a_file_of_its_own(tmp_path, write_sweep):
    plots, seeds = tmp_path / "plots", {0: 0.5, 1: 0.55}
    folder = write_sweep("ablate-x", {BASE: seeds, changed_arch(BASE, NO_LINEAR_BOTTLENECK): {0: 0.4, 1: 0.5}})
    names = [f"{place}ablation.{ending}" for place in ("ablate-x/", "") for ending in ("png", "svg")]
    assert draw_ablation(folder, plots) == [plots / name for name in names]
    other = ArchSpec(width=1.0, resolution=96)
    write_sweep("ablate-x", {other: seeds, changed_arch(other, NO_LINEAR_BOTTLENECK): seeds})
    drawn = draw_ablation(folder, plots)
    own = [f"ablate-x/ablation-no-linear-bottleneck-{b}@96.{e}" for b in ("0.5", "1.0") for e in ("png", "svg")]
    assert drawn == [plots / name for name in [*names, *own]] and all(path.exists() for path in drawn)


@pytest.mark.slow
def test_several_changes_of_one_base_are_named_by_the_change(tmp_path, write_sweep):
    seeds = {0: 0.5, 1: 0.55}
    changed = [changed_arch(BASE, change) for change in (NO_RESIDUAL, NO_LINEAR_BOTTLENECK)]
    drawn = draw_ablation(write_sweep("x", dict.fromkeys([BASE, *changed], seeds)), tmp_path / "plots")
    assert [path.stem for path in drawn[4::2]] == ["ablation-no-linear-bottleneck", "ablation-residual-none"]


def test_an_ablation_of_one_side_is_refused(tmp_path, write_sweep):
    with pytest.raises(
        SweepError, match="no two networks here differ in one part and have results with the same seeds"
    ):
        draw_ablation(write_sweep("ablate-x", {BASE: {0: 0.5}}), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_curves_of_expansions_are_drawn_and_described(tmp_path, write_sweep):
    tables = {t: set_expansion(MOBILENET_V2, t) for t in (6, 8)}
    top1s = {
        ArchSpec(width=width, resolution=96, stages=stages): {
            seed: 0.4 + 0.1 * width + 0.01 * seed for seed in range(3)
        }
        for width in (0.35, 0.5, 1.0)
        for stages in tables.values()
    }
    folder = write_sweep("curves", top1s)
    names = [f"{place}expansion.{ending}" for place in ("curves/", "") for ending in ("png", "svg")]
    assert draw_expansion(folder, tmp_path / "plots") == [tmp_path / "plots" / name for name in names]
    same, by_size = describe_expansion(folder).splitlines()
    assert ": expansions from 5 to 10 have nearly the same accuracy" in same and ": among them small" in by_size
    with pytest.raises(SweepError, match="plot --expansion: results of at least two expansions are needed"):
        draw_expansion(write_sweep("one", {BASE: {0: 0.5}}), tmp_path / "plots")


def test_the_sheet_shows_every_class(tmp_path, tiny_data, monkeypatch):
    shown = []
    draw = figures.plot_contact_sheet
    monkeypatch.setattr(figures, "plot_contact_sheet", lambda *words: shown.append(words) or draw(*words))
    drawn = draw_sheet(tiny_data, "val", square(8), tmp_path)
    assert drawn == [tmp_path / "data-toy.png", tmp_path / "data-toy.svg"] and all(path.exists() for path in drawn)
    images, classes, title = shown[0]
    assert images.shape == (3, SHEET_COLUMNS, 8, 8, 3) and classes == ("red", "green", "blue")
    assert images.mean(axis=(1, 2, 3)).argmax(axis=1).tolist() == [0, 1, 2]  # each row has its class's colour
    assert title == "toy: 60 train, 30 val, 45 test images; here val at 8 px"


def test_classes_with_few_images_leave_white_places(tmp_path, tiny_data, monkeypatch):
    few = type(tiny_data)(train=5)  # 2, 2 and 1 images
    shown = []
    monkeypatch.setattr(figures, "plot_contact_sheet", lambda images, *_: shown.append(images))
    monkeypatch.setattr(figures, "save_figure", lambda *_: [])
    draw_sheet(few, "train", square(16), tmp_path)
    white = (shown[0] == 255).all(axis=(2, 3, 4)).sum(axis=1)
    assert white.tolist() == [SHEET_COLUMNS - 2, SHEET_COLUMNS - 2, SHEET_COLUMNS - 1]


def test_a_split_that_is_not_there(tmp_path, tiny_data):
    with pytest.raises(DataError, match="--split valid: toy has train, val, test"):
        draw_sheet(tiny_data, "valid", square(8), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_a_plots_folder_that_cannot_be_is_a_users_mistake(tmp_path, write_sweep):
    folder = write_sweep("mine", {BASE: {0: 0.5}})
    (tmp_path / "plots").touch()
    with pytest.raises(StoreError, match="plots"):
        draw_pareto(folder, tmp_path / "plots")


def test_what_trains_is_drawn_until_there_is_a_result(tmp_path, make_trial, make_result, monkeypatch):
    said = []
    monkeypatch.setattr(figures, "plot_pareto", lambda summary, facts, **words: said.append((summary, facts, words)))
    monkeypatch.setattr(figures, "save_plot", lambda figure, plots, folder, stem: [plots / folder.name / stem])
    folder, plots, sharing = tmp_path / "mine", tmp_path / "plots", Sharing("0123456789abcdef", 6000)
    archs = [ArchSpec(width=width, resolution=96) for width in (0.35, 0.5, 0.75)]
    trials = [replace(make_trial(0, arch=arch), shared=sharing) for arch in archs]
    write_schedule(folder, trials, replace=True)
    assert draw_preview(folder, plots) == [] == said
    scores = {arch_key(trained_arch(trial)): 0.1 * (at + 1) for at, trial in enumerate(trials[:2])}
    weights = folder / shared_file(trials[0])
    weights.parent.mkdir()
    write_preview(weights, Preview(608, 6016, 200, scores))
    assert draw_preview(folder, plots) == [plots / "mine" / "pareto"]
    ((summary, facts, words),) = said
    assert [*summary["network"]] == ["0.35 at 96", "0.5 at 96"] and [*summary["top1"]] == [0.1, 0.2]
    assert {*summary["val_images"]} == {200} and facts.train_images == 608
    assert words == {
        "title": "So far, after 608 of 6,016 images: slices as they are while they train, no results",
        "counted": "2 of 3 trials looked at",
    }
    record(folder, Outcome(trials[0], make_result(val_top1=0.5)))
    assert draw_preview(folder, plots) == [] and len(said) == 1
