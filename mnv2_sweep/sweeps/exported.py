"""A file of an export folder, or the folder -> Classifier, and how sure its answers may be said to be.

Classes, and what a photo becomes, come from the folder; temperature and thresholds are those that were fitted to the
file's own answers on the validation images when it was written.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnv2_sweep.analysis.confidence import UNCALIBRATED, Confidence, load_confidence
from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.data.batches import cut_middle, image_batch
from mnv2_sweep.formats.folder import CHECK, LABELS, PREPROCESS, Preprocess, file_sha256
from mnv2_sweep.models.padding import ImageInput
from mnv2_sweep.sweeps.deploy import FORMATS, load_network_file
from mnv2_sweep.sweeps.predict import Classifier

UNPICKLED = ".pt2"  # its programs are unpickled by torch, which can run code of whoever wrote them
READ = tuple(f".{form}" for form in FORMATS if f".{form}" != UNPICKLED)
LARGEST_TEXT = 2**24  # bytes of a JSON or of the labels


@dataclass(frozen=True)
class ExportedFile:
    """A file that answers, and how sure it may be; where that is not known of this very file, a `note` on it."""

    path: Path
    classifier: Classifier
    confidence: Confidence
    note: str = ""

    @property
    def title(self) -> str:
        """Return how it is called beneath what it says."""
        return f"{self.path.name} of {self.path.parent.resolve().name}"


def open_exported(path: Path, precision: float) -> ExportedFile:
    """Open a file of an export folder, or the first of a folder, in its runtime. Raises SweepError."""
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise StoreError(f"{path}: no such file or folder; give a file that 'mnv2-sweep export NETWORK --to' wrote")
    if not (folder / PREPROCESS).is_file():
        raise StoreError(f"{folder}: no {PREPROCESS} in it, so 'mnv2-sweep export NETWORK --to' did not write it")
    how = read_part(folder / PREPROCESS, _read_object)
    preprocess = read_part(folder / PREPROCESS, lambda text: Preprocess.load(_read_object(text)))
    path = _choose_file(folder, how) if path.is_dir() else path
    if path.suffix not in READ and path.suffix != UNPICKLED:
        raise StoreError(f"{path}: no file of a network; its name must end in {', '.join(READ)}")
    if path.suffix == UNPICKLED:
        raise SweepError(f"{path}: torch unpickles such files, which can run code; predict reads the other formats")
    classes = read_part(folder / LABELS, lambda text: tuple(text.removesuffix("\n").split("\n")))
    checks = read_part(folder / CHECK, _read_object)
    check, note = checks.get(path.name), ""
    if not _is_checked(path, check):
        check = None
        note = (
            f"{path}: not the file that was checked when it was exported (its sha256 is not that in {CHECK}), so the "
            "temperature, threshold and shares there are not used"
        )
    confidence = _read_confidence(folder, check, precision)
    try:
        run, *_ = load_network_file(path)
    except SweepError:
        raise
    except Exception as error:  # safetensors and json have kinds of their own
        raise StoreError(f"{path}: can't be read ({_one_line(error)}); export it again") from error
    scale = ImageInput(False, preprocess.pixels.mean, preprocess.pixels.std)

    def find_logits(pixels: np.ndarray) -> np.ndarray:
        images = image_batch(pixels, torch.arange(len(pixels)), "cpu", preprocess.pixels.channels)
        seen = cut_middle(images, preprocess.size, preprocess.pixels.eval_crop)
        return run(scale(seen).contiguous().numpy())

    classifier = Classifier(find_logits, classes, preprocess.whole, preprocess.first_size, preprocess.decoding)
    _try_out(path, classifier)
    return ExportedFile(path, classifier, confidence, note)


def read_part(path: Path, read: Any) -> Any:
    """Return what `read` makes of a text of the folder. Raises StoreError where it is not there or damaged."""
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise ValueError("it is too large")
        return read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise StoreError(f"{path}: can't be read ({_one_line(error)}); export it again") from error


def _read_object(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"{type(content).__name__} instead of an object")
    return content


def _choose_file(folder: Path, how: Any) -> Path:
    """Return the first file that a runtime runs, else the weights."""
    names = [f"model{suffix}" for suffix in READ]
    listed = how.get("models") or []
    found = next((name for name in (*map(str, listed), *names) if (folder / Path(name).name).is_file()), None)
    if found is None:
        raise StoreError(f"{folder}: none of {', '.join(names)} in it; export the network again")
    return folder / Path(found).name


def _is_checked(path: Path, check: Any) -> bool:
    """Return whether a file is the one of which check.json tells; earlier versions did not say."""
    return not isinstance(check, dict) or "sha256" not in check or check["sha256"] == file_sha256(path.read_bytes())


def _read_confidence(folder: Path, check: Any, precision: float) -> Confidence:
    """Return what was fitted at the export; UNCALIBRATED where the file was not run then."""
    if not isinstance(check, dict) or "confidence" not in check:
        return UNCALIBRATED
    try:
        confidence = load_confidence(check["confidence"], precision)
        if not confidence.temperature > 0:
            raise ValueError(f"temperature {confidence.temperature}")
        return confidence
    except StopIteration:
        given = ", ".join(f"{level['asked']:g}" for level in check["confidence"]["levels"])
        raise SweepError(f"--precision {precision:g}: a written file has its threshold for {given}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / CHECK}: can't be read ({_one_line(error)}); export it again") from error


def _try_out(path: Path, classifier: Classifier) -> None:
    """Raise StoreError unless it answers a black image with a number for each class."""
    black = np.zeros((1, *classifier.size, 3), np.uint8)
    try:
        shape, wanted = classifier.find_logits(black).shape, (1, len(classifier.classes))
        if shape != wanted:
            raise ValueError(f"it gives {shape}, {LABELS} has {wanted[1]} classes")
    except Exception as error:  # each runtime has kinds of its own
        raise StoreError(
            f"{path}: does not fit {PREPROCESS} and {LABELS} beside it ({_one_line(error)}); export it again"
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
