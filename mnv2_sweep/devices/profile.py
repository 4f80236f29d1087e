"""A profile: how long, and with how much memory, networks ran on a device, as the script of `formats.measure` wrote it.

    {format, version, made_by, device, runtime: [package, version], int8, threads, turn, space, networks_sha256,
     madds, machine: {...}, sessions: [{begun, seconds, governor, mhz, celsius}],
     networks: [{arch, file_bytes, peak_bytes, wall_us: [...], cpu_us: [...]}], digest}

Times are microseconds of one run of one image, the least of a turn by the clock and by the processors (before there was
a `turn`: the median of a turn's, and the processors' mean); a network has a turn in each round. `digest` is the sha256
of all else, so that a file that somebody changed is told from one that was measured.

What else a device does only ever adds to a run, so a network's latency is the least of its rounds: that of the device
when it does nothing else. Of one thread it is the processor's time, which is the clock's where nothing else runs: on a
busy device no long run is ever undisturbed by the clock, while short ones are, and halves of the rounds don't show it.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnv2_sweep.base.errors import ProfileError, SweepError
from mnv2_sweep.base.text import percent, printable
from mnv2_sweep.nets.arch import ArchSpec, check_arch, check_limits, load_arch
from mnv2_sweep.nets.cost import count_cost

FORMAT, VERSION = "mnv2-sweep device profile", 1
MOST_BYTES = 50_000
LEAST, MEDIAN = "least", "median"  # what the time of a turn is of its runs
LEAST_NETWORKS, LEAST_ROUNDS = 12, 4
MOST_NOISE = 0.10  # between halves of the rounds: above it there is more noise than a model could leave
AGAIN = "pack a script with this version, and measure again"


@dataclass(frozen=True)
class Machine:
    """What the system says of itself; "" and 0 where it says nothing."""

    model: str
    processor: str
    architecture: str
    cores: int
    memory_bytes: int
    system: str
    python: str


@dataclass(frozen=True)
class Session:
    """A stretch of time in which it was measured; governor, clock and temperature at its two ends, None where they are
    not known."""

    begun: str  # UTC
    seconds: float
    governor: tuple[str | None, str | None]
    mhz: tuple[int | None, int | None]
    celsius: tuple[float | None, float | None]


@dataclass(frozen=True)
class Measured:
    """A network as it ran: the size of its file, the most memory of a process with it and its runtime (None where it is
    not known), seconds of a run in each round, and those of all processors together."""

    arch: ArchSpec
    file_bytes: int | None
    peak_bytes: int | None
    wall_seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]


@dataclass(frozen=True)
class Profile:
    """All that was measured on a device; `name` is what it is called here."""

    name: str
    device: str
    runtime: str
    runtime_version: str
    int8: bool
    threads: int
    turn: str
    space: str
    made_by: str
    machine: Machine
    sessions: tuple[Session, ...]
    networks: tuple[Measured, ...]
    digest: str
    source: str = ""  # where it was published, with its conditions; "" for what was measured with the script

    @property
    def archs(self) -> tuple[ArchSpec, ...]:
        """Return the networks that were measured."""
        return tuple(one.arch for one in self.networks)

    def times(self, one: Measured) -> np.ndarray:
        """Return the seconds of a network in each round [R]: of one thread the processor's, where that is less than the
        clock's, as it does not count what else ran; of more threads the clock's."""
        wall = np.array(one.wall_seconds)
        if self.threads > 1 or not one.cpu_seconds:
            return wall
        cpu = np.array(one.cpu_seconds)
        return np.where(cpu > 0, np.minimum(wall, cpu), wall)

    @property
    def seconds(self) -> np.ndarray:
        """Return the latency of each network [N]: the least of its rounds."""
        return np.array([self.times(one).min() for one in self.networks])

    @property
    def rounds(self) -> int:
        """Return how often every network was timed."""
        return min(len(one.wall_seconds) for one in self.networks)

    @property
    def noise(self) -> np.ndarray:
        """Return for each network how far its latencies by the even and by the odd rounds lie apart, as a share of
        their mean [N]; NaN where there is one round, as of what was published."""
        if self.rounds < 2:
            return np.full(len(self.networks), np.nan)
        halves = np.array([[self.times(one)[first::2].min() for first in (0, 1)] for one in self.networks])
        return np.abs(halves[:, 0] - halves[:, 1]) / halves.mean(axis=1)

    @property
    def busy(self) -> float:
        """Return by how much wall time exceeds that of the processors, which would be 1.0 for one thread alone: the
        median over the networks of wall x threads / processors' time, the least of each."""
        ratios = [min(one.wall_seconds) / max(min(one.cpu_seconds), 1e-9) for one in self.networks]
        return float(np.median(ratios)) * self.threads

    @property
    def precision(self) -> str:
        """Return "int8" or "fp32"."""
        return "int8" if self.int8 else "fp32"

    @property
    def title(self) -> str:
        """Return device and runtime in words."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device}, {f'{self.runtime} {self.runtime_version}'.strip()} {self.precision}, {threads}"


def read_profile(path: Path, name: str = "") -> Profile:
    """Read a profile, called `name` here, or as its file is. Raises ProfileError with the first thing that is wrong."""
    return parse_profile(read_text(path), printable(str(path)), name or path.stem)


def read_text(path: Path) -> str:
    """Return the content of a file that may be a profile. Raises ProfileError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"{path}: can't be read ({error.strerror or error})") from error
    if len(content) > MOST_BYTES:
        raise ProfileError(f"{path}: more than {MOST_BYTES:,} bytes, which no profile has; give the JSON file that the "
                           "script wrote")  # fmt: skip
    return content.decode("utf-8", "replace")


