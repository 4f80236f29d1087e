"""A sweep as people ask about it, in a notebook or a program: its trials, its networks, and how it looks there.

from mnv2_sweep import load_sweep, recommend
sweep = load_sweep("example")
recommend(sweep, where=["madds <= 100M", "params <= 2M"])
"""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import pandas as pd

from mnv2_sweep.analysis.odds import add_odds, load_odds, probability_text
from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.base.text import count_noun, millions, printable
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.folders import find_sweep
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import DATABASE, find_trials
from mnv2_sweep.trials.tasks import main_score

MOST_ROWS = 50  # of networks, in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """A sweep's folder and its `trials`, a row each (`record.frame.load_frame`)."""

    folder: Path
    trials: pd.DataFrame

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Return a row for each network, as `stats.summarise` does, which reads no images."""
        return summarise(self.trials)

    @cached_property
    def networks(self) -> pd.DataFrame:
        """Return the summary with the odds of front and best (`odds.add_odds`), as `table --csv` has it."""
        return add_odds(self.summary, load_odds(self.folder, self.trials))

    def find_archs(self, networks: pd.DataFrame) -> list[ArchSpec]:
        """Return the networks of rows of the summary as specs, in their order. Raises StoreError."""
        one_each = self.trials.drop_duplicates("arch_key").set_index("arch_key")["trial_id"]
        ids = one_each.loc[networks["arch_key"]].tolist()
        found = find_trials(self.folder, [*dict.fromkeys(ids)])
        return [found[name].arch for name in ids]

    def __repr__(self) -> str:
        return f"<{self._title()}>"

    def _title(self) -> str:
        counts = f"{count_noun(len(self.summary), 'network')}, {count_noun(len(self.trials), 'trial')}"
        return printable(f"sweep {self.name}: {counts}")

    def _repr_html_(self) -> str:
        score, networks = main_score(self.trials), self.networks
        shown = pd.DataFrame(
            {
                "on front": [probability_text(value) for value in networks["front_probability"]],
                "network": networks["network"],
                "MAdds": [millions(value) for value in networks["madds"]],
                "params": [millions(value, 2) for value in networks["params"]],
                "seeds": networks["seeds"],
                f"val {score.label}": [score.number(value) for value in networks[score.name]],
                "95 %": [
                    "-" if pd.isna(low) else f"{score.number(low)} to {score.number(high)}"
                    for low, high in zip(networks["joint_low"], networks["joint_high"], strict=True)
                ],
            }
        )
        left = f"<p>{len(shown) - MOST_ROWS:,} more are in .networks</p>" if len(shown) > MOST_ROWS else ""
        return f"<p><b>{escape(self._title())}</b></p>{shown.head(MOST_ROWS).to_html(index=False, border=0)}{left}"


def load_sweep(sweep: str | Path | None = None, results: str | Path = "results") -> Sweep:
    """Load a sweep by its name in the folder of all results, or by its own folder; None is the one that ran last.
    Raises StoreError."""
    is_folder = sweep is not None and (Path(sweep) / DATABASE).is_file()
    folder = Path(sweep) if is_folder else find_sweep(Path(results), None if sweep is None else str(sweep))
    return Sweep(folder, load_frame(folder))
