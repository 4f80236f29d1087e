"""`mnv2-sweep calibrate` as a user meets it: one calibration of a tiny space, shared by the tests, and mistakes."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mnv2_sweep.analysis.passport import NOT_CALIBRATED, ONLY_WORTH, read_passport
from mnv2_sweep.plots.style import save_figure
from mnv2_sweep.record.folders import PASSPORT
from mnv2_sweep.record.store import DATABASE, read_outcomes
from mnv2_sweep.report import figures
from mnv2_sweep.sweeps import workers
from mnv2_sweep.sweeps.budget import TimeEstimate
from mnv2_sweep.sweeps.pool import run_serial
from tests.cli.test_ablate import name_files
from tests.cli.test_main import Answer, call, read_tree
from tests.photo_samples import class_files, write_folder

TINY = """# Is this one quick?
stages: [[1, 16, 1, 1], [3, 24, 2, 2]]
fixed: {resolution: 32, last_channels: 64}
axes: {width: [0.35, 0.5, 0.75, 1.0]}
recipe: {base: short, images: 64, batch: 8, name: tiny}
data: photos
"""
SPACES = {
    "tiny": TINY,
    "kernels": TINY.replace("axes: {", "axes: {kernel: [3, 5], "),
    "two": TINY.replace("0.35, 0.5, 0.75, 1.0", "0.35, 0.351, 1.0"),
    "diverges": TINY.replace("batch: 8", "batch: 8, lr: 1.0e+9"),
}
SUFFIXES = ("reference", "short", "small", "shared")


@pytest.fixture(scope="module", autouse=True)
def _quick(tmp_path_factory) -> Iterator[None]:
    """Trials run in this process, and cost no look at their estimate."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(figures, "save_figure", name_files)  # drawing takes most of the time, and is tested elsewhere
        patch.setattr(workers, "run_pool", lambda attempts, source, *limits: run_serial(attempts, source))
        patch.setattr(
            "mnv2_sweep.sweeps.run.estimate_sweep",
            lambda trials, dataset, name, device, *more, **others: TimeEstimate(
                dict.fromkeys(trials, 10.0), 1, device, {}
            ),
        )
        yield


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """Before anything was run; its photos are in the cache."""
    folder = tmp_path_factory.mktemp("desk")
    write_folder(folder / "photos", class_files({"red": 20, "green": 20, "blue": 20}, side=24))
    for name, text in SPACES.items():
        (folder / f"{name}.yaml").write_text(text)
    call(folder, "data", "show", "--data", "photos", "--side", 8, "--plots", tmp_path_factory.mktemp("sheet"))
    return folder


@pytest.fixture(scope="module")
def calibrated(desk, tmp_path_factory) -> tuple[Path, Answer]:
    """A folder in which the tiny space was calibrated, and what that said."""
    folder = shutil.copytree(desk, tmp_path_factory.mktemp("calibrated") / "desk")
    return folder, call(folder, "calibrate", "tiny.yaml", "--workers", 1)


@pytest.fixture
def copied(calibrated, tmp_path) -> Path:
    return shutil.copytree(calibrated[0], tmp_path / "desk")


def count_done(folder: Path) -> dict[str, int]:
    return {path.parent.name: len(read_outcomes(path.parent)) for path in folder.glob(f"results/*/{DATABASE}")}


@pytest.mark.slow
def test_each_way_to_train_is_a_sweep_of_its_own_and_the_verdicts_a_passport(calibrated):
    folder, (code, out, err) = calibrated
    assert (code, err) == (0, "reading photos: 60 files\n")
    assert count_done(folder) == {f"tiny-photos-calibrate-{suffix}": 4 for suffix in SUFFIXES}
    for name in ("tiny-photos", "tiny-photos-shared"):
        assert [path.name for path in (folder / "results" / name).iterdir()] == [PASSPORT]
    passport = read_passport(folder / "results" / "tiny-photos")
    assert passport.reference == "256 images each, 4 networks, 1 seed" and passport.data == "photos"
    assert all(proxy.agreement_with_reference.networks == 4 for proxy in passport.proxies)
    names = ["short schedule", "smaller input", "shared weights", "synflow", "MAdds alone"]
    assert [proxy.name for proxy in passport.proxies] == names
    seconds = sum(o.result.seconds for o in read_outcomes(folder / "results" / "tiny-photos-calibrate-short"))
    assert passport.proxies[0].cost_seconds == pytest.approx(seconds)
    recipes = {
        suffix: read_outcomes(folder / "results" / f"tiny-photos-calibrate-{suffix}")[0].trial for suffix in SUFFIXES
    }
    assert [recipes[suffix].recipe.images for suffix in SUFFIXES] == [256, 64, 64, 64]
    assert [recipes[suffix].train_size.cell for suffix in SUFFIXES] == [32, 32, 16, 32]
    assert [recipes[suffix].shared is not None for suffix in SUFFIXES] == [False, False, False, True]


