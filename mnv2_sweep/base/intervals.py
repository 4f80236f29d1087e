"""How far a measured share may be from the true one."""

import numpy as np
from scipy.special import ndtri

CONFIDENCE = 0.95


def wilson_interval(fraction: float, n: float) -> tuple[float, float]:
    """Return Wilson's score interval of a fraction of n images, by formula.

    `fraction` x n may be fractional (a mean over seeds).

    Never empty and never outside 0 to 1, unlike the normal approximation. NaN where n is 0 or the fraction is NaN.
    """
    if not n > 0 or np.isnan(fraction):
        return np.nan, np.nan
    z2 = ndtri((1 + CONFIDENCE) / 2) ** 2
    centre = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (fraction * (1 - fraction) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    low, high = min(fraction, centre - half), max(fraction, centre + half)  # rounding must not leave it outside
    return float(max(0.0, low)), float(min(1.0, high))
