"""ExecuTorch's files, where it is installed: what its runtime makes of them is what torch makes of the network."""

import importlib.util

import pytest

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.models import pte_files
from mnv2_sweep.models.pte_files import load_pte, make_pte
from mnv2_sweep.nets.arch import arch_label
from tests.export_samples import SAMPLES, largest_difference, random_images, random_network, torch_logits

needs_executorch = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None, reason="needs the extra 'pte': pip install 'mnv2-sweep[pte]'"
)
OF_EACH = [arch for arch in SAMPLES if arch.family != "nasnet_a"]


@needs_executorch
@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # its own, about torch
@pytest.mark.parametrize("arch", OF_EACH, ids=arch_label)
def test_its_runtime_computes_what_the_network_does(tmp_path, arch):
    network, graph = random_network(arch)
    (tmp_path / "model.pte").write_bytes(make_pte(graph))
    images = random_images(arch, 3)
    assert largest_difference(load_pte(tmp_path / "model.pte")(images), torch_logits(network, images)) < 1e-5


@needs_executorch
@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
def test_a_cut_file_is_one_line(tmp_path):
    _, graph = random_network(SAMPLES[0])
    (tmp_path / "cut.pte").write_bytes(make_pte(graph)[:3000])
    with pytest.raises(StoreError, match=r"cut.pte: executorch can't read it \(.*\); write it again"):
        load_pte(tmp_path / "cut.pte")


def test_where_it_is_missing_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(pte_files, "PACKAGE", "executorch_of_nobody")
    _, graph = random_network(SAMPLES[0])
    for call in (lambda: make_pte(graph), lambda: load_pte(tmp_path / "model.pte")):
        with pytest.raises(SweepError, match=r"not installed; pip install 'mnv2-sweep\[pte\]'"):
            call()
