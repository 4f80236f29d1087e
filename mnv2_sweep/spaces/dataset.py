"""The entry `data` of a design space file -> the name by which the data are opened (`data.asked`).

data: my_photos                                     # a path, or shapes, cloths or quilts
data: {path: scans.zip, zip_encoding: gbk, fit: pad, labels: [train.csv, test.csv], group_pattern: 'p[0-9]+'}
"""

import json

from mnv2_sweep.spaces.yamlfile import BROKEN, Entry, Mistakes, read_mapping, refusal

TEXT, TEXTS, FLAG = "a text, in quotes if need be", "a text, or a list of texts", "true or false"
# What can be said of how photos are read, beside their path, as `data.asked.PhotoOptions` has it.
DATA_KEYS = {
    "labels": TEXTS, "columns": TEXT, "label_pattern": TEXT, "zip_encoding": TEXT, "follow_links": FLAG, "fit": TEXT,
    "group_pattern": TEXT, "group_similar": FLAG,
}  # fmt: skip
PATH = "the name of a data set or a path, in quotes if need be"


def read_data(entry: Entry, mistakes: Mistakes) -> str:
    """Return the name of the data; "" with a note of what is wrong. What a value means is checked where the data are
    opened."""
    if not isinstance(entry.value, dict):
        return _read_text("data", entry, PATH, mistakes)
    values = read_mapping(entry, "data", ("path", *DATA_KEYS), mistakes, {})
    if "path" not in entry.value:
        mistakes.add(entry.line, f"data.path: it is missing; give {PATH}")
    readers = {TEXT: _read_text, TEXTS: _read_texts, FLAG: _read_flag}
    path = _read_text("data.path", values["path"], PATH, mistakes) if "path" in values else ""
    read = {
        key: readers[kind](f"data.{key}", values[key], kind, mistakes)
        for key, kind in DATA_KEYS.items() if key in values
    }  # fmt: skip
    return json.dumps({"path": path, **read}) if read else path


def _read_text(key: str, entry: Entry, allowed: str, mistakes: Mistakes) -> str:
    if isinstance(entry.value, str) and entry.value.isprintable() and entry.value.strip():
        return entry.value
    if entry.value is not BROKEN:
        mistakes.add(entry.line, refusal(key, entry, allowed))
    return ""


def _read_texts(key: str, entry: Entry, allowed: str, mistakes: Mistakes) -> list[str]:
    items = entry.value if isinstance(entry.value, tuple) and entry.value else (entry,)
    return [_read_text(key, item, allowed, mistakes) for item in items]


def _read_flag(key: str, entry: Entry, allowed: str, mistakes: Mistakes) -> bool:
    if isinstance(entry.value, bool):
        return entry.value
    if entry.value is not BROKEN:
        mistakes.add(entry.line, refusal(key, entry, allowed))
    return False
