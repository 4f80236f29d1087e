"""The published weights that are known here: whose, of which network, where, and how good their publisher says.

All were trained on ImageNet-1k, whose own terms are for research; `licence` is what the publisher says of the files.
Facts come from the projects' own code and pages (docs/weights.md says which), top-1 on the ImageNet validation images
in percent as printed there. `sha256` is the whole digest where somebody here had the file, or its first eight digits
where the project puts them into the file's name and checks them itself; where neither is known it is empty.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mnv2_sweep.nets.arch import SAME, ArchSpec, arch_label, input_size
from mnv2_sweep.nets.resolve import arch_key, resolve
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.pretrained.deepened import DEEPENED

APACHE = "Apache 2.0"
TORCHVISION = "none named (code BSD 3-Clause)"


@dataclass(frozen=True, slots=True)
class Published:
    """One file of weights as its project publishes it; `kind` as in WeightsRecord, `arch` with its padding."""

    name: str
    kind: str
    arch: ArchSpec
    address: str
    licence: str
    top1_percent: float
    sha256: str = ""
    known_bytes: int = 0

    @property
    def file_name(self) -> str:
        """Return the name under which the project publishes the file."""
        return self.address.rpartition("/")[2]

    @property
    def size_bytes(self) -> int:
        """Return the file's size, where it is known, or that of its numbers in float."""
        numbers = sum(layer.params + (2 * layer.c_out if layer.norm else 0) for layer in resolve(self.arch).convs)
        return self.known_bytes or 4 * numbers


def _torchvision() -> Iterator[Published]:
    base = "https://download.pytorch.org/models/mobilenet_v2-"
    v1 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
    yield Published(
        "torchvision-1.0-224-v1", "torchvision", ArchSpec(), f"{base}b0353104.pth", TORCHVISION, 71.878, v1, 14212972
    )
    # Evaluated on pictures resized to 232, of which 224 are cut.
    yield Published(
        "torchvision-1.0-224-v2", "torchvision", ArchSpec(), f"{base}7ebf99e0.pth", TORCHVISION, 72.154, "7ebf99e0"
    )


def _d_li14() -> Iterator[Published]:
    base = "https://github.com/d-li14/mobilenetv2.pytorch/raw/master/pretrained/mobilenetv2"
    files = {
        (1.0, 224): [("_1.0-0c6065bc", 72.192), ("-c5e733a8", 72.834)], (0.75, 224): [("_0.75-dace9791", 69.952)],
        (0.5, 224): [("_0.5-eaa6f9ad", 64.592)], (0.35, 224): [("_0.35-b2e15951", 60.092)],
        (0.25, 224): [("_0.25-b61d2159", 52.352)], (1.0, 192): [("_192x192-e423d99e", 71.076)],
        (1.0, 160): [("_160x160-64dc7fa1", 69.504)], (1.0, 128): [("_128x128-fd66a69d", 66.740)],
        (1.0, 96): [("_96x96-ff0e83d8", 62.696)],
    }  # fmt: skip
    for (width, resolution), versions in files.items():
        for number, (file, top1) in enumerate(versions, 1):
            name = f"d-li14-{width}-{resolution}" + ("-v2" if number == 2 else "")
            arch = ArchSpec(width=width, resolution=resolution)
            yield Published(name, "d-li14", arch, f"{base}{file}.pth", APACHE, top1)


def _timm() -> Iterator[Published]:
    base = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/mobilenetv2_"
    for name, arch, file, top1, size in (
        ("0.5", ArchSpec(width=0.5), "050-3d30d450", 65.950, 0),
        ("1.0", ArchSpec(), "100_ra-b33bc2c4", 72.95, 14202571),
        ("1.4", ArchSpec(width=1.4), "140_ra-21a4e913", 76.51, 24673555),
        ("110d", DEEPENED["110d"], "110d_ra-77090ade", 75.05, 18316431),
        ("120d", DEEPENED["120d"], "120d_ra-5987e2ed", 77.28, 23651121),
    ):
        digest = file.rpartition("-")[2]
        yield Published(f"timm-{name}-224", "timm", arch, f"{base}{file}.pth", APACHE, top1, digest, size)


