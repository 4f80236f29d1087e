"""The folders of a calibration's sweeps -> an Order of the networks by each proxy -> the Passport.

Higher is better in every order. What an order took is in seconds of one core.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnv2_sweep.analysis.agreement import Agreement, compare_orders, share_near, weigh_back
from mnv2_sweep.analysis.calibration import LEAST_NETWORKS, Calibration, Part, sizes_text
from mnv2_sweep.analysis.passport import EXECUTED, MADDS_ALONE, SYNFLOW, Passport, ProxyVerdict
from mnv2_sweep.analysis.stats import kendall_tau
from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.models.synflow import synflow_score
from mnv2_sweep.nets.arch import SAME, ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.paper.published import published_checkpoints
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.trials.executed import executed_network
from mnv2_sweep.trials.recipe import SLICED, Recipe, length_text
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Trial, dump_trial, train_size, trial_id
from mnv2_sweep.trials.ways import way_of

SYNFLOW_SEEDS = 3
NOTHING = compare_orders([], [], [])  # of a proxy that could not be made


@dataclass(frozen=True, slots=True)
class Order:
    """What one way to order networks says: a value for each `arch_key`, higher is better. `seconds` of all that it
    took, one of its trials where it has some, and in `failed` what went wrong."""

    values: Mapping[str, float]
    seconds: float | None = None
    trial: Trial | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What proxies are compared with, by `arch_key`."""

    reference: Mapping[str, float]
    published: Mapping[str, float]
    madds: Mapping[str, float]
    executed: Mapping[str, float]


def read_order(folder: Path, part: Part, seeds: Sequence[int]) -> Order:
    """Read the mean main score on validation images of the part's networks over their seeds. The seconds are of
    all its trials, as a shared training is needed as a whole, or of those that are `costed`. Raises StoreError."""
    # Networks that begin with weights have the padding of these.
    keys = {arch_key(replace(arch, padding=p)): arch_key(arch) for arch in part.archs for p in (arch.padding, SAME)}
    costed = {arch_key(arch) for arch in part.costed or part.archs}
    outcomes = [outcome for outcome in read_outcomes(folder) if outcome.trial.seed in seeds]
    outcomes = [outcome for outcome in outcomes if arch_key(outcome.trial.arch) in keys]
    outcomes = [outcome for outcome in outcomes if outcome.id == trial_id(outcome.trial)]  # not of an older version
    scores: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.result:
            main = task_of(outcome.trial).main
            value = main.sign * outcome.result.score("val", main.name)
            scores.setdefault(keys[arch_key(outcome.trial.arch)], []).append(value)
    errors = [outcome.error or outcome.kind for outcome in outcomes if outcome.status == "failed"]
    return Order(
        {key: sum(values) / len(values) for key, values in scores.items()},
        sum(o.result.seconds for o in outcomes if o.result and keys[arch_key(o.trial.arch)] in costed),
        next((outcome.trial for outcome in outcomes if outcome.result), None),
        f"{count_noun(len(errors), 'trial')} failed: {errors[0].splitlines()[0]}" if errors else "",
    )


def score_order(archs: Sequence[ArchSpec], costed: Sequence[ArchSpec], recipe: Recipe, classes: int) -> Order:
    """Score networks by SynFlow, the mean over SYNFLOW_SEEDS first weights, at the size they are trained at. The
    seconds are those of the `costed` ones among them, on however many cores."""
    keys, values, seconds = {arch_key(arch) for arch in costed}, {}, 0.0
    for arch in archs:
        began, key = time.process_time(), arch_key(arch)
        built, size = replace(arch, classes=classes), train_size(arch, recipe)
        try:
            scores = [synflow_score(built, size, seed) for seed in range(SYNFLOW_SEEDS)]
        except SweepError as error:
            return Order({}, failed=str(error))
        values[key] = sum(scores) / len(scores)
        seconds += time.process_time() - began if key in keys else 0.0
    return Order(values, seconds)


