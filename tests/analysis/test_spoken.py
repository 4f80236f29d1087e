"""How tables and figures say a reading of an ablation."""

import pytest

from mnv2_sweep.analysis.ablation import NO_DEPTHWISE, NO_RESIDUAL, change_activation
from mnv2_sweep.analysis.paired import ALWAYS
from mnv2_sweep.analysis.spoken import (
    claim_parts,
    correlation_text,
    cost_change,
    failed_text,
    is_overstated,
    joint_text,
    p_text,
    short_text,
    verdict_text,
)
from tests.reading_samples import read_changes

HIGH, LOW = [60.0, 61.0, 60.5, 60.2], [55.0, 55.9, 55.6, 55.0]
NEAR = [60.1, 60.9, 60.7, 60.1]


@pytest.mark.parametrize(
    "change, base, variant, text, short",
    [
        (NO_RESIDUAL, HIGH, LOW, "same sign, 3.6 times the published gap (3.4 to 3.7)", "same sign, 3.6 times"),
        (
            NO_RESIDUAL, HIGH, [value - 20 for value in LOW],
            "same sign, 18 times the published gap (18 to 18)", "same sign, 18 times",
        ),
        (NO_DEPTHWISE, LOW, HIGH, "same sign, 4.6 times the published gap (4.4 to 4.8)", "same sign, 4.6 times"),
        (NO_RESIDUAL, HIGH, NEAR, "undecided", "undecided"),
        (NO_RESIDUAL, LOW, HIGH, "contradicted", "contradicted"),
        (change_activation("hswish"), HIGH, LOW, "worse than relu6", "worse"),
    ],
    ids=["gap", "many times", "a gap below 0", "undecided", "contradicted", "no claim"],
)  # fmt: skip
def test_verdicts_in_words(change, base, variant, text, short):
    (reading,) = read_changes({change: variant}, base)
    assert (verdict_text(reading), short_text(reading)) == (text, short)


def test_what_speaks_of_these_images_alone_is_called_so():
    (reading,) = read_changes({change_activation("relu"): [value - 0.6 for value in NEAR]}, HIGH, images=200)
    assert verdict_text(reading) == "worse than relu6, on these images; on others of the kind open"
    low, high = reading.joint
    assert joint_text(reading) == f"{low:+.2f} to {high:+.2f}"
    (other,) = read_changes({NO_RESIDUAL: LOW}, HIGH, images=10_000)
    assert "on these images" not in verdict_text(other) and claim_parts(other)[1].endswith(", below the interval")


def test_what_is_not_known_is_a_dash():
    (reading,) = read_changes({NO_RESIDUAL: LOW[:2]}, HIGH[:2])
    assert joint_text(reading) == correlation_text(reading) == "-"
    assert correlation_text(read_changes({NO_RESIDUAL: LOW}, HIGH)[0]) == "+0.96"


def test_what_was_decided_early_may_be_overstated():
    base = [60.0, 61.0, 60.5, 60.2, 60.8, 60.3, 60.6, 60.1]
    shift = [1.2, 0.3, 1.5, 0.6, 1.0, 0.9, 0.5, 1.1]
    variant = [a - 1.5 * b for a, b in zip(base, shift, strict=True)]
    (near,) = read_changes({NO_RESIDUAL: variant}, base, looks=ALWAYS)
    (far,) = read_changes({NO_RESIDUAL: [value - 20 for value in variant]}, base, looks=ALWAYS)
    (once,) = read_changes({NO_RESIDUAL: variant}, base)
    assert near.decided and is_overstated(near) and far.decided and not is_overstated(far)
    assert once.decided and not is_overstated(once)


def test_failed_trainings_are_named_with_their_side_and_seed():
    base, variant = [60.0, 61.0, 60.5, 60.2, 11.0], [59.5, 60.4, 12.0, 59.6, 59.7]
    (reading,) = read_changes({NO_RESIDUAL: variant}, base)
    assert [failed_text(reading, one) for one in reading.failed_looking] == [
        "seed 4 of the base looks like a failed training: 11.0 %, where the median of its seeds is 60.2 %",
        "seed 2 of no residual looks like a failed training: 12.0 %, where the median of its seeds is 59.6 %",
    ]


@pytest.mark.parametrize(
    "base, changed, text",
    [(100, 100, "same"), (1000, 578, "-42.2 %"), (10**6, 10**6 + 200, "+0.02 %"), (10, 200, "+1,900 %")],
)
def test_changes_of_cost(base, changed, text):
    assert cost_change(base, changed) == text


def test_small_p_values():
    assert (p_text(0.00099), p_text(0.0312), p_text(1.0)) == ("<0.001", "0.031", "1.000")
