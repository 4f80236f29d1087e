"""The documents against the program: commands and options exist, files exist, generated pages are as generated."""

import difflib
import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.cli.main import app
from mnv2_sweep.spaces.read import SECTIONS, load_space
from mnv2_sweep.spaces.space import FIELD_TYPES
from mnv2_sweep.trials.recipe import Recipe

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("findings/*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
MOST_WORDS = 1200
COMMAND_LINE = runpy.run_path(str(DOCS / "make_command_line.py"))
MAKE_SPACES = runpy.run_path(str(DOCS / "make_spaces.py"))
ARCHITECTURE = runpy.run_path(str(DOCS / "make_architecture.py"))
ALL = dict(COMMAND_LINE["list_commands"](typer.main.get_command(app)))
OPTIONS = {name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} for name, command in ALL.items()}
OF_THE_PROGRAM = {"--help", "--version", "--install-completion"}
OF_OTHERS = {"--generate", "--gpus-per-node", "--signal", "--list"}  # of ray, sbatch, and the script for a device


def commands_in(text: str) -> set[str]:
    """Every command of ours in a page: lines of their own, with those that a backslash continues, and in backticks."""
    text = re.sub(r" *\\\n *", " ", text)
    lines = re.findall(r"^ *(?:\$ )?(mnv2-sweep [^\n]*)$", text, re.M)
    return {" ".join(line.split()) for line in [*lines, *re.findall(r"`(mnv2-sweep [^`]+)`", text)]}


def paths_linked_in(text: str) -> list[tuple[str, str]]:
    """(path, anchor) of every link and picture that does not lead to the web."""
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S))
    return [(link.partition("#")[0], link.partition("#")[2]) for link in links if not link.startswith("http")]


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


WRITTEN = sorted(
    {(page, line) for page, path in zip(NAMES, PAGES, strict=True) for line in commands_in(path.read_text())}
)


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_for_itself_and_its_options_and_is_in_the_readme(name):
    assert ALL[name].help
    silent = [p.name for p in ALL[name].params if p.param_type_name == "option" and not p.help and p.name != "help"]
    assert silent == []
    assert f"mnv2-sweep {name}" in README


