"""Trials -> one row per network with its spread; differences between networks; pairs of similar cost.

Two intervals, both at 95 %, answer different questions and are kept apart; one over both is in `answers`, from what
each network made of each image:
- over seeds (Student's t): how far the mean would move if we trained again with other seeds, on the same data;
- over images (Wilson): how far the accuracy would move on other validation images of the same kind, for these
  very weights. All seeds share their validation images, so more seeds do not narrow this one: n is the number of
  images, not images x seeds.

Failed trials are counted and never become an accuracy of 0. Accuracies are fractions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from mnv2_sweep.analysis.pareto import pareto_front
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.intervals import CONFIDENCE, wilson_intervals
from mnv2_sweep.base.size import as_size
from mnv2_sweep.paper.published import published_checkpoints
from mnv2_sweep.trials.recipe import SCRATCH
from mnv2_sweep.trials.tasks import TASKS, TOP1, UNPREDICTED, Score, main_score
from mnv2_sweep.trials.trial import ALONE
from mnv2_sweep.trials.ways import goes_on

NEAR_FRACTION = 0.25  # two networks are near when their MAdds differ by at most this share of the larger one's

ONE_PER_NETWORK = (
    "arch_key",
    "network",
    "family",
    "width",
    "resolution",
    "train_size",
    "madds",
    "params",
    "peak_activation_bytes",
    "depth",
    "executed_madds",
    "executed_fraction",
    "training",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a summary cannot tell: `train_images` seen, repeats counted (None for several kinds of start); `classes` of
    the data, and what `guess` reaches of the score that ranks, for chance."""

    data: str
    recipe: str
    train_images: int | None = None
    classes: int | None = None
    device: str | None = None
    training: str = ALONE
    guess: float | None = None


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its Student t interval (n - 1 degrees of freedom); NaN bounds for one value, all NaN for
    none."""
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    mean, low, high = mean_intervals(values[np.newaxis])
    return float(mean[0]), float(low[0]), float(high[0])


def mean_intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same as `mean_interval` of each row of the values [rows, n], of which each has at least one."""
    n, mean = values.shape[1], values.mean(axis=1)
    if n == 1:
        return mean, np.full(len(mean), np.nan), np.full(len(mean), np.nan)
    half = stdtrit(n - 1, (1 + CONFIDENCE) / 2) * values.std(axis=1, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def kendall_tau(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Kendall's tau-b (ties allowed), scipy's; NaN below two values or when one side is constant."""
    # Loaded here: half a second, which most tables have no use for.
    return float(import_module("scipy.stats").kendalltau(x, y).statistic) if len(x) > 1 else np.nan


def order_signs(values: Sequence[float]) -> np.ndarray:
    """Return [n, n]: 1 where the value of the row is above that of the column, -1 where below, 0 where they tie."""
    values = np.asarray(values, dtype=float)
    return np.sign(np.subtract.outer(values, values))


def near_pairs(madds: Sequence[float]) -> np.ndarray:
    """Return [n, n]: whether two different networks are near in MAdds; both halves are filled."""
    madds = np.asarray(madds, dtype=float)
    near = np.minimum.outer(madds, madds) >= (1 - NEAR_FRACTION) * np.maximum.outer(madds, madds)
    return near & ~np.eye(len(madds), dtype=bool)


def count_near(first: Sequence[float], second: Sequence[float], madds: Sequence[float]) -> tuple[int, int, int]:
    """Count how two orders agree on the pairs near in MAdds: (the same way, the other way, tied on either side)."""
    agreement = (order_signs(first) * order_signs(second))[np.triu(near_pairs(madds))]
    same, other, tied = (int((agreement == sign).sum()) for sign in (1, -1, 0))
    return same, other, tied


def read_facts(trials: pd.DataFrame) -> Facts:
    """Read the facts off a table of trials (at least one); names that differ between them are listed, in order."""
    done = trials[trials["status"] == "done"]
    names = {column: ", ".join(sorted(trials[column].unique())) for column in ("data", "recipe")}
    every = trials["training"].unique()
    trained = [name for name in every if not goes_on(name)] or [*every]
    first = done[done["training"].isin(trained)]
    return Facts(
        **names,
        train_images=int(first["train_images"].max()) if len(first) and len(start_kinds(first)) == 1 else None,
        classes=int(trials["data_classes"].max()),
        device=", ".join(sorted(done["device"].unique())) or None,
        training=", ".join(sorted(trained)),
    )


def summarise(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network, in order of MAdds: costs, accuracy with both intervals, speed, and the front.

    `seeds` and `failed` count trials, each once even if two sweeps hold it. A network without a done trial keeps
    its row, with NaN for all that was measured. Columns are named after the task's main score, such as "top1": `low` to
    `high` is Wilson's interval of its mean (NaN where it is no share of images), `seed_half_width` half the t interval
    over seeds (NaN with one seed). Networks that begin in different ways are of different kinds, by "init": where there
    are several, the networks' names say which, kinds come one after the other, and each has a front of its own.
    `published_top1` is NaN where the network is not one of the paper's. `tuned_*` are of networks that were then
    trained on by themselves; they are in no front. What else was measured has its mean over seeds, as "macro_f1"
    and "test_macro_f1". The front is of the mean validation score against MAdds. Raises SweepError when the trials
    of a kind are of several data sets, recipes or training sizes, for their mean would mean nothing.
    """
    score = main_score(trials)
    if trials.empty:
        return pd.DataFrame(columns=summary_columns(score.name))
    later = trials["training"].map(goes_on).astype(bool)
    tuned, trials = trials[later], trials if later.all() else trials[~later]
    _check_one(trials, "data")
    if "init" not in trials:
        return _summarise_kind(trials, tuned, score)
    kinds = []
    for init, of_kind in trials.groupby("init", sort=False):
        kind = _summarise_kind(of_kind, tuned, score)
        kind.insert(len(ONE_PER_NETWORK), "init", init)
        kinds.append(kind)
    if len(kinds) == 1:
        return kinds[0]
    return pd.concat(
        [kind.assign(network=kind["network"] + ", from " + kind["init"]) for kind in kinds], ignore_index=True
    )


def _summarise_kind(trials: pd.DataFrame, tuned: pd.DataFrame, score: Score) -> pd.DataFrame:
    """Return the rows of the networks that begin in one way."""
    _check_comparable(trials)
    columns = summary_columns(score.name, _other_scores(trials, score))
    # "interrupted" and "failed" first, so that the last is done if one is.
    trials = trials.sort_values("status", ascending=False, kind="stable")
    trials = trials.drop_duplicates(["arch_key", "seed"], keep="last")  # of several, the latest
    summary = _summarise_networks(trials, score).reindex(columns=columns[:-1])
    scores = [f"val_{score.name}", f"test_{score.name}"]
    means = tuned[tuned["status"] == "done"].groupby("arch_key")[scores].mean()
    for column in means:
        summary[f"tuned_{column.removeprefix('val_')}"] = summary["arch_key"].map(means[column]).astype(float)
    summary = summary.sort_values(["madds", "network"], ignore_index=True)
    summary["on_front"] = pareto_front(summary["madds"], score.sign * summary[score.name])
    return summary


def start_kinds(frame: pd.DataFrame) -> list[str]:
    """Return the kinds of start of the trials or networks of a table, in its order."""
    return [*dict.fromkeys(frame["init"])] if "init" in frame else [SCRATCH]


def name_trial(trial: Mapping, trials: pd.DataFrame) -> str:
    """Return a trial's network as a summary of the trials names it."""
    several = len(start_kinds(trials)) > 1
    return f"{trial['network']}, from {trial['init']}" if several else trial["network"]


def _other_scores(trials: pd.DataFrame, score: Score) -> list[str]:
    """Return the names of what else was measured of the validation images, in the order of the table: other scores that
    can rank, the loss, and how many classes were never predicted."""
    known = {"loss", UNPREDICTED, *(one.name for task in TASKS.values() for one in task.scores)} - {score.name}
    names = (column.removeprefix("val_") for column in trials if column.startswith("val_"))
    return [name for name in names if name in known]


def summary_columns(score: str, others: Sequence[str] = ()) -> list[str]:
    """Return the columns of a summary, with those of the means of other scores; "on_front" comes last."""
    return [
        *ONE_PER_NETWORK,
        *("seeds", "failed", score, f"{score}_sd", "seed_half_width", "low", "high", "val_images"),
        *(f"test_{score}", "test_low", "test_high", "test_images", f"tuned_{score}", f"tuned_test_{score}"),
        *(f"{prefix}{name}" for name in others for prefix in ("", "test_")),
        *("seconds", "images_per_second", "peak_memory_bytes", f"published_{score}", "on_front"),
    ]


def _check_comparable(trials: pd.DataFrame) -> None:
    _check_one(trials, "recipe")
    _check_one(trials, "training")
    sizes = trials[["network", "train_size"]].drop_duplicates()
    mixed = sizes[sizes.duplicated("network", keep=False)]
    if len(mixed):
        name = min(mixed["network"])
        trained = mixed["train_size"][mixed["network"] == name]
        trained = sorted(map(as_size, trained), key=lambda size: (size.area, size))
        raise SweepError(
            f"trials: '{name}' was trained at {trained[0]} px and at {trained[-1]} px, one training size allowed in a "
            "summary; choose the trials of one input_scale"
        )


def _check_one(trials: pd.DataFrame, column: str) -> None:
    names = sorted(trials[column].unique())
    if len(names) > 1:
        raise SweepError(f"trials: {column} {', '.join(names)} given, one allowed in a summary; choose one of them")


def _summarise_networks(trials: pd.DataFrame, score: Score) -> pd.DataFrame:
    """Return the row of each network's trials, in the order in which they are met; what was not measured is NaN."""
    summary = trials.drop_duplicates("arch_key")[[*ONE_PER_NETWORK]].infer_objects().set_index("arch_key", drop=False)
    for column, status in (("seeds", "done"), ("failed", "failed")):
        counts = trials["arch_key"][trials["status"] == status].value_counts()
        summary[column] = counts.reindex(summary.index, fill_value=0)
    summary[f"published_{score.name}"] = [_published(network, score) for network in summary["network"]]
    done = trials[trials["status"] == "done"]
    parts = [_measure_networks(done, rows, score) for rows in _rows_by_network(done["arch_key"])]
    return summary.join(pd.concat(parts)) if parts else summary


def _rows_by_network(keys: pd.Series) -> Iterator[np.ndarray]:
    """Yield the places of trials in a table, [networks, n] for all networks that have n of them: so many networks are
    counted at once, each exactly as it would be alone."""
    networks = pd.factorize(keys)[0]
    order, counts = np.argsort(networks, kind="stable"), np.bincount(networks)
    first = np.cumsum(counts) - counts
    for n in np.unique(counts):
        yield order[first[counts == n][:, np.newaxis] + np.arange(n)]


def _measure_networks(done: pd.DataFrame, rows: np.ndarray, score: Score) -> pd.DataFrame:
    """Return what was measured of networks whose results stand in these rows, [networks, n]."""

    def numbers(column: str) -> np.ndarray:
        return done[column].to_numpy(dtype=float)[rows]

    values = numbers(f"val_{score.name}")
    mean, _, upper = mean_intervals(values)
    measured = {
        score.name: mean,
        f"{score.name}_sd": values.std(axis=1, ddof=1) if rows.shape[1] > 1 else np.nan,
        "seed_half_width": upper - mean,
        f"test_{score.name}": numbers(f"test_{score.name}").mean(axis=1),
        "val_images": done["val_images"].to_numpy()[rows].min(axis=1),
        "test_images": done["test_images"].to_numpy()[rows].min(axis=1),
        "seconds": numbers("seconds").mean(axis=1),
        "images_per_second": numbers("images_per_second").mean(axis=1),
        "peak_memory_bytes": done["peak_memory_bytes"].to_numpy()[rows].max(axis=1),
    }
    for name in _other_scores(done, score):
        measured |= {name: numbers(f"val_{name}").mean(axis=1)}
        measured |= {f"test_{name}": numbers(f"test_{name}").mean(axis=1)} if f"test_{name}" in done else {}
    if score.fraction:
        measured["low"], measured["high"] = wilson_intervals(mean, measured["val_images"])
        test = wilson_intervals(measured[f"test_{score.name}"], measured["test_images"])
        measured["test_low"], measured["test_high"] = test
    return pd.DataFrame(measured, index=done["arch_key"].to_numpy()[rows[:, 0]])


_PUBLISHED = published_checkpoints()


def _published(network: str, score: Score) -> float:
    """Return published top-1 as a fraction, NaN where the network, or another score, is not published."""
    published = score == TOP1 and network in _PUBLISHED
    return round(_PUBLISHED[network].top1_percent / 100, 4) if published else np.nan
