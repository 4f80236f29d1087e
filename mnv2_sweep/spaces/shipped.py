"""The design spaces that ship with the program, found by name: `paper_grid` -> the file of it."""

from pathlib import Path

import mnv2_sweep
from mnv2_sweep.base.errors import SpaceError

PACKAGE = Path(mnv2_sweep.__file__).parent
# In a wheel they lie in the package, in the source tree beside it.
FOLDERS = (PACKAGE / "shipped_spaces", PACKAGE.parent / "spaces")


def find_space_file(given: Path) -> Path:
    """Return the file as given where there is one, else the shipped space of that name, with or without its ending.

    Raises SpaceError for a name that neither has; a path into a folder is left to whoever reads it.
    """
    is_there = given.is_file() or given.is_symlink()  # a folder of photos may have a shipped space's name
    if is_there or given.name != str(given) or given.suffix not in ("", ".yaml"):
        return given
    path = shipped_file(given.name)
    if path is None and given.exists():
        return given
    if path is None:
        shipped = ", ".join(shipped_names())
        raise SpaceError([f"{given}: no such file, nor a design space that ships; there are: {shipped}"])
    return path


def shipped_file(name: str) -> Path | None:
    """Return the file of the shipped space of that name, with or without its ending, if there is one."""
    file = f"{name.removesuffix('.yaml')}.yaml"
    return next((path for folder in FOLDERS if (path := folder / file).is_file()), None)


def shipped_names() -> list[str]:
    """Return the names of the shipped spaces, in order."""
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.yaml")})
