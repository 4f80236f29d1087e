"""Frames and costs -> text: an aligned table for people, CSV and JSON for programs."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from mnv2_sweep.analysis.agreement import compare_published, costs_text, near_text, tau_text
from mnv2_sweep.analysis.classes import guess_text
from mnv2_sweep.analysis.odds import (
    MOST_ANSWERS,
    MOST_NETWORKS,
    Odds,
    add_odds,
    doubt_text,
    front_odds,
    front_text,
    is_too_much,
    probability_text,
    unknown_odds,
)
from mnv2_sweep.analysis.stats import name_trial, read_facts, start_kinds, summarise
from mnv2_sweep.base.text import align, harmless, harmless_cell, megabytes, millions
from mnv2_sweep.explain.listing import Column
from mnv2_sweep.report.costs import FurtherCosts, columns_text
from mnv2_sweep.trials.executed import spread_warning
from mnv2_sweep.trials.tasks import BALANCED, CLASSIFICATION, MACRO_F1, TOP1, UNPREDICTED, Score, main_score
from mnv2_sweep.trials.terms import Truth
from mnv2_sweep.trials.trial import ALONE
from mnv2_sweep.trials.ways import PROBED, WAYS

Kinds = Mapping[str, Odds]  # by kind of start

SHOWN_DIFFERENCE = 0.0005  # of two scores, from which on both are shown


def results_text(
    trials: pd.DataFrame, verdict: Sequence[str] = (), odds: Kinds | None = None, truth: Truth | None = None,
    costs: FurtherCosts | None = None,
) -> str:  # fmt: skip
    """Say what a person asks of a sweep: the networks, the best one with its interval, failures, the published order,
    and what the order is worth (`verdict`, see there); how sure the front and the best are, and what guessing reaches,
    where that is known."""
    if trials.empty:
        return "no trial has a result yet"
    summary = summarise(trials)
    names = ("sweep", "data", "recipe", "device")
    facts = {name: ", ".join(sorted(trials[name].dropna().unique())) for name in names}
    where = f", {facts['device']}" if facts["device"] else ""
    how = read_facts(trials)
    way = WAYS.get(how.training)
    if way and way.each and how.train_images is not None:
        where += f"; every network is {way.each.format(images=how.train_images)}"
    lines = [f"{facts['sweep']}: data {facts['data']}, recipe {facts['recipe']}{where}", ""]
    columns = costs.columns(summary) if costs else []
    lines += [align(network_table(summary, odds, columns)), "", *doubt_lines(summary, odds, truth)]
    lines += columns_text(columns, summary["madds"].to_numpy())
    for _, trial in trials[trials["status"] == "failed"].iterrows():
        lines.append(f"failed: {name_trial(trial, trials)}, seed {trial['seed']}: {trial['error']}")
    return harmless("\n".join([*lines, *order_lines(trials, summary), *verdict]))


def doubt_lines(
    summary: pd.DataFrame, odds: Kinds | None = None, truth: Truth | None = None, legend: bool = True
) -> list[str]:
    """Say which network is best and how lucky it was, how sure the front is, what guessing reaches; with `legend` what
    the marks of the table mean."""
    return [*_kind_lines(summary, odds, legend), *_class_lines(summary, truth)]


def order_lines(trials: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Say what is to be known of the order of the networks: what training did to probes, what is executed, and how far
    it is the published one."""
    lines = [*_probe_lines(trials, main_score(summary)), *_executed_lines(summary)]
    comparison = compare_published(summary)
    if comparison:
        ours = comparison.ours
        lines.append(
            f"order of {ours.networks} published networks: Kendall tau {tau_text(ours)} with the published "
            f"{main_score(summary).label}; pairs within 25 % of MAdds as published: {near_text(ours)}"
        )
        lines.append(f"what costs alone tell of it: {costs_text(comparison)}")
    return lines


def _class_lines(summary: pd.DataFrame, truth: Truth | None) -> list[str]:
    """Say what guessing reaches, and which networks never predict some class."""
    score = main_score(summary)
    if truth is None or score not in CLASSIFICATION.scores or summary[score.name].isna().all():
        return []
    lines = [guess_text(truth, score)]
    blind = summary[summary[UNPREDICTED] > 0] if UNPREDICTED in summary else summary[:0]
    if len(blind):
        classes = f"{len(truth.classes)} classes"
        first = f"{blind['network'].iloc[0]}: {blind[UNPREDICTED].iloc[0]:.3g} of {classes}, mean over seeds"
        text = first if len(blind) == 1 else f"{len(blind)} of {len(summary)} networks, the first {first}"
        lines.append(f"never predict some classes: {text}; table --classes names those of the best network")
    return lines


