"""Sizes say themselves as cameras do, and round up as strided layers do."""

import pytest

from mnv2_sweep.base.size import Size, as_size, size_range, square


def test_size_in_words_is_width_by_height():
    assert [str(Size(120, 160)), f"{square(96)} px", f"{Size(120, 160):>8}"] == ["160x120", "96 px", " 160x120"]


def test_strided_sizes_round_up_each_side():
    assert Size(121, 160).shrink(2) == Size(61, 80)
    assert (Size(3, 5).area, square(7).is_square, Size(3, 5).is_square) == (15, True, False)


@pytest.mark.parametrize("size", [Size(120, 160), Size(7, 1), square(96)], ids=str)
def test_a_size_is_read_as_it_is_written(size):
    assert as_size(size.cell) == as_size(str(size)) == as_size(size.plain) == as_size(size) == size


def test_squares_stay_whole_numbers_in_tables_and_specs():
    assert (square(96).cell, square(96).plain) == (96, 96)
    assert (Size(120, 160).cell, Size(120, 160).plain) == ("160x120", Size(120, 160))


@pytest.mark.parametrize("word", ["", "0", "96x", "x96", "96x0", "9.5", "-96", "160X120", "1x2x3", " 96", "9" * 10])
def test_what_is_no_size(word):
    with pytest.raises(ValueError, match="is no size; wanted are whole pixels from 1: a side, or width x height"):
        as_size(word)


def test_scaled_sizes_round_each_side():
    assert Size(97, 160).scale(0.25) == Size(24, 40) and Size(3, 100).scale(0.1) == Size(1, 10)


def test_ranges_go_by_area():
    assert size_range([square(24)] * 2) == "24" and size_range([square(56), square(24), square(40)]) == "24 to 56"
    assert size_range([Size(30, 40), square(36), Size(10, 100)]) == "100x10 to 36"
