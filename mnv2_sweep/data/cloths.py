"""The embedded data set `cloths`: striped cloth, drawn at run time at any size, deterministic from a seed, no download.

A cloth has a ground of one of six hues and two waves of stripes across it, broad and fine ones, each of which goes
between two colours: light and dark, red and green, or blue and yellow. The class is all three: 54 classes. What makes
it worth training on for a few minutes, where one object among others, or the direction of stripes, is not learned:
- Its cues fill the picture and are colours side by side, strong enough to be learned in some hundred steps.
- Resolution pays: fine stripes are a twelfth of the image, give or take a quarter: two pixels at 24 px, four to five at
  56 px. What is too fine to be seen averages to the ground, which says nothing of it.
- Width pays: three answers must all be right, each from colours that mix with those of the other two, and a wider
  network learns more of them in as many steps.
- Nothing else tells the class: direction, phase, contrast, the stripes' exact colours and width, light and noise.

A cloth is a row of numbers drawn once; each size renders the same cloths. The middle of a rectangle is the square of
its shorter side, and around it the cloth goes on. Every wave is averaged exactly over each pixel, so a small image is
what a small sensor would see. No class turns into another in a mirror.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.drawing import Drawing, average_wave, hue_colours, pixel_centres, take_photos

CLOTHS_VERSION = 1  # raise it when a change alters any image
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
STRIPES = {"light-dark": (1, 1, 1), "red-green": (1, -0.8, -0.2), "blue-yellow": (-0.2, -0.4, 1)}  # one end, in RGB
PERIODS = {"broad": 1 / 6, "fine": 1 / 12}  # of the image's side
CLASSES = tuple(f"{hue}, broad {broad}, fine {fine}" for fine in STRIPES for broad in STRIPES for hue in HUES)
COUNTS = {"train": 12_000, "val": 2_500, "test": 2_500}
HUE_SPREAD = 0.08  # standard deviation of a cloth's hue, as a share of the colour circle
PERIOD_SPREAD = 0.25  # of the logarithm of a period
COLOUR_SPREAD = 0.25  # of each of a stripe's colours
CONTRAST = (0.15, 0.35)
NOISE = 0.05  # at 64 px


@dataclass(frozen=True)
class Cloths:
    """The factors of N images; every array has N rows. Stripes are two waves, the broad one first."""

    label: np.ndarray
    ground: np.ndarray  # [N, 3] colour, 0 to 1
    frequency: np.ndarray  # [N, 2, 2] of each wave along x and y, in periods a side
    phase: np.ndarray  # [N, 2]
    ink: np.ndarray  # [N, 2, 3] what each wave adds to the ground where it is highest
    shade: np.ndarray  # [N, 2] brightness gradient
    noise_seed: np.ndarray


def draw_cloths(count: int, seed: int) -> Cloths:
    """Draw `count` cloths, classes in turn. RandomState: numpy promises that its stream never changes."""
    random = np.random.RandomState(seed)
    label = np.arange(count) % len(CLASSES)
    rest, hue = np.divmod(label, len(HUES))
    kinds = np.stack([rest % len(STRIPES), rest // len(STRIPES)], axis=1)
    hue = hue / len(HUES) + random.normal(0, HUE_SPREAD, count)
    ground = hue_colours(hue, random.uniform(0.15, 0.6, count), random.uniform(0.45, 0.75, count))
    waves = (count, len(PERIODS))
    angle = random.uniform(0, np.pi, waves)
    period = np.array(list(PERIODS.values())) * np.exp(random.normal(0, PERIOD_SPREAD, waves))
    contrast = np.exp(random.uniform(*np.log(CONTRAST), waves))
    colours = np.array(list(STRIPES.values()))[kinds] + random.normal(0, COLOUR_SPREAD, (*waves, 3))
    return Cloths(
        label=label,
        ground=ground,
        frequency=np.stack([np.cos(angle), np.sin(angle)], axis=2) / period[..., None],
        phase=random.uniform(0, 2 * np.pi, waves),
        ink=colours * contrast[..., None],
        shade=random.uniform(-0.3, 0.3, (count, 2)),
        noise_seed=random.randint(0, 2**31 - 1, count),
    )


def render_cloths(cloths: Cloths, rows: slice, size: Size) -> np.ndarray:
    """Render the chosen cloths as uint8 [n, *size, 3]."""
    side = min(size)
    y, x = np.meshgrid(*(pixel_centres(length, side) for length in size), indexing="ij")
    picked = {name: getattr(cloths, name)[rows] for name in Cloths.__dataclass_fields__}
    phase, shade = picked["phase"][..., None, None], picked["shade"][..., None, None]
    frequency, ink = picked["frequency"][..., None, None], picked["ink"][:, :, None, None]
    image = np.tile(picked["ground"].astype(np.float32)[:, None, None], (1, *size, 1))
    for i in range(len(PERIODS)):
        wave = average_wave(x, y, frequency[:, i, 0], frequency[:, i, 1], phase[:, i], side)
        image += wave.astype(np.float32)[..., None] * ink[:, i].astype(np.float32)
    image *= (1 + shade[:, 0] * (x - 0.5) + shade[:, 1] * (y - 0.5)).astype(np.float32)[..., None]
    return take_photos(image, NOISE, picked["noise_seed"], side)


CLOTHS = Drawing(
    name="cloths",
    classes=CLASSES,
    counts=COUNTS,
    fingerprint=hashlib.sha256(f"cloths {CLOTHS_VERSION} {COUNTS}".encode()).hexdigest(),
    draw=draw_cloths,
    render=render_cloths,
)
