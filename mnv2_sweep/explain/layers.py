"""ArchSpec -> its network layer by layer with sums per stage, and its costs in other conventions; text, JSON or CSV.

The rows count as `cost` does and add up to it. "bytes out" is the layer's output; "bytes live" all that is alive while
it runs: input, output and what a later layer still reads (batch 1, 32-bit floats); the largest is the network's peak.
"""

import csv
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from mnv2_sweep.base.text import align_lines, count_noun
from mnv2_sweep.explain.conventions import Convention, madds_conventions, params_conventions
from mnv2_sweep.explain.listing import cost_json
from mnv2_sweep.nets.arch import ArchSpec, arch_label
from mnv2_sweep.nets.cost import BYTES_PER_ACTIVATION, count_cost
from mnv2_sweep.nets.memory import memory_records
from mnv2_sweep.nets.plan import WEIGHTED, Block, Layer
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.nets.steps import live_elements

HEADER = ("layer", "operation", "in", "out", "MAdds", "params", "bytes out", "bytes live")
WORDS = (0, 1)  # places of the columns of words; the others are numbers and shapes, and stand right


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer. `then` is what follows it in place: batch norm ("bn"), activation, the sum with another tensor."""

    stage: str
    block: str
    layer: str
    operation: str
    then: str
    shape_in: str
    shape_out: str
    madds: int
    params: int
    output_bytes: int
    live_bytes: int
    peak: bool


@dataclass(frozen=True, slots=True)
class StageSum:
    """Sums over the layers of a stage; of the live bytes the largest."""

    stage: str
    blocks: int
    layers: int
    madds: int
    params: int
    live_bytes: int


def explain_text(arch: ArchSpec) -> str:
    """Return the table, its sums, and the other conventions, for a person."""
    rows, cost = layer_rows(arch), count_cost(arch)
    return "\n".join(
        [
            f"{arch_label(arch)}, layer by layer",
            *_table_lines(rows),
            "bn: batch norm. bytes live: input, output and whatever is still needed; in the sums, the largest.",
            "",
            "MAdds in other conventions, the smallest first",
            *_convention_lines(madds_conventions(arch), cost.madds),
            "",
            "params in other conventions, the smallest first",
            *_convention_lines(params_conventions(arch), cost.params),
        ]
    )


def explain_json(arch: ArchSpec) -> str:
    """Return one object: what `cost_json` has; layers, stage sums and conventions as lists; section 5.1's memory."""
    rows = layer_rows(arch)
    lists = {
        "layers": rows,
        "sums": stage_sums(rows),
        "madds_conventions": madds_conventions(arch),
        "params_conventions": params_conventions(arch),
    }
    record = json.loads(cost_json(arch))
    record |= {name: [asdict(each) for each in records] for name, records in lists.items()}
    return json.dumps(record | {"memory": memory_records(arch)})


