"""The commands `weights ...`: published weights, listed, fetched, added from a file, and checked against photos."""

from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.cli.options import Json

weights_app = typer.Typer(no_args_is_help=True, help="List, fetch, add and check pretrained weights.")


@weights_app.command("list")
def weights_list(as_json: Json = False) -> None:
    """List the published weights that are known, and those that were added here."""
    import json
    from dataclasses import asdict

    from mnv2_sweep.base.text import align, bytes_text
    from mnv2_sweep.pretrained.folder import list_added, weights_folder
    from mnv2_sweep.pretrained.published import PUBLISHED, published_label

    folder = weights_folder()
    added = {record.name: record for record in list_added(folder)}
    if as_json:
        published = [asdict(one) | {"size_bytes": one.size_bytes, "added": one.name in added} for one in PUBLISHED]
        return typer.echo(json.dumps({"published": published, "added": [asdict(one) for one in added.values()]}))
    rows = [["weights", "network", "top-1 %", "size", "licence", "here"]]
    for one in PUBLISHED:
        here = "yes" if added.pop(one.name, None) else ""
        size, top1 = bytes_text(one.size_bytes), f"{one.top1_percent:.1f}"
        rows.append([one.name, published_label(one), top1, size, one.licence, here])
    for record in added.values():
        rows.append([record.name, f"{record.width} at {record.resolution}", "-", "-", record.licence or "-", "yes"])
    typer.echo(align(rows, left=("weights", "network", "licence", "here")))
    typer.echo(f"top-1 on ImageNet as published, in percent. 'weights get NAME' fetches one into {folder}.")


@weights_app.command("get")
def weights_get(
    wanted: Annotated[
        str, typer.Argument(metavar="NAME|SPACE", help="A name of 'weights list', or a design space: all it can use.")
    ],
) -> None:
    """Fetch published weights, or those for every network of a design space, check them and add them."""
    from mnv2_sweep.pretrained.folder import list_added, weights_folder

    folder = weights_folder()
    there = {record.name for record in list_added(folder)}
    for one in _choose(wanted):
        if one.name in there:
            typer.echo(f"{one.name}: added already")
        else:
            _fetch(one, folder)


