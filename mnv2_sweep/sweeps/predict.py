"""A network and photos -> what it says of each, with probabilities that validation images have calibrated.

A photo becomes pixels exactly as in training. Photos are read, decoded and classified a batch at a time, so that memory
does not grow with their number. A photo that can't be read is named, and costs nothing but itself.
"""

import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from mnv2_sweep.analysis.confidence import Confidence, fit_confidence
from mnv2_sweep.base.errors import DataError, SweepError
from mnv2_sweep.base.size import Size
from mnv2_sweep.base.text import mebibytes
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.batches import whole_batch
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.data.decode import HEIC, SUFFIXES, USUAL, Decoding, UnreadableImage, is_image
from mnv2_sweep.data.files import MAX_FILE_BYTES, PhotoFolder, begins_as_image, is_archive, open_photo_files, read_head
from mnv2_sweep.data.identify import looks_like_image, name_content
from mnv2_sweep.data.photos import find_decoding, find_first_size, read_pixels
from mnv2_sweep.data.source import in_order
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.record.folders import NETWORK, again_command
from mnv2_sweep.record.store import Outcome, read_outcomes
from mnv2_sweep.sweeps.export import find_outcome, select_network
from mnv2_sweep.sweeps.keep import rank_networks
from mnv2_sweep.training.loop import EVAL_BATCH
from mnv2_sweep.trials.pixels import whole_level
from mnv2_sweep.trials.trial import CLASSIFY, Trial, trial_label
from mnv2_sweep.trials.ways import is_kept

WANTED = f"give a photo ({' '.join(SUFFIXES)}), or a folder, zip or tar of photos"


class Photos(NamedTuple):
    """The names of photos, and what reads the bytes of one: raises UnreadableImage or OSError."""

    names: tuple[str, ...]
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class Classifier:
    """What answers, a network in torch or a file in its runtime: images uint8 [N, h, w, 3] of its size, or smaller in
    its aspect -> logits [N, classes]; the names of its classes, the size at which photos are decoded first, and how."""

    find_logits: Callable[[np.ndarray], np.ndarray]
    classes: tuple[str, ...]
    size: Size
    first_size: Size | None
    decoding: Decoding = USUAL


@dataclass(frozen=True)
class Prediction:
    """What a network says of a photo: the probability of each class, the pixels that it has seen, uint8 [h, w, 3]; or
    why the photo could not be read."""

    name: str
    probabilities: np.ndarray | None = None
    pixels: np.ndarray | None = None
    reason: str = ""

    @property
    def best(self) -> int:
        """Return the most probable class."""
        return int(self.probabilities.argmax())

    def is_sure(self, threshold: float) -> bool:
        """Return whether its probability reaches the threshold."""
        return bool(self.probabilities[self.best] >= threshold)


def list_photos(path: Path, options: PhotoOptions | None = None) -> Photos:
    """List a photo, or those in a folder or an archive, by their names, with what would have been one and can't be
    read: what a file is its name says, or else its content. Raises DataError where there are none."""
    options = options or PhotoOptions()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; {WANTED}")
    if options.zip_encoding and not zipfile.is_zipfile(path):
        raise DataError(f"--zip-encoding {options.zip_encoding}: {path} is no zip; leave it out")
    if options.follow_links and not path.is_dir():
        raise DataError(f"--follow-links: {path} is no folder; leave it out")
    if path.is_file() and (_is_named_photo(path.name) or looks_like_image(read_head(path))):
        return Photos((path.name,), lambda name: _read_file(path))
    if not (path.is_dir() or is_archive(path)):
        what = (path.is_file() and name_content(read_head(path))) or "neither a photo nor a zip or tar"
        raise DataError(f"{path}: {what}; {WANTED}")
    files = open_photo_files(path, options, strict=False)
    sizes, others = files.files().sizes, files.left_out if isinstance(files, PhotoFolder) else {}
    left_out = {name: why for name, why in others.items() if _is_named_photo(name) or not PurePosixPath(name).suffix}
    names = {*left_out, *(name for name in sizes if _is_named_photo(name) or begins_as_image(files, name))}
    if not names:
        raise DataError(f"{path}: no photo in it; photos are {' '.join(SUFFIXES)}")

    def read(name: str) -> bytes:
        if name in left_out:
            raise UnreadableImage(left_out[name])
        _check_bytes(sizes[name])
        return files.read(name)

    return Photos(tuple(sorted(names)), read)


