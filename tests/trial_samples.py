"""Trials that take no time and functions that stand for training: workers import them from here, without pytest."""

import math
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.folders import progress_path
from mnv2_sweep.sweeps.attempt import read_progress
from mnv2_sweep.sweeps.pool import Feed
from mnv2_sweep.training.control import Control, Interrupted
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.terms import MISTAKEN, unpack_terms
from mnv2_sweep.trials.trial import SPLITS, DataRef, Result, Trial, trial_id

# What the functions below do with a trial of that seed.
FINE, SLOW, RAISES, EXITS, DIES, SIGNALLED, DIVERGES, GROWS, DIES_ONCE = range(9)
UNNAMED_SIGNAL = 40  # one of the real-time signals, which Python gives no name


def plan(*seeds: int) -> list[Trial]:
    return [Trial(ArchSpec(), Recipe("planned", images=10), DataRef("toy", "0123", 3), seed) for seed in seeds]


def by_id(trials: Sequence[Trial]) -> dict[str, Trial]:
    return {trial_id(trial): trial for trial in trials}


def result_of(top1: float) -> Result:
    return Result({"val": {"top1": top1, "loss": 1.0}}, {"val": 10}, 1.0, 10, (), 1.0, 1.0, 1, "cpu")


def flat_result(**values) -> Result:
    """Result.flat turned round: scores as val_top1, images as val_images; no test split where test_images is 0."""
    images = {split: values.pop(f"{split}_images", 0) for split in SPLITS}
    names = {split: [key for key in values if key.startswith(f"{split}_")] for split in SPLITS}
    scores = {split: {key.removeprefix(f"{split}_"): values.pop(key) for key in names[split]} for split in SPLITS}
    known = [split for split in SPLITS if images[split]]
    return Result({split: scores[split] for split in known}, {split: images[split] for split in known}, **values)


def check_terms(result: Result) -> None:
    """What the network made of each image is there, and makes up the scores, up to the precision that is kept."""
    terms = unpack_terms(result.each)
    assert terms.keys() == result.scores.keys()
    for split, of_split in terms.items():
        mistaken = of_split.pop(MISTAKEN, None)
        own = {name for name in result.scores[split] if not name.startswith("probe_")}
        assert of_split.keys() == (own if mistaken is None else {"top1", "loss"})
        assert mistaken is None or len(mistaken) == (~of_split["top1"]).sum()
        for name, values in of_split.items():
            assert len(values) == result.images[split]
            assert math.isclose(values.mean(), result.scores[split][name], rel_tol=1e-3, abs_tol=1e-6)


def feed_of(trials: Sequence[Trial], **changes) -> Feed:
    """One after the other, as planned."""
    waiting = iter(trials)
    return Feed(lambda: next(waiting, None), **changes)


# ---------------------------------------------------------------- trial functions


def behave(trial: Trial, control: Control) -> Result:
    if trial.seed == RAISES:
        raise ValueError("too large\nby far")
    if trial.seed == EXITS:
        os._exit(7)
    if trial.seed == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial.seed == SIGNALLED:
        os.kill(os.getpid(), UNNAMED_SIGNAL)
    return result_of(trial.seed / 100)


def report_once(trial: Trial, control: Control) -> Result:
    control.report(1, 2, 0.5, 10.0)
    return result_of(0.5)


def report_then_raise(trial: Trial, control: Control) -> Result:
    control.report(1, 2, 0.5, 10.0)
    raise KeyError("gone")


def read_own_progress(folder: Path, trial: Trial, control: Control) -> Result:
    """Reports, then returns what a watcher could read at that moment."""
    control.report(4, 9, 1.25, 33.0)
    progress = read_progress(folder, by_id([trial]))[trial]
    return replace(result_of(progress["loss"]), train_images=progress["step"], images={"val": progress["steps"]})


def report_and_wait(go: Path, trial: Trial, control: Control) -> Result:
    """Reports at once, then waits for a file, at most half a minute."""
    control.report(1, 2, 0.5, 10.0)
    found = wait_until(go.exists)
    control.report(2, 2, 0.25, 20.0)
    return result_of(float(found))


def wait_unless_first(go: Path, trial: Trial, control: Control) -> Result:
    return result_of(0.0) if trial.seed == FINE else report_and_wait(go, trial, control)


def report_then_die(go: Path, trial: Trial, control: Control) -> Result:
    if trial.seed != DIES:
        return report_and_wait(go, trial, control)
    control.report(1, 2, 0.5, 10.0)
    os.kill(os.getpid(), signal.SIGKILL)


