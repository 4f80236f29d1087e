"""A file of weights, as its project made it -> the same in the folder of weights, with what is known of it."""

from dataclasses import replace
from pathlib import Path

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.pretrained.folder import list_added, write_weights
from mnv2_sweep.pretrained.published import PUBLISHED, Published, network_key, recognise
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.trials.weights import WeightsRecord


def add_weights(path: Path, folder: Path, name: str = "", published: Published | None = None) -> Weights:
    """Read a file of weights and keep it in the folder, as `published` where it is said, else as what its digest or its
    file's name says it is. Raises WeightsError."""
    weights = read_weights(path)
    known = published or recognise(weights.record.sha256, path.name)
    if known:
        how = "leave out --as" if published else "give the file another name, by its own it would be they"
        weights = replace(weights, record=_claim(weights.record, known, path, how), notes=())
    weights = replace(weights, record=replace(weights.record, name=name or (known.name if known else path.stem)))
    taken = {record.name: record.sha256 for record in list_added(folder)}
    if taken.get(weights.record.name, weights.record.sha256) != weights.record.sha256:
        raise WeightsError(f"{path}: other weights are named {weights.record.name}; give it a name with --name")
    if not name and not known and any(one.name == weights.record.name for one in PUBLISHED):
        raise WeightsError(f"{path}: it has the name of published weights and is not known to be them; give --as "
                           f"{weights.record.name}, or another --name")  # fmt: skip
    write_weights(weights, folder)
    return weights


def _claim(record: WeightsRecord, known: Published, path: Path, how: str) -> WeightsRecord:
    """Return the record with what is known of published weights. Raises WeightsError, with `how` to go on, where the
    file is not they."""
    if not record.sha256.startswith(known.sha256):
        raise WeightsError(f"{path}: its sha256 begins with {record.sha256[:8]}, that of {known.name} with "
                           f"{known.sha256[:8]}; fetch it anew, or {how}")  # fmt: skip
    if record.kind != known.kind or network_key(record.arch) != network_key(known.arch):
        raise WeightsError(f"{path}: {record.kind}'s MobileNetV2 {record.width}, and {known.name} is {known.kind}'s "
                           f"{known.arch.width}; {how}")  # fmt: skip
    if record.padding != known.arch.padding:
        raise WeightsError(f"{path}: its padding is {record.padding}, that of {known.name} is {known.arch.padding}; "
                           f"{how}")  # fmt: skip
    return replace(record, resolution=known.arch.resolution, licence=known.licence, source=known.address)
