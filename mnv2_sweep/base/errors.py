"""Mistakes a user can fix; `cli` prints each as one line and exits with 2.

SweepError
 ├─ ArchError    an architecture that cannot exist (zero channels, an even kernel)
 ├─ SpaceError   a YAML design space with mistakes (all of them, one a line)
 ├─ DataError    a data folder or archive that cannot be used
 ├─ StoreError   a results folder that cannot be read or written
 ├─ WeightsError a file of weights that cannot be used
 └─ ProfileError a profile of a device that cannot be used
"""


class SweepError(Exception):
    """A mistake the user can fix: the message says where, what was given, what is allowed, what to do."""


class ArchError(SweepError):
    """An architecture that cannot exist."""


class SpaceError(SweepError):
    """A design space file with mistakes; `mistakes` holds one finished line for each."""

    def __init__(self, mistakes: list[str]):
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class DataError(SweepError):
    """A data set that cannot be used."""


class StoreError(SweepError):
    """A results folder that cannot be used."""


class WeightsError(SweepError):
    """A file of weights that cannot be used."""


class ProfileError(SweepError):
    """A profile of a device that cannot be used."""
