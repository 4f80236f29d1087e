"""Answers of networks -> a table of their pairs: how much better the dearer one is, by the score and by the loss."""

from itertools import combinations

import pandas as pd

from mnv2_sweep.analysis.answers import Answers, find_difference
from mnv2_sweep.analysis.odds import probability_text
from mnv2_sweep.analysis.stats import count_near, near_pairs
from mnv2_sweep.base.text import count_noun, millions
from mnv2_sweep.trials.tasks import Score, main_score

PAIR_COLUMNS = (
    *("cheaper", "dearer", "cheaper_madds", "dearer_madds", "near", "seeds", "over_seeds"),
    *("better_by", "low", "high", "better_probability", "loss_lower_by", "loss_low", "loss_high", "loss_probability"),
)
WORDS = ("cheaper", "dearer")  # columns of words


def list_pairs(
    answers: Answers, trials: pd.DataFrame, says_start: bool = False, near_only: bool = False
) -> pd.DataFrame:
    """Return a row for every pair of networks that have a seed in common, or for those near in MAdds: by how much the
    dearer one is better (of equal cost the one that comes later by name), in fractions, with the interval at 95 % over
    images, with `over_seeds` over seeds as well, and the probability that it is better at all. With `says_start` the
    networks' names say how they begin."""
    facts = trials.drop_duplicates("arch_key").set_index("arch_key").loc[[*answers.networks]]
    names, madds = facts["network"] + (", from " + facts["init"] if says_start else ""), facts["madds"].to_list()
    names = names.to_list()
    near = near_pairs(madds)
    rows = []
    for one, other in combinations(range(len(names)), 2):  # cheapest first
        if near_only and not near[one, other]:
            continue
        score, loss = (find_difference(answers, other, one, of_loss=of_loss) for of_loss in (False, True))
        if score is not None:
            rows.append(
                (names[one], names[other], madds[one], madds[other], bool(near[one, other]), score.seeds)
                + (score.knows_seeds, score.mean, score.low, score.high, score.above)
                + (loss.mean, loss.low, loss.high, loss.above)
            )
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


def pairs_table(pairs: pd.DataFrame, score: Score) -> list[list[str]]:
    """Return header and a row per pair, for a person."""
    header = [*WORDS, "MAdds", "MAdds", f"{score.label} better by", "95 %", "better", "loss lower by", "95 %", "lower"]
    return [[*header, "seeds"], *(_pair_row(pair, score) for pair in pairs.to_dict("records"))]


def _pair_row(pair: dict, score: Score) -> list[str]:
    shown = [score.scale * pair[name] for name in ("better_by", "low", "high")]
    loss = [pair[name] for name in ("loss_lower_by", "loss_low", "loss_high")]
    sure = [probability_text(pair[name]) for name in ("better_probability", "loss_probability")]
    return [
        *(pair["cheaper"], pair["dearer"], millions(pair["cheaper_madds"]), millions(pair["dearer_madds"])),
        *(f"{shown[0]:+.1f}", f"{shown[1]:+.1f} to {shown[2]:+.1f}", sure[0]),
        *(f"{loss[0]:+.3f}", f"{loss[1]:+.3f} to {loss[2]:+.3f}", sure[1], str(pair["seeds"])),
    ]


def settled_text(pairs: pd.DataFrame, score: Score) -> str:
    """Say how many of the pairs have an interval without 0, by the score and by the loss, and what it is over."""
    columns = (("low", "high"), ("loss_low", "loss_high"))
    clear = [int(((pairs[low] > 0) | (pairs[high] < 0)).sum()) for low, high in columns]
    over = "images and seeds" if pairs["over_seeds"].all() else "images, for these very weights"
    if pairs["over_seeds"].nunique() > 1:
        over = "images, and over seeds where these are known"
    return (
        f"of {count_noun(len(pairs), 'pair')}, {clear[0]} are told apart by {score.label} and {clear[1]} by the loss: "
        f"intervals at 95 %, each by itself, paired over the same {over}"
    )


def splits_text(trials: pd.DataFrame) -> str:
    """Say on how many near pairs validation and test images agree, by the score and by the loss; nothing without test
    images."""
    score = main_score(trials)
    columns = [f"{split}_{name}" for name in (score.name, "loss") for split in ("val", "test")]
    done = trials[trials["status"] == "done"]
    means = done.groupby("arch_key")[[*columns, "madds"]].mean().dropna()
    if not near_pairs(means["madds"]).any():
        return ""
    said = []
    for label, (val, test) in ((score.label, columns[:2]), ("the loss", columns[2:])):
        same, other, tied = count_near(means[val], means[test], means["madds"])
        said.append(f"{same} of {same + other} by {label}" + (f" ({tied} tied)" if tied else ""))
    return f"pairs within 25 % of MAdds in one order on validation and on test: {', '.join(said)}"
