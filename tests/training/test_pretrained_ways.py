"""Networks that begin with weights: their conventions, features that are kept, probe, tune and its checkpoints."""

import os
from copy import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.pretrained import build_pretrained, to_input
from mnv2_sweep.models.shared import calibrate_norms
from mnv2_sweep.nets.arch import set_expansion
from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.folder import find_weights, weights_folder
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.training import features
from mnv2_sweep.training.batch import weigh_images
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.features import compute_features, features_path, find_features, forget_oldest
from mnv2_sweep.training.kept import header_of, write_kept
from mnv2_sweep.training.linear import Examples, fit_linear, time_fit, turn_features
from mnv2_sweep.training.loop import evaluate_splits, run_trial
from mnv2_sweep.training.start import begin_network
from mnv2_sweep.training.ways.probe import WORK as PROBE
from mnv2_sweep.training.ways.probe import probe_trial
from mnv2_sweep.training.ways.tune import WORK as TUNE
from mnv2_sweep.training.ways.tune import begin_tuning, compare_probe
from mnv2_sweep.training.ways.way import Rates, Setup
from mnv2_sweep.trials.trial import How, Trial, trial_id
from tests.stops import Stop, measured
from tests.trial_samples import check_terms
from tests.weight_files import ARCH, save_safetensors

torch.set_num_threads(1)
QUIET = Control()


@cache
def lively_arrays() -> dict[str, np.ndarray]:
    """Random weights whose norms have the statistics of noise, so that something comes through all layers."""
    torch.manual_seed(0)
    model = build_model(ARCH)
    calibrate_norms(model, [torch.rand(64, 3, 16, 16) * 2 - 1])
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items() if tensor.ndim}
    return {name: array for name, array in state.items() if not name.startswith("classifier")}


@pytest.fixture
def make_begun(tmp_path, monkeypatch, make_trial):
    """make_begun(way, seed, padding=..., mean=..., fields of Recipe) -> trial that begins with random weights."""
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))

    def make(way: str = "probe", seed: int = 0, padding: str = "tf", mean: float = 0.4, **recipe) -> Trial:
        said = {"resolution": "16", "eps": "0.001", "padding": padding, "mean": f"{mean},0.5,0.5", "std": "0.3,0.5,0.5"}
        path = tmp_path / f"{padding}-{mean}.safetensors"
        if not path.exists():
            save_safetensors(path, lively_arrays(), said)
        record = add_weights(path, weights_folder()).record
        arch = replace(ARCH, resolution=16, classes=3, padding=record.padding, dropout=0.1)
        recipe = {"images": 120, "init": record.name, "lr": 0.01, **recipe}
        return replace(make_trial(seed, arch=arch, **recipe), start=record, how=How(way))

    return make


def test_a_network_computes_what_its_weights_were_trained_to_on_images_as_batches_have_them(make_begun, tiny_data):
    trial, pixels = make_begun(shortcut_gain=0.1), tiny_data.images["val"]
    model = begin_network(trial, tiny_data, "cpu").eval()
    judge = build_pretrained(find_weights(trial.start.sha256, weights_folder()), classes=3).eval()
    judge.classifier = model.classifier = nn.Identity()
    with torch.no_grad():
        wanted = judge(to_input(pixels, trial.start))
        got = model(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 127.5 - 1)
        model.input = None
        other = model(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 127.5 - 1)
    assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert not torch.allclose(other, wanted, rtol=1e-2)
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_a_probe_is_the_network_under_its_classifier_whatever_the_seed(make_begun, tiny_data):
    results = [PROBE.run(make_begun(seed=seed), tiny_data, Setup(), QUIET) for seed in (0, 1)]
    assert results[0].scores == results[1].scores and results[0].train_loss < np.log(3)
    trial = make_begun()
    model = probe_trial(trial, tiny_data, "cpu", QUIET).model
    scores, counts, each = evaluate_splits(model, trial, tiny_data, "cpu", QUIET)
    assert counts == results[0].images and len(each) == len(results[0].each)
    for split in scores:
        assert scores[split] == pytest.approx(results[0].scores[split], rel=1e-4)


def test_a_probe_with_balance_gives_every_class_the_same_part(make_begun, tiny_data):
    """The classifier's biases have no penalty: where they are fitted, what images say of a class, as they count, is on
    average the share that the class has of all that counts."""
    data = uneven(tiny_data)
    shares = np.bincount(data.labels["train"]) / len(data.labels["train"])
    probed = {}
    for balance in ("none", "weights", "sampler"):
        trial = make_begun(balance=balance)
        model = probe_trial(trial, data, "cpu", QUIET).model
        images = torch.from_numpy(data.images["train"].copy()).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.no_grad():
            sides = [model(part).softmax(1) for part in (images, images.flip(3))]
        counts = weigh_images(trial, data.labels["train"])
        counts = torch.ones(len(images)) if counts is None else counts
        said = (torch.stack(sides).mean(0) * counts[:, None]).mean(0).numpy()
        assert said == pytest.approx(shares if balance == "none" else [1 / 3] * 3, abs=0.02)
        probed[balance] = model.classifier[1].weight
    assert torch.equal(probed["weights"], probed["sampler"]) and not torch.equal(probed["weights"], probed["none"])


