"""Profiles that nobody measured, and the script of a device as a module with a clock that is not one."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from mnv2_sweep.devices.features import FEATURES, arch_features
from mnv2_sweep.devices.profile import FORMAT, VERSION, Profile, find_digest, parse_profile
from mnv2_sweep.nets.arch import ArchSpec, arch_record
from mnv2_sweep.nets.cost import count_cost

# What each feature costs on a device that is made up, in seconds.
COSTS = dict(
    zip(
        FEATURES,
        (5e-11, 2e-10, 1.5e-10, 1e-10, 8e-11, 1e-10, 2e-10, 3e-10, 2e-10, 1e-9, 5e-10, 5e-6, 1e-4),
        strict=True,
    )
)
GRID = [ArchSpec(width=width, resolution=side) for width in (0.35, 0.5, 0.75, 1.0) for side in (96, 128, 160, 224)]


def made_seconds(archs: Sequence[ArchSpec]) -> np.ndarray:
    """The latency that the made-up device has [N]."""
    return arch_features(archs) @ np.array([*COSTS.values()])


def make_content(
    archs: Sequence[ArchSpec] = GRID, rounds: int = 8, spread: float = 0.0, seed: int = 0, **changes: object
) -> dict:
    """The JSON object of a profile; rounds differ by `spread`, a standard deviation of logarithms."""
    seconds = made_seconds(archs)
    noise = np.exp(np.random.default_rng(seed).normal(0, spread, (len(archs), rounds)))
    walls = 1e6 * seconds[:, None] * noise
    content = {
        "format": FORMAT,
        "version": VERSION,
        "made_by": "mnv2-sweep 0.1.0",
        "space": "made up",
        "networks_sha256": "0" * 16,
        "int8": False,
        "threads": 1,
        "turn": "least",
        "madds": sum(count_cost(arch).madds for arch in archs),
        "device": "pi4",
        "runtime": ["onnxruntime", "1.20.1"],
        "machine": {
            "model": "Raspberry Pi 4 Model B Rev 1.4", "processor": "", "architecture": "aarch64", "cores": 4,
            "memory_bytes": 4_000_000_000, "system": "Linux", "python": "3.11.2",
        },
        "sessions": [
            {"begun": "2026-12-01T08:00:00Z", "seconds": 100.0, "governor": ["ondemand", "ondemand"],
             "mhz": [600, 1800], "celsius": [48.2, 61.0]}
        ],
        "networks": [
            {"arch": arch_record(arch), "file_bytes": 7_000_000, "peak_bytes": 99_000_000,
             "wall_us": [round(wall, 1) for wall in row], "cpu_us": [round(wall, 1) for wall in row]}
            for arch, row in zip(archs, walls.tolist(), strict=True)
        ],
    }  # fmt: skip
    return seal(content | changes)


def seal(content: dict) -> dict:
    """The object with the digest of what it holds now."""
    return {**content, "digest": find_digest(content)}


def make_profile(name: str = "pi4", **changes: object) -> Profile:
    return parse_profile(json.dumps(make_content(**changes)), "made.json", name)


def write_profile(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps(make_content(**changes)))
    return path


def load_script(script: str, path: Path) -> ModuleType:
    """The script as a module; its file is written, too."""
    path.write_text(script)
    module = ModuleType("measure")
    module.__file__ = str(path)
    exec(compile(script, str(path), "exec"), module.__dict__)
    return module


class FakeDevice:
    """A runtime that does nothing, and clocks that it moves: each run takes as long as `seconds(network's number)`."""

    def __init__(self, module: ModuleType, seconds: Callable[[int], float], stop_after: int | None = None):
        self.now, self.runs, self.seconds, self.stop_after = 0.0, 0, seconds, stop_after
        self.made: list[int] = []
        module.wall_clock, module.cpu_clock = (lambda: self.now), (lambda: self.now / 2)
        module.open_runtime = lambda: "1.0"
        module.make, module.load, module.find_peak = self.make, self.load, lambda *words: 50_000_000
        self.lines = module.list_networks()[1::2]
        self.read_network = module.read_network
        module.read_network = lambda line: self.lines.index(line)

    def make(self, network: int, path: str) -> None:
        self.made.append(network)
        Path(path).write_bytes(bytes(1000 + network))

    def load(self, network: int, path: str, threads: int) -> Callable[[], None]:
        def run() -> None:
            self.runs += 1
            if self.runs == self.stop_after:
                raise KeyboardInterrupt
            self.now += self.seconds(network)

        return run
