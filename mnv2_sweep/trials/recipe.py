"""A recipe: how a network is trained, for how long and at what size; its rules, and the recipes that have names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.choice import FLAG, WHOLE, Choice, Rule, choice, choice_of, is_number, is_whole, one_of

MAX_EPOCHS = 1_000_000
NO_BALANCE, USUAL_SCORE = "none", "top1"
SCRATCH, IMAGENET, SLICED = "scratch", "imagenet", "sliced"  # values of Recipe.init that are no name of weights


def _number(allowed: str, check: Callable[[float], bool]) -> Rule:
    """Allow the finite numbers for which `check` holds."""
    return Rule(allowed, lambda value: is_number(value) and check(value))


ABOVE_ZERO = _number("a number above 0", lambda value: value > 0)
TO_ONE = _number("a number above 0, at most 1", lambda value: 0 < value <= 1)
BELOW_ONE = _number("a number from 0, below 1", lambda value: 0 <= value < 1)
FROM_0_TO_ONE = _number("a number from 0 to 1", lambda value: 0 <= value <= 1)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train. Exactly one of `images` (training images seen, repeats counted) and `epochs` is given.

    `input_scale` trains and evaluates at that fraction of each network's nominal resolution; costs stay nominal.
    `schedule`: "one_cycle" rises linearly over the first `warmup` fraction of the steps, then falls on a half
    cosine to zero; "exponential" multiplies the rate by `lr_decay` after each `decay_epochs` epochs. `crop_min_area`
    is the smallest fraction of the image that a random resized crop keeps (aspect 3/4 to 4/3), `crop_draw` what is
    drawn evenly: with "area" the kept area and the aspect's logarithm, and what would reach over the image's edge is
    cut, so that at 1.0 87 to 100 % is kept; with "side", as TensorFlow's sample_distorted_bounding_box does, the
    aspect, and then the side, among those at which the crop fits: small crops are drawn more often.
    `brightness` and `saturation` distort colours as TF-slim's Inception preprocessing does (`data.batches`).
    "rmsprop" is torch's, "rmsprop_tf" TensorFlow's, see `training.optimizer`.
    `average` is the decay of a moving average of all weights and batch norm statistics, which is what is evaluated and
    kept; it starts as TensorFlow's does: after step n the decay is min(average, (1 + n) / (10 + n)).
    `shortcut_gain` is the scale at which the batch norm before each shortcut's addition starts (1.0 is
    torchvision's): a small one starts the network near the identity, which short schedules gain from, as in
    Goyal et al., "Accurate, large minibatch SGD"; not 0, from which a ReLU6 after it would never wake.
    `curve_images`: how many validation images each point of the training curve looks at.
    `mixup` trains on mixtures of two images and of their targets, in shares that are drawn for each step from
    Beta(mixup, mixup): Zhang et al., "mixup: Beyond empirical risk minimization" (arXiv 1710.09412), who take 0.1 to
    0.4 on ImageNet.
    `balance` gives each class the same weight in all of the training, N / (classes x images of the class) an image:
    "weights" as a factor of the image's loss, "sampler" as how often it is drawn, in passes of N draws with repeats.
    `score` says what networks are ranked by; it changes nothing of the training, and so not the trial's id.
    `init` is resolved for each network before a run begins, see `Trial.start`; `shortcut_gain`, `init_stddev` and
    `norm_epsilon` leave loaded weights and their conventions alone.
    """

    name: str = choice(
        Rule(
            "a name of at most 60 characters, in quotes if need be",
            lambda value: isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= 60,
        ),
        "How tables and plots call it.",
    )
    images: int | None = choice(WHOLE, "Training images that a network sees, repeats counted.", None, limit=10**10)
    epochs: float | None = choice(
        _number(f"a number above 0, at most {MAX_EPOCHS:,}", lambda value: 0 < value <= MAX_EPOCHS),
        "The same length in passes over the training images; one of the two is given.", None,
    )  # fmt: skip
    input_scale: float = choice(TO_ONE, "Train and evaluate at this fraction of each network's resolution.", 1.0)
    batch: int = choice(
        Rule("a whole number from 2 (batch norm needs two)", lambda value: is_whole(value) and value >= 2),
        "Images in a step.", 64, limit=100_000,
    )  # fmt: skip
    optimizer: str = choice(
        one_of("sgd", "rmsprop", "adamw", "rmsprop_tf"),
        "SGD with Nesterov momentum, RMSProp by torch's rule, AdamW, or RMSProp by TensorFlow's rule.", "sgd",
    )  # fmt: skip
    lr: float = choice(ABOVE_ZERO, "The learning rate at its highest.", 0.1)
    momentum: float = choice(BELOW_ONE, "Momentum of the optimizer, AdamW's first beta.", 0.9)
    schedule: str = choice(
        one_of("one_cycle", "exponential"), "A warm-up and then a half cosine, or a fall after each epoch.", "one_cycle"
    )
    warmup: float = choice(BELOW_ONE, "Share of the steps in which the rate of one_cycle rises.", 0.2)
    lr_decay: float = choice(TO_ONE, "Factor of the rate of exponential after each decay_epochs epochs.", 0.98)
    weight_decay: float = choice(
        _number("a number from 0", lambda value: value >= 0), "Weight decay of all but batch norms and biases.", 4e-5
    )
    label_smoothing: float = choice(BELOW_ONE, "Share of each label that is spread over all classes.", 0.1)
    crop_min_area: float = choice(TO_ONE, "The smallest share of an image that a random crop keeps.", 0.35)
    flip: bool = choice(FLAG, "Mirror half of the images.", True)
    shortcut_gain: float = choice(
        ABOVE_ZERO, "Scale at which the batch norm before each shortcut's addition starts.", 1.0
    )
    curve_images: int = choice(WHOLE, "Validation images behind each point of the training curve.", 500)
    mixup: float = choice(
        _number("a number from 0, at most 100", lambda value: 0 <= value <= 100),
        "Alpha of the Beta distribution of the shares in which images are mixed, two at a time; 0 mixes none.", 0.0,
        label=lambda value: f"mixup {value:g}",
    )  # fmt: skip
    init: str = choice(
        Rule(
            "scratch, imagenet, sliced, or the name or the file of weights",
            lambda value: isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= 1000,
        ),
        "Where networks begin: scratch, imagenet (published weights of each), sliced (channels of a wider one's), "
        "or the name or file of weights.",
        SCRATCH, label=lambda value: f"init {value}",
    )  # fmt: skip
    decay_epochs: float = choice(
        _number(f"a number above 0, at most {MAX_EPOCHS:,}", lambda value: 0 < value <= MAX_EPOCHS),
        "Epochs between two falls of the rate of exponential.", 1.0,
    )  # fmt: skip
    rmsprop_decay: float = choice(BELOW_ONE, "Decay of the mean square of RMSProp.", 0.9)
    rmsprop_epsilon: float = choice(
        ABOVE_ZERO, "Epsilon of RMSProp: under the root with rmsprop_tf, beside it with rmsprop.", 1.0
    )
    average: float = choice(
        BELOW_ONE, "Decay of the moving average of the weights that is evaluated and kept; 0 for none.", 0.0
    )
    decay_depthwise: bool = choice(FLAG, "Weight decay of depthwise kernels, too.", True)
    norm_momentum: float = choice(TO_ONE, "Share of each step's statistics in the running ones of batch norms.", 0.1)
    norm_epsilon: float = choice(
        _number("a number above 0, below 1", lambda value: 0 < value < 1),
        "Epsilon of batch norms; weights with which a network begins keep theirs.", 1e-5,
    )  # fmt: skip
    init_stddev: float = choice(
        _number("a number from 0, at most 10", lambda value: 0 <= value <= 10),
        "Deviation of the normal numbers, cut at twice that, of the first kernels; 0 for torchvision's first weights.",
        0.0,
    )  # fmt: skip
    crop_draw: str = choice(one_of("area", "side"), "What is drawn evenly for a random crop: its area or side.", "area")
    brightness: float = choice(FROM_0_TO_ONE, "The most by which images get lighter or darker, as a share.", 0.0)
    saturation: float = choice(FROM_0_TO_ONE, "The most by which colours get stronger or weaker, as a share.", 0.0)
    eval_crop: float = choice(
        _number("a number from 0.1 to 1", lambda value: 0.1 <= value <= 1),
        "The share of each side, in the middle, of which evaluation makes its images.", 1.0,
    )  # fmt: skip
    balance: str = choice(
        one_of(NO_BALANCE, "weights", "sampler"),
        "What makes up for rare classes: none, weights (their images count more in the loss) or sampler (they are "
        "drawn more often).",
        NO_BALANCE, label=lambda value: f"balance {value}",
    )  # fmt: skip
    score: str = choice(
        one_of(USUAL_SCORE, "balanced_accuracy", "macro_f1", "top5"),
        "Which score ranks the networks; top5 with more than 10 classes.", USUAL_SCORE,
        label=lambda value: f"by {value}",
    )  # fmt: skip


