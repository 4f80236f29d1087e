"""The script for a device: what it makes of networks against what the exporters make of them, and how it measures."""

import ast
import importlib.abc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import tflite
from onnx import helper, numpy_helper, shape_inference

from mnv2_sweep.base.errors import ProfileError, SweepError
from mnv2_sweep.devices.profile import LEAST_ROUNDS, find_digest, parse_profile
from mnv2_sweep.devices.profile import MOST_BYTES as MOST_PROFILE
from mnv2_sweep.formats import measure as measure_module
from mnv2_sweep.formats.graph import Graph, lower_plan
from mnv2_sweep.formats.measure import MOST_BYTES, RUNTIMES, Wish, choose_archs, make_script, run_script
from mnv2_sweep.formats.onnx import make_onnx
from mnv2_sweep.formats.quantize import Values, quantize_graph
from mnv2_sweep.formats.tflite import GROUPED_VERSION, make_tflite
from mnv2_sweep.nets.arch import ArchSpec, Stage, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space
from tests.device_samples import GRID, FakeDevice, load_script
from tests.export_samples import NEEDS_RUNTIMES, SAMPLES

SPACES = Path(__file__).parents[2] / "spaces"
# Every operation that a plan can have; one NASNet, as it has 478 layers.
ARCHS = [arch for arch in SAMPLES if arch.family != "nasnet_a"] + [SAMPLES[-1]]
IDS = [arch_label(arch) for arch in ARCHS]
WISHES = [Wish(name, int8) for name, one in RUNTIMES.items() for int8 in (False, True) if one.int8 or not int8]
MODULES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch", "litert": "ai_edge_litert tflite_runtime"}
SHIPPED = ["blocks", "paper_grid", "families"]
TABLES = [(Stage(1, 8, 1, 1), Stage(t, 8, 1, 2)) for t in (2, 3)]
TINY = [
    ArchSpec(stages=stages, width=0.25, resolution=side, last_channels=channels, classes=3)
    for stages in TABLES
    for side in (16, 24)
    for channels in (8, 16, 32)
]


# ---------------------------------------------------------------- the script itself


@cache
def chosen_archs(space: str) -> list[ArchSpec]:
    return choose_archs(select_networks(load_space(SPACES / f"{space}.yaml")), 50)


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: wish.words)
@pytest.mark.parametrize("space", SHIPPED)
def test_it_is_small_and_for_old_pythons(space, wish):
    script = make_script(space, chosen_archs(space), wish)
    assert len(script.encode()) < MOST_BYTES == 20_000
    assert script.isascii() and max(map(len, script.splitlines())) < 400
    tree = ast.parse(script, feature_version=(3, 8))
    imported = [one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names]
    imported += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    others = {name.split(".")[0] for name in imported} - sys.stdlib_module_names
    assert others == {"numpy", *MODULES[wish.runtime].split()}
    assert not re.search("@[A-Z]+@", script.replace(script.split('"""')[5], ""))


def test_the_networks_are_listed_and_come_back_as_they_were(tmp_path):
    module = load_script(make_script("x", ARCHS, Wish("torch")), tmp_path / "x.py")
    lines = module.list_networks()
    assert len(lines) == 2 * len(ARCHS)
    for arch, line in zip(ARCHS, lines[1::2], strict=True):
        image, nodes = module.read_network(line)
        graph = lower_plan(resolve(arch))
        assert tuple(image) == (graph.image.channels, *graph.image.size)
        assert [(node.op, node.c, *node.size) for node in nodes] == [
            (node.op, node.makes.channels, *node.makes.size) for node in graph.nodes
        ]
        assert [node.reads for node in nodes] == [[*node.reads] for node in graph.nodes]
        assert [node.p for node in nodes] == [[*node.pads] for node in graph.nodes]


def test_a_space_s_name_can_t_say_anything_in_the_script(tmp_path):
    name = 'a""" + print(1) + """\\'
    script = make_script(name, GRID, Wish("onnx"))
    module = load_script(script, tmp_path / "x.py")
    assert module.ABOUT["space"] == name and "print(1)" not in module.__doc__


