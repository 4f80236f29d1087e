"""The export folder of a network: files that say what torch says, on the validation images, calibrated on others."""

import sys

import numpy as np
import pytest
import torch

from mnv2_sweep.formats.card import Card
from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.sweeps.deploy import Deployed, Files, fold_network, read_batches, write_device_folder
from tests.conftest import TINY_ARCH

CARD = Card("tiny", "toy", "mnv2-sweep export tiny --to onnx")
BOTH = Files(("onnx", "tflite"), int8=True)


@pytest.fixture(scope="module")
def deployed(tiny_data) -> Deployed:
    """A network whose batch norms know the images."""
    torch.manual_seed(0)
    model = build_model(TINY_ARCH)
    images = next(read_batches(Deployed(model, TINY_ARCH, 16), tiny_data, "train"))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(images)
    return Deployed(model.eval(), TINY_ARCH, 16)


@pytest.mark.slow
def test_every_file_is_run_on_the_validation_images(deployed, tiny_data, tmp_path):
    checks = write_device_folder(tmp_path / "out", deployed, tiny_data, BOTH, CARD)
    assert list(checks) == ["model.onnx", "model.tflite", "model-int8.onnx", "model-int8.tflite"]
    images = len(tiny_data.labels["val"])
    for name, check in checks.items():
        assert check.images == images and not check.is_worse
        if "int8" not in name:
            assert check.agree == images and check.difference < 1e-5
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| model-int8.tflite |" in card and "not run here" not in card


@pytest.mark.slow
def test_files_whose_runtime_is_missing_are_written_and_marked(deployed, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    checks = write_device_folder(tmp_path / "out", deployed, tiny_data, Files(("onnx", "tflite")), CARD)
    assert checks["model.onnx"] is None and checks["model.tflite"].images > 0
    assert (tmp_path / "out" / "model.onnx").stat().st_size > 1000
    assert "not run here" in (tmp_path / "out" / "README.md").read_text()


def test_a_network_goes_out_at_the_size_it_was_trained_at_with_its_own_epsilon(deployed):
    arch = ArchSpec(width=0.25, resolution=64, classes=3)
    model = build_model(arch).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.5
    graph = fold_network(Deployed(model, arch, 24))
    assert graph.image.size == (24, 24)
    weight = model.features[0][0].weight.detach().numpy() / np.sqrt(1.5)
    np.testing.assert_allclose(graph.nodes[0].weight, weight, rtol=1e-6)
