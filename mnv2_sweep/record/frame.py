"""results/<sweep>/ -> tidy DataFrame, a row a trial; costs are counted here, from each trial's network.

from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.analysis.stats import summarise
trials = load_frame("results/paper_grid"); networks = summarise(trials)
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mnv2_sweep.nets.arch import CHOICES, MOBILENET_V2, arch_label, find_expansion, input_size
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.store import Outcome, read_outcomes
from mnv2_sweep.trials.executed import executed_fraction
from mnv2_sweep.trials.recipe import SCRATCH
from mnv2_sweep.trials.tasks import TASKS, Task, find_task, trained_network
from mnv2_sweep.trials.trial import CLASSIFY, POINT_FACTS, RESULT_FACTS, SPLITS

# Fields of a network that are columns by themselves, beside those that come first.
FIELDS = tuple(name for name in CHOICES if name not in ("family", "stages", "width", "resolution"))
NETWORK_COLUMNS = (
    *("trial_id", "sweep", "status", "error", "kind", "attempts", "source"),
    *("network", "arch_key", "width", "resolution", "train_size", "expansion", "paper_table"),
    *(*FIELDS[:6], "family", *FIELDS[6:]),  # where files of earlier versions have it
    *("recipe", "input_scale", "data", "data_classes", "seed", "training"),
)
COST_COLUMNS = ("madds", "params", "peak_activation_bytes", "depth", "executed_madds", "executed_fraction")


def load_frame(folder: str | Path) -> pd.DataFrame:
    """Load one row per recorded trial of a sweep, failed ones included (their measurements are missing values).

    Scores are the task's, as "val_top1" (a fraction), costs are for one image at the nominal resolution and classes,
    `train_size` is the size in pixels that was trained and evaluated; sizes are the side of a square, or words as
    "160x120". `executed_madds` are those at that size, `executed_fraction` is what they are of the nominal ones, the
    classifier apart. `init` is there where some networks do not begin from scratch. Raises StoreError when the file is
    not a results file.
    """
    folder = Path(folder)
    outcomes = read_outcomes(folder)
    measured = _result_columns(outcomes)
    rows = [_row(folder.name, outcome, measured) for outcome in outcomes]
    starts = ("init",) if any(outcome.trial.recipe.init != SCRATCH for outcome in outcomes) else ()
    return pd.DataFrame(rows, columns=(*NETWORK_COLUMNS, *starts, *measured, *COST_COLUMNS))


def _result_columns(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the columns of what was measured: the scores of each split, the main one first, then the loss."""
    first = [_task_of(outcomes).main.name, "loss"]
    names = {name for outcome in outcomes if outcome.result for name in outcome.result.scores["val"]}
    names = [*first, *sorted(names.difference(first))]
    return (*(f"{split}_{name}" for split in SPLITS for name in (*names, "images")), *RESULT_FACTS)


def _task_of(outcomes: Sequence[Outcome]) -> Task:
    """Return the task of a sweep: all its trials have one."""
    return find_task(outcomes[0].trial.task) if outcomes else TASKS[CLASSIFY]


def load_curves(folder: str | Path) -> pd.DataFrame:
    """Load one row per point of every training curve: trial_id, network, seed, epoch, images, train_loss, lr, and the
    main score, as "val_top1"."""
    outcomes = read_outcomes(Path(folder))
    columns = ("trial_id", "network", "seed", *POINT_FACTS, f"val_{_task_of(outcomes).main.name}")
    rows = (
        {"trial_id": o.id, "network": arch_label(o.trial.arch), "seed": o.trial.seed, **point.flat()}
        for o in outcomes if o.result for point in o.result.curve
    )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _row(sweep: str, outcome: Outcome, columns: Sequence[str]) -> dict:
    trial, arch, cost = outcome.trial, outcome.trial.arch, count_cost(outcome.trial.arch)
    known = outcome.result.flat() if outcome.result else {}
    measured = {name: known.get(name) for name in columns}
    return {
        "trial_id": outcome.id,
        "sweep": sweep,
        "status": outcome.status,
        "error": outcome.error,
        "kind": outcome.kind,
        "attempts": outcome.attempts,
        "source": outcome.source,
        "network": arch_label(arch),
        "arch_key": arch_key(arch),
        "width": arch.width,
        "resolution": input_size(arch).cell,
        "train_size": trial.train_size.cell,
        "expansion": find_expansion(arch.stages),
        "paper_table": arch.stages == MOBILENET_V2,
        "family": arch.family,
        **{name: getattr(arch, name) for name in FIELDS},
        "recipe": trial.recipe.name,
        "input_scale": trial.recipe.input_scale,
        "data": trial.data.name,
        "data_classes": trial.data.classes,
        "seed": trial.seed,
        "training": trial.way,
        "init": trial.recipe.init,
        **{name: float("nan") if value is None and name != "device" else value for name, value in measured.items()},
        "madds": cost.madds,
        "params": cost.params,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "depth": cost.depth,
        "executed_madds": count_cost(trained_network(trial)).madds,
        "executed_fraction": executed_fraction(arch, trial.recipe),
    }
