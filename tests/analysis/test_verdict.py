"""Which sweeps a passport speaks of, and what is said of the others."""

from dataclasses import replace

import pytest

from mnv2_sweep.analysis.passport import (
    NOT_CALIBRATED,
    ONLY_WORTH,
    SHARED_WEIGHTS,
    SHORT_SCHEDULE,
    SMALL_INPUT,
    Passport,
    ProxyVerdict,
    write_passport,
)
from mnv2_sweep.analysis.verdict import judge_trials, passport_text, sweep_verdict
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.folders import CALIBRATION, PASSPORT
from mnv2_sweep.record.store import Outcome, record_all
from mnv2_sweep.trials.trial import DataRef, Sharing, Trial, dump_trial
from tests.analysis.test_passport import make_agreement, make_passport

ARCHS = [ArchSpec(width=width, resolution=32) for width in (0.35, 0.5, 0.75)]
SHARING = Sharing("a family", 1000)


@pytest.fixture
def write_sweep(tmp_path, make_trial, make_result):
    """write_sweep(archs, any field of Recipe) -> the folder of a sweep with a result of each."""

    def write(archs=ARCHS, **recipe):
        record_all(tmp_path / "mine", [Outcome(make_trial(arch=arch, **recipe), make_result()) for arch in archs])
        return tmp_path / "mine"

    return write


def calibrated_for(*trials: tuple[str, Trial]) -> Passport:
    """A passport whose proxies were these trials."""
    passport = make_passport()
    short, alone = passport.proxies
    return replace(passport, proxies=(*(replace(short, name=n, trial=dump_trial(t)) for n, t in trials), alone))


def test_a_sweep_without_a_passport_has_one_short_line(write_sweep):
    assert sweep_verdict(write_sweep()) == [NOT_CALIBRATED] and len(NOT_CALIBRATED) < 140


def test_of_two_networks_nothing_is_said(write_sweep):
    twins = [ARCHS[0], replace(ARCHS[0], width=0.351), ARCHS[2]]  # the first two are one network
    assert sweep_verdict(write_sweep(twins)) == []


def test_failed_networks_are_no_order(write_sweep, make_trial):
    folder = write_sweep(ARCHS[:2])
    record_all(folder, [Outcome(make_trial(arch=ARCHS[2]), error="no luck")])
    assert sweep_verdict(folder) == []


def test_of_a_calibrations_own_sweeps_nothing_is_said(write_sweep):
    folder = write_sweep()
    (folder / "space.yaml").write_text(f"{CALIBRATION}, of mine\naxes: {{width: [1]}}\n")
    assert sweep_verdict(folder) == []


def test_a_sweep_that_was_calibrated_has_the_verdict(write_sweep, make_trial):
    folder = write_sweep()
    write_passport(folder, calibrated_for((SHORT_SCHEDULE, make_trial(5, ARCHS[1], name="another name"))))
    first, second = sweep_verdict(folder)
    assert "the order by short schedule has Kendall tau 0.800" in first and second.startswith("within 25 % of MAdds it")


def test_a_passport_that_cannot_be_read_is_a_line_and_no_error(write_sweep):
    folder = write_sweep()
    (folder / PASSPORT).write_text("{")
    (line,) = sweep_verdict(folder)
    assert line.startswith(f"not calibrated: {folder}/{PASSPORT}: not a passport (") and "\n" not in line


@pytest.mark.parametrize(
    "recipe, difference",
    [
        ({"lr": 0.1}, "lr 0.05 -> 0.1"),
        ({"images": 6000}, "images 600 -> 6000"),
        ({"epochs": 3}, "epochs None -> 3; images 600 -> None"),
    ],
    ids=["rate", "images", "epochs"],
)
def test_another_recipe_is_said_with_its_difference(write_sweep, make_trial, recipe, difference):
    folder = write_sweep(**recipe)
    write_passport(folder, calibrated_for((SHORT_SCHEDULE, make_trial(arch=ARCHS[1]))))
    (line,) = sweep_verdict(folder)
    assert line.startswith(f"calibrated for another recipe or other data ({difference}): ")
    assert line.endswith("'mnv2-sweep calibrate SPACE' says how far to trust this order")


