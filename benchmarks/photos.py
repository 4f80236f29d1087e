"""Memory and time of reading a big folder of photos: ours against holding all pixels in one array, in turns.

    python benchmarks/photos.py [IMAGES]        default 100,000 JPEGs of 96 px in a zip, made in a temporary folder

Each side runs in a process of its own; its peak resident memory is the kernel's figure. Prints both and the ratios;
then what it costs to open a cache again with every byte held against its sums, and to read 10,000 classes with ten test
photos of 8 px each.

    python benchmarks/photos.py decode [IMAGES] [ROUNDS]     default 60 photos of each size, 5 rounds

Files as cameras write them, from a folder, decoded to squares of 256 px: ours (into the cache, with its hashes and
sums) against a plain Pillow loop in as many processes as ours has threads, in turns. Prints medians of the seconds of
cores and by the clock, without what imports take, and how far our pixels are from the plain ones.
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from mnv2_sweep.base.size import square
from mnv2_sweep.data.decode import decode_photo
from mnv2_sweep.data.source import THREADS

SIDE, CLASSES, DIFFERENT = 96, 10, 500

OURS = """
import sys; from pathlib import Path; from mnv2_sweep.data.photos import open_photos
data = open_photos(Path(sys.argv[1]), Path(sys.argv[2])); images = sum(map(len, data.labels.values()))
"""
CHECKED = (
    OURS
    + """
from mnv2_sweep.base.size import square
for split in data.labels: data.pixels(split, square(data.side))
"""
)
PLAIN = """
import io, sys, zipfile; import numpy as np; from PIL import Image
z = zipfile.ZipFile(sys.argv[1]); names = [n for n in z.namelist() if n.endswith(".jpg")]
x = np.stack([np.asarray(Image.open(io.BytesIO(z.read(n))).convert("RGB")) for n in names]); images = len(x)
"""
DECODE_PLAIN = """
import sys; from multiprocessing import Pool; from pathlib import Path; import numpy as np; from PIL import Image
def decode(path):
    image = Image.open(path).convert("RGB"); side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.LANCZOS))
if __name__ == "__main__":
    with Pool(int(sys.argv[2])) as pool:
        x = np.stack(pool.map(decode, sorted(Path(sys.argv[1]).rglob("*.jpg")))); images = len(x)
