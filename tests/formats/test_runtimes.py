"""Files that can't be run are one line each: no runtime, no file, no such kind, damaged."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.formats.onnx import write_onnx
from mnv2_sweep.formats.runtimes import RUNTIMES, load_file
from mnv2_sweep.formats.tflite import write_tflite
from tests.export_samples import NEEDS_RUNTIMES, SAMPLES, random_images, random_network

pytest.importorskip("onnxruntime", reason=NEEDS_RUNTIMES)
pytest.importorskip("ai_edge_litert", reason=NEEDS_RUNTIMES)


@pytest.mark.parametrize(("name", "package"), [("model.onnx", "onnxruntime"), ("model.tflite", "ai-edge-litert")])
def test_a_missing_runtime_is_one_line_with_the_command(name, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, RUNTIMES[f".{name.partition('.')[2]}"].module, None)
    with pytest.raises(SweepError, match=f"{name}: running it needs {package}, .*; pip install {package}$"):
        load_file(tmp_path / name)


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
@pytest.mark.parametrize("content", [b"", b"no model at all, but some text"], ids=["empty", "text"])
def test_a_damaged_file_is_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=rf"{name}: .* can't read it \(.*\); write it again") as caught:
        load_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_and_one_of_another_kind(tmp_path):
    with pytest.raises(StoreError, match=r"model.onnx: no such file$"):
        load_file(tmp_path / "model.onnx")
    with pytest.raises(StoreError, match=r"model.pt: no file that can be run; its name must end in .onnx or .tflite"):
        load_file(tmp_path / "model.pt")


def test_batches_of_several_sizes_give_what_single_images_do(tmp_path):
    _, graph = random_network(SAMPLES[0])
    images = random_images(SAMPLES[0], 5)
    write_onnx(tmp_path / "model.onnx", graph, {})
    write_tflite(tmp_path / "model.tflite", graph, {})
    for name in ("model.onnx", "model.tflite"):
        run = load_file(tmp_path / name)
        single = np.concatenate([run(image[None]) for image in images])
        for parts in ((images,), (images[:3], images[3:])):
            np.testing.assert_allclose(np.concatenate([run(part) for part in parts]), single, atol=1e-4)


class Talkative:
    """An interpreter that writes as LiteRT does, below Python."""

    def __init__(self, model_path: str, num_threads: int):
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nERROR: no room\n")

    def get_input_details(self) -> list[dict]:
        return [{"index": 0, "quantization": (0.0, 0)}]

    get_output_details = get_input_details


def test_what_a_runtime_says_when_all_is_well_is_dropped(tmp_path, capfd):
    RUNTIMES[".tflite"].load(SimpleNamespace(Interpreter=Talkative), tmp_path / "model.tflite")
    assert capfd.readouterr().err == "ERROR: no room\n"
