"""--executor ray up to the point where a cluster is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.ray import ENVIRONMENT, LOOPBACK, join_cluster
from mnv2_sweep.sweeps.settings import RunSettings


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    """What the command sets for Ray is forgotten afterwards; no token lies about."""
    for name in (*ENVIRONMENT, LOOPBACK, "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "as it was")
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_local_executor_needs_no_cluster():
    settings = RunSettings(2)
    assert join_cluster(settings, None) is settings


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "mnv2_sweep.sweeps.ray_driver", raising=False)
    monkeypatch.delitem(sys.modules, "mnv2_sweep.sweeps.ray_node", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SweepError) as caught:
        join_cluster(RunSettings(0, executor="ray"), None)
    install = "pip install 'mnv2-sweep[ray]'"
    assert str(caught.value) == f"--executor ray: Ray is not installed here; install it with: {install}"


# Starts a Ray of its own and prints where its processes listen.
LISTENERS = """
import os, psutil
from mnv2_sweep.cli.ray import join_cluster
from mnv2_sweep.sweeps.settings import RunSettings
join_cluster(RunSettings(1, executor="ray"), 1)
ours = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
for one in psutil.net_connections("inet"):
    if one.status == "LISTEN" and one.pid in ours:
        print(one.laddr.ip.removeprefix("::ffff:"))
"""


@pytest.mark.heavy  # Ray is started
def test_a_ray_of_our_own_is_heard_on_this_machine_only():
    pytest.importorskip("ray", reason="Ray is an extra: pip install 'mnv2-sweep[ray]'")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    shown = subprocess.run(
        [sys.executable, "-c", LISTENERS], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(shown) > 2 and set(shown) == {"127.0.0.1"}
