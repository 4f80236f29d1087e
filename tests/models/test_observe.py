"""What the tensors of a graph hold over images, however these come in batches."""

import numpy as np
import torch

from mnv2_sweep.models.graph_network import GraphNetwork
from mnv2_sweep.models.observe import observe_values
from tests.export_samples import SAMPLES, random_images, random_network


def test_ranges_and_means_are_those_of_all_images():
    _, graph = random_network(SAMPLES[0])
    images = torch.from_numpy(random_images(SAMPLES[0], 11))
    values = observe_values(graph, iter([images[:7], images[7:]]))
    with torch.inference_mode():
        tensors = GraphNetwork(graph).run(images)
    assert len(values) == len(tensors) == len(graph.nodes) + 1
    for seen, tensor in zip(values, tensors, strict=True):
        np.testing.assert_allclose([seen.low, seen.high], [tensor.min(), tensor.max()], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(seen.mean, tensor.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
