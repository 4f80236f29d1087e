"""A Page -> one HTML file with all that it needs: no request leaves it, and nothing in it is taken for markup.

Styles and scripts stand in the file, and its content-security-policy allows these very texts by their SHA-256 digests
and nothing else, from nowhere: even if a name got past the escaping, it could load and run nothing. Data for scripts is
JSON in a block that no browser runs. Texts from users have what can't be shown replaced, as on a terminal.
"""

import json
import math
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mnv2_sweep.base.text import harmless
from mnv2_sweep.report.page import Page

TEMPLATES = Path(__file__).parent / "templates"
STYLE, SCRIPTS, LICENCE = "report.css", ("d3.min.js", "report.js"), "d3.LICENSE.txt"
SIGNIFICANT = 6  # digits of numbers for the scripts


def page_html(page: Page) -> str:
    """Return the page as the text of an HTML file."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, *scripts = (_read(name) for name in (STYLE, *SCRIPTS))
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_digest, scripts))}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("report.html.j2").render(
        page=page,
        policy=policy,
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        licence=_read(LICENCE),
        data=Markup(data_json(page.data)),
    )


def data_json(data: Any) -> str:
    """Return data as JSON that can stand in a script block: no "<" is in it, numbers are short, NaN is null."""
    text = json.dumps(_shorten(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8").replace("\r\n", "\n")  # as a browser reads it


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _finalize(value: Any) -> Any:
    """Return a text that is put into the page as it can be shown."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shorten(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shorten(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT}g}") if math.isfinite(value) else None
    return harmless(value) if isinstance(value, str) else value
