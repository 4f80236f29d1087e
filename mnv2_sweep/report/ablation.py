"""Readings of an ablation -> text: a table for each base, a line of verdict for each comparison, and how it was tested.

Differences are of the main score, points of top-1, base minus changed: above 0 the base is better.
"""

import math
from collections.abc import Sequence
from itertools import groupby

from mnv2_sweep.analysis.ablation import Comparison
from mnv2_sweep.analysis.differences import UNDECIDED, Reading
from mnv2_sweep.analysis.paired import ALWAYS, FAILED, LEAST_FURTHER, LEVEL, MIXTURE, MOST_SEEDS, POWER
from mnv2_sweep.analysis.spoken import (
    OVERSTATED_TEXT,
    claim_parts,
    correlation_text,
    cost_change,
    failed_text,
    interval_text,
    is_overstated,
    joint_text,
    p_text,
    short_text,
    verdict_text,
)
from mnv2_sweep.base.text import align, count_noun, duration, millions, percent
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.sweeps.budget import wall_seconds
from mnv2_sweep.trials.tasks import TOP1

LEFT = ("changed", "verdict")
EACH = "95 %, each by itself"  # of an interval; Holm's correction is in the p-values alone


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
        lines += dict.fromkeys(line for reading in of_base for line in _failed_lines(reading))
        lines.append("")
    return "\n".join([*lines, *method_lines(readings, looks, peeked)])


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
    seen = any(one.joint for one in readings)
    header += ["difference", EACH, *(["other images too"] if seen else []), "r", "p", "Holm", "verdict"]
    first = [*own, str(len(most.seeds)), _mean(most.base), *[""] * (6 + seen)]
    return [header, first, *(_row(one, seen) for one in readings)]


def _row(reading: Reading, seen_images: bool) -> list[str]:
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
        *([joint_text(reading)] if seen_images else []),
        correlation_text(reading),
        p_text(reading.p) if spread else "-",
        p_text(reading.holm) if spread else "-",
        short_text(reading),
    ]


def _mean(scores: Sequence[float]) -> str:
    return f"{sum(scores) / len(scores):.2f}" if scores else "-"


# ---------------------------------------------------------------- verdicts


def _verdict_line(reading: Reading, workers: int | None) -> str:
    parts = [f"{reading.comparison.label}: {verdict_text(reading)}", *claim_parts(reading)]
    if reading.verdict == UNDECIDED:
        parts.append(further_text(reading, workers))
    if is_overstated(reading):
        parts.append("may be overstated, as its luck decided when to stop")
    return "; ".join(parts)


def _failed_lines(reading: Reading) -> list[str]:
    """Say which trials look like failed trainings, and what is left without their seeds."""
    kept = reading.kept
    if kept is None:
        return []
    known = f" ({kept.low:+.2f} to {kept.high:+.2f}, p {p_text(kept.p)})" if math.isfinite(kept.low) else ""
    without = f"{reading.comparison.label} without such seeds: {kept.mean:+.2f}{known}"
    lines = [failed_text(reading, failed) for failed in reading.failed_looking]
    return [*lines, f"{without}; a verdict needs both, with them and without"]


def further_text(reading: Reading, workers: int | None) -> str:
    """Say how many more seeds would settle it, and what they take."""
    count, further = len(reading.seeds), reading.further
    if count < 2:
        return f"{count_noun(count, 'pair')} of seeds: at least two are needed to see a spread"
    if not reading.estimate.sd > 0:
        return "all seeds have the same difference: their spread is not seen yet"
    if count < LEAST_FURTHER:
        return f"how many further seeds would settle it can be told from {LEAST_FURTHER} on"
    if further is None or further.low is None:
        return f"more than {MOST_SEEDS:,} seeds would be needed"
    settle, few = f"would settle it with {percent(POWER, 0)} % power", further.low
    times = [_time_text(reading, seeds, workers) for seeds in (few, further.high or few)]
    with_workers = f"with {count_noun(workers or 1, 'worker')}"
    if further.high is None:
        return (
            f"{few} further seeds or more {settle}, from {times[0]} {with_workers}; how many at most is not known yet"
        )
    many = count_noun(further.high, "further seed")
    if few < further.high:
        many, times = f"{few} to {many}", [" to ".join(dict.fromkeys(times))]
    return f"{many} {settle}, {times[0]} {with_workers}"


def _time_text(reading: Reading, seeds: int, workers: int | None) -> str:
    return duration(wall_seconds([*[reading.seconds[0]] * seeds, *[reading.seconds[1]] * seeds], workers or 1))


# ---------------------------------------------------------------- method


def method_lines(readings: Sequence[Reading], looks: str, peeked: str = "") -> list[str]:
    """Say how intervals and p-values were made, in full."""
    score, count = readings[0].score if readings else TOP1, len(readings)
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
        "r: correlation of the sides over seeds; the larger, the more pairing shortens the interval",
        _images_note(readings),
        "these are differences of trainings as they mostly go: a score "
        f"{FAILED:g} spreads below its side's median is called a failed training",
        *([OVERSTATED_TEXT] if looks == ALWAYS else []),
        *([note] if peeked else []),
    ]


def _images_note(readings: Sequence[Reading]) -> str:
    """Say which images the verdicts are about."""
    if any(one.joint for one in readings):
        return "95 % is over seeds, on these very validation images; other images too: over both"
    return (
        "95 % is over seeds, on these very validation images; what other images would say can't be told, as which ones "
        "each network got right is not on record"
    )
