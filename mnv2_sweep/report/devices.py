"""Profiles of devices -> text: a list of them, one with its model, and the latencies of a space's networks."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.base.text import align, bytes_text, count_noun, duration, harmless_cell, percent
from mnv2_sweep.devices.features import FEATURES
from mnv2_sweep.devices.latency import LatencyModel, fit_latency, madds_alone, predict_left_out, relative_quantiles
from mnv2_sweep.devices.profile import Profile
from mnv2_sweep.explain.listing import SHOWN
from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.plots.device import plot_device
from mnv2_sweep.plots.style import save_figure
from mnv2_sweep.spaces.networks import Networks

BUSY = 1.25  # wall time of processors' time: above it, something else ran or the processor waited
MOST_SUGGESTED = 5


def profiles_text(
    profiles: Sequence[Profile], wrong: Sequence[str], folder: Path, published: Sequence[Profile] = ()
) -> str:
    """Return a line for each profile, for each file that is none, and for each published one."""
    rows = [["name", "device", "runtime", "precision", "threads", "space", "networks", "rounds", "noise %", "error %"]]
    for one in profiles:
        noise, error = float(np.median(one.noise)), relative_quantiles(fit_latency(one).errors)[0]
        runtime = f"{one.runtime} {one.runtime_version}"
        counts = [str(one.threads), one.space, str(len(one.networks)), str(one.rounds)]
        rows.append([one.name, one.device, runtime, one.precision, *counts, percent(noise), percent(error)])
    lines = [align(rows, left=("name", "device", "runtime", "precision", "space"))] if profiles else []
    if profiles:
        lines.append("noise: between halves of the rounds; error: of networks that the model did not see; both medians")
    else:
        lines.append(f"no profile in {folder}; 'mnv2-sweep device pack' writes the script that makes one, 'mnv2-sweep "
                     "device run' makes one here")  # fmt: skip
    lines += [f"not read: {line}" for line in wrong]
    return "\n".join([*lines, "", published_text(published)] if published else lines)


def published_text(profiles: Sequence[Profile]) -> str:
    """Return a line for each published profile."""
    rows = [["published, not your own", "device", "runtime", "precision", "threads", "networks", "error %"]]
    for one in profiles:
        error = percent(relative_quantiles(fit_latency(one).errors)[0])
        counts = [str(one.threads), str(len(one.networks)), error]
        rows.append([one.name, one.device, one.runtime, one.precision, *counts])
    return align(rows, left=("published, not your own", "device", "runtime", "precision"))


def profile_text(profile: Profile, model: LatencyModel) -> str:
    """Return what was measured and where, how noisy it is, and what the model makes of it."""
    if profile.source:
        return _published_text(profile, model)
    machine, sessions = profile.machine, profile.sessions
    what = [machine.model, machine.processor, machine.architecture, count_noun(machine.cores, "core")]
    what.append(f"{bytes_text(machine.memory_bytes)} of memory" if machine.memory_bytes else "")
    spent = duration(sum(one.seconds for one in sessions))
    lines = [
        f"{profile.name}: {profile.title}",
        f"machine   {', '.join(filter(None, what))}; {machine.system}, Python {machine.python}",
        f"measured  {sessions[0].begun[:10]}, {count_noun(len(profile.networks), 'network')} of {profile.space} in "
        f"{count_noun(profile.rounds, 'round')}, {spent} in {count_noun(len(sessions), 'session')}; {_state(profile)}",
        f"latency   {_milliseconds(profile.seconds.min())} to {_milliseconds(profile.seconds.max())} ms",
    ]
    for title, name in (("memory", "peak_bytes"), ("files", "file_bytes")):
        sizes = [getattr(one, name) for one in profile.networks if getattr(one, name) is not None]
        if sizes:
            words = "at most in a process with its runtime" if name == "peak_bytes" else "each"
            ends = f"{bytes_text(min(sizes))} to {bytes_text(max(sizes))}"
            lines.append(f"{title:9} {ends} {words} ({count_noun(len(sizes), 'network')})")
    lines.append(f"noise     halves of the rounds differ by {_pair(relative_quantiles(profile.noise))}")
    lines.append(f"model     networks left out are predicted within {_pair(relative_quantiles(model.errors))}")
    madds = predict_left_out(madds_alone(model.features), model.seconds) / model.seconds - 1
    lines.append(f"          by MAdds alone within {_pair(relative_quantiles(madds))}")
    lines += filter(None, [busy_text(profile)])
    return "\n".join([*lines, "", costs_text(model)])


def busy_text(profile: Profile) -> str:
    """Say that the device did other things, too, where even the fastest runs waited; "" where they did not."""
    if profile.busy <= BUSY:
        return ""
    advice = "its latency is that without them" if profile.threads == 1 else "measure again while it does not"
    return (
        f"note: even the fastest runs took {profile.busy:.1f} times what the processors worked for them; if the device "
        f"did other things, {advice}"
    )


def _published_text(profile: Profile, model: LatencyModel) -> str:
    """Return what somebody published, with the source and the conditions, and what the model makes of it."""
    rows = [["network", "MAdds", "published ms", "predicted from the others"]]
    for one, seconds, left_out in zip(profile.networks, profile.seconds, model.left_out, strict=True):
        rows.append([arch_label(one.arch), f"{count_cost(one.arch).madds:,}", f"{1e3 * seconds:g}",
                     _milliseconds(left_out)])  # fmt: skip
    return "\n".join([
        f"{profile.name}: {profile.title}; published by others, not measured by you",
        f"source    {profile.source}",
        f"model     networks left out are predicted within {_pair(relative_quantiles(model.errors))}; nothing is known "
        "of the noise of these times",
        "", align(rows), "", costs_text(model),
    ])  # fmt: skip


def costs_text(model: LatencyModel) -> str:
    """Return what each feature costs, and its share of the time of the measured networks."""
    rows = [["of a network", "costs", "share of time %"]]
    shares = model.features * model.costs / model.predict(model.features)[:, None]
    for at, one in enumerate(FEATURES.values()):
        if model.features[:, at].any():
            cost = f"{_small(model.costs[at])} {one.each}".rstrip() if model.costs[at] else "nothing"
            rows.append([one.words, cost, percent(float(np.median(shares[:, at])))])
    return align(rows, left=("of a network",))


def latencies_text(profile: Profile, networks: Networks) -> str:
    """Return the latency of each network of a space with its interval, those of many the first; raises ProfileError
    where none lies within what was measured."""
    model, features, seconds, low, high, outside = _predict(profile, networks)
    _check_inside(profile, networks, model, features, outside)
    rows = [["network", "MAdds", "ms", "95 %", ""]]
    for i in range(min(len(networks), SHOWN)):
        times = ["-", "-", "outside"] if outside[i] else [
            _milliseconds(seconds[i]), f"{_milliseconds(low[i])} to {_milliseconds(high[i])}", ""
        ]  # fmt: skip
        rows.append([arch_label(networks[i]), f"{networks.costs.madds[i]:,}", *times])
    lines = [align(rows, left=("network", ""))]
    if len(networks) > SHOWN:
        lines.append(f"... and {len(networks) - SHOWN:,} more (--csv lists all)")
    lines.append(
        f"{'published, not measured by you: ' * bool(profile.source)}latency of one image on {profile.title}, "
        f"predicted from {count_noun(len(profile.networks), 'network')}"
    )
    if outside.any():
        count = f"{int(outside.sum()):,} of {len(networks):,}"
        lines.append(f"{count} lie outside of what was measured, and are not predicted")
        lines += _advice(networks, model, features)
    return "\n".join(lines)


def latencies_csv(profile: Profile, networks: Networks) -> str:
    """Return a row for each network: seconds and their interval, empty where it is outside of what was measured."""
    model, features, seconds, low, high, outside = _predict(profile, networks)
    _check_inside(profile, networks, model, features, outside)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", "madds", "seconds", "low", "high"])
    for i, arch in enumerate(networks):
        times = ["", "", ""] if outside[i] else [f"{value:.6g}" for value in (seconds[i], low[i], high[i])]
        writer.writerow([harmless_cell(arch_label(arch)), networks.costs.madds[i], *times])
    return text.getvalue()


def draw_device(profile: Profile, model: LatencyModel, plots: Path) -> list[Path]:
    """Draw measured against predicted, the residuals and the noise; return the files written. Raises StoreError."""
    return save_figure(plot_device(profile, model), plots / f"device-{profile.name}")


def check_space(profile: Profile, networks: Networks) -> None:
    """Raise ProfileError where no network of a space lies within what was measured, with those to add."""
    model, features, *_, outside = _predict(profile, networks)
    _check_inside(profile, networks, model, features, outside)


def _predict(profile: Profile, networks: Networks) -> tuple:
    model, features = fit_latency(profile), networks.features()
    return model, features, model.predict(features), *model.interval(features), model.outside(features)


def _check_inside(profile: Profile, networks: Networks, model: LatencyModel, features: np.ndarray,
                  outside: np.ndarray) -> None:  # fmt: skip
    if outside.all():
        reason = model.reasons(features[0])[0]
        raise ProfileError(
            f"{profile.name}: measured on {profile.space}, and all of {networks.space.name} lies outside of that, for "
            f"instance {arch_label(networks[0])} ({reason}); pack {networks.space.name} and measure that"
        )


def _advice(networks: Networks, model: LatencyModel, features: np.ndarray) -> list[str]:
    """Say which networks to measure, so that those outside are not."""
    named = [f"  {arch_label(networks[at])}: {model.reasons(features[at])[0]}"
             for at in model.suggest(features, MOST_SUGGESTED)]  # fmt: skip
    return [f"measure a space that has these, too, or pack {networks.space.name}:", *named]


def _state(profile: Profile) -> str:
    """Say how governor, clock and temperature were, so far as the system told."""
    known = {
        name: [value for one in profile.sessions for value in getattr(one, name) if value is not None]
        for name in ("governor", "mhz", "celsius")
    }
    words = [f"governor {', '.join(sorted(set(known['governor'])))}"] if known["governor"] else []
    for name, unit in (("mhz", "MHz"), ("celsius", "degrees C")):
        if known[name]:
            words.append(f"{min(known[name]):.0f} to {max(known[name]):.0f} {unit}")
    return ", ".join(words) or "governor, clock and temperature are not told by its system"


def _pair(quantiles: tuple[float, float]) -> str:
    return f"{percent(quantiles[0])} % (median), {percent(quantiles[1])} % (95 % of them)"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 0.1 else f"{1e3 * seconds:,.0f}"


def _small(seconds: float) -> str:
    """Return a time in the unit that fits."""
    for size, unit in ((1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-12:.3g} ps"
