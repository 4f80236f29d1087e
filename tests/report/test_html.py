"""The report as a page: what it says, that it loads nothing, and that nothing in it is taken for markup."""

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.analysis.recommend import recommend
from mnv2_sweep.analysis.sweep import Sweep, load_sweep
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.devices.folder import add_profile, devices_folder
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import Outcome, record, write_truth
from mnv2_sweep.report.html import data_json, page_html
from mnv2_sweep.report.page import make_page
from mnv2_sweep.report.points import MOST_POINTS, NEAR, choose_rows, find_points
from mnv2_sweep.trials.terms import Truth, pack_terms
from mnv2_sweep.trials.trial import DataRef
from tests.device_samples import write_profile
from tests.page_samples import Html

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "results"
WISHES = ("madds <= 100M", "params <= 2M")
NASTY = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", autouse=True)
def no_devices(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def write(sweep: Sweep, *where: str) -> str:
    return page_html(make_page(sweep, recommend(sweep, where), "mnv2-sweep report", "2026-12-01 12:00 UTC"))


@pytest.fixture(scope="module")
def example() -> Sweep:
    return load_sweep(ROOT / "results" / "example")


@pytest.fixture(scope="module")
def text(example) -> str:
    return write(example, *WISHES)


@pytest.fixture(scope="module")
def page(text) -> Html:
    return Html(text)


def test_the_answer_comes_first_in_the_words_of_recommend(page):
    assert page.texts("title") == ["example: Take 0.5 at 224"] and page.texts("h2")[0] == "Take 0.5 at 224"
    parts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert parts["how sure"] == "95 % that it is the best of the 10 that fit"
    assert parts["next"].startswith("mnv2-sweep run SPACE --again '0.5 at 224'")
    (verdict,) = page.texts("p", **{"class": "verdict"})
    assert "10 of 22 networks with a result keep madds <= 100M and params <= 2M" in verdict
    assert [row[0] for row in page.rows("Runners-up")] == ["runners-up", "0.5 at 192", "0.35 at 224"]


def test_every_network_is_in_the_table_with_odds_scores_and_costs(page, example):
    header, *rows = page.rows("Table of networks")
    assert len(rows) == 22 and [row[0] for row in rows] == [*example.networks["network"]]
    assert header[:5] == ["network", "on front", "best of all", "validation top-1 (%)", "test top-1 (%)"]
    assert {"MAdds (millions)", "params (millions)", "peak activations (MB)", "file size (MB)"} <= {*header}
    row = dict(zip(header, next(row for row in rows if row[0] == "0.5 at 224"), strict=True))
    assert row["MAdds (millions)"] == "97.1" and row["validation top-1 (%)"] == "23.1 (17.4 to 28.9)"
    assert row["on front"] == "92 %" and row["seeds"] == "3"


def test_what_the_page_says_of_its_making(page):
    parts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert parts["data digest"] == "155511b31beb633134e13244b36b4fdaea0076313a3e6d8660e9727e7d4270d1"
    assert parts["torch"] == "2.13.0+cpu" and parts["page made by"] == "mnv2-sweep report"
    assert parts["run by"].startswith("mnv2-sweep run ") and parts["page made at"] == "2026-12-01 12:00 UTC"
    trust = page.texts("li")
    assert any(line.startswith("on the front: 20 (11 to 21) of 22 networks") for line in trust)
    assert any(line.startswith("not calibrated") for line in trust)


def test_figures_have_the_fronts_of_the_program(page, example):
    data, networks = page.data, example.networks
    names = [one["name"] for one in data["networks"]]
    assert data["cost"] == "madds" and names[data["taken"]] == "0.5 at 224"
    (front,) = data["fronts"]["madds top1"]
    assert [names[at] for at in front] == [*networks["network"][networks["on_front"]]]
    (cheap,) = data["fronts"]["params loss"]  # of params as of loss less is better: some network of the fewest params
    params, loss = (next(one["values"] for one in data[kind] if one["name"] == name)
                    for kind, name in (("costs", "params"), ("scores", "loss")))  # fmt: skip
    assert params[cheap[0]] == min(params) and loss[cheap[-1]] == min(loss)
    assert [one["text"] for one in data["limits"]] == [*WISHES]
    assert len(data["curves"]["loss"]) == 3 and len(data["curves"]["loss"][0]["networks"]) == 22


def test_only_these_scripts_and_this_style_may_run_and_nothing_is_loaded(page):
    policy = next(tag[1]["content"] for tag in page.tags if tag[1].get("http-equiv") == "Content-Security-Policy")
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    digests = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
               for tag in ("script", "style") for name, attributes, parts in page.tags
               if name == tag and "type" not in attributes for text in ["".join(parts)]]  # fmt: skip
    assert digests == [*allowed["script-src"].split(), allowed["style-src"]] and len(digests) == 3
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    for name, attributes, _ in page.tags:
        assert name not in ("link", "iframe", "object", "embed", "base", "img")
        assert not [key for key in attributes if key == "style" or key.startswith("on")]
        assert all(attributes[key].startswith("#") for key in ("href", "src", "action") if key in attributes)
    (style,) = page.texts("style")
    assert "url(" not in style and "@import" not in style


