"""A sweep and a Recommendation -> Page: all that the HTML report says, as texts, tables and data for its figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mnv2_sweep import __version__
from mnv2_sweep.analysis.advice import Parts, advice_parts, fitting_text, rivals_table
from mnv2_sweep.analysis.choice import SURE, TIED
from mnv2_sweep.analysis.classes import best_networks, load_given, tabulate_classes
from mnv2_sweep.analysis.differences import load_readings
from mnv2_sweep.analysis.odds import Odds, load_odds, probability_text
from mnv2_sweep.analysis.recommend import next_command
from mnv2_sweep.analysis.recommendation import NOTHING, UNKNOWN, Recommendation
from mnv2_sweep.analysis.stats import name_trial, read_facts
from mnv2_sweep.analysis.sweep import Sweep
from mnv2_sweep.analysis.verdict import sweep_verdict
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.text import count_noun, duration, megabytes
from mnv2_sweep.record.folders import is_ablation
from mnv2_sweep.record.frame import load_curves
from mnv2_sweep.record.store import find_trials, read_truth
from mnv2_sweep.report.ablation import readings_text
from mnv2_sweep.report.classes import class_rows
from mnv2_sweep.report.points import Points, Quantity, find_points
from mnv2_sweep.report.tables import doubt_lines, order_lines
from mnv2_sweep.spaces.wishes import UPPER, wish_text
from mnv2_sweep.sweeps.status import Status, read_status, status_text
from mnv2_sweep.trials.tasks import main_score
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import WAYS, goes_on

MOST_CURVES = 24  # networks whose curves are drawn
MOST_CLASSES = 40  # of a confusion matrix
MOST_UNKNOWN = 0.5  # of a cost's values; more make no column
MOST_FAILED = 50  # that are listed
SHADES = 9  # of cells of a confusion matrix
HEADLINES = {
    SURE: "Take {taken}",
    TIED: "Take {taken}: these data cannot tell a dearer one from it",
    UNKNOWN: "{taken} measured best; how sure that is can't be said",
    NOTHING: "No network keeps the wishes",
}
UNSURE_HEADLINE = "{taken} is the likeliest, but it is not sure"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table of networks: its text, and the number by which it is sorted, None for none."""

    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of networks: its heading, its cells, and what a filter that bounds it is called; "" where
    none does."""

    heading: str
    cells: Sequence[Cell]
    bound: str = ""


@dataclass(frozen=True, slots=True)
class Confusion:
    """What a network took the validation images of each class for: classes by rows, the shares in percent as texts with
    a shade from 0 to SHADES; `rows` of a table of classes, the header first. `why` it is not there."""

    network: str = ""
    classes: Sequence[str] = ()
    shares: Sequence[Sequence[tuple[str, int]]] = ()
    rows: Sequence[Sequence[str]] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What the report says, from top to bottom; `data` is for its figures."""

    sweep: str
    headline: str
    verdict: str
    facts: Sequence[str]
    fitting: str
    answer: Parts
    rivals: Sequence[Sequence[str]]
    points: Points
    columns: Sequence[Column]
    curves: str
    confusion: Confusion
    ablation: str
    state: str
    failed: Sequence[Sequence[str]]
    more_failed: int
    price: Parts
    trust: Sequence[str]
    predicted: Sequence[str]
    provenance: Parts
    recipe: Parts
    space: str
    has_odds: bool
    images: int
    knows_seeds: bool
    data: Mapping[str, Any]


