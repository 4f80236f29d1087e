"""Recipes in words of the command line, by the rules of a space file."""

import math
from dataclasses import fields, replace

import pytest

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.recipes import RECIPE_KEYS, read_recipe_words, split_recipe_words
from mnv2_sweep.trials.recipe import RECIPES, Recipe

SHORT, PAPER = RECIPES["short"], RECIPES["paper"]
OWN = replace(PAPER, name="own", lr=0.5)
QUARTER = {"input_scale": 0.25}


def changed(recipe: Recipe, **values: object) -> Recipe:
    return replace(recipe, name=f"{recipe.name}, changed", **values)


READ = {
    "": (None, changed(SHORT, input_scale=0.25)),
    "recipe=paper": (None, changed(PAPER, input_scale=0.25)),
    "recipe.lr=5e-2 recipe.images=2000": (None, changed(SHORT, lr=0.05, images=2000, input_scale=0.25)),
    "recipe.input_scale=1": (None, SHORT),
    "recipe.epochs=2 recipe.flip=false": (None, changed(SHORT, images=None, epochs=2.0, flip=False, input_scale=0.25)),
    "recipe=paper recipe.optimizer=adamw recipe.name=mine": (
        None,
        replace(PAPER, optimizer="adamw", name="mine", input_scale=0.25),
    ),
}
OF_OWN = {
    "": OWN,
    "recipe.batch=8": changed(OWN, batch=8),
    "recipe.base=short": changed(SHORT, input_scale=0.25),
}
MISTAKES = {
    "recipe=slow": "ablate: recipe: 'slow' given; allowed: short | tune | paper",
    "recipe=paper recipe.base=short": "ablate: recipe is given twice: paper and short",
    "recipe.lr=1 recipe.lr=2": "ablate: recipe.lr is given twice: 1 and 2",
    "recipe.lr": "ablate: 'recipe.lr' given; words are of the form recipe.field=value, as in recipe.lr=0.05",
    "recipe.lr=": "ablate: 'recipe.lr=' given; words are of the form recipe.field=value, as in recipe.lr=0.05",
    "recipe.lrate=1": "ablate: unknown key 'recipe.lrate'; ",
    "recipe.learning_rate=1": "ablate: unknown key 'recipe.learning_rate'; did you mean 'lr'? Allowed: base, name, ",
    "recipe.lr=0.1,0.2": "ablate: recipe.lr: '0.1,0.2' given; allowed: a number above 0",
    "recipe.lr=nan": "ablate: recipe.lr: 'nan' given; allowed: a number above 0 (it is not a finite number)",
    "recipe.lr=-inf": "ablate: recipe.lr: '-inf' given; allowed: a number above 0 (it is not a finite number)",
    "recipe.lr=true": "ablate: recipe.lr: 'true' given; allowed: a number above 0",
    "recipe.lr=None": "ablate: recipe.lr: 'None' given; allowed: a number above 0",
    "recipe.lr=1e999": "ablate: recipe.lr: '1e999' given; allowed: a number above 0 (it is too large)",
    "recipe.images=2e3": "ablate: recipe.images: 2e3 given; allowed: a whole number from 1 up to 10,000,000,000 (write "
    "2000)",
    "recipe.images=20000000000": "ablate: recipe.images: 20000000000 given; allowed: a whole number from 1 up to 10",
    "recipe.images=5 recipe.epochs=1": "ablate: recipe: images and epochs given, one of them allowed; both say how",
    "recipe.flip=no": "ablate: recipe.flip: 'no' given; allowed: true or false (did you mean false?)",
}


@pytest.mark.parametrize("words", READ)
def test_words_are_the_recipe(words):
    own, expected = READ[words]
    assert read_recipe_words(words.split(), "ablate", own, QUARTER) == expected


@pytest.mark.parametrize("words", OF_OWN)
def test_the_usual_changes_are_not_made_to_a_recipe_that_is_there(words):
    assert read_recipe_words(words.split(), "ablate", OWN, QUARTER) == OF_OWN[words]


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(words):
    with pytest.raises(SpaceError) as caught:
        read_recipe_words(words.split(), "ablate", None, QUARTER)
    assert str(caught.value).startswith(MISTAKES[words]) and "\n" not in str(caught.value)


def test_words_and_files_read_every_field_alike(tmp_path):
    values = {field.name: getattr(OWN, field.name) for field in fields(Recipe) if field.name != "images"}
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
    (tmp_path / "given.yaml").write_text(f"points: [{{}}]\nrecipe: {texts}".replace("'", ""))
    words = [f"recipe.{name}={text}" for name, text in texts.items()]
    assert read_recipe_words(words, "ablate", None, {}) == OWN == load_space(tmp_path / "given.yaml").recipe


def test_there_is_no_minus_zero():
    """Which would be another recipe than with zero, by its id."""
    recipe = read_recipe_words(["recipe.weight_decay=-0.0", "recipe.warmup=-0"], "ablate", None, {})
    assert (math.copysign(1, recipe.weight_decay), math.copysign(1, recipe.warmup)) == (1, 1)


def test_words_of_recipes_among_others():
    words = ["residual=none", "recipe.lr=1", "1.0@96", "recipe=paper", "recipes=3"]
    assert split_recipe_words(words, "ablate") == (
        ["recipe.lr=1", "recipe=paper"],
        ["residual=none", "1.0@96", "recipes=3"],
    )
    for key in RECIPE_KEYS:
        with pytest.raises(SpaceError, match=f"^ablate: '{key}=3' given; the recipe has that: write recipe.{key}=3$"):
            split_recipe_words([f"{key}=3"], "ablate")
