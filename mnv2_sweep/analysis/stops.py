"""Looks at a sweep that decides itself (`until`) -> the words in which a person, and the sweep's record, are told
them."""

from collections.abc import Mapping, Sequence

from mnv2_sweep.analysis.odds import probability_text
from mnv2_sweep.analysis.until import HOPELESS, NEAR, OPEN, SPENT, SURE, Look, Question
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.trials.tasks import Score

NAMED = 4  # networks that a line names; more are counted


def look_lines(look: Look, number: int, labels: Mapping[str, str], score: Score) -> list[str]:
    """Return lines on one look, the one of that `number`: who leads, who is out, who gets a further seed."""
    title = f"{f'look {number}':<10}"
    further = [name for name, seeds in look.wanted.items() if seeds > look.counts[name]]
    further.sort(key=lambda name: -look.probability[name])
    if not look.knows_seeds and look.verdict == OPEN:
        what = "how far seeds move a score is not known yet"
    else:
        chance = probability_text(look.probability[look.leader])
        what = f"{labels[look.leader]} leads, the best with {chance}"
    lines = [f"{title}{what}" + (f"; a seed more for {_names(further, labels)}" if further else "")]
    if look.stopped:
        lines.append(f"{'':10}out: " + "; ".join(_some(stop_reasons(look, labels, score).values())))
    return lines


def stop_reasons(look: Look, labels: Mapping[str, str], score: Score) -> dict[str, str]:
    """Return why each network was put out at a look, by its `arch_key`."""
    return {
        name: f"{labels[name]} (best with {_small(chance)}, {_points(look.behind[name], score)} behind "
        f"{labels[look.leader]} after {count_noun(look.counts[name], 'seed')})"
        for name, chance in look.stopped.items()
    }


def end_lines(look: Look, labels: Mapping[str, str], score: Score, question: Question) -> list[str]:
    """Return lines on how a sweep was decided at its last look, or that it wasn't."""
    leader, networks = labels[look.leader], count_noun(len(look.counts), "network")
    best, near = probability_text(look.probability[look.leader]), probability_text(look.near)
    wanted, margin = probability_text(question.until), _points(question.within, score)
    if look.verdict == SURE:
        what = f"the best of the {networks} that fit, with {best}"
        return [f"decided   {leader} is {what if len(look.counts) > 1 else 'the only one that fits and has a result'}"]
    if look.verdict == NEAR:
        return [f"decided   {leader} is within {margin} of the best of the {networks} that fit, with {near}; it is the "
                f"best itself with {best}"]  # fmt: skip
    odds = f"{leader} leads, the best with {best}"
    odds += f" and within {margin} of the best with {near}" if question.within else ""
    why = {
        SPENT: "no seeds are left",
        HOPELESS: f"further seeds on these {look.images:,} images would hardly ever decide it, or better the answer",
        OPEN: "it was interrupted; the same command goes on",
    }[look.verdict]
    return [f"undecided {odds}, where {wanted} was wanted: {why}"]


def _names(names: Sequence[str], labels: Mapping[str, str]) -> str:
    some = [labels[name] for name in names[:NAMED]]
    return ", ".join(some) if len(some) == len(names) else f"{', '.join(some)} and {len(names) - NAMED} others"


def _some(texts) -> list[str]:
    texts = [*texts]
    return texts if len(texts) <= NAMED else [*texts[:NAMED], f"and {len(texts) - NAMED} others"]


def _small(chance: float) -> str:
    return f"{100 * chance:.2g} %" if chance < 0.1 else probability_text(chance)


def _points(value: float, score: Score) -> str:
    number = score.scale * value
    return f"{number:.2g} {score.difference_unit}" if abs(number) < 1 else f"{number:.1f} {score.difference_unit}"