def test_openvino_is_imported_so_that_it_reports_nothing(tmp_path, monkeypatch):
    """Its import sends an event and leaves an id in the home folder, unless it believes to run in CI (2026.4.1)."""
    module, seen = load_script(make_script("x", ARCHS, Wish("openvino")), tmp_path / "x.py"), []
    monkeypatch.delenv("CI", raising=False)

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "openvino":
                seen.append(os.environ.get("CI"))
                raise ModuleNotFoundError(name)

    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError):
        module.open_runtime()
    assert seen == ["true"]


def test_what_no_script_can_be_made_of_is_refused(monkeypatch):
    with pytest.raises(SweepError, match="--int8: torch runs floats only here; with 8 bits: onnx, openvino, litert"):
        make_script("x", GRID, Wish("torch", int8=True))
    monkeypatch.setattr(measure_module, "MOST_BYTES", 15_000)
    with pytest.raises(
        SweepError, match=r"--networks 16: the script would have 1\d,\d{3} bytes, under 15,000 are wanted"
    ):
        make_script("x", GRID, Wish("litert"))


# ---------------------------------------------------------------- its files


@pytest.fixture
def made(tmp_path_factory):
    """made(wish, number of a network) -> (the script, the network, the file that it makes of it)."""
    folder = tmp_path_factory.getbasetemp()

    def make(wish: Wish, number: int):
        module = load_script(make_script("x", ARCHS[number : number + 1], wish), folder / "measured.py")
        network = module.read_network(module.list_networks()[1])
        path = folder / f"measured{module.SUFFIX}"
        if wish.runtime == "torch":  # which writes its own files
            module.open_runtime()
        module.make(network, str(path))
        return module, network, path

    return make


def filled_graph(arch: ArchSpec) -> Graph:
    """The network's graph with weights of one number: their shapes are what counts here."""
    graph = lower_plan(resolve(arch))
    nodes = []
    for node in graph.nodes:
        if node.op == "conv":
            shape = (node.makes.channels, graph.maps[node.reads[0]].channels // node.groups, node.kernel, node.kernel)
            node = replace(node, weight=np.full(shape, 0.1, np.float32), bias=np.zeros(shape[0], np.float32))
        nodes.append(node)
    return Graph(graph.image, tuple(nodes))


def quantized(graph: Graph, bits: int):
    """The graph in 8 bits, as if no two tensors had held the same values."""
    values = [Values(-1.0 - at / 999, 6.0 + at / 99, np.zeros(one.channels)) for at, one in enumerate(graph.maps)]
    return quantize_graph(graph, values, bits)


def onnx_operations(model: onnx.ModelProto) -> Counter:
    """Each operation with its attributes and the shapes and kinds of its constants."""
    constants = {one.name: (one.data_type, *one.dims) for one in model.graph.initializer}
    numbers = {one.name: numpy_helper.to_array(one).tolist() for one in model.graph.initializer if one.data_type == 7}
    return Counter(
        (
            node.op_type,
            tuple(sorted((one.name, str(helper.get_attribute_value(one))) for one in node.attribute)),
            tuple(str((constants.get(name), numbers.get(name))) for name in node.input),
        )
        for node in model.graph.node
    )


def onnx_madds(model: onnx.ModelProto) -> int:
    graph = shape_inference.infer_shapes(model).graph
    shapes = {one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in graph.value_info}
    weights = {one.name: int(np.prod(one.dims)) for one in graph.initializer}
    weights |= {
        node.output[0]: weights.get(node.input[0], 0) for node in graph.node if node.op_type == "DequantizeLinear"
    }
    convs = [node for node in graph.node if node.op_type == "Conv"]
    return sum(weights[node.input[1]] * int(np.prod(shapes[node.output[0]][2:])) for node in convs)


@pytest.mark.parametrize("number", range(len(ARCHS)), ids=IDS)
@pytest.mark.parametrize("int8", [False, True], ids=["floats", "int8"])
def test_onnx_files_are_valid_and_have_the_operations_of_an_export(made, number, int8):
    _, _, path = made(Wish("onnx", int8), number)
    onnx.checker.check_model(path, full_check=True)
    model, graph = onnx.load(path), filled_graph(ARCHS[number])
    exported = make_onnx(graph, {}, quantized(graph, 7) if int8 else None, batch=1)
    assert onnx_operations(model) == onnx_operations(exported)
    assert (model.ir_version, model.opset_import[0].version) == (exported.ir_version, exported.opset_import[0].version)
    assert onnx_madds(model) == count_cost(ARCHS[number]).madds


def tflite_operations(content: bytes) -> tuple[Counter, int]:
    """Each operation with its version, kind of options and the shapes and kinds of what it reads and makes; MAdds."""
    names = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
    model = tflite.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]

    def shape(at: int) -> tuple:
        return tuple(tensors[at].ShapeAsNumpy().tolist()) if tensors[at].ShapeLength() else ()

    def what(at: int) -> tuple:
        scale = tensors[at].Quantization()
        steps = scale.ScaleLength() if scale else 0
        return tensors[at].Type(), shape(at), steps, scale.QuantizedDimension() if steps > 1 else 0

    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    grouped = any(code.BuiltinCode() == CONV and code.Version() == GROUPED_VERSION for code in codes)
    found, madds = [], 0
    for i in range(graph.OperatorsLength()):
        one = graph.Operators(i)
        code = codes[one.OpcodeIndex()]
        name = names[code.BuiltinCode()]
        ends = [what(at) for at in [*one.InputsAsNumpy().tolist(), *one.OutputsAsNumpy().tolist()]]
        version = 0 if name == "CONV_2D" and grouped else code.Version()  # the script has one for all of them
        found.append((name, version, one.BuiltinOptionsType(), options_of(name, one), tuple(ends)))
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            madds += int(np.prod(ends[1][1])) * int(np.prod(ends[-1][1][1:3]))
    return Counter(found), madds


