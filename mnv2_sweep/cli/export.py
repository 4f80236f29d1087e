"""The command `export`: a kept network as a file of its own, or as a folder of files for a device."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mnv2_sweep.base.text import printable
from mnv2_sweep.cli.options import RESULTS, Results
from mnv2_sweep.trials.trial import CLASSIFY

if TYPE_CHECKING:
    from mnv2_sweep.data.catalog import Dataset
    from mnv2_sweep.formats.card import Card
    from mnv2_sweep.nets.arch import ArchSpec
    from mnv2_sweep.sweeps.deploy import Files
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
            help="onnx, tflite, safetensors, pt2, pte, or several with commas: a folder with these files, "
            "preprocessing, labels and model card; for onnx and tflite a script that needs neither torch nor this "
            "program."
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
    from mnv2_sweep.cli.progress import open_recorded
    from mnv2_sweep.record.exports import record_export
    from mnv2_sweep.record.folders import find_sweep
    from mnv2_sweep.sweeps.export import describe_file, export_network, find_outcome, recorded_label, write_export
    from mnv2_sweep.trials.ways import way_of

    files = _read_files(to, int8, ends, batch)
    if files is None and out is not None and (not out.name or out.is_dir()):
        raise SweepError(f"--out {out}: a folder; give the name of a file to write, for instance network.pt")
    if files is not None and out is not None and out.resolve() in (here := Path.cwd().resolve(), *here.parents):
        raise SweepError(f"--out {out}: a folder that one is in is not replaced; give the name of a folder in it")
    folder = find_sweep(results, sweep)
    trial = find_outcome(folder, network, seed, as_slice).trial  # before photos are opened, which can take a while
    task = trial.task
    if files is not None and task != CLASSIFY:
        raise SweepError(f"--to: files for a device are of networks that {CLASSIFY}, not '{task}'; leave it out")
    dataset = open_recorded(folder, trial, data)
    exported = export_network(folder, dataset, network, seed, as_slice)
    name = recorded_label(folder, trial)
    stem = name.replace("/", "-").replace(" at ", "@").replace(", ", "-").replace(" ", "-")
    stem += (f"-seed{seed}" if seed else "") + ("-slice" if as_slice else "")
    path = out or Path("exports") / folder.name / (stem if files else f"{stem}.pt")
    if files is None:
        write_export(exported, path)
    typer.echo(f"{name}, {way_of(trial).exported}: {exported.score_said}")
    if files is None:
        record_export(folder, trial, name, path, {path.name: describe_file(exported, path)})
    else:
        options = f"--sweep {folder.name}" + (f" --seed {seed}" if seed else "") + (" --slice" if as_slice else "")
        options += f" --out {shlex.quote(str(out))}" if out else ""
        command = f'mnv2-sweep export "{name}" {options} {_files_options(files)}'
        for note in exported.notes[1:]:  # the first is said above
            typer.echo(f"note: {note}", err=True)
        record_export(folder, trial, name, path, _write_folder(path, exported, dataset, files, _Words(name, command)))
    typer.echo(printable(str(path)))


def _read_files(to: str | None, int8: bool, ends: str, batch: int | None) -> "Files | None":
    """Return which files are wished; None for the one of torch's. Raises SweepError."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.models.pte_files import check_executorch
    from mnv2_sweep.sweeps.deploy import DEVICE, ENDS, FORMATS, ONNX, PTE, TFLITE, Files

    if to is None:
        if int8 or ends != "float" or batch is not None:
            raise SweepError(f"--int8, --ends and --batch are about the files of --to: give --to {' or '.join(DEVICE)}")
        return None
    formats = tuple(dict.fromkeys(word.strip() for word in to.split(",")))
    if not set(formats) <= set(FORMATS):
        raise SweepError(f"--to {to}: give {', '.join(FORMATS)}, or several with commas")
    if PTE in formats:
        check_executorch(f"--to {to}")
    if int8 and not set(formats) & set(DEVICE):
        raise SweepError(f"--int8: files of {' and '.join(DEVICE)} can have 8 bits, --to {to} has none; leave it out")
    if ends not in ENDS:
        raise SweepError(f"--ends {ends}: give {', '.join(ENDS)}")
    if ends != ENDS[0] and not (int8 and TFLITE in formats):
        given = f"--to {to} has none" if int8 else "--int8 is not given"
        raise SweepError(
            f"--ends {ends}: the ends of a {TFLITE} file in 8 bits, and {given}; give --to {TFLITE} --int8, or leave "
            "--ends out"
        )
    if batch is not None and ONNX not in formats:
        raise SweepError(
            f"--batch {batch}: the images that an {ONNX} file reads at once, and --to {to} has none; give --to {ONNX}, "
            "or leave --batch out"
        )
    return Files(formats, int8, ends, batch)


