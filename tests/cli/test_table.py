"""The command `table` on sweeps with and without what networks made of each image."""

import csv
import io
import json

import numpy as np
import pytest

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import Outcome, record, write_truth
from mnv2_sweep.trials.terms import MISTAKEN, Truth, pack_terms
from tests.cli.test_main import call
from tests.device_samples import write_profile

ARCHS = [ArchSpec(width=width, resolution=size) for width, size in ((0.35, 96), (0.5, 96), (0.35, 128), (0.35, 160))]


@pytest.fixture
def desk(tmp_path, make_trial, make_result):
    """Sweeps "each" and "old", the second without images."""
    random = np.random.default_rng(0)
    for arch, share in zip(ARCHS, (0.4, 0.5, 0.55, 0.5), strict=True):
        right = random.random(300) < share
        terms = {"val": {"top1": right, "loss": 1 - right.astype(float)}}
        scores = {"val_top1": float(right.mean()), "val_images": 300, "test_images": 300}
        for name, each in (("each", pack_terms(terms)), ("old", b"")):
            outcome = Outcome(make_trial(arch=arch), make_result(each=each, **scores))
            record(tmp_path / "results" / name, outcome)
    return tmp_path


def test_odds_and_pairs_are_printed(desk):
    code, out, _ = call(desk, "table", "each")
    assert code == 0 and "on front  network" in out and ", flattered by " in out
    code, out, _ = call(desk, "table", "each", "--pairs")
    assert code == 0 and out.splitlines()[0].split()[:2] == ["cheaper", "dearer"]
    assert len(out.split("\n\n")[0].splitlines()) == 7 and "of 6 pairs, " in out and "shown: " not in out
    (header, *rows) = csv.reader(io.StringIO(call(desk, "table", "each", "--pairs", "--csv").out))
    assert len(rows) == 6 == len(json.loads(call(desk, "table", "each", "--pairs", "--json").out))
    assert header[:2] == ["cheaper", "dearer"]


def test_of_many_pairs_a_person_sees_those_near_in_madds(desk, monkeypatch):
    monkeypatch.setattr("mnv2_sweep.cli.table.MOST_PAIRS", 5)
    out = call(desk, "table", "each", "--pairs").out
    assert out.splitlines()[1].startswith("0.5 at 96  0.35 at 128  18.9M  20.2M") and out.splitlines()[2] == ""
    assert "of 1 pair, " in out and "shown: pairs within 25 % of MAdds; all 6: --csv or --json" in out


def test_what_an_old_sweep_cannot_say_is_said(desk):
    code, out, _ = call(desk, "table", "old")
    assert code == 0 and "\n    *  0.35 at 96 " in out and "how sure the front is can't be said\n" in out
    code, out, err = call(desk, "table", "old", "--pairs")
    assert (code, out) == (2, "") and "results/old: which images each network got right is not on record of all" in err
    code, out, err = call(desk, "plot", "--pareto", "--band", "old")
    assert (code, out) == (2, "") and err.startswith("error: --band: ") and not (desk / "plots").exists()


def test_options_that_do_not_go_together(desk):
    code, _, err = call(desk, "table", "each", "--pairs", "--trials")
    assert (code, err) == (2, "error: --pairs --trials: one of them\n")
    code, _, err = call(desk, "plot", "--ablation", "--band")
    assert code == 2 and "plot --ablation: --band is for --pareto; leave it out" in err


@pytest.mark.slow
def test_a_band_is_drawn(desk):
    code, out, _ = call(desk, "plot", "--pareto", "--band", "each")
    assert code == 0 and "where the front passes" in (desk / "plots" / "each" / "pareto.svg").read_text()


# ---------------------------------------------------------------- classes

TRUTH = Truth(("=cat", "dog"), {"val": np.repeat([0, 1], (90, 10))})


@pytest.fixture
def uneven(tmp_path, make_trial, make_result):
    """Sweeps "uneven", of a network that says cat, and "by_class", ranked by macro-F1."""
    right = TRUTH.labels["val"] == 0
    each = pack_terms({"val": {"top1": right, "loss": 0.5 * right, MISTAKEN: np.zeros(10, int)}})
    scores = dict(val_top1=0.9, val_balanced_accuracy=0.5, val_macro_f1=0.474, val_unpredicted=1, val_images=100)
    for name, score in (("uneven", "top1"), ("by_class", "macro_f1")):
        trial = make_trial(arch=ARCHS[0], score=score)
        record(tmp_path / "results" / name, Outcome(trial, make_result(each=each, test_images=0, **scores)))
        write_truth(tmp_path / "results" / name, trial.data.fingerprint, TRUTH)
    return tmp_path


def test_beside_top_1_stands_what_guessing_reaches_and_what_is_never_predicted(uneven):
    code, out, _ = call(uneven, "table", "uneven")
    header, row = (line.split("  ") for line in out.splitlines()[2:4])
    assert code == 0 and [cell.strip() for cell in header if "acc" in cell or "F1" in cell] == [
        "balanced accuracy", "macro-F1"
    ]  # fmt: skip
    assert [cell.strip() for cell in row if cell.strip() in ("90.0", "50.0", "47.4")] == ["90.0", "50.0", "47.4"]
    assert "guessing: 90.0 % of the validation images are of the largest class, =cat\n" in out
    assert "never predict some classes: 0.35 at 96: 1 of 2 classes" in out


