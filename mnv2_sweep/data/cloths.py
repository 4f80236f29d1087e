"""The embedded data set `cloths`: striped cloth, drawn at run time at any size, deterministic from a seed, no download.

A cloth has a ground of one of six hues, and stripes across it that go between two colours: light and dark, or one of
five pairs across the colour circle. The class is both: 36 classes. What makes it worth training on for a few minutes,
where one object among others, or the direction of stripes, is not learned at all:
- Its cues fill the picture and are colours side by side, strong enough to be learned in some hundred steps.
- Resolution pays smoothly: periods spread evenly, as logarithms, from two fifths to a thirteenth of the image, and
  networks see those of about three pixels and more. What is too fine averages to the ground, which says nothing of it.
- Width pays: colours that are near each other on every ground, in every light, are told apart by many features.
- Nothing else tells the class: direction, phase, contrast, the stripes' exact colours and width, light and noise.

A cloth is a row of numbers drawn once; each size renders the same cloths. The middle of a rectangle is the square of
its shorter side, and around it the cloth goes on. A wave is averaged exactly over each pixel, so a small image is what
a small sensor would see. No class turns into another in a mirror.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.drawing import Drawing, add_noise, average_wave, hue_colours, pixel_centres

CLOTHS_VERSION = 1  # raise it when a change alters any image
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
PAIRS = ("red-cyan", "orange-blue", "lime-violet", "green-magenta", "emerald-rose")  # evenly round the colour circle


def _first_colours() -> dict[str, np.ndarray]:
    """Return the first colour of each kind of stripes, in RGB about the ground's; the other is its negative. All but
    the first kind have no light of their own."""
    angle = np.arange(len(PAIRS)) * np.pi / len(PAIRS)
    red, green = np.array([2, -1, -1]) / 6**0.5, np.array([0, 1, -1]) / 2**0.5  # at right angles, of length 1
    colours = np.outer(np.cos(angle), red) + np.outer(np.sin(angle), green)
    return {"light-dark": np.ones(3), **dict(zip(PAIRS, 1.4 * colours, strict=True))}


STRIPES = _first_colours()
CLASSES = tuple(f"{hue} with {stripes} stripes" for stripes in STRIPES for hue in HUES)
COUNTS = {"train": 12_000, "val": 2_500, "test": 2_500}
PERIODS = (1 / 13, 1 / 2.5)  # of the image's side
CONTRAST = (0.2, 0.4)
HUE_SPREAD = 0.06  # standard deviation of a cloth's hue, as a share of the colour circle
COLOUR_SPREAD = 0.1  # of each of a stripe's colours
NOISE = 0.06  # at 64 px


@dataclass(frozen=True)
class Cloths:
    """The factors of N images; every array has N rows."""

    label: np.ndarray
    ground: np.ndarray  # [N, 3] colour, 0 to 1
    frequency: np.ndarray  # [N, 2] of the stripes along x and y, in periods a side
    phase: np.ndarray
    ink: np.ndarray  # [N, 3] what a stripe adds to the ground in its middle, and the next one takes from it
    shade: np.ndarray  # [N, 2] brightness gradient
    noise_seed: np.ndarray


def draw_cloths(count: int, seed: int) -> Cloths:
    """Draw `count` cloths, classes in turn. RandomState: numpy promises that its stream never changes."""
    random = np.random.RandomState(seed)
    label = np.arange(count) % len(CLASSES)
    kind, hue = np.divmod(label, len(HUES))
    hue = hue / len(HUES) + random.normal(0, HUE_SPREAD, count)
    ground = hue_colours(hue, random.uniform(0.15, 0.6, count), random.uniform(0.45, 0.75, count))
    angle = random.uniform(0, np.pi, count)
    period, contrast = (np.exp(random.uniform(*np.log(ends), count)) for ends in (PERIODS, CONTRAST))
    colours = np.array(list(STRIPES.values()))[kind] + random.normal(0, COLOUR_SPREAD, (count, 3))
    return Cloths(
        label=label,
        ground=ground,
        frequency=np.stack([np.cos(angle), np.sin(angle)], axis=1) / period[:, None],
        phase=random.uniform(0, 2 * np.pi, count),
        ink=colours * contrast[:, None],
        shade=random.uniform(-0.3, 0.3, (count, 2)),
        noise_seed=random.randint(0, 2**31 - 1, count),
    )


def render_cloths(cloths: Cloths, rows: slice, size: Size) -> np.ndarray:
    """Render the chosen cloths as uint8 [n, *size, 3]."""
    picked = {name: getattr(cloths, name)[rows] for name in Cloths.__dataclass_fields__}
    ground, ink = (picked[name].astype(np.float32)[:, None, None] for name in ("ground", "ink"))
    (fx, fy), phase = picked["frequency"].T[..., None, None], picked["phase"][:, None, None]
    shade_x, shade_y = picked["shade"].T[..., None, None]
    side = min(size)
    y, x = np.meshgrid(*(pixel_centres(length, side) for length in size), indexing="ij")
    image = ground + average_wave(x, y, fx, fy, phase, side).astype(np.float32)[..., None] * ink
    image *= (1 + shade_x * (x - 0.5) + shade_y * (y - 0.5)).astype(np.float32)[..., None]
    add_noise(image, np.full(len(image), NOISE), picked["noise_seed"], side)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


CLOTHS = Drawing(
    name="cloths",
    classes=CLASSES,
    counts=COUNTS,
    fingerprint=hashlib.sha256(f"cloths {CLOTHS_VERSION} {COUNTS}".encode()).hexdigest(),
    draw=draw_cloths,
    render=render_cloths,
)
