"""`run --until` as a user meets it, with trainings that take no time: what a network is worth is made up."""

import json
import os
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.analysis.until import OPEN, SURE, load_look
from mnv2_sweep.record.store import DATABASE, read_looks, read_outcomes
from mnv2_sweep.sweeps import workers
from mnv2_sweep.training.control import Interrupted
from mnv2_sweep.trials.terms import pack_terms
from mnv2_sweep.trials.trial import Result, Trial
from tests.cli.test_main import Answer, call, check_mistake, read_tree, run_here, ten_seconds_each, write_desk

IMAGES, LUCK = 1200, 0.15
SKILLS = {0.2: -0.9, 0.3: -0.4, 0.4: 0.5, 0.5: 0.1, 0.6: 0.15, 0.7: 0.2, 1.4: 3.0}  # the widest does not fit
# 0.41 is the network that 0.4 is.
SIX = """stages: [[1, 80, 1, 1], [3, 160, 2, 2]]
fixed: {resolution: 32, last_channels: 64}
axes: {width: [0.2, 0.3, 0.4, 0.41, 0.5, 0.6, 0.7, 1.4]}
recipe: {base: short, images: 64, batch: 8, name: tiny}
data: photos
seeds: 5
"""
WISH = ("--where", "madds <= 12M")
DECIDING = ("run", "six.yaml", "--until", "0.9", *WISH, "--within", 0, "--workers", 1)


def make_result(trial: Trial) -> Result:
    """What a training of the trial's network gives: the same every time."""
    random = np.random.default_rng(1)
    ease = 1.5 * random.standard_normal(IMAGES)
    own = np.random.default_rng([int(100 * trial.arch.width), trial.seed])
    luck = LUCK * own.standard_normal()
    right = SKILLS[trial.arch.width] + luck + ease + own.standard_normal(IMAGES) > 0
    scores = {"val": {"top1": float(right.mean()), "loss": float(1 - right.mean())}}
    each = pack_terms({"val": {"top1": right, "loss": 1.0 - right}})
    return Result(scores, {"val": IMAGES}, 1.0, 64, (), 2.0, 32.0, 10**7, "cpu", each=each)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A folder with photos and a space of seven networks, in which nothing is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("mnv2_sweep.plots.style.PNG_DPI", 20)
        desk = write_desk(tmp_path_factory.mktemp("still"))
        (desk / "six.yaml").write_text(SIX)
        yield desk


@pytest.fixture
def desk(still, tmp_path):
    """A folder of the test's own with the same."""
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "photos").symlink_to(still / "photos")
    (desk / "six.yaml").write_text(SIX)
    return desk


@pytest.fixture
def trained(monkeypatch) -> list[tuple[float, int]]:
    """What was trained, as (width, seed): in this process, and in no time."""
    monkeypatch.setattr(workers, "run_pool", run_here)
    monkeypatch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", ten_seconds_each)
    done = []

    def train(setup, dataset, trial, control):
        done.append((trial.arch.width, trial.seed))
        return make_result(trial)

    monkeypatch.setattr(workers, "train_on", train)
    return done


def looks_of(desk: Path) -> list[dict]:
    (texts,) = read_looks(desk / "results" / "six-photos").values()
    return [json.loads(text) for text in texts]


def errors_of(err: str) -> list[str]:
    return [line for line in err.splitlines() if not line.startswith("reading photos")]


def last_lines(answer: Answer) -> list[str]:
    lines = answer.out.splitlines()
    return lines[next(at for at, line in enumerate(lines) if line.startswith(("decided", "undecided"))) :]


@pytest.mark.slow
def test_a_sweep_trains_what_decides_it_and_says_what_it_decided(desk, trained):
    code, out, err = answer = call(desk, *DECIDING)
    assert code == 0 and errors_of(err) == []
    assert "until     one network is the best with 90 %: 6 of 7 networks keep madds <= 12M, no other is trained" in out
    assert "          at most 6 x 5 = 30 trainings, the full sweep has 35\n" in out
    assert {width for width, _ in trained} == {*SKILLS} - {1.4}
    assert trained[:6] == sorted(trained[:6], key=lambda one: one[1]) and {seed for _, seed in trained[:6]} == {0}
    assert len(trained) == len({*trained}) < 20
    assert re.search(r"^look 1    how far seeds move a score is not known yet; a seed more for ", out, re.M)
    assert re.search(r"^look 2    0\.4 at 32.* leads, the best with ", out, re.M)
    lines = last_lines(answer)
    assert lines[0].startswith("decided   0.4 at 32") and "is the best of the 6 networks that fit, with " in lines[0]
    saved = f"saved     {35 - len(trained)} of the 35 trainings of the full sweep, 5 of networks that do not fit; "
    assert lines[1].startswith(saved) and lines[1].endswith(" % of its MAdds")
    assert lines[2].startswith("recommend 0.4 at 32") and lines[3].strip().endswith("luck taken out; measured "
        + re.search(r"measured (.*)$", lines[3]).group(1))  # fmt: skip
    assert (
        lines[4].strip() == ('mnv2-sweep recommend six-photos --where "madds <= 12M" says by how much and what else')
        and len(lines) == 5
    )
    assert "of the 6 that fit" in lines[3]


