"""What `plan` says about networks that are the same, plateaus and cliffs."""

from mnv2_sweep.nets.arch import arch_label
from mnv2_sweep.spaces.landscape import describe_landscape
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.space import Sample, Space

WIDTHS = tuple(round(0.35 + 0.01 * i, 2) for i in range(106))


def test_a_fine_axis_of_widths():
    networks = select_networks(Space("s", axes=(("width", WIDTHS), ("resolution", (96, 224)))))
    listing, lines = describe_landscape(networks)
    assert len(listing.archs) == len(listing.costs) == 2 * 87
    assert lines[0] == "38 of 212 specs resolve to a network listed already"
    assert lines[1].startswith("plateaus of width, one network each: 0.35 to 0.36, 0.39 to 0.41, ")
    assert "cliff of width: 0.55 to 0.56 costs 38 % more MAdds, in 2 of 2 rows of the grid" in lines
    remarks = {arch_label(listing.archs[place]): remark for place, remark in listing.remarks.items()}
    assert remarks["0.35 at 224"] == "= 0.36 at 224" and remarks["0.39 at 96"] == "= 0.4 at 96, 0.41 at 96"
    assert remarks["0.56 at 224"] == "cliff: +38 % from width 0.55"
    assert "0.42 at 224" not in remarks
    assert [listing.costs.cost(i).madds for i in (0, 1)] == [11934128, 59285808]


def test_the_order_of_the_list_does_not_matter():
    widths = (0.56, 0.36, 0.55, 0.35)
    _, lines = describe_landscape(select_networks(Space("s", axes=(("width", widths),))))
    assert lines == [
        "1 of 4 specs resolve to a network listed already",
        "plateaus of width, one network each: 0.35 to 0.36",
        "cliff of width: 0.55 to 0.56 costs 38 % more MAdds",
    ]


def test_coarse_grids_samples_and_points_have_neither():
    axes = (("width", (0.35, 0.5, 0.75, 1.0)), ("resolution", (96, 128, 160)))
    for space in (
        Space("s", axes=axes),
        Space("s", axes=axes, sample=Sample(12)),
        Space("s", points=((("width", 0.35),), (("width", 0.5),))),
    ):
        listing, lines = describe_landscape(select_networks(space))
        assert lines == [] and listing.remarks == {}


def test_many_twins_are_not_all_named():
    widths = tuple(1 + i / 10_000 for i in range(6))
    listing, _ = describe_landscape(select_networks(Space("s", axes=(("width", widths),))))
    assert listing.remarks == {0: "= 1.0001 at 224, 1.0002 at 224, 1.0003 at 224 and 2 more"}


def test_cliffs_say_which_family_s_they_are():
    axes = (("family", ("mobilenet_v1", "mobilenet_v2")), ("width", (0.55, 0.56)))
    _, lines = describe_landscape(select_networks(Space("s", axes=axes)))
    assert lines == ["cliff of MobileNetV2, width: 0.55 to 0.56 costs 38 % more MAdds, in 1 of 2 rows of the grid"]
