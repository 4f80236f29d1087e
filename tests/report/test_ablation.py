"""What a person reads of an ablation: table, verdicts, further seeds, method."""

from dataclasses import replace

import pytest

from mnv2_sweep.analysis.ablation import (
    NO_DEPTHWISE,
    NO_LINEAR_BOTTLENECK,
    NO_RESIDUAL,
    change_activation,
    change_expansion,
    plan_comparisons,
)
from mnv2_sweep.analysis.paired import ALWAYS, ONCE, Further
from mnv2_sweep.base.text import duration
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.report.ablation import comparisons_text, further_text, readings_text
from tests.reading_samples import BASE, read_changes

HIGH, LOW = [60.0, 61.0, 60.5, 60.2], [55.0, 55.9, 55.6, 55.0]
NEAR, SHIFTED = [60.1, 60.9, 60.7, 60.1], [59.7, 60.5, 60.7, 59.9]


def cells(line: str) -> list[str]:
    return [cell for cell in line.split("  ") if cell]


def test_the_table_and_the_verdicts():
    readings = read_changes({NO_RESIDUAL: LOW, change_expansion(3): SHIFTED}, HIGH, ArchSpec(width=1.0, resolution=96))
    lines = readings_text(readings, ONCE, workers=2).splitlines()
    assert lines[0] == "1.0 at 96: data shapes, recipe short, trained at 24 px"
    assert [cell.strip() for cell in cells(lines[2])] == ["(base)", "1.0", "56.3M", "3.50M", "4", "60.42"]
    residual, expansion = ([cell.strip() for cell in cells(line)] for line in lines[3:5])
    assert residual[:7] == ["no residual", "1.0", "same", "same", "4", "55.38", "+5.05"]
    assert residual[7:] == ["+4.84 to +5.26", "+0.96", "<0.001", "<0.001", "same sign, 3.6 times"]
    assert (
        expansion[:7] == ["t = 3", "1.0", "-42.2 %", "-25.8 %", "4", "60.20", "+0.23"] and expansion[-1] == "undecided"
    )
    assert lines[6] == (
        "no residual: same sign, 3.6 times the published gap (3.4 to 3.7); the paper: "
        "shortcuts between bottlenecks are better than none (sections 3.3 and "
        "6.4); published +1.41 points (figure 6b), below the interval"
    )
    assert lines[7].startswith("t = 3: undecided; the paper claims nothing here; ")
    assert lines[7].endswith("; how many further seeds would settle it can be told from 5 on")


def test_further_seeds_are_a_range_with_the_time_they_take():
    values = [59.7, 60.9, 60.1, 60.4, 59.9], [60.0, 61.0, 60.5, 60.2, 60.1]
    (reading,) = read_changes({change_activation("relu"): values[0]}, values[1])
    text = further_text(reading, 2)
    assert reading.further.high is None and text == (
        f"{reading.further.low} further seeds or more would settle it with 80 % power, from "
        f"{duration(30.0 * reading.further.low)} with 2 workers; how many at most is not known yet"
    )
    ranged = further_text(replace(reading, further=Further(2, 40)), None)
    assert ranged == "2 to 40 further seeds would settle it with 80 % power, 2 min to 40 min with 1 worker"
    one = further_text(replace(reading, further=Further(1, 1)), 1)
    assert one == "1 further seed would settle it with 80 % power, 60 s with 1 worker"
    assert further_text(replace(reading, further=Further(None, None)), 1) == "more than 1,000 seeds would be needed"


def test_intervals_over_images_and_failed_trainings_are_told():
    changes = {NO_RESIDUAL: [*LOW, 11.0], change_activation("relu"): [*NEAR, 60.1]}
    readings = read_changes(changes, [*HIGH, 60.4], images=2000)
    lines = readings_text(readings, ALWAYS).splitlines()
    header = [cell.strip() for cell in cells(lines[1])]
    assert header[6:] == ["difference", "95 %, each by itself", "other images too", "r", "p", "Holm", "verdict"]
    text = "\n".join(lines)
    assert "seed 4 of no residual looks like a failed training: 11.0 %, where the median of its seeds is 55.0 %" in text
    kept = readings[0].kept
    assert f"no residual without such seeds: +5.05 ({kept.low:+.2f} to {kept.high:+.2f}, p <0.001); a " in text
    assert text.count("looks like a failed training") == 1 and "other images too: over both" in text
    assert "what is decided early is overstated: " in text
    assert "overstated" not in readings_text(readings, ONCE)


