"""Made-up networks whose truth is known, and what they make of images."""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from mnv2_sweep.analysis.answers import Answers

EASE = 1.5  # spread of how easy images are


def answers_of(*terms: np.ndarray, is_fraction: bool = True) -> Answers:
    """Answers of networks "0", "1", ... with seeds 0, 1, ..., their losses the share of wrong answers."""
    terms = tuple(np.asarray(rows, np.float32) for rows in terms)
    seeds = tuple(tuple(range(len(rows))) for rows in terms)
    return Answers(tuple(map(str, range(len(terms)))), seeds, terms, tuple(rows - 1 for rows in terms), is_fraction)


def draw_world(
    random: np.random.Generator, networks: int, images: int, seeds: int = 1, apart: float = 0.1, of_seeds: float = 0.0
) -> tuple[np.ndarray, np.ndarray, Answers]:
    """Costs, true scores over all images and seeds, and answers of networks on a curve that they leave by `apart`.

    A network is right where its skill, a seed's luck, an image's ease and what is this network's and this training's
    own on this image are above 0 together.
    """
    logs = np.sort(random.uniform(0, 4, networks))
    skill = 0.5 + 0.2 * logs - 0.005 * logs**2 + apart * random.standard_normal(networks)
    ease, terms = EASE * random.standard_normal(images), []
    for own in skill:
        luck = of_seeds * random.standard_normal((seeds, 1))
        of_image, of_training = random.standard_normal(images), random.standard_normal((seeds, images))
        terms.append(own + luck + ease + np.sqrt(0.5) * (of_image + of_training) > 0)
    return np.exp(logs), ndtr(skill / np.sqrt(EASE**2 + 1 + of_seeds**2)), answers_of(*terms)


def keep_seeds(answers: Answers, count: int, more: Sequence[int] = ()) -> Answers:
    """The answers of the first seeds, so many; of some networks, by their places, of all seeds."""
    parts = ([rows if at in more else rows[:count] for at, rows in enumerate(every)]
             for every in (answers.seeds, answers.terms, answers.losses))  # fmt: skip
    return Answers(answers.networks, *map(tuple, parts), answers.is_fraction)
