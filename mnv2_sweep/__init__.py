"""mnv2-sweep: which MobileNetV2 should I use, on my data, for my device, within my budget, and how sure are we?

In a notebook: `from mnv2_sweep import load_sweep, recommend`. All else is imported from the modules, for instance
`from mnv2_sweep.nets.arch import ArchSpec`; docs/architecture.md lists them.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mnv2-sweep")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

_LATER = {"load_sweep": "mnv2_sweep.analysis.sweep", "recommend": "mnv2_sweep.analysis.recommend"}  # when first asked
__all__ = ["__version__", *_LATER]


def __getattr__(name: str):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
