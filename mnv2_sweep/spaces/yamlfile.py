"""A YAML file -> Entry (every value with the line it stands on), and the words for what is wrong with a value.

PyYAML follows YAML 1.1, which reads `no` as false, `1e-3` as text, `010` as 8 and `1:30` as 90. Such a scalar
keeps its spelling here, and a sentence for the person who wrote it. Anchors, aliases, merge keys and tags are
refused: a few bytes of them can stand for gigabytes, or for code.
"""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import yaml

from mnv2_sweep.base.errors import SpaceError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20  # lists and mappings inside each other; a space needs four
MAX_MISTAKES = 100

BROKEN = object()  # the value of an Entry whose mistake is already noted

WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?")
EXPONENT = re.compile(r"([-+]?)([0-9]+\.?[0-9]*|\.[0-9]+)[eE]([-+]?)([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of the file: a scalar, a tuple of entries, a dict of entries by key, or BROKEN.

    `text` is the scalar as written; `trap` says how YAML reads it, where that may surprise. A number in an
    unusual spelling has its text as value, so that it passes for no number.
    """

    value: object
    line: int
    text: str = ""
    trap: str = ""


class Mistakes:
    """The mistakes of one file, gathered in any order and raised together in the order of the lines."""

    def __init__(self, path: Path):
        self.path = path
        self.found: list[tuple[int, str]] = []

    def add(self, line: int, text: str) -> None:
        """Note one mistake; line 0 is the file as a whole. Raises at once when there are very many."""
        self.found.append((line, text))
        if len(self.found) == MAX_MISTAKES:
            self.stop(f"{self.path}: only the first {MAX_MISTAKES} mistakes found are shown")

    def stop(self, *more: str) -> None:
        """Raise SpaceError if there is any mistake."""
        if self.found:
            lines = sorted(self.found, key=lambda mistake: mistake[0])
            raise SpaceError(
                [f"{self.path}:{line}: {text}" if line else f"{self.path}: {text}" for line, text in lines] + [*more]
            )


def read_yaml(path: Path, mistakes: Mistakes) -> Entry:
    """Read the file's one document. Raises SpaceError if it cannot be read or is no YAML."""
    text = _read_text(path, mistakes)
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r" *\t\s*\S", line):
            mistakes.add(number, "a tab at the start of the line; YAML wants spaces here")
    mistakes.stop()
    try:
        loader = _Composer(text, mistakes)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mistakes.add(*_explain_syntax(error, text))
        mistakes.stop()
    except (ValueError, OverflowError):  # PyYAML on "\U99999999", or on a directive of 5,000 digits
        mistakes.add(loader.line + 1, "not valid YAML: a number after '\\' or '%' that is out of range")
        mistakes.stop()
    if node is None:
        mistakes.add(0, "the file is empty; it needs at least 'axes' or 'points'")
        mistakes.stop()
    return _entry(node, mistakes)


def _read_text(path: Path, mistakes: Mistakes) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            mistakes.add(0, f"the file is larger than {MAX_BYTES:,} bytes; is it a design space?")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        mistakes.add(line, f"the byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8")
    except FileNotFoundError:
        mistakes.add(0, "no such file")
    except IsADirectoryError:
        mistakes.add(0, "this is a folder; name a .yaml file in it")
    except (OSError, ValueError) as error:
        mistakes.add(0, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    mistakes.stop()
    return text


class _Composer(yaml.SafeLoader):
    """PyYAML's node tree, without what a design space does not need: anchors, aliases, tags, deep nesting."""

    def __init__(self, text: str, mistakes: Mistakes):
        super().__init__(text)
        self.mistakes, self.depth = mistakes, 0

    def compose_node(self, parent, index):
        """Compose a node as PyYAML does, noting what is not supported; raises on nesting that is too deep."""
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            self.mistakes.add(
                line, f"'*{short(event.anchor)}' stands for another part of the file; write that part out"
            )
            self.get_event()
            return yaml.ScalarNode("broken", "", event.start_mark, event.end_mark)
        if event.anchor is not None:
            self.mistakes.add(
                line, f"'&{short(event.anchor)}' names a part of the file for reuse, which is not supported"
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.mistakes.add(line, f"the tag {short(tag)!r} is not supported; write the plain value")
        event.anchor = event.tag = None
        if self.depth == MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_DEPTH} levels of nesting", problem_mark=event.start_mark
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_word(text: str) -> Entry:
    """Read a word of the command line as the file would read the same scalar without quotes."""
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))
    mark = yaml.Mark("", 0, 0, 0, None, 0)
    return Entry(*_scalar(yaml.ScalarNode(tag, text, mark, mark), 0))


