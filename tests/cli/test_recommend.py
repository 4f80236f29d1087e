"""The command `recommend`, on the committed example and on wishes that nothing can fulfil."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_main import call

EXAMPLE = Path(__file__).parents[2] / "results" / "example"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(EXAMPLE, folder / "results" / "example")
    return folder


def test_the_example_has_an_answer_within_limits(desk):
    code, out, err = call(desk, "recommend", "--where", "madds <= 100M", "--where", "params <= 2M")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "example: 10 of 22 networks with a result keep madds <= 100M and params <= 2M"
    assert lines[2] == "take          0.5 at 224: 97.1M MAdds, 1.97M params"
    assert [line.split("  ")[0] for line in lines if line[:1].strip()][1:] == [
        *("take", "how sure", "score", "if wrong", "runners-up"),
        *("0.5 at 192", "0.35 at 224", "next cheaper", "next better", "not known", "next"),
    ]
    assert all(len(line) <= 112 for line in lines) and lines[-1].endswith("mnv2-sweep run SPACE --again '0.5 at 224'")


def test_programs_get_json(desk):
    code, out, _ = call(desk, "recommend", "example", "--where", "madds <= 310M", "--at-least", "0.8", "--json")
    told = json.loads(out)
    assert code == 0 and told["verdict"] == "sure" and told["taken"]["network"] == "1.0 at 224"
    assert told["at_least"] == 0.8 and told["better"]["breaks"] == ["madds <= 310M"]


def test_nothing_fits_is_an_answer(desk):
    code, out, err = call(desk, "recommend", "--where", "madds <= 1M")
    assert (code, err) == (0, "") and "nothing fits; nearest is 0.35 at 96 with 11.9M MAdds where madds <= 1M" in out
    told = json.loads(call(desk, "recommend", "--where", "madds <= 1M", "--json").out)
    assert told["taken"] is None and told["nearest"]["network"] == "0.35 at 96"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ["--where", "madds <= 1M", "--where", "madds > 2M"],
            '--where "madds <= 1M" and "madds > 2M": they contradict',
        ),
        (["--where", "flops <= 1M"], "--where \"flops <= 1M\": unknown cost 'flops'; did you mean 'madds'?"),
        (["--where", "top1 >= 0.9"], '--where "top1 >= 0.9": that is a score'),
        (["--at-least", "85"], "--at-least 85: a probability from 0.5 to 0.999 is wanted, as in 0.85"),
        (["--within", "-1"], "--within -1: 0 or more is wanted"),
        (["nowhere"], "results/nowhere: no such sweep"),
    ],
)
def test_what_cannot_be_answered_is_one_line(desk, words, why):
    code, out, err = call(desk, "recommend", *words)
    assert (code, out) == (2, "") and err.startswith(f"error: {why}") and err.count("\n") == 1


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, mnv2_sweep\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'torch'} & {*sys.modules}\n"
        "from mnv2_sweep import load_sweep, recommend\n"
        "assert not heavy and 'torch' not in sys.modules and callable(load_sweep) and callable(recommend), heavy\n"
        "assert 'recommend' in mnv2_sweep.__all__ and not hasattr(mnv2_sweep, 'recommended')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
