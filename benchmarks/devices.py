"""Devices: how good latency models are here, how fast a space gets its latencies, and the fronts by each runtime.

    python benchmarks/devices.py profiles [--runtimes onnx onnx-int8 openvino litert] [--threads 1 2] [--minutes 3]
    python benchmarks/devices.py fronts   [--runtimes ...] [--runs 3] [--minutes 1]
    python benchmarks/devices.py speed    [--networks 1000000] [--repeats 3]

All on this machine, which should do nothing else. A runtime that is not installed is said so and left out.

profiles: 50 networks (kernels 3 and 5, expansions 3 to 6, widths 0.35 to 1.4, 96 to 224) are measured as `device run`
    does, then 30 others of the same space. Printed: halves of the rounds, and the errors on the 30 of the model, of
    MAdds alone with a constant, and of sums of blocks, each block measured alone behind its input, with a pool at its
    end (a block's time then has a run's fixed cost in it; `scaled`: times the factor that fits eight of the 50 best).
fronts: the 22 published networks, measured in separate runs. A network has left or entered the front of published
    top-1 beyond noise as `plot --fronts` has it, with the spread between runs as noise.
speed: specs of spaces/blocks.yaml are drawn and counted, with and without latencies on two made-up devices, in turns.
"""

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from mnv2_sweep.analysis.fronts import CostAxis, changed_pairs, compare_fronts
from mnv2_sweep.analysis.stats import kendall_tau
from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.base.intervals import CONFIDENCE
from mnv2_sweep.base.text import percent
from mnv2_sweep.devices.features import FEATURES, arch_features
from mnv2_sweep.devices.folder import add_profile, devices_folder
from mnv2_sweep.devices.latency import fit_costs, madds_alone, relative_quantiles
from mnv2_sweep.devices.profile import FORMAT, LEAST_ROUNDS, VERSION, find_digest
from mnv2_sweep.formats.graph import Graph, Map, Node, lower_plan
from mnv2_sweep.formats.measure import RUNTIMES, Wish, choose_archs, make_graph_script, make_script, run_script
from mnv2_sweep.nets.arch import ArchSpec, arch_label, arch_record
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.plan import Plan
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Sample, Space

BLOCKS = Path(__file__).parents[1] / "spaces" / "blocks.yaml"
SPACE = Space(
    "issue23",
    fixed=(("classes", 1000),),
    axes=(
        ("resolution", (96, 128, 160, 192, 224)),
        ("width", (0.35, 0.5, 0.75, 1.0, 1.4)),
        ("expansion", (3, 4, 6)),
        ("kernel", (3, 5)),
    ),
)
PROFILED, OTHERS = 50, 30
SCALED, BLOCK_MINUTES = 8, 1.0  # networks of the profile that scale sums of blocks; minutes for a hundred blocks
MOST_ATTEMPTS = 6
MODULES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert", "torch": "torch"}


def measure(script: str, minutes: float, name: str) -> list[dict]:
    """Run a script and return what it measured of each network; where so many minutes are too few, it goes on."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{name}.json"
        for attempt in range(MOST_ATTEMPTS):
            try:
                for _ in run_script(script, out, minutes):
                    pass
                break
            except ProfileError as error:
                if "too few rounds" not in str(error) or attempt == MOST_ATTEMPTS - 1:
                    raise
        if attempt:
            print(f"{name}: {attempt + 1} times {minutes:g} minutes, for {LEAST_ROUNDS} rounds")
        return json.loads(out.read_text())["networks"]


def seconds_of(records: list[dict], threads: int, first: int = 0, step: int = 1) -> np.ndarray:
    """Seconds of each network in the rounds from `first` on, every `step`: the least, as a profile has it."""
    names = ("wall_us", "cpu_us") if threads == 1 else ("wall_us",)
    return np.array([1e-6 * min(min(one[name][first::step]) for name in names) for one in records])


def noise_of(records: list[dict], threads: int) -> np.ndarray:
    halves = np.stack([seconds_of(records, threads, first, 2) for first in (0, 1)])
    return np.abs(halves[0] - halves[1]) / halves.mean(axis=0)


def busy_of(records: list[dict], threads: int) -> float:
    """How much longer the least by the clock is than the processors' least, which is 1.0 where nothing else runs."""
    return threads * statistics.median(min(one["wall_us"]) / min(one["cpu_us"]) for one in records)


def pair(errors: np.ndarray) -> str:
    median, most = relative_quantiles(errors)
    return f"{percent(median)} % (median), {percent(most)} % (95 %)"


def wishes(words: list[str], threads: list[int]):
    """Yield what is to be measured, of the runtimes that are here."""
    for word in words:
        runtime, _, precision = word.partition("-")
        if importlib.util.find_spec(MODULES[runtime]) is None:
            print(f"{word}: {RUNTIMES[runtime].package} is not installed here, left out")
            continue
        for count in threads:
            yield word, Wish(runtime, precision == "int8", count)


# ---------------------------------------------------------------- profiles


