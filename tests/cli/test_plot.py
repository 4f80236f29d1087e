"""plot --manifold and --activity: what is printed and written, and which options belong to which."""

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.cli.plot import FigureOptions, refuse_options, show_activity, show_manifold
from tests.photo_samples import split_files, write_folder

NOTHING = dict.fromkeys(("--seed", "--matrices", "--base", "--data", "--images", "--input-scale"))


@pytest.mark.slow
def test_manifold_prints_the_measurement_and_draws_it(tmp_path, capsys):
    written = show_manifold(100, 3, tmp_path)
    assert written == [tmp_path / "manifold.png", tmp_path / "manifold.svg"]
    assert all(path.stat().st_size > 10_000 for path in written)
    header, *rows = capsys.readouterr().out.splitlines()
    assert "appendix A" in header and [row.split()[0] for row in rows if row] == "2 3 4 5 6 8 10 12 15 20 30".split()


@pytest.mark.slow
def test_activity_trains_prints_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    photos = write_folder(tmp_path / "photos", split_files(train={"cat": 6, "dog": 6}, val={"cat": 2, "dog": 3}))
    written = show_activity(FigureOptions(1, None, "0.35@32", str(photos), 64, 1.0), tmp_path)
    assert written == [tmp_path / "activity.png", tmp_path / "activity.svg"]
    assert all(path.stat().st_size > 10_000 for path in written)
    out, err = capsys.readouterr()
    header, *rows = out.strip().splitlines()
    assert "trained below 1/t %" in header and len(rows) == 32 and rows[0].startswith("features.2.conv.0.0   expansion")
    assert "step 1: loss" in err


@pytest.mark.parametrize(
    "kind, given, message",
    [
        ("--pareto", {"--seed": 0}, "plot --pareto: --seed is for --manifold and --activity; leave it out"),
        ("--costs", {"--input-scale": 1.0}, "plot --costs: --input-scale is for --activity; leave it out"),
        ("--manifold", {"--base": "1.0@96"}, "plot --manifold: --base is for --activity; leave it out"),
        ("--activity", {"--matrices": 200}, "plot --activity: --matrices is for --manifold; leave it out"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("--") else "",
)
def test_foreign_options_are_refused(kind, given, message):
    with pytest.raises(SweepError) as caught:
        refuse_options(kind, None, {**NOTHING, **given})
    assert str(caught.value) == message


def test_figures_of_no_sweep_take_none():
    for kind in ("--manifold", "--activity"):
        with pytest.raises(SweepError, match=f"plot {kind}: 'mine' given, but it draws no sweep"):
            refuse_options(kind, "mine", NOTHING)


def test_what_belongs_together_passes():
    refuse_options("--pareto", "mine", NOTHING)
    refuse_options("--manifold", None, {**NOTHING, "--seed": 1, "--matrices": 100})
    refuse_options("--activity", None, {**NOTHING, "--seed": 0, "--base": "1.0@96", "--images": 9, "--input-scale": 1})


@pytest.mark.parametrize(
    "base, message",
    [
        (
            "grid.yaml",
            "--base grid.yaml: a width and a resolution are wanted, as in 1.0@96 or 1.0@160x120",
        ),  # a space is for `ablate`
        ("0.35@96,1.0@96", "--base 0.35@96,1.0@96: one network is trained here; give one"),
    ],
)
def test_activity_is_of_one_network(tmp_path, base, message):
    with pytest.raises(SweepError) as caught:
        show_activity(FigureOptions(base=base), tmp_path)
    assert str(caught.value) == message
