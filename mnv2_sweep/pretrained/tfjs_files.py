"""A model.json of TensorFlow.js with its shards (Teachable Machine's web export is one) -> arrays by their names.

Shards are files of the same folder; no other is opened.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.base.text import bytes_text

TYPES = {"float32": np.float32, "float16": np.float16, "uint8": np.uint8, "uint16": np.uint16, "int32": np.int32}


def read_tfjs(path: Path, limit_bytes: int) -> tuple[dict[str, np.ndarray], dict[str, Any], tuple[Path, ...]]:
    """Return the arrays by names as in "Conv1/kernel", the topology, and the shards. Raises WeightsError."""
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        arrays: dict[str, np.ndarray] = {}
        for group in model["weightsManifest"]:
            content = b"".join(_read_shard(path, name, limit_bytes) for name in group["paths"])
            at = 0
            for weight in group["weights"]:
                packed = weight.get("quantization")
                dtype = np.dtype(TYPES[packed["dtype"] if packed else weight["dtype"]])
                count = int(np.prod(weight["shape"], dtype=object))
                if not 0 <= count * dtype.itemsize <= len(content) - at:
                    raise WeightsError(f"{path}: its shards end before {weight['name']}; one of them is cut")
                array = np.frombuffer(content, dtype, count, at).reshape(weight["shape"])
                at += count * dtype.itemsize
                if packed and "scale" in packed:
                    array = (array * np.float64(packed["scale"]) + packed["min"]).astype(np.float32)
                arrays[weight["name"]] = array
        shards = tuple(path.with_name(name) for group in model["weightsManifest"] for name in group["paths"])
        return arrays, model.get("modelTopology") or {}, shards
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, OSError) as error:
        raise WeightsError(f"{path}: no whole model.json of TensorFlow.js ({error!r:.100})") from error


def _read_shard(path: Path, name: str, limit_bytes: int) -> bytes:
    if name != Path(name).name or name in (".", ".."):
        raise WeightsError(f"{path}: its weights lie in {name!r}, no file of the same folder; it is not opened")
    shard = path.with_name(name)
    if not shard.is_file():
        raise WeightsError(f"{path}: its weights lie in {name}, which is not beside it; put it there")
    if shard.stat().st_size > limit_bytes:
        raise WeightsError(f"{shard}: more than {bytes_text(limit_bytes)}")
    return shard.read_bytes()
