"""Ways: which one a trial is of, its records and id, which files it leaves, and what can't be in one sweep."""

import json
from dataclasses import replace

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.trials.differences import find_differences
from mnv2_sweep.trials.trial import How, Sharing, dump_trial, load_trial, shared_id, trial_id
from mnv2_sweep.trials.ways import WAYS, find_strategy, find_way, goes_on, is_kept, kept_paths, strategy_names, way_of
from tests.file_way import FROM_FILE


@pytest.fixture
def trials(make_trial, monkeypatch) -> dict:
    """A trial of each way, by the way's name."""
    monkeypatch.setitem(WAYS, FROM_FILE.name, FROM_FILE)
    alone = make_trial()
    shared, tuned = (replace(alone, shared=Sharing("0123", 100, epochs)) for epochs in (None, 2.0))
    given = replace(alone, how=How(FROM_FILE.name, (("weights", "a.pt"), ("scale", 0.5))))
    begun = [replace(alone, how=How(way)) for way in ("probe", "tune")]
    return {trial.way: trial for trial in (alone, shared, tuned, *begun, given)}


def test_a_trial_is_of_one_way_and_a_space_asks_for_it_by_its_strategy(trials):
    assert list(trials) == list(WAYS) and all(way_of(trial).name == name for name, trial in trials.items())
    assert strategy_names() == ("separate", "shared", "probe", "tune", "file")
    assert [find_strategy(name).name for name in strategy_names()] == [
        "alone",
        "shared",
        "probe",
        "tune",
        "from a file",
    ]
    assert [name for name in trials if goes_on(name)] == ["fine-tuned"] and not goes_on("of another version")


def test_each_has_an_id_and_a_record_of_its_own(trials):
    assert len({trial_id(trial) for trial in trials.values()}) == 6
    for trial in trials.values():
        assert load_trial(dump_trial(trial)) == trial and hash(load_trial(dump_trial(trial))) == hash(trial)
    given = trials["from a file"]
    settings = {"scale": 0.5, "weights": "a.pt"}
    assert json.loads(dump_trial(given))["how"] == {"way": "from a file", "settings": settings}
    assert given.how["scale"] == 0.5
    assert trial_id(given) != trial_id(replace(given, how=How(FROM_FILE.name, (("weights", "b.pt"), ("scale", 0.5)))))


def test_files_that_keep_weights_are_named_by_what_made_them(trials, tmp_path):
    weights = tmp_path / "shared" / f"{shared_id(trials['shared'])}.pt"
    own = {name: tmp_path / "kept" / f"{trial_id(trial)}.safetensors" for name, trial in trials.items()}
    earlier = weights.with_name(f"{trial_id(trials['fine-tuned'])}.pt")
    kept = {name: kept_paths(tmp_path, trial) for name, trial in trials.items()}
    tuned = (own["fine-tuned"], earlier)
    alone = {way: (own[way],) for way in ("alone", "probe", "tune")}
    assert kept == alone | {"shared": (weights,), "fine-tuned": tuned, "from a file": ()}
    for at, path in enumerate((weights, earlier)):
        assert not is_kept(tmp_path, trials[("shared", "fine-tuned")[at]])
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        assert is_kept(tmp_path, trials[("shared", "fine-tuned")[at]])


def test_what_differs_between_ways_is_said(trials):
    alone, shared, given = trials["alone"], trials["shared"], trials["from a file"]
    assert find_differences(alone, given) == ["strategy separate -> file"]
    assert find_differences(given, shared) == ["strategy file -> shared"]
    assert find_differences(shared, trials["fine-tuned"]) == []
    other = replace(given, how=How(FROM_FILE.name, (("weights", "b.pt"), ("scale", 0.5))))
    assert find_differences(given, other) == ["weights a.pt -> b.pt"] and find_differences(given, given) == []
    assert find_differences(alone, replace(alone, task="regress")) == ["task classify -> regress"]


def test_a_way_of_another_version_is_named(make_trial):
    with pytest.raises(SweepError, match="way: 'dreamt' given, alone | shared | fine-tuned allowed"):
        find_way("dreamt")
