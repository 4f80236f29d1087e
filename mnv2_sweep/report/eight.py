"""What a sweep's exports got right in 8 bits, and profiles of devices -> the points of its networks in 8 bits."""

from pathlib import Path

import numpy as np
import pandas as pd

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import count_noun
from mnv2_sweep.devices.costs import count_rows, estimate, find_model
from mnv2_sweep.devices.folder import devices_folder, list_profiles
from mnv2_sweep.devices.profile import Profile
from mnv2_sweep.plots.pareto import CostAxis, Eight
from mnv2_sweep.record.exports import load_eights
from mnv2_sweep.record.frame import load_archs
from mnv2_sweep.trials.tasks import TOP1, main_score

FORMS = {"ai-edge-litert": "tflite"}  # of the files that a runtime reads, others read ONNX
MOST_NAMED = 3
EXPORT = "'mnv2-sweep export SWEEP NETWORK --to onnx --int8' measures it"
OF_8_BITS = {"file_bytes": "file_int8_bytes", "peak_activation_bytes": "peak_activation_int8_bytes"}


def find_eight(folder: Path, trials: pd.DataFrame, summary: pd.DataFrame, axis: CostAxis) -> Eight:
    """Return the points of a summary's networks in 8 bits: each network's mean score, moved by what 8 bits changed in
    its exported networks on the same images; at what 8 bits cost. Raises SweepError where no export was run in 8
    bits."""
    if main_score(summary) != TOP1:
        raise SweepError(f"--int8: exports are run for top-1, and this sweep is ranked by {main_score(summary).label}")
    cost, form, words = _find_cost(axis)
    moves = _find_moves(folder, trials, form)
    if not moves:
        what = f"an 8-bit {form} file of one of its networks" if form else "a network of it in 8 bits"
        raise SweepError(f"--int8: {folder}: no export ran {what} on the validation images; {EXPORT}")
    keys = [*zip(summary["arch_key"], _kinds(summary), strict=True)]
    moved = np.array([np.mean(moves[key]) if key in moves else np.nan for key in keys])
    archs = load_archs(folder)
    costs = estimate(cost, count_rows([archs[key] for key, _ in keys])).values.astype(float)
    missing = [name for name, move in zip(summary["network"], moved, strict=True) if np.isnan(move)]
    shown = ", ".join(missing[:MOST_NAMED]) + (f" and {len(missing) - MOST_NAMED:,} more" * (len(missing) > MOST_NAMED))
    lacking = f" Not exported in 8 bits, so without a point: {shown}." if missing else ""
    have = f"{len(summary) - len(missing):,} of {count_noun(len(summary), 'network')}"
    caption = f"In 8 bits ({have}): the score, moved by what 8 bits changed in exported files on the same images; "
    caption += f"{words}."
    return Eight(costs, summary[TOP1.name].to_numpy(dtype=float) + moved, caption + lacking)


def _find_moves(folder: Path, trials: pd.DataFrame, form: str | None) -> dict[tuple[str, str], list[float]]:
    """Return by network and kind of start what 8 bits changed of top-1, for each export of it that was run."""
    of_trial = {trial["trial_id"]: (trial["arch_key"], kind, trial["val_top1"])
                for trial, kind in zip(trials.to_dict("records"), _kinds(trials), strict=True)}  # fmt: skip
    moves: dict[tuple[str, str], list[float]] = {}
    for one in load_eights(folder):
        if one.trial in of_trial and form in (None, one.form):
            key, kind, measured = of_trial[one.trial]
            moves.setdefault((key, kind), []).append(one.top1 - (measured if one.in_floats is None else one.in_floats))
    return moves


def _kinds(frame: pd.DataFrame) -> list[str]:
    return [*frame["init"]] if "init" in frame else [""] * len(frame)


def _find_cost(axis: CostAxis) -> tuple[str, str | None, str]:
    """Return the cost in 8 bits that belongs to an axis in floats, which form of files it is of (None: any), and words
    on it. Raises SweepError where the axis is of 8 bits itself."""
    if axis.column in OF_8_BITS:
        return OF_8_BITS[axis.column], None, f"each at its {OF_8_BITS[axis.column]}"
    if "@" not in axis.column:
        return axis.column, None, "at the same cost, which is that of 8 bits, too"
    kind, _, name = axis.column.partition("@")
    profile = find_model(axis.column).profile
    if profile.int8:
        raise SweepError(f"--int8 --cost {axis.column}: a profile of 8 bits; give that of floats, and its points in 8 "
                         "bits are found")  # fmt: skip
    form = FORMS.get(profile.runtime, "onnx")
    alike = [one for one in list_profiles(devices_folder())[0] if one.int8 and _setting(one) == _setting(profile)]
    if not alike:
        return axis.column, form, (f"{kind} in 8 bits is not known ({name} has no profile with --int8 beside it), so "
                                   "each stands at that of floats")  # fmt: skip
    other = f"{kind}@{alike[0].name}"
    return other, form, f"each at its {other}"


def _setting(profile: Profile) -> tuple:
    """Return what profiles in floats and in 8 bits have in common, if they are of one device."""
    return profile.device, profile.runtime, profile.threads, profile.machine.processor, profile.machine.model
