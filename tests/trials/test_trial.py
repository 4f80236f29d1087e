"""Trials and results to JSON and back, and the id that names a trial."""

import json
from dataclasses import astuple, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnv2_sweep.base.size import Size, square
from mnv2_sweep.nets.arch import ACTIVATIONS, MOBILENET_V2, RESIDUALS, ArchSpec, Stage, set_expansion
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.trials.recipe import RECIPE_CHOICES, Recipe, check_recipe
from mnv2_sweep.trials.trial import (
    CurvePoint,
    DataRef,
    Result,
    Sharing,
    Trial,
    dump_result,
    dump_trial,
    load_flat,
    load_result,
    load_trial,
    record_json,
    shared_id,
    train_size,
    trial_id,
)

DATA = DataRef("toy", "0123456789abcdef", 3)
PINNED = Trial(ArchSpec(), Recipe("pinned", images=1000), DATA, 0)


def shares(low: float = 0.0, **more) -> st.SearchStrategy[float]:
    return st.floats(low, 1.0, **more)


STAGES = st.builds(
    Stage,
    st.integers(1, 9),
    st.integers(1, 400),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from([None, 3, 5]),
    st.sampled_from([None, 0.0, 0.25]),
)
ARCHS = st.builds(
    ArchSpec,
    stages=st.just(MOBILENET_V2) | st.lists(STAGES, min_size=1, max_size=4).map(tuple),
    width=shares(0.01) | st.just(1),
    resolution=st.integers(1, 300) | st.builds(Size, st.integers(1, 40), st.integers(41, 99)),
    in_channels=st.sampled_from((1, 3)),
    stem_channels=st.integers(1, 64),
    divisor=st.integers(1, 16),
    se_ratio=st.sampled_from((0.0, 0.25, 1.0)),
    kernel=st.sampled_from((1, 3, 5, 7)),
    linear_bottleneck=st.booleans(),
    residual=st.sampled_from(RESIDUALS),
    last_channels=st.integers(0, 2000),
    classes=st.integers(1, 2000),
    dropout=shares(exclude_max=True),
    activation=st.sampled_from(ACTIVATIONS),
    scale_last_conv=st.booleans(),
    depthwise=st.booleans(),
)
RECIPE_FIELDS = dict(
    name=st.text(),
    input_scale=shares(0.01),
    batch=st.integers(2, 4096),
    optimizer=st.sampled_from(RECIPE_CHOICES["optimizer"].rule.words),
    lr=st.floats(1e-9, 1e9),
    momentum=shares(exclude_max=True),
    schedule=st.sampled_from(RECIPE_CHOICES["schedule"].rule.words),
    warmup=shares(exclude_max=True),
    lr_decay=shares(0.001),
    weight_decay=shares(),
    label_smoothing=shares(exclude_max=True),
    crop_min_area=shares(0.001),
    flip=st.booleans(),
    shortcut_gain=shares(0.001),
    curve_images=st.integers(1, 10**6),
    mixup=st.floats(0, 100),
    init=st.sampled_from(["scratch", "imagenet", "a file.pth"]),
    decay_epochs=st.floats(1e-3, 1e4),
    rmsprop_decay=shares(exclude_max=True),
    rmsprop_epsilon=st.floats(1e-9, 1e9),
    average=shares(exclude_max=True),
    decay_depthwise=st.booleans(),
    norm_momentum=shares(0.001),
    norm_epsilon=st.floats(1e-9, 0.5),
    init_stddev=st.floats(0, 10),
    crop_draw=st.sampled_from(RECIPE_CHOICES["crop_draw"].rule.words),
    brightness=shares(),
    saturation=shares(),
    eval_crop=shares(0.1),
    balance=st.sampled_from(RECIPE_CHOICES["balance"].rule.words),
    score=st.sampled_from(RECIPE_CHOICES["score"].rule.words),
)
COUNTS = st.integers(1, 10**9)
LENGTHS = st.builds(dict, images=COUNTS) | st.builds(dict, epochs=st.floats(1e-3, 1e4) | st.integers(1, 10**6))
RECIPE_RECORDS = st.builds(
    lambda length, values: Recipe(**length, **values), LENGTHS, st.fixed_dictionaries(RECIPE_FIELDS)
)
TRIALS = st.builds(
    Trial,
    ARCHS,
    RECIPE_RECORDS,
    st.builds(DataRef, st.text(), st.text(), st.integers(1, 1000)),
    st.integers(0, 2**63),
)
MEASURED = st.floats(allow_nan=False)
SCORES = st.dictionaries(st.sampled_from(("top1", "loss", "mae", "recall_3")), MEASURED, min_size=1)
SPLITS = st.sampled_from((("val",), ("val", "test")))
RESULTS = st.builds(
    lambda splits, scores, images, **rest: Result(dict.fromkeys(splits, scores), dict.fromkeys(splits, images), **rest),
    *(SPLITS, SCORES, st.integers(1, 2**60)),
    **dict.fromkeys(("train_loss", "seconds", "images_per_second"), MEASURED),
    **dict.fromkeys(("train_images", "peak_memory_bytes"), st.integers(0, 2**60)),
    curve=st.lists(
        st.builds(CurvePoint, MEASURED, st.integers(0), MEASURED, MEASURED, SCORES | st.just({})), max_size=3
    ).map(tuple),
    device=st.sampled_from(("cpu", "cuda")),
)


