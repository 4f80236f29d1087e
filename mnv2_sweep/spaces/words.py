"""Words of the command line -> a network, or values of its fields, in the space file's own terms.

`1.0@224 activation=hswish residual=none` is one network; `expansion=1,3,8` are three values of one field.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.nets.arch import (
    HEADS,
    MOBILENET_V2,
    NAMES,
    ArchSpec,
    check_arch,
    choices_of,
    no_such_choice,
    no_such_head,
)
from mnv2_sweep.spaces.fields import known_settings, read_value
from mnv2_sweep.spaces.shipped import shipped_names
from mnv2_sweep.spaces.space import Space, build_arch, field_of
from mnv2_sweep.spaces.yamlfile import Entry, Mistakes, read_word, short

SIZE = re.compile(r"([^@=]+)@([^@=]+)")  # width@resolution
NETWORK_WORDS, VALUE_WORDS = "1.0@224 (width@resolution) or field=value", "field=value, as in expansion=1,3"


def is_network(words: Sequence[str]) -> bool:
    """Say whether the words are a network's, and not the name of one design space."""
    return len(words) != 1 or "=" in words[0] or SIZE.fullmatch(words[0]) is not None


def read_network(words: Sequence[str], command: str) -> ArchSpec:
    """Return the network, the paper's where nothing else is said. Raises SpaceError, which begins with the command, and
    ArchError where the values do not go together."""
    pairs: dict[str, str] = {}
    for word in words:
        size = SIZE.fullmatch(word)
        if word in shipped_names() or Path(word).suffix in (".yaml", ".yml") and "=" not in word:
            others = short(" ".join(other for other in words if other != word) or word)
            what = "is a design space, which takes no further words"
            raise SpaceError([f"{command}: '{short(word)}' {what}; leave out {others}"])
        given = {"width": size[1], "resolution": size[2]} if size else split_word(word, command, NETWORK_WORDS)
        for key, text in given.items():
            if key in pairs:
                raise SpaceError([f"{command}: {key} is given twice: {pairs[key]} and {text}"])
            pairs[key] = text
    return build_network(pairs, command)


def build_network(texts: Mapping[str, str], command: str) -> ArchSpec:
    """Return the network of the fields' texts, the paper's where nothing else is said. Raises as `read_network`."""
    settings = _read({key: (text,) for key, text in texts.items()}, command)
    arch = build_arch(Space(command), {key: values[0] for key, values in settings.items()})
    if arch.family not in HEADS[arch.head]:
        raise SpaceError([f"{command}: head: {no_such_head(arch.family, arch.head)}"])
    for key in settings:  # also where it has the very value that would be ignored
        if field_of(key) not in (*NAMES, *choices_of(arch.family, arch.head)):
            raise SpaceError([f"{command}: {key}: {no_such_choice(arch.family, arch.head)}"])
    check_arch(arch)
    return arch


def read_values(words: Sequence[str], command: str) -> dict[str, tuple]:
    """Return each field that is named with its values, as in "expansion=1,3,8". Raises SpaceError."""
    pairs: dict[str, str] = {}
    for word in words:
        for key, text in split_word(word, command, VALUE_WORDS).items():
            if key in pairs:
                together = f"{key}={pairs[key]},{text}"
                raise SpaceError([f"{command}: {key} is given twice; put its values together: {together}"])
            pairs[key] = text
    lists = {key: tuple(part.strip() for part in text.split(",")) for key, text in pairs.items()}
    for key, texts in lists.items():
        if len(set(texts)) < len(texts):
            raise SpaceError([f"{command}: {key}={pairs[key]}: a value is there twice"])
    return _read(lists, command)


def split_word(word: str, command: str, form: str) -> dict[str, str]:
    """Return {field: value} of a word of that form, field=value. Raises SpaceError."""
    key, equals, text = word.partition("=")
    if not equals or not key or not text:
        raise SpaceError([f"{command}: '{short(word)}' given; words are of the form {form}"])
    return {key: text}


def _read(texts: Mapping[str, Sequence[str]], command: str) -> dict[str, tuple]:
    """Read the values of every field by its rule, as in a space file."""
    mistakes = Mistakes(Path(command))
    words = {key: tuple(map(read_word, values)) for key, values in texts.items()}
    firsts = Entry({key: entries[0] for key, entries in words.items()}, 0)
    known = known_settings(firsts, command, MOBILENET_V2, mistakes)
    values = {key: tuple(read_value(key, entry, "", mistakes) for entry in words[key]) for key in known}
    if mistakes.found:
        raise SpaceError([f"{command}: {text.replace(f'{command}.', '')}" for _, text in mistakes.found])
    return values
