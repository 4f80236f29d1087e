"""The command `export`: a kept network as a file of its own."""

from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.cli.options import RESULTS, Results
from mnv2_sweep.trials.trial import EMBEDDED


def export(
    network: Annotated[str, typer.Argument(help='As tables name it, "0.5 at 160", or 0.5@160.')],
    sweep: Annotated[str | None, typer.Option(help="A sweep's name; without one, the sweep that ran last.")] = None,
    data: Annotated[
        str | None, typer.Option(help="As in run; default: what the sweep was run on, where it still is.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the network's trials.")] = 0,
    as_slice: Annotated[
        bool, typer.Option("--slice", help="The slice also where it was trained on by itself afterwards.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: exports/<sweep>/<network>.pt, named by --seed and --slice too."),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write a kept network as a file of its own, with torchvision's names for its weights."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.nets.arch import arch_label
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.export import export_network, find_outcome, write_export
    from mnv2_sweep.sweeps.schedule import read_data_name
    from mnv2_sweep.trials.tasks import task_of
    from mnv2_sweep.trials.ways import way_of

    if out is not None and (not out.name or out.is_dir()):
        raise SweepError(f"--out {out}: a folder; give the name of a file to write, for instance network.pt")
    folder = find_sweep(results, sweep)
    find_outcome(folder, network, seed, as_slice)  # before photos are opened, which can take a while
    recorded = read_data_name(folder)
    if data is None:
        data = recorded if recorded and Path(recorded).exists() else EMBEDDED
    dataset, _ = open_data(data)
    exported = export_network(folder, dataset, network, seed, as_slice)
    trial = exported.outcome.trial
    name = arch_label(trial.arch)
    stem = name.replace(" at ", "@").replace(", ", "-").replace(" ", "-")
    stem += (f"-seed{seed}" if seed else "") + ("-slice" if as_slice else "")
    path = out or Path("exports") / folder.name / f"{stem}.pt"
    write_export(exported, dataset, path)
    result, main = exported.outcome.result, task_of(trial).main
    record = f"{main.amount(result.score('val', main.name), 2)} on record, from a GPU"
    record = "as recorded" if result.device == "cpu" else record
    score = main.said(exported.val_score, 2)
    typer.echo(f"{name}, {way_of(trial).exported}: validation {score} on {trial.train_size} px, {record}")
    typer.echo(path)
