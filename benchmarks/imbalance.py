"""Must a network that ranks well on uneven classes be trained otherwise? One class of clothing-small 20 to 1.

    python benchmarks/imbalance.py ../shared/data/clothing-small/clothing-small.zip ../shared/weights build/uneven
    for balance in none weights sampler; do mnv2-sweep run build/uneven/$balance.yaml; done
    python benchmarks/imbalance.py --table build/uneven

The first command writes photos and spaces: 400 training and 400 validation photos of t-shirts, 20 and 20 of each of the
nine other classes, chosen by the digests of their names among those of train and val. The last one prints means and
t intervals over the seeds.
"""

import argparse
import hashlib
import zipfile
from pathlib import Path

from mnv2_sweep.analysis.stats import mean_interval
from mnv2_sweep.base.text import align
from mnv2_sweep.record.frame import load_frame

LARGE, MANY, FEW = "t-shirt", 400, 20
BALANCES = ("none", "weights", "sampler")
SCORES = ("top1", "balanced_accuracy", "macro_f1", "unpredicted")
SPACE = """# One class 20 to 1, balance: {balance}
axes: {{width: [0.35], resolution: [96]}}
recipe: {{base: tune, init: {weights}, epochs: 4, balance: {balance}}}
strategy: tune
seeds: 3
data: {data}
"""


def write_photos(source: Path, target: Path) -> None:
    """Write a zip with splits, of part of the photos."""
    with zipfile.ZipFile(source) as every, zipfile.ZipFile(target, "w") as chosen:
        by_class: dict[str, list[str]] = {}
        for name in every.namelist():
            split, *rest = name.split("/")
            if split in ("train", "val") and name.endswith(".jpg"):
                by_class.setdefault(rest[0], []).append(name)
        for label, names in sorted(by_class.items()):
            count = MANY if label == LARGE else FEW
            names.sort(key=lambda name: hashlib.sha256(name.rpartition("/")[2].encode()).digest())
            for split, some in (("train", names[:count]), ("val", names[count : 2 * count])):
                for name in some:
                    chosen.writestr(f"{split}/{label}/{name.rpartition('/')[2]}", every.read(name))


def table(results: Path) -> str:
    """Return a row for each balance."""
    rows = [["balance", *SCORES, "seconds"]]
    for balance in BALANCES:
        (folder,) = results.glob(f"{balance}-*")
        done = load_frame(folder)
        cells = []
        for score in SCORES:
            mean, low, high = mean_interval(done[f"val_{score}"])
            cells.append(f"{mean:.2f}" if score == "unpredicted" else f"{100 * mean:.1f} ±{100 * (high - low) / 2:.1f}")
        rows.append([balance, *cells, f"{done['seconds'].mean():.0f}"])
    return align(rows, left=("balance",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, help="folder with the spaces; results are read from ./results")
    parser.add_argument("paths", type=Path, nargs="*", help="clothing-small.zip, the folder of weights, where to write")
    given = parser.parse_args()
    if given.table:
        print(table(Path("results")))
        return
    photos, weights, folder = given.paths
    folder.mkdir(parents=True, exist_ok=True)
    write_photos(photos, folder / "uneven.zip")
    file = next((weights / "mobilenet_v2_0.35_224_no_top").glob("*.safetensors")).resolve()
    for balance in BALANCES:
        text = SPACE.format(balance=balance, weights=file, data=(folder / "uneven.zip").resolve())
        (folder / f"{balance}.yaml").write_text(text)


if __name__ == "__main__":
    main()