CONV = tflite.BuiltinOperator.CONV_2D
OPTIONS = {
    "CONV_2D": (tflite.Conv2DOptions, "Padding StrideW StrideH FusedActivationFunction"),
    "DEPTHWISE_CONV_2D": (tflite.DepthwiseConv2DOptions, "Padding StrideW StrideH FusedActivationFunction"),
    "MAX_POOL_2D": (tflite.Pool2DOptions, "Padding StrideW StrideH FilterWidth FilterHeight"),
    "AVERAGE_POOL_2D": (tflite.Pool2DOptions, "Padding StrideW StrideH FilterWidth FilterHeight"),
    "ADD": (tflite.AddOptions, "FusedActivationFunction"),
    "MUL": (tflite.MulOptions, "FusedActivationFunction"),
    "CONCATENATION": (tflite.ConcatenationOptions, "Axis"),
    "MEAN": (tflite.ReducerOptions, "KeepDims"),
    "STRIDED_SLICE": (tflite.StridedSliceOptions, "BeginMask EndMask"),
}


def options_of(name: str, operator: tflite.Operator) -> tuple:
    if name not in OPTIONS:
        return ()
    kind, fields = OPTIONS[name]
    options, table = kind(), operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return tuple(getattr(options, field)() for field in fields.split())


@pytest.mark.parametrize("number", range(len(ARCHS)), ids=IDS)
@pytest.mark.parametrize("int8", [False, True], ids=["floats", "int8"])
def test_tflite_files_have_the_operations_of_an_export(made, number, int8):
    _, _, path = made(Wish("litert", int8), number)
    graph = filled_graph(ARCHS[number])
    exported, _ = tflite_operations(make_tflite(graph, {}, quantized(graph, 8) if int8 else None))
    operations, madds = tflite_operations(path.read_bytes())
    assert operations == exported
    assert madds == count_cost(ARCHS[number]).madds


def logits(made, wish: Wish, number: int) -> np.ndarray:
    module, network, path = made(wish, number)
    module.open_runtime()
    out = module.load(network, str(path), 1)()
    return np.asarray(out[0] if isinstance(out, list) else out).reshape(-1)


@pytest.mark.parametrize("number", range(len(ARCHS)), ids=IDS)
def test_runtimes_run_them_and_agree(made, number):
    """torch computes from the list of operations alone; a wrong table in a file would show as other logits."""
    pytest.importorskip("onnxruntime", reason=NEEDS_RUNTIMES)
    pytest.importorskip("ai_edge_litert", reason=NEEDS_RUNTIMES)
    judged = logits(made, Wish("torch"), number)
    assert len(judged) == ARCHS[number].classes and np.isfinite(judged).all()
    for runtime in ("onnx", "litert"):
        ours = logits(made, Wish(runtime), number)
        assert np.abs(ours - judged).max() < 1e-4 * max(1, np.abs(judged).max())
    pair = [logits(made, Wish(runtime, int8=True), number) for runtime in ("onnx", "litert")]
    # The same 8 bits but for those of the weights, 7 in ONNX, through a network of random ones.
    assert np.abs(pair[0] - pair[1]).max() < 0.6 * max(0.5, np.ptp(pair[0]))


