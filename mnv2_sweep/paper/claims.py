"""A network and the same with a part changed -> what the MobileNetV2 paper says of the two: its claim, its curves.

"Paper" is arXiv 1801.04381 version 4. A claim is about top-1 on ImageNet after a long training; whether it holds for
other data and schedules is what `ablate` asks. Gaps are those of figure 6, whose end values `published` holds. Its
curves, top-1 against training steps, were read off the vector drawing: top-1 at 2 to 6 million steps, the step at which
a curve first reaches 66 and 70 %, and its mean over 6.5 to 7.0 million steps, drawn here at their middle. The figure's
range begins at 66 %.
"""

from dataclasses import dataclass, fields

from mnv2_sweep.nets.arch import ArchSpec, find_expansion
from mnv2_sweep.paper.published import FIGURE_6, published_gap

# Section 4: "nearly" has no figure in the paper; ours is one point of top-1, on either side.
NEARLY = 1.0
SAME_CURVES = range(5, 11)  # expansions t, section 4


@dataclass(frozen=True, slots=True)
class PaperClaim:
    """A claim of the paper about a pair of networks: what it says (`text`) and where (`place`).

    `better` is 1 where the unchanged network is said to be better, -1 the changed one, and 0 where they are said to be
    nearly the same: within `margin` points. `gap`: published top-1 of the unchanged minus the changed one, points.
    """

    text: str
    place: str
    better: int
    gap: float | None = None
    gap_place: str = ""
    margin: float | None = None


PAPER = ArchSpec()
LINEAR = PaperClaim(
    "linear bottlenecks are better than non-linear ones",
    "section 3.2, by several percent, and section 6.4",
    better=1,
    gap=published_gap(PAPER, ArchSpec(linear_bottleneck=False)),
    gap_place="figure 6a",
)
RESIDUAL = PaperClaim(
    "shortcuts between bottlenecks are better than none",
    "sections 3.3 and 6.4",
    better=1,
    gap=published_gap(PAPER, ArchSpec(residual="none")),
    gap_place="figure 6b",
)
PLACEMENT = PaperClaim(
    "shortcuts between bottlenecks are better than between expansions",
    "sections 3.3 and 6.4",
    better=1,
    gap=published_gap(PAPER, ArchSpec(residual="expansion")),
    gap_place="figure 6b",
)
LAST_CONVOLUTION = PaperClaim(
    "below width 1, small networks are better with a last convolution that keeps its channels", "section 4", better=1
)
DEPTHWISE = PaperClaim(
    "depthwise convolutions cost a small reduction in accuracy",
    "section 3.1, which refers to MobileNetV1's",
    better=-1,
    gap=round(70.6 - 71.7, 2),
    gap_place="table 4 of MobileNetV1's paper, arXiv 1704.04861",
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
    """Return the claim that this pair of networks tests; None where the paper says nothing about it.

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


# ---------------------------------------------------------------- figure 6, as curves


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of figure 6: (million steps, top-1 in percent) in order."""

    panel: str  # "a" | "b"
    label: str
    arch: ArchSpec
    points: tuple[tuple[float, float], ...]


_END = 6.75  # the middle of 6.5 to 7.0
_LINEAR, _NON_LINEAR, _EXPANSION, _NONE = ((_END, end.top1_percent) for end in FIGURE_6)
_PAPER = ((0.93, 66.0), (2, 68.66), (3, 69.93), (3.07, 70.0), (4, 70.53), (5, 70.92), (6, 71.05), _LINEAR)

CURVES = (
    Curve("a", "linear bottleneck", ArchSpec(), _PAPER),
    Curve(
        "a",
        "ReLU6 in the bottleneck",
        ArchSpec(linear_bottleneck=False),
        ((1.33, 66.0), (2, 67.63), (3, 69.04), (4, 69.83), (4.25, 70.0), (5, 70.28), (6, 70.43), _NON_LINEAR),
    ),
    Curve("b", "shortcut between bottlenecks", ArchSpec(), _PAPER),
    Curve(
        "b",
        "shortcut between expansions",
        ArchSpec(residual="expansion"),
        ((1.53, 66.0), (2, 67.15), (3, 68.83), (4, 69.75), (4.42, 70.0), (5, 70.29), (6, 70.58), _EXPANSION),
    ),
    Curve(
        "b",
        "no residual",
        ArchSpec(residual="none"),
        ((2.46, 66.0), (3, 66.92), (4, 68.23), (5, 68.94), (6, 69.46), _NONE),
    ),
)


def find_curves(base: ArchSpec, changed: ArchSpec) -> tuple[Curve, Curve] | None:
    """Return the two published curves of a change that figure 6 shows; None where it does not show it."""
    sides = [(arch.linear_bottleneck, arch.residual) for arch in (base, changed)]
    for panel in "ab":
        drawn = {(c.arch.linear_bottleneck, c.arch.residual): c for c in CURVES if c.panel == panel}
        if sides[0] != sides[1] and all(side in drawn for side in sides):
            return drawn[sides[0]], drawn[sides[1]]
    return None