def _files_options(files: "Files") -> str:
    """Return the options that ask for these files."""
    words = [f"--to {','.join(files.formats)}"] + ["--int8"] * files.int8
    words += [f"--ends {files.ends}"] * (files.ends != "float")
    words += [] if files.batch is None else [f"--batch {files.batch}"]
    return " ".join(words)


class _Words(NamedTuple):
    """How a network is called, and the command that writes it."""

    name: str
    command: str


def _write_folder(
    path: Path, exported: "Exported", dataset: "Dataset | None", files: "Files", words: _Words
) -> dict[str, dict]:
    """Write the folder and say how each file did on the validation images, and what becomes of an earlier export there;
    return what is recorded of all its files."""
    from mnv2_sweep.base.text import percent
    from mnv2_sweep.formats.card import advise, unchecked
    from mnv2_sweep.sweeps.deploy import Deployed, write_device_folder
    from mnv2_sweep.trials.tasks import trained_network

    arch = trained_network(exported.outcome.trial)
    deployed = Deployed(exported.model, arch, exported.classes, exported.preprocess)
    written = write_device_folder(path, deployed, dataset, files, _make_card(exported, arch, words))
    for file, check in written.checks.items():
        if isinstance(check, str):
            typer.echo(f"{file}: written, but {unchecked(check)}", err=True)
            continue
        low, high = (percent(end) for end in check.interval)
        typer.echo(
            f"{file}: validation top-1 {percent(check.top1)} % ({low} to {high}), torch's answer on "
            f"{percent(check.agreement)} % of {check.images} images"
        )
        if check.is_worse:
            typer.echo(f"{file}: fewer right than in torch, by more than chance explains; {advise(file)}", err=True)
    for file in written.stayed:
        typer.echo(f"{file}: stays as an earlier export of this network wrote it")
    for file in written.removed:
        why = "an earlier export wrote it, of other weights or preprocessing, or with an earlier version"
        typer.echo(f"{file}: removed, as {why}; export it again", err=True)
    return written.records


def _make_card(exported: "Exported", arch: "ArchSpec", words: _Words) -> "Card":
    """Return what the model card says of the network."""
    from mnv2_sweep.base.intervals import wilson_interval
    from mnv2_sweep.base.text import megabytes, millions
    from mnv2_sweep.formats.card import Card, Score
    from mnv2_sweep.nets.cost import count_cost
    from mnv2_sweep.sweeps.export import describe_training
    from mnv2_sweep.trials.tasks import task_of
    from mnv2_sweep.trials.weights import describe_start

    trial, result, cost = exported.outcome.trial, exported.outcome.result, count_cost(arch)
    main, checked = task_of(trial).main, exported.val_score is not None
    values = {
        "validation": exported.val_score if checked else result.score("val", main.name),
        "test": result.score("test", main.name),
    }
    images = {"validation": result.images["val"], "test": result.images.get("test", 0)}
    scores = [
        Score(f"{split} {main.label}", value, *wilson_interval(value, images[split]), images[split])
        for split, value in values.items()
        if value is not None
    ]
    costs = {
        f"MAdds at {exported.preprocess.size} px": millions(cost.madds),
        "params": millions(cost.params, 2),
        "peak of activations in floats": megabytes(cost.peak_activation_bytes),
    }
    start = describe_start(trial.start) if trial.start else "random weights"
    training = describe_training(trial)
    return Card(words.name, trial.data.name, words.command, start, training, scores, costs, exported.notes)
