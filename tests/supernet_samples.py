"""Small supernets: networks that may share weights, and trials of their slices."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.plan import norm_name
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.nets.supernet import supernet_digest, supernet_places
from mnv2_sweep.sweeps.request import Session, SweepRequest, open_session
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.training.shared import Supernet, read_shared, train_shared
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import Sharing, Trial
from tests.stops import Stop


def _network(width: float, resolution: int, *stages: tuple[int, int, int, int], last: int = 16) -> ArchSpec:
    table = tuple(Stage(*row) for row in stages)
    return ArchSpec(stages=table, width=width, resolution=resolution, last_channels=last, classes=3)


SMALLEST = _network(0.5, 8, (1, 16, 1, 1), (1, 32, 1, 2))
DEEP = _network(0.5, 8, (1, 16, 2, 1), (1, 32, 3, 2))
WIDE = _network(1.0, 8, (1, 16, 1, 1), (3, 32, 1, 2), last=32)
LARGEST = _network(1.0, 16, (1, 16, 1, 1), (6, 32, 2, 2), last=24)
SUPERNET = (WIDE, SMALLEST, LARGEST, DEEP)  # in no order; each is largest in something
SHARED_RECIPE = Recipe("tiny", images=40, batch=8)


def draw_supernet(seed: int) -> tuple[ArchSpec, ...]:
    """One to four networks of one to three rows, that differ in all that networks which share weights may differ in."""
    draw = random.Random(seed)
    strides = [draw.choice((1, 1, 2)) for _ in range(draw.randint(1, 3))]
    common = {"residual": draw.choice(("bottleneck", "expansion", "none")), "kernel": draw.choice((1, 3, 5))}
    common |= {"classes": draw.randint(1, 5), "linear_bottleneck": draw.random() < 0.5}

    def network() -> ArchSpec:
        rows = [(draw.choice((1, 2, 6)), draw.choice((8, 16, 24)), draw.randint(1, 3), stride) for stride in strides]
        made = _network(draw.choice((0.35, 0.5, 1.0)), draw.randint(4, 12), *rows, last=draw.choice((8, 16)))
        return replace(made, **common)

    return tuple(network() for _ in range(draw.randint(1, 4)))


def share(trial: Trial, archs: Sequence[ArchSpec] = SUPERNET, images: int = 40, finetune: float | None = None) -> Trial:
    """Return the trial as one of a slice of weights that the networks share."""
    return replace(trial, shared=Sharing(supernet_digest(archs), images, finetune))


def open_supernet(folder, data, strategy, seeds=(0,), tuned=(), archs=SUPERNET) -> Session:
    """Return the session of a sweep in which the networks share weights, on small data; `tuned` are trained on."""
    return open_session(SweepRequest(folder, archs, SHARED_RECIPE, seeds, data, "toy", strategy=strategy), tuned)


def named_parameters(arch: ArchSpec, model: nn.Module) -> dict[str, nn.Parameter]:
    """Return by its name in the supernet the network's own parameter, found by the names that its state_dict has."""
    parameters, named = dict(model.named_parameters()), {}
    for place, layer in supernet_places(resolve(arch)):
        named[f"{place}_weight"] = parameters[f"{layer.name}.weight"]
        if layer.norm:
            named[f"{place}_scale"] = parameters[f"{norm_name(layer.name)}.weight"]
            named[f"{place}_shift"] = parameters[f"{norm_name(layer.name)}.bias"]
        else:
            named[f"{place}_bias"] = parameters[f"{layer.name}.bias"]
    return named


def first_values(shared: Tensor, like: Tensor) -> Tensor:
    """Return the slice of it that has the shape of the other."""
    return shared[tuple(map(slice, like.shape))]


def check_stopped_shared(trial: Trial, tiny_data, tmp_path) -> None:
    """A shared training that is stopped twice ends with the weights and the curve of one that was not."""
    found, never = [], 1e9  # seconds between checkpoints
    for name, stops in (("whole", ()), ("stopped", (2, 3))):
        supernet = Supernet(SUPERNET, tmp_path / f"{name}.pt")
        for stop in stops:
            with pytest.raises(Interrupted):
                control = Control(should_stop=Stop(stop), checkpoint=supernet.path, checkpoint_seconds=never)
                train_shared(trial, tiny_data, "cpu", control, supernet)
        train_shared(trial, tiny_data, "cpu", Control(checkpoint=supernet.path, checkpoint_seconds=never), supernet)
        found.append(read_shared(trial, supernet, print))
    first, second = (each.weights.state_dict() for each in found)
    assert found[0].curve == found[1].curve and all(torch.equal(first[name], second[name]) for name in first)
