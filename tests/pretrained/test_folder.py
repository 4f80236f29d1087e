"""Weights in their folder: added once, found by name or digest, and read as they were."""

from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.folder import find_weights, list_added, weights_folder
from mnv2_sweep.pretrained.published import find_published
from mnv2_sweep.pretrained.read import read_weights
from mnv2_sweep.trials.weights import describe_start
from tests.weight_files import draw_arrays, keras_config, keras_layers, rename, save_h5, save_torch

ARRAYS = draw_arrays()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_h5(tmp_path / "mine.h5", keras_layers(ARRAYS), keras_config(64))


def test_added_weights_are_found_as_they_were(tmp_path, file):
    folder = tmp_path / "weights"
    added = add_weights(file, folder)
    assert added.record.name == "mine" and [p.name for p in folder.iterdir()] == [f"{added.record.sha256}.safetensors"]
    for wanted in ("mine", added.record.sha256, added.record.sha256[:8]):
        found = find_weights(wanted, folder)
        assert found.record == added.record
        assert all(np.array_equal(found.arrays[name], ARRAYS[name]) for name in ARRAYS)


def test_an_added_file_given_as_a_file_keeps_its_conventions(tmp_path, file):
    record = add_weights(file, tmp_path / "weights").record
    again = read_weights(tmp_path / "weights" / f"{record.sha256}.safetensors").record
    same = ("width", "resolution", "epsilon", "padding", "mean", "std", "classes")
    assert [getattr(again, name) for name in same] == [getattr(record, name) for name in same]


def test_the_same_file_twice_is_one_and_keeps_its_name(tmp_path, file):
    folder = tmp_path / "weights"
    record = add_weights(file, folder).record
    with pytest.raises(WeightsError, match="it is here already, as mine, and weights have one name; .* remove "):
        add_weights(file, folder, "another name")
    assert add_weights(file.rename(tmp_path / "b.h5"), folder).record == record
    assert list_added(folder) == [record]


def test_two_files_of_one_name_are_not_mixed_up(tmp_path, file):
    folder = tmp_path / "weights"
    add_weights(file, folder)
    other = save_torch(tmp_path / "mine.pth", rename(ARRAYS, "timm"))
    with pytest.raises(WeightsError, match="other weights are named mine; give it a name with --name"):
        add_weights(other, folder)
    add_weights(other, folder, "yours")
    assert [record.name for record in list_added(folder)] == ["mine", "yours"]


def test_a_name_of_published_weights_is_not_taken_by_others(tmp_path):
    file = save_torch(tmp_path / "timm-1.0-224.pth", rename(ARRAYS, "timm"))
    for name in ("", "timm-1.0-224", "keras-0.35-96"):
        with pytest.raises(WeightsError, match=f"{name or 'timm-1.0-224'} is the name of .* not known to be them"):
            add_weights(file, tmp_path / "weights", name)


@pytest.mark.parametrize("name", ["imagenet", "Sliced", "=x", "-x", "+1", "@x"])
def test_a_file_s_own_name_is_held_to_the_same_rules(tmp_path, name):
    file = save_torch(tmp_path / f"{name}.pth", rename(ARRAYS, "timm"))
    with pytest.raises(WeightsError, match="as its name: .*; give a name with --name"):
        add_weights(file, tmp_path / "weights")
    assert add_weights(file, tmp_path / "weights", "mine").record.name == "mine"


def test_terms_are_as_published_or_as_their_owner_says(tmp_path, file, monkeypatch):
    folder = tmp_path / "weights"
    assert describe_start(add_weights(file, folder).record).endswith("licence: not stated)")
    said = add_weights(file, folder, licence="CC0", source="our lab").record
    assert describe_start(said).endswith("licence: CC0, from our lab)")
    listed = find_published("google-0.35-96")  # somebody else's copy of it
    assert add_weights(file, folder, source=listed.address).record.licence == "Apache 2.0"
    assert add_weights(file, folder, licence="CC0", source="our lab").record == said
    assert add_weights(file, folder).record == said == list_added(folder)[0]  # and they stay
    coral = Path(__file__).parents[3] / "shared/weights/mobilenet_v2_1.0_224_quant/mobilenet_v2_1.0_224_quant.tflite"
    if coral.exists():
        assert add_weights(coral, folder).record.licence == "Apache 2.0"
        with pytest.raises(WeightsError, match="it is coral-1.0-224-8bit, whose licence and source the list has"):
            add_weights(coral, folder, licence="mine")


def test_what_is_not_there_is_said_with_what_is(tmp_path, file):
    folder = tmp_path / "weights"
    with pytest.raises(WeightsError, match="none yet.*weights get.*weights add"):
        find_weights("mine", folder)
    add_weights(file, folder)
    with pytest.raises(WeightsError, match="there: mine"):
        find_weights("yours", folder)


def test_a_damaged_file_in_the_folder_counts_for_nothing(tmp_path, file):
    folder = tmp_path / "weights"
    record = add_weights(file, folder).record
    (folder / "other.safetensors").write_bytes(b"no weights")
    assert [one.name for one in list_added(folder)] == ["mine"]
    path = folder / f"{record.sha256}.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError):
        find_weights("mine", folder)


def test_a_folder_that_can_t_be_written_is_said(tmp_path, file):
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(WeightsError, match="MNV2_SWEEP_CACHE"):
        add_weights(file, tmp_path / "weights")


def test_the_folder_lies_beside_the_images(monkeypatch, tmp_path):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path))
    assert weights_folder() == tmp_path / "weights"
