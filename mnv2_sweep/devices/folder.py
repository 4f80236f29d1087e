"""The folder of profiles, $MNV2_SWEEP_CACHE/devices: each as the JSON file that was measured, under its name here.

<cache>/devices/pi4.json        added ones: `latency@pi4`
<cache>/devices/<...>.part      what `device run` has measured so far
"""

import re
from pathlib import Path

from mnv2_sweep.base.errors import ProfileError
from mnv2_sweep.base.files import remove_files, write_whole
from mnv2_sweep.base.places import cache_folder
from mnv2_sweep.devices.profile import Profile, parse_profile, read_profile, read_text
from mnv2_sweep.devices.published import PREFIX, published_profiles

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
SUFFIX, UNFINISHED = ".json", ".part"


def devices_folder() -> Path:
    """Return the folder of profiles, beside the images."""
    return cache_folder() / "devices"


def list_profiles(folder: Path) -> tuple[list[Profile], list[str]]:
    """Return the profiles by name, and a line for each file that is none."""
    profiles, wrong = [], []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            profiles.append(read_profile(path))
        except ProfileError as error:
            wrong.append(str(error))
    return profiles, wrong


def profile_names(folder: Path) -> list[str]:
    """Return the names of the profiles that were added."""
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))


def names_text(folder: Path) -> str:
    """Return the names of all profiles in words, published ones last."""
    return f"{', '.join(profile_names(folder)) or 'none yet'}; not one's own: {', '.join(published_profiles())}"


def find_profile(name: str, folder: Path) -> Profile:
    """Return the profile of that name, an added or a published one. Raises ProfileError with what there is."""
    published = published_profiles().get(name)
    return read_profile(profile_path(name, folder)) if published is None else published


def profile_path(name: str, folder: Path) -> Path:
    """Return the file of the profile of that name. Raises ProfileError with what there is."""
    path = folder / f"{name}{SUFFIX}"
    if not NAME.fullmatch(name) or not path.exists():
        raise ProfileError(f"{name}: no profile of that name in {folder} (there: {names_text(folder)}); 'mnv2-sweep "
                           "device add' takes a file")  # fmt: skip
    return path


def add_profile(path: Path, folder: Path, name: str = "") -> Profile:
    """Read a profile and keep it under a name, its device's where none is given. Raises ProfileError."""
    text = read_text(path)
    profile = parse_profile(text, str(path), "")
    name = check_name(name or find_name(profile.device))
    kept = folder / f"{name}{SUFFIX}"
    if kept.exists() and read_profile(kept).digest != profile.digest:
        raise ProfileError(f"{path}: another profile is named {name}; give this one a name with --name, or remove that "
                           f"with 'mnv2-sweep device remove {name}'")  # fmt: skip
    try:
        write_whole(kept, text)
    except OSError as error:
        raise ProfileError(f"{folder}: profiles can't be kept here ({error}); set MNV2_SWEEP_CACHE") from error
    return read_profile(kept)


def remove_profile(name: str, folder: Path) -> None:
    """Remove a profile, also one that can't be read. Raises ProfileError where there is none of that name."""
    path = folder / f"{name}{SUFFIX}"
    if not NAME.fullmatch(name) or not path.exists():
        find_profile(name, folder)
    remove_files([path])


def check_name(name: str) -> str:
    """Return the name, if `latency@NAME` can be said with it. Raises ProfileError."""
    if not NAME.fullmatch(name):
        raise ProfileError(f"--name {name!r}: 1 to 40 letters, digits, - _ or . are wanted, a letter or digit first")
    if name.startswith(PREFIX):
        raise ProfileError(
            f"--name {name}: names that begin with {PREFIX} are of published profiles; give another name"
        )
    return name


def find_name(device: str) -> str:
    """Return the name of a device as a profile may be called."""
    return re.sub(r"^[^A-Za-z0-9]+", "", re.sub(r"[^A-Za-z0-9_.-]+", "-", device))[:40] or "device"
