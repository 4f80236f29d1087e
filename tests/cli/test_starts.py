"""Spaces whose networks begin with weights, as a person runs and plans them: one line where that can't be."""

import pytest

from mnv2_sweep.pretrained.add import add_weights
from mnv2_sweep.pretrained.folder import weights_folder
from tests.cli.test_main import Answer, call
from tests.photo_samples import class_files, write_folder
from tests.weight_files import draw_arrays, save_safetensors

SPACE = """# Which start?
axes: {width: [0.1], resolution: [32]}
recipe:
  base: tune
  images: 32
  init: WHICH
strategy: tune
data: photos
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """desk(text, words...) -> what `run t.yaml --dry-run` answers, where weights "a" of 0.1 at 32, SAME padded, are."""
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "photos", class_files({"red": 8, "green": 8, "blue": 8}, side=24))
    arrays = {name: array for name, array in draw_arrays().items() if "classifier" not in name}
    metadata = {"resolution": "32", "padding": "tf"}
    add_weights(save_safetensors(tmp_path / "a.safetensors", arrays, metadata), weights_folder())

    def run(text: str, *words: object) -> Answer:
        (tmp_path / "t.yaml").write_text(text)
        return call(tmp_path, *(words or ("run", "t.yaml", "--dry-run")))

    return run


def test_a_start_that_can_t_be_is_said_with_its_line(desk):
    fixed = "fixed: {padding: torch}\n" + SPACE.replace("WHICH", "a")
    commands = ("run", "t.yaml", "--dry-run"), ("plan", "t.yaml", "--time")
    for words in commands:
        answer = desk(fixed, *words)
        assert answer.code == 2 and answer.err.splitlines()[-1].startswith(
            "error: t.yaml:7: recipe.init: a given, whose weights a pad "
        )
    axis = SPACE.replace("[32]}", "[32], padding: [torch, same]}").replace("WHICH", "a")
    last = desk(axis).err.splitlines()[-1]
    assert last.startswith("error: t.yaml:6: recipe.init: a given, whose weights a pad as 'padding: same'")
    for name in ("imagnet", "IMAGENET"):
        last = desk(SPACE.replace("WHICH", name)).err.splitlines()[-1]
        assert last.startswith(
            f"error: t.yaml:6: recipe.init: {name} given; beside scratch, imagenet and sliced it is "
        )
        assert "did you mean imagenet?" in last
    assert desk(SPACE.replace("WHICH", "a")).code == 0


def test_plan_says_what_run_takes(desk):
    """Recipe and classes: the same with photos that are given, and without."""
    text = "axes: {width: [0.1], resolution: [32]}\nrecipe: {base: short, name: mine}\nwith_weights: {recipe: tune}\n"
    planned, run = desk(text, "plan", "t.yaml", "--data", "photos"), desk(text + "data: photos\n")
    taken = "with_weights is taken: every network has weights, strategy tune, recipe tune\n"
    assert taken in planned.out and run.out.startswith(taken)
    assert "1 network x 1 seed = 1 trial; recipe tune, data photos" in planned.out and "counted" not in planned.out
    for start in ("data ", "classes "):
        line = next(line for line in run.out.splitlines() if line.startswith(start))
        assert line in planned.out
    apart = desk(text, "plan", "t.yaml", "--separate", "--classes", 3)
    assert "recipe mine, data shapes" in apart.out and "with_weights" not in apart.out
    costs = [desk(text, "plan", "t.yaml", *more, "--csv").out for more in (("--data", "photos"), ("--classes", 3))]
    assert costs[0] == costs[1]
    both = desk(text, "plan", "t.yaml", "--data", "photos", "--classes", 3)
    assert both.code == 2 and both.err.startswith("error: --classes 3 --data: one of them")


def test_a_dry_run_writes_no_weights(desk, tmp_path):
    """Of a file with which networks are to begin, whose time is estimated all the same."""
    file = save_safetensors(tmp_path / "b.safetensors", draw_arrays(), {"resolution": "32", "padding": "torch"})
    before = sorted(path.name for path in weights_folder().iterdir())
    for words in (("run", "t.yaml", "--dry-run"), ("plan", "t.yaml"), ("plan", "t.yaml", "--time")):
        answer = desk(SPACE.replace("WHICH", file.name), *words)
        assert answer.code == 0 and sorted(path.name for path in weights_folder().iterdir()) == before, words
    assert "time      " in answer.out
