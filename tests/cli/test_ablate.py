"""`ablate` as a user meets it: one change, several, matched, until decided, again, and mistakes as whole lines."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.nets.arch import find_expansion
from mnv2_sweep.record.frame import load_frame
from mnv2_sweep.record.store import read_outcomes
from mnv2_sweep.report import figures
from mnv2_sweep.sweeps import workers
from mnv2_sweep.sweeps.pool import run_serial
from mnv2_sweep.training.ways import alone
from mnv2_sweep.trials.trial import CurvePoint, Result
from tests.cli.test_main import call, check_mistake, read_tree, ten_seconds_each, write_desk

SMALL = ["--base", "0.35@32", "--images", 64, "--input-scale", 0.5, "--data", "photos", "--workers", 1]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("mnv2_sweep.plots.style.PNG_DPI", 20)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A user's folder, its photos already in the cache."""
    desk = write_desk(tmp_path_factory.mktemp("desk"))
    call(desk, "data", "show", "--data", "photos", "--side", 8, "--plots", tmp_path_factory.mktemp("sheet"))
    return desk


@pytest.fixture
def desk(photos, tmp_path) -> Path:
    """The same without results, for one test."""
    shutil.copytree(photos, tmp_path / "desk", ignore=shutil.ignore_patterns("photos", "results"))
    (tmp_path / "desk" / "photos").symlink_to(photos / "photos")
    return tmp_path / "desk"


@pytest.fixture
def in_this_process(monkeypatch):
    """Trials run here instead of in worker processes, and nobody looks at the time first."""

    def run_here(attempts, source, workers, limits, gpus):
        return run_serial(attempts, source)

    monkeypatch.setattr(workers, "run_pool", run_here)
    monkeypatch.setattr("mnv2_sweep.sweeps.run.estimate_sweep", ten_seconds_each)


# What the change is worth, in points.
WORTH = {"linear": 6.0, "none": 20.0, "expansion": 0.0}


def name_files(fig, *stems: Path) -> list[Path]:
    """What `save_figure` returns, and nothing is drawn."""
    return [stem.with_name(f"{stem.name}.{ending}") for stem in stems for ending in ("png", "svg")]


@pytest.fixture
def made_up(in_this_process, monkeypatch):
    """Trials are not trained; top-1 comes from WORTH, the seed, and a little of the network's own."""
    trained = []

    def make_result(trial, dataset, device, control, graphs):
        trained.append(trial)
        arch = trial.arch
        lost = WORTH["linear"] * (not arch.linear_bottleneck) + WORTH["none"] * (arch.residual == "none")
        network = int(arch.linear_bottleneck) + 2 * ("bottleneck", "expansion", "none").index(arch.residual)
        network += 10 * (find_expansion(arch.stages) or 0) + round(100 * arch.width)
        noise = np.random.default_rng([trial.seed, network]).normal(0, 0.8)
        shared = np.random.default_rng(trial.seed).normal(0, 2)
        top1 = (60 + shared + noise - lost) / 100
        curve = tuple(CurvePoint(k, 20 * k, 1.0, 0.1, {"top1": top1 * k / 3}) for k in (1, 2, 3))
        scores = {"val": {"top1": top1, "loss": 1.0}}
        return Result(scores, {"val": 1000}, 1.0, 60, curve, 30.0, 100.0, 1000, "cpu")

    monkeypatch.setattr(alone, "run_trial", make_result)
    monkeypatch.setattr(figures, "save_figure", name_files)  # figures take most of the time, and are tested elsewhere
    return trained


def sides(folder: Path) -> dict[str, list[int]]:
    """Network -> its seeds."""
    return load_frame(folder).groupby("network")["seed"].apply(sorted).to_dict()


# ---------------------------------------------------------------- one change, trained


