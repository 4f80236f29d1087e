"""What the commands that read print of recorded sweeps, and what the figures hold: as text, to be held against a copy
that was made before a change.

`python tests/golden/capture.py /tmp/plots` writes that copy anew from the recorded sweeps beside this file: only where
a change means to print something else, which is then seen as a difference in the repository.
"""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROOT = HERE.parents[1]

OF_EACH = {
    "table": ["table", "{sweep}"],
    "table trials": ["table", "{sweep}", "--trials"],
    "table csv": ["table", "{sweep}", "--csv"],
    "table json": ["table", "{sweep}", "--json"],
    "trials csv": ["table", "{sweep}", "--csv", "--trials"],
    "trials json": ["table", "{sweep}", "--json", "--trials"],
    "status": ["status", "{sweep}"],
    "status json": ["status", "{sweep}", "--json"],
    "pareto": ["plot", "--pareto", "{sweep}"],
}
OF_SOME = {
    "parts": {"ablation": ["plot", "--ablation", "parts"]},
    "until": {"ablation": ["plot", "--ablation", "until"]},
    "expansions": {"expansion": ["plot", "--expansion", "expansions"], "costs": ["plot", "--costs", "expansions"]},
    "plain": {"costs": ["plot", "--costs", "plain"]},
}
OF_NONE = {
    "count": ["count"],
    "count json": ["count", "--width", "0.5", "--resolution", "160", "--json"],
    "count csv": ["count", "--family", "shufflenet_v1", "--width", "2", "--groups", "3", "--csv"],
    "count explain": ["count", "--explain"],
    "count explain json": ["count", "--family", "nasnet_a", "--explain", "--json"],
    "count explain csv": ["count", "--family", "mobilenet_v1", "--explain", "--csv"],
    "count space": ["count", "spaces/families.yaml", "--json"],
    "plan": ["plan", "spaces/paper_grid.yaml"],
    "plan json": ["plan", "spaces/expansion.yaml", "--json"],
    "plan csv": ["plan", "spaces/families.yaml", "--csv"],
    "plan widths": ["plan", "spaces/widths.yaml"],
    "paper": ["paper"],
    "paper json": ["paper", "--json"],
    "costs": ["plot", "--costs", "spaces/families.yaml"],
}


def capture(words: list[str], results: Path, plots: Path) -> str:
    """Standard output, errors and exit code of a command, and what its figures hold."""
    from mnv2_sweep.cli.main import main

    figures: list[str] = []

    def keep(self: Figure, file, *, format: str, **options) -> None:
        if format == "svg":
            figures.append(describe_figure(self))

    places = [] if words[0] in ("count", "plan", "paper") else ["--results", str(results)]
    places += ["--plots", str(plots)] if words[0] == "plot" else []
    out, err, code = io.StringIO(), io.StringIO(), 0
    with patch.object(sys, "argv", ["mnv2-sweep", *words, *places]), patch.object(Figure, "savefig", keep):
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
    text = f"exit {code}\n{out.getvalue()}" + (f"\nstderr\n{err.getvalue()}" if err.getvalue() else "")
    text = text.replace(str(plots), "PLOTS").replace(str(results), "RESULTS")
    return "\n".join([text, *figures])


def describe_figure(figure: Figure) -> str:
    """Titles, texts and the numbers of lines, points, bars and areas, panel by panel."""
    lines = [f"figure {figure.get_size_inches().round(3).tolist()}", *(f"text {t.get_text()!r}" for t in figure.texts)]
    for axes in figure.axes:
        lines += [f"panel {axes.get_title()!r} {axes.get_xlabel()!r} {axes.get_ylabel()!r} {axes.get_xscale()}"]
        lines += [f"  line {line.get_label()!r} {_numbers(line.get_xydata())}" for line in axes.lines]
        lines += [f"  points {_numbers(points.get_offsets())}" for points in axes.collections]
        lines += [f"  patch {_numbers(patch.get_path().vertices)}" for patch in axes.patches]
        lines += [f"  text {text.get_text()!r}" for text in axes.texts]
    return "\n".join(lines)


def _numbers(values) -> str:
    return " ".join(f"{value:.5g}" for value in np.asarray(values, float).ravel())


def commands() -> dict[str, dict[str, list[str]]]:
    """Sweep (or "" for what needs none) -> name -> the command's words."""
    sweeps = sorted(path.parent.name for path in RESULTS.glob("*/trials.db"))
    of_sweeps = {
        sweep: {name: [word.format(sweep=sweep) for word in words] for name, words in OF_EACH.items()}
        | OF_SOME.get(sweep, {})
        for sweep in sweeps
    }
    return {**of_sweeps, "": OF_NONE}


def capture_text(sweep: str, plots: Path) -> str:
    """All commands of one sweep, one after the other, each under its name."""
    texts = (f"##### {name}\n{capture(words, RESULTS, plots)}\n" for name, words in commands()[sweep].items())
    return "\n".join(texts)


def expected_path(sweep: str) -> Path:
    return HERE / "expected" / f"{sweep or 'no sweep'}.txt"


if __name__ == "__main__":
    os.chdir(ROOT)
    (HERE / "expected").mkdir(exist_ok=True)
    for sweep in commands():
        expected_path(sweep).write_text(capture_text(sweep, Path(sys.argv[1])), encoding="utf-8")
