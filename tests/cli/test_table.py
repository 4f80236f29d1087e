"""The command `table` on sweeps with and without what networks made of each image."""

import csv
import io
import json

import numpy as np
import pytest

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.trials.terms import pack_terms
from tests.cli.test_main import call

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
    assert out.splitlines()[1].startswith("0.5 at 96  0.35 at 128  18.9M  20.2M") and out.splitlines()[2] == ""
    assert "of 1 pair, " in out and "told apart by top-1 and " in out
    (header, *rows) = csv.reader(io.StringIO(call(desk, "table", "each", "--pairs", "--csv").out))
    assert len(rows) == 6 == len(json.loads(call(desk, "table", "each", "--pairs", "--json").out))
    assert header[:2] == ["cheaper", "dearer"]


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
