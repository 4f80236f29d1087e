"""Passport (how far to trust each cheap order of a sweep's networks) <-> results/<sweep>/passport.json, and as words.

`mnv2-sweep calibrate` trains a handful of a space's networks on a longer schedule, compares every proxy with that
order, and keeps the verdicts here; reports and captions of the sweep then say what its order is worth. The file is
replaced whole or not at all and read strictly: a passport in part would be worse than none. What is undefined (NaN) is
null in it, and "undefined", "-" or left out in words.
"""

import json
import math
import types
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import get_args

from mnv2_sweep.analysis.agreement import Agreement, near_text, tau_text
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.files import write_whole
from mnv2_sweep.base.text import duration
from mnv2_sweep.record.folders import PASSPORT
from mnv2_sweep.trials.trial import load_trial
from mnv2_sweep.trials.ways import WAYS

SHORT_SCHEDULE, SMALL_INPUT, SHARED_WEIGHTS = WAYS["alone"].proxy, "smaller input", WAYS["shared"].proxy
SYNFLOW, MADDS_ALONE, EXECUTED = "synflow", "MAdds alone", "executed MAdds"
WORD_COLUMNS = ("proxy", "note")  # of the table, for `align`

# Kendall's tau of MAdds with the published top-1 of TF-slim's 22 MobileNetV2; the tests compute it.
PAPER_TAU_MADDS, PAPER_NETWORKS = 0.954, 22
PAPER_TAU_PICKED = 0.764  # on the 8 that `calibrate` picks of them
ONLY_WORTH = (
    f"MAdds alone order the paper's {PAPER_NETWORKS} networks as published at Kendall tau {PAPER_TAU_MADDS}: a proxy "
    "is only worth what it adds to them among networks of similar cost, within 25 % of MAdds"
)
NOT_CALIBRATED = (
    f"not calibrated (MAdds alone reach tau {PAPER_TAU_MADDS} on the paper's networks): 'mnv2-sweep calibrate SPACE' "
    "says how far to trust this order"
)


@dataclass(frozen=True, slots=True)
class ProxyVerdict:
    """What one proxy is worth; `cost_seconds` is of all that had to be done for it, None where it was not measured or
    there is none, `agreement_with_published` None where too few of the networks compared are published ones,
    `agreement_with_all_published` of all published networks of the space, where that is more of them.

    `trial` is one of its trials, as `dump_trial` writes it ("" where none was trained): for which data, recipe and
    strategy it holds. `tau_weighted` is tau with the reference, near pairs counted as often as the space has them, None
    where that is not known. A proxy that could not be made has an agreement of no networks, and `note` says why."""

    name: str
    agreement_with_reference: Agreement
    agreement_with_published: Agreement | None = None
    cost_seconds: float | None = None
    note: str = ""
    agreement_with_all_published: Agreement | None = None
    trial: str = ""
    tau_weighted: float | None = None

    def __post_init__(self):
        if not self.trial:
            return
        try:
            load_trial(self.trial)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"trial of {self.name}: {error!r}") from error

    @property
    def is_made(self) -> bool:
        """Return whether the proxy could be made: whether any network was compared."""
        return self.agreement_with_reference.networks > 0


@dataclass(frozen=True, slots=True)
class Passport:
    """The verdicts of one calibration. `data` is the data set's name, `reference` says in words what the proxies were
    compared with (recipe, networks, seeds), `made` the day, `machine` where. MAdds alone is always among `proxies`.
    `reference_seconds` is what the reference cost, `reference_with_published` how itself agrees with the published
    top-1 of its networks, None where too few are published. Of the pairs of the networks compared, `near_share` is near
    in MAdds, of all those of the space `space_near_share`; None in passports of earlier versions."""

    space: str
    data: str
    reference: str
    proxies: tuple[ProxyVerdict, ...]
    made: str
    machine: str
    reference_seconds: float | None = None
    reference_with_published: Agreement | None = None
    near_share: float | None = None
    space_near_share: float | None = None

    def __post_init__(self):
        names = [verdict.name for verdict in self.proxies]
        if len(set(names)) < len(names) or MADDS_ALONE not in names:
            raise ValueError(f"proxies: {', '.join(names) or 'none'} given, each once and '{MADDS_ALONE}' allowed")

    @property
    def baseline(self) -> ProxyVerdict:
        """Return the costs that gains are over: nominal MAdds, or the executed ones where they order better."""
        costs = [proxy for name in (MADDS_ALONE, EXECUTED) if (proxy := self.find_proxy(name))]
        return max(costs, key=lambda proxy: proxy.agreement_with_reference.tau)  # the first of equals

    def find_proxy(self, name: str) -> ProxyVerdict | None:
        """Return the verdict on the named proxy, None where there is none."""
        return next((verdict for verdict in self.proxies if verdict.name == name), None)