def _best_lines(summary: pd.DataFrame, odds: Odds | None) -> list[str]:
    score = main_score(summary)
    name, test_name = score.name, f"test_{score.name}"
    measured = summary[summary[name].notna()]
    if measured.empty:
        return ["no trial has a result yet"]
    best = measured.loc[(score.sign * measured[name]).idxmax()]
    over = f"over {best['val_images']:.0f} images"
    if pd.notna(best["low"]):
        over = f"95 % {score.number(best['low'])} to {score.number(best['high'])} {over}"
    if pd.notna(best["seed_half_width"]):
        over += f", ±{score.number(best['seed_half_width'])} over {best['seeds']} seeds"
    if odds is not None and odds.knows_seeds:
        joint = add_odds(measured, {start_kinds(measured)[0]: odds}).loc[best.name]
        both = f"{score.number(joint['joint_low'])} to {score.number(joint['joint_high'])} over both"
        over += f", {both}, with the spread that all networks show"
    text = (
        f"best on validation: {best['network']}, trained at {best['train_size']} px: {score.said(best[name])} ({over})"
    )
    if len(measured) > 1:
        text += f", chosen among {len(measured)}, {_luck_text(score, odds)}"
    if pd.notna(best[test_name]):
        over = f"over {best['test_images']:.0f}"
        if pd.notna(best["test_low"]):
            over = f"{score.number(best['test_low'])} to {score.number(best['test_high'])} {over}"
        text += f"; on test {score.amount(best[test_name])} ({over})"
    sure = [] if odds is None else [f"on the front: {front_text(odds)} networks, 95 %"]
    return [text, *sure, *_tuned_lines(summary, score)]


def _legend_lines(summary: pd.DataFrame, odds: Odds | None, legend: bool) -> list[str]:
    """Say what the marks of the table mean, with `legend`, and why it is not known how sure the front is."""
    score = main_score(summary)
    measured, front = int(summary[score.name].notna().sum()), f"on the front of {score.label} against MAdds"
    costs = "± = 95 % t interval over seeds; costs are nominal, for one image"
    if not measured:
        return []
    if odds is not None:
        return [f"on front = how likely it is {front}, over {doubt_text(odds)}; {costs}"] if legend else []
    why = unknown_odds(score)
    if is_too_much(measured, (summary["seeds"] * summary["val_images"]).sum()):
        most = f"{MOST_NETWORKS} networks and {MOST_ANSWERS // 10**6} million answers (results x validation images)"
        why = f"how sure the front is: for up to {most}"
    return [*([f"* = {front}; {costs}"] if legend else []), *([why] if measured > 1 else [])]


def _luck_text(score: Score, odds: Odds | None) -> str:
    """Say by how much the best was lucky."""
    if odds is None:
        return "which flatters it, by how much is not known"
    luck, low, high = (f"{round(score.scale * value, 1) + 0:.1f}" for value in odds.optimism)
    sure = probability_text(odds.best[odds.measured_best])
    return f"their best with {sure}, flattered by {luck} {score.difference_unit} (95 % {low} to {high})"


def _kind_lines(summary: pd.DataFrame, odds: Kinds | None, legend: bool) -> list[str]:
    """Return the lines on the best network; on that of each kind of start, where there are several."""
    kinds, own = start_kinds(summary), odds or {}
    first = next(iter(own.values()), None)
    if len(kinds) == 1:
        return [*_best_lines(summary, first), *_legend_lines(summary, first, legend)]
    lines = [_best_lines(summary[summary["init"] == kind], own.get(kind)) for kind in kinds]
    names = " and ".join(kinds)
    note = f"networks from {names} are trained differently: no one order, each kind has its own front and best network"
    return [*(line for some in lines for line in some), *_legend_lines(summary, first, legend), note]


def _executed_lines(summary: pd.DataFrame) -> list[str]:
    """Say where the sizes of training don't keep the networks' costs in step."""
    warning = spread_warning(summary["executed_fraction"].to_list())
    return [f"warning: {warning}"] if warning else []


def _probe_lines(trials: pd.DataFrame, score: Score) -> list[str]:
    """Say what training did to the networks that began under the classifier of their probe."""
    before, after = f"val_{PROBED}{score.name}", f"val_{score.name}"
    if before not in trials:
        return []
    known = trials[trials[before].notna()]
    gains = score.sign * (known[after] - known[before])
    low, high = score.number(gains.min()), score.number(gains.max())
    span, probes = (low, "its probe") if len(known) == 1 else (f"{low} to {high}", "the probes")
    lines = [f"tuning changed {score.label} on validation by {span} {score.difference_unit} from {probes}"]
    for _, trial in known[gains < 0].iterrows():
        change = f"{score.said(trial[before])} as a probe, {score.amount(trial[after])} after"
        lines.append(f"tuning made it worse: {name_trial(trial, trials)}, seed {trial['seed']}: {change}")
    return lines


def _tuned_lines(summary: pd.DataFrame, score: Score) -> list[str]:
    tuned = summary[summary[f"tuned_{score.name}"].notna()]
    if tuned.empty:
        return []
    best = tuned.loc[(score.sign * tuned[f"tuned_{score.name}"]).idxmax()]
    test = best[f"tuned_test_{score.name}"]
    return [
        f"best of {len(tuned)} trained on by themselves: {best['network']}: "
        f"{score.said(best[f'tuned_{score.name}'])}{'' if pd.isna(test) else f', on test {score.amount(test)}'}"
    ]


