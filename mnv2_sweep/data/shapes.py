"""The embedded data set: `shapes`, drawn at run time at any size, deterministic from a seed, no download.

Ten classes: five outlines (disc, square, triangle, cross, flower), each plain or filled with fine stripes. What
makes it worth training on:
- Detail needs resolution. The stripes' period is 1/28 to 1/14 of the image: at 24 px that is one to two pixels, so
  they fade or turn into coarser, fainter patterns, at 56 px nearly all can be seen as they are.
- Variation needs capacity. Position, size, rotation, stretch, contrast, the background's colour, shade and
  pattern, other objects in front and behind, noise: none of them tells the class.
- A cue to begin with. The object's hue hints at its outline, as colour does in photos, and never settles it.

A scene is a row of numbers drawn once; each size renders the same scenes. A rectangle shows the scene of the square of
its shorter side in its middle, and around it what lies there: the background goes on, objects that reach out of the
square are seen whole, and nothing is stretched. Edges are anti-aliased and every wave is averaged exactly over each
pixel, so a small image is what a small sensor would see.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from mnv2_sweep.base.size import Size
from mnv2_sweep.data.drawing import Drawing, add_noise, average_wave, hue_colours, pixel_centres

SHAPES_VERSION = 1  # raise it when a change alters any image
OUTLINES = ("disc", "square", "triangle", "cross", "flower")
FILLS = ("plain", "striped")
CLASSES = tuple(f"{fill} {outline}" for outline in OUTLINES for fill in FILLS)
COUNTS = {"train": 12_000, "val": 2_000, "test": 2_000}
DISTRACTORS = 2
HUE_SPREAD = 0.12  # standard deviation of an outline's hue, as a share of the colour circle


@dataclass(frozen=True)
class Scenes:
    """The factors of N images; every array has N rows. Lengths are fractions of the image's (shorter) side."""

    label: np.ndarray
    centre: np.ndarray  # [N, 2]
    radius: np.ndarray
    angle: np.ndarray
    stretch: np.ndarray
    fill_angle: np.ndarray
    fill_period: np.ndarray
    fill_phase: np.ndarray
    fill_contrast: np.ndarray
    ink: np.ndarray  # [N, 3] mean colour of the object, 0 to 1
    paper: np.ndarray  # [N, 3] mean colour of the background
    shade: np.ndarray  # [N, 2] brightness gradient
    weave: np.ndarray  # [N, 4] background wave: frequency x, y, phase, contrast
    spots: np.ndarray  # [N, DISTRACTORS, 6] other objects: x, y, radius, colour
    noise: np.ndarray
    noise_seed: np.ndarray


