"""Figure 6 of the MobileNetV2 paper, read off its vector drawing: top-1 on ImageNet against training steps.

What was read: top-1 at 2 to 6 million steps, the step at which a curve first reaches 66 and 70 %, and its mean over 6.5
to 7.0 million steps, drawn here at their middle. The figure's range begins at 66 %. Ends and gaps are in `reference`.
"""

from dataclasses import dataclass

from mnv2_sweep.archs.arch import ArchSpec
from mnv2_sweep.paper.reference import FIGURE_6


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve: (million steps, top-1 in percent) in order."""

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
    """The two published curves of a change that figure 6 shows; None where it does not show it."""
    sides = [(arch.linear_bottleneck, arch.residual) for arch in (base, changed)]
    for panel in "ab":
        drawn = {(c.arch.linear_bottleneck, c.arch.residual): c for c in CURVES if c.panel == panel}
        if sides[0] != sides[1] and all(side in drawn for side in sides):
            return drawn[sides[0]], drawn[sides[1]]
    return None