def _google() -> Iterator[Published]:
    """The 22 of TF-slim as Keras publishes them, with their classifier, and the four that Hugging Face has."""
    keras = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
    keras += "mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    for checkpoint in CHECKPOINTS:
        width, resolution = checkpoint.arch.width, checkpoint.arch.resolution
        address = f"{keras}_{width}_{resolution}.h5"
        arch = replace(checkpoint.arch, padding=SAME)
        yield Published(f"keras-{width}-{resolution}", "keras", arch, address, APACHE, checkpoint.top1_percent)
    for width, resolution in ((1.4, 224), (1.0, 224), (0.75, 160), (0.35, 96)):
        checkpoint = next(c for c in CHECKPOINTS if (c.arch.width, c.arch.resolution) == (width, resolution))
        address = f"https://huggingface.co/google/mobilenet_v2_{width}_{resolution}/resolve/main/pytorch_model.bin"
        arch = replace(checkpoint.arch, classes=1001, padding=SAME)
        yield Published(f"google-{width}-{resolution}", "hugging face", arch, address, APACHE, checkpoint.top1_percent)


def _others() -> Iterator[Published]:
    yield Published(
        "mmpretrain-1.0-224", "mmpretrain", ArchSpec(), "https://download.openmmlab.com/mmclassification/v0/mobilenet_v2/"
        "mobilenet_v2_batch256_imagenet_20200708-3b2dc3af.pth", APACHE, 71.86, "3b2dc3af",
    )  # fmt: skip
    yield Published(
        "onnx-1.0-224", "onnx", ArchSpec(), "https://github.com/onnx/models/raw/main/validated/vision/classification/"
        "mobilenet/model/mobilenetv2-12.onnx", APACHE, 70.94,
    )  # fmt: skip
    yield Published(
        "coral-1.0-224-8bit", "tflite", ArchSpec(classes=1001, padding=SAME), "https://github.com/google-coral/test_data/raw/"
        "104342d2d3480b3e66203073dac24f4e2dbb4c41/mobilenet_v2_1.0_224_quant.tflite", APACHE, 70.8,
        "7aad0c74c5e3c06e5eb3c827e13304fdd68a83da6087d92ee169c24ff9fd4776", 3610798,
    )  # fmt: skip


PUBLISHED = (*_torchvision(), *_d_li14(), *_timm(), *_google(), *_others())


def find_published(name: str) -> Published | None:
    """Return the weights of that name."""
    return next((one for one in PUBLISHED if one.name == name), None)


def recognise(sha256: str, file_name: str) -> Published | None:
    """Return the weights whose whole digest that is, or else whose file's name."""
    by_digest = [one for one in PUBLISHED if one.sha256 == sha256]
    by_name = [one for one in PUBLISHED if one.file_name == file_name and sha256.startswith(one.sha256)]
    unique = by_name if len(by_name) == 1 else []  # Hugging Face's files all have one name
    return next(iter(by_digest + unique), None)


def choose_published(arch: ArchSpec) -> Published | None:
    """Return the weights for a network: those of its own resolution where there are some, else of the nearest; of
    several those with the higher published top-1. None where nobody has published any."""
    fitting = [one for one in PUBLISHED if network_key(one.arch) == network_key(arch)]
    return min(fitting, key=lambda one: _order(one, arch), default=None)


def _order(one: Published, arch: ArchSpec) -> tuple[float, float]:
    side = math.sqrt(input_size(arch).area)
    return abs(math.log(one.arch.resolution / side)), -one.top1_percent


def network_key(arch: ArchSpec) -> str:
    """Return what is the same for two networks exactly if the weights of one fit the other: without size, classes,
    dropout and padding."""
    plain = ArchSpec()
    same = {name: getattr(plain, name) for name in ("resolution", "classes", "dropout", "padding")}
    return arch_key(replace(arch, **same))


def published_label(one: Published) -> str:
    """Return the network as tables name it."""
    return (
        one.name.split("-")[1] + f" at {one.arch.resolution}" if one.arch in DEEPENED.values() else arch_label(one.arch)
    )
