"""Write the list of folders and modules in docs/architecture.md, from pyproject.toml and the modules' docstrings.

    python docs/make_architecture.py

The order of the folders is that of the contract "folders are layers" in pyproject.toml, the line beside a module is the
first sentence of its docstring. A test (tests/test_docs.py) compares the page with `architecture_page()`.
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "mnv2_sweep"
BEGIN, END = "<!-- modules: written by docs/make_architecture.py -->", "<!-- end of the modules -->"


def read_layers() -> list[str]:
    """Return the folders from top to bottom: each may import those after it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return next(contract["layers"] for contract in contracts if contract["type"] == "layers")


def architecture_page() -> str:
    """Return the page as it is, with the list between its two markers made anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, *module_lines(), END + after])


def module_lines() -> list[str]:
    """Return a section for each folder, the lowest layer first, with a line for each of its modules."""
    lines = []
    for folder in reversed(read_layers()):
        lines += ["", f"### {folder}/", "", first_sentence(PACKAGE / folder / "__init__.py"), ""]
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            if path.name != "__init__.py":
                name = path.name if path.parent.name == folder else path.relative_to(PACKAGE)
                lines.append(f"- `{name}`: {first_sentence(path)}")
    return [*lines, ""]


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, in one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = " ".join(docstring.split("\n\n")[0].split())
    return (text if ". " not in text else text[: text.index(". ") + 1]).replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(architecture_page(), encoding="utf-8")
