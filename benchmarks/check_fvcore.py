"""Do fvcore and we agree, layer by layer, on any network? Random ones of all families, built and counted.

    python benchmarks/check_fvcore.py [--networks 200] [--seed 0]

Every field of the spec is drawn. Most images are small, down to one pixel, as the work grows with their area and what
can go wrong does not; every tenth network has the usual 224. Prints a line a family, then every difference; exit 1 if
there is one.
"""

import argparse
import random
import sys
import time

import torch

from mnv2_sweep.base.size import Size
from mnv2_sweep.models.check_fvcore import check_fvcore, differences_text
from mnv2_sweep.nets.arch import (
    ACTIVATIONS,
    FAMILIES,
    FAMILY_NAMES,
    MOBILENET_V2,
    RESIDUALS,
    SHUFFLENET_GROUPS,
    ArchSpec,
    Stage,
)
from mnv2_sweep.nets.resolve import resolve


def draw_arch(draw: random.Random, family: str, resolution: int | Size) -> ArchSpec:
    """Any network of the family, every field drawn but the resolution."""
    choices = dict(
        width=draw.choice((0.25, 0.35, 0.5, 0.75, 1.0, 1.4, draw.uniform(0.05, 2.0))),
        classes=draw.randint(1, 1001),
        dropout=draw.choice((0.0, 0.2, draw.random())),
        in_channels=draw.choice((1, 3)),
    )
    if draw.random() < 0.3:
        resolution = Size(resolution, resolution + draw.randint(1, 32))
    if family == "shufflenet_v1":
        choices["groups"] = draw.choice(SHUFFLENET_GROUPS)
    if family == "mobilenet_v2":
        stages = tuple(
            Stage(
                draw.choice((1, 1, 2, 3, 6)),
                draw.randint(4, 160),
                draw.randint(1, 4),
                draw.choice((1, 1, 2, 3)),
                draw.choice((None, None, 3, 5)),
                draw.choice((None, None, 0.0, 0.25)),
            )
            for _ in range(draw.randint(1, 7))
        )
        choices |= dict(
            stages=draw.choice((stages, stages, MOBILENET_V2)),
            kernel=draw.choice((1, 3, 3, 5, 7)),
            linear_bottleneck=draw.random() < 0.5,
            residual=draw.choice(RESIDUALS),
            last_channels=draw.choice((0, draw.randint(1, 1600), draw.randint(1, 1600))),
            stem_channels=draw.choice((32, draw.randint(1, 64))),
            divisor=draw.choice((8, 8, 4, 1)),
            se_ratio=draw.choice((0.0, 0.0, 0.25, draw.random())),
            activation=draw.choice(ACTIVATIONS),
            padding=draw.choice(("torch", "same")),
            scale_last_conv=draw.random() < 0.3,
            depthwise=draw.random() < 0.8,
        )
    return ArchSpec(family, resolution=resolution, **choices)


def draw_networks(count: int, seed: int) -> list[ArchSpec]:
    """The families in turn."""
    draw, families = random.Random(seed), tuple(FAMILIES)
    sizes = [224 if i // len(families) % 10 == 0 else int(65 ** draw.random()) for i in range(count)]
    return [draw_arch(draw, families[i % len(families)], size) for i, size in enumerate(sizes)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    archs, found = draw_networks(options.networks, options.seed), []
    print(f"{'family':<12}  {'networks':>8}  {'layers':>7}  {'differences':>11}  {'seconds':>7}")
    for family in FAMILIES:
        own, start = [arch for arch in archs if arch.family == family], time.perf_counter()
        differences = [difference for arch in own for difference in check_fvcore(arch)]
        layers = sum(len(resolve(arch).convs) for arch in own)
        seconds = time.perf_counter() - start
        name = FAMILY_NAMES[family]
        print(f"{name:<12}  {len(own):>8,}  {layers:>7,}  {len(differences):>11,}  {seconds:>7.1f}", flush=True)
        found += differences
    print(differences_text(archs, found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
