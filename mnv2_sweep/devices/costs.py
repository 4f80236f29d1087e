"""Names of costs, as spaces, options and tables say them -> their units, and their values for networks.

    madds  params  peak_activation_bytes  depth          counted (`nets.cost`)
    peak_activation_int8_bytes                           the same with one byte for each activation
    file_bytes  file_int8_bytes                          what a file of the network has to hold
    latency@NAME                                         milliseconds on the device of a profile (`device list`)
    memory@NAME                                          bytes of a process with runtime and network there

A file has 4 bytes for each weight and for each bias, into which batch norm is folded; with 8 bits a byte for each
weight, and 16 for each output channel: its bias, its scales and zero points. What formats add for each operation is
left out. Costs of a device are predicted (`devices.latency`), with an interval, and are NaN where a network lies
outside of what was measured.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.base.text import BYTE_UNITS, count_noun, percent, printable
from mnv2_sweep.devices.features import FEATURES, PLACES, Feature, arch_features
from mnv2_sweep.devices.folder import devices_folder, find_profile, names_text, profile_names, profile_path
from mnv2_sweep.devices.latency import LatencyModel, fit_costs, relative_quantiles
from mnv2_sweep.devices.profile import LEAST_NETWORKS, Profile
from mnv2_sweep.devices.published import published_profiles
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost_arrays import CostArrays, count_archs
from mnv2_sweep.nets.plan import WEIGHTED
from mnv2_sweep.nets.resolve import find_steps
from mnv2_sweep.nets.steps import Part, find_parts

COUNT_UNITS = {"": Decimal(1), "K": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "B": Decimal(10**9)}
SIZE_UNITS = {unit: Decimal(size) for unit, size in BYTE_UNITS.items()}
TIME_UNITS = {"us": Decimal("0.001"), "ms": Decimal(1), "s": Decimal(1000)}
INT8_CHANNEL_BYTES = 16
MOST_SHOWN = 40  # signs of a name that is none


@dataclass(frozen=True)
class CostName:
    """A cost as it is called: its name, the heading of its column, words for a sentence, the units in which a bound on
    it is said and how much of its own unit one of each is, a bound as an example; `whole`: its values are whole."""

    name: str
    heading: str
    words: str
    units: Mapping[str, Decimal]
    example: str
    whole: bool = True

    @property
    def profile(self) -> str:
        """Return the name of the profile that it is predicted from; "" where it is counted."""
        return self.name.partition("@")[2]

    def text(self, value: float) -> str:
        """Return a value for a table, "-" where it is not known."""
        if np.isnan(value):
            return "-"
        if self.whole:
            return f"{value:,.0f}"
        return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


class Values(NamedTuple):
    """A cost of networks [N] in its own unit, and the interval of a prediction [N], 95 %: None where it is exact. NaN
    where a network lies outside of what was measured."""

    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Rows:
    """Networks as arrays: what they cost, and what else is counted of them when it is first asked for."""

    def __init__(
        self, costs: CostArrays, count_features: Callable[[], np.ndarray], count_contents: Callable[[], np.ndarray]
    ):
        self.costs, self._count_features, self._count_contents = costs, count_features, count_contents

    @cached_property
    def features(self) -> np.ndarray:
        """Return what a device has to do for them [N, F], see `devices.features`."""
        return self._count_features()

    @cached_property
    def contents(self) -> np.ndarray:
        """Return weights and biases of their files [N, 2]."""
        return self._count_contents()


def count_rows(archs: Sequence[ArchSpec]) -> Rows:
    """Return networks as arrays, counted one by one. Raises ArchError on an impossible spec."""
    return Rows(count_archs(archs), lambda: arch_features(archs), lambda: arch_contents(archs))


# ---------------------------------------------------------------- names


COUNT_EXAMPLE, SIZE_EXAMPLE = "<= 300M", "<= 2 MiB"
COUNTED = {
    name: CostName(
        name, heading, words, *((SIZE_UNITS, SIZE_EXAMPLE) if "bytes" in name else (COUNT_UNITS, COUNT_EXAMPLE))
    )
    for name, heading, words in (
        ("madds", "MAdds", "MAdds"),
        ("params", "params", "params"),
        ("peak_activation_bytes", "peak activations (bytes)", "peak activations"),
        ("depth", "depth", "depth"),
        ("peak_activation_int8_bytes", "peak activations int8 (bytes)", "peak activations in 8 bits"),
        ("file_bytes", "file (bytes)", "file size"),
        ("file_int8_bytes", "file int8 (bytes)", "file size in 8 bits"),
    )
}
ALWAYS = tuple(CostArrays.__dataclass_fields__)  # costs that every listing has
OF_DEVICE = re.compile(r"(latency|memory)@(.*)", re.S)
FORMS = "latency@NAME, memory@NAME"


def find_cost(name: str) -> CostName:
    """Return the cost of that name. Raises ProfileError with those that there are, where it is none or its profile is
    not there."""
    if name in COUNTED:
        return COUNTED[name]
    match = OF_DEVICE.fullmatch(name)
    folder = devices_folder()
    names = f"profiles: {names_text(folder)}"
    if not match:
        raise ProfileError(
            f"unknown cost '{printable(name)[:MOST_SHOWN]}'; allowed: {', '.join(COUNTED)}, {FORMS} ({names})"
        )
    kind, profile = match.groups()
    if profile not in (*profile_names(folder), *published_profiles()):
        advice = "'mnv2-sweep device list' says more of them, 'mnv2-sweep device add' takes a file"
        raise ProfileError(f"no profile named '{printable(profile)[:MOST_SHOWN]}' ({names}); {advice}")
    if kind == "latency":
        return CostName(name, f"{name} (ms)", f"latency on {profile}", TIME_UNITS, "<= 15 ms", whole=False)
    return CostName(name, f"{name} (bytes)", f"memory on {profile}", SIZE_UNITS, "<= 128 MiB")


def looks_like_cost(name: str) -> bool:
    """Say whether a word is meant as a cost of a device."""
    return OF_DEVICE.fullmatch(name) is not None


# ---------------------------------------------------------------- values


def join_values(parts: Sequence[Values]) -> Values:
    """Return the values of all parts, one after the other."""
    columns = zip(*parts, strict=True)
    return Values(*(None if column[0] is None else np.concatenate(column) for column in columns))


def estimate(name: str, networks: Rows) -> Values:
    """Return a cost of all networks. Raises ProfileError where its profile can't say it."""
    if name in ALWAYS:
        return Values(getattr(networks.costs, name))
    if name == "peak_activation_int8_bytes":
        return Values(networks.costs.peak_activation_bytes // 4)
    if name in COUNTED:
        weights, biases = networks.contents.T
        return Values(weights + INT8_CHANNEL_BYTES * biases if "int8" in name else 4 * (weights + biases))
    one = find_model(name)
    rows = one.rows(networks)
    outside = one.model.outside(rows)
    middle = np.where(outside, np.nan, one.unit * one.model.predict(rows))
    return Values(middle, middle / one.model.margin, middle * one.model.margin)


@dataclass(frozen=True, eq=False)
class Predictor:
    """What predicts a cost of a device: the profile, the model, of which features of networks, and how much of the
    cost's own unit one of the model's is."""

    profile: Profile
    model: LatencyModel
    rows: Callable[[Rows], np.ndarray]
    unit: float


def find_model(name: str) -> Predictor:
    """Return what predicts latency@NAME or memory@NAME. Raises ProfileError."""
    kind, profile = name.split("@", 1)
    if profile in published_profiles():
        return _fit(kind, profile, devices_folder() / profile, 0)
    path = profile_path(profile, devices_folder())
    return _fit(kind, profile, path, path.stat().st_mtime_ns)


def describe_model(name: str) -> str:
    """Say where latency@NAME or memory@NAME comes from, and how far off predictions are. Raises ProfileError."""
    one = find_model(name)
    median, most = relative_quantiles(one.model.errors)
    networks = count_noun(len(one.profile.networks), "network")
    error = f"{percent(median)} % (median), {percent(most)} % (95 % of them)"
    if one.profile.source:
        return f"{name}: published, not measured by you: {one.profile.title} ({one.profile.source}); learnt from " \
               f"{networks}, those left out within {error}"  # fmt: skip
    return f"{name}: one image on {one.profile.title}; learnt from {networks}, those left out within {error}"


@lru_cache(maxsize=32)
def _fit(kind: str, name: str, path: Path, _: int) -> Predictor:
    """Learn from a profile; again where its file is another one, as its time says."""
    profile = find_profile(name, path.parent)
    if kind == "latency":
        model = fit_costs(arch_features(profile.archs), profile.seconds)
        return Predictor(profile, model, lambda networks: networks.features, 1000.0)
    known = [one for one in profile.networks if one.peak_bytes is not None]
    if len(known) < LEAST_NETWORKS:
        raise ProfileError(
            f"memory@{profile.name}: it was measured for {len(known)} networks, at least {LEAST_NETWORKS} are needed; "
            "run the script again beside its file, with more --minutes, where the system tells memory (Linux, Android)"
        )
    rows = _memory_rows(count_rows([one.arch for one in known]))
    model = fit_costs(rows, np.array([float(one.peak_bytes) for one in known]), MEMORY_FEATURES)
    return Predictor(profile, model, _memory_rows, 1.0)


MEMORY_FEATURES = (
    FEATURES["weights"],
    Feature("peak activations", "bytes", "per byte"),
    FEATURES["layers"],
    FEATURES["constant"],
)


def _memory_rows(networks: Rows) -> np.ndarray:
    features = networks.features
    weights, layers, constant = (features[:, PLACES[name]] for name in ("weights", "layers", "constant"))
    return np.column_stack([weights, networks.costs.peak_activation_bytes.astype(float), layers, constant])


def part_contents(part: Part) -> np.ndarray:
    """Count the weights and biases [2] that a file of a network has for this part of it."""
    layers = [layer for layer in part.layers() if layer.op in WEIGHTED]
    return np.array([sum(layer.weights for layer in layers), sum(layer.c_out for layer in layers)], float)


def arch_contents(archs: Sequence[ArchSpec]) -> np.ndarray:
    """Count weights and biases of every network [N, 2], one by one. Raises ArchError on an impossible spec."""
    rows = [sum(map(part_contents, find_parts(find_steps(arch)))) for arch in archs]
    return np.array(rows).reshape(-1, 2)
