"""A YAML file -> Entry (every value with the line it stands on), and the words for what is wrong with a value.

ruamel.yaml gives the structure; a scalar means what YAML 1.2's core schema says: `no` is a word, `1e-3` a number, `010`
is 10 and `1:30` text. Where that may surprise, the scalar has a sentence for the person who wrote it. Anchors,
aliases, merge keys and tags are refused: a few bytes of them can stand for gigabytes, or for code.
"""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

from mnv2_sweep.base.errors import SpaceError

MAX_BYTES = 1_000_000  # as copies in recorded sweeps may have; the worst that fits takes half a minute to read
MAX_DEPTH = 20  # lists and mappings inside each other; a space needs four
MAX_MISTAKES = 100

BROKEN = object()  # the value of an Entry whose mistake is already noted

WHOLE = re.compile(r"[-+]?[0-9]+")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
NULLS = ("", "~", "null", "Null", "NULL")
SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}  # by YAML 1.1, which many still have in mind


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of the file: a scalar, a tuple of entries, a dict of entries by key, or BROKEN.

    `text` is the scalar as written; `trap` says how YAML reads it, where that may surprise. A number that is too long,
    not finite or not in decimal has its text as value, so that it passes for no number.
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
        node = _Loader(mistakes).compose(text)
    except YAMLError as error:
        mistakes.add(*_explain_syntax(error, text))
        mistakes.stop()
    if node is None:
        mistakes.add(0, "the file is empty; it needs at least 'axes' or 'points'")
        mistakes.stop()
    return _entry(node, mistakes)


def find_line(path: Path, *keys: str) -> int:
    """Return the line on which what these keys lead to begins, or the last of them that is there; 0 for none."""
    entry, line = read_yaml(path, Mistakes(path)), 0
    for key in keys:
        if not isinstance(entry.value, dict) or key not in entry.value:
            break
        entry = entry.value[key]
        line = entry.line
    return line


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


class _Loader(YAML):
    """ruamel.yaml's tree of nodes, by YAML 1.2 whatever the file asks for; what is not supported is noted."""

    def __init__(self, mistakes: Mistakes):
        super().__init__(typ="safe", pure=True)
        self.mistakes, self.Scanner, self.Composer = mistakes, _Scanner, _Composer


class _Scanner(Scanner):
    def scan_yaml_directive_value(self, start_mark):
        """Scan the version that the file asks for, noting any but 1.2, whose rules hold all the same."""
        version = super().scan_yaml_directive_value(start_mark)
        if version != (1, 2):
            asked = short(".".join(map(str, version)))
            self.loader.mistakes.add(
                start_mark.line + 1, f"'%YAML {asked}' asks for other rules than YAML 1.2's; leave the line out"
            )
        self.yaml_version = (1, 2)
        return self.yaml_version


class _Composer(Composer):
    """Nodes without anchors, aliases, tags and deep nesting."""

    level = 0

    def get_single_node(self):
        """Compose the file's one document."""
        try:
            return super().get_single_node()
        except (ValueError, OverflowError) as error:  # on "\U99999999", "!%25x", or a directive of 5,000 digits
            problem = "a number after '\\' or '%' that is out of range"
            raise MarkedYAMLError(problem=problem, problem_mark=self.loader.reader.get_mark()) from error

    def compose_node(self, parent, index):
        """Compose a node as ruamel.yaml does, noting what is not supported; raises on nesting that is too deep."""
        event = self.parser.peek_event()
        line = event.start_mark.line + 1
        add = self.loader.mistakes.add
        name = short((event.anchor or "").rstrip(":"))  # "*a: 1" is the alias "a:" to YAML 1.2, but to no one else
        if isinstance(event, AliasEvent):
            add(line, f"'*{name}' stands for another part of the file; write that part out")
            self.parser.get_event()
            return ScalarNode("broken", "", event.start_mark, event.end_mark)
        if event.anchor is not None:
            add(line, f"'&{name}' names a part of the file for reuse, which is not supported")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            add(line, f"the tag {short(tag)!r} is not supported; write the plain value")
        event.anchor = event.ctag = None
        if self.level == MAX_DEPTH:
            raise MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels of nesting", problem_mark=event.start_mark)
        self.level += 1
        node = super().compose_node(parent, index)
        self.level -= 1
        return node


def read_word(text: str) -> Entry:
    """Read a word of the command line as the file would read the same scalar without quotes."""
    return _scalar(text, True, 0)


def _explain_syntax(error: YAMLError, text: str) -> tuple[int, str]:
    """Return the line and the meaning of ruamel.yaml's complaint."""
    if isinstance(error, ReaderError):
        character = f"the character {chr(error.character)!r}" if isinstance(error.character, int) else "a character"
        return text.count("\n", 0, error.position) + 1, f"not valid YAML: {character} is not allowed"
    problem, context = error.problem or "", error.context or ""
    problem = re.sub(r"\('(.*)',\)$", r"'\1'", problem)  # a tuple by mistake, in ruamel.yaml 0.19
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    if "'\\t'" in problem:
        return line, "a tab between the values; YAML wants spaces here"
    if context.startswith("while scanning a block scalar"):
        return line, "a value that starts with '>' or '|' must be in quotes: \">= 1M\""
    if context in ("while parsing a flow sequence", "while parsing a flow mapping") and error.context_mark:
        bracket = "[" if "sequence" in context else "{"
        got = problem.rpartition("but got ")[2].strip("'")
        if got.startswith("<"):  # <scalar> and the like are no words of the person who wrote the file
            got = short((text[mark.index :].split() or [""])[0])
        where = f"line {line} has {got!r}" if got else "the file ends"
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