def make_passport(
    calibration: Calibration, orders: Mapping[str, Order], data: str, seeds: int, made: str, machine: str
) -> Passport:
    """Compare `orders` (by proxy, the reference under "") on the picked networks. Raises SweepError where too few of
    these have a reference."""
    reference, count = orders[""], len(orders[""].values)
    if count < LEAST_NETWORKS:
        raise SweepError(
            f"calibrate: {count} of {len(calibration.picked)} networks have a result on the longer schedule, at least "
            f"{LEAST_NETWORKS} are needed ({reference.failed or 'nothing was trained'}); --retry-failed tries again"
        )
    checkpoints, archs = published_checkpoints(), (*calibration.picked, *calibration.published)
    recipe = calibration.parts[0].recipe
    yardsticks = Yardsticks(
        reference.values,
        {arch_key(arch): checkpoints[arch_label(arch)].top1_percent for arch in calibration.published},
        {arch_key(arch): float(count_cost(arch).madds) for arch in archs},
        {arch_key(arch): float(count_cost(executed_network(arch, recipe)).madds) for arch in archs},
    )
    everyone = {name: order for name, order in orders.items() if name} | {MADDS_ALONE: Order(yardsticks.madds, 0.0)}
    if recipe.input_scale != 1:
        everyone[EXECUTED] = Order(yardsticks.executed, 0.0)
    verdicts = [_judge(name, order, yardsticks, calibration) for name, order in everyone.items()]
    verdicts += [ProxyVerdict(name, NOTHING, note=f"can't be made: {why}") for name, why in calibration.refused]
    words = [length_text(calibration.parts[0].recipe), count_noun(count, "network"), count_noun(seeds, "seed")]
    return Passport(
        calibration.space.name, data, ", ".join(words + ([reference.failed] if reference.failed else [])),
        tuple(verdicts), made, machine, reference.seconds,
        _compare(reference.values, yardsticks.published, calibration.picked, yardsticks),
        share_near([yardsticks.madds[key] for key in reference.values]), calibration.near_share,
    )  # fmt: skip


def _judge(name: str, order: Order, yardsticks: Yardsticks, calibration: Calibration) -> ProxyVerdict:
    """Judge one proxy against the reference, against the published ones of the picked networks, and against all
    published ones where it has values of more of them."""
    notes = [part for part in (_proxy_note(name, order, calibration), order.failed) if part]
    compared = _compare(order.values, yardsticks.reference, calibration.picked, yardsticks)
    some = _compare(order.values, yardsticks.published, calibration.picked, yardsticks)
    every = _compare(order.values, yardsticks.published, calibration.published, yardsticks)
    if compared is None:
        notes.append(f"{len(order.values)} networks have a result, at least {LEAST_NETWORKS} are compared")
    elif compared.networks < len(yardsticks.reference):
        notes.append(f"{count_noun(len(yardsticks.reference) - compared.networks, 'network')} left out")
    return ProxyVerdict(
        name, compared or NOTHING, some if compared else None, order.seconds, "; ".join(notes),
        every if compared and every and not (some and some.networks == every.networks) else None,
        dump_trial(order.trial) if order.trial else "", _weigh(order.values, yardsticks, calibration),
    )  # fmt: skip


def _weigh(order: Mapping[str, float], yardsticks: Yardsticks, calibration: Calibration) -> float | None:
    """Return tau with the reference, weighed back to the space's share of near pairs; None where too few are
    compared."""
    keys = [key for key in map(arch_key, calibration.picked) if key in order and key in yardsticks.reference]
    if len(keys) < LEAST_NETWORKS:
        return None
    values, reference, madds = (
        [source[key] for key in keys] for source in (order, yardsticks.reference, yardsticks.madds)
    )
    return weigh_back(values, reference, madds, calibration.near_share)


def _proxy_note(name: str, order: Order, calibration: Calibration) -> str:
    """Say what was done for the proxy."""
    part = next((part for part in calibration.parts if part.proxy == name), None)
    if name == SYNFLOW:
        return f"mean of {SYNFLOW_SEEDS} first weights, no training"
    if part is None or order.trial is None:
        return ""
    if note := way_of(order.trial).proxy_note:
        images = order.trial.shared.images if order.trial.shared else 0
        if order.trial.start is not None and part.recipe.init == SLICED:
            note += f", of slices of {order.trial.start.name}"
        return note.format(images=images, networks=count_noun(calibration.different, "network"))
    return f"{length_text(part.recipe)} at {sizes_text(part.archs, part.recipe)}"


def _compare(
    order: Mapping[str, float], other: Mapping[str, float], archs: Sequence[ArchSpec], yardsticks: Yardsticks
) -> Agreement | None:
    """Compare two orders on those of the networks that both have a value of; None where these are too few."""
    keys = [key for key in map(arch_key, archs) if key in order and key in other]
    if len(keys) < LEAST_NETWORKS:
        return None
    values, reference, nominal, executed = (
        [source[key] for key in keys] for source in (order, other, yardsticks.madds, yardsticks.executed)
    )
    costs = max(nominal, executed, key=lambda madds: kendall_tau(madds, reference))  # the first of equals
    return compare_orders(values, reference, nominal, costs=costs)
