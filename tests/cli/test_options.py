"""Options that several commands check in the same way."""

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.options import check_name, choose_watch


@pytest.mark.parametrize("name", ["mine", "ablate-x", "0.5@96", "é" * 100])
def test_names_of_folders_are_taken_as_they_are(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", "example", "é" * 101, "a\x1b[2J", "a\nb"])
def test_other_names_are_refused(name):
    with pytest.raises(SweepError, match="(?s)--name .*: a plain folder name is wanted: no slashes, at most 200 bytes"):
        check_name(name)


def test_what_watches():
    assert choose_watch(None) is None
    with pytest.raises(SweepError, match="^--log wandb: tensorboard is what there is$"):
        choose_watch("wandb")