def make_page(sweep: Sweep, advice: Recommendation, command: str, made: str) -> Page:
    """Make the page of a sweep that has a result; `command` made it, at a time `made`. Raises StoreError."""
    trials, odds = sweep.trials, load_odds(sweep.folder, sweep.trials)
    points = find_points(sweep, odds, _named(advice))
    status = read_status(sweep.folder)
    first = find_trials(sweep.folder, [trials["trial_id"].iloc[0]])
    trial = next(iter(first.values()))
    curves, seen = _find_curves(sweep, points, advice)
    doubt = doubt_lines(sweep.summary, odds, read_truth(sweep.folder))
    taken = advice.taken.network if advice.taken else ""
    headline = HEADLINES.get(advice.verdict, UNSURE_HEADLINE).format(taken=taken)
    return Page(
        sweep=sweep.name,
        headline=headline,
        verdict=advice.verdict,
        facts=_facts(sweep),
        fitting=fitting_text(advice),
        answer=advice_parts(advice),
        rivals=rivals_table(advice) if advice.rivals and advice.taken else [],
        points=points,
        columns=_columns(points),
        curves=seen,
        confusion=_find_confusion(sweep, advice),
        ablation=_ablation_text(sweep.folder),
        state=status_text(status).split("\n")[0].removeprefix(f"{sweep.name}: "),
        failed=_failed_rows(status),
        more_failed=max(0, len(status.failed) - MOST_FAILED),
        price=_price_parts(trials),
        trust=[*doubt, *order_lines(trials, sweep.summary), *sweep_verdict(sweep.folder)],
        predicted=points.notes,
        provenance=_provenance(sweep, trial, command, made),
        recipe=[(name, str(value)) for name, value in asdict(trial.recipe).items()],
        space=_read_text(sweep.folder / "space.yaml"),
        has_odds=odds is not None,
        images=advice.images,
        knows_seeds=advice.knows_seeds,
        data=_figure_data(sweep, points, advice, curves),
    )


def _named(advice: Recommendation) -> set[str]:
    """Return the networks that the answer names."""
    named = [advice.taken, advice.leader, *advice.rivals, advice.cheaper, advice.better, advice.nearest]
    return {one.network for one in named if one is not None} | {network for _, network, _ in advice.others}


def _facts(sweep: Sweep) -> list[str]:
    """Return what was trained on what, in a few words each."""
    how = read_facts(sweep.trials)
    facts = [f"data {how.data}", f"recipe {how.recipe}"]
    way = WAYS.get(how.training)
    if way and way.each and how.train_images is not None:
        facts.append(f"every network is {way.each.format(images=how.train_images)}")
    elif how.train_images is not None:
        facts.append(f"{how.train_images:,} training images each, repeats counted")
    facts += [count_noun(len(sweep.summary), "network"), count_noun(len(sweep.trials), "trial")]
    return [*facts, f"on {how.device}"] if how.device else facts


# ---------------------------------------------------------------- the table of networks


def _columns(points: Points) -> list[Column]:
    """Return the columns of the table, the network's name first."""
    networks = points.networks
    columns = [Column("network", [Cell(name) for name in networks["network"]])]
    for heading, name in (("on front", "front_probability"), ("best", "best_probability")):
        if networks[name].notna().any():
            cells = [Cell(probability_text(value), _known(100 * value)) for value in networks[name]]
            columns.append(Column(heading, cells, f"{heading} (%)"))
    if networks["front_probability"].isna().all():
        cells = [Cell("yes" if on else "", float(on)) for on in networks["on_front"]]
        columns.insert(1, Column("on front", cells))
    main, *others = points.scores
    others = [one for one in others if not one.name.startswith("test_") or one.name == f"test_{main.name}"]
    costs = [one for one in points.costs if np.isnan(one.values).mean() <= MOST_UNKNOWN]
    columns += [_quantity_column(one) for one in (main, *others[:1], *costs, *others[1:])]
    columns.append(Column("trained at", [Cell(f"{size} px") for size in networks["train_size"]]))
    for name in ("seeds", "failed"):
        columns.append(Column(name, [Cell(str(value), float(value)) for value in networks[name]], name))
    seconds = [Cell("-" if pd.isna(value) else f"{value:,.0f}", _known(value)) for value in networks["seconds"]]
    return [*columns, Column("seconds", seconds, "seconds")]


def _quantity_column(one: Quantity) -> Column:
    cells = []
    for at, value in enumerate(one.values):
        text = "-" if np.isnan(value) else f"{value:,.{one.digits}f}"
        if one.low is not None and not np.isnan(one.low[at]):
            text += f" ({one.low[at]:,.{one.digits}f} to {one.high[at]:,.{one.digits}f})"
        cells.append(Cell(text, _known(value)))
    return Column(one.title, cells, one.title)


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


# ---------------------------------------------------------------- figures


