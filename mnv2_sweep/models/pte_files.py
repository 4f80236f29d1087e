"""Graph <-> ExecuTorch's .pte file: torch.export's program, lowered to XNNPACK where it has the operations.

The package executorch is an extra: it is imported when a file is made or run. A file reads one image at a time.
"""

import importlib.metadata
import importlib.util
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.formats.graph import Graph
from mnv2_sweep.formats.runtimes import Run
from mnv2_sweep.models.graph_network import GraphNetwork

PACKAGE = "executorch"


def check_executorch(where: str) -> None:
    """Raise SweepError where ExecuTorch is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise SweepError(f"{where}: it needs {PACKAGE}, which is not installed; pip install 'mnv2-sweep[pte]'")


def executorch_version() -> tuple[str, str]:
    """Return the package and its version."""
    return PACKAGE, importlib.metadata.version(PACKAGE)


def make_pte(graph: Graph) -> bytes:
    """Return the content of a file. Raises SweepError where ExecuTorch is not installed."""
    check_executorch("--to pte")
    channels, size = graph.image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about torch
        exir = import_module(f"{PACKAGE}.exir")
        xnnpack = import_module(f"{PACKAGE}.backends.xnnpack.partition.xnnpack_partitioner")
        program = torch.export.export(GraphNetwork(graph).eval(), (torch.zeros(1, channels, *size),))
        lowered = exir.to_edge_transform_and_lower(program, partitioner=[xnnpack.XnnpackPartitioner()])
        return bytes(lowered.to_executorch().buffer)


def load_pte(path: Path) -> Run:
    """Return what runs a file. Raises SweepError where ExecuTorch is not installed, StoreError where the file is no
    such program."""
    check_executorch(str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runtime = import_module(f"{PACKAGE}.runtime").Runtime.get()
    try:
        content = path.read_bytes()
        program = runtime.load_program(content)
        forward = program.load_method("forward")
    except Exception as error:  # it has kinds of its own
        text = " ".join(str(error).split())[:200]
        raise StoreError(f"{path}: {PACKAGE} can't read it ({text}); write it again") from error

    def run(images: np.ndarray) -> np.ndarray:
        assert content and program  # which `forward` reads and does not keep alive
        ones = torch.from_numpy(np.ascontiguousarray(images)).split(1)
        return torch.cat([forward.execute([one])[0].clone() for one in ones]).numpy()

    return run