RECIPE_CHOICES: dict[str, Choice] = {field.name: choice_of(field) for field in fields(Recipe)}
RECIPES = {
    "short": Recipe("short", images=22_000, lr=0.03, weight_decay=5e-4, shortcut_gain=0.2),
    # For networks that begin with weights (strategy: tune).
    "tune": Recipe("tune", epochs=4, batch=32, lr=0.01, weight_decay=5e-4, crop_min_area=0.6, init=IMAGENET),
    # The training that TF-slim released for the published top-1, on one GPU: 5.5 million steps of 96 on 1.28 million
    # images (research/slim: nets/mobilenet, train_image_classifier.py, preprocessing/inception_preprocessing.py). Its
    # crops may have 5 % of an image, but are drawn again until they have a tenth (min_object_covered). Results under
    # the name "paper" are of another recipe: torch's RMSProp, the rate falling each epoch, no average.
    "paper": Recipe(
        "paper, released",
        epochs=412,
        batch=96,
        optimizer="rmsprop_tf",
        lr=0.045,
        schedule="exponential",
        decay_epochs=2.5,
        average=0.9999,
        decay_depthwise=False,
        norm_momentum=0.003,
        norm_epsilon=1e-3,
        init_stddev=0.09,
        crop_min_area=0.1,
        crop_draw="side",
        brightness=32 / 255,
        saturation=0.5,
        eval_crop=0.875,
    ),  # fmt: skip
}


