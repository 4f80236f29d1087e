"""The command `export`: a network of a shared training as a file of its own, or as a folder of files for a device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnv2_sweep.cli.options import RESULTS, Results
from mnv2_sweep.trials.trial import EMBEDDED

if TYPE_CHECKING:
    from mnv2_sweep.data.catalog import Dataset
    from mnv2_sweep.formats.card import Card
    from mnv2_sweep.sweeps.deploy import Deployed, Files
    from mnv2_sweep.sweeps.export import Exported


def export(
    network: Annotated[str, typer.Argument(help='As tables name it, "0.5 at 160", or 0.5@160.')],
    sweep: Annotated[str | None, typer.Option(help="A sweep's name; without one, the sweep that ran last.")] = None,
    data: Annotated[
        str | None, typer.Option(help="As in run; default: what the sweep was run on, where it still is.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the shared training.")] = 0,
    as_slice: Annotated[
        bool, typer.Option("--slice", help="The slice also where it was trained on by itself afterwards.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, with --to a folder; default: exports/<sweep>/<network>.pt, with --to without .pt, "
            "named by --seed and --slice too."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="onnx, tflite or onnx,tflite: a folder with these files, their preprocessing, labels, model card and "
            "a script that needs neither torch nor this program."
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="With --to: also in 8-bit integers.")] = False,
    ends: Annotated[
        str, typer.Option(help="Of a TFLite file in 8 bits, what it reads and gives: float, uint8 or int8.")
    ] = "float",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images that an ONNX file reads at once; default: any number.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write a network of a shared training as a file of its own, with torchvision's names for its weights, or with --to
    as files for a device, each run on the validation images."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.nets.arch import arch_label
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.export import export_network, find_outcome, write_export
    from mnv2_sweep.sweeps.schedule import read_data_name

    files = _read_files(to, int8, ends, batch)
    if files is None and out is not None and (not out.name or out.is_dir()):
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
    path = out or Path("exports") / folder.name / (stem if files else f"{stem}.pt")
    if files is None:
        write_export(exported, dataset, path)
    how = "slice of the shared weights" if trial.shared.finetune is None else "trained on by itself"
    result = exported.outcome.result
    record = "as recorded" if result.device == "cpu" else f"{100 * result.val_top1:.2f} % on record, from a GPU"
    typer.echo(f"{name}, {how}: validation top-1 {100 * exported.val_top1:.2f} % on {trial.train_size} px, {record}")
    if files is not None:
        _write_folder(path, exported, dataset, files, name)
    typer.echo(path)


def _read_files(to: str | None, int8: bool, ends: str, batch: int | None) -> "Files | None":
    """Return which files are wished; None for the one of torch's. Raises SweepError."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.sweeps.deploy import ENDS, FORMATS, Files

    if to is None:
        if int8 or ends != "float" or batch is not None:
            raise SweepError(
                f"--int8, --ends and --batch are about the files of --to: give --to {' or '.join(FORMATS)}"
            )
        return None
    formats = tuple(dict.fromkeys(word.strip() for word in to.split(",")))
    if not set(formats) <= set(FORMATS):
        raise SweepError(f"--to {to}: give {', '.join(FORMATS)}, or several with commas")
    if ends not in ENDS:
        raise SweepError(f"--ends {ends}: give {', '.join(ENDS)}")
    return Files(formats, int8, ends, batch)


def _write_folder(path: Path, exported: "Exported", dataset: "Dataset", files: "Files", name: str) -> None:
    """Write the folder and say how each file did on the validation images."""
    from dataclasses import replace

    from mnv2_sweep.base.text import percent
    from mnv2_sweep.sweeps.deploy import Deployed, write_device_folder

    trial = exported.outcome.trial
    arch = replace(trial.arch, classes=trial.data.classes, resolution=trial.train_size)
    deployed = Deployed(exported.model, arch, trial.train_size)
    options = f"--to {','.join(files.formats)}" + (" --int8" if files.int8 else "")
    card = _make_card(exported, deployed, dataset, name, options)
    for file, check in write_device_folder(path, deployed, dataset, files, card).items():
        if check is None:
            typer.echo(f"{file}: written, but not run here, as its runtime is not installed", err=True)
            continue
        right, agree = percent(check.right / check.images), percent(check.agree / check.images)
        typer.echo(f"{file}: validation top-1 {right} %, torch's answer on {agree} % of {check.images} images")
        if check.is_worse:
            typer.echo(f"{file}: fewer right than in torch, by more than chance explains; use the floats", err=True)


def _make_card(exported: "Exported", deployed: "Deployed", dataset: "Dataset", name: str, options: str) -> "Card":
    """Return what the model card says of the network."""
    from mnv2_sweep.analysis.stats import wilson_interval
    from mnv2_sweep.base.text import megabytes, millions
    from mnv2_sweep.formats.card import Card, Score
    from mnv2_sweep.nets.cost import count_cost

    result, cost = exported.outcome.result, count_cost(deployed.arch)
    measured = [
        ("validation top-1", exported.val_top1, result.val_images),
        ("test top-1", result.test_top1, result.test_images),
    ]
    scores = [Score(what, top1, *wilson_interval(top1, n), n) for what, top1, n in measured if top1 is not None]
    costs = {
        f"MAdds at {deployed.size} px": f"{millions(cost.madds)} million",
        "params": f"{millions(cost.params, 2)} million",
        "peak of activations in floats": megabytes(cost.peak_activation_bytes),
    }
    command = f'mnv2-sweep export "{name}" {options}'
    return Card(name, dataset.name, command, scores=scores, costs=costs)
