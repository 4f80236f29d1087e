"""What is left to do, shared by runs that know nothing of each other: each trial once, whatever ends a run."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.signals import StopRequest
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.claims import CLAIMS, claim_first, read_claims, this_owner
from mnv2_sweep.record.folders import checkpoint_path
from mnv2_sweep.record.store import (
    DIVERGED,
    EXCEPTION,
    INTERRUPTED,
    KILLED,
    OUT_OF_MEMORY,
    TIMED_OUT,
    Outcome,
    read_outcomes,
    record,
)
from mnv2_sweep.sweeps import queue as queue_module
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import Feed, Limits, run_pool
from mnv2_sweep.sweeps.queue import Need, TrialQueue, record_outcomes
from mnv2_sweep.sweeps.schedule import missing_trials
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.ways.shared import weights_path
from mnv2_sweep.trials.trial import Result, Sharing, Trial, shared_id, trial_id
from tests.trial_samples import (
    DIES,
    DIES_ONCE,
    DIVERGES,
    EXITS,
    FINE,
    GROWS,
    RAISES,
    by_id,
    full_disk,
    misbehave,
    plan,
    result_of,
    wait_until,
)


def done(trial: Trial, top1: float = 0.5) -> Outcome:
    return Outcome(trial, result_of(top1))


def failed(trial: Trial, kind: str) -> Outcome:
    return Outcome(trial, error="so it ended", kind=kind)


def take_all(queue: TrialQueue) -> list[Trial]:
    return list(iter(queue.take, None))


def ids_of(trials: list[Trial]) -> set[str]:
    return {trial_id(trial) for trial in trials}


# ---------------------------------------------------------------- taking


def test_trials_are_taken_in_their_order_and_claimed(tmp_path):
    trials = plan(3, 1, 2)
    with TrialQueue(tmp_path, trials) as queue:
        assert [queue.take() for _ in range(4)] == [*trials, None]
        assert read_claims(tmp_path) == dict.fromkeys(by_id(trials), str(queue.owner))
        assert queue.others() == 0 and queue.elsewhere == []


def test_no_trials_no_work(tmp_path):
    with TrialQueue(tmp_path, []) as queue:
        assert queue.take() is None and queue.others() == 0


def test_what_others_hold_may_still_come(tmp_path):
    trials, other = plan(0, 1, 2), this_owner()
    claim_first(tmp_path, by_id(trials[:2]), other)
    with TrialQueue(tmp_path, trials) as queue:
        assert take_all(queue) == trials[1:]
        assert queue.others() == 1 and queue.elsewhere == []


def test_what_another_run_has_recorded_is_not_done_again(tmp_path):
    trials = plan(0, 1, 2, 3)
    with TrialQueue(tmp_path, trials) as mine, TrialQueue(tmp_path, trials) as other:
        for outcome in (done(other.take()), failed(other.take(), EXCEPTION)):
            other.ended(outcome)
        assert take_all(mine) == trials[2:]
        assert mine.elsewhere == trials[:2]
        assert set(read_claims(tmp_path)) == ids_of(trials[2:])


def test_a_failure_of_an_earlier_run_is_tried_again_when_it_is_planned(tmp_path):
    """With --retry-failed."""
    (trial,) = plan(0)
    record(tmp_path, failed(trial, EXCEPTION))
    time.sleep(0.01)
    with TrialQueue(tmp_path, [trial]) as queue:
        assert queue.take() == trial
        queue.ended(done(trial))
    assert read_outcomes(tmp_path) == [done(trial)]


def test_what_another_run_was_interrupted_in_is_taken(tmp_path):
    trials = plan(0, 1)
    with TrialQueue(tmp_path, trials) as mine:
        with TrialQueue(tmp_path, trials) as other:
            other.ended(failed(other.take(), INTERRUPTED))
        assert take_all(mine) == trials


# ---------------------------------------------------------------- ends


def test_an_outcome_is_recorded_and_its_claim_given_back(tmp_path):
    trials = plan(0, 1)
    with TrialQueue(tmp_path, trials) as queue:
        queue.take(), queue.take()
        assert queue.ended(done(trials[1])) == done(trials[1])
        assert read_outcomes(tmp_path) == [done(trials[1])]
        assert set(read_claims(tmp_path)) == ids_of(trials[:1])
        queue.ended(failed(trials[0], EXCEPTION))
        assert read_claims(tmp_path) == {}
    assert [outcome.attempts for outcome in read_outcomes(tmp_path)] == [1, 1]


@pytest.mark.parametrize("kind", [KILLED, OUT_OF_MEMORY])
@pytest.mark.parametrize("second", ["done", "the same", "another kind"])
def test_what_the_machine_may_be_to_blame_for_is_tried_twice(tmp_path, kind, second):
    first, other = plan(0, 1)
    ends = {"done": done(first), "the same": failed(first, kind), "another kind": failed(first, EXCEPTION)}
    with TrialQueue(tmp_path, [first, other]) as queue:
        returned = queue.ended(failed(queue.take(), kind))
        assert (returned.kind, returned.attempts, queue.is_retried(returned)) == (kind, 1, True)
        assert set(read_claims(tmp_path)) == {trial_id(first)}  # nobody else takes it
        assert queue.others() == 2
        assert take_all(queue) == [first, other]
        returned = queue.ended(ends[second])
        assert returned.attempts == 2 and not queue.is_retried(returned)
        assert queue.others() == 0 and queue.take() is None
        assert set(read_claims(tmp_path)) == {trial_id(other)}
    assert read_outcomes(tmp_path) == [replace(ends[second], attempts=2)]


@pytest.mark.parametrize("kind", [EXCEPTION, DIVERGED, TIMED_OUT, INTERRUPTED])
def test_what_would_end_the_same_way_is_not_tried_again(tmp_path, kind):
    (trial,) = plan(0)
    with TrialQueue(tmp_path, [trial]) as queue:
        returned = queue.ended(failed(queue.take(), kind))
        assert (returned.kind, returned.attempts, queue.is_retried(returned)) == (kind, 1, False)
        assert queue.take() is None and queue.others() == 0 and read_claims(tmp_path) == {}
    assert read_outcomes(tmp_path) == [failed(trial, kind)]


def test_a_run_that_ends_before_the_second_attempt_leaves_it_to_the_next(tmp_path):
    """Its first attempt is no failure yet: the same command goes on with it, without --retry-failed."""
    trials = plan(0, 1)
    with TrialQueue(tmp_path, trials) as queue:
        queue.ended(failed(queue.take(), KILLED))
    assert set(missing_trials(trials, tmp_path)) == set(trials)


def test_another_run_takes_over_a_trial_that_waits_for_its_second_attempt(tmp_path):
    trials = plan(0, 1)
    with TrialQueue(tmp_path, trials) as mine:
        with TrialQueue(tmp_path, trials) as other:
            other.ended(failed(other.take(), KILLED))
        assert take_all(mine) == trials


@pytest.mark.parametrize(
    "outcome, stays",
    [
        (done, False),
        (lambda trial: failed(trial, EXCEPTION), False),
        (lambda trial: failed(trial, DIVERGED), False),
        (lambda trial: failed(trial, TIMED_OUT), False),
        (lambda trial: failed(trial, INTERRUPTED), True),
        (lambda trial: failed(trial, KILLED), True),  # of the first attempt
    ],
    ids=["done", "exception", "diverged", "timed out", "interrupted", "killed once"],
)
def test_the_checkpoint_stays_for_what_goes_on(tmp_path, outcome, stays):
    (trial,) = plan(0)
    path = checkpoint_path(tmp_path, trial)
    path.parent.mkdir(parents=True)
    path.write_text("half of it")
    with TrialQueue(tmp_path, [trial]) as queue:
        queue.ended(outcome(queue.take()))
        assert path.exists() == stays
        if queue.again:
            queue.ended(outcome(queue.take()))
            assert not path.exists()


def test_what_a_kill_in_mid_writing_left_of_a_checkpoint_goes_too(tmp_path):
    trials = plan(0, 1)
    paths = [checkpoint_path(tmp_path, trial) for trial in trials]
    paths[0].parent.mkdir()
    left = [paths[0], paths[0].with_name(f"{paths[0].name}.4f2a.tmp"), paths[1].with_name(f"{paths[1].name}.77b1.tmp")]
    for path in left:
        path.write_text("half of it")
    with TrialQueue(tmp_path, trials) as queue:
        queue.ended(failed(queue.take(), EXCEPTION))
    assert [path for path in left if path.exists()] == left[2:]


def test_a_result_that_another_run_recorded_meanwhile_stays(tmp_path):
    """As when a run was thought dead: its trial is done twice, and the first result counts."""
    (trial,) = plan(0)
    with TrialQueue(tmp_path, [trial]) as queue:
        queue.take()
        record(tmp_path, done(trial, 0.25))
        queue.ended(done(trial, 0.75))
    assert read_outcomes(tmp_path) == [done(trial, 0.25)]


# ---------------------------------------------------------------- leaving


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt], ids=["normally", "error", "Ctrl-C"])
def test_leaving_gives_all_claims_back(tmp_path, error):
    trials, other = plan(0, 1, 2), this_owner()
    claim_first(tmp_path, by_id(trials[2:]), other)
    queue = TrialQueue(tmp_path, trials)
    try:
        with queue:
            assert take_all(queue) == trials[:2]
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt) as caught:
        assert type(caught) is error
    assert read_claims(tmp_path) == {trial_id(trials[2]): str(other)}


def test_ctrl_c_waits_until_an_outcome_is_recorded(tmp_path, monkeypatch):
    (trial,) = plan(0)
    real = queue_module.record

    def record_slowly(folder, outcome):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        real(folder, outcome)

    monkeypatch.setattr(queue_module, "record", record_slowly)
    with TrialQueue(tmp_path, [trial]) as queue, StopRequest() as stop:
        queue.take()
        with pytest.raises(KeyboardInterrupt):  # pressed twice
            queue.ended(done(trial))
        assert stop() and read_claims(tmp_path) == {}
    assert read_outcomes(tmp_path) == [done(trial)]


@pytest.mark.parametrize("ahead", [-86400.0, 86400.0], ids=["a day behind", "a day ahead"])
def test_failures_are_tried_again_whatever_the_clock_of_the_machine_that_recorded_them(tmp_path, monkeypatch, ahead):
    trials = plan(0, 1)
    with monkeypatch.context() as patch:
        now = time.time()
        patch.setattr("mnv2_sweep.record.store.time.time", lambda: now + ahead)
        record(tmp_path, failed(trials[0], EXCEPTION))
        with TrialQueue(tmp_path, trials) as queue:
            assert queue.take() == trials[0]  # --retry-failed asks for it
            record(tmp_path, failed(trials[1], EXCEPTION))  # by another run, since
            assert queue.take() is None and queue.elsewhere == [trials[1]]


def test_signs_of_life_come_now_and_then(tmp_path, monkeypatch):
    beats, now = [], [time.monotonic()]
    monkeypatch.setattr(queue_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(queue_module, "beat", lambda folder, owner: beats.append((now[0], owner)))
    with TrialQueue(tmp_path, plan(0)) as queue:
        began = now[0]
        for _ in range(20):
            now[0] += 2
            queue.tick()
    assert beats == [(began + 16, queue.owner), (began + 32, queue.owner)]


# ---------------------------------------------------------------- an executor's outcomes


def test_outcomes_are_on_disk_before_they_are_handed_over(tmp_path):
    trials, started = plan(0, 1, 2), []

    def executor():
        for trial in iter(queue.take, None):
            started.append(trial)
            yield failed(trial, EXCEPTION) if trial.seed == 1 else done(trial)

    received = []
    with TrialQueue(tmp_path, trials) as queue:
        for outcome in record_outcomes(queue, executor()):
            received.append(outcome)
            assert read_outcomes(tmp_path) == received
            assert len(started) == len(received)  # nothing is collected first
    assert [outcome.trial for outcome in received] == trials
    assert [outcome.status for outcome in received] == ["done", "failed", "done"]


@pytest.mark.parametrize("how", ["closed", "claim refused", "record refused"])
def test_a_sweep_that_ends_early_ends_its_executor(tmp_path, monkeypatch, how):
    trials, ended = plan(0, 1, 2), []

    def executor():
        try:
            for trial in iter(queue.take, None):
                yield done(trial)
        finally:
            ended.append(how)

    with TrialQueue(tmp_path, trials) as queue:
        outcomes = record_outcomes(queue, executor())
        next(outcomes)
        if how == "closed":
            outcomes.close()
        elif how == "claim refused":
            with full_disk(), pytest.raises(StoreError, match="make room"):
                next(outcomes)
        else:

            def refuse(folder, outcome):
                raise StoreError("make room")

            monkeypatch.setattr(queue_module, "record", refuse)
            with pytest.raises(StoreError, match="make room") as caught:
                next(outcomes)
            assert caught.traceback  # it keeps the frames alive, and what they hold
        assert ended == [how]
    assert [outcome.trial for outcome in read_outcomes(tmp_path)] == trials[:1]
    assert read_claims(tmp_path) == {}


def test_after_a_full_disk_the_same_command_goes_on(tmp_path):
    trials = plan(0, 1)
    with TrialQueue(tmp_path, trials) as queue:
        queue.ended(done(queue.take()))
        with full_disk(), pytest.raises(StoreError, match="results so far are safe: make room"):
            queue.ended(done(queue.take()))
    with TrialQueue(tmp_path, missing_trials(trials, tmp_path)) as queue:
        assert take_all(queue) == trials[1:]
        queue.ended(done(trials[1]))
    assert read_outcomes(tmp_path) == [done(trial) for trial in trials]


def test_bad_trials_in_one_sweep_with_good_ones(tmp_path):
    trials = plan(RAISES, DIVERGES, DIES, FINE, EXITS, GROWS, DIES_ONCE, 50, 51)
    with TrialQueue(tmp_path, trials) as queue:
        attempts, feed = Attempts(partial(misbehave, tmp_path), tmp_path), Feed(queue.take, queue.others)
        shown = list(record_outcomes(queue, run_pool(attempts, feed, 2, Limits(memory_bytes=900 << 20))))
    assert len(shown) == len(trials) + 4  # one more for each of the four that were tried again
    assert {outcome.trial.seed: (outcome.kind, outcome.attempts) for outcome in read_outcomes(tmp_path)} == {
        RAISES: (EXCEPTION, 1),
        DIVERGES: (DIVERGED, 1),
        DIES: (KILLED, 2),
        EXITS: (KILLED, 2),
        GROWS: (OUT_OF_MEMORY, 2),
        DIES_ONCE: ("done", 2),
        **dict.fromkeys((FINE, 50, 51), ("done", 1)),
    }
    assert missing_trials(trials, tmp_path) == () and read_claims(tmp_path) == {}


# ---------------------------------------------------------------- several processes

# Says that it is ready, waits for a file, then does trials 0 .. N - 1: `pause` seconds each, a minute from `hang` on.
RUN = """
import sys, time
from pathlib import Path
from tests.trial_samples import plan, result_of
from mnv2_sweep.sweeps import pool
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import Feed, run_serial
from mnv2_sweep.sweeps.queue import TrialQueue, record_outcomes

