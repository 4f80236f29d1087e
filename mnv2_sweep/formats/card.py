"""What is known of an exported network -> its model card, the README.md of the export folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mnv2_sweep.base.text import percent
from mnv2_sweep.formats.check import Check
from mnv2_sweep.formats.quantize import WEIGHT_BITS
from mnv2_sweep.formats.runtimes import RUNTIMES

NO_RUNTIME, NO_IMAGES = "its runtime is not installed", "the validation images are gone"  # why a file was not run


def unchecked(reason: str) -> str:
    """Say of a file that it was not run."""
    return f"unchecked: {reason}"


class Score(NamedTuple):
    """A measured share, with its 95 % interval and the images that it is of."""

    name: str  # "validation top-1"
    value: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Card:
    """What is said of a network, beside what its files say themselves; lines may be empty where nothing is known."""

    network: str  # as tables name it
    data: str
    command: str  # that wrote the folder
    start: str = ""  # the weights that training began from, and their licence
    training: str = ""  # how it was trained: way, length, recipe, size, seed
    scores: Sequence[Score] = ()
    costs: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()  # what else a reader should know
    digest: str = ""  # of the network: its weights, classes and what a photo becomes before it
    ends: Mapping[str, str] = field(default_factory=dict)  # what files read and give that have no floats there


def advise(file: str) -> str:
    """Say what to try where a file gets fewer right than torch does, by more than chance explains."""
    stem, _, form = file.partition(".")
    if "int8" not in stem:
        return "floats must not differ, this is a fault of the export: report it with the folder"
    finer = WEIGHT_BITS[form] < max(WEIGHT_BITS.values())
    other = "--to tflite --int8, whose weights have 8 bits instead of 7, or " if finer else ""
    return f"try {other}the floats, model.{form}"


def card_text(card: Card, preprocess: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the card in Markdown; `records` are those of check.json. The script is there for the files that
    `preprocess` names."""
    packages = dict.fromkeys(RUNTIMES[Path(name).suffix].package for name in preprocess["models"])
    lines = [f"# {card.network}", "", f"Trained on {card.data}."]
    lines += [f"How: {card.training}."] if card.training else []
    lines += [f"Began from {card.start}."] if card.start else []
    lines += ["", *card.notes] if card.notes else []
    if card.scores:
        lines += ["", "| score | value | 95 % interval | images |", "|---|---:|---:|---:|"]
        lines += [
            f"| {one.name} | {percent(one.value, 1)} % | {percent(one.low, 1)} to {percent(one.high, 1)} % "
            f"| {one.images:,} |"
            for one in card.scores
        ]  # fmt: skip
    if card.costs:
        lines += ["", "| cost | |", "|---|---:|", *(f"| {name} | {cost} |" for name, cost in card.costs.items())]
    lines += ["", "## Files", "", *_file_lines(records)]
    lines += ["", "## Input", "", *_input_lines(preprocess, records)]
    if packages:
        lines += ["", "## Use", "", "```", f"pip install numpy pillow {' '.join(packages)}"]
        lines += ["python classify.py photo.jpg", "```"]
    commands = dict.fromkeys([record["command"] for record in records.values()] or [card.command])
    lines += ["", "Written by", "", "```", *commands, "```"]
    return "\n".join(lines) + "\n"


def _file_lines(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a table of the files, each as it did when it was run on the validation images."""
    checks = {name: one["unchecked"] if "unchecked" in one else Check.load(one) for name, one in records.items()}
    lines = [
        "| file | bytes | validation top-1 | 95 % interval | images | same answer as torch "
        "| largest difference of a logit | run by |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, check in checks.items():
        if isinstance(check, str):
            said = f"{unchecked(check)} | | | | |"
        else:
            low, high = (percent(end, 1) for end in check.interval)
            said = f"{percent(check.top1, 1)} % | {low} to {high} % | {check.images:,} "
            said += f"| {percent(check.agreement, 1)} % | {check.difference:.2g} | {check.runtime} {check.version}"
        lines.append(f"| {name} | {records[name]['bytes']:,} | {said} |")
    worse = [name for name, check in checks.items() if isinstance(check, Check) and check.is_worse]
    for name in worse:
        said = "fewer right than the network in torch, by more than chance explains"
        lines += ["", f"**{name}: {said}; {advise(name)}.**"]
    return lines


def _input_lines(preprocess: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what is done to a photo, in words, with the files whose ends are no floats."""
    width, height, first = preprocess["width"], preprocess["height"], preprocess["first_size"]
    whole = preprocess["crop_from"] or [width, height]
    by_way = f" by way of {first[0]} x {first[1]}" if first and first != whole else ""
    cut = f" The middle is cut out of {whole[0]} x {whole[1]} pixels." if preprocess["crop_from"] else ""
    kind = "RGB" if preprocess["channels"] == 3 else "grey (luma)"
    mean, std = ([f"{value:g}" for value in preprocess[name]] for name in ("mean", "std"))
    rounded = [
        f"{name} reads and gives {one['ends']}, no floats: of each number x of the image it reads round(x / scale + "
        "zero point), and its logits are (value - zero point) * scale, with the scale and the zero point that the file "
        "has for each of its ends."
        for name, one in records.items()
        if "ends" in one
    ]
    return [
        f"{width} x {height} pixels, {kind}: {preprocess['fit']}; resampled{by_way} ({preprocess['resampling']}).{cut}",
        f"Then (pixel / 255 - mean) / std with mean {', '.join(mean)} and std {', '.join(std)}; preprocess.json has it "
        "for programs. TFLite files read [N, height, width, channels], all others [N, channels, height, width].",
        *rounded,
    ]