# ---------------------------------------------------------------- JSON


def test_strategies_draw_every_field_of_a_recipe():
    assert {*RECIPE_FIELDS, "images", "epochs"} == {field.name for field in fields(Recipe)}


@given(TRIALS)
def test_trial_round_trip(trial):
    again = load_trial(dump_trial(trial))
    assert again == trial and hash(again) == hash(trial)
    assert trial_id(again) == trial_id(trial)
    check_recipe(again.recipe)
    resolve(again.arch)


@given(RESULTS)
def test_result_round_trip(result):
    assert load_result(dump_result(result)) == result


def test_curve_comes_back_as_records(make_result):
    result = load_result(dump_result(make_result(test_top1=None, test_loss=None, test_images=0)))
    assert result.score("test", "top1") is None and isinstance(result.curve, tuple)
    assert result.curve[1] == CurvePoint(2.0, 120, 0.75, 0.05, {"top1": 0.5})


def test_json_leaves_defaults_out():
    assert json.loads(dump_trial(PINNED)) == {
        "arch": {},
        "recipe": {"name": "pinned", "images": 1000},
        "data": {"name": "toy", "fingerprint": "0123456789abcdef", "classes": 3},
        "seed": 0,
    }
    changed = replace(PINNED, arch=ArchSpec(stages=(Stage(1, 8, 1, 2),), dropout=0.0), seed=4)
    values = json.loads(dump_trial(changed))
    assert values["arch"] == {"stages": [{"t": 1, "c": 8, "n": 1, "s": 2}], "dropout": 0.0} and values["seed"] == 4


def test_json_may_lack_fields_that_came_later():
    """A trial stored before most of the recipe's fields and of the space's axes were there."""
    recipe, data = '{"name": "old", "epochs": 2}', '{"name": "d", "fingerprint": "f", "classes": 2}'
    text = f'{{"arch": {{"width": 0.5}}, "recipe": {recipe}, "data": {data}, "seed": 1}}'
    assert load_trial(text) == Trial(ArchSpec(width=0.5), Recipe("old", epochs=2), DataRef("d", "f", 2), 1)


def test_many_results_are_read_as_one_by_one_and_a_bad_one_is_not_passed_over(make_result):
    texts = [dump_result(make_result(seconds=n)) for n in range(3)]
    assert load_flat(texts) == [load_result(text).flat() for text in texts] and load_flat([]) == []
    for bad in ("", "7", "[]", "null", "{}", f"{texts[0]}, {texts[1]}", texts[0][:-1], texts[0].replace("1.5", '"x"')):
        with pytest.raises((ValueError, KeyError, TypeError)):
            load_flat([texts[1], bad, texts[2]])
    halves = texts[0].split(', "device"')  # of which together one object could be made
    with pytest.raises(ValueError):
        load_flat([texts[1], halves[0], '"device"' + halves[1]])


