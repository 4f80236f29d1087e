"""What a recipe may hold, by what is said beside each field, and how a changed one is called."""

import json
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.trials.differences import find_differences
from mnv2_sweep.trials.recipe import RECIPE_CHOICES, RECIPES, Recipe, change_recipe, check_recipe, length_text
from mnv2_sweep.trials.trial import DataRef, Trial, record_json, trial_id

GOOD = Recipe("good", images=100)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_keep_the_rules(name):
    assert RECIPES[name].name == {"paper": "paper, released"}.get(name, name)
    check_recipe(RECIPES[name])


def test_paper_recipe_is_the_released_training():
    """Section 6.1 of the paper, and TF-slim's research/slim: the flags in nets/mobilenet/README.md, training_scope in
    nets/mobilenet/mobilenet.py, the defaults of train_image_classifier.py, preprocessing/inception_preprocessing.py."""
    assert record_json(RECIPES["paper"]) == {
        "name": "paper, released",
        "optimizer": "rmsprop_tf", "lr": 0.045, "batch": 96,  # momentum, decay 0.9 and epsilon 1.0 are the defaults
        "schedule": "exponential", "decay_epochs": 2.5, "epochs": 412, "average": 0.9999,
        "decay_depthwise": False, "norm_momentum": 0.003, "norm_epsilon": 0.001, "init_stddev": 0.09,
        "crop_draw": "side", "crop_min_area": 0.1, "brightness": 32 / 255, "saturation": 0.5, "eval_crop": 0.875,
    }  # fmt: skip
    defaults = RECIPES["paper"]
    assert (defaults.momentum, defaults.rmsprop_decay, defaults.rmsprop_epsilon) == (0.9, 0.9, 1.0)
    assert (defaults.weight_decay, defaults.label_smoothing, defaults.lr_decay) == (4e-5, 0.1, 0.98)
    assert 5.5e6 * defaults.batch / 1_281_167 == pytest.approx(defaults.epochs, abs=0.2)


def test_results_of_the_earlier_paper_recipe_are_another_recipe_s():
    """As it stood in records until TF-slim's training took its place: read as ever, and nowhere mixed with it."""
    earlier = Recipe(**json.loads(
        '{"name": "paper", "epochs": 412, "batch": 96, "optimizer": "rmsprop", "lr": 0.045, "schedule": "exponential",'
        ' "crop_min_area": 0.05}'
    ))  # fmt: skip
    check_recipe(earlier)
    old, new = (Trial(ArchSpec(), recipe, DataRef("d", "f", 3), 0) for recipe in (earlier, RECIPES["paper"]))
    assert trial_id(old) == "cd41bfca8218a84b" != trial_id(new) and earlier.name != RECIPES["paper"].name
    assert "optimizer rmsprop -> rmsprop_tf" in find_differences(old, new)
    page = (Path(__file__).parents[2] / "docs" / "paper.md").read_text(encoding="utf-8")
    words = page.partition("\nrecipe: {base: paper, ")[2].partition("}")[0].split(",")
    changes = {name.strip(): yaml.safe_load(value) for name, _, value in (word.partition(":") for word in words)}
    assert trial_id(replace(old, recipe=change_recipe(RECIPES["paper"], changes))) == trial_id(old)


NAN, HUGE = float("nan"), 10**400
NO_NUMBER = [NAN, float("inf"), -float("inf"), True, "0.5", b"1", None, (), HUGE, -HUGE, 1j]
NO_COUNT = [0, -5, 2.5, 3.0, True, "8", float("inf"), NAN, (), {}, -HUGE]
BAD_VALUES = {
    "images": [*NO_COUNT, HUGE, 10**10 + 1],
    "epochs": [0, -1.0, 1_000_001, *(value for value in NO_NUMBER if value is not None)],
    "input_scale": [0, 1.5, -0.1, *NO_NUMBER],
    "batch": [1, None, HUGE, 100_001, *NO_COUNT],
    "optimizer": ["adam", "", None, True, 3, ("sgd",)],
    "lr": [0, -0.1, *NO_NUMBER],
    "momentum": [1, -0.1, *NO_NUMBER],
    "schedule": ["cosine", None, 0],
    "warmup": [1, -0.1, *NO_NUMBER],
    "lr_decay": [0, 1.1, *NO_NUMBER],
    "weight_decay": [-1e-5, *NO_NUMBER],
    "label_smoothing": [1, -0.1, *NO_NUMBER],
    "crop_min_area": [0, 1.1, *NO_NUMBER],
    "flip": [0, 1, None, "true", NAN],
    "shortcut_gain": [0, -1, *NO_NUMBER],
    "curve_images": [None, *NO_COUNT],
    "mixup": [-0.1, 101, *NO_NUMBER],
    "init": ["", " ", "two\nlines", "x" * 1001, 3, None, True],
    "decay_epochs": [0, -1.0, 1_000_001, *NO_NUMBER],
    "rmsprop_decay": [1, -0.1, *NO_NUMBER],
    "rmsprop_epsilon": [0, -1.0, *NO_NUMBER],
    "average": [1, 1.5, -0.1, *NO_NUMBER],
    "decay_depthwise": [0, 1, None, "false", NAN],
    "norm_momentum": [0, 1.1, *NO_NUMBER],
    "norm_epsilon": [0, 1, -1e-3, *NO_NUMBER],
    "init_stddev": [-0.1, 11, *NO_NUMBER],
    "crop_draw": ["areas", "", None, True, 0],
    "brightness": [-0.1, 1.1, *NO_NUMBER],
    "saturation": [-0.1, 1.1, *NO_NUMBER],
    "eval_crop": [0, 0.05, 1.1, *NO_NUMBER],
    "balance": ["weight", "", None, True, 0],
    "score": ["top-1", "loss", "", None, True, 0],
}
BAD = [(name, value) for name, values in BAD_VALUES.items() for value in values]


