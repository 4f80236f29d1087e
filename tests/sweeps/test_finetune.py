"""A kept network as the start of a sweep: the same network with its conventions, its classifier where the data stay."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.models.shared import calibrate_norms
from mnv2_sweep.nets.arch import ArchSpec, Stage, arch_label
from mnv2_sweep.pretrained.folder import find_weights, weights_folder, write_weights
from mnv2_sweep.record.folders import FINETUNE, find_sweep
from mnv2_sweep.record.store import Outcome, record, write_schedule
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.sweeps.finetune import (
    add_base,
    choose_arch,
    choose_classifier,
    choose_recipe,
    describe_sweep,
    find_base,
)
from mnv2_sweep.sweeps.request import SweepRequest, open_session
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.kept import fill_network, halve, header_of, write_kept
from mnv2_sweep.training.loop import evaluate_splits
from mnv2_sweep.training.shared import Supernet, run_shared_trial
from mnv2_sweep.training.start import build_network
from mnv2_sweep.training.ways.shared import weights_path
from mnv2_sweep.training.ways.tune import WORK as TUNE
from mnv2_sweep.training.ways.tune import measure_start
from mnv2_sweep.training.ways.way import Rates, Setup
from mnv2_sweep.trials.recipe import RECIPES
from mnv2_sweep.trials.trial import Trial, dump_trial, load_trial, trial_id
from mnv2_sweep.trials.ways import keeps_classifier, own_file
from tests.conftest import TINY_ARCH, ToyData
from tests.supernet_samples import SMALLEST, SUPERNET, share

torch.set_num_threads(1)
QUIET = Control()
ODD = replace(TINY_ARCH, padding="same", in_channels=1, se_ratio=0.25, stages=(Stage(1, 8, 1, 1), Stage(3, 8, 2, 2, 5)))


class Others(ToyData):
    """Four classes of other images."""

    name, fingerprint, classes = "others", "0" * 12, ("red", "green", "blue", "none")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def keep(tmp_path, make_trial, make_result, tiny_data):
    """keep(arch, fields of Recipe) -> the folder of a sweep, and its result, whose network is kept."""

    def make(arch: ArchSpec = TINY_ARCH, **recipe) -> tuple[Path, Outcome]:
        folder, trial = tmp_path / "results" / "sweep", make_trial(arch=arch, **recipe)
        torch.manual_seed(0)
        model = build_network(trial)
        with torch.no_grad():
            model.classifier[1].weight.mul_(100)
            calibrate_norms(model, [torch.rand(64, arch.in_channels, 16, 16) * 2 - 1])
        state = {name: halve(tensor) for name, tensor in model.state_dict().items()}
        write_kept(folder / own_file(trial), state, header_of(trial, tiny_data) | {"dtype": "float16"})
        scores = evaluate_splits(fill_network(model, state), trial, tiny_data, "cpu", QUIET).scores
        facts = {f"{split}_{name}": value for split in scores for name, value in scores[split].items()}
        record(folder, Outcome(trial, make_result(**facts)))
        return folder, find_base(folder, arch_label(arch), 0)

    return make


def begin(folder: Path, base: Outcome, dataset: ToyData) -> tuple[Trial, ...]:
    """The trials of the sweep that begins with the result's network."""
    weights = add_base(folder, base, None)
    recipe = replace(choose_recipe(base.trial, None, 40), init=weights.name)
    arch, strategy = choose_arch(base.trial, dataset), choose_classifier(base.trial, dataset)
    request = SweepRequest(folder.parent / "new", [arch], recipe, (0, 1), dataset, "toy", strategy=strategy)
    return open_session(request).trials


@pytest.mark.parametrize(
    "arch, recipe", [(TINY_ARCH, {}), (ODD, {"norm_epsilon": 1e-2, "flip": False, "eval_crop": 0.875})],
    ids=["plain", "odd"],
)  # fmt: skip
def test_on_its_own_data_a_network_begins_as_it_is(keep, tiny_data, arch, recipe):
    folder, base = keep(arch, **recipe)
    trial, other = begin(folder, base, tiny_data)
    assert keeps_classifier(trial) and measure_start(trial, tiny_data, "cpu", QUIET).scores == base.result.scores
    result = TUNE.run(trial, tiny_data, Setup(), QUIET)
    assert result.score("val", "probe_top1") == base.result.score("val", "top1")
    assert result.score("test", "probe_top1") == base.result.score("test", "top1")
    assert load_trial(dump_trial(trial)) == trial and trial_id(trial) != trial_id(other)
    assert (trial.start.epsilon, trial.start.padding) == (base.trial.epsilon, arch.padding)
    assert trial.start.mean == trial.start.std == (0.5,) * arch.in_channels
    assert trial.start.source == f"sweep sweep: {arch_label(arch)}, seed 0" and trial.arch == arch
    same = ("input_scale", "eval_crop", "flip")
    assert all(getattr(trial.recipe, name) == getattr(base.trial.recipe, name) for name in same)


def test_other_classes_get_a_new_classifier_on_the_same_features(keep, tiny_data):
    folder, base = keep()
    trial = begin(folder, base, Others(train=30, val=20))[0]
    assert not keeps_classifier(trial) and trial.arch.classes == 4 and trial.start.classes == 3
    result = TUNE.run(trial, Others(train=30, val=20), Setup(), QUIET)
    assert result.score("val", "probe_top1") > 0.5
    wide = replace(base.trial, arch=replace(base.trial.arch, classes=1000))
    assert choose_arch(wide, Others(train=4)).classes == 1000
    assert choose_classifier(base.trial, tiny_data).settings


