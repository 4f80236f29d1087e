"""Networks as one set of weights, their supernet, each layer as large as its largest; a network is a slice of it.

A slice is run as the module that `build_model` makes, with copies of its part of the weights, so what is trained,
evaluated and exported is the same network. Its gradients are added where its weights came from. Batch norm's scale and
shift are shared, its running statistics are not: they are the slice's own, and calibrated.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mnv2_sweep.models.build import build_layers, draw_weights
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.plan import norm_name
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.nets.supernet import check_supernet, supernet_places


class SharedWeights(nn.Module):
    """The weights of a supernet, whose networks' batch norms have `epsilon`.

    Parameters are named as in "3_0_expand_weight"; scale and shift of the batch norm behind it, "3_0_expand_scale" and
    "_shift"; the classifier has a bias. `stddev` is Recipe.init_stddev. Raises ArchError where the networks can't share
    weights.
    """

    def __init__(self, archs: Sequence[ArchSpec], epsilon: float = 1e-5, stddev: float = 0.0):
        super().__init__()
        check_supernet(archs)
        self.epsilon = epsilon
        shapes: dict[str, list[int]] = {}
        self.shortcut_scales: set[str] = set()  # right before an addition, in any of the networks
        self.depthwise: set[str] = set()
        for arch in archs:
            model = _skeleton(arch, "meta")
            places = supernet_places(resolve(arch))
            self.depthwise |= {f"{place}_weight" for place, layer in places if layer.is_depthwise}
            added = {id(norm.weight) for norm in model.shortcut_norms()}
            for name, parameter in _named_parameters(arch, model):
                if id(parameter) in added:
                    self.shortcut_scales.add(name)
                known = shapes.setdefault(name, list(parameter.shape))
                shapes[name] = [max(sides) for sides in zip(known, parameter.shape, strict=True)]
        for name, shape in sorted(shapes.items()):
            self.register_parameter(name, nn.Parameter(_first_values(name, shape, stddev)))

    def scale_shortcuts(self, gain: float) -> None:
        """Start the batch norm before each shortcut's addition at `gain`: see Recipe.shortcut_gain."""
        for name in sorted(self.shortcut_scales):
            nn.init.constant_(getattr(self, name), gain)


class Slice:
    """One network of a supernet, as a module of its own with the parts of the weights that it was last given."""

    def __init__(self, weights: SharedWeights, arch: ArchSpec, device: str = "cpu"):
        self.arch = arch
        self.model = _skeleton(arch, device).to(memory_format=torch.channels_last)
        for norm in (module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.eps = weights.epsilon
        self.parts: list[tuple[nn.Parameter, tuple[slice, ...], nn.Parameter]] = []
        for name, own in _named_parameters(arch, self.model):
            self.parts.append((getattr(weights, name), tuple(slice(side) for side in own.shape), own))

    @torch.no_grad()
    def load(self) -> nn.Module:
        """Return the module with the weights as they are now."""
        for shared, part, own in self.parts:
            own.copy_(shared[part])
        return self.model

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the module's gradients to those of the shared weights, which exist; its own end."""
        for shared, part, own in self.parts:
            shared.grad[part] += own.grad
            own.grad = None


def cut_slice(weights: SharedWeights, arch: ArchSpec, device: str = "cpu") -> nn.Module:
    """Return a stand-alone network with its part of the weights; its batch norms are still to be calibrated."""
    return Slice(weights, arch, device).load()


@torch.no_grad()
def calibrate_norms(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Give every batch norm the mean statistics of the batches [N, 3, s, s], as if trained on them last."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    model.train()
    for batch in batches:
        model(batch)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _skeleton(arch: ArchSpec, device: str) -> nn.Module:
    """Return the network without values: drawing some, if only on "meta", loads a part of torch that takes a second."""
    with torch.device("meta"):
        model = build_layers(arch)
    if device != "meta":
        model = model.to_empty(device=device)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
    return model


def _named_parameters(arch: ArchSpec, model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    named = []
    for place, layer in supernet_places(resolve(arch)):
        module = model.get_submodule(layer.name)
        named.append((f"{place}_weight", module.weight))
        if layer.norm:
            norm = model.get_submodule(norm_name(layer.name))
            named += [(f"{place}_scale", norm.weight), (f"{place}_shift", norm.bias)]
        else:
            named.append((f"{place}_bias", module.bias))
    return named


def _first_values(name: str, shape: Sequence[int], stddev: float) -> Tensor:
    """Draw values as `build_model` does for the largest layer."""
    values = torch.ones(*shape) if name.endswith("_scale") else torch.zeros(*shape)
    if len(shape) > 1:
        draw_weights(values, stddev)
    return values