def die_writing(folder: Path, trial: Trial, control: Control) -> Result:
    """Leaves what a kill between the two steps of `report` leaves."""
    control.report(1, 2, 0.5, 10.0)
    path = progress_path(folder, trial)
    path.with_suffix(f".{os.getpid()}.tmp").write_text("")  # as earlier versions named it
    path.rename(path.with_name(f"{path.name}.{os.getpid()}.tmp"))
    os.kill(os.getpid(), signal.SIGKILL)


def note_process(folder: Path, trial: Trial) -> None:
    """Leave folder/pid-<seed>, whole from the first moment."""
    unfinished = folder / f"unfinished-{trial.seed}"
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(folder / f"pid-{trial.seed}")


def sleep_if_slow(folder: Path, trial: Trial, control: Control) -> Result:
    note_process(folder, trial)
    if trial.seed != FINE:
        control.report(1, 100, 1.0, 1.0)
        time.sleep(60)
    return result_of(0.5)


def wait_aside(seconds: float, trial: Trial, control: Control) -> Result:
    """First what is no part of the trial, then for SLOW a minute that is."""
    control.count_time(False)
    time.sleep(seconds)
    control.count_time(True)
    time.sleep(60 if trial.seed == SLOW else 0)
    return result_of(0.5)


def train_until_stopped(folder: Path, trial: Trial, control: Control) -> Result:
    """As training does: a step, a look whether to stop."""
    note_process(folder, trial)
    for step in range(1, 6000):
        control.report(step, 6000, 1.0, 1.0)
        if control.should_stop():
            raise Interrupted("asked to stop")
        time.sleep(0.01)
    return result_of(0.5)


def stop_if_told(folder: Path, trial: Trial, control: Control) -> Result:
    """SLOW trains until it is told to stop, the others are done at once."""
    if trial.seed == SLOW:
        return train_until_stopped(folder, trial, control)
    note_process(folder, trial)
    return result_of(0.5)


def beat(folder: Path, trial: Trial, control: Control) -> Result:
    """Reports for a minute and asks nothing; a worker without a parent ends in `report`."""
    note_process(folder, trial)
    for step in range(1, 6000):
        control.report(step, 6000, 1.0, 1.0)
        time.sleep(0.01)
    return result_of(0.5)


def exit_politely(trial: Trial, control: Control) -> Result:
    if trial.seed == EXITS:
        sys.exit(3)
    return result_of(0.5)


def name_process(trial: Trial, control: Control) -> Result:
    return replace(result_of(0.0), train_images=os.getpid())


def note_then_behave(folder: Path, trial: Trial, control: Control) -> Result:
    note_process(folder, trial)
    return behave(trial, control)


def name_gpu(folder: Path, others: int, trial: Trial, control: Control) -> Result:
    """Which GPU the worker sees; trials wait until as many of them have begun, DIES dies."""
    note_process(folder, trial)
    if trial.seed == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    wait_until(lambda: len(list(folder.glob("pid-*"))) >= others)
    return replace(result_of(0.0), train_images=int(os.environ["CUDA_VISIBLE_DEVICES"]))


def grow(how: str, trial: Trial, control: Control) -> Result:
    """SLOW takes ever more memory, up to 2 GiB, should nobody stop it."""
    if trial.seed != SLOW:
        return result_of(0.5)
    kept = []
    if how == "large blocks":
        kept += [bytearray(8 << 20) for _ in range(256)]
    elif how == "small objects":
        kept += [bytes(200 + i % 200) for i in range(7 << 20)]
    elif how == "shared memory":  # which no limit of the system's counts
        for _ in range(256):
            kept.append(mmap.mmap(-1, 8 << 20))
            kept[-1].write(b"x" * (8 << 20))
            time.sleep(0.02)
    return result_of(0.25)


def misbehave(folder: Path, trial: Trial, control: Control) -> Result:
    """All that can go wrong with a trial by itself."""
    first = not (folder / f"pid-{trial.seed}").exists()
    note_process(folder, trial)
    if trial.seed == DIVERGES:
        raise FloatingPointError("the training loss became nan")
    if trial.seed == DIES_ONCE and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial.seed == GROWS:
        bytearray(2 << 30)
    return behave(trial, control)


def without_data(function: Callable, dataset: object, trial: Trial, control: Control) -> Result:
    """Any of these on a Ray cluster, where functions are called with the data."""
    return function(trial, control)


# ---------------------------------------------------------------- the world around


def is_running(pid: int) -> bool:
    """Whether there is such a process, and no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    try:
        return not Path("/proc/self").exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@contextmanager
def full_disk() -> Iterator[None]:
    """A limit on the size of files stands for the end of the disk; not even a byte can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
