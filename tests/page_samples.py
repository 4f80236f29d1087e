"""A report as a browser reads it: its elements, its texts, its scripts."""

import json
from html.parser import HTMLParser
from typing import Any

EMPTY = {"meta", "input", "br", "img", "link"}


class Html(HTMLParser):
    """`tags`: every element with its attributes and the text inside of it, in the order in which they begin."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert self._open == [], [self.tags[at][0] for at in self._open]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), []))
        if tag not in EMPTY:
            self._open.append(len(self.tags) - 1)

    def handle_endtag(self, tag):
        assert self.tags[self._open.pop()][0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        for at in self._open:
            self.tags[at][2].append(data)

    def texts(self, tag: str, **wanted: str) -> list[str]:
        """The texts of the elements of that name with these attributes."""
        return ["".join(text) for name, attributes, text in self.tags
                if name == tag and all(attributes.get(key) == value for key, value in wanted.items())]  # fmt: skip

    def rows(self, label: str) -> list[list[str]]:
        """The cells of the table in the region of that name."""
        inside, rows = False, []
        for name, attributes, text in self.tags:
            if attributes.get("role") == "region":
                inside = attributes["aria-label"] == label
            if inside and name == "tr":
                rows.append([])
            if inside and name in ("th", "td"):
                rows[-1].append("".join(text))
        assert rows, f"no table {label}"
        return rows

    @property
    def data(self) -> Any:
        """What the scripts draw."""
        (text,) = self.texts("script", id="data")
        return json.loads(text)
