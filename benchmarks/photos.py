"""Memory and time of reading a big folder of photos: ours against holding all pixels in one array, in turns.

    python benchmarks/photos.py [IMAGES]        default 100,000 JPEGs of 96 px in a zip, made in a temporary folder

Each side runs in a process of its own; its peak resident memory is the kernel's figure. Prints both and the ratios;
then what it costs to open a cache again with every byte held against its sums, and to read 10,000 classes with ten test
photos of 8 px each.
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

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
MEASURE = """
import resource, time; start = time.perf_counter()
{work}
print(images, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
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


def measure(work: str, *arguments: Path) -> tuple[int, float, float]:
    """Images read, seconds, peak MiB of a process that does the work."""
    command = [sys.executable, "-c", MEASURE.format(work=work), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    images, seconds, peak = done.stdout.split()
    return int(images), float(seconds), float(peak)


def main() -> None:
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
    for name, (count, seconds, peak) in {
        "ours, first time": ours, "one array": plain, "ours, again": again, "ours, again, all pixels checked": checked,
        f"{images // 10:,} classes": classes,
    }.items():  # fmt: skip
        print(f"{name:<32} {count:>8,} images  {seconds:>7.1f} s  {peak:>8,.0f} MiB peak")
    print(f"peak memory, ours first time / one array: {ours[2] / plain[2]:.2f}; time {ours[1] / plain[1]:.2f}")


if __name__ == "__main__":
    main()
