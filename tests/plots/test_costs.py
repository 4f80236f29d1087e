"""What the figure of costs draws is what was counted, and what it leaves out it says."""

import random
import time
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, arch_label, set_expansion
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.plots.cost_lines import MOST_LINES, UNITS
from mnv2_sweep.plots.costs import MOST_POINTS, NAMES, plot_costs
from tests.plot_samples import PAPER, caption, words

WIDTHS = [round(0.35 + 0.01 * i, 2) for i in range(106)]
SIZES = (96, 160, 224)


def make_costs(archs) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **{name: getattr(arch, name) for name in ("family", "width", "resolution")},
            **asdict(count_cost(arch)),
            "network": arch_label(arch),
        }
        for arch in archs
    )


def random_table(rng: random.Random) -> tuple[Stage, ...]:
    rows = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
    return (Stage(1, 16, 1, 1), *(Stage(rng.choice((2, 4, 6)), c, rng.randint(1, n), s) for c, n, s in rows))


def repeat_variants(costs: pd.DataFrame, count: int) -> pd.DataFrame:
    """Every network `count` times, each time dearer and under a name of its own."""
    parts = [
        costs.assign(madds=costs["madds"] * (10 + i) // 10, network=costs["network"] + f", k={i}") for i in range(count)
    ]
    return pd.concat(parts, ignore_index=True)


def lines(axes) -> dict[str, np.ndarray]:
    """Label -> points of the lines that hold costs."""
    return {line.get_label(): line.get_xydata() for line in axes.lines if line.get_gid() != "cliff line"}


def texts(axes, gid: str) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_gid() == gid and text.get_text()]


def points(axes) -> np.ndarray:
    drawn = [np.asarray(found.get_offsets()) for found in axes.collections if found.get_gid() == "networks"]
    return np.concatenate([np.zeros((0, 2)), *drawn])


