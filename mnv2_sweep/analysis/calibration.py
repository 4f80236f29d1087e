"""A design space -> Calibration: a handful of networks, and the sweeps that compare cheap orders of them with a dear
one.

The handful is trained alone on a longer schedule, the reference. Each proxy that trains is a sweep of its own beside
it, so that what the main sweep has measured is reused, and the other way round. Weights are shared by the whole space,
as in the main sweep, though only the handful is compared. A proxy that can't be made is kept with its reason, and the
others go on.

The handful is picked in strata. It is spread over the range of cost, the cheapest and the dearest among it, and holds
pairs within 25 % of each other in MAdds wherever the networks have such pairs: only there can a proxy say more than
MAdds. The range is cut into strata of equal width in log MAdds. In each, the near pair is taken whose shapes differ
most (as 1.0 at 96 and 0.35 at 224 do), and then, stratum by stratum, networks near as many of those taken as can be: k
networks close together make k (k - 1) / 2 pairs. No chance is in it. Two specs of one network are no pair to learn
from: give each network once.

That has a price: near pairs are the hard ones, and the handful has more of them than the space, so every tau on it is
lower than on all networks. MAdds alone have 0.764 with the published order on 8 of the paper's 22, and 0.954 on all.
`near_share` is what a tau is weighed back by.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mnv2_sweep.analysis.agreement import share_near
from mnv2_sweep.analysis.passport import (
    EXECUTED,
    MADDS_ALONE,
    SHARED_WEIGHTS,
    SHORT_SCHEDULE,
    SMALL_INPUT,
    SYNFLOW,
    closeness_text,
)
from mnv2_sweep.analysis.stats import near_pairs
from mnv2_sweep.base.errors import ArchError, SpaceError, SweepError
from mnv2_sweep.base.size import size_range
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.nets.arch import ArchSpec, arch_label, cell_value, input_size
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.supernet import check_supernet
from mnv2_sweep.paper.published import published_checkpoints
from mnv2_sweep.spaces.coincide import find_coinciding
from mnv2_sweep.spaces.networks import Picked, select_networks
from mnv2_sweep.spaces.space import ALONE, Space, Strategy
from mnv2_sweep.trials.recipe import RECIPE_CHOICES, Recipe, check_recipe
from mnv2_sweep.trials.trial import train_size
from mnv2_sweep.trials.ways import WAYS

PROXIES = {"short": SHORT_SCHEDULE, "small": SMALL_INPUT, "shared": SHARED_WEIGHTS, "synflow": SYNFLOW}
PROXIES |= {"probe": WAYS["probe"].proxy}
LONGER = 4.0  # times the recipe's length
SMALL_FRACTION = 0.5  # of the recipe's input scale
LEAST_NETWORKS = 3  # two make one pair, which says nothing
GROUP = 3  # networks for one stratum
# More networks than this are looked at in part, evenly by rank. A range of cost of 25 % ^ 512 does not exist, so
# that some of them are near each other, as some of all are.
MOST = 512


@dataclass(frozen=True, slots=True)
class Part:
    """A sweep within a calibration, in the folder of the main one's name and `suffix`; `proxy` is "" for the
    reference. Its cost is that of all its networks, or of those in `costed`."""

    proxy: str
    suffix: str
    archs: tuple[ArchSpec, ...]
    recipe: Recipe
    strategy: Strategy = ALONE
    costed: tuple[ArchSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is to be trained and compared: `picked` of `different` networks, in order of MAdds, `published` all of the
    space's that are published, `parts` the sweeps, the reference first, `refused` proxies with their reasons."""

    space: Space
    asked: int
    different: int
    picked: tuple[ArchSpec, ...]
    published: tuple[ArchSpec, ...]
    parts: tuple[Part, ...]
    refused: tuple[tuple[str, str], ...]
    synflow: bool
    near_share: float = math.nan  # of the pairs of all different networks, those within 25 % of MAdds


