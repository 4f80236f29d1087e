"""Features and axes of many networks -> the few that are measured, so that a model of all can be learnt from them.

First, for each feature, the networks with the least and the most of it, beyond which no model may go. Then one after
the other, always the network that is farthest from all chosen ones, by the logarithms of its features; distances count
more where it has values of axes that few chosen ones have. Nothing is random: the same space gives the same networks.
"""

import numpy as np

MOST_CANDIDATES = 4000  # of larger spaces every n-th network is looked at, and all ends
SAME = 1e-9


def choose_networks(features: np.ndarray, axes: np.ndarray, count: int) -> np.ndarray:
    """Return the places of at most `count` networks that differ, the chosen ones in order of their place.

    `features` [N, F] are those of `devices.features`, `axes` [N, A] the index of its value on every axis, -1 where a
    network is not of the grid.
    """
    ends = _find_ends(features)[:count]
    spread = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST_CANDIDATES)).astype(int))
    places = np.unique(np.concatenate([ends, spread]))
    points, values = _scale(features[places]), axes[places]
    chosen = np.searchsorted(places, ends).tolist()
    while len(chosen) < count:
        distances = _distances(points, chosen)
        best = int(np.argmax(distances * (1 + _rarity(values, chosen))))
        if distances.max() <= SAME:
            break
        chosen.append(best)
    return places[sorted(chosen)]


def _find_ends(features: np.ndarray) -> list[int]:
    """Return places of networks that have, between them, the least and the most of every feature."""
    ends: list[int] = []
    for column in features.T:
        for extreme, place in ((column.min(), column.argmin()), (column.max(), column.argmax())):
            if not (column[ends] == extreme).any():
                ends.append(int(place))
    return ends


def _scale(features: np.ndarray) -> np.ndarray:
    """Return logarithms from 0 to 1, without features that are the same everywhere."""
    points = np.log1p(features)
    spans = points.max(axis=0) - points.min(axis=0)
    varied = spans > SAME
    return (points[:, varied] - points[:, varied].min(axis=0)) / spans[varied]


def _distances(points: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Return how far each network is from the nearest chosen one."""
    return np.min([np.linalg.norm(points - points[one], axis=1) for one in chosen], axis=0)


def _rarity(values: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Return for each network the mean, over the axes, of how rare its value is among the chosen: 1 where none has it,
    1/2 where one has, and so on."""
    if not values.shape[1]:
        return np.zeros(len(values))
    rarity = np.zeros(len(values))
    for axis in values.T:
        counts = np.bincount(axis[chosen] + 1, minlength=axis.max() + 2)
        rarity += 1 / (1 + counts[axis + 1])
    return rarity / values.shape[1]