def heads(fig: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in fig.axes if axes.get_title(loc="left")]


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def check_lines(fig: Figure, costs: pd.DataFrame) -> None:
    """Every line of every panel holds all networks of its family and value, and their own costs."""
    for i, axes in enumerate(fig.axes):
        cost = list(NAMES)[i // 2]
        x, other = ("width", "resolution") if i % 2 == 0 else ("resolution", "width")
        for label, drawn in lines(axes).items():
            family, value = label.split(", ")
            rows = costs[costs["family"] == family]
            if not value.startswith("every"):
                rows = rows[rows[other] == float(value)]
            rows = rows.drop_duplicates(x).sort_values(x)
            assert drawn[:, 0].tolist() == rows[x].tolist()
            assert drawn[:, 1] == pytest.approx(rows[cost].to_numpy() / UNITS[cost])


@pytest.fixture(scope="module")
def many_widths() -> pd.DataFrame:
    return make_costs([ArchSpec(width=width, resolution=size) for width in WIDTHS for size in SIZES])


@pytest.fixture(scope="module")
def widths_figure(many_widths) -> Figure:
    return plot_costs(many_widths, "widths")


def test_106_widths_are_steps_and_every_width_is_on_them(widths_figure, many_widths):
    check_lines(widths_figure, many_widths)
    by_width = widths_figure.axes[0]
    assert list(lines(by_width)) == [f"mobilenet_v2, {size}" for size in SIZES] and legend(by_width) == [
        *map(str, SIZES)
    ]
    assert {(line.get_drawstyle(), line.get_marker()) for line in by_width.lines[:3]} == {("steps-post", "None")}
    assert "Steps against width: a cost holds until the next value" in caption(widths_figure)


def test_7_of_106_widths_are_drawn_and_it_is_said(widths_figure):
    by_size = widths_figure.axes[1]
    drawn = lines(by_size)
    assert len(drawn) == MOST_LINES == len(legend(by_size))
    assert list(drawn)[0].endswith(" 0.35") and list(drawn)[-1].endswith(" 1.4")
    assert heads(widths_figure) == [
        "Against width: a line for each resolution",
        "Against resolution: 7 of 106 widths drawn",
    ]
    assert "Against resolution: 7 of 106 widths drawn, evenly chosen." in caption(widths_figure)
    assert "318 specs; 106 widths from 0.35 to 1.4, 3 resolutions from 96 to 224 pixels" in caption(widths_figure)
    assert {line.get_marker() for line in by_size.lines} == {"o"} and "Markers are networks" in caption(widths_figure)


def test_cliffs_are_named_at_the_top_of_their_step(widths_figure, many_widths):
    axes = widths_figure.axes[0]
    assert texts(axes, "cliff") == ["+34 % at 0.38", "+38 % at 0.56", "+12 % at 0.75", "+26 % at 1.12"]
    top = many_widths[many_widths["resolution"] == 224].set_index("width")["madds"] / 1e6
    anchors = [text.xy for text in axes.texts if text.get_gid() == "cliff"]
    assert anchors == [(width, pytest.approx(top[width])) for width in (0.38, 0.56, 0.75, 1.12)]
    assert "10 % or more and 3 times as much" in caption(widths_figure) and "4 against width, all named" in caption(
        widths_figure
    )
    assert [len(axes.lines) - len(lines(axes)) for axes in widths_figure.axes] == [
        4,
        0,
    ] * 4  # in all panels of a column


def test_costs_that_do_not_depend_on_an_axis_are_one_line(widths_figure):
    madds, params, memory, depth = widths_figure.axes[::2]
    assert list(lines(params)) == ["mobilenet_v2, every resolution"] and len(lines(memory)) == 3
    assert texts(params, "note") == ["the same at every resolution"] and texts(depth, "note") == ["53 in every network"]
    assert texts(widths_figure.axes[5], "note") == ["equal lines hide each other"]


def test_a_log_scale_only_over_more_than_a_decade(widths_figure, many_widths):
    for axes, cost in zip(widths_figure.axes[::2], NAMES, strict=True):
        log = many_widths[cost].max() > 10 * many_widths[cost].min()
        assert axes.get_yscale() == ("log" if log else "linear") and ("log scale" in axes.get_ylabel()) == log
    assert [axes.get_yscale() for axes in widths_figure.axes[::2]] == ["log", "linear", "log", "linear"]


@pytest.mark.slow
def test_labels_of_cliffs_keep_apart_and_inside(widths_figure):
    sizes = make_costs([ArchSpec(resolution=size) for size in range(96, 225)])
    for fig, count in ((widths_figure, 4), (plot_costs(sizes, "sizes"), 5)):
        fig.draw_without_rendering()
        named = [(axes, text) for axes in fig.axes for text in axes.texts if text.get_gid() == "cliff"]
        boxes = [Text.get_window_extent(text) for _, text in named]  # an annotation's own would hold its leader too
        assert len(boxes) == count
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
            frame = named[i][0].bbox
            assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def test_merged_specs_have_the_same_cliffs(many_widths):
    archs = {}
    for width in WIDTHS:
        archs.setdefault(arch_key(ArchSpec(width=width)), ArchSpec(width=width))
    fig = plot_costs(make_costs(archs.values()), "merged")
    assert len(archs) == 87 and "87 specs" in caption(fig)
    assert texts(fig.axes[0], "cliff") == ["+34 % at 0.38", "+38 % at 0.56", "+12 % at 0.75", "+26 % at 1.12"]


def test_the_papers_grid_is_drawn_whole():
    costs = make_costs(PAPER)
    fig = plot_costs(costs, "paper")
    check_lines(fig, costs)
    assert [len(lines(axes)) for axes in fig.axes[:2]] == [5, 6] and "drawn" not in caption(fig)
    assert sum(len(line) for line in lines(fig.axes[0]).values()) == len(costs) == 22
    assert len(lines(fig.axes[1])["mobilenet_v2, 1.4"]) == 1
    assert [tick for tick in fig.axes[6].get_xticks()] == [0.35, 0.5, 0.75, 1.0, 1.3, 1.4]
    assert texts(fig.axes[0], "cliff") == []


def test_one_width_has_panels_against_resolution_only():
    costs = make_costs([ArchSpec(resolution=size) for size in range(96, 225)])
    fig = plot_costs(costs, "sizes")
    assert heads(fig) == ["Against resolution, width 1.0"] and len(fig.axes) == 4
    assert [axes.get_ylabel().split(" (")[0] for axes in fig.axes] == ["MAdds", "params", "peak memory", "depth"]
    drawn = lines(fig.axes[0])["mobilenet_v2, 1"]
    assert drawn == pytest.approx(np.column_stack([costs["resolution"], costs["madds"] / 1e6]))
    assert len(texts(fig.axes[0], "cliff")) == 5 and fig.axes[0].get_legend() is None


def test_random_tables_are_a_median_in_a_band():
    rng = random.Random(0)
    costs = make_costs([ArchSpec(stages=random_table(rng), resolution=size) for size in (128, 192) for _ in range(60)])
    fig = plot_costs(costs, "tables")
    for axes, cost in zip(fig.axes, NAMES, strict=True):
        by_size = costs.groupby("resolution")[cost]
        ((_, drawn),) = lines(axes).items()
        assert drawn[:, 1] == pytest.approx(by_size.median().to_numpy() / UNITS[cost])
        (band,) = (found for found in axes.collections if found.get_gid() == "band")
        corners = band.get_paths()[0].get_extents()
        assert (corners.y0, corners.y1) == pytest.approx(
            (costs[cost].min() / UNITS[cost], costs[cost].max() / UNITS[cost])
        )
    assert "lines show their median" in caption(fig) and len(points(fig.axes[0])) == 120


def test_a_step_to_other_networks_is_no_cliff():
    cheap = repeat_variants(make_costs([ArchSpec(width=0.55)]), 12)
    dear = repeat_variants(make_costs([ArchSpec(width=0.56)]), 12)
    assert texts(plot_costs(pd.concat([cheap, dear]), "the same").axes[0], "cliff") == ["+38 % at 0.56"]
    others = pd.concat([cheap, dear.assign(network=dear["network"] + ", no residual")])
    fig = plot_costs(others, "others")
    assert texts(fig.axes[0], "cliff") == [] and len(lines(fig.axes[0])["mobilenet_v2, 224"]) == 2


@pytest.mark.slow
def test_different_networks_at_every_width_are_not_joined():
    rng = random.Random(1)
    archs = [
        ArchSpec(stages=random_table(rng), width=rng.choice(WIDTHS), resolution=rng.choice(SIZES)) for _ in range(80)
    ]
    costs = make_costs(archs)
    fig = plot_costs(costs, "random")
    assert all(lines(axes) == {} and len(points(axes)) == 80 for axes in fig.axes)
    counted = costs.sort_values(["width", "madds"])
    drawn = np.array(sorted(map(tuple, points(fig.axes[0]))))
    assert drawn == pytest.approx(np.column_stack([counted["width"], counted["madds"] / 1e6]))
    assert heads(fig)[0] == "Against width: all 80 networks, coloured by resolution"
    assert "points are networks (all 80), not joined" in caption(fig) and "cliff" not in caption(fig).lower()


def test_two_networks_with_nothing_in_common_are_two_points():
    fig = plot_costs(make_costs([ArchSpec(width=0.5, resolution=128), ArchSpec()]), "two")
    assert all(lines(axes) == {} and len(points(axes)) == 2 for axes in fig.axes)


def test_expansions_are_dots_around_their_median():
    archs = [
        ArchSpec(width=w, resolution=128, stages=set_expansion(MOBILENET_V2, t)) for w in (0.35, 1.0) for t in (1, 2, 6)
    ]
    costs = make_costs(archs)
    fig = plot_costs(costs, "expansion")
    assert heads(fig) == ["Against width, resolution 128"]
    assert sorted(points(fig.axes[0])[:, 1]) == pytest.approx(sorted(costs["madds"] / 1e6))
    assert lines(fig.axes[0])["mobilenet_v2, 128"][:, 1] == pytest.approx(costs["madds"][[1, 4]].to_numpy() / 1e6)


def test_families_have_line_styles_and_a_legend_of_their_own():
    sizes, widths = (128, 224), (0.5, 0.75, 1.0)
    archs = [
        ArchSpec(f, width=w, resolution=s) for f in ("mobilenet_v1", "mobilenet_v2") for w in widths for s in sizes
    ]
    costs = make_costs(archs)
    fig = plot_costs(costs, "families")
    check_lines(fig, costs)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["MobileNetV2", "MobileNetV1"]
    styles = {line.get_label().split(", ")[0]: line.get_linestyle() for line in fig.axes[0].lines}
    assert styles == {"mobilenet_v2": "-", "mobilenet_v1": "--"} and len(lines(fig.axes[0])) == 4
    assert texts(fig.axes[6], "note") == ["the same at every resolution"]
    assert {label: line[0, 1] for label, line in lines(fig.axes[6]).items()} == {
        "mobilenet_v1, every resolution": 28,
        "mobilenet_v2, every resolution": 53,
    }


def test_one_network_is_four_points_with_their_values():
    fig = plot_costs(make_costs([ArchSpec()]), "one")
    assert heads(fig) == ["Width 1.0, resolution 224"]
    assert [texts(axes, "note") for axes in fig.axes] == [["300.8"], ["3.505"], ["6.021"], ["53"]]
    assert [len(line) for axes in fig.axes for line in lines(axes).values()] == [1] * 4
    assert caption(fig).startswith("1 spec; width 1.0, resolution 224 pixels.")


def test_many_networks_of_one_size_are_a_bar():
    costs = repeat_variants(make_costs([ArchSpec()]), 5)
    fig = plot_costs(costs, "variants")
    assert texts(fig.axes[0], "note") == ["300.8 to 421.1, median 360.9"] and len(points(fig.axes[0])) == 5
    assert texts(fig.axes[3], "note") == ["53"]


@pytest.mark.slow
def test_100_000_networks_are_quick(many_widths):
    costs = repeat_variants(many_widths, 315)
    start = time.process_time()
    fig = plot_costs(costs, "many")
    assert time.process_time() - start < 6  # 1 s on a free core
    assert len(costs) > 100_000 and len(lines(fig.axes[0])) == 3 and len(lines(fig.axes[1])) == 5
    assert "+38 % at 0.56" in texts(fig.axes[0], "cliff")


def test_of_many_points_some_are_drawn_by_lot_and_it_is_said():
    rng = np.random.default_rng(0)
    n = MOST_POINTS + 500
    costs = pd.DataFrame(
        {"family": "mobilenet_v2", "width": rng.choice(WIDTHS, n), "resolution": rng.integers(96, 225, n)}
    )
    costs = costs.assign(madds=rng.integers(10**6, 10**8, n), params=10**6, peak_activation_bytes=10**6, depth=53)
    fig = plot_costs(costs.assign(network=[f"table {i}" for i in range(n)]), "many")
    assert all(len(points(axes)) == MOST_POINTS for axes in fig.axes)
    assert "points are networks (2,000 of 2,500, drawn by lot)" in caption(fig)
    assert heads(fig)[1] == "Against resolution: 2,000 of 2,500 networks, coloured by width"


def test_titles_are_never_read_as_mathematics_and_the_frame_is_not_changed():
    costs = make_costs([ArchSpec()])
    before = costs.copy()
    fig = plot_costs(costs, "my_$space$_\\x")
    fig.draw_without_rendering()
    assert "my_$space$_\\x" in words(fig)
    pd.testing.assert_frame_equal(before, costs)


@pytest.mark.slow
def test_labels_are_inside_the_figure_however_wide_the_ticks():
    costs = make_costs([ArchSpec(width=width, resolution=size) for width in (0.5, 16.0) for size in (96, 4096)])
    fig = plot_costs(costs, "wide")
    fig.draw_without_rendering()
    assert min(axes.yaxis.label.get_window_extent().x0 for axes in fig.axes) > 0


def test_a_cliff_s_name_has_its_family_where_there_are_several():
    archs = [ArchSpec(family=f, width=w) for f in ("mobilenet_v1", "mobilenet_v2") for w in (0.55, 0.56)]
    fig = plot_costs(make_costs(archs), "families")
    assert texts(fig.axes[0], "cliff") == ["MobileNetV2 +38 % at 0.56"]


def test_lines_of_many_families_look_different():
    """More of them than have a name."""
    archs = [ArchSpec(width=width, resolution=96) for width in (0.5, 1.0)]
    parts = [make_costs(archs).assign(family=f"family {number}") for number in range(6)]
    axes = plot_costs(pd.concat(parts, ignore_index=True), "families").axes[0]
    lines = [line for line in axes.lines if line.get_gid() != "cliff line"]
    assert len(lines) == len({line.get_marker() for line in lines}) == 6
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 6


def test_rectangles_lie_at_the_root_of_their_area_under_their_names():
    archs = [ArchSpec(width=width, resolution=size) for width in (0.5, 1.0) for size in (96, 160)]
    costs = make_costs(archs)
    costs["resolution"] = costs["resolution"].map({96: 96, 160: "256x100"}).astype(object)
    costs["network"] = costs["network"].str.replace("160", "256x100")
    fig = plot_costs(costs, "two sizes")
    against = [axes for axes in fig.axes if "root of its area" in axes.get_xlabel()]
    assert len(against) == 1 and "resolutions from 96 to 256x100" in caption(fig)
    drawn = [points for points in lines(against[0]).values() if len(points) == 2]
    assert drawn and all(points[:, 0].tolist() == [96, 160] for points in drawn)
    fig.draw_without_rendering()
    assert [tick.get_text() for tick in against[0].get_xticklabels()] == ["96", "256x100"]