@pytest.mark.slow
def test_ablate_trains_both_on_the_same_seeds_and_prints_the_difference(desk, in_this_process):
    code, out, _ = call(desk, "ablate", "--no-linear-bottleneck", *SMALL, "--seeds", 2)
    assert code == 0 and "trials    4 (0 done, 4 to run), seeds 0, 1" in out
    report = out[out.index("\n0.35 at 32: data photos, recipe short") :]
    assert re.search(r"^ReLU6 in the bottleneck +0\.35 +same +same +2 ", report, re.M)
    assert "published +0.58 points (figure 6a)" in report
    frame = load_frame(desk / "results" / "ablate-no-linear-bottleneck-0.35@32-photos")
    assert frame.groupby("linear_bottleneck")["seed"].apply(sorted).to_dict() == {True: [0, 1], False: [0, 1]}
    assert out.endswith("plots/ablation.png\nplots/ablation.svg\n")
    drawn = call(desk, "plot", "--ablation")
    assert (drawn.code, drawn.out.splitlines()) == (0, out.splitlines()[-4:])
    table = call(desk, "table")
    assert table.code == 0 and report[: report.index("plots/")].strip() in table.out
    assert len(json.loads(call(desk, "table", "--json").out)) == 2


def test_an_ablation_whose_one_side_failed_is_exit_1_and_says_why(desk, made_up, monkeypatch):
    make_result = alone.run_trial

    def fail_without(trial, *words):
        if not trial.arch.linear_bottleneck:
            raise FloatingPointError("the training loss became nan")
        return make_result(trial, *words)

    monkeypatch.setattr(alone, "run_trial", fail_without)
    code, out, err = call(desk, "ablate", "--no-linear-bottleneck", *SMALL, "--seeds", 2)
    assert (code, out.count("FAILED (diverged): FloatingPointError: the training loss became nan")) == (1, 2)
    assert (
        "2 trials failed (logs in " in err and "Traceback" not in err and "the training loss became nan" in out[-400:]
    )


# ---------------------------------------------------------------- several, matched, bases, spaces


@pytest.mark.slow
def test_several_changes_are_compared_with_one_base(desk, made_up):
    words = ["ablate", "--residual", "none,expansion", "--no-linear-bottleneck", *SMALL, "--seeds", 4]
    code, out, _ = call(desk, *words)
    assert code == 0 and len(made_up) == 4 * 4 and "p corrected over the 3 readings of this command" in out
    folder = desk / "results" / "ablate-no-linear-bottleneck-residual-none-residual-expansion-0.35@32-photos"
    assert set(map(tuple, sides(folder).values())) == {(0, 1, 2, 3)}
    rows = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in out.splitlines() if " same " in line}
    assert rows["no residual"].startswith("same sign, 1") and rows["ReLU6 in the bottleneck"].startswith("same sign, 1")
    assert rows["shortcut between expansions"] == "undecided"
    assert re.search(
        r"^shortcut between expansions: undecided; .* seeds would settle it can be told from 5 on", out, re.M
    )
    assert {trial.recipe.shortcut_gain for trial in made_up} == {1.0}  # so that no side is favoured
    made_up.clear()
    assert call(desk, *words).out.endswith(out[out.index("\n0.35 at 32: ") :]) and made_up == []


def test_a_recipe_that_favours_the_base_is_called_so(desk, made_up):
    words = ["ablate", "--residual", "none", *SMALL, "--seeds", 2]
    _, out, _ = call(desk, *words, "recipe.shortcut_gain=0.2")
    note = "note      the recipe starts the norm before each shortcut at 0.2, which favours networks that have them; "
    assert f"{note}recipe.shortcut_gain=1 starts all alike\n" in out
    assert {trial.recipe.shortcut_gain for trial in made_up} == {0.2}
    code, _, err = call(desk, *words)  # of earlier versions, whose ablations started so
    assert code == 2 and "(shortcut_gain 0.2 -> 1.0); give this sweep another --name" in err
    assert "which favours" not in call(desk, "ablate", "--no-linear-bottleneck", *SMALL, "recipe.shortcut_gain=0.2").out


def test_a_match_is_a_reading_of_its_own(desk, made_up):
    words = ["--base", "1.0@96", "--images", 64, "--data", "photos", "--workers", 1]
    code, out, err = call(desk, "ablate", "--expansion", "3,6,10", "--match", "madds", *words)
    assert code == 0 and err == ""
    assert "note      left out: t = 6 changes nothing in 1.0 at 96" in out
    assert "note      --match madds: 1.0 at 96, t=10: no width comes within 2 % of 56,289,152 MAdds; the nearest" in out
    assert re.search(r"^t = 3, same MAdds +1\.33 +56,302,968 +\+0\.02 % ", out, re.M)
    assert re.search(r"^t = 3, same MAdds +1\.33 +\+0\.02 % +\+15\.6 % +3 ", out, re.M)
    assert set(sides(desk / "results" / "ablate-expansion-1.0@96-photos")) == {
        *("1.0 at 96", "1.0 at 96, t=3", "1.33 at 96, t=3", "1.0 at 96, t=10")
    }


