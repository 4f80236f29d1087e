import zipfile

import pytest

from mnv2_sweep.base.errors import DataError
from mnv2_sweep.data.asked import PhotoOptions
from mnv2_sweep.data.photos import open_photos
from mnv2_sweep.data.zip_names import decode_names
from tests.photo_samples import image_bytes

NAMES = {
    "gbk": ("猫/1.jpg", "小狗/照片.jpg", "苹果树/2.png"),
    "cp932": ("ねこ/1.jpg", "表示/能.jpg", "ソース/十.png", "犬/2.jpg"),
    "cp437": ("Äpfel/1.jpg", "Größe/über.jpg", "piñata/2.png", "été/3.jpg"),
    "utf-8": ("猫/1.jpg", "Äpfel/1.jpg", "собака/2.jpg"),
}


@pytest.mark.parametrize("encoding", NAMES)
def test_names_in_a_local_code_page_get_their_letters(encoding):
    raw = [name.encode(encoding) for name in NAMES[encoding]]
    found, guess = decode_names("x.zip", raw)
    assert tuple(found) == NAMES[encoding] and guess == ("" if encoding == "utf-8" else encoding)


@pytest.mark.parametrize("encoding", ["cp1251", "cp1252"])
def test_names_that_no_tried_encoding_explains_are_asked_for(encoding):
    raw = [name.encode(encoding) for name in ("Äpfel/übel.jpg", "Größe.jpg")] if encoding == "cp1252" else []
    raw = raw or ["собака/кошка.jpg".encode(encoding)]
    with pytest.raises(DataError, match="in the encoding of some system, .* say which: --zip-encoding gbk"):
        decode_names("x.zip", raw)
    assert decode_names("x.zip", raw, encoding)[0][0].endswith(".jpg")


def test_a_wrong_encoding_is_told():
    with pytest.raises(DataError, match="is not ascii .* give another --zip-encoding"):
        decode_names("x.zip", ["犬".encode("cp932")], "ascii")


def test_a_second_byte_that_is_a_backslash_is_no_way_out(tmp_path):
    """Shift-JIS has a backslash within letters, which must not be taken for one in a path."""
    path = tmp_path / "d.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for label in ("表", "裏"):
            for number in range(3):
                archive.writestr(Raw(f"{label}面/{number}.png".encode("cp932")), image_bytes(number, 8))
    data = open_photos(path, tmp_path / "cache")
    assert data.classes == ("表面", "裏面") and "cp932" in data.notes[0]
    with pytest.raises(DataError, match="would leave the folder"):  # where the backslash is one, it stays refused
        open_photos(path, tmp_path / "cache", options=PhotoOptions(zip_encoding="latin-1"))


class Raw(zipfile.ZipInfo):
    """A member whose name is stored as these bytes, without a word on their encoding."""

    def __init__(self, raw: bytes):
        super().__init__("x")
        self.raw, self.filename = raw, raw.decode("latin-1")

    def _encodeFilenameFlags(self):
        return self.raw, self.flag_bits
