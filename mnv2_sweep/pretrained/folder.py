"""The folder of weights: each as one safetensors file, float32 by our names, with its record in the metadata.

    <cache>/weights/<sha256 of the file it was made of>.safetensors        added ones
    <cache>/weights/<file>.part, <file>.part.etag                          downloads that are not done

What a run reads is always such a file, whatever the project's own was; it is there whole or not at all.
"""

from pathlib import Path

import safetensors
import safetensors.numpy

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.trials.weights import WeightsRecord, dump_weights, load_weights

RECORD = "record"  # where the metadata have the record


def weights_folder() -> Path:
    """Return the folder of added weights, beside the images: $MNV2_SWEEP_CACHE/weights."""
    return cache_folder() / "weights"


def list_added(folder: Path) -> list[WeightsRecord]:
    """Return the records of what the folder holds, by name; a file that can't be read counts for nothing."""
    records = []
    for path in folder.glob("*.safetensors"):
        try:
            records.append(_read_record(path))
        except WeightsError:
            continue
    return sorted(records, key=lambda record: record.name)


def is_added(sha256: str, folder: Path) -> bool:
    """Return whether the folder has the weights of that digest."""
    return (folder / f"{sha256}.safetensors").is_file()


def find_weights(wanted: str, folder: Path) -> Weights:
    """Return the added weights of that name, or whose sha256 begins so. Raises WeightsError with what there is."""
    records = list_added(folder)
    found = [r for r in records if r.name == wanted] or [
        r for r in records if len(wanted) >= 8 and r.sha256.startswith(wanted)
    ]
    if not found:
        there = ", ".join(record.name for record in records) or "none yet"
        how = "'mnv2-sweep weights get' fetches, 'weights add' takes a file"
        raise WeightsError(f"{wanted}: no weights of that name in {folder} (there: {there}); {how}")
    path = folder / f"{found[0].sha256}.safetensors"
    try:
        return Weights(found[0], safetensors.numpy.load_file(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path}: can't be read ({error}); remove it and add the weights again") from error


def write_weights(weights: Weights, folder: Path) -> None:
    """Keep the weights in the folder. Raises WeightsError."""
    record = weights.record
    said = {
        "eps": repr(record.epsilon), "padding": record.padding, "mean": ",".join(map(repr, record.mean)),
        "std": ",".join(map(repr, record.std)), "resolution": str(record.resolution), "width": repr(record.width),
        "classes": str(record.classes), RECORD: dump_weights(record),
    }  # fmt: skip
    try:
        write_whole(folder / f"{record.sha256}.safetensors", safetensors.numpy.save(weights.arrays, said))
    except OSError as error:
        raise WeightsError(f"{folder}: weights can't be kept here ({error}); set MNV2_SWEEP_CACHE") from error


def _read_record(path: Path) -> WeightsRecord:
    try:
        with safetensors.safe_open(path, framework="np") as opened:
            return load_weights((opened.metadata() or {})[RECORD])
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: no weights that were added ({error})") from error
