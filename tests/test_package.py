"""What the wheel and the source archive hold, and that the wheel runs where nothing else of the project is."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_sdist, build_wheel

ROOT = Path(__file__).parent.parent
OWN_SPACE = """
axes: {width: [0.35], resolution: [32]}
recipe: {base: short, images: 64}
data: shapes
"""


def build(how, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / how(str(folder))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(build_wheel, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_module_and_the_spaces_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mnv2_sweep").rglob("*.py")}
    spaces = {f"mnv2_sweep/shipped_spaces/{path.name}" for path in (ROOT / "spaces").glob("*.yaml")}
    texts = {str(path.relative_to(ROOT)) for path in (ROOT / "mnv2_sweep" / "formats").glob("*.txt")}
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "mnv2_sweep" / "report" / "templates").iterdir()}
    assert spaces and len(texts) > 5 and any(path.endswith("d3.LICENSE.txt") for path in templates)
    assert names == modules | spaces | texts | templates | {"mnv2_sweep/py.typed"}


def test_the_source_archive_holds_what_a_wheel_is_made_of(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with tarfile.open(tmp_path / build_sdist(str(tmp_path))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "spaces/quick.yaml",
        "mnv2_sweep/cli/main.py",
        "tests/conftest.py",
    }
    assert wanted <= names and not any(
        name.startswith((".venv", ".git/")) or name.startswith("results/") and "example" not in name for name in names
    )


@pytest.mark.heavy
@pytest.mark.parametrize("how", [build_wheel, build_sdist], ids=["wheel", "source archive"])
def test_it_runs_in_an_empty_environment(how, tmp_path):
    """With the versions of this environment, installed anew: a space of one's own, and one that ships, by its name."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv" / "bin" / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, build(how, tmp_path)], check=True)
    (tmp_path / "mine.yaml").write_text(OWN_SPACE)
    command = tmp_path / "venv" / "bin" / "mnv2-sweep"

    def call(*words: str) -> str:
        return subprocess.run([command, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert "1 trial" in call("plan", "mine.yaml") and "val top-1" in call("run", "mine.yaml")
    assert (tmp_path / "plots" / "mine" / "pareto.png").stat().st_size > 10_000
    assert "22 networks" in call("plan", "paper_grid")
    assert "plots/widths/costs.png" in call("plot", "--costs", "widths")
