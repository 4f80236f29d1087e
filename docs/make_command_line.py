"""Write docs/command-line.md from the program itself: every command with its arguments, options, defaults and help.

    python docs/make_command_line.py

A test (tests/test_docs.py) compares the committed page with `command_line_page()`. Nothing in it depends on the width
of a terminal, as the page is made from the options themselves and not from the output of `--help`.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import typer

from mnv2_sweep.cli.main import app

PAGE = Path(__file__).parent / "command-line.md"
START = """\
# Command line

This page is generated: `python docs/make_command_line.py` writes it from the program, and a test compares the two. The
same is printed by `mnv2-sweep COMMAND --help`.

`mnv2-sweep --version` prints the version, `mnv2-sweep --install-completion` teaches your shell the commands and
options.

The program ends with 0 if all went well, 1 if some trials failed (or a check found a difference, or a merge found
conflicts), 2 if something in the command or a file has to be changed (one line on stderr says what), and 130 if it was
interrupted.
"""
TYPES = {int: "whole number", float: "number", str: "text", Path: "path", list[str]: "text, again for more"}


def list_commands(group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """Yield every command with its full name, as "data show"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from list_commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


def command_line_page() -> str:
    """Return the page: a list of the commands, then a section for each."""
    commands = dict(sorted(list_commands(typer.main.get_command(app))))
    index = [f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(command.help)} |" for name, command in commands.items()]
    sections = [_section(name, command) for name, command in commands.items()]
    return "\n".join([START, "| command | what it does |", "|---|---|", *index, "", *sections])


def _section(name: str, command) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    options = [one for one in options if one.name != "help"]
    shown = [one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments]
    usage = " ".join(["mnv2-sweep", name, *shown, "[OPTIONS]"])
    lines = [f"## {name}", "", " ".join(command.help.split()), "", "```", usage, "```", ""]
    if arguments:
        lines += ["| argument | what it is |", "|---|---|"]
        lines += [f"| `{one.name.upper()}` | {_cell(one.help)} |" for one in arguments]
        lines += [""]
    lines += ["| option | value | default | what it does |", "|---|---|---|---|"]
    lines += [
        f"| {_names(one)} | {_value(one, command.callback)} | {_default(one)} | {_cell(one.help)} |" for one in options
    ]
    return "\n".join([*lines, ""])


def _names(option) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _value(option, callback) -> str:
    """Return what an option takes, in words, with its bounds; nothing for a switch."""
    if option.is_flag:
        return ""
    annotation = get_args(inspect.signature(callback).parameters[option.name].annotation)[0]  # of Annotated
    kind = next((kind for kind in get_args(annotation) if kind is not type(None)), annotation)
    bounds = [f"{word} {bound:,}" for word, bound in (("from", option.min), ("up to", option.max)) if bound is not None]
    return " ".join([TYPES[kind], *bounds])


def _default(option) -> str:
    """Return the default; nothing where there is none, or where it depends on the situation and the help says it."""
    if option.is_flag or option.default is None:
        return ""
    return f"`{option.default if isinstance(option.default, (str, Path)) else json.dumps(option.default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(command_line_page(), encoding="utf-8")