def _is_named_photo(name: str) -> bool:
    """Return whether a name ends as that of a photo does, of HEIC also where that can't be read: it is named then."""
    return is_image(name) or name.lower().endswith(HEIC)


def _read_file(path: Path) -> bytes:
    _check_bytes(path.stat().st_size)
    return path.read_bytes()


def _check_bytes(count: int) -> None:
    if count > MAX_FILE_BYTES:
        raise UnreadableImage(f"it has {mebibytes(count)}, at most {mebibytes(MAX_FILE_BYTES)} are read")


def choose_outcome(folder: Path, network: str | None = None, seed: int | None = None) -> Outcome:
    """Return the recorded result that is meant: of the best network that has weights, and of its first seed that has
    some, where neither is given. Raises SweepError."""
    outcomes = [outcome for outcome in read_outcomes(folder) if outcome.status == "done"]
    if network is None:
        ranked = (one.outcomes for one in rank_networks(outcomes))
        some = next((some for some in ranked if any(is_kept(folder, one.trial) for one in some)), None)
        if some is None:
            raise SweepError(
                f"{folder}: no network has its weights; this trains one again and keeps them: "
                f"{again_command(folder, NETWORK)}"
            )
    else:
        some = select_network(outcomes, network, folder)
    seeds = [one.trial.seed for one in some if is_kept(folder, one.trial)] or [some[0].trial.seed]
    label = trial_label(some[0].trial, [one.trial for one in outcomes])
    return find_outcome(folder, label, min(seeds) if seed is None else seed, False)


def network_classifier(model: nn.Module, trial: Trial, dataset: Dataset) -> Classifier:
    """Return a network in eval mode as what answers. Raises SweepError where it is no classifier."""
    if trial.task != CLASSIFY:
        raise SweepError(f"{arch_label(trial.arch)}: its task is {trial.task}; networks that classify predict")

    @torch.inference_mode()
    def find_logits(pixels: np.ndarray) -> np.ndarray:
        return model(whole_batch(pixels, torch.arange(len(pixels)), trial, "cpu")).float().numpy()

    size = whole_level(trial.train_size, trial.recipe.eval_crop)
    return Classifier(find_logits, dataset.classes, size, find_first_size(dataset, size), find_decoding(dataset))


def calibrate_network(classifier: Classifier, dataset: Dataset, precision: float) -> Confidence:
    """Fit the network's confidence to the validation images."""
    pixels = dataset.pixels("val", classifier.size)
    chunks = [pixels[at : at + EVAL_BATCH] for at in range(0, len(pixels), EVAL_BATCH)]
    logits = np.concatenate([classifier.find_logits(chunk) for chunk in chunks])
    return fit_confidence(logits, np.asarray(dataset.labels["val"], dtype=np.int64), precision)


def predict_photos(classifier: Classifier, temperature: float, photos: Photos) -> Iterator[Prediction]:
    """Yield what is said of each photo, in their order."""

    def read(name: str) -> Prediction:
        try:
            data = photos.read(name)
            size, first_size, decoding = classifier.size, classifier.first_size, classifier.decoding
            return Prediction(name, pixels=read_pixels(data, size, first_size, name, decoding))
        except (UnreadableImage, DataError) as error:
            return Prediction(name, reason=str(error).removeprefix(f"{name}: "))
        except OSError as error:
            return Prediction(name, reason=f"cannot be read: {error.strerror or error}")

    with warnings.catch_warnings(), closing(in_order(read, photos.names)) as found:
        warnings.simplefilter("ignore")  # Pillow's, as where training images are decoded
        while some := list(islice(found, EVAL_BATCH)):
            seen = [one for one in some if one.pixels is not None]
            if seen:
                logits = classifier.find_logits(np.stack([one.pixels for one in seen]))
                rows = iter(softmax(logits / temperature, axis=1))
            for one in some:
                yield one if one.pixels is None else Prediction(one.name, next(rows), one.pixels)
