"""Which networks of a sweep keep their weights: chosen within a budget of disk, trimmed at its end, listed.

Only single networks' files are counted and trimmed; weights that many networks share stay. While trials run, all are
kept that fit, those on the front first, then the best: a network that looks poor by its first seed may end up on the
front. When all trials have ended, what `Keep.which` does not want is removed. What `run --again` was asked for stays.
What earlier runs kept is removed only for an option that was given now (`Keep`), and named.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import remove_files
from mnv2_sweep.base.text import align, bytes_text, count_noun
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.folders import NETWORK, again_command, remove_empty
from mnv2_sweep.record.store import Outcome, read_outcomes
from mnv2_sweep.sweeps.settings import Keep
from mnv2_sweep.training.kept import kept_bytes, read_header
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Trial, trial_id, trial_label
from mnv2_sweep.trials.ways import KEPT, goes_on, is_slice, kept_paths, own_file, way_of

NOT_KEPT = "not kept"
CHOOSING = ("front", "best")  # of KEEPS: known when all trials have ended


class Network(NamedTuple):
    """The results of one network, a seed each, and whether it is on the front, or goes on from one that is."""

    outcomes: list[Outcome]
    on_front: bool


def keep_lines(trials: Sequence[Trial], keep: Keep, earlier: "Earlier | None" = None) -> list[str]:
    """Return lines for a plan: which weights are kept, what they take (those that are there as they are, new ones half
    precision's bytes, unless a network then answers otherwise and stays in float32), and what becomes of the former."""
    there = {} if earlier is None else earlier.sizes
    own = [trial for trial in trials if not is_slice(trial)]
    size = sum(kept_bytes(trial) for trial in own if trial_id(trial) not in there) + sum(there.values())
    lines = [] if earlier is None else earlier.lines(keep, fits=size <= keep.most_bytes)
    if not own:
        shared = any(way_of(trial).kept(trial) for trial in trials)
        return (["keep      the shared weights, of which every network is a slice"] if shared else []) + lines
    if keep.which == "none":
        what = "no new weights" if there else "no weights: export and predict will have none"
        return [f"keep      {what}, --again makes them", *lines]
    takes = f"{bytes_text(size)} in half precision, at most twice that in float32"
    budget = f"{bytes_text(keep.most_bytes)} (--keep-bytes)"
    if size > keep.most_bytes:
        whose = "the best network's" if keep.which == "best" else "the front's first"
        return [f"keep      {whose}, within {budget}: the weights of all would take {takes}", *lines]
    whose = {"all": "all weights", "front": "the front's weights, of", "best": "the best network's weights, of"}
    return [f"keep      {whose[keep.which]}: {takes}, within {budget}", *lines]


def rank_networks(outcomes: Iterable[Outcome]) -> list[Network]:
    """Return the networks that have results, those on the front first and in either part the best first, by means over
    seeds."""
    networks: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "done":
            key = (arch_key(outcome.trial.arch), outcome.trial.way, outcome.trial.recipe.init)
            networks.setdefault(key, []).append(outcome)
    means = {key: _mean_score(some) for key, some in networks.items()}
    first = [key for key in networks if not goes_on(key[1])]
    front = set()
    for init in {init for _, _, init in first}:  # as in `summarise`: each kind of start has a front
        own = [key for key in first if key[2] == init]
        costs = [count_cost(networks[key][0].trial.arch).madds for key in own]
        front |= {key for key, on in zip(own, pareto_front(costs, [means[key] for key in own]), strict=True) if on}
    ranked = sorted(networks, key=lambda key: (key in first and key not in front, -means[key]))
    return [Network(networks[key], key in front or key not in first) for key in ranked]


def _mean_score(outcomes: Sequence[Outcome]) -> float:
    """Return the mean main score on the validation images, larger where it is better."""
    main = task_of(outcomes[0].trial).main
    return main.sign * statistics.mean(outcome.result.score("val", main.name) for outcome in outcomes)


def choose_kept(ranked: Iterable[Network], sizes: Mapping[str, int], most_bytes: int) -> set[str]:
    """Return the ids of those files, given by their sizes in bytes, that stay: in the order of the networks, each that
    fits into what is left of the budget."""
    chosen, left = set(), most_bytes
    for outcome in (outcome for network in ranked for outcome in network.outcomes):
        if sizes.get(outcome.id, left + 1) <= left:
            chosen.add(outcome.id)
            left -= sizes[outcome.id]
    return chosen


class Earlier:
    """What earlier runs of a sweep have kept, as a run finds it when it begins; `ended`: this run trains nothing and
    takes nothing over, so that what goes is known before."""

    def __init__(self, folder: Path, trials: Sequence[Trial] = (), ended: bool = False):
        self.folder, self.trials, self.ended = folder, trials, ended
        self.outcomes = {outcome.id: outcome for outcome in read_outcomes(folder)}
        self.sizes = own_sizes(folder, (outcome.trial for outcome in self.outcomes.values()))

    def lines(self, keep: Keep, fits: bool) -> list[str]:
        """Return lines for a plan on what becomes of them; none where all `fits` and nothing is to go."""
        bounds = ([f"--keep {keep.which}"] * (keep.which in CHOOSING)) + ["--keep-bytes"] * keep.bounds_earlier
        if not self.sizes or (fits and not bounds and keep.which != "none"):
            return []
        there = f"{count_noun(len(self.sizes), 'trial')}, {bytes_text(sum(self.sizes.values()))}"
        if not bounds or keep.which == "none":
            return [f"note      the weights of {there}, are kept already, and stay"]
        if not self.ended:
            text = f"the weights of {there}, are kept already; those that {' and '.join(bounds)} leaves out go"
            return [f"note      {text}, each by name"]
        going = Keeper(self.folder, keep, self).find_unwanted(self.trials)
        lines = [f"remove    {one}" for one in _describe_files(self.folder, self.outcomes, going, self.sizes)]
        stay = f"the weights of {len(self.sizes) - len(going)} of {count_noun(len(self.sizes), 'trial')}"
        return [*lines, f"note      {stay} that are kept already stay"]


class Keeper:
    """The files of a sweep while it runs, and all that has a result."""

    def __init__(self, folder: Path, keep: Keep, earlier: Earlier | None = None):
        self.folder, self.keep = folder, keep
        self.earlier = Earlier(folder) if earlier is None else earlier
        self.outcomes = dict(self.earlier.outcomes)
        self._read()

    def add(self, outcome: Outcome) -> list[str]:
        """Take note of a trial that has ended, and make room where the weights are too much -> a line on each file that
        an earlier run had kept and that is gone."""
        self.outcomes[outcome.id] = outcome
        return self._remove(self._not_asked(self._without_room()))

    def finish(self, trials: Sequence[Trial]) -> list[str]:
        """Remove what is not to be kept, once all these trials have ended, in whichever run -> lines as of `add`."""
        self._read()
        lines = self._remove(self.find_unwanted(trials))
        remove_empty(self.folder)
        return lines

    def describe(self, trials: Sequence[Trial]) -> list[str]:
        """Return a line on what is kept of these trials."""
        own = [trial for trial in trials if not is_slice(trial)]
        if not own or self.keep.which == "none":
            return []
        sizes = own_sizes(self.folder, own)
        text = f"{len(sizes)} of {count_noun(len(own), 'trial')} with their weights, {bytes_text(sum(sizes.values()))}"
        return [f"kept      {text} in {self.folder / KEPT}; 'mnv2-sweep status --kept' lists them"]

    def find_unwanted(self, trials: Sequence[Trial]) -> set[str]:
        """Return the ids of those whose files go: for want of room, and, once all these trials have ended, because they
        are not wanted."""
        unwanted = self._without_room()
        ended = {name for name, outcome in self.outcomes.items() if outcome.status != "interrupted"}
        if self.keep.which in CHOOSING and ended >= {*map(trial_id, trials)}:
            ranked = rank_networks(self.outcomes.values())
            wanted = ranked[:1] if self.keep.which == "best" else [network for network in ranked if network.on_front]
            unwanted |= self._sizes().keys() - {outcome.id for network in wanted for outcome in network.outcomes}
        return self._not_asked(unwanted)

    def _read(self) -> None:
        """Read what has been recorded, also by other runs."""
        self.outcomes |= {outcome.id: outcome for outcome in read_outcomes(self.folder)}

    def _without_room(self) -> set[str]:
        """Return the ids of those whose files do not fit into the budget; what earlier runs kept takes its room first
        unless it is bounded too."""
        sizes = self._sizes() if self.keep.which != "none" else {}
        if sum(sizes.values()) <= self.keep.most_bytes:
            return set()
        fixed = set() if self.keep.bounds_earlier else sizes.keys() & self.earlier.sizes.keys()
        left = self.keep.most_bytes - sum(sizes[name] for name in fixed)
        others = {name: size for name, size in sizes.items() if name not in fixed}
        return others.keys() - choose_kept(rank_networks(self.outcomes.values()), others, left)

    def _not_asked(self, names: set[str]) -> set[str]:
        """Return those whose files nobody asked for by the network's name."""
        return {name for name in names if not _is_asked(self.folder / own_file(self.outcomes[name].trial))}

    def _sizes(self) -> dict[str, int]:
        """Return the bytes of the file of each trial that has a result and a file of its own."""
        return own_sizes(self.folder, (outcome.trial for outcome in self.outcomes.values()))

    def _remove(self, names: set[str]) -> list[str]:
        """Remove these files -> a line on each that an earlier run had kept."""
        remove_files(self.folder / own_file(self.outcomes[name].trial) for name in names)
        gone = names & self.earlier.sizes.keys() - self._sizes().keys()
        return [f"removed   {one}" for one in _describe_files(self.folder, self.outcomes, gone, self.earlier.sizes)]


def _describe_files(
    folder: Path, outcomes: Mapping[str, Outcome], names: Collection[str], sizes: Mapping[str, int]
) -> list[str]:
    """Name the networks whose files these are, with what the files take."""
    beside = [one.trial for one in outcomes.values()]
    return [
        f"{trial_label(one.trial, beside)}, seed {one.trial.seed}: its weights, "
        f"{bytes_text(sizes[name])}, {folder / own_file(one.trial)}"
        for name, one in outcomes.items()
        if name in names
    ]


def own_sizes(folder: Path, trials: Iterable[Trial]) -> dict[str, int]:
    """Return the bytes of the file of each of the trials that has one, by its id."""
    sizes = {}
    for trial in trials:
        with suppress(OSError):  # there is none
            sizes[trial_id(trial)] = (folder / own_file(trial)).stat().st_size
    return sizes


def _is_asked(path: Path) -> bool:
    """Return whether somebody asked for this file by the network's name."""
    try:
        return "asked" in read_header(path)
    except StoreError:
        return False


# ---------------------------------------------------------------- listed


def list_kept(folder: Path) -> str:
    """Return a line for each result of the sweep: where its weights are, or that they are not kept. Raises
    StoreError."""
    outcomes = [outcome for outcome in read_outcomes(folder) if outcome.status == "done"]
    if not outcomes:
        return "no trial has a result yet"
    rows, beside = [("network", "seed", "weights", "size")], [outcome.trial for outcome in outcomes]
    for outcome in outcomes:
        trial = outcome.trial
        path = next((path for path in kept_paths(folder, trial) if path.is_file()), None)
        size = "" if path is None else bytes_text(path.stat().st_size)
        rows.append((trial_label(trial, beside), str(trial.seed), _where(path), size))
    missing = sum(row[2] == NOT_KEPT for row in rows)
    note = f"\n{count_noun(missing, 'result')} without weights; '{again_command(folder, NETWORK)}' makes them"
    return align(rows) + (note if missing else "")


def _where(path: Path | None) -> str:
    """Return the file with its folder, and its dtype where it says so."""
    if path is None:
        return NOT_KEPT
    if path.parent.name != KEPT:
        return f"{path.parent.name}/{path.name}"
    try:
        return f"{path.parent.name}/{path.name}, {read_header(path)['dtype']}"
    except (StoreError, KeyError):
        return f"{path.parent.name}/{path.name}, damaged"
