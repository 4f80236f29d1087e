"""A profile -> the latency of networks that were not measured: non-negative least squares over features, and its error.

Latency is what each feature (`devices.features`) costs the device, none of them less than nothing, times how much of it
a network has; fitted on whole networks, by relative errors. How good that is is told by networks left out: each is
predicted from all others, and the interval of a prediction is the error under which 95 % of these stay.

No model holds beyond what it has seen. A network is outside where it has more or less of a feature than every measured
one (SLACK is allowed), or where its mixture of features is so far from theirs that what is not known of the costs adds
more variance than the error of one network has: its leverage x' (X'X + r)^-1 x is above 1. Rows are relative; r says
what is known of a cost before anything is measured, that it is between nothing and all of a network's time.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module

import numpy as np

from mnv2_sweep.devices.features import FEATURES, PLACES, Feature, arch_features
from mnv2_sweep.devices.profile import Profile

CONFIDENCE = 0.95  # as in `base.intervals`, which needs scipy; whoever reads a space should not wait for that
SLACK = 0.05  # of the least and the most of a feature that was measured
MOST_LEVERAGE = 1.0
LEAST_SECONDS, LEAST_ERROR = 1e-9, 1e-3
MADDS = tuple(place for place, one in enumerate(FEATURES.values()) if one.unit == "MAdds")


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """What each feature costs [F], in seconds; the features [N, F] and seconds [N] of the networks that it was learnt
    from; what it says of each of these [N] when learnt from the others; what the features are. (Memory is learnt in the
    same way, in bytes from features of its own.)"""

    costs: np.ndarray
    features: np.ndarray
    seconds: np.ndarray
    left_out: np.ndarray
    kinds: tuple[Feature, ...] = tuple(FEATURES.values())

    @property
    def errors(self) -> np.ndarray:
        """Return the relative errors of networks that were left out [N]."""
        return self.left_out / self.seconds - 1

    @cached_property
    def margin(self) -> float:
        """Return by what factor, above 1, measured and predicted differ at most for 95 % of further networks, from
        those that were left out."""
        factors = np.sort(np.exp(np.abs(np.log(np.maximum(self.left_out, LEAST_SECONDS) / self.seconds))))
        at = int(np.ceil(CONFIDENCE * (len(factors) + 1)))
        return float(factors[min(at, len(factors)) - 1])

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the seconds [M] of networks with these features [M, F]."""
        return features @ self.costs

    def interval(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the most seconds [M], 95 %."""
        seconds = self.predict(features)
        return seconds / self.margin, seconds * self.margin

    def outside(self, features: np.ndarray) -> np.ndarray:
        """Say of each network [M] whether it lies beyond what was measured."""
        low, high = self._box
        beyond = ((features < low) | (features > high)).any(axis=1)
        return beyond | (self.leverage(features) > MOST_LEVERAGE)

    def leverage(self, features: np.ndarray) -> np.ndarray:
        """Return how much what is not known of the costs weighs in each prediction [M], against the error of one
        network."""
        scales, inverse = self._inverse
        rows = features / scales / np.maximum(self.predict(features), LEAST_SECONDS)[:, None]
        return ((rows @ inverse) * rows).sum(axis=1)

    def reasons(self, features: np.ndarray) -> list[str]:
        """Say in words why a network [F] is outside; empty where it is not."""
        low, high = self._box
        words, beyond = self.kinds, np.flatnonzero((features < low) | (features > high))
        said = []
        for at in sorted(beyond, key=lambda at: high[at] > 0):  # what no network had comes first
            measured = f"{self.features[:, at].min():,.0f} to {self.features[:, at].max():,.0f}" if high[at] else "none"
            said.append(f"{words[at].words}: {features[at]:,.0f} {words[at].unit} (measured: {measured})")
        if not said and self.leverage(features[None])[0] > MOST_LEVERAGE:
            said.append("its mixture of layers is unlike those that were measured")
        return said

    def suggest(self, features: np.ndarray, most: int = 5) -> list[int]:
        """Return the places of networks [M, F] that would bring in most of those outside, were they measured: one after
        the other that with the most leverage, until none is outside."""
        model, chosen = self, []
        while len(chosen) < most and (outside := model.outside(features)).any():
            place = int(np.argmax(np.where(outside, model.leverage(features), -1.0)))
            chosen.append(place)
            new, seconds = features[place][None], np.maximum(self.predict(features[place][None]), LEAST_SECONDS)
            model = replace(
                self,
                features=np.concatenate([model.features, new]),
                seconds=np.concatenate([model.seconds, seconds]),
                left_out=np.concatenate([model.left_out, seconds]),
            )
        return chosen

    @cached_property
    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.features.min(axis=0) * (1 - SLACK), self.features.max(axis=0) * (1 + SLACK)

    @cached_property
    def _inverse(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scales of the features, and (X'X + r)^-1 of the measured networks, scaled so.

        A scaled cost is between 0 and the root of N, as then one feature explains every network; 1 / 12 is the variance
        of a uniform distribution.
        """
        rows = self.features / self.seconds[:, None]
        scales = _scales(rows)
        rows = rows / scales
        variance = max(float(np.mean(self.errors**2)), LEAST_ERROR**2)
        return scales, np.linalg.inv(rows.T @ rows + 12 * variance / len(rows) * np.eye(len(scales)))


def fit_latency(profile: Profile) -> LatencyModel:
    """Learn the costs of features on the device of a profile."""
    features = arch_features(profile.archs)
    return fit_costs(features, profile.seconds)


def fit_costs(features: np.ndarray, seconds: np.ndarray, kinds: tuple[Feature, ...] | None = None) -> LatencyModel:
    """Learn the costs from features [N, F] (`kinds`: other ones than those of layers) and seconds [N] of networks, and
    predict each from the others."""
    kinds = kinds or tuple(FEATURES.values())
    return LatencyModel(_costs(features, seconds), features, seconds, predict_left_out(features, seconds), kinds)


def predict_left_out(features: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the seconds of each network [N], predicted from all others."""
    places = np.arange(len(seconds))
    return np.array([features[at] @ _costs(features[places != at], seconds[places != at]) for at in places])


def madds_alone(features: np.ndarray) -> np.ndarray:
    """Return features [N, 2] of a model that knows nothing but MAdds, and a constant, to compare with."""
    return np.column_stack([features[:, MADDS].sum(axis=1), features[:, PLACES["constant"]]])


def _costs(features: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the costs [F], at least 0, with the least sum of squared relative errors."""
    rows = features / seconds[:, None]
    scales = _scales(rows)
    costs, _ = import_module("scipy.optimize").nnls(rows / scales, np.ones(len(seconds)))
    return costs / scales


def _scales(rows: np.ndarray) -> np.ndarray:
    """Return the size of each column, infinite for a feature that no network has: it costs nothing."""
    scales = np.linalg.norm(rows, axis=0)
    return np.where(scales > 0, scales, np.inf)


def relative_quantiles(errors: np.ndarray) -> tuple[float, float]:
    """Return the median and the 95 % quantile of absolute errors."""
    return float(np.median(np.abs(errors))), float(np.quantile(np.abs(errors), CONFIDENCE))
