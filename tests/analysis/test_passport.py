"""The passport as a file that is whole or a clear message, and as the sentences under a sweep's results."""

import json
import math
import os
from dataclasses import replace

import pytest

from mnv2_sweep.analysis.agreement import Agreement, compare_orders, share_near, weigh_back
from mnv2_sweep.analysis.calibration import stratify
from mnv2_sweep.analysis.passport import (
    MADDS_ALONE,
    PAPER_NETWORKS,
    PAPER_TAU_MADDS,
    PAPER_TAU_PICKED,
    SHARED_WEIGHTS,
    SHORT_SCHEDULE,
    WORD_COLUMNS,
    Passport,
    ProxyVerdict,
    passport_table,
    published_table,
    read_passport,
    verdict_lines,
    write_passport,
)
from mnv2_sweep.analysis.stats import kendall_tau
from mnv2_sweep.base.errors import StoreError
from mnv2_sweep.base.text import align
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.paper.published import CHECKPOINTS
from mnv2_sweep.record.folders import PASSPORT

NAN = math.nan


def make_agreement(**changes) -> Agreement:
    values = dict(networks=8, tau=0.8, tau_low=0.5, tau_high=0.95)
    values |= dict(near_pairs=12, near_same=9, near_share=0.75, near_low=0.55, near_high=0.95)
    values |= dict(tau_gain=-0.05, tau_gain_low=-0.2, tau_gain_high=0.1)
    values |= dict(near_gain=0.25, near_gain_low=-0.1, near_gain_high=0.5)
    return Agreement(**{**values, **changes})


ALONE = make_agreement(
    **dict(tau=0.85, tau_low=0.6, tau_high=0.97, near_same=6, near_share=0.5, near_low=0.3, near_high=0.7),
    **dict(tau_gain=0.0, tau_gain_low=NAN, tau_gain_high=NAN, near_gain=0.0, near_gain_low=NAN, near_gain_high=NAN),
)


def make_passport(published: bool = False, **changes) -> Passport:
    """A calibration with a short schedule as `changes` say, and MAdds alone."""
    short = ProxyVerdict(SHORT_SCHEDULE, make_agreement(**changes), ALONE if published else None, 125.0, "1 seed")
    return Passport(
        "paper_grid", "cifar10", "200,000 images each, 8 networks, 1 seed", (short, ProxyVerdict(MADDS_ALONE, ALONE)),
        "2026-01-31", "2 cores",
    )  # fmt: skip


def test_the_paper_s_tau_of_madds_alone_is_computed():
    published = [c.top1_percent for c in CHECKPOINTS]
    counted = kendall_tau([count_cost(c.arch).madds for c in CHECKPOINTS], published)
    printed = kendall_tau([c.madds_m for c in CHECKPOINTS], published)
    assert (round(counted, 3), round(printed, 3), len(published)) == (PAPER_TAU_MADDS, PAPER_TAU_MADDS, PAPER_NETWORKS)


def test_the_tau_of_the_handful_is_computed_and_weighing_back_brings_it_nearer():
    madds, published = [count_cost(c.arch).madds for c in CHECKPOINTS], [c.top1_percent for c in CHECKPOINTS]
    picked = stratify([c.arch for c in CHECKPOINTS], madds, 8)
    few = [[values[i] for i in picked] for values in (madds, published)]
    assert round(kendall_tau(*few), 3) == PAPER_TAU_PICKED
    back = weigh_back(*few, few[0], share_near(madds))
    assert PAPER_TAU_PICKED + 0.1 < back < PAPER_TAU_MADDS


def test_weighed_back_stands_beside_tau():
    short, alone = make_passport().proxies
    assert "weighed back" not in passport_table(make_passport())[0]
    passport = replace(make_passport(), proxies=(replace(short, tau_weighted=0.912), replace(alone, tau_weighted=NAN)))
    header, *rows = passport_table(passport)
    assert header[:4] == ["proxy", "tau with reference", "weighed back", "pairs within 25 %"]
    assert [row[2] for row in rows] == ["0.912", "-"]


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("published", [True, False])
def test_written_and_read_back(tmp_path, published):
    passport = replace(make_passport(published), near_share=0.2, space_near_share=0.1)
    path = write_passport(tmp_path / "new" / "sweep", passport)
    assert path == tmp_path / "new" / "sweep" / PASSPORT and "NaN" not in path.read_text()
    found = read_passport(path.parent)
    assert repr(found) == repr(passport)  # NaN is not equal to itself
    assert found.proxies[0] == passport.proxies[0] or published
    assert os.listdir(path.parent) == [PASSPORT]


def test_a_real_comparison_survives(tmp_path):
    madds, top1 = ([count_cost(c.arch).madds for c in CHECKPOINTS], [c.top1_percent for c in CHECKPOINTS])
    agreement = compare_orders(madds, top1, madds)
    passport = replace(make_passport(), proxies=(ProxyVerdict(MADDS_ALONE, agreement, agreement, 0.0),))
    write_passport(tmp_path, passport)
    assert repr(read_passport(tmp_path)) == repr(passport)


