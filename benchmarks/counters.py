"""Networks counted per second on one core: ours one by one and as arrays, against fvcore and torch's own counter.

    python benchmarks/counters.py [--repeats 5] [--against COMMIT]

All count the same MAdds of random networks of spaces/blocks.yaml, in turns within one run; the others build each
network first, as they can count nothing else, and the time to build is given on its own line. Medians over repeats.
`--against` has an earlier commit of this package count them, too, each time in a process of its own, as ours then is:
as arrays from what it keeps of a space (indices of axes, or columns of numbers), and one by one.
"""

import argparse
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.spaces.networks import CHUNK, Cells, select_networks
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Sample

with warnings.catch_warnings():  # fvcore compiles a few functions at import, which new torch advises against
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", DeprecationWarning)
    from fvcore.nn import FlopCountAnalysis
logging.getLogger("fvcore").setLevel(logging.ERROR)

SPACE = Path(__file__).parents[1] / "spaces" / "blocks.yaml"
AIM_ARRAYS, AIM_ONE_BY_ONE = 500_000, 5_000


def count_fvcore(arch: ArchSpec) -> int:
    """Convolutions and the linear layer, as ours."""
    model = build_model(arch).eval()
    by_operator = FlopCountAnalysis(model, torch.zeros(1, 3, arch.resolution, arch.resolution))
    by_operator.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(sum(count for name, count in by_operator.by_operator().items() if name in ("conv", "linear", "addmm")))


def count_torch(arch: ArchSpec) -> int:
    """Torch counts two operations a multiply-add."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        build_model(arch).eval()(torch.zeros(1, 3, arch.resolution, arch.resolution))
    return counter.get_total_flops() // 2


def measure(count, networks) -> tuple[float, list[int]]:
    """(networks per second, their MAdds)."""
    start = time.perf_counter()
    madds = [count(arch) for arch in networks]
    return len(networks) / (time.perf_counter() - start), madds


# Run in a process of its own with another version on its path: prints networks per second of
# processor time, as arrays and one by one.
VERSION = """
import dataclasses, json, time
from pathlib import Path
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.spaces import networks as made
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Sample
space = dataclasses.replace(load_space(Path(SPACE)), sample=Sample(4 * made.CHUNK))
networks = made.select_networks(space)
archs = [networks[i] for i in range(1000)]
if hasattr(networks, "columns"):
    from mnv2_sweep.nets.cost_arrays import count_columns as count
    chunks = list(networks.columns())
else:
    count = made.Cells(space, None).gather().costs
    chunks = [networks.rows[at : at + made.CHUNK].astype("int64") for at in range(0, len(networks), made.CHUNK)]
speeds = {}
for name, work, size in (
    ("as arrays", lambda: [count(chunk) for chunk in chunks], len(networks)),
    ("one by one", lambda: [count_cost(arch) for arch in archs], len(archs)),
):
    work()
    start = time.process_time()
    work()
    speeds[name] = size / (time.process_time() - start)
print(json.dumps(speeds))
"""


def compare_versions(commit: str, repeats: int) -> None:
    """Print the speeds of both versions, measured in turns, and their ratio."""
    root = SPACE.parents[1]
    archive = subprocess.run(["git", "archive", commit, "mnv2_sweep"], cwd=root, check=True, capture_output=True).stdout
    speeds: dict[str, list[dict]] = {"ours": [], commit: []}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        for _ in range(repeats):
            for name, path in (("ours", root), (commit, folder)):
                code = VERSION.replace("SPACE", repr(str(SPACE)))
                done = subprocess.run(
                    [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=path,
                    env={**os.environ, "PYTHONPATH": str(path)},
                )  # fmt: skip
                speeds[name].append(json.loads(done.stdout))
    for way in ("as arrays", "one by one"):
        ours, theirs = (statistics.median(run[way] for run in runs) for runs in speeds.values())
        print(f"{way}: {ours:,.0f} specs/s, {commit} {theirs:,.0f}: {ours / theirs:.2f} times")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against")
    given = parser.parse_args()
    repeats = given.repeats
    if given.against:
        compare_versions(given.against, repeats)
    torch.set_num_threads(1)
    space = load_space(SPACE)
    space = type(space)(**{**{f: getattr(space, f) for f in space.__dataclass_fields__}, "sample": Sample(4 * CHUNK)})
    networks = select_networks(space)
    gather = Cells(space, None).gather()
    chunks = [networks.rows[at : at + CHUNK].astype("int64") for at in range(0, len(networks), CHUNK)]
    few, many = [networks[i] for i in range(4)], [networks[i] for i in range(1000)]
    speeds: dict[str, list[float]] = {}
    for _ in range(repeats):
        start = time.perf_counter()
        counted = [gather.costs(chunk) for chunk in chunks]
        speeds.setdefault("ours, as arrays", []).append(len(networks) / (time.perf_counter() - start))
        start = time.perf_counter()
        select_networks(space)
        drawn = len(networks) / (time.perf_counter() - start)
        speeds.setdefault("ours, drawn from the space, within its constraint, as arrays", []).append(drawn)
        ours = counted[0].madds[: len(many)].tolist()
        for name, count, some in (
            ("ours, one by one", lambda arch: count_cost(arch).madds, many),
            ("ours, one by one, plan only", lambda arch: len(resolve(arch).blocks), many),
            ("build the network only", lambda arch: len(list(build_model(arch).modules())), few),
            ("torch FlopCounterMode", count_torch, few),
            ("fvcore", count_fvcore, few),
        ):
            speed, madds = measure(count, some)
            assert not name.endswith(("one by one", "Mode", "fvcore")) or madds == ours[: len(some)], name
            speeds.setdefault(name, []).append(speed)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"torch {torch.__version__}, one thread, {repeats} repeats; MAdds equal in all four counters")
    print(f"{'':62}{'specs/s':>12}{'x fvcore':>12}{'x torch':>12}")
    for name, speed in medians.items():
        over = [speed / medians[peer] for peer in ("fvcore", "torch FlopCounterMode")]
        print(f"{name:62}{speed:12,.1f}{over[0]:12,.1f}{over[1]:12,.1f}")
    for name, aim in (("ours, as arrays", AIM_ARRAYS), ("ours, one by one", AIM_ONE_BY_ONE)):
        print(f"{name}: {medians[name]:,.0f} specs/s, aim {aim:,}: {'met' if medians[name] >= aim else 'MISSED'}")


if __name__ == "__main__":
    main()
