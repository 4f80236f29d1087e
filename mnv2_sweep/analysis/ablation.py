"""Options of `ablate` -> comparisons: a base network beside the same with one change, as it is or at the same cost.

A comparison is paired: both sides have the same seeds, and a seed alone decides the order of the images, their crops
and flips (see `training.loop`), so what the sides have in common cancels in the difference.

What an ablation compares, its protocol, is kept as a text in its folder's space.yaml, so that tables and plots need no
options. The first line is the command, as a comment; below it stands JSON (which is YAML). Sweeps of earlier versions
have the first line alone; of them, and of any other sweep, the pairs are found among the networks that were trained.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mnv2_sweep.analysis.paired import ALWAYS, ONCE
from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.nets.arch import (
    ACTIVATIONS,
    CELLS,
    CHOICES,
    FAMILIES,
    FAMILY_NAMES,
    RESIDUALS,
    ArchSpec,
    arch_label,
    arch_record,
    cell_value,
    check_arch,
    check_limits,
    find_expansion,
    load_arch,
)
from mnv2_sweep.nets.match import MATCHED, is_matched, match_width
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.folders import ABLATION
from mnv2_sweep.spaces.space import field_of, set_table

# ---------------------------------------------------------------- changes and comparisons

MOST_BASES = 100
# Fields that are parts of a network; the others are its size, its task or how it is trained.
NO_PARTS = ("stages", "width", "resolution", "classes", "dropout")
PARTS = tuple(name for name in FAMILIES["mobilenet_v2"] if name not in NO_PARTS)
LONGEST_NAME = 100  # of a sweep's name that nobody has given
OR_ELSE = ", or several with commas between, or a design space (.yaml)"


@dataclass(frozen=True, slots=True)
class Change:
    """A field of ArchSpec, `expansion` (t of every stage that expands) or a cell of the block table, as in
    "stages.3.kernel", and its new value.

    `name` is its option as a word, for names of files; `before` and `after` name both sides for people.
    """

    name: str
    field: str
    value: object
    before: str
    after: str


def change_expansion(t: int) -> Change:
    """Return the change to expansion t in every stage that expands."""
    return Change(f"expansion-{t}", "expansion", t, "its own t", f"t = {t}")


def change_field(name: str, value: object) -> Change:
    """Return the change of a field of ArchSpec to another value, in the words that stand beside the field."""
    called, default = CHOICES[name].values or {}, getattr(ArchSpec(), name)
    option = name.replace("_", "-")
    if not isinstance(value, bool):
        option = f"{option}-{value}"
    elif not value:
        option = f"no-{option}"
    return Change(option, name, value, called.get(default) or f"its own {name}", called.get(value) or f"{name} {value}")


def change_cell(name: str, value: object) -> Change:
    """Return the change of a cell of the block table, as "stages.3.kernel", or of a column, "stages.*.kernel"."""
    _, row, cell = name.split(".")
    where, option = f"in {_rows(row)}", f"{name.replace('.', '-').replace('*', 'all')}-{value}".replace("_", "-")
    return Change(option, name, value, f"its own {cell} {where}", f"{cell} {value} {where}")


def _rows(row: str) -> str:
    return "every row" if row == "*" else f"row {row}"


def change_activation(name: str) -> Change:
    """Return the change to another activation."""
    return change_field("activation", name)


NO_LINEAR_BOTTLENECK = change_field("linear_bottleneck", False)
NO_RESIDUAL, WIDE_RESIDUAL = change_field("residual", "none"), change_field("residual", "expansion")
SCALE_LAST_CONV, NO_DEPTHWISE = change_field("scale_last_conv", True), change_field("depthwise", False)
ALL = (
    *(NO_LINEAR_BOTTLENECK, NO_RESIDUAL, WIDE_RESIDUAL),
    *(change_expansion(t) for t in (1, 2, 3, 4, 6, 8, 10)),
    *(change_activation(name) for name in ACTIVATIONS),
    *(SCALE_LAST_CONV, NO_DEPTHWISE),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks to be trained with the same seeds. `matched`: the cost for which the variant's width was chosen."""

    change: Change
    base: ArchSpec
    variant: ArchSpec
    matched: str = ""

    @property
    def label(self) -> str:
        """Name the changed side for people: "t = 3", "t = 3, same MAdds"."""
        return f"{self.change.after}, same {MATCHED[self.matched]}" if self.matched else self.change.after

    @property
    def name(self) -> str:
        """Name the changed side for files: "expansion-3", "expansion-3-madds"."""
        return f"{self.change.name}-{self.matched}" if self.matched else self.change.name


