"""A results folder -> the folders of its sweeps and the files in them: where a sweep keeps what, and which one is
meant.

Everything of a sweep lies in results/<sweep>/; a command without a name means the sweep that was written last.
"""

import shlex
from contextlib import suppress
from pathlib import Path

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import remove_all_unfinished
from mnv2_sweep.record.store import DATABASE
from mnv2_sweep.trials.trial import Trial, trial_id
from mnv2_sweep.trials.ways import KEPT, WAYS, WEIGHTS

EXAMPLE = "example"  # the one committed sweep, another machine's: a person's own come first and do not build on it
RUNNING, CHECKPOINTS, LOGS, EVENTS = "running", "checkpoints", "logs", "events"
PASSPORT = "passport.json"  # how far to trust the sweep's order
# How the space.yaml of an ablation begins, of a sweep within a calibration, and of a network that is trained on.
ABLATION, CALIBRATION, FINETUNE = "# mnv2-sweep ablate", "# mnv2-sweep calibrate", "# mnv2-sweep finetune"
NETWORK = "NETWORK"  # in a command, where any may stand


# ---------------------------------------------------------------- files of a sweep


def progress_path(folder: Path, trial: Trial) -> Path:
    """Return the file that says how far a running trial is, as JSON; gone when it ends."""
    return folder / RUNNING / f"{trial_id(trial)}.json"


def checkpoint_path(folder: Path, trial: Trial) -> Path:
    """Return the file with the state of an unfinished trial; gone when it is finished."""
    return folder / CHECKPOINTS / f"{trial_id(trial)}.pt"


def log_path(folder: Path, trial: Trial) -> Path:
    """Return the file that tells what happened in a trial, attempt after attempt."""
    return folder / LOGS / f"{trial_id(trial)}.log"


def events_path(folder: Path, trial: Trial) -> Path:
    """Return the folder of a trial's TensorBoard events."""
    return folder / EVENTS / trial_id(trial)


def passing_folders(folder: Path) -> list[Path]:
    """Return the folders of what trials leave for others until these are recorded, in files <trial id>.pt."""
    return [folder / way.passing for way in WAYS.values() if way.passing]


def remove_unfinished_weights(folder: Path) -> None:
    """Remove what those who were killed while they wrote for others have left; only while nobody writes some."""
    for path in (folder / WEIGHTS, folder / KEPT, *passing_folders(folder)):
        remove_all_unfinished(path)


def remove_empty(folder: Path) -> None:
    """Remove the folders of what is gone when trials end, unless another run still has something there."""
    for path in (folder / RUNNING, folder / CHECKPOINTS, folder / KEPT, *passing_folders(folder)):
        with suppress(OSError):
            path.rmdir()


# ---------------------------------------------------------------- sweeps


def find_sweep(results: Path, name: str | None, ablation: bool | None = None, unless: str = "") -> Path:
    """Return the named sweep's folder, or else the one written last: of those that a person ran, then of those within a
    calibration, then the example. Raises StoreError.

    `ablation` True or False keeps to sweeps that are ablations or that are none; `unless` leaves out those whose
    space.yaml begins so.
    """
    found = {path.parent.name: path.parent for path in results.glob(f"*/{DATABASE}") if path.is_file()}
    known = f"there {'is' if len(found) == 1 else 'are'}: {', '.join(sorted(found))}" if found else "there is none yet"
    if name is not None:
        if name not in found and (results / name / PASSPORT).is_file():
            raise StoreError(
                f"{results / name}: calibrated, but it has no results yet; 'mnv2-sweep run SPACE.yaml' makes them"
            )
        if name not in found:
            place = results / name if name else f"{results}, no name"
            raise StoreError(f"{place}: no such sweep; {known}; 'mnv2-sweep run SPACE.yaml' makes one")
        return found[name]
    wanted = [f for f in found.values() if ablation is None or is_ablation(f) == ablation]
    wanted = [f for f in wanted if not unless or not _begins(f, unless)]
    if not wanted:
        first = "mnv2-sweep ablate --no-linear-bottleneck" if ablation else "mnv2-sweep run spaces/quick.yaml"
        raise StoreError(f"{results}: no results to show; {known}; start with '{first}'")
    return max(wanted, key=lambda f: (f.name != EXAMPLE, not is_calibration(f), (f / DATABASE).stat().st_mtime))


def find_space(results: Path, given: str | None) -> tuple[Path, str]:
    """Return a design space file as given, or the copy in a sweep's folder, and its name. Raises StoreError."""
    if given is not None and (Path(given).is_file() or Path(given).suffix in (".yaml", ".yml")):
        return Path(given), Path(given).stem
    folder = find_sweep(results, given, ablation=False if given is None else None)
    if is_ablation(folder):
        raise StoreError(f"{folder}: an ablation has no design space; give a space file or another sweep")
    return folder / "space.yaml", folder.name


def is_ablation(folder: Path) -> bool:
    """Return whether `ablate` made the sweep."""
    return _begins(folder, ABLATION)


def is_calibration(folder: Path) -> bool:
    """Return whether `calibrate` made the sweep."""
    return _begins(folder, CALIBRATION)


def is_finetuned(folder: Path) -> bool:
    """Return whether `finetune` made the sweep."""
    return _begins(folder, FINETUNE)


def again_command(folder: Path, network: str) -> str:
    """Return the command that trains a network of the sweep again whose weights were not kept, and keeps them."""
    network = network if network == NETWORK else shlex.quote(network)
    if is_finetuned(folder):
        return f"mnv2-sweep finetune {network} --name {shlex.quote(folder.name)} --again"
    return f"mnv2-sweep run SPACE --again {network}"


def _begins(folder: Path, text: str) -> bool:
    try:
        return (folder / "space.yaml").read_text(encoding="utf-8").startswith(text)
    except (OSError, UnicodeDecodeError):
        return False
