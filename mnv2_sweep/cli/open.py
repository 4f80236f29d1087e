"""Options -> Opened: what every command that trains begins with, device, settings, name and data; networks then make it
a SweepRequest."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import typer

from mnv2_sweep.base.errors import SpaceError, SweepError, WeightsError
from mnv2_sweep.cli.options import RunOptions, TrainOptions, check_name, choose_watch, command_line
from mnv2_sweep.cli.progress import open_data
from mnv2_sweep.cli.ray import join_cluster
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.shipped import find_space_file
from mnv2_sweep.spaces.space import ALONE, Space, Strategy
from mnv2_sweep.spaces.yamlfile import find_line
from mnv2_sweep.sweeps.request import SweepRequest, check_strategy
from mnv2_sweep.sweeps.settings import RunSettings, Wishes, choose_device, choose_settings
from mnv2_sweep.sweeps.starts import take_weights
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import find_task
from mnv2_sweep.trials.trial import EMBEDDED


@dataclass(frozen=True)
class Opened:
    """Data, device and settings: what all sweeps of one command have in common."""

    options: RunOptions
    dataset: Dataset
    data_name: str
    device: str
    settings: RunSettings

    @property
    def classes(self) -> int:
        return len(self.dataset.classes)

    def join(self) -> "Opened":
        """Return the same with the workers of the cluster, where one is to be joined. Raises SweepError."""
        return replace(self, settings=join_cluster(self.settings, self.options.workers))

    def ask(self, sweep: str, archs: Sequence[ArchSpec], recipe: Recipe, seeds: Sequence[int], **more) -> SweepRequest:
        """Return the request for a sweep of that name; `more` are further fields of it."""
        options = self.options
        return SweepRequest(
            options.results / sweep, tuple(archs), recipe, tuple(seeds), self.dataset, self.data_name, self.device,
            self.settings, retry_failed=options.retry_failed, dry_run=options.dry_run, command=command_line(), **more,
        )  # fmt: skip


def open_run(
    options: TrainOptions,
    data: str | None = None,
    where: str = "--data",
    strategy: Strategy = ALONE,
    budget: str | None = None,
) -> Opened:
    """Choose the device and the settings, check the name, open the data: mistakes in the order in which they are quick
    to find. `data` and `where`: what is opened without --data, and where that stands. Raises SweepError."""
    if not isinstance(options, RunOptions):
        options = RunOptions(**{field.name: getattr(options, field.name) for field in fields(options)})
    device = choose_device(options.device, options.executor)
    wishes = {field.name: getattr(options, field.name) for field in fields(Wishes) if field.name != "budget"}
    settings = choose_settings(device, Wishes(**wishes, budget=budget))
    settings = replace(settings, watch=choose_watch(options.log))
    check_strategy(strategy, settings)
    if options.name is not None:
        check_name(options.name)
    name = options.data_name(data or EMBEDDED[0])
    dataset, data_name = open_data(name, where if options.data is None else "--data")
    return Opened(options, dataset, data_name, device, settings)


def begin_space(space: Space) -> Space:
    """Return the space as it says it is with weights, where all its networks have some, and say which it is."""
    taken, line = take_weights(space)
    if line:
        typer.echo(line)
    return taken


def check_starts(request: SweepRequest, space: Space, path: Path) -> SweepRequest:
    """Return the request, whose networks have the weights with which they are to begin. Raises WeightsError, with the
    line of the file that asks for them."""
    try:
        request.starts  # noqa: B018, found once and kept
    except WeightsError as error:
        line = find_line(path, *(("axes", "init") if space.inits else ("recipe", "init")))
        raise WeightsError(f"{path}:{line}: {error}" if line else f"{path}: {error}") from None
    return request


def open_space(given: Path) -> tuple[Space, Path]:
    """Return the design space of a file, or of one that ships, and its file. Raises SweepError, also where its task
    does not train its networks."""
    path = find_space_file(given)
    space = load_space(path)
    check_heads(space, path)
    return space, path


def check_heads(space: Space, path: Path) -> None:
    """Raise SpaceError where the task of a design space does not train the heads of its networks."""
    for head in space.heads:
        try:
            find_task(space.task).check_head(head)
        except SweepError as error:
            section = next((name for name in ("axes", "fixed") if "head" in dict(getattr(space, name))), "points")
            raise SpaceError([f"{path}:{find_line(path, section, 'head')}: {error}"]) from None
