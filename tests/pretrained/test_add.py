"""Files of weights are added as what they are: the published ones by their names, all others under their own."""

from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path

import onnx
import pytest

from mnv2_sweep.base.errors import WeightsError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.pretrained import add, published
from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.folder import list_added
from mnv2_sweep.pretrained.published import PUBLISHED, Published
from mnv2_sweep.pretrained.read import read_weights
from tests.weight_files import (
    Arrays,
    draw_arrays,
    keras_layers,
    make_onnx,
    rename,
    save_h5,
    save_safetensors,
    save_tflite,
    save_torch,
)

drawn = cache(draw_arrays)


def write_published(path: Path, kind: str, arch: ArchSpec) -> Path:
    """Write a file as that project does, of that network, with other numbers."""
    arrays: Arrays = drawn(arch)
    if kind == "keras":
        return save_h5(path, keras_layers(arrays, arch))
    if kind == "onnx":
        onnx.save(make_onnx(arrays, 1e-5, arch=arch), path)
        return path
    if kind == "tflite":
        return save_tflite(path, arrays, bits=8, arch=arch)
    return save_torch(path, rename(arrays, kind, arch))


def layout_of(one: Published) -> tuple[str, ArchSpec]:
    return one.kind, replace(one.arch, resolution=224, padding="torch")


LAYOUTS = [(key, list(ones)) for key, ones in groupby(sorted(PUBLISHED, key=lambda o: str(layout_of(o))), layout_of)]


@pytest.mark.slow
@pytest.mark.parametrize("layout, ones", LAYOUTS, ids=lambda given: given[0].name if isinstance(given, list) else "")
def test_every_published_file_is_added_under_its_name(tmp_path, monkeypatch, layout, ones):
    """The numbers are not the published ones, so the digests are left out; all else is as for the files themselves."""
    known = {one.name: replace(one, sha256="") for one in PUBLISHED}
    monkeypatch.setattr(published, "PUBLISHED", tuple(known.values()))
    file = write_published(tmp_path / "file", *layout)
    as_read = read_weights(file)
    monkeypatch.setattr(add, "read_weights", lambda path: as_read)  # once for all that have the same layers
    for one in ones:
        record = add_weights(file, tmp_path / one.name, published=known[one.name]).record
        assert (record.name, record.resolution, record.padding) == (one.name, one.arch.resolution, one.arch.padding)
        assert record.classes == one.arch.classes and [record] == list_added(tmp_path / one.name)
        if sum(other.file_name == one.file_name for other in PUBLISHED) == 1:  # Hugging Face's all have one name
            assert add_weights(tmp_path / one.file_name, tmp_path / one.name).record == record
        for path in (tmp_path / one.name).iterdir():
            path.unlink()
    file.unlink()  # 300 MB in all


def test_a_file_of_other_padding_is_not_the_published_one(tmp_path):
    file = save_safetensors(tmp_path / "a.safetensors", rename(drawn(), "torchvision"), {"padding": "tf"})
    one = replace(PUBLISHED[0], arch=replace(PUBLISHED[0].arch, width=0.1), sha256="")
    with pytest.raises(WeightsError, match="its padding is same, that of torchvision-1.0-224-v1 is torch; leave out"):
        add_weights(file, tmp_path / "weights", published=one)
