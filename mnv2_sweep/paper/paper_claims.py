"""What the MobileNetV2 paper says about its own parts, and where: a pair of networks -> the claim that it tests.

"Paper" as in `reference`: arXiv 1801.04381 version 4; its gaps are those of figure 6. A claim is about top-1 on
ImageNet after a long training; whether it holds for other data and schedules is what `ablate` asks.
"""

from dataclasses import dataclass, fields

from mnv2_sweep.archs.arch import ArchSpec, find_expansion
from mnv2_sweep.paper.reference import published_gap

# Section 4: "nearly" has no figure in the paper; ours is one point of top-1, on either side.
NEARLY = 1.0
SAME_CURVES = range(5, 11)  # expansions t, section 4


@dataclass(frozen=True, slots=True)
class PaperClaim:
    """`better` is 1 where the unchanged network is said to be better, -1 the changed one, and 0 where they are said to
    be nearly the same: within `margin` points. `gap`: published top-1 of the unchanged minus the changed one, points.
    """

    text: str
    source: str
    better: int
    gap: float | None = None
    gap_source: str = ""
    margin: float | None = None


PAPER = ArchSpec()
LINEAR = PaperClaim(
    "linear bottlenecks are better than non-linear ones",
    "section 3.2, by several percent, and section 6.4",
    better=1,
    gap=published_gap(PAPER, ArchSpec(linear_bottleneck=False)),
    gap_source="figure 6a",
)
RESIDUAL = PaperClaim(
    "shortcuts between bottlenecks are better than none",
    "sections 3.3 and 6.4",
    better=1,
    gap=published_gap(PAPER, ArchSpec(residual="none")),
    gap_source="figure 6b",
)
PLACEMENT = PaperClaim(
    "shortcuts between bottlenecks are better than between expansions",
    "sections 3.3 and 6.4",
    better=1,
    gap=published_gap(PAPER, ArchSpec(residual="expansion")),
    gap_source="figure 6b",
)
LAST_CONVOLUTION = PaperClaim(
    "below width 1, small networks are better with a last convolution that keeps its channels", "section 4", better=1
)
DEPTHWISE = PaperClaim(
    "depthwise convolutions cost a small reduction in accuracy",
    "section 3.1, which refers to MobileNetV1's",
    better=-1,
    gap=round(70.6 - 71.7, 2),
    gap_source="table 4 of MobileNetV1's paper, arXiv 1704.04861",
)
EXPANSION = PaperClaim(
    f"expansions from {SAME_CURVES[0]} to {SAME_CURVES[-1]} have nearly the same accuracy at the same cost",
    f"section 4; 'nearly' is ours: {NEARLY:g} point",
    better=0,
    margin=NEARLY,
)
EXPANSION_BY_SIZE = PaperClaim(
    "among them small networks are better with a smaller, large ones with a larger expansion", "section 4", better=1
)


def find_claim(base: ArchSpec, changed: ArchSpec, same_cost: bool) -> PaperClaim | None:
    """The claim that this pair of networks tests; None where the paper says nothing about it.

    `same_cost`: the changed network's width was chosen so that both cost the same. Claims on parts are about networks
    of one width, the claim on expansions about networks of one cost.
    """
    names = {field.name for field in fields(ArchSpec) if getattr(base, field.name) != getattr(changed, field.name)}
    if names - {"width"} == {"stages"} and same_cost:
        expansions = {find_expansion(arch.stages) for arch in (base, changed)}
        return EXPANSION if expansions <= {*SAME_CURVES} else None
    if names == {"linear_bottleneck"} and base.linear_bottleneck:
        return LINEAR
    if names == {"residual"} and base.residual == "bottleneck":
        return RESIDUAL if changed.residual == "none" else PLACEMENT
    if names == {"scale_last_conv"} and changed.scale_last_conv and base.width < 1:
        return LAST_CONVOLUTION
    return DEPTHWISE if names == {"depthwise"} and base.depthwise else None
