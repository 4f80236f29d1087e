"""Write the tables of fields of a network and of a recipe in docs/spaces.md, from what is said beside each field
(nets/arch.py, trials/recipe.py).

    python docs/make_spaces.py

A test (tests/test_docs.py) compares the page with `spaces_page()`.
"""

from dataclasses import fields
from pathlib import Path

from mnv2_sweep.nets.arch import CELLS, CHOICES, FAMILY_NAMES, HEAD_NAMES, OPTIONAL_CELLS, ArchSpec
from mnv2_sweep.nets.choice import Choice
from mnv2_sweep.trials.recipe import RECIPE_CHOICES, RECIPES

PAGE = Path(__file__).parent / "spaces.md"
MARKS = {
    name: (f"<!-- {name} fields: written by docs/make_spaces.py -->", f"<!-- end of the {name} fields -->")
    for name in ("network", "recipe")
}


def spaces_page() -> str:
    """Return the page as it is, with the tables between their two markers made anew."""
    page = PAGE.read_text(encoding="utf-8")
    for (begin, end), table in ((MARKS["network"], field_table()), (MARKS["recipe"], recipe_table())):
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = "\n".join([before + begin, "", *table, "", end + after])
    return page


def field_table() -> list[str]:
    """Return a row for each field of a network and each cell of the block table: what it is, and what it may be."""
    lines = ["| field | meaning | allowed | default |", "|---|---|---|---|"]
    for name, one in CHOICES.items():
        if name == "stages":
            continue
        default = next(field.default for field in fields(ArchSpec) if field.name == name)
        of_heads = [HEAD_NAMES.get(head, head) for head in one.heads]
        whose = ", ".join(of_heads or [FAMILY_NAMES[family] for family in one.families])
        only = f" ({whose})" if of_heads or len(one.families) < len(FAMILY_NAMES) else ""
        lines.append(f"| `{name}` | {show_meaning(one)}{only} | {show_allowed(one)} | {show_value(default)} |")
    lines.append(f"| `expansion` | t of every stage that expands | {show_allowed(CELLS['t'])} | 6 |")
    for name, one in CELLS.items():
        own = " (the network's)" if name in OPTIONAL_CELLS else ""
        lines.append(f"| `stages.ROW.{name}` | {one.help.rstrip('.')} | {show_allowed(one)} |{own} |")
    return lines


def show_meaning(one: Choice) -> str:
    """Return what a field is as a cell; of one whose values are parts of a network, what each of them is."""
    named = {value: words for value, words in (one.values or {}).items() if value != words}
    return "; ".join(f"{show_value(value)}: {words}" for value, words in named.items()) or one.help.rstrip(".")


def show_allowed(one: Choice) -> str:
    """Return what is allowed as a cell."""
    return ", ".join(f"`{word}`" for word in one.rule.words) or one.allowed


def recipe_table() -> list[str]:
    """Return a row for each field of a recipe: what it is, what it may be, and its value in the named recipes."""
    names = "".join(f" `{name}` |" for name in RECIPES)
    lines = [f"| field | meaning | allowed |{names}", f"|---|---|---|{'---:|' * len(RECIPES)}"]
    for name, one in RECIPE_CHOICES.items():
        values = "".join(f" {show_value(getattr(recipe, name))} |" for recipe in RECIPES.values())
        lines.append(f"| `{name}` | {one.help.rstrip('.')} | {show_allowed(one)} |{values}")
    return lines


def show_value(value: object) -> str:
    """Return a value as a cell: words as a file has them, long numbers with commas."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f"`{value}`"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"


if __name__ == "__main__":
    PAGE.write_text(spaces_page(), encoding="utf-8")
