"""The command `report`: the file it writes, and mistakes that write none."""

import shutil
from pathlib import Path

import pytest

from tests.cli.test_main import call, read_tree
from tests.page_samples import Html

EXAMPLE = Path(__file__).parents[2] / "results" / "example"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(EXAMPLE, folder / "results" / "example")
    (folder / "taken.html").mkdir()
    (folder / "file").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(folder / "cache"))
        yield folder


def test_a_page_is_written_and_replaced(desk):
    code, out, err = call(desk, "report", "--where", "madds <= 100M", "--where", "params <= 2M")
    assert (code, err) == (0, "") and out.startswith("report.html  ") and out.endswith(" kB\n")
    page = Html((desk / "report.html").read_text(encoding="utf-8"))
    assert page.texts("h2")[0] == "Take 0.5 at 224"
    parts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert parts["page made by"] == "mnv2-sweep report --where 'madds <= 100M' --where 'params <= 2M'"
    assert call(desk, "report", "example", "--out", "deep/er.HTM").code == 0 and (desk / "deep" / "er.HTM").is_file()
    assert call(desk, "report", "--where", "madds <= 1M").code == 0
    assert "No network keeps the wishes" in (desk / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--out", "notes.md"], "--out notes.md: a file that ends in .html is wanted, as in report.html"),
        (["--out", "taken.html"], "--out taken.html: a file that ends in .html is wanted"),
        (["--out", "file/report.html"], "--out file/report.html: it can't be written here ("),
        (["--where", "flops <= 1M"], "--where \"flops <= 1M\": unknown cost 'flops'; did you mean 'madds'?"),
        (["--at-least", "85"], "--at-least 85: a probability from 0.5 to 0.999 is wanted"),
        (["nowhere"], "results/nowhere: no such sweep"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(desk, words, why):
    before = read_tree(desk)
    code, out, err = call(desk, "report", *words)
    assert (code, out) == (2, "") and err.startswith(f"error: {why}") and err.count("\n") == 1
    assert read_tree(desk) == before


def test_a_file_that_is_no_results_file_is_one_line(desk):
    (desk / "results" / "junk").mkdir()
    (desk / "results" / "junk" / "trials.db").write_text("not SQLite" * 100)
    code, out, err = call(desk, "report", "junk")
    assert (code, out) == (2, "") and "not a results file of this program" in err and err.count("\n") == 1
