"""One image file, as bytes -> RGB uint8 pixels of a size, with bounded work.

The file's own orientation (EXIF) is applied; transparent parts become white; 16-bit grey keeps its whole range.
Of animations and multi-page files the first picture counts; colour profiles are not applied.
A file Pillow cannot read raises `UnreadableImage`, which costs one image; an image bomb raises DataError.
"""

import io
import re
import threading
from contextlib import nullcontext

import numpy as np
from PIL import Image, ImageOps

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # nothing else is opened, whatever the file's name says
MAX_PIXELS = 100_000_000
BIG_PIXELS = 16_000_000  # from here on one image is decoded at a time, so that memory does not grow with the threads
RESAMPLING = Image.Resampling.LANCZOS  # antialiased: the filter grows with the reduction

_ONE_BIG = threading.Lock()


class UnreadableImage(Exception):
    """One file that cannot be used; the message is the reason, without the file's name."""


def photo_size(data: bytes, name: str) -> tuple[int, int]:
    """Read width and height from the header alone, as stored (not turned); `name` is only for messages."""
    return _open(data, name).size


def decode_photo(data: bytes, size: Size, name: str) -> np.ndarray:
    """Decode the image as uint8 [*size, 3]; `name` is only for messages."""
    image = _open(data, name)
    try:
        image.draft(None, (2 * max(size), 2 * max(size)))  # JPEG only: decodes at 1/2, 1/4 or 1/8, not below
        with _ONE_BIG if image.width * image.height > BIG_PIXELS else nullcontext():
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(on_white(crop_centre(to_plain(image), size)))  # in this order the copies are small
    except Exception as error:  # damaged files make Pillow raise nearly anything (struct.error, IndexError, ...)
        raise _unusable(error, name) from error


def to_plain(image: Image.Image) -> Image.Image:
    """Convert to a mode of 8-bit channels that can be averaged: palettes and colour keys resolved, 16-bit grey over
    257."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"32-bit pixels (mode {image.mode}) have no agreed white; save it with 8 or 16 bits")
    if image.mode in ("1", "P", "PA") or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def on_white(image: Image.Image) -> Image.Image:
    """Convert to RGB, with white where the image is transparent."""
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


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
        image = Image.open(io.BytesIO(data), formats=FORMATS)
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
        return UnreadableImage("not an image, or its header is damaged")
    text = " ".join(str(error).split())[:100]
    return UnreadableImage(f"{type(error).__name__}: {text}" if text else type(error).__name__)
