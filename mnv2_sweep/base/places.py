"""Where the program keeps what is not a sweep's: decoded images, weights, profiles of devices."""

import os
from pathlib import Path

from mnv2_sweep.base.errors import DataError


def cache_folder() -> Path:
    """Return $MNV2_SWEEP_CACHE, or mnv2-sweep in the user's cache folder ($XDG_CACHE_HOME, ~/.cache)."""
    chosen = os.environ.get("MNV2_SWEEP_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnv2-sweep"
    except RuntimeError:
        raise DataError("no home folder is known to keep images and such in; set MNV2_SWEEP_CACHE") from None
