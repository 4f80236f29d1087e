"""Trials -> why they can't belong to one sweep.

A sweep has one recipe and one way for each kind of start (`recipe.init`) that its networks have, mostly one kind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mnv2_sweep.trials.trial import Trial, record_json
from mnv2_sweep.trials.ways import way_of


def first_of_kinds(trials: Iterable[Trial]) -> dict[str, Trial]:
    """Return the first trial of each kind of start, in order."""
    kinds: dict[str, Trial] = {}
    for trial in trials:
        kinds.setdefault(trial.recipe.init, trial)
    return kinds


def compare_kinds(old: Mapping[str, Trial], new: Mapping[str, Trial]) -> list[str]:
    """Say why trials can't belong to a sweep, by the first of each kind of start there and here; empty where they can.
    A kind that only one of the two has is one more of a sweep in which the others are the same."""
    both = [init for init in old if init in new]
    if both:
        return list(dict.fromkeys(text for init in both for text in find_differences(old[init], new[init])))
    return find_differences(next(iter(old.values())), next(iter(new.values()))) if old and new else []


def find_differences(old: Trial, new: Trial) -> list[str]:
    """Say why two trials can't belong to one sweep; empty where they can."""
    before, now = record_json(replace(old.recipe, name="")), record_json(replace(new.recipe, name=""))
    changed = [
        f"{key} {getattr(old.recipe, key)} -> {getattr(new.recipe, key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if old.data.fingerprint != new.data.fingerprint:
        changed.append(
            f"data {old.data.name} ({old.data.fingerprint[:8]}) -> {new.data.name} ({new.data.fingerprint[:8]})"
        )
    changed += _way_differences(old, new)
    changed += [f"task {old.task} -> {new.task}"] if old.task != new.task else []
    if old.arch.classes != new.arch.classes:
        changed.append(f"classes {old.arch.classes} -> {new.arch.classes}")
    return changed


def _way_differences(old: Trial, new: Trial) -> list[str]:
    before, now = way_of(old).strategy, way_of(new).strategy
    if before != now:
        return [f"strategy {before} -> {now}"]
    changed = []
    if old.shared and old.shared.images != new.shared.images:
        changed.append(f"images of the shared training {old.shared.images:,} -> {new.shared.images:,}")
    if old.shared and old.shared.refit != new.shared.refit:
        changed.append(f"images that classifiers are fitted to {old.shared.refit:,} -> {new.shared.refit:,}")
    if old.shared and old.shared.family != new.shared.family:
        changed.append("the networks that share weights")
    if old.how != new.how:
        changed += [
            f"{key} {value} -> {dict(new.how.settings).get(key)}"
            for key, value in old.how.settings
            if (key, value) not in new.how.settings
        ]
    return changed