def parse_proxies(text: str) -> tuple[str, ...]:
    """Parse "short, synflow" into the keys of PROXIES that are named, in their order. Raises SweepError."""
    named = [word.strip() for word in text.split(",") if word.strip()]
    known = f"there are: {', '.join(PROXIES)}; MAdds alone is always compared"
    for word in named:
        if word not in PROXIES:
            raise SweepError(f"--proxies {word}: no such proxy; {known}")
    if not named:
        raise SweepError(f"--proxies '{text}': none is named; {known}")
    return tuple(key for key in PROXIES if key in named)


def check_count(networks: int) -> None:
    """Raise SweepError for too few."""
    if networks < LEAST_NETWORKS:
        raise SweepError(
            f"--networks {networks}: a whole number from {LEAST_NETWORKS}, as two networks make one pair, which says "
            "nothing"
        )


def lengthen_recipe(recipe: Recipe, longer: float | None, images: int | None, train_images: int) -> Recipe:
    """Return the reference's recipe: so many times as long (None: LONGER), or that many images each. Raises
    SweepError."""
    if longer is not None and images is not None:
        raise SweepError("--longer --images: one of them")
    own = recipe.images if recipe.images is not None else round(recipe.epochs * train_images)
    if images is not None:
        if images <= own:
            raise SweepError(f"--images {images}: more than the {own:,} of the space's own recipe are wanted")
        if allowed := RECIPE_CHOICES["images"].refuse(images):
            raise SweepError(f"--images {images}: {allowed} is wanted")
        longer = images / own
    longer = LONGER if longer is None else longer
    if not (math.isfinite(own * longer) and longer > 1 and round(own * longer) > own):
        raise SweepError(
            f"--longer {longer:g}: how many times as long the reference trains as the space's own recipe "
            f"({own:,} images); a number above 1 is wanted"
        )
    length = {"images": round(own * longer)} if recipe.images is not None else {"epochs": recipe.epochs * longer}
    longer_recipe = replace(recipe, **length, name=f"{recipe.name}, {longer:g} times as long")
    check_recipe(longer_recipe)
    return longer_recipe


def plan_calibration(
    space: Space,
    count: int,
    proxies: Sequence[str],
    reference: Recipe,
    classes: int,
    find_probe: Callable[[Sequence[ArchSpec]], Recipe] | None = None,
) -> Calibration:
    """Pick `count` networks and say what is trained for each proxy. Raises SpaceError where the space has too few.
    `find_probe` returns the recipe of probes of some networks, or raises SweepError where weights are missing."""
    networks = select_networks(space, classes)
    first = find_coinciding(networks).first
    if len(first) < LEAST_NETWORKS:
        has = count_noun(len(first), "different network")
        raise SpaceError(
            [f"space '{space.name}': {has}, at least {LEAST_NETWORKS} wanted: fewer have no order to speak of"]
        )
    different = Picked(networks, first)
    picked = tuple(different[i] for i in stratify(different, networks.costs.madds[first], count))
    known = published_checkpoints()
    published = tuple(arch for arch in different if arch_label(arch) in known)
    parts = [Part("", _reference_suffix(space.recipe, reference), picked, reference)]
    parts += [Part(PROXIES[key], f"calibrate-{key}", picked, _alone_recipe(space.recipe, key))
              for key in ("short", "small") if key in proxies]  # fmt: skip
    refused: list[tuple[str, str]] = []
    if "shared" in proxies:
        whole = tuple(networks)  # with its duplicates, as `run` gives them, so that it is the same training
        strategy = space.strategy if space.strategy.name == "shared" else Strategy("shared")
        try:
            check_supernet(whole)
            strategy = replace(strategy, finetune=None)
            parts.append(Part(SHARED_WEIGHTS, "calibrate-shared", whole, space.recipe, strategy))
        except ArchError as error:
            refused.append((SHARED_WEIGHTS, str(error)))
    if "probe" in proxies and find_probe is not None:
        probed = tuple(dict.fromkeys((*picked, *published)))  # those as well, with which any order can be compared
        try:
            recipe = find_probe(probed)
            parts.append(Part(PROXIES["probe"], "calibrate-probe", probed, recipe, Strategy("probe"), picked))
        except SweepError as error:
            refused.append((PROXIES["probe"], str(error)))
    near = share_near(networks.costs.madds[first])
    more = (tuple(parts), tuple(refused), "synflow" in proxies, near)
    return Calibration(space, count, len(first), picked, published, *more)


