"""The folder of weights: each as one safetensors file, float32 by our names, with its record in the metadata.

    <cache>/weights/<sha256 of the file it was made of>.safetensors        added ones
    <cache>/weights/<file>.part, <file>.part.etag                          downloads that are not done

What a run reads is always such a file, whatever the project's own was; it is there whole or not at all.
"""

from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.numpy

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.data.catalog import cache_folder
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.pretrained.published import PUBLISHED, Published, recognise
from mnv2_sweep.pretrained.read import Weights, read_weights
from mnv2_sweep.trials.weights import WeightsRecord, dump_weights, load_weights

RECORD = "record"  # where the metadata have the record


def weights_folder() -> Path:
    """Return the folder of added weights, beside the images: $MNV2_SWEEP_CACHE/weights."""
    return cache_folder() / "weights"


def add_weights(path: Path, folder: Path, name: str = "", published: Published | None = None) -> Weights:
    """Read a file of weights and keep it in the folder, as `published` where it is said, else as what its digest or its
    file's name says it is. Raises WeightsError."""
    weights = read_weights(path)
    known = published or recognise(weights.record.sha256, path.name)
    if known:
        weights = replace(weights, record=_claim(weights.record, known, path), notes=())
    weights = replace(weights, record=replace(weights.record, name=name or (known.name if known else path.stem)))
    taken = {record.name: record.sha256 for record in list_added(folder)}
    if taken.get(weights.record.name, weights.record.sha256) != weights.record.sha256:
        raise WeightsError(f"{path}: other weights are named {weights.record.name}; give it a name with --name")
    if not name and not known and any(one.name == weights.record.name for one in PUBLISHED):
        raise WeightsError(f"{path}: it has the name of published weights and is not known to be them; give --as "
                           f"{weights.record.name}, or another --name")  # fmt: skip
    _write(weights, folder)
    return weights


def _claim(record: WeightsRecord, known: Published, path: Path) -> WeightsRecord:
    """Return the record with what is known of published weights. Raises WeightsError where the file is not they."""
    if not record.sha256.startswith(known.sha256):
        raise WeightsError(f"{path}: its sha256 begins with {record.sha256[:8]}, that of {known.name} with "
                           f"{known.sha256[:8]}; fetch it anew, or leave out --as")  # fmt: skip
    here, there = replace(record.arch, resolution=224), replace(known.arch, resolution=224)
    if record.kind != known.kind or arch_key(replace(here, classes=1)) != arch_key(replace(there, classes=1)):
        raise WeightsError(f"{path}: {record.kind}'s MobileNetV2 {record.width}, and {known.name} is {known.kind}'s "
                           f"{known.arch.width}; leave out --as")  # fmt: skip
    return replace(record, resolution=known.arch.resolution, licence=known.licence, source=known.address)


def _write(weights: Weights, folder: Path) -> None:
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


def list_added(folder: Path) -> list[WeightsRecord]:
    """Return the records of what the folder holds, by name; a file that can't be read counts for nothing."""
    records = []
    for path in folder.glob("*.safetensors"):
        try:
            records.append(_read_record(path))
        except WeightsError:
            continue
    return sorted(records, key=lambda record: record.name)


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


def _read_record(path: Path) -> WeightsRecord:
    try:
        with safetensors.safe_open(path, framework="np") as opened:
            return load_weights((opened.metadata() or {})[RECORD])
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: no weights that were added ({error})") from error