# ---------------------------------------------------------------- from options


def parse_bases(text: str, or_else: str = OR_ELSE) -> tuple[ArchSpec, ...]:
    """Parse "0.35@96,1.0@96" as width 0.35 and width 1.0 at 96 px. Raises SweepError, which also says what else may be
    given."""
    bases = {}
    for word in text.split(","):
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)@(\d{1,9}(?:x\d{1,9})?)", word.strip())
        if not match:
            raise SweepError(
                f"--base {word}: a width and a resolution are wanted, as in 1.0@96 or 1.0@160x120{or_else}"
            )
        resolution = int(match[2]) if match[2].isdecimal() else CHOICES["resolution"].read(match[2])
        base = ArchSpec(width=float(match[1]), resolution=resolution)
        try:
            check_arch(base)
            check_limits(base)
        except SweepError as error:
            raise SweepError(f"--base {word}: {error}") from error
        if base in bases:
            raise SweepError(f"--base {text}: {arch_label(base)} is there twice")
        bases[base] = None
    return tuple(bases)


def choose_changes(
    no_linear_bottleneck: bool = False,
    residual: str | None = None,
    expansion: str | None = None,
    activation: str | None = None,
    scale_last_conv: bool = False,
    no_depthwise: bool = False,
    everything: bool = False,
    words: Mapping[str, Sequence] | None = None,
) -> tuple[Change, ...]:
    """Return the changes that the options ask for, in the order of ALL, then those of the `words` (field -> values).

    Raises SweepError.
    """
    given = {"--no-linear-bottleneck": no_linear_bottleneck, "--residual": residual, "--expansion": expansion}
    given |= {"--activation": activation, "--scale-last-conv": scale_last_conv, "--no-depthwise": no_depthwise}
    names = [option for option, value in given.items() if value not in (False, None)] + [*(words or {})]
    if everything and names:
        raise SweepError(f"ablate: --all has {names[0]} in it; leave one of them out")
    if not everything and not names:
        raise SweepError(f"ablate: say what to change; there is: {', '.join(given)}, --all")
    if everything:
        return ALL
    residuals = {"none": NO_RESIDUAL, "expansion": WIDE_RESIDUAL}
    chosen = [NO_LINEAR_BOTTLENECK] * no_linear_bottleneck
    chosen += [residuals[word] for word in _words("--residual", residual, ("none", "expansion"), RESIDUALS[0])]
    chosen += [change_expansion(t) for t in _expansions(expansion)]
    chosen += [change_activation(word) for word in _words("--activation", activation, ACTIVATIONS)]
    chosen += [*[SCALE_LAST_CONV] * scale_last_conv, *[NO_DEPTHWISE] * no_depthwise]
    chosen += [_change_word(name, value) for name, values in (words or {}).items() for value in values]
    twice = next((change.after for i, change in enumerate(chosen) if change in chosen[:i]), None)
    if twice:
        raise SweepError(f"ablate: {twice} is there twice")
    return tuple(chosen)


def _change_word(name: str, value: object) -> Change:
    """Return the change that a word asks for. Raises SweepError for what is no part of a network."""
    if name.startswith("stages."):
        return change_cell(name, value)
    parts = [
        "expansion",
        *(field for field, one in CHOICES.items() if field in PARTS),
        "stages.3.kernel and other cells",
    ]
    if name not in parts:
        raise SweepError(f"ablate: {name}: no part of a network to change here; there is: {', '.join(parts)}")
    return change_expansion(value) if name == "expansion" else change_field(name, value)


def _words(option: str, text: str | None, allowed: Sequence[str], own: str | None = None) -> list[str]:
    words = [] if text is None else [word.strip() for word in text.split(",")]
    for i, word in enumerate(words):
        if word == own:
            raise SweepError(f"{option} {word}: that is how the base has it; {' or '.join(allowed)}")
        if word not in allowed:
            raise SweepError(
                f"{option} {word}: {', '.join(allowed[:-1])} or {allowed[-1]}; several with commas between"
            )
        if word in words[:i]:
            raise SweepError(f"{option} {text}: {word} is there twice")
    return words