def _explain_syntax(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Return the line and the meaning of PyYAML's complaint."""
    if isinstance(error, yaml.reader.ReaderError):
        character = f"the character {chr(error.character)!r}" if isinstance(error.character, int) else "a character"
        return text.count("\n", 0, error.position) + 1, f"not valid YAML: {character} is not allowed"
    problem, context = error.problem or "", error.context or ""
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    if "'\\t'" in problem:
        return line, "a tab between the values; YAML wants spaces here"
    if context.startswith("while scanning a block scalar"):
        return line, "a value that starts with '>' or '|' must be in quotes: \">= 1M\""
    if context in ("while parsing a flow sequence", "while parsing a flow mapping") and error.context_mark:
        bracket = "[" if "sequence" in context else "{"
        got = problem.rpartition("but got ")[2].strip("'")
        where = "the file ends" if got == "<stream end>" else f"line {line} has {got!r}"
        return (
            error.context_mark.line + 1,
            f"a '{bracket}' opened here is not closed: {where} where ',' or the end is due",
        )
    if problem.startswith("mapping values are not allowed"):
        return line, "not valid YAML: a second ':' in one line, or a line that is indented too far"
    if problem == "but found another document":
        return line, "not valid YAML: a second document ('---') starts here; a file holds one space"
    if context == "while parsing a flow node":
        return line, f"not valid YAML: a value is missing before {problem.rpartition(' ')[2]}"
    if problem.startswith("expected <block end>"):
        return line, "not valid YAML: this line is indented too far, or it mixes list items and keys"
    return line, "not valid YAML: " + ", ".join(filter(None, [context, problem]))


def _entry(node: yaml.Node, mistakes: Mistakes) -> Entry:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return Entry(tuple(_entry(child, mistakes) for child in node.value), line)
    if isinstance(node, yaml.ScalarNode):
        return Entry(*_scalar(node, line))
    entries: dict[str, Entry] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            mistakes.add(at, "a key is a list or a mapping; keys are words")
        elif key.tag.endswith(":merge"):
            mistakes.add(at, "'<<' takes over keys from elsewhere, which is not supported; write them out")
        elif key.tag == "broken":
            continue
        elif key.value in entries:
            mistakes.add(at, f"the key {short(key.value)!r} is given twice: on line {lines[key.value]} and here")
        else:
            entry = _entry(value, mistakes)
            entries[key.value] = Entry(entry.value, at if entry.text == "" else entry.line, entry.text, entry.trap)
            lines[key.value] = at
    return Entry(entries, line)


def _scalar(node: yaml.ScalarNode, line: int) -> tuple[object, int, str, str]:
    """Return (value, line, text, trap) of a scalar; see Entry."""
    text, tag = node.value, node.tag.rpartition(":")[2]
    shown = short(text)
    if tag == "broken":
        return BROKEN, line, text, ""
    if node.style is not None:
        bare = WHOLE.fullmatch(text) or DECIMAL.fullmatch(text) or text in ("true", "false")
        return text, line, text, f"in quotes it is text; write {shown}" if bare else ""
    if tag == "null":
        return None, line, text, f"YAML reads '{text}' as no value at all" if text else ""
    if tag == "bool":
        value = text.lower() in ("true", "yes", "on")
        said = "" if text.lower() in ("true", "false") else f"YAML reads '{text}' as {str(value).lower()}"
        return value, line, text, said
    if tag in ("int", "float"):
        return *_number(text, tag, line), text, _number_trap(text)
    return text, line, text, _number_trap(text)


def _number(text: str, tag: str, line: int) -> tuple[object, int]:
    if tag == "int" and WHOLE.fullmatch(text) and len(text) <= 16:
        return int(text), line
    if tag == "float" and DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text), line
    return text, line