# ---------------------------------------------------------------- measuring, by a clock that is not one


def start(tmp_path, name: str = "x", **settings):
    """The script for GRID, with a device on which network i takes i + 1 times 1 / 1024 s."""
    module = load_script(make_script("grid", GRID, Wish("onnx")), tmp_path / f"{name}.py")
    module.ROUNDS = 8
    return module, FakeDevice(module, lambda i: (i + 1) / 1024, **settings)


def measure(module, out: Path, *words: str) -> dict:
    module.main(["--out", str(out), "--device", "bench", *words])
    return json.loads(out.read_text())


def test_times_are_the_clock_s_and_the_file_is_a_profile(tmp_path, capsys):
    module, device = start(tmp_path)
    content = measure(module, tmp_path / "out.json", "--minutes", "100")
    assert content["digest"] == find_digest(content)
    profile = parse_profile(json.dumps(content), "x", "bench")
    assert profile.archs == tuple(GRID) and profile.rounds == module.ROUNDS
    for i, one in enumerate(profile.networks):
        assert one.wall_seconds == pytest.approx([(i + 1) / 1024] * profile.rounds, rel=1e-4)
        assert one.cpu_seconds == pytest.approx([(i + 1) / 2048] * profile.rounds, rel=1e-4)
        assert (one.file_bytes, one.peak_bytes) == (1000 + i, 50_000_000)
    assert (profile.device, profile.space, profile.threads, profile.int8) == ("bench", "grid", 1, False)
    assert (profile.runtime, profile.runtime_version) == ("onnxruntime", "1.0")
    assert profile.sessions[0].seconds == pytest.approx(device.now, abs=0.1)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == module.ROUNDS + 1 and said[-1] == f"now: mnv2-sweep device add {tmp_path / 'out.json'}"