def _alone_recipe(recipe: Recipe, key: str) -> Recipe:
    """Return the recipe of a proxy that trains each network alone: the space's own, or that at half the input."""
    if key == "short":
        return recipe
    return replace(recipe, input_scale=SMALL_FRACTION * recipe.input_scale, name=f"{recipe.name}, half the input")


def _reference_suffix(recipe: Recipe, reference: Recipe) -> str:
    """Name the reference's folder, one of another length than the usual one by itself, as a sweep has one recipe."""
    if recipe.images is not None:
        usual, length = round(recipe.images * LONGER), f"-{reference.images}-images"
        return "calibrate-reference" + ("" if reference.images == usual else length)
    usual, length = recipe.epochs * LONGER, f"-{reference.epochs:g}-epochs"
    return "calibrate-reference" + ("" if reference.epochs == usual else length)


def describe_calibration(calibration: Calibration) -> list[str]:
    """Describe in lines for a person what will be done, before anything is trained."""
    picked = calibration.picked
    madds = [count_cost(arch).madds for arch in picked]
    pairs = int(near_pairs(madds).sum()) // 2
    names = "; ".join(arch_label(arch) for arch in picked)
    proxies = [part.proxy for part in calibration.parts[1:]] + [SYNFLOW] * calibration.synflow + [MADDS_ALONE]
    proxies += [EXECUTED] if calibration.space.recipe.input_scale != 1 else []
    lines = [
        f"picked    {len(picked)} of {count_noun(calibration.different, 'different network')}, "
        f"{count_noun(pairs, 'pair')} within 25 % of MAdds: {names}",
        f"proxies   {', '.join(proxies)}",
    ]
    if calibration.asked > calibration.different:
        has = f"{calibration.asked} networks are wanted, the space has {calibration.different} different ones"
        lines.append(f"note      {has}: all are taken")
    if not pairs:
        lines.append("note      no two of them are within 25 % of MAdds, where alone a proxy could say more than MAdds")
    elif share_near(madds) > calibration.near_share:
        lines.append(f"note      {closeness_text(share_near(madds), calibration.near_share)}")
    return lines + [f"left out  {proxy}: {reason}" for proxy, reason in calibration.refused]


def sizes_text(archs: Sequence[ArchSpec], recipe: Recipe) -> str:
    """Say at which sizes the networks are trained, in pixels."""
    return f"{size_range(train_size(arch, recipe) for arch in archs)} px"


# ---------------------------------------------------------------- which networks: strata of cost


def stratify(archs: Sequence[ArchSpec], madds: Sequence[int], count: int) -> tuple[int, ...]:
    """Pick places of `count` of the networks (of all, if there are fewer), in order of MAdds, the earlier first of
    equals.

    From two on, the cheapest and the dearest are among them; from four on, a near pair, if there is one.
    """
    if len(archs) != len(madds):
        raise ValueError(f"networks: {len(archs)} and {len(madds)} MAdds given, one for each allowed")
    if count < 1:
        return ()
    order = np.argsort(np.asarray(madds, dtype=float), kind="stable")
    if count >= len(order):
        return tuple(order.tolist())
    looked_at = order[np.linspace(0, len(order) - 1, min(len(order), max(MOST, count))).astype(int)]
    ordered = np.asarray(madds, dtype=float)[looked_at]
    chosen = _choose(np.log(ordered), near_pairs(ordered), _differences([archs[i] for i in looked_at]), count)
    return tuple(looked_at[sorted(chosen)].tolist())


