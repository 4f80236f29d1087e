"""Graph and images -> the Values of each of its tensors, from which `formats.quantize` takes its 8-bit steps.

The graph runs here in torch, so neither runtime needs to be there to write a file for it. The range is
from the smallest to the largest value: cutting off 0.001, 0.01 or 0.1 % on each side, or cutting for the least squared
error, was no better on photos (agreement with floats of MobileNetV2 0.35 and 1.0, within the noise or worse).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from mnv2_sweep.formats.graph import Graph
from mnv2_sweep.formats.quantize import Values
from mnv2_sweep.models.graph_network import GraphNetwork

IMAGES_AT_ONCE = 4  # all tensors of these are held


@torch.inference_mode()
def observe_values(graph: Graph, batches: Iterable[Tensor]) -> list[Values]:
    """Return what each tensor holds over batches of images [N, channels, height, width], the images first."""
    network = GraphNetwork(graph)
    count, low, high, total = 0, None, None, None
    for images in (part for batch in batches for part in batch.split(IMAGES_AT_ONCE)):
        tensors = network.run(images)
        least, most = torch.stack([x.amin() for x in tensors]), torch.stack([x.amax() for x in tensors])
        means = [x.mean(dim=(2, 3)).sum(dim=0).double() for x in tensors]
        low = least if low is None else torch.minimum(low, least)
        high = most if high is None else torch.maximum(high, most)
        total = means if total is None else [a + b for a, b in zip(total, means, strict=True)]
        count += len(images)
    ends = zip(low.tolist(), high.tolist(), total, strict=True)
    return [Values(least, most, (sums / count).numpy()) for least, most, sums in ends]
