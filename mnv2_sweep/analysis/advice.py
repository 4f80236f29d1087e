"""A Recommendation -> the words in which a terminal, a notebook and a program are told it."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from mnv2_sweep.analysis.choice import SURE, TIED, Range
from mnv2_sweep.analysis.foresight import OFTEN
from mnv2_sweep.analysis.odds import probability_text
from mnv2_sweep.analysis.recommendation import NOTHING, UNKNOWN, Recommendation, Settling, Step
from mnv2_sweep.base.text import align, count_noun, duration, harmless, megabytes, millions, printable
from mnv2_sweep.devices.costs import describe_model, find_cost, looks_like_cost
from mnv2_sweep.spaces.wishes import wish_text

COST_WORDS = {"madds": "MAdds", "params": "params", "peak_activation_bytes": "peak activations", "depth": "layers"}
FEW = 2  # networks that are named; more are counted
RUNNERS, NEXT = "runners-up", "next"
WIDTH, COLUMNS = 14, 112  # of the names of parts, and of lines
Parts = list[tuple[str, str]]


def advice_text(advice: Recommendation) -> str:
    """Return the whole answer, as a terminal can take it."""
    parts = [*_answer_parts(advice), *_runners(advice), *_further_parts(advice)]
    lines = [f"{advice.sweep}: {fitting_text(advice)}", ""]
    for name, text in parts:
        if name == RUNNERS:
            lines += ["", *text.split("\n"), ""]
        else:
            broken = [text] if name == NEXT else wrap(text, COLUMNS - WIDTH, break_on_hyphens=False)
            lines += [f"{first:<{WIDTH}}{rest}" for first, rest in zip_longest([name], broken, fillvalue="")]
    return harmless("\n".join(lines))


def short_lines(advice: Recommendation) -> list[str]:
    """Return the answer in three lines, for the end of a run."""
    if advice.taken is None:
        return []
    first, *_ = _answer_parts(advice)
    second = f"{_sure_text(advice)}; {_score_text(advice)}"
    name = shlex.quote(printable(advice.sweep))
    if advice.wishes:
        where = " ".join(f'--where "{wish_text(wish)}"' for wish in advice.wishes)
        third = f"mnv2-sweep recommend {name} {where} says by how much and what else"
    else:
        third = f'mnv2-sweep recommend {name} says by how much and what else; within limits: --where "madds <= 100M"'
    indent = " " * 10
    return [f"recommend {first[1]}", indent + second, indent + third]


# ---------------------------------------------------------------- parts


def advice_parts(advice: Recommendation) -> Parts:
    """Return the names and texts of all that the answer says, but for the table of runners-up."""
    return [*_answer_parts(advice), *_further_parts(advice)]


def _further_parts(advice: Recommendation) -> Parts:
    return [*_step_parts(advice), *_settling_parts(advice), *_unknown_parts(advice)]


def fitting_text(advice: Recommendation) -> str:
    """Say how many networks keep the wishes."""
    wishes = " and ".join(map(wish_text, advice.wishes))
    if not wishes:
        return f"{count_noun(advice.networks, 'network')} with a result, no wishes (--where)"
    return f"{advice.fitting} of {count_noun(advice.networks, 'network')} with a result keep {wishes}"


def _answer_parts(advice: Recommendation) -> Parts:
    if advice.verdict == NOTHING:
        return _nothing_parts(advice)
    parts = [("take", f"{advice.taken.network}: {_costs_text(advice.taken.costs)}")]
    if advice.verdict == TIED:
        parts.append(("why", _tied_text(advice)))
    parts += [("how sure", _sure_text(advice)), ("score", _score_text(advice))]
    if advice.lost_if_wrong and advice.taken.probability < 1:
        parts.append(("if wrong", _loss_text(advice)))
    return parts + [
        ("another start", f"{kind}: {network} is the best of its kind with {advice.score.said(score)}; the kinds are "
         "trained differently, each is judged by itself") for kind, network, score in advice.others
    ]  # fmt: skip


def _nothing_parts(advice: Recommendation) -> Parts:
    text = "nothing fits"
    if advice.nearest is not None:
        broken = " and ".join(
            f"{cost_text(wish.cost, value)} where {wish_text(wish)} was wished" for wish, value in advice.nearest.breaks
        )
        text += f"; nearest is {advice.nearest.network} with {broken}"
    return [("take", text), *_open_parts(advice)]


def _open_parts(advice: Recommendation) -> Parts:
    parts = []
    if advice.open:
        some = ", ".join(advice.open[:FEW]) + (", ..." if len(advice.open) > FEW else "")
        count = count_noun(len(advice.open), "network")
        parts.append(("not measured", f"{count} would fit but failed or did not run yet: {some}"))
    of_devices = [*dict.fromkeys(wish.cost for wish in advice.wishes if looks_like_cost(wish.cost))]
    if advice.unknown_costs:
        why = "their cost is not known"
        if of_devices:
            profile = find_cost(of_devices[0]).profile
            why = "they lie outside of what was measured on the device, so whether they fit is not known"
            why += f" (mnv2-sweep device show {shlex.quote(profile)} SPACE says what to add)"
        parts.append(("not known", f"{count_noun(advice.unknown_costs, 'network')}: {why}"))
    return [*parts, *(("predicted", describe_model(cost)) for cost in of_devices)]


def _tied_text(advice: Recommendation) -> str:
    leader = advice.leader
    more = leader.costs[advice.cost] - advice.taken.costs[advice.cost]
    return (
        f"these data cannot tell it from {leader.network}, which takes {cost_text(advice.cost, more)} more and is "
        f"better by {_range_text(advice, leader.behind.times(-1))}: take the cheaper"
    )


def _sure_text(advice: Recommendation) -> str:
    taken = advice.taken
    if taken.probability is None:
        if advice.fitting == 1:
            return f"the only one that fits; {advice.why}, so what its score is worth beyond these images is not known"
        return f"can't be said; it measured best of {advice.fitting}, but {advice.why}"
    if advice.fitting == 1:
        return "the only one that fits"
    text = f"{probability_text(taken.probability)} that it is the best of the {advice.fitting:,} that fit"
    if advice.compared < advice.fitting:
        text = (
            f"{probability_text(taken.probability)} that it is the best of the {advice.compared} that were compared of "
            f"the {advice.fitting:,} that fit: those that measured best, the front, some at random"
        )
    if advice.verdict == SURE:
        return text
    if advice.verdict == TIED:
        return f"{text}; {advice.leader.network}: {probability_text(advice.leader.probability)}"
    return f"{text}, where {probability_text(advice.at_least)} was wanted"


def _score_text(advice: Recommendation) -> str:
    taken, score = advice.taken, advice.score
    if taken.score is None:
        text = f"{score.said(taken.measured)} as measured, which flatters the one that was chosen"
    else:
        low, high = score.number(taken.score.low), score.number(taken.score.high)
        text = (
            f"{score.said(taken.score.mean)} (95 % {low} to {high}) is to be expected, luck taken out; "
            f"measured {score.amount(taken.measured)}"
        )
    return text + (f"; trained on by itself {score.amount(advice.tuned)}" if advice.tuned is not None else "")


def _loss_text(advice: Recommendation) -> str:
    unit = advice.score.difference_unit
    wrong, loss = (_number(advice, value, 2) for value in (advice.lost_if_wrong, advice.taken.loss))
    return f"{wrong} {unit} are lost where it is not the best; {loss} on average over all cases"


def _runners(advice: Recommendation) -> Parts:
    if not advice.rivals or advice.verdict == NOTHING:
        return []
    return [(RUNNERS, align(rivals_table(advice), (RUNNERS,)))]


def rivals_table(advice: Recommendation) -> list[list[str]]:
    """Return header and a row for each runner-up."""
    names, score = [*advice.taken.costs], advice.score
    header = [RUNNERS, *(COST_WORDS.get(name, name) for name in names), "best with", score.label, "95 %"]
    rows = []
    for one in advice.rivals:
        low, high = score.number(one.score.low), score.number(one.score.high)
        costs = [cost_text(name, one.costs[name], False) for name in names]
        cells = [probability_text(one.probability), score.number(one.score.mean), f"{low} to {high}"]
        rows.append([one.network, *costs, *cells, _range_text(advice, one.behind, unit=False)])
    return [[*header, "behind by"], *rows]


def _step_parts(advice: Recommendation) -> Parts:
    parts = []
    for name, step in (("next cheaper", advice.cheaper), ("next better", advice.better)):
        if step is not None:
            parts.append((name, step_text(advice, step)))
    if advice.better is None and advice.taken is not None and advice.taken.probability is not None:
        parts.append(
            (
                "next better",
                "none of the dearer networks" + (" that keep the other wishes" if advice.wishes else "") + " is better",
            )
        )
    return parts


def step_text(advice: Recommendation, step: Step) -> str:
    """Say a step, as in "5.0M MAdds more buy 1.8 points (0.4 to 3.1)"."""
    by, change = step.better_by, "more" if step.more > 0 else "less"
    verb = "buy" if step.more > 0 else "lose"
    if step.more <= 0 and by.mean > 0:
        verb = "gain"
    shown = by if verb in ("buy", "gain") else by.times(-1)
    sure = "better" if step.more > 0 else "worse"
    probability = step.probability if step.more > 0 else 1 - step.probability
    text = (
        f"{step.network}: {cost_text(advice.cost, abs(step.more))} {change} {verb} {_range_text(advice, shown)}, "
        f"{sure} with {probability_text(probability)}"
    )
    return text + (f"; it does not keep {' and '.join(map(wish_text, step.breaks))}" if step.breaks else "")


def _settling_parts(advice: Recommendation) -> Parts:
    if advice.verdict in (SURE, NOTHING, UNKNOWN):
        return []
    if not advice.settling:
        why = "run further seeds first (--seeds 3): with one each, nobody knows how far training again moves a score"
        return [("to settle it", why)] if not advice.knows_seeds else []
    texts = [settling_text(advice, one) for one in sorted(advice.settling, key=lambda one: one.settled < OFTEN)]
    if max(one.settled for one in advice.settling) < OFTEN:
        texts.insert(0, "nothing that was tried by simulation, these networks are too much alike; at most:")
    return [("to settle it" if at == 0 else "", text) for at, text in enumerate(texts)]


def settling_text(advice: Recommendation, one: Settling) -> str:
    """Say what an effort takes and brings."""
    names = " and ".join(one.networks) if len(one.networks) <= FEW else f"the {len(one.networks)} likeliest"
    if one.trained > len(one.networks):
        names = f"all {one.trained} networks, which are trained together"
    unit = "core" if advice.device in ("", "cpu") else "GPU"
    time = "" if math.isnan(one.seconds) else f", {duration(one.seconds)} of {unit} time"
    if one.images:
        what = (
            f"a new sweep with {one.images:,} further validation images and {count_noun(one.seeds, 'seed')} of {names}"
        )
        time += " and more to evaluate" if time else ""
    else:
        what = f"{one.seeds} further {'seed' if one.seeds == 1 else 'seeds'} of {names}"
    before, then = (probability_text(value) for value in (advice.leader.probability, one.probability))
    lost, left = (_number(advice, value, 2) for value in (advice.leader.loss, one.loss))
    often = f"{'' if one.settled >= OFTEN else 'only '}{10 * one.settled:.0f} of 10 times"
    return (
        f"{what}{time}: from {before} to {then} on average, as sure as wanted {often}; lost on average: from {lost} to "
        f"{left} {advice.score.difference_unit}"
    )


def _unknown_parts(advice: Recommendation) -> Parts:
    if advice.taken is None:
        return []
    kind = f" of the kind of the {advice.images:,} validation images" if advice.images else ""
    unknown = [f"other photos than these: all of this is about images{kind or ' like the validation images'}"]
    if advice.images and not advice.knows_seeds:
        unknown.append("other seeds: it is about these very weights (--seeds 3 tells)")
    unknown.append("how a longer training orders them (mnv2-sweep calibrate)")
    return [*_open_parts(advice), ("not known", "; ".join(unknown)), (NEXT, advice.command)]


# ---------------------------------------------------------------- words


def cost_text(name: str, value: float, with_unit: bool = True) -> str:
    """Return a cost as a person says it: "97.1M MAdds", "4.82 MB peak activations", "12.3 ms latency@pi4"."""
    if name.endswith("_bytes") or name.startswith("memory@"):
        text = megabytes(value)
    elif name.startswith("latency@"):
        text = f"{value:.3g} ms"
    elif value >= 1e5:
        text = millions(value, 2 if name == "params" else 1)
    else:
        text = f"{value:,.0f}"
    return f"{text} {COST_WORDS.get(name, name)}" if with_unit else text


def _costs_text(costs: Mapping[str, float]) -> str:
    return ", ".join(cost_text(name, value) for name, value in costs.items())


def _number(advice: Recommendation, value: float, digits: int = 1) -> str:
    """Return a difference of scores as it is shown, never "-0.0"."""
    return f"{round(advice.score.scale * value, digits) + 0.0:.{digits}f}"


def _range_text(advice: Recommendation, one: Range, unit: bool = True) -> str:
    """Return a difference of scores as "1.8 points (0.4 to 3.1)"."""
    mean, low, high = (_number(advice, value) for value in (one.mean, one.low, one.high))
    return f"{mean}{f' {advice.score.difference_unit}' if unit else ''} ({low} to {high})"


# ---------------------------------------------------------------- programs and notebooks


def advice_record(advice: Recommendation) -> dict[str, Any]:
    """Return the answer as JSON has it: scores and differences as on record (top-1 as fractions), costs in their own
    unit, wishes as they were said."""
    record = asdict(advice)
    for name in ("score", "folder", "wishes", "others", "nearest"):
        del record[name]
    record |= {
        "score": advice.score.name,
        "wishes": [wish_text(wish) for wish in advice.wishes],
        "others": [{"kind": kind, "network": network, "score": score} for kind, network, score in advice.others],
        "nearest": advice.nearest
        and {
            "network": advice.nearest.network,
            "breaks": [{"wish": wish_text(wish), "value": value} for wish, value in advice.nearest.breaks],
        },
    }
    for name in ("cheaper", "better"):
        step = getattr(advice, name)
        if step is not None:
            record[name]["breaks"] = [wish_text(wish) for wish in step.breaks]
    return _without_nan(record)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def advice_html(advice: Recommendation) -> str:
    """Return the answer for a notebook; nothing in it is taken for markup."""
    cells = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(printable(text))}</td></tr>'
        for name, text in advice_parts(advice)
    )
    title = escape(printable(f"{advice.sweep}: {fitting_text(advice)}"))
    return f"<p><b>{title}</b></p><table>{cells}</table>{_rivals_html(advice)}"


def _rivals_html(advice: Recommendation) -> str:
    if not advice.rivals:
        return ""
    header, *rows = rivals_table(advice)
    return f"<table>{_row_html(header, 'th')}{''.join(_row_html(row, 'td') for row in rows)}</table>"


def _row_html(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(printable(cell))}</{tag}>' for cell in cells)}</tr>"
