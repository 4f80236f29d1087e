"""Published figures beside our own counts, as records, text or JSON: tables 2 to 7, and the checkpoints.

"checkpoints" is our name for TF-slim's two lists together with figure 5, whose curves show the same networks. Where a
figure is not ours, cut or rounded as its table does it, the difference has a reason; no count is bent to meet a print.
No torch, no pandas.
"""

import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import groupby

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.base.text import pad_cells
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.paper.heads import (
    count_head,
    count_passes,
    detector_madds_reason,
    detector_params_reason,
    head_madds_reason,
    is_printed,
    segmenter_madds_reason,
)
from mnv2_sweep.paper.published import (
    CHECKPOINTS,
    FIGURE_5,
    MOBILENET_V1_CHECKPOINTS,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_6,
    TABLE_7,
    BlockRow,
)
from mnv2_sweep.paper.reasons import (
    block_rows,
    budget_reason,
    channels_reason,
    checkpoint_madds_reason,
    checkpoint_params_reason,
    is_cut,
    is_rounded,
    kb_reason,
    kilobytes,
    max_reason,
    network_madds_reason,
    network_params_reason,
    stored_channels,
)

MADDS, PARAMS, MARKER = "MAdds (M)", "params (M)", "MAdds in figure 5 (M)"
BILLIONS = "MAdds (B)"
CHANNELS, MEMORY = "channels", "memory (kb)"
TOP1, CPU, MAP, MIOU = "top-1 (%)", "CPU (ms)", "mAP (%)", "mIOU (%)"
MARKER_ERROR = 0.003  # of MAdds read off figure 5
DECIMALS = {MADDS: 2, PARAMS: 3, MARKER: 2, MEMORY: 1, BILLIONS: 3}  # of our figures in the text; the others are whole