"""
IMPORTS = {
    "ours": "from mnv2_sweep.data.photos import open_photos",
    "plain": "from multiprocessing import Pool; import numpy as np; from PIL import Image",
}
SIZES = {"2 megapixels": (1600, 1200), "12 megapixels": (4032, 3024)}
MEASURE_CORES = """
import resource, time; start = time.perf_counter()
{work}
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
if __name__ == "__main__": print(time.perf_counter() - start, sum(one.ru_utime + one.ru_stime for one in used))
"""
MEASURE = """
import resource, time; start = time.perf_counter()
{work}
used = resource.getrusage(resource.RUSAGE_SELF)
print(images, used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1024)
"""


def make_zip(path: Path, images: int) -> None:
    """A zip of class folders; a few hundred different JPEGs under many names."""
    random = np.random.RandomState(0)
    encoded = []
    for _ in range(min(images, DIFFERENT)):
        buffer = io.BytesIO()
        coarse = Image.fromarray(random.randint(0, 255, (8, 8, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        encoded.append(buffer.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(images):
            archive.writestr(f"class{i % CLASSES}/{i:06d}.jpg", encoded[i % len(encoded)])


def make_classes_zip(path: Path, classes: int) -> None:
    """A zip of many classes, twelve small photos each: one to train on, one for val, ten for test."""
    out = io.BytesIO()
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (8, 8, 3), np.uint8)).save(out, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for label in range(classes):
            for split, count in (("train", 1), ("val", 1), ("test", 10)):
                for number in range(count):
                    archive.writestr(f"{split}/{label:05d}/{number}.png", out.getvalue())


def measure(work: str, *arguments: Path) -> tuple[int, float, float, float]:
    """Images read, seconds of cores (Python's start and imports included) and by the clock, peak MiB of a process that
    does the work."""
    command = [sys.executable, "-c", MEASURE.format(work=work), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    images, cores, seconds, peak = done.stdout.split()
    return int(images), float(cores), float(seconds), float(peak)


def make_photos(folder: Path, images: int, size: tuple[int, int]) -> None:
    """Photos in two classes: shapes with edges under the noise of a sensor, a dozen of them under many names."""
    random, encoded = np.random.default_rng(0), []
    for _ in range(min(images, 12)):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        noisy = np.asarray(coarse).astype(np.int16) + random.normal(0, 6, (size[1], size[0], 1)).astype(np.int16)
        out = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
        encoded.append(out.getvalue())
    for i in range(images):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (folder / "ab"[i % 2] / f"{i:04d}.jpg").write_bytes(encoded[i % len(encoded)])


def measure_cores(work: str, *arguments: object) -> np.ndarray:
    """Seconds by the clock and of cores, of a process that does the work and of those that it starts."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(MEASURE_CORES.format(work=work))
        script.flush()
        command = [sys.executable, script.name, *map(str, arguments)]
        return np.array(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(), float)


def compare_pixels(folder: Path) -> tuple[float, float, float]:
    """Mean, 99.9th percentile and largest difference of our pixels from plain ones, of 255, for a dozen photos."""
    plain: dict = {"__name__": "plain"}
    exec(DECODE_PLAIN, plain)
    found = []
    for path in sorted(folder.rglob("*.jpg"))[:12]:
        ours = decode_photo(path.read_bytes(), square(256), path.name)
        found.append(np.abs(ours.astype(int) - plain["decode"](path).astype(int)).ravel())
    every = np.concatenate(found)
    return float(every.mean()), float(np.percentile(every, 99.9)), float(every.max())


def compare_decoding(name: str, images: int, rounds: int) -> None:
    """Print what photos of a size take, as they lie in a folder."""
    with tempfile.TemporaryDirectory() as root:
        folder, times = Path(root) / "photos", {"ours": [], "plain": []}
        make_photos(folder, images, SIZES[name])
        for turn in range(rounds):
            for side, work, where in (("ours", OURS, Path(root) / str(turn)), ("plain", DECODE_PLAIN, THREADS)):
                times[side].append(measure_cores(work, folder, where) - measure_cores(IMPORTS[side]))
        mean, most, largest = compare_pixels(folder)
    print(f"{name}, {images} photos, {THREADS} threads or processes, {rounds} rounds")
    for side, values in times.items():
        wall, cores = 1000 * np.median(values, axis=0) / images
        print(f"  {side:<6} {cores:>6.1f} ms of a core an image, {wall:>6.1f} ms by the clock")
    for at, what in ((1, "of a core"), (0, "by the clock")):
        ratios = [plain[at] / ours[at] for plain, ours in zip(times["plain"], times["ours"], strict=True)]
        print(f"  plain / ours {what}: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"  pixels differ by {mean:.2f} of 255, 99.9 % by at most {most:.0f}, the worst by {largest:.0f}")


def main() -> None:
    if sys.argv[1:2] == ["decode"]:
        words = sys.argv[2:4]
        for name in SIZES:
            compare_decoding(name, *map(int, [*words, *("60", "5")[len(words) :]]))
        return
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "photos.zip"
        make_zip(archive, images)
        ours = measure(OURS, archive, Path(folder) / "cache")
        plain = measure(PLAIN, archive)
        again = measure(OURS, archive, Path(folder) / "cache")
        checked = measure(CHECKED, archive, Path(folder) / "cache")
        make_classes_zip(Path(folder) / "classes.zip", images // 10)
        classes = measure(OURS, Path(folder) / "classes.zip", Path(folder) / "cache")
    for name, (count, cores, seconds, peak) in {
        "ours, first time": ours, "one array": plain, "ours, again": again, "ours, again, all pixels checked": checked,
        f"{images // 10:,} classes": classes,
    }.items():  # fmt: skip
        print(f"{name:<32} {count:>8,} images  {cores:>7.1f} s of cores  {seconds:>7.1f} s  {peak:>8,.0f} MiB peak")
    print(f"peak memory, ours first time / one array: {ours[3] / plain[3]:.2f}; cores {ours[1] / plain[1]:.2f}")


if __name__ == "__main__":
    main()
