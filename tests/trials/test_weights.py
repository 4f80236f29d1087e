"""The record of where weights come from: JSON and back, and the network it is of."""

import json
from dataclasses import replace

import pytest

from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.pretrained.deepened import DEEPENED
from mnv2_sweep.trials.weights import HALF, ORDERS, WeightsRecord, dump_weights, load_weights

PLAIN = WeightsRecord("some", "ab" * 32, "torchvision")
GOOGLE = replace(
    PLAIN, kind="keras", width=0.35, resolution=96, epsilon=1e-3, padding="same", mean=HALF, std=HALF, classes=0,
    order="", folded=True, licence="Apache 2.0", source="somewhere",
)  # fmt: skip


@pytest.mark.parametrize(
    "record", [PLAIN, GOOGLE, replace(PLAIN, stages=DEEPENED["120d"].stages)], ids=lambda r: r.kind
)
def test_a_record_survives_json(record):
    assert load_weights(dump_weights(record)) == record


def test_json_leaves_out_what_has_its_default():
    assert json.loads(dump_weights(PLAIN)) == {"name": "some", "sha256": "ab" * 32, "kind": "torchvision"}


def test_the_network_has_the_classes_of_the_weights_or_one():
    assert PLAIN.arch == ArchSpec() and GOOGLE.arch == ArchSpec(width=0.35, resolution=96, classes=1, padding="same")
    assert {PLAIN.order, GOOGLE.order} <= ORDERS.keys()
