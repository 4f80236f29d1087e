"""Recommendations of recorded sweeps: what they answer, and what they say of what is not known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep import load_sweep, recommend
from mnv2_sweep.analysis.advice import advice_html, advice_record, advice_text, cost_text, short_lines
from mnv2_sweep.analysis.choice import SURE, TIED, UNSURE
from mnv2_sweep.analysis.recommend import next_command
from mnv2_sweep.analysis.recommendation import NOTHING, UNKNOWN
from mnv2_sweep.analysis.sweep import Sweep
from mnv2_sweep.base.errors import SpaceError, StoreError, SweepError
from mnv2_sweep.devices.folder import add_profile, devices_folder
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.spaces.space import Constraint
from mnv2_sweep.trials.tasks import TASKS
from mnv2_sweep.trials.terms import pack_terms
from mnv2_sweep.trials.trial import How, Trial
from mnv2_sweep.trials.ways import own_file
from tests.device_samples import write_profile
from tests.regress_task import ERROR, REGRESS

# 11.9M, 18.9M, 20.2M and 30.9M MAdds; 1.68M params, 1.97M where the width is 0.5
ARCHS = [ArchSpec(width=width, resolution=size) for width, size in ((0.35, 96), (0.5, 96), (0.35, 128), (0.35, 160))]
NAMES = ("0.35 at 96", "0.5 at 96", "0.35 at 128", "0.35 at 160")


@pytest.fixture
def sweep(tmp_path, make_trial, make_result):
    """sweep(shares of right images of ARCHS, None where it failed, ...) -> the folder of a recorded sweep."""

    def make(*shares, seeds=2, images=400, each=True, name="made", spread=0.02, how=None, **recipe):
        random, folder = np.random.default_rng(3), tmp_path / "results" / name
        ease = random.random(images)
        for arch, share in zip(ARCHS, shares, strict=False):
            for seed in range(seeds):
                trial = replace(make_trial(seed, arch=arch, **recipe), how=how)
                if share is None:
                    record(folder, Outcome(trial, error="RuntimeError: made up"))
                    continue
                luck = spread * random.standard_normal()
                right = 0.7 * ease + 0.3 * random.random(images) > 1 - share - luck
                terms = {"val": {"top1": right, "loss": 1 - right.astype(float)}}
                values = dict(val_top1=float(right.mean()), val_images=images, seconds=60.0)
                record(folder, Outcome(trial, make_result(each=pack_terms(terms) if each else b"", **values)))
        return folder

    return make


def test_a_clear_answer_with_all_that_belongs_to_it(sweep):
    folder = sweep(0.3, 0.45, 0.4, 0.7, images=800)
    advice = recommend(folder, "madds <= 25M")
    assert (advice.verdict, advice.taken.network, advice.networks, advice.fitting) == (SURE, "0.5 at 96", 4, 3)
    assert advice.taken is not None and advice.taken.probability >= 0.85 and advice.settling == ()
    assert advice.taken.costs == {"madds": 18_885_440.0, "params": 1_968_680.0}
    assert advice.taken.score.low < 0.45 < advice.taken.score.high and advice.rivals[0].network == "0.35 at 128"
    assert advice.rivals[0].behind.mean > 0 and advice.lost_if_wrong >= 0
    assert (advice.cheaper.network, advice.cheaper.breaks) == ("0.35 at 96", ()) and advice.cheaper.more < 0
    assert advice.better.network == "0.35 at 160" and [wish.text for wish in advice.better.breaks] == ["<= 25M"]
    text = str(advice)
    assert text.startswith("made: 3 of 4 networks with a result keep madds <= 25M\n")
    assert "that it is the best of the 3 that fit\n" in text and "is to be expected, luck taken out" in text
    assert "MAdds more buy" in text and "it does not keep madds <= 25M" in text.replace("\n              ", " ")
    assert "other photos than these" in text and "to settle it" not in text
    assert text == advice_text(recommend(load_sweep(folder), ["madds <= 25M"]))  # the same every time


def test_what_cannot_be_told_apart_and_what_would_settle_it(sweep):
    folder = sweep(0.35, 0.5, 0.49, 0.51, images=300, spread=0.01)
    tied = recommend(folder, at_least=0.9, within=9.0)
    assert (tied.verdict, tied.leader.network) == (TIED, "0.35 at 160") and tied.taken.network in NAMES[1:3]
    said = " ".join(str(tied).split())
    assert "these data cannot tell it from 0.35 at 160, which takes " in said and "take the cheaper" in said
    unsure = recommend(folder, at_least=0.9, within=0.0)
    assert unsure.verdict == UNSURE and unsure.taken == unsure.leader
    seeds, images = unsure.settling[:2]
    assert seeds.seconds == pytest.approx(60.0 * seeds.seeds * len(seeds.networks)) and seeds.images == 0
    assert images.images >= 300 and images.seeds == 2 and unsure.leader.probability < seeds.probability < 1
    said = " ".join(str(unsure).split())
    assert ", where 90 % was wanted" in said and " of core time: from " in said and " further validation images" in said


def test_nothing_fits_and_what_is_nearest(sweep):
    folder = sweep(0.3, 0.5, 0.4, None)
    none = recommend(folder, ["madds <= 10M", "params <= 1.8M"])
    assert (none.verdict, none.taken, none.nearest.network) == (NOTHING, None, "0.35 at 96")
    assert "nothing fits; nearest is 0.35 at 96 with 11.9M MAdds where madds <= 10M was wished" in str(none)
    both = recommend(folder, ["madds <= 12M", "params >= 1.9M"])
    assert both.nearest.network == "0.35 at 96" and "1.68M params where params >= 1.9M was wished" in str(both)
    only_failed = recommend(folder, "madds >= 30M")
    assert only_failed.open == ("0.35 at 160",)
    assert "1 network would fit but failed or did not run yet: 0.35 at 160" in str(only_failed)
    assert short_lines(none) == [] and "nothing fits" in advice_html(none)
    assert json.loads(json.dumps(advice_record(none)))["nearest"]["breaks"] == [
        {"wish": "madds <= 10M", "value": 11934128.0}
    ]


def test_a_cost_that_no_table_has_is_asked_of_the_networks_and_may_be_unknown(sweep, monkeypatch, tmp_path):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    add_profile(write_profile(tmp_path / "measured.json", spread=0.02), devices_folder())
    folder, wish = sweep(0.3, 0.45, 0.4, 0.7), Constraint("latency@pi4", "<=", 15, "<= 15 ms")
    monkeypatch.setattr("mnv2_sweep.analysis.recommend.read_wishes", lambda words: (wish,))
    known = {arch: value for arch, value in zip(ARCHS, (5.0, 12.5, 14.0, np.nan), strict=True)}
    monkeypatch.setattr(
        "mnv2_sweep.analysis.recommend.count_wished", lambda name, archs: np.array([known[arch] for arch in archs])
    )
    advice = recommend(folder)
    assert (advice.cost, advice.taken.network, advice.fitting) == ("latency@pi4", "0.5 at 96", 3)
    assert advice.unknown_costs == 1 and advice.better is None
    said = " ".join(str(advice).split())
    assert "take 0.5 at 96: 12.5 ms latency@pi4, 18.9M MAdds, 1.97M params" in said
    assert "1 network: they lie outside of what was measured on the device, so whether they fit is not known" in said
    assert "device show pi4 SPACE says what to add" in said and "7.5 ms latency@pi4 less lose" in said
    assert "predicted latency@pi4: one image on " in said
    monkeypatch.setattr("mnv2_sweep.analysis.recommend.read_wishes", lambda words: ())
    assert "predicted" not in str(recommend(folder))


def test_failed_networks_that_would_fit_are_told(sweep):
    advice = recommend(sweep(0.3, 0.5, None, 0.6), "madds <= 25M")
    assert (advice.networks, advice.fitting, advice.open) == (3, 2, ("0.35 at 128",))
    assert "1 network would fit but failed or did not run yet: 0.35 at 128" in str(advice)
    alone = recommend(sweep(0.3, name="alone"))
    assert alone.verdict == SURE and "the only one that fits" in str(alone) and alone.cheaper is alone.better is None


def test_one_seed_speaks_of_these_weights(sweep):
    advice = recommend(sweep(0.3, 0.5, 0.5, 0.52, seeds=1), within=0)
    assert advice.taken.probability is not None and not advice.knows_seeds and advice.settling == ()
    said = " ".join(str(advice).split())
    assert "other seeds: it is about these very weights (--seeds 3 tells)" in said
    assert advice.verdict == SURE or "run further seeds first (--seeds 3): with one each, nobody knows" in said


def test_without_images_there_are_no_odds(sweep):
    advice = recommend(sweep(0.3, 0.5, 0.4, 0.6, each=False), "madds <= 25M")
    assert (advice.verdict, advice.taken.network, advice.taken.probability) == (UNKNOWN, "0.5 at 96", None)
    text = str(advice)
    assert "can't be said; it measured best of 3, but which images each network got right is not on record" in " ".join(
        text.split()
    )
    assert "as measured, which flatters the one that was chosen" in text and "runners-up" not in text
    assert advice_record(advice)["taken"]["score"] is None and advice.command.startswith("mnv2-sweep run SPACE --again")


def test_a_score_that_is_no_mean_over_images(tmp_path, make_trial, make_result):
    right = np.random.default_rng(0).random(200) < 0.5
    for arch, value in zip(ARCHS[:2], (0.4, 0.5), strict=True):
        each = pack_terms({"val": {"top1": right, "loss": right.astype(float)}})
        result = make_result(each=each, val_macro_f1=value, test_macro_f1=0.4)
        record(tmp_path / "macro", Outcome(make_trial(arch=arch, score="macro_f1"), result))
    advice = recommend(tmp_path / "macro")
    assert (advice.verdict, advice.taken.network) == (UNKNOWN, "0.5 at 96")
    assert "macro-F1 is no mean over images" in str(advice) and "macro-F1 50.0 % as measured" in str(advice)


def test_of_an_error_less_is_better(tmp_path, make_trial, make_result, monkeypatch):
    monkeypatch.setitem(TASKS, "regress", REGRESS)
    random = np.random.default_rng(0)
    for arch, mean in zip(ARCHS[:3], (1.5, 0.8, 1.0), strict=True):
        for seed in (0, 1):
            errors = mean * random.random(400) * 2
            each = pack_terms({"val": {"mae": errors, "loss": errors}})
            scores = {"val": {"mae": float(errors.mean()), "loss": 1.0}}
            trial = replace(make_trial(seed, arch=arch), task="regress")
            record(tmp_path / "less", Outcome(trial, replace(make_result(), scores=scores, each=each)))
    advice = recommend(tmp_path / "less")
    assert advice.score == ERROR and advice.taken.network == "0.5 at 96" and advice.within == 0
    assert advice.taken.score.low < advice.taken.measured < advice.taken.score.high
    assert advice.cheaper.network == "0.35 at 96" and advice.cheaper.better_by.mean < 0
    assert "classes" in str(advice) and advice.rivals[0].behind.mean > 0


def test_each_kind_of_start_is_judged_by_itself(sweep):
    folder = sweep(0.3, 0.45, 0.4)
    sweep(0.5, 0.7, 0.6, init="imagenet", how=How("tune"))
    advice = recommend(folder)
    assert advice.kind == "imagenet" and advice.taken.network == "0.5 at 96, from imagenet"
    ((kind, network, score),) = advice.others
    assert (kind, network) == ("scratch", "0.5 at 96, from scratch") and 0.3 < score < 0.6
    assert "scratch: 0.5 at 96, from scratch is the best of its kind with top-1" in " ".join(str(advice).split())
    assert advice_record(advice)["others"][0]["kind"] == "scratch"


def test_several_recipes_of_one_kind_have_no_answer(sweep):
    folder = sweep(0.3, 0.45)
    frame = load_sweep(folder).trials.copy()
    frame.loc[0, "recipe"] = "other"
    with pytest.raises(SweepError, match="recipe other, tiny given, one allowed in a summary"):
        recommend(Sweep(folder, frame))


def test_of_very_many_networks_the_contenders_are_compared(sweep, monkeypatch):
    folder = sweep(0.3, 0.45, 0.7, 0.4, images=600)
    every = recommend(folder)
    monkeypatch.setattr("mnv2_sweep.analysis.recommend.MOST_NETWORKS", 3)
    monkeypatch.setattr("mnv2_sweep.analysis.recommend.AT_RANDOM", 2)
    monkeypatch.setattr("mnv2_sweep.analysis.recommend.MOST_BEST", 1)
    advice = recommend(folder)
    assert advice.taken.network == every.taken.network == "0.35 at 128" and advice.compared < advice.fitting == 4
    said = " ".join(str(advice).split())
    assert f"best of the {advice.compared} that were compared of the 4 that fit: those that measured best" in said


def test_what_cannot_be_asked_is_one_line(sweep, tmp_path):
    folder = sweep(None)
    for given, why in (({"at_least": 85}, "--at-least 85: "), ({"at_least": float("nan")}, "--at-least nan: ")):
        with pytest.raises(SweepError, match=why):
            recommend(folder, **given)
    with pytest.raises(SweepError, match="--within -1: 0 or more"):
        recommend(folder, within=-1)
    with pytest.raises(SpaceError, match="they contradict each other"):
        recommend(folder, ["madds <= 1M", "madds > 2M"])
    with pytest.raises(SweepError, match="no trial has a result yet; 2 failed, see 'mnv2-sweep status made'"):
        recommend(folder)
    with pytest.raises(StoreError, match="no such sweep"):
        recommend("nowhere")


def test_the_next_command_exports_a_seed_whose_weights_are_kept(sweep, tmp_path, make_trial):
    folder = sweep(0.3, 0.6)
    trials: list[Trial] = [make_trial(seed, arch=ARCHS[1]) for seed in (0, 1)]
    where = f" --results {folder.parent}"
    assert next_command(folder, "0.5 at 96", trials) == f"mnv2-sweep run SPACE --again '0.5 at 96'{where}"
    kept = folder / own_file(trials[1])
    kept.parent.mkdir()
    kept.write_bytes(b"")
    assert recommend(folder).command == f"mnv2-sweep export '0.5 at 96' --sweep made --seed 1{where}"


def test_names_are_escaped(sweep):
    folder = sweep(0.3, 0.6, 0.4, name="<b>\x1b[31m&x")
    advice = recommend(folder)
    assert "\x1b" not in str(advice) and "\x1b" not in "".join(short_lines(advice))
    page = advice._repr_html_() + load_sweep(folder)._repr_html_()
    assert "<b>?" not in page and "&lt;b&gt;" in page and "\x1b" not in page
    assert "\x1b" not in repr(load_sweep(folder))


def test_three_short_lines(sweep):
    lines = short_lines(recommend(sweep(0.3, 0.45, 0.4, 0.7, images=800)))
    assert len(lines) == 3 and lines[0].startswith("recommend 0.35 at 160: 30.9M MAdds, 1.68M params")
    assert "that it is the best of the 4 that fit; top-1 " in lines[1] and "mnv2-sweep recommend made " in lines[2]


def test_for_programs_numbers_are_as_on_record(sweep):
    record_ = advice_record(recommend(sweep(0.3, 0.45, 0.4, 0.7), "madds <= 25M"))
    assert json.loads(json.dumps(record_, allow_nan=False)) == record_
    assert record_["wishes"] == ["madds <= 25M"] and record_["score"] == "top1" and record_["cost"] == "madds"
    assert 0 < record_["taken"]["score"]["mean"] < 1 and record_["better"]["breaks"] == ["madds <= 25M"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("madds", 97.1e6, "97.1M MAdds"), ("params", 1.97e6, "1.97M params"), ("depth", 53, "53 layers"),
        ("peak_activation_bytes", 552960, "0.55 MB peak activations"), ("latency@pi4", 12.345, "12.3 ms latency@pi4"),
        ("memory@pi4", 2e6, "2.00 MB memory@pi4"), ("file_bytes", 4e6, "4.00 MB file_bytes"),
    ],
)  # fmt: skip
def test_costs_are_said_with_their_units(name, value, text):
    assert cost_text(name, value) == text


def test_a_sweep_in_a_notebook(sweep, monkeypatch):
    folder = sweep(0.3, 0.45, 0.4, 0.7)
    monkeypatch.chdir(folder.parent.parent)
    loaded = load_sweep("made")
    assert repr(loaded) == "<sweep made: 4 networks, 8 trials>" == repr(load_sweep())
    assert {"front_probability", "best_probability"} <= {*loaded.networks.columns}
    page = loaded._repr_html_()
    assert page.count("<tr") == 5 and "0.35 at 160" in page
    monkeypatch.setattr("mnv2_sweep.analysis.sweep.MOST_ROWS", 2)
    assert "2 more are in .networks" in load_sweep("made")._repr_html_()
    assert recommend("made").taken.network == "0.35 at 160"
