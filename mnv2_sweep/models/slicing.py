"""A wider, deeper network with weights -> a smaller one whose channels are the most important of its.

Blocks are the first of every row, as in a supernet (`nets.supernet`). Channels that add up over shortcuts are one
choice for all blocks of a row; so are the hidden ones of a block. What a channel counts is its batch norm's scale times
the norm of the weights that read it: how far it moves what comes after it. Its places in kernels and batch norms go
along; the statistics then have to be measured anew (`models.shared.calibrate_norms`), since fewer channels are summed.
"""

import torch
from torch import Tensor, nn

from mnv2_sweep.models.build import norm_name
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.plan import Layer
from mnv2_sweep.nets.supernet import check_slice, find_convolutions

Places = dict[str, Layer]


@torch.no_grad()
def slice_network(model: nn.Module, source: ArchSpec, sliced: nn.Module, arch: ArchSpec) -> None:
    """Give `sliced`, the network of `arch`, its part of the weights of `model`, that of `source`, without the
    classifier. Raises ArchError where it is none."""
    check_slice(source, arch)
    theirs, ours = find_convolutions(source), find_convolutions(arch)
    state, taken = model.state_dict(), {}
    kept = _choose_channels(state, theirs, ours)
    for place, layer in ours.items():
        wide, (read, made) = theirs[place], kept[place]
        kernel = state[f"{wide.name}.weight"][made]
        taken[f"{layer.name}.weight"] = kernel if layer.groups > 1 else kernel[:, read]
        for name in ("weight", "bias", "running_mean", "running_var"):
            taken[f"{norm_name(layer.name)}.{name}"] = state[f"{norm_name(wide.name)}.{name}"][made]
    sliced.load_state_dict(sliced.state_dict() | taken)


def _choose_channels(state: dict[str, Tensor], theirs: Places, ours: Places) -> dict[str, tuple[Tensor, Tensor]]:
    """Return for each place which channels it reads and which it makes."""
    groups: dict[str, str] = {}  # place -> the place whose channels it makes too: one choice for both
    readers: dict[str, list[str]] = {}  # such a first place -> those of our layers that read its channels
    before, of_stage = "", {}
    for place, layer in ours.items():
        stage, role = place.split("_")[0], place.rpartition("_")[2]
        if before:
            readers.setdefault(groups[before], []).append(place)
        if layer.groups > 1:
            groups[place] = groups[before]
        else:
            groups[place] = of_stage.setdefault(stage, place) if role == "project" else place
        before = place
    chosen = {
        first: _most_important(state, theirs, [p for p in groups if groups[p] == first], readers.get(first, []),
                               ours[first].c_out)
        for first in dict.fromkeys(groups.values())
    }  # fmt: skip
    kept, read = {}, torch.arange(next(iter(ours.values())).c_in)
    for place in ours:
        kept[place] = (read, chosen[groups[place]])
        read = chosen[groups[place]]
    return kept


def _most_important(
    state: dict[str, Tensor], theirs: Places, makers: list[str], readers: list[str], count: int
) -> Tensor:
    """Return the indices of the channels that count most, in their order."""
    # Hidden channels pass a depthwise layer, whose norm comes last and which reads each channel by itself.
    last = [place for place in makers if theirs[place].groups > 1] or makers
    scales = [state[f"{norm_name(theirs[place].name)}.weight"].square() for place in last]
    kernels = [state[f"{theirs[place].name}.weight"] for place in readers if theirs[place].groups == 1]
    norms = [kernel.square().sum((0, 2, 3)) for kernel in kernels]
    score = sum(scales) * (sum(norms) if norms else 1.0)
    return score.argsort(descending=True, stable=True)[:count].sort().values