folder, go, count, pause, hang = Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:])
pool.IDLE_SECONDS = 0.02

def train(trial, control):
    print("begun", trial.seed, flush=True)
    time.sleep(60 if trial.seed >= hang else pause)
    return result_of(trial.seed / 1000)

print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
with TrialQueue(folder, plan(*range(int(count)))) as queue:
    for outcome in record_outcomes(queue, run_serial(Attempts(train, folder), Feed(queue.take, queue.others))):
        print("ended", outcome.trial.seed, outcome.status, flush=True)
"""


@contextmanager
def run(folder: Path, go: Path, count: int, pause: float = 0.002, hang: int = 10**6):
    command = [sys.executable, "-c", RUN, *map(str, (folder, go, count, pause, hang))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def seeds(lines: list[str], word: str) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith(word)]


@pytest.mark.slow
def test_two_runs_share_the_trials(tmp_path):
    folder, go = tmp_path / "sweep", tmp_path / "go"
    with run(folder, go, 24, pause=0.01) as one, run(folder, go, 24, pause=0.01) as other:
        go.touch()
        texts = [process.communicate(timeout=30)[0].splitlines() for process in (one, other)]
        assert one.returncode == other.returncode == 0
    shares = [seeds(lines, "begun") for lines in texts]
    assert sorted(shares[0] + shares[1]) == list(range(24))  # none twice
    assert shares == [seeds(lines, "ended") for lines in texts]
    assert min(map(len, shares)) > 0
    assert [outcome.result for outcome in sorted(read_outcomes(folder), key=lambda o: o.trial.seed)] == [
        result_of(seed / 1000) for seed in range(24)
    ]
    assert read_claims(folder) == {}


def test_a_run_takes_over_what_a_killed_one_was_at(tmp_path):
    """The second waits for it while the first lives, and does not miss its end."""
    folder, go = tmp_path / "sweep", tmp_path / "go"
    go.touch()
    with run(folder, go, 6, hang=0) as first:
        assert first.stdout.readline() == "begun 0\n"
        with run(folder, go, 6) as second:
            assert wait_until(lambda: len(read_outcomes(folder)) == 5)
            time.sleep(0.1)
            assert second.poll() is None and first.poll() is None
            first.kill()
            lines = second.communicate(timeout=30)[0].splitlines()
            assert second.returncode == 0
    assert seeds(lines, "begun") == seeds(lines, "ended") == [1, 2, 3, 4, 5, 0]
    assert [outcome.status for outcome in read_outcomes(folder)] == ["done"] * 6


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing_and_double_nothing(tmp_path):
    """Twice two runs at a time, all killed; a last one ends it."""
    folder, go, ended = tmp_path / "sweep", tmp_path / "go", []
    go.touch()
    for wait in (0.015, 0.05):
        with run(folder, go, 30) as one, run(folder, go, 30) as other:
            lines = [one.stdout.readline(), other.stdout.readline()]
            time.sleep(wait)
            for process in (one, other):
                process.kill()
                lines += process.stdout.read().split("\n")
        ended += seeds(lines, "ended")
        recorded = [outcome.trial.seed for outcome in read_outcomes(folder)]
        assert len(recorded) == len(set(recorded)) and set(ended) <= set(recorded)
    with run(folder, go, 30) as last:
        lines = last.communicate(timeout=30)[0].splitlines()
    assert len(ended) == len(set(ended)) and not set(ended) & set(seeds(lines, "begun"))
    outcomes = read_outcomes(folder)
    assert sorted(outcome.trial.seed for outcome in outcomes) == list(range(30))
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert read_claims(folder) == {} and (folder / CLAIMS).exists()


# ---------------------------------------------------------------- networks that share weights


def plan_shared(*widths: float, seed: int = FINE, finetune: float | None = None) -> list[Trial]:
    (trial,) = plan(seed)
    sharing = Sharing("fedcba", 100, finetune)
    return [replace(trial, arch=ArchSpec(width=width, classes=3), shared=sharing) for width in widths]


def share(folder: Path, trials: list[Trial]) -> TrialQueue:
    """A run in which slices of shared weights wait for these."""
    return TrialQueue(
        folder,
        trials,
        find_need=lambda trial: Need(shared_id(trial), weights_path(folder, trial).exists) if trial.shared else None,
    )


def put_weights(folder: Path, trial: Trial) -> None:
    path = weights_path(folder, trial)
    path.parent.mkdir(exist_ok=True)
    path.write_text("trained")


def test_until_the_weights_are_there_one_trial_alone_is_handed_out(tmp_path):
    trials = plan_shared(1.0, 0.5, 0.35)
    with share(tmp_path, trials) as mine, share(tmp_path, trials) as other:
        assert take_all(mine) == trials[:1] and mine.others() == 2
        assert take_all(other) == [] and other.others() == 3
        put_weights(tmp_path, trials[0])
        assert other.take() == trials[1]  # as soon as they are there: the first trial may still be evaluating
        mine.ended(done(trials[0]))
        assert take_all(mine) == trials[2:]
        for run, trial in ((other, trials[1]), (mine, trials[2])):
            run.ended(done(trial))
        assert take_all(other) == [] and other.elsewhere == [trials[0], trials[2]] and other.others() == 0
    assert len(read_outcomes(tmp_path)) == 3


def test_weights_that_are_there_keep_nothing_waiting(tmp_path):
    trials = [*plan_shared(1.0, 0.5), *plan_shared(0.5, finetune=2.0)]
    put_weights(tmp_path, trials[0])
    with share(tmp_path, trials) as queue:
        assert take_all(queue) == trials


def test_each_training_has_its_own_first_and_trials_alone_do_not_wait(tmp_path):
    alone, seed0, seed1 = plan(FINE), plan_shared(1.0, 0.5), plan_shared(1.0, 0.5, seed=1)
    mixed = [seed0[0], seed1[0], seed0[1], seed1[1], *alone]
    with share(tmp_path, mixed) as queue:
        assert take_all(queue) == [seed0[0], seed1[0], *alone]
        put_weights(tmp_path, seed1[0])
        assert take_all(queue) == [seed1[1]]
        put_weights(tmp_path, seed0[0])
        assert take_all(queue) == [seed0[1]]


def test_without_weights_one_that_is_trained_on_trains_them_for_the_others(tmp_path):
    """As when somebody has deleted them."""
    trials = plan_shared(1.0, 0.5, finetune=2.0)
    with share(tmp_path, trials) as queue:
        assert take_all(queue) == trials[:1]
        put_weights(tmp_path, trials[0])
        assert take_all(queue) == trials[1:]


@pytest.mark.parametrize("kind", [EXCEPTION, DIVERGED, TIMED_OUT, INTERRUPTED])
def test_when_the_first_fails_the_next_trains(tmp_path, kind):
    trials = plan_shared(1.0, 0.5, 0.35)
    with share(tmp_path, trials) as queue:
        assert take_all(queue) == trials[:1]
        queue.ended(failed(trials[0], kind))
        assert take_all(queue) == trials[1:2]
        put_weights(tmp_path, trials[1])
        assert take_all(queue) == trials[2:]


@pytest.mark.parametrize("kind", [KILLED, OUT_OF_MEMORY])
def test_when_the_first_is_killed_it_is_tried_again_and_nothing_else_meanwhile(tmp_path, kind):
    trials = plan_shared(1.0, 0.5, 0.35)
    with share(tmp_path, trials) as queue, share(tmp_path, trials) as other:
        assert take_all(queue) == trials[:1]
        queue.ended(failed(trials[0], kind))
        assert take_all(queue) == trials[:1] and take_all(other) == []
        queue.ended(failed(trials[0], kind))  # and again: it is given up
        assert take_all(queue) == trials[1:2]
        assert take_all(other) == []
    assert [outcome.attempts for outcome in read_outcomes(tmp_path)] == [2]


@pytest.mark.parametrize("kind", [EXCEPTION, KILLED])
def test_a_first_one_that_failed_in_another_run_holds_up_nothing(tmp_path, kind):
    """This run claims it, sees that it has failed, and the next one trains."""
    trials = plan_shared(1.0, 0.5, 0.35)
    with share(tmp_path, trials) as mine, share(tmp_path, trials) as other:
        assert take_all(mine) == trials[:1]
        while mine.ended(failed(trials[0], kind)).attempts < (2 if kind == KILLED else 1):
            assert take_all(mine) == trials[:1]
        assert take_all(other) == trials[1:2] and other.elsewhere == trials[:1]
        assert take_all(mine) == []
        put_weights(tmp_path, trials[1])
        assert take_all(mine) == trials[2:]


def test_weights_that_are_no_good_are_as_none(tmp_path):
    """The first trial alone trains them again, in whichever run; all others wait until they can be used."""
    trials, good = plan_shared(1.0, 0.5, 0.35), []
    put_weights(tmp_path, trials[0])
    checks = {"find_need": lambda trial: Need(shared_id(trial), lambda: bool(good))}
    with TrialQueue(tmp_path, trials, **checks) as mine, TrialQueue(tmp_path, trials, **checks) as other:
        assert take_all(mine) == trials[:1] and take_all(other) == []
        good.append("trained again")
        assert take_all(other) == trials[1:]


def test_what_killed_writers_of_weights_left_goes_when_a_run_starts_and_ends(tmp_path):
    trials = plan_shared(1.0, 0.5)
    put_weights(tmp_path, trials[0])
    weights = weights_path(tmp_path, trials[0])
    left, checkpoint = weights.with_name(f"{weights.name}.4f2a.tmp"), weights.with_suffix(".checkpoint")
    for path in (left, checkpoint):
        path.write_text("half of it")
    with share(tmp_path, trials) as mine:
        assert set(weights.parent.iterdir()) == {weights, checkpoint}
        mine.take()
        left.write_text("half of it")
        with share(tmp_path, trials):
            pass
        assert left.exists()  # the other run may be writing it
    assert set(weights.parent.iterdir()) == {weights, checkpoint}


def train_or_read(folder: Path, trial: Trial, control: Control) -> Result:
    """Leaves a line in folder/diary when it trains and one when it reads; the first attempt at training dies."""
    diary, weights = folder / "diary", weights_path(folder, trial)
    text = diary.read_text() if diary.exists() else ""
    if not weights.exists():
        diary.write_text(text + f"train {trial.arch.width}\n")
        if not text:
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.arch.width == 1.0:
            raise FloatingPointError("the training loss became nan")
        time.sleep(0.3)  # for another worker to begin, should it be let
        put_weights(folder, trial)
    return result_of(trial.arch.width)


@pytest.mark.slow
def test_workers_wait_for_the_one_that_trains(tmp_path):
    """It dies, is tried again and diverges; the next one trains, once; all others then read, two at a time."""
    trials = plan_shared(1.0, 0.5, 0.35, 0.75)
    with share(tmp_path, trials) as queue:
        feed = Feed(queue.take, queue.others)
        outcomes = list(record_outcomes(queue, run_pool(Attempts(partial(train_or_read, tmp_path), tmp_path), feed, 2)))
    assert (tmp_path / "diary").read_text().splitlines() == ["train 1.0", "train 1.0", "train 0.5"]
    assert [(outcome.trial.arch.width, outcome.kind) for outcome in outcomes[:3]] == [
        (1.0, KILLED), (1.0, DIVERGED), (0.5, "done"),
    ]  # fmt: skip
    ended = {outcome.trial.arch.width: outcome.status for outcome in read_outcomes(tmp_path)}
    assert ended == {1.0: "failed", 0.5: "done", 0.35: "done", 0.75: "done"}
    assert len({shared_id(trial) for trial in trials}) == 1 and read_claims(tmp_path) == {}