@weights_app.command("add")
def weights_add(
    file: Annotated[Path, typer.Argument(help="A file of torch, safetensors, Keras, TF-Lite, ONNX or TensorFlow.js.")],
    known: Annotated[
        str | None, typer.Option("--as", help="The published weights that it is; default: told by its digest or name.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for it; default: the published one, or the file's.")] = None,
    licence: Annotated[str | None, typer.Option(help="On which terms a file of your own may be used.")] = None,
    source: Annotated[str | None, typer.Option(help="Where a file of your own comes from.")] = None,
) -> None:
    """Read a file of weights, of any kind that is known by its content, and keep it under its digest."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.pretrained.add import add_weights
    from mnv2_sweep.pretrained.folder import weights_folder
    from mnv2_sweep.pretrained.published import find_published

    published = find_published(known) if known else None
    if known and not published:
        raise SweepError(f"--as {known}: no such weights; 'mnv2-sweep weights list' has them all")
    for option, text in (("name", name), ("licence", licence), ("source", source)):
        if text is not None and (not text.strip() or len(text) > 300 or not text.isprintable()):
            raise SweepError(f"--{option} {text!r}: up to 300 printable characters are wanted")
    _say_added(add_weights(file, weights_folder(), name or "", published, licence or "", source or ""))


@weights_app.command("check")
def weights_check(
    weights: Annotated[str, typer.Argument(metavar="FILE", help="A file of weights, or the name of added ones.")],
    data: Annotated[str, typer.Option(help="A folder or zip of class folders; a dozen photos are enough.")],
    photos: Annotated[int, typer.Option(min=2, max=1000, help="How many of the training photos are looked at.")] = 32,
) -> None:
    """Say from a few photos for which padding, pixels and epsilon weights were trained; no labels are needed."""
    import numpy as np

    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.base.size import square
    from mnv2_sweep.base.text import align
    from mnv2_sweep.cli.progress import open_data
    from mnv2_sweep.models.check_weights import (
        CLEAR,
        claimed_conventions,
        compare_conventions,
        compare_epsilons,
        is_clear,
    )
    from mnv2_sweep.pretrained.folder import find_weights, weights_folder
    from mnv2_sweep.pretrained.read import read_weights

    read = read_weights(Path(weights)) if Path(weights).is_file() else find_weights(weights, weights_folder())
    dataset, _ = open_data(data)
    pixels = dataset.pixels("train", square(read.record.resolution))
    chosen = np.linspace(0, len(pixels) - 1, min(photos, len(pixels))).astype(int)
    shown = np.asarray(pixels[chosen])
    fits = compare_conventions(read, shown)
    typer.echo(align([["padding", "pixels", "nats"], *([f.padding, f.pixels, f"{f.distance:.3f}"] for f in fits)],
                     left=("padding", "pixels")))  # fmt: skip
    best, claimed = (fits[0].padding, fits[0].pixels), claimed_conventions(read.record)
    words = "padding {}, pixels {}".format(*best)
    if not is_clear(fits):
        raise SweepError(f"{weights}: {words} fits best, but not clearly, so nothing is told; more or other photos may")
    if best != claimed:
        raise SweepError(f"{weights}: made for {words}, its record says padding {claimed[0]}, pixels {claimed[1]}; "
                         "what it computes so is not what it was trained to")  # fmt: skip
    (epsilon, nats), (_, more), *_ = compare_epsilons(read, *best, shown)
    said, told = read.record.epsilon, more > CLEAR * nats
    if told and epsilon != said:
        raise SweepError(f"{weights}: made for epsilon {epsilon:g}, its record says {said:g}; what it computes so is "
                         "not what it was trained to")  # fmt: skip
    untold = f"; its epsilon, {said:g}, photos don't tell: its variances are too large for that"
    told_words = f", epsilon {said:g}, as its record says" if told else f", as its record says{untold}"
    typer.echo(f"{read.record.name}: made for {words}{told_words}")


def _choose(wanted: str) -> list:
    """Return the published weights of a name, or for the networks of a space, each once; say which have none."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.nets.arch import arch_label
    from mnv2_sweep.pretrained.published import choose_published, find_published
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space
    from mnv2_sweep.spaces.shipped import find_space_file, shipped_file

    one = find_published(wanted)
    if one:
        return [one]
    if not Path(wanted).exists() and not shipped_file(wanted):
        raise SweepError(f"{wanted}: no weights and no design space of that name; all names: mnv2-sweep weights list")
    networks = select_networks(load_space(find_space_file(Path(wanted))))
    found = {}
    for arch in networks:
        one = choose_published(arch)
        if one:
            found[one.name] = one
        else:
            typer.echo(f"{arch_label(arch)}: nobody has published weights for it")
    return list(found.values())


def _fetch(one, folder: Path) -> None:
    from rich.console import Console

    from mnv2_sweep.cli.progress import counting
    from mnv2_sweep.pretrained.add import add_weights
    from mnv2_sweep.pretrained.download import download

    with counting(Console(stderr=True), f"fetching {one.name}", "byte") as report:
        path = download(one, folder, report)
    try:
        _say_added(add_weights(path, folder, published=one))
    finally:
        path.unlink()  # what can't be added is of no use, and no list shows it


def _say_added(weights) -> None:
    record = weights.record
    for note in weights.notes:
        typer.echo(f"note: {note}", err=True)
    classes = f"{record.classes} classes" if record.classes else "no classifier"
    typer.echo(f"{record.name}: {record.kind}, MobileNetV2 {record.width} at {record.resolution}, {classes}, padding "
               f"{record.padding}, epsilon {record.epsilon:g}, sha256 {record.sha256[:12]}, "
               f"licence: {record.licence or 'not stated, --licence says it'}")  # fmt: skip
