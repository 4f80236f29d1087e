"""What was exported of a sweep's networks and how each file did: results/<sweep>/exports/*.json, one a folder, or a
file where it was written alone."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.base.text import align, bytes_text, percent
from mnv2_sweep.trials.trial import Trial, trial_id

EXPORTS, INT8 = "exports", "int8"


def record_export(
    folder: Path, trial: Trial, network: str, place: Path, files: Mapping[str, Mapping[str, Any] | str]
) -> None:
    """Record an export of a trial's network in the sweep's folder, in the place of an earlier one to the same place, a
    folder or a file: for each file its bytes and what was found when it was run, or why it was not. Raises
    StoreError."""
    where = place.resolve()
    name = f"{trial_id(trial)}-{hashlib.sha256(str(where).encode()).hexdigest()[:8]}.json"
    inside = str(where.parent if where.is_file() else where)
    content = {"trial": trial_id(trial), "network": network, "seed": trial.seed, "folder": inside, "files": files}
    try:
        write_whole(folder / EXPORTS / name, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise StoreError(
            f"{folder / EXPORTS / name}: can't be written ({error.strerror or error}); the export itself is in {place}"
        ) from error


def new_exports(theirs: Path, ours: Path, trials: Collection[str]) -> list[str]:
    """Return the names of the records in another folder of the sweep that are of one of these trials, by their ids, and
    not in ours yet."""
    names = sorted(path.name for path in (theirs / EXPORTS).glob("*.json"))
    return [name for name in names if name.split("-")[0] in trials and not (ours / EXPORTS / name).exists()]


def list_exports(folder: Path) -> str:
    """Return a line for each exported file; nothing where there is none. What can't be read is named."""
    rows = []
    for path in sorted((folder / EXPORTS).glob("*.json")):
        try:
            rows += _rows(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            rows.append((f"{EXPORTS}/{path.name}", "", "damaged", "", "", "", ""))
    head = ("exported", "seed", "file", "size", "top-1 %", "torch's answer %", "folder")
    return align([head, *sorted(rows)], left=("exported", "file", "folder")) if rows else ""


def _rows(content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, check in content["files"].items():
        scores = ("unchecked", "")
        if "top1" in check:
            agreement = percent(check["agreement"]) if "agreement" in check else ""  # torch's own has none
            scores = (f"{percent(check['top1'])}{', worse' * check.get('is_worse', False)}", agreement)
        rows.append(
            (content["network"], str(content["seed"]), name, bytes_text(check["bytes"]), *scores, content["folder"])
        )
    return rows


class Eight(NamedTuple):
    """What a network gets right in 8 bits, by a file that was run on the validation images: the id of its trial, the
    file's form ("onnx"), its top-1, and that of the same network in floats on the same images, in a file of that form
    or else in any; None where none was run."""

    trial: str
    form: str
    top1: float
    in_floats: float | None


def load_eights(folder: Path) -> list[Eight]:
    """Return what is recorded of files in 8 bits that were run, of every export of the sweep; what can't be read is
    left out, `list_exports` names it."""
    found = []
    for path in sorted((folder / EXPORTS).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            files = {name: check for name, check in content["files"].items() if "top1" in check}
            floats = {
                name.rpartition(".")[2]: float(check["top1"]) for name, check in files.items() if INT8 not in name
            }
            for name, check in files.items():
                form = name.rpartition(".")[2]
                if INT8 in name:
                    alike = floats.get(form, next(iter(floats.values()), None))
                    found.append(Eight(str(content["trial"]), form, float(check["top1"]), alike))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found
