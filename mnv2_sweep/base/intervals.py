"""How far a measured share may be from the true one."""

import numpy as np
from scipy.special import ndtri

CONFIDENCE = 0.95


def wilson_interval(fraction: float, n: float) -> tuple[float, float]:
    """Return Wilson's score interval of a fraction of n images, by formula.

    `fraction` x n may be fractional (a mean over seeds).

    Never empty and never outside 0 to 1, unlike the normal approximation. NaN where n is 0 or the fraction is NaN.
    """
    low, high = wilson_intervals(np.array([fraction]), np.array([n]))
    return float(low[0]), float(high[0])


def wilson_intervals(fractions: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of each fraction of as many images, see `wilson_interval`."""
    z2 = ndtri((1 + CONFIDENCE) / 2) ** 2
    n = np.where(n > 0, n, np.nan)
    centre = (fractions + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (fractions * (1 - fractions) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    low, high = np.minimum(fractions, centre - half), np.maximum(fractions, centre + half)
    return np.maximum(0.0, low), np.minimum(1.0, high)  # rounding must not leave the fraction outside
