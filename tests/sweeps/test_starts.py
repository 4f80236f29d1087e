"""Recipe.init: which weights each network begins with, and one clear line where it can't."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mnv2_sweep.base.errors import SpaceError, SweepError, WeightsError
from mnv2_sweep.cli.display import SweepDisplay
from mnv2_sweep.nets.arch import ArchSpec, arch_label, set_expansion
from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.folder import list_added, weights_folder
from mnv2_sweep.record.store import Outcome, record
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Kind, Strategy
from mnv2_sweep.sweeps.export import recorded_label, select_network
from mnv2_sweep.sweeps.keep import list_kept, rank_networks
from mnv2_sweep.sweeps.predict import choose_outcome
from mnv2_sweep.sweeps.request import SweepRequest, describe_schedule, open_session, prepare_session
from mnv2_sweep.sweeps.schedule import schedule_trials
from mnv2_sweep.sweeps.starts import choose_probe, describe_starts, find_starts, take_weights
from mnv2_sweep.training.ways.probe import WORK as PROBE
from mnv2_sweep.training.ways.shared import WORK as SHARED
from mnv2_sweep.training.ways.tune import WORK as TUNE
from mnv2_sweep.trials.differences import compare_kinds, first_of_kinds
from mnv2_sweep.trials.recipe import RECIPES
from mnv2_sweep.trials.trial import DataRef, Trial, dump_trial, load_trial, trial_id
from mnv2_sweep.trials.ways import own_file
from tests.weight_files import ARCH, draw_arrays, save_safetensors

RECIPE, DATA = replace(RECIPES["short"], init="imagenet"), DataRef("d", "f", 3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    return weights_folder()


def add(tmp_path, folder, name, arch=ARCH, **metadata):
    arrays = {n: a for n, a in draw_arrays(arch).items() if "classifier" not in n}
    metadata = {"resolution": "32", **{key: str(value) for key, value in metadata.items()}}
    return add_weights(save_safetensors(tmp_path / f"{name}.safetensors", arrays, metadata), folder).record


def test_the_weights_of_the_nearest_size_are_taken(tmp_path, folder):
    small, large = add(tmp_path, folder, "a", resolution=32), add(tmp_path, folder, "b", resolution=64)
    archs = [replace(ARCH, resolution=size, classes=3) for size in (24, 32, 50, 64)]
    assert list(find_starts(archs, RECIPE).values()) == [small, small, large, large]
    assert find_starts(archs, replace(RECIPE, init="b"))[archs[0]] == large
    assert find_starts(archs, RECIPES["short"]) == {}


def test_a_file_is_added_when_a_sweep_is_prepared_and_found_by_its_digest(tmp_path, folder, tiny_data):
    record = add(tmp_path, folder, "a")
    other = save_safetensors(tmp_path / "c.safetensors", draw_arrays(ARCH), {"resolution": "32"})
    recipe, arch = replace(RECIPE, init=str(other)), replace(ARCH, resolution=32, classes=3)
    found = find_starts([arch], recipe)[arch]
    assert found.name == "c" and found.sha256 != record.sha256
    session = open_session(SweepRequest(tmp_path / "s", [arch], recipe, (0,), tiny_data, "d"))
    assert session.trials[0].start == found and list_added(folder) == [record]  # nothing is written yet
    list(prepare_session(session, {}))
    assert list_added(folder) == [record, found]
    assert find_starts([arch], replace(RECIPE, init=found.sha256[:10]))[arch] == found


@pytest.mark.parametrize(
    "init, archs, words",
    [
        ("imagenet", [ARCH, ArchSpec(width=0.35, resolution=96)], "weights get keras-0.35-96'"),
        ("imagenet", [ARCH, ArchSpec(width=0.42)], "nobody has published weights of 0.42 at 224: leave it out"),
        ("a", [ARCH, ArchSpec()], "not of 1.0 at 224, only 1 network of the space"),
        ("nothing", [ARCH], "no weights of that name"),
        (
            "imagnet",
            [ARCH],
            "recipe.init: imagnet given; beside scratch, imagenet and sliced it is a name or a file of "
            "weights; did you mean imagenet?",
        ),
        ("SLICED", [ARCH], "did you mean sliced?"),
    ],
)
def test_a_space_of_which_only_some_have_weights_is_refused_in_a_line(tmp_path, folder, init, archs, words):
    add(tmp_path, folder, "a")
    with pytest.raises(WeightsError, match=".") as refused:
        find_starts(archs, replace(RECIPE, init=init))
    assert words in str(refused.value) and "\n" not in str(refused.value)


PADDINGS = {
    "fixed": ("fixed: {padding: torch}\naxes: {width: [0.1]}", "0.1 at 32 as 'padding: torch': give padding: same"),
    "an axis": ("axes: {width: [0.1], padding: [torch, same]}", "0.1 at 32 as 'padding: torch': give padding: same"),
    "a point": ("points: [{width: 0.1, padding: torch}]", "0.1 at 32 as 'padding: torch': give padding: same"),
    "not said": ("axes: {width: [0.1]}", ""),
    "said alike": ("axes: {width: [0.1], padding: [same]}", ""),
}


@pytest.mark.parametrize("init", ["imagenet", "a", "sliced"])
@pytest.mark.parametrize("text, words", PADDINGS.values(), ids=PADDINGS)
def test_padding_that_a_space_sets_is_kept_or_the_weights_refused(tmp_path, folder, text, words, init):
    record, path = add(tmp_path, folder, "a", padding="tf"), tmp_path / "s.yaml"
    text = text.replace("width: [0.1]", "width: [0.1], resolution: [32]").replace("0.1, p", "0.1, resolution: 32, p")
    path.write_text(text)
    space, recipe = load_space(path), replace(RECIPE, init=init)
    if not words:
        assert set(find_starts(expand(space), recipe, says_padding=space.sets_padding).values()) == {record}
        return
    with pytest.raises(WeightsError, match=words):
        find_starts(expand(space), recipe, says_padding=space.sets_padding)
    with pytest.raises(WeightsError, match="'padding: same'.*give padding: torch"):
        add(tmp_path, folder, "b", replace(ARCH, width=0.14), padding="torch")
        find_starts([replace(ARCH, width=0.14, padding="same")], replace(recipe, init="b"))


def test_a_plan_names_networks_as_tables_do_and_nearer_weights_only_where_it_chose(tmp_path, folder):
    arch = ArchSpec(width=0.35, resolution=96, classes=3)
    add(tmp_path, folder, "a", replace(arch, resolution=32, classes=1))
    said = {}
    for init in ("imagenet", "a"):
        recipe = replace(RECIPE, init=init)
        starts = find_starts([arch], recipe)
        (said[init],) = describe_starts(schedule_trials([arch], recipe, DATA, [0], {}, starts))
    assert said["imagenet"].endswith(": 0.35 at 96; published at their own size: keras-0.35-96")
    assert said["a"].endswith(": 0.35 at 96")
    (trial,) = schedule_trials([ArchSpec(classes=3)], RECIPE, DATA, [0], {}, {ArchSpec(classes=3): starts[arch]})
    assert describe_starts([trial])[0].split(": ")[1].startswith("1.0 at 224")


def test_each_padding_has_weights_of_its_own_where_both_are_here(tmp_path, folder):
    same, torch = add(tmp_path, folder, "a", padding="tf"), add(tmp_path, folder, "b", padding="torch")
    archs = [replace(ARCH, padding=padding) for padding in ("same", "torch")]
    assert list(find_starts(archs, RECIPE, says_padding=True).values()) == [same, torch]
    assert len(schedule_trials(archs, RECIPE, DATA, [0], {}, find_starts(archs, RECIPE, says_padding=True))) == 2


def test_ids_take_the_digest_and_the_record_comes_back(tmp_path, folder):
    record = add(tmp_path, folder, "a", padding="tf", eps="0.001")
    (scratch,) = schedule_trials([ARCH], RECIPES["short"], DATA, [0])
    (begun,) = schedule_trials([ARCH], RECIPE, DATA, [0], {}, {ARCH: record})
    assert begun.arch.padding == record.padding == "same" and begun.start.epsilon == 1e-3
    assert load_trial(dump_trial(begun)) == begun
    renamed = replace(begun, start=replace(record, name="other"), recipe=replace(RECIPE, init="other"))
    changed = replace(begun, start=replace(record, sha256="0" * 64))
    assert trial_id(renamed) == trial_id(begun) != trial_id(changed)
    assert trial_id(scratch) == trial_id(replace(scratch, recipe=replace(RECIPES["short"], name="x")))
    assert "start" not in dump_trial(scratch) and "init" not in dump_trial(scratch)
    assert describe_starts([scratch]) == [] and "trained at 32" in describe_starts([begun])[0]


def test_ways_that_need_weights_and_ways_that_have_none():
    with pytest.raises(SweepError, match="strategy probe: it begins with published weights"):
        PROBE.mark(Strategy("probe"), [ARCH], RECIPES["short"], 10)
    with pytest.raises(SweepError, match="scratch allowed for networks that share weights"):
        SHARED.mark(Strategy("shared"), [ARCH], RECIPE, 10)


def test_ways_refuse_what_they_would_not_do():
    with pytest.raises(SweepError, match=r"^recipe.norm_momentum: 0.003 given, 0.1 allowed for networks that share"):
        SHARED.mark(Strategy("shared"), [ARCH], RECIPES["paper"], 10)
    assert SHARED.mark(Strategy("shared"), [ARCH], replace(RECIPES["paper"], norm_momentum=0.1), 10)
    with pytest.raises(
        SweepError, match=r"^recipe.average: 0.9 given, 0 allowed for strategy tune, which has an average"
    ):
        TUNE.mark(Strategy("tune"), [ARCH], replace(RECIPES["tune"], average=0.9), 10)


def test_a_space_says_what_it_is_with_weights(tmp_path, folder):
    path = tmp_path / "s.yaml"
    path.write_text(f"points: [{{width: {ARCH.width}, resolution: 32}}]\nwith_weights: {{recipe: tune}}\n")
    space = load_space(path)
    same, line = take_weights(space)
    assert same == space and line.startswith("with_weights is not taken: recipe.init: imagenet given, ")
    add(tmp_path, folder, "a")
    taken, line = take_weights(space)
    assert taken.strategy.name == "tune" and taken.recipe == RECIPES["tune"] and "strategy tune" in line
    path.write_text("points: [{width: 1.0}]\nwith_weights: {recipe: short}\n")
    with pytest.raises(SpaceError, match="with_weights.recipe: it begins from scratch"):
        load_space(path)


def test_slices_are_all_of_one_network_the_smallest_that_contains_them(tmp_path, folder):
    recipe, small = replace(RECIPE, init="sliced"), replace(ARCH, width=0.1, stages=set_expansion(ARCH.stages, 3))
    with pytest.raises(WeightsError, match="no ImageNet weights are here to slice"):
        find_starts([ARCH], recipe)
    record, wide = add(tmp_path, folder, "a"), add(tmp_path, folder, "b", replace(ARCH, width=0.35))
    starts = find_starts([ARCH, small], recipe)
    assert starts == {ARCH: record, small: replace(record, sliced=True)}
    half = replace(ARCH, width=0.25)
    assert set(find_starts([ARCH, small, half], recipe).values()) == {replace(wide, sliced=True)}
    trials = schedule_trials([ARCH, small], recipe, DATA, [0], {}, starts)
    assert load_trial(dump_trial(trials[1])) == trials[1] and trials[1].start.sliced
    assert describe_starts(trials)[1].startswith(f"weights   slices of a ({record.sha256[:8]}), trained at 32: ")
    with pytest.raises(WeightsError, match="is no slice of b, the widest weights here: features.0.0 has 32 channels"):
        find_starts([ARCH, replace(ARCH, width=1.0)], recipe)
    assert set(find_starts([ARCH, replace(ARCH, width=1.0)], recipe, partly=True)) == {ARCH}


def test_a_probe_takes_own_weights_where_all_have_some_else_slices(tmp_path, folder):
    small = replace(ARCH, stages=set_expansion(ARCH.stages, 3))
    with pytest.raises(WeightsError, match="nobody has published weights of 0.1 at 32"):
        choose_probe([ARCH], RECIPES["short"])
    add(tmp_path, folder, "a")
    assert [choose_probe(archs, RECIPES["short"]).init for archs in ([ARCH], [ARCH, small])] == ["imagenet", "sliced"]
    assert choose_probe([ARCH], replace(RECIPES["short"], input_scale=0.5)).input_scale == 0.5
    with pytest.raises(WeightsError, match="nobody has published weights"):
        choose_probe([replace(ARCH, width=0.42)], RECIPES["short"])


def test_both_kinds_of_start_are_trials_of_one_sweep(tmp_path, folder, tiny_data):
    add(tmp_path, folder, "a", padding="torch")  # then the network is the same one
    other = replace(ARCH, width=0.42, resolution=32, classes=3)
    archs = [replace(ARCH, resolution=32, classes=3), other]
    more = (Kind(RECIPES["tune"], Strategy("tune")),)
    request = SweepRequest(tmp_path / "s", archs, RECIPES["short"], (0, 1), tiny_data, "d", more=more)
    session = open_session(request)
    kinds = [(trial.recipe.init, trial.way, trial.start and trial.start.name) for trial in session.trials]
    assert kinds == [("scratch", "alone", None)] * 4 + [("imagenet", "tune", "a")] * 2
    assert len({trial_id(trial) for trial in session.trials}) == 6
    lines = describe_schedule(session)
    assert lines[1].startswith("networks  2, each from scratch and from imagenet, ")
    assert lines[2].startswith("recipe    from scratch, 4 trials: short: ")
    assert any(line.startswith("note      no imagenet weights here of 0.42 at 32") for line in lines)
    alone = replace(request, more=(), archs=archs[:1])
    assert compare_kinds(first_of_kinds(session.trials), first_of_kinds(open_session(alone).trials)) == []
    tuned = replace(alone, recipe=replace(RECIPES["tune"], lr=0.1), strategy=Strategy("tune"))
    changed = compare_kinds(first_of_kinds(session.trials), first_of_kinds(open_session(tuned).trials))
    assert changed == ["lr 0.01 -> 0.1"]
    with pytest.raises(WeightsError, match="nobody has published weights of 0.42 at 32"):
        open_session(replace(request, archs=[other]))


def test_a_network_of_two_kinds_is_named_with_its_start(tmp_path, make_result):
    trials = [Trial(ARCH, RECIPES[name], DATA, 0) for name in ("short", "tune")]
    outcomes = [Outcome(trial, make_result()) for trial in trials]
    assert [one.trial for one in select_network(outcomes, "0.1@32, from imagenet", tmp_path)] == trials[1:]
    with pytest.raises(SweepError, match="has it from scratch and from imagenet; say which"):
        select_network(outcomes, "0.1@32", tmp_path)
    assert select_network(outcomes[:1], "0.1@32", tmp_path) == outcomes[:1]
    assert [network.on_front for network in rank_networks(outcomes)] == [True, True]


def test_lists_and_commands_name_a_network_of_two_kinds_with_its_start(tmp_path, make_result):
    trials = [Trial(replace(ARCH, classes=3), RECIPES[name], DATA, 0) for name in ("short", "tune")]
    names = [f"{arch_label(ARCH)}, from {init}" for init in ("scratch", "imagenet")]
    for trial in trials:
        record(tmp_path, Outcome(trial, make_result()))
    assert [line.split("  ")[0] for line in list_kept(tmp_path).splitlines()[1:3]] == names
    assert [recorded_label(tmp_path, trial) for trial in trials] == names
    (tmp_path / "kept").mkdir()
    for trial in trials:
        (tmp_path / own_file(trial)).write_text("weights")
        assert choose_outcome(tmp_path, recorded_label(tmp_path, trial)).trial == trial
    assert choose_outcome(tmp_path).trial in trials
    shown = SweepDisplay(dict.fromkeys(trials, 1.0), tmp_path, Console(file=io.StringIO(), width=200))
    shown.ended(Outcome(trials[1], make_result()))
    assert shown.console.file.getvalue().startswith(f"[1/2] {names[1]}, ")
