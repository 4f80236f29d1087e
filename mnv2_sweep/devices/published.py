"""Times that others published of their devices -> profiles to look at without a device: not one's own, and said so.

Their names begin with PREFIX, which no profile that is added may have, so that a bound or a column says by its name
that it is not of one's own device. Nothing is known of their noise, their memory, or the files that ran.
"""

from mnv2_sweep.devices.profile import LEAST, Machine, Measured, Profile
from mnv2_sweep.paper.published import TIMINGS, Timings

PREFIX = "published-"


def published_profiles() -> dict[str, Profile]:
    """Return the published profiles by name."""
    return {one.name: _make_profile(one) for one in TIMINGS}


def _make_profile(one: Timings) -> Profile:
    networks = tuple(Measured(timing.arch, None, None, (timing.milliseconds / 1000,), ()) for timing in one.networks)
    return Profile(
        one.name, one.device, one.runtime, "", one.int8, one.threads, LEAST, "published networks", "",
        Machine(one.device, "", "", 0, 0, "", ""), (), networks, one.name, f"{one.source}; {one.conditions}",
    )  # fmt: skip
