"""How photos at a path are to be read, as a record: it travels with the path, as the one name by which data are opened.

A name is the path alone, or, where anything else is asked for, JSON: workers, exports and later runs get it as text.
"""

import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.decode import FITS
from mnv2_sweep.data.zip_names import check_encoding
from mnv2_sweep.trials.trial import EMBEDDED

COLUMN_WORDS = ("image", "label", "split", "group")


@dataclass(frozen=True, slots=True)
class PhotoOptions:
    """How photos lie at a path, and how they are fitted into a network's image.

    labels: tables or lists, on disk or inside the data; columns: "image=NAME,label=NAME", where they are not found by
    themselves; label_pattern: "{label}.{number}.jpg", where names tell the class; zip_encoding: of names in a zip
    that does not say; follow_links: also those that lead out of the folder; fit: one of FITS; group_pattern: a regular
    expression that finds in a photo's name which ones stay in one split; group_similar: those that look alike do.
    """

    labels: tuple[str, ...] = ()
    columns: str = ""
    label_pattern: str = ""
    zip_encoding: str = ""
    follow_links: bool = False
    fit: str = FITS[0]
    group_pattern: str = ""
    group_similar: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))  # a list, as it comes back from JSON
        if self.fit not in FITS:
            raise DataError(f"--fit {self.fit}: one of {', '.join(FITS)} is wanted")
        if self.labels and self.label_pattern:
            raise DataError("--labels --label-pattern: one of them; labels stand in a table or in names")
        if self.columns and not self.labels:
            raise DataError(f"--columns {self.columns}: names the columns of a table, which --labels FILE gives")
        if self.zip_encoding:
            check_encoding(self.zip_encoding)
        try:
            re.compile(self.group_pattern)
        except re.error as error:
            raise DataError(f"--group-pattern {self.group_pattern}: no regular expression ({error})") from error
        self.named_columns()

    def named_columns(self) -> dict[str, str]:
        """Return by what it holds the name of each column that is named. Raises DataError."""
        named = {}
        for word in filter(None, self.columns.split(",")):
            key, _, name = (part.strip() for part in word.partition("="))
            if key not in COLUMN_WORDS or not name or key in named:
                raise DataError(
                    f"--columns {self.columns}: wanted are {', '.join(f'{one}=NAME' for one in COLUMN_WORDS)}, those "
                    "that are needed, with commas"
                )
            named[key] = name
        return named

    @property
    def is_usual(self) -> bool:
        """Return whether nothing is asked for."""
        return self == PhotoOptions()


def make_name(path: str, options: PhotoOptions) -> str:
    """Return the name by which data are opened. Raises DataError where the embedded ones are to be read in some way."""
    if path in EMBEDDED and not options.is_usual:
        raise DataError(f"--data {path}: its images are drawn, so nothing can be said of how photos are read")
    if options.is_usual:
        return f"./{path}" if path.startswith("{") else path
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    usual = PhotoOptions()
    found = {name: value for name, value in given.items() if value != getattr(usual, name)}
    return json.dumps({"path": path, **found})


def read_name(name: str) -> tuple[str, PhotoOptions]:
    """Return the path that a name says, and how the photos there are read. Raises DataError."""
    if not name.startswith("{"):
        return name, PhotoOptions()
    try:
        values = json.loads(name)
        return values.pop("path"), PhotoOptions(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{name}: not a name of data ({error}); give a path") from error


def whole_name(name: str) -> str:
    """Return the same name with whole paths, good in any folder of this machine."""
    path, options = read_name(name)
    if path in EMBEDDED:
        return name
    labels = tuple(str(Path(one).resolve()) if Path(one).is_file() else one for one in options.labels)
    return make_name(str(Path(path).resolve()), replace(options, labels=labels))


def data_path(name: str) -> str:
    """Return the path, or the embedded set's name, that a name says."""
    return read_name(name)[0]


def move_name(name: str | None, path: str) -> str:
    """Return the name of the same data at another path, read in the same way."""
    options = read_name(name)[1] if name and path not in EMBEDDED else PhotoOptions()
    return make_name(path, options)
