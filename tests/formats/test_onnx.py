"""ONNX files: valid for onnx's own checker, and in onnxruntime what the network is in torch."""

import json

import onnx
import pytest

from mnv2_sweep.formats.onnx import IR_VERSION, OPSET, make_onnx, write_onnx
from mnv2_sweep.formats.runtimes import run_file
from tests.export_samples import (
    DRAWN,
    MARKED,
    NEEDS_RUNTIMES,
    SAMPLES,
    largest_difference,
    random_images,
    random_network,
    torch_logits,
)

pytest.importorskip("onnxruntime", reason=NEEDS_RUNTIMES)


def check_network(path, arch, seed: int = 0) -> None:
    network, graph = random_network(arch, seed)
    images = random_images(arch)
    write_onnx(path, graph, {})
    onnx.checker.check_model(path, full_check=True)
    (logits,) = run_file(path, [images])
    assert largest_difference(logits, torch_logits(network, images)) < 1e-5, arch


@pytest.mark.parametrize("arch", MARKED)
def test_onnxruntime_gives_torchs_logits(arch, tmp_path):
    check_network(tmp_path / "model.onnx", arch)


@pytest.mark.slow
def test_so_it_does_of_networks_drawn_at_random(tmp_path):
    for seed, arch in enumerate(DRAWN):
        check_network(tmp_path / "model.onnx", arch, seed)


def test_batches_are_of_any_size_or_of_one(tmp_path):
    network, graph = random_network(SAMPLES[0])
    images = random_images(SAMPLES[0], 5)
    for batch, shape in ((None, "N"), (1, 1), (2, 2)):
        write_onnx(tmp_path / "model.onnx", graph, {}, batch=batch)
        first = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim[0]
        assert (first.dim_param or first.dim_value) == shape
        (logits,) = run_file(tmp_path / "model.onnx", [images[:4]])
        assert largest_difference(logits, torch_logits(network, images[:4])) < 1e-5


def test_what_old_runtimes_ask_and_what_is_said_of_it():
    _, graph = random_network(SAMPLES[0])
    model = make_onnx(graph, {"classes": ["dress", "Hüte"], "mean": [0.5]})
    assert (model.ir_version, [(one.domain, one.version) for one in model.opset_import]) == (IR_VERSION, [("", OPSET)])
    props = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert props == {"classes": ["dress", "Hüte"], "mean": [0.5]}
    names = {node.op_type for node in model.graph.node}
    assert names == {"Conv", "Clip", "Add", "GlobalAveragePool", "Flatten"}  # no batch norm, no dropout