@pytest.mark.slow
def test_every_stop_is_on_record_with_its_reason_and_figures(desk, trained):
    call(desk, *DECIDING)
    looks = looks_of(desk)
    assert looks[-1]["verdict"] != OPEN and all(look["verdict"] == OPEN for look in looks[:-1])
    stopped = {name: chance for look in looks for name, chance in look["stopped"].items()}
    assert stopped and sum(stopped.values()) == pytest.approx(looks[-1]["spent"]) and looks[-1]["spent"] <= 0.05
    for look in looks:
        assert look["reasons"].keys() == look["stopped"].keys() == look["behind"].keys()
        assert all(" points behind 0." in reason for reason in look["reasons"].values())
        assert all(name in look["networks"] for name in look["counts"])
    given = {name: n for look in looks for name, n in look["counts"].items()}
    assert len(trained) == sum(given.values())
    with closing(sqlite3.connect(desk / "results" / "six-photos" / DATABASE)) as database:
        ((question,),) = database.execute("SELECT DISTINCT question FROM looks")
    asked = json.loads(question)
    assert (asked["until"], asked["within"], asked["where"]) == (0.9, 0.0, ["madds <= 12M"])
    assert asked["seeds"] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_running_again_decides_the_same_and_trains_nothing(desk, trained):
    first = call(desk, *DECIDING)
    looks, count = looks_of(desk), len(trained)
    again = call(desk, *DECIDING)
    assert again.code == 0 and len(trained) == count and looks_of(desk) == looks
    assert last_lines(again) == last_lines(first) and "would decide otherwise" not in again.out
    assert [line for line in again.out.splitlines() if line.startswith("look ")] == [
        line for line in first.out.splitlines() if line.startswith("look ")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("after", [4, 11])
def test_a_sweep_that_was_interrupted_comes_to_the_same_decisions(desk, tmp_path, monkeypatch, trained, after):
    whole = call(desk, *DECIDING, "--results", tmp_path / "whole")
    everything, train = [*trained], workers.train_on
    trained.clear()

    def stop_after(setup, dataset, trial, control):
        if len(trained) == after:
            trained.append(None)
            if after % 2:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)
            raise Interrupted("stopped")
        return train(setup, dataset, trial, control)

    monkeypatch.setattr(workers, "train_on", stop_after)
    assert call(desk, *DECIDING).code == 130
    monkeypatch.setattr(workers, "train_on", train)
    answer = call(desk, *DECIDING)
    assert answer.code == 0 and last_lines(answer) == last_lines(whole)
    assert sorted(one for one in trained if one) == sorted(everything)
    (texts,) = read_looks(tmp_path / "whole" / "six-photos").values()
    assert looks_of(desk) == [json.loads(text) for text in texts]


@pytest.mark.slow
def test_what_was_decided_stands(desk, trained):
    call(desk, *DECIDING)
    folder = desk / "results" / "six-photos"
    looks, count = looks_of(desk), len(trained)
    other = looks[0] | {"verdict": SURE, "wanted": looks[0]["counts"]}
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute("UPDATE looks SET look = ? WHERE number = 1", (json.dumps(other),))
        database.execute("DELETE FROM looks WHERE number > 1")
        database.commit()
    answer = call(desk, *DECIDING)
    assert answer.code == 0 and len(trained) == count and len(looks_of(desk)) == 1
    assert "note      the results on record today would decide otherwise here; what was decided stands" in answer.out
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute("UPDATE looks SET look = '{}'")
        database.commit()
    check_mistake(call(desk, *DECIDING), "what was decided can't be read")


@pytest.mark.slow
def test_another_question_uses_the_results_but_not_the_decisions(desk, trained):
    call(desk, *DECIDING)
    first = {*trained}
    assert call(desk, *DECIDING[:2], "--until", "0.6", "--where", "madds <= 6M", "--workers", 1).code == 0
    assert len(read_looks(desk / "results" / "six-photos")) == 2 and len(trained) == len({*trained})
    assert call(desk, "run", "six.yaml", "--workers", 1).code == 0  # the full sweep trains the rest
    assert len(trained) == len({*trained}) == 35 and first <= {*trained}


@pytest.mark.slow
def test_networks_that_fail_are_left_out_and_counted(desk, trained, monkeypatch):
    train = workers.train_on

    def fail(setup, dataset, trial, control):
        if trial.arch.width == 0.4:
            raise ValueError("no luck")
        return train(setup, dataset, trial, control)

    monkeypatch.setattr(workers, "train_on", fail)
    code, out, err = call(desk, *DECIDING)
    assert code == 1 and "1 trial failed" in err
    assert len(looks_of(desk)[0]["counts"]) == 5
    assert sum(o.status == "failed" for o in read_outcomes(desk / "results" / "six-photos")) == 1


