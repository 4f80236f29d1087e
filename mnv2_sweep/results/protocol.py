"""What an ablation compares -> a text in its folder's space.yaml, and back: so that tables and plots need no options.

The first line is the command, as a comment; below it stands JSON (which is YAML). Sweeps of earlier versions have the
first line alone; of them, and of any other sweep, the pairs are found among the networks that were trained.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mnv2_sweep.archs.arch import ArchSpec, Stage
from mnv2_sweep.errors import StoreError
from mnv2_sweep.results.ablate import Change, Comparison, infer_comparisons
from mnv2_sweep.results.experiment import ALWAYS, ONCE
from mnv2_sweep.results.folders import ABLATION
from mnv2_sweep.training.trial import record_json

SPACE = "space.yaml"


@dataclass(frozen=True, slots=True)
class Protocol:
    """The comparisons of one command; `looks`: whether seeds were added until they were decided (see `experiment`);
    `seeds`: how many were asked for to begin with, 0 where it is not known; `peeked`: with what its networks were
    looked at before more seeds were added, "" where that does not matter."""

    comparisons: tuple[Comparison, ...]
    looks: str = ONCE
    seeds: int = 0
    peeked: str = ""


def dump_protocol(protocol: Protocol, options: Sequence[str]) -> str:
    """The text of space.yaml."""
    pairs = [
        {
            "change": asdict(one.change),
            "base": record_json(one.base),
            "variant": record_json(one.variant),
            "matched": one.matched,
        }
        for one in protocol.comparisons
    ]
    command = " ".join([ABLATION, *options])
    record = {"looks": protocol.looks, "seeds": protocol.seeds, "peeked": protocol.peeked, "comparisons": pairs}
    return f"{' '.join(command.split())}\n{json.dumps(record, indent=1)}\n"


def read_protocol(folder: Path, archs: Sequence[ArchSpec]) -> Protocol:
    """What the sweep compares; `archs` are the networks that it holds. Raises StoreError on a text that is broken."""
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
    """`now` in the folder of `before`, with what the networks that both compare were looked at before.

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
    archs = (_load_arch(record[side]) for side in ("base", "variant"))
    return Comparison(Change(**record["change"]), *archs, record["matched"])


def _load_arch(record: dict) -> ArchSpec:
    values = dict(record)
    if "stages" in values:
        values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
    return ArchSpec(**values)
