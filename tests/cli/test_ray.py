"""--executor ray up to the point where a cluster is needed."""

import sys

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.ray import ENVIRONMENT, join_cluster
from mnv2_sweep.sweeps.settings import RunSettings


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    """What the command sets for Ray is forgotten afterwards; no token lies about."""
    for name in (*ENVIRONMENT, "RAY_AUTH_MODE"):
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
