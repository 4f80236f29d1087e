"""The trials still to do, as this run of a sweep sees them: claimed one by one, recorded as they end, some tried
again."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from mnv2_sweep.base.files import remove_files, remove_unfinished
from mnv2_sweep.base.signals import hold_interrupts
from mnv2_sweep.record.claims import BEAT_SECONDS, Owner, beat, claim_first, read_claims, release, this_owner
from mnv2_sweep.record.folders import checkpoint_path, passing_folders, remove_empty, remove_unfinished_weights
from mnv2_sweep.record.store import INTERRUPTED, KILLED, OUT_OF_MEMORY, Outcome, read_statuses, record
from mnv2_sweep.trials.trial import Trial, trial_id
from mnv2_sweep.trials.ways import Need

RETRIED = (KILLED, OUT_OF_MEMORY)  # the machine may have been at fault; the rest would end the same way again
MOST_ATTEMPTS = 2


class TrialQueue:
    """Trials in the order in which they should run. Several runs, on any machines, may hold the same ones.

    A trial is claimed before it starts and released after it is recorded; what another run has recorded since this
    one began is not done again. Use as a context manager: leaving it gives all claims back.

    `find_need` says what a trial needs that others need too: the weights it is a slice of, the results of its seeds.
    """

    def __init__(
        self,
        folder: Path,
        trials: Sequence[Trial],
        owner: Owner | None = None,
        find_need: Callable[[Trial], Need | None] = lambda trial: None,
    ):
        self.find_need = find_need
        self.leading: dict[str, str] = {}  # need -> the trial that this run has made see to it
        self.folder, self.owner = folder, owner or this_owner()
        self.waiting = {trial_id(trial): trial for trial in trials}
        self.again: dict[str, Trial] = {}  # to be tried once more; still claimed
        self.attempts: dict[str, int] = {}
        self.elsewhere: list[Trial] = []  # recorded by others
        # How they stood when this run began: what differs from it was recorded since, whatever the clocks say.
        self.before = {name: fate for name, fate in read_statuses(folder).items() if name in self.waiting}
        self.last_beat = time.monotonic()

    def __enter__(self) -> "TrialQueue":
        self._tidy()
        return self

    def __exit__(self, *error: object) -> None:
        with hold_interrupts():
            release(self.folder, self.owner)
            self._tidy()
            remove_empty(self.folder)

    def _tidy(self) -> None:
        if not read_claims(self.folder):  # whoever writes weights has claimed a trial
            remove_unfinished_weights(self.folder)
            self._forget_passing()

    def _forget_passing(self) -> None:
        """Remove what was left for trials that have been recorded since."""
        left = [path for folder in passing_folders(self.folder) for path in folder.glob("*.pt")]
        statuses = read_statuses(self.folder) if left else {}
        remove_files(path for path in left if statuses.get(path.stem, (INTERRUPTED,))[0] != INTERRUPTED)

    def take(self) -> Trial | None:
        """Take the next trial for this run, claimed; None where nothing is left or others hold the rest."""
        if self.again:
            return self.again.pop(next(iter(self.again)))
        while self.waiting:
            with hold_interrupts():
                claimed = claim_first(self.folder, self._ready(), self.owner)
                if claimed is None:
                    return None
                trial = self.waiting.pop(claimed)
                # Claimed first, looked at second: whoever had it before has recorded it before giving it up.
                now = read_statuses(self.folder, claimed).get(claimed, ("", 0.0))
                if now[0] != "done" and (now[0] != "failed" or now == self.before.get(claimed)):
                    if need := self.find_need(trial):
                        self.leading.setdefault(need.name, claimed)
                    return trial
                release(self.folder, self.owner, claimed)
                self.elsewhere.append(trial)
        return None

    def _ready(self) -> list[str]:
        """Return the ids of the waiting trials that can run now. Where what they need is not there, or damaged, that is
        the first of them alone, which makes it; every run of the sweep has the same first one."""
        ready, closed = [], set(self.leading)
        there: dict[str, bool] = {}
        for name, trial in self.waiting.items():
            if need := self.find_need(trial):
                if need.name not in there:
                    there[need.name] = need.is_there()
                if not there[need.name]:
                    if need.name in closed:
                        continue
                    closed.add(need.name)
            ready.append(name)
        return ready

    def others(self) -> int:
        """Count the trials that may still come: others have claimed them, or they are to be tried again."""
        return len(self.waiting) + len(self.again)

    def ended(self, outcome: Outcome) -> Outcome:
        """Record an outcome, and decide whether its trial is tried again; returns it with its number of attempts."""
        name = trial_id(outcome.trial)
        self.attempts[name] = self.attempts.get(name, 0) + 1
        outcome = replace(outcome, attempts=self.attempts[name])
        with hold_interrupts():
            if self.is_retried(outcome):
                # No failure yet: should this run end before the second attempt, the next one makes it.
                record(self.folder, replace(outcome, kind=INTERRUPTED))
                self.again[name] = outcome.trial
            else:
                self.leading = {key: leader for key, leader in self.leading.items() if leader != name}
                record(self.folder, outcome)
                if outcome.kind != INTERRUPTED:
                    path = checkpoint_path(self.folder, outcome.trial)
                    remove_unfinished(path)
                    remove_files([path])
                release(self.folder, self.owner, name)
        return outcome

    def is_retried(self, outcome: Outcome) -> bool:
        return outcome.kind in RETRIED and outcome.attempts < MOST_ATTEMPTS

    def tick(self) -> None:
        """Give a sign of life for runs on other machines; to be called every now and then."""
        if time.monotonic() - self.last_beat > BEAT_SECONDS:
            self.last_beat = time.monotonic()
            beat(self.folder, self.owner)


def record_outcomes(queue: TrialQueue, outcomes: Generator[Outcome | None, None, None]) -> Iterator[Outcome | None]:
    """Yield each outcome of an executor after it is recorded; the executor ends with it, whatever ends it."""
    with closing(outcomes):
        for outcome in outcomes:
            yield None if outcome is None else queue.ended(outcome)
