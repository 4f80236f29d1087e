"""The design spaces that ship with the program, found by name: `paper_grid` -> the file of it."""

from pathlib import Path

import mnv2_sweep

PACKAGE = Path(mnv2_sweep.__file__).parent
# In a wheel they lie in the package, in the source tree beside it.
FOLDERS = (PACKAGE / "shipped_spaces", PACKAGE.parent / "spaces")


def find_space_file(given: Path) -> Path:
    """Return the file as given where there is one, else the shipped space of that name, else the path as given."""
    if given.exists() or given.name != str(given) or given.suffix not in ("", ".yaml"):
        return given
    found = (folder / f"{given.stem}.yaml" for folder in FOLDERS)
    return next((path for path in found if path.is_file()), given)


def shipped_names() -> list[str]:
    """Return the names of the shipped spaces, in order."""
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.yaml")})
