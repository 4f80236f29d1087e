"""What ReLU loses (appendix A and figures 1 and 7 of the MobileNetV2 paper): its formulas, and a spiral measured.

Appendix A asks when ReLU(Bx) loses information. x has n inputs, B is m x n: an expansion has n inputs and m = t n rows.
At a point, lemma 2 says, nothing is lost exactly if at least n outputs are positive whose rows of B are independent.
Where fewer are, ReLU flattens the space around the point: it collapses. Theorem 1: over random B the collapsed fraction
of any body is 1 - N / 2^m on average, with N the sum of binomial(m, k) over k = 0 to m - n. (The text below the theorem
calls N / 2^m the collapsed fraction; it is the other one.) What it takes is that flipping the sign of a row makes no
matrix less likely: at any x each output is then positive with probability one half whatever the others are, so 1 - N /
2^m is the chance of fewer than n heads in m throws. That no linear map reaches all 2^m orthants does not matter: over
the matrices each is as likely as any other. It is exact for every m, but it is a mean over matrices and says little of
one of them.

Figure 1 sends a spiral of the plane through ReLU(Tx) in n dimensions and back; it calls the number of rows n, and has
two inputs. T is n x 2 with independent standard normal entries; back goes T's pseudo-inverse (the paper: its inverse).
The paper shows one T for each n; here the loss is measured over many:

- collapsed: points with fewer than two positive rows, where ReLU flattens the plane around the point (appendix A);
- merged: points of the spiral whose image is also that of another of its points (a curve can survive what a plane
  does not, so at most the collapsed ones: those of one positive row, if the spiral comes by that value again, and all
  the silent ones);
- silent: points without a positive row, which all go to zero: 2^-n of them on average;
- inverse error: |T^+ ReLU(Tx) - x| / |x|, its root mean square over the points, and the same after the one factor that
  fits the image best. As T^+ ReLU(Tx) = x / 2 + T^+ |Tx| / 2, whose second part is the same for x and -x, the first is
  never below one half, and comes near it as that part averages out: T^+ gives the spiral back at half its size;
- active error: the same with least squares on the positive rows alone (of least norm where they are fewer than two),
  which is exact unless the point is collapsed.

ReLU(Tax) is a ReLU(Tx) for a > 0, so all but merging depends on a point's direction only. The spiral's points are even
in angle over whole turns: fractions of points are thus also fractions of a disc's area, which is what theorem 1 is
about.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

INPUTS = 2  # the spiral's plane
SHOWN = (2, 3, 5, 15, 30)  # the paper's n
MEASURED = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
TURNS, DIRECTIONS = 3, 240  # of the spiral, and points a turn
INNERMOST = 0.06  # radius at which it begins; it ends at 1
MATRICES = 2000
CHUNK = 250  # matrices at once: some 30 MB


# ---------------------------------------------------------------- appendix A


def collapsed_fraction(m: int, n: int) -> float:
    """Return the mean fraction of a body of R^n that ReLU(Bx) collapses, over random m x n matrices B (theorem 1)."""
    return sum(math.comb(m, k) for k in range(min(n, m + 1))) / 2**m


def collapsed_bound(m: int, n: int) -> float:
    """Return the paper's first bound on it, m^(n+1) / 2^m; from 1 on it says nothing."""
    return m ** (n + 1) / 2**m


def coarse_bound_follows(m: int, n: int) -> bool:
    """Return whether the paper's last bound on it, 2^(-m/2), follows from the first: where (n + 1) log2(m) <= m / 2."""
    return (n + 1) * math.log2(m) <= m / 2


# ---------------------------------------------------------------- figure 7: positive channels of a trained network


@dataclass(frozen=True, slots=True)
class LayerActivity:
    """How many channels of one layer are positive after its ReLU, over images and positions (figure 7).

    `kind` is "expansion" or "depthwise"; `channels` are m, `needed` are lemma 2's n, the channels that come into the
    bottleneck, so `needed` / `channels` is 1 / t. `mean`, `deviation` (standard), `low` (least) and `high` (most) count
    channels; `below` is the fraction of positions with fewer positive channels than needed, `clipped` the mean fraction
    of channels at ReLU6's upper end, where, unlike in the lemma, a channel tells no more than below zero.
    """

    name: str
    kind: str
    channels: int
    needed: int
    mean: float
    deviation: float
    low: int
    high: int
    below: float
    clipped: float


