"""Networks -> one Python script that makes them with random weights on a device, times them there and writes a profile.

The script is put together from texts, `measure*.txt`: what is measured and how, the files of a runtime, and their 8
bits and rarer operations where these occur. `run_script` runs the same script here, so that here and elsewhere it is
measured alike. Networks are in it as lines of operations, made from their graphs; tests hold the files that it makes of
them against those that `onnx` and `tflite` write.
"""

import base64
import bz2
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tflite

from mnv2_sweep import __version__
from mnv2_sweep.base.errors import ProfileError, SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.devices.design import choose_networks
from mnv2_sweep.devices.profile import FORMAT, LEAST, LEAST_NETWORKS, VERSION
from mnv2_sweep.formats.graph import POOLS, Graph, Node, Pads, lower_plan, same_pads
from mnv2_sweep.formats.tflite import ACTIVATIONS, GROUPED_VERSION, OPERATORS
from mnv2_sweep.nets.arch import ArchSpec, arch_record
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.spaces.networks import Networks

MOST_BYTES = 20_000
COMMON = ("conv", "add", "multiply", "global_pool", "pad", *ACTIVATIONS)  # operations without a part of their own
PACKED_COLUMNS = 100
OF_TFLITE = {  # operations of the script that TFLite calls otherwise
    "conv": "CONV_2D", "depthwise": "DEPTHWISE_CONV_2D", "global_pool": "MEAN", "multiply": "MUL",
    "max_pool": "MAX_POOL_2D", "avg_pool": "AVERAGE_POOL_2D", "slice": "STRIDED_SLICE", "concat": "CONCATENATION",
    **ACTIVATIONS,
}  # fmt: skip


class Runtime(NamedTuple):
    """The package that runs networks, the parts of the script for it, whether it runs them in 8 bits."""

    package: str
    parts: tuple[str, ...]
    int8: bool = True


RUNTIMES = {
    "onnx": Runtime("onnxruntime", ("onnxruntime", "onnx")),
    "openvino": Runtime("openvino", ("openvino", "onnx")),
    "litert": Runtime("ai-edge-litert", ("litert",)),
    "torch": Runtime("torch", ("torch",), int8=False),
}


class Wish(NamedTuple):
    """How networks are to be measured: a name of RUNTIMES, in 8 bits or not, the runtime's threads."""

    runtime: str
    int8: bool = False
    threads: int = 1

    @property
    def words(self) -> str:
        """Return runtime and precision as files are named by them."""
        return f"{self.runtime}-int8" if self.int8 else self.runtime


def make_script(space: str, archs: Sequence[ArchSpec], wish: Wish) -> str:
    """Return the script for these networks of a space of that name. Raises SweepError where the runtime has no 8 bits,
    or the script would be too large."""
    runtime = RUNTIMES[wish.runtime]
    if wish.int8 and not runtime.int8:
        able = ", ".join(name for name, one in RUNTIMES.items() if one.int8)
        raise SweepError(f"--int8: {wish.runtime} runs floats only here; with 8 bits: {able}")
    graphs, madds = [lower_plan(resolve(arch)) for arch in archs], sum(count_cost(arch).madds for arch in archs)
    return make_graph_script(space, [_dump(arch_record(arch)) for arch in archs], graphs, wish, madds)


