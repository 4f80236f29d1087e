"""Drawing: an embedded data set as a record, drawn at run time; and what drawings are made with.

Lengths are fractions of an image's shorter side, whose pixels go from 0 to 1.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mnv2_sweep.base.size import Size

CHUNK_PIXELS = 128 * 64**2  # rendered at once, which bounds the memory


class Scenes(Protocol):
    """The factors of N images, a row each."""

    label: np.ndarray


@dataclass(frozen=True)
class Drawing:
    """An embedded data set: `draw(count, seed)` gives scenes, `render(scenes, rows, size)` some of them as uint8
    [n, *size, 3]."""

    name: str
    classes: tuple[str, ...]
    counts: Mapping[str, int]  # images of each split, which are drawn from seeds 0, 1 and 2
    fingerprint: str
    draw: Callable[[int, int], Scenes]
    render: Callable[[Scenes, slice, Size], np.ndarray]

    def render_chunks(self, scenes: Scenes, size: Size) -> Iterator[np.ndarray]:
        """Render all scenes in order, a chunk at a time."""
        rows = max(1, CHUNK_PIXELS // size.area)
        for start in range(0, len(scenes.label), rows):
            yield self.render(scenes, slice(start, start + rows), size)


def pixel_centres(length: int, side: int) -> np.ndarray:
    """Return the coordinates of `length` pixels of which the middle `side` go from 0 to 1."""
    return (np.arange(length, dtype=np.float32) + 0.5 - (length - side) / 2) / side


def average_wave(x, y, fx, fy, phase, side: int) -> np.ndarray:
    """Return sin(2 pi (fx x + fy y) + phase), averaged exactly over each pixel."""
    return np.sin(2 * np.pi * (fx * x + fy * y) + phase) * fade_wave(fx, fy, side)


def fade_wave(fx, fy, side: int) -> np.ndarray:
    """Return what is left of a wave that is averaged over each pixel."""
    return np.sinc(fx / side) * np.sinc(fy / side)


def hue_colours(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return colours [N, 3] from 0 to 1, of hue as a fraction of the circle, saturation and value, [N] each."""
    turns = (hue[:, None] + np.array([0, 2 / 3, 1 / 3])) % 1
    return value[:, None] * (1 - saturation[:, None] * (0.5 - 0.5 * np.cos(2 * np.pi * turns)))


def add_noise(image: np.ndarray, noise: np.ndarray, seeds: np.ndarray, side: int) -> None:
    """Add grey noise to images [N, h, w, 3], each with its own strength [N], at 64 px, and seed [N]."""
    for i, (strength, seed) in enumerate(zip(noise, seeds, strict=True)):
        # A pixel of half the side gathers four times the light: noise grows with the side.
        image[i] += np.random.RandomState(seed).randn(*image.shape[1:3], 1) * strength * side / 64


def take_photos(images: np.ndarray, noise: float, seeds: np.ndarray, side: int) -> np.ndarray:
    """Return images [N, h, w, 3] as uint8, with noise of one strength and seeds [N] of their own, see `add_noise`; they
    are changed."""
    add_noise(images, np.full(len(images), noise), seeds, side)
    return (np.clip(images, 0, 1) * 255 + 0.5).astype(np.uint8)
