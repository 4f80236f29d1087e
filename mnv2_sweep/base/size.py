"""The size of an image or a map in pixels."""

import re
from collections.abc import Iterable
from typing import NamedTuple, Union


class Size(NamedTuple):
    """Height and width, as tensors have them; in words width x height, as cameras have it: "160x120", squares "96"."""

    height: int
    width: int

    @property
    def area(self) -> int:
        """Return the number of pixels."""
        return self.height * self.width

    @property
    def is_square(self) -> bool:
        """Say whether both sides are the same."""
        return self.height == self.width

    @property
    def plain(self) -> Union[int, "Size"]:
        """Return the side of a square, else the size, as specs have it."""
        return self.height if self.is_square else self

    @property
    def cell(self) -> int | str:
        """Return the side of a square, else the words, as tables and files have it; `as_size` reads it."""
        return self.height if self.is_square else str(self)

    def __str__(self) -> str:
        return str(self.width) if self.is_square else f"{self.width}x{self.height}"

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def shrink(self, stride: int) -> "Size":
        """Return the size after a layer with that stride and padding for it: strided maps round up."""
        return Size(-(-self.height // stride), -(-self.width // stride))

    def scale(self, factor: float) -> "Size":
        """Return the size with each side times the factor, rounded, at least 1."""
        return Size(max(1, round(self.height * factor)), max(1, round(self.width * factor)))


def square(side: int) -> Size:
    """Return the size of a square."""
    return Size(side, side)


def as_size(value: int | str | Size) -> Size:
    """Return the size that is meant: 96 and "96" are a square, "160x120" is width x height. Raises ValueError."""
    if isinstance(value, Size):
        return value
    found = re.fullmatch(r"([1-9][0-9]{0,8})(?:x([1-9][0-9]{0,8}))?", str(value))
    if not found:
        raise ValueError(f"{value!r} is no size; wanted are whole pixels from 1: a side, or width x height (160x120)")
    return Size(int(found[2] or found[1]), int(found[1]))


def size_range(sizes: Iterable[Size]) -> str:
    """Return the smallest and the largest by area: "24 to 56", "40x30 to 80x60", "24" where all are one."""
    ordered = sorted(set(sizes), key=lambda size: (size.area, size))
    low, high = ordered[0], ordered[-1]
    return f"{low}" if low == high else f"{low} to {high}"
