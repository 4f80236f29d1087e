"""Which padding and pixels weights were trained with, told from a few photos: real weights, and ones with a claim."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.decode import decode_photo
from mnv2_sweep.data.files import open_photo_files
from mnv2_sweep.data.source import list_photos
from mnv2_sweep.models.check_weights import (
    CLEAR,
    EPSILONS,
    claimed_conventions,
    compare_conventions,
    compare_epsilons,
    is_clear,
)
from mnv2_sweep.models.pretrained import build_pretrained, to_input
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.pretrained.weights import Weights, turn_kernels
from mnv2_sweep.trials.weights import HALF, IMAGENET_MEAN, IMAGENET_STD, WeightsRecord
from tests.weight_files import draw_arrays, save_tflite

SHARED = Path(__file__).resolve().parents[3] / "shared"
FILES = sorted((SHARED / "weights").glob("*/*.safetensors"))
CLOTHES = SHARED / "data" / "clothing-small" / "clothing-small.zip"
needs_shared = pytest.mark.skipif(not FILES, reason="needs ../shared/weights and ../shared/data beside the checkout")


def made_for(padding: str, mean: tuple, std: tuple, photos: np.ndarray, shrink: float = 1.0, **of_record) -> Weights:
    """Weights whose running statistics are those of the photos under these conventions."""
    record = WeightsRecord(
        "a", "0" * 64, "keras", width=0.1, resolution=32, classes=5, padding=padding, mean=mean, std=std,
        **of_record,
    )  # fmt: skip
    arrays = {name: array * np.float32(shrink) if array.ndim == 4 else array for name, array in draw_arrays().items()}
    model = build_pretrained(Weights(record, arrays)).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(to_input(photos, record))
    state = model.state_dict()
    arrays = {name: value.numpy() for name, value in state.items() if not name.endswith("num_batches_tracked")}
    return Weights(record, turn_kernels(arrays) if padding == "same" else arrays)


CONVENTIONS = [
    (padding, pixels, mean, std)
    for padding in ("torch", "same")
    for pixels, mean, std in (("mean/std", IMAGENET_MEAN, IMAGENET_STD), ("-1 to 1", HALF, HALF))
]


@pytest.mark.parametrize("padding, pixels, mean, std", CONVENTIONS, ids=[f"{c[0]}, {c[1]}" for c in CONVENTIONS])
def test_what_weights_were_made_for_is_told_whatever_they_claim(padding, pixels, mean, std):
    random = np.random.RandomState(0)
    coarse = random.randint(0, 256, (32, 8, 8, 3))
    photos = np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.uint8)
    weights = made_for(padding, mean, std, photos[:16])
    for claim in ("torch", "same"):
        claimed = replace(weights, record=replace(weights.record, padding=claim))
        fits = compare_conventions(claimed, photos[16:])
        assert (fits[0].padding, fits[0].pixels) == (padding, pixels)
        assert claimed_conventions(claimed.record) == (claim, pixels)


SHRINKS = {"small variances": 0.02, "large ones": 100.0}


@pytest.mark.parametrize("shrink", SHRINKS.values(), ids=SHRINKS)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_epsilon_is_told_where_variances_are_as_small(epsilon, shrink):
    photos = np.kron(np.random.RandomState(0).randint(0, 256, (32, 8, 8, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
    weights = made_for("same", HALF, HALF, photos[:16], shrink, epsilon=epsilon)
    for claim in EPSILONS:
        claimed = replace(weights, record=replace(weights.record, epsilon=claim))
        (best, nats), (_, more) = compare_epsilons(claimed, "same", "-1 to 1", photos[16:])
        assert (best == epsilon and more > CLEAR * nats) if shrink < 1 else more < CLEAR * nats


def test_weights_without_a_channel_that_changes_tell_nothing():
    photos = np.zeros((4, 32, 32, 3), np.uint8)
    weights = made_for("torch", HALF, HALF, photos, 0.0)
    with pytest.raises(WeightsError, match="no channel whose statistics photos could be compared with"):
        compare_conventions(weights, photos)


def test_folded_weights_have_nothing_to_compare(tmp_path):
    weights = read_weights(save_tflite(tmp_path / "a.tflite", draw_arrays()))
    with pytest.raises(WeightsError, match="folded into the convolutions"):
        compare_conventions(weights, np.zeros((2, 32, 32, 3), np.uint8))


@pytest.fixture(scope="module")
def draws() -> list[np.ndarray]:
    """Twice 13 photos of clothes; no others are decoded."""
    source = list_photos(open_photo_files(CLOTHES))
    train = [photo for photo in source.photos if photo.split == "train"]
    return [
        np.stack([decode_photo(source.read(train[at]), Size(224, 224), train[at].path) for at in chosen])
        for chosen in (np.random.RandomState(seed).choice(len(train), 13, replace=False) for seed in range(2))
    ]


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_shared_weights_are_told_from_13_photos(draws, file):
    weights = read_weights(file)
    for photos in draws:
        fits = compare_conventions(weights, photos)
        assert (fits[0].padding, fits[0].pixels) == ("same", "-1 to 1") == claimed_conventions(weights.record)
        assert is_clear(fits)
