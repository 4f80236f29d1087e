"""Peak memory of a whole sweep, all its processes together: `mnv2-sweep run spaces/paper_grid.yaml --workers 2`.

    python benchmarks/memory.py [--data PATH] [--seconds N]      Linux; about a quarter of an hour on two cores

The command runs with an empty results folder and an empty image cache, so that making the images counts too; with
--seconds it is interrupted after so many, which with longest trials first has seen the largest networks. Once a
second the kernel says for each process of the tree what is resident: RSS, which counts pages that two processes map
twice, and PSS, which counts them once, split among who maps them; the bar is for the larger, the sum of RSS, though
what the machine needs is the sum of PSS. How many bytes of
image files are mapped, and how many of those are resident, is looked up now and then. A process's own peak is the
kernel's (VmHWM), which misses nothing between two looks.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mnv2_sweep.data.catalog import EMBEDDED
from mnv2_sweep.sweeps.environment import describe_environment

BAR_BYTES = 3 * 2**30
LOOK_SECONDS = 1.0  # a look holds up who is looked at
IMAGES_SECONDS = 10.0  # the map of every process is long
SPACES = Path(__file__).parent.parent / "spaces"
INTERRUPTED = 130
EXPECTED = (0, 1, INTERRUPTED)  # all done, some trials failed


@dataclass
class Peaks:
    """The largest of each so far; a sum is over all processes at one moment."""

    looks: int = 0
    pss_bytes: int = 0
    pss_moment: str = ""
    rss_bytes: int = 0
    rss_moment: str = ""
    one_bytes: int = 0  # of one process, its RSS
    one_name: str = ""
    mapped_bytes: int = 0  # of different image files
    resident_bytes: int = 0  # of them, PSS
    look_seconds: list[float] = field(default_factory=list)

    def look(self, root: psutil.Process, seconds: float) -> None:
        began = time.perf_counter()
        with suppress(psutil.Error):  # it has ended
            sums = {"Pss": 0, "Rss": 0}
            tree = [root, *root.children(recursive=True)]
            for process in tree:
                with suppress(OSError):  # this one has ended
                    found = read_fields(f"/proc/{process.pid}/smaps_rollup", ("Pss", "Rss"))
                    sums = {name: total + found.get(name, 0) for name, total in sums.items()}
                    own = read_fields(f"/proc/{process.pid}/status", ("VmHWM",)).get("VmHWM", 0)
                    if own > self.one_bytes:
                        self.one_bytes, self.one_name = own, "the command" if process == root else "a worker"
            if sums["Pss"] > self.pss_bytes:
                self.pss_bytes, self.pss_moment = sums["Pss"], f"after {seconds:,.0f} s, {len(tree)} processes"
            if sums["Rss"] > self.rss_bytes:
                self.rss_bytes, self.rss_moment = sums["Rss"], f"after {seconds:,.0f} s, {len(tree)} processes"
        self.looks += 1
        self.look_seconds.append(time.perf_counter() - began)

    def look_at_images(self, root: psutil.Process) -> None:
        files, resident = {}, 0
        with suppress(psutil.Error):
            for process in [root, *root.children(recursive=True)]:
                with suppress(OSError):
                    for path, size, pss in read_images(Path(f"/proc/{process.pid}/smaps")):
                        files[path] = max(size, files.get(path, 0))
                        resident += pss
        self.mapped_bytes = max(self.mapped_bytes, sum(files.values()))
        self.resident_bytes = max(self.resident_bytes, resident)


def read_fields(path: str, names: tuple[str, ...]) -> dict[str, int]:
    """Bytes of those lines "Name:   123 kB" of a file in /proc that have one of the names."""
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return {name: 1024 * int(value.split()[0]) for name, _, value in lines if name in names}


def read_images(smaps: Path) -> list[tuple[str, int, int]]:
    """(path, bytes mapped, PSS) of every map of a .npy file."""
    images, sizes, path = [], {}, None
    for line in smaps.read_text().splitlines():
        if not line[0].isupper():  # the addresses of the next map, and its file
            path = line.split(maxsplit=5)[-1] if line.endswith(".npy") else None
        elif path is not None:
            name, _, value = line.partition(":")
            if name == "Size":
                sizes[path] = 1024 * int(value.split()[0])
            elif name == "Pss":
                images.append((path, sizes[path], 1024 * int(value.split()[0])))
    return images


def run_sweep(options: argparse.Namespace, folder: Path) -> tuple[Peaks, int, float]:
    """Peaks, exit code and seconds of the command."""
    command = [sys.executable, "-m", "mnv2_sweep", "run", str(options.space), "--data", options.data]
    command += ["--workers", str(options.workers), "--device", "cpu"]
    command += ["--results", str(folder / "results"), "--plots", str(folder / "plots")]
    environment = os.environ | {"MNV2_SWEEP_CACHE": str(folder / "cache")}
    peaks, began, asked, next_images = Peaks(), time.perf_counter(), False, 0.0
    with (folder / "log").open("w") as log:
        root = psutil.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            while root.poll() is None:
                seconds = time.perf_counter() - began
                peaks.look(root, seconds)
                if seconds >= next_images:
                    peaks.look_at_images(root)
                    next_images = seconds + IMAGES_SECONDS
                if options.seconds is not None and seconds > options.seconds and not asked:
                    root.send_signal(signal.SIGINT)
                    asked = True
                time.sleep(max(0.0, LOOK_SECONDS - (time.perf_counter() - began - seconds)))
        finally:
            if root.poll() is None:  # this benchmark was interrupted itself
                root.terminate()
                root.wait()
    return peaks, root.returncode, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=EMBEDDED[0], help="as of `mnv2-sweep run`; default: the embedded data")
    parser.add_argument("--space", type=Path, default=SPACES / "paper_grid.yaml")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, help="interrupt the sweep after so many; default: the whole sweep")
    parser.add_argument("--keep", type=Path, help="a new folder that keeps the results, plots and output of the sweep")
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("error: this needs /proc/<pid>/smaps_rollup, which Linux has from 4.14 on")
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folder = Path(name)
        if options.keep is not None:
            folder = options.keep
            folder.mkdir(parents=True)
        peaks, code, seconds = run_sweep(options, folder)
        log = (folder / "log").read_text()
    if code not in EXPECTED or (code == INTERRUPTED and options.seconds is None):
        sys.exit(f"the sweep ended with {code}:\n{log[-4000:]}")
    found = describe_environment("", "cpu", None)
    print(f"{found['processor']}, {found['cores']} cores; Python {found['python']}, torch {found['torch']}", end="; ")
    print(f"commit {found['commit']}")
    ends = {0: "to its end", 1: "to its end, with failed trials", INTERRUPTED: "then interrupted"}
    trials = sum(line.startswith("[") and "val top-1" in line for line in log.splitlines())
    print(
        f"{options.space.name}, data {options.data}, {options.workers} workers: {seconds:,.0f} s, {ends[code]}",
        end="; ",
    )
    print(f"{trials} trials done; {peaks.looks:,} looks of {1000 * sum(peaks.look_seconds) / peaks.looks:.0f} ms")
    share = peaks.rss_bytes / BAR_BYTES
    for what, value, note in (
        ("all processes, RSS", peaks.rss_bytes, f"{peaks.rss_moment}; shared pages counted once a process"),
        ("all processes, PSS", peaks.pss_bytes, peaks.pss_moment),
        ("largest process, RSS", peaks.one_bytes, f"{peaks.one_name}; the kernel's VmHWM"),
        ("image files mapped", peaks.mapped_bytes, "different files at one moment"),
        ("of them resident, PSS", peaks.resident_bytes, "part of the second line, the kernel may drop it"),
    ):
        print(f"{what:<24}{value / 2**30:>7.2f} GiB   {note}")
    verdict = "met" if peaks.rss_bytes < BAR_BYTES else "MISSED"
    print(f"peak RSS under {BAR_BYTES / 2**30:g} GiB: {verdict} ({100 * share:.0f} % of it)")


if __name__ == "__main__":
    main()
