"""A slice as a file of its own: the same network, found by its name, refused where it is not what was measured."""

import json
import os
import re
import shlex
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.formats.folder import Preprocess
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec, Stage, arch_label
from mnv2_sweep.record.store import Outcome, read_outcomes, record, record_all, write_schedule
from mnv2_sweep.sweeps.export import GONE, NO_FIRST_SIZE, describe_training, export_network, find_outcome, write_export
from mnv2_sweep.sweeps.request import adopt_weights
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.kept import header_of, keep_network, write_kept
from mnv2_sweep.training.loop import evaluate_model
from mnv2_sweep.training.shared import Supernet, run_shared_trial
from mnv2_sweep.training.start import build_network
from mnv2_sweep.training.ways.finetuned import run_finetuned_trial
from mnv2_sweep.training.ways.shared import weights_path
from mnv2_sweep.trials.pixels import pixels_of
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import DataRef, How, Trial
from mnv2_sweep.trials.ways import own_file
from tests.conftest import ToyData
from tests.supernet_samples import LARGEST, SMALLEST, SUPERNET, share
from tests.trial_samples import full_disk

SMALL, LARGE = arch_label(SMALLEST), arch_label(LARGEST)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_data) -> Path:
    """A sweep of four slices, the smallest of which was trained on."""
    recipe = Recipe("tiny", images=24, batch=8, lr=0.03, curve_images=10)
    folder = tmp_path_factory.mktemp("results") / "sweep"
    trials = [share(Trial(arch, recipe, DataRef("toy", ToyData.fingerprint, 3), 0), images=24) for arch in SUPERNET]
    trials.append(share(trials[SUPERNET.index(SMALLEST)], images=24, finetune=0.5))
    write_schedule(folder, trials, replace=True)
    for trial in trials:
        supernet = Supernet(SUPERNET, weights_path(folder, trial))
        run = run_shared_trial if trial.shared.finetune is None else run_finetuned_trial
        control = Control(keep=partial(keep_network, folder / own_file(trial), tiny_data, Control(), False))
        record(folder, Outcome(trial, run(trial, tiny_data, "cpu", control, supernet)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("network", "as_slice", "how"), [(LARGE, False, "shared"), (SMALL, False, "fine-tuned"),
                                                          (SMALL, True, "shared")])  # fmt: skip
def test_the_file_holds_the_network_that_was_measured(folder, tiny_data, tmp_path, network, as_slice, how):
    exported = export_network(folder, tiny_data, network, 0, as_slice)
    path = tmp_path / "deep" / "network.pt"
    write_export(exported, path)
    assert [file.name for file in path.parent.iterdir()] == ["network.pt"]
    content = torch.load(path, weights_only=True)
    values = json.loads(content["arch"])
    arch = ArchSpec(**{**values, "stages": tuple(Stage(**row) for row in values["stages"])})
    model = build_model(arch)
    model.load_state_dict(content["state_dict"])
    model = model.to(memory_format=torch.channels_last)
    top1 = evaluate_model(model, exported.outcome.trial, tiny_data, "val", "cpu")[0]["top1"]
    assert top1 == content["val_top1"] == exported.outcome.result.score("val", "top1")
    assert (content["trained"], content["classes"]) == (how, list(tiny_data.classes))


@pytest.mark.slow
def test_what_is_not_there_is_named(folder, tiny_data):
    names = ", ".join(arch_label(arch) for arch in SUPERNET)
    with pytest.raises(SweepError, match="9.0@96: .* has no such network with a result; there are: ") as caught:
        find_outcome(folder, "9.0@96", 0, False)
    assert str(caught.value).endswith(names)
    with pytest.raises(SweepError, match=r"--seed 7: .* with seed 0$"):
        find_outcome(folder, SMALL, 7, False)


@pytest.mark.slow
def test_other_data_are_refused(folder, tiny_data):
    class Other(ToyData):
        fingerprint = "other"

    with pytest.raises(SweepError, match=r"--data: toy is not what .* was trained on, toy; give that"):
        export_network(folder, Other(train=9, val=9), SMALL, 0, True)


def test_what_was_not_kept_can_be_trained_again(make_trial, make_result, tmp_path):
    trial = make_trial()
    record(tmp_path, Outcome(trial, make_result()))
    name = arch_label(trial.arch)
    with pytest.raises(StoreError, match=r"its weights are not kept in .*: mnv2-sweep run SPACE --again '0\.25"):
        find_outcome(tmp_path, name, 0, False)
    (tmp_path / "space.yaml").write_text("# mnv2-sweep finetune '0.25 at 16' --sweep s --seed 0\n")
    said = f"keeps them: mnv2-sweep finetune {shlex.quote(name)} --name {tmp_path.name} --again"
    with pytest.raises(StoreError, match=f"{re.escape(said)}$"):
        find_outcome(tmp_path, name, 0, False)


def test_how_a_network_was_trained_is_said(make_trial):
    trial = make_trial(3, images=60)
    size = f"on images of {trial.train_size} px"
    assert describe_training(trial) == f"alone (60 images), recipe {trial.recipe.name}, {size}, seed 3"
    probe = replace(trial, recipe=replace(trial.recipe, eval_crop=0.875), how=How("probe", ()))
    said = "probe (a linear classifier on the features of weights that stay), recipe "
    assert describe_training(probe).startswith(said) and ", evaluated on the middle 0.875 of " in describe_training(
        probe
    )


def test_a_network_that_was_trained_alone_has_no_slice(make_trial, make_result, tmp_path):
    trial = make_trial()
    record(tmp_path, Outcome(trial, make_result()))
    with pytest.raises(
        SweepError, match=r"--slice: 0\.25 at 16.* is no slice of shared weights \(trained alone\); leave"
    ):
        find_outcome(tmp_path, arch_label(trial.arch), 0, True)


def test_where_the_data_are_gone_the_weights_say_what_is_needed(make_trial, make_result, tiny_data, tmp_path):
    trial, name = make_trial(), arch_label(make_trial().arch)
    record(tmp_path, Outcome(trial, make_result()))
    header = header_of(trial, tiny_data) | {"dtype": "float32"}
    model = build_network(trial)
    write_kept(tmp_path / own_file(trial), model.state_dict(), header)
    exported = export_network(tmp_path, None, name, 0, False)
    assert (exported.val_score, exported.classes, exported.notes) == (None, tiny_data.classes, (GONE,))
    assert exported.preprocess == Preprocess(trial.train_size, pixels_of(trial))
    write_export(exported, tmp_path / "network.pt")
    content = torch.load(tmp_path / "network.pt", weights_only=True)
    assert (content["checked"], content["val_top1"]) == (False, 0.5)
    assert torch.equal(content["state_dict"]["classifier.1.bias"], model.classifier[1].bias)
    sizes = json.dumps([24, 20])
    write_kept(tmp_path / own_file(trial), model.state_dict(), header | {"first_size": sizes})
    assert export_network(tmp_path, None, name, 0, False).preprocess.first_size == Size(20, 24)
    del header["first_size"]  # as earlier versions kept weights
    write_kept(tmp_path / own_file(trial), model.state_dict(), header)
    assert export_network(tmp_path, None, name, 0, False).notes == (GONE, NO_FIRST_SIZE)
    del header["classes"]
    write_kept(tmp_path / own_file(trial), model.state_dict(), header)
    with pytest.raises(StoreError, match="don't name its classes, and the data are gone; give their place with --data"):
        export_network(tmp_path, None, name, 0, False)


@pytest.mark.parametrize("resolution", [16, Size(16, 24)], ids=str)
def test_the_middle_that_was_evaluated_is_known_where_the_data_are_gone(
    make_trial, make_result, tiny_data, tmp_path, resolution, monkeypatch
):
    """Earlier versions noted for rectangles a size at which their photos were never decoded."""
    trial = make_trial(arch=replace(make_trial().arch, resolution=resolution), eval_crop=0.8)
    monkeypatch.setattr("mnv2_sweep.training.kept.find_first_size", lambda dataset, size: size)
    monkeypatch.setattr("mnv2_sweep.sweeps.export.EMBEDDED", ())
    record(tmp_path, Outcome(trial, make_result()))
    header, whole = header_of(trial, tiny_data) | {"dtype": "float32"}, trial.train_size.scale(1.25)
    assert header["crop_from"] == str(whole)

    def keep_and_export() -> tuple[Preprocess, tuple[str, ...]]:
        write_kept(tmp_path / own_file(trial), build_network(trial).state_dict(), header)
        exported = export_network(tmp_path, None, arch_label(trial.arch), 0, False)
        return exported.preprocess, exported.notes

    preprocess, notes = keep_and_export()
    assert (preprocess.whole, preprocess.first_size, notes) == (whole, whole, (GONE,))
    del header["crop_from"]
    preprocess, notes = keep_and_export()
    square = trial.train_size.is_square
    expected = (whole, whole, (GONE,)) if square else (whole, None, (GONE, NO_FIRST_SIZE))
    assert (preprocess.whole, preprocess.first_size, notes) == expected


@pytest.mark.slow
def test_weights_that_are_gone_or_damaged_are_one_line(folder, tiny_data):
    outcome = find_outcome(folder, LARGE, 0, True)
    path = weights_path(folder, outcome.trial)
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-9] + b"123456789")
        with pytest.raises(StoreError, match="it is damaged; run the space with another --results folder"):
            export_network(folder, tiny_data, LARGE, 0, True)
        path.unlink()
        with pytest.raises(StoreError, match="its weights are not kept in .*; this trains it again"):
            export_network(folder, tiny_data, LARGE, 0, True)
    finally:
        path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("linked", [True, False], ids=["link", "copy"])
