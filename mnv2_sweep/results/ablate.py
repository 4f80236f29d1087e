"""One change to a network, with and without it: paired trials, and pairs found again in a table of trials.

Both sides have the same seeds, and a seed decides order and augmentation (see `train`), so what they share
cancels in the difference.
"""

import re
from dataclasses import dataclass, replace

import pandas as pd

from mnv2_sweep.archs.arch import MAX_RESOLUTION, ArchSpec, arch_label, check_arch
from mnv2_sweep.errors import SweepError
from mnv2_sweep.paper.reference import published_gap
from mnv2_sweep.results.stats import Difference, Facts, paired_difference, read_facts


@dataclass(frozen=True, slots=True)
class Ablation:
    """A field of ArchSpec changed to another value; the labels name both sides for people."""

    name: str
    field: str
    value: object
    label_with: str
    label_without: str


LINEAR_BOTTLENECK = Ablation(
    "no-linear-bottleneck", "linear_bottleneck", False, "linear bottleneck", "ReLU6 in the bottleneck"
)


@dataclass(frozen=True, slots=True)
class AblationPairs:
    """Two networks trained with the same seeds: values_a[i] and values_b[i] (top-1) share a seed.

    `published_gap` is figure 6's a minus b in percentage points, or None; `failed` counts failed trials of both.
    """

    network: str
    label_a: str
    label_b: str
    values_a: tuple[float, ...]
    values_b: tuple[float, ...]
    difference: Difference
    published_gap: float | None
    train_size: int
    val_images: int
    facts: Facts
    failed: int = 0


def parse_base(text: str) -> ArchSpec:
    """ "0.5@96" -> width 0.5 at 96 px. Raises SweepError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)@(\d+)", text.strip())
    if not match:
        raise SweepError(f"--base {text}: a width and a resolution are wanted, as in 1.0@96")
    arch = ArchSpec(width=float(match[1]), resolution=int(match[2]))
    check_arch(arch)
    if arch.resolution > MAX_RESOLUTION:
        raise SweepError(f"--base {text}: at most {MAX_RESOLUTION} px")
    return arch


def ablated(base: ArchSpec, ablation: Ablation) -> ArchSpec:
    """The base network with the change."""
    return replace(base, **{ablation.field: ablation.value})


def find_pairs(trials: pd.DataFrame, ablation: Ablation) -> list[AblationPairs]:
    """Every network of the table that was trained both with and without; seeds of one side only are left out."""
    pairs = []
    done = trials[trials["status"] == "done"] if len(trials) else trials
    for (width, resolution), of_base in done.groupby(["width", "resolution"]) if len(done) else ():
        base = ArchSpec(width=width, resolution=resolution)
        labels = [arch_label(base), arch_label(ablated(base, ablation))]
        sides = [of_base[of_base["network"] == label].set_index("seed")["val_top1"] for label in labels]
        both = pd.concat(sides, axis=1, join="inner", keys=["a", "b"]).sort_index().astype(float)
        if len(both):
            values = tuple(both["a"]), tuple(both["b"])
            pairs.append(
                AblationPairs(
                    network=labels[0],
                    label_a=ablation.label_with,
                    label_b=ablation.label_without,
                    values_a=values[0],
                    values_b=values[1],
                    difference=paired_difference(*values),
                    published_gap=published_gap(base, ablated(base, ablation)),
                    train_size=int(of_base["train_size"].iloc[0]),
                    val_images=int(of_base["val_images"].iloc[0]),
                    facts=read_facts(of_base),
                    failed=int((trials["network"].isin(labels) & (trials["status"] == "failed")).sum()),
                )
            )
    return pairs
