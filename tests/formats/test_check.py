"""What a written file does is compared with torch image by image."""

import importlib.metadata

import numpy as np
import pytest

from mnv2_sweep.base.intervals import wilson_interval
from mnv2_sweep.formats.check import Batch, Check, check_run
from mnv2_sweep.formats.onnx import write_onnx
from mnv2_sweep.formats.runtimes import load_file, runtime_version
from tests.export_samples import NEEDS_RUNTIMES, SAMPLES, random_images, random_network, torch_logits

pytest.importorskip("onnxruntime", reason=NEEDS_RUNTIMES)


def test_a_file_is_compared_with_torch_and_the_labels(tmp_path):
    network, graph = random_network(SAMPLES[0])
    write_onnx(tmp_path / "model.onnx", graph, {})
    images = random_images(SAMPLES[0], 6)
    logits = torch_logits(network, images)
    answers = logits.argmax(axis=1)
    labels = answers.copy()
    labels[0] = (labels[0] + 1) % 10
    batches = [Batch(images[:4], labels[:4], logits[:4]), Batch(images[4:], labels[4:], logits[4:])]
    run, ran_by = load_file(tmp_path / "model.onnx"), runtime_version(tmp_path / "model.onnx")
    check = check_run(run, batches, *ran_by)
    version = importlib.metadata.version("onnxruntime")
    assert check._replace(difference=0) == Check(6, 5, 6, 0, 0, 0, "onnxruntime", version)
    assert 0 < check.difference < 1e-4
    other = np.roll(logits, 1, axis=1)  # torch with another answer on each: right where the file is wrong, on the first
    check = check_run(run, [Batch(images, labels, other)], *ran_by)
    assert (check.agree, check.lost, check.won) == (0, 1, 5) and check.difference > 0.01


@pytest.mark.parametrize(("lost", "won", "worse"), [(0, 0, False), (4, 2, False), (12, 2, True), (2, 12, False),
                                                    (100, 90, False), (140, 90, True)])  # fmt: skip
def test_only_a_drop_beyond_chance_is_one(lost, won, worse):
    assert make_check(1000, 800, 900, lost, won).is_worse is worse
    assert not make_check(0, 0, 0, 0, 0).is_worse


def make_check(*counts: int) -> Check:
    return Check(*counts, 0.1, "onnxruntime", "1.32.0")


def test_what_json_has_of_a_check():
    record = make_check(341, 273, 339, 1, 0).record()
    assert (record["images"], record["top1"], record["agreement"]) == (341, 273 / 341, 339 / 341)
    assert record["interval"] == pytest.approx(wilson_interval(273 / 341, 341)) and record["is_worse"] is False
    assert (record["largest_difference"], record["runtime"], record["version"]) == (0.1, "onnxruntime", "1.32.0")
