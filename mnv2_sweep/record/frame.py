"""results/<sweep>/ -> tidy DataFrame, a row a trial; costs are counted here, from each trial's network.

from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.analysis.stats import summarise
trials = load_frame("results/paper_grid"); networks = summarise(trials)
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path

import pandas as pd

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.heap import pause_collector
from mnv2_sweep.nets.arch import CHOICES, MOBILENET_V2, ArchSpec, arch_label, find_expansion, input_size
from mnv2_sweep.nets.cost import body_madds, count_cost, count_parts
from mnv2_sweep.nets.resolve import arch_key, change_classes, network_parts
from mnv2_sweep.record.store import DAMAGED, DATABASE, read_outcomes, scan_parts
from mnv2_sweep.trials.recipe import SCRATCH
from mnv2_sweep.trials.tasks import TASKS, Task, task_of, trained_classes, trained_network
from mnv2_sweep.trials.trial import CLASSIFY, POINT_FACTS, RESULT_FACTS, SPLITS, Trial

# Fields of a network that are columns by themselves, beside those that come first.
FIELDS = tuple(name for name in CHOICES if name not in ("family", "stages", "width", "resolution"))
_fields = attrgetter(*FIELDS)
NETWORK_COLUMNS = (
    *("trial_id", "sweep", "status", "error", "kind", "attempts", "source"),
    *("network", "arch_key", "width", "resolution", "train_size", "expansion", "paper_table"),
    *(*FIELDS[:6], "family", *FIELDS[6:]),  # where files of earlier versions have it
    *("recipe", "input_scale", "data", "data_classes", "seed", "training"),
)
TRIAL_COLUMNS = ("trial_id", "status", "error", "kind", "attempts", "source", "seed")
COST_COLUMNS = ("madds", "params", "peak_activation_bytes", "depth", "executed_madds", "executed_fraction")


@pause_collector()
def load_frame(folder: str | Path) -> pd.DataFrame:
    """Load one row per recorded trial of a sweep, failed ones included (their measurements are missing values).

    Scores are the task's, as "val_top1" (a fraction), costs are for one image at the nominal resolution and classes,
    `train_size` is the size in pixels that was trained and evaluated; sizes are the side of a square, or words as
    "160x120". `executed_madds` are those at that size, `executed_fraction` is what they are of the nominal ones, the
    classifier apart. `init` is there where some networks do not begin from scratch. Raises StoreError when the file is
    not a results file.
    """
    return tabulate_parts(Path(folder), scan_parts(Path(folder)))


def tabulate_parts(folder: Path, parts: Iterable[Iterable[Sequence]]) -> pd.DataFrame:
    """Return the rows that `load_frame` has, of these outcomes of a sweep, in parts as `store.scan_parts` has them."""
    common, places, task = [], [], None  # rows of what trials have in common that differ in their seeds only
    columns: dict[str, list] = {name: [] for name in TRIAL_COLUMNS}
    for names, groups, firsts, seeds, *others, measured in parts:
        task = task or task_of(firsts[0])  # all trials of a sweep have one, and one score that ranks
        _add_rows(columns, dict(zip(TRIAL_COLUMNS, (names, *others, seeds), strict=True)), measured, len(places))
        for name, group, first in zip(names, groups, firsts, strict=True):
            if group == len(common):
                try:
                    common.append(_network_row(folder.name, first))
                except DAMAGED as error:
                    raise StoreError(f"{folder / DATABASE}: trial {name} can't be read ({error})") from error
        places += groups
    task = task or TASKS[CLASSIFY]
    measured = _result_columns(task, columns)
    for name in (name for name in measured if name != "device"):
        column = columns.get(name, [None] * len(places))
        columns[name] = [float("nan") if value is None else value for value in column]
    shared = {name: [row[name] for row in common] for name in (common[0] if common else ())}
    own, of_network = pd.DataFrame(columns), pd.DataFrame(shared).take(places).reset_index(drop=True)
    starts = ("init",) if any(row["init"] != SCRATCH for row in common) else ()
    order = [*NETWORK_COLUMNS, *starts, *measured, *COST_COLUMNS]
    return pd.concat([own, of_network], axis=1).reindex(columns=order)


def load_archs(folder: str | Path) -> dict[str, ArchSpec]:
    """Load the networks of a sweep by their `arch_key`. Raises StoreError."""
    archs = dict.fromkeys(first.arch for _, _, firsts, *_ in scan_parts(Path(folder)) for first in firsts)
    return {arch_key(arch): arch for arch in archs}


def _add_rows(columns: dict[str, list], own: Mapping[str, Sequence], measured: Sequence[Mapping], count: int) -> None:
    """Add rows after so many others: columns of their own, and what was `measured` in each; None is what they or those
    before them have not."""
    for name in dict.fromkeys([*columns, *chain.from_iterable(measured)]):
        column = columns.setdefault(name, [None] * count)
        column += own[name] if name in own else [values.get(name) for values in measured]


def _result_columns(task: Task, names: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of what was measured: the scores of each split, the main one first, then the loss."""
    first = [task.main.name, "loss"]
    found = {name.removeprefix("val_") for name in names if name.startswith("val_")}
    names = [*first, *sorted(found.difference(first, ["images"]))]
    return (*(f"{split}_{name}" for split in SPLITS for name in (*names, "images")), *RESULT_FACTS)


def load_curves(folder: str | Path, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Load one row per point of every training curve, or of those of some trials, by their ids: trial_id, network,
    seed, epoch, images, train_loss, lr, and the main score, as "val_top1"."""
    outcomes = read_outcomes(Path(folder), names)
    task = task_of(outcomes[0].trial) if outcomes else TASKS[CLASSIFY]
    columns = ("trial_id", "network", "seed", *POINT_FACTS, f"val_{task.main.name}")
    rows = (
        {"trial_id": o.id, "network": arch_label(o.trial.arch), "seed": o.trial.seed, **point.flat()}
        for o in outcomes if o.result for point in o.result.curve
    )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _network_row(sweep: str, trial: Trial) -> dict:
    """Return what the rows of all trials have in common that train the network in the same way."""
    arch, parts = trial.arch, network_parts(trial.arch)
    cost, fraction, size, trained_at = count_parts(parts), 1.0, input_size(arch), trial.train_size
    if trained_at == size:  # all but the head is the same
        executed = count_parts(change_classes(arch, parts, trained_classes(trial))).madds
    else:
        trained = trained_network(trial)
        executed = count_cost(trained).madds
        fraction = body_madds(trained, executed) / body_madds(arch, cost.madds)
    return {
        "sweep": sweep,
        "network": arch_label(arch),
        "arch_key": arch_key(arch, parts),
        "width": arch.width,
        "resolution": size.cell,
        "train_size": trained_at.cell,
        "expansion": find_expansion(arch.stages),
        "paper_table": arch.stages == MOBILENET_V2,
        "family": arch.family,
        **dict(zip(FIELDS, _fields(arch), strict=True)),
        "recipe": trial.recipe.name,
        "input_scale": trial.recipe.input_scale,
        "data": trial.data.name,
        "data_classes": trial.data.classes,
        "training": trial.way,
        "init": trial.recipe.init,
        "madds": cost.madds,
        "params": cost.params,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "depth": cost.depth,
        "executed_madds": executed,
        "executed_fraction": fraction,
    }
