"""The commands `device ...`, as a person calls them."""

import json
from dataclasses import replace

import pytest

from tests.cli.test_main import call
from tests.device_samples import GRID, make_content, write_profile

SPACE = "axes: {width: [0.35, 0.5, 0.75, 1.0], resolution: [96, 128, 160, 224]}\n"


@pytest.fixture
def device(tmp_path, monkeypatch):
    """device("list", ...) -> what the command answers, with a cache folder of the test's own."""
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "grid.yaml").write_text(SPACE)
    (tmp_path / "kernels.yaml").write_text("axes: {width: [0.35, 1.0], kernel: [5, 7]}\n")
    write_profile(tmp_path / "measured.json", spread=0.01)
    return lambda *words: call(tmp_path, "device", *words)


def test_pack_writes_a_script_named_after_space_and_runtime(device, tmp_path):
    answer = device("pack", "grid.yaml", "--runtime", "onnx", "--int8", "--networks", "14", "--threads", "2")
    script = (tmp_path / "grid-onnx-int8.py").read_text()
    assert answer.code == 0 and answer.err == ""
    assert answer.out == (
        f"grid-onnx-int8.py: 14 networks of grid, {len(script):,} bytes; on the device, with numpy and onnxruntime: "
        "python grid-onnx-int8.py\n"
    )
    compile(script, "script", "exec")
    assert '"threads":2' in script and '"int8":true' in script
    assert device("pack", "grid.yaml", "--runtime", "litert", "--out", "sub/profile.py").code == 0
    assert (tmp_path / "sub" / "profile.py").exists()


def test_add_list_show_and_remove(device, tmp_path):
    added = device("add", "measured.json", "--space", "grid.yaml")
    assert added.code == 0 and added.out.startswith(
        "pi4: pi4, onnxruntime 1.20.1 fp32, 1 thread; 16 networks in 8 rounds"
    )
    assert device("list").out.splitlines()[1].startswith("pi4 ")
    shown = device("show", "pi4")
    assert shown.out.splitlines()[-2:] == ["plots/device-pi4.png", "plots/device-pi4.svg"]
    assert (tmp_path / "plots" / "device-pi4.png").stat().st_size > 10_000
    assert json.loads(device("show", "pi4", "--json").out) == make_content(spread=0.01)
    table = device("show", "pi4", "grid.yaml")
    assert table.out.splitlines()[1].startswith("0.35 at 96 ") and len(table.out.splitlines()) == 18
    assert len(device("show", "pi4", "grid.yaml", "--csv").out.splitlines()) == 17
    assert device("remove", "pi4").out == "pi4: removed\n"
    assert device("list").out.startswith("no profile in ")


@pytest.fixture
def script_that_measures(monkeypatch):
    """What `run_script` would do, without doing it; the calls are kept."""
    calls = []

    def run(script, out, minutes):
        calls.append((script, out, minutes))
        yield "round 1 of 24, 3 s"
        if len(calls) == 1:
            out.write_text("half")
            raise KeyboardInterrupt
        assert out.read_text() == "half"  # the same place as before
        write_profile(out, spread=0.01)
        yield "now: mnv2-sweep device add x"

    monkeypatch.setattr("mnv2_sweep.formats.measure.run_script", run)
    return calls


def test_run_measures_here_and_goes_on_where_it_was_stopped(device, script_that_measures, tmp_path):
    words = ("run", "grid.yaml", "--runtime", "onnx", "--name", "here", "--minutes", "2")
    assert device(*words).code == 130 and device("list").out.startswith("no profile")
    answer = device(*words)
    assert answer.code == 0 and answer.err == "round 1 of 24, 3 s\n"
    assert answer.out.startswith("here: pi4, onnxruntime 1.20.1")
    first, second = script_that_measures
    assert first == second and first[2] == 2.0
    assert [path.name for path in (tmp_path / "cache" / "devices").iterdir()] == ["here.json"]
    again = device(*words)
    assert again.code == 2 and again.err.startswith("error: --name here: there is a profile of that name; remove it")
    assert len(script_that_measures) == 2


MISTAKES = {
    "no such runtime": (("pack", "grid.yaml", "--runtime", "tvm"), "--runtime tvm: onnx | openvino | litert | torch"),
    "8 bits in torch": (("run", "grid.yaml", "--runtime", "torch", "--int8"), "--int8: torch runs floats only here"),
    "a small space": (("pack", "quick", "--runtime", "onnx"), "quick: 4 networks that a device could tell apart"),
    "no such space": (("pack", "nowhere", "--runtime", "onnx"), "nowhere: no such file, nor a design space"),
    "few networks": (("pack", "grid.yaml", "--runtime", "onnx", "--networks", "3"), "Invalid value for '--networks'"),
    "a name with a slash": (("run", "grid.yaml", "--runtime", "onnx", "--name", "a/b"), "--name 'a/b': 1 to 40"),
    "no such file": (("add", "gone.json"), "gone.json: can't be read (No such file or directory)"),
    "no profile": (("add", "grid.yaml"), "grid.yaml: no JSON"),
    "another space": (("add", "measured.json", "--space", "kernels.yaml"), "measured: measured on made up, and all of"),
    "no such name": (("show", "pi5"), "pi5: no profile of that name in"),
    "CSV of no space": (("show", "pi4", "--csv"), "pi4: no profile of that name in"),
    "nothing to remove": (("remove", "pi5"), "pi5: no profile of that name in"),
}  # fmt: skip