def test_the_recipe_says_which_score_ranks(uneven):
    out = call(uneven, "table", "by_class").out
    assert "val macro-F1" in out and "best on validation: 0.35 at 96, trained at 96 px: macro-F1 47.4 % (" in out
    assert "macro-F1 is no mean over images" not in out  # one network: there is no front to be sure of
    code, _, err = call(uneven, "table", "by_class", "--pairs")
    assert code == 2 and "macro-F1 is no mean over images" in err and "--results elsewhere" not in err
    (row,) = json.loads(call(uneven, "table", "by_class", "--json").out)
    assert (row["macro_f1"], row["top1"], row["balanced_accuracy"], row["loss"]) == (0.474, 0.9, 0.5, 1.25)


def test_classes_are_listed_with_their_intervals(uneven):
    code, out, _ = call(uneven, "table", "uneven", "--classes")
    lines = out.splitlines()
    assert code == 0 and lines[0].startswith("0.35 at 96, validation, 100 images, mean over 1 seed: top-1 90.0 %, ")
    assert "balanced accuracy 50.0 % (95 % " in lines[0] and lines[0].endswith("macro-F1 47.4 %, loss 1.250")
    assert lines[3].split() == ["=cat", "90", "100.0", "95.9-100.0", "90.0", "94.7"]
    assert lines[4].split() == ["dog", "10", "0.0", "0.0-27.8", "-", "0.0", "=cat", "100", "%"]
    assert "never predicted: dog" in out
    rows = list(csv.DictReader(io.StringIO(call(uneven, "table", "uneven", "--classes", "--csv").out)))
    assert [row["class"] for row in rows] == ["'=cat", "dog"] and rows[1]["recall"] == "0.0"
    (cat, dog) = json.loads(call(uneven, "table", "uneven", "--classes", "--json").out)
    assert dog["taken_for"] == "=cat" and cat["low"] == pytest.approx(0.959, abs=1e-3)


def test_of_many_classes_a_person_sees_the_worst(uneven, monkeypatch):
    monkeypatch.setattr("mnv2_sweep.report.classes.MOST_SHOWN", 1)
    out = call(uneven, "table", "uneven", "--classes").out
    assert "shown: the 1 classes with the lowest recall of 2; --csv has all" in out and "\n=cat " not in out


def test_a_confusion_is_drawn_and_of_too_many_classes_refused(uneven, monkeypatch):
    code, out, _ = call(uneven, "plot", "--confusion", "uneven")
    assert code == 0 and out.split() == [f"plots/{name}" for name in (
        "uneven/confusion.png", "uneven/confusion.svg", "confusion.png", "confusion.svg"
    )]  # fmt: skip
    monkeypatch.setattr("mnv2_sweep.report.classes.MOST_CONFUSED", 1)
    code, _, err = call(uneven, "plot", "--confusion", "uneven")
    assert code == 2 and "2 classes, at most 1 can be drawn; 'mnv2-sweep table --classes' lists" in err


def test_classes_of_a_sweep_without_them_are_refused(desk):
    for words in (("table", "old", "--classes"), ("plot", "--confusion", "old"), ("table", "each", "--classes")):
        code, out, err = call(desk, *words)
        assert (code, out) == (2, "") and "which class each image was given is not on record" in err


def test_further_costs_are_columns(desk, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(desk / "cache"))
    write_profile(desk / "measured.json", spread=0.02)
    call(desk, "device", "add", "measured.json")
    code, out, _ = call(desk, "table", "each", "--cost", "latency@pi4", "--cost", "file_int8_bytes")
    lines = out.splitlines()
    assert code == 0 and "latency@pi4 (ms)" in lines[2] and "file int8 (bytes)" in lines[2]
    assert any(line.startswith("Kendall tau between MAdds and latency@pi4: ") for line in lines)
    names = ["latency@pi4", "latency@pi4_low", "latency@pi4_high"]
    for words in ((), ("--trials",)):
        rows = json.loads(call(desk, "table", "each", *words, "--json", "--cost", "latency@pi4").out)
        assert len(rows) == 4 and all(row[names[1]] < row[names[0]] < row[names[2]] for row in rows)
    (header, *rows) = csv.reader(io.StringIO(call(desk, "table", "each", "--csv", "--cost", "latency@pi4").out))
    assert header[-3:] == names and len(rows) == 4
    for words, line in {
        ("--cost", "latency@pi5"): "no profile named 'pi5' (profiles: pi4; ",
        ("--cost", "latency@pi4", "--pairs"): "table: --cost --pairs: one of them",
        ("--cost", "latency@pi4", "--trials"): "table: --cost --trials: costs are of networks",
    }.items():
        code, out, err = call(desk, "table", "each", *words)
        assert (code, out) == (2, "") and err.startswith(f"error: {line}") and err.count("\n") == 1
