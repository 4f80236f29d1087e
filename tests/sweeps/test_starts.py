"""Recipe.init: which weights each network begins with, and one clear line where it can't."""

from dataclasses import replace

import pytest

from mnv2_sweep.base.errors import SpaceError, SweepError, WeightsError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.folder import weights_folder
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.sweeps.schedule import schedule_trials
from mnv2_sweep.sweeps.starts import describe_starts, find_starts, take_weights
from mnv2_sweep.training.ways.probe import WORK as PROBE
from mnv2_sweep.training.ways.shared import WORK as SHARED
from mnv2_sweep.training.ways.tune import WORK as TUNE
from mnv2_sweep.trials.recipe import RECIPES
from mnv2_sweep.trials.trial import DataRef, dump_trial, load_trial, trial_id
from tests.weight_files import ARCH, draw_arrays, save_safetensors

RECIPE, DATA = replace(RECIPES["short"], init="imagenet"), DataRef("d", "f", 3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    return weights_folder()


def add(tmp_path, folder, name, arch=ARCH, **metadata):
    arrays = {n: a for n, a in draw_arrays(arch).items() if "classifier" not in n}
    metadata = {"resolution": "32", **{key: str(value) for key, value in metadata.items()}}
    return add_weights(save_safetensors(tmp_path / f"{name}.safetensors", arrays, metadata), folder).record


def test_the_weights_of_the_nearest_size_are_taken(tmp_path, folder):
    small, large = add(tmp_path, folder, "a", resolution=32), add(tmp_path, folder, "b", resolution=64)
    archs = [replace(ARCH, resolution=size, classes=3) for size in (24, 32, 50, 64)]
    assert list(find_starts(archs, RECIPE).values()) == [small, small, large, large]
    assert find_starts(archs, replace(RECIPE, init="b"))[archs[0]] == large
    assert find_starts(archs, RECIPES["short"]) == {}


def test_a_file_is_added_and_found_by_its_digest(tmp_path, folder):
    record = add(tmp_path, folder, "a")
    other = save_safetensors(tmp_path / "c.safetensors", draw_arrays(ARCH), {"resolution": "32"})
    found = find_starts([ARCH], replace(RECIPE, init=str(other)))[ARCH]
    assert found.name == "c" and found.sha256 != record.sha256
    assert find_starts([ARCH], replace(RECIPE, init=found.sha256[:10]))[ARCH] == found


@pytest.mark.parametrize(
    "init, archs, words",
    [
        ("imagenet", [ARCH, ArchSpec(width=0.35, resolution=96)], "weights get keras-0.35-96'"),
        ("imagenet", [ARCH, ArchSpec(width=0.42)], "nobody has published weights of 0.42 at 224: leave it out"),
        ("a", [ARCH, ArchSpec()], "not of 1.0 at 224, only 1 network of the space"),
        ("nothing", [ARCH], "no weights of that name"),
    ],
)
def test_a_space_of_which_only_some_have_weights_is_refused_in_a_line(tmp_path, folder, init, archs, words):
    add(tmp_path, folder, "a")
    with pytest.raises(WeightsError, match=".") as refused:
        find_starts(archs, replace(RECIPE, init=init))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_ids_take_the_digest_and_the_record_comes_back(tmp_path, folder):
    record = add(tmp_path, folder, "a", padding="tf", eps="0.001")
    (scratch,) = schedule_trials([ARCH], RECIPES["short"], DATA, [0])
    (begun,) = schedule_trials([ARCH], RECIPE, DATA, [0], {}, {ARCH: record})
    assert begun.arch.padding == record.padding == "same" and begun.start.epsilon == 1e-3
    assert load_trial(dump_trial(begun)) == begun
    renamed = replace(begun, start=replace(record, name="other"), recipe=replace(RECIPE, init="other"))
    changed = replace(begun, start=replace(record, sha256="0" * 64))
    assert trial_id(renamed) == trial_id(begun) != trial_id(changed)
    assert trial_id(scratch) == trial_id(replace(scratch, recipe=replace(RECIPES["short"], name="x")))
    assert "start" not in dump_trial(scratch) and "init" not in dump_trial(scratch)
    assert describe_starts([scratch]) == [] and "trained at 32" in describe_starts([begun])[0]


def test_ways_that_need_weights_and_ways_that_have_none():
    with pytest.raises(SweepError, match="strategy probe: it begins with published weights"):
        PROBE.mark(Strategy("probe"), [ARCH], RECIPES["short"], 10)
    with pytest.raises(SweepError, match="scratch allowed for networks that share weights"):
        SHARED.mark(Strategy("shared"), [ARCH], RECIPE, 10)


def test_ways_refuse_what_they_would_not_do():
    with pytest.raises(SweepError, match=r"^recipe.norm_momentum: 0.003 given, 0.1 allowed for networks that share"):
        SHARED.mark(Strategy("shared"), [ARCH], RECIPES["paper"], 10)
    assert SHARED.mark(Strategy("shared"), [ARCH], replace(RECIPES["paper"], norm_momentum=0.1), 10)
    with pytest.raises(
        SweepError, match=r"^recipe.average: 0.9 given, 0 allowed for strategy tune, which has an average"
    ):
        TUNE.mark(Strategy("tune"), [ARCH], replace(RECIPES["tune"], average=0.9), 10)


def test_a_space_says_what_it_is_with_weights(tmp_path, folder):
    path = tmp_path / "s.yaml"
    path.write_text(f"points: [{{width: {ARCH.width}, resolution: 32}}]\nwith_weights: {{recipe: tune}}\n")
    space = load_space(path)
    same, line = take_weights(space)
    assert same == space and line.startswith("with_weights is not taken: recipe.init: imagenet given, ")
    add(tmp_path, folder, "a")
    taken, line = take_weights(space)
    assert taken.strategy.name == "tune" and taken.recipe == RECIPES["tune"] and "strategy tune" in line
    path.write_text("points: [{width: 1.0}]\nwith_weights: {recipe: short}\n")
    with pytest.raises(SpaceError, match="with_weights.recipe: it begins from scratch"):
        load_space(path)
