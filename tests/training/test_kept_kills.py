"""Killed at random moments while weights are written: the file is whole, an earlier one or not there."""

import os
import random
import signal
import time

import pytest
import torch

from mnv2_sweep.record.folders import remove_empty, remove_unfinished_weights
from mnv2_sweep.training.kept import has_kept, write_kept
from mnv2_sweep.trials.trial import trial_header
from mnv2_sweep.trials.ways import own_file


@pytest.mark.slow
def test_killed_at_random_nothing_half_is_left(tmp_path, make_trial):
    trial, moments, found, longest = make_trial(), random.Random(0), [], 0.05
    path = tmp_path / own_file(trial)
    header = {name: str(value) for name, value in trial_header(trial).items()}
    state = {f"layer{at}": torch.full((64, 1024), float(at)).half() for at in range(8)}
    for _ in range(40):
        child = os.fork()
        if not child:
            while True:
                write_kept(path, state, header)
        time.sleep(moments.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found.append(path.exists())
        longest *= 1 if any(found) else 1.5  # a busy machine, where none has come to its end yet
        assert not path.exists() or has_kept(path, trial)
    assert any(found)
    remove_unfinished_weights(tmp_path)
    assert [file.name for file in path.parent.iterdir()] == [path.name] * path.exists()
    path.unlink()
    remove_empty(tmp_path)
    assert list(tmp_path.iterdir()) == []
