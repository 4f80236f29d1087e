"""A recipe: how a network is trained, for how long and at what size; its rules, and the recipes that have names."""

import math
from dataclasses import dataclass, replace

from mnv2_sweep.base.errors import SweepError

OPTIMIZERS = ("sgd", "rmsprop", "adamw")


MAX_EPOCHS = 1_000_000


SCHEDULES = ("one_cycle", "exponential")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train. Exactly one of `images` (training images seen, repeats counted) and `epochs` is given.

    `input_scale` trains and evaluates at that fraction of each network's nominal resolution; costs stay nominal.
    `schedule`: "one_cycle" rises linearly over the first `warmup` fraction of the steps, then falls on a half
    cosine to zero; "exponential" multiplies the rate by `lr_decay` after each epoch. `crop_min_area` is the
    smallest fraction of the image that a random resized crop keeps (aspect 3/4 to 4/3); what would reach over the
    image's edge is cut, so 1.0 still keeps 87 to 100 % of it.
    `shortcut_gain` is the scale at which the batch norm before each shortcut's addition starts (1.0 is
    torchvision's): a small one starts the network near the identity, which short schedules gain from, as in
    Goyal et al., "Accurate, large minibatch SGD"; not 0, from which a ReLU6 after it would never wake.
    `curve_images`: how many validation images each point of the training curve looks at.
    """

    name: str
    images: int | None = None
    epochs: float | None = None
    input_scale: float = 1.0
    batch: int = 64
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    schedule: str = "one_cycle"
    warmup: float = 0.2
    lr_decay: float = 0.98
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    crop_min_area: float = 0.35
    flip: bool = True
    shortcut_gain: float = 1.0
    curve_images: int = 500


RECIPES = {
    "short": Recipe("short", images=22_000, lr=0.03, weight_decay=5e-4, shortcut_gain=0.2),
    # Section 6.1; label smoothing, crops and length (5.5 million steps of 96 on 1.28 million images) as released.
    "paper": Recipe(
        "paper", epochs=412, batch=96, optimizer="rmsprop", lr=0.045, schedule="exponential", crop_min_area=0.05
    ),
}


def find_recipe(name: str) -> Recipe:
    """Return the named recipe. Raises SweepError."""
    if name not in RECIPES:
        raise SweepError(f"recipe '{name}': no such recipe; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


def change_recipe(recipe: Recipe, changes: dict) -> Recipe:
    """Return the recipe with other values; a changed one must not pass for the one it comes from, so it is named so."""
    changed = replace(recipe, **changes)
    return recipe if changed == recipe else replace(changed, name=f"{recipe.name}, changed")


def check_recipe(recipe: Recipe) -> None:
    """Raise SweepError with every mistake of the recipe: field, value, what is allowed."""
    mistakes = [
        f"{name}: {value!r} given, {allowed} allowed" for name, value, ok, allowed in recipe_rules(recipe) if not ok
    ]
    if mistakes:
        raise SweepError(f"recipe '{recipe.name}': " + "; ".join(mistakes))


def recipe_rules(recipe: Recipe):
    """Yield (field, value, whether it is allowed, what is allowed) for every field whose values can be wrong."""

    def whole(value: object, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    def number(value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

    length = (recipe.images is None) != (recipe.epochs is None)
    yield "images", recipe.images, length, "exactly one of images and epochs"
    yield "images", recipe.images, recipe.images is None or whole(recipe.images, 1), "a whole number from 1"
    epochs = recipe.epochs is None or 0 < recipe.epochs <= MAX_EPOCHS
    yield "epochs", recipe.epochs, epochs, f"a number above 0, at most {MAX_EPOCHS:,}"
    yield "input_scale", recipe.input_scale, 0 < recipe.input_scale <= 1, "a number above 0, at most 1"
    yield "batch", recipe.batch, whole(recipe.batch, 2), "a whole number from 2 (batch norm needs two)"
    yield "optimizer", recipe.optimizer, recipe.optimizer in OPTIMIZERS, " | ".join(OPTIMIZERS)
    yield "lr", recipe.lr, number(recipe.lr) and recipe.lr > 0, "a number above 0"
    yield "momentum", recipe.momentum, 0 <= recipe.momentum < 1, "a number from 0, below 1"
    yield "schedule", recipe.schedule, recipe.schedule in SCHEDULES, " | ".join(SCHEDULES)
    yield "warmup", recipe.warmup, 0 <= recipe.warmup < 1, "a share from 0, below 1"
    yield "lr_decay", recipe.lr_decay, 0 < recipe.lr_decay <= 1, "a number above 0, at most 1"
    yield (
        "weight_decay",
        recipe.weight_decay,
        number(recipe.weight_decay) and recipe.weight_decay >= 0,
        "a number from 0",
    )
    yield "flip", recipe.flip, isinstance(recipe.flip, bool), "true or false"
    yield "label_smoothing", recipe.label_smoothing, 0 <= recipe.label_smoothing < 1, "a number from 0, below 1"
    yield "shortcut_gain", recipe.shortcut_gain, recipe.shortcut_gain > 0, "a number above 0"
    yield "curve_images", recipe.curve_images, whole(recipe.curve_images, 1), "a whole number from 1"
    yield "crop_min_area", recipe.crop_min_area, 0 < recipe.crop_min_area <= 1, "a share above 0, at most 1"