def test_networks_are_timed_in_turns_each_after_a_run_that_does_not_count(tmp_path):
    module, device = start(tmp_path)
    turns = []
    time_turn = module.time_turn
    module.time_turn = lambda run: turns.append(run) or time_turn(run)
    measure(module, tmp_path / "out.json", "--minutes", "100")
    rounds = [turns[at : at + len(GRID)] for at in range(0, len(turns), len(GRID))]
    assert all(len(set(one)) == len(GRID) for one in rounds)  # loaded once each, and kept
    assert len({tuple(map(id, one)) for one in rounds}) > 1  # in another order every time
    # A tenth of a second for each turn, three runs at least, and the one before.
    assert device.runs == module.ROUNDS * sum(1 + max(3, -(-102.4 // (i + 1))) for i in range(len(GRID)))


def test_networks_for_which_there_is_no_room_are_made_anew_for_every_turn(tmp_path):
    module, device = start(tmp_path)
    read_field = module.read_field
    module.read_field = lambda path, name, default: 30 if name == "MemAvailable" else read_field(path, name, default)
    content = measure(module, tmp_path / "out.json", "--minutes", "100")
    assert all(len(one["wall_us"]) == module.ROUNDS for one in content["networks"])
    # Half of 30 kB is room for three of these files, four times each.
    assert Counter(Counter(device.made).values()) == {2: 3, 1 + module.ROUNDS: len(GRID) - 3}


def test_the_time_is_a_bound_and_too_few_rounds_are_said(tmp_path):
    module, device = start(tmp_path)
    out = tmp_path / "out.json"
    with pytest.raises(SystemExit) as ended:
        module.main(["--out", str(out), "--minutes", "0.1"])
    assert ended.value.code == "too few rounds so far: the same command goes on"
    assert 6 <= device.now < 6.2
    with pytest.raises(ProfileError, match="3 rounds, at least 4 are needed; run the script again beside the file"):
        parse_profile(out.read_text(), "x", "x")
    assert LEAST_ROUNDS == module.LEAST_ROUNDS
    again, device = start(tmp_path, "again")
    again.main(["--out", str(out), "--minutes", "0.1"])
    assert parse_profile(out.read_text(), "x", "x").rounds in (6, 7)
    assert len(json.loads(out.read_text())["sessions"]) == 2


@pytest.mark.parametrize("stop_after", [1, 40, 1000, 2500])
def test_interrupted_it_goes_on_with_what_the_file_holds(tmp_path, stop_after):
    whole, _ = start(tmp_path)
    expected = measure(whole, tmp_path / "whole.json", "--minutes", "100")
    out = tmp_path / "out.json"
    module, _ = start(tmp_path, "first", stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        measure(module, out, "--minutes", "100")
    before = json.loads(out.read_text())["networks"] if out.exists() else []
    done = sum(len(one["wall_us"]) for one in before)
    module, _ = start(tmp_path, "second")
    content = measure(module, out, "--minutes", "100")
    for held, now, then in zip(before, content["networks"], expected["networks"], strict=bool(before)):
        assert now["wall_us"][: len(held["wall_us"])] == held["wall_us"] and now["wall_us"] == then["wall_us"]
    assert (done > 0) == (stop_after > 1)
    assert content["digest"] == find_digest(content)


OTHERS = {
    "threads": (["--threads", "2"], lambda module: None),
    "device": (["--device", "other"], lambda module: None),
    "runtime": ([], lambda module: setattr(module, "open_runtime", lambda: "2.0")),
    "machine": ([], lambda module: setattr(module, "describe_machine", lambda: {"cores": 99})),
    "networks_sha256": ([], lambda module: module.ABOUT.update(networks_sha256="1" * 16)),
}


@pytest.mark.parametrize("words, change", OTHERS.values(), ids=OTHERS)
def test_another_measurement_is_not_gone_on_with(tmp_path, words, change, request):
    module, _ = start(tmp_path)
    out = tmp_path / "out.json"
    measure(module, out, "--minutes", "0.2")
    held = out.read_bytes()
    change(module)
    with pytest.raises(SystemExit) as ended:
        measure(module, out, *words)
    name = request.node.callspec.id
    assert ended.value.code == f"error: {out}: measured with another '{name}'; give --out another name"
    assert out.read_bytes() == held


def test_a_file_that_is_none_is_left_alone(tmp_path):
    module, _ = start(tmp_path)
    out = tmp_path / "out.json"
    for text in ("{", "[]", "3"):
        out.write_text(text)
        with pytest.raises(SystemExit) as ended:
            measure(module, out)
        assert str(ended.value.code).startswith(f"error: {out}: ") and out.read_text() == text


def test_the_file_stays_below_its_bound(tmp_path):
    module, _ = start(tmp_path)
    assert module.MOST_BYTES < MOST_PROFILE - 1000  # a turn's two times are far less
    module.ROUNDS, module.MOST_BYTES = 1000, 8000
    content = measure(module, tmp_path / "out.json", "--minutes", "1000")
    assert 8000 < (tmp_path / "out.json").stat().st_size < 8100
    assert parse_profile(json.dumps(content), "x", "x").rounds > 4


def test_what_the_system_tells_of_itself(tmp_path):
    module, _ = start(tmp_path)
    texts = {
        "/proc/meminfo": ["MemTotal:        3882084 kB\nMemAvailable:    1000 kB"],
        "/proc/cpuinfo": ["processor\t: 0\nBogoMIPS\t: 108.00\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4"],
        "/proc/device-tree/model": ["Raspberry Pi 4 Model B Rev 1.4"],
        "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq": ["600000", "1800000"],
        "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor": ["ondemand", "ondemand", "performance"],
        "/sys/class/thermal/thermal_zone*/temp": ["48212", "61000"],
    }
    module.read_system = lambda pattern: texts.get(pattern, [])
    machine = module.describe_machine()
    assert (machine["model"], machine["processor"]) == ("Raspberry Pi 4 Model B Rev 1.4", "BCM2835")
    assert machine["memory_bytes"] == 3882084 * 1024
    assert module.describe_state() == {"governor": "ondemand+performance", "mhz": 1800, "celsius": 61.0}
    texts.clear()
    assert module.describe_state() == {"governor": None, "mhz": None, "celsius": None}
    assert module.describe_machine()["memory_bytes"] == 0


# ---------------------------------------------------------------- in a process of its own

FAKE = '''
"""A runtime whose every run takes a millisecond."""
import time
__version__ = "9.9"
class SessionOptions: pass
class InferenceSession:
    def __init__(self, path, options, providers):
        assert open(path, "rb").read(2) and options.intra_op_num_threads == 1
    def run(self, names, feed):
        time.sleep(0.001)
'''


@pytest.fixture
def device(tmp_path):
    """device(*words) starts the script where the runtime is one that does nothing."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "onnxruntime.py").write_text(FAKE)
    script = make_script("tiny", TINY, Wish("onnx"))
    quick = script.replace("LEAST_RUNS, MOST_BYTES = 24, 4, 0.1, 3,", "LEAST_RUNS, MOST_BYTES = 6, 4, 0.01, 3,")
    assert quick != script
    (tmp_path / "tiny.py").write_text(quick)

    def begin(*words: str, path: str = str(tmp_path / "packages")) -> subprocess.Popen:
        words = [sys.executable, "tiny.py", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, **pipes)

    return begin


def wait_for(path: Path, times: int) -> dict:
    """The file, once it holds so many times."""
    for _ in range(3000):
        if path.exists():
            content = json.loads(path.read_text())
            if sum(len(one["wall_us"]) for one in content["networks"]) >= times:
                return content
        time.sleep(0.01)
    raise AssertionError("nothing was measured")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_a_killed_script_goes_on(tmp_path, device, number):
    out = tmp_path / "tiny-onnx.json"
    with device() as first:
        wait_for(out, 20)
        first.send_signal(number)
        said = first.communicate()[1]
    assert first.returncode == (130 if number == signal.SIGINT else -number) and said == ""
    held = json.loads(out.read_text())
    with device() as second:
        said, errors = second.communicate()
    assert (second.returncode, errors) == (0, "") and said.endswith("now: mnv2-sweep device add tiny-onnx.json\n")
    content = json.loads(out.read_text())
    for before, after in zip(held["networks"], content["networks"], strict=True):
        assert after["wall_us"][: len(before["wall_us"])] == before["wall_us"] and len(after["wall_us"]) == 6
        assert after["file_bytes"] > 1000
    assert len(content["sessions"]) == 2 and content["digest"] == find_digest(content)
    if sys.platform == "linux":
        assert all(one["peak_bytes"] > 5_000_000 for one in content["networks"])


@pytest.mark.slow
def test_without_its_runtime_and_with_wrong_words_it_says_so(tmp_path, device):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "onnxruntime.py").write_text("raise ImportError('libgomp.so.1 is not there')")
    with device(path=str(tmp_path / "broken")) as run:
        said = run.communicate()[1]
    line = "error: onnxruntime can't be imported (libgomp.so.1 is not there); pip install onnxruntime\n"
    assert (run.returncode, said) == (1, line)
    with device("--threads", "0") as run:
        assert run.communicate()[1].endswith("error: --threads is a whole number from 1\n")
    with device("--list") as run:
        listed = run.communicate()[0].splitlines()
    assert len(listed) == 2 * len(TINY) and json.loads(listed[0])["resolution"] == 16
    assert listed[1].startswith("3,16,16;conv c=8 k=3 s=2")
    assert [*tmp_path.glob("*.json*")] == []


def test_run_here_yields_its_lines_and_raises_what_it_says(tmp_path):
    said = run_script("print('round 1')\nprint('round 2')", tmp_path / "x.json", 1.0)
    assert [*said] == ["round 1", "round 2"]
    with pytest.raises(ProfileError, match="^no clock$"):
        list(run_script("import sys; sys.exit('error: no clock')", tmp_path / "x.json", 1.0))
    with pytest.raises(ProfileError, match="without a word"):
        list(run_script("import os; os._exit(3)", tmp_path / "x.json", 1.0))


@pytest.mark.heavy
@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: wish.words)
def test_real_runtimes_are_measured(tmp_path, wish):
    """On a machine that does other things too: what is asked is a whole profile, not a quiet one."""
    module = {"onnx": "onnxruntime", "litert": "ai_edge_litert"}.get(wish.runtime, wish.runtime)
    pytest.importorskip(module, reason=NEEDS_RUNTIMES)
    out = tmp_path / "x.json"
    lines = [*run_script(make_script("tiny", TINY, wish), out, 0.5)]
    content = json.loads(out.read_text())
    assert lines[-1].startswith("now: ") and content["digest"] == find_digest(content)
    assert min(len(one["wall_us"]) for one in content["networks"]) >= 4
    assert content["networks"][0]["peak_bytes"] > 10_000_000  # of the others as many as a quarter of the time allows
