"""The person's options -> worker processes, limits, GPUs; and what suits the machine where nothing was said."""

import os
from types import SimpleNamespace

import pytest
import torch

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.spaces.space import Strategy
from mnv2_sweep.sweeps import settings
from mnv2_sweep.sweeps.pool import Limits
from mnv2_sweep.sweeps.run import check_strategy
from mnv2_sweep.sweeps.settings import (
    MEMORY_FRACTION,
    RunSettings,
    Wishes,
    choose_device,
    choose_settings,
    count_per_gpu,
    fill_gpus,
    list_gpus,
    machine_memory_bytes,
    usable_cores,
)

GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """Four cores, 16 GiB, three GPUs."""
    monkeypatch.setattr(settings, "usable_cores", lambda: 4)
    monkeypatch.setattr(settings, "machine_memory_bytes", lambda: 16 * GIB)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize(
    "wanted, there, chosen",
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
    ids=str,
)
def test_device(monkeypatch, wanted, there, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(wanted) == chosen


@pytest.mark.parametrize("wanted", ["gpu", "CPU", "", "cuda:1", "mps"])
def test_another_device_is_refused(wanted):
    with pytest.raises(SweepError, match=f"--device {wanted}: auto, cpu or cuda"):
        choose_device(wanted)


@pytest.mark.parametrize("device, wanted, stacked", [
    ("cuda", None, True), ("cuda", True, True), ("cuda", False, False), ("cpu", None, False), ("cpu", False, False),
])  # fmt: skip
def test_seeds_are_trained_as_one_on_a_gpu(machine, device, wanted, stacked):
    assert choose_settings(device, Wishes(stack_seeds=wanted)).stacks_seeds == stacked


@pytest.mark.parametrize("option, device, executor, why", [
    ("stack_seeds", "cpu", "local", "it pays on a GPU only"),
    ("stack_seeds", "cuda", "ray", "with --executor ray each trial is trained alone"),
    ("cuda_graphs", "cpu", "local", "there is no GPU in use"),
    ("cuda_graphs", "cuda", "ray", "not with --executor ray"),
])  # fmt: skip
def test_where_seeds_are_not_trained_as_one_or_as_cuda_graphs(machine, option, device, executor, why):
    with pytest.raises(SweepError, match=f"^--{option.replace('_', '-')}: {why}; leave it out$"):
        choose_settings(device, Wishes(executor=executor, **{option: True}))


def test_cuda_graphs_are_for_seeds_one_by_one(machine):
    chosen = choose_settings("cuda", Wishes(cuda_graphs=True))
    assert chosen.cuda_graphs and not chosen.stacks_seeds and not choose_settings("cuda").cuda_graphs
    for words in ({"stack_seeds": True}, {"per_gpu": "auto"}):
        with pytest.raises(SweepError, match=r"^--cuda-graphs --(stack-seeds|per-gpu auto): one of them$"):
            choose_settings("cuda", Wishes(cuda_graphs=True, **words))


def test_networks_that_share_weights_have_no_cuda_graphs():
    check_strategy(Strategy("shared"), RunSettings(1))
    with pytest.raises(SweepError, match="^--cuda-graphs: networks that share weights are trained without them"):
        check_strategy(Strategy("shared"), RunSettings(1, cuda_graphs=True))


def test_cuda_that_is_not_there_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SweepError, match="--device cuda: torch sees no CUDA device here; use --device cpu, or install"):
        choose_device("cuda")


# ---------------------------------------------------------------- on a CPU


def test_without_options_a_worker_a_core_shares_the_memory(machine):
    limits = Limits(int(MEMORY_FRACTION * 16 * GIB / 4), None)
    assert choose_settings("cpu") == RunSettings(4, limits, memory_is_divided=True)


def test_the_person_s_options(machine):
    chosen = choose_settings("cpu", Wishes(workers=2, memory="1.5GiB", timeout="2h30m"))
    assert chosen == RunSettings(2, Limits(3 * GIB // 2, 9000.0))


def test_fewer_workers_may_take_more_memory_each(machine):
    assert choose_settings("cpu", Wishes(workers=1)).limits.memory_bytes == int(MEMORY_FRACTION * 16 * GIB)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"memory": "4"}, "--memory 4: a number above 0 and a unit"),
        ({"memory": "0GiB"}, "--memory 0GiB: a number above 0 and a unit"),
        ({"timeout": "90"}, "--timeout 90: a time above 0 is wanted"),
        ({"timeout": "0s"}, "--timeout 0s: a time above 0 is wanted"),
        ({"per_gpu": "2"}, "--per-gpu: there is no GPU in use; leave it out, or give --device cuda"),
    ],
    ids=["memory without unit", "no memory", "timeout without unit", "no time", "per GPU"],
)
def test_bad_options_say_what_is_allowed(machine, options, message):
    with pytest.raises(SweepError) as caught:
        choose_settings("cpu", Wishes(**options))
    assert message in str(caught.value) and "\n" not in str(caught.value)


# ---------------------------------------------------------------- on GPUs