@dataclass(frozen=True, slots=True)
class Activities:
    """The layers of one network in order, at the start and after training on `train_images` (repeats counted), both
    measured on the same `images` validation images; `top1` (a fraction) is the trained network's on all of them."""

    start: tuple[LayerActivity, ...]
    trained: tuple[LayerActivity, ...]
    images: int
    train_images: int
    top1: float


def activities_table(activities: Activities) -> list[list[str]]:
    """Return rows of text, one a layer; channels in percent."""
    ends = ("mean %", "least to most %", "below 1/t %")
    rows = [
        ["layer", "kind", "channels", "1/t %", *(f"start {end}" for end in ends), *(f"trained {end}" for end in ends)]
    ]
    rows[0].append("clipped %")
    for start, trained in zip(activities.start, activities.trained, strict=True):
        row = [start.name, start.kind, str(start.channels), f"{100 * start.needed / start.channels:.1f}"]
        for layer in (start, trained):
            mean, low, high = (100 * count / layer.channels for count in (layer.mean, layer.low, layer.high))
            row += [f"{mean:.1f}", f"{low:.1f} to {high:.1f}", f"{100 * layer.below:.2g}"]
        rows.append([*row, f"{100 * trained.clipped:.2g}"])
    return rows


# ---------------------------------------------------------------- figure 1: the spiral


@dataclass(frozen=True, slots=True)
class Embedding:
    """The spiral through one T: `back` [2, points] is its image in the plane, `active` [points] its positive rows."""

    dimensions: int
    back: np.ndarray
    active: np.ndarray

    @property
    def collapsed(self) -> np.ndarray:
        """Return which points collapse, [points] bool."""
        return self.active < INPUTS


@dataclass(frozen=True, slots=True)
class Spread:
    """A number over matrices: its mean with the 95 % interval (normal), its median and what 90 % lie between."""

    mean: float
    low: float
    high: float
    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Loss:
    """What ReLU in n dimensions loses, over matrices (see the module); `intact`: fraction of those that collapse
    none."""

    dimensions: int
    matrices: int
    collapsed: Spread
    merged: Spread
    silent: Spread
    inverse_error: Spread
    scaled_error: Spread
    active_error: Spread
    intact: float


def spiral_points() -> np.ndarray:
    """Return the points [2, TURNS x DIRECTIONS] of the spiral, from the inside out."""
    return _radii() * np.tile(_directions(), TURNS)


def draw_matrices(n: int, count: int, seed: int) -> np.ndarray:
    """Draw matrices [count, n, 2]; the first ones are the same whatever the count, and no n depends on another."""
    return np.random.default_rng([seed, n]).standard_normal((count, n, INPUTS))


def embed_spiral(n: int, seed: int) -> Embedding:
    """Take the spiral through the first of the matrices that `measure_losses` takes."""
    matrix = draw_matrices(n, 1, seed)[0]
    image = matrix @ spiral_points()
    return Embedding(n, np.linalg.pinv(matrix) @ np.maximum(image, 0), (image > 0).sum(axis=0))


def measure_losses(matrices: int = MATRICES, seed: int = 0, dimensions: Sequence[int] = MEASURED) -> list[Loss]:
    """Measure what ReLU loses, over `matrices` (at least two) random T for each n."""
    return [_measure_loss(n, matrices, seed) for n in dimensions]