def test_words_say_the_recipe(desk, made_up):
    words = ["--base", "0.35@32", "--data", "photos", "--workers", 1, "--seeds", 1]
    assert (
        call(desk, "ablate", "residual=none", "recipe.images=64", "recipe.lr=0.01", "recipe.batch=16", *words).code == 0
    )
    (recipe,) = {trial.recipe for trial in made_up}
    assert (recipe.name, recipe.images, recipe.lr, recipe.batch) == ("short, changed", 64, 0.01, 16)
    assert recipe.input_scale == 0.25 and {trial.arch.residual for trial in made_up} == {"bottleneck", "none"}


@pytest.mark.slow
def test_several_bases_and_a_space(desk, made_up):
    words = ["--images", 64, "--data", "photos", "--workers", 1]
    code, out, _ = call(desk, "ablate", "--residual", "none", "--base", "0.35@32,0.5@32", *words)
    assert code == 0 and "\n0.35 at 32: data" in out and "\n0.5 at 32: data" in out
    assert "results/ablate-residual-none-0.35@32-0.5@32-photos\n" in out
    four = call(desk, "ablate", "--residual", "none", "--base", "0.35@32,0.5@32,1@32,1@64", *words, "--dry-run").out
    assert "results/ablate-residual-none-4-networks-photos\n" in four
    made_up.clear()
    code, out, _ = call(
        desk, "ablate", "--residual", "none", "--base", "tiny.yaml", "--name", "of-space", "--workers", 1
    )
    assert code == 0 and "recipe    tiny: 64 images each, trained at 32 px" in out and "seeds 0" in out
    assert {trial.arch.width for trial in made_up} == {0.35, 1.0} and {trial.arch.classes for trial in made_up} == {3}
    assert {trial.recipe.name for trial in made_up} == {"tiny"}


@pytest.mark.slow
def test_curves_of_expansions_of_an_ablation(desk, made_up):
    words = ["--images", 64, "--data", "photos", "--workers", 1, "--base", "0.35@32,1.0@32"]
    assert call(desk, "ablate", "--expansion", "8,10", *words).code == 0
    code, out, err = call(desk, "plot", "--expansion", "ablate-expansion-0.35@32-1.0@32-photos")
    same, by_size, *paths = out.splitlines()
    assert (code, err, paths[-2:]) == (0, "", ["plots/expansion.png", "plots/expansion.svg"])
    assert re.match(
        r"(un|re|contra)\w+: expansions from 5 to 10 .*largest difference: t = (8|10) minus t = 6 at ", same
    )
    assert "points for each doubling of t: " in by_size


def test_trials_of_other_sweeps_are_reused(desk, made_up):
    assert call(desk, "run", "tiny.yaml", "--workers", 1).code == 0
    made_up.clear()
    code, out, _ = call(desk, "ablate", "--residual", "none", "--base", "tiny.yaml", "--seeds", 2, "--workers", 1)
    assert code == 0 and "reused    2 results of sweep tiny-photos" in out
    assert "results/ablate-residual-none-tiny-photos\n" in out
    assert sorted((t.arch.width, t.arch.residual, t.seed) for t in made_up if t.seed == 0) == [
        (0.35, "none", 0), (1.0, "none", 0)
    ]  # fmt: skip


def test_a_dry_run_plans_and_writes_nothing(desk, made_up):
    before = read_tree(desk)
    code, out, _ = call(desk, "ablate", "--all", "--match", "params", *SMALL, "--dry-run")
    assert (code, made_up, read_tree(desk)) == (0, [], before) and "results/ablate-all-0.35@32-photos" in out
    assert re.search(r"^ordinary convolutions +0\.35 +[\d,]+ +\+[\d,]+ % +[\d,]+ +\+303 % ", out, re.M)
    out = call(desk, "ablate", "--residual", "none", *SMALL, "--until-decided", "--max-seeds", 9, "--dry-run").out
    assert "until     all is decided, or 9 seeds; 3 to begin with" in out and made_up == []