def trials_table(trials: pd.DataFrame) -> list[list[str]]:
    """Return header and a row per trial, with how each got its weights where not all of them were trained alone."""
    shared, score = bool((trials["training"] != ALONE).any()), main_score(trials)
    rows = [
        [
            name_trial(t, trials),
            *([t["training"]] if shared else []),
            f"{t['train_size']} px",
            str(t["seed"]),
            t["status"],
        ]
        + [score.number(t[f"val_{score.name}"]), score.number(t[f"test_{score.name}"])]
        + [_number(t["images_per_second"]), _number(t["seconds"]), "" if pd.isna(t["error"]) else t["error"]]
        for t in trials.to_dict("records")
    ]
    header = ["network", *(["weights"] if shared else []), "trained at", "seed", "status"]
    return [[*header, f"val {score.label}", f"test {score.label}", "images/s", "seconds", "error"], *rows]


def network_table(summary: pd.DataFrame, odds: Kinds | None = None, columns: Sequence[Column] = ()) -> list[list[str]]:
    """Return header and a row per network, from `stats.summarise`, with further costs of these; `*` marks the front,
    where odds are unknown."""
    score = main_score(summary)
    tested, tuned = (bool(summary[f"{which}_{score.name}"].notna().any()) for which in ("test", "tuned"))
    executed = bool((summary["executed_madds"] != summary["madds"]).any())
    front = "front" if odds is None else "on front"
    header = [front, "network", "MAdds", *(["executed"] if executed else []), "params", "peak act."]
    header += [heading for column in columns for heading in column.headings]
    header += ["trained at", "seeds", "failed"]
    others = _uneven_scores(summary, score)
    header += [f"val {score.label}", "95 % images", *(other.label for other in others)]
    header += [*([f"test {score.label}"] if tested else [])]
    header += [*(["fine-tuned"] if tuned else []), "images/s", "seconds"]
    rows = [_network_row(row, score, others, executed, tested, tuned) for row in _records(summary)]
    if odds is not None:
        for row, probability in zip(rows, front_odds(odds, summary), strict=True):
            row[0] = probability_text(probability)
    at = header.index("peak act.") + 1
    for place, row in enumerate(rows):
        row[at:at] = [cell for column in columns for cell in column.cells(place)]
    return [header, *rows]


def _uneven_scores(summary: pd.DataFrame, score: Score) -> list[Score]:
    """Return the scores beside the main one that tell something else of a classification: with as many images of each
    class balanced accuracy is top-1."""
    known = {TOP1.name, BALANCED.name, MACRO_F1.name} <= {*summary.columns}
    if not known or not ((summary[TOP1.name] - summary[BALANCED.name]).abs() >= SHOWN_DIFFERENCE).any():
        return []
    return [other for other in (TOP1, BALANCED, MACRO_F1) if other != score]


def _records(frame: pd.DataFrame) -> Iterator[dict]:
    """Yield the rows, as `to_dict` does, in less time."""
    names = [*frame.columns]
    columns = [frame[name].to_numpy(dtype=object).tolist() for name in names]
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _network_row(
    row: dict, score: Score, others: Sequence[Score], executed: bool, tested: bool, tuned: bool
) -> list[str]:
    cells = [
        "*" if row["on_front"] else "",
        row["network"],
        millions(row["madds"]),
        *([millions(row["executed_madds"])] if executed else []),
        millions(row["params"], 2),
        megabytes(row["peak_activation_bytes"]),
        f"{row['train_size']} px",
        str(row["seeds"]),
        str(row["failed"]),
        score.number(row[score.name])
        + ("" if math.isnan(row["seed_half_width"]) else f" ±{score.number(row['seed_half_width'])}"),
        "-" if math.isnan(row["low"]) else f"{score.number(row['low'])}-{score.number(row['high'])}",
        *(other.number(row[other.name]) for other in others),
    ]
    if tested:
        cells.append(score.number(row[f"test_{score.name}"]))
    if tuned:
        cells.append(score.number(row[f"tuned_{score.name}"]))
    return [*cells, _number(row["images_per_second"]), _number(row["seconds"])]


def frame_json(frame: pd.DataFrame) -> str:
    """Return a list of objects, one a row; missing values are null."""
    return json.dumps(json.loads(frame.to_json(orient="records", double_precision=15)), indent=2)


def frame_csv(frame: pd.DataFrame) -> str:
    """Return a header and a line a row; missing values are empty, and no text is a formula to a spreadsheet."""
    texts = frame.select_dtypes(exclude=["number", "bool"])
    safe = {name: [harmless_cell(x) if isinstance(x, str) else x for x in texts[name]] for name in texts}
    return frame.assign(**safe).to_csv(index=False).rstrip("\n")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"
