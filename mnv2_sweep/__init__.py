"""mnv2-sweep: which MobileNetV2 should I use, on my data, for my device, within my budget, and how sure are we?

Import from the modules, for instance `from mnv2_sweep.nets.arch import ArchSpec`; docs/architecture.md lists them.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mnv2-sweep")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"
