"""results/<sweep>/ -> plots/<sweep>/*.png and *.svg, and a copy of the last one drawn as plots/*.png and *.svg.

What is of no sweep (the paper's figures 1 and 7, a contact sheet) goes into plots/ itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.agreement import compare_published
from mnv2_sweep.analysis.classes import guess_score
from mnv2_sweep.analysis.differences import load_readings
from mnv2_sweep.analysis.expansion import claims_text, find_trade_offs, judge_claims
from mnv2_sweep.analysis.odds import load_odds, unknown_odds
from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.analysis.stats import Facts, read_facts, summarise
from mnv2_sweep.analysis.verdict import sweep_verdict
from mnv2_sweep.base.errors import DataError, ProfileError, SpaceError, StoreError
from mnv2_sweep.base.size import Size, as_size, size_range
from mnv2_sweep.base.text import count_noun, printable
from mnv2_sweep.data.boxes import BoxData
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.data.marked import MarkedData
from mnv2_sweep.data.mask_files import BACKGROUND, IGNORED
from mnv2_sweep.devices.costs import find_cost
from mnv2_sweep.nets.arch import arch_label, input_size
from mnv2_sweep.nets.cost_arrays import COSTS
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.manifold import Activities, Embedding, Loss
from mnv2_sweep.plots.ablation import plot_ablation, plot_readings
from mnv2_sweep.plots.activity import plot_activity
from mnv2_sweep.plots.costs import plot_costs
from mnv2_sweep.plots.expansion import plot_expansion
from mnv2_sweep.plots.manifold import plot_manifold
from mnv2_sweep.plots.marked import plot_boxes, plot_masks
from mnv2_sweep.plots.pareto import MADDS, CostAxis, Doubt, plot_pareto
from mnv2_sweep.plots.style import plot_contact_sheet, save_figure
from mnv2_sweep.record.folders import EXAMPLE
from mnv2_sweep.record.frame import load_curves, load_frame, tabulate_parts
from mnv2_sweep.record.store import Scanned, read_schedule, read_statuses, read_truth
from mnv2_sweep.report.axes import cost_axis
from mnv2_sweep.report.costs import load_costs
from mnv2_sweep.report.eight import find_eight
from mnv2_sweep.spaces.networks import Networks
from mnv2_sweep.trials.preview import read_preview
from mnv2_sweep.trials.tasks import main_score, task_of, trained_arch
from mnv2_sweep.trials.trial import Trial, trial_id
from mnv2_sweep.trials.ways import shared_file

SHEET_COLUMNS = 10
MARKED_IMAGES = 24  # of a sheet of boxes or masks
MOST_DRAWN = 200_000  # networks in one figure of costs


def draw_pareto(
    folder: Path, plots: Path, band: bool = False, cost: str | None = None, int8: bool = False
) -> list[Path]:
    """Draw accuracy against MAdds, or another cost, of one sweep, with how sure the front is where that is known,
    `band` as an area too, `int8`: with the points of exports in 8 bits; return the files written. Raises StoreError,
    ProfileError."""
    trials, axis = load_frame(folder), MADDS
    score = main_score(trials)
    if cost not in (None, "madds"):
        named, costs = find_cost(cost), load_costs(folder, [cost])
        trials, axis = costs.add(trials), cost_axis(named, costs)
    summary = summarise(trials)
    if trials.empty or summary[score.name].isna().all():
        raise StoreError(f"{folder}: no trial has a result yet, so there is nothing to draw")
    if axis is not MADDS:
        summary = _add_axis(summary, trials, axis)
        trials = trials[trials[axis.column].notna()]
    comparison = compare_published(summary) if axis is MADDS else None  # which is by MAdds
    verdict = sweep_verdict(folder)
    odds = load_odds(folder, trials, axis.column)
    if band and odds is None:
        raise StoreError(f"--band: {folder}: {unknown_odds(score)}; leave it out")
    doubt = None if odds is None else Doubt(odds, band)
    truth, facts = read_truth(folder), read_facts(trials)
    if truth is not None and not np.isnan(guess := guess_score(score, truth.counts("val"))):
        facts = replace(facts, guess=guess)
    eight = find_eight(folder, trials, summary, axis) if int8 else None
    fig = plot_pareto(summary, facts, comparison, verdict=verdict, doubt=doubt, axis=axis, eight=eight)
    return save_plot(fig, plots, folder, "-".join(["pareto", *_stems(cost), *(["int8"] if int8 else [])]))


def _stems(cost: str | None) -> list[str]:
    return [] if cost in (None, "madds") else [cost.replace("@", "-")]


def _add_axis(summary: pd.DataFrame, trials: pd.DataFrame, axis: CostAxis) -> pd.DataFrame:
    """Return the summary with the costs of the table of trials, and the front of each kind of start by them. Raises
    ProfileError where no network has the cost."""
    names = [name for name in (axis.column, f"{axis.column}_low", f"{axis.column}_high") if name in trials]
    known = trials.drop_duplicates("arch_key").set_index("arch_key")[names]
    summary = summary.assign(**{name: summary["arch_key"].map(known[name]).astype(float) for name in names})
    if summary[axis.column].isna().all():
        raise ProfileError(f"{axis.column}: all networks of the sweep lie outside of what was measured; pack its space "
                           "and measure that")  # fmt: skip
    score = main_score(summary)
    kinds = summary["init"] if "init" in summary else pd.Series("", summary.index)
    for kind in kinds.unique():
        of_kind = kinds == kind
        front = pareto_front(summary.loc[of_kind, axis.column], score.sign * summary.loc[of_kind, score.name])
        summary.loc[of_kind, "on_front"] = front
    return summary


def draw_preview(folder: Path, plots: Path) -> list[Path]:
    """Draw what slices of shared trainings that still run are worth by now, as `draw_pareto` draws results; return the
    files written, none where no preview is there or a trial has a result already. Raises StoreError."""
    seen, planned = [], read_schedule(folder)
    if any(status == "done" for status, _ in read_statuses(folder).values()):
        return []
    for trial in planned.values():
        preview = read_preview(folder / shared_file(trial)) if trial.shared else None
        key = arch_key(trained_arch(trial))
        if preview is not None and key in preview.scores:
            main = task_of(trial).main.name
            values = {f"val_{main}": preview.scores[key], "val_images": preview.val_images}
            values |= {"train_images": preview.images, "device": ""}
            seen.append(
                (preview, Scanned(trial_id(trial), len(seen), trial, trial.seed, "done", None, "done", 1, None, values))
            )
    if not seen:
        return []
    trials = tabulate_parts(folder, [zip(*(outcome for _, outcome in seen), strict=True)])
    images, whole = min((preview.images, preview.whole) for preview, _ in seen)
    title = f"So far, after {images:,} of {whole:,} images: slices as they are while they train, no results"
    counted = f"{len(seen)} of {count_noun(len(planned), 'trial')} looked at"
    fig = plot_pareto(summarise(trials), read_facts(trials), title=title, counted=counted)
    return save_plot(fig, plots, folder, "pareto")


def draw_ablation(folder: Path, plots: Path) -> list[Path]:
    """Draw every comparison that has results, and of several all at a glance; return the files written.

    Raises StoreError.
    """
    protocol, readings = load_readings(folder)
    seen = [one for one in readings if one.seeds]
    if not seen:
        raise StoreError(
            f"{folder}: no two networks here differ in one part and have results with the same seeds; run "
            "'mnv2-sweep ablate'"
        )
    curves = load_curves(folder).merge(load_frame(folder)[["trial_id", "arch_key"]], on="trial_id")
    if len(seen) == 1:
        return save_plot(plot_ablation(seen[0], curves, protocol.looks, protocol.peeked), plots, folder, "ablation")
    written = save_plot(plot_readings(readings, protocol.looks, protocol.peeked), plots, folder, "ablation")
    bases = {one.comparison.base for one in seen}
    for one in seen:
        base = arch_label(one.comparison.base).replace(" at ", "@").replace(", ", "-").replace(" ", "-")
        stem = f"ablation-{one.comparison.name}" + (f"-{base}" if len(bases) > 1 else "")
        fig = plot_ablation(one, curves, protocol.looks, protocol.peeked)
        written += save_figure(fig, plots / folder.name / stem)
    return written


def draw_expansion(folder: Path, plots: Path) -> list[Path]:
    """Draw a curve for each expansion of a sweep; return the files written. Raises SweepError."""
    trials = load_frame(folder)
    curves, seeds = find_trade_offs(trials)
    size = f"{size_range(map(as_size, trials['train_size']))} px"
    fig = plot_expansion(curves, seeds, judge_claims(curves), read_facts(trials), size)
    return save_plot(fig, plots, folder, "expansion")


def describe_expansion(folder: Path) -> str:
    """Return the verdict on both claims about expansions, a line each. Raises SweepError."""
    curves, seeds = find_trade_offs(load_frame(folder))
    return claims_text(judge_claims(curves), len(seeds))


def draw_costs(networks: Networks, plots: Path) -> list[Path]:
    """Draw what the networks of a space cost; return the files written. Raises SpaceError."""
    name = networks.space.name
    if len(networks) > MOST_DRAWN:
        raise SpaceError(
            [f"space '{name}': {len(networks):,} networks, at most {MOST_DRAWN:,} can be drawn; draw a sample of them"]
        )
    costs = pd.DataFrame({cost: getattr(networks.costs, cost) for cost in COSTS})
    rows = [(arch.family, arch.width, input_size(arch).cell, arch_label(arch)) for arch in networks]
    costs[["family", "width", "resolution", "network"]] = pd.DataFrame(rows)
    title = f"What {count_noun(len(networks), 'spec')} of {name} cost"
    return save_plot(plot_costs(costs, title), plots, Path(name), "costs")


def draw_manifold(embeddings: Sequence[Embedding], losses: Sequence[Loss], seed: int, plots: Path) -> list[Path]:
    """Draw figure 1 and the measured loss; return the files written. Raises StoreError."""
    return save_figure(plot_manifold(embeddings, losses, seed), plots / "manifold")


def draw_activity(trial: Trial, activities: Activities, device: str, plots: Path) -> list[Path]:
    """Draw figure 7 of one trained network; return the files written. Raises StoreError."""
    data = trial.data
    facts = Facts(data.name, trial.recipe.name, activities.train_images, data.classes, device)
    fig = plot_activity(activities, arch_label(trial.arch), trial.train_size, trial.seed, facts)
    return save_figure(fig, plots / "activity")


def draw_sheet(dataset: Dataset, split: str, size: Size, plots: Path) -> list[Path]:
    """Draw a contact sheet, some images of every class, evenly spread over the split. Raises DataError."""
    if split not in dataset.labels:
        raise DataError(f"--split {split}: {dataset.name} has {', '.join(dataset.labels)}")
    pixels, labels = dataset.pixels(split, size), dataset.labels[split]
    rows = []
    for label in range(len(dataset.classes)):
        found = np.flatnonzero(labels == label)
        chosen = found[np.linspace(0, max(0, len(found) - 1), SHEET_COLUMNS).astype(int)] if len(found) else []
        images = [pixels[i] for i in dict.fromkeys(chosen)]
        images += [np.full(pixels.shape[1:], 255, np.uint8)] * (SHEET_COLUMNS - len(images))
        rows.append(np.stack(images))
    counts = ", ".join(f"{len(of_split):,} {name}" for name, of_split in dataset.labels.items())
    title = f"{dataset.name}: {counts} images; here {split} at {Size(*pixels.shape[1:3])} px"
    return save_figure(plot_contact_sheet(np.stack(rows), dataset.classes, title), plots / f"data-{dataset.name}")


def draw_marked(data: MarkedData, split: str, size: Size, plots: Path) -> list[Path]:
    """Draw a contact sheet, images evenly spread over the split with their boxes or masks; return the files written.
    Raises DataError."""
    if split not in data.names:
        raise DataError(f"--split {split}: {data.name} has {', '.join(data.names)}")
    count = len(data.names[split])
    chosen = sorted({*np.linspace(0, count - 1, MARKED_IMAGES).round().astype(int).tolist()})
    images, names = data.pixels(split, size)[chosen], [printable(name) for name in data.classes]
    counts = ", ".join(f"{len(own):,} {one}" for one, own in data.names.items())
    title = f"{data.name}: {counts} images; here {len(chosen)} of {split} at {size} px"
    if isinstance(data, BoxData):
        boxes = [data.boxes(split, size)[place] for place in chosen]
        shown = [(one.corners, one.classes, one.crowd | one.difficult) for one in boxes]
        figure = plot_boxes(images, shown, names, title)
    else:
        figure = plot_masks(
            images, data.masks(split, size)[chosen], IGNORED, names, data.classes[0] == BACKGROUND, title
        )
    return save_figure(figure, plots / f"data-{data.name}")


def save_plot(figure, plots: Path, folder: Path, stem: str) -> list[Path]:
    """Save plots/<sweep>/<stem>.*, and for a person's own sweeps plots/<stem>.*, the last one drawn."""
    last = [] if folder.name == EXAMPLE else [plots / stem]
    return save_figure(figure, plots / folder.name / stem, *last)