@pytest.mark.slow
def test_what_is_printed(calibrated):
    out = calibrated[1].out
    lines, at = out.splitlines(), -1
    for pattern in (
        r"calibrate results/tiny-photos",
        r"picked    4 of 4 different networks, 1 pair within 25 % of MAdds: 0\.35 at 32, .*",
        r"proxies   short schedule, smaller input, shared weights, synflow, MAdds alone",
        r"note      8 networks are wanted, the space has 4 different ones: all are taken",
        r"reference, for which networks train longer",
        r"sweep     results/tiny-photos-calibrate-reference",
        r"recipe    tiny, 4 times as long: 256 images each, trained at 32 px.*",
        r"short schedule",
        r"sweep     results/tiny-photos-calibrate-short",
        r"smaller input",
        r"recipe    tiny, half the input: 64 images each, trained at 16 px.*",
        r"shared weights",
        r"synflow",
        r"scores    4 networks, without training",
        r"tiny on photos: proxies against networks trained alone on 256 images each, 4 networks, 1 seed \(\d+ s\)",
        r"proxy  +tau with reference .*",
        r"short schedule  .* 64 images each at 32 px",
        r"shared weights  .* one training of 64 images for all 4 networks of the space",
        r"MAdds alone  .*",
        r"cost: .*",
        r"calibrated on photos against 256 images each, 4 networks, 1 seed: the order by short schedule has .*",
        re.escape(ONLY_WORTH),
        r"results/tiny-photos/passport\.json",
        r"results/tiny-photos-shared/passport\.json",
        r"sweep tiny-photos has no results yet; 'mnv2-sweep run tiny\.yaml' makes them, with this verdict",
    ):
        found = [i for i in range(at + 1, len(lines)) if re.fullmatch(pattern, lines[i])]
        assert found, (pattern, lines[at:])
        at = found[0]
    assert "nan" not in out.lower() and "\x1b" not in out


@pytest.mark.slow
def test_again_trains_nothing_and_says_the_same(copied, calibrated):
    code, out, _ = call(copied, "calibrate", "tiny.yaml")
    said = calibrated[1].out
    assert code == 0 and "[1/" not in out and out.count("4 (4 done, 0 to run)") == 4
    table = re.compile(r"^(short|smaller|shared|MAdds) .*$", re.M)
    assert [m.group() for m in table.finditer(out)] == [m.group() for m in table.finditer(said)]


@pytest.mark.slow
def test_results_without_a_run_are_said_to_be_none(copied):
    for words in (("table", "tiny-photos"), ("status", "tiny-photos"), ("plot", "--pareto", "tiny-photos")):
        code, out, err = call(copied, *words)
        expected = "calibrated, but it has no results yet; 'mnv2-sweep run SPACE.yaml' makes them"
        assert (code, out, err) == (2, "", f"error: results/tiny-photos: {expected}\n")
    assert call(copied, "table").code == call(copied, "status").code == 0  # the last of the calibration's own
    assert "calibrat" not in call(copied, "table").out.partition("\n")[2]


