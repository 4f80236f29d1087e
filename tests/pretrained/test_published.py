"""The list that ships: names, addresses and digests are well formed, and what it chooses for a network."""

import re
from collections import Counter
from urllib.parse import urlsplit

import pytest

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import ArchSpec, Stage
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.pretrained.layouts import LAYOUTS
from mnv2_sweep.pretrained.published import PUBLISHED, choose_published, find_published, recognise

KINDS = {layout.kind for layout in LAYOUTS} | {"keras", "onnx", "tflite"}


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.name)
def test_every_entry_is_well_formed(one):
    assert re.fullmatch(r"[a-z0-9-]+-[0-9d.]+-\d+(-v\d|-8bit)?", one.name) and find_published(one.name) is one
    assert one.kind in KINDS and urlsplit(one.address).scheme == "https" and one.file_name
    assert re.fullmatch(r"([0-9a-f]{8}|[0-9a-f]{64})?", one.sha256)
    assert 30 < one.top1_percent < 80 and 3e6 < one.size_bytes < 3e7 and one.licence
    resolve(one.arch)


def test_no_name_or_address_is_there_twice():
    assert max(Counter(one.name for one in PUBLISHED).values()) == 1
    assert max(Counter(one.address for one in PUBLISHED).values()) == 1


def test_the_paper_s_whole_grid_is_there():
    keras = {(one.arch.width, one.arch.resolution): one.top1_percent for one in PUBLISHED if one.kind == "keras"}
    assert keras == {(c.arch.width, c.arch.resolution): c.top1_percent for c in CHECKPOINTS} and len(keras) == 22


CHOSEN = {
    "own resolution": (ArchSpec(width=0.35, resolution=96), "keras-0.35-96"),
    "other classes": (ArchSpec(width=0.35, resolution=96, classes=10, dropout=0.0), "keras-0.35-96"),
    "nearest resolution": (ArchSpec(width=0.75, resolution=100), "keras-0.75-96"),
    "nearest in area": (ArchSpec(width=0.75, resolution=Size(96, 180)), "keras-0.75-128"),
    "best of several": (ArchSpec(), "timm-1.0-224"),
    "deeper": (next(one.arch for one in PUBLISHED if one.name == "timm-120d-224"), "timm-120d-224"),
    "a width that comes to the same channels": (ArchSpec(width=0.36), "keras-0.35-224"),
}


@pytest.mark.parametrize("arch, name", CHOSEN.values(), ids=CHOSEN)
def test_the_weights_of_a_network(arch, name):
    assert choose_published(arch).name == name


@pytest.mark.parametrize(
    "arch",
    [ArchSpec(width=0.6), ArchSpec(kernel=5), ArchSpec(activation="relu"), ArchSpec(residual="none"),
     ArchSpec(stages=(Stage(1, 16, 1, 1),)), ArchSpec(family="mobilenet_v1")],
    ids=["width", "kernel", "activation", "residual", "stages", "family"],
)  # fmt: skip
def test_nobody_has_weights_for_other_networks(arch):
    assert choose_published(arch) is None


def test_a_file_is_known_by_its_digest_or_its_name():
    v1 = find_published("torchvision-1.0-224-v1")
    assert recognise(v1.sha256, "anything") is v1
    assert recognise("7ebf99e0" + "0" * 56, "mobilenet_v2-7ebf99e0.pth").name == "torchvision-1.0-224-v2"
    assert recognise("0" * 64, "mobilenet_v2-7ebf99e0.pth") is None  # the name alone, of other content
    assert recognise("0" * 64, "pytorch_model.bin") is None  # four have it
