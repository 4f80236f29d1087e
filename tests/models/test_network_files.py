"""Files of torch's: the network comes back from the file alone, with its epsilon."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from mnv2_sweep.base.size import Size
from mnv2_sweep.models.network_files import ABOUT, load_pt2, load_safetensors, make_pt2, make_safetensors
from tests.export_samples import SAMPLES, random_images, random_network, torch_logits

SQUEEZED, GREY = SAMPLES[-5:-3]
SAME = replace(GREY, resolution=Size(34, 51), padding="same")
ABOUT_IT = {"classes": ["dress", "Hüte"]}


@pytest.mark.parametrize("arch", [SQUEEZED, GREY, SAME], ids=["squeeze-and-excite", "grey", "SAME padding"])
def test_a_safetensors_file_is_enough_to_build_the_network(tmp_path, arch):
    network, _ = random_network(arch)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    (tmp_path / "model.safetensors").write_bytes(make_safetensors(network, arch, ABOUT_IT))
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert set(file.keys()) == set(network.state_dict())
        assert json.loads(file.metadata()["classes"]) == ABOUT_IT["classes"]
        name = "features.0.0.weight"
        turned = network.state_dict()[name].numpy()[:, :, ::-1, ::-1]
        assert np.array_equal(file.get_tensor(name), turned) == (arch == SAME)
    images = random_images(arch)
    np.testing.assert_array_equal(
        torch_logits(load_safetensors(tmp_path / "model.safetensors"), images), torch_logits(network, images)
    )


@pytest.mark.heavy
@pytest.mark.parametrize("arch", [SQUEEZED, SAME], ids=["squeeze-and-excite", "SAME padding"])
def test_a_pt2_file_is_run_by_torch_alone_on_any_number_of_images(tmp_path, arch):
    network, graph = random_network(arch)
    (tmp_path / "model.pt2").write_bytes(make_pt2(graph, ABOUT_IT))
    model = load_pt2(tmp_path / "model.pt2")
    for count in (1, 5):
        images = random_images(arch, count)
        np.testing.assert_allclose(torch_logits(model, images), torch_logits(network, images), atol=1e-5)
    extra = {ABOUT: ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert json.loads(extra[ABOUT]) == ABOUT_IT