def test_curves_may_lack_what_came_later(make_result):
    values = json.loads(dump_result(make_result()))
    for point in values["curve"]:
        del point["val_top1"]
    curve = load_result(json.dumps(values)).curve
    assert curve == (CurvePoint(1.0, 60, 1.0, 0.1), CurvePoint(2.0, 120, 0.75, 0.05))


def test_defaults_may_not_change():
    """Stored records leave them out, so each of these is part of every result there is."""
    assert record_json(Recipe("any")) == {"name": "any"}
    assert astuple(Recipe("any"))[1:] == (
        *(None, None, 1.0, 64, "sgd", 0.1, 0.9, "one_cycle", 0.2, 0.98),
        *(4e-5, 0.1, 0.35, True, 1.0, 500, 0.0, "scratch"),
        *(1.0, 0.9, 1.0, 0.0, True, 0.1, 1e-5, 0.0, "area", 0.0, 0.0, 1.0),
        *("none", "top1"),
    )
    assert astuple(ArchSpec())[2:] == (
        *(1.0, 224, 3, True, "bottleneck", 1280, 1000, 0.2, 3, "relu6", False, True),
        *(3, 32, 0.0, 8, "torch"),
        *("classifier", 16, True, 6, 6, 0.2, 512),
    )
    assert astuple(ArchSpec())[:2] == (
        "mobilenet_v2",
        tuple(
            (*row, None, None)
            for row in [
                *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
                *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
            ]
        ),
    )


# ---------------------------------------------------------------- ids


def test_id_of_one_trial_stays():
    """The primary key of every stored result; another value here orphans them all (see CODE_VERSION)."""
    assert trial_id(PINNED) == "7fa0971b034b40a5"


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": ArchSpec(width=1.001)},
        {"recipe": Recipe("another name", images=1000)},
        {"data": replace(DATA, name="another name")},
    ],
    ids=["same plan", "recipe's name", "data's name"],
)
def test_id_is_the_same_for_the_same_training(changes):
    assert trial_id(replace(PINNED, **changes)) == trial_id(PINNED)


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": ArchSpec(resolution=192)},
        {"arch": ArchSpec(stages=set_expansion(MOBILENET_V2, 4))},
        {"data": replace(DATA, fingerprint="fedcba9876543210")},
        {"data": replace(DATA, classes=4)},
        {"seed": 1},
    ],
    ids=["resolution", "expansion", "fingerprint", "data's classes", "seed"],
)
def test_id_differs_for_another_training(changes):
    assert trial_id(replace(PINNED, **changes)) != trial_id(PINNED)


OTHER_VALUES = {
    "images": 1001,
    "epochs": 3.0,
    "input_scale": 0.5,
    "batch": 32,
    "optimizer": "adamw",
    "lr": 0.2,
    "momentum": 0.8,
    "schedule": "exponential",
    "warmup": 0.1,
    "lr_decay": 0.9,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "crop_min_area": 0.5,
    "flip": False,
    "shortcut_gain": 0.2,
    "curve_images": 100,
    "mixup": 0.2,
    "decay_epochs": 2.5,
    "rmsprop_decay": 0.8,
    "rmsprop_epsilon": 0.1,
    "average": 0.9999,
    "decay_depthwise": False,
    "norm_momentum": 0.003,
    "norm_epsilon": 0.001,
    "init_stddev": 0.09,
    "crop_draw": "side",
    "brightness": 0.1,
    "saturation": 0.5,
    "eval_crop": 0.875,
    "balance": "weights",
}


def test_id_differs_with_every_field_of_the_recipe_but_its_name_and_score():
    """`init` is in it as the digest of the weights that it came to: see tests/sweeps/test_starts.py."""
    assert set(OTHER_VALUES) == {field.name for field in fields(Recipe)} - {"name", "init", "score"}
    assert trial_id(replace(PINNED, recipe=replace(PINNED.recipe, score="macro_f1"))) == trial_id(PINNED)
    ids = [trial_id(replace(PINNED, recipe=replace(PINNED.recipe, **{name: v}))) for name, v in OTHER_VALUES.items()]
    assert len({trial_id(PINNED), *ids}) == 1 + len(OTHER_VALUES)