def find_collapsed(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return which points [n, P] each of the matrices [M, m, n] collapses, [M, P] bool: those with fewer than n
    positive rows (lemma 2; that n of them are independent is certain for matrices drawn from a density)."""
    return (matrices @ points > 0).sum(axis=1) < len(points)


def losses_table(losses: Sequence[Loss]) -> list[list[str]]:
    """Return rows of text: fractions in percent, with the formula beside the measurement; errors as fractions of
    |x|."""
    rows = [["n", "collapsed %", "95 %", "appendix A", "90 % of T", "T intact %", "merged %", "silent %", "2^-n"]]
    rows[0] += ["T+ error", "scaled", "active rows"]
    for loss in losses:
        collapsed = loss.collapsed
        texts = [
            str(loss.dimensions),
            _percent(collapsed.mean),
            f"{_percent(collapsed.low)} to {_percent(collapsed.high)}",
        ]
        texts += [_percent(collapsed_fraction(loss.dimensions, INPUTS))]
        texts += [f"{_percent(collapsed.least)} to {_percent(collapsed.most)}", f"{100 * loss.intact:.1f}"]
        texts += [_percent(value) for value in (loss.merged.mean, loss.silent.mean, 0.5**loss.dimensions)]
        texts += [f"{error.median:.3f}" for error in (loss.inverse_error, loss.scaled_error)]
        rows.append([*texts, f"{loss.active_error.mean:.2g}"])
    return rows


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g}"


# ---------------------------------------------------------------- one n


def _measure_loss(n: int, matrices: int, seed: int) -> Loss:
    drawn = draw_matrices(n, matrices, seed)
    parts = [list(_measure_chunk(drawn[at : at + CHUNK])) for at in range(0, matrices, CHUNK)]
    columns = [np.concatenate(values) for values in zip(*parts, strict=True)]
    return Loss(n, matrices, *map(_spread, columns), float((columns[0] == 0).mean()))


def _measure_chunk(matrices: np.ndarray) -> Iterator[np.ndarray]:
    """Yield for matrices [M, n, 2] the six columns of a Loss, each [M]."""
    cosines = matrices / np.linalg.norm(matrices, axis=2, keepdims=True) @ _directions()  # [M, n, directions]
    active, largest = (cosines > 0).sum(axis=1), cosines.max(axis=1)
    yield find_collapsed(matrices, _directions()).mean(axis=1)
    yield find_merged(cosines).mean(axis=1)
    yield (active == 0).mean(axis=1)
    back = np.linalg.pinv(matrices) @ np.maximum(matrices @ _directions(), 0)  # [M, 2, directions]
    yield _error(back)
    fit = (back * _directions()).sum(axis=(1, 2)) / (back**2).sum(axis=(1, 2))
    yield _error(fit[:, None, None] * back)
    # One positive row t gives the part of x along t; the part across it is lost.
    yield np.sqrt(np.select([active == 0, active == 1], [1.0, 1 - largest**2], 0.0).mean(axis=1))


def find_merged(cosines: np.ndarray) -> np.ndarray:
    """Return the merged points of the spiral, [M, points] bool, from rows of unit length times directions, [M, n,
    DIRECTIONS].

    Where one row alone is positive, a point's image is its value there: the point is merged if a piece of the spiral,
    with the same row alone positive, that the point is no end of passes that value. Points without a positive row all
    merge.
    """
    active, row = (np.tile(values, TURNS) for values in ((cosines > 0).sum(axis=1), cosines.argmax(axis=1)))
    lone, count = active == 1, len(cosines) * cosines.shape[1]
    group = row + np.arange(0, count, cosines.shape[1])[:, None]  # a matrix and its row
    place = group + 0.9 * np.tile(cosines.max(axis=1), TURNS) * _radii()  # the values of a group lie by themselves
    joined = lone[:, :-1] & lone[:, 1:] & (row[:, :-1] == row[:, 1:])
    starts = np.sort(np.minimum(place[:, :-1], place[:, 1:])[joined])
    ends = np.sort(np.maximum(place[:, :-1], place[:, 1:])[joined])
    own = np.zeros(lone.shape, int)
    own[:, :-1] += joined
    own[:, 1:] += joined
    merged, wanted = active == 0, place[lone]
    passing = np.searchsorted(starts, wanted, "right") - np.searchsorted(ends, wanted, "left")
    merged[lone] = passing > own[lone]
    return merged


def _error(back: np.ndarray) -> np.ndarray:
    return np.sqrt(((back - _directions()) ** 2).sum(axis=1).mean(axis=1))


def _spread(values: np.ndarray) -> Spread:
    mean, half = values.mean(), 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    least, median, most = np.quantile(values, (0.05, 0.5, 0.95))
    return Spread(*map(float, (mean, max(0.0, mean - half), mean + half, median, least, most)))


def _directions() -> np.ndarray:
    """Return the directions [2, DIRECTIONS], of length 1."""
    angles = 2 * np.pi * (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
    return np.stack([np.cos(angles), np.sin(angles)])


def _radii() -> np.ndarray:
    """Return the radii of the spiral's points, growing evenly with the angle (Archimedes')."""
    return np.linspace(INNERMOST, 1, TURNS * DIRECTIONS)
