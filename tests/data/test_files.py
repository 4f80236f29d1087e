"""Folders and zips as they come: odd, damaged or hostile ones, through `open_photos`."""

import os
import zipfile
from pathlib import Path

import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data import files
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.photos import open_photos
from tests.photo_samples import BOTH, OK, check_refused, class_files, must_not_decode, write_folder, write_zip


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def test_damaged_zip_member_is_listed(tmp_path, cache):
    file = write_zip(tmp_path / "d.zip", class_files(BOTH))
    raw = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        raw[archive.getinfo("cat/3.png").header_offset + 60] ^= 255
    file.write_bytes(raw)
    data = open_photos(file, cache)
    assert [path for path, _ in data.skipped] == ["cat/3.png"] and "CRC" in data.skipped[0][1]
    assert open_photos(file, cache, must_not_decode).skipped == data.skipped


def test_packing_that_cannot_be_bounded_is_not_unpacked(tmp_path, cache):
    file = write_zip(tmp_path / "d.zip", class_files(BOTH), compression=zipfile.ZIP_LZMA)
    with pytest.raises(DataError, match="another method than deflate"):
        open_photos(file, cache)


@pytest.mark.parametrize(
    "member",
    [
        "../evil.png",
        "cat/../../evil.png",
        "/etc/evil.png",
        "C:/evil.png",
        "c:evil.png",
        "cat\\..\\..\\evil.png",
        "\\evil.png",
    ],
)
def test_zip_member_that_would_escape(tmp_path, cache, member):
    path = write_zip(tmp_path / "d.zip", OK | {member: OK["cat/0.png"]})
    check_refused(path, cache, f"member {member!r} would leave the folder it is unpacked to")
    assert {file.name for file in tmp_path.rglob("*")} == {"d.zip"}


def test_path_that_does_not_exist(tmp_path, cache):
    check_refused(tmp_path / "nowhere", cache, "no such file or folder; give a folder of class folders or a zip of one")


def test_path_that_is_neither(tmp_path, cache):
    os.mkfifo(tmp_path / "pipe")
    check_refused(tmp_path / "pipe", cache, "neither a folder nor a file; give")


def test_file_that_is_no_zip(tmp_path, cache):
    (tmp_path / "d.zip").write_bytes(b"hello")
    check_refused(tmp_path / "d.zip", cache, "not a zip, or one that is cut short or damaged")


def test_zip_cut_short(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK)
    os.truncate(path, path.stat().st_size * 2 // 3)
    check_refused(path, cache, "not a zip, or one that is cut short or damaged")


def test_encrypted_zip(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory at the end
    path.write_bytes(raw)
    check_refused(path, cache, "'cat/0.png' is encrypted; unpack the zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK | {"cat//0.png": OK["cat/1.png"]})
    check_refused(path, cache, "'cat/0.png' is in the zip twice")


def test_zip_bomb(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    path = write_zip(tmp_path / "d.zip", OK | {"cat/big.png": bytes(5 * 2**20)}, compression=zipfile.ZIP_DEFLATED)
    check_refused(path, cache, "'cat/big.png' has 5 MiB, at most 1 are allowed")


def test_zip_that_lies_about_a_size_is_read_no_further(tmp_path, cache):
    path = write_zip(tmp_path / "d.zip", OK | {"cat/big.png": bytes(5 * 2**20)}, compression=zipfile.ZIP_DEFLATED)
    raw = path.read_bytes()
    path.write_bytes(raw.replace((5 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    data = open_photos(path, cache)
    assert [name for name, _ in data.skipped] == ["cat/big.png"]


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.png", "{root}/cat"])
def test_link_out_of_the_folder_or_to_a_folder(tmp_path, cache, target):
    write_folder(tmp_path, {"outside.png": OK["cat/0.png"]})
    path = write_folder(tmp_path / "d", OK)
    os.symlink(target.format(root=path) if target[0] != "." else f"../{target}", path / "cat" / "link.png")
    check_refused(path, cache, "'cat/link.png' is a link to")


def test_links_are_followed_where_that_is_asked_for(tmp_path, cache):
    write_folder(tmp_path, {"outside.png": OK["cat/0.png"]} | class_files({"emu": 3}))
    path = write_folder(tmp_path / "d", OK)
    os.symlink(tmp_path / "outside.png", path / "cat" / "link.png")
    os.symlink(tmp_path / "emu", path / "emu")
    check_refused(path, cache, "or say --follow-links")
    data = open_photos(path, cache, options=PhotoOptions(follow_links=True))
    assert data.classes == ("cat", "dog", "emu") and sum(map(len, data.names.values())) == 32


def test_links_that_go_round_end_in_one_line(tmp_path, cache):
    path = write_folder(tmp_path / "d", OK)
    os.symlink(path, path / "cat" / "again")
    with pytest.raises(DataError, match="leads back to a folder that it lies in"):
        open_photos(path, cache, options=PhotoOptions(follow_links=True))


OTHER = {
    "lfs.zip": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "a git-lfs pointer, not the"),
    "login.zip": (b"<!doctype html>\n<html>", "a web page (HTML)"),
    "labels.csv": (b"image,label\n", "a table; give it as --labels labels.csv, and --data the folder or archive"),
    "photo.png": (OK["cat/0.png"], "one photo"),
    "d.7z": (b"7z\xbc\xaf\x27\x1c\0\0", "a 7z archive"),
    "d.rar": (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
    "d.parquet": (b"PAR1\x15\x04", "a Parquet file"),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_is_given_as_data_is_named(tmp_path, cache, name):
    content, what = OTHER[name]
    (tmp_path / name).write_bytes(content)
    check_refused(tmp_path / name, cache, what)


def test_link_inside_is_read_and_a_broken_one_listed(tmp_path, cache):
    path = write_folder(tmp_path / "d", OK)
    os.symlink("0.png", path / "cat" / "again.png")
    os.symlink("gone.png", path / "cat" / "broken.png")
    data = open_photos(path, cache)
    assert sum(map(len, data.names.values())) == 29
    assert data.skipped == (("cat/broken.png", "a broken link, or not a regular file"),)