@pytest.mark.parametrize("way", ["tune", None])
def test_what_begins_with_weights_is_balanced_too(make_begun, tiny_data, way):
    data, losses = uneven(tiny_data), {}
    for balance in ("none", "weights", "sampler"):
        trial = make_begun(way or "probe", balance=balance, images=40)
        result = TUNE.run(trial, data, Setup(), QUIET) if way else run_trial(replace(trial, how=None), data)
        losses[balance] = result.train_loss
        if way:
            probe = PROBE.run(replace(trial, how=How("probe")), data, Setup(), QUIET)
            assert result.score("val", "probe_top1") == probe.score("val", "top1")
    assert len(set(losses.values())) == 3 and all(map(np.isfinite, losses.values()))


def uneven(data):
    """The data with a sixth of the images of two classes in training."""
    few, labels = copy(data), data.labels["train"]
    kept = np.flatnonzero((labels == 0) | (np.arange(len(labels)) < len(labels) // 6))
    few.labels = {**data.labels, "train": labels[kept]}
    few.images = {**data.images, "train": data.images["train"][kept]}
    return few


def test_features_are_computed_once_for_weights_size_and_data(make_begun, tiny_data, monkeypatch):
    calls = []
    monkeypatch.setattr(features, "compute_features", lambda *a: calls.append(0) or compute_features(*a))

    def find(trial, control=QUIET):
        return find_features(begin_network(trial, tiny_data, "cpu"), trial, tiny_data, "cpu", control)

    first, again = find(make_begun()), find(make_begun(seed=3, lr=0.5))
    assert len(calls) == 1 and again.seconds == first.seconds
    assert all(torch.equal(again.splits[split], first.splits[split]) for split in first.splits)
    find(make_begun(mean=0.3))  # another file, another digest
    find(replace(make_begun(), data=replace(make_begun().data, fingerprint="x")))
    assert len(calls) == 3
    path, lines = features_path(make_begun(), "cpu")[0], []
    path.write_bytes(path.read_bytes()[:-5])
    find(make_begun(), Control(log=lines.append))
    assert len(calls) == 4 and "kept features are not used" in lines[0]


def test_what_was_used_longest_ago_is_forgotten(tmp_path):
    for at in range(4):
        (tmp_path / f"{at}.pt").write_bytes(bytes(100))
        os.utime(tmp_path / f"{at}.pt", (at, at))
    forget_oldest(tmp_path, most_bytes=250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.pt", "3.pt"]
    forget_oldest(tmp_path, most_bytes=10)
    assert [path.name for path in tmp_path.iterdir()] == ["3.pt"]  # the one that was just written


def test_the_classifier_is_at_the_minimum_of_loss_and_penalty(make_begun):
    random = torch.Generator().manual_seed(0)
    scale = torch.logspace(0, -2, 12)
    train, val = (torch.randn(count, 12, generator=random) * scale + 3 for count in (90, 60))
    targets = [(x[:, :3] / scale[:3] - 3 / scale[:3]).argmax(1) for x in (train, val)]
    linear = fit_linear(make_begun(), Examples(train, targets[0]), Examples(val, targets[1]), QUIET)
    weight, bias = linear.weight.clone().requires_grad_(), linear.bias.clone().requires_grad_()
    unit = train.var(0).mean()  # the penalty is of features in a common unit
    loss = nn.functional.cross_entropy(train @ weight.T + bias, targets[0])
    (loss + linear.strength / 2 * unit * weight.square().sum()).backward()
    assert loss.item() == pytest.approx(linear.train_loss, abs=1e-4)
    assert bias.grad.abs().max().item() < 0.01 and weight.grad.abs().max().item() < 0.03


def test_features_whose_directions_do_not_converge_are_turned_another_way(make_begun, monkeypatch):
    """As those of 1.0 at 32 px, most of which are always 0."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=random) @ torch.diag(torch.tensor([1.0, 2, 0, 0, 0, 0]))
    usual = turn_features(features)

    def fail(matrix):
        raise torch.linalg.LinAlgError("the algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    turned, variances, directions = turn_features(features)
    assert turned.dtype == variances.dtype == directions.dtype == torch.float32
    torch.testing.assert_close(variances, usual[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(turned @ directions.T, features, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(turned.T @ turned / 40, torch.diag(variances), atol=1e-4, rtol=1e-4)


def test_tuning_reports_its_probe_and_where_it_made_it_worse(make_begun, tiny_data):
    trial = make_begun("tune", lr=10.0)
    probe, worse = PROBE.run(trial, tiny_data, Setup(), QUIET), TUNE.run(trial, tiny_data, Setup(), QUIET)
    check_terms(probe)
    check_terms(worse)
    for split in ("val", "test"):
        assert worse.score(split, "probe_top1") == probe.score(split, "top1")
    assert worse.score("val", "top1") < probe.score("val", "top1")
    assert compare_probe(trial, worse).endswith("; tuning made it worse")
    assert "worse" not in compare_probe(trial, replace(worse, scores={"val": {"top1": 1.0, "probe_top1": 0.9}}))


def test_the_average_lies_between_the_weights_it_has_seen(make_begun, tiny_data):
    trial = make_begun("tune")
    course = begin_tuning(trial, tiny_data, "cpu", probe_trial(trial, tiny_data, "cpu", QUIET))
    course.begin_average(0.75)
    weight = course.model.classifier[1].weight
    first = weight.detach().clone()
    weight.data += 1
    course.after_step()
    course.settle()
    assert torch.allclose(weight, first + 0.25, atol=1e-5)
    rates = {group["scale"] for group in course.optimizer.param_groups}
    assert min(rates) == 0.1 and max(rates) == 1.0
    trained = {id(p) for group in course.optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in course.model.parameters()}


def test_tuning_goes_on_from_its_checkpoint_to_the_same_numbers(make_begun, tiny_data, tmp_path):
    trial, path = make_begun("tune", curve_images=30), tmp_path / "checkpoints" / "a.pt"
    usual = measured(TUNE.run(trial, tiny_data, Setup(), QUIET))
    for at in (4, 9):
        with pytest.raises(Interrupted):
            TUNE.run(trial, tiny_data, Setup(), Control(should_stop=Stop(at), checkpoint=path))
        lines: list[str] = []
        resumed = TUNE.run(trial, tiny_data, Setup(), Control(checkpoint=path, log=lines.append))
        assert measured(resumed) == usual and not path.exists()
    assert any(line.startswith("resumed after step") for line in lines)


def test_shortcut_gain_leaves_loaded_weights_alone(make_begun, tiny_data):
    models = [begin_network(make_begun(shortcut_gain=gain), tiny_data, "cpu") for gain in (1.0, 0.1)]
    arrays = [{k: v for k, v in model.state_dict().items() if "classifier" not in k} for model in models]
    assert all(torch.equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


def test_a_slice_begins_with_channels_of_the_wider_network_and_statistics_of_images(make_begun, tiny_data):
    whole = make_begun()
    arch = replace(whole.arch, stages=set_expansion(whole.arch.stages, 3))
    trial = replace(whole, arch=arch, start=replace(whole.start, sliced=True))
    model, wide = (begin_network(one, tiny_data, "cpu") for one in (trial, whole))
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3} and model.input.turned
    first, theirs = (one.features[2].conv[0][0].weight for one in (model, wide))
    assert len(first) * 2 == len(theirs) and all(any(torch.equal(a, b) for b in theirs) for a in first)
    statistics = [one.features[2].conv[3].running_var for one in (model, wide)]
    assert not torch.allclose(*statistics)
    assert trial_id(trial) != trial_id(whole)
    result = PROBE.run(trial, tiny_data, Setup(), QUIET)
    assert result.scores == PROBE.run(trial, tiny_data, Setup(), QUIET).scores and result.train_loss < np.log(3)


def test_trained_alone_from_weights(make_begun, tiny_data):
    trial = replace(make_begun(), how=None)
    assert np.isfinite(run_trial(trial, tiny_data).train_loss)


def test_a_probe_is_estimated_with_its_classifier(make_begun, tiny_data):
    trial, asked = make_begun(), []
    rates = Rates(
        tiny_data, {}, lambda work: 1.0, lambda work: 0.1, lambda work: 2.0, lambda *said: asked.append(said) or 5.0
    )
    images = 2 * len(tiny_data.labels["train"])  # in a mirror, too
    evaluated = images + sum(len(tiny_data.labels[split]) for split in ("val", "test"))
    assert PROBE.own_seconds(trial, 1.0, rates) == pytest.approx(2 + 0.1 * evaluated + 5)
    assert asked == [(images, 1280, 3)]
    assert 0 < time_fit(100, 20, 3) < time_fit(20_000, 20, 3)


@pytest.mark.parametrize("padding", ["tf", "torch"])
def test_a_kept_network_is_weights_of_others_with_all_its_conventions(make_begun, tiny_data, tmp_path, padding):
    trial, path = make_begun("tune", padding=padding), tmp_path / "kept" / "a.safetensors"
    kept: list[nn.Module] = []
    result = TUNE.run(trial, tiny_data, Setup(), Control(keep=lambda trial, model, result: kept.append(model)))
    write_kept(path, kept[0].state_dict(), header_of(trial, tiny_data))
    record = add_weights(path, weights_folder()).record
    same = {name: getattr(trial.start, name) for name in ("epsilon", "padding", "mean", "std")}
    assert record == replace(record, **same, resolution=16, classes=3, order="own")
    again = begin_network(replace(trial, start=record), tiny_data, "cpu").eval()
    again.classifier = kept[0].classifier
    assert evaluate_splits(again, trial, tiny_data, "cpu", QUIET)[0]["val"]["top1"] == result.score("val", "top1")
    old = {name: text for name, text in header_of(trial, tiny_data).items() if name != "mean"}
    write_kept(path, kept[0].state_dict(), old)
    if padding == "tf":
        with pytest.raises(WeightsError, match="kept by an earlier version"):
            read_weights(path)
