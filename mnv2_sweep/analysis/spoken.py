"""A Reading of an ablation -> the words in which tables and figures give it."""

import math

from mnv2_sweep.analysis.differences import BETTER, SAME_SIGN, WORSE, Failed, Reading
from mnv2_sweep.analysis.paired import ALWAYS

# A difference that is decided early was rather lucky. By how much it is then overstated, on average, at a true
# difference of so many spreads over seeds (`benchmarks/doubt.py`); from OVERSTATED of them on it hardly is.
OVERSTATED = 2.0
OVERSTATED_TEXT = (
    "what is decided early is overstated: with at most 20 seeds on average by 17 % at a true difference of one spread "
    f"over seeds, by 87 % at half of one, by 3 % or less from {OVERSTATED:g} on; the intervals allow for it"
)


def cost_change(base: int, changed: int) -> str:
    """Say how a cost changed: "same", "-42.2 %", "+0.02 %"."""
    if base == changed:
        return "same"
    change = 100 * (changed / base - 1)
    return f"{change:+,.0f} %" if abs(change) >= 100 else f"{change:+.1f} %" if abs(change) >= 1 else f"{change:+.2f} %"


def interval_text(reading: Reading) -> str:
    """Return the interval as "+0.31 to +2.20"; "any" where every difference is still possible."""
    low, high = reading.estimate.low, reading.estimate.high
    return "any" if math.isinf(low) else f"{low:+.2f} to {high:+.2f}"


def p_text(p: float) -> str:
    """Return a p-value with three digits, "<0.001" below these."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def verdict_text(reading: Reading) -> str:
    """Return the verdict in words: "reproduced", "undecided", "worse than linear bottleneck", "same sign, 11 times the
    published gap (9.2 to 13)"."""
    text = reading.verdict
    if reading.verdict in (BETTER, WORSE):
        text = f"{reading.verdict} than {reading.comparison.change.before}"
    if reading.verdict == SAME_SIGN:
        low, high = sorted(end / reading.claim.gap for end in _ends(reading))
        times = _times(reading.estimate.mean / reading.claim.gap)
        text += f", {times} times the published gap ({_times(low)} to {_times(high)})"
    return text + (", on these images; on others of the kind open" if reading.holds_beyond is False else "")


def short_text(reading: Reading) -> str:
    """Return the verdict for a narrow place: "reproduced", "same sign, 11 times"."""
    times = f", {_times(reading.estimate.mean / reading.claim.gap)} times" if reading.verdict == SAME_SIGN else ""
    return reading.verdict + times


def _shown(reading: Reading, value: float) -> str:
    return reading.score.amount(value / reading.score.scale)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if abs(ratio) >= 10 else f"{ratio:.1f}"


def _ends(reading: Reading) -> tuple[float, float]:
    """Return the interval in which the published gap is looked for."""
    return reading.joint or (reading.estimate.low, reading.estimate.high)


def joint_text(reading: Reading) -> str:
    """Return the interval over seeds and images as "+0.31 to +2.20"; "-" where it is not known."""
    if reading.joint is None:
        return "-"
    return f"{reading.joint[0]:+.2f} to {reading.joint[1]:+.2f}"


def correlation_text(reading: Reading) -> str:
    """Return the correlation of the sides over seeds as "+0.42"; "-" where it is not known."""
    return "-" if math.isnan(reading.correlation) else f"{reading.correlation:+.2f}"


def is_overstated(reading: Reading) -> bool:
    """Return whether the difference was decided at a look that its luck chose, and may be a small one."""
    if reading.looks != ALWAYS or not reading.decided:
        return False
    nearest = min(abs(reading.estimate.low), abs(reading.estimate.high))
    return nearest < OVERSTATED * reading.estimate.sd


def failed_text(reading: Reading, failed: Failed) -> str:
    """Say of a trial that it looks like a failed training."""
    side = "the base" if failed.of_base else reading.comparison.label
    return (
        f"seed {failed.seed} of {side} looks like a failed training: {_shown(reading, failed.score)}, where the median "
        f"of its seeds is {_shown(reading, failed.median)}"
    )


def claim_parts(reading: Reading) -> list[str]:
    """Return the claim with its place, and where the published gap lies."""
    claim = reading.claim
    if claim is None:
        return ["the paper claims nothing here"]
    parts = [f"the paper: {claim.text} ({claim.place})"]
    if claim.gap is not None:
        parts.append(f"published {claim.gap:+.2f} points ({claim.gap_place}){_against_interval(reading)}")
    return parts


def _against_interval(reading: Reading) -> str:
    (low, high), gap = _ends(reading), reading.claim.gap
    if math.isnan(low) or math.isinf(low):
        return ""
    return ", inside the interval" if low <= gap <= high else f", {'below' if gap < low else 'above'} the interval"
