"""A file of weights, as its project made it -> the same in the folder of weights, with what is known of it."""

import re
from dataclasses import replace
from pathlib import Path

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.pretrained.folder import list_added, write_weights
from mnv2_sweep.pretrained.published import PUBLISHED, Published, find_published, network_key, recognise
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.trials.recipe import IMAGENET, SCRATCH, SLICED
from mnv2_sweep.trials.weights import WeightsRecord

KEYWORDS = {
    SCRATCH: "no weights at all", IMAGENET: "the published weights of each network",
    SLICED: "channels of a wider network",
}  # fmt: skip

MOST_SIGNS = 100  # of a name


def add_weights(
    path: Path, folder: Path, name: str = "", published: Published | None = None, licence: str = "", source: str = ""
) -> Weights:
    """Keep a file of weights in the folder; see `examine_weights`."""
    weights = examine_weights(path, folder, name, published, licence, source)
    write_weights(weights, folder)
    return weights


def examine_weights(
    path: Path, folder: Path, name: str = "", published: Published | None = None, licence: str = "", source: str = ""
) -> Weights:
    """Read a file of weights as it would be kept in the folder, without writing: as `published` where it is said, else
    as what its digest or its file's name says it is; of a file that nobody has published, `licence` and `source` are
    what its owner says. A file that is there keeps its name. Raises WeightsError."""
    if name:
        _check_name(name, f"--name {name}", "another name")
    weights = read_weights(path)
    known = published or recognise(weights.record.sha256, path.name)
    if known:
        how = "leave out --as" if published else "give the file another name, by its own it would be they"
        weights = replace(weights, record=_claim(weights.record, known, path, how), notes=())
    added = list_added(folder)
    before = next((one for one in added if one.sha256 == weights.record.sha256), None)
    chosen = name or (known.name if known else before.name if before else path.stem)
    if not name and not known and not before:
        _check_name(chosen, f"{path}: {chosen!r} as its name", "a name with --name")
    if before and before.name != chosen:
        raise WeightsError(f"{path}: it is here already, as {before.name}, and weights have one name; call it that, or "
                           f"remove {folder / before.sha256}.safetensors first")  # fmt: skip
    if any(one.name == chosen and one.sha256 != weights.record.sha256 for one in added):
        raise WeightsError(f"{path}: other weights are named {chosen}; give it a name with --name")
    if find_published(chosen) and not (known and known.name == chosen):
        raise WeightsError(f"{path}: {chosen} is the name of published weights and it is not known to be them; give "
                           f"--as {chosen}, or another --name")  # fmt: skip
    record = _state_terms(replace(weights.record, name=chosen), before, known, licence, source, path)
    return replace(weights, record=record)


def _check_name(name: str, where: str, what: str) -> None:
    """Raise WeightsError where a name can't be told from a keyword of `init`, or from a path, or is no plain text."""
    if name.strip().lower() in (SCRATCH, IMAGENET, SLICED):
        raise WeightsError(f"{where}: as init it means {KEYWORDS[name.strip().lower()]}; give {what}")
    plain = name.isprintable() and not set(name) & set("/\\") and re.match(r"\w", name) and name == name.strip()
    if not plain or len(name) > MOST_SIGNS:
        raise WeightsError(f"{where}: up to {MOST_SIGNS} printable characters without / and \\ are allowed, of "
                           f"which the first is a letter or a digit; give {what}")  # fmt: skip


def _state_terms(
    record: WeightsRecord, before: WeightsRecord | None, known: Published | None, licence: str, source: str, path: Path
) -> WeightsRecord:
    """Return the record with licence and source: as published, else as given, else as they were. Raises
    WeightsError."""
    if known and (licence or source):
        raise WeightsError(f"{path}: it is {known.name}, whose licence and source the list has; leave out "
                           "--licence and --source")  # fmt: skip
    if known:
        return record
    listed = next((one.licence for one in PUBLISHED if one.address == source), "")
    licence = licence or listed or (before.licence if before else "") or record.licence
    source = source or (before.source if before else "") or record.source
    return replace(record, licence=licence, source=source)


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