def test_no_passport_is_none(tmp_path):
    assert read_passport(tmp_path) is None and read_passport(tmp_path / "no such sweep") is None


def test_a_later_calibration_takes_its_place(tmp_path):
    write_passport(tmp_path, make_passport())
    write_passport(tmp_path, replace(make_passport(), made="2026-02-01"))
    assert read_passport(tmp_path).made == "2026-02-01"


def change(values: dict, key: str, value) -> str:
    """The JSON with another value at a dotted place; a value of ... takes the key out."""
    *path, last = key.split(".")
    at = values
    for part in path:
        at = at[int(part)] if part.isdigit() else at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return json.dumps(values)


BROKEN = {
    "no name": ("proxies.0.name", ..., "passport.proxies.0 has no key 'name'"),
    "an unknown key": ("colour", "red", "passport has unknown key 'colour'"),
    "a word for a number": (
        "proxies.0.agreement_with_reference.tau", "high",
        "passport.proxies.0.agreement_with_reference.tau is 'high', not a number",
    ),
    "true for a number": ("proxies.0.cost_seconds", True, "cost_seconds is True, not a number"),
    "an endless number": ("proxies.0.cost_seconds", math.inf, "Infinity is no number"),
    "a number beyond floats": ("proxies.0.cost_seconds", 10**400, "not a passport"),
    "half a pair": ("proxies.0.agreement_with_reference.near_same", 0.5, "near_same is 0.5, not a count"),
    "fewer than none": ("proxies.0.agreement_with_reference.near_same", -1, "near_same is -1, not a count"),
    "a number for a word": ("made", 2026, "passport.made is 2026, not text"),
    "no list": ("proxies", {}, "passport.proxies is {}, not a list"),
    "a list of words": ("proxies", ["short"], "passport.proxies.0 is 'short', not an object"),
    "no MAdds alone": ("proxies", [], "proxies: none given"),
    "a trial that is none": ("proxies.0.trial", "{}", "trial of short schedule: KeyError('arch')"),
    "half a trial": ("proxies.0.trial", '{"arch', "trial of short schedule: "),
    "no comparison": ("proxies.0.agreement_with_reference", None, "is None, not an object"),
}  # fmt: skip


@pytest.mark.parametrize("key, value, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_passport_is_one_clear_line(tmp_path, key, value, message):
    path = write_passport(tmp_path, make_passport())
    path.write_text(change(json.loads(path.read_text()), key, value))
    with pytest.raises(StoreError) as raised:
        read_passport(tmp_path)
    text = str(raised.value)
    assert message in text and text.startswith(str(path)) and "\n" not in text
    assert text.endswith("remove it and run 'mnv2-sweep calibrate SPACE' again")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_half_a_file_is_no_passport(tmp_path, share):
    path = write_passport(tmp_path, make_passport())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StoreError, match="not a passport"):
        read_passport(tmp_path)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[]", b"null", b"[" * 100_000], ids=["bytes", "list", "null", "deep"]
)
def test_what_is_no_passport_at_all(tmp_path, content):
    (tmp_path / PASSPORT).write_bytes(content)
    with pytest.raises(StoreError, match="not a passport"):
        read_passport(tmp_path)


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / PASSPORT).mkdir()
    with pytest.raises(StoreError, match=r"can't be read"):
        read_passport(tmp_path)
    with pytest.raises(StoreError, match="could not be written"):
        write_passport(tmp_path, make_passport())
    assert os.listdir(tmp_path) == [PASSPORT]


def test_a_write_that_fails_leaves_the_old_passport(tmp_path, monkeypatch):
    write_passport(tmp_path, make_passport())

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StoreError, match="No space left on device"):
        write_passport(tmp_path, replace(make_passport(), made="never"))
    assert read_passport(tmp_path).made == "2026-01-31" and os.listdir(tmp_path) == [PASSPORT]


@pytest.mark.parametrize("names", [[], ["synflow"], [MADDS_ALONE, MADDS_ALONE]], ids=["none", "without", "twice"])
def test_madds_alone_is_always_there_once(names):
    with pytest.raises(ValueError, match="each once and 'MAdds alone' allowed"):
        replace(make_passport(), proxies=tuple(ProxyVerdict(name, ALONE) for name in names))


# ---------------------------------------------------------------- the words


def test_table():
    rows = passport_table(make_passport())
    assert rows == [
        ["proxy", "tau with reference", "pairs within 25 %", "cost", "note"],
        ["short schedule", "0.800 (95 % 0.50 to 0.95)", "9 of 12 (95 % 55 to 95 %)", "2 min", "1 seed"],
        ["MAdds alone", "0.850 (95 % 0.60 to 0.97)", "6 of 12 (95 % 30 to 70 %)", "-", ""],
    ]
    assert align(rows, left=WORD_COLUMNS).splitlines()[2].startswith("MAdds alone     0.850")


