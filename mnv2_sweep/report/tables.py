"""Frames and costs -> text: an aligned table for people, CSV and JSON for programs."""

import json
from collections.abc import Sequence

import pandas as pd

from mnv2_sweep.analysis.stats import compare_published, read_facts, summarise
from mnv2_sweep.base.text import align, megabytes, millions, percent


def results_text(trials: pd.DataFrame, verdict: Sequence[str] = ()) -> str:
    """Say what a person asks of a sweep: the networks, the best one with its interval, failures, the published order,
    and what the order is worth (`verdict`, see there)."""
    if trials.empty:
        return "no trial has a result yet"
    summary = summarise(trials)
    names = ("sweep", "data", "recipe", "device")
    facts = {name: ", ".join(sorted(trials[name].dropna().unique())) for name in names}
    where = f", {facts['device']}" if facts["device"] else ""
    how = read_facts(trials)
    if how.training == "shared" and how.train_images is not None:
        where += f"; every network is a slice of one training of {how.train_images:,} images"
    lines = [f"{facts['sweep']}: data {facts['data']}, recipe {facts['recipe']}{where}", ""]
    lines += [align(network_table(summary)), "", *_best_lines(summary)]
    for _, trial in trials[trials["status"] == "failed"].iterrows():
        lines.append(f"failed: {trial['network']}, seed {trial['seed']}: {trial['error']}")
    comparison = compare_published(summary)
    if comparison:
        near = comparison.near_as_published + comparison.near_other_way
        lines.append(
            f"order of {comparison.networks} published networks: Kendall tau {comparison.tau:.3f} with the published "
            f"top-1 (MAdds alone {comparison.tau_madds:.3f}); of {near} untied pairs within 25 % MAdds, "
            f"{comparison.near_as_published} as published"
        )
    return "\n".join([*lines, *verdict])


def _best_lines(summary: pd.DataFrame) -> list[str]:
    measured = summary[summary["top1"].notna()]
    if measured.empty:
        return ["no trial has a result yet"]
    best = measured.loc[measured["top1"].idxmax()]
    seeds = (
        "" if pd.isna(best["seed_half_width"]) else f", ±{percent(best['seed_half_width'])} over {best['seeds']} seeds"
    )
    text = (
        f"best on validation: {best['network']}, trained at {best['train_size']} px: top-1 {percent(best['top1'])} % "
        f"(95 % {percent(best['low'])} to {percent(best['high'])} over {best['val_images']:.0f} images{seeds})"
    )
    if len(measured) > 1:
        text += f", chosen among {len(measured)}, so a little optimistic"
    if pd.notna(best["test_top1"]):
        text += (
            f"; on test {percent(best['test_top1'])} % "
            f"({percent(best['test_low'])} to {percent(best['test_high'])} over {best['test_images']:.0f})"
        )
    tuned = summary[summary["tuned_top1"].notna()]
    lines = [text]
    if len(tuned):
        best = tuned.loc[tuned["tuned_top1"].idxmax()]
        test = "" if pd.isna(best["tuned_test_top1"]) else f", on test {percent(best['tuned_test_top1'])} %"
        lines.append(
            f"best of {len(tuned)} trained on by themselves: {best['network']}: "
            f"top-1 {percent(best['tuned_top1'])} %{test}"
        )
    return [
        *lines,
        "* = on the front of top-1 against MAdds; ± = 95 % t interval over seeds; costs are nominal, for one image",
    ]


def trials_table(trials: pd.DataFrame) -> list[list[str]]:
    """Return header and a row per trial, with how each got its weights where not all of them were trained alone."""
    shared = bool((trials["training"] != "alone").any())
    rows = [
        [t["network"], *([t["training"]] if shared else []), f"{t['train_size']} px", str(t["seed"]), t["status"]]
        + [percent(t["val_top1"]), percent(t["test_top1"])]
        + [_number(t["images_per_second"]), _number(t["seconds"]), "" if pd.isna(t["error"]) else t["error"]]
        for t in trials.to_dict("records")
    ]
    header = ["network", *(["weights"] if shared else []), "trained at", "seed", "status", "val top-1", "test top-1"]
    return [[*header, "images/s", "seconds", "error"], *rows]


def network_table(summary: pd.DataFrame) -> list[list[str]]:
    """Return header and a row per network, from `stats.summarise`; `*` marks the front."""
    tested, tuned = (bool(summary[column].notna().any()) for column in ("test_top1", "tuned_top1"))
    header = ["front", "network", "MAdds", "params", "peak act.", "trained at", "seeds", "failed"]
    header += ["val top-1", "95 % images", *(["test top-1"] if tested else [])]
    header += [*(["fine-tuned"] if tuned else []), "images/s", "seconds"]
    return [header, *(_network_row(row, tested, tuned) for row in summary.to_dict("records"))]


def _network_row(row: dict, tested: bool, tuned: bool) -> list[str]:
    cells = [
        "*" if row["on_front"] else "",
        row["network"],
        millions(row["madds"]),
        millions(row["params"], 2),
        megabytes(row["peak_activation_bytes"]),
        f"{row['train_size']} px",
        str(row["seeds"]),
        str(row["failed"]),
        percent(row["top1"]) + ("" if pd.isna(row["seed_half_width"]) else f" ±{percent(row['seed_half_width'])}"),
        "-" if pd.isna(row["low"]) else f"{percent(row['low'])}-{percent(row['high'])}",
    ]
    if tested:
        cells.append(percent(row["test_top1"]))
    if tuned:
        cells.append(percent(row["tuned_top1"]))
    return [*cells, _number(row["images_per_second"]), _number(row["seconds"])]


def frame_json(frame: pd.DataFrame) -> str:
    """Return a list of objects, one a row; missing values are null."""
    return json.dumps(json.loads(frame.to_json(orient="records", double_precision=15)), indent=2)


def frame_csv(frame: pd.DataFrame) -> str:
    """Return a header and a line a row; missing values are empty."""
    return frame.to_csv(index=False).rstrip("\n")


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:,.0f}"
