"""results/<sweep>/ -> tidy DataFrame, a row a trial; costs are counted here, from each trial's network.

from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.analysis.stats import summarise
trials = load_frame("results/paper_grid"); networks = summarise(trials)
"""

from pathlib import Path

import pandas as pd

from mnv2_sweep.nets.arch import CHOICES, MOBILENET_V2, arch_label, find_expansion, input_size
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.store import Outcome, read_outcomes
from mnv2_sweep.trials.trial import Result, Trial

RESULT_COLUMNS = tuple(name for name in Result.__dataclass_fields__ if name != "curve")

# Fields of a network that are columns by themselves, beside those that come first.
FIELDS = tuple(name for name in CHOICES if name not in ("family", "stages", "width", "resolution"))
COLUMNS = (
    *("trial_id", "sweep", "status", "error", "kind", "attempts", "source"),
    *("network", "arch_key", "width", "resolution", "train_size", "expansion", "paper_table"),
    *(*FIELDS[:6], "family", *FIELDS[6:]),  # where files of earlier versions have it
    *("recipe", "input_scale", "data", "data_classes", "seed", "training", *RESULT_COLUMNS),
    *("madds", "params", "peak_activation_bytes", "depth"),
)


def load_frame(folder: str | Path) -> pd.DataFrame:
    """Load one row per recorded trial of a sweep, failed ones included (their measurements are missing values).

    top-1 columns are fractions, costs are for one image at the nominal resolution and classes, `train_size` is
    the size in pixels that was trained and evaluated; sizes are the side of a square, or words as "160x120". Raises
    StoreError when the file is not a results file.
    """
    folder = Path(folder)
    rows = [_row(folder.name, outcome) for outcome in read_outcomes(folder)]
    return pd.DataFrame(rows, columns=COLUMNS)


def load_curves(folder: str | Path) -> pd.DataFrame:
    """Load one row per point of every training curve: trial_id, network, seed, epoch, images, train_loss, lr,
    val_top1."""
    return pd.DataFrame(
        {"trial_id": o.id, "network": arch_label(o.trial.arch), "seed": o.trial.seed,
         **{name: getattr(point, name) for name in point.__dataclass_fields__}}
        for o in read_outcomes(Path(folder)) if o.result for point in o.result.curve
    )  # fmt: skip


def _training(trial: Trial) -> str:
    """Say how the network got its weights: trained "alone", as a slice of "shared" ones, or "fine-tuned" from there."""
    if trial.shared is None:
        return "alone"
    return "shared" if trial.shared.finetune is None else "fine-tuned"


def _row(sweep: str, outcome: Outcome) -> dict:
    trial, arch, cost = outcome.trial, outcome.trial.arch, count_cost(outcome.trial.arch)
    measured = {name: getattr(outcome.result, name, None) for name in RESULT_COLUMNS}
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
        "training": _training(trial),
        **{name: float("nan") if value is None and name != "device" else value for name, value in measured.items()},
        "madds": cost.madds,
        "params": cost.params,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "depth": cost.depth,
    }
