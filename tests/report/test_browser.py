"""The report in a real browser: what a person points at, presses, filters and prints; and that nothing is asked for."""

import json
import os
from pathlib import Path

import pytest

from mnv2_sweep.analysis.recommend import recommend
from mnv2_sweep.analysis.sweep import load_sweep
from mnv2_sweep.report.html import page_html
from mnv2_sweep.report.page import make_page
from tests.browser import CHROMIUM, open_browser

ROOT = Path(__file__).parents[2]
AXE = os.environ.get("MNV2_SWEEP_AXE", "")  # axe.min.js of npm's axe-core, which .ci/run fetches

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path, sweep = tmp_path_factory.mktemp("page") / "report.html", load_sweep(ROOT / "results" / "example")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNV2_SWEEP_CACHE", str(path.parent))
        advice = recommend(sweep, ["madds <= 100M", "params <= 2M"])
        path.write_text(page_html(make_page(sweep, advice, "mnv2-sweep report", "now")), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(browser, page):
    browser.open(page)
    yield browser
    assert browser.requests() == [page.as_uri()] and browser.complaints() == []


def test_the_figure_has_every_network_and_the_front(tab):
    assert tab.run("document.querySelectorAll('#plot .dot').length") == 22
    assert tab.run("document.querySelectorAll('#plot .dot.on').length") == 17
    assert tab.text("#plot .taken-text") == "0.5 at 224" and tab.text("#card h3") == "0.5 at 224 (to take)"
    assert tab.text("#plot-text").startswith("22 networks; filled: on the front of validation top-1 (%) against MAdds")


def test_another_cost_and_score_have_another_front(tab):
    assert tab.text("#plot .limit-text") == "madds <= 100M"
    tab.choose("#cost", "params")
    tab.choose("#score", "test_top1")
    words = tab.text("#plot-text")
    assert "test top-1 (%) against params (millions)" in words and tab.text("#plot .limit-text") == "params <= 2M"
    front = tab.run("JSON.parse(document.getElementById('data').textContent).fronts['params test_top1'][0].length")
    assert tab.run("document.querySelectorAll('#plot .dot.on').length") == front < 17


def test_pointing_tells_and_a_click_shows_the_card(tab):
    dot = "#plot .dot[data-at='21']"
    tab.point(dot)
    assert tab.run("!document.getElementById('tip').hidden")
    assert tab.text("#tip").splitlines()[0] == "1.4 at 224" and "MAdds 582.2 millions" in tab.text("#tip")
    tab.point(dot, click=True)
    assert tab.text("#card h3") == "1.4 at 224" and "seeds one by one" in tab.text("#card")
    tab.point("h1")
    assert tab.run("document.getElementById('tip').hidden")


def test_the_keyboard_is_enough(tab):
    tab.run("document.getElementById('zoom-reset').focus(); 0")
    tab.press("Tab")
    start = tab.run("document.activeElement.getAttribute('aria-label')")
    assert start.startswith("0.5 at 224, MAdds 97.1 millions, validation top-1 23.1 % (17.4 to 28.9)")
    assert start.endswith("on this front, the one to take")
    tab.press("ArrowLeft")
    tab.press("Enter")
    assert tab.text("#card h3") == "0.5 at 192"
    assert tab.run("document.activeElement.getAttribute('aria-label')").startswith("0.5 at 192, ")


def test_zoom_and_back(tab):
    before = tab.text("#plot .axis")
    tab.point("#zoom-in", click=True)
    tab.run("new Promise((done) => setTimeout(done, 100))")
    assert tab.text("#plot .axis") != before
    tab.point("#zoom-reset", click=True)
    assert tab.text("#plot .axis") == before


def test_a_drag_moves_what_is_zoomed(tab):
    tab.point("#zoom-in", click=True)
    tab.point("#plot svg")
    place = "document.querySelector('#plot .dot.taken').getBoundingClientRect().x"
    box = "document.querySelector('#plot svg').getBoundingClientRect()"
    before, (x, y) = tab.run(place), tab.run(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    tab.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
    for step in (20, 40, 60):
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y, button="left", buttons=1)
    tab.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + 60, y=y, button="left", clickCount=1)
    assert tab.run(place) - before == pytest.approx(60, abs=1)


def test_the_table_is_sorted_and_filtered_and_the_figure_follows(tab):
    names = "[...document.querySelectorAll('#table tbody tr:not([hidden]) th')].map((one) => one.textContent)"
    assert tab.run(names)[0] == "0.35 at 96"
    tab.point("#table thead th:nth-child(4) button", click=True)
    assert tab.run("document.querySelector('#table thead th:nth-child(4)').ariaSort") == "descending"
    assert tab.run(names)[:2] == ["1.4 at 224", "1.3 at 224"]
    tab.point("#table thead th:nth-child(4) button", click=True)
    assert tab.run(names)[0] == "0.35 at 96"
    tab.choose("#filter-name", "at 224")
    assert len(tab.run(names)) == 6 and tab.text("#filter-count") == "6 of 22 networks"
    column = tab.run(
        "[...document.querySelectorAll('#filter-column option')].find((one) => one.text.startsWith('MAdds')).value"
    )
    tab.choose("#filter-column", column)
    tab.choose("#filter-value", "100")
    assert tab.run(names) == ["0.35 at 224", "0.5 at 224"]
    assert tab.run("document.querySelectorAll('#plot .dot.out').length") == 20
    tab.point("#filter-reset", click=True)
    tab.run("new Promise((done) => setTimeout(done, 50))")
    assert len(tab.run(names)) == 22


@pytest.mark.parametrize("width", [1440, 768, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_page_is_wider_than_its_screen(browser, page, width, dark):
    browser.open(page, width, 900, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") == width
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert browser.complaints() == []


def test_on_paper_it_is_light_and_whole(browser, page):
    browser.open(page, media="print", dark=True)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.getElementById('front-form')).display") == "none"
    assert browser.print().startswith(b"%PDF-")
    assert browser.run("[...document.querySelectorAll('details')].every((one) => one.open)")


@pytest.mark.skipif(not AXE, reason="MNV2_SWEEP_AXE names no axe.min.js")
@pytest.mark.parametrize("width, dark", [(1440, False), (1440, True), (390, False)])
def test_axe_finds_no_violation(browser, page, width, dark):
    browser.open(page, width, 900, dark=dark)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; }); 0")
    browser.run(Path(AXE).read_text(encoding="utf-8") + "; 0")
    told = "all.violations.map((one) => [one.id, one.nodes.map((node) => node.html)])"
    found = browser.run(f"axe.run().then((all) => JSON.stringify({told}))")
    assert json.loads(found) == []