def _number_trap(text: str) -> str:
    """Say what is odd about a plain scalar that a person may have meant as a number; "" if nothing is."""
    if WHOLE.fullmatch(text):
        return "" if len(text) <= 16 else "it has too many digits"
    if DECIMAL.fullmatch(text):
        return "" if math.isfinite(float(text)) else "it is too large"
    if len(text) > 60:  # no number of a person; the patterns below would take minutes on a megabyte of digits
        return ""
    if re.fullmatch(r"[-+]?[0-9][0-9_.]*", text) and "_" in text:
        return f"not every YAML reader takes '_' in a number; write {short(text.replace('_', ''))}"
    if re.fullmatch(r"[-+]?0[0-7]{1,15}", text):
        return f"YAML reads it as octal, {int(text, 8)}; write {int(text)} if you mean that, else {int(text, 8)}"
    if re.fullmatch(r"[-+]?0[0-9]{1,15}", text):
        return f"YAML reads it as text; write {int(text)}"
    if re.fullmatch(r"[-+]?0[xb][0-9a-fA-F_]+", text):
        return "hexadecimal and binary numbers are not supported; write it in decimal"
    if re.fullmatch(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?", text):
        return "YAML reads numbers with ':' in base 60; write a plain number"
    if re.fullmatch(r"[-+]?\.?(inf|nan)", text.lower()):
        return "it is not a finite number"
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", text):
        return f"YAML reads it as text; write {text.replace(',', '')}"
    if match := EXPONENT.fullmatch(text):
        sign, digits, exponent_sign, exponent = match.groups()
        dotted = digits if "." in digits else digits + ".0"
        forms = [f"{sign}{dotted}e{exponent_sign or '+'}{exponent}"]
        if int(exponent) <= 12 and len(digits) <= 12:
            forms.insert(0, f"{Decimal(text):f}")
        return f"YAML reads it as text, for want of a dot and a sign; write {' or '.join(forms)}"
    return ""


def short(text: str) -> str:
    """Return the text in one line of at most 40 printable characters."""
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= 40 else text[:37] + "..."


def refusal(key: str, entry: Entry, allowed: str) -> str:
    """Say what was given for the key, what is allowed, and how YAML misread it or which word is nearest."""
    if isinstance(entry.value, (tuple, dict)):
        given = "a mapping" if isinstance(entry.value, dict) else "a list" if entry.value else "an empty list"
    elif entry.value is None and not entry.text:
        given = "nothing"
    else:
        given = short(entry.text) if type(entry.value) in (int, float) else f"'{short(entry.text)}'"
    hints = [entry.trap] if entry.trap else []
    choices = allowed.split(" | ") if " | " in allowed else []
    near = "none" if "none" in choices and entry.value in (False, None) and entry.text else nearest(entry.text, choices)
    if near:
        hints.append(f"did you mean {near}?")
    if isinstance(entry.value, float) and entry.value.is_integer() and "whole number" in allowed:
        hints.append(f"write {int(entry.value)}")
    return f"{key}: {given} given; allowed: {allowed}" + (f" ({'; '.join(hints)})" if hints else "")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice that looks most like the word, or ""."""
    return next(iter(difflib.get_close_matches(word[:60].lower(), list(choices), 1)), "")


def read_mapping(
    entry: Entry, where: str, allowed: Iterable[str], mistakes: Mistakes, homes: dict[str, str]
) -> dict[str, Entry]:
    """Return the mapping's entries by key; note unknown keys with the nearest known one, or the section they belong
    to."""
    if not isinstance(entry.value, dict):
        if entry.value is not BROKEN:
            mistakes.add(entry.line, refusal(where or "the file", entry, "a mapping (key: value)"))
        return {}
    allowed = tuple(allowed)
    for key, value in entry.value.items():
        if key not in allowed:
            mistakes.add(value.line, unknown_key(where, key, allowed, homes))
    return {key: value for key, value in entry.value.items() if key in allowed and value.value is not BROKEN}


def unknown_key(where: str, key: str, allowed: Iterable[str], homes: dict[str, str], shown: str = "") -> str:
    """Say that a key does not exist; `homes` says which word is meant, or at the top which section."""
    allowed = tuple(allowed)
    name = f"{where}.{short(key)}" if where else short(key)
    near = nearest(key, allowed)
    hint = f"did you mean '{near}'? " if near else ""
    if key in homes:
        hint = f"did you mean '{homes[key]}'? " if where else f"it belongs under '{homes[key]}'. "
    return f"unknown key '{name}'; {hint}Allowed: {shown or ', '.join(allowed)}"