def _figure_data(
    sweep: Sweep, points: Points, advice: Recommendation, curves: Mapping[str, list[dict]]
) -> dict[str, Any]:
    """Return what the scripts of the page draw."""
    networks = points.networks
    places = {name: at for at, name in enumerate(networks["network"])}
    kinds = [*networks["init"]] if "init" in networks else [""] * len(networks)
    scale = {one.name: _scale(one) for one in points.costs}
    return {
        "networks": [
            {"name": name, "kind": kind, "more": more}
            for name, kind, more in zip(networks["network"], kinds, _more_rows(sweep, networks), strict=True)
        ],
        "costs": [_quantity_record(one) for one in points.costs],
        "scores": [_quantity_record(one) for one in points.scores],
        "fronts": points.fronts(),
        "cost": advice.cost if advice.cost in scale else points.costs[0].name,
        "taken": places.get(advice.taken.network) if advice.taken else None,
        "rivals": [places[one.network] for one in advice.rivals if one.network in places],
        "limits": [
            {"cost": wish.cost, "upper": wish.operator in UPPER, "value": float(wish.limit) / scale[wish.cost],
             "text": wish_text(wish)}
            for wish in advice.wishes if wish.cost in scale
        ],
        "curves": {
            kind: [one | {"networks": [places[name] for name in one["networks"]]} for one in some]
            for kind, some in curves.items()
        },
    }  # fmt: skip


def _scale(one: Quantity) -> float:
    return 1.0 if one.unit == "ms" else 1e6


def _quantity_record(one: Quantity) -> dict[str, Any]:
    ends = {} if one.low is None else {"low": one.low.tolist(), "high": one.high.tolist(), "over": one.over}
    return {
        "name": one.name, "label": one.label, "unit": one.unit, "title": one.title, "sign": one.sign,
        "digits": one.digits, "values": one.values.tolist(), **ends,
    }  # fmt: skip


def _more_rows(sweep: Sweep, networks: pd.DataFrame) -> list[Parts]:
    """Return of each network what its card has beside the table: each seed's score, and the command that comes next."""
    score, trials = main_score(sweep.trials), sweep.trials
    trials = trials[~trials["training"].map(goes_on).astype(bool) & trials["arch_key"].isin(networks["arch_key"])]
    found = find_trials(sweep.folder, [*trials["trial_id"]])
    kinds = trials["init"] if "init" in trials else pd.Series("", trials.index)
    own = {both: rows.sort_values("seed") for both, rows in trials.groupby([trials["arch_key"], kinds], sort=False)}
    more = []
    for at in range(len(networks)):
        row = networks.iloc[at]
        rows = own[row["arch_key"], row.get("init", "")]
        each = [f"{seed}: {score.amount(value)}" for seed, value in zip(rows["seed"], rows[f"val_{score.name}"], strict=True)
                if not pd.isna(value)]  # fmt: skip
        command = next_command(sweep.folder, row["network"], [found[name] for name in rows["trial_id"]])
        more.append([("seeds one by one", "; ".join(each) or "none has a result"), ("next", command)])
    return more


def _find_curves(sweep: Sweep, points: Points, advice: Recommendation) -> tuple[dict[str, list[dict]], str]:
    """Return the curves of "loss" and "score" of some networks, each once where networks share a training, and a line on
    which."""
    networks, score = points.networks, main_score(sweep.trials)
    first = networks["network"].isin(_named(advice)).to_numpy()
    order = np.lexsort((np.arange(len(networks)), ~networks["on_front"].to_numpy(dtype=bool), ~first))[:MOST_CURVES]
    chosen = networks.iloc[np.sort(order)]
    trials = sweep.trials[sweep.trials["arch_key"].isin(chosen["arch_key"]) & (sweep.trials["status"] == "done")]
    names = {row["trial_id"]: name_trial(row, sweep.trials) for row in trials.to_dict("records")}
    recorded, curves = load_curves(sweep.folder, [*names]), {}
    for kind, column, scale in (("loss", "train_loss", 1.0), ("score", f"val_{score.name}", score.scale)):
        found: dict[tuple, dict] = {}
        for name, rows in recorded[recorded[column].notna()].groupby("trial_id", sort=False):
            images, values = rows["images"].astype(float).tolist(), (scale * rows[column].astype(float)).tolist()
            one = {"images": images, "values": values, "seed": int(rows["seed"].iloc[0]), "networks": []}
            found.setdefault((*images, *values), one)["networks"].append(names[name])
        curves[kind] = [*found.values()]
    if recorded.empty:
        return curves, "No curve is on record"
    shared = any(len(one["networks"]) > 1 for one in curves["loss"])
    line = f"{count_noun(len(curves['loss']), 'training')}" + (", each of many networks at once" if shared else "")
    if len(chosen) < len(networks):
        line += f"; of {len(chosen)} networks: those that the answer names, then the front"
    return curves, line


