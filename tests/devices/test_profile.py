"""Profiles: what is read, and one clear line for each kind of file that is none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.profile import MOST_BYTES, parse_profile, read_profile
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec
from tests.device_samples import GRID, made_seconds, make_content, make_profile, seal, write_profile


def test_what_was_measured_comes_back(tmp_path):
    odd = replace(GRID[0], stages=(*MOBILENET_V2[:-1], MOBILENET_V2[-1]._replace(kernel=5, se_ratio=0.25)))
    archs = [*GRID, odd, ArchSpec(family="shufflenet_v1", groups=4, width=0.5)]
    profile = read_profile(write_profile(tmp_path / "pi4.json", archs=archs))
    assert profile.name == "pi4" and profile.archs == tuple(archs)
    assert profile.seconds == pytest.approx(made_seconds(archs), rel=1e-3)
    assert profile.title == "pi4, onnxruntime 1.20.1 fp32, 1 thread"
    assert (profile.rounds, profile.machine.cores, profile.sessions[0].celsius) == (8, 4, (48.2, 61.0))
    assert profile.networks[0].peak_bytes == 99_000_000


def test_noise_is_how_far_even_and_odd_rounds_lie_apart():
    content = make_content(rounds=4)
    for one in content["networks"]:
        one["wall_us"] = one["cpu_us"] = [100.0, 104.0, 100.0, 104.0]
    profile = parse_profile(json.dumps(seal(content)), "x", "x")
    assert profile.noise == pytest.approx(np.full(len(GRID), 4 / 102))
    assert profile.seconds == pytest.approx(np.full(len(GRID), 100e-6))  # what disturbs a run only adds to it


def test_a_disturbed_half_of_the_rounds_shows_as_noise_and_not_in_the_latency():
    content = make_content(rounds=8)
    for one in content["networks"]:
        one["wall_us"] = one["cpu_us"] = [100.0 if at % 4 == 0 else 108.0 for at in range(8)]
    profile = parse_profile(json.dumps(seal(content | {"turn": "least"})), "x", "x")
    assert profile.seconds == pytest.approx(np.full(len(GRID), 100e-6))
    assert profile.noise == pytest.approx(np.full(len(GRID), 8 / 104))


@pytest.mark.parametrize("threads, seconds", [(1, 90e-6), (2, 180e-6)])
def test_one_thread_s_latency_is_what_the_processor_worked(threads, seconds):
    """By the clock a long run is never undisturbed on a busy device; with several threads the clock is all there is."""
    content = make_content(threads=threads)
    for one in content["networks"]:
        one["wall_us"], one["cpu_us"] = [180.0] * 8, [95.0, 90.0] * 4
    profile = parse_profile(json.dumps(seal(content)), "x", "x")
    assert profile.seconds == pytest.approx(np.full(len(GRID), seconds))


def test_a_clock_of_the_processors_that_says_nothing_or_too_much_is_not_taken():
    for cpu in (0.0, 250.0):  # coarse steps; other threads of the runtime that wait busily
        content = make_content()
        for one in content["networks"]:
            one["wall_us"], one["cpu_us"] = [180.0] * 8, [cpu] * 8
        assert parse_profile(json.dumps(seal(content)), "x", "x").seconds == pytest.approx(np.full(len(GRID), 180e-6))


def test_profiles_from_before_there_was_a_turn_are_read_as_what_they_are():
    content = make_content()
    del content["turn"]
    assert parse_profile(json.dumps(seal(content)), "x", "x").turn == "median"
    assert make_profile().turn == "least"


def test_busy_is_what_the_clock_says_beside_the_processors():
    content = make_content(rounds=4, threads=2)
    for one in content["networks"]:
        one["cpu_us"] = [wall / 1.5 * 2 for wall in one["wall_us"]]
    assert parse_profile(json.dumps(seal(content)), "x", "x").busy == pytest.approx(1.5)


def change(**changes) -> str:
    return json.dumps(make_content(**changes))


def edited() -> str:
    content = make_content()
    content["networks"][3]["wall_us"][0] /= 2
    return json.dumps(content)


def with_network(**changes) -> str:
    content = make_content()
    content["networks"][3].update(changes)
    return json.dumps(seal(content))


MISTAKES = {
    "no JSON": (change()[:-40], "no JSON"),
    "nothing": ("", "no JSON"),
    "NaN": (change().replace('"seconds": 100.0', '"seconds": NaN'), "no JSON (NaN is no number)"),
    "nested": ("[" * 20_000, "no JSON"),
    "something else": ("[1, 2]", "no profile of a device"),
    "another format": (change(format="a recipe"), "no profile of a device"),
    "another version": (change(version=2, made_by="mnv2-sweep 9.0"), "version 2 of mnv2-sweep 9.0, and 1 is read here"),
    "edited": (edited(), "it was changed since it was measured"),
    "one network": (change(archs=GRID[:1]), "1 networks, at least 12 are needed"),
    "few rounds": (change(rounds=3), "3 rounds, at least 4 are needed; run the script again beside the file"),
    "noisy": (change(spread=0.5), "too noisy: halves of its rounds differ by"),
    "other networks": (change(madds=5), "its networks had 5 MAdds where they were packed, and have 1,356,256,112 here"),
    "a spec that can't be": (with_network(arch={"width": -1.0}), "no profile (TypeError: width is -1.0)"),
    "an unknown field": (with_network(arch={"colour": 1}), "no profile (KeyError: 'colour')"),
    "more than a user may ask": (with_network(arch={"resolution": 100_000}), "no profile (ArchError: resolution"),
    "a time of nothing": (with_network(wall_us=[0.0] * 8), "no profile (ValueError: times must be above 0"),
    "fewer of one clock": (with_network(cpu_us=[1.0]), "no profile (ValueError: times must be above 0, as many"),
    "a text for a time": (with_network(wall_us=["1"] * 8), "no profile (TypeError: '1' where a number was expected)"),
    "a yes for a number": (change(threads=True), "no profile (TypeError: True where int was expected)"),
    "no machine": (change(machine=None), "no profile (TypeError"),
    "no session": (change(sessions=[]), "no profile (ValueError: no session)"),
}


@pytest.mark.parametrize("text, line", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(tmp_path, text, line):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ProfileError) as caught:
        read_profile(tmp_path / "bad.json")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.json'}: {line}")
    assert "\n" not in str(caught.value)


def test_files_that_are_too_large_or_not_there(tmp_path):
    (tmp_path / "large.json").write_text(change() + " " * MOST_BYTES)
    with pytest.raises(ProfileError, match="more than 50,000 bytes, which no profile has"):
        read_profile(tmp_path / "large.json")
    with pytest.raises(ProfileError, match=r"gone.json: can't be read \(No such file"):
        read_profile(tmp_path / "gone.json")


def test_what_a_file_says_can_be_shown_on_a_terminal():
    profile = make_profile(device="pi\x1b[2J4", space="a\nb")
    assert profile.device == "pi?[2J4" and profile.space == "a?b"
