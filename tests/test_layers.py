"""Who may import whom: the table is the one place that says it, and every module of the package has a place in it."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "mnv2_sweep"

# A module imports only from rows above its own, and just the third-party packages named after it.
TABLE = """
 1  __init__, errors
 2  appendix, arch, cache_files (numpy), claims (psutil), cliffs, convolution (torch), decode (PIL, numpy), environment,
    experiment (numpy, scipy), graphs (torch), heap, interrupts, packed (torch), pareto (numpy), plan,
    processes (psutil), shapes (numpy), words, yamlfile (yaml)
 3  activity (torch), cost_columns (numpy, pandas), manifold (numpy), mobilenet_v1, mobilenet_v2, nasnet,
    photo_files, plan_network (torch), published, reference, shufflenet
 4  figure_6, paper_claims, photo_splits, resolve, stats (numpy, pandas, scipy)
 5  agreement (numpy), conventions, cost, family, figure (matplotlib, numpy), model (torch), photos (PIL, numpy),
    plan_tables, stratify (numpy), tables (pandas), trial
 6  catalog (numpy), checkpoint (torch), control, cost_arrays (numpy), judge (fvcore, torch),
    labels (matplotlib, numpy, pandas), memory, paper_reasons, places, plot_activity (matplotlib, numpy),
    plot_manifold (matplotlib, numpy), price, shared_weights (torch), space, stacked (torch), store, synflow (torch)
 7  attempt, batches (numpy, torch), cli_options (typer), cliff_names (matplotlib, numpy), comparison,
    events (torch), folders, frame (pandas), listing (numpy), matching (numpy), networks (numpy), passport,
    plot (matplotlib, numpy, pandas), spacekeys, split (torch), sweep, work
 8  ablate, cli_checks, display (rich), executor (psutil), image_price (PIL, numpy), ledger, merge (numpy), merging,
    plot_costs (matplotlib, numpy, pandas), ray_node (numpy, ray), spaceaxes, status, train (numpy, torch), verdict
 9  activity_course (torch), calibration, landscape (numpy), probe (numpy, psutil, torch), protocol,
    ray_executor (ray), settings (psutil, torch), shared_train (torch), spacefile, stacked_train (numpy, torch),
    terminal (rich)
10  cli_ray, estimate (numpy, psutil, torch), export (torch), orders, readings (pandas), session (torch)
11  ablation_table, cli_export (typer), expansion (numpy, pandas), runner (rich, typer)
12  cli_calibrate (typer), cli_costs (typer), plot_ablation (matplotlib, numpy, pandas),
    plot_expansion (matplotlib, numpy)
13  report (numpy, pandas)
14  cli_ablate (typer), cli_figures (typer)
15  cli (rich, typer)
16  __main__
"""

# These answer at once, so importing them all loads none of the packages that take seconds.
LIGHT = ("cli", "arch", "cost", "landscape", "ledger", "memory", "comparison", "spacefile", "trial", "store")
HEAVY = ("torch", "pandas", "matplotlib")


class Import(NamedTuple):
    where: str  # module:line
    module: str
    target: str  # a module of ours, as 'cost', or a third-party package, as 'numpy'
    ours: bool
    right_form: bool  # from mnv2_sweep.x import name
    in_function: bool


def read_table() -> tuple[dict[str, int], dict[str, set[str]]]:
    """Module -> its row, and module -> the third-party packages it imports."""
    rows, packages, row = {}, {}, 0
    for line in TABLE.strip("\n").splitlines():
        row = int(line[:2]) if line[:2].strip() else row
        for module, listed in re.findall(r"(\w+)(?: \((.*?)\))?", line[2:]):
            assert module not in rows, f"{module} is in the table twice"
            rows[module], packages[module] = row, set(re.findall(r"\w+", listed))
    return rows, packages


def read_imports(path: Path) -> list[Import]:
    """Every import of a file, also those inside functions; the standard library's only if inside one."""
    tree, found = ast.parse(path.read_text()), []
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inner = {node for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, form = [alias.name for alias in node.names], False
        elif isinstance(node, ast.ImportFrom):
            names, form = ["." * node.level + (node.module or "")], node.level == 0
            if names == [PACKAGE.name]:  # what __init__ itself defines, not a module
                form = not any((PACKAGE / f"{alias.name}.py").exists() for alias in node.names)
            elif names[0].startswith(f"{PACKAGE.name}."):  # a module and not a folder
                form = (PACKAGE.parent / names[0].replace(".", "/")).with_suffix(".py").exists()
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            ours = top in ("", PACKAGE.name)
            if ours or top not in sys.stdlib_module_names or node in inner:
                target = (rest.rpartition(".")[2] or "__init__") if ours else top
                found.append(Import(f"{path.stem}:{node.lineno}", path.stem, target, ours, form, node in inner))
    return found


ROWS, PACKAGES = read_table()
FOLDERS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
PATHS = sorted(path for path in PACKAGE.rglob("*.py") if path.parent == PACKAGE or path.name != "__init__.py")
MODULES = sorted(path.stem for path in PATHS)


@cache
def all_imports() -> list[Import]:
    """Not as this file is imported: every process of the tests does that."""
    return [found for path in PATHS for found in read_imports(path)]


def test_the_table_holds_every_module_and_no_other():
    assert set(ROWS) == set(MODULES)


def test_module_names_are_unique_and_folders_hold_nothing_but_modules():
    assert len(set(MODULES)) == len(MODULES)
    for folder in FOLDERS:
        text = (folder / "__init__.py").read_text()
        assert ast.get_docstring(ast.parse(text)) and len(ast.parse(text).body) == 1


def test_modules_import_only_from_rows_above():
    ours = [found for found in all_imports() if found.ours]
    assert len(ours) > 50
    wrong = [found for found in ours if ROWS.get(found.target, 99) >= ROWS.get(found.module, 0)]
    assert [f"{found.where} imports {found.target}" for found in wrong] == []


def test_third_party_imports_are_those_listed():
    used = {module: set() for module in MODULES}
    for found in all_imports():
        if not found.ours and found.target not in sys.stdlib_module_names:
            used[found.module].add(found.target)
    assert used == PACKAGES


def test_imports_have_one_form():
    wrong = [found.where for found in all_imports() if found.ours and not found.right_form]
    assert wrong == []


def test_only_the_command_line_imports_inside_functions():
    assert [found.where for found in all_imports() if found.in_function and not found.module.startswith("cli")] == []


def test_light_modules_load_nothing_heavy():
    places = {path.stem: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PATHS}
    code = "".join(f"import {places[module]}\n" for module in LIGHT)
    code += f"import sys; print(sorted(set({HEAVY}) & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")
