"""The size of an image or a map in pixels."""

from typing import NamedTuple


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

    def __str__(self) -> str:
        return str(self.width) if self.is_square else f"{self.width}x{self.height}"

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def shrink(self, stride: int) -> "Size":
        """Return the size after a layer with that stride and padding for it: strided maps round up."""
        return Size(-(-self.height // stride), -(-self.width // stride))


def square(side: int) -> Size:
    """Return the size of a square."""
    return Size(side, side)
