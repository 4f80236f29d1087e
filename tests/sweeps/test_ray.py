"""A Ray cluster of two nodes on this machine: the records of the local executor, whatever happens to the nodes. What
needs the cluster is for `make check-all`."""

import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.processes import prepare_processes
from mnv2_sweep.base.size import square
from mnv2_sweep.cli.main import main
from mnv2_sweep.cli.ray import ENVIRONMENT
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.record.claims import read_claims
from mnv2_sweep.record.folders import checkpoint_path, log_path
from mnv2_sweep.record.store import INTERRUPTED, KILLED, OUT_OF_MEMORY, TIMED_OUT, Outcome, read_outcomes
from mnv2_sweep.sweeps.attempt import Attempts, read_progress
from mnv2_sweep.sweeps.pool import IMPORTED, Feed, Limits, run_pool
from mnv2_sweep.sweeps.queue import TrialQueue, record_outcomes
from mnv2_sweep.sweeps.workers import train_on
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import run_trial
from mnv2_sweep.training.ways.way import Setup
from mnv2_sweep.trials.trial import Result, Trial
from tests.photo_samples import class_files, write_folder
from tests.trial_samples import (
    DIES,
    FINE,
    RAISES,
    SLOW,
    behave,
    by_id,
    feed_of,
    is_running,
    name_gpu,
    plan,
    result_of,
    sleep_if_slow,
    train_until_stopped,
    wait_until,
    without_data,
)

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'mnv2-sweep[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402
from ray.exceptions import (  # noqa: E402
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

from mnv2_sweep.sweeps import ray_driver  # noqa: E402
from mnv2_sweep.sweeps.ray_driver import connect, count_slots, run_ray, trial_demand  # noqa: E402
from mnv2_sweep.sweeps.ray_node import Hub, NodeData, attempt_trial, header_of  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """The driver's node, with a core; the tests share it, as a cluster takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        patch.setenv("RAY_TMPDIR", folder)  # pytest's own folders are too deep for the names of sockets
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
        prepare_processes(on_gpu=False, imported=IMPORTED)  # the local executor's: they stay
        before = set(psutil.Process().children())
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        try:
            connect(cluster.address, 1)
            yield cluster
        finally:
            ours = [child for child in psutil.Process().children() if child not in before]
            pids = [process.pid for child in ours for process in (child, *child.children(recursive=True))]
            ray.shutdown()
            cluster.shutdown()
        assert wait_until(lambda: not any(map(is_running, pids)))


@pytest.fixture
def other_node(cluster):
    """A second node, with a core."""
    for node in list(cluster.worker_nodes):
        return node
    return cluster.add_node(**NODE, num_gpus=1)  # nobody has to have it


# ---------------------------------------------------------------- trial functions, called with the data first


def train_slowly(dataset: Dataset, trial: Trial, control: Control) -> Result:
    """Train, at most 40 steps a second, so that it is known what can happen meanwhile."""

    def report(*state) -> None:
        time.sleep(0.025)
        control.report(*state)

    return train_on(Setup(), dataset, trial, replace(control, report=report))


def train_noting(folder: Path, dataset: Dataset, trial: Trial, control: Control) -> Result:
    """Train slowly, and leave folder/<seed>-<process> with the name of the node."""
    (folder / f"{trial.seed}-{os.getpid()}").write_text(ray.get_runtime_context().get_node_id())
    return train_slowly(dataset, trial, control)


def numbers(result: Result) -> Result:
    """What has to be the same bit for bit: all but times and memory."""
    return replace(result, seconds=0, images_per_second=0, peak_memory_bytes=0)


def files_in(folder: Path, *names: str) -> list[Path]:
    return [path for name in names for path in folder.glob(f"{name}/*")]


# ---------------------------------------------------------------- a node is lost


@pytest.mark.heavy
def test_a_node_lost_in_mid_sweep_changes_no_result(cluster, other_node, tiny_data, make_trial, tmp_path):
    trials = [make_trial(seed=seed, images=500) for seed in range(5)]
    local = Attempts(partial(train_on, Setup(), tiny_data), tmp_path / "local")
    expected = {o.trial: numbers(o.result) for o in run_pool(local, feed_of(trials), workers=2)}
    notes, folder, lost = tmp_path / "notes", tmp_path / "ray", []
    notes.mkdir()

    def lose_the_node() -> None:
        """As soon as it is in the middle of a trial that is not its first."""
        here = [path.name for path in notes.iterdir() if path.read_text() == other_node.node_id]
        running = read_progress(folder, by_id(trials))
        busy = [trial for trial in running if any(name.startswith(f"{trial.seed}-") for name in here)]
        if len(here) >= 2 and busy and not lost:
            lost.extend(busy)
            cluster.remove_node(other_node)

    with TrialQueue(folder, trials) as queue:
        feed = Feed(queue.take, queue.others, tick=lose_the_node)
        outcomes = list(
            record_outcomes(queue, run_ray(Attempts(partial(train_noting, notes), folder), feed, tiny_data))
        )
        assert read_claims(folder) == {}
    (killed,) = [outcome for outcome in outcomes if outcome.result is None]
    assert (killed.trial, killed.kind, killed.attempts) == (lost[0], KILLED, 1)
    assert killed.error == f"the node {other_node.node_ip_address} was lost"
    recorded = read_outcomes(folder)
    assert {outcome.trial: numbers(outcome.result) for outcome in recorded} == expected and len(recorded) == 5
    assert {outcome.trial: outcome.attempts for outcome in recorded} == {t: 1 + (t in lost) for t in trials}
    tries = sorted(int(path.name.split("-")[0]) for path in notes.iterdir())
    assert tries == sorted([*range(5), lost[0].seed])
    assert files_in(folder, "running", "checkpoints") == []


# ---------------------------------------------------------------- how trials end


@pytest.mark.heavy
def test_every_trial_ends_as_an_outcome(cluster, other_node, tiny_data, tmp_path):
    trials, ticks = plan(FINE, RAISES, DIES, 50, 51), []
    feed = feed_of(trials, tick=lambda: ticks.append(0))
    outcomes = {o.trial.seed: o for o in run_ray(Attempts(partial(without_data, behave), tmp_path), feed, tiny_data)}
    assert outcomes.pop(RAISES) == Outcome(trials[1], error="ValueError: too large\nby far")
    dead = outcomes.pop(DIES)
    assert (dead.trial, dead.kind) == (trials[2], KILLED) and dead.error.startswith("the worker process on ")
    assert outcomes == {t.seed: Outcome(t, result_of(t.seed / 100)) for t in trials if t.seed not in (RAISES, DIES)}
    assert ticks and files_in(tmp_path, "running") == []


@pytest.mark.heavy
def test_asked_to_stop_trials_end_as_interrupted_and_those_that_wait_never_begin(
    cluster, other_node, tiny_data, tmp_path
):
    attempts = Attempts(partial(without_data, partial(train_until_stopped, tmp_path)), tmp_path)
    feed = feed_of(plan(*range(9)), stop=lambda: len(list(tmp_path.glob("pid-*"))) >= 2)
    outcomes = list(run_ray(attempts, feed, tiny_data, workers=3))
    assert [outcome.kind for outcome in outcomes] == [INTERRUPTED] * 3
    texts, begun = sorted(outcome.error for outcome in outcomes), len(list(tmp_path.glob("pid-*")))
    assert begun in (2, 3)  # the third may begin before the second is seen
    assert texts == ["interrupted before it began"] * (3 - begun) + ["interrupted; goes on from its checkpoint"] * begun
    assert files_in(tmp_path, "running") == []


@pytest.mark.heavy
def test_a_trial_that_takes_too_long_is_ended(cluster, tiny_data, tmp_path):
    attempts = Attempts(partial(without_data, partial(sleep_if_slow, tmp_path)), tmp_path)
    (outcome,) = run_ray(attempts, feed_of(plan(SLOW)), tiny_data, limits=Limits(memory_bytes=50 * 2**20, seconds=0.5))
    assert (outcome.kind, outcome.error) == (TIMED_OUT, "took more than the 0 s allowed")
    assert wait_until(lambda: not is_running(int((tmp_path / f"pid-{SLOW}").read_text())))
    assert files_in(tmp_path, "running") == []


@pytest.mark.heavy
def test_closing_early_ends_what_runs(cluster, other_node, tiny_data, tmp_path):
    attempts = Attempts(partial(without_data, partial(sleep_if_slow, tmp_path)), tmp_path)
    outcomes = run_ray(attempts, feed_of(plan(SLOW, FINE)), tiny_data)
    assert next(outcomes).trial.seed == FINE
    assert wait_until((tmp_path / f"pid-{SLOW}").exists)
    outcomes.close()
    assert wait_until(lambda: not is_running(int((tmp_path / f"pid-{SLOW}").read_text())))
    assert files_in(tmp_path, "running") == []


# ---------------------------------------------------------------- nodes that see neither the folder nor the data


@pytest.mark.heavy
def test_a_stopped_trial_goes_on_where_no_node_sees_the_folder(cluster, tiny_data, make_trial, monkeypatch, tmp_path):
    monkeypatch.setattr(ray_driver, "_make_mark", lambda folder: folder / "not there")
    trial = make_trial(images=1_600)
    (tmp_path / "running").mkdir()
    attempts = Attempts(train_slowly, tmp_path)

    def begun() -> bool:
        return read_progress(tmp_path, by_id([trial])).get(trial, {"step": 0})["step"] > 5

    (stopped,) = run_ray(attempts, feed_of([trial], stop=begun), tiny_data)
    assert stopped.kind == INTERRUPTED and checkpoint_path(tmp_path, trial).exists()
    (done,) = run_ray(attempts, feed_of([trial]), tiny_data)
    log = log_path(tmp_path, trial).read_text()
    assert log.count("attempt at") == 2 and "resumed after step" in log
    assert numbers(done.result) == numbers(run_trial(trial, tiny_data))


@pytest.mark.parametrize(
    "error, kind, text",
    [
        (NodeDiedError("long"), KILLED, "the node 10.0.0.7 was lost"),
        (ObjectLostError("0123", "", ""), KILLED, "the node 10.0.0.7 was lost with the result"),
        (WorkerCrashedError(), KILLED, "the worker process on 10.0.0.7 ended; out of memory?"),
        (OutOfMemoryError("long"), OUT_OF_MEMORY, "Ray ended the worker process on 10.0.0.7, which was running out of"),
        (RayError("new"), KILLED, "RayError: new"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_ray_says_becomes_a_record(error, kind, text):
    found, described = ray_driver.describe_error(error, "10.0.0.7")
    assert found == kind and described.startswith(text)


@pytest.fixture
def hub(cluster):
    """hub(data) -> a hub for these data."""
    return lambda data: ray.remote(num_cpus=0)(Hub).remote(data)


@pytest.mark.heavy
def test_pixels_come_from_the_cache_where_it_is_seen(hub, tmp_path):
    photos = write_folder(tmp_path / "photos", class_files({"red": 6, "blue": 6}, side=16))
    data = open_photos(photos, tmp_path / "cache")
    here = NodeData(header_of(data), hub(data))
    assert Path(here.pixels("train", square(8)).filename) == data.pixels("train", square(8)).filename
    assert (here.pixels("val", square(99)) == data.pixels("val", square(99))).all()
    (sent,) = ray.get(here.hub.share.remote("train", square(8)))
    assert (ray.get(sent) == data.pixels("train", square(8))).all()
    assert (here.name, here.fingerprint, here.classes) == (data.name, data.fingerprint, data.classes)


@pytest.mark.heavy
def test_pixels_come_from_the_object_store_once(hub, tiny_data):
    there = hub(tiny_data)
    first, second = NodeData(header_of(tiny_data), there), NodeData(header_of(tiny_data), there)
    for data in (first, second):
        pixels = data.pixels("train", square(12))
        assert (pixels == tiny_data.pixels("train", square(12))).all() and not pixels.flags.writeable
        assert data.pixels("train", square(12)) is pixels
    one, two = (ray.get(there.share.remote("train", square(12)))[0] for _ in range(2))
    assert one == two


def test_a_file_of_other_data_is_not_trusted(tmp_path, tiny_data):
    path = tmp_path / "train.npy"
    np.save(path, tiny_data.pixels("train", square(16)))
    mapped = SimpleNamespace(fingerprint="f" * 64, pixels=lambda split, size: np.load(path, mmap_mode="r"))
    assert Hub(mapped).find("train", square(16)) == ("", (60, 16, 16, 3))


def test_other_code_on_a_node_is_noticed(make_trial, tiny_data, tmp_path):
    with pytest.raises(RuntimeError, match="the node has another version of mnv2-sweep"):
        attempt_trial(Attempts(behave, tmp_path), None, header_of(tiny_data), 0, make_trial(), "0123", "", None)


# ---------------------------------------------------------------- the cluster


@pytest.mark.heavy
def test_slots_and_shares_of_a_gpu(cluster, monkeypatch):
    nodes = [({"CPU": 4.0, "GPU": 1.0, "memory": 10e9}, True), ({"CPU": 64.0, "GPU": 8.0, "memory": 90e9}, True)]
    nodes += [({"CPU": 0.0}, True), ({"CPU": 9.0, "GPU": 9.0}, False)]
    monkeypatch.setattr(ray, "nodes", lambda: [{"Resources": resources, "Alive": alive} for resources, alive in nodes])
    assert count_slots(trial_demand()) == 68
    assert [count_slots(trial_demand(per_gpu=n)) for n in (1, 2, 3, 6, 7)] == [9, 18, 27, 52, 60]
    assert count_slots(trial_demand(Limits(memory_bytes=4 * 10**9))) == 2 + 22


@pytest.mark.heavy
def test_a_trial_gets_its_share_of_a_gpu(cluster, other_node, tiny_data, tmp_path):
    """Ray believes in a GPU here."""
    attempts = Attempts(partial(without_data, partial(name_gpu, tmp_path, 1)), tmp_path)
    (outcome,) = run_ray(attempts, feed_of(plan(FINE)), tiny_data, per_gpu=2)
    assert outcome.result.train_images == 0


@pytest.mark.parametrize(
    "address, message",
    [
        ("nonsense", "--address nonsense: host:port of a Ray cluster's head is wanted, or auto"),
        ("ray://head:10001", "--address ray://head:10001: host:port of a Ray cluster's head is wanted, or auto"),
        ("127.0.0.1:9", "--address 127.0.0.1:9: no Ray cluster answers there (.*refused.*); 'ray start' starts one"),
        ("127.0.0.1:99999", "--address 127.0.0.1:99999: no Ray cluster answers there .*"),
        ("auto", "--address auto: no Ray cluster runs on this machine; 'ray start' joins one"),
    ],
    ids=["no port", "client", "refused", "no such port", "none here"],
)
def test_a_cluster_that_cannot_be_reached(address, message, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(SweepError) as caught:
        connect(address, 1)
    assert re.fullmatch(message, str(caught.value)) or str(caught.value) == message


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["nothing", "something else"])
def test_what_answers_and_is_no_ray(says, monkeypatch):
    monkeypatch.setattr(ray_driver, "REACH_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as client:
                client.sendall(says)
                client.recv(1000)
                time.sleep(0 if says else 1)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SweepError, match=r"--address 127.*: no Ray cluster answers there \(.*\); 'ray start'"):
            connect(f"127.0.0.1:{server.getsockname()[1]}", 1)
        thread.join()


# ---------------------------------------------------------------- the command


SPACE = """# Is this one quick?
stages: [[1, 16, 1, 1], [3, 24, 2, 2]]
fixed: {resolution: 32, last_channels: 64}
axes: {width: [0.35, 1.0]}
recipe: {base: short, images: 64, batch: 8, name: tiny}
data: photos
"""


@pytest.mark.heavy
def test_the_command_runs_on_the_cluster(cluster, monkeypatch, tmp_path, capsys):
    write_folder(tmp_path / "photos", class_files({"red": 8, "blue": 8}, side=24))
    (tmp_path / "tiny.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    for name in (*ENVIRONMENT, "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(ray_driver, "connect", lambda address, cores: None)  # this process is connected already
    monkeypatch.setattr(sys, "argv", ["mnv2-sweep", "run", "tiny.yaml", "--executor", "ray", "--address", "there:1"])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        main()
    signal.signal(signal.SIGTERM, handler)
    out = capsys.readouterr().out
    assert ended.value.code == 0 and re.search(r", with [12] workers? on cpu\n", out)
    assert [line[:5] for line in out.splitlines() if line.startswith("[")] == ["[1/2]", "[2/2]"]
    assert [outcome.status for outcome in read_outcomes(tmp_path / "results" / "tiny-photos")] == ["done"] * 2
