"""What several test files share: a tiny network, tiny data that can be learnt, made-up trials and results."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; spawned workers inherit it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # some tests send it

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.trial import CurvePoint, DataRef, Result, Trial
from tests.trial_samples import flat_result

# The same examples on each machine and in each run, however slow it is.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

# Begun first, so that no process is left with a long one while the other has nothing more to do.
LONGEST = (
    "sweeps.test_ray",
    "cli.test_main",
    "training.test_loop",
    "training.test_stacked",
    "training.test_shared",
    "cli.test_calibrate",
    "models.test_build",
    "training.test_checkpoint",
    "sweeps.test_pool",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [f"tests.{name}" for name in LONGEST]
    items.sort(key=lambda item: names.index(item.module.__name__) if item.module.__name__ in names else len(names))


TINY_ARCH = ArchSpec(
    stages=(Stage(1, 8, 1, 1), Stage(3, 8, 2, 2)), width=0.25, resolution=16, last_channels=32, classes=3, dropout=0.1
)


class ToyData:
    """Three classes of 16 px whose colour tells them apart through noise; no split holds an image of another."""

    name = "toy"
    fingerprint = "70791d0fca31"
    classes = ("red", "green", "blue")

    def __init__(self, **counts: int):
        random = np.random.RandomState(0)
        self.labels = {split: np.arange(count, dtype=np.uint8) % 3 for split, count in counts.items()}
        self.images = {}
        for split, labels in self.labels.items():
            noise = random.randint(0, 160, (len(labels), 16, 16, 3))
            noise[np.arange(len(labels)), :, :, labels] += 60
            self.images[split] = noise.astype(np.uint8)
            self.images[split].setflags(write=False)

    def pixels(self, split: str, size: Size) -> np.ndarray:
        size = size.scale(min(1, 16 / max(size)))
        rows, columns = (np.arange(side) * 16 // side for side in size)
        chosen = np.ascontiguousarray(self.images[split][:, rows][:, :, columns])
        chosen.setflags(write=False)
        return chosen


@pytest.fixture
def tiny_arch() -> ArchSpec:
    """Two stages at 16 px."""
    return TINY_ARCH


@pytest.fixture(scope="session")
def tiny_data() -> ToyData:
    return ToyData(train=60, val=30, test=45)


@pytest.fixture
def make_trial() -> Callable[..., Trial]:
    """make_trial(seed, arch=..., data=..., any field of Recipe) -> Trial that no other call's defaults change."""

    def make(seed: int = 0, arch: ArchSpec = TINY_ARCH, data: DataRef | None = None, **recipe) -> Trial:
        length = {} if "epochs" in recipe else {"images": 600}
        data = data or DataRef("toy", ToyData.fingerprint, 3)
        return Trial(arch, Recipe(**{"name": "tiny", "batch": 20, "lr": 0.05, **length, **recipe}), data, seed)

    return make


@pytest.fixture
def make_result() -> Callable[..., Result]:
    """make_result(what a Result has, scores as val_top1=...) -> Result with a curve of two points."""

    def make(**changes) -> Result:
        values = dict(val_top1=0.5, val_loss=1.25, val_images=30, test_top1=0.4, test_loss=1.5, test_images=45)
        values |= dict(train_loss=0.75, train_images=120, seconds=2.5, images_per_second=48.0)
        values |= dict(peak_memory_bytes=1000, device="cpu")
        values["curve"] = (
            CurvePoint(1.0, 60, 1.0, 0.1, {"top1": 0.4}),
            CurvePoint(2.0, 120, 0.75, 0.05, {"top1": 0.5}),
        )
        return flat_result(**{**values, **changes})

    return make
