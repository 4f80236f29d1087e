"""What slices of a shared training are worth while it still runs: written beside its weights, read by pictures, removed
with its end.

It is no result. It stands in no table and no record, only in a picture that says so.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mnv2_sweep.base.files import write_whole
from mnv2_sweep.trials.trial import check_types
from mnv2_sweep.trials.ways import WEIGHTS

SUFFIX = ".preview.json"


@dataclass(frozen=True, slots=True)
class Preview:
    """The main score of some networks, by `arch_key` as trained, on `val_images` validation images, after the shared
    training has seen `images` of `whole` images."""

    images: int
    whole: int
    val_images: int
    scores: dict


def preview_path(weights: Path) -> Path:
    """Return where a shared training whose weights will be there leaves its preview."""
    return weights.with_suffix(SUFFIX)


def write_preview(weights: Path, preview: Preview) -> None:
    """Write a preview. Without room for it nothing is written: training does not depend on it."""
    with suppress(OSError):
        write_whole(preview_path(weights), json.dumps(asdict(preview)), sync=False)


def read_preview(weights: Path) -> Preview | None:
    """Read a preview; None where there is none, or a damaged one."""
    try:
        values = json.loads(preview_path(weights).read_bytes())
        preview = Preview(**{field.name: values[field.name] for field in fields(Preview)})
        check_types(preview)
        numbers = isinstance(preview.scores, Mapping) and all(type(one) is float for one in preview.scores.values())
        return preview if numbers and preview.val_images > 0 else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def newest_preview(folder: Path) -> float:
    """Return when the newest preview of a sweep was written, in seconds of the clock; 0.0 where there is none."""
    newest = 0.0
    for path in (folder / WEIGHTS).glob(f"*{SUFFIX}"):
        with suppress(OSError):
            newest = max(newest, path.stat().st_mtime)
    return newest


def remove_preview(weights: Path) -> None:
    with suppress(OSError):
        preview_path(weights).unlink()