@pytest.mark.slow
def test_the_main_sweep_reuses_the_short_schedule_and_carries_the_verdict(copied, monkeypatch):
    monkeypatch.setattr(figures, "save_figure", save_figure)
    code, out, _ = call(copied, "run", "tiny.yaml")
    assert code == 0 and "reused    4 results of sweep tiny-photos-calibrate-short" in out and "[1/" not in out
    verdict = [line for line in out.splitlines() if line.startswith("calibrated on photos against 256 images each")]
    assert len(verdict) == 1 and "the order by short schedule" in verdict[0]
    assert verdict[0] in call(copied, "table", "tiny-photos").out
    svg = (copied / "plots" / "tiny-photos" / "pareto.svg").read_text()
    assert "Calibrated on photos against" in svg
    monkeypatch.undo()
    shared = call(copied, "run", "tiny.yaml", "--shared").out
    assert "reused    4 results of sweep tiny-photos-calibrate-shared" in shared
    assert "the order by shared weights has Kendall tau" in shared


@pytest.mark.slow
def test_calibrating_after_the_run_reuses_its_results(desk, tmp_path):
    folder = shutil.copytree(desk, tmp_path / "desk")
    assert NOT_CALIBRATED in call(folder, "run", "tiny.yaml").out
    code, out, _ = call(folder, "calibrate", "tiny.yaml", "--proxies", "short", "--networks", 3)
    assert code == 0 and "reused    3 results of sweep tiny-photos" in out
    assert out.count("sweep     ") == 2 and "has no results yet" not in out
    assert [path.parent.name for path in folder.glob(f"results/*/{PASSPORT}")] == ["tiny-photos"]  # shared was not made
    assert NOT_CALIBRATED not in call(folder, "table", "tiny-photos").out


@pytest.mark.slow
def test_another_recipe_than_the_calibrated_one_is_said(desk, calibrated, tmp_path):
    folder = shutil.copytree(desk, tmp_path / "desk")
    passport = folder / "results" / "tiny-photos" / PASSPORT
    passport.parent.mkdir(parents=True)
    shutil.copy(calibrated[0] / "results" / "tiny-photos" / PASSPORT, passport)
    (folder / "tiny.yaml").write_text(TINY.replace("images: 64", "images: 40"))
    line = (
        "calibrated for another recipe or other data (images 64 -> 40): 'mnv2-sweep calibrate SPACE' says how far to "
        "trust this order"
    )
    assert line in call(folder, "run", "tiny.yaml").out.splitlines()


@pytest.mark.slow
def test_a_broken_passport_stops_no_table(copied):
    call(copied, "run", "tiny.yaml")
    (copied / "results" / "tiny-photos" / PASSPORT).write_text("{}")
    code, out, err = call(copied, "table", "tiny-photos")
    assert (code, err) == (0, "") and "not calibrated: results/tiny-photos/passport.json: not a passport" in out


def test_a_dry_run_says_what_it_would_train_and_writes_nothing(desk):
    before = read_tree(desk)
    code, out, err = call(desk, "calibrate", "tiny.yaml", "--dry-run", "--longer", 2.5, "--seeds", 2, "--workers", 1)
    assert (code, err, read_tree(desk)) == (0, "", before)
    assert out.count("8 (0 done, 8 to run), seeds 0, 1") == 4 and out.count("time      about 80 s, with 1 worker") == 4
    assert "recipe    tiny, 2.5 times as long: 160 images each" in out
    assert "results/tiny-photos-calibrate-reference-160-images\n" in out
    assert out.endswith("\nthe verdicts will be in results/tiny-photos/passport.json\n")


def test_images_and_a_name_of_ones_own(desk):
    out = call(desk, "calibrate", "tiny.yaml", "--dry-run", "--images", 96, "--name", "mine", "--networks", 3).out
    assert "calibrate results/mine\npicked    3 of 4 different networks" in out
    assert "recipe    tiny, 1.5 times as long: 96 images each" in out
    assert "sweep     results/mine-calibrate-short\n" in out and "results/mine/passport.json" in out


