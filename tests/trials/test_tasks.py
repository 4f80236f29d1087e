"""Tasks: how scores are said, which head is trained, which score a table is of."""

from dataclasses import replace

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.trials.tasks import TASKS, TOP1, find_task, main_score, trained_arch, trained_network
from mnv2_sweep.trials.trial import CLASSIFY
from tests.regress_task import ERROR, REGRESS


def test_a_score_is_said_with_its_name_and_unit():
    assert [TOP1.number(0.934), TOP1.amount(0.934), TOP1.said(0.93456, 2)] == ["93.4", "93.4 %", "top-1 93.46 %"]
    assert [TOP1.number(None), TOP1.number(float("nan"))] == ["-", "-"]
    assert (TOP1.titled("validation"), TOP1.difference_unit, TOP1.sign) == ("validation top-1 (%)", "points", 1)
    assert (ERROR.said(1.25, 2), ERROR.titled("test")) == ("mean error 1.25 classes", "test mean error (classes)")
    plain = replace(ERROR, unit="")
    assert (plain.said(1.5), plain.titled("test"), plain.sign) == ("mean error 1.5", "test mean error", -1)


def test_what_is_trained_has_the_task_s_head_at_the_trained_size(make_trial, monkeypatch):
    trial = make_trial(arch=ArchSpec(resolution=224, classes=1000), input_scale=0.25)
    assert trained_arch(trial) == replace(trial.arch, classes=3)
    assert trained_arch(trial, ArchSpec(width=0.5)) == ArchSpec(width=0.5, classes=3)
    assert trained_network(trial) == replace(trial.arch, classes=3, resolution=56)
    monkeypatch.setitem(TASKS, REGRESS.name, REGRESS)
    assert trained_arch(replace(trial, task=REGRESS.name)).classes == 1


def test_an_unknown_task_is_named_with_those_there_are():
    assert find_task(CLASSIFY).main == TOP1
    with pytest.raises(SweepError, match="^task: 'guess' given, classify allowed$"):
        find_task("guess")


def test_columns_say_of_which_score_a_table_is(monkeypatch):
    monkeypatch.setitem(TASKS, REGRESS.name, REGRESS)
    assert main_score(["seed", "val_top1", "test_top1"]) == main_score([]) == TOP1
    assert main_score(["val_mae", "test_mae"]) == ERROR
