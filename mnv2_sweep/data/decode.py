"""One image file, as bytes -> RGB uint8 pixels of a size, with bounded work.

What a file is its content says, and nothing but the decoders listed here is tried: none starts another program.
The file's own orientation (EXIF) is applied; transparent parts become white; 16-bit grey keeps the range that a set
uses. Of animations and multi-page files the first picture counts; colour profiles are not applied.
A file Pillow cannot read raises `UnreadableImage`, which costs one image; an image bomb raises DataError.
"""

import io
import re
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.identify import HEAD_BYTES, NEEDS_HEIC, name_content

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")  # JPEG: MPO too
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".jfif", ".jpe", ".mpo", ".ppm", ".pgm", ".pnm", ".pbm", ".jp2", ".j2k", ".avif"),
)
HEIC = (".heic", ".heif")  # read where the extra `heic` is installed
FITS = ("crop", "pad", "squash")
PADDING = (128, 128, 128)  # of `pad`: what the network sees as nearly 0
BACKGROUND = "white"  # of transparent parts
FULL_GREY = 65535
NO_IMAGE = "not an image, or its header is damaged"
MAX_PIXELS = 100_000_000
BIG_PIXELS = 16_000_000  # from here on one image is decoded at a time, so that memory does not grow with the threads
ORIENTATION = 0x0112  # among the tags of EXIF
RESAMPLING = Image.Resampling.LANCZOS  # antialiased: the filter grows with the reduction

_ONE_BIG = threading.Lock()


class UnreadableImage(Exception):
    """One file that cannot be used; the message is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the photos of a set become pixels: fitted into an image by one of FITS (`crop`: the largest part of the
    middle; `pad`: all of it, with grey beside it; `squash`: all of it, stretched), and which value of 16-bit greys is
    white."""

    fit: str = FITS[0]
    white: int = FULL_GREY

    def __post_init__(self) -> None:
        if self.fit not in FITS or type(self.white) is not int or not 0 < self.white <= FULL_GREY:
            raise ValueError(f"fit {self.fit!r}, white {self.white!r}")


USUAL = Decoding()


class Pixels(NamedTuple):
    """An image, uint8 [height, width, 3], and of 16-bit greys the largest value there was; else 0."""

    values: np.ndarray
    peak: int


def is_image(name: str) -> bool:
    """Return whether the name ends as that of an image file does which can be read here."""
    return name.lower().endswith(SUFFIXES + HEIC if _has_heic() else SUFFIXES)


def name_ending(name: str) -> str:
    """Return what a file is that does not end as an image does which can be read here."""
    return NEEDS_HEIC if name.lower().endswith(HEIC) else "not an image file"


@cache
def _has_heic() -> bool:
    return find_spec("pillow_heif") is not None


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that are opened: the listed ones, with HEIF where its decoder is installed."""
    if not _has_heic():
        return FORMATS
    import_module("pillow_heif").register_heif_opener()
    return (*FORMATS, "HEIF")


def photo_size(data: bytes, name: str) -> tuple[int, int]:
    """Read width and height from the header alone, as stored (not turned); `name` is only for messages."""
    return _open(data, name).size


class Look(NamedTuple):
    """What an image is without its pixels: its size as people see it, EXIF's orientation (1 to 8), by which it is
    turned for that, and of 16-bit greys the largest value there is; else 0."""

    size: Size
    orientation: int
    peak: int


def look_at(data: bytes, name: str) -> Look:
    """Read an image's header, and the pixels of 16-bit greys; `name` is only for messages."""
    image = _open(data, name)
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        size = Size(image.width, image.height) if orientation >= 5 else Size(image.height, image.width)
        peak = int(np.asarray(image).max()) if image.mode.startswith("I;16") else 0
        return Look(size, orientation, peak)
    except Exception as error:
        raise _unusable(error, name) from error


def decode_photo(data: bytes, size: Size, name: str, decoding: Decoding = USUAL) -> np.ndarray:
    """Decode the image as uint8 [*size, 3]; `name` is only for messages."""
    return decode_pixels(data, size, name, decoding).values


