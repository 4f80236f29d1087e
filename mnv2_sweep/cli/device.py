"""The commands `device ...`: a script that measures networks on a device, the same run here, and what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from mnv2_sweep.cli.options import PLOTS, Csv, Json, Plots, SpaceFile

device_app = typer.Typer(no_args_is_help=True, help="Measure networks on a device, and predict all others from these.")

Runtime = Annotated[str, typer.Option(help="onnx, openvino, litert or torch.")]
Int8 = Annotated[bool, typer.Option("--int8", help="Networks in 8 bits, in the form that 'export --int8' gives them.")]
Count = Annotated[int, typer.Option("--networks", min=12, max=100, help="How many networks of the space are measured.")]
Threads = Annotated[int, typer.Option(min=1, max=1024, help="Threads of the runtime.")]
Name = Annotated[str, typer.Argument(help="The name of a profile, see 'device list'.")]


@device_app.command("pack")
def device_pack(
    space: SpaceFile,
    runtime: Runtime,
    out: Annotated[
        Path | None,
        typer.Option(help="The script; default: the space's name and the runtime's.", show_default=False),
    ] = None,
    int8: Int8 = False,
    networks: Count = 50,
    threads: Threads = 1,
) -> None:
    """Write a script that measures networks of a design space on a device with just Python, numpy and a runtime."""
    from mnv2_sweep.base.errors import StoreError
    from mnv2_sweep.base.files import write_whole
    from mnv2_sweep.base.text import count_noun
    from mnv2_sweep.formats.measure import RUNTIMES, make_script

    chosen, archs, wish = _choose(space, runtime, int8, networks, threads)
    script = make_script(chosen.space.name, archs, wish)
    path = Path(f"{chosen.space.name}-{wish.words}.py") if out is None else out
    try:
        write_whole(path, script)
    except OSError as error:
        raise StoreError(f"--out {path}: can't be written ({error})") from error
    what = f"{count_noun(len(archs), 'network')} of {chosen.space.name}, {len(script.encode()):,} bytes"
    typer.echo(f"{path}: {what}; on the device, with numpy and {RUNTIMES[runtime].package}: python {path.name}")


@device_app.command("run")
def device_run(
    space: SpaceFile,
    runtime: Runtime,
    name: Annotated[
        str | None, typer.Option(help="A name for the profile; default: this machine's and the runtime's.")
    ] = None,
    int8: Int8 = False,
    networks: Count = 50,
    threads: Threads = 1,
    minutes: Annotated[float, typer.Option(min=0.01, max=600, help="Time that it may take.")] = 3.0,
) -> None:
    """Measure networks of a design space here, and add the profile; interrupted, the same command goes on."""
    import hashlib
    import platform

    from mnv2_sweep.base.errors import ProfileError
    from mnv2_sweep.devices.folder import UNFINISHED, add_profile, check_name, devices_folder, find_name
    from mnv2_sweep.formats.measure import make_script, run_script

    chosen, archs, wish = _choose(space, runtime, int8, networks, threads)
    name = check_name(name or f"{find_name(platform.node())[:25]}-{wish.words}")
    folder, script = devices_folder(), make_script(chosen.space.name, archs, wish)
    if (folder / f"{name}.json").exists():
        raise ProfileError(f"--name {name}: there is a profile of that name; remove it with 'mnv2-sweep device remove "
                           f"{name}', or give another name")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{name}-{hashlib.sha256(script.encode()).hexdigest()[:12]}{UNFINISHED}"
    for line in run_script(script, unfinished, minutes):
        if line.startswith("round"):
            typer.echo(line, err=True)
    _say_added(add_profile(unfinished, folder, name))
    unfinished.unlink()


@device_app.command("add")
def device_add(
    file: Annotated[Path, typer.Argument(help="The JSON file that the script wrote on the device.")],
    name: Annotated[str | None, typer.Option(help="A name for it, as in pi4; default: the device's own.")] = None,
    space: Annotated[
        Path | None, typer.Option(help="A design space: refuse a profile that says nothing of its networks.")
    ] = None,
) -> None:
    """Check a profile that was measured on a device, and keep it under a name."""
    from mnv2_sweep.devices.folder import add_profile, devices_folder
    from mnv2_sweep.devices.profile import read_profile

    if space is not None:
        from mnv2_sweep.report.devices import check_space

        check_space(read_profile(file), _networks(space))
    _say_added(add_profile(file, devices_folder(), name or ""))


@device_app.command("list")
def device_list() -> None:
    """List the profiles that were added here, each with its noise and the error of its model, and published ones."""
    from mnv2_sweep.devices.folder import devices_folder, list_profiles
    from mnv2_sweep.devices.published import published_profiles
    from mnv2_sweep.report.devices import profiles_text

    folder = devices_folder()
    typer.echo(profiles_text(*list_profiles(folder), folder, [*published_profiles().values()]))


@device_app.command("show")
def device_show(
    name: Name,
    space: Annotated[
        Path | None, typer.Argument(help="A design space: predict the latency of its networks instead.")
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
    plots: Plots = PLOTS,
) -> None:
    """Say what was measured, what the model makes of it, and draw both; or predict the networks of a design space."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.devices.folder import SUFFIX, devices_folder, find_profile
    from mnv2_sweep.devices.latency import fit_latency
    from mnv2_sweep.report.devices import draw_device, latencies_csv, latencies_text, profile_text

    folder = devices_folder()
    profile = find_profile(name, folder)
    if as_json and space is not None or as_csv and space is None:
        raise SweepError("device show: --json prints the profile as it was measured, --csv the latencies of a space")
    if as_json and profile.source:
        raise SweepError(f"device show {name}: --json prints what a script measured, and this was published; leave it "
                         "out")  # fmt: skip
    if as_json:
        typer.echo((folder / f"{name}{SUFFIX}").read_text(encoding="utf-8"))
    elif space is not None:
        networks = _networks(space)
        typer.echo(latencies_csv(profile, networks) if as_csv else latencies_text(profile, networks), nl=not as_csv)
    else:
        model = fit_latency(profile)
        typer.echo(profile_text(profile, model))
        typer.echo("\n".join(map(str, draw_device(profile, model, plots))))


