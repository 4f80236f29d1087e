"""Pixels: what becomes of the values of an image before a network reads it, said once for every file that tells it."""

from dataclasses import dataclass

from mnv2_sweep.base.size import Size
from mnv2_sweep.trials.trial import Trial
from mnv2_sweep.trials.weights import HALF

FIT = "the largest part of the middle that has the network's aspect, scaled to its size"
COLOURS = {3: "RGB", 1: "luma (ITU-R 601)"}


@dataclass(frozen=True, slots=True)
class Pixels:
    """(value / 255 - mean) / std, a number for each channel; three are RGB, one is their luma; `eval_crop` as in
    Recipe."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    eval_crop: float = 1.0

    @property
    def channels(self) -> int:
        """Return how many channels the network reads."""
        return len(self.mean)

    @property
    def scaling(self) -> str:
        """Say it as a formula."""
        if {*self.mean, *self.std} == {0.5}:
            return "value / 127.5 - 1"
        return f"(value / 255 - {list(self.mean)}) / {list(self.std)}"

    @property
    def middle(self) -> str:
        """Say which part of an image is read, to stand before the words for the image; nothing where it is all."""
        return "" if self.eval_crop == 1 else f"the middle {self.eval_crop:g} of each side of "

    @property
    def text(self) -> str:
        """Say all that becomes of an image."""
        return f"{self.scaling}, {COLOURS[self.channels]}, {self.middle}{FIT}"


def whole_level(size: Size, crop: float) -> Size:
    """Return the size of the images from whose middle evaluation at `size` reads: see Recipe.eval_crop."""
    return size.scale(1 / crop)


def pixels_of(trial: Trial) -> Pixels:
    """Return what the trial's network is trained on: what the weights want with which it begins, else from -1 to 1."""
    if trial.start is not None:
        return Pixels(trial.start.mean, trial.start.std, trial.recipe.eval_crop)
    half = HALF[: trial.arch.in_channels]
    return Pixels(half, half, trial.recipe.eval_crop)
