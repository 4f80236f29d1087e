"""The figure of what a network took each class for."""

import numpy as np
import pytest

from mnv2_sweep.analysis.classes import Given
from mnv2_sweep.plots.confusion import MOST_NAMED, MOST_NUMBERS, confusion_words, plot_confusion
from mnv2_sweep.trials.terms import Truth


def given_of(classes: int, seeds: int = 1) -> Given:
    """Each class has two images; the last class is always taken for the first."""
    labels = np.repeat(np.arange(classes), 2)
    names = tuple(f"class $_{number}$" for number in range(classes))
    predicted = np.where(labels == classes - 1, 0, labels)
    return Given("n", "k", "val", Truth(names, {"val": labels}), np.tile(predicted, (seeds, 1)))


def test_rows_are_shares_of_a_class_and_what_was_never_given_is_in_brackets():
    given = given_of(3, seeds=2)
    fig = plot_confusion(given, "title", confusion_words(given))
    axes = fig.axes[0]
    assert axes.images[0].get_array().tolist() == [[100, 0, 0], [0, 100, 0], [100, 0, 0]]
    assert [text.get_text() for text in axes.texts] == ["100"] * 3
    assert [text.get_text() for text in axes.get_xticklabels()] == ["class $_0$", "class $_1$", "(class $_2$)"]
    assert confusion_words(given) == "6 validation images, mean over 2 seeds; 1 of 3 classes never given, in brackets"
    fig.canvas.draw()


@pytest.mark.parametrize("classes", [MOST_NUMBERS + 1, MOST_NAMED + 1])
def test_of_many_classes_numbers_and_names_are_left_out(classes):
    axes = plot_confusion(given_of(classes), "title", "caption").axes[0]
    assert not axes.texts and (len(axes.get_xticklabels()) == classes) == (classes <= MOST_NAMED)
