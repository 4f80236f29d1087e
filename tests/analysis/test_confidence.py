"""Probabilities that are as often right as they say, and the threshold that keeps a precision."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from mnv2_sweep.analysis.confidence import fit_confidence, fit_temperature


def draw(count: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that say `scale` times too much, and labels drawn from what they should say."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 4)) * 2
    labels = np.array([random.choice(4, p=row) for row in softmax(logits, axis=1)])
    return logits * scale, labels


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_is_how_much_too_sure_it_was(scale):
    logits, labels = draw(4000, scale)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(scale, rel=0.08)

    def loss(temperature):
        return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()

    assert loss(found) <= min(loss(found * 1.02), loss(found / 1.02), loss(1.0))


@pytest.mark.parametrize("precision", [0.6, 0.8, 0.95])
def test_at_the_threshold_the_precision_is_kept_and_nothing_lower_keeps_it(precision):
    logits, labels = draw(1000, 2.0)
    found = fit_confidence(logits, labels, precision)
    probabilities = softmax(logits / found.temperature, axis=1)
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    answered = sure >= found.threshold
    assert (answered.mean(), right[answered].mean()) == pytest.approx((found.share, found.precision))
    assert found.precision >= precision and found.images == 1000
    assert all(right[sure >= lower].mean() < precision for lower in sure[sure < found.threshold])


def test_equal_ones_are_answered_together_or_not_at_all():
    logits, labels = np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    found = fit_confidence(logits, labels, 0.75)
    assert (found.share, found.precision) == (1.0, 0.75)
    none = fit_confidence(logits, labels, 0.76)
    assert none.share == none.precision == 0 and none.threshold > 1