def test_every_field_has_help_a_rule_that_its_values_keep_and_bad_values_here():
    assert [*BAD_VALUES] == [field.name for field in fields(Recipe) if field.name != "name"]
    for name, one in RECIPE_CHOICES.items():
        assert one.help.endswith(".") and one.rule.allowed
        values = [getattr(recipe, name) for recipe in (GOOD, *RECIPES.values())]
        assert [one.refuse(value) for value in values if value is not None] == [""] * (len(values) - values.count(None))


@pytest.mark.parametrize("name, value", BAD, ids=[f"{name}-{value!r:.20}" for name, value in BAD])
def test_impossible_recipes_are_refused_in_one_line(name, value):
    recipe = replace(GOOD, **({"images": None} if name == "epochs" else {}), **{name: value})
    with pytest.raises(SweepError) as caught:
        check_recipe(recipe)
    start, end = f"recipe 'good': {name}: {value!r} given; ", f"allowed: {RECIPE_CHOICES[name].refuse(value)}"
    assert str(caught.value) == start + end and "\n" not in str(caught.value)


def test_too_much_is_said_with_the_most():
    assert RECIPE_CHOICES["images"].refuse(10**10) == ""
    assert RECIPE_CHOICES["images"].refuse(10**10 + 1) == "a whole number from 1 up to 10,000,000,000"
    assert RECIPE_CHOICES["lr"].refuse(sys.float_info.max) == ""


@pytest.mark.parametrize("length", [{}, {"images": 10, "epochs": 1.0}], ids=["neither", "both"])
def test_exactly_one_length_is_given(length):
    with pytest.raises(SweepError, match="exactly one of images and epochs allowed"):
        check_recipe(Recipe("bad", **length))


def test_all_mistakes_are_told_together():
    with pytest.raises(SweepError) as caught:
        check_recipe(Recipe("bad", images=10, batch=1, lr=0))
    assert "batch: 1 given" in str(caught.value) and "lr: 0 given" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"input_scale": 1.0, "warmup": 0.0, "momentum": 0.0, "crop_min_area": 1.0},
        {"lr_decay": 1.0, "weight_decay": 0.0, "label_smoothing": 0.0, "batch": 2},
        {"images": None, "epochs": 0.01},
    ],
    ids=["ends of ranges", "more ends", "part of an epoch"],
)
def test_edge_values_are_allowed(changes):
    check_recipe(replace(Recipe("edge", images=1), **changes))


# ---------------------------------------------------------------- changes


@pytest.mark.parametrize(
    "changes, name",
    [
        ({}, "short"),
        ({"lr": 0.03}, "short"),  # as it is
        ({"lr": 0.04}, "short, changed"),
        ({"epochs": 2.0}, "short, changed"),
        ({"epochs": 2.0, "name": "mine"}, "mine"),
        ({"mixup": 0.2, "lr": 0.5}, "short, changed, mixup 0.2"),
        ({"mixup": 0.0, "lr": 0.5}, "short, changed"),
    ],
)
def test_a_changed_recipe_is_named_so(changes, name):
    changed = change_recipe(RECIPES["short"], changes)
    assert changed.name == name
    check_recipe(changed)


def test_lengths_replace_each_other():
    assert change_recipe(RECIPES["short"], {"epochs": 2.0}).images is None
    assert change_recipe(RECIPES["paper"], {"images": 900}).epochs is None
    assert length_text(RECIPES["paper"]) == "412 epochs each" and length_text(RECIPES["short"]) == "22,000 images each"


def test_a_changed_recipe_changed_again_is_named_once():
    once = change_recipe(RECIPES["short"], {"mixup": 0.2})
    assert change_recipe(once, {"lr": 0.02}).name == "short, changed"
    assert change_recipe(once, {"mixup": 0.4}).name == "short, changed, mixup 0.4"