def test_it_is_small(text):
    assert len(text.encode()) < 1_000_000  # of 22 networks; 3 MB were allowed


def made_sweep(folder: Path, make_trial, make_result, classes=("red", "green", "blue"), **changes) -> Sweep:
    """Two networks that did and one that failed, of data with these classes."""
    random = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.uint8) % len(classes)
    data = DataRef(**{"name": "toy", "fingerprint": "0123", "classes": len(classes), **changes})
    write_truth(folder, data.fingerprint, Truth(tuple(classes), {"val": labels}))
    for at, width in enumerate((0.35, 0.5, 0.75)):
        trial = make_trial(0, arch=ArchSpec(width=width, resolution=96), data=data)
        if at == 2:
            record(folder, Outcome(trial, error=f"RuntimeError: {NASTY}\nmore"))
            continue
        right = random.random(60) < 0.4 + 0.3 * at
        taken = np.where(right, labels, (labels + 1) % len(classes)).astype(np.uint8)
        terms = {"val": {"top1": right, "loss": 1 - right.astype(float), "mistaken": taken[~right]}}
        record(folder, Outcome(trial, make_result(each=pack_terms(terms), val_top1=float(right.mean()), val_images=60)))
    return load_sweep(folder)


def test_names_of_users_are_text(tmp_path, make_trial, make_result):
    classes = (NASTY, "a \u202eb", "ok & <b>")
    sweep = made_sweep(tmp_path / "<b>x" / "<i>sweep&amp;", make_trial, make_result, classes, name=NASTY)
    (sweep.folder / "space.yaml").write_text(f"# {NASTY}\naxes: {{}}\n")
    (sweep.folder / "env.json").write_text(json.dumps({"command": NASTY, "earlier": [1, 2], "\u202e": "\x1b[31m"}))
    page = Html(write(sweep))
    names = [name for name, _, _ in page.tags]
    assert names.count("script") == 3 and not {"img", "b", "i"} & {*names}
    assert page.texts("h1") == ["Which network of <i>sweep&amp; to take"]
    parts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert parts["run by"] == NASTY and parts["data"] == f"{NASTY}, 3 classes" and parts["?"] == "?[31m"
    matrix = page.rows("Confusion matrix")
    assert matrix[0] == ["class", NASTY, "a ?b", "ok & <b>"] and [row[0] for row in matrix[1:]] == matrix[0][1:]
    assert page.rows("Failed trials")[1][-1] == f"RuntimeError: {NASTY}"
    assert page.texts("pre")[0] == f"# {NASTY}\naxes: {{}}\n"


