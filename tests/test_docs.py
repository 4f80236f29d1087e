"""The README against the program: its commands exist, its files exist, its example is the committed one."""

import re
from pathlib import Path

import pytest
import typer

from mnv2_sweep.cli.main import app
from mnv2_sweep.spaces.read import load_space

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands
LINES = sorted({line.removeprefix("$ ").strip() for line in re.findall(r"^(?:\$ )?mnv2-sweep [^\n]*$", README, re.M)})


def leaf_commands(commands, before=()):
    for name, command in commands.items():
        if hasattr(command, "commands"):
            yield from leaf_commands(command.commands, (*before, name))
        else:
            yield " ".join((*before, name)), command


ALL = dict(leaf_commands(COMMANDS))


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_for_itself_and_its_options_and_is_in_the_readme(name):
    assert ALL[name].help
    silent = [p.name for p in ALL[name].params if p.param_type_name == "option" and not p.help and p.name != "help"]
    assert silent == []
    assert f"mnv2-sweep {name}" in README


@pytest.mark.parametrize("line", LINES)
def test_commands_in_the_readme_exist_with_their_options(line):
    words = line.split("#")[0].split()[1:]
    name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in ALL or words[0].startswith("--"))
    if words[0].startswith("--"):
        assert words[0] in ("--help", "--version", "--install-completion")
        return
    known = {option for parameter in ALL[name].params for option in parameter.opts} | {"--help"}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known


def no_test_readme_lists_every_module():
    tree = README[README.index("## How it fits together") :]
    modules = {path.name for path in (ROOT / "mnv2_sweep").rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert modules - set(re.findall(r"\w+\.py", tree)) == set()


def test_files_that_the_readme_links_to_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_space_in_the_readme_is_valid(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", README, re.S)[1]
    path = tmp_path / "readme.yaml"
    path.write_text(text)
    assert load_space(path).grid_size == 12


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_space_begins_with_the_question_it_answers(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and "?" in first
    assert load_space(path)
    assert f"`{path.name}`" in README
