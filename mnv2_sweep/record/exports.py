"""What was exported of a sweep's networks and how each file did: results/<sweep>/exports/*.json, one a folder."""

import hashlib
import json
from collections.abc import Mapping
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
    """Record an export of a trial's network in the sweep's folder, in the place of an earlier one to the same place:
    for each file its bytes and what was found when it was run, or why it was not. Raises StoreError."""
    where = str(place.resolve())
    name = f"{trial_id(trial)}-{hashlib.sha256(where.encode()).hexdigest()[:8]}.json"
    content = {"trial": trial_id(trial), "network": network, "seed": trial.seed, "folder": where, "files": files}
    try:
        write_whole(folder / EXPORTS / name, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise StoreError(
            f"{folder / EXPORTS / name}: can't be written ({error.strerror or error}); the export itself is in {place}"
        ) from error


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
            scores = (f"{percent(check['top1'])}{', worse' * check['is_worse']}", percent(check["agreement"]))
        rows.append(
            (content["network"], str(content["seed"]), name, bytes_text(check["bytes"]), *scores, content["folder"])
        )
    return rows
