"""The graph against the network in torch: each operation, each family, every choice; numbers of nodes and shapes."""

import numpy as np
import pytest
import torch

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.formats.graph import Pads, fold_plan, lower_plan, same_pads
from mnv2_sweep.models.graph_network import GraphNetwork
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.resolve import resolve
from tests.export_samples import DRAWN, MARKED, SAMPLES, largest_difference, random_images, random_network, torch_logits


def graph_logits(graph, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return GraphNetwork(graph)(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("arch", MARKED)
def test_a_graph_computes_what_the_network_does(arch):
    model, graph = random_network(arch)
    images = random_images(arch)
    assert largest_difference(graph_logits(graph, images), torch_logits(model, images)) < 1e-5


@pytest.mark.slow
def test_so_do_graphs_of_networks_drawn_at_random():
    for seed, arch in enumerate(DRAWN):
        model, graph = random_network(arch, seed)
        images = random_images(arch)
        assert largest_difference(graph_logits(graph, images), torch_logits(model, images)) < 1e-5, arch


@pytest.mark.parametrize("arch", MARKED)
def test_every_tensor_has_the_shape_that_is_said(arch):
    _, graph = random_network(arch)
    tensors = GraphNetwork(graph).run(torch.from_numpy(random_images(arch, 2)))
    assert [tuple(tensor.shape) for tensor in tensors] == [(2, one.channels, *one.size) for one in graph.maps]
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)


def test_epsilon_is_that_of_the_batch_norms():
    arch = SAMPLES[0]
    model, usual = random_network(arch)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
    images = random_images(arch)
    judged = torch_logits(model, images)
    assert largest_difference(graph_logits(usual, images), judged) > 1e-4
    other = fold_plan(resolve(arch), model.state_dict(), epsilon=1e-3)
    assert largest_difference(graph_logits(other, images), judged) < 1e-5


def test_only_classifiers_are_written():
    with pytest.raises(SweepError) as raised:
        lower_plan(resolve(ArchSpec(head="ssdlite", resolution=32)))
    assert str(raised.value) == "head: ssdlite given; only networks that end in a classifier are written to files"


def test_a_missing_weight_is_named():
    model, _ = random_network(SAMPLES[0])
    state = dict(model.state_dict())
    del state["features.3.conv.0.1.running_var"]
    with pytest.raises(KeyError, match="features.3.conv.0.1.running_var"):
        fold_plan(resolve(SAMPLES[0]), state)


@pytest.mark.parametrize("side", [64, 75, Size(100, 65)], ids=str)
def test_a_graph_has_tensorflows_padding_and_kernels_the_right_way_round(side):
    arch = ArchSpec(width=0.35, resolution=side, classes=10, padding="same")
    model, graph = random_network(arch, knows_images=True)
    sizes = [one.size for one in graph.maps]
    assert all(node.pads == same_pads(sizes[node.reads[0]], node.kernel, node.stride) for node in graph.nodes)
    stem, images = graph.nodes[0], random_images(arch)
    turned = stem.weight[:, :, ::-1, ::-1] / model.features[0][0].weight.detach().numpy()
    assert np.ptp(turned.reshape(len(turned), -1), axis=1).max() < 1e-5  # a number a channel: the folded norm
    assert largest_difference(graph_logits(graph, images), torch_logits(model, images)) < 1e-5
    model.input.turned = False
    assert largest_difference(graph_logits(graph, images), torch_logits(model, images)) > 0.01


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [(224, 3, 2, (0, 0, 1, 1)), (225, 3, 2, (1, 1, 1, 1)), (7, 5, 1, (2, 2, 2, 2)), (8, 7, 2, (2, 2, 3, 3)),
     (1, 3, 2, (1, 1, 1, 1)), (8, 1, 2, (0, 0, 0, 0))],
)  # fmt: skip
def test_tensorflows_padding(size, kernel, stride, pads):
    assert same_pads(square(size), kernel, stride) == Pads(*pads)
    assert same_pads(Size(size, 9), 1, 1) == Pads()
