"""Networks with loaded weights: their conventions, a new classifier, and norms unfolded for training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mnv2_sweep.models.pretrained import build_pretrained, to_input, unfold_norms
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.trials.weights import HALF, WeightsRecord
from tests.weight_files import draw_arrays, save_onnx, save_tflite

ARRAYS = draw_arrays()
RECORD = WeightsRecord("a", "0" * 64, "torchvision", width=0.1, resolution=32, classes=5, order="own")


def test_a_network_has_its_epsilon_padding_and_weights():
    torchs = build_pretrained(Weights(RECORD, ARRAYS))
    state = torchs.state_dict()
    assert all(np.array_equal(state[name].numpy(), ARRAYS[name]) for name in ARRAYS)
    google = build_pretrained(Weights(replace(RECORD, epsilon=1e-3, padding="same"), ARRAYS))
    assert google.input.turned and not torchs.input.turned
    for model, epsilon in ((torchs, 1e-5), (google, 1e-3)):
        assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {epsilon}


def test_other_classes_get_a_new_classifier_over_the_same_features():
    model = build_pretrained(Weights(RECORD, ARRAYS), classes=7)
    assert model.classifier[1].weight.shape == (7, 1280)
    assert np.array_equal(model.features[0][0].weight.detach().numpy(), ARRAYS["features.0.0.weight"])
    bare = {name: array for name, array in ARRAYS.items() if "classifier" not in name}
    headless = Weights(replace(RECORD, classes=0, order=""), bare)
    assert build_pretrained(headless, classes=3).classifier[1].weight.shape == (3, 1280)


def test_pixels_are_those_of_the_record():
    white, black = np.full((1, 4, 4, 3), 255, np.uint8), np.zeros((1, 4, 4, 3), np.uint8)
    half = replace(RECORD, mean=HALF, std=HALF)
    assert float(to_input(white, half).max()) == 1.0 and float(to_input(black, half).min()) == -1.0
    assert to_input(white, RECORD)[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_unfolding_changes_no_output_and_lets_training_start_there(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    weights = read_weights(save_onnx(path, ARRAYS, None) if kind == "onnx" else save_tflite(path, ARRAYS))
    model = without_dropout(build_pretrained(weights)).eval()
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(images)
        folded_training = model.train()(images)
    model = without_dropout(build_pretrained(weights))  # training moved its statistics
    unfold_norms(model, images)
    assert model.training
    with torch.no_grad():
        after, training = model.eval()(images), model.train()(images)
    largest = float(before.abs().max())
    assert torch.allclose(after, before, rtol=0, atol=1e-4 * largest)
    drift = [float((outputs - before).abs().mean()) / largest for outputs in (training, folded_training)]
    assert drift[0] < 0.01 and drift[1] > 0.1