@device_app.command("remove")
def device_remove(name: Name) -> None:
    """Remove a profile."""
    from mnv2_sweep.devices.folder import devices_folder, remove_profile

    remove_profile(name, devices_folder())
    typer.echo(f"{name}: removed")


def _choose(space: Path, runtime: str, int8: bool, count: int, threads: int) -> tuple:
    """Return the space's networks, those to measure, and how. Raises SweepError."""
    from mnv2_sweep.base.errors import SweepError
    from mnv2_sweep.formats.measure import RUNTIMES, Wish, choose_archs

    if runtime not in RUNTIMES:
        raise SweepError(f"--runtime {runtime}: {' | '.join(RUNTIMES)} allowed")
    networks = _networks(space)
    return networks, choose_archs(networks, count), Wish(runtime, int8, threads)


def _networks(space: Path):
    from mnv2_sweep.spaces.networks import select_networks
    from mnv2_sweep.spaces.read import load_space
    from mnv2_sweep.spaces.shipped import find_space_file

    return select_networks(load_space(find_space_file(space)))


def _say_added(profile) -> None:
    import numpy as np

    from mnv2_sweep.base.text import percent
    from mnv2_sweep.devices.latency import fit_latency, relative_quantiles
    from mnv2_sweep.report.devices import busy_text

    median, most = relative_quantiles(fit_latency(profile).errors)
    noise = percent(float(np.median(profile.noise)))
    typer.echo(f"{profile.name}: {profile.title}; {len(profile.networks)} networks in {profile.rounds} rounds, noise "
               f"{noise} %; networks left out are predicted within {percent(median)} % (median), {percent(most)} % "
               "(95 % of them)")  # fmt: skip
    if note := busy_text(profile):
        typer.echo(note, err=True)