@pytest.mark.slow
def test_more_seeds_after_a_look_are_said(desk, made_up):
    words = ["ablate", "--residual", "expansion", *SMALL]
    assert "note: these networks were looked at before" not in call(desk, *words).out
    assert "note: these networks were looked at before" not in call(desk, *words).out
    note = (
        "note: these networks were looked at before, with 3 seeds; Student's interval is for a number of seeds fixed "
        "before any look. --until-decided has one for as many looks as you like\n"
    )
    more = [*words, "--seeds", 5]
    assert all(note in answer.out for answer in (call(desk, *more), call(desk, *more), call(desk, "table")))


@pytest.mark.slow
def test_seeds_of_a_space_are_its_own(desk, made_up):
    (desk / "seeded.yaml").write_text((desk / "tiny.yaml").read_text() + "seeds: [4, 7]\n")
    words = ["ablate", "--residual", "none", "--base", "seeded.yaml", "--workers", 1]
    assert "seeds 4, 7" in call(desk, *words).out and {trial.seed for trial in made_up} == {4, 7}
    made_up.clear()
    call(desk, *words, "--seeds", 2, "--name", "others")
    assert {trial.seed for trial in made_up} == {0, 1}


# ---------------------------------------------------------------- until decided


@pytest.mark.slow
def test_until_decided_adds_seeds_where_they_are_needed(desk, made_up):
    words = ["ablate", "--residual", "none,expansion", *SMALL, "--until-decided", "--max-seeds", 8]
    code, out, _ = call(desk, *words)
    folder = desk / "results" / "ablate-residual-none-residual-expansion-0.35@32-photos"
    counts = {network: len(seeds) for network, seeds in sides(folder).items()}
    assert code == 0 and counts["0.35 at 32"] == counts["0.35 at 32, residual on expansions"] == 8
    assert 4 <= counts["0.35 at 32, no residual"] < 8  # decided long before
    assert "\nundecided no residual, shortcut between expansions; a seed more for 3 networks\n" in out
    assert "\nundecided shortcut between expansions; a seed more for 2 networks\n" in out
    assert re.search(r"^no residual: same sign, 1. times the published gap ", out, re.M)
    assert re.search(r"^shortcut between expansions: undecided; ", out, re.M)
    assert "valid however often one looks and whenever one stops" in out
    assert sum(status == "done" for status in load_frame(folder)["status"]) == len(made_up) == sum(counts.values())


@pytest.mark.slow
def test_until_decided_goes_on_where_it_was(desk, made_up):
    words = ["ablate", "--residual", "none,expansion", *SMALL, "--until-decided", "--max-seeds"]
    call(desk, *words, 5)
    folder = desk / "results" / "ablate-residual-none-residual-expansion-0.35@32-photos"
    before = {outcome.id for outcome in read_outcomes(folder)}
    made_up.clear()
    out = call(desk, *words, 7).out
    assert "until     all is decided, or 7 seeds; 5 to begin with" in out and "of other networks or seeds" not in out
    whole = {outcome.id for outcome in read_outcomes(folder)}
    assert len(made_up) == len(whole) - len(before) and min(trial.seed for trial in made_up) == 5
    fresh = call(desk, *words, 7, "--name", "fresh", "--results", "elsewhere").out
    assert (
        fresh[fresh.index("\n0.35 at 32: ") : fresh.index("plots/")]
        == out[out.index("\n0.35 at 32: ") : out.index("plots/")]
    )
    again = call(desk, "ablate", "--residual", "none,expansion", *SMALL, "--seeds", 3).out
    assert "note: these networks were looked at before, with seeds added until decided; Student's" in again


def test_until_decided_ends_when_everything_fails(desk, made_up, monkeypatch):
    def fail(*words):
        raise FloatingPointError("no luck")

    monkeypatch.setattr(alone, "run_trial", fail)
    code, out, err = call(desk, "ablate", "--residual", "none", *SMALL, "--until-decided", "--max-seeds", 4)
    assert code == 1 and "8 trials failed" in err and "Traceback" not in err and out.count("FAILED") == 8


# ---------------------------------------------------------------- mistakes