def _expansions(text: str | None) -> list[int]:
    expansions: list[int] = []
    for word in [] if text is None else text.split(","):
        number = word.strip()
        most = CELLS["t"].limit
        if not re.fullmatch(r"\d{1,9}", number, re.A) or not 1 <= int(number) <= most:
            raise SweepError(f"--expansion {number}: a whole number from 1 to {most}, or several, as in 1,3,6")
        if int(number) in expansions:
            raise SweepError(f"--expansion {text}: {int(number)} is there twice")
        expansions.append(int(number))
    return expansions


def name_changes(changes: Sequence[Change]) -> str:
    """Name the changes in a word for the sweep: "no-linear-bottleneck", "residual-none-expansion", "all"; many by the
    first and a digest."""
    if tuple(changes) == ALL:
        return "all"
    names = dict.fromkeys(change.field if change.field == "expansion" else change.name for change in changes)
    name = "-".join(names)
    if len(name) <= LONGEST_NAME:
        return name
    return f"{next(iter(names))}-and-{len(names) - 1}-more-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


# ---------------------------------------------------------------- from networks


def changed_arch(base: ArchSpec, change: Change) -> ArchSpec:
    """Return the base network with the change. Raises SweepError where its family has no such choice."""
    field = field_of(change.field)
    if field not in FAMILIES[base.family]:
        raise SweepError(f"ablate: base {arch_label(base)}: {FAMILY_NAMES[base.family]} has no such part to change")
    if field != "stages":
        return replace(base, **{field: change.value})
    try:
        return replace(base, stages=set_table(base.stages, {change.field: change.value}))
    except IndexError as error:
        row, last = change.field.split(".")[1], len(base.stages) - 1
        raise SweepError(f"ablate: {change.field}: base {arch_label(base)} has rows 0 to {last}, no {row}") from error


def plan_comparisons(
    bases: Sequence[ArchSpec], changes: Sequence[Change], match: str | None = None
) -> tuple[tuple[Comparison, ...], list[str]]:
    """Plan every change of every base, beside it with `match` at the same cost; and note what was left out.

    A change that makes the same network, as t = 6 of the paper's, is left out; so is a base that is the same network as
    one before (widths 0.4 and 0.41), and a match that no width meets. Raises SweepError where nothing is left, or no
    match at all is met.
    """
    if match is not None and match not in MATCHED:
        raise SweepError(f"--match {match}: {' or '.join(MATCHED)}")
    if len(bases) > MOST_BASES:
        raise SweepError(f"--base: {len(bases):,} networks, at most {MOST_BASES} allowed; take some of them")
    comparisons, same, missed, met = [], [], [], 0
    known: dict[str, ArchSpec] = {}
    for base in bases:
        first = known.setdefault(arch_key(base), base)
        if first is not base:
            same.append(f"{arch_label(base)} is the same network as {arch_label(first)}")
            continue
        for change in changes:
            variant = changed_arch(base, change)
            if arch_key(variant) == arch_key(base):
                same.append(f"{change.after} changes nothing in {arch_label(base)}")
                continue
            comparisons.append(_name_sides(Comparison(change, base, variant)))
            if match is not None and not is_matched(variant, base, match):
                try:
                    matched = match_width(variant, base, match)
                    comparisons.append(_name_sides(Comparison(change, base, matched, match)))
                    met += 1
                except SweepError as error:
                    missed.append(str(error))
    if not comparisons:
        raise SweepError(f"ablate: {'; '.join(same)}: nothing to compare")
    if missed and not met:
        raise SweepError(missed[0])
    return tuple(comparisons), [*(f"left out: {text}" for text in same), *missed]


