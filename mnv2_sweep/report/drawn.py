"""Points and a Recommendation -> what the figures of the page draw: networks on axes, learning curves, a confusion
matrix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnv2_sweep.analysis.advice import Parts
from mnv2_sweep.analysis.classes import best_networks, load_given, tabulate_classes
from mnv2_sweep.analysis.recommend import next_command
from mnv2_sweep.analysis.recommendation import Recommendation
from mnv2_sweep.analysis.stats import name_trial
from mnv2_sweep.analysis.sweep import Sweep
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.record.frame import load_curves
from mnv2_sweep.record.store import find_trials
from mnv2_sweep.report.classes import class_rows
from mnv2_sweep.report.points import Points, Quantity
from mnv2_sweep.spaces.wishes import UPPER, wish_text
from mnv2_sweep.trials.tasks import main_score
from mnv2_sweep.trials.ways import goes_on

MOST_CURVES = 24  # networks whose curves are drawn
MOST_CLASSES = 40  # of a confusion matrix
SHADES = 9  # of its cells


@dataclass(frozen=True, slots=True)
class Confusion:
    """What a network took the validation images of each class for: classes by rows, the shares in percent as texts with
    a shade from 0 to SHADES; `rows` of a table of classes, the header first. `why` it is not there."""

    network: str = ""
    classes: Sequence[str] = ()
    shares: Sequence[Sequence[tuple[str, int]]] = ()
    rows: Sequence[Sequence[str]] = ()
    why: str = ""


def named_networks(advice: Recommendation) -> set[str]:
    """Return the networks that the answer names."""
    named = [advice.taken, advice.leader, *advice.rivals, advice.cheaper, advice.better, advice.nearest]
    return {one.network for one in named if one is not None} | {network for _, network, _ in advice.others}


def figure_data(
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
            kind: [one | {"networks": [places[name] for name in one["networks"] if name in places]} for one in some]
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
        values = zip(rows["seed"], rows[f"val_{score.name}"], strict=True)
        each = [f"{seed}: {score.amount(value)}" for seed, value in values if not pd.isna(value)]
        command = next_command(sweep.folder, row["network"], [found[name] for name in rows["trial_id"]])
        more.append([("seeds one by one", "; ".join(each) or "none has a result"), ("next", command)])
    return more


def find_curves(sweep: Sweep, points: Points, advice: Recommendation) -> tuple[dict[str, list[dict]], str]:
    """Return the curves of "loss" and "score" of some networks, each once where networks share a training, and a line
    on which."""
    networks, score = points.networks, main_score(sweep.trials)
    first = networks["network"].isin(named_networks(advice)).to_numpy()
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


def find_confusion(sweep: Sweep, advice: Recommendation) -> Confusion:
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
