"""What there is to say of one field of a record, said once, beside the field: what it may be, in whose words, for which
families, how labels name it, whether networks that differ in it can share weights.

Space files, command line, labels, tables, ablations and sharing read it from there.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field
from typing import get_type_hints


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values are allowed, and how a message says so; `words` where they are a few words or numbers, `up_to` leads
    from there to a limit."""

    allowed: str
    check: Callable[[object], bool]
    words: tuple = ()
    up_to: str = " up to"


@dataclass(frozen=True, slots=True)
class Choice:
    """A field of a record.

    `help` is for people who look for it; `limit` is the most that a user may ask for. `families` have the field, with
    these `heads` where some are named.
    `label` names a value in the short names of networks ("" says nothing) and of changed recipes, `read` turns what a
    file or the command line has into a value, and leaves alone what it does not know. `values` names values as parts of
    a network, for ablations. `apart` says why networks with several values can't be slices of one set of weights;
    without it they can.
    """

    rule: Rule
    help: str
    limit: int | None = None
    families: tuple[str, ...] = ()
    label: Callable[[object], str] = str
    read: Callable[[object], object] = lambda value: value
    values: Mapping[object, str] | None = None
    apart: str = ""
    heads: tuple[str, ...] = ()

    def refuse(self, value: object) -> str:
        """Return what is allowed, where the value is not; else ""."""
        return "" if self.rule.check(value) and not self.is_over(value) else self.allowed

    @property
    def allowed(self) -> str:
        """Return what is allowed in words, with the limit."""
        return self.rule.allowed + ("" if self.limit is None else f"{self.rule.up_to} {self.limit:,}")

    def is_over(self, value: object) -> bool:
        """Say whether an allowed value, or a part of it, is more than a user may ask for."""
        return self.limit is not None and (max(value) if isinstance(value, tuple) else value) > self.limit


def choice(rule: Rule, help: str, default: object = MISSING, **more):
    """Return the dataclass field with a Choice; `more` are further fields of that."""
    return field(default=default, metadata={"choice": Choice(rule, help, **more)})


def choice_of(one: Field) -> Choice:
    """Return what is said of a field that `choice` made."""
    return one.metadata["choice"]


def annotated_choices(record: type) -> dict[str, Choice]:
    """Return what is said of the fields of a NamedTuple, each annotated as Annotated[type, Choice(...)]."""
    hints = get_type_hints(record, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def is_whole(value: object) -> bool:
    """Say whether it is an int from 1 (True is none)."""
    return type(value) is int and value >= 1


def is_number(value: object) -> bool:
    """Say whether it is an int or a float, finite as a float (True is none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def one_of(*words: object) -> Rule:
    """Allow just these words or numbers."""
    return Rule(" | ".join(map(str, words)), lambda value: type(value) is type(words[0]) and value in words, words)


WHOLE = Rule("a whole number from 1", is_whole)
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
