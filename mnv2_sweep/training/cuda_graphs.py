"""A network's passes on a GPU as CUDA graphs: all kernels of a pass are started at once, which pays where starting each
takes longer than what it does (small networks, small batches)."""

import gc
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

TRIED_STEPS = 5  # of each kind, to see which is faster


def graph_passes(model: nn.Module, images: Tensor, log: Callable[[str], None]) -> bool:
    """Let the model, on a GPU and in training mode, run its passes as graphs from now on, if there is memory for them
    and they are faster; returns whether it does. Its weights, statistics and random numbers stay what they were.

    `images` [B, C, h, w] are like those it will be trained on: the same shape in every step. In eval mode it runs
    as before. `forget_graphs` ends it.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    random = torch.cuda.get_rng_state()
    plain, graphed = _time_passes(model, images), math.inf
    try:
        with _autocast():
            torch.cuda.make_graphed_callables(model, (images,))
        graphed = _time_passes(model, images)
    except torch.OutOfMemoryError:
        log("no memory for CUDA graphs")
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
    torch.cuda.set_rng_state(random)
    if graphed >= plain:
        forget_graphs(model)
    if graphed < math.inf:
        kept = "kept" if graphed < plain else "not kept"
        log(f"CUDA graphs {kept}: both passes in {1000 * graphed:.2f} ms as graphs, {1000 * plain:.2f} ms without")
    return graphed < plain


def forget_graphs(model: nn.Module) -> None:
    """Run the model as before, and free the memory of its graphs."""
    vars(model).pop("forward", None)  # of the instance, which hides the class's own
    gc.collect()  # the graphs hold the model, and the model held them
    torch.cuda.empty_cache()


def _time_passes(model: nn.Module, images: Tensor) -> float:
    """Return the seconds of a forward and a backward pass."""
    for step in range(1 + TRIED_STEPS):  # the first also makes what is kept
        if step == 1:
            torch.cuda.synchronize()
            began = time.perf_counter()
        with _autocast():
            total = model(images).float().sum()
        model.zero_grad(set_to_none=True)
        total.backward()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / TRIED_STEPS


def _autocast() -> torch.autocast:
    """Return the context of training, but with weights converted within each pass: a graph must not read what another
    pass made."""
    return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)