def _choose(log_madds: np.ndarray, near: np.ndarray, differences: np.ndarray, count: int) -> list[int]:
    """Choose `count` of the networks, which are in order of MAdds."""
    last = len(log_madds) - 1
    if count == 1:
        return [int(np.abs(log_madds - log_madds[[0, last]].mean()).argmin())]
    chosen = [0, last]
    edges = np.linspace(log_madds[0], log_madds[last], max(1, (count - 2) // GROUP) + 1)
    if count >= 4:
        for pair in _pairs_of_strata(edges, log_madds, near, differences):
            chosen += [i for i in pair if i not in chosen]
    stratum = np.searchsorted(edges[1:-1], log_madds, side="right")
    while len(chosen) < count:
        chosen.append(_next(chosen, stratum, log_madds, near, differences))
    return chosen


def _pairs_of_strata(edges: np.ndarray, log_madds: np.ndarray, near: np.ndarray, differences: np.ndarray):
    """Yield in each stratum that has near pairs, by their mean in log MAdds, the one whose shapes differ most."""
    first, second = np.nonzero(np.triu(near))
    stratum = np.searchsorted(edges[1:-1], (log_madds[first] + log_madds[second]) / 2, side="right")
    for each in range(len(edges) - 1):
        inside = np.flatnonzero(stratum == each)
        if len(inside):
            best = inside[differences[first[inside], second[inside]].argmax()]
            yield int(first[best]), int(second[best])


def _next(
    chosen: list[int], stratum: np.ndarray, log_madds: np.ndarray, near: np.ndarray, differences: np.ndarray
) -> int:
    """Choose, of the networks near a chosen one, those in the stratum with fewest chosen, of these the one near most of
    them, of these the most different in shape from those it is near to. Where none is near one, take the farthest in
    cost."""
    taken = np.bincount(stratum[chosen], minlength=len(log_madds))
    beside = near[:, chosen].sum(axis=1)
    shape = np.where(near[:, chosen], differences[:, chosen], np.inf).min(axis=1)
    gap = np.abs(np.subtract.outer(log_madds, log_madds[chosen])).min(axis=1)
    free = np.setdiff1d(np.arange(len(log_madds)), chosen).tolist()
    if not beside[free].any():
        return max(free, key=lambda i: gap[i])  # max keeps the first of equals
    return max((i for i in free if beside[i]), key=lambda i: (-taken[stratum[i]], beside[i], shape[i]))


def _differences(archs: list[ArchSpec]) -> np.ndarray:
    """Return [n, n] how much shapes differ: the sum over their numbers, each in fractions of its range here."""
    shapes = np.array([_shape(arch) for arch in archs], dtype=float)
    span = np.ptp(shapes, axis=0)
    shapes = shapes[:, span > 0] / span[span > 0]
    total = np.zeros((len(archs), len(archs)))
    for column in shapes.T:
        total += np.abs(np.subtract.outer(column, column))
    families = np.array([arch.family for arch in archs])
    return total + (families[:, None] != families[None, :])


def _shape(arch: ArchSpec) -> list[float]:
    """Return numbers that tell what a network spends its MAdds on; sizes as logarithms, so that ratios count."""
    blocks = sum(stage.n for stage in arch.stages)
    expansion = sum(stage.n * stage.t for stage in arch.stages) / blocks
    channels = sum(stage.n * stage.c for stage in arch.stages) / blocks
    side = math.sqrt(input_size(arch).area)
    kernel, squeeze = (
        sum(stage.n * cell_value(arch, stage, name) for stage in arch.stages) / blocks
        for name in ("kernel", "se_ratio")
    )
    sizes = (arch.width, side, kernel, max(1, arch.last_channels), arch.groups, blocks, expansion, channels)
    sizes += (arch.in_channels, arch.stem_channels, arch.divisor)
    words = (arch.linear_bottleneck, arch.residual == "bottleneck", arch.residual == "expansion")
    words += (arch.activation == "relu6", arch.activation == "hswish", arch.scale_last_conv, arch.depthwise)
    return [*np.log(sizes), *words, squeeze]
