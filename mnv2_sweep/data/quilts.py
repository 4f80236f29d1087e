"""The embedded data set `quilts`: patchwork, drawn at run time at any size, deterministic from a seed, no download.

A quilt is sewn of square patches, five to a side, each of one of 24 fabrics: one of six hues, plain or with broad,
middle or fine stripes. Its class is how likely each fabric is: 40 mixtures, all different, in which a few fabrics are
common and most are rare. What makes it worth training on for a few minutes:
- Its cues fill the picture and are local: a patch says a little, all together nearly everything.
- Width pays: each fabric that a network tells from the others adds to what it knows, and there are many.
- Resolution pays: stripes are an eighth to a twentieth of the image, so with every size from 24 to 56 px more fabrics
  are told apart. What is too fine to be seen averages to the hue, which is worth something by itself.
- Nothing else tells the class: where a patch lies, the direction, phase and contrast of its stripes, its exact hue,
  light and noise.

A quilt is a row of numbers drawn once; each size renders the same quilts. The middle of a rectangle is the square of
its shorter side, and around it the quilt goes on, in the same patches anew. A pixel has the patch under its centre, of
which every wave is averaged exactly over it. No class turns into another in a mirror.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.drawing import Drawing, fade_wave, hue_colours, pixel_centres, take_photos

QUILTS_VERSION = 1  # raise it when a change alters any image
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
PERIODS = {"plain": 0.0, "broad": 0.13, "middle": 0.075, "fine": 0.045}  # of the image's side; 0.0: no stripes
FABRICS = tuple(f"{kind} {hue}" for hue in HUES for kind in PERIODS)
MIXTURES, MIXTURE_SEED = 40, 7
EVENNESS = 0.5  # of the Dirichlet distribution that mixtures are drawn from: below 1 a few fabrics are most of each
PATCH = 0.2  # of the image's side
PATCHES = 6  # a side: where the first begins is chance, so one more than fit is seen in part
HUE_SPREAD = 0.04  # standard deviation of a patch's hue, as a share of the colour circle
PERIOD_SPREAD = 0.15  # of the logarithm of a period
CONTRAST = (0.15, 0.3)
NOISE = 0.05  # at 64 px
COUNTS = {"train": 12_000, "val": 5_000, "test": 5_000}


def draw_mixtures() -> np.ndarray:
    """Return how likely each fabric is in each class: [classes, fabrics]."""
    return np.random.RandomState(MIXTURE_SEED).dirichlet(np.full(len(FABRICS), EVENNESS), MIXTURES)


def name_mixture(shares: np.ndarray) -> str:
    """Return the three fabrics that are most of a mixture, as in "fine red, plain blue, broad green"."""
    return ", ".join(FABRICS[fabric] for fabric in np.argsort(-shares, kind="stable")[:3])


CLASSES = tuple(map(name_mixture, draw_mixtures()))


@dataclass(frozen=True)
class Quilts:
    """The factors of N images; every array has N rows, and then one for each of the P patches."""

    label: np.ndarray
    fabric: np.ndarray  # [N, P] which one of FABRICS
    colour: np.ndarray  # [N, P, 3] 0 to 1
    ink: np.ndarray  # [N, P] what the stripes add to the colour where they are lightest
    frequency: np.ndarray  # [N, P, 2] along x and y, in periods a side
    phase: np.ndarray  # [N, P]
    start: np.ndarray  # [N, 2] which part of the first patch is outside, along x and y
    shade: np.ndarray  # [N, 2] brightness gradient
    noise_seed: np.ndarray


def draw_quilts(count: int, seed: int) -> Quilts:
    """Draw `count` quilts, classes in turn. RandomState: numpy promises that its stream never changes."""
    random = np.random.RandomState(seed)
    label, patches = np.arange(count) % MIXTURES, (count, PATCHES**2)
    likely = draw_mixtures().cumsum(axis=1)[label]
    drawn = random.uniform(size=patches)
    fabric = np.minimum((drawn[..., None] > likely[:, None]).sum(axis=2), len(FABRICS) - 1)
    hue, kind = np.divmod(fabric, len(PERIODS))
    turned = (hue / len(HUES)).ravel() + random.normal(0, HUE_SPREAD, fabric.size)
    colour = hue_colours(turned, random.uniform(0.35, 0.7, fabric.size), random.uniform(0.4, 0.7, fabric.size))
    usual = np.array(list(PERIODS.values()))[kind]
    is_striped = usual > 0
    period = np.where(is_striped, usual, 1) * np.exp(random.normal(0, PERIOD_SPREAD, patches))
    angle = random.uniform(0, np.pi, patches)
    contrast = np.exp(random.uniform(*np.log(CONTRAST), patches))
    return Quilts(
        label=label,
        fabric=fabric,
        colour=colour.reshape(*patches, 3),
        ink=np.where(is_striped, contrast, 0),
        frequency=np.stack([np.cos(angle), np.sin(angle)], axis=2) / period[..., None],
        phase=random.uniform(0, 2 * np.pi, patches),
        start=random.uniform(0, 1, (count, 2)),
        shade=random.uniform(-0.3, 0.3, (count, 2)),
        noise_seed=random.randint(0, 2**31 - 1, count),
    )


def render_quilts(quilts: Quilts, rows: slice, size: Size) -> np.ndarray:
    """Render the chosen quilts as uint8 [n, *size, 3]."""
    side = min(size)
    y, x = np.meshgrid(*(pixel_centres(length, side) for length in size), indexing="ij")
    picked = {name: getattr(quilts, name)[rows] for name in Quilts.__dataclass_fields__}
    start, shade = picked["start"][..., None, None], picked["shade"][..., None, None]
    across, down = (np.floor(at / PATCH + start[:, axis]).astype(int) % PATCHES for axis, at in enumerate((x, y)))
    patch = (down * PATCHES + across).reshape(len(start), -1)

    def each_pixel(values: np.ndarray) -> np.ndarray:
        """Return [n, *size] of what each patch has [n, P]."""
        return np.take_along_axis(values.astype(np.float32), patch, axis=1).reshape(-1, *size)

    frequency = picked["frequency"]
    faded = picked["ink"] * fade_wave(frequency[..., 0], frequency[..., 1], side)
    turns = each_pixel(frequency[..., 0]) * x + each_pixel(frequency[..., 1]) * y
    stripes = np.sin(2 * np.pi * turns + each_pixel(picked["phase"])) * each_pixel(faded)
    image = np.stack([each_pixel(picked["colour"][..., channel]) for channel in range(3)], axis=3)
    image += stripes[..., None]
    image *= (1 + shade[:, 0] * (x - 0.5) + shade[:, 1] * (y - 0.5)).astype(np.float32)[..., None]
    return take_photos(image, NOISE, picked["noise_seed"], side)


QUILTS = Drawing(
    name="quilts",
    classes=CLASSES,
    counts=COUNTS,
    fingerprint=hashlib.sha256(f"quilts {QUILTS_VERSION} {COUNTS}".encode()).hexdigest(),
    draw=draw_quilts,
    render=render_quilts,
)
