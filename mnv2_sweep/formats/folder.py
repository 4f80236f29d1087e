"""A network as files -> the folder that goes to a device: models, labels, preprocessing, model card, a script.

    <folder>/  model.onnx  model-int8.tflite ...  labels.txt  preprocess.json  check.json  README.md  classify.py

`check.json` says of each model how it did on the validation images when it was run, the bytes and the SHA-256 of the
file that did so, a digest of its network and the command; `classify.py` runs those models that need neither torch nor
this program, where there are any.

The folder is there whole or not at all. An export into the folder of an earlier one adds to it: files of the same
network stay, files of another go.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import open_whole_folder, remove_abandoned, remove_unfinished, write_whole
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.decode import BACKGROUND, PADDING, USUAL, Decoding
from mnv2_sweep.formats.card import Card, card_text
from mnv2_sweep.formats.check import Check
from mnv2_sweep.formats.runtimes import RUNTIMES
from mnv2_sweep.trials.pixels import FIT, Pixels, whole_level

LABELS, PREPROCESS, CARD, SCRIPT = "labels.txt", "preprocess.json", "README.md", "classify.py"
CHECK = "check.json"
FIT_TEXTS = {
    "crop": FIT,
    "pad": "all of it, as large as the network's size holds it, on a ground of the colour `padding`",
    "squash": "all of it, stretched to the network's size",
}
LARGEST_SIDE = 2**14  # pixels, of images that a file reads
LEAST_CROP = 0.1  # of a side, as in Recipe.eval_crop
SUFFIXES = (".onnx", ".tflite", ".safetensors", ".pt2", ".pte")
SCRIPT_TEXT = Path(__file__).with_name("classify.txt")


@dataclass(frozen=True)
class Preprocess:
    """What is done to a photo before the network sees it.

    The largest part of its middle that has the network's aspect, or all of it as `decoding` says, is resampled
    (Lanczos) to `first_size`, at which the data set is kept, where it has one, and from there to `whole` (Lanczos to a
    smaller one, bilinear to a larger one), whose middle of `size` is cut out. `pixels` is what then becomes of their
    values.
    """

    size: Size
    pixels: Pixels
    first_size: Size | None = None
    decoding: Decoding = USUAL

    @property
    def whole(self) -> Size:
        """Return the size of the images from whose middle the network reads: its own, or larger (Recipe.eval_crop)."""
        return whole_level(self.size, self.pixels.eval_crop)

    def record(self) -> dict:
        """Return it as JSON has it; `crop_from` is `whole` where it is larger than what the network reads."""
        first = None if self.first_size is None else [self.first_size.width, self.first_size.height]
        cropped = self.pixels.eval_crop < 1
        return {
            "fit": f"{self.pixels.middle}{FIT_TEXTS[self.decoding.fit]}",
            "geometry": self.decoding.fit,
            "padding": list(PADDING),
            "background": BACKGROUND,
            "grey_white": self.decoding.white,
            "first_size": first,
            "width": self.size.width,
            "height": self.size.height,
            "resampling": "lanczos; bilinear where first_size is smaller than the network's",
            "eval_crop": self.pixels.eval_crop,
            "crop_from": [self.whole.width, self.whole.height] if cropped else None,
            "channels": self.pixels.channels,
            "mean": list(self.pixels.mean),
            "std": list(self.pixels.std),
        }

    @classmethod
    def load(cls, record: Mapping[str, Any]) -> "Preprocess":
        """Return what `record` made. Raises KeyError, TypeError or ValueError on anything else."""
        mean, std = (tuple(map(float, record[name])) for name in ("mean", "std"))
        sides = [record["height"], record["width"], *(record["first_size"] or [])]
        if not all(isinstance(side, int) and 0 < side <= LARGEST_SIDE for side in sides):
            raise ValueError(f"sizes {sides}")
        if len(mean) not in (1, 3) or len(std) != len(mean) or record["channels"] != len(mean) or 0.0 in std:
            raise ValueError(f"mean {mean} and std {std} of {record['channels']} channels")
        first = Size(sides[3], sides[2]) if len(sides) > 2 else None
        decoding = Decoding(record.get("geometry", USUAL.fit), record.get("grey_white", USUAL.white))
        crop = float(record.get("eval_crop", 1.0))  # earlier versions had no other
        if not LEAST_CROP <= crop <= 1:
            raise ValueError(f"eval_crop {crop}")
        loaded = cls(Size(sides[0], sides[1]), Pixels(mean, std, crop), first, decoding)
        if record.get("crop_from") != loaded.record()["crop_from"] or max(loaded.whole) > LARGEST_SIDE:
            raise ValueError(f"crop_from {record.get('crop_from')} with eval_crop {crop}")
        return loaded


class Written(NamedTuple):
    """What an export made of a folder: how each file does that it wrote, the names of earlier ones that stay and of
    those that are gone, and what check.json has of all that are there."""

    checks: dict[str, Check | str]
    stayed: tuple[str, ...]
    removed: tuple[str, ...]
    records: dict[str, dict[str, Any]]


class Earlier(NamedTuple):
    """A file of an earlier export, and what check.json has of it."""

    content: bytes
    record: dict[str, Any]


def write_folder(
    folder: Path,
    models: Mapping[str, bytes],
    labels: Sequence[str],
    preprocess: Preprocess,
    card: Card,
    check: Callable[[Path], Check | str],
) -> Written:
    """Write models, by their names, and all that belongs to them, each with what `check` says of the written file, or
    why it was not run.

    Other files of the same network, as `card.digest` says, that an earlier export wrote into the folder stay, with
    their checks; those of another network go. A folder that holds anything else is refused. Raises StoreError.
    """
    earlier, removed = _read_earlier(folder, card.digest, models)
    try:
        remove_abandoned(folder.parent)
        with open_whole_folder(folder) as unfinished:
            for name, content in models.items():
                write_whole(unfinished / name, content)
            for name, one in earlier.items():
                write_whole(unfinished / name, one.content)
            runnable = [name for name in (*earlier, *models) if Path(name).suffix in RUNTIMES]
            how = {**preprocess.record(), "models": runnable}
            write_whole(unfinished / PREPROCESS, json.dumps(how, indent=1) + "\n")
            write_whole(unfinished / LABELS, "".join(" ".join(label.split("\n")) + "\n" for label in labels))
            if runnable:
                write_whole(unfinished / SCRIPT, SCRIPT_TEXT.read_text(encoding="utf-8"))
            checks = {name: check(unfinished / name) for name in models}
            records = {name: one.record for name, one in earlier.items()}
            records |= {name: _file_record(name, content, card, checks[name]) for name, content in models.items()}
            write_whole(unfinished / CHECK, json.dumps(records, indent=1) + "\n")
            write_whole(unfinished / CARD, card_text(card, how, records))
        remove_unfinished(folder)  # only now, as a killed export may have left the folder before it there
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({error}); choose another --out") from error
    return Written(checks, tuple(earlier), removed, records)


def file_sha256(content: bytes) -> str:
    """Return the digest by which check.json knows a file."""
    return hashlib.sha256(content).hexdigest()


def _file_record(name: str, content: bytes, card: Card, check: Check | str) -> dict[str, Any]:
    """Return what check.json has of a file."""
    ends = {"ends": card.ends[name]} if name in card.ends else {}
    found = check.record() if isinstance(check, Check) else {"unchecked": check}
    told = {"bytes": len(content), "sha256": file_sha256(content), "network": card.digest, "command": card.command}
    return {**told, **ends, **found}


def _read_earlier(folder: Path, digest: str, written: Collection[str]) -> tuple[dict[str, Earlier], tuple[str, ...]]:
    """Return what of an earlier export stays beside the files that are written, and the names of the files that go.
    Raises StoreError where the folder holds what no export wrote."""
    if not folder.is_dir():
        if folder.exists():
            raise StoreError(f"{folder}: it is a file; give --out the name of a folder")
        return {}, ()
    records, names = _read_records(folder), sorted(file.name for file in folder.iterdir())
    models = [name for name in names if Path(name).suffix in SUFFIXES]
    own = {LABELS, PREPROCESS, CHECK, CARD, SCRIPT} if records else set()  # without, a README.md may be anybody's
    strange = set(names) - {*models, *own} | {name for name in models if name not in records}
    if strange:
        raise StoreError(
            f"{folder}: it holds {min(strange)}, which no export is known to have written; choose another --out"
        )
    earlier, removed = {}, []
    for name in (name for name in records if name in models and name not in written):
        content, record = (folder / name).read_bytes(), records[name]
        if "sha256" in record and record["sha256"] != file_sha256(content):
            raise StoreError(f"{folder}: {name} in it is not the file that was exported; choose another --out")
        if digest and record.get("network") == digest and _is_readable(record):
            earlier[name] = Earlier(content, record)
        else:
            removed.append(name)
    return earlier, tuple(removed)


def _read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what check.json has of each file, of which earlier versions had less; nothing where it is damaged."""
    try:
        records = json.loads((folder / CHECK).read_text(encoding="utf-8"))
        return {name: record if isinstance(record, dict) else {} for name, record in records.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _is_readable(record: Mapping[str, Any]) -> bool:
    """Return whether a record is one of `_file_record`."""
    try:
        return {"bytes", "command"} <= record.keys() and ("unchecked" in record or Check.load(record).images >= 0)
    except (KeyError, TypeError, ValueError):
        return False