def write_passport(folder: Path, passport: Passport) -> Path:
    """Write it into the sweep's folder, in place of one that is there; return the file. Raises StoreError."""
    path = folder / PASSPORT
    text = json.dumps(_without_nan(asdict(passport)), indent=2, allow_nan=False) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        raise StoreError(f"{path}: the passport could not be written: {error.strerror or error}") from error
    return path


def read_passport(folder: Path) -> Passport | None:
    """Read the passport of a sweep's folder, None where it was not calibrated. Raises StoreError for a broken one."""
    path = folder / PASSPORT
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        return _read_record(Passport, values, "passport")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: the passport can't be read: {error.strerror or error}") from error
    except (ValueError, OverflowError, RecursionError) as error:  # also what is no UTF-8 and no JSON
        why = (str(error).splitlines() or ["?"])[0]
        raise StoreError(
            f"{path}: not a passport ({why}); remove it and run 'mnv2-sweep calibrate SPACE' again"
        ) from error


def passport_table(passport: Passport) -> list[list[str]]:
    """Return header and a row a proxy; a column of the published order where at least one was compared with it."""
    published = any(verdict.agreement_with_published for verdict in passport.proxies)
    weighed = any(_is_known(verdict.tau_weighted) for verdict in passport.proxies)
    header = ["proxy", "tau with reference", *(["weighed back"] if weighed else []), "pairs within 25 %"]
    header += ["tau with published", "published within 25 %"] if published else []
    rows = []
    for verdict in passport.proxies:
        compared = [verdict.agreement_with_reference, *([verdict.agreement_with_published] if published else [])]
        cells = [text for agreement in compared for text in _agreement_cells(agreement)]
        if weighed:
            cells.insert(1, f"{verdict.tau_weighted:.3f}" if _is_known(verdict.tau_weighted) else "-")
        cost = "-" if verdict.cost_seconds is None else duration(verdict.cost_seconds)
        rows.append([verdict.name, *cells, cost, verdict.note])
    return [[*header, "cost", "note"], *rows]


def _is_known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def closeness_text(picked: float, space: float) -> str:
    """Say that the networks compared are close together, from the shares of their pairs and of the space's that are
    near in MAdds, and what that does."""
    shares = f"{100 * picked:.0f} % of their pairs within 25 % of MAdds, {100 * space:.0f} % in the space"
    few, every = f"{PAPER_TAU_PICKED} on 8 of the paper's {PAPER_NETWORKS} networks", f"{PAPER_TAU_MADDS} on all"
    lowers = f"that lowers every tau (of MAdds alone with the published order, {few}, {every})"
    return f"they are picked close together, {shares}: {lowers}"


def published_table(passport: Passport) -> list[list[str]]:
    """Return header and a row a proxy compared on all published networks of the space; the header alone for none."""
    compared = [(v.name, v.agreement_with_all_published) for v in passport.proxies if v.agreement_with_all_published]
    rows = [[name, str(found.networks), *_agreement_cells(found)] for name, found in compared]
    return [["proxy", "networks", "tau with published", "published within 25 %"], *rows]


