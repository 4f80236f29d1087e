"""What becomes of pixels is said once: from -1 to 1, or as the weights want it with which a network begins."""

from dataclasses import replace

from mnv2_sweep.trials.pixels import FIT, Pixels, pixels_of
from mnv2_sweep.trials.weights import HALF, WeightsRecord, describe_start
from tests.conftest import TINY_ARCH

START = WeightsRecord("torchs", "ab" * 32, "torchvision", licence="BSD", source="https://example.org/a")


def test_pixels_of_trials(make_trial):
    trial = make_trial()
    assert pixels_of(trial).text == f"value / 127.5 - 1, RGB, {FIT}"
    grey = make_trial(arch=replace(TINY_ARCH, in_channels=1))
    assert pixels_of(grey) == Pixels((0.5,), (0.5,)) and pixels_of(grey).text.startswith("value / 127.5 - 1, luma")
    begun = pixels_of(replace(trial, start=START))
    assert begun.scaling == "(value / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]" and begun.channels == 3
    assert pixels_of(replace(trial, start=replace(START, mean=HALF, std=HALF))) == pixels_of(trial)


def test_a_start_is_named_with_its_terms():
    assert describe_start(START) == (
        f"the weights torchs (sha256 {'ab' * 32}, licence: BSD, from https://example.org/a)"
    )
    assert describe_start(replace(START, licence="", source="")).endswith(", licence: not stated)")


def test_the_middle_that_is_evaluated_is_said(make_trial):
    text = pixels_of(make_trial(eval_crop=0.875)).text
    assert ", RGB, the middle 0.875 of each side of the largest part of the middle" in text
    assert "each side" not in pixels_of(make_trial()).text and pixels_of(make_trial()).middle == ""