@pytest.mark.parametrize("words, line", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(device, tmp_path, words, line):
    before = {path.name for path in tmp_path.iterdir()}
    answer = device(*words)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith(f"error: {line}") and answer.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == before


def test_what_json_and_csv_are_of(device):
    device("add", "measured.json")
    for words in (("show", "pi4", "--csv"), ("show", "pi4", "grid.yaml", "--json")):
        answer = device(*words)
        assert answer.code == 2 and answer.err.startswith("error: device show: --json prints the profile")


def test_a_latency_is_a_cost_of_count_and_plan(device, tmp_path):
    device("add", "measured.json")
    (tmp_path / "bound.yaml").write_text(f"{SPACE}constraints: {{latency@pi4: '<= 5 ms'}}\n")
    answer = call(tmp_path, "plan", "bound.yaml", "--cost", "file_int8_bytes")
    head = answer.out.splitlines()[0]
    assert answer.code == 0 and "latency@pi4 (ms)" in head and "file int8 (bytes)" in head
    assert "latency@pi4: one image on pi4, onnxruntime 1.20.1 fp32, 1 thread; learnt from 16 networks" in answer.out
    rows = json.loads(call(tmp_path, "plan", "bound.yaml", "--json").out)
    assert 0 < len(rows) < 16
    assert all(row["latency@pi4_low"] < row["latency@pi4"] <= min(5, row["latency@pi4_high"]) for row in rows)
    assert len(call(tmp_path, "count", "bound.yaml", "--csv").out.splitlines()) == len(rows) + 1
    one = json.loads(call(tmp_path, "count", "0.5@192", "--cost", "latency@pi4", "--json").out)
    assert 5 < one["latency@pi4"] < 8
    outside = call(tmp_path, "count", "0.5@192", "kernel=5", "--cost", "latency@pi4").out
    assert outside.splitlines()[1].split()[-2:] == ["-", "outside"] and "k=5 lies outside of what was" in outside


BAD_COSTS = {
    "no profile": ("count", "0.5@192", "--cost", "latency@pi5"),
    "no cost": ("count", "grid.yaml", "--cost", "speed"),
    "a check": ("count", "0.5@192", "--cost", "latency@pi4", "--check", "fvcore"),
    "time": ("plan", "grid.yaml", "--cost", "file_bytes", "--time"),
    "two costs of one figure": ("plot", "--pareto", "--cost", "file_bytes", "--cost", "depth"),
    "costs of another figure": ("plot", "--costs", "grid.yaml", "--cost", "file_bytes"),
}


@pytest.mark.parametrize("words", BAD_COSTS.values(), ids=BAD_COSTS)
def test_a_cost_that_can_t_be_is_one_line(device, tmp_path, words):
    answer = call(tmp_path, *words)
    assert answer.code == 2 and answer.out == "" and answer.err.startswith("error: ") and answer.err.count("\n") == 1
    assert not (tmp_path / "plots").exists()


def one_network():
    return json.dumps(make_content(archs=GRID[:1]))


def edited():
    content = make_content()
    content["networks"][0]["wall_us"][0] += 1
    return json.dumps(content)


def another_space():
    return json.dumps(make_content(archs=[replace(arch, kernel=7) for arch in GRID]))


BAD_PROFILES = {
    "another version": (
        lambda: json.dumps(make_content(version=7)),
        "version 7 of mnv2-sweep 0.1.0, and 1 is read",
    ),
    "edited": (edited, "it was changed since it was measured"),
    "another space": (another_space, "measured on made up, and all of grid lies outside of that"),
    "too noisy": (lambda: json.dumps(make_content(spread=0.6)), "too noisy: halves of its rounds differ by"),
    "one network": (one_network, "1 networks, at least 12 are needed"),
    "too few rounds": (lambda: json.dumps(make_content(rounds=2)), "2 rounds, at least 4 are needed"),
    "half a file": (lambda: json.dumps(make_content())[:999], "no JSON ("),
    "no profile": (lambda: json.dumps({"networks": []}), "no profile of a device"),
    "too large": (lambda: json.dumps(make_content()) + " " * 50_000, "more than 50,000 bytes, which no profile has"),
    "other networks than were packed": (lambda: json.dumps(make_content(madds=1)), "its networks had 1 MAdds where"),
    "a time that is none": (lambda: json.dumps(make_content(turn="mean")), "no profile (ValueError: turn: 'mean'"),
}


@pytest.mark.parametrize("make, line", BAD_PROFILES.values(), ids=BAD_PROFILES)
def test_a_bad_profile_is_one_line_and_is_not_kept(device, tmp_path, make, line):
    (tmp_path / "bad.json").write_text(make())
    answer = device("add", "bad.json", "--space", "grid.yaml", "--name", "bad")
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith("error: bad") and line in answer.err and answer.err.count("\n") == 1
    assert not (tmp_path / "cache").exists()
