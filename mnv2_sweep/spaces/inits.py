"""The axis `init` of a design space file -> the kinds of start that its networks have."""

from dataclasses import replace

from mnv2_sweep.spaces.space import Space
from mnv2_sweep.spaces.yamlfile import BROKEN, Entry, Mistakes, refusal, short
from mnv2_sweep.trials.recipe import RECIPE_CHOICES, SCRATCH

INIT = "init"
ALLOWED = "a list of two or more of scratch, imagenet, sliced, or names or files of weights"


def split_inits(entry: Entry, mistakes: Mistakes) -> tuple[tuple[str, ...], Entry | None]:
    """Return the values of the axis `init`, and the axes without it; None where there are no others."""
    if not isinstance(entry.value, dict) or INIT not in entry.value:
        return (), entry
    given = entry.value[INIT]
    rest = {key: value for key, value in entry.value.items() if key != INIT}
    return _read_inits(given, mistakes), replace(entry, value=rest) if rest else None


def _read_inits(entry: Entry, mistakes: Mistakes) -> tuple[str, ...]:
    if not isinstance(entry.value, tuple) or len(entry.value) < 2:
        if entry.value is not BROKEN:
            mistakes.add(entry.line, refusal("axes.init", entry, f"{ALLOWED}; a single one is recipe.init"))
        return ()
    inits: list[str] = []
    for item in entry.value:
        if item.value is BROKEN:
            continue
        if allowed := RECIPE_CHOICES[INIT].refuse(item.value):
            mistakes.add(item.line, refusal("axes.init", item, allowed))
        elif item.value in inits:
            mistakes.add(item.line, f"axes.init: {short(item.text)} is in the list twice")
        else:
            inits.append(item.value)
    return tuple(inits)


def check_inits(space: Space, top: dict[str, Entry], mistakes: Mistakes) -> None:
    """Note what does not go with an axis `init`."""
    if not space.inits:
        return
    line = top["axes"].line
    if space.recipe.init != SCRATCH:
        mistakes.add(line, "axes.init: the recipe has an init, too; with the axis, 'recipe' is that of scratch and "
                           "'with_weights' that of networks with weights")  # fmt: skip
    if space.strategy.name == "shared":
        mistakes.add(line, "axes.init: networks that share weights begin from scratch; give strategy: separate, or "
                           "leave init out")  # fmt: skip
