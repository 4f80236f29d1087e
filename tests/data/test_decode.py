import io
import struct
import zlib
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.base.size import Size, square
from mnv2_sweep.data.decode import (
    MAX_PIXELS,
    PADDING,
    Decoding,
    UnreadableImage,
    crop_centre,
    decode_photo,
    decode_pixels,
    is_image,
    photo_size,
)
from mnv2_sweep.data.photos import open_photos
from tests.photo_samples import OK, write_folder

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def decode(image: Image.Image, form: str = "PNG", **options) -> np.ndarray:
    return decode_photo(encode(image, form, **options), square(16), "x")


def palette() -> Image.Image:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, *RED])
    return image


def half_clear(mode: str, colour) -> Image.Image:
    image = Image.new(mode, (16, 16), colour)
    image.paste((*colour[:-1], 0), (0, 0, 8, 16))
    return image


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO"])
def test_every_form_decodes_to_rgb(form):
    pixels = decode(Image.new("RGB", (32, 24), RED), form)
    assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - RED).max() <= 3


@pytest.mark.parametrize("form", ["EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "MSP"])
def test_no_other_form_is_tried_whatever_it_is_called(form):
    image = Image.new("1" if form == "MSP" else "RGB", (32, 32))
    with pytest.raises(UnreadableImage, match="not an image"):
        decode_photo(encode(image, form), square(16), "photo.jpg")


@pytest.mark.parametrize("name", ["a.JPG", "a.jfif", "a.jpe", "a.mpo", "a.ppm", "a.pgm", "a.pnm", "a.jp2", "a.avif"])
def test_names_of_images(name):
    assert is_image(name) and not is_image(name + ".txt")


@pytest.mark.parametrize(
    "data, what",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a git-lfs pointer"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"pip install 'mnv2-sweep\[heic\]'"),
        (b"%PDF-1.4", "a PDF"),
        (b"image,label\na.jpg,cat\nb.jpg,dog\n", r"a table \(CSV\)"),
    ],
    ids=["lfs", "html", "heic", "pdf", "csv"],
)
def test_what_is_no_image_is_named(data, what):
    if "heic" in what and find_spec("pillow_heif"):
        pytest.skip("HEIC is read here")
    with pytest.raises(UnreadableImage, match=f"not an image, but .*{what}"):
        decode_photo(data, square(16), "x")


@pytest.mark.parametrize(
    "image, form, left, right",
    [
        pytest.param(Image.new("L", (16, 16), 90), "PNG", (90,) * 3, (90,) * 3, id="grey"),
        pytest.param(Image.new("1", (16, 16), 1), "PNG", WHITE, WHITE, id="bits"),
        pytest.param(palette(), "PNG", RED, RED, id="palette"),
        pytest.param(half_clear("LA", (60, 255)), "PNG", WHITE, (60,) * 3, id="grey-alpha"),
        pytest.param(half_clear("RGBA", (*RED, 255)), "PNG", WHITE, RED, id="alpha"),
        pytest.param(half_clear("RGBA", (*RED, 255)), "WEBP", WHITE, RED, id="alpha-webp"),
        pytest.param(Image.new("RGBA", (16, 16), (0, 0, 0, 128)), "PNG", (127,) * 3, (127,) * 3, id="half-seen"),
        pytest.param(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF", RED, RED, id="cmyk-tiff"),
        pytest.param(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", RED, RED, id="cmyk-jpeg-adobe"),
    ],
)
def test_every_mode_has_its_colours(image, form, left, right):
    pixels = decode(image, form, **({"lossless": True} if form == "WEBP" else {}))
    assert np.abs(pixels[8, 2].astype(int) - left).max() <= 2
    assert np.abs(pixels[8, 13].astype(int) - right).max() <= 2


def test_transparent_palette_entry_is_white():
    assert tuple(decode(palette(), transparency=1)[3, 3]) == WHITE


def test_transparent_colour_key_is_white():
    assert tuple(decode(Image.new("RGB", (16, 16), BLUE), transparency=BLUE)[3, 3]) == WHITE


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_and_not_clipped(form):
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    assert (decode(Image.fromarray(values), form)[:, :, 0] == np.arange(256).reshape(16, 16)).all()


def test_grey_of_fewer_bits_is_scaled_by_what_is_white():
    values = np.linspace(0, 4095, 256).round().astype(np.uint16).reshape(16, 16)
    data = encode(Image.fromarray(values))
    found = decode_pixels(data, square(16), "x", Decoding(white=4095))
    assert (found.values[:, :, 0] == np.arange(256).reshape(16, 16)).all() and found.peak == 4095
    assert decode_photo(data, square(16), "x").max() == 16  # by all 16 bits: nearly black


def test_grey_above_white_is_white():
    values = np.full((16, 16), 5000, np.uint16)
    assert (decode_photo(encode(Image.fromarray(values)), square(16), "x", Decoding(white=4095)) == 255).all()


@pytest.mark.parametrize("largest", [255, 1023, 65535])
def test_maps_of_grey_are_scaled_by_their_own_maximum(largest):
    """A .pgm says in its header what is white."""
    values = np.linspace(0, largest, 256).round().astype(">u2" if largest > 255 else np.uint8)
    data = f"P5 16 16 {largest}\n".encode() + values.tobytes()
    grey = decode_photo(data, square(16), "x")[:, :, 0].ravel()
    assert np.abs(grey.astype(int) - np.arange(256)).max() <= 1


def test_32_bit_pixels_are_refused_with_the_reason():
    with pytest.raises(UnreadableImage, match="mode F"):
        decode(Image.new("F", (16, 16)), "TIFF")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(form, orientation):
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8] = 255  # white top left,
    upright[:8, 8:] = 128  # grey top right
    turn = [
        lambda a: a,
        lambda a: a[:, ::-1],
        lambda a: a[::-1, ::-1],
        lambda a: a[::-1],
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.rot90(a, 1),
        lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        lambda a: np.rot90(a, -1),
    ][orientation - 1]  # how a camera that held it so stores the upright picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    pixels = decode(Image.fromarray(np.ascontiguousarray(turn(upright))), form, exif=exif, **options)
    assert np.abs(pixels.astype(int) - upright).max() <= 3


def test_first_picture_of_an_animation():
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    assert tuple(decode(frames[0], "GIF", save_all=True, append_images=frames[1:])[0, 0]) == RED


def test_square_is_the_centre_of_the_longer_side():
    image = Image.new("RGB", (48, 16), BLUE)
    image.paste(RED, (16, 0, 32, 16))
    assert (np.asarray(crop_centre(image, square(16))) == RED).all()
    assert (np.asarray(crop_centre(image.transpose(Image.Transpose.ROTATE_90), square(16))) == RED).all()


def test_reduced_jpeg_decode_agrees_with_a_full_one():
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    data = encode(small.resize((800, 600), Image.Resampling.BICUBIC), "JPEG", quality=95)
    full = Image.open(io.BytesIO(data)).convert("RGB").crop((100, 0, 700, 600))
    reference = np.asarray(full.resize((64, 64), Image.Resampling.LANCZOS)).astype(int)
    difference = np.abs(decode_photo(data, square(64), "x") - reference)
    assert difference.mean() < 1.5 and difference.max() < 20


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body = b"IDAT" + zlib.compress(b"")
    return header + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "width, height, shown", [(10_001, 10_000, "100"), (15_000, 10_000, "150"), (60_000, 50_000, "3,000")]
)
def test_bomb_is_refused_from_its_header(width, height, shown):
    for look in (lambda data: photo_size(data, "a.png"), lambda data: decode_photo(data, square(16), "a.png")):
        with pytest.raises(DataError, match=f"a.png: image bomb.* {shown} megapixels, at most 100 are allowed"):
            look(png_header(width, height))


def test_largest_allowed_header_is_no_bomb():
    assert photo_size(png_header(8000, 10_000), "a.png") == (8000, 10_000)
    assert MAX_PIXELS == 100_000_000


@pytest.mark.parametrize(
    "data, reason",
    [
        pytest.param(b"", "empty file", id="empty"),
        pytest.param(b"hello, I am no image", "not an image", id="text"),
        pytest.param(encode(Image.new("RGB", (64, 64)), "JPEG")[:300], "OSError|not an image", id="cut-jpeg"),
        pytest.param(encode(Image.effect_noise((64, 64), 80), "PNG")[:-800], "OSError|truncated", id="cut-png"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image", id="postscript"),
        pytest.param(encode(Image.new("RGB", (9, 9)), "PCX"), "not an image", id="form-not-allowed"),
    ],
)
def test_damaged_file_has_a_reason_without_addresses(data, reason):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode_photo(data, square(16), "x")
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("size", [Size(16, 24), Size(24, 16), Size(10, 30), Size(30, 10)], ids=str)
@pytest.mark.parametrize("photo", [(48, 32), (32, 48), (60, 20), (41, 41)], ids=str)
def test_a_rectangle_is_the_largest_part_of_its_aspect_in_the_middle(photo, size):
    """In an image of coordinates the corners tell what was cut, and the steps between pixels the scale."""
    x, y = np.meshgrid(np.arange(photo[0]), np.arange(photo[1]))
    image = Image.fromarray(np.stack([4 * x, 4 * y, 0 * x], axis=-1).astype(np.uint8))
    cut = np.asarray(crop_centre(image, size)).astype(float) / 4
    inner = cut[2:-2, 2:-2]  # the filter sees the image's border
    across, down = np.diff(inner[..., 0], axis=1).mean(), np.diff(inner[..., 1], axis=0).mean()
    assert across == pytest.approx(down, rel=0.1)  # nothing is stretched; a step is in quarters
    assert across == pytest.approx(min(photo[0] / size.width, photo[1] / size.height), rel=0.1)
    assert inner[..., 0].mean() == pytest.approx((photo[0] - 1) / 2, abs=0.6)
    assert inner[..., 1].mean() == pytest.approx((photo[1] - 1) / 2, abs=0.6)


@pytest.mark.parametrize("size", [square(16), Size(16, 24), Size(30, 10)], ids=str)
@pytest.mark.parametrize("photo", [(48, 32), (20, 60), (41, 41)], ids=str)
def test_pad_keeps_all_of_a_photo_unstretched_on_grey(photo, size):
    image = Image.new("RGB", photo, RED)
    padded = decode_photo(encode(image), size, "x", Decoding("pad"))
    assert padded.shape == (*size, 3)
    red = (padded == RED).all(axis=-1)
    assert (padded[~red] == PADDING).all()
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert len(rows) == size.height or len(columns) == size.width
    scale = min(size.width / photo[0], size.height / photo[1])
    assert (len(columns), len(rows)) == (round(photo[0] * scale), round(photo[1] * scale))
    assert abs(rows[0] - (size.height - 1 - rows[-1])) <= 1 and abs(columns[0] - (size.width - 1 - columns[-1])) <= 1


@pytest.mark.parametrize("size", [square(16), Size(16, 24), Size(30, 10)], ids=str)
def test_squash_keeps_all_of_a_photo_stretched(size):
    image = Image.new("RGB", (60, 20), BLUE)
    image.paste(RED, (0, 0, 30, 20))
    squashed = decode_photo(encode(image), size, "x", Decoding("squash"))
    half = size.width // 2
    for part, colour in ((squashed[:, : half - 2], RED), (squashed[:, half + 2 :], BLUE)):
        assert np.abs(part.astype(int) - colour).max() < 30  # the filter overshoots a little


@pytest.mark.parametrize(("kind", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_32_bit_greys_are_refused_clearly_one_by_one_and_as_a_set(tmp_path, kind, mode):
    def tiff(seed: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).random((12, 12)).astype(kind)).save(out, "TIFF")
        return out.getvalue()

    scans = {f"{label}/{number}.tif": tiff(number) for label in "ab" for number in range(3)}
    why = f"32-bit pixels (mode {mode}) have no agreed white; save it with 8 or 16 bits"
    with pytest.raises(DataError) as caught:
        open_photos(write_folder(tmp_path / "scans", scans), tmp_path / "cache")
    assert why in str(caught.value) and "6 unreadable" in str(caught.value) and "\n" not in str(caught.value)
    data = open_photos(write_folder(tmp_path / "some", OK | {"cat/scan.tif": tiff(0)}), tmp_path / "cache")
    assert data.skipped == (("cat/scan.tif", why),)


@pytest.mark.parametrize("size", [(1100, 800), (2100, 2300)], ids=["2.1 times", "8 times"])
def test_jpeg_s_own_scaling_gives_the_pixels_of_a_plain_loop_within_a_stated_error(size):
    """Decoded at a half to an eighth of the side, and resized from there: on average within half a level of 255."""
    random, out = np.random.default_rng(0), io.BytesIO()
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse).astype(np.int16) + random.normal(0, 6, (size[1], size[0], 1)).astype(np.int16)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    ours = decode_photo(out.getvalue(), square(256), "x").astype(int)
    plain = Image.open(io.BytesIO(out.getvalue())).convert("RGB")
    side, (width, height) = min(plain.size), plain.size
    box = ((width - side) // 2, (height - side) // 2, (width - side) // 2 + side, (height - side) // 2 + side)
    plain = np.asarray(plain.crop(box).resize((256, 256), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(ours - plain).mean() < 0.5 and np.percentile(np.abs(ours - plain), 99.9) <= 3
