"""What split networks hold and compute, measured: honest networks agree, and each kind of planted fault is found."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.main import app
from mnv2_sweep.models import check_split as judge
from mnv2_sweep.models.check_split import SplitRun, check_split, live_bytes, run_splits
from mnv2_sweep.models.split import split_model
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.memory import SPLITS, count_memory

torch.set_num_threads(1)

SMALL = ArchSpec(
    stages=(Stage(1, 8, 2, 1), Stage(6, 8, 2, 2), Stage(3, 12, 3, 1)), resolution=40, last_channels=24, classes=7
)
SPECS = {
    "small": SMALL,
    "unfolded no more": replace(SMALL, resolution=83),
    "few pixels, kernel 5": replace(SMALL, resolution=8, kernel=5),
    "expansions, hswish": replace(SMALL, residual="expansion", activation="hswish", linear_bottleneck=False),
    "table 2": ArchSpec(width=0.2, resolution=96, last_channels=40, classes=5),
}
needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="other convolutions take more memory"
)


@pytest.mark.slow
@needs_onednn
@pytest.mark.parametrize("arch", SPECS.values(), ids=SPECS)
def test_honest_networks_agree(arch):
    lines, agreed = check_split(arch)
    assert agreed and "all agree" in lines[-1]
    peaks = count_memory(arch)
    shown = [line.split()[:3] for line in lines[2:-2]]
    assert shown == [[str(peak.splits), f"{peak.bytes() / 1e6:.3f}", "MB"] for peak in peaks]
    assert [peak.splits for peak in peaks][:5] == list(SPLITS) and len(peaks) == 6


@pytest.mark.slow
@needs_onednn
def test_large_maps_hold_the_bound_alone():
    """There what torch's kernels take is next to nothing."""
    for run in run_splits(SPECS["table 2"]):
        assert 0.99 < run.live / run.bound < 1.1 and run.bound <= run.limit < 1.02 * run.bound


def test_live_bytes_by_hand():
    def run(given: list[torch.Tensor]) -> None:
        torch.ones(3000)  # let go at once
        more = torch.ones(2000)
        given.pop()
        torch.ones(1000)
        del more

    assert live_bytes(lambda: [torch.ones(500), torch.ones(1500)], run) == 4 * (2000 + 3000)


@pytest.mark.slow
def test_nothing_is_written_and_nothing_else_changes(capfd):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second = run_splits(SMALL), run_splits(SMALL)
    assert first == second
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------- planted faults


@pytest.fixture
def plant(monkeypatch):
    """plant(change) -> the splits that disagree after a change to the network split 3 ways."""

    def run(change) -> list[int]:
        def split_changed(model, arch, splits):
            network = split_model(model, arch, splits)
            if splits == 3:
                change(network)
            return network

        monkeypatch.setattr(judge, "split_model", split_changed)
        return [run.splits for run in run_splits(SMALL) if not run.agrees]

    return run


def test_a_group_with_other_weights_is_found(plant):
    def change(network: nn.Module) -> None:
        block = next(
            step for step, operation in zip(network.steps, network.operations, strict=True) if operation.groups > 1
        )
        block.project.weight[-1] *= 2

    assert plant(change) == [3]


def test_a_tensor_that_is_kept_is_found(plant):
    def change(network: nn.Module) -> None:
        network.register_forward_pre_hook(lambda module, given: setattr(module, "kept", torch.ones(20_000)))

    assert plant(change) == [3]


def test_a_bound_that_is_too_high_is_found(monkeypatch):
    def count_double(arch):
        peaks = count_memory(arch)
        return [
            peak._replace(operation=peak.operation._replace(elements=2 * peak.operation.elements)) for peak in peaks
        ]

    monkeypatch.setattr(judge, "count_memory", count_double)
    assert not any(run.agrees for run in run_splits(SMALL))


@pytest.mark.parametrize(
    "change, agrees",
    [
        ({}, True),
        ({"live": 90}, True),
        ({"live": 89}, False),
        ({"live": 132}, True),
        ({"live": 133}, False),
        ({"difference": 0.002}, True),
        ({"difference": 0.0021}, False),
        ({"difference": float("nan")}, False),
    ],
)
def test_tolerances(change, agrees):
    run = SplitRun(splits=2, bound=100, limit=120, live=100, difference=0.0, largest=2.0)
    assert replace(run, **change).agrees == agrees


def test_disagreement_is_told(monkeypatch):
    runs = [SplitRun(2, 100, 120, 100, 0.0, 2.0), SplitRun(3, 100, 120, 200, 0.0, 2.0), SplitRun(5, 9, 9, 9, 1.0, 2.0)]
    monkeypatch.setattr(judge, "run_splits", lambda arch: runs)
    lines, agreed = check_split(SMALL)
    assert not agreed and lines[-1].startswith(
        "splits 3, 5 disagree: live from 90 % of the bound to 110 % of the limit "
    )


@pytest.mark.parametrize(
    "arch, message",
    [
        (
            ArchSpec("nasnet_a", width=0.1, resolution=16),
            "split: NASNet-A given; only MobileNetV2 has bottleneck blocks",
        ),
        (replace(SMALL, depthwise=False), "ordinary convolutions given; a group of channels needs depthwise"),
    ],
    ids=["family", "ordinary"],
)
def test_what_can_t_be_split(arch, message):
    with pytest.raises(SweepError, match=message):
        check_split(arch)


@pytest.mark.slow
@needs_onednn
@pytest.mark.parametrize("agreed", [True, False])
def test_the_command_prints_the_lines_and_exits_by_them(agreed, monkeypatch):
    if not agreed:
        monkeypatch.setattr(judge, "MOST_DIFFERENCE", 0.0)
    answer = CliRunner().invoke(app, ["count", "--check", "split", "--width", "0.1", "--resolution", "24"])
    assert answer.exit_code == (0 if agreed else 1)
    assert answer.output.startswith(
        "0.1 at 24, blocks split (paper, section 5.1): one image, 32-bit floats, one thread\n"
    )
    assert len(answer.output.splitlines()) == 10
