"""Networks counted per second on one core: ours one by one and as arrays, against fvcore and torch's own counter.

    python benchmarks/counters.py [--repeats 5]

All count the same MAdds of random networks of spaces/blocks.yaml, in turns within one run; the others build each
network first, as they can count nothing else, and the time to build is given on its own line. Medians over repeats.
"""

import argparse
import logging
import statistics
import time
import warnings
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from mnv2_sweep.models.build import build_model
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.cost_arrays import count_columns
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.spaces.networks import CHUNK, select_networks
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    space = load_space(SPACE)
    space = type(space)(**{**{f: getattr(space, f) for f in space.__dataclass_fields__}, "sample": Sample(4 * CHUNK)})
    networks = select_networks(space)
    chunks = list(networks.columns())
    few, many = [networks[i] for i in range(4)], [networks[i] for i in range(1000)]
    speeds: dict[str, list[float]] = {}
    for _ in range(repeats):
        start = time.perf_counter()
        counted = [count_columns(chunk) for chunk in chunks]
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