@pytest.mark.slow
def test_nothing_is_decided_where_everything_fails(desk, trained, monkeypatch):
    def fail(setup, dataset, trial, control):
        raise ValueError("no luck")

    monkeypatch.setattr(workers, "train_on", fail)
    code, out, err = call(desk, *DECIDING)
    assert code == 1 and "until     nothing is decided: no trial has a result" in out and "decided   " not in out


@pytest.mark.slow
def test_what_it_costs_at_most_is_known_before(desk, trained):
    before = read_tree(desk)
    code, out, _ = call(desk, *DECIDING, "--dry-run")
    assert code == 0 and "trials    30 (0 done, 30 to run), seeds 0, 1, 2, 3, 4" in out
    assert "at most 6 x 5 = 30 trainings, the full sweep has 35; the time below is that of all of them" in out
    assert "time      about" in out and (read_tree(desk), trained) == (before, [])
    code, out, _ = call(desk, "plan", "six.yaml", "--until", "0.9", *WISH, "--seeds", 3)
    assert code == 0 and "6 of 7 networks keep madds <= 12M" in out and "at most 6 x 3 = 18 trainings" in out
    code, out, _ = call(desk, "plan", "six.yaml", "--time", "--until", "0.9", "--workers", 1)
    assert code == 0 and out.startswith("until     one network is the best with 90 %: 7 networks; a seed each")
    assert "at most 7 x 5 = 35 trainings" in out and "time      about" in out


SHARED = SIX + "strategy: {name: shared, images: 400}\n"
MISTAKES = {
    "percent": (["--until", "90"], "--until 90: a probability from 0.5 to 0.999 is wanted, as in 0.9"),
    "where alone": (["--where", "madds <= 12M"], "--where: it is of --until; add --until 0.9, or leave it out"),
    "within alone": (["--within", "1"], "--within: it is of --until; add --until 0.9, or leave it out"),
    "within": (["--until", "0.9", "--within", "-1"], "--within -1: 0 or more is wanted, in the unit of the score"),
    "nothing fits": (
        ["--until", "0.9", "--where", "madds <= 1K"],
        "--where \"madds <= 1K\": none of the 8 networks of space 'six' keeps that; nearest is 0.2 at 32",
    ),
    "contradiction": (
        ["--until", "0.9", "--where", "madds <= 1K", "--where", "madds > 12M"],
        '--where "madds <= 1K" and "madds > 12M": they contradict each other',
    ),
    "a score": (["--until", "0.9", "--where", "top1 >= 0.9"], '--where "top1 >= 0.9": that is a score'),
    "one seed": (["--until", "0.9", "--seeds", "1"], "--until: one seed does not show how far training again moves"),
    "a seed": (["--until", "0.9", "--seed", "3"], "--until --seed: one of them"),
    "budget": (["--until", "0.9", "--budget", "1h"], "--until --budget: one of them"),
    "again": (["--until", "0.9", "--again", "0.4 at 32"], "--until --again: one of them"),
    "no images": (["--until", "0.9", "--no-images"], "--until --no-images: one of them; odds need to know"),
    "shared": (["--until", "0.9", "--shared"], "--until: the networks of this space have their weights from one"),
}


@pytest.mark.parametrize(("words", "why"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_asked_is_one_line_and_nothing_is_written(still, trained, words, why):
    before = read_tree(still)
    code, _, err = call(still, "run", "six.yaml", "--workers", 1, *words)
    assert (code, trained, read_tree(still)) == (2, [], before)
    (line,) = errors_of(err)
    assert line.startswith(f"error: {why}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SHARED, "--until: the networks of this space have their weights from one training of all"),
        (
            SIX.replace("name: tiny", "score: macro_f1"),
            "--until: macro-F1 is no mean over images, so there are no odds",
        ),
        (
            SIX.replace("axes: {", "axes: {init: [scratch, imagenet], "),
            "--until: the space has an axis init, and networks that begin in different ways are judged kind by kind",
        ),
    ],
    ids=["shared", "score", "init"],
)
def test_spaces_that_cannot_decide_themselves_say_why(desk, trained, text, why):
    (desk / "six.yaml").write_text(text)
    code, _, err = call(desk, "run", "six.yaml", "--until", "0.9", "--workers", 1)
    assert code == 2 and [line[: len(why) + 7] for line in errors_of(err)] == [f"error: {why}"]


def test_looks_that_were_recorded_read_as_they_were():
    assert load_look(json.dumps(dict.fromkeys(
        ("counts", "probability", "score", "leader", "near", "stopped", "behind", "spent", "verdict", "wanted",
         "freedom", "images"), 1
    ) | {"networks": {}, "reasons": {}})).spent == 1  # fmt: skip