def make_graph_script(space: str, records: Sequence[str], graphs: Sequence[Graph], wish: Wish, madds: int) -> str:
    """Return the script for these graphs, each with the JSON text that stands for it, of so many MAdds in all. Raises
    SweepError where it would be too large."""
    runtime = RUNTIMES[wish.runtime]
    if wish.runtime == "litert":
        graphs = [split_padding(graph) for graph in graphs]
    lines = [";".join(describe_graph(graph)) for graph in graphs]
    packed = bz2.compress("\n".join(line for pair in zip(records, lines, strict=True) for line in pair).encode())
    name = re.sub(r"[^\w.+ -]", "_", space)
    about = {
        "format": FORMAT, "version": VERSION, "made_by": f"mnv2-sweep {__version__}", "space": space,
        "networks_sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16], "int8": wish.int8,
        "threads": wish.threads, "turn": LEAST, "madds": madds,
    }  # fmt: skip
    words = {
        "RUNTIME": "".join(_part(part) for part in _parts(wish, graphs)),
        "PACKAGE": runtime.package,
        "COUNT": str(len(graphs)),
        "SPACE": name,
        "PRECISION": "8-bit integers" if wish.int8 else "32-bit floats",
        "SCRIPT": f"{name}-{wish.words}.py",
        "OUT": f"{name}-{wish.words}.json",
        "ABOUT": _dump(about),
        "NETWORKS": re.sub(f"(.{{{PACKED_COLUMNS}}})", r"\1\n", base64.b85encode(packed).decode()),
        "OPERATORS": _dump(_operators(graphs, wish.int8)) if wish.runtime == "litert" else "",
    }
    script = _part("measure")
    for word, text in words.items():
        script = script.replace(f"@{word}@", text)
    script = re.sub(r"^(?: {4})+", lambda found: "\t" * (len(found[0]) // 4), script, flags=re.M)  # a tenth less
    if len(script.encode()) >= MOST_BYTES:
        raise SweepError(
            f"--networks {len(graphs)}: the script would have {len(script.encode()):,} bytes, under {MOST_BYTES:,} are "
            "wanted; take fewer networks"
        )
    return script


def describe_graph(graph: Graph) -> Iterator[str]:
    """Yield the image and every operation in words, as `read_network` in `measure.txt` reads them."""
    yield ",".join(map(str, (graph.image.channels, *graph.image.size)))
    for at, node in enumerate(graph.nodes):
        words = [node.op]
        if node.op == "conv":
            words.append(f"c={node.makes.channels}")
        words += [f"{name}={value}" for name, value in _sizes(node) if value != 1]
        if any(node.pads):
            words.append(f"p={','.join(map(str, node.pads))}")
        if node.act:
            words.append(f"act={node.act}")
        back = [read - at - 1 for read in node.reads]
        if back != [-1]:
            words.append(f"r={','.join(map(str, back))}")
        yield " ".join(words)


def _sizes(node: Node) -> tuple[tuple[str, int], ...]:
    return ("k", node.kernel), ("s", node.stride), ("g", node.groups)


def split_padding(graph: Graph) -> Graph:
    """Return the graph with a "pad" before a convolution, and a "slice" behind a pool, where TFLite knows no such
    padding, as in `tflite`; "shift" becomes both."""
    nodes: list[Node] = []
    places = [0]  # tensor of the graph -> of the new one

    def append(node: Node, *reads: int) -> int:
        nodes.append(replace(node, reads=reads))
        return len(nodes)

    for node in graph.nodes:
        size = graph.maps[node.reads[0]].size
        reads = [places[read] for read in node.reads]
        same = node.pads == same_pads(size, node.kernel, node.stride)
        if node.op == "conv" and not same and any(node.pads):
            made = append(Node(node.name, "pad", (), node.makes, pads=node.pads), *reads)
            made = append(replace(node, pads=Pads()), made)
        elif node.op in POOLS and not same:
            made = append(replace(node, stride=1, pads=same_pads(size, node.kernel, 1)), *reads)
            made = append(Node(node.name, "slice", (), node.makes, stride=node.stride), made)
        elif node.op == "shift":
            made = append(Node(node.name, "pad", (), node.makes, pads=Pads(0, 0, 1, 1)), *reads)
            made = append(Node(node.name, "slice", (), node.makes, pads=Pads(-1, -1, 0, 0)), made)
        else:
            made = append(node, *reads)
        places.append(made)
    return Graph(graph.image, tuple(nodes))


def _parts(wish: Wish, graphs: Sequence[Graph]) -> Iterator[str]:
    """Yield the parts that these networks need."""
    rare = {node.op for graph in graphs for node in graph.nodes} - set(COMMON)
    if wish.int8:
        yield "measure_int8"
    for part in RUNTIMES[wish.runtime].parts:
        yield f"measure_{part}"
        if rare and Path(__file__).with_name(f"measure_{part}_more.txt").exists():
            yield f"measure_{part}_more"


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _part(name: str) -> str:
    return Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8")


def _operators(graphs: Sequence[Graph], int8: bool) -> dict[str, tuple[int, int, int]]:
    """Return for each operation of the networks TFLite's number, its version and the kind of its options."""
    nodes = [node for graph in graphs for node in graph.nodes]
    used = {node.op for node in nodes} | {"depthwise", "reshape"}
    used |= {"quantize", "dequantize"} if int8 else set()
    if "shuffle" in used:
        used = used - {"shuffle"} | {"transpose"}
    grouped = any(1 < node.groups < node.makes.channels for node in nodes if node.op == "conv")
    numbers = {}
    for op in sorted(used):
        name = OF_TFLITE.get(op, op.upper())
        kind, *versions = OPERATORS[name]
        version = GROUPED_VERSION if op == "conv" and grouped else versions[int8]
        options = getattr(tflite.BuiltinOptions, kind) if kind else 0
        numbers[op] = (getattr(tflite.BuiltinOperator, name), version, options)
    return numbers


# ---------------------------------------------------------------- from a space, and to a run here


def choose_archs(networks: Networks, count: int) -> list[ArchSpec]:
    """Return at most `count` networks of a space to measure, see `devices.design`. Raises SweepError where it has too
    few that differ in what a device has to do."""
    outside = np.full((len(networks.points), networks.rows.shape[1]), -1)
    axes = np.concatenate([networks.rows.astype(np.int64), outside])
    chosen = choose_networks(networks.features(), axes, count)
    if len(chosen) < LEAST_NETWORKS:
        raise SweepError(
            f"{networks.space.name}: {count_noun(len(chosen), 'network')} that a device could tell apart, at least "
            f"{LEAST_NETWORKS} are needed to learn from; take a space with more of them"
        )
    return [networks[int(place)] for place in chosen]


def run_script(script: str, out: Path, minutes: float) -> Iterator[str]:
    """Run a script in a process of its own and yield its lines; it goes on with `out` where that is there. Raises
    ProfileError with what it says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measure.py"
        path.write_text(script, encoding="utf-8")
        words = [sys.executable, str(path), "--out", str(out), "--minutes", str(minutes)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            yield from map(str.rstrip, process.stdout)
            said = process.stderr.read().strip().splitlines()
    if process.returncode:
        raise ProfileError((said or ["the script ended without a word"])[-1].removeprefix("error: "))
