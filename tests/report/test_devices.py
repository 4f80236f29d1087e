"""What is said of profiles, and of the networks of a space."""

import csv
import json
import math
from pathlib import Path

import pytest

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.latency import fit_latency
from mnv2_sweep.devices.profile import parse_profile
from mnv2_sweep.report.devices import check_space, latencies_csv, latencies_text, profile_text, profiles_text
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Space
from tests.device_samples import made_seconds, make_content, make_profile, seal

INSIDE = (("width", (0.35, 0.5, 0.75, 1.0)), ("resolution", (96, 128, 160, 192, 224)))
PARTLY = (("width", (0.5, 1.0)), ("resolution", (128, 160)), ("kernel", (3, 5)))
OUTSIDE = (("width", (0.5, 1.0)), ("kernel", (5, 7)))


def networks(axes: tuple, name: str = "mine"):
    return select_networks(Space(name, axes=axes))


def test_a_profile_is_told_with_its_noise_its_error_and_what_costs_time():
    profile = make_profile(spread=0.02)
    lines = profile_text(profile, fit_latency(profile)).splitlines()
    assert lines[0] == "pi4: pi4, onnxruntime 1.20.1 fp32, 1 thread"
    assert lines[1].startswith("machine   Raspberry Pi 4 Model B Rev 1.4, aarch64, 4 cores, 4.0 GB of memory; Linux, ")
    state = "governor ondemand, 600 to 1800 MHz, 48 to 61 degrees C"
    assert lines[2] == f"measured  2026-12-01, 16 networks of made up in 8 rounds, 2 min in 1 session; {state}"
    low, high = 1e3 * profile.seconds.min(), 1e3 * profile.seconds.max()
    assert lines[3] == f"latency   {low:.3g} to {high:.3g} ms"
    assert lines[4] == "memory    99 MB to 99 MB at most in a process with its runtime (16 networks)"
    assert lines[5] == "files     7.0 MB to 7.0 MB each (16 networks)"
    assert lines[6].startswith("noise     halves of the rounds differ by ")
    assert [line.split()[0] for line in lines[6:9]] == ["noise", "model", "by"]
    assert lines[9] == "" and lines[10].split() == ["of", "a", "network", "costs", "share", "of", "time", "%"]
    costs = {line[:29].strip(): line[29:].split() for line in lines[11:]}
    assert "depthwise 3x3" in costs and "depthwise 5x5" not in costs  # of which no network has any
    assert sum(float(cost[-1]) for cost in costs.values()) == pytest.approx(100, abs=5)


def test_a_busy_device_is_told_and_a_silent_system_too():
    content = make_content()
    content["sessions"][0].update(governor=[None, None], mhz=[None, None], celsius=[None, None])
    for one in content["networks"]:
        one.update(cpu_us=[wall / 2 for wall in one["wall_us"]], peak_bytes=None)
    profile = parse_profile(json.dumps(seal(content)), "x", "x")
    text = profile_text(profile, fit_latency(profile))
    assert "note: even the fastest runs took 2.0 times what the processors worked for them" in text
    assert "governor, clock and temperature are not told by its system" in text and "memory    " not in text


def test_profiles_are_listed_and_what_is_none_too():
    lines = profiles_text([make_profile("pi4"), make_profile("kitchen", int8=True)], ["x.json: no JSON"], Path("d"))
    first, pi, kitchen, *_, last = lines.splitlines()
    assert first.split()[:4] == ["name", "device", "runtime", "precision"]
    assert pi.split()[:5] == ["pi4", "pi4", "onnxruntime", "1.20.1", "fp32"] and "int8" in kitchen
    assert last == "not read: x.json: no JSON"
    assert "no profile in d; 'mnv2-sweep device pack'" in profiles_text([], [], Path("d"))


def test_networks_of_a_space_have_their_latency_with_an_interval():
    profile, chosen = make_profile(spread=0.01), networks(INSIDE)
    rows = list(csv.DictReader(latencies_csv(profile, chosen).splitlines()))
    seconds = made_seconds([*chosen])
    assert [row["network"] for row in rows][:2] == ["0.35 at 96", "0.35 at 128"]
    for row, true in zip(rows, seconds, strict=True):
        assert float(row["low"]) < float(row["seconds"]) < float(row["high"])
        assert float(row["seconds"]) == pytest.approx(true, rel=0.03)
    lines = latencies_text(profile, chosen).splitlines()
    assert lines[0].split() == ["network", "MAdds", "ms", "95", "%"] and len(lines) == len(chosen) + 2
    assert lines[-1] == "latency of one image on pi4, onnxruntime 1.20.1 fp32, 1 thread, predicted from 16 networks"
    check_space(profile, chosen)


def test_networks_outside_have_none_and_it_is_said_which_to_measure():
    profile, chosen = make_profile(spread=0.01), networks(PARTLY)
    rows = list(csv.DictReader(latencies_csv(profile, chosen).splitlines()))
    assert [row["seconds"] == "" for row in rows] == [arch.kernel == 5 for arch in chosen]
    lines = latencies_text(profile, chosen).splitlines()
    assert "4 of 8 lie outside of what was measured, and are not predicted" in lines
    at = lines.index("measure a space that has these, too, or pack mine:")
    assert "k=5: depthwise 5x5: " in lines[at + 1] and 1 <= len(lines) - at - 1 <= 4
    assert sum(line.endswith("outside") for line in lines) == 4


def test_a_space_that_lies_outside_is_refused():
    profile = make_profile()
    for ask in (check_space, latencies_text, latencies_csv):
        with pytest.raises(ProfileError) as caught:
            ask(profile, networks(OUTSIDE))
        line = "pi4: measured on made up, and all of mine lies outside of that, for instance 0.5 at 224, k=5 (depthwise"
        assert str(caught.value).startswith(line) and str(caught.value).endswith("pack mine and measure that")


def test_costs_are_told_in_units_that_fit():
    profile = make_profile()
    text = profile_text(profile, fit_latency(profile))
    assert "ps per MAdd" in text and not math.isnan(fit_latency(profile).margin)
