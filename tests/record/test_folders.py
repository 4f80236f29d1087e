"""Which sweep a command without a name means, and what is said when there is none."""

import os
from pathlib import Path

import pytest

from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.record.folders import ABLATION, CALIBRATION, PASSPORT, find_sweep
from mnv2_sweep.record.store import DATABASE


def make_sweeps(results: Path, *names: str) -> Path:
    """Sweeps written one after the other."""
    for time, name in enumerate(names):
        (results / name).mkdir(parents=True)
        (results / name / DATABASE).touch()
        os.utime(results / name / DATABASE, (time, time))
        made_by = {"ablate": f"{ABLATION} --x", "part": f"{CALIBRATION}, of it"}
        texts = [text for word, text in made_by.items() if word in name]
        (results / name / "space.yaml").write_text(texts[0] if texts else "# Which one?")
    return results


@pytest.mark.parametrize(
    "names, ablation, chosen",
    [
        (("old", "new"), None, "new"),
        (("new", "example"), None, "new"),
        (("new", "example-photos", "ablate-x"), None, "ablate-x"),
        (("example", "example-photos"), None, "example-photos"),
        (("old", "new", "ablate-x"), False, "new"),
        (("ablate-x", "new"), True, "ablate-x"),
        (("example-ablate-x", "new"), True, "example-ablate-x"),
        (("example-ablate-x", "example"), False, "example"),
        (("old", "new", "part"), None, "new"),
        (("new", "part", "example"), None, "new"),
        (("ablate-x", "part"), None, "ablate-x"),
        (("part", "example"), None, "part"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_without_a_name_the_last_own_sweep_of_its_kind(tmp_path, names, ablation, chosen):
    assert find_sweep(make_sweeps(tmp_path, *names), None, ablation) == tmp_path / chosen


def test_a_name_finds_any_kind(tmp_path):
    make_sweeps(tmp_path, "example", "ablate-x", "new", "part")
    assert find_sweep(tmp_path, "ablate-x", ablation=False) == tmp_path / "ablate-x"
    assert find_sweep(tmp_path, "example") == tmp_path / "example"
    assert find_sweep(tmp_path, "part") == tmp_path / "part"


def test_a_folder_without_a_record_is_no_sweep(tmp_path):
    make_sweeps(tmp_path, "new")
    (tmp_path / "later").mkdir()
    assert find_sweep(tmp_path, None) == tmp_path / "new"
    with pytest.raises(StoreError, match="later: no such sweep; there is: new; "):
        find_sweep(tmp_path, "later")


def test_a_folder_with_a_passport_alone_has_no_results_yet(tmp_path):
    make_sweeps(tmp_path, "new")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / PASSPORT).touch()
    assert find_sweep(tmp_path, None) == tmp_path / "new"
    with pytest.raises(StoreError) as caught:
        find_sweep(tmp_path, "later")
    made = "'mnv2-sweep run SPACE.yaml' makes them"
    assert str(caught.value) == f"{tmp_path}/later: calibrated, but it has no results yet; {made}"


@pytest.mark.parametrize(
    "names, ablation, message",
    [
        ((), None, "no results to show; there is none yet; start with 'mnv2-sweep run spaces/quick.yaml'"),
        (("b", "a"), True, "there are: a, b; start with 'mnv2-sweep ablate --no-linear-bottleneck'"),
        (("ablate-x",), False, "there is: ablate-x; start with 'mnv2-sweep run spaces/quick.yaml'"),
    ],
    ids=["nothing", "no ablation", "only an ablation"],
)
def test_nothing_to_show(tmp_path, names, ablation, message):
    with pytest.raises(StoreError) as caught:
        find_sweep(make_sweeps(tmp_path, *names), None, ablation)
    assert str(caught.value).startswith(f"{tmp_path}: ") and message in str(caught.value)


@pytest.mark.parametrize("where", ["missing", "file"])
def test_results_that_are_no_folder(tmp_path, where):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="no results to show; there is none yet"):
        find_sweep(tmp_path / where, None)
