"""The results folder -> which sweep a command without a name means."""

from pathlib import Path

from mnv2_sweep.errors import StoreError
from mnv2_sweep.sweeps.places import EXAMPLE, PASSPORT
from mnv2_sweep.sweeps.store import DATABASE

# How the space.yaml of an ablation begins, and of a sweep within a calibration.
ABLATION, CALIBRATION = "# mnv2-sweep ablate", "# mnv2-sweep calibrate"


def find_sweep(results: Path, name: str | None, ablation: bool | None = None) -> Path:
    """The named sweep's folder, or else the one written last: of those that a person ran, then of those within a
    calibration, then the example. Raises StoreError.

    `ablation` True or False keeps to sweeps that are ablations or that are none.
    """
    found = {path.parent.name: path.parent for path in results.glob(f"*/{DATABASE}") if path.is_file()}
    known = f"there {'is' if len(found) == 1 else 'are'}: {', '.join(sorted(found))}" if found else "there is none yet"
    if name is not None:
        if name not in found and (results / name / PASSPORT).is_file():
            raise StoreError(
                f"{results / name}: calibrated, but it has no results yet; 'mnv2-sweep run SPACE.yaml' makes them"
            )
        if name not in found:
            raise StoreError(f"{results / name}: no such sweep; {known}; 'mnv2-sweep run SPACE.yaml' makes one")
        return found[name]
    wanted = [f for f in found.values() if ablation is None or is_ablation(f) == ablation]
    if not wanted:
        first = "mnv2-sweep ablate --no-linear-bottleneck" if ablation else "mnv2-sweep run spaces/quick.yaml"
        raise StoreError(f"{results}: no results to show; {known}; start with '{first}'")
    return max(wanted, key=lambda f: (f.name != EXAMPLE, not is_calibration(f), (f / DATABASE).stat().st_mtime))


def find_space(results: Path, given: str | None) -> tuple[Path, str]:
    """A design space file as given, or the copy in a sweep's folder, and its name. Raises StoreError."""
    if given is not None and (Path(given).is_file() or Path(given).suffix in (".yaml", ".yml")):
        return Path(given), Path(given).stem
    folder = find_sweep(results, given, ablation=False if given is None else None)
    if is_ablation(folder):
        raise StoreError(f"{folder}: an ablation has no design space; give a space file or another sweep")
    return folder / "space.yaml", folder.name


def is_ablation(folder: Path) -> bool:
    """Whether `ablate` made the sweep."""
    return _begins(folder, ABLATION)


def is_calibration(folder: Path) -> bool:
    """Whether `calibrate` made the sweep."""
    return _begins(folder, CALIBRATION)


def _begins(folder: Path, text: str) -> bool:
    try:
        return (folder / "space.yaml").read_text(encoding="utf-8").startswith(text)
    except (OSError, UnicodeDecodeError):
        return False
