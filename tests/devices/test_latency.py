"""The latency model on devices that are made up: known costs are found, errors and intervals are honest, and what lies
outside of the measured networks is refused."""

from dataclasses import replace

import numpy as np
import pytest

from mnv2_sweep.devices.features import FEATURES, PLACES, arch_features
from mnv2_sweep.devices.latency import fit_costs, fit_latency, madds_alone, predict_left_out, relative_quantiles
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec
from tests.device_samples import COSTS, GRID, made_seconds, make_profile

RANDOM = np.random.default_rng(0)


def draw_archs(count: int, seed: int) -> list[ArchSpec]:
    """Networks whose tables, widths and sizes are drawn."""
    draw = np.random.default_rng(seed)
    archs = []
    for _ in range(count):
        stages = tuple(
            stage._replace(
                t=int(draw.choice((3, 4, 6))) if stage.t > 1 else 1,
                n=int(draw.integers(1, 4)),
                kernel=int(draw.choice((3, 5))),
                se_ratio=float(draw.choice((0.0, 0.25))),
            )
            for stage in MOBILENET_V2
        )
        archs.append(ArchSpec(stages=stages, width=float(draw.choice((0.35, 0.5, 0.75, 1.0, 1.4))),
                              resolution=int(draw.choice((96, 128, 160, 192, 224)))))  # fmt: skip
    return archs


MANY, OTHERS = draw_archs(60, 1), draw_archs(200, 2)


def test_costs_that_made_the_times_are_found():
    model = fit_costs(arch_features(MANY), made_seconds(MANY))
    features = arch_features(OTHERS)
    assert model.predict(features) == pytest.approx(made_seconds(OTHERS), rel=1e-6)
    for name in ("pointwise", "depthwise3", "depthwise5", "weights", "layers"):
        assert model.costs[PLACES[name]] == pytest.approx(COSTS[name], rel=1e-3)
    assert model.costs[PLACES["depthwise7"]] == 0  # of which no network has any
    assert np.abs(model.errors).max() < 1e-6


def test_no_cost_is_below_nothing_though_the_times_ask_for_it():
    features = arch_features(MANY)
    costs = np.array([*COSTS.values()])
    costs[PLACES["elements"]] *= -0.1
    model = fit_costs(features, features @ costs)
    assert (model.costs >= 0).all() and model.costs[PLACES["elements"]] == 0


def test_errors_of_networks_left_out_are_those_of_networks_that_nobody_measured():
    """Noise of 3 %: left-out errors and those on others agree, and the interval holds about 95 % of these."""
    inside, ratios = [], []
    features = arch_features(OTHERS)
    for seed in range(10):
        noise = np.random.default_rng(seed)
        measured = made_seconds(MANY) * np.exp(noise.normal(0, 0.03, len(MANY)))
        seconds = made_seconds(OTHERS) * np.exp(noise.normal(0, 0.03, len(OTHERS)))
        model = fit_costs(arch_features(MANY), measured)
        low, high = model.interval(features)
        inside.append(np.mean((low <= seconds) & (seconds <= high)))
        ratios.append(np.median(np.abs(model.errors)) / np.median(np.abs(model.predict(features) / seconds - 1)))
    assert 0.9 < np.mean(inside) < 0.995
    assert 0.8 < np.mean(ratios) < 1.25


def test_a_network_left_out_is_predicted_from_the_others_alone():
    features, seconds = arch_features(MANY), made_seconds(MANY)
    wrong = seconds.copy()
    wrong[7] *= 3
    assert predict_left_out(features, wrong)[7] == pytest.approx(seconds[7], rel=1e-6)


def test_madds_alone_are_worse_on_a_device_on_which_they_are_not_all():
    features, seconds = arch_features(MANY), made_seconds(MANY)
    alone = predict_left_out(madds_alone(features), seconds) / seconds - 1
    assert relative_quantiles(alone)[0] > 0.02 > relative_quantiles(fit_costs(features, seconds).errors)[0]


OUTSIDE = {
    "kernels that were not measured": (ArchSpec(kernel=5), "depthwise 5x5: 57,545,600 MAdds (measured: none)"),
    "larger": (ArchSpec(width=1.4), "1x1 convolutions: 536,367,104 MAdds (measured: "),
    "smaller": (ArchSpec(width=0.35, resolution=64), "1x1 convolutions: "),
    "another activation": (ArchSpec(activation="hswish"), "h-swish and sigmoid: "),
    "without a last layer": (ArchSpec(width=0.5, resolution=128, last_channels=0), "weights: "),
}


@pytest.mark.parametrize("arch, reason", OUTSIDE.values(), ids=OUTSIDE)
def test_what_was_not_measured_is_not_predicted(arch, reason):
    model = fit_latency(make_profile(spread=0.01))
    features = arch_features([arch])
    assert model.outside(features).tolist() == [True]
    assert model.reasons(features[0])[0].startswith(reason)


def test_networks_between_the_measured_ones_are_inside_and_so_are_these():
    model = fit_latency(make_profile(spread=0.01))
    between = [ArchSpec(width=0.5, resolution=192), ArchSpec(width=0.75, resolution=192)]
    assert not model.outside(arch_features([*between, *GRID])).any()
    assert model.reasons(arch_features(between)[0]) == []


def test_mixtures_unlike_the_measured_ones_are_outside_within_the_ends_of_each_feature():
    """As few shortcuts as a small network, as much else as a larger one: each feature alone was seen."""
    model = fit_latency(make_profile(spread=0.02))
    features = arch_features([ArchSpec(width=0.5, resolution=160)])
    features[:, PLACES["weights"]] = model.features[:, PLACES["weights"]].max()
    assert model.outside(features).tolist() == [True]
    assert model.reasons(features[0]) == ["its mixture of layers is unlike those that were measured"]


def test_networks_to_add_are_few_and_bring_the_others_in():
    model = fit_latency(make_profile(spread=0.01))
    archs = [replace(arch, kernel=5) for arch in GRID]
    features = arch_features(archs)
    chosen = model.suggest(features, 10)
    assert 0 < len(chosen) < len(GRID) and len(set(chosen)) == len(chosen)
    grown = fit_costs(
        np.concatenate([model.features, features[chosen]]),
        np.concatenate([model.seconds, made_seconds([archs[at] for at in chosen])]),
    )
    assert grown.outside(features).mean() < 0.5 < model.outside(features).mean()
    assert model.suggest(arch_features(GRID)) == []


def test_costs_are_in_the_order_of_the_features():
    assert [*COSTS] == [*FEATURES]
