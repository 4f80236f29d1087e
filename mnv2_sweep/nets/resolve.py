"""ArchSpec (a few numbers) -> Plan (every layer with its real shape), for every family; the name of a Plan."""

import hashlib
import json

from mnv2_sweep.nets.arch import ArchSpec, check_arch
from mnv2_sweep.nets.mobilenet_v1 import resolve_mobilenet_v1
from mnv2_sweep.nets.mobilenet_v2 import resolve_mobilenet_v2
from mnv2_sweep.nets.nasnet import resolve_nasnet
from mnv2_sweep.nets.plan import Plan
from mnv2_sweep.nets.shufflenet import resolve_shufflenet

_RESOLVE = {
    "mobilenet_v2": resolve_mobilenet_v2,
    "mobilenet_v1": resolve_mobilenet_v1,
    "shufflenet_v1": resolve_shufflenet,
    "nasnet_a": resolve_nasnet,
}


def resolve(arch: ArchSpec) -> Plan:
    """Decide every shape of the network. Raises ArchError on an impossible spec."""
    check_arch(arch)
    return _RESOLVE[arch.family](arch)


def arch_key(arch: ArchSpec) -> str:
    """Return 12 hex digits that name the resolved network: two specs that resolve to the same plan share it."""
    plan = resolve(arch)
    blocks = [
        [
            block.kind,
            block.shortcut,
            [[c.c_in, c.c_out, c.kernel, c.stride, c.groups, c.size_in, c.act == "relu6"] for c in block.convs],
        ]
        for block in plan.blocks
    ]
    parts = [blocks, float(plan.dropout)]
    if arch.family != "mobilenet_v2" or arch.activation != "relu6":  # else convolutions and shortcuts say all
        parts.append([[x.op, x.act, x.reads, x.padding] for x in plan.layers])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
