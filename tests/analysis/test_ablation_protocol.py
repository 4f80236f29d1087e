"""What an ablation compares, written and read back; sweeps that do not say it."""

import json

import pytest

from mnv2_sweep.analysis.ablation import (
    ALL,
    NO_LINEAR_BOTTLENECK,
    NO_RESIDUAL,
    Protocol,
    changed_arch,
    continue_protocol,
    dump_protocol,
    plan_comparisons,
    read_protocol,
)
from mnv2_sweep.analysis.paired import ALWAYS, ONCE
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.record.folders import is_ablation

SMALL = ArchSpec(width=0.35, resolution=96, classes=10)


@pytest.mark.parametrize("looks", [ONCE, ALWAYS])
def test_what_is_written_is_read_back(tmp_path, looks):
    protocol = Protocol(plan_comparisons([SMALL, ArchSpec()], ALL, "params")[0], looks, 5, "3 seeds")
    text = dump_protocol(protocol, ["--all", "--match", "params"])
    assert text.splitlines()[0] == "# mnv2-sweep ablate --all --match params"
    (tmp_path / "space.yaml").write_text(text)
    assert is_ablation(tmp_path) and read_protocol(tmp_path, []) == protocol


@pytest.mark.parametrize(
    "text",
    [None, "# Which one?\naxes: {width: [1.0]}\n", "# mnv2-sweep ablate --no-linear-bottleneck --base 0.35@96\n"],
    ids=["no file", "a space", "an earlier version's"],
)  # fmt: skip
def test_other_sweeps_are_searched_for_pairs(tmp_path, text):
    if text:
        (tmp_path / "space.yaml").write_text(text)
    archs = [SMALL, ArchSpec(), changed_arch(SMALL, NO_LINEAR_BOTTLENECK)]
    protocol = read_protocol(tmp_path, archs)
    assert [(one.base, one.variant) for one in protocol.comparisons] == [(SMALL, archs[2])] and protocol.looks == ONCE


@pytest.mark.parametrize(
    "text",
    ["{", "[]", json.dumps({"looks": ONCE}), json.dumps({"looks": "twice", "comparisons": []})],
    ids=["cut", "a list", "without comparisons", "no such looks"],
)
def test_a_broken_text_is_a_line(tmp_path, text):
    (tmp_path / "space.yaml").write_text(f"# mnv2-sweep ablate --all\n{text}")
    with pytest.raises(StoreError, match="space.yaml: not what 'ablate' wrote .*; run the same 'ablate' again"):
        read_protocol(tmp_path, [])


def ask(steps: list[tuple], change=NO_LINEAR_BOTTLENECK) -> list[tuple[int, str]]:
    """Seeds and what was peeked at, after each of several commands in one folder: (looks, seeds) each."""
    protocol, known = Protocol(()), []
    for looks, seeds in steps:
        protocol = continue_protocol(protocol, Protocol(plan_comparisons([SMALL], [change])[0], looks, seeds))
        known.append((protocol.seeds, protocol.peeked))
    return known


@pytest.mark.parametrize(
    "steps, known",
    [
        ([(ONCE, 3), (ONCE, 3)], [(3, ""), (3, "")]),
        ([(ONCE, 3), (ONCE, 5), (ONCE, 5)], [(3, ""), (5, "3 seeds"), (5, "3 seeds")]),
        ([(ONCE, 5), (ONCE, 3), (ONCE, 5)], [(5, ""), (5, ""), (5, "")]),
        ([(ONCE, 3), (ALWAYS, 3)], [(3, ""), (3, "")]),
        ([(ALWAYS, 3), (ONCE, 3), (ONCE, 3)], [(3, ""), *[(3, "seeds added until decided")] * 2]),
    ],
    ids=["again", "more, and again", "fewer", "until decided", "and then Student's"],
)
def test_a_look_before_more_seeds_stays_known(steps, known):
    assert ask(steps) == known


def test_other_networks_of_the_folder_were_no_look_at_these():
    before = Protocol(plan_comparisons([SMALL], [NO_RESIDUAL])[0], ALWAYS, 3)
    now = Protocol(plan_comparisons([SMALL], [NO_LINEAR_BOTTLENECK])[0], ONCE, 5)
    assert continue_protocol(before, now) == now
