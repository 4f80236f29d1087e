"""What trials will take (TimeEstimate) -> lines for a person, and which of the trials fit into a budget of time.

Nothing is measured here: `estimate` makes a TimeEstimate. Times are wall times of one `run` command from its start to
its end, on the machine and beside the other programs that the timings met.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import bytes_text, count_noun, duration
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.ways import way_of

SHOWN = 6  # networks named in a line


@dataclass(frozen=True)
class TimeEstimate:
    """What trials will take. `unknown` says why it is not known; times and bytes are then empty or zero.

    All times are wall seconds, on workers that get `cpu_fraction` of a core each, as the timings did. `size_seconds`:
    for each training size, the making of its images that are not in the cache yet; they are part of `disk_bytes`, as
    `cache_bytes`. `start_seconds` pass in each worker before its first trial, `command_seconds` before the workers and
    after them. `memory_bytes` is resident memory of all processes at the peak, `gpu_bytes` the GPU's. `notes` are
    finished sentences.
    """

    trial_seconds: Mapping[Trial, float]
    workers: int
    device: str
    size_seconds: Mapping[Size, float]
    start_seconds: float = 0.0
    command_seconds: float = 0.0
    memory_bytes: int = 0
    gpu_bytes: int = 0
    disk_bytes: int = 0
    cache_bytes: int = 0
    cpu_fraction: float = 1.0
    probed: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def wall_seconds(self) -> float:
        return command_wall(self, tuple(self.trial_seconds))


@dataclass(frozen=True)
class Fitted:
    """The trials that fit into a budget, the seconds they take, and what was dropped, in the order of dropping."""

    kept: tuple[Trial, ...]
    seconds: float
    dropped_seeds: tuple[int, ...]
    dropped_networks: tuple[ArchSpec, ...]


def wall_seconds(seconds: Sequence[float], workers: int) -> float:
    """Return the wall time of trials on `workers`, longest first, each next one on the worker that is free first."""
    free = [0.0] * max(1, workers)
    for length in sorted(seconds, reverse=True):
        at = free.index(min(free))
        free[at] += length
    return max(free)


def trials_wall(seconds: Mapping[Trial, float], trials: Sequence[Trial], workers: int) -> float:
    """Return the wall time of trials on `workers`; what is prepared for many takes all of them, and these wait for
    it."""
    leading: dict[str, Trial] = {}
    for trial in trials:
        way = way_of(trial)
        if not way.goes_on and (name := way.work.preparation(trial)) is not None:
            leading[name] = max(leading.get(name, trial), trial, key=lambda one: seconds[one])
    rest = [seconds[trial] for trial in trials if trial not in leading.values()]
    led = sum(seconds[trial] for trial in leading.values()) / workers
    return led + (wall_seconds(rest, workers) if rest else 0.0)


def command_wall(estimate: TimeEstimate, trials: Sequence[Trial]) -> float:
    """Return the wall time of a command that runs these of the estimate's trials; 0 for none."""
    if not trials:
        return 0.0
    images = sum(estimate.size_seconds.get(size, 0.0) for size in {trial.train_size for trial in trials})
    training = trials_wall(estimate.trial_seconds, trials, estimate.workers)
    return estimate.command_seconds + images + estimate.start_seconds + training


def fit_budget(estimate: TimeEstimate, budget_seconds: float) -> Fitted:
    """Drop seeds before networks until the rest fits: comparisons stay paired, as all networks keep the same seeds.

    The highest seeds go first, of all networks at once; when one seed is left, networks, the longest first. Raises
    SweepError when the estimate is unknown.
    """
    if estimate.unknown:
        raise SweepError(f"--budget: the time is not known ({estimate.unknown}); leave it out, or use fewer --workers")
    trials = tuple(estimate.trial_seconds)
    seeds = sorted({trial.seed for trial in trials}, reverse=True)
    networks = sorted(
        {trial.arch: estimate.trial_seconds[trial] for trial in trials}.items(), key=lambda item: -item[1]
    )

    def keep(dropped: int) -> tuple[Trial, ...]:
        """Return what is left after so many drops: first of seeds, all but one, then of networks."""
        out_seeds = set(seeds[: min(dropped, len(seeds) - 1)])
        out_archs = {arch for arch, _ in networks[: max(0, dropped - len(seeds) + 1)]}
        return tuple(trial for trial in trials if trial.seed not in out_seeds and trial.arch not in out_archs)

    if not trials:
        return Fitted((), 0.0, (), ())
    most = len(seeds) - 1 + len(networks)
    dropped = bisect_left(range(most), True, key=lambda drops: command_wall(estimate, keep(drops)) <= budget_seconds)
    kept = keep(dropped)
    archs = tuple(arch for arch, _ in networks[: max(0, dropped - len(seeds) + 1)])
    return Fitted(kept, command_wall(estimate, kept), tuple(seeds[: min(dropped, len(seeds) - 1)]), archs)


def estimate_text(estimate: TimeEstimate) -> list[str]:
    """Return lines for a person: time, memory, disk, notes."""
    notes = [f"note      {note}" for note in estimate.notes]
    workers = f"with {count_noun(estimate.workers, 'worker')} on {estimate.device}"
    if estimate.unknown:
        return [f"time      unknown {workers}: {estimate.unknown}", *notes]
    if not estimate.trial_seconds:
        return ["time      none: nothing is left to run", *notes]
    labels = ", ".join(arch_label(trial.arch) for trial in estimate.probed)
    gpu = f", {bytes_text(estimate.gpu_bytes)} of the GPU's" if estimate.gpu_bytes else ""
    cache = f", {bytes_text(estimate.cache_bytes)} of it image cache" if estimate.cache_bytes else ""
    return [
        f"time      about {duration(estimate.wall_seconds)} {workers} (probed: {labels})",
        f"memory    about {bytes_text(estimate.memory_bytes)} at the peak{gpu}",
        f"disk      about {bytes_text(estimate.disk_bytes)}{cache}",
        *notes,
    ]


def fitted_text(fitted: Fitted, estimate: TimeEstimate, budget_seconds: float) -> list[str]:
    """Return lines for a person: what fits, and exactly what was dropped."""
    budget, total = f"budget    {duration(budget_seconds)}: ", len(estimate.trial_seconds)
    if not total:
        return [budget + "nothing is left to run"]
    if not fitted.kept:
        shortest = min(estimate.trial_seconds, key=estimate.trial_seconds.get)
        needed = duration(command_wall(estimate, [shortest]))
        return [budget + f"nothing fits; the shortest trial, {arch_label(shortest.arch)}, takes about {needed} in all"]
    if len(fitted.kept) == total:
        return [budget + f"everything fits, in about {duration(fitted.seconds)}"]
    networks = count_noun(len({trial.arch for trial in fitted.kept}), "network")
    seeds = _seeds_text(sorted({trial.seed for trial in fitted.kept}))
    lines = [
        f"{budget}{len(fitted.kept)} of {count_noun(total, 'trial')} fit, in about {duration(fitted.seconds)}: "
        f"{networks}, {seeds}"
    ]
    if fitted.dropped_seeds:
        lines.append(f"dropped   {_seeds_text(sorted(fitted.dropped_seeds))} of every network")
    if fitted.dropped_networks:
        count = count_noun(len(fitted.dropped_networks), "network")
        lines.append(f"dropped   {count}: {'; '.join(arch_label(arch) for arch in fitted.dropped_networks)}")
    return lines


def _seeds_text(seeds: Sequence[int]) -> str:
    if len(seeds) > SHOWN and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
