"""A network whose weights were not kept is trained again to the same numbers; its record stays."""

from dataclasses import replace

import pytest
import torch

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.store import Outcome, read_outcomes
from mnv2_sweep.sweeps import again, workers
from mnv2_sweep.sweeps.again import describe_again, find_missing, is_well, train_again
from mnv2_sweep.sweeps.export import load_network
from mnv2_sweep.sweeps.pool import run_serial
from mnv2_sweep.sweeps.request import SweepRequest, open_session, prepare_session
from mnv2_sweep.sweeps.settings import Keep, RunSettings
from mnv2_sweep.sweeps.workers import run_session
from mnv2_sweep.training.kept import read_kept
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import shared_id
from mnv2_sweep.trials.ways import is_kept, own_file, shared_file
from tests.conftest import TINY_ARCH
from tests.supernet_samples import SMALLEST, SUPERNET

NAME = arch_label(TINY_ARCH)
RECIPE = Recipe("tiny", images=60, batch=20, lr=0.05)


@pytest.fixture
def here(monkeypatch, tiny_data):
    """Trials run in this process, on tiny data."""
    for module in (workers, again):
        monkeypatch.setattr(module, "run_pool", lambda attempts, feed, *more: run_serial(attempts, feed))
    monkeypatch.setattr(workers, "open_dataset", lambda name, cache: tiny_data)
    monkeypatch.setattr("mnv2_sweep.sweeps.request.prepare_pixels", lambda *given: None)
    workers.worker_dataset.cache_clear()
    yield
    workers.worker_dataset.cache_clear()


def run(request: SweepRequest) -> list[Outcome]:
    session = open_session(request)
    list(prepare_session(session, {}))
    list(run_session(session, request.settings, lambda: False))
    return read_outcomes(request.folder)


@pytest.fixture
def request_all(here, tmp_path, tiny_data) -> SweepRequest:
    other = replace(TINY_ARCH, width=0.5)
    return SweepRequest(tmp_path / "s", (TINY_ARCH, other), RECIPE, (0, 1), tiny_data, "toy", settings=RunSettings(1))


def test_it_comes_to_the_same_weights_and_the_record_stays(request_all, tiny_data):
    folder, before = request_all.folder, run(request_all)
    assert find_missing(folder, NAME) == [] and all(is_kept(folder, outcome.trial) for outcome in before)
    lost = [outcome for outcome in before if outcome.trial.arch == TINY_ARCH and outcome.trial.seed == 1]
    path = folder / own_file(lost[0].trial)
    state = read_kept(path, lost[0].trial)
    path.unlink()
    assert find_missing(folder, NAME) == lost
    (one,) = train_again(request_all, lost)
    assert describe_again(replace(one, network="0.25, from a")).startswith("0.25, from a, seed 1: ")
    assert is_well(one) and describe_again(one) == f"{NAME}, seed 1: as recorded; its weights are kept"
    found = read_kept(path, lost[0].trial)
    assert all(torch.equal(value, found[name]) for name, value in state.items())
    assert read_outcomes(folder) == before and find_missing(folder, NAME) == []
    assert load_network(folder, lost[0].trial, tiny_data).training is False


def test_a_difference_is_said(request_all):
    folder, settings = request_all.folder, RunSettings(1, keep=Keep("none"))
    outcomes = run(replace(request_all, settings=settings))
    assert not (folder / "kept").exists()
    lost = find_missing(folder, NAME)
    assert [outcome.trial.seed for outcome in lost] == [0, 1] and all(one in outcomes for one in lost)
    result = lost[0].result
    score = result.score("val", "top1")
    other = replace(result, scores={**result.scores, "val": {**result.scores["val"], "top1": 1 - score + 0.01}})
    first, second = train_again(request_all, [replace(lost[0], result=other), lost[1]])
    assert not is_well(first) and is_well(second)
    said = f"{NAME}, seed 0: DIFFERENT: val top-1 {100 * score:.2f} %, {100 * (1.01 - score):.2f} % on record; "
    assert describe_again(first) == said + "its weights are kept"


def test_mistakes(request_all):
    run(replace(request_all, settings=RunSettings(1, keep=Keep("none"))))
    lost = find_missing(request_all.folder, NAME)
    with pytest.raises(SweepError, match="9.0 at 96: .* has no such network with a result; there are: "):
        find_missing(request_all.folder, "9.0 at 96")
    for settings, message in (
        (RunSettings(1, keep=Keep("none")), "--again --keep none: one of them"),
        (RunSettings(1, keep=Keep("all", 10)), "--keep-bytes: the kept weights would take .*, 0 kB are allowed"),
        (RunSettings(1, executor="ray"), "--again: weights are kept on this machine; use --executor local"),
    ):
        with pytest.raises(SweepError, match=message):
            list(train_again(replace(request_all, settings=settings), lost))


@pytest.mark.slow
def test_shared_weights_that_are_gone_are_trained_again(here, tmp_path, tiny_data):
    from mnv2_sweep.spaces.space import Strategy

    recipe = Recipe("tiny", images=24, batch=8, lr=0.03)
    strategy = Strategy("shared", images=24)
    request = SweepRequest(tmp_path / "s", SUPERNET, recipe, (0,), tiny_data, "toy", settings=RunSettings(1))
    request = replace(request, strategy=strategy)
    trial = run(request)[0].trial
    path = request.folder / shared_file(trial)
    assert path.stem == shared_id(trial)
    path.unlink()
    (one,) = train_again(request, find_missing(request.folder, arch_label(SMALLEST)))
    assert is_well(one) and path.is_file() and not (request.folder / "kept").exists()
