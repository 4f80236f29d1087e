"""8 bits: how near both formats are to the network in floats and to each other, and what the integers are."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from mnv2_sweep.base.size import square
from mnv2_sweep.formats.graph import Graph, Map, Node
from mnv2_sweep.formats.onnx import write_onnx
from mnv2_sweep.formats.quantize import MOST_WEIGHT, Values, find_scale, quantize_graph, quantize_weights
from mnv2_sweep.formats.runtimes import run_file
from mnv2_sweep.formats.tflite import make_tflite, write_tflite
from mnv2_sweep.models.graph_network import GraphNetwork
from mnv2_sweep.models.observe import observe_values
from tests.export_samples import MARKED, NEEDS_RUNTIMES, SAMPLES, random_images, random_network, signal_db

pytest.importorskip("onnxruntime", reason=NEEDS_RUNTIMES)
litert = pytest.importorskip("ai_edge_litert.interpreter", reason=NEEDS_RUNTIMES)

CALIBRATION = 32
PLAIN = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # LiteRT without XNNPACK


def cut_graph(graph: Graph, count: int) -> Graph:
    """The first nodes and a classifier of the last one's map. Errors grow from layer to layer, faster than in trained
    networks, so that the end of a whole random network says little of what its layers do."""
    if count >= len(graph.nodes):
        return graph
    nodes, channels = graph.nodes[:count], graph.nodes[count - 1].makes.channels
    weight = np.random.RandomState(0).normal(0, 1, (10, channels, 1, 1)).astype(np.float32)
    pool = Node("cut.pool", "global_pool", (count,), Map(channels, square(1)))
    linear = Node("cut", "conv", (count + 1,), Map(10, square(1)), weight=weight, bias=np.zeros(10, np.float32))
    return Graph(graph.image, (*nodes, pool, linear))


def run_both(folder, graph, quantized, images, **how) -> tuple[np.ndarray, np.ndarray]:
    """The logits of the ONNX and of the TFLite file."""
    write_onnx(folder / "model.onnx", graph, {}, quantized)
    write_tflite(folder / "model.tflite", graph, {}, quantized, **how)
    return tuple(next(run_file(folder / name, [images])) for name in ("model.onnx", "model.tflite"))


def run_torch(graph: Graph, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return GraphNetwork(graph)(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("arch", MARKED)
def test_both_formats_are_near_the_network_in_floats(arch, tmp_path):
    _, whole = random_network(arch, knows_images=True)
    joins = [i for i, node in enumerate(whole.nodes) if node.op == "multiply"]
    count = 42 if arch.family == "nasnet_a" else max([8, *(i + 2 for i in joins[:1])])
    graph, images = cut_graph(whole, count), random_images(arch, CALIBRATION)
    values = observe_values(graph, [torch.from_numpy(images)])
    both = run_both(tmp_path, graph, quantize_graph(graph, values), images)
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    judged = run_torch(graph, images)
    assert min(signal_db(logits, judged) for logits in both) > 12


@pytest.mark.slow
@pytest.mark.parametrize("arch", MARKED[:-1])
def test_whole_networks_run_in_both_formats(arch, tmp_path):
    _, graph = random_network(arch, knows_images=True)
    images = random_images(arch, 4)
    values = observe_values(graph, [torch.from_numpy(images)])
    onnx_logits, tflite_logits = run_both(tmp_path, graph, quantize_graph(graph, values), images)
    assert np.isfinite(onnx_logits).all() and np.isfinite(tflite_logits).all()


@pytest.mark.parametrize("ends", ["float", "uint8", "int8"])
def test_the_ends_of_a_tflite_network_are_as_wished(tmp_path, ends):
    _, graph = random_network(SAMPLES[0], knows_images=True)
    graph, images = cut_graph(graph, 8), random_images(SAMPLES[0], CALIBRATION)
    quantized = quantize_graph(graph, observe_values(graph, [torch.from_numpy(images)]))
    _, logits = run_both(tmp_path, graph, quantized, images, ends=ends)
    interpreter = litert.Interpreter(model_path=str(tmp_path / "model.tflite"))
    kinds = {end["dtype"] for end in (interpreter.get_input_details()[0], interpreter.get_output_details()[0])}
    assert kinds == {{"float": np.float32, "uint8": np.uint8, "int8": np.int8}[ends]}
    assert signal_db(logits, run_torch(graph, images)) > 15


def test_what_rounding_weights_moves_is_taken_back_in_the_bias(tmp_path):
    """On average; without it the error of a depthwise convolution hardly depends on the image."""
    _, graph = random_network(SAMPLES[0], knows_images=True)
    graph, images = cut_graph(graph, 12), random_images(SAMPLES[0], CALIBRATION)
    values = observe_values(graph, [torch.from_numpy(images)])
    blind = [one._replace(mean=np.zeros_like(one.mean)) for one in values]
    judged = run_torch(graph, images)
    better, worse = (run_both(tmp_path, graph, quantize_graph(graph, seen, 7), images)[1] for seen in (values, blind))
    assert signal_db(better, judged) > signal_db(worse, judged) + 1


def test_two_activations_of_one_tensor_are_told_apart(tmp_path):
    image = Map(3, square(4))
    nodes = (
        Node("a", "relu", (0,), image), Node("b", "relu6", (0,), image), Node("c", "add", (1, 2), image),
        Node("d", "global_pool", (3,), Map(3, square(1))),
    )  # fmt: skip
    graph, images = Graph(image, nodes), np.random.RandomState(0).normal(0, 5, (16, 3, 4, 4)).astype(np.float32)
    quantized = quantize_graph(graph, observe_values(graph, [torch.from_numpy(images)]))
    for logits in run_both(tmp_path, graph, quantized, images):
        assert signal_db(logits, run_torch(graph, images)) > 25


@pytest.mark.parametrize("bits", MOST_WEIGHT)
def test_weights_are_as_near_as_their_steps_allow(bits):
    _, graph = random_network(SAMPLES[0], knows_images=True)
    for node in (node for node in graph.nodes if node.weight is not None):
        one = quantize_weights(node, 0.02, np.zeros(node.weight.shape[1] * node.groups), MOST_WEIGHT[bits])
        assert np.abs(one.weight).max() == MOST_WEIGHT[bits]
        wide = one.steps[:, None, None, None]
        assert (np.abs(one.weight * wide - node.weight) <= 0.501 * wide).all()
        assert (np.abs(one.bias * one.bias_steps - node.bias) <= 0.501 * one.bias_steps).all()


def test_a_large_bias_on_small_weights_fits():
    _, graph = random_network(SAMPLES[0], knows_images=True)
    node = next(node for node in graph.nodes if node.weight is not None)
    bias, weight = np.full_like(node.bias, -900), node.weight * 1e-9
    one = quantize_weights(replace(node, bias=bias, weight=weight), 1e-3, np.ones(3), 127)
    np.testing.assert_allclose(one.bias * one.bias_steps, bias, rtol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0, 6), (-1, 1), (-3, 0), (0.5, 2), (-5, -1), (0, 0), (0, 1e-20)])
def test_zero_is_exact_and_the_range_is_covered(low, high):
    step, zero = find_scale(low, high)
    assert step > 0 and -128 <= zero <= 127
    assert (-128 - zero) * step <= low + step and (127 - zero) * step >= high - step
    assert (127 - zero) * step <= max(high, 1) + step  # below the limit of an activation


@pytest.mark.parametrize("zero", [-128, -60, 3, 0])
def test_a_mean_is_the_same_in_litert_with_and_without_its_fast_kernels(zero):
    """And right: no channel is off by more than half a step, and not all of them to one side."""
    step, image = 0.02, Map(32, square(9))
    pool = Node("m", "global_pool", (0,), Map(32, square(1)))
    low, high = (-128 - zero) * step, (127 - zero) * step
    values = [Values(low, high, np.zeros(32)), Values(max(low, -0.6), 0.69, np.zeros(32))]
    graph = Graph(image, (pool,))
    quantized = quantize_graph(graph, values)
    integers = np.random.RandomState(0).randint(max(-128, zero - 20), zero + 40, (8, 9, 9, 32)).astype(np.int8)
    content = make_tflite(graph, {}, quantized, "int8")
    fast, plain = (run_integers(content, integers, kernels) for kernels in (litert.OpResolverType.AUTO, PLAIN))
    made = quantized.scales[1]
    wished = (integers.astype(float) - zero).mean(axis=(1, 2)) * step / made.step + made.zero
    for logits in (fast, plain):
        assert np.abs(logits - wished).max() < 0.6 and abs((logits - wished).mean()) < 0.1


def run_integers(content: bytes, integers: np.ndarray, kernels: litert.OpResolverType) -> np.ndarray:
    interpreter = litert.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], integers.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], integers)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(float)


def test_steps_do_not_become_finer_than_what_is_summed():
    """Such a network is refused by XNNPACK, or says more than its sums know."""
    node = Node("a", "conv", (0,), Map(1, square(1)), weight=np.full((1, 1, 1, 1), 9.0, np.float32), bias=np.zeros(1))
    graph = Graph(Map(1, square(1)), (node,))
    still = [Values(-1000.0, 1000.0, np.zeros(1)), Values(0.0, 1e-9, np.zeros(1))]
    assert quantize_graph(graph, still).scales[1].step == pytest.approx(2000 / 255 * 9 / 127 / 128, rel=1e-3)
