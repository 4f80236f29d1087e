"""What was exported of a sweep's networks and how each file did: results/<sweep>/exports/*.json, one a folder, or a
file where it was written alone."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.base.text import align, bytes_text, percent
from mnv2_sweep.trials.trial import Trial, trial_id

EXPORTS = "exports"


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