def test_how_it_was_tested_is_said_in_full():
    readings = read_changes({NO_RESIDUAL: LOW}, HIGH)
    once, always = readings_text(readings, ONCE).splitlines()[-6:], readings_text(readings, ALWAYS).splitlines()[-7:]
    assert once[0] == "difference: top-1 of the base minus the changed network's, in points; + the base is better"
    assert "Student's t on the differences of each seed (n - 1 degrees of freedom, two-sided)" in once[1]
    assert "two one-sided tests" in once[1]
    assert "however often one looks and whenever one stops (mixture sequential t" in always[1]
    assert once[2] == "Holm: p corrected over the 1 reading of this command; a verdict needs 0.05 or less"
    assert once[3].startswith("r: correlation of the sides over seeds; ") and once[4].endswith(" is not on record")
    assert once[5].endswith("a score 8 spreads below its side's median is called a failed training")
    assert (
        readings_text(readings, ONCE, peeked="3 seeds")
        .splitlines()[-1]
        .startswith("note: these networks were looked at before, with 3 seeds; Student's interval is for ")
    )


@pytest.mark.parametrize(
    "change, base, variant, looks, line",
    [
        (change_activation("hswish"), HIGH, LOW, ONCE, "hswish: worse than relu6; the paper claims nothing here"),
        (
            NO_DEPTHWISE, LOW, HIGH, ONCE,
            "ordinary convolutions: same sign, 4.6 times the published gap (4.4 to 4.8); the paper: "
            "depthwise convolutions cost a small reduction in accuracy "
            "(section 3.1, which refers to MobileNetV1's); published -1.10 points (table 4 of MobileNetV1's paper, "
            "arXiv 1704.04861), above the interval",
        ),
        (
            NO_LINEAR_BOTTLENECK, HIGH[:1], LOW[:1], ONCE,
            "ReLU6 in the bottleneck: undecided; the paper: linear bottlenecks are better than non-linear ones "
            "(section 3.2, by several percent, and section 6.4); published +0.58 points (figure 6a); 1 pair of seeds: "
            "at least two are needed to see a spread",
        ),
        (
            change_activation("relu"), HIGH[:3], [value - 1 for value in HIGH[:3]], ONCE,
            "relu: undecided; the paper claims nothing here; all seeds have the same difference: their spread is not "
            "seen yet",
        ),
        (
            change_activation("relu"), HIGH, [60.2, 60.8, 60.6, 60.1], ONCE,
            "relu: undecided; the paper claims nothing here; how many further seeds would settle it can be told "
            "from 5 on",
        ),
    ],
    ids=["no claim", "published above", "one pair", "no spread", "few"],
)  # fmt: skip
def test_verdict_lines(change, base, variant, looks, line):
    assert line in readings_text(read_changes({change: variant}, base, looks=looks), looks).splitlines()


def test_an_interval_that_is_not_bounded_yet():
    text = readings_text(read_changes({NO_RESIDUAL: LOW[:3]}, HIGH[:3], looks=ALWAYS), ALWAYS)
    row = text.splitlines()[3]
    assert "any" in row.split() and "undecided" in row and "nan" not in text and "inf" not in text


def test_failures_and_bases_are_told():
    several = read_changes({NO_RESIDUAL: [*LOW, None]}, [*HIGH, 60.0])
    several += read_changes({NO_RESIDUAL: []}, HIGH, ArchSpec(width=1.0, resolution=96))
    lines = readings_text(several, ONCE).splitlines()
    assert "failed: 1 trial of no residual or its base; such seeds are left out" in lines
    second = lines.index("1.0 at 96: data shapes, recipe short, trained at 24 px")
    assert [cell.strip() for cell in cells(lines[second + 3])][4:] == ["0", *["-"] * 6, "undecided"]


def test_the_plan_has_both_costs():
    comparisons, _ = plan_comparisons([BASE], [NO_RESIDUAL, change_expansion(4)], "params")
    lines = comparisons_text(comparisons).splitlines()
    assert lines[0].split() == ["changed", "width", "MAdds", "params", "of", "base"]
    assert [cells(line)[0] for line in lines[1:]] == ["no residual", "t = 4", "t = 4, same params"]
    cost = count_cost(BASE)
    own = f"0.5 at 96: {cost.madds:,} MAdds, {cost.params:,} params"
    assert all(line.endswith(own) for line in lines[1:])
    assert [cell.strip() for cell in cells(lines[1])][2:6] == [f"{cost.madds:,}", "same", f"{cost.params:,}", "same"]
