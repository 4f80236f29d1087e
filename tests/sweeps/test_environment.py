"""What env.json says about where a sweep ran."""

import json
import os
import platform
import subprocess

import numpy
import pytest
import torch

from mnv2_sweep import __version__
from mnv2_sweep.sweeps import environment
from mnv2_sweep.sweeps.environment import describe_environment


def test_versions_machine_and_device():
    record = describe_environment("mnv2-sweep run x.yaml", "cuda", "Some GPU")
    assert (record["command"], record["device"], record["device_name"]) == (
        "mnv2-sweep run x.yaml",
        "cuda",
        "Some GPU",
    )
    assert (record["mnv2-sweep"], record["torch"], record["numpy"]) == (
        __version__,
        torch.__version__,
        numpy.__version__,
    )
    assert (record["python"], record["cores"]) == (platform.python_version(), os.cpu_count())
    assert record["processor"] and record["system"] == platform.platform()
    assert json.loads(json.dumps(record)) == record


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    record = describe_environment("", "cpu", None)
    assert record["no-such-package"] is None and record["numpy"] == numpy.__version__


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with a commit, and git as a new user has it."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = tmp_path / "repository"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "environment.py").write_text("# code\n")
    (folder / ".gitignore").write_text("site-packages\n")
    run_git(folder, "init")
    run_git(folder, "add", ".")
    run_git(folder, "-c", "user.name=n", "-c", "user.email=e", "commit", "-m", "first")
    return folder


def run_git(folder, *words) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_the_code_and_whether_it_was_changed(repository, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(repository / "package" / "environment.py"))
    commit = run_git(repository, "rev-parse", "--short=12", "HEAD")
    assert describe_environment("", "cpu", None)["commit"] == commit
    run_git(repository, "-c", "user.name=n", "-c", "user.email=e", "tag", "-a", "v1", "-m", "a tag is no commit")
    assert describe_environment("", "cpu", None)["commit"] == commit
    (repository / "package" / "environment.py").write_text("# changed\n")
    assert describe_environment("", "cpu", None)["commit"] == f"{commit}-dirty"


@pytest.mark.parametrize("missing", ["repository", "git"])
def test_no_commit_where_there_is_none(tmp_path, repository, monkeypatch, missing):
    home = tmp_path if missing == "repository" else repository / "package"
    monkeypatch.setattr(environment, "__file__", str(home / "environment.py"))
    if missing == "git":
        monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_environment("", "cpu", None)["commit"] is None


def test_no_commit_of_somebody_elses_repository(repository, monkeypatch):
    """Installed in an environment that lies, ignored, in the repository of a user's own project."""
    installed = repository / "site-packages" / "mnv2_sweep"
    installed.mkdir(parents=True)
    (installed / "environment.py").write_text("# code\n")
    monkeypatch.setattr(environment, "__file__", str(installed / "environment.py"))
    assert describe_environment("", "cpu", None)["commit"] is None


def test_a_machine_without_proc_still_has_a_processor(monkeypatch):
    def no_file(path, *words, **options):
        raise FileNotFoundError(path)

    monkeypatch.setattr(environment.Path, "read_text", no_file)
    assert describe_environment("", "cpu", None)["processor"]