@pytest.mark.slow
def test_a_proxy_that_cannot_be_made_is_listed_and_the_others_go_on(desk, tmp_path):
    words = ("kernels.yaml", "--networks", 3, "--proxies", "shared,synflow")
    code, out, _ = call(desk, "calibrate", *words, "--results", tmp_path)
    reason = "kernel: 3, 5 given, one value allowed: kernels of two sizes have no common weights"
    assert code == 0 and f"left out  shared weights: {reason}\n" in out
    assert re.search(rf"^shared weights +- +- +- +can't be made: {reason}$", out, re.M)
    passport = json.loads((tmp_path / "kernels-photos" / PASSPORT).read_text())
    assert [(p["name"], p["agreement_with_reference"]["networks"]) for p in passport["proxies"]] == [
        *[("synflow", 3), ("MAdds alone", 3), ("shared weights", 0)]
    ]


def test_without_a_reference_nothing_is_written_and_it_says_why(desk, tmp_path):
    words = ("diverges.yaml", "--proxies", "synflow", "--results", tmp_path)
    code, out, err = call(desk, "calibrate", *words)
    assert code == 1 and not (tmp_path / "diverges-photos").exists()
    *_, last = err.splitlines()
    assert re.fullmatch(
        r"error: calibrate: 0 of 4 networks have a result on the longer schedule, at least 3 are needed \(4 trials "
        r"failed: FloatingPointError: the training loss became .*\); --retry-failed tries again",
        last,
    )


KNOWN = "there are: short, small, shared, synflow, probe; MAdds alone is always compared"
LONGER = "how many times as long the reference trains as the space's own recipe (64 images); a number above 1 is wanted"
MISTAKES = {
    "tiny.yaml --proxies short,fast": f"--proxies fast: no such proxy; {KNOWN}",
    "tiny.yaml --proxies ,": f"--proxies ',': none is named; {KNOWN}",
    "tiny.yaml --networks 1": (
        "--networks 1: a whole number from 3, as two networks make one pair, which says nothing"
    ),
    "tiny.yaml --longer 1": f"--longer 1: {LONGER}",
    "tiny.yaml --longer -2": f"--longer -2: {LONGER}",
    "tiny.yaml --longer nan": f"--longer nan: {LONGER}",
    "tiny.yaml --longer 2 --images 900": "--longer --images: one of them",
    "tiny.yaml --images 64": "--images 64: more than the 64 of the space's own recipe are wanted",
    f"tiny.yaml --images {10**11}": "--images 100000000000: a whole number from 1 up to 10,000,000,000 is wanted",
    f"tiny.yaml --images {10**400}": f"--images {10**400}: a whole number from 1 up to 10,000,000,000 is wanted",
    "tiny.yaml --longer 1e308": f"--longer 1e+308: {LONGER}",
    "tiny.yaml --images 0": "--images 0: more than the 64 of the space's own recipe are wanted",
    "tiny.yaml --name a/b": "--name a/b: a plain folder name is wanted: no slashes, at most 200 bytes, "
    "nothing invisible, not 'example'",
    "tiny.yaml --device tpu": "--device tpu: auto, cpu or cuda",
    "tiny.yaml --data nowhere": (
        "--data nowhere: no such folder or archive; give 'shapes', 'cloths' or 'quilts' (built in), or the path of a "
        "folder, zip or tar that holds one folder of images per class, or photos and --labels"
    ),
    "two.yaml": "space 'two': 2 different networks, at least 3 wanted: fewer have no order to speak of",
    "nope.yaml": "nope.yaml: no such file, nor a design space that ships; there are: blocks, camera, expansion, "
    "families, mcunet, paper_grid, photos, quick, starts, widths",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_exit_2_and_writes_nothing(desk, words):
    before = read_tree(desk)
    code, out, err = call(desk, "calibrate", *words.split())
    assert (code, out) == (2, "") and read_tree(desk) == before
    assert err == f"error: {MISTAKES[words]}\n"


@pytest.mark.slow
def test_results_of_another_recipe_are_refused_before_anything_is_trained(copied):
    (copied / "tiny.yaml").write_text(TINY.replace("batch: 8", "batch: 4"))
    before = read_tree(copied / "results")
    code, out, err = call(copied, "calibrate", "tiny.yaml", "--images", 400)  # whose own folder is a new one
    assert (code, out) == (2, "") and read_tree(copied / "results") == before
    assert err.splitlines()[1:] == [
        "error: results/tiny-photos-calibrate-short: its results were made differently (batch 8 -> 4); give this sweep "
        "another --name"
    ]
