"""What figure 1 says and holds, and that no words overlap."""

import itertools

import numpy as np
import pytest

from mnv2_sweep.paper.manifold import SHOWN, collapsed_fraction, embed_spiral, measure_losses, spiral_points
from mnv2_sweep.plots.manifold import MOST_ERROR, plot_manifold
from tests.plot_samples import caption, words


@pytest.fixture(scope="module")
def drawn():
    embeddings, losses = [embed_spiral(n, 0) for n in SHOWN], measure_losses(100, 0, (2, 3, 5, 15, 30))
    return embeddings, losses, plot_manifold(embeddings, losses, seed=0)


def test_it_says_how_it_was_made_and_what_each_picture_lost(drawn):
    embeddings, losses, fig = drawn
    titles = [axes.get_title() for axes in fig.axes[:6]]
    assert titles[0] == "input: the spiral" and titles[2] == "n = 3: 50 % collapsed"
    assert titles[1] == f"n = 2: {100 * embeddings[0].collapsed.mean():.2g} % collapsed"
    assert titles[5] == "n = 30: 0 collapsed"
    text = caption(fig)
    for part in ("seed 0", "100 T of each n, 720 points", "fewer than two rows", "up to n = 9", "from n = 30 on"):
        assert part in text
    assert "15, 30 no point of any matrix collapsed" in text
    assert losses[0].inverse_error.most > MOST_ERROR and "ends at" in text
    assert "theorem 1" in " ".join(entry.get_text() for entry in fig.axes[6].get_legend().get_texts())
    assert "Error of the way back" in words(fig)


def test_the_curves_are_the_images_in_two_colours(drawn):
    embeddings, _, fig = drawn
    for axes, embedding in zip(fig.axes[1:6], embeddings, strict=True):
        true, lost, kept = axes.lines[:3]
        assert np.allclose(true.get_xydata().T, spiral_points())
        assert (lost.get_gid(), kept.get_gid()) == ("collapsed", "kept")
        assert (np.isnan(lost.get_xdata()) == ~embedding.collapsed).all()
        both = np.where(embedding.collapsed, lost.get_xydata().T, kept.get_xydata().T)
        assert np.allclose(both, embedding.back)


def test_the_formula_is_drawn_beside_the_measurement(drawn):
    _, losses, fig = drawn
    lines = {line.get_label(): line for line in fig.axes[6].lines}
    formula = next(line for label, line in lines.items() if label.startswith("theorem 1"))
    assert [round(y, 12) for y in formula.get_ydata()] == [round(collapsed_fraction(n, 2), 12) for n in range(2, 31)]
    bound = next(line for label, line in lines.items() if label.startswith("its bound"))
    assert list(bound.get_xdata()) == list(range(10, 31)) and max(bound.get_ydata()) < 1
    silent = next(line for label, line in lines.items() if label.startswith("sent to zero"))
    assert list(silent.get_ydata()) == [loss.silent.mean for loss in losses]


def test_words_lie_inside_and_apart(drawn):
    fig = drawn[2]
    fig.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in fig.axes[:6]]
    boxes += [fig.axes[i].get_tightbbox() for i in (6, 7)]
    boxes += [text.get_window_extent() for text in fig.texts]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
