"""ArchSpec (a few numbers) -> Plan (every layer with its real shape), for every family; the name of a Plan."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from mnv2_sweep.nets.arch import CLASSIFIER, NAMES, ArchSpec, check_arch, choices_of
from mnv2_sweep.nets.darknet19 import build_darknet19
from mnv2_sweep.nets.heads import head_fields, head_step
from mnv2_sweep.nets.mobilenet_v1 import build_mobilenet_v1
from mnv2_sweep.nets.mobilenet_v2 import mobilenet_v2_fields, mobilenet_v2_steps
from mnv2_sweep.nets.nasnet import build_nasnet
from mnv2_sweep.nets.plan import Plan
from mnv2_sweep.nets.resnet101 import build_resnet101
from mnv2_sweep.nets.shufflenet import build_shufflenet
from mnv2_sweep.nets.steps import DIGEST_BITS, Part, Step, find_parts, find_step, run_steps
from mnv2_sweep.nets.vgg16 import build_vgg16

_BUILD = {
    "mobilenet_v1": build_mobilenet_v1, "shufflenet_v1": build_shufflenet, "nasnet_a": build_nasnet,
    "vgg16": build_vgg16, "darknet19": build_darknet19, "resnet101": build_resnet101,
}  # fmt: skip


def resolve(arch: ArchSpec) -> Plan:
    """Decide every shape of the network. Raises ArchError on an impossible spec."""
    blocks, outputs = run_steps(find_steps(arch))
    return Plan(blocks, arch.dropout, outputs, arch.head)


def find_steps(arch: ArchSpec) -> Sequence[Step]:
    """Return the steps of the network: of MobileNetV2 stem, rows of the table, last convolution, of the others all of
    that as one; then the head. Raises ArchError on an impossible spec."""
    if arch.family == "mobilenet_v2":
        return mobilenet_v2_steps(arch)
    check_arch(arch)
    return (find_step(_BUILD[arch.family], arch), head_step(arch))


def network_parts(arch: ArchSpec) -> list[Part]:
    """Return the parts of the network, in order. Raises ArchError on an impossible spec."""
    return find_parts(find_steps(arch))


def change_classes(arch: ArchSpec, parts: Sequence[Part], classes: int) -> list[Part]:
    """Return the parts of the network, which has these, with so many classes."""
    return [*parts[:-1], head_step(replace(arch, classes=classes)).at(parts[-1].before)]


def step_fields(arch: ArchSpec) -> list[tuple[tuple[str, ...], int | None]]:
    """Return for each of the network's steps the fields of ArchSpec it depends on, and its row of the table if any; of
    the table "stages.s" are the strides of all rows."""
    if arch.family == "mobilenet_v2":
        return mobilenet_v2_fields(arch)
    return [((*NAMES, *choices_of(arch.family, arch.head)), None), (head_fields(arch.head), None)]


def name_network(arch: ArchSpec) -> tuple[int, ...]:
    """Return two numbers that are the same for two specs exactly if their `arch_key`s are, dropout apart."""
    names = [0, 0]
    for part in network_parts(arch):
        factors = part.digest()
        names = [(names[i] * factors[2 * i] + factors[2 * i + 1]) % DIGEST_BITS for i in (0, 1)]
    return tuple(names)


def arch_key(arch: ArchSpec, parts: Sequence[Part] | None = None) -> str:
    """Return 12 hex digits that name the resolved network: two specs that resolve to the same plan share it. `parts`
    are its own, where they are at hand."""
    parts = parts or network_parts(arch)
    texts = [part.texts() for part in parts]
    names = [f"[{', '.join([text.blocks for text in texts if text.blocks])}]", repr(float(arch.dropout))]
    if arch.family != "mobilenet_v2" or arch.head != CLASSIFIER or not all([text.is_plain for text in texts]):
        names.append(f"[{', '.join(filter(None, [part.layers_text() for part in parts]))}]")
    return hashlib.sha256(f"[{', '.join(names)}]".encode()).hexdigest()[:12]
