"""How modules import each other, beyond the order of the folders, which import-linter checks in `make test`."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "mnv2_sweep"
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("*/__init__.py"))
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

# These answer at once, so importing them all loads none of the packages that take seconds.
LIGHT = ("cli.main", "nets.arch", "nets.cost", "nets.memory", "spaces.landscape", "explain.layers", "paper.compare")
LIGHT += ("spaces.read", "trials.trial", "record.store", "cli.progress")
HEAVY = ("torch", "pandas", "matplotlib", "scipy")


class Import(NamedTuple):
    where: str  # folder/module.py:line
    right_form: bool  # from mnv2_sweep.folder.module import name
    in_function: bool


@cache
def own_imports() -> list[Import]:
    """Not as this file is imported: every process of the tests does that."""
    return [found for path in MODULES for found in read_imports(path)]


def read_imports(path: Path) -> list[Import]:
    """Every import of a module of ours, also those inside functions; of others only if inside one."""
    tree, found = ast.parse(path.read_text()), []
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inner = {node for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            ours = any(alias.name.partition(".")[0] == PACKAGE.name and "." in alias.name for alias in node.names)
            if ours or node in inner:
                found.append(Import(where, not ours, node in inner))
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            ours = node.level > 0 or module.partition(".")[0] == PACKAGE.name
            file = (PACKAGE.parent / module.replace(".", "/")).with_suffix(".py")
            right = node.level == 0 and (file.exists() or module == PACKAGE.name)
            if ours or node in inner:
                found.append(Import(where, right or not ours, node in inner))
    return found


def test_folders_hold_nothing_but_modules():
    assert {path.parent for path in MODULES} == {*FOLDERS, PACKAGE}
    for folder in FOLDERS:
        text = (folder / "__init__.py").read_text()
        assert ast.get_docstring(ast.parse(text)) and len(ast.parse(text).body) == 1


@pytest.mark.slow
def test_imports_have_one_form():
    assert len(own_imports()) > 300
    assert [found.where for found in own_imports() if not found.right_form] == []


def test_only_the_command_line_imports_inside_functions():
    assert [found.where for found in own_imports() if found.in_function and not found.where.startswith("cli/")] == []


def test_light_modules_load_nothing_heavy():
    code = "".join(f"import mnv2_sweep.{module}\n" for module in LIGHT)
    code += f"import sys; print(sorted(set({HEAVY}) & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_nothing_below_the_command_line_prints_exits_or_reads_its_words():
    """By name: a call of print, of a function of typer, of sys.exit, or a look at sys.argv."""
    found = []
    for path in MODULES:
        if path.parent.name == "cli" or path.name == "__main__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            if (
                name in ("print", "exit", "sys.exit", "sys.argv", "input", "sys.stdout", "sys.stderr")
                or name == "typer"
            ):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {name}")
    assert found == []