def explain_csv(arch: ArchSpec) -> str:
    """Return the layers, one a line, each with its newline."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(LayerRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in layer_rows(arch))
    return text.getvalue()


# ---------------------------------------------------------------- rows


def layer_rows(arch: ArchSpec) -> list[LayerRow]:
    """Return a row for every layer in order. Raises ArchError on an impossible spec."""
    plan, cost = resolve(arch), count_cost(arch)
    live = [BYTES_PER_ACTIVATION * elements for elements in live_elements(plan.layers, plan.outputs)]
    placed = [(block, layer) for block in plan.blocks for layer in block.layers]
    rows = [
        _layer_row(block, layer, bytes_, bytes_ == cost.peak_activation_bytes)
        for (block, layer), bytes_ in zip(placed, live, strict=True)
    ]
    total = sum(row.madds for row in rows), sum(row.params for row in rows), max(live)
    assert total == (cost.madds, cost.params, cost.peak_activation_bytes)
    return rows


def stage_sums(rows: Sequence[LayerRow]) -> list[StageSum]:
    """Return the sums of the stages in order."""
    return [_sum_rows(stage, list(group)) for stage, group in itertools.groupby(rows, lambda row: row.stage)]


def _sum_rows(stage: str, rows: Sequence[LayerRow]) -> StageSum:
    madds, params = sum(row.madds for row in rows), sum(row.params for row in rows)
    return StageSum(stage, len({row.block for row in rows}), len(rows), madds, params, max(r.live_bytes for r in rows))


def _layer_row(block: Block, layer: Layer, live_bytes: int, peak: bool) -> LayerRow:
    return LayerRow(
        stage=block.stage,
        block=block.name,
        layer=layer.name,
        operation=_operation(layer),
        then=_then(block, layer),
        shape_in=layer.shape_in,
        shape_out=layer.shape_out,
        madds=layer.madds,
        params=layer.params,
        output_bytes=BYTES_PER_ACTIVATION * layer.output_elements,
        live_bytes=live_bytes,
        peak=peak,
    )


def _operation(layer: Layer) -> str:
    """Say what a layer does, as in "conv 3x3 /2", "depthwise 3x3 dilated 2", "1x1 in 3 groups", "average pool 3x3 /2",
    "concat 2"."""
    window = f"{layer.kernel}x{layer.kernel}" + (f" /{layer.stride}" if layer.stride > 1 else "")
    window += f" dilated {layer.dilation}" if layer.dilation > 1 else ""
    if layer.op == "conv":
        if 1 < layer.groups == layer.c_in:
            return f"depthwise {window}"
        grouped = f" in {layer.groups} groups" if layer.groups > 1 else ""
        return (window if layer.kernel == 1 else f"conv {window}") + grouped
    if layer.op in ("max_pool", "avg_pool"):
        return f"{'max' if layer.op == 'max_pool' else 'average'} pool {window}"
    if layer.op == "space_to_depth":
        return f"space to depth {layer.stride}"
    if layer.op in ("add", "concat"):
        return f"{layer.op} {len(layer.reads)}"
    return f"shuffle {layer.groups} groups" if layer.op == "shuffle" else layer.op.replace("_", " ")


def _then(block: Block, layer: Layer) -> str:
    """Say what follows it in place, as "bn, relu6" or "bn, + shortcut", in the order in which they happen."""
    act = [layer.act] if layer.act and layer.op != "relu" else []
    if layer.op not in WEIGHTED:
        return ", ".join(act)
    sums = ["+ shortcut" if block.shortcut else "+ branch"] * (len(layer.reads) - 1)
    return ", ".join(["bn"] * layer.norm + (act + sums if layer.sum_last else sums + act))


# ---------------------------------------------------------------- text


def _table_lines(rows: Sequence[LayerRow]) -> list[str]:
    """Return the header, layers with a sum after each stage, total."""
    cells, peaks = [HEADER], [False]
    for stage in stage_sums(rows):
        shown = [row for row in rows if row.stage == stage.stage]
        cells += [*map(_row_cells, shown), _sum_cells(_stage_name(stage.stage), stage)]
        peaks += [*(row.peak for row in shown), False]
    cells.append(_sum_cells("total", _sum_rows("", rows)))
    lines = align_lines(cells, WORDS)
    return [line + "  peak" if peak else line for line, peak in zip(lines, [*peaks, False], strict=True)]


def _row_cells(row: LayerRow) -> tuple[str, ...]:
    operation = ", ".join(part for part in (row.operation, row.then) if part)
    numbers = (row.madds, row.params, row.output_bytes, row.live_bytes)
    return (f"  {row.layer}", operation, row.shape_in, row.shape_out, *(f"{number:,}" for number in numbers))


def _sum_cells(name: str, stage: StageSum) -> tuple[str, ...]:
    counts = f"{count_noun(stage.blocks, 'block')}, {count_noun(stage.layers, 'layer')}"
    return (name, counts, "", "", f"{stage.madds:,}", f"{stage.params:,}", "", f"{stage.live_bytes:,}")


def _stage_name(stage: str) -> str:
    return f"stage {stage}" if stage.isdigit() else stage


def _convention_lines(conventions: Sequence[Convention], ours: int) -> list[str]:
    """Return a line for each: value, how much more than ours, name, explanation."""
    cells = []
    for each in conventions:
        more = each.value - ours
        cells.append((f"{each.value:,}", f"{more:+,}" if more else "ours", each.name, each.explanation))
    return [f"  {line}" for line in align_lines(cells, left=(2, 3))]
