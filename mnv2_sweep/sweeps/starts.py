"""Recipe.init and networks -> the weights with which each begins, found in the folder of weights before a run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mnv2_sweep.base.errors import ArchError, WeightsError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.nets.arch import SAME, ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.supernet import check_slice
from mnv2_sweep.pretrained.add import add_weights, examine_weights
from mnv2_sweep.pretrained.folder import find_weights, list_added, weights_folder
from mnv2_sweep.pretrained.published import choose_published, find_published, network_key
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.space import Space
from mnv2_sweep.spaces.yamlfile import nearest
from mnv2_sweep.trials.recipe import IMAGENET, RECIPES, SCRATCH, SLICED, Recipe
from mnv2_sweep.trials.trial import Trial, train_size
from mnv2_sweep.trials.weights import WeightsRecord

KEYWORDS = (SCRATCH, IMAGENET, SLICED)
MOST_NAMED = 3  # networks that a message names


def find_starts(
    archs: Iterable[ArchSpec], recipe: Recipe, partly: bool = False, says_padding: bool = False
) -> dict[ArchSpec, WeightsRecord]:
    """Return the weights with which each network begins: those of its own size where they are here, else of the
    nearest; none from scratch. Networks pad as their weights do, unless they are SAME padded, or `says_padding`, that
    is, somebody said how they pad: then weights of other padding are none of theirs. Raises WeightsError unless every
    network has some, `partly`: unless one has."""
    if recipe.init == SCRATCH:
        return {}
    if recipe.init == SLICED:
        return _find_slices(list(archs), partly, says_padding)
    known = [_at_hand(recipe.init)] if recipe.init != IMAGENET else _imagenet()
    keys = {record: network_key(record.arch) for record in known}
    starts, without, others = {}, [], {}
    for arch in archs:
        of_network = [record for record in known if keys[record] == network_key(arch)]
        fitting = [record for record in of_network if _pads_alike(record, arch, says_padding)]
        if of_network and not fitting:
            others.setdefault(arch, of_network[0])
        if fitting:
            starts[arch] = min(fitting, key=lambda record: _order(record, arch, recipe))
        else:
            without.append(arch)
    if others and not (partly and starts):
        arch, record = next(iter(others.items()))
        raise WeightsError(f"recipe.init: {recipe.init} given, {_padding_words(record, arch)}")
    if without and not (partly and starts):
        raise WeightsError(f"recipe.init: {recipe.init} given, {_refusal(known, without, len(starts), recipe)}")
    return starts


def _pads_alike(record: WeightsRecord, arch: ArchSpec, says_padding: bool) -> bool:
    return record.padding == arch.padding or (arch.padding != SAME and not says_padding)


def _padding_words(record: WeightsRecord, arch: ArchSpec) -> str:
    return (f"whose weights {record.name} pad as 'padding: {record.padding}' says, {arch_label(arch)} as 'padding: "
            f"{arch.padding}': give padding: {record.padding}, or leave padding out of the space")  # fmt: skip


def _find_slices(archs: Sequence[ArchSpec], partly: bool, says_padding: bool) -> dict[ArchSpec, WeightsRecord]:
    """Return for each network the weights of which it is a slice: of one network for all, so that none is ahead by its
    source, the smallest that contains them, or, `partly`, of the largest. Raises WeightsError."""
    known = sorted(_imagenet(), key=lambda record: (count_cost(record.arch).params, record.sha256))
    if not known:
        raise WeightsError(f"recipe.init: {SLICED} given, and no ImageNet weights are here to slice; fetch some with "
                           "'mnv2-sweep weights get keras-1.0-224'")  # fmt: skip
    alike = [record for record in known if all(_pads_alike(record, arch, says_padding) for arch in archs)]
    if not alike:
        arch = next(arch for arch in archs if not _pads_alike(known[-1], arch, says_padding))
        raise WeightsError(f"recipe.init: {SLICED} given, {_padding_words(known[-1], arch)}")
    for record in alike:
        reasons = {arch: _why_no_slice(record, arch) for arch in archs}
        if not any(reasons.values()):
            break
    fitting = [arch for arch in archs if not reasons[arch]]
    if len(fitting) < len(archs) and not (partly and fitting):
        arch, why = next((arch, why) for arch, why in reasons.items() if why)
        raise WeightsError(f"recipe.init: {SLICED} given, {arch_label(arch)} is no slice of {record.name}, the widest "
                           f"weights here: {why}; fetch wider ones, or leave it out")  # fmt: skip
    whole = network_key(record.arch)
    return {arch: replace(record, sliced=network_key(arch) != whole) for arch in fitting}


def _why_no_slice(record: WeightsRecord, arch: ArchSpec) -> str:
    """Say why a network is no slice of that of the weights; "" where it is one."""
    try:
        check_slice(record.arch, replace(arch, padding=record.padding))
    except ArchError as error:
        return str(error)
    return ""


def describe_starts(trials: Sequence[Trial]) -> list[str]:
    """Return a line for a person on each of the weights with which the trials begin."""
    networks: dict[WeightsRecord, dict[ArchSpec, None]] = {}
    chosen = {trial.start for trial in trials if trial.recipe.init == IMAGENET}  # others somebody named
    for trial in trials:
        if trial.start:
            networks.setdefault(trial.start, {})[trial.arch] = None
    lines = []
    for record, archs in networks.items():
        names = ", ".join(f"{arch.width} at {arch.resolution}" for arch in archs)
        nearer = {_own_size(arch) for arch in archs if arch.resolution != record.resolution} - {""}
        more = f"; published at their own size: {', '.join(sorted(nearer))}" if nearer and record in chosen else ""
        digest = f"({record.sha256[:8]})"
        name = record.name if digest in record.name else f"{record.name} {digest}"
        taken = f"{name}, trained at {record.resolution}"
        lines.append(f"weights   {'slices of ' if record.sliced else ''}{taken}: {names}{more}")
    return lines


def take_weights(space: Space) -> tuple[Space, str]:
    """Return the space as it says it is where all its networks have weights, or as it is without, and a line for a
    person on which."""
    if space.with_weights is None or space.inits:
        return space, ""
    recipe, strategy = space.with_weights
    try:
        find_starts(expand(space), recipe, says_padding=space.sets_padding)
    except WeightsError as error:
        return space, f"with_weights is not taken: {error}"
    taken = replace(space, recipe=recipe, strategy=strategy)
    return taken, f"with_weights is taken: every network has weights, strategy {strategy.name}, recipe {recipe.name}"


def choose_probe(archs: Sequence[ArchSpec], recipe: Recipe) -> Recipe:
    """Return the recipe by which networks are probed at the sizes of `recipe`: with the weights of each where all have
    some here, else with slices of one network. Raises WeightsError, with what to fetch, where neither can be."""
    probe = replace(RECIPES["tune"], name="probe", input_scale=recipe.input_scale)
    try:
        find_starts(archs, probe)
        return probe
    except WeightsError as error:
        sliced = replace(probe, name="probe of slices", init=SLICED)
        try:
            find_starts(archs, sliced)
        except WeightsError:
            raise error from None
        return sliced


def _own_size(arch: ArchSpec) -> str:
    """Return the name of the weights that are published for the network at its own size; "" for none."""
    one = choose_published(arch)
    return one.name if one and one.arch.resolution == arch.resolution else ""


def _at_hand(wanted: str) -> WeightsRecord:
    """Return the record of added weights of that name, or of a file, which `add_starts` adds. Raises WeightsError."""
    folder = weights_folder()
    if _is_file(wanted, folder):
        return examine_weights(Path(wanted), folder).record
    try:
        return find_weights(wanted, folder).record
    except WeightsError as error:
        near = nearest(wanted, (*KEYWORDS, *(record.name for record in list_added(folder))))
        hint = f"; did you mean {near}?" if near else ":"
        raise WeightsError(f"recipe.init: {wanted} given; beside {SCRATCH}, {IMAGENET} and {SLICED} it is a name or a "
                           f"file of weights{hint} {error}") from None  # fmt: skip


def add_starts(recipes: Iterable[Recipe]) -> None:
    """Put the files of weights with which recipes begin into the folder of weights. Raises WeightsError."""
    folder = weights_folder()
    for recipe in recipes:
        if recipe.init not in KEYWORDS and _is_file(recipe.init, folder):
            add_weights(Path(recipe.init), folder)


def _is_file(wanted: str, folder: Path) -> bool:
    return Path(wanted).is_file() and wanted not in {record.name for record in list_added(folder)}


def _imagenet() -> list[WeightsRecord]:
    """Return the records of added weights that were trained on ImageNet, as far as their files tell."""
    return [record for record in list_added(weights_folder()) if record.order != "own"]


def _order(record: WeightsRecord, arch: ArchSpec, recipe: Recipe) -> tuple[float, float, str]:
    """Return what is smallest for the weights to take: nearest in size, then best as published."""
    published = find_published(record.name)
    side = math.sqrt(train_size(arch, recipe).area)
    return abs(math.log(record.resolution / side)), -(published.top1_percent if published else 0.0), record.sha256


def _refusal(known: Sequence[WeightsRecord], without: Sequence[ArchSpec], found: int, recipe: Recipe) -> str:
    """Say which networks have no weights and what to do."""
    names = ", ".join(arch_label(arch) for arch in without[:MOST_NAMED])
    more = f" and {len(without) - MOST_NAMED} more" if len(without) > MOST_NAMED else ""
    only = f", only {count_noun(found, 'network')} of the space" if found else ""
    if recipe.init != IMAGENET:
        return f"which are weights of {arch_label(known[0].arch)}, not of {names}{more}{only}"
    published = [choose_published(arch) for arch in without]
    if None in published:
        names = arch_label(without[published.index(None)])
        return (f"nobody has published weights of {names}: leave it out, or give init: scratch for the whole space, as "
                "only some networks begun with weights would not be ranked as one; axes: {init: [scratch, imagenet]} "
                "has both kinds beside each other")  # fmt: skip
    fetch = ", ".join(dict.fromkeys(f"'mnv2-sweep weights get {one.name}'" for one in published[:MOST_NAMED]))
    return f"no weights here of {names}{more}{only}; fetch them with {fetch}, or 'mnv2-sweep weights add FILE'"