def run_profiles(options: argparse.Namespace) -> None:
    networks = select_networks(SPACE)
    profiled = choose_archs(networks, options.networks)
    rest = [arch for arch in networks if arch not in profiled]
    order = np.random.default_rng(0).permutation(len(rest))
    others = [rest[at] for at in sorted(order[: options.others])]
    blocks = list_blocks([*profiled[:SCALED], *others])
    for word, wish in wishes(options.runtimes, options.threads):
        counts = f"{len(profiled)} networks, {len(others)} others, {len(blocks)} blocks"
        print(f"\n{word}, {wish.threads} threads: {counts}")
        records = measure(make_script(SPACE.name, profiled, wish), options.minutes, "profile")
        held = measure(make_script(SPACE.name, others, wish), options.minutes, "others")
        rounds = min(len(one["wall_us"]) for one in records), min(len(one["wall_us"]) for one in held)
        noises = [pair(noise_of(some, wish.threads)) for some in (records, held)]
        noise = f"halves of the profile's differ by {noises[0]}, of the others' by {noises[1]}"
        print(f"rounds {rounds[0]} and {rounds[1]}; {noise}")
        busy = [busy_of(some, wish.threads) for some in (records, held)]
        print(f"the clock beside the processors: {busy[0]:.2f} and {busy[1]:.2f} (1 where nothing else ran)")
        learnt, true = (seconds_of(some, wish.threads) for some in (records, held))
        features = arch_features(others)
        model = fit_costs(arch_features(profiled), learnt)
        alone = fit_costs(madds_alone(arch_features(profiled)), learnt)
        low, high = model.interval(features)
        inside = ((low <= true) & (true <= high)).mean()
        print(f"model          {pair(model.predict(features) / true - 1)}; left out {pair(model.errors)}; "
              f"{percent(inside, 0)} % within its interval; outside: {int(model.outside(features).sum())}")  # fmt: skip
        print(f"MAdds alone    {pair(alone.predict(madds_alone(features)) / true - 1)}")
        if options.blocks:
            times = measure_blocks(blocks, wish, BLOCK_MINUTES)
            sums, of_profile = (
                np.array([sum(times[key] for key in block_keys(arch)) for arch in some])
                for some in (others, profiled[:SCALED])
            )
            scale = float(np.median(learnt[:SCALED] / of_profile))
            print(f"sums of blocks {pair(sums / true - 1)}; scaled by {scale:.2f}: {pair(scale * sums / true - 1)}")


def block_keys(arch: ArchSpec) -> list[str]:
    """What names each block of a network: its operations, with a pool at its end."""
    return [str(block) for block in map(describe_block, resolve(arch).blocks)]


def describe_block(block) -> tuple:
    return tuple((x.op, x.c_in, x.c_out, x.kernel, x.stride, x.groups, tuple(x.size_in), x.act, x.reads)
                 for x in block.layers)  # fmt: skip


def list_blocks(archs: list[ArchSpec]) -> dict[str, Graph]:
    """Return each different block of the networks as a graph of its own."""
    blocks = {}
    for arch in archs:
        for key, block in zip(block_keys(arch), resolve(arch).blocks, strict=True):
            if key not in blocks:
                blocks[key] = with_pool(lower_plan(Plan((block,), 0.0)))
    return blocks


def with_pool(graph: Graph) -> Graph:
    """Return the graph with an end that runtimes take for logits."""
    makes = graph.nodes[-1].makes
    if tuple(makes.size) == (1, 1):
        return graph
    pool = Node("pool", "global_pool", (len(graph.nodes),), Map(makes.channels, type(makes.size)(1, 1)))
    return Graph(graph.image, (*graph.nodes, pool))