def decode_pixels(data: bytes, size: Size, name: str, decoding: Decoding = USUAL) -> Pixels:
    """Decode the image at a size, and say which greys it has; `name` is only for messages."""
    image = _open(data, name)
    try:
        image.draft(None, (2 * max(size), 2 * max(size)))  # JPEG only: decodes at 1/2, 1/4 or 1/8, not below
        with _ONE_BIG if image.width * image.height > BIG_PIXELS else nullcontext():
            ImageOps.exif_transpose(image, in_place=True)
            peak = int(np.asarray(image).max()) if image.mode.startswith("I;16") else 0
            fitted = fit_image(to_plain(image, decoding.white), size, decoding.fit)  # in this order copies are small
            return Pixels(np.asarray(fitted), peak)
    except Exception as error:  # damaged files make Pillow raise nearly anything (struct.error, IndexError, ...)
        raise _unusable(error, name) from error


def to_plain(image: Image.Image, white: int = FULL_GREY) -> Image.Image:
    """Convert to a mode of 8-bit channels that can be averaged: palettes and colour keys resolved, 16-bit grey scaled
    so that `white` becomes 255."""
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) * 255 + white // 2) // white
        return Image.fromarray(grey.clip(max=255).astype(np.uint8))
    if image.mode == "I" and image.format == "PPM":  # Pillow has scaled it to 16 bits by the file's own maximum
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"32-bit pixels (mode {image.mode}) have no agreed white; save it with 8 or 16 bits")
    if image.mode in ("1", "P", "PA") or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def on_white(image: Image.Image) -> Image.Image:
    """Convert to RGB, with white where the image is transparent."""
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, BACKGROUND)
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def fit_image(image: Image.Image, size: Size, fit: str) -> Image.Image:
    """Make an RGB image of that size, as one of FITS says."""
    if fit == "crop":
        return on_white(crop_centre(image, size))
    if fit == "squash":
        return on_white(image.resize((size.width, size.height), RESAMPLING, reducing_gap=3.0))
    inner, left, top = place_image(Size(image.height, image.width), size, fit)
    padded = Image.new("RGB", (size.width, size.height), PADDING)
    padded.paste(on_white(image.resize((inner.width, inner.height), RESAMPLING, reducing_gap=3.0)), (left, top))
    return padded


def place_image(image: Size, size: Size, fit: str) -> tuple[Size, int, int]:
    """Return how large all of an image is within one of that size, and how far from its left and top, where it is
    fitted by `pad` or `squash`."""
    if fit == "squash":
        return size, 0, 0
    inner = image.scale(min(size.width / image.width, size.height / image.height))
    return inner, (size.width - inner.width) // 2, (size.height - inner.height) // 2


def crop_centre(image: Image.Image, size: Size) -> Image.Image:
    """Cut the largest part of the size's aspect out of the middle, resampled to the size."""
    width = min(image.width, image.height * size.width / size.height)
    height = min(image.height, image.width * size.height / size.width)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    if size.is_square:  # as caches have always had them
        left, top = int(left), int(top)
    box = (left, top, left + width, top + height)
    return image.resize((size.width, size.height), RESAMPLING, box, reducing_gap=3.0)


def _open(data: bytes, name: str) -> Image.Image:
    """Open the image with only its header read, known to be no bomb."""
    if not data:
        raise UnreadableImage("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except Image.UnidentifiedImageError as error:
        what = name_content(data[:HEAD_BYTES])
        raise UnreadableImage(f"not an image, but {what}" if what else NO_IMAGE) from error
    except Exception as error:
        raise _unusable(error, name) from error
    _check_pixels(image.width * image.height, name)
    return image


def _check_pixels(pixels: int, name: str) -> None:
    if pixels > MAX_PIXELS:
        raise DataError(
            f"{name}: image bomb? It has {pixels / 1e6:,.0f} megapixels, at most {MAX_PIXELS / 1e6:,.0f} are allowed; "
            "remove the file or save it smaller"
        )


def _unusable(error: Exception, name: str) -> Exception:
    """Return what to raise for Pillow's error; its message has no memory addresses, so that it is the same each run."""
    if isinstance(error, (UnreadableImage, DataError)):
        return error
    if isinstance(error, Image.DecompressionBombError):  # Pillow's own check, from 179 megapixels, tells no size
        found = re.search(r"(\d+) pixels", str(error))
        try:
            _check_pixels(int(found[1]) if found else 2 * MAX_PIXELS, name)
        except DataError as bomb:
            return bomb
    if isinstance(error, Image.UnidentifiedImageError):
        return UnreadableImage(NO_IMAGE)
    text = " ".join(str(error).split())[:100]
    return UnreadableImage(f"{type(error).__name__}: {text}" if text else type(error).__name__)
