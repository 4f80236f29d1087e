"""Write the table of recipe fields in docs/spaces.md, from what is said beside each field (trials/recipe.py).

    python docs/make_spaces.py

A test (tests/test_docs.py) compares the page with `spaces_page()`.
"""

from pathlib import Path

from mnv2_sweep.trials.recipe import RECIPE_CHOICES, RECIPES

PAGE = Path(__file__).parent / "spaces.md"
BEGIN, END = "<!-- recipe fields: written by docs/make_spaces.py -->", "<!-- end of the recipe fields -->"


def spaces_page() -> str:
    """Return the page as it is, with the table between its two markers made anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *recipe_table(), "", END + after])


def recipe_table() -> list[str]:
    """Return a row for each field of a recipe: what it is, what it may be, and its value in the named recipes."""
    names = "".join(f" `{name}` |" for name in RECIPES)
    lines = [f"| field | meaning | allowed |{names}", f"|---|---|---|{'---:|' * len(RECIPES)}"]
    for name, one in RECIPE_CHOICES.items():
        allowed = ", ".join(f"`{word}`" for word in one.rule.words) or one.rule.allowed
        allowed += "" if one.limit is None else f", at most {one.limit:,}"
        values = "".join(f" {show_value(getattr(recipe, name))} |" for recipe in RECIPES.values())
        lines.append(f"| `{name}` | {one.help.rstrip('.')} | {allowed} |{values}")
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