@pytest.mark.parametrize("page, line", WRITTEN, ids=lambda value: value[:60])
def test_commands_in_the_documents_exist_with_their_options(page, line):
    words = re.split(r" #| &$", line)[0].split()[1:]
    if words[0].startswith("--"):
        assert words[0] in OF_THE_PROGRAM
        return
    if words[0] == "COMMAND":
        return
    name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in ALL), None)
    assert name, f"{page}: {line}: no such command"
    known = OPTIONS[name] | {"--help"}
    assert {word.split("=")[0].strip(",;.)") for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_options_in_the_documents_exist_in_some_command(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
    codes = re.findall(r"`([^`]+)`", text)
    named = {option for code in codes for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", code)}
    assert named - set.union(*OPTIONS.values()) - OF_THE_PROGRAM - OF_OTHERS == set()


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_files_and_headings_that_the_documents_link_to_exist(path):
    for link, anchor in paths_linked_in(path.read_text()):
        target = (path.parent / link).resolve() if link else path
        assert target.exists(), f"{link} is not there"
        assert not anchor or anchor in anchors_of(target.read_text()), f"{link}#{anchor}: no such heading"


def test_every_page_is_linked_from_the_readme():
    linked = {(ROOT / link).resolve() for link, _ in paths_linked_in(README)}
    assert [name for name, path in zip(NAMES, PAGES, strict=True) if path not in linked and name != "README.md"] == []


def test_the_readme_is_short():
    words = len(README.split())
    assert words <= MOST_WORDS, f"README.md has {words:,} words; what is measured or explained at length goes to docs/"


def changed_lines(committed: str, made: str) -> str:
    """The lines to take out (-) and to put in (+)."""
    lines = difflib.unified_diff(committed.splitlines(), made.splitlines(), "committed", "made", lineterm="", n=0)
    return "\n".join(lines)


def test_the_page_of_the_command_line_is_what_the_program_says():
    changed = changed_lines((DOCS / "command-line.md").read_text(), COMMAND_LINE["command_line_page"]())
    assert changed == "", f"run `python docs/make_command_line.py`, or change docs/command-line.md:\n{changed}"


def test_the_page_of_the_command_line_does_not_depend_on_the_terminal():
    code = "import runpy; print(runpy.run_path('docs/make_command_line.py')['command_line_page'](), end='')"
    environment = {"COLUMNS": "40", "TERM": "dumb", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ((DOCS / "command-line.md").read_text(), "")


def test_the_page_of_the_architecture_lists_every_folder_and_module_in_the_order_of_the_layers():
    changed = changed_lines((DOCS / "architecture.md").read_text(), ARCHITECTURE["architecture_page"]())
    assert changed == "", f"run `python docs/make_architecture.py`, or change docs/architecture.md:\n{changed}"
    page, package = (DOCS / "architecture.md").read_text(), ROOT / "mnv2_sweep"
    sections = re.split(r"^### (\w+)/$", page, flags=re.M)[1:]
    assert sections[::2] == ARCHITECTURE["read_layers"]()[::-1]
    assert set(sections[::2]) == {path.parent.name for path in package.glob("*/__init__.py")}
    listed = {
        (folder, module)
        for folder, text in zip(sections[::2], sections[1::2], strict=True)
        for module in re.findall(r"^- `([\w/]+\.py)`: \S", text, re.M)
    }
    modules = [path.relative_to(package) for path in package.glob("*/**/*.py") if path.name != "__init__.py"]
    assert listed == {(path.parts[0], path.name if len(path.parts) == 2 else str(path)) for path in modules}


def test_files_of_the_package_that_the_documents_name_exist():
    """As `nets/cost.py`, `mnv2_sweep/nets/cost.py` or `benchmarks/split.py`."""
    missing = []
    for name, path in zip(NAMES, PAGES, strict=True):
        for named in re.findall(r"`(?:python )?([\w/]+/[a-z0-9_-]+\.(?:py|sh|yaml))[^`]*`", path.read_text()):
            if not (ROOT / named).exists() and not (ROOT / "mnv2_sweep" / named).exists():
                missing.append(f"{name}: {named}")
    assert missing == []


SPACES = (DOCS / "spaces.md").read_text()


def test_the_space_in_the_documents_is_valid_and_has_every_key_of_a_file(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", SPACES, re.S)[1]
    path = tmp_path / "example.yaml"
    path.write_text(text)
    assert load_space(path).grid_size == 12
    for key in SECTIONS:
        assert f"| `{key}` |" in SPACES


def test_the_mistakes_in_the_documents_are_what_the_program_says(tmp_path, monkeypatch):
    text, _, said = re.search(r"```\n\$ cat wide\.yaml\n(.*?)\n\n(\$ [^\n]*)\n(.*?)```", SPACES, re.S).groups()
    monkeypatch.chdir(tmp_path)
    Path("wide.yaml").write_text(text)
    with pytest.raises(SpaceError) as error:
        load_space(Path("wide.yaml"))
    assert "".join(f"error: {line}\n" for line in str(error.value).splitlines()) == said


def test_fields_of_networks_are_in_the_documents():
    for name in [*FIELD_TYPES, "expansion"]:
        assert f"| `{name}` |" in SPACES


def test_the_table_of_recipe_fields_is_what_is_said_beside_them():
    changed = changed_lines(SPACES, MAKE_SPACES["spaces_page"]())
    assert changed == "", f"run `python docs/make_spaces.py`, or change docs/spaces.md:\n{changed}"
    assert all(f"| `{field.name}` |" in SPACES for field in fields(Recipe))


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_space_begins_with_the_question_it_answers_and_the_documents_ask_it_too(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and "?" in first
    assert load_space(path)
    assert f"| `{path.name}` | {first[2 : first.index('?') + 1]} |" in SPACES


@pytest.mark.slow
def test_the_tour_s_counts_and_plans_are_what_the_program_prints():
    """Those that train nothing; what stands before the first `...` of each."""
    shown = re.findall(r"^\$ mnv2-sweep ((?:count|plan) [^\n]*)\n(.*?)(?=^\.\.\.|^```)", README, re.M | re.S)
    assert [words.split()[0] for words, _ in shown] == ["count", "plan"]
    for words, output in shown:
        run = subprocess.run(
            [sys.executable, "-m", "mnv2_sweep", *words.split()], cwd=ROOT, capture_output=True, text=True
        )
        assert run.stdout.startswith(output)


@pytest.mark.parametrize("path", sorted((ROOT / "findings").glob("*")), ids=lambda path: path.name)
def test_a_finding_has_its_form_and_is_listed(path):
    if path.name == "README.md":
        return
    head, _, script = path.read_text().partition("set -euo pipefail\n")
    assert re.findall(r"^# (\w+)  +\S", head, re.M) == ["Versions", "Expected", "Seen", "Hurt"]
    assert "trap 'rm -rf \"$here\"' EXIT" in script and "mnv2_sweep" not in script
    packages = re.search(r'/pip" install ((?:.*\\\n)*.*)', script)[1].replace("\\\n", " ").split()
    assert [word for word in packages if not word.startswith("--") and "==" not in word] == []
    assert f"| `{path.name}` |" in (ROOT / "findings" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["count --explain", "plan spaces/widths.yaml", "count 1.0@320 head=ssdlite",
     "count 1.0@513 head=deeplabv3 last_channels=0 aspp=false",
     "count family=vgg16 head=ssd resolution=300 classes=90"],
)  # fmt: skip
def test_outputs_on_the_page_of_costs_are_what_the_program_prints(command):
    """Line by line and in order, what `...` stands for left out."""
    shown = re.search(rf"^\$ mnv2-sweep {command}\n(.*?)^(?:```|\$ )", (DOCS / "costs.md").read_text(), re.M | re.S)[1]
    words = [sys.executable, "-m", "mnv2_sweep", *command.split()]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    printed = iter(run.stdout.splitlines())
    missing = [line for line in shown.splitlines() if line.strip() not in ("", "...") and line not in printed]
    assert missing == []
