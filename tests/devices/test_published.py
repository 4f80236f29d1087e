"""Published times: as collected, and never mistaken for one's own."""

import pytest

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.folder import add_profile, devices_folder, find_profile, list_profiles
from mnv2_sweep.devices.latency import fit_latency
from mnv2_sweep.devices.published import PREFIX, published_profiles
from mnv2_sweep.report.devices import profile_text, profiles_text
from tests.device_samples import write_profile
from tests.paper.test_published import read_table


def test_those_of_the_pixel_1_equal_the_collected_table():
    rows = read_table("mobilenetv2_imagenet_tfslim.csv")
    profile = published_profiles()["published-pixel1"]
    both = zip(profile.archs, profile.seconds, strict=True)
    ours = [(arch.width, arch.resolution, seconds) for arch, seconds in both]
    assert ours == [(float(row["width"]), int(row["resolution"]), float(row["pixel1_ms"]) / 1000) for row in rows]


@pytest.mark.parametrize("name", published_profiles())
def test_each_says_its_source_and_that_it_is_not_one_s_own(name, tmp_path):
    profile = find_profile(name, tmp_path)
    assert name.startswith(PREFIX) and profile.source and len(profile.networks) >= 12
    text = profile_text(profile, fit_latency(profile))
    assert "published by others, not measured by you" in text.splitlines()[0]
    assert text.splitlines()[1] == f"source    {profile.source}" and "nan" not in text
    assert f"\n{name} " in profiles_text([], [], tmp_path, [profile])
    assert list_profiles(tmp_path) == ([], [])


def test_no_profile_of_one_s_own_has_such_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path))
    path = write_profile(tmp_path / "measured.json")
    for name in ("published-pixel1", "published-mine"):
        with pytest.raises(ProfileError, match="names that begin with published- are of published profiles"):
            add_profile(path, devices_folder(), name)
