"""Where labels are put."""

import pytest
from matplotlib.text import Text

from mnv2_sweep.analysis.agreement import compare_published
from mnv2_sweep.analysis.stats import summarise
from mnv2_sweep.plots.pareto import plot_pareto
from tests.plot_samples import FACTS, PAPER, make_trials


@pytest.mark.slow
def test_labels_neither_overlap_nor_leave_the_panel():
    summary = summarise(make_trials(PAPER))
    figure = plot_pareto(summary, FACTS, compare_published(summary))
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axes.texts if text.get_gid() == "label"]
        for i, box in enumerate(boxes):
            assert (
                axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
            )
            assert not any(box.overlaps(other) for other in boxes[:i])
