"""What the figures share: facts, the contact sheet and the files."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

from mnv2_sweep.analysis.stats import Facts, read_facts, summarise
from mnv2_sweep.plots.pareto import plot_pareto
from mnv2_sweep.plots.style import MARKERS, family_dashes, family_markers, plot_contact_sheet, save_figure
from tests.plot_samples import FACTS, PAPER, make_trials


def test_facts_of_a_table():
    assert read_facts(make_trials(PAPER[:1], seeds=2)) == Facts("shapes", "short", 1000, 10, "cpu")
    assert read_facts(make_trials(PAPER[:1], failed=((0, 0),))) == Facts("shapes", "short", None, 10, None)


@pytest.mark.parametrize("count", [0, 1, 4, len(MARKERS), len(MARKERS) + 3])
def test_every_family_has_a_look_of_its_own(count):
    families = [f"family {number}" for number in range(count)]
    for looks in (family_markers(families), family_dashes(families)):
        assert list(looks) == families and len(set(looks.values())) == count


def test_contact_sheet_keeps_every_pixel():
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 8, 8, 3), dtype=np.uint8)
    axes = plot_contact_sheet(images, ["hat", "$hoe"], "clothes").axes[0]
    sheet = axes.images[0].get_array()
    assert sheet.shape == (17, 26, 3)
    assert (sheet[9:, 18:] == images[1, 2]).all()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["hat", "$hoe"]


def test_contact_sheet_of_rectangles():
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 8, 12, 3), dtype=np.uint8)
    fig = plot_contact_sheet(images, ["hat", "shoe"])
    sheet = fig.axes[0].images[0].get_array()
    assert sheet.shape == (17, 38, 3)
    assert (sheet[9:, 26:] == images[1, 2]).all() and (sheet[:8, 13:25] == images[0, 1]).all()
    box = fig.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(1.5 * 3 / 2, rel=0.01)  # as wide as the images are


@pytest.mark.slow
def test_files_are_whole_and_repeatable(tmp_path):
    first, second = (
        save_figure(plot_pareto(summarise(make_trials(PAPER[-2:])), FACTS), tmp_path / name / "pareto v1.0")
        for name in "ab"
    )
    assert [path.name for path in first] == ["pareto v1.0.png", "pareto v1.0.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG") and first[1].read_text().rstrip().endswith("</svg>")
    assert sorted(first[0].parent.iterdir()) == first  # nothing unfinished is left


def test_several_places_are_one_drawing(tmp_path, monkeypatch):
    drawn, draw = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda *words, **more: drawn.append(more["format"]) or draw(*words, **more))
    paths = save_figure(Figure(), tmp_path / "a" / "one", tmp_path / "two")
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["a/one.png", "a/one.svg", "two.png", "two.svg"]
    contents = [path.read_bytes() for path in paths]
    assert drawn == ["png", "svg"] and contents[:2] == contents[2:] and all(contents)


def test_letters_that_the_usual_font_lacks_come_from_another_or_are_boxes_without_warnings(tmp_path):
    lacked = set(range(0x1D400, 0x1D800))
    lacked -= set(FT2Font(findfont("DejaVu Sans")).get_charmap())
    there = sorted(lacked & set(FT2Font(findfont("STIXGeneral")).get_charmap()))[0]  # which comes with matplotlib
    fig = Figure(figsize=(2, 1))
    plain, other, none = (fig.text(0.1, 0.1, text) for text in ("plain", chr(there), "\U000e0100 \u5b57 \u05d0\u0628"))
    save_figure(fig, tmp_path / "letters")  # warnings are errors here
    assert plain.get_fontfamily() == FontProperties().get_family() and len(other.get_fontfamily()) == 2
    assert (tmp_path / "letters.png").exists() and none.get_text()