def test_slices_of_another_sweep_that_are_reused_can_be_exported_here(folder, tiny_data, monkeypatch, linked):
    """Also after the other sweep is gone."""
    if not linked:
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError("another file system")))
    there, here = folder.with_name(f"there-{linked}"), folder.with_name(f"here-{linked}")
    shutil.copytree(folder, there)
    reused = [replace(outcome, source=there.name) for outcome in read_outcomes(there)]
    write_schedule(here, [outcome.trial for outcome in reused], replace=True)
    record_all(here, reused)
    adopt_weights(here, reused)
    shutil.rmtree(there)
    assert len(list(here.glob("shared/*"))) == len(list(here.glob("kept/*"))) == 1
    for network, as_slice in ((SMALL, False), (SMALL, True), (LARGE, False)):
        exported = export_network(here, tiny_data, network, 0, as_slice)
        assert exported.val_score == exported.outcome.result.score("val", "top1")
    adopt_weights(here, reused)  # nothing to take over any more
    third, damaged = here.with_name(f"third-{linked}"), folder.with_name("a-damaged")
    for path in (*here.glob("shared/*"), *here.glob("kept/*")):
        (damaged / path.parent.name).mkdir(parents=True, exist_ok=True)
        (damaged / path.parent.name / path.name).write_bytes(path.read_bytes()[:-1] + b"d")
    adopt_weights(third, reused)  # who measured them is gone, others have them
    for kind in ("shared/*", "kept/*"):
        assert {path.name: path.read_bytes() for path in third.glob(kind)} == {
            path.name: path.read_bytes() for path in here.glob(kind)
        }


@pytest.mark.slow
def test_weights_that_cannot_be_taken_over_are_one_line(folder):
    reused = read_outcomes(folder)
    (folder.with_name("full")).mkdir()
    (folder.with_name("full") / "shared").write_text("")
    with pytest.raises(StoreError, match=r"full/shared/.*: can't be written \(.*\); mend that and run again"):
        adopt_weights(folder.with_name("full"), reused)


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_one_line(folder, tiny_data, tmp_path):
    (tmp_path / "file").write_text("")
    exported = export_network(folder, tiny_data, LARGE, 0, True)
    with pytest.raises(StoreError, match="can't be written .*; choose another --out"):
        write_export(exported, tmp_path / "file" / "network.pt")


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_the_file_before(folder, tiny_data, tmp_path):
    exported = export_network(folder, tiny_data, SMALL, 0, False)
    path = tmp_path / "network.pt"
    path.write_text("before")
    with full_disk(), pytest.raises(StoreError, match="network.pt: can't be written .*; choose another --out"):
        write_export(exported, path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_equal_networks_are_equal_files(folder, tiny_data, tmp_path):
    exported = export_network(folder, tiny_data, SMALL, 0, False)
    for name in ("one.pt", "other.pt"):
        write_export(exported, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()
