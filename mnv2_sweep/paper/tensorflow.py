"""ArchSpec -> the MAdds of its graph in TensorFlow 1, which has more of them than the architecture.

Two things differ, both derived here from what TensorFlow does, not read in a document. A dilated convolution is done by
space-to-batch: the map is padded so that each side is a multiple of the dilation, and dilation * ceil(side / dilation)
positions a side are computed, 36 for 33 at dilations 6, 12 and 18. And the bilinear resize of the logits counts one for
each of its outputs. With both, all four rows of MobileNetV2 in table 7 of the paper come out as printed, one of them in
five digits (152.59, in TensorFlow's model zoo).
"""

from mnv2_sweep.nets.plan import Layer, Plan


def graph_madds(plan: Plan, resized: int | None = None) -> int:
    """Count the MAdds of a plan's graph; `resized` are the outputs of its last resize, where these are not the plan's
    own."""
    own = [layer.output_elements for layer in plan.layers if layer.op == "resize"][-1:]
    return sum(map(count_grid, plan.convs)) + (sum(own) if resized is None else resized)


def count_grid(layer: Layer) -> int:
    """Count the MAdds of a convolution by space-to-batch."""
    height, width = (layer.dilation * -(-side // layer.dilation) for side in layer.size_out)
    return height * width * layer.weights
