"""Wishes of the command line, as "madds <= 100M" -> Constraints, read as a space file reads its `constraints`; and what
networks cost of what is wished.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mnv2_sweep.base.errors import SpaceError, SweepError
from mnv2_sweep.devices.costs import count_rows, estimate
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.spaces.networks import Networks
from mnv2_sweep.spaces.read import read_constraints
from mnv2_sweep.spaces.space import OPERATORS, Constraint
from mnv2_sweep.spaces.yamlfile import Entry, Mistakes, short
from mnv2_sweep.trials.tasks import TASKS

WISH = re.compile(r"\s*([^\s<>=!]*)\s*(.*?)\s*", re.S)
SECTION = "constraints"
UPPER, LOWER = ("<", "<="), (">", ">=")


def read_wishes(words: Sequence[str]) -> tuple[Constraint, ...]:
    """Read wishes, all of which are to be kept. Raises SpaceError with a line for each that can't be read, or that
    nothing can fulfil."""
    found, mistakes = [], []
    for word in words:
        wish, mistake = _read_wish(word)
        found += [wish] if wish else []
        mistakes += [f'--where "{short(word)}": {mistake}'] if mistake else []
    if not mistakes:
        mistakes = [*_contradictions(found)]
    if mistakes:
        raise SpaceError(mistakes)
    return tuple(dict.fromkeys(found))


def _read_wish(word: str) -> tuple[Constraint | None, str]:
    """Return the wish, or what is wrong with it."""
    name, bound = WISH.fullmatch(word).groups()
    bound = re.sub(r"^([<>]=?)\s*", r"\1 ", bound).strip()
    example = '"madds <= 100M"'
    if not name:
        return None, f"a cost, a comparison and a number are wanted, as in {example}"
    if name in {score.name for task in TASKS.values() for score in task.scores} | {"loss"}:
        return None, "that is a score, by which networks are ranked anyway; wishes are about what networks cost"
    if re.search(r"\b(and|or)\b|&|,", bound):
        return None, f"one wish at a time; give --where once for each, as in --where {example}"
    if name[0].isdigit() or len(re.findall("[<>]=?", bound)) > 1:
        return (
            None,
            f"the cost comes first, then one bound, as in {example}; a range is two wishes, --where before each",
        )
    mistakes = Mistakes(Path("--where"))
    entry = Entry({name: Entry(bound, 0, bound)}, 0)
    wishes = read_constraints(entry, mistakes)
    if mistakes.found:
        text = mistakes.found[0][1].replace(f"{SECTION}.", "").replace("unknown key", "unknown cost")
        return None, text + ("" if bound else "; in a shell, the whole wish stands in quotes")
    return wishes[0], ""


def check_odds(option: str, probability: float, example: str) -> None:
    """Raise SweepError where a probability that is wanted of an answer can't be had."""
    if not 0.5 <= probability <= 0.999:
        raise SweepError(f"{option} {probability:g}: a probability from 0.5 to 0.999 is wanted, as in {example}")


def check_within(within: float | None) -> None:
    """Raise SweepError where a margin within which networks are as good is none."""
    if within is not None and not 0 <= within < math.inf:
        raise SweepError(f"--within {within:g}: 0 or more is wanted, in the unit of the score")


def wish_text(wish: Constraint) -> str:
    """Return a wish as it was said: "madds <= 100M"."""
    return f"{wish.cost} {wish.text}"


def _contradictions(wishes: Sequence[Constraint]) -> list[str]:
    """Say which wishes nothing can fulfil: alone, as costs are above 0, or together."""
    said = []
    for wish in wishes:
        if wish.operator in UPPER and wish.limit <= 0:
            said.append(f'--where "{wish_text(wish)}": every network costs more than that')
    for upper in (wish for wish in wishes if wish.operator in UPPER):
        for lower in (wish for wish in wishes if wish.operator in LOWER and wish.cost == upper.cost):
            strict = upper.operator == "<" or lower.operator == ">"
            if lower.limit > upper.limit or (strict and lower.limit == upper.limit):
                both = f'"{wish_text(upper)}" and "{wish_text(lower)}"'
                said.append(f"--where {both}: they contradict each other, no {upper.cost} is both; leave one out")
    return said


def count_wished(name: str, archs: Sequence[ArchSpec]) -> np.ndarray:
    """Return that cost of every network [N], NaN where it isn't known."""
    return estimate(name, count_rows(archs)).values


def find_fitting(networks: Networks, wishes: Sequence[Constraint]) -> np.ndarray:
    """Return which networks of a space keep all wishes [N]; one whose cost isn't known does not. Raises SpaceError with
    the nearest one where none does."""
    names = tuple(dict.fromkeys(wish.cost for wish in wishes))
    values = {name: of_all.values.astype(float) for name, of_all in networks.estimates(names).items()} if names else {}
    keeps = [OPERATORS[wish.operator](values[wish.cost], float(wish.limit)) for wish in wishes]
    fits = np.logical_and.reduce([np.ones(len(networks), bool), *keeps])
    if not fits.any():
        words = " ".join(f'--where "{wish_text(wish)}"' for wish in wishes)
        factors = find_factors(values, wishes, len(networks))
        none = f"none of the {len(networks):,} networks of space '{networks.space.name}' keeps that"
        if np.isinf(factors).all():
            raise SpaceError([f"{words}: {none}; what they cost of it is not known"])
        at = int(factors.argmin())
        costs = " and ".join(f"{name} {values[name][at]:,.10g}" for name in names)
        raise SpaceError([f"{words}: {none}; nearest is {arch_label(networks[at])} with {costs}"])
    return fits


def find_factors(values: Mapping[str, np.ndarray], wishes: Sequence[Constraint], count: int) -> np.ndarray:
    """Return by which factor so many networks with these costs [N] miss the wish that they miss most, 1 where they keep
    all; infinite where a cost isn't known."""
    factors = np.ones(count)
    for wish in wishes:
        limit = float(wish.limit)
        factor = values[wish.cost] / limit if wish.operator in UPPER else limit / values[wish.cost]
        factors = np.maximum(factors, np.where(np.isnan(factor), np.inf, factor))
    return factors
