"""What the figure of a device says and holds."""

import numpy as np
import pytest

from mnv2_sweep.devices.latency import fit_latency
from mnv2_sweep.plots.device import plot_device
from tests.device_samples import GRID, make_profile
from tests.plot_samples import caption, words


def line(axes, gid: str):
    (found,) = [line for line in axes.lines if line.get_gid() == gid]
    return found


def test_every_network_is_drawn_as_measured_and_as_predicted_from_the_others():
    profile = make_profile(spread=0.02)
    model = fit_latency(profile)
    fig = plot_device(profile, model)
    pairs, errors = line(fig.axes[0], "networks"), line(fig.axes[1], "errors")
    assert pairs.get_xdata() == pytest.approx(1e3 * profile.seconds)
    assert pairs.get_ydata() == pytest.approx(1e3 * model.left_out)
    assert errors.get_ydata() == pytest.approx(100 * (model.left_out / profile.seconds - 1))
    noise = line(fig.axes[2], "noise of the rounds")
    assert noise.get_xdata() == pytest.approx(100 * np.sort(profile.noise))
    assert noise.get_ydata()[-1] == line(fig.axes[2], "error of the model").get_ydata()[-1] == 100
    text = caption(fig)
    assert f"{len(GRID)} networks of made up, 8 rounds" in text and "onnxruntime 1.20.1 fp32, 1 thread" in text
    assert f"{100 * np.median(np.abs(model.errors)):.1f} % (median)" in text
    assert "Latency on pi4" in words(fig)
