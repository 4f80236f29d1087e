"""The folder of profiles: names, what stands in the way, what can't be read."""

import pytest

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.devices.folder import (
    add_profile,
    devices_folder,
    find_name,
    find_profile,
    list_profiles,
    remove_profile,
)
from tests.device_samples import write_profile


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MNV2_SWEEP_CACHE", str(tmp_path / "cache"))
    return devices_folder()


def test_a_profile_is_kept_under_its_device_s_name_or_another(folder, tmp_path):
    path = write_profile(tmp_path / "measured.json")
    assert add_profile(path, folder).name == "pi4"
    assert add_profile(path, folder).name == "pi4"  # the same once more
    assert add_profile(path, folder, "kitchen").name == "kitchen"
    assert (folder / "pi4.json").read_bytes() == path.read_bytes()
    profiles, wrong = list_profiles(folder)
    assert [one.name for one in profiles] == ["kitchen", "pi4"] and wrong == []
    assert find_profile("pi4", folder).device == "pi4"
    remove_profile("pi4", folder)
    with pytest.raises(
        ProfileError, match=r"pi4: no profile of that name in .* \(there: kitchen; not one's own: published-pixel1, "
    ):
        remove_profile("pi4", folder)


def test_another_profile_of_the_same_name_is_not_overwritten(folder, tmp_path):
    add_profile(write_profile(tmp_path / "a.json"), folder)
    with pytest.raises(ProfileError, match="b.json: another profile is named pi4; give this one a name with --name"):
        add_profile(write_profile(tmp_path / "b.json", threads=2), folder)
    assert find_profile("pi4", folder).threads == 1


@pytest.mark.parametrize("name", ["", "../pi4", "a b", "-x", "x" * 41, "pi4\n"])
def test_names_that_no_column_could_have(folder, tmp_path, name):
    with pytest.raises(ProfileError):
        find_profile(name, folder)
    if name:
        with pytest.raises(ProfileError, match="--name .*: 1 to 40 letters, digits"):
            add_profile(write_profile(tmp_path / "a.json"), folder, name)


def test_the_name_of_a_device_is_made_fit():
    assert [find_name(device) for device in ("pi4", "Anna's laptop.local", "---", "Hütte")] == [
        "pi4", "Anna-s-laptop.local", "device", "H-tte"
    ]  # fmt: skip


def test_a_file_that_is_none_is_listed_as_such_and_can_be_removed(folder, tmp_path):
    add_profile(write_profile(tmp_path / "a.json"), folder)
    (folder / "torn.json").write_text("{")
    profiles, wrong = list_profiles(folder)
    assert [one.name for one in profiles] == ["pi4"]
    assert len(wrong) == 1 and "torn.json: no JSON" in wrong[0]
    remove_profile("torn", folder)
    assert list_profiles(folder)[1] == []
