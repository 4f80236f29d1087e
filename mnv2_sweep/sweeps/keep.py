"""Which networks of a sweep keep their weights: chosen within a budget of disk, trimmed at its end, listed.

Only single networks' files are counted and trimmed; weights that many networks share stay. While trials run, all are
kept that fit, those on the front first, then the best: a network that looks poor by its first seed may end up on the
front. When all trials have ended, what `Keep.which` does not want is removed. What `run --again` was asked for stays.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import remove_files
from mnv2_sweep.base.text import align, bytes_text, count_noun
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.folders import NETWORK, again_command, remove_empty
from mnv2_sweep.record.store import Outcome, read_outcomes
from mnv2_sweep.sweeps.settings import Keep
from mnv2_sweep.training.kept import kept_bytes, read_header
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Trial, trial_id
from mnv2_sweep.trials.ways import KEPT, goes_on, is_slice, kept_paths, own_file, way_of

NOT_KEPT = "not kept"


class Network(NamedTuple):
    """The results of one network, a seed each, and whether it is on the front, or goes on from one that is."""

    outcomes: list[Outcome]
    on_front: bool


def keep_lines(trials: Sequence[Trial], keep: Keep) -> list[str]:
    """Return lines for a plan: which weights are kept, and what they take: half precision's bytes, unless a network
    then answers otherwise and stays in float32."""
    own = [trial for trial in trials if not is_slice(trial)]
    if not own:
        shared = any(way_of(trial).kept(trial) for trial in trials)
        return ["keep      the shared weights, of which every network is a slice"] if shared else []
    if keep.which == "none":
        return ["keep      no weights: export and predict will have none, --again makes them"]
    size = sum(map(kept_bytes, own))
    takes = f"{bytes_text(size)} in half precision, at most twice that in float32"
    budget = f"{bytes_text(keep.most_bytes)} (--keep-bytes)"
    if size > keep.most_bytes:
        whose = "the best network's" if keep.which == "best" else "the front's first"
        return [f"keep      {whose}, within {budget}: the weights of all would take {takes}"]
    whose = {"all": "all weights", "front": "the front's weights, of", "best": "the best network's weights, of"}
    return [f"keep      {whose[keep.which]}: {takes}, within {budget}"]


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


class Keeper:
    """The files of a sweep while it runs, and all that has a result."""

    def __init__(self, folder: Path, keep: Keep):
        self.folder, self.keep = folder, keep
        self.outcomes: dict[str, Outcome] = {}
        self._read()

    def add(self, outcome: Outcome) -> None:
        """Take note of a trial that has ended, and make room where the weights are too much."""
        self.outcomes[outcome.id] = outcome
        self._make_room()

    def finish(self, trials: Sequence[Trial]) -> list[str]:
        """Remove what is not to be kept, once all these trials have ended, in whichever run -> a line on what is kept
        of them."""
        self._read()
        self._make_room()
        ended = {name for name, outcome in self.outcomes.items() if outcome.status != "interrupted"}
        if self.keep.which in ("front", "best") and ended >= {*map(trial_id, trials)}:
            ranked = rank_networks(self.outcomes.values())
            wanted = ranked[:1] if self.keep.which == "best" else [network for network in ranked if network.on_front]
            self._keep_only({outcome.id for network in wanted for outcome in network.outcomes})
        remove_empty(self.folder)
        return self._say_kept(trials) if self.keep.which != "none" else []

    def _read(self) -> None:
        """Read what has been recorded, also by other runs."""
        self.outcomes |= {outcome.id: outcome for outcome in read_outcomes(self.folder)}

    def _make_room(self) -> None:
        sizes = self._sizes() if self.keep.which != "none" else {}
        if sum(sizes.values()) > self.keep.most_bytes:
            self._keep_only(choose_kept(rank_networks(self.outcomes.values()), sizes, self.keep.most_bytes))

    def _sizes(self) -> dict[str, int]:
        """Return the bytes of the file of each trial that has a result and a file of its own."""
        return own_sizes(self.folder, (outcome.trial for outcome in self.outcomes.values()))

    def _keep_only(self, names: set[str]) -> None:
        paths = [self.folder / own_file(self.outcomes[name].trial) for name in self._sizes().keys() - names]
        remove_files(path for path in paths if not _is_asked(path))

    def _say_kept(self, trials: Sequence[Trial]) -> list[str]:
        own = [trial for trial in trials if not is_slice(trial)]
        sizes = own_sizes(self.folder, own)
        if not own:
            return []
        text = f"{len(sizes)} of {count_noun(len(own), 'trial')} with their weights, {bytes_text(sum(sizes.values()))}"
        return [f"kept      {text} in {self.folder / KEPT}; 'mnv2-sweep status --kept' lists them"]


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
    rows = [("network", "seed", "weights", "size")]
    for outcome in outcomes:
        trial = outcome.trial
        path = next((path for path in kept_paths(folder, trial) if path.is_file()), None)
        size = "" if path is None else bytes_text(path.stat().st_size)
        rows.append((arch_label(trial.arch), str(trial.seed), _where(path), size))
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
