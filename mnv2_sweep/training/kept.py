"""A trained network <-> the file that keeps its weights, in half precision where it then answers as well.

The file is safetensors: tensors by their names in the network, and a header of text, `header_of`, with what is needed
to build it and to feed it, the dtype of its weights and a digest of the tensors. Kernels are float16 where as many
validation images are right with them so; what is one number a channel stays float32. It is replaced whole or not at
all; reading it runs no code of its own.
"""

import hashlib
import json
import math
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.data.decode import USUAL
from mnv2_sweep.data.photos import find_decoding, find_first_size
from mnv2_sweep.models.network_files import EPSILON
from mnv2_sweep.nets.arch import SAME, arch_record
from mnv2_sweep.nets.plan import Layer
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.training.checkpoint import describe_error
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import evaluate_model
from mnv2_sweep.trials.pixels import pixels_of, whole_level
from mnv2_sweep.trials.tasks import Score, task_of, trained_arch
from mnv2_sweep.trials.trial import Result, Trial, trial_header
from mnv2_sweep.trials.weights import HALF as NO_SCALING
from mnv2_sweep.trials.weights import WeightsRecord

HALF, FULL = "float16", "float32"
COUNT_BYTES = 8  # of the batches that a batch norm has seen


# ---------------------------------------------------------------- what is kept


def keep_network(
    path: Path, dataset: Dataset, control: Control, asked: bool, trial: Trial, model: nn.Module, result: Result
) -> None:
    """Write the file of a measured network, unless its losses are no numbers; the network stays as it is. What the disk
    refuses is logged: a result is not lost for it. Raises Interrupted when asked to stop."""
    if not all(math.isfinite(scores["loss"]) for scores in result.scores.values()):
        return
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    halves = {name: halve(tensor) for name, tensor in state.items()}
    try:
        model.load_state_dict({name: tensor.to(state[name].dtype) for name, tensor in halves.items()})
        scores, images = evaluate_model(model, trial, dataset, "val", result.device, control=control)
    finally:
        model.load_state_dict(state)
    main, finite = task_of(trial).main, all(tensor.isfinite().all() for tensor in halves.values())
    same = finite and is_same_score(main, scores[main.name], result.score("val", main.name), images)
    header = header_of(trial, dataset) | {"dtype": HALF if same else FULL} | ({"asked": "yes"} if asked else {})
    try:
        write_kept(path, halves if same else state, header)
        control.log(f"weights kept as {header['dtype']}, {path.stat().st_size:,} bytes")
    except OSError as error:
        control.log(f"the weights could not be kept: {error.strerror or error}")


def halve(tensor: Tensor) -> Tensor:
    """Return a kernel in half precision; anything else as it is."""
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def is_same_score(main: Score, score: float, before: float, images: int) -> bool:
    """Return whether two main scores over the same images are one: as many images right, where that is what counts."""
    return round(score * images) == round(before * images) if main.fraction else score == before


def header_of(trial: Trial, dataset: Dataset) -> dict[str, str]:
    """Return what the file says of its network, and what is needed of its data where they are gone."""
    whole, cropped = whole_level(trial.train_size, trial.recipe.eval_crop), trial.recipe.eval_crop < 1
    first, decoding = find_first_size(dataset, whole), find_decoding(dataset)
    return (
        {name: str(value) for name, value in trial_header(trial).items()}
        | {
            "arch": json.dumps(arch_record(trained_arch(trial)), sort_keys=True),
            "task": trial.task,
            "trained": trial.way,
            "classes": json.dumps(list(dataset.classes)),
            "size": str(trial.train_size.cell),
            "channels": str(trial.arch.in_channels),
            "pixels": pixels_of(trial).scaling,
            "first_size": json.dumps(first and [first.width, first.height]),
        }
        | ({"crop_from": str(whole.cell)} if cropped else {})
        | ({} if decoding == USUAL else {"decoding": json.dumps({"fit": decoding.fit, "white": decoding.white})})
        | ({"kernels": "turned by 180 degrees"} if trial.arch.padding == SAME else {})
        | ({} if trial.epsilon == EPSILON else {"epsilon": repr(trial.epsilon)})
        | _pixels(trial.start)
    )


def _pixels(start: WeightsRecord | None) -> dict[str, str]:
    """Return how the network scales pixels, as metadata of weights say it."""
    mean, std = (start.mean, start.std) if start else (NO_SCALING, NO_SCALING)
    return {"mean": ",".join(map(repr, mean)), "std": ",".join(map(repr, std))}


def kept_bytes(trial: Trial) -> int:
    """Return the bytes of the trial's tensors in half precision, without their names."""
    return sum(map(_layer_bytes, resolve(trained_arch(trial)).convs))


def _layer_bytes(layer: Layer) -> int:
    """Return those of a kernel, with batch norm's scale, shift, mean, variance and count, or the bias."""
    return 2 * layer.weights + (4 * 4 * layer.c_out + COUNT_BYTES if layer.norm else 4 * layer.c_out * layer.bias)


# ---------------------------------------------------------------- the file


def write_kept(path: Path, state: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Replace the file. Raises OSError, and the file then stays as it was."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
    write_whole(path, save(tensors, {**header, "sha256": tensors_digest(tensors)}))


def read_header(path: Path) -> dict[str, str]:
    """Read what the file says of its network; its length is checked, its tensors are not read. Raises StoreError."""
    return _reading(path, lambda: _open_header(path))


def read_kept(path: Path, trial: Trial) -> dict[str, Tensor]:
    """Return the weights by their names, float32. Raises StoreError where they are not there, damaged or another
    trial's."""

    def read() -> dict[str, Tensor]:
        header, tensors = _open_header(path), load(path.read_bytes())
        for name, value in trial_header(trial).items():
            if header[name] != str(value):
                raise ValueError(f"its {name} is {header[name]!r}, not {str(value)!r}")
        if header["sha256"] != tensors_digest(tensors):
            raise ValueError("it is damaged")
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}

    return _reading(path, read)


def has_kept(path: Path, trial: Trial) -> bool:
    """Return whether `read_kept` would find the trial's weights there."""
    try:
        read_kept(path, trial)
    except StoreError:
        return False
    return True


def fill_network(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Give the network its weights -> in eval mode, as networks are evaluated. Raises RuntimeError where they are
    another network's."""
    model.load_state_dict(state)
    return model.eval().to(memory_format=torch.channels_last)


def _open_header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def _reading(path: Path, read: Callable[[], dict]) -> dict:
    try:
        return read()
    except FileNotFoundError as error:
        raise StoreError(f"{path}: the file is not there; {_how_again(path)} makes it") from error
    except Exception as error:  # of what has not been written here; safetensors has an exception of its own
        raise StoreError(
            f"{path}: can't be used ({describe_error(error)}); remove it, and {_how_again(path)} makes it again"
        ) from error


def _how_again(path: Path) -> str:
    """Say where to read by which command a sweep's network is trained again."""
    return f"what 'mnv2-sweep status {shlex.quote(path.parent.parent.name)} --kept' names"


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors on the CPU, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
