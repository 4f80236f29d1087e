"""The command `export`: a kept network as a file of its own, or as a folder of files for a device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnv2_sweep.cli.options import RESULTS, Results
from mnv2_sweep.trials.trial import CLASSIFY, EMBEDDED

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
    seed: Annotated[int, typer.Option(min=0, help="Of the network's trials.")] = 0,
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
            help="onnx, tflite, safetensors, pt2, or several with commas: a folder with these files, preprocessing, "
            "labels and model card; with onnx and tflite a script that needs neither torch nor this program."
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="With --to onnx or tflite: also in 8-bit integers.")] = False,
    ends: Annotated[
        str, typer.Option(help="Of a TFLite file in 8 bits, what it reads and gives: float, uint8 or int8.")
    ] = "float",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images that an ONNX file reads at once; default: any number.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write a kept network as a file of its own, with torchvision's names for its weights, or with --to as files for a
    device, each run on the validation images."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.nets.arch import SAME, arch_label
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.export import export_network, find_outcome, write_export
    from mnv2_sweep.sweeps.schedule import read_data_name
    from mnv2_sweep.trials.tasks import task_of
    from mnv2_sweep.trials.ways import way_of

    files = _read_files(to, int8, ends, batch)
    if files is None and out is not None and (not out.name or out.is_dir()):
        raise SweepError(f"--out {out}: a folder; give the name of a file to write, for instance network.pt")
    folder = find_sweep(results, sweep)
    trial = find_outcome(folder, network, seed, as_slice).trial  # before photos are opened, which can take a while
    task = trial.task
    if files is not None and task != CLASSIFY:
        raise SweepError(f"--to: files for a device are of networks that {CLASSIFY}, not '{task}'; leave it out")
    if files is not None and (trial.start is not None or trial.arch.padding == SAME):
        raise SweepError(
            f"--to: {network} has the padding or scaling of published weights, which files for a device don't have "
            "yet; leave it out for a file of torch's"
        )
    recorded = read_data_name(folder)
    if data is None:
        data = recorded if recorded and (recorded in EMBEDDED or Path(recorded).exists()) else EMBEDDED[0]
    dataset, _ = open_data(data)
    exported = export_network(folder, dataset, network, seed, as_slice)
    trial = exported.outcome.trial
    name = arch_label(trial.arch)
    stem = name.replace(" at ", "@").replace(", ", "-").replace(" ", "-")
    stem += (f"-seed{seed}" if seed else "") + ("-slice" if as_slice else "")
    path = out or Path("exports") / folder.name / (stem if files else f"{stem}.pt")
    if files is None:
        write_export(exported, dataset, path)
    result, main = exported.outcome.result, task_of(trial).main
    record = f"{main.amount(result.score('val', main.name), 2)} on record, from a GPU"
    record = "as recorded" if result.device == "cpu" else record
    score = main.said(exported.val_score, 2)
    typer.echo(f"{name}, {way_of(trial).exported}: validation {score} on {trial.train_size} px, {record}")
    if files is not None:
        options = f"--sweep {folder.name}" + (f" --seed {seed}" if seed else "") + (" --slice" if as_slice else "")
        command = f'mnv2-sweep export "{name}" {options} {_files_options(files)}'
        _write_folder(path, exported, dataset, files, name, command)
    typer.echo(path)


def _read_files(to: str | None, int8: bool, ends: str, batch: int | None) -> "Files | None":
    """Return which files are wished; None for the one of torch's. Raises SweepError."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.sweeps.deploy import DEVICE, ENDS, FORMATS, Files

    if to is None:
        if int8 or ends != "float" or batch is not None:
            raise SweepError(f"--int8, --ends and --batch are about the files of --to: give --to {' or '.join(DEVICE)}")
        return None
    formats = tuple(dict.fromkeys(word.strip() for word in to.split(",")))
    if not set(formats) <= set(FORMATS):
        raise SweepError(f"--to {to}: give {', '.join(FORMATS)}, or several with commas")
    if int8 and not set(formats) & set(DEVICE):
        raise SweepError(f"--int8: files of {' and '.join(DEVICE)} can have 8 bits, --to {to} has none; leave it out")
    if ends not in ENDS:
        raise SweepError(f"--ends {ends}: give {', '.join(ENDS)}")
    return Files(formats, int8, ends, batch)


def _files_options(files: "Files") -> str:
    """Return the options that ask for these files."""
    words = [f"--to {','.join(files.formats)}"] + ["--int8"] * files.int8
    words += [f"--ends {files.ends}"] * (files.ends != "float")
    words += [] if files.batch is None else [f"--batch {files.batch}"]
    return " ".join(words)


def _write_folder(
    path: Path, exported: "Exported", dataset: "Dataset", files: "Files", name: str, command: str
) -> None:
    """Write the folder and say how each file did on the validation images."""
    from mnv2_sweep.base.text import percent
    from mnv2_sweep.sweeps.deploy import Deployed, write_device_folder
    from mnv2_sweep.trials.tasks import trained_network

    deployed = Deployed(exported.model, trained_network(exported.outcome.trial))
    card = _make_card(exported, deployed, dataset, name, command)
    for file, check in write_device_folder(path, deployed, dataset, files, card).items():
        if check is None:
            typer.echo(f"{file}: written, but not run here, as its runtime is not installed", err=True)
            continue
        low, high = (percent(end) for end in check.interval)
        typer.echo(
            f"{file}: validation top-1 {percent(check.top1)} % ({low} to {high}), torch's answer on "
            f"{percent(check.agreement)} % of {check.images} images"
        )
        if check.is_worse:
            typer.echo(f"{file}: fewer right than in torch, by more than chance explains; use the floats", err=True)


def _make_card(exported: "Exported", deployed: "Deployed", dataset: "Dataset", name: str, command: str) -> "Card":
    """Return what the model card says of the network."""
    from mnv2_sweep.base.intervals import wilson_interval
    from mnv2_sweep.base.text import megabytes, millions
    from mnv2_sweep.formats.card import Card, Score
    from mnv2_sweep.nets.cost import count_cost
    from mnv2_sweep.trials.tasks import task_of

    result, cost, main = exported.outcome.result, count_cost(deployed.arch), task_of(exported.outcome.trial).main
    values = {"validation": exported.val_score, "test": result.score("test", main.name)}
    images = {"validation": result.images["val"], "test": result.images.get("test", 0)}
    scores = [
        Score(f"{split} {main.label}", value, *wilson_interval(value, images[split]), images[split])
        for split, value in values.items()
        if value is not None
    ]
    costs = {
        f"MAdds at {deployed.size} px": millions(cost.madds),
        "params": millions(cost.params, 2),
        "peak of activations in floats": megabytes(cost.peak_activation_bytes),
    }
    return Card(name, dataset.name, command, scores=scores, costs=costs)
