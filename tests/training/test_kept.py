"""Weights on disk: the same network comes back, in half precision only where it answers as well, whole or not."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.training import kept
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.kept import has_kept, keep_network, kept_bytes, read_header, read_kept
from mnv2_sweep.training.loop import evaluate_model, run_trial
from mnv2_sweep.training.stacked import train_stacked
from mnv2_sweep.training.ways.way import work_of
from mnv2_sweep.trials.trial import trial_id
from mnv2_sweep.trials.ways import own_file
from tests.trial_samples import full_disk


@pytest.fixture
def keep(tmp_path, tiny_data):
    """keep(trial, model, result) as a run has it; `lines` are its log's."""
    lines = []

    def keep(trial, model, result, **control):
        control = Control(log=lines.append, **control)
        keep_network(tmp_path / own_file(trial), tiny_data, control, False, trial, model, result)

    keep.lines = lines
    return keep


def states(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_network_comes_back_from_its_file(tmp_path, tiny_data, make_trial, keep):
    trial, seen = make_trial(), []

    def keep_and_look(trial, model, result):
        before = states(model)
        keep(trial, model, result)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        seen.append(before)

    result = run_trial(trial, tiny_data, "cpu", Control(keep=keep_and_look))
    path = tmp_path / own_file(trial)
    assert path.name == f"{trial_id(trial)}.safetensors" and has_kept(path, trial)
    header = read_header(path)
    assert header["dtype"] == "float16" and keep.lines == [f"weights kept as float16, {path.stat().st_size:,} bytes"]
    assert (header["trial"], header["task"], header["trained"]) == (trial_id(trial), "classify", "alone")
    assert json.loads(header["classes"]) == list(tiny_data.classes) and json.loads(header["arch"])["classes"] == 3
    assert (header["size"], header["channels"], header["pixels"]) == ("16", "3", "value / 127.5 - 1")
    assert json.loads(header["first_size"]) is None and "kernels" not in header
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert sum(tensor.nbytes for tensor in tensors.values()) == kept_bytes(trial)
    for name, tensor in tensors.items():
        half = tensor.dtype == torch.float16
        assert half == (tensor.ndim > 1) and torch.equal(tensor, seen[0][name].half() if half else seen[0][name])
    model = work_of(trial).rebuild(trial, tmp_path, (), tiny_data)
    scores, images = evaluate_model(model, trial, tiny_data, "val", "cpu")
    assert round(scores["top1"] * images) == round(result.score("val", "top1") * images) and not model.training


def test_a_network_with_another_epsilon_comes_back_with_it(tmp_path, tiny_data, make_trial, keep):
    trial = make_trial(norm_epsilon=0.5, eval_crop=0.75, average=0.5)
    result = run_trial(trial, tiny_data, "cpu", Control(keep=keep))
    assert read_header(tmp_path / own_file(trial))["epsilon"] == "0.5"
    scores, images = evaluate_model(
        work_of(trial).rebuild(trial, tmp_path, (), tiny_data), trial, tiny_data, "val", "cpu"
    )
    assert round(scores["top1"] * images) == round(result.score("val", "top1") * images)
    assert scores["loss"] == pytest.approx(result.score("val", "loss"), abs=0.01)


@pytest.mark.parametrize("largest", [1e-9, 1e8], ids=["vanishes", "infinite"])
def test_what_answers_otherwise_in_half_precision_is_kept_whole(tmp_path, tiny_data, make_trial, keep, largest):
    """A last layer whose numbers half precision can't hold."""
    trial, seen = make_trial(), []

    def keep_scaled(trial, model, result):
        linear = model.classifier[1]
        factor = largest / linear.weight.abs().max()
        linear.weight.data *= factor
        linear.bias.data *= factor
        scores, _ = evaluate_model(model, trial, tiny_data, "val", "cpu")
        assert scores["top1"] > 0.5
        seen.append((states(model), scores))
        keep(trial, model, replace(result, scores={"val": scores}))

    run_trial(trial, tiny_data, "cpu", Control(keep=keep_scaled))
    ((state, scores),) = seen
    path = tmp_path / own_file(trial)
    found = read_kept(path, trial)
    assert read_header(path)["dtype"] == "float32"
    assert all(torch.equal(value, found[name]) for name, value in state.items())
    model = work_of(trial).rebuild(trial, tmp_path, (), tiny_data)
    assert evaluate_model(model, trial, tiny_data, "val", "cpu")[0] == scores


def test_nothing_half_is_left(tmp_path, tiny_data, make_trial, keep, monkeypatch):
    trial = make_trial(images=40)
    path = tmp_path / own_file(trial)
    with full_disk():
        run_trial(trial, tiny_data, "cpu", Control(keep=keep))
    assert list(path.parent.glob("*")) == [] and keep.lines[0].startswith("the weights could not be kept: ")

    def stopped(*words, **more):
        raise Interrupted

    checkpoint = tmp_path / "trial.pt"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(kept, "evaluate_model", stopped)
        run_trial(trial, tiny_data, "cpu", Control(keep=keep, checkpoint=checkpoint))
    assert checkpoint.exists() and not path.exists()
    run_trial(trial, tiny_data, "cpu", Control(keep=keep, checkpoint=checkpoint, log=keep.lines.append))
    resumed = read_kept(path, trial)
    assert any(line.startswith("resumed after step") for line in keep.lines) and not checkpoint.exists()
    run_trial(trial, tiny_data, "cpu", Control(keep=keep))
    assert all(torch.equal(value, resumed[name]) for name, value in read_kept(path, trial).items())


def test_what_can_not_be_used_is_said(tmp_path, tiny_data, make_trial, keep):
    trial, other = make_trial(images=40), make_trial(1, images=40)
    run_trial(trial, tiny_data, "cpu", Control(keep=keep))
    path = tmp_path / own_file(trial)
    content = path.read_bytes()
    with pytest.raises(StoreError, match="its trial is .*, not .*; remove it, and what 'mnv2-sweep status "):
        read_kept(path, other)
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:-5], content[:40], b"", b"PK" + content):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="can't be used") as caught:
            read_kept(path, trial)
        assert "\n" not in str(caught.value) and not has_kept(path, trial)
    path.unlink()
    with pytest.raises(StoreError, match="the file is not there"):
        read_kept(path, trial)


def test_seeds_that_are_trained_as_one_are_kept_one_by_one(tmp_path, tiny_data, make_trial, keep):
    trials = [make_trial(seed, images=40) for seed in (0, 1)]
    results = train_stacked(trials, tiny_data, "cpu", Control(keep=keep))
    found = [read_kept(tmp_path / own_file(trial), trial) for trial in trials]
    assert not torch.equal(found[0]["classifier.1.weight"], found[1]["classifier.1.weight"])
    for trial, result in zip(trials, results, strict=True):
        model = work_of(trial).rebuild(trial, tmp_path, (), tiny_data)
        assert evaluate_model(model, trial, tiny_data, "val", "cpu")[0]["top1"] == result.score("val", "top1")


def test_a_network_without_numbers_is_not_kept(tmp_path, tiny_data, make_trial, make_result, keep):
    trial = make_trial()
    keep(trial, work_of(trial).build(trial), make_result(val_loss=float("nan")))
    assert not (tmp_path / "kept").exists()
