"""A sweep's folder -> what its order is worth, in a line or two for tables and captions.

A passport speaks of one data set, one recipe and one way to get weights; of another sweep in the same folder it says
nothing. So the sweep's own trials decide which proxy of the passport it used, if any.
"""

from pathlib import Path

from mnv2_sweep.analysis.agreement import near_text, tau_text
from mnv2_sweep.analysis.passport import (
    ONLY_WORTH,
    WORD_COLUMNS,
    Passport,
    closeness_text,
    passport_table,
    published_table,
    read_passport,
    verdict_lines,
)
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.text import align, duration
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.record.folders import is_calibration
from mnv2_sweep.record.store import scan_outcomes
from mnv2_sweep.trials.differences import find_differences
from mnv2_sweep.trials.trial import Trial, load_trial
from mnv2_sweep.trials.ways import way_of

LEAST_NETWORKS = 3  # below, there is no order to speak of


def sweep_verdict(folder: Path) -> list[str]:
    """Say what the order of a sweep is worth; nothing for fewer than three networks, and for the sweeps of a
    calibration.

    A passport that can't be read is a line too, and no error: the sweep's results are worth showing without it.
    Raises StoreError where these can't be read.
    """
    first, networks = None, set()
    for outcome in scan_outcomes(folder, "done"):
        first = first or outcome.trial
        networks.add(arch_key(outcome.trial.arch))
        if len(networks) == LEAST_NETWORKS:
            break
    if len(networks) < LEAST_NETWORKS or is_calibration(folder):
        return []
    try:
        passport = read_passport(folder)
    except StoreError as error:
        return [f"not calibrated: {error}"]
    return verdict_lines(None, "") if passport is None else judge_trials(passport, first)


def judge_trials(passport: Passport, trial: Trial) -> list[str]:
    """Say what the passport says of a sweep's trials, or how they differ from those it speaks of; any one of them will
    do, as a sweep has one recipe, one data set and one strategy, and fine-tuned ones are in no order."""
    name, strategy = way_of(trial).proxy, way_of(trial).strategy
    known = {proxy.name: load_trial(proxy.trial) for proxy in passport.proxies if proxy.trial}
    differences = {
        proxy: find_differences(calibrated, trial)
        for proxy, calibrated in known.items()
        if way_of(calibrated).strategy == strategy
    }
    if not differences:
        return verdict_lines(passport, name)
    nearest = min(differences, key=lambda proxy: len(differences[proxy]))  # the first of equals
    if differences[nearest]:
        what = "; ".join(differences[nearest])
        return [
            f"calibrated for another recipe or other data ({what}): 'mnv2-sweep calibrate SPACE' says how far to trust "
            "this order"
        ]
    return verdict_lines(passport, nearest)


def passport_text(passport: Passport, strategy: str) -> str:
    """Return the tables of a calibration for a person, then what the order by `strategy` is worth."""
    tables = [align(passport_table(passport), WORD_COLUMNS)]
    cost = "" if passport.reference_seconds is None else f" ({duration(passport.reference_seconds)})"
    lines = [
        f"{passport.space} on {passport.data}: proxies against networks trained alone on {passport.reference}{cost}",
        *("", *tables, ""),
        "cost: training and evaluation of all seeds, in seconds of one core; all threads of a shared training count",
    ]
    near, space = passport.near_share, passport.space_near_share
    if near is not None and space is not None and near > space:
        lines.append(
            f"of the networks: {closeness_text(near, space)}; weighed back, near pairs count as often as the space has "
            "them"
        )
    own = passport.reference_with_published
    if own:
        lines.append(
            f"the reference itself: tau {tau_text(own)} with the published top-1 of its {own.networks} published "
            f"networks; within 25 % of MAdds {near_text(own)} as published"
        )
    every = published_table(passport)
    if len(every) > 1:
        lines += ["", "on all published networks of the space:", align(every, WORD_COLUMNS)]
    return "\n".join([*lines, "", *verdict_lines(passport, strategy), ONLY_WORTH])
