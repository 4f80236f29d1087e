"""An entry of a design space file, or words of the command line -> a Recipe: a named one, or one with changes."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_args

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.spaces.fields import SYNONYMS
from mnv2_sweep.spaces.words import split_word
from mnv2_sweep.spaces.yamlfile import BROKEN, Entry, Mistakes, read_mapping, read_word, refusal, short
from mnv2_sweep.trials.recipe import RECIPE_CHOICES, RECIPES, Recipe, change_recipe

RECIPE_KEYS = ("base", *RECIPE_CHOICES)
FRACTIONS = {field.name for field in fields(Recipe) if float in (field.type, *get_args(field.type))}


def read_recipe(
    entry: Entry, mistakes: Mistakes, own: Recipe | None = None, usual: Mapping[str, object] | None = None
) -> Recipe:
    """Read the name of a recipe, or changes to one: to `own` where the entry names none, else, beside the `usual`
    changes, to the one that it names, "short" where there is none."""
    if not isinstance(entry.value, dict):
        return _read_base("recipe", entry, mistakes)
    values = read_mapping(entry, "recipe", RECIPE_KEYS, mistakes, SYNONYMS)
    changes = {} if own and "base" not in values else dict(usual or {})
    base = _read_base("recipe.base", values.pop("base"), mistakes) if "base" in values else own or RECIPES["short"]
    if "images" in values and "epochs" in values:
        line = max(values["images"].line, values["epochs"].line)
        mistakes.add(line, "recipe: images and epochs given, one of them allowed; both say how long to train")
    for name, value in values.items():
        allowed = RECIPE_CHOICES[name].refuse(value.value)
        if allowed:
            mistakes.add(value.line, refusal(f"recipe.{name}", value, allowed))
        else:
            changes[name] = float(value.value) + 0.0 if name in FRACTIONS else value.value  # + 0.0: no minus zero
    return change_recipe(base, changes)


def _read_base(key: str, entry: Entry, mistakes: Mistakes) -> Recipe:
    if isinstance(entry.value, str) and entry.value in RECIPES:
        return RECIPES[entry.value]
    if entry.value is not BROKEN:
        mistakes.add(entry.line, refusal(key, entry, " | ".join(RECIPES)))
    return RECIPES["short"]


def split_recipe_words(words: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """Return the words that are about the recipe, as in recipe=paper and recipe.lr=0.05, and the others. Raises
    SpaceError for a field of a recipe without "recipe."."""
    of_recipe = [word for word in words if word.startswith(("recipe=", "recipe."))]
    others = [word for word in words if word not in of_recipe]
    for word in others:
        if "=" in word and word.partition("=")[0] in RECIPE_KEYS:
            raise SpaceError([f"{command}: '{short(word)}' given; the recipe has that: write recipe.{short(word)}"])
    return of_recipe, others


def read_recipe_words(words: Sequence[str], command: str, own: Recipe | None, usual: Mapping[str, object]) -> Recipe:
    """Return the recipe of the words, by the rules of a space file: see `read_recipe`. Raises SpaceError."""
    entries: dict[str, Entry] = {}
    for word in words:
        for key, text in split_word(word, command, "recipe.field=value, as in recipe.lr=0.05").items():
            name = "base" if key == "recipe" else key.removeprefix("recipe.")
            if name in entries:
                key = "recipe" if name == "base" else f"recipe.{name}"
                raise SpaceError([f"{command}: {key} is given twice: {entries[name].text} and {text}"])
            entries[name] = read_word(text)
    mistakes = Mistakes(Path(command))
    recipe = read_recipe(Entry(entries, 0), mistakes, own, usual)
    if mistakes.found:
        raise SpaceError([f"{command}: {text.replace('recipe.base:', 'recipe:')}" for _, text in mistakes.found])
    return recipe
