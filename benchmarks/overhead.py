"""Milliseconds a trial that does nothing costs, its record on disk included: ours, Optuna with SQLite, Ray Tune.

    python benchmarks/overhead.py [--trials 1000] [--ray-trials 1000]

For the peers: pip install optuna 'ray[tune]'; one that is missing is said and left out. Every side starts with an
empty folder on the same disk; its start (processes, ray.init, tables) is given apart. A trial of ours is claimed,
handed to a worker, logged, recorded with fsync and released; Optuna's is asked for, told and committed, in one
process; Ray Tune's is started (in a new process, unless its actors are reused), reports once and is saved.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.sweeps.attempt import Attempts
from mnv2_sweep.sweeps.pool import Feed, run_pool, run_serial
from mnv2_sweep.sweeps.queue import TrialQueue, record_outcomes
from mnv2_sweep.training.control import Control
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import CurvePoint, DataRef, Result, Trial

AIM_MILLISECONDS = 10.0
WORKERS = 2
CURVE = tuple(CurvePoint(float(i), 2200 * i, 2.0 / i, 0.03, {"top1": 0.1 * i}) for i in range(1, 11))
SCORES, IMAGES = dict.fromkeys(("val", "test"), {"top1": 0.5, "loss": 1.25}), {"val": 2000, "test": 2000}
RESULT = Result(SCORES, IMAGES, 1.5, 22_000, CURVE, 1.0, 22_000.0, 400 * 2**20, "cpu")


def do_nothing(trial: Trial, control: Control) -> Result:
    return RESULT


def ours(executor: Callable, folder: Path, count: int) -> tuple[float, float]:
    """(seconds before the first trial ended, milliseconds for each after it)."""
    data = DataRef("shapes", "0" * 64, 10)
    trials = [Trial(ArchSpec(), Recipe("tiny", images=22_000), data, seed) for seed in range(count)]
    began, ends = time.perf_counter(), []
    with TrialQueue(folder, trials) as queue:
        for _ in record_outcomes(queue, executor(Attempts(do_nothing, folder), Feed(queue.take, queue.others))):
            ends.append(time.perf_counter())
    assert len(read_outcomes(folder)) == count
    return ends[0] - began, 1000 * (time.perf_counter() - ends[0]) / (count - 1)


def optuna(folder: Path, count: int) -> tuple[float, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began, ends = time.perf_counter(), []
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(
        lambda trial: 0.5, count, n_jobs=1, callbacks=[lambda study, trial: ends.append(time.perf_counter())]
    )
    assert len(study.trials) == count
    return ends[0] - began, 1000 * (ends[-1] - ends[0]) / (count - 1)


def ray_tune(reuse: bool, folder: Path, count: int) -> tuple[float, float]:
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "RAY_DEDUP_LOGS": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "0"}
    import ray
    from ray import tune

    began = time.perf_counter()
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ends: list[float] = []

    class Clock(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info) -> None:
            ends.append(time.perf_counter())

    try:
        tuner = tune.Tuner(
            lambda config: tune.report({"top1": 0.5}),
            param_space={"seed": tune.randint(0, 2**31)},
            tune_config=tune.TuneConfig(num_samples=count, reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[Clock()]),
        )
        results = tuner.fit()
        assert len(results) == count and not results.errors
        return ends[0] - began, 1000 * (time.perf_counter() - ends[0]) / (count - 1)
    finally:
        ray.shutdown()


def measure(work: Callable[[Path, int], tuple[float, float]], count: int) -> tuple[float, float] | str:
    """What it measures in a new folder, or what is not installed."""
    folder = Path(tempfile.mkdtemp(prefix="overhead-"))
    try:
        return work(folder, count)
    except ModuleNotFoundError as error:
        return f"not measured: {error.name} is not installed"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def flush_milliseconds() -> float:
    """What every side has to do several times a trial."""
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        for _ in range(100):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        return 10 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--ray-trials", type=int, default=100, help="Ray Tune takes about a second for each")
    parser.add_argument("--repeats", type=int, default=3, help="in turns; Ray Tune once")
    options = parser.parse_args()
    count = options.trials
    sides = {
        f"ours, {WORKERS} workers": partial(ours, partial(run_pool, workers=WORKERS)),
        "ours, in one process": partial(ours, run_serial),
        "Optuna, SQLite storage, one process": optuna,
    }
    times: dict[str, list] = {name: [] for name in sides}
    flushes = []
    for _ in range(options.repeats):
        flushes.append(flush_milliseconds())
        for name, work in sides.items():
            times[name].append(measure(work, count))
    for how, reuse in (("", False), (", actors reused", True)):
        times[f"Ray Tune, {WORKERS} at once{how}"] = [measure(partial(ray_tune, reuse), options.ray_trials)]
    print(f"the disk alone: {min(flushes):.2f} to {max(flushes):.2f} ms to write 4 KiB and fsync; load", end=" ")
    print(", ".join(f"{load:.1f}" for load in os.getloadavg()))
    print(f"{'':<38}{'trials':>7}{'repeats':>9}{'the first':>11}{'each other':>12}   lowest to highest")
    medians: dict[str, float] = {}
    for name, values in times.items():
        if isinstance(values[0], str):
            print(f"{name:<38}{values[0]}")
            continue
        start, medians[name] = (statistics.median(part) for part in zip(*values, strict=True))
        trials = options.ray_trials if name.startswith("Ray") else count
        lowest, highest = min(value[1] for value in values), max(value[1] for value in values)
        print(f"{name:<38}{trials:>7,}{len(values):>9}{start:>9.1f} s{medians[name]:>9.2f} ms", end="")
        print(f"   {lowest:,.2f} to {highest:,.2f}")
    mine, *peers = [name for name in medians if name != "ours, in one process"]
    for name in peers:
        print(f"{name}: {medians[name] / medians[mine]:,.1f} times {mine}")
    fine = medians[mine] < min([AIM_MILLISECONDS, *(medians[name] for name in peers)])
    aim = f"under {AIM_MILLISECONDS:g} ms and below {len(peers)} peers measured"
    print(f"{mine}: {medians[mine]:.2f} ms a trial; aim {aim}: {'met' if fine else 'MISSED'}")


if __name__ == "__main__":
    main()