@pytest.mark.parametrize(
    "workers, per_gpu, gpus",
    [
        (None, None, "012"),
        (2, None, "01"),
        (5, None, "01201"),
        (None, "1", "012"),
        (None, "2", "012012"),
        (4, "2", "0120"),
    ],
    ids=["one each", "fewer workers", "more workers", "one said", "two each", "two each, four workers"],
)
def test_each_worker_has_its_gpu(machine, workers, per_gpu, gpus):
    chosen = choose_settings("cuda", Wishes(workers=workers, per_gpu=per_gpu))
    assert chosen == RunSettings(len(gpus), Limits(), gpus=tuple(gpus), stacks_seeds=True)


def test_memory_on_a_gpu_is_limited_only_if_wanted(machine):
    """CUDA maps far more addresses than it uses."""
    assert choose_settings("cuda").limits == Limits(None, None)
    assert choose_settings("cuda", Wishes(memory="8GiB", timeout="1h")).limits == Limits(8 * GIB, 3600.0)


@pytest.mark.parametrize(
    "visible, names",
    [("4,6", ("4", "6")), ("GPU-8f2a,GPU-1b", ("GPU-8f2a", "GPU-1b")), ("", ("0", "1", "2")), ("5,", ("5",))],
    ids=["numbers", "names", "empty", "comma"],
)
def test_only_visible_gpus_are_used(machine, monkeypatch, visible, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_gpus(None) == names
    assert list_gpus("2") == names * 2


@pytest.mark.parametrize("per_gpu", ["0", "-1", "1.5", "two", "", "2 ", "Auto", "²"])
def test_trials_per_gpu_that_make_no_sense(machine, per_gpu):
    with pytest.raises(SweepError, match=f"--per-gpu {per_gpu}: a whole number from 1"):
        choose_settings("cuda", Wishes(per_gpu=per_gpu))


@pytest.mark.parametrize(
    "trial_gib, free_gib, gpus, count",
    [(1, 20, 1, 4), (9, 20, 1, 1), (5, 20, 1, 3), (1, 20, 2, 2), (1, 20, 8, 1), (30, 20, 1, 1)],
    ids=["cores", "one", "memory", "cores of two", "more GPUs than cores", "not even one"],
)
def test_as_many_trials_share_a_gpu_as_memory_and_cores_allow(trial_gib, free_gib, gpus, count):
    assert count_per_gpu(trial_gib * GIB, free_gib * GIB, 4, gpus) == count


def test_auto_fills_the_gpus_when_the_trials_have_been_measured(machine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: ((9, 40, 20)[i] * GIB, 80 * GIB))
    monkeypatch.setattr(settings, "usable_cores", lambda: 64)
    chosen = choose_settings("cuda", Wishes(per_gpu="auto"))
    assert chosen == RunSettings(3, Limits(), gpus=("0", "1", "2"), fills_gpus=True, stacks_seeds=True)
    filled = fill_gpus(chosen, GIB)
    assert filled.workers == 12 and filled.gpus == ("0", "1", "2") * 4  # the fullest GPU has room for four
    with pytest.raises(SweepError, match="--per-gpu auto: it decides the number of workers; leave out --workers 2"):
        choose_settings("cuda", Wishes(workers=2, per_gpu="auto"))


# ---------------------------------------------------------------- this machine


def test_the_cores_and_memory_of_this_machine():
    assert 1 <= usable_cores() <= os.cpu_count()
    assert 2**26 < machine_memory_bytes() < 2**50


@pytest.mark.parametrize(
    "text, total",
    [("1073741824\n", GIB), ("max\n", 16 * GIB), (None, 16 * GIB)],
    ids=["limit", "no limit", "no cgroup"],
)
def test_a_container_s_limit_counts(monkeypatch, text, total):
    monkeypatch.setattr(settings.psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GIB))

    def read(path):
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(settings.Path, "read_text", read)
    assert machine_memory_bytes() == total


# ---------------------------------------------------------------- on a Ray cluster


def test_ray_decides_how_many_trials_there_is_room_for(machine):
    assert choose_settings("cpu", Wishes(executor="ray")) == RunSettings(0, executor="ray")
    limits = Limits(2 * GIB, 60.0)
    settings = choose_settings("cpu", Wishes(7, "2GiB", "1m", executor="ray", address="head:6379"))
    assert settings == RunSettings(7, limits, executor="ray", address="head:6379")


@pytest.mark.parametrize("per_gpu, shared", [(None, 1), ("3", 3)], ids=["default", "given"])
def test_trials_share_the_gpus_of_a_cluster_which_this_machine_need_not_have(machine, monkeypatch, per_gpu, shared):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cuda", "ray") == "cuda" and choose_device("auto", "ray") == "cpu"
    settings = choose_settings("cuda", Wishes(per_gpu=per_gpu, executor="ray"))
    assert settings == RunSettings(0, executor="ray", per_gpu=shared)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"executor": "slurm"}, "--executor slurm: local or ray"),
        ({"address": "head:6379"}, "--address head:6379: it is of a Ray cluster; add --executor ray"),
        (
            {"executor": "ray", "per_gpu": "auto"},
            "--per-gpu auto: measured on one machine; not with --executor ray",
        ),
        ({"executor": "ray", "budget": "2h"}, "--budget 2h: measured on one machine; not with --executor ray"),
        ({"executor": "ray", "per_gpu": "0"}, "--per-gpu 0: a whole number from 1"),
    ],
    ids=["executor", "address", "auto", "budget", "none"],
)
def test_mistakes_about_the_executor(machine, options, message):
    with pytest.raises(SweepError) as caught:
        choose_settings("cuda", Wishes(**options))
    assert str(caught.value) == message