def draw_scenes(count: int, seed: int) -> Scenes:
    """Draw `count` scenes, classes in turn. RandomState: numpy promises that its stream never changes."""
    random = np.random.RandomState(seed)

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return random.uniform(low, high, (count, *shape))

    def spot(low: float, high: float, numbers: int) -> np.ndarray:
        return uniform(low, high, DISTRACTORS, numbers)

    label = np.arange(count) % (len(OUTLINES) * len(FILLS))
    hue = (label // len(FILLS)) / len(OUTLINES) + random.normal(0, HUE_SPREAD, count)
    radius = uniform(0.26, 0.44)
    return Scenes(
        label=label,
        centre=0.5 + uniform(-1, 1, 2) * (0.54 - radius[:, None]),
        radius=radius,
        angle=uniform(0, 2 * np.pi),
        stretch=np.exp(uniform(-0.3, 0.3)),
        fill_angle=uniform(0, 2 * np.pi),
        fill_period=np.exp(uniform(np.log(1 / 28), np.log(1 / 14))),
        fill_phase=uniform(0, 2 * np.pi),
        fill_contrast=uniform(0.2, 0.4),
        ink=hue_colours(hue, uniform(0.3, 0.8), uniform(0.4, 0.7)),
        paper=uniform(0.1, 0.9, 3),
        shade=uniform(-0.25, 0.25, 2),
        weave=np.concatenate([uniform(-12, 12, 2), uniform(0, 2 * np.pi, 1), uniform(0, 0.08, 1)], axis=1),
        spots=np.concatenate([spot(0, 1, 2), spot(0.03, 0.09, 1), spot(0, 1, 3)], axis=2),
        noise=uniform(0.0, 0.04),
        noise_seed=random.randint(0, 2**31 - 1, count),
    )


def render_scenes(scenes: Scenes, rows: slice, size: Size) -> np.ndarray:
    """Render the chosen scenes as uint8 [n, *size, 3]."""
    pick = Scenes(**{name: getattr(scenes, name)[rows] for name in Scenes.__dataclass_fields__})
    side = min(size)
    y, x = np.meshgrid(*(pixel_centres(length, side) for length in size), indexing="ij")
    outline = pick.label // len(FILLS)

    shade = 1 + pick.shade[:, 0, None, None] * (x - 0.5) + pick.shade[:, 1, None, None] * (y - 0.5)
    fx, fy, phase, contrast = (pick.weave[:, i, None, None] for i in range(4))
    image = pick.paper[:, None, None, :] + (contrast * average_wave(x, y, fx, fy, phase, side))[..., None]
    mask = _coverage(_distance(outline, *_local(pick, x, y)) * pick.radius[:, None, None], side)
    for i in range(DISTRACTORS):
        if i == DISTRACTORS // 2:  # half of the spots lie behind the object, half in front
            image = _over(image, pick.ink[:, None, None, :] + _fill(pick, x, y, side)[..., None], mask)
        spot = pick.spots[:, i, :, None, None]
        distance = np.hypot(x - spot[:, 0], y - spot[:, 1]) - spot[:, 2]
        image = _over(image, pick.spots[:, i, None, None, 3:], _coverage(distance, side))
    image = image * shade[..., None]
    add_noise(image, pick.noise, pick.noise_seed, side)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _local(pick: Scenes, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return image coordinates as the object's own, in which its size is about 1."""
    dx, dy = x - pick.centre[:, 0, None, None], y - pick.centre[:, 1, None, None]
    cos, sin = np.cos(pick.angle)[:, None, None], np.sin(pick.angle)[:, None, None]
    stretch, radius = pick.stretch[:, None, None], pick.radius[:, None, None]
    return (cos * dx + sin * dy) / radius * stretch, (cos * dy - sin * dx) / radius / stretch


def _distance(outline: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the signed distance (about) to each object's outline, negative inside; areas are about equal."""
    distance = np.empty_like(u)
    for i, name in enumerate(OUTLINES):
        p, q = u[outline == i], v[outline == i]
        if name == "disc":
            d = np.hypot(p, q) - 0.85
        elif name == "square":
            d = np.maximum(np.abs(p), np.abs(q)) - 0.75
        elif name == "triangle":
            d = np.maximum(np.abs(p) * 0.866 + q * 0.5, -q) - 0.58
        elif name == "cross":
            p, q = np.abs(p), np.abs(q)
            d = np.minimum(np.maximum(p - 0.95, q - 0.36), np.maximum(q - 0.95, p - 0.36))
        else:  # a flower of five petals
            d = np.hypot(p, q) - 0.8 - 0.2 * np.cos(5 * np.arctan2(q, p))
        distance[outline == i] = d
    return distance


def _coverage(distance: np.ndarray, side: int) -> np.ndarray:
    """Return the fraction of each pixel that lies inside, from the signed distance of its centre."""
    return np.clip(0.5 - distance * side, 0, 1)


def _fill(pick: Scenes, x: np.ndarray, y: np.ndarray, side: int) -> np.ndarray:
    """Return the brightness of the object's stripes; zero where it is plain."""
    frequency = (pick.label % len(FILLS)) / pick.fill_period
    fx, fy = (frequency * np.cos(pick.fill_angle))[:, None, None], (frequency * np.sin(pick.fill_angle))[:, None, None]
    wave = average_wave(x, y, fx, fy, pick.fill_phase[:, None, None], side)
    return np.where(frequency[:, None, None] > 0, wave * pick.fill_contrast[:, None, None], 0)


def _over(below: np.ndarray, above: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return below + (above - below) * mask[..., None]


SHAPES = Drawing(
    name="shapes",
    classes=CLASSES,
    counts=COUNTS,
    fingerprint=hashlib.sha256(f"shapes {SHAPES_VERSION} {COUNTS}".encode()).hexdigest(),
    draw=draw_scenes,
    render=render_scenes,
)
