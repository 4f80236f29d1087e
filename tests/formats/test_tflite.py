"""TFLite files: in LiteRT, with its fast kernels and with its plain ones, what the network is in torch."""

import json

import numpy as np
import pytest
import tflite

from mnv2_sweep.formats.flatbuffer import ALIGNMENT
from mnv2_sweep.formats.runtimes import run_file
from mnv2_sweep.formats.tflite import METADATA, make_tflite, write_tflite
from mnv2_sweep.nets.arch import ArchSpec
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

litert = pytest.importorskip("ai_edge_litert.interpreter", reason=NEEDS_RUNTIMES)


def plain_logits(content: bytes, images: np.ndarray) -> np.ndarray:
    """By LiteRT's own kernels, as on a device without XNNPACK."""
    plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = litert.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=plain)
    call = interpreter.get_signature_runner("serving_default")
    return np.concatenate([call(image=image[None].transpose(0, 2, 3, 1).copy())["logits"] for image in images])


def check_network(path, arch, seed: int = 0) -> None:
    network, graph = random_network(arch, seed)
    images = random_images(arch)
    judged = torch_logits(network, images)
    write_tflite(path, graph, {})
    assert largest_difference(next(run_file(path, [images])), judged) < 1e-5, arch
    assert largest_difference(plain_logits(path.read_bytes(), images), judged) < 1e-5, arch


@pytest.mark.parametrize("arch", MARKED)
def test_litert_gives_torchs_logits(arch, tmp_path):
    check_network(tmp_path / "model.tflite", arch)


@pytest.mark.slow
def test_so_it_does_of_networks_drawn_at_random(tmp_path):
    for seed, arch in enumerate(DRAWN):
        check_network(tmp_path / "model.tflite", arch, seed)


def operators_of(content: bytes) -> list[str]:
    names = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
    model = tflite.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    numbers = [graph.Operators(i).OpcodeIndex() for i in range(graph.OperatorsLength())]
    return [names[model.OperatorCodes(number).BuiltinCode()] for number in numbers]


def test_tensorflows_padding_needs_no_pad():
    _, graph = random_network(ArchSpec(width=0.35, resolution=64, classes=10))
    assert operators_of(make_tflite(graph, {})).count("PAD") == 5  # one for each stride of 2
    _, graph = random_network(ArchSpec(width=0.35, resolution=64, classes=10, padding="same"))
    plain = operators_of(make_tflite(graph, {}))
    assert set(plain) == {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "RESHAPE"}


def test_constants_begin_where_kernels_expect_them_and_metadata_are_there():
    _, graph = random_network(SAMPLES[0])
    content = make_tflite(graph, {"classes": ["dress", "Hüte"]})
    model = tflite.Model.GetRootAs(content)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    places = [content.index(buffer.DataAsNumpy().tobytes()) for buffer in buffers if buffer.DataLength() > 400]
    assert len(places) > 50 and all(place % ALIGNMENT == 0 for place in places)
    note = model.Metadata(0)
    assert note.Name().decode() == METADATA
    assert json.loads(buffers[note.Buffer()].DataAsNumpy().tobytes()) == {"classes": ["dress", "Hüte"]}
