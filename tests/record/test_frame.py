"""Stored outcomes to tables: every recorded trial is a row, failed ones too, and costs are counted on reading."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, set_expansion
from mnv2_sweep.nets.cost import Cost, count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record import frame
from mnv2_sweep.record.frame import load_curves, load_frame
from mnv2_sweep.record.store import DATABASE, Outcome, record
from mnv2_sweep.trials.trial import Sharing, trial_id

COLUMNS = [
    *("trial_id", "sweep", "status", "error", "kind", "attempts", "source"),
    *("network", "arch_key", "width", "resolution", "train_size", "expansion"),
    *("paper_table", "kernel", "linear_bottleneck", "residual", "last_channels", "classes", "dropout", "family"),
    *(
        "groups",
        "activation",
        "scale_last_conv",
        "depthwise",
        "in_channels",
        "stem_channels",
        "se_ratio",
        "divisor",
        "padding",
    ),
    *("head", "output_stride", "aspp", "scales", "anchors", "anchor_scale", "extra_channels"),
    *("recipe", "input_scale", "data", "data_classes"),
    *("seed", "training", "val_top1", "val_loss", "val_images", "test_top1", "test_loss"),
    *("test_images", "train_loss", "train_images", "seconds", "images_per_second", "peak_memory_bytes", "device"),
    *("madds", "params", "peak_activation_bytes", "depth", "executed_madds", "executed_fraction"),
]
POINT = ["epoch", "images", "train_loss", "lr", "val_top1"]
MEASURED = COLUMNS[COLUMNS.index("val_top1") : COLUMNS.index("madds")]


@pytest.fixture
def sweep(tmp_path, make_trial, make_result):
    """A folder of three trials: one done, one failed, one without a test split."""
    trials = [
        make_trial(0, arch=ArchSpec(width=0.5, resolution=96), input_scale=0.25),
        make_trial(1, arch=ArchSpec(kernel=5, residual="none", classes=10, dropout=0.0)),
        make_trial(2, arch=ArchSpec(stages=(Stage(1, 8, 1, 1), Stage(2, 8, 1, 1), Stage(3, 8, 1, 1)))),
    ]
    folder = tmp_path / "wide"
    record(folder, Outcome(trials[0], make_result(val_top1=0.625, device="cpu")))
    record(folder, Outcome(trials[1], error="ValueError: bad"))
    record(folder, Outcome(trials[2], make_result(test_top1=None, test_loss=None, test_images=0)))
    return folder, trials


def test_a_row_a_trial_in_the_order_of_recording(sweep):
    folder, trials = sweep
    rows = load_frame(folder)
    assert list(rows.columns) == COLUMNS
    assert rows["trial_id"].tolist() == [trial_id(trial) for trial in trials]
    assert rows["status"].tolist() == ["done", "failed", "done"]
    assert rows["sweep"].unique().tolist() == ["wide"] and load_frame(str(folder)).equals(rows)


def test_a_done_row_holds_spec_recipe_and_measurements(sweep, make_result):
    folder, trials = sweep
    row = load_frame(folder).iloc[0]
    expected = dict(width=0.5, resolution=96, train_size=24, expansion=6, paper_table=True, kernel=3)
    expected |= dict(linear_bottleneck=True, residual="bottleneck", last_channels=1280, classes=1000, dropout=0.2)
    expected |= dict(activation="relu6", scale_last_conv=False, depthwise=True)
    expected |= dict(recipe="tiny", input_scale=0.25, data="toy", data_classes=3, seed=0, network="0.5 at 96")
    expected |= make_result(val_top1=0.625).flat()
    assert {name: row[name] for name in expected} == expected
    assert row["arch_key"] == arch_key(trials[0].arch) and pd.isna(row["error"])


def test_a_failed_row_keeps_its_spec_and_misses_what_was_not_measured(sweep):
    row = load_frame(sweep[0]).iloc[1]
    assert row["error"] == "ValueError: bad" and row["seed"] == 1
    assert (row["kernel"], row["residual"], row["classes"], row["dropout"]) == (5, "none", 10, 0.0)
    assert row[MEASURED].isna().all()


def test_failures_never_count_as_zero(sweep):
    rows = load_frame(sweep[0])
    assert rows["val_top1"].mean() == (0.625 + 0.5) / 2 and rows["val_top1"].count() == 2
    assert rows["test_top1"].tolist() == pytest.approx([0.4, np.nan, np.nan], nan_ok=True)
    assert all(rows[name].dtype.kind in "fi" for name in MEASURED if name != "device")


def test_a_sweep_where_all_failed_can_be_summarised(tmp_path, make_trial):
    for seed in range(2):
        record(tmp_path, Outcome(make_trial(seed), error="ValueError: bad"))
    rows = load_frame(tmp_path)
    assert rows[MEASURED].isna().all(axis=None) and rows["madds"].notna().all()
    summary = summarise(rows)
    assert summary["failed"].tolist() == [2] and summary["top1"].isna().all()


def test_measurements_are_numbers_even_where_all_failed(tmp_path, make_trial):
    record(tmp_path, Outcome(make_trial(), error="ValueError: bad"))
    rows = load_frame(tmp_path)
    assert all(rows[name].dtype.kind == "f" for name in MEASURED if name != "device")


def test_costs_are_of_the_nominal_network(sweep):
    folder, trials = sweep
    rows = load_frame(folder)
    for i, trial in enumerate(trials):
        cost = count_cost(trial.arch)
        assert rows.loc[i, ["madds", "params", "peak_activation_bytes"]].tolist() == [
            *(cost.madds, cost.params, cost.peak_activation_bytes)
        ]
    assert rows["madds"][0] == count_cost(ArchSpec(width=0.5, resolution=96)).madds  # not at 24 px, not of 3 classes


def test_costs_are_counted_on_reading(sweep, monkeypatch):
    """A mended counter mends old results: none of them is in the file."""
    folder, _ = sweep
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        stored = database.execute("SELECT trial || coalesce(result, '') FROM trials").fetchall()
    assert not any(name in text for (text,) in stored for name in ("madds", "params", "activation"))
    monkeypatch.setattr(frame, "count_parts", lambda parts: Cost(parts[0].after.size.height, 7, 9, 11))
    rows = load_frame(folder)
    assert rows["madds"].tolist() == [48, 112, 112]  # of the map behind the stem
    assert set(rows["params"]) == {7} and set(rows["peak_activation_bytes"]) == {9}


@pytest.mark.parametrize(
    "stages, expansion, paper",
    [
        (MOBILENET_V2, 6, True),
        (set_expansion(MOBILENET_V2, 4), 4, False),
        ((Stage(1, 8, 1, 1), Stage(2, 8, 1, 1)), 2, False),
        ((Stage(2, 8, 1, 1), Stage(3, 8, 1, 1)), np.nan, False),
    ],
    ids=["paper", "t=4", "own table", "mixed"],
)
def test_expansion_is_the_one_all_expanding_rows_share(tmp_path, make_trial, stages, expansion, paper):
    record(tmp_path, Outcome(make_trial(arch=ArchSpec(stages=stages)), error="x"))
    row = load_frame(tmp_path).iloc[0]
    assert row["expansion"] == expansion or (np.isnan(expansion) and pd.isna(row["expansion"]))
    assert row["paper_table"] == paper


def test_expansion_of_networks_that_do_not_expand_is_1(tmp_path, make_trial):
    record(tmp_path, Outcome(make_trial(arch=ArchSpec(stages=set_expansion(MOBILENET_V2, 1))), error="x"))
    row = load_frame(tmp_path).iloc[0]
    assert row["network"] == "1.0 at 224, t=1"
    assert row["expansion"] == 1


def test_an_empty_folder_is_an_empty_frame(tmp_path):
    assert load_frame(tmp_path).empty and load_curves(tmp_path).empty


def test_another_file_is_refused(tmp_path):
    (tmp_path / DATABASE).write_text("not results " * 100)
    for load in (load_frame, load_curves):
        with pytest.raises(StoreError, match="not a results file of this program"):
            load(tmp_path)


def test_curves_are_a_row_a_point_of_the_done_trials(sweep):
    folder, trials = sweep
    curves = load_curves(folder)
    assert list(curves.columns) == ["trial_id", "network", "seed", *POINT]
    assert curves["trial_id"].tolist() == [trial_id(trials[i]) for i in (0, 0, 2, 2)]
    assert curves["network"].tolist()[:2] == ["0.5 at 96"] * 2 and curves["seed"].tolist() == [0, 0, 2, 2]
    points = [[1.0, 60, 1.0, 0.1, 0.4], [2.0, 120, 0.75, 0.05, 0.5]]
    assert curves[POINT].to_numpy().tolist() == points * 2
    some = load_curves(folder, [trial_id(trials[2]), "not there"])
    assert some["seed"].tolist() == [2, 2] and some[POINT].to_numpy().tolist() == points


def test_the_folder_s_name_is_the_sweep_s_even_when_relative(sweep, monkeypatch):
    folder, _ = sweep
    monkeypatch.chdir(folder.parent)
    assert load_frame("wide")["sweep"].unique().tolist() == ["wide"]
    assert load_frame("wide/")["trial_id"].tolist() == load_frame(folder)["trial_id"].tolist()


def test_stored_json_is_what_the_frame_reads(sweep):
    """Changing a stored number changes the frame: nothing is cached beside the database."""
    folder, _ = sweep
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        (text,) = database.execute("SELECT result FROM trials WHERE status = 'done' ORDER BY recorded").fetchone()
        database.execute(
            "UPDATE trials SET result = ? WHERE result = ?", (json.dumps(json.loads(text) | {"val_top1": 1.0}), text)
        )
    assert load_frame(folder)["val_top1"][0] == 1.0


def test_how_a_network_got_its_weights_is_in_its_row(tmp_path, make_trial, make_result):
    alone = make_trial()
    trials = [alone, *(replace(alone, shared=Sharing("fedcba", 5000, epochs)) for epochs in (None, 2.0))]
    for trial in trials:
        record(tmp_path, Outcome(trial, make_result()))
    record(tmp_path, Outcome(replace(trials[1], seed=1), error="died"))
    assert load_frame(tmp_path)["training"].tolist() == ["alone", "shared", "fine-tuned", "shared"]


@pytest.mark.parametrize(
    "column, change",
    [
        ("trial", lambda text: text.replace('"seed": 0', '"seed": "0"')),
        ("trial", lambda text: text.replace('"seed": 0', '"seed": []')),
        ("trial", lambda text: json.dumps(json.loads(text) | {"recipe": {"name": "x", "images": "many"}})),
        ("trial", lambda text: json.dumps(json.loads(text) | {"data": {"name": 1, "fingerprint": 2, "classes": 3}})),
        ("trial", lambda text: json.dumps(json.loads(text) | {"arch": {"width": "wide"}})),
        (
            "trial",
            lambda text: json.dumps(json.loads(text) | {"arch": {"stages": [{"t": [1], "c": 1, "n": 1, "s": 1}]}}),
        ),
        ("trial", lambda text: json.dumps(json.loads(text) | {"arch": [1]})),
        ("trial", lambda text: "[" * 100_000),
        ("trial", lambda text: 7),
        ("trial", lambda text: b"\xff"),
        ("result", lambda text: text.replace('"seconds": 2.5', '"seconds": "2.5"')),
        ("result", lambda text: "[]"),
        ("result", lambda text: 7),
        ("result", lambda text: text[:-9]),
    ],
)
def test_rows_of_a_wrong_type_are_one_clear_error(tmp_path, make_trial, make_result, column, change):
    record(tmp_path, Outcome(make_trial(0), make_result()))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database, database:
        (text,) = database.execute(f"SELECT {column} FROM trials").fetchone()
        assert change(text) != text
        database.execute(f"UPDATE trials SET {column} = ?", [change(text)])
    for read in (load_frame, load_curves):
        with pytest.raises(StoreError, match=f"{DATABASE}: "):
            read(tmp_path)