WORDS = "--no-linear-bottleneck, --residual, --expansion, --activation, --scale-last-conv, --no-depthwise, --all"
NONE = "ablate --residual none "
NO_FILE = "not a results file of this program (file is not a database); move it away or choose another --name"
MISTAKES = {
    "ablate": f"ablate: say what to change; there is: {WORDS}",
    "ablate --all --no-depthwise": "ablate: --all has --no-depthwise in it; leave one of them out",
    "ablate --residual bottleneck": "--residual bottleneck: that is how the base has it; none or expansion",
    "ablate --residual wide": "--residual wide: none or expansion; several with commas between",
    "ablate --expansion 0": "--expansion 0: a whole number from 1 to 100, or several, as in 1,3,6",
    "ablate --expansion 1,2,x": "--expansion x: a whole number from 1 to 100, or several, as in 1,3,6",
    "ablate --expansion 6": "ablate: t = 6 changes nothing in 1.0 at 160: nothing to compare",
    "ablate --activation swish": "--activation swish: relu6, relu or hswish; several with commas between",
    "ablate --activation relu6": "ablate: relu6 changes nothing in 1.0 at 160: nothing to compare",
    "ablate --scale-last-conv --base 1.4@96": "ablate: last convolution scaled changes nothing in 1.4 at 96: nothing "
    "to compare",
    NONE + "--base 17@96": "--base 17@96: width: 17.0 given; allowed: a number above 0, at most 16",
    NONE + "--base 1.0@5000": "--base 1.0@5000: resolution: 5000 given; allowed: a whole number of pixels from "
    "1, or width x height as in 160x120, each up to 4,096",
    NONE + "--base nonsense": "--base nonsense: a width and a resolution are wanted, as in 1.0@96 or 1.0@160x120, "
    "or several with commas between, or a design space (.yaml)",
    NONE + "--base 1@96,1.0@96": "--base 1@96,1.0@96: 1.0 at 96 is there twice",
    NONE + "--base nope.yaml": "nope.yaml: no such file",
    NONE + "--base v1.yaml": "ablate: base MobileNetV1 0.5 at 224: MobileNetV1 has no such part to change",
    NONE + "--match flops": "--match flops: madds or params",
    "ablate --no-depthwise --match madds --base 0.35@96": "--match madds: 0.35 at 96, ordinary convolutions: no width "
    "comes within 2 % of 11,934,128 MAdds; the nearest, 0.02, has 44,481,152 (+272.72 %)",
    NONE + "--until-decided": "--until-decided: say where it stops at the latest; add --max-seeds N",
    NONE + "--max-seeds 9": "--max-seeds 9: it is of --until-decided; add that, or say --seeds 9",
    NONE + "--until-decided --max-seeds 2": "--max-seeds 2: below the 3 seeds to begin with; give at least 3",
    NONE + "--until-decided --max-seeds 4 --seeds 5": "--max-seeds 4: below --seeds 5; give at least 5",
    NONE + "--until-decided --max-seeds 3": "--max-seeds 3: with 1 comparison nothing can be decided before seed 4, "
    "whatever it says; give at least 4",
    NONE + "--recipe slow": "ablate: recipe: 'slow' given; allowed: short | tune | paper",
    NONE + "recipe.images=9 --images 8": "ablate: recipe.images is given twice: 9 and 8",
    NONE + "lr=0.1": "ablate: 'lr=0.1' given; the recipe has that: write recipe.lr=0.1",
    NONE + "--data nowhere": "--data nowhere: no such folder or archive; give 'shapes', 'cloths' or 'quilts' "
    "(built in), or the path of a folder, zip or tar that holds one folder of images per class, or photos and --labels",
    NONE + "--name a/b": "--name a/b: a plain folder name is wanted: no slashes, at most 200 bytes, "
    "nothing invisible, not 'example'",
    NONE + "--name junk": f"results/junk/trials.db: {NO_FILE}",
    NONE + "--name junk --until-decided --max-seeds 5": f"results/junk/trials.db: {NO_FILE}",
    NONE + "--log wandb": "--log wandb: tensorboard is what there is",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_whole_line_and_writes_nothing(photos, words):
    (photos / "v1.yaml").write_text("points: [{family: mobilenet_v1, width: 0.5}]")
    before = read_tree(photos)
    answer = call(photos, *words.split())
    check_mistake(answer, MISTAKES[words])
    if "nope" not in words:
        assert answer.err == f"error: {MISTAKES[words]}\n"
    assert read_tree(photos) == before
