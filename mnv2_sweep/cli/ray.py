"""What the command line does with --executor ray: it joins the cluster instead of starting worker processes of its
own."""

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from mnv2_sweep.base.errors import SweepError

# Read when Ray is imported or started. It reports how it is used unless told not to; what it prints about lost
# workers and nodes, many lines each, is in our own records; and it should leave the GPUs of CPU trials alone.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# A Ray of our own then listens on the loopback only, as it does by itself on the systems that this names.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

# Where Ray looks for the token of a cluster that wants one.
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
TOKEN_FILE = Path("~/.ray/auth_token")


def join_cluster(settings, workers: int | None):
    """Return the RunSettings with `elsewhere` and the workers there, `workers` of them if that is given; connects to
    the cluster.

    Settings of another executor come back as they are. Raises SweepError.
    """
    if settings.executor != "ray":
        return settings
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    joins = bool(settings.address or os.environ.get("RAY_ADDRESS"))
    if not joins:
        os.environ.setdefault(LOOPBACK, "0")
    if joins and _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # a cluster that wants none does not mind
    try:
        from mnv2_sweep.sweeps.ray_driver import connect, count_slots, run_ray, trial_demand
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "ray":
            raise
        raise SweepError(
            "--executor ray: Ray is not installed here; install it with: pip install 'mnv2-sweep[ray]'"
        ) from None
    from mnv2_sweep.sweeps.settings import usable_cores

    connect(settings.address, workers or usable_cores())
    slots = workers or count_slots(trial_demand(settings.limits, settings.per_gpu))
    if not slots:
        raise SweepError(
            "--executor ray: no node of the cluster has room for a trial; see 'ray status', or give --workers to wait"
        )
    run = partial(run_ray, workers=workers, limits=settings.limits, per_gpu=settings.per_gpu)
    return replace(settings, workers=slots, elsewhere=run)


def _has_token() -> bool:
    with suppress(RuntimeError):  # there is no home
        return any(name in os.environ for name in TOKEN_VARIABLES) or TOKEN_FILE.expanduser().exists()
    return False
