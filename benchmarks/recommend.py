"""Whether `recommend` is right as often as it says: the long form of tests/analysis/test_choice.py and
test_foresight.py, in made-up sweeps whose truth is known.

    python benchmarks/recommend.py [--worlds 2000]

Each sweep has 22 networks, seeds and images that scatter as in the committed example (1.3 points from seed to seed,
2,500 images) or other numbers of them, and a limit on cost that only some keep. Printed: of answers by what they say how
sure they are, how many are right; how often the interval of the chosen network covers its true score, beside that of the
score as measured (`score_interval`); what is lost on average, said and true; and of what would settle it, the odds
foreseen after further seeds, beside those that came.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from mnv2_sweep.analysis.answers import score_interval
from mnv2_sweep.analysis.choice import Choice, choose, find_range
from mnv2_sweep.analysis.foresight import find_contenders, foresee_results
from mnv2_sweep.analysis.odds import find_odds
from tests.answer_samples import draw_limit, draw_world, keep_seeds

WORLDS = {
    "as the example: 2,500 images, 3 seeds": dict(images=2500, seeds=3, of_seeds=OF_SEEDS),
    "5,000 images, 1 seed": dict(images=5000),
    "341 images, 3 seeds": dict(images=341, seeds=3, of_seeds=OF_SEEDS),
    "1,000 images, 5 seeds that differ more": dict(images=1000, seeds=5, of_seeds=0.15),
    "far apart, 2,500 images, 3 seeds": dict(images=2500, seeds=3, of_seeds=OF_SEEDS, apart=0.3),
}