def parse_profile(text: str, where: str, name: str) -> Profile:
    """Return the profile that a text holds. Raises ProfileError, whose line begins with `where`."""
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
        digest = find_digest(content) if isinstance(content, dict) else ""
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{where}: no JSON ({error}); give the file that the script wrote") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ProfileError(f"{where}: no profile of a device; the script of 'mnv2-sweep device pack' makes one")
    if content.get("version") != VERSION:
        made_by = printable(str(content.get("made_by")))
        raise ProfileError(f"{where}: version {content.get('version')!r} of {made_by}, and {VERSION} is read here; "
                           f"{AGAIN}")  # fmt: skip
    if content.get("digest") != digest:
        raise ProfileError(f"{where}: it was changed since it was measured, or is not whole; copy it again")
    try:
        profile, madds = _load(content, name), _whole(content["madds"])
    except (KeyError, TypeError, ValueError, AttributeError, SweepError) as error:
        text = " ".join(str(error).split())
        raise ProfileError(f"{where}: no profile ({type(error).__name__}: {text}); {AGAIN}") from error
    _check(profile, madds, where)
    return profile


def find_digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a profile's JSON object, its digest left out, as the script finds it."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _check(profile: Profile, madds: int, where: str) -> None:
    """Raise ProfileError where it is too little, too noisy, or of other networks than these specs have here."""
    if len(profile.networks) < LEAST_NETWORKS:
        raise ProfileError(f"{where}: {len(profile.networks)} networks, at least {LEAST_NETWORKS} are needed to learn "
                           "from; pack a space with more")  # fmt: skip
    if profile.rounds < LEAST_ROUNDS:
        raise ProfileError(f"{where}: {profile.rounds} rounds, at least {LEAST_ROUNDS} are needed; run the script "
                           "again beside the file, and it goes on")  # fmt: skip
    counted = sum(count_cost(arch).madds for arch in profile.archs)
    if counted != madds:
        raise ProfileError(f"{where}: its networks had {madds:,} MAdds where they were packed, and have {counted:,} "
                           f"here; {AGAIN}")  # fmt: skip
    noise = float(np.median(profile.noise))
    if noise > MOST_NOISE:
        most = percent(MOST_NOISE, 0)
        raise ProfileError(f"{where}: too noisy: halves of its rounds differ by {percent(noise)} % (median), at most "
                           f"{most} % is allowed; measure while the device does nothing else")  # fmt: skip


# ---------------------------------------------------------------- JSON -> records, each value of its own type


def _load(content: Mapping[str, Any], name: str) -> Profile:
    runtime, version = content["runtime"]
    machine = content["machine"]
    return Profile(
        name,
        _text(content["device"]),
        _text(runtime),
        _text(version),
        _typed(content["int8"], bool),
        _whole(content["threads"], 1),
        _turn(content.get("turn", MEDIAN)),
        _text(content["space"]),
        _text(content["made_by"]),
        Machine(
            **{key: _text(machine[key]) for key in ("model", "processor", "architecture", "system", "python")},
            **{key: _whole(machine[key]) for key in ("cores", "memory_bytes")},
        ),
        _sessions(content["sessions"]),
        tuple(_measured(one) for one in content["networks"]),
        _text(content["digest"]),
    )


def _turn(value: object) -> str:
    if value not in (LEAST, MEDIAN):
        raise ValueError(f"turn: {value!r} where '{LEAST}' or '{MEDIAN}' was expected")
    return value


def _sessions(records: Sequence[Mapping[str, Any]]) -> tuple[Session, ...]:
    if not records:
        raise ValueError("no session")
    return tuple(map(_session, records))


def _session(record: Mapping[str, Any]) -> Session:
    ends = {}
    for key, read in (("governor", _text), ("mhz", _number), ("celsius", _number)):
        before, after = record[key]
        ends[key] = tuple(None if value is None else read(value) for value in (before, after))
    return Session(_text(record["begun"]), _number(record["seconds"]), **ends)


def _measured(record: Mapping[str, Any]) -> Measured:
    arch = load_arch(record["arch"])
    check_arch(arch)
    check_limits(arch)
    wall, cpu = (tuple(1e-6 * _number(one) for one in record[key]) for key in ("wall_us", "cpu_us"))
    if len(wall) != len(cpu) or not all(one > 0 for one in wall):
        raise ValueError("times must be above 0, as many of the processors as of the clock")
    sizes = (None if record[key] is None else _whole(record[key], 1) for key in ("file_bytes", "peak_bytes"))
    return Measured(arch, *sizes, wall, cpu)


def _typed(value: object, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} where {kind.__name__} was expected")
    return value


def _text(value: object) -> str:
    return printable(_typed(value, str))[:200]


def _whole(value: object, least: int = 0) -> int:
    if _typed(value, int) < least:
        raise ValueError(f"{value} where at least {least} was expected")
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e15:
        raise TypeError(f"{value!r} where a number was expected")
    return float(value)
