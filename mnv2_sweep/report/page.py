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
from mnv2_sweep.analysis.differences import load_readings
from mnv2_sweep.analysis.odds import load_odds, probability_text
from mnv2_sweep.analysis.recommendation import NOTHING, UNKNOWN, Recommendation
from mnv2_sweep.analysis.stats import read_facts
from mnv2_sweep.analysis.sweep import Sweep
from mnv2_sweep.analysis.verdict import sweep_verdict
from mnv2_sweep.base.text import count_noun, duration, megabytes
from mnv2_sweep.record.folders import is_ablation
from mnv2_sweep.record.store import find_trials, read_truth
from mnv2_sweep.report.ablation import readings_text
from mnv2_sweep.report.drawn import Confusion, figure_data, find_confusion, find_curves, named_networks
from mnv2_sweep.report.points import Points, Quantity, find_points
from mnv2_sweep.report.tables import doubt_lines, order_lines
from mnv2_sweep.sweeps.status import Status, read_status, status_text
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import WAYS

MOST_UNKNOWN = 0.5  # of a cost's values; more make no column
MOST_FAILED = 50  # that are listed
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
    points = find_points(sweep, odds, named_networks(advice))
    status = read_status(sweep.folder)
    first = find_trials(sweep.folder, [trials["trial_id"].iloc[0]])
    trial = next(iter(first.values()))
    curves, seen = find_curves(sweep, points, advice)
    doubt = doubt_lines(sweep.summary, odds, read_truth(sweep.folder), legend=False)
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
        confusion=find_confusion(sweep, advice),
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
        data=figure_data(sweep, points, advice, curves),
    )


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
    for heading, name in (("on front", "front_probability"), ("best of all", "best_probability")):
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


# ---------------------------------------------------------------- what was compared, what failed, what it took


def _ablation_text(folder: Path) -> str:
    """Return what paired experiments say, "" where there are none."""
    if not is_ablation(folder):
        return ""
    protocol, readings = load_readings(folder)
    seen = any(one.seeds for one in readings)
    return readings_text(readings, protocol.looks, peeked=protocol.peeked) if seen else ""


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
    """Read what env.json says of the last run, and how many earlier ones there were; nothing where it can't be read."""
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