def test_id_does_not_tell_the_default_from_the_same_value_given():
    given = Recipe("pinned", images=1000, **{f.name: f.default for f in fields(Recipe)[3:]})
    assert trial_id(replace(PINNED, recipe=given)) == trial_id(PINNED)


def test_equal_trials_have_equal_ids():
    whole, point = (replace(PINNED, recipe=Recipe("r", epochs=epochs)) for epochs in (1, 1.0))
    assert whole == point
    assert trial_id(whole) == trial_id(point)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    "resolution, scale, size", [(224, 1.0, 224), (224, 0.25, 56), (97, 0.25, 24), (96, 0.125, 12), (3, 0.1, 1)]
)
def test_train_size(resolution, scale, size):
    arch, recipe = ArchSpec(resolution=resolution), Recipe("small", images=1, input_scale=scale)
    assert train_size(arch, recipe) == Trial(arch, recipe, DATA, 0).train_size == square(size)


# ---------------------------------------------------------------- slices of shared weights

FAMILY = "fedcba9876543210"
SLICE = replace(PINNED, shared=Sharing(FAMILY, 5000))


@given(st.builds(Sharing, st.text(), st.integers(1, 10**12), st.none() | st.floats(1e-6, 1e6), st.integers(0, 10**12)))
def test_a_slice_comes_back_from_json(shared):
    trial = replace(PINNED, shared=shared)
    assert load_trial(dump_trial(trial)) == trial and trial_id(load_trial(dump_trial(trial))) == trial_id(trial)


def test_a_trial_alone_has_the_json_and_the_id_it_always_had():
    assert json.loads(dump_trial(PINNED)).keys() == {"arch", "recipe", "data", "seed"}
    assert load_trial(dump_trial(PINNED)).shared is None
    assert json.loads(dump_trial(SLICE))["shared"] == {"family": FAMILY, "images": 5000}


def test_id_differs_with_every_field_of_the_sharing():
    others = {"family": "0123456789abcdef", "images": 5001, "finetune": 0.5, "refit": 400}
    assert list(others) == [field.name for field in fields(Sharing)]
    shared = [replace(SLICE.shared, **{name: value}) for name, value in others.items()]
    shared.append(replace(SLICE.shared, finetune=1.0))
    ids = {trial_id(trial) for trial in (PINNED, SLICE, *(replace(PINNED, shared=each) for each in shared))}
    assert len(ids) == 2 + len(shared)


def test_equal_slices_have_equal_ids():
    whole, point = (replace(SLICE, shared=Sharing(FAMILY, 5000, epochs)) for epochs in (2, 2.0))
    assert whole == point and trial_id(whole) == trial_id(point)


def test_the_networks_of_a_family_have_one_training_whatever_becomes_of_them_later():
    same = [
        replace(SLICE, arch=ArchSpec(width=0.5)),
        replace(SLICE, shared=Sharing(FAMILY, 5000, 2.0)),
        replace(SLICE, shared=Sharing(FAMILY, 5000, refit=400)),
        replace(SLICE, recipe=replace(SLICE.recipe, name="renamed")),
        replace(SLICE, data=replace(DATA, name="moved")),
    ]
    assert {shared_id(trial) for trial in same} == {shared_id(SLICE)}
    assert len({trial_id(trial) for trial in (SLICE, *same)}) == 4  # the names say nothing
    assert shared_id(SLICE) not in {trial_id(trial) for trial in same}


def test_trainings_differ_with_family_length_recipe_data_and_seed():
    others = [
        replace(SLICE, shared=Sharing("0123456789abcdef", 5000)),
        replace(SLICE, shared=Sharing(FAMILY, 5001)),
        replace(SLICE, recipe=replace(SLICE.recipe, lr=0.05)),
        replace(SLICE, data=replace(DATA, fingerprint="other")),
        replace(SLICE, seed=1),
    ]
    assert len({shared_id(trial) for trial in (SLICE, *others)}) == 1 + len(others)
