"""Files of torch and of safetensors -> arrays by their names, and what the file says of itself.

Only `torch.load(weights_only=True)` reads pickled files: of what a pickle can ask for it lets tensors and plain values
through. A tensor may say that it is larger than the bytes behind it (strides of 0), so its size is looked at first.
"""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.text import bytes_text

Read = tuple[dict[str, np.ndarray], dict[str, Any]]
NESTS = ("state_dict", "model", "state_dict_ema", "model_ema", "net")  # where trainers put the weights


def read_safetensors(path: Path, limit_bytes: int) -> Read:
    """Return the arrays and the file's metadata (all text). Raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as opened:
            arrays = {
                name: _to_array(opened.get_tensor(name), f"{path}: {name}", limit_bytes) for name in opened.keys()
            }
            return arrays, dict(opened.metadata() or {})
    except SafetensorError as error:
        raise WeightsError(f"{path}: no whole safetensors file ({error}); fetch it anew") from error


def read_torch(path: Path, limit_bytes: int) -> Read:
    """Return the arrays of what torch.save wrote, and the plain values beside them. Raises WeightsError."""
    try:
        _check_zip(path, limit_bytes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other makers, which are refused next
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: a pickle that holds more than tensors, or none of torch's; it could run code here and is not "
            "read; save its state_dict with safetensors or torch.save"
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # torch.load raises many kinds at what is cut or damaged
        why = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: torch can't read it ({why}); fetch it anew, it may be cut") from error
    beside: dict[str, Any] = {}
    while isinstance(content, Mapping) and (
        nest := next((n for n in NESTS if isinstance(content.get(n), Mapping)), "")
    ):
        beside |= {name: value for name, value in content.items() if name != nest}
        content = content[nest]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{path}: it holds no state_dict (names with tensors); save one with torch.save")
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    return {name: _to_array(value, f"{path}: {name}", limit_bytes) for name, value in tensors.items()}, beside


def _check_zip(path: Path, limit_bytes: int) -> None:
    """Raise WeightsError where the file is a zip whose parts are packed into more than the limit."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > limit_bytes:
            raise WeightsError(f"{path}: {bytes_text(unpacked)} unpacked, at most {bytes_text(limit_bytes)} are read")


def _to_array(tensor: torch.Tensor, where: str, limit_bytes: int) -> np.ndarray:
    if tensor.is_quantized or tensor.layout != torch.strided:
        raise WeightsError(f"{where}: a quantised or sparse tensor; weights in float are wanted")
    if tensor.numel() * 4 > limit_bytes:
        raise WeightsError(f"{where}: {tensor.numel():,} numbers, too many for a MobileNetV2")
    return (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