def test_the_same_network_is_the_same_trial_and_keeps_the_name_that_somebody_gave_its_file(keep, tiny_data):
    folder, base = keep()
    first, names = begin(folder, base, tiny_data), [add_base(folder, base, None).name]
    weights = find_weights(names[0], weights_folder())
    write_weights(replace(weights, record=replace(weights.record, name="mine")), weights_folder())
    again = begin(folder, base, tiny_data)
    assert again[0].start.name == "mine" and [*map(trial_id, again)] == [*map(trial_id, first)]


def test_what_a_tuned_network_began_with_is_said_of_those_that_go_on(keep, tiny_data, make_result):
    folder, base = keep()
    tuned = begin(folder, base, tiny_data)[0]
    tuned = replace(tuned, start=replace(tuned.start, licence="MIT", mean=(0.4, 0.5, 0.6)))
    TUNE.run(tuned, tiny_data, Setup(), Control(keep=lambda trial, model, result: write_kept(
        folder / own_file(trial), model.state_dict(), header_of(trial, tiny_data) | {"dtype": "float32"})))  # fmt: skip
    weights = add_base(folder, Outcome(tuned, make_result()), None)
    assert (weights.licence, weights.mean) == ("MIT", (0.4, 0.5, 0.6))
    assert weights.source.endswith(f"seed 0, which began with {tuned.start.name}")


def test_a_slice_is_made_as_export_makes_it_and_held_against_its_record(tmp_path, tiny_data, make_trial):
    folder, trial = tmp_path / "results" / "shared", share(make_trial(arch=SMALLEST, images=24, batch=8), images=24)
    write_schedule(folder, [replace(trial, arch=arch) for arch in SUPERNET], replace=True)
    result = run_shared_trial(trial, tiny_data, "cpu", QUIET, Supernet(SUPERNET, weights_path(folder, trial)))
    record(folder, Outcome(trial, result))
    base = find_base(folder, arch_label(SMALLEST), 0)
    first = add_base(folder, base, tiny_data)
    assert add_base(folder, base, tiny_data) == first and first.arch.stages == SMALLEST.stages
    wrong = replace(base.result, scores={**base.result.scores, "val": {"top1": 2.0, "loss": 1.0}})
    with pytest.raises(SweepError, match="it was measured on another machine"):
        record(folder.with_name("wrong"), Outcome(trial, wrong))
        write_schedule(folder.with_name("wrong"), [replace(trial, arch=arch) for arch in SUPERNET], replace=True)
        (folder / "shared").rename(folder.with_name("wrong") / "shared")
        add_base(folder.with_name("wrong"), base, tiny_data)
    with pytest.raises(SweepError, match="training images, and those are gone; give their place with --data PATH"):
        add_base(folder, base, None)


def test_mistakes_are_a_line(tmp_path, make_trial, make_result):
    trial = make_trial(arch=ArchSpec(family="mobilenet_v1", width=0.25, resolution=32, classes=3))
    record(tmp_path, Outcome(trial, make_result()))
    with pytest.raises(StoreError, match="its weights are not kept in "):
        find_base(tmp_path, arch_label(trial.arch), 0)
    (tmp_path / own_file(trial)).parent.mkdir()
    (tmp_path / own_file(trial)).write_text("")
    with pytest.raises(SweepError, match="^MobileNetV1 0.25 at 32: MobileNetV1s are trained from scratch only"):
        find_base(tmp_path, arch_label(trial.arch), 0)
    with pytest.raises(SweepError, match="--epochs --images: one of them"):
        choose_recipe(trial, 2, 100)


def test_the_length_is_as_asked_and_in_the_estimate(keep, tiny_data):
    folder, base = keep()
    usual = choose_recipe(base.trial, None, None)
    assert (usual.epochs, usual.lr) == (RECIPES["tune"].epochs, RECIPES["tune"].lr)
    assert choose_recipe(base.trial, 0.5, None).epochs == 0.5
    own, new = begin(folder, base, tiny_data)[0], begin(folder, base, Others(train=60, val=30, test=45))[0]
    rates = Rates(tiny_data, {}, lambda work: 1.0, lambda work: 0.1, lambda work: 2.0, lambda *said: 5.0)
    assert TUNE.own_seconds(own, 1.0, rates) < TUNE.own_seconds(new, 1.0, rates) - 5
    assert TUNE.length_text(own).startswith("its own classifier, then ")


def test_the_sweep_has_its_network_as_a_space_and_is_no_base_by_default(tmp_path, make_trial, make_result):
    for name, arch in {"base": TINY_ARCH, "odd": replace(ODD, resolution=48)}.items():
        record(tmp_path / name, Outcome(make_trial(arch=arch), make_result()))
        (tmp_path / name / "space.yaml").write_text(describe_sweep(arch, "NETWORK"))
        assert expand(load_space(tmp_path / name / "space.yaml")) == (arch,)
    (tmp_path / "base" / "space.yaml").write_text("# a space")
    assert find_sweep(tmp_path, None, unless=FINETUNE).name == "base" and find_sweep(tmp_path, None).name == "odd"
