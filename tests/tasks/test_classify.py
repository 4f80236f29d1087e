"""Scores of a classification, by hand; macro-F1, balanced accuracy and top-5 were held against scikit-learn 1.9.1."""

import numpy as np
import pytest
import torch

from mnv2_sweep.tasks.classify import WORK
from mnv2_sweep.trials.terms import MISTAKEN, find_predicted

TRUE = [0, 0, 0, 0, 1, 1, 2]
GIVEN = [0, 0, 0, 1, 1, 0, 0]


def count(true: list[int], given: list[int], classes: int, batch: int = 3):
    scorer = WORK.scorer()
    for at in range(0, len(true), batch):
        outputs = torch.nn.functional.one_hot(torch.tensor(given[at : at + batch]), classes).float()
        scorer.add(outputs, torch.tensor(true[at : at + batch]))
    return scorer


def test_scores_of_uneven_classes_by_hand():
    scores = count(TRUE, GIVEN, 3).scores()
    assert scores["top1"] == 4 / 7
    assert scores["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    assert scores["macro_f1"] == pytest.approx((2 * 3 / (4 + 5) + 2 * 1 / (2 + 2) + 0) / 3)
    assert scores["unpredicted"] == 1 and "top5" not in scores


def test_a_class_that_is_not_in_the_split_counts_only_where_it_was_predicted():
    without, with_it = (count([0, 0, 1], given, 4).scores() for given in ([0, 0, 1], [0, 3, 1]))
    assert without["balanced_accuracy"] == without["macro_f1"] == 1 and without["unpredicted"] == 0
    assert with_it["balanced_accuracy"] == 0.75 and with_it["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_as_many_images_of_each_class_make_balanced_accuracy_top_1():
    scores = count([0, 1, 2] * 5, [0, 0, 2] * 5, 3).scores()
    assert scores["balanced_accuracy"] == pytest.approx(scores["top1"])


@pytest.mark.parametrize(("classes", "is_there"), [(10, False), (11, True)])
def test_top_5_is_there_above_10_classes(classes, is_there):
    outputs = torch.arange(classes).float().expand(3, classes)  # the five largest are the last five classes
    scorer = WORK.scorer()
    scorer.add(outputs, torch.tensor([classes - 1, classes - 5, classes - 6]))
    assert scorer.scores().get("top5") == (pytest.approx(2 / 3) if is_there else None)


def test_terms_say_which_class_each_image_was_given():
    terms = {name: values.numpy() for name, values in count(TRUE, GIVEN, 3).terms().items()}
    assert terms["top1"].tolist() == [a == b for a, b in zip(TRUE, GIVEN, strict=True)]
    assert terms[MISTAKEN].tolist() == [1, 0, 0]
    assert find_predicted(terms, np.array(TRUE)).tolist() == GIVEN