def test_other_data_are_said_with_their_difference(make_trial):
    passport = calibrated_for((SHORT_SCHEDULE, make_trial()))
    ours = make_trial(data=DataRef("toy", "ffffffff00", 3))
    assert judge_trials(passport, ours)[0].startswith(
        "calibrated for another recipe or other data (data toy (70791d0f) -> toy (ffffffff)): 'mnv2-sweep calibrate"
    )


def test_the_proxy_is_the_one_of_the_sweeps_recipe(make_trial):
    passport = calibrated_for((SHORT_SCHEDULE, make_trial()), (SMALL_INPUT, make_trial(input_scale=0.5)))
    assert "the order by smaller input has" in judge_trials(passport, make_trial(input_scale=0.5))[0]
    assert "the order by short schedule has" in judge_trials(passport, make_trial())[0]
    far = judge_trials(passport, make_trial(input_scale=0.5, lr=0.1))
    assert far[0].startswith("calibrated for another recipe or other data (lr 0.05 -> 0.1): ")  # the nearest one


def test_shared_weights_are_another_proxy_than_the_same_recipe_alone(make_trial):
    alone, shared = make_trial(), replace(make_trial(), shared=SHARING)
    both = calibrated_for((SHORT_SCHEDULE, alone), (SHARED_WEIGHTS, shared))
    assert "the order by shared weights has" in judge_trials(both, shared)[0]
    tuned = replace(shared, shared=replace(SHARING, finetune=2.0))  # of the same shared training
    assert "the order by shared weights has" in judge_trials(both, tuned)[0]
    (line,) = judge_trials(calibrated_for((SHORT_SCHEDULE, alone)), shared)
    assert line.startswith("not calibrated for shared weights (only for short schedule, MAdds alone): ")
    longer = replace(shared, shared=replace(SHARING, images=2000))
    assert "(images of the shared training 1,000 -> 2,000)" in judge_trials(both, longer)[0]


def test_the_text_has_the_table_the_verdict_and_what_madds_alone_say():
    passport = replace(make_passport(published=True), reference_seconds=7200.0)
    lines = passport_text(passport, SHORT_SCHEDULE).splitlines()
    assert lines[0] == (
        "paper_grid on cifar10: proxies against networks trained alone on 200,000 images each, 8 networks, 1 seed "
        "(2 h 00 min)"
    )
    assert lines[2].startswith("proxy ") and lines[3].startswith("short schedule  0.800")
    assert "cost: training and evaluation of all seeds, in seconds of one core" in lines[6]
    assert lines[-3].startswith("calibrated on cifar10 against") and lines[-1] == ONLY_WORTH
    assert "0.954" in ONLY_WORTH and "within 25 % of MAdds" in ONLY_WORTH
    assert "published networks" not in "\n".join(lines[:-1])


def test_the_text_says_that_the_networks_are_picked_close_together():
    passport = replace(make_passport(), near_share=0.21, space_near_share=0.1)
    said = "of the networks: they are picked close together, 21 % of their pairs within 25 % of MAdds, 10 %"
    assert f"\n{said} in the space: that lowers every tau" in passport_text(passport, SHORT_SCHEDULE)
    for other in (make_passport(), replace(passport, near_share=0.1)):  # of an earlier version, and of a whole space
        assert "close together" not in passport_text(other, SHORT_SCHEDULE)


def test_the_text_says_which_published_networks_it_speaks_of():
    short, alone = make_passport(published=True).proxies
    alone = ProxyVerdict(alone.name, alone.agreement_with_reference, None, 0.0, "", make_agreement(networks=22))
    passport = replace(make_passport(), proxies=(short, alone), reference_with_published=make_agreement(networks=6))
    text = passport_text(passport, SHORT_SCHEDULE)
    assert (
        "the reference itself: tau 0.800 (95 % 0.50 to 0.95) with the published top-1 of its 6 published networks; "
        "within 25 % of MAdds 9 of 12 (95 % 55 to 95 %) as published\n"
    ) in text
    assert "\non all published networks of the space:\nproxy        networks " in text
    assert "\nMAdds alone        22  0.800" in text