def _entry(node: Node, mistakes: Mistakes) -> Entry:
    line = node.start_mark.line + 1
    if isinstance(node, SequenceNode):
        return Entry(tuple(_entry(child, mistakes) for child in node.value), line)
    if isinstance(node, ScalarNode):
        return Entry(BROKEN, line) if node.tag == "broken" else _scalar(node.value, node.style is None, line)
    entries: dict[str, Entry] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        at = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            mistakes.add(at, "a key is a list or a mapping; keys are words")
        elif key.value == "<<" and key.style is None:
            mistakes.add(at, "'<<' takes over keys from elsewhere, which is not supported; write them out")
        elif key.tag == "broken":
            continue
        elif key.value in entries:
            mistakes.add(at, f"the key {short(key.value)!r} is given twice: on line {lines[key.value]} and here")
        else:
            entry = _entry(value, mistakes)
            entries[key.value] = Entry(entry.value, at if entry.text == "" else entry.line, entry.text, entry.trap)
            lines[key.value] = at
    return Entry(entries if entries or not node.value else BROKEN, line)  # nothing left: all that was there is noted


def _scalar(text: str, plain: bool, line: int) -> Entry:
    """Read a scalar, plain or in quotes, by YAML 1.2's core schema."""
    if not plain:
        bare = NUMBER.fullmatch(text) or text in ("true", "false")
        return Entry(text, line, text, f"in quotes it is text; write {short(text)}" if bare else "")
    if text in NULLS:
        return Entry(None, line, text, f"YAML reads '{text}' as no value at all" if text else "")
    if text in BOOLS:
        return Entry(BOOLS[text], line, text)
    if WHOLE.fullmatch(text):
        fits = len(text) <= 16
        return Entry(int(text), line, text) if fits else Entry(text, line, text, "it has too many digits")
    if NUMBER.fullmatch(text):
        value = float(text)
        return Entry(value, line, text) if math.isfinite(value) else Entry(text, line, text, "it is too large")
    return Entry(text, line, text, _number_trap(text))


def _number_trap(text: str) -> str:
    """Say what is odd about plain text that a person may have meant as a number; "" if nothing is."""
    if len(text) > 60:  # no number of a person; the patterns below would take minutes on a megabyte of digits
        return ""
    if re.fullmatch(r"[-+]?[0-9][0-9_.]*", text) and "_" in text:
        return f"not every YAML reader takes '_' in a number; write {short(text.replace('_', ''))}"
    if re.fullmatch(r"[-+]?0[xob][0-9a-fA-F_]+", text):
        return "hexadecimal, octal and binary numbers are not supported; write it in decimal"
    if re.fullmatch(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?", text):
        return "YAML reads it as text; write a plain number"
    if re.fullmatch(r"[-+]?\.?(inf|nan)", text.lower()):
        return "it is not a finite number"
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", text):
        return f"YAML reads it as text; write {text.replace(',', '')}"
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
    near = SWITCHES.get(entry.text.lower(), "") if allowed == "true or false" else nearest(entry.text, choices)
    if "none" in choices and (entry.text.lower() in ("no", "off") or entry.text and entry.value in (False, None)):
        near = "none"
    if near:
        hints.append(f"did you mean {near}?")
    if "whole number" in allowed and isinstance(entry.value, float) and entry.value.is_integer():
        hints.append(f"write {int(entry.value)}" if abs(entry.value) < 1e16 else "it is too large")
    return f"{key}: {given} given; allowed: {allowed}" + (f" ({'; '.join(hints)})" if hints else "")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice that looks most like the word, or ""."""
    return next(iter(difflib.get_close_matches(word[:60].lower(), list(choices), 1)), "")


def read_mapping(
    entry: Entry, where: str, allowed: Iterable[str], mistakes: Mistakes, homes: dict[str, str], shown: str = ""
) -> dict[str, Entry]:
    """Return the mapping's entries by key; note unknown keys with the nearest known one, or the section they belong
    to, and with those allowed (`shown`: in these words)."""
    if not isinstance(entry.value, dict):
        if entry.value is not BROKEN:
            mistakes.add(entry.line, refusal(where or "the file", entry, "a mapping (key: value)"))
        return {}
    allowed = tuple(allowed)
    for key, value in entry.value.items():
        if key not in allowed:
            mistakes.add(value.line, unknown_key(where, key, allowed, homes, shown))
    return {key: value for key, value in entry.value.items() if key in allowed and value.value is not BROKEN}


def unknown_key(where: str, key: str, allowed: Iterable[str], homes: dict[str, str], shown: str = "") -> str:
    """Say that a key does not exist; `homes` says which word is meant, if that is allowed, or at the top which
    section."""
    allowed = tuple(allowed)
    name = f"{where}.{short(key)}" if where else short(key)
    near = nearest(key, allowed)
    hint = f"did you mean '{near}'? " if near else ""
    if key in homes and not where:
        hint = f"it belongs under '{homes[key]}'. "
    elif homes.get(key) in allowed:
        hint = f"did you mean '{homes[key]}'? "
    return f"unknown key '{name}'; {hint}Allowed: {shown or ', '.join(allowed)}"
