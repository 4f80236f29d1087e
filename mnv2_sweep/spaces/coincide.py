"""Networks -> which of them are the same: specs that resolve to one plan are one network."""

from dataclasses import dataclass

import numpy as np

from mnv2_sweep.spaces.networks import Networks


@dataclass(frozen=True, slots=True, eq=False)
class Coinciding:
    """Which specs are one network: `first`, the first spec of every network, in order; `network_of`, for every spec its
    place in `first`."""

    first: np.ndarray
    network_of: np.ndarray


def find_coinciding(networks: Networks) -> Coinciding:
    """Group the specs that resolve to the same plan, as `arch_key` does."""
    names = networks.names()
    _, first, which = np.unique(names, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # networks in the order of their first specs
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return Coinciding(first[order], place[which.reshape(-1)])
