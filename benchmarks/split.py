"""Memory and time of inference with blocks split t ways (paper, section 5.1): bound, measured peak, slow-down.

    python benchmarks/split.py [--width 1.0] [--resolution 224] [--repeats 10]

32-bit floats, one thread, for t = 1, 2, 3, 4, 5 and n (one channel at a time), beside the plain model; of the whole
network, and of the block that holds most unsplit. Peaks are of one image's activations: the image counts until the
stem has read it; weights, and what else is there before a forward pass, do not. They are measured in two ways:
- live: what torch's allocator has handed out and not got back, by its profiler: with all temporaries, oneDNN's too.
- resident: what the process grows by, the kernel's high-water mark (VmHWM), so with all that libraries keep beside
  torch's allocator. In a process of its own, where malloc and MKL return freed memory at once. The kernel's counters
  are 256 kB coarse (64 pages), too coarse for one image, so it is an eighth of eight images. Linux only.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.check_split import live_bytes
from mnv2_sweep.models.split import SplitNetwork, split_model
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.memory import SPLITS, bound_operations, find_peak, most_splits
from mnv2_sweep.nets.plan import Block, Plan
from mnv2_sweep.nets.resolve import resolve

IMAGES, PASSES = 8, 3  # for the resident memory
PLAIN = {"plain": torch.contiguous_format, "plain, channels_last": torch.channels_last}
CHILD = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=65536", "MKL_DISABLE_FAST_MM": "1"}


def make_network(name: str, arch: ArchSpec) -> nn.Module:
    """The built model itself ("plain"), or split as many ways as the name says; all with the same weights."""
    torch.manual_seed(0)
    model = build_model(arch).eval()
    return model.to(memory_format=PLAIN[name]) if name in PLAIN else split_model(model, arch, int(name))


def make_images(name: str, arch: ArchSpec, count: int = 1) -> list[Tensor]:
    """A batch as the network likes it best, in a list that may be emptied."""
    nhwc = torch.ones(count, arch.resolution, arch.resolution, 3).permute(0, 3, 1, 2)
    return [nhwc.contiguous(memory_format=PLAIN.get(name, torch.channels_last))]


@torch.inference_mode()
def run_network(network: nn.Module, images: list[Tensor]) -> None:
    network(images) if isinstance(network, SplitNetwork) else network(images[0])


# ---------------------------------------------------------------- memory


def resident_bytes(prepare: Callable, run: Callable) -> int | None:
    """How much the process grows at most while `run` works on what was prepared, that included."""
    if sys.platform != "linux":
        return None
    peaks = []
    for _ in range(PASSES):
        given = prepare()
        tensors = given.values() if isinstance(given, dict) else given
        held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
        before = _status_bytes("VmRSS")
        run(given)
        peaks.append(held + _status_bytes("VmHWM") - before)
    return round(statistics.median(peaks))


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure_memory(name: str, arch: ArchSpec) -> dict[str, list[int | None]]:
    """[live, resident] peaks of the network, and of the dominating block where its operations can be run alone."""
    network = make_network(name, arch)
    run_network(network, make_images(name, arch))  # what libraries set up once

    def prepare(images: int) -> list[Tensor]:
        return make_images(name, arch, images)

    jobs = {"network": (prepare, lambda images: run_network(network, images))}
    if name not in PLAIN:
        block = find_peak(resolve(arch), 1).operation.block
        places = [i for i, operation in enumerate(network.operations) if operation.block == block]

        def prepare_block(images: int) -> dict[int, Tensor]:
            maps = {0: make_images(name, arch, images)[0].permute(0, 2, 3, 1)}
            network.run_operations(maps, 0, places[0])
            return maps

        jobs["block"] = (prepare_block, lambda maps: network.run_operations(maps, places[0], places[-1] + 1))
    # The resident memory first: what the profiler leaves behind is room that would be used without growth.
    resident = {job: resident_bytes(lambda p=prepare: p(IMAGES), run) for job, (prepare, run) in jobs.items()}
    live = {job: live_bytes(lambda p=prepare: p(1), run) for job, (prepare, run) in jobs.items()}
    return {job: [live[job], resident[job] and resident[job] // IMAGES] for job in jobs}


def measure_apart(name: str, arch: ArchSpec) -> dict[str, list[int | None]]:
    """`measure_memory` in a process of its own."""
    command = [sys.executable, __file__, "--width", str(arch.width), "--resolution", str(arch.resolution)]
    done = subprocess.run([*command, "--measure", name], env=os.environ | CHILD, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------- time


def measure_seconds(names: list[str], arch: ArchSpec, repeats: int) -> dict[str, list[float]]:
    """One image through every network, round after round, so that a busy moment slows all of them."""
    networks = {name: (make_network(name, arch), make_images(name, arch)[0]) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(1 + repeats):
        for name, (network, image) in networks.items():
            images = [image]
            start = time.perf_counter()
            run_network(network, images)
            seconds[name].append(time.perf_counter() - start)
    return {name: measured[1:] for name, measured in seconds.items()}  # the first round warms up


# ---------------------------------------------------------------- tables


def peak_cells(bound: int | None, peaks: list[int | None], unsplit: int, unit: int) -> list[str]:
    """The bound in MB and units, each peak in MB and against the bound, the live one against t = 1."""
    cells = ["", ""] if bound is None else [f"{bound / 1e6:.3f}", f"{bound / unit:.2f}"]
    for peak in peaks:
        cells += ["-" if peak is None else f"{peak / 1e6:.3f}", f"{peak / bound:.3f}" if peak and bound else ""]
    return [*cells, f"{100 * peaks[0] / unsplit:.0f} %"]


def block_bound(plan: Plan, splits: int, block: Block) -> int:
    return max(operation.elements for operation in bound_operations(plan, splits) if operation.block == block)


def print_table(title: str, rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        print("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=10, help="rounds of timing")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # the memory of one network, as JSON
    options = parser.parse_args()
    arch = ArchSpec(width=options.width, resolution=options.resolution)
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(measure_memory(options.measure, arch)))
        return
    plan = resolve(arch)
    n = str(most_splits(plan))
    names = [*map(str, SPLITS), n, *PLAIN]
    peaks = {name: measure_apart(name, arch) for name in names}
    seconds = measure_seconds(names, arch, options.repeats)

    block, side = find_peak(plan, 1).operation.block, plan.blocks[0].layers[-1].size_out.width
    unit, unsplit = 4 * side**2, {job: peaks["1"][job][0] for job in ("network", "block")}
    header = ["t", "bound MB", "units", "live MB", "/ bound", "resident MB", "/ bound", "of t = 1"]
    network_rows, block_rows = [[*header, "ms", "slow-down"]], [header]
    for name in names:
        label = "n" if name == n else name
        bound = None if name in PLAIN else find_peak(plan, int(name)).bytes()
        slow = statistics.median(own / whole for own, whole in zip(seconds[name], seconds["1"], strict=True))
        timing = [f"{1000 * statistics.median(seconds[name]):.1f}", f"{slow:.2f}"]
        network_rows.append([label, *peak_cells(bound, peaks[name]["network"], unsplit["network"], unit), *timing])
        if name not in PLAIN:
            bound = 4 * block_bound(plan, int(name), block)
            block_rows.append([label, *peak_cells(bound, peaks[name]["block"], unsplit["block"], unit)])
    print(f"MobileNetV2 {arch_label(arch)}, 32-bit floats, one thread, torch {torch.__version__}")
    print(f"a unit: {side} x {side} numbers; n: one channel at a time; live: torch's allocator; resident: the process")
    print_table("whole network, one image", network_rows)
    shape = f"{block.layers[0].c_in} -> {block.hidden} -> {block.layers[-1].c_out}"
    print_table(f"{block.name} alone, {shape}, which holds most unsplit", block_rows)


if __name__ == "__main__":
    main()
