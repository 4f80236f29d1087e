"""The command `report`: a sweep as one page, a file that opens anywhere without a network."""

from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.base.errors import StoreError, SweepError
from mnv2_sweep.cli.options import RESULTS, AtLeast, Results, SweepName, Wishes, Within, command_line


def report(
    sweep: SweepName = None,
    out: Annotated[Path, typer.Option(help="The file, which ends in .html; one that is there is replaced.")] = Path(
        "report.html"
    ),
    where: Wishes = None,
    at_least: AtLeast = 0.85,
    within: Within = None,
    results: Results = RESULTS,
) -> None:
    """Write a sweep as one HTML file to send: which network to take, the front, tables, curves, how far to trust it."""
    from datetime import UTC, datetime

    from mnv2_sweep.analysis.recommend import recommend
    from mnv2_sweep.analysis.sweep import load_sweep
    from mnv2_sweep.base.files import write_whole
    from mnv2_sweep.base.text import bytes_text
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.report.html import page_html
    from mnv2_sweep.report.page import make_page

    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise SweepError(f"--out {out}: a file that ends in .html is wanted, as in report.html")
    loaded = load_sweep(find_sweep(results, sweep))
    advice = recommend(loaded, where or (), at_least, within)
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    text = page_html(make_page(loaded, advice, command_line(), made))
    try:
        write_whole(out, text)
    except OSError as error:
        raise StoreError(f"--out {out}: it can't be written here ({error.strerror}); choose another place") from error
    typer.echo(f"{out}  {bytes_text(len(text.encode()))}")
