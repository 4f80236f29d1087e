"""All 22 networks of the paper grid in both formats, in floats and in 8 bits, and torch's own exporter as a judge."""

import numpy as np
import onnx
import pytest
import torch

from mnv2_sweep.formats.onnx import write_onnx
from mnv2_sweep.formats.quantize import quantize_graph
from mnv2_sweep.formats.runtimes import run_file
from mnv2_sweep.formats.tflite import write_tflite
from mnv2_sweep.models.observe import observe_values
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.shipped import shipped_file
from tests.export_samples import (
    NEEDS_RUNTIMES,
    SAMPLES,
    largest_difference,
    random_images,
    random_network,
    torch_logits,
)

pytest.importorskip("onnxruntime", reason=NEEDS_RUNTIMES)
pytest.importorskip("ai_edge_litert", reason=NEEDS_RUNTIMES)

NETWORKS = expand(load_space(shipped_file("paper_grid")))
FEW = ("0.35 at 96", "0.5 at 128")  # of these in `make test` too
MARKED = [
    pytest.param(arch, id=arch_label(arch), marks=pytest.mark.slow if arch_label(arch) in FEW else pytest.mark.heavy)
    for arch in NETWORKS
]


@pytest.mark.parametrize("arch", MARKED)
def test_both_formats_give_torchs_logits(arch, tmp_path):
    network, graph = random_network(arch)
    images = random_images(arch, 2)
    judged = torch_logits(network, images)
    write_onnx(tmp_path / "model.onnx", graph, {})
    write_tflite(tmp_path / "model.tflite", graph, {})
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    for name in ("model.onnx", "model.tflite"):
        assert largest_difference(next(run_file(tmp_path / name, [images])), judged) < 1e-5, name
    quantized = quantize_graph(graph, observe_values(graph, [torch.from_numpy(images)]))
    write_onnx(tmp_path / "model.onnx", graph, {}, quantized)
    write_tflite(tmp_path / "model.tflite", graph, {}, quantized)
    for name in ("model.onnx", "model.tflite"):
        assert np.isfinite(next(run_file(tmp_path / name, [images]))).all(), name


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arch", [SAMPLES[0], SAMPLES[-1]], ids=arch_label)
def test_torchs_own_exporter_writes_the_same_network(arch, tmp_path):
    pytest.importorskip("onnxscript")
    network, graph = random_network(arch)
    images = random_images(arch, 1)
    torch.onnx.export(network, (torch.from_numpy(images),), tmp_path / "torch.onnx", verbose=False)
    write_onnx(tmp_path / "ours.onnx", graph, {})
    theirs, ours = (next(run_file(tmp_path / f"{name}.onnx", [images])) for name in ("torch", "ours"))
    assert largest_difference(ours, theirs) < 1e-5
