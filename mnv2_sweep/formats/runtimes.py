"""A written file and images -> its logits, in the runtime that a device would use, on one thread."""

import importlib
import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from mnv2_sweep.base.errors import StoreError, SweepError

Run = Callable[[np.ndarray], np.ndarray]  # images float32 [N, channels, height, width] -> logits float32 [N, classes]


class Runtime(NamedTuple):
    """The module that runs files of a kind, the package that holds it, and how to load one."""

    module: str
    package: str
    load: Callable[[ModuleType, Path], Run]


def run_file(path: Path, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the logits of each batch. Raises SweepError where the runtime is missing, StoreError where the file is no
    such network."""
    run = load_file(path)
    for images in batches:
        yield run(images)


def load_file(path: Path) -> Run:
    """Return what runs the file; see `run_file`."""
    runtime = RUNTIMES.get(path.suffix)
    if runtime is None:
        raise StoreError(f"{path}: no file that can be run; its name must end in {' or '.join(RUNTIMES)}")
    try:
        module = importlib.import_module(runtime.module)
    except ImportError as error:
        raise SweepError(
            f"{path}: running it needs {runtime.package}, which can't be imported ({error}); "
            f"pip install {runtime.package}"
        ) from error
    if not path.is_file():
        raise StoreError(f"{path}: no such file")
    try:
        return runtime.load(module, path)
    except Exception as error:  # each runtime has kinds of its own
        text = " ".join(str(error).split())[:200]
        raise StoreError(f"{path}: {runtime.package} can't read it ({text}); write it again") from error


def runtime_version(path: Path) -> tuple[str, str]:
    """Return the package that runs the file, which is installed, and its version."""
    package = RUNTIMES[path.suffix].package
    return package, importlib.metadata.version(package)


def _load_onnx(module: ModuleType, path: Path) -> Run:
    options = module.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0]

    def run(images: np.ndarray) -> np.ndarray:
        step = first.shape[0] if isinstance(first.shape[0], int) else max(len(images), 1)
        parts = [images[at : at + step] for at in range(0, len(images), step)]
        return np.concatenate([session.run(None, {first.name: np.ascontiguousarray(part)})[0] for part in parts])

    return run


def _load_tflite(module: ModuleType, path: Path) -> Run:
    with _without_notes():
        interpreter = module.Interpreter(model_path=str(path), num_threads=1)
    first, last = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape: list[int] = []

    def run(images: np.ndarray) -> np.ndarray:
        pixels = np.ascontiguousarray(round_values(images.transpose(0, 2, 3, 1), first))
        if [*first["shape"][1:]] != [*pixels.shape[1:]]:  # LiteRT would run it at any size
            raise ValueError(f"it reads {[*map(int, first['shape'][1:])]}, given {[*pixels.shape[1:]]}")
        if shape != [*pixels.shape]:
            with _without_notes():
                interpreter.resize_tensor_input(first["index"], pixels.shape)
                interpreter.allocate_tensors()
            shape[:] = pixels.shape
        interpreter.set_tensor(first["index"], pixels)
        interpreter.invoke()
        return widen_values(interpreter.get_tensor(last["index"]), last)

    return run


@contextmanager
def _without_notes() -> Iterator[None]:
    """Drop the lines that LiteRT writes to stderr about what it does well ("INFO: Created ..."); it has no switch for
    them. What else is written meanwhile appears at the end."""
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    try:
        with tempfile.TemporaryFile() as written:
            os.dup2(written.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                written.seek(0)
                for line in written:
                    if not line.startswith(b"INFO: "):
                        os.write(2, line)
    finally:
        os.close(kept)


def round_values(values: np.ndarray, end: dict[str, Any]) -> np.ndarray:
    """Return floats in the type of an end of a TFLite network, as its scale has them."""
    scale, zero = end["quantization"]
    if not scale:
        return values
    limits = np.iinfo(end["dtype"])
    return np.rint(values / np.float32(scale) + zero).clip(limits.min, limits.max).astype(end["dtype"])


def widen_values(values: np.ndarray, end: dict[str, Any]) -> np.ndarray:
    """Return what an end of a TFLite network gives as floats."""
    scale, zero = end["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values


RUNTIMES = {
    ".onnx": Runtime("onnxruntime", "onnxruntime", _load_onnx),
    ".tflite": Runtime("ai_edge_litert.interpreter", "ai-edge-litert", _load_tflite),
}