def measure_blocks(blocks: dict[str, Graph], wish: Wish, minutes: float, at_once: int = 100) -> dict[str, float]:
    """Return the seconds of each block, measured alone, some at once: a script has under 20 kB."""
    keys, times = [*blocks], {}
    parts = -(-len(keys) // at_once)
    for at in range(parts):
        own = keys[at::parts]
        script = make_graph_script("blocks", ["{}"] * len(own), [blocks[key] for key in own], wish, 0)
        times |= dict(zip(own, seconds_of(measure(script, minutes, "blocks"), wish.threads), strict=True))
    return times


# ---------------------------------------------------------------- fronts


def run_fronts(options: argparse.Namespace) -> None:
    archs = [checkpoint.arch for checkpoint in CHECKPOINTS]
    top1 = np.array([checkpoint.top1_percent for checkpoint in CHECKPOINTS])
    madds = np.array([count_cost(arch).madds for arch in archs], float)
    names = [arch_label(arch) for arch in archs]
    for word, wish in wishes(options.runtimes, options.threads):
        script = make_script("published", archs, wish)
        runs = np.array(
            [seconds_of(measure(script, options.minutes, f"run{n}"), wish.threads) for n in range(options.runs)]
        )
        logs = np.log(runs)
        spread = float(np.sqrt((logs.var(axis=0, ddof=1)).mean()))
        freedom = (options.runs - 1) * len(archs)
        margin = float(np.exp(stdtrit(freedom, (1 + CONFIDENCE) / 2) * spread / np.sqrt(options.runs)))
        means = np.exp(logs.mean(axis=0))
        first, front = compare_fronts(top1, [CostAxis("madds", madds), CostAxis(word, means, margin)])
        changed, sure, pairs = changed_pairs(madds, means, margin)
        print(f"\n{word}, {wish.threads} threads: {options.runs} runs, which differ by {percent(spread)} % (standard "
              f"deviation of a network); Kendall tau with MAdds {kendall_tau(madds, means):.3f}")  # fmt: skip
        print(f"{changed} of {pairs} pairs change places, {sure} beyond noise")
        print(f"front by MAdds: {listed(names, first.on_front)}")
        print(f"front here:     {listed(names, front.on_front)}")
        print(f"beyond noise: enters {listed(names, front.enters)}; leaves {listed(names, front.leaves)}")
        per_madd = means / madds
        for name, ms, ratio in zip(names, 1e3 * means, per_madd / np.median(per_madd), strict=True):
            print(f"  {name:12} {ms:8.2f} ms  {ratio:.2f} times the median time per MAdd")


def listed(names: list[str], mask: np.ndarray) -> str:
    return ", ".join(name for name, wanted in zip(names, mask, strict=True) if wanted) or "none"


# ---------------------------------------------------------------- speed


def made_profile(archs: list[ArchSpec], seed: int) -> str:
    """The JSON of a profile whose times are made up, from costs that are drawn."""
    random = np.random.default_rng(seed)
    costs = 10.0 ** random.uniform(-11, -9, len(FEATURES))
    costs[-2:] = 5e-6, 1e-4  # of an operation, and of a run
    walls = 1e6 * (arch_features(archs) @ costs)[:, None] * np.exp(random.normal(0, 0.01, (len(archs), 8)))
    machine = dict.fromkeys(("model", "processor", "architecture", "system", "python"), "made up")
    content = {
        "format": FORMAT, "version": VERSION, "made_by": "a benchmark", "device": f"made{seed}",
        "runtime": ["none", "1"], "int8": False, "threads": 1, "turn": "least", "space": "blocks",
        "madds": sum(count_cost(arch).madds for arch in archs),
        "machine": machine | {"cores": 1, "memory_bytes": 0},
        "sessions": [{"begun": "2026-01-01T00:00:00Z", "seconds": 1, "governor": [None, None], "mhz": [None, None],
                      "celsius": [None, None]}],
        "networks": [{"arch": arch_record(arch), "file_bytes": None, "peak_bytes": None,
                      "wall_us": row, "cpu_us": row} for arch, row in zip(archs, walls.tolist(), strict=True)],
    }  # fmt: skip
    return json.dumps(content | {"digest": find_digest(content)})


def run_speed(options: argparse.Namespace) -> None:
    space = load_space(BLOCKS)
    archs = choose_archs(select_networks(space), PROFILED)
    space = replace(space, sample=Sample(options.networks, 0))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MNV2_SWEEP_CACHE"] = folder
        for seed in (0, 1):
            path = Path(folder) / "made.json"
            path.write_text(made_profile(archs, seed))
            add_profile(path, devices_folder(), f"made{seed}")
        names = ["latency@made0", "latency@made1"]
        alone, both = [], []
        for _ in range(options.repeats):
            start = time.process_time()
            networks = select_networks(space)
            alone.append(time.process_time() - start)
            values = networks.estimates(names)
            both.append(time.process_time() - start)
            counts = [int((~np.isnan(values[name].values)).sum()) for name in names]
    speeds = [len(networks) / statistics.median(times) for times in (alone, both)]
    print(f"{len(networks):,} specs of {space.name}, one thread, processor time, median of {options.repeats}")
    print(f"MAdds alone                    {statistics.median(alone):6.2f} s  {speeds[0]:12,.0f} a second")
    print(f"with latency for two devices   {statistics.median(both):6.2f} s  {speeds[1]:12,.0f} a second")
    print(f"speed {speeds[1] / speeds[0]:.2f} of MAdds alone; predicted: {counts[0]:,} and {counts[1]:,} of them")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, minutes, threads in (("profiles", 3.0, [1, 2]), ("fronts", 1.0, [1])):
        part = parts.add_parser(name)
        part.add_argument("--runtimes", nargs="+", default=["onnx", "onnx-int8", "openvino", "litert"])
        part.add_argument("--threads", nargs="+", type=int, default=threads)
        part.add_argument("--minutes", type=float, default=minutes)
    parts.choices["profiles"].add_argument("--networks", type=int, default=PROFILED)
    parts.choices["profiles"].add_argument("--others", type=int, default=OTHERS)
    parts.choices["profiles"].add_argument("--blocks", action=argparse.BooleanOptionalAction, default=True)
    parts.choices["fronts"].add_argument("--runs", type=int, default=3)
    speed = parts.add_parser("speed")
    speed.add_argument("--networks", type=int, default=1_000_000)
    speed.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    {"profiles": run_profiles, "fronts": run_fronts, "speed": run_speed}[options.part](options)


if __name__ == "__main__":
    main()
