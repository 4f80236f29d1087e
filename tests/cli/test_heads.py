"""Detectors and segmenters on the command line: they are counted, listed and explained, and not trained."""

import json

import pytest

from tests.cli.test_main import call, check_mistake, read_tree

SPACE = """# Which detector?
fixed: {classes: 3, resolution: 96}
axes:
  head: [ssdlite, ssd]
  width: [0.35, 0.5]
data: photos
"""


def test_a_network_with_a_head_is_counted(tmp_path):
    answer = json.loads(call(tmp_path, "count", "1.0@320", "head=ssdlite", "--json").out)
    assert [answer[name] for name in ("network", "params", "madds", "classes")] == [
        "1.0 at 320, SSDLite", 4_337_013, 788_830_144, 80
    ]  # fmt: skip
    options = ("--family", "vgg16", "--head", "ssd", "--resolution", 300, "--classes", 90)
    assert "35,641,826" in call(tmp_path, "count", *options).out
    segmenter = ("count", "--head", "deeplabv3", "--no-aspp", "--last-channels", 0, "--resolution", 513)
    assert "2,740,709,056  2,113,557" in call(tmp_path, *segmenter).out


def test_a_network_with_a_head_is_explained(tmp_path):
    out = call(tmp_path, "count", "0.35@96", "head=ssdlite", "--explain").out
    assert "head.boxes.0.2" in out and "peak activation memory for one image" in out


def test_a_head_is_not_split(tmp_path):
    answer = call(tmp_path, "count", "0.35@96", "head=ssdlite", "--check", "split")
    check_mistake(answer, "split: 0.35 at 96, SSDLite given; only classifiers are run with blocks split")


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "detect.yaml").write_text(SPACE)
    return tmp_path


def test_a_space_of_heads_is_counted_and_planned(desk):
    rows = json.loads(call(desk, "count", "detect.yaml", "--json").out)
    assert [row["network"] for row in rows] == [
        f"{width} at 96, {head}" for head in ("SSDLite", "SSD") for width in (0.35, 0.5)
    ]
    code, out, err = call(desk, "plan", "detect.yaml")
    assert (code, err) == (0, "") and "4 networks x 1 seed" in out


def test_a_plan_says_whose_classes_are_counted(desk):
    text = SPACE.replace("classes: 3, ", "").replace("ssd]", "classifier]")
    (desk / "open.yaml").write_text(text)
    assert "counted with 80, 1000 classes" in call(desk, "plan", "open.yaml").out


@pytest.mark.parametrize(
    "words", ["run detect.yaml", "run detect.yaml --dry-run", "run detect.yaml --shared", "plan detect.yaml --time",
              "calibrate detect.yaml"],
)  # fmt: skip
def test_what_trains_refuses_heads_in_one_line_before_it_looks_for_data(desk, words):
    before = read_tree(desk)
    said = (
        "detect.yaml:4: head: ssdlite given, but task classify trains classifier; networks with other heads are count"
    )
    check_mistake(call(desk, *words.split()), said)
    assert read_tree(desk) == before


def test_a_single_point_with_a_head_is_refused_too(desk):
    (desk / "points.yaml").write_text("points:\n  - {width: 0.5}\n  - {head: deeplabv3, width: 0.35}\n")
    check_mistake(call(desk, "run", "points.yaml"), "points.yaml:1: head: deeplabv3 given, but task classify trains")