def change_recipe(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """Return the recipe with other values; `images` and `epochs` replace each other. A changed one must not pass for
    the one it comes from, so it is named so, with what fields with a label say, where the changes have no name."""
    length = {"images": None, "epochs": None} if changes.keys() & {"images", "epochs"} else {}
    changed = replace(recipe, **{**length, **changes})
    if changed == recipe or "name" in changes:
        return changed
    labelled = [name for name, one in RECIPE_CHOICES.items() if one.label is not str]
    other = [name for name in labelled if getattr(changed, name) != getattr(recipe, name)]
    labels = [RECIPE_CHOICES[name].label(getattr(changed, name)) for name in other]
    first = recipe.name.partition(", changed")[0]
    return replace(changed, name=", ".join([first, "changed", *labels]))


def check_recipe(recipe: Recipe) -> None:
    """Raise SweepError with every mistake of the recipe: field, value, what is allowed. Its name may be any: that of a
    changed one is longer than what a file may say."""
    given = {field.name: getattr(recipe, field.name) for field in fields(Recipe) if field.name != "name"}
    mistakes = []
    if (recipe.images is None) == (recipe.epochs is None):
        mistakes.append(f"images: {recipe.images!r} given, exactly one of images and epochs allowed")
    for name, value in given.items():
        allowed = "" if value is None and name in ("images", "epochs") else RECIPE_CHOICES[name].refuse(value)
        if allowed:
            mistakes.append(f"{name}: {value!r} given; allowed: {allowed}")
    if mistakes:
        raise SweepError(f"recipe '{recipe.name}': " + "; ".join(mistakes))


def length_text(recipe: Recipe) -> str:
    """Say how long the recipe trains: "22,000 images each"."""
    return f"{recipe.images:,} images each" if recipe.images is not None else f"{recipe.epochs:g} epochs each"
