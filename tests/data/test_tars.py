import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mnv2_sweep.base.size import square
from mnv2_sweep.data import tars
from mnv2_sweep.data.files import PhotoTar
from mnv2_sweep.data.photos import open_photos
from tests.photo_samples import BOTH, OK, check_refused, class_files, must_not_decode, write_folder


def write_tar(file: Path, files: dict[str, bytes], mode: str = "w", more=()) -> Path:
    with tarfile.open(file, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in more:
            archive.addfile(member)
    return file


def other(name: str, kind: bytes, to: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


@pytest.mark.parametrize(
    "name, mode", [("d.tar", "w"), ("d.tgz", "w:gz"), ("d.tar.bz2", "w:bz2"), ("d.tar.xz", "w:xz")]
)
def test_a_tar_of_folders_is_the_same_data_as_the_folders(tmp_path, name, mode):
    files = class_files(BOTH)
    wanted = open_photos(write_folder(tmp_path / "d", files), tmp_path / "cache")
    path = write_tar(tmp_path / name, {f"wrap/{inner}": data for inner, data in files.items()}, mode)
    data = open_photos(path, tmp_path / "cache2")
    assert (data.name, data.fingerprint, data.names) == ("d", wanted.fingerprint, wanted.names)
    assert np.array_equal(data.pixels("train", square(12)), wanted.pixels("train", square(12)))
    assert open_photos(path, tmp_path / "cache2", must_not_decode).fingerprint == wanted.fingerprint


def test_what_a_tar_is_its_content_says(tmp_path):
    path = write_tar(tmp_path / "photos.bin", OK, "w:gz")
    assert open_photos(path, tmp_path / "cache").classes == ("cat", "dog")


@pytest.mark.parametrize("member", ["../evil.png", "/etc/evil.png", "cat/../../evil.png", "C:/evil.png", "a\\evil.png"])
def test_a_member_that_would_escape(tmp_path, member):
    path = write_tar(tmp_path / "d.tar", OK | {member: OK["cat/0.png"]})
    check_refused(path, tmp_path / "cache", f"member {member!r} would leave the folder it is unpacked to")
    assert {file.name for file in tmp_path.rglob("*")} == {"d.tar"}


def test_links_and_devices_are_never_followed(tmp_path):
    kinds = {"s": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "f": tarfile.FIFOTYPE, "c": tarfile.CHRTYPE}
    more = [other(f"cat/{name}.png", kind, "/etc/hostname") for name, kind in kinds.items()]
    data = open_photos(write_tar(tmp_path / "d.tar", OK, more=more), tmp_path / "cache")
    assert sum(map(len, data.names.values())) == 28 and data.skipped == ()
    assert data.notes[0].startswith("left out 4 links or devices in the tar")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
@pytest.mark.parametrize("cut", [0.3, 0.7])
def test_a_tar_cut_short_is_told(tmp_path, mode, cut):
    path = write_tar(tmp_path / "d.tar", OK, mode)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    check_refused(path, tmp_path / "cache", "give a folder or a whole archive")


def test_a_damaged_header_does_not_end_the_data_unsaid(tmp_path):
    path = write_tar(tmp_path / "d.tar", OK)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"dog/3.png") + 148] ^= 1  # the header's own sum
    path.write_bytes(raw)
    check_refused(path, tmp_path / "cache", "not a tar, or one that is damaged")


def test_packed_bytes_that_are_no_tar(tmp_path):
    (tmp_path / "d.xz").write_bytes(lzma.compress(b"hello" * 1000))
    check_refused(tmp_path / "d.xz", tmp_path / "cache", "not a tar, or one that is damaged")


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "FREE_BYTES", 2**21)
    path = write_tar(tmp_path / "d.tar.xz", OK | {"cat/big.png": bytes(2**25)}, "w:xz")
    check_refused(path, tmp_path / "cache", "unpacks to more than")


def test_a_packer_that_wants_much_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "XZ_MEMORY", 2**16)
    check_refused(write_tar(tmp_path / "d.tar.xz", OK, "w:xz"), tmp_path / "cache", "Memory usage limit")


def test_a_name_that_fills_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "HEADER_BYTES", 4096)
    path = write_tar(tmp_path / "d.tar", OK | {"cat/" + "x" * 10_000 + ".png": b""})
    check_refused(path, tmp_path / "cache", "a name in it is longer than")


def test_pieces_packed_one_after_the_other_are_one_tar(tmp_path):
    raw = write_tar(tmp_path / "plain.tar", OK).read_bytes()
    half = len(raw) // 2
    (tmp_path / "d.tar.xz").write_bytes(lzma.compress(raw[:half]) + lzma.compress(raw[half:]))
    assert open_photos(tmp_path / "d.tar.xz", tmp_path / "cache").classes == ("cat", "dog")


def test_a_later_member_replaces_an_earlier_one_as_where_a_tar_is_added_to(tmp_path):
    path = write_tar(tmp_path / "d.tar", OK)
    write_tar(path, {"cat/0.png": OK["dog/0.png"]}, "a")
    files = PhotoTar(path)
    assert "cat/0.png" in files.files().sizes and files.read("cat/0.png") == OK["dog/0.png"]