QUANTITIES = {  # of each table, in the order of their columns
    "2": tuple(field.name.replace("_", " ") for field in fields(BlockRow)),
    "3": (CHANNELS, MEMORY),
    "4": (PARAMS, MADDS, TOP1, CPU),
    "5": (PARAMS, BILLIONS),
    "6": (PARAMS, BILLIONS, MAP, CPU),
    "7": (PARAMS, BILLIONS, MIOU),
    "checkpoints": (MADDS, PARAMS, MARKER),
}
TABLES = tuple(QUANTITIES)
PAPER = 'Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv 1801.04381v4'
HEADS = {  # title, source, how to read it
    "2": (
        "Table 2: the blocks of MobileNetV2",
        f"table 2 of {PAPER}",
        "Ours is read off the plan of MobileNetV2 1.0 at 224: the network that is counted and built. "
        "-: the paper prints nothing there.",
    ),
    "3": (
        "Table 3: the largest tensor of each size",
        f"table 3 of {PAPER}",
        "16-bit activations, kb of 1000 bytes, cut to one to three digits in print. Ours is the widest tensor that "
        "must be whole in memory when the split trick of section 5.1 joins a convolution that mixes channels, the "
        "steps that go channel by channel, and the mixing convolution after them into one operation.",
    ),
    "4": (
        "Table 4: ImageNet",
        f"table 4 of {PAPER}",
        "Equal means ours cut or rounded to the printed digits, for the table does both: 300 is cut from 300.77, "
        "NASNet-A's 564 is rounded. Top-1 and CPU time (one large core of a Pixel 1) are measured: not counted here. "
        "TF-slim's checkpoints have other top-1: 70.9 for MobileNetV1, 71.8 and 75.0 for MobileNetV2, the latter two "
        "also in figure 5.",
    ),
    "5": (
        "Table 5: heads of SSD and SSDLite",
        f"table 5 of {PAPER}",
        "The head alone, on MobileNetV2 at 320 px, with 80 classes. Equal means ours cut or rounded to the printed "
        "digits.",
    ),
    "6": (
        "Table 6: detectors",
        f"table 6 of {PAPER}",
        "Whole networks with 80 classes, at 300, 512, 416, 320 and 320 px. Equal means ours cut or rounded to the "
        "printed digits. mAP (COCO test-dev, trained on trainval35k) and CPU time (one large core of a Pixel 1) are "
        "measured: neither counted nor reproduced here.",
    ),
    "7": (
        "Table 7: DeepLabv3",
        f"table 7 of {PAPER}",
        "Networks at 513 px with 21 classes; MF: six scales from 257 to 897 px, each with its mirror image, so twelve "
        "passes. V2*: the head is on the second last map. Equal means ours cut or rounded to the printed digits. Ours "
        "counts dilated convolutions as any other; TensorFlow's graph, which the prints of V2* are of, computes more "
        "positions for them and counts the last resize, one an output (paper/tensorflow.py). mIOU (PASCAL VOC 2012, "
        "pretrained on COCO) is measured: neither counted nor reproduced here.",
    ),
    "checkpoints": (
        "Checkpoints: TF-slim's MobileNetV2 and V1, and figure 5",
        "tensorflow/models, research/slim/nets/mobilenet/README.md (22 MobileNetV2) and research/slim/nets/"
        f"mobilenet_v1.md (16 MobileNetV1 of 2018_02_22); figure 5 (43 markers) of {PAPER}",
        '"checkpoints" is our name for both lists and the curves of figure 5, which show the same networks. Equal '
        "means ours cut (MAdds of MobileNetV2) or rounded (all else) to the printed digits, and within 0.3 % for "
        "figure 5, which is read off a drawing.",
    ),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One published figure; `ours` is None where nothing is counted, `difference` and `reason` "" where both agree."""

    table: str
    row: str
    quantity: str
    published: float | str
    ours: float | str | None
    difference: str
    reason: str


def paper_comparisons(table: str | None = None) -> list[Comparison]:
    """Compare every published figure of one table, or of all. Raises SweepError on a table that is none."""
    makers = {
        "2": _table_2, "3": _table_3, "4": _table_4, "5": _table_5, "6": _table_6, "7": _table_7,
        "checkpoints": _checkpoints,
    }  # fmt: skip
    return [comparison for name in _chosen(table) for comparison in makers[name]()]


def paper_json(table: str | None = None) -> str:
    """Return a list of objects, one a published figure."""
    return json.dumps([asdict(comparison) for comparison in paper_comparisons(table)])


def paper_text(table: str | None = None) -> str:
    """Return each table with title and source, published and ours side by side, and numbered notes with the reasons."""
    return "\n\n\n".join(_table_text(name, paper_comparisons(name)) for name in _chosen(table))


def _chosen(table: str | None) -> tuple[str, ...]:
    if table is not None and table not in TABLES:
        raise SweepError(f"table: {table!r} given, {' | '.join(TABLES)} allowed")
    return TABLES if table is None else (table,)


def _table_2() -> Iterator[Comparison]:
    for number, (row, ours) in enumerate(zip(TABLE_2, block_rows(ArchSpec()), strict=True), 1):
        for field, quantity in zip(fields(BlockRow), QUANTITIES["2"], strict=True):
            a, b = getattr(row, field.name), getattr(ours, field.name)
            if a is not None:
                yield _compare(("2", str(number), quantity), a, b, a == b)


def _table_3() -> Iterator[Comparison]:
    for memory in TABLE_3:
        stored = stored_channels(resolve(memory.arch))
        for size, channels, kb in memory.tensors:
            row, ours = f"{memory.name}, {size}x{size}", stored.get(size, 0)
            same, ours_kb = channels == ours, kilobytes(ours, size)
            why = (kb_reason, size, channels, kb) if same else (channels_reason, memory, size, channels)
            yield _compare(("3", row, CHANNELS), channels, ours, same, *why)
            yield _compare(("3", row, MEMORY), kb, ours_kb, _is_cut_kb(kb, ours_kb), *why)
        ours_kb = max(kilobytes(channels, size) for size, channels in stored.items())
        same = _is_cut_kb(memory.max_kb, ours_kb)
        yield _compare(("3", f"{memory.name}, max", MEMORY), memory.max_kb, ours_kb, same, max_reason, memory)


def _is_cut_kb(published: int, ours: float) -> bool:
    """Return whether the print is ours cut to the digits printed: zeros at the end are not among them."""
    step = 1
    while published % (step * 10) == 0:
        step *= 10
    return is_cut(published, ours, step)


def _table_4() -> Iterator[Comparison]:
    for network in TABLE_4:
        cost, printed = count_cost(network.arch), network.params_m
        madds, params = cost.madds / 1e6, cost.params / 1e6
        same = is_cut(printed, params, 0.1) or is_rounded(printed, params, 0.1)
        yield _compare(("4", network.name, PARAMS), printed, params, same, network_params_reason, network)
        same = is_cut(network.madds_m, madds, 1) or is_rounded(network.madds_m, madds, 1)
        yield _compare(("4", network.name, MADDS), network.madds_m, madds, same, network_madds_reason, network)
        yield Comparison("4", network.name, TOP1, network.top1_percent, None, "", "")
        if network.cpu_ms is not None:
            yield Comparison("4", network.name, CPU, network.cpu_ms, None, "", "")


def _table_5() -> Iterator[Comparison]:
    for row in TABLE_5:
        params, madds = count_head(row.arch)
        yield _compare(("5", row.name, PARAMS), row.params_m, params, is_printed(row.params_m, params))
        why = (head_madds_reason, row)
        yield _compare(("5", row.name, BILLIONS), row.madds_b, madds, is_printed(row.madds_b, madds), *why)


def _table_6() -> Iterator[Comparison]:
    for row in TABLE_6:
        cost = count_cost(row.arch)
        params, madds = cost.params / 1e6, cost.madds / 1e9
        same, why = is_printed(row.params_m, params), (detector_params_reason, row)
        yield _compare(("6", row.name, PARAMS), row.params_m, params, same, *why)
        same, why = is_printed(row.madds_b, madds), (detector_madds_reason, row)
        yield _compare(("6", row.name, BILLIONS), row.madds_b, madds, same, *why)
        yield Comparison("6", row.name, MAP, row.map_percent, None, "", "")
        if row.cpu_ms is not None:
            yield Comparison("6", row.name, CPU, row.cpu_ms, None, "", "")


def _table_7() -> Iterator[Comparison]:
    for row in TABLE_7:
        params, madds = count_cost(row.arch).params / 1e6, count_passes(row)
        yield _compare(("7", row.name, PARAMS), row.params_m, params, is_printed(row.params_m, params))
        same, why = is_printed(row.madds_b, madds), (segmenter_madds_reason, row)
        yield _compare(("7", row.name, BILLIONS), row.madds_b, madds, same, *why)
        yield Comparison("7", row.name, MIOU, row.miou_percent, None, "", "")


def _checkpoints() -> Iterator[Comparison]:
    markers, here = {marker.arch: marker.madds_m for marker in FIGURE_5}, "checkpoints"
    for checkpoint in (*CHECKPOINTS, *MOBILENET_V1_CHECKPOINTS):
        arch, printed, row = checkpoint.arch, checkpoint.madds_m, _row_name(checkpoint.arch)
        cost, shorten = count_cost(arch), is_cut if arch.family == "mobilenet_v2" else is_rounded
        madds, params, why = cost.madds / 1e6, cost.params / 1e6, (checkpoint_madds_reason, checkpoint)
        yield _compare((here, row, MADDS), printed, madds, shorten(printed, madds, 1), *why)
        same = is_rounded(checkpoint.params_m, params, 0.01)
        yield _compare((here, row, PARAMS), checkpoint.params_m, params, same, checkpoint_params_reason, arch)
        if arch in markers:
            marker = markers.pop(arch)
            yield _compare((here, row, MARKER), marker, madds, _is_near(marker, madds), *why)
    for arch, marker in markers.items():
        madds, row = count_cost(arch).madds / 1e6, _row_name(arch)
        yield _compare((here, row, MARKER), marker, madds, _is_near(marker, madds), budget_reason, arch, marker)


def _row_name(arch: ArchSpec) -> str:
    return f"MobileNetV2 {arch_label(arch)}" if arch.family == "mobilenet_v2" else arch_label(arch)


def _is_near(marker: float, madds: float) -> bool:
    return abs(marker - madds) <= MARKER_ERROR * madds


def _compare(
    place: tuple[str, str, str], published: float | str, ours: float | str, same: bool, reason: Callable = str, *facts
) -> Comparison:
    """Compare one figure with ours; `reason(*facts)` is asked only where the two differ."""
    if same:
        return Comparison(*place, published, ours, "", "")
    words = isinstance(published, str) or isinstance(ours, str)
    difference = "other" if words else f"{100 * (ours / published - 1):+.1f} %"
    return Comparison(*place, published, ours, difference, reason(*facts))


def _table_text(table: str, comparisons: list[Comparison]) -> str:
    title, source, reading = HEADS[table]
    reasons = list(dict.fromkeys(c.reason for c in comparisons if c.reason))
    counted = [c for c in comparisons if c.ours is not None]
    differ = sum(bool(c.difference) for c in counted)
    lines = [title, *_wrap(f"Published: {source}."), *_wrap(reading), "", *_grid(table, comparisons, reasons), ""]
    lines.append(f"{len(counted)} figures compared: {len(counted) - differ} equal, {differ} different.")
    for number, reason in enumerate(reasons, 1):
        lines += _wrap(reason, f"[{number}] ".rjust(5))
    return "\n".join(lines)


def _wrap(text: str, label: str = "") -> list[str]:
    return textwrap.wrap(text, 120, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False)


def _grid(table: str, comparisons: list[Comparison], reasons: list[str]) -> list[str]:
    """Return a line per row: for each quantity published, ours where it is counted, the difference if there is one."""
    rows = {name: {c.quantity: c for c in group} for name, group in groupby(comparisons, key=lambda c: c.row)}
    names = ["", "row" if table == "2" else "network", *rows]
    blocks = [names]
    for quantity in QUANTITIES[table]:
        cells = [_cells(row.get(quantity), reasons) for row in rows.values()]
        columns = [
            column for column in zip(("published", "ours", "difference"), *cells, strict=True) if any(column[1:])
        ]
        lines = ["  ".join(cells) for cells in pad_cells(zip(*columns, strict=True))]
        blocks.append([quantity.center(len(lines[0])), *lines])
    return ["   ".join(cells).rstrip() for cells in pad_cells(zip(*blocks, strict=True), left=[0])]


def _cells(comparison: Comparison | None, reasons: list[str]) -> tuple[str, str, str]:
    if comparison is None:
        return "-", "", ""
    c, note = comparison, ""
    if c.reason:
        note = f" {f'[{reasons.index(c.reason) + 1}]':<4}"
    published = f"{c.published:.1f}" if c.quantity in (TOP1, MARKER) else str(c.published)
    published = f"{c.published:.2f}" if c.quantity == MIOU else published
    ours = "" if c.ours is None else str(c.ours)
    if c.quantity in DECIMALS:
        ours = f"{c.ours:.{DECIMALS[c.quantity]}f}"
    return published, ours, c.difference + note
