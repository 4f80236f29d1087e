"""A network in torch <-> files of its weights under our names: safetensors, and torch.export's pt2 (a program).

A safetensors file says in its metadata, as JSON, what it takes to build the network ("arch", "epsilon" of the batch
norms) and to use it. A pt2 file is run by torch alone, on any number of images; it has the same text beside it.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from mnv2_sweep.models.build import build_layers
from mnv2_sweep.nets.arch import ArchSpec, arch_record, load_arch
from mnv2_sweep.nets.resolve import resolve

EPSILON = 1e-5  # torch's, in batch norm
ABOUT = "about.json"  # beside the program in a pt2 file


def find_epsilon(model: nn.Module) -> float:
    """Return that of the network's batch norms."""
    return next((module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)), EPSILON)


def make_safetensors(model: nn.Module, arch: ArchSpec, about: Mapping[str, Any]) -> bytes:
    """Return the content of a file of the weights; `about` goes with them."""
    told = {**about, "arch": arch_record(arch), "epsilon": find_epsilon(model)}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return save(state, {name: json.dumps(value) for name, value in told.items()})


def load_safetensors(path: Path) -> nn.Module:
    """Build the network that a file of `make_safetensors` holds, in eval mode."""
    with safe_open(path, framework="pt") as file:
        told = {name: json.loads(text) for name, text in file.metadata().items()}
        state = {name: file.get_tensor(name) for name in file.keys()}
    model = build_layers(load_arch(told["arch"]))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = told["epsilon"]
    model.load_state_dict(state)
    return model.eval()


def make_pt2(model: nn.Module, arch: ArchSpec, about: Mapping[str, Any]) -> bytes:
    """Return the content of a file of torch.export."""
    channels, size = resolve(arch).image
    example = torch.zeros(2, channels, *size)  # of one image torch would make a program for just one
    program = torch.export.export(model.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("images")},))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={ABOUT: json.dumps(dict(about))})
    return content.getvalue()


def load_pt2(path: Path) -> nn.Module:
    """Return the network of a file that was just written here; torch unpickles parts of such files, so of no other."""
    return torch.export.load(path).module()
