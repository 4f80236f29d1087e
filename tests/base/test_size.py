"""Sizes say themselves as cameras do, and round up as strided layers do."""

from mnv2_sweep.base.size import Size, square


def test_size_in_words_is_width_by_height():
    assert [str(Size(120, 160)), f"{square(96)} px", f"{Size(120, 160):>8}"] == ["160x120", "96 px", " 160x120"]


def test_strided_sizes_round_up_each_side():
    assert Size(121, 160).shrink(2) == Size(61, 80)
    assert (Size(3, 5).area, square(7).is_square, Size(3, 5).is_square) == (15, True, False)