def _name_sides(comparison: Comparison) -> Comparison:
    """Name what the base has where its own value is changed ("t = 6", "relu6"), and what follows its projections
    then."""
    base, change = comparison.base, comparison.change
    if change.field == "expansion":
        own = f"t = {find_expansion(base.stages) or 'mixed'}"
    elif change.field.startswith("stages."):
        _, row, cell = change.field.split(".")
        stages = base.stages if row == "*" else [base.stages[int(row)]]
        cells = {cell_value(base, stage, cell) for stage in stages}
        own = f"{cell} {cells.pop() if len(cells) == 1 else 'mixed'} in {_rows(row)}"
    else:
        value = getattr(base, change.field)
        own = (CHOICES[change.field].values or {}).get(value) or f"{change.field} {value}"
    after = change.after
    if change.field == "linear_bottleneck":
        after = after.replace("ReLU6", {"relu6": "ReLU6", "relu": "ReLU"}.get(base.activation, base.activation))
    return replace(comparison, change=replace(change, before=own, after=after))


def list_networks(comparisons: Sequence[Comparison]) -> tuple[ArchSpec, ...]:
    """List every network of the comparisons once, each base before its variants."""
    return tuple(dict.fromkeys(arch for one in comparisons for arch in (one.base, one.variant)))


def infer_comparisons(archs: Sequence[ArchSpec]) -> tuple[Comparison, ...]:
    """Find pairs among these networks that differ in one part: for sweeps that do not say what they compare."""
    known = {arch_key(arch): arch for arch in archs if arch.family == "mobilenet_v2"}
    plain = ArchSpec()
    found = []
    for base in known.values():
        for change in ALL:
            if change.field != "expansion" and getattr(base, change.field) == getattr(plain, change.field):
                variant = known.get(arch_key(changed_arch(base, change)))
                if variant not in (None, base):
                    found.append(_name_sides(Comparison(change, base, variant)))
    return tuple(found)


# ---------------------------------------------------------------- the text in space.yaml

SPACE = "space.yaml"


@dataclass(frozen=True, slots=True)
class Protocol:
    """The comparisons of one command; `looks`: whether seeds were added until they were decided (see `paired`);
    `seeds`: how many were asked for to begin with, 0 where it is not known; `peeked`: with what its networks were
    looked at before more seeds were added, "" where that does not matter."""

    comparisons: tuple[Comparison, ...]
    looks: str = ONCE
    seeds: int = 0
    peeked: str = ""


def dump_protocol(protocol: Protocol, options: Sequence[str]) -> str:
    """Return the text of space.yaml."""
    pairs = [
        {
            "change": asdict(one.change),
            "base": arch_record(one.base),
            "variant": arch_record(one.variant),
            "matched": one.matched,
        }
        for one in protocol.comparisons
    ]
    command = " ".join([ABLATION, *options])
    record = {"looks": protocol.looks, "seeds": protocol.seeds, "peeked": protocol.peeked, "comparisons": pairs}
    return f"{' '.join(command.split())}\n{json.dumps(record, indent=1)}\n"


def read_protocol(folder: Path, archs: Sequence[ArchSpec]) -> Protocol:
    """Read what the sweep compares; `archs` are the networks that it holds. Raises StoreError on a text that is
    broken."""
    try:
        first, _, text = (folder / SPACE).read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        first = text = ""
    if not first.startswith(ABLATION) or not text.strip():
        return Protocol(infer_comparisons(archs))
    try:
        record = json.loads(text)
        comparisons = tuple(_load_comparison(one) for one in record["comparisons"])
        if record["looks"] not in (ONCE, ALWAYS):
            raise ValueError(f"looks: {record['looks']}")
        return Protocol(comparisons, record["looks"], int(record["seeds"]), str(record.get("peeked", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / SPACE}: not what 'ablate' wrote ({error}); run the same 'ablate' again") from error


def continue_protocol(before: Protocol, now: Protocol) -> Protocol:
    """Return `now` in the folder of `before`, with what the networks that both compare were looked at before.

    It stays known whatever is asked later: seeds that were added after a look do not become seeds fixed before it.
    """
    pairs = {(one.base, one.variant) for one in before.comparisons}
    if now.looks == ALWAYS or not any((one.base, one.variant) in pairs for one in now.comparisons):
        return now
    if before.looks == ALWAYS:
        return replace(now, peeked="seeds added until decided")
    peeked = before.peeked or (f"{before.seeds} seeds" if 0 < before.seeds < now.seeds else "")
    return replace(now, seeds=max(before.seeds, now.seeds), peeked=peeked)


def _load_comparison(record: dict) -> Comparison:
    archs = (load_arch(record[side]) for side in ("base", "variant"))
    return Comparison(Change(**record["change"]), *archs, record["matched"])
