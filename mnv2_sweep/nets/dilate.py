"""Strides of blocks -> strides and dilations that keep a map's size at an output stride (DeepLab).

As TF-slim does it: the running stride is compared with the output stride before each block. Where it is reached, the
block has stride 1 and the dilation so far, and its stride multiplies the dilation of those that follow.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """A row of blocks: the stride of the first, and the dilations of the first and of the others."""

    stride: int
    first: int
    others: int


def dilate_rows(running: int, rows: Sequence[tuple[int, int]], output_stride: int) -> list[Row]:
    """Return the rows of these (stride of the first block, blocks) after a stem that has the stride `running`."""
    dilation, made = 1, []
    for stride, _ in rows:
        if running < output_stride:
            running *= stride
            made.append(Row(stride, dilation, dilation))
        else:
            made.append(Row(1, dilation, dilation * stride))
            dilation *= stride
    return made
