"""Readings of an ablation -> text: a table for each base, a line of verdict for each comparison, and how it was tested.

Differences are of the main score, points of top-1, base minus changed: above 0 the base is better.
"""

import math
from collections.abc import Sequence
from itertools import groupby

from mnv2_sweep.analysis.ablation import Comparison
from mnv2_sweep.analysis.differences import (
    UNDECIDED,
    Reading,
    claim_parts,
    cost_change,
    interval_text,
    p_text,
    verdict_text,
)
from mnv2_sweep.analysis.paired import ALWAYS, LEVEL, MIXTURE, MOST_SEEDS, POWER
from mnv2_sweep.base.text import align, count_noun, duration, millions, percent
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.sweeps.budget import wall_seconds
from mnv2_sweep.trials.tasks import TOP1, Score

LEFT = ("changed", "verdict")


def comparisons_text(comparisons: Sequence[Comparison]) -> str:
    """Say what will be compared, with the costs of both sides; nothing is trained."""
    rows = [["changed", "width", "MAdds", "", "params", "", "of base"]]
    for one in comparisons:
        base, changed = count_cost(one.base), count_cost(one.variant)
        rows.append(
            [
                one.label,
                repr(float(one.variant.width)),
                f"{changed.madds:,}",
                cost_change(base.madds, changed.madds),
                f"{changed.params:,}",
                cost_change(base.params, changed.params),
                f"{arch_label(one.base)}: {base.madds:,} MAdds, {base.params:,} params",
            ]
        )
    return align(rows, ("changed", "of base"))


def readings_text(readings: Sequence[Reading], looks: str, workers: int | None = None, peeked: str = "") -> str:
    """Say what a person asks of an ablation; `workers`: at once, for the time that further seeds would take; `peeked`:
    see `Protocol`."""
    lines = []
    for base, group in groupby(readings, key=lambda reading: reading.comparison.base):
        of_base = list(group)
        lines += [_base_line(base, of_base), align(_table(of_base), LEFT), ""]
        lines += [_verdict_line(reading, workers) for reading in of_base]
        lines += [
            f"failed: {count_noun(one.failed, 'trial')} of {one.comparison.label} or its base; such seeds are left out"
            for one in of_base
            if one.failed
        ]
        lines.append("")
    return "\n".join([*lines, *method_lines(readings[0].score if readings else TOP1, len(readings), looks, peeked)])


def _base_line(base, readings: Sequence[Reading]) -> str:
    facts = next((one.facts for one in readings if one.facts is not None), None)
    where = f": data {facts.data}, recipe {facts.recipe}" if facts else ""
    size = next((one.train_size for one in readings if one.train_size), 0)
    return f"{arch_label(base)}{where}{f', trained at {size} px' if size else ''}"


def _table(readings: Sequence[Reading]) -> list[list[str]]:
    """Return header, the base, and a row for each changed network."""
    most = max(readings, key=lambda one: len(one.seeds))
    base, cost = most.comparison.base, most.costs[0]
    own = ["(base)", repr(float(base.width)), millions(cost.madds), millions(cost.params, 2)]
    header = ["changed", "width", "MAdds", "params", "seeds", most.score.label]
    header += ["difference", "95 % interval", "p", "Holm", "verdict"]
    return [header, [*own, str(len(most.seeds)), _mean(most.base), *[""] * 5], *map(_row, readings)]


def _row(reading: Reading) -> list[str]:
    estimate, (base, changed) = reading.estimate, reading.costs
    seen = bool(reading.seeds)
    spread = not math.isnan(estimate.low)
    return [
        reading.comparison.label,
        repr(float(reading.comparison.variant.width)),
        cost_change(base.madds, changed.madds),
        cost_change(base.params, changed.params),
        str(len(reading.seeds)),
        _mean(reading.variant),
        f"{estimate.mean:+.2f}" if seen else "-",
        interval_text(reading) if spread else "-",
        p_text(reading.p) if spread else "-",
        p_text(reading.holm) if spread else "-",
        reading.verdict,
    ]


def _mean(scores: Sequence[float]) -> str:
    return f"{sum(scores) / len(scores):.2f}" if scores else "-"


# ---------------------------------------------------------------- verdicts


def _verdict_line(reading: Reading, workers: int | None) -> str:
    parts = [f"{reading.comparison.label}: {verdict_text(reading)}", *claim_parts(reading)]
    if reading.verdict == UNDECIDED:
        parts.append(further_text(reading, workers))
    return "; ".join(parts)


def further_text(reading: Reading, workers: int | None) -> str:
    """Say how many more seeds would settle it, and what they take."""
    if len(reading.seeds) < 2:
        return f"{count_noun(len(reading.seeds), 'pair')} of seeds: at least two are needed to see a spread"
    if not reading.estimate.sd > 0:
        return "all seeds have the same difference: their spread is not seen yet"
    if reading.further is None:
        return f"more than {MOST_SEEDS:,} seeds would be needed if the difference stays {reading.estimate.mean:+.2f}"
    again = [*[reading.seconds[0]] * reading.further, *[reading.seconds[1]] * reading.further]
    time = duration(wall_seconds(again, workers or 1))
    return (
        f"{count_noun(reading.further, 'further seed')} would settle it if difference and spread stay as they are "
        f"({percent(POWER, 0)} % power), about {time} with {count_noun(workers or 1, 'worker')}"
    )


# ---------------------------------------------------------------- method


def method_lines(score: Score, count: int, looks: str, peeked: str = "") -> list[str]:
    """Say how intervals and p-values were made, in full."""
    how = (
        "95 % interval and p: Student's t on the differences of each seed (n - 1 degrees of freedom, two-sided), for a "
        "number of seeds that was fixed before"
    )
    if looks == ALWAYS:
        how = (
            "95 % interval and p: valid however often one looks and whenever one stops (mixture sequential t on the "
            f"differences of each seed, mixture deviation {MIXTURE:g} spreads; arXiv 2310.03722)"
        )
    margin = "two one-sided tests" if looks != ALWAYS else "the same at both ends"
    note = (
        f"note: these networks were looked at before, with {peeked}; Student's interval is for a number of seeds fixed "
        "before any look. --until-decided has one for as many looks as you like"
    )
    return [
        f"difference: {score.label} of the base minus the changed network's, in {score.difference_unit}; "
        "+ the base is better",
        f"{how}; against a margin: {margin}",
        f"Holm: p corrected over the {count_noun(count, 'reading')} of this command; a verdict needs {LEVEL:g} or less",
        *([note] if peeked else []),
    ]