def test_confusion_and_failures_are_told(tmp_path, make_trial, make_result):
    page = Html(write(made_sweep(tmp_path / "made", make_trial, make_result)))
    header, *rows = page.rows("Confusion matrix")
    assert header == ["class", "red", "green", "blue"]
    shares = [[int(cell or 0) for cell in row[1:]] for row in rows]
    assert all(99 <= sum(row) <= 101 for row in shares) and shares[0][1] > 0 and shares[0][2] == 0
    failed = page.rows("Failed trials")
    assert failed[1][0].startswith("0.75 at 96") and failed[1][1:3] == ["exception", "1 time"]
    assert any(text.startswith("2 of 3 done, 1 failed") for text in page.texts("p"))


def test_data_for_scripts_end_no_script():
    text = data_json({"a": "</script><!--&", "b": [float("nan"), 1 / 3, float("inf")], "c": "\u2028\u202e"})
    assert not {"<", ">", "&"} & {*text} and text.isascii()
    assert json.loads(text) == {"a": "</script><!--&", "b": [None, 0.333333, None], "c": "??"}


def test_where_nothing_fits_the_page_says_so(example):
    page = Html(write(example, "madds <= 1M"))
    assert page.texts("h2")[0] == "No network keeps the wishes" and page.data["taken"] is None
    assert page.rows("Table of networks")[1][0] == "0.35 at 96"


@pytest.mark.parametrize("name", ["plain", "kinds", "weights", "until", "parts", "expansions", "example-of-old"])
def test_every_kind_of_sweep_has_a_page(name):
    page = Html(write(load_sweep(GOLDEN / name)))
    networks = {one["name"] for one in page.data["networks"]}
    assert {row[0] for row in page.rows("Table of networks")[1:]} == networks and networks
    assert bool(page.texts("pre", **{"aria-label": "Comparisons"})) == (name in ("until", "parts"))


def test_a_sweep_without_a_result_has_none():
    with pytest.raises(SweepError, match="no trial has a result yet"):
        write(load_sweep(GOLDEN / "fails"))


def test_a_device_is_an_axis_with_the_interval_of_its_prediction(tmp_path, example):
    path = add_profile(write_profile(tmp_path / "mine.json"), devices_folder(), "mine")
    try:
        points = find_points(example, None)
    finally:
        (devices_folder() / "mine.json").unlink()
    costs = {one.name: one for one in points.costs}
    assert path.name == "mine" and costs["latency@mine"].unit == "ms"
    known = ~np.isnan(costs["latency@mine"].values)
    assert known.any() and (costs["latency@mine"].low < costs["latency@mine"].values)[known].all()
    assert any(note.startswith("latency@mine: one image on ") for note in points.notes)


def test_of_very_many_networks_those_near_the_front_stay():
    random, madds = np.random.default_rng(1), np.arange(1, 5001) * 100_000
    top1 = random.random(5000)
    top1[7] = np.nan
    summary = pd.DataFrame({"network": [f"network {at}" for at in range(5000)], "madds": madds, "params": madds[::-1],
                            "peak_activation_bytes": 1000, "top1": top1, "test_top1": np.nan})  # fmt: skip
    rows = choose_rows(summary, {"network 1234"})
    front = np.flatnonzero(pareto_front(summary["madds"], top1) | pareto_front(summary["params"], top1))
    assert {*front, np.nanargmax(top1), 1234} <= {*rows} and len({*rows}) == len(rows)
    assert MOST_POINTS <= len(rows) <= MOST_POINTS + len(front) + 2
    gaps = np.maximum.accumulate(np.nan_to_num(top1)) - top1
    nearest = np.argsort(gaps, kind="stable")[:NEAR]
    assert {*nearest} <= {*rows} and np.nanmax(gaps[rows]) > 0.9  # and of the others some, also far ones
    assert len(choose_rows(summary.head(10))) == 10


def test_scores_that_are_top1_by_another_name_are_left_out(example):
    points = find_points(example, None)
    names = [one.name for one in points.scores]
    assert names[:2] == ["top1", "test_top1"] and "macro_f1" in names and "balanced_accuracy" not in names
    summary = example.summary.assign(balanced_accuracy=lambda frame: frame["top1"] + 0.01)
    uneven = Sweep(example.folder, example.trials)
    uneven.__dict__["summary"] = summary
    assert "balanced_accuracy" in [one.name for one in find_points(uneven, None).scores]
