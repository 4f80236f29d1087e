"""Contact sheets of boxes and masks."""

import numpy as np
from matplotlib.colors import to_rgb

from mnv2_sweep.plots.marked import MOST_KEYS, class_colours, plot_boxes, plot_masks

IMAGES = np.full((7, 20, 30, 3), 100, np.uint8)


def test_each_box_is_drawn_where_it_is_in_the_colour_of_its_class():
    none = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool)
    two = np.array([[1.0, 2, 11, 7], [0, 0, 30, 20]]), np.array([1, 0]), np.array([False, True])
    fig = plot_boxes(IMAGES, [two, *[none] * 6], ["cat $_1$", "dog"], "title")
    assert len(fig.axes) == 7 and not fig.axes[1].patches
    first, second = fig.axes[0].patches
    assert (*first.get_xy(), first.get_width(), first.get_height()) == (0.5, 1.5, 10, 5)
    colours = class_colours(2)
    assert np.allclose(to_rgb(first.get_edgecolor()), colours[1]) and first.get_linestyle() == "-"
    assert np.allclose(to_rgb(second.get_edgecolor()), colours[0]) and second.get_linestyle() != "-"
    assert [text.get_text() for text in fig.texts] == ["title", "cat $_1$", "dog"]
    fig.canvas.draw()


def test_masks_colour_classes_leave_the_background_and_are_white_where_nothing_is_said():
    masks = np.zeros((7, 20, 30), np.uint8)
    masks[0, :5], masks[0, 5:9] = 1, 255
    fig = plot_masks(IMAGES, masks, 255, ["background", "cell"], True, "title")
    shown = fig.axes[0].images[0].get_array()
    assert shown[15, 0].tolist() == [100, 100, 100] and shown[6, 0].tolist() == [255, 255, 255]
    assert shown[0, 0].tolist() == np.round(0.5 * 100 + 0.5 * 255 * class_colours(2)[1]).tolist()
    assert [text.get_text() for text in fig.texts] == ["title", "cell", "nothing is said"]
    coloured = plot_masks(IMAGES, masks, 255, ["road", "cell"], False, "title").axes[0].images[0].get_array()
    assert coloured[15, 0].tolist() != [100, 100, 100]


def test_of_many_classes_the_rest_is_said_and_colours_come_again():
    none = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool)
    fig = plot_boxes(IMAGES[:1], [none], [f"class {number}" for number in range(MOST_KEYS + 5)], "title")
    assert fig.texts[-1].get_text() == "and 5 more" and len(fig.texts) == MOST_KEYS + 2
    assert class_colours(50).shape == (50, 3)
