"""Networks -> which of them are the same: specs that resolve to one plan are one network."""

from dataclasses import dataclass

import numpy as np

from mnv2_sweep.nets.arch import RESIDUALS
from mnv2_sweep.nets.cost_arrays import Columns, equal_rows, known_rows, last_channels, round_array
from mnv2_sweep.nets.mobilenet_v2 import STEM_CHANNELS
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.spaces.networks import Networks


@dataclass(frozen=True, slots=True, eq=False)
class Coinciding:
    """Which specs are one network: `first`, the first spec of every network, in order; `network_of`, for every spec its
    place in `first`."""

    first: np.ndarray
    network_of: np.ndarray


def find_coinciding(networks: Networks) -> Coinciding:
    """Group the specs that resolve to the same plan, as `arch_key` does."""
    places: dict[bytes, int] = {}
    first: list[int] = []
    network_of = np.empty(len(networks), np.int64)
    at = 0
    for columns in networks.columns():
        for key in network_keys(columns):
            place = places.setdefault(key, len(places))
            if place == len(first):
                first.append(at)
            network_of[at] = place
            at += 1
    return Coinciding(np.array(first, np.int64), network_of)


def network_keys(columns: Columns) -> list[bytes]:
    """Return one name a row, equal for two rows exactly if their `arch_key`s are, but not that one."""
    described = known_rows(columns)
    keys: list[bytes] = [b""] * len(columns)
    if described.any():
        plans = _describe_plans(columns.take(described)).astype("<i8")
        names = plans.view(np.dtype((np.void, plans.dtype.itemsize * plans.shape[1]))).ravel().tolist()
        for row, name in zip(np.flatnonzero(described), names, strict=True):
            keys[row] = name
    if not described.all():
        others = np.flatnonzero(~described)
        first, which = equal_rows(columns.take(others))
        names = [arch_key(columns.arch(row)).encode() for row in others[first]]
        for row, place in zip(others, which, strict=True):
            keys[row] = names[place]
    return keys


def _describe_plans(columns: Columns) -> np.ndarray:
    """Return all that tells one MobileNetV2 plan from another, as integers [N, any].

    Rows of the table that only go on as the row before (same t, same channels, stride 1) are joined to it, and where
    no block has a shortcut, how they would be placed makes no difference.
    """
    fields, (count, rows) = columns.fields, columns.t.shape
    width = fields["width"]
    stem = round_array(STEM_CHANNELS * width)
    runs = np.zeros((count, rows, 4), np.int64)
    at, everyone = np.full(count, -1), np.arange(count)
    channels, hidden, any_narrow, any_wide = stem.copy(), np.zeros(count, np.int64), False, False
    for row in range(rows):
        t, n, stride = columns.t[:, row], columns.n[:, row], columns.s[:, row]
        c_out = round_array(columns.c[:, row] * width)
        present = n > 0
        last = runs[everyone, at]  # of the first row, at = -1: still zeros, which equal no t
        goes_on = present & (stride == 1) & (last[:, 0] == t) & (last[:, 1] == c_out)
        at = at + (present & ~goes_on)
        new = present & ~goes_on
        runs[everyone[new], at[new]] = np.stack([t, c_out, n, stride], axis=1)[new]
        runs[everyone[goes_on], at[goes_on], 2] += n[goes_on]
        # Shortcuts: of the first block, of the second, of later ones.
        first_hidden, later_hidden = channels * t, c_out * t
        any_narrow |= present & (((stride == 1) & (channels == c_out)) | (n > 1))
        any_wide |= present & ((hidden == first_hidden) | ((n > 1) & (stride == 1) & (channels == c_out)) | (n > 2))
        # 0 where the last block's expanded tensor can't be joined to
        after = np.where(n > 1, later_hidden, first_hidden * (stride == 1))
        hidden, channels = np.where(present, after, hidden), np.where(present, c_out, channels)
    residual = fields["residual"]
    narrow, wide = (residual == RESIDUALS.index(word) for word in ("bottleneck", "expansion"))
    placed = np.where((narrow & any_narrow) | (wide & any_wide), residual, RESIDUALS.index("none"))
    dropout = np.ascontiguousarray(fields["dropout"], np.float64).view(np.int64)
    names = ("resolution", "kernel", "linear_bottleneck", "classes", "activation", "depthwise")
    whole = [last_channels(columns), *(fields[name].astype(np.int64) for name in names)]
    return np.ascontiguousarray(np.column_stack([stem, placed, dropout, *whole, runs.reshape(count, -1)]))