def verdict_lines(passport: Passport | None, strategy: str) -> list[str]:
    """Say what the order of a sweep is worth, in a sentence or two for reports and captions; `strategy` is the proxy it
    used. Says where it was not calibrated, and where it adds nothing that MAdds don't say."""
    if passport is None:
        return [NOT_CALIBRATED]
    verdict, baseline = passport.find_proxy(strategy), passport.baseline
    if verdict is not None and not verdict.is_made:
        return [f"not calibrated for {strategy}: {verdict.note}"]
    if verdict is None:
        known = ", ".join(proxy.name for proxy in passport.proxies if proxy.is_made)
        return [
            f"not calibrated for {strategy} (only for {known}): mnv2-sweep calibrate SPACE says how far to trust this "
            "order"
        ]
    ours = verdict.agreement_with_reference
    return [
        f"calibrated on {passport.data} against {passport.reference}: the order by {strategy} has Kendall tau "
        f"{tau_text(ours)} with it, {baseline.name} {tau_text(baseline.agreement_with_reference)}"
        f"{_overall_words(ours, baseline.name)}",
        _near_line(ours, baseline),
    ]


def _overall_words(ours: Agreement, costs: str) -> str:
    if math.isnan(ours.tau_gain):
        return ""
    if ours.tau_gain_low > 0:
        return f": better than {costs} overall"
    return f": worse than {costs} overall" if ours.tau_gain_high < 0 else f": overall no clear gain over {costs}"


def _near_line(ours: Agreement, baseline: ProxyVerdict) -> str:
    """Say what the proxy adds among networks of similar cost."""
    if not ours.near_pairs:
        return (
            "no pair of the networks compared is within 25 % of MAdds and untied, so whether it adds anything to MAdds "
            "is not known"
        )
    return (
        f"within 25 % of MAdds it ordered {_pairs_text(ours)} as the reference did; {baseline.name} "
        f"{near_text(baseline.agreement_with_reference)}{_near_words(ours)}"
    )


def _pairs_text(agreement: Agreement) -> str:
    """Say how many pairs are ordered as the reference does: "9 of 12 pairs (95 % 55 to 95 %)"."""
    counted, _, interval = near_text(agreement).partition(" (")
    pairs = f"{counted} {'pair' if agreement.near_pairs == 1 else 'pairs'}"
    return f"{pairs} ({interval}" if interval else pairs


def _near_words(ours: Agreement) -> str:
    if math.isnan(ours.near_gain):
        return ""
    points = f"{100 * ours.near_gain:+.0f} points"
    if math.isnan(ours.near_gain_low):
        if ours.near_gain == 0:
            return ": on these networks it adds nothing to MAdds"
        return f": {points}, but too few pairs to tell that from chance"
    points += f", 95 % {100 * ours.near_gain_low:+.0f} to {100 * ours.near_gain_high:+.0f}"
    if ours.near_gain_low > 0:
        return f": it adds to MAdds there ({points})"
    if ours.near_gain_high < 0:
        return f": it is worse than MAdds there ({points})"
    return f": whether it adds anything to MAdds there is open ({points})"


def _agreement_cells(agreement: Agreement | None) -> list[str]:
    return [tau_text(agreement), near_text(agreement)] if agreement and agreement.networks else ["-", "-"]


def _without_nan(value):
    """Return the value with None for NaN, all the way down."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _refuse_constant(word: str):
    raise ValueError(f"{word} is no number")


def _read_record(kind: type, values, where: str):
    """Read a record from a JSON object that has its fields, all without a default, and no others. Raises ValueError."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {_short(values)}, not an object")
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(values.keys() - known.keys())
    missing = [name for name, field in known.items() if field.default is MISSING and name not in values]
    if unknown or missing:
        what = f"unknown key '{unknown[0]}'" if unknown else f"no key '{missing[0]}'"
        raise ValueError(f"{where} has {what}")
    return kind(**{name: _read_value(known[name].type, value, f"{where}.{name}") for name, value in values.items()})


def _read_value(kind, value, where: str):
    if kind == tuple[ProxyVerdict, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{where} is {_short(value)}, not a list")
        return tuple(_read_record(ProxyVerdict, part, f"{where}.{i}") for i, part in enumerate(value))
    if isinstance(kind, types.UnionType):
        return None if value is None else _read_value(get_args(kind)[0], value, where)
    if kind is Agreement:
        return _read_record(Agreement, value, where)
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            raise ValueError(f"{where} is {_short(value)}, not a number")
        return math.nan if value is None else float(value)
    if type(value) is not kind or (kind is int and value < 0):
        raise ValueError(f"{where} is {_short(value)}, not {'a count' if kind is int else 'text'}")
    return value


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