def _find_confusion(sweep: Sweep, advice: Recommendation) -> Confusion:
    """Return what the network to take, or else the best, took each class for."""
    keys = [advice.taken.arch_key] if advice.taken else best_networks(sweep.summary)[:1]
    trials = sweep.trials
    if advice.kind and "init" in trials:
        trials = trials[trials["init"] == advice.kind]
    try:
        given = next(load_given(sweep.folder, trials, {*keys}))
    except StoreError as error:
        return Confusion(why=str(error).removeprefix(f"{sweep.folder}: "))
    names = given.truth.classes
    rows = class_rows(tabulate_classes(given))
    if len(names) > MOST_CLASSES:
        why = f"{len(names):,} classes are too many for a matrix; the worst are listed"
        return Confusion(given.network, names, rows=rows, why=why)
    confusion = given.confusion()
    images = confusion.sum(1, keepdims=True)
    shares = np.divide(100 * confusion, images, out=np.zeros_like(confusion), where=images > 0)
    cells = [[(f"{share:.0f}" if share >= 0.5 else "", int(np.ceil(share / 100 * SHADES))) for share in row]
             for row in shares]  # fmt: skip
    return Confusion(given.network, names, cells, rows)


def _ablation_text(folder: Path) -> str:
    """Return what paired experiments say, "" where there are none."""
    if not is_ablation(folder):
        return ""
    protocol, readings = load_readings(folder)
    seen = any(one.seeds for one in readings)
    return readings_text(readings, protocol.looks, peeked=protocol.peeked) if seen else ""


# ---------------------------------------------------------------- what it took and where it comes from


def _failed_rows(status: Status) -> list[list[str]]:
    """Return header and a row for each trial that failed, of many the first."""
    rows = [[one.trial, one.kind, count_noun(one.attempts, "time"), one.error] for one in status.failed[:MOST_FAILED]]
    return [["trial", "how", "tried", "error"], *rows] if rows else []


def _price_parts(trials: pd.DataFrame) -> Parts:
    """Say what the sweep took."""
    done = trials[(trials["status"] == "done")]
    own = done[done["source"].isna()]
    unit = "core" if set(done["device"].dropna()) <= {"cpu"} else "GPU"
    parts = [
        ("time", f"{duration(own['seconds'].sum())} of {unit} time for {count_noun(len(own), 'result')}: training and "
         "evaluation, without loading the data; of a network that shares a training, its share of that"),
    ]  # fmt: skip
    if len(own) < len(done):
        parts.append(
            ("reused", f"{count_noun(len(done) - len(own), 'result')} of other sweeps, which took no time here")
        )
    per_network = done.groupby("network", sort=False)["seconds"].mean()
    if len(per_network) > 1:
        least, most = per_network.idxmin(), per_network.idxmax()
        parts.append(
            ("a trial", f"from {duration(per_network[least])} ({least}) to {duration(per_network[most])} ({most})")
        )
    parts.append(("memory", f"{megabytes(done['peak_memory_bytes'].max(), 0)} at most in one process or on one GPU"))
    return parts


def _provenance(sweep: Sweep, trial: Trial, command: str, made: str) -> Parts:
    """Return where results and page come from."""
    seeds = sorted(sweep.trials["seed"].unique())
    parts = [
        ("data", f"{trial.data.name}, {trial.data.classes} classes"),
        ("data digest", trial.data.fingerprint),
        (
            "seeds",
            ", ".join(map(str, seeds)) if len(seeds) <= 20 else f"{seeds[0]} to {seeds[-1]}, {len(seeds)} of them",
        ),
    ]
    told = {name: value for name, value in _read_environment(sweep.folder).items() if value is not None}
    told.pop("data", None)  # told already, of the very trials
    parts += [("run by" if name == "command" else name, str(value)) for name, value in told.items()]
    return [*parts, ("page made by", command), ("page made at", made), ("page's version", f"mnv2-sweep {__version__}")]


def _read_environment(folder: Path) -> dict[str, Any]:
    """Read what env.json says of the last run, with how many earlier ones there were; nothing where it can't be read."""
    try:
        found = dict(json.loads(_read_text(folder / "env.json")))
    except (ValueError, TypeError, RecursionError):
        return {}
    earlier = found.pop("earlier", None)
    return found | ({"earlier runs elsewhere": len(earlier)} if isinstance(earlier, list) else {})


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