def test_table_beside_the_published_order():
    header, short, alone = passport_table(make_passport(published=True))
    assert header[3:5] == ["tau with published", "published within 25 %"]
    assert short[3:5] == ["0.850 (95 % 0.60 to 0.97)", "6 of 12 (95 % 30 to 70 %)"] and alone[3:5] == ["-", "-"]


def test_not_calibrated():
    assert verdict_lines(None, SHORT_SCHEDULE) == [
        "not calibrated (MAdds alone reach tau 0.954 on the paper's networks): 'mnv2-sweep calibrate SPACE' says how "
        "far to trust this order"
    ]
    (line,) = verdict_lines(make_passport(), SHARED_WEIGHTS)
    assert line.startswith("not calibrated for shared weights (only for short schedule, MAdds alone): mnv2-sweep cal")


def test_a_proxy_that_could_not_be_made_has_a_row_and_no_verdict(tmp_path):
    refused = ProxyVerdict(SHARED_WEIGHTS, compare_orders([], [], []), note="can't be made: kernel")
    passport = make_passport()
    passport = replace(passport, proxies=(*passport.proxies, refused))
    assert passport_table(passport)[-1] == ["shared weights", "-", "-", "-", "can't be made: kernel"]
    assert verdict_lines(passport, SHARED_WEIGHTS) == ["not calibrated for shared weights: can't be made: kernel"]
    assert verdict_lines(passport, "synflow")[0].startswith(
        "not calibrated for synflow (only for short schedule, MAdds alone): "
    )
    write_passport(tmp_path, passport)
    assert repr(read_passport(tmp_path)) == repr(passport)


def test_all_published_networks_have_a_table_of_their_own():
    passport = make_passport()
    assert published_table(passport) == [["proxy", "networks", "tau with published", "published within 25 %"]]
    alone = replace(passport.proxies[1], agreement_with_all_published=replace(ALONE, networks=22))
    rows = published_table(replace(passport, proxies=(passport.proxies[0], alone)))
    assert rows[1:] == [["MAdds alone", "22", "0.850 (95 % 0.60 to 0.97)", "6 of 12 (95 % 30 to 70 %)"]]


def test_verdict_in_two_sentences():
    assert verdict_lines(make_passport(), SHORT_SCHEDULE) == [
        "calibrated on cifar10 against 200,000 images each, 8 networks, 1 seed: the order by short schedule has "
        "Kendall tau 0.800 (95 % 0.50 to 0.95) with it, MAdds alone 0.850 (95 % 0.60 to 0.97): overall no clear gain "
        "over MAdds alone",
        "within 25 % of MAdds it ordered 9 of 12 pairs (95 % 55 to 95 %) as the reference did; MAdds alone 6 of 12 "
        "(95 % 30 to 70 %): whether it adds anything to MAdds there is open (+25 points, 95 % -10 to +50)",
    ]


@pytest.mark.parametrize(
    "changes, overall, near",
    [
        ({"near_gain_low": 0.05}, "no clear gain", "it adds to MAdds there (+25 points, 95 % +5 to +50)"),
        (
            {"near_gain": -0.3, "near_gain_low": -0.5, "near_gain_high": -0.1},
            "no clear gain",
            "it is worse than MAdds there (-30 points, 95 % -50 to -10)",
        ),
        ({"tau_gain_low": 0.01}, ": better than MAdds alone overall", "is open"),
        ({"tau_gain_high": -0.01}, ": worse than MAdds alone overall", "is open"),
        (
            {"near_gain": 0.0, "near_gain_low": NAN, "near_gain_high": NAN},
            "no clear gain",
            "on these networks it adds nothing to MAdds",
        ),
        (
            {"near_gain_low": NAN, "near_gain_high": NAN, "near_low": NAN, "near_high": NAN},
            "no clear gain",
            "9 of 12 pairs as the reference did; MAdds alone 6 of 12 (95 % 30 to 70 %): +25 points, but too few pairs",
        ),
        ({"near_pairs": 1, "near_same": 1, "near_low": NAN}, "no clear gain", "it ordered 1 of 1 pair as the"),
        ({"near_pairs": 0, "near_same": 0, "near_share": NAN, "near_gain": NAN}, "no clear gain", "is not known"),
        ({"tau": NAN, "tau_gain": NAN}, "tau undefined (all accuracies tie) with it, MAdds alone 0.850", "is open"),
    ],
    ids=["adds", "worse", "better overall", "worse overall", "nothing", "few", "one pair", "no pair", "ties"],
)
def test_what_each_outcome_is_called(changes, overall, near):
    first, second = verdict_lines(make_passport(**changes), SHORT_SCHEDULE)
    assert overall in first and near in second
    assert "nan" not in (first + second).lower()
