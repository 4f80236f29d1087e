"""A network in torch <-> files of its weights under our names: safetensors, and torch.export's pt2 (a program).

A safetensors file says in its metadata, as JSON, what it takes to build the network ("arch", "epsilon" of the batch
norms) and to use it; its kernels are the right way round. A pt2 file is a graph as a program, batch norms folded, that
torch alone runs, on any number of images; it has the same text beside it. Networks that come back from either read
images as "preprocess" says.
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

from mnv2_sweep.formats.graph import EPSILON, Graph
from mnv2_sweep.models.build import build_layers
from mnv2_sweep.models.graph_network import GraphNetwork
from mnv2_sweep.models.padding import turn_state, upright_state
from mnv2_sweep.nets.arch import SAME, ArchSpec, arch_record, load_arch

ABOUT = "about.json"  # beside the program in a pt2 file


def find_epsilon(model: nn.Module) -> float:
    """Return that of the network's batch norms."""
    return next((module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)), EPSILON)


def make_safetensors(model: nn.Module, arch: ArchSpec, about: Mapping[str, Any]) -> bytes:
    """Return the content of a file of the weights; `about` goes with them."""
    told = {**about, "arch": arch_record(arch), "epsilon": find_epsilon(model)}
    return save(upright_state(model), {name: json.dumps(value) for name, value in told.items()})


def load_safetensors(path: Path) -> nn.Module:
    """Build the network that a file of `make_safetensors` holds, in eval mode."""
    with safe_open(path, framework="pt") as file:
        told = {name: json.loads(text) for name, text in file.metadata().items()}
        state = {name: file.get_tensor(name) for name in file.keys()}
    arch = load_arch(told["arch"])
    model = build_layers(arch)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = told["epsilon"]
    model.load_state_dict(turn_state(state) if arch.padding == SAME else state)
    return model.eval()


def make_pt2(graph: Graph, about: Mapping[str, Any]) -> bytes:
    """Return the content of a file of torch.export."""
    channels, size = graph.image
    example = torch.zeros(2, channels, *size)  # of one image torch would make a program for just one
    any_number = ({0: torch.export.Dim("images")},)
    program = torch.export.export(GraphNetwork(graph).eval(), (example,), dynamic_shapes=any_number)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={ABOUT: json.dumps(dict(about))})
    return content.getvalue()


def load_pt2(path: Path) -> nn.Module:
    """Return the network of a file that was just written here; torch unpickles parts of such files, so of no other."""
    return torch.export.load(path).module()
