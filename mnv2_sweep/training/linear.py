"""Features and targets -> the linear classifier over them that does best on validation images.

Multinomial logistic regression (the task's own loss, without label smoothing) with an L2 penalty, by scipy's L-BFGS,
from the strongest penalty to the weakest, each from where the one before ended; the validation loss chooses the
strength. The penalty is on features in one unit: with each channel in its own, those that hardly vary got weights so
large that the first steps of tuning lost everything.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from mnv2_sweep.training.checkpoint import core_clock
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import check_stop
from mnv2_sweep.trials.tasks import task_of
from mnv2_sweep.trials.trial import Trial

STRENGTHS = tuple(10.0**-power for power in (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5))
MOST_STEPS = 200  # of L-BFGS for each strength
CONVERGED = (
    1e-4  # relative change of the loss; with 1e-6 validation losses of 0.72 differed by 0.003, in four times the time
)
WORSE_IN_A_ROW = 2  # strengths that do worse on validation end the search
# Of all strengths together; 71 to 96 with the features of 0.35 and 1.0 at 34 to 128 px on clothing-small, 10 classes.
USUAL_STEPS = 90
TIMED_IMAGES, TIMED_STEPS = 2048, 5


@dataclass(frozen=True, eq=False)
class Linear:
    """A classifier: outputs are features [N, C] @ weight [classes, C] transposed + bias [classes]. `strength` is that
    of its penalty, `train_loss` the loss without it."""

    weight: Tensor
    bias: Tensor
    strength: float
    train_loss: float

    def outputs(self, features: Tensor) -> Tensor:
        """Return the outputs of images with these features."""
        return nn.functional.linear(features, self.weight, self.bias)

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Make it the network's own classifier."""
        model.classifier[-1].weight.copy_(self.weight)
        model.classifier[-1].bias.copy_(self.bias)


class Examples(NamedTuple):
    """Features [N, C], their targets, and what each counts in the loss, [N]; None where all count the same."""

    features: Tensor
    targets: Tensor
    weights: Tensor | None = None


def fit_linear(trial: Trial, train: Examples, val: Examples, control: Control) -> Linear:
    """Return the classifier of the strength that has the lowest validation loss. Raises Interrupted between strengths
    when asked to stop."""
    best, best_loss, worse = None, np.inf, 0
    for linear in _fit_strengths(trial, train):
        check_stop(control)
        loss = float(_loss(trial, linear.outputs(val.features), val))
        control.log(f"penalty {linear.strength:.2g}: training loss {linear.train_loss:.4f}, validation {loss:.4f}")
        worse = 0 if loss < best_loss else worse + 1
        if loss < best_loss:
            best, best_loss = linear, loss
        if worse == WORSE_IN_A_ROW:
            break
    return best


def _fit_strengths(trial: Trial, train: Examples) -> Iterator[Linear]:
    """Yield the classifier of every strength, the strongest first.

    Weights are sought in the directions in which the features vary on their own, each in a unit that makes the loss
    about equally curved in all: L-BFGS then needs tens of steps where it needs hundreds without.
    """
    features = train.features
    mean, scale = find_unit(features)
    turned, variances, directions = turn_features((features - mean) / scale)
    outputs = task_of(trial).outputs(trial.data.classes)
    weight, bias = torch.zeros(outputs, len(mean)), torch.zeros(outputs)
    for strength in STRENGTHS:
        unit = (variances.clamp(min=0) / outputs + strength).rsqrt()
        start = torch.cat([weight / unit, bias[:, None]], 1).double().numpy().ravel()
        found = minimize(
            _objective, start, (partial(_loss, trial, examples=train), turned, unit, strength), "L-BFGS-B", jac=True,
            options={"maxiter": MOST_STEPS, "ftol": CONVERGED},
        )  # fmt: skip
        own = torch.from_numpy(found.x).float().view(outputs, -1)
        weight, bias = own[:, :-1] * unit, own[:, -1]
        loss = float(_loss(trial, nn.functional.linear(turned, weight, bias), train))
        plain = weight @ directions.T / scale
        yield Linear(plain, bias - plain @ mean, strength, loss)


def find_unit(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of each channel of features [N, C], and the one scale with which their variance is 1 in the
    mean."""
    return features.mean(0), features.var(0).mean().sqrt().clamp(min=1e-6)


def turn_features(standard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return features in the directions in which they vary on their own, their variances, and these directions."""
    try:
        variances, directions = torch.linalg.eigh(standard.T @ standard / len(standard))
    except torch.linalg.LinAlgError:  # many features that are alike, or always 0: divide and conquer does not converge
        exact = standard.double()
        found = scipy.linalg.eigh((exact.T @ exact / len(exact)).numpy(), driver="ev")
        variances, directions = (torch.from_numpy(values).to(standard.dtype) for values in found)
    return standard @ directions, variances, directions


def _objective(
    values: np.ndarray, loss_of: Callable[[Tensor], Tensor], features: Tensor, unit: Tensor, strength: float
) -> tuple[float, np.ndarray]:
    """Return loss with penalty and its gradient."""
    own = torch.from_numpy(values).float().view(-1, len(unit) + 1).requires_grad_()
    weight = own[:, :-1] * unit
    loss = loss_of(nn.functional.linear(features, weight, own[:, -1])) + strength / 2 * weight.square().sum()
    loss.backward()
    return loss.item(), own.grad.double().numpy().ravel()


def _loss(trial: Trial, outputs: Tensor, examples: Examples) -> Tensor:
    work, recipe = task_of(trial).work, replace(trial.recipe, label_smoothing=0.0)
    if examples.weights is None:
        return work.loss(outputs, examples.targets, recipe)
    return (examples.weights * work.loss(outputs, examples.targets, recipe, each=True)).mean()


@cache
def time_fit(images: int, channels: int, outputs: int) -> float:
    """Return the seconds of one core that fitting takes to so many images and channels: a part of it, measured here."""
    few = min(images, TIMED_IMAGES)
    features = torch.randn(few, channels, generator=torch.Generator().manual_seed(0))
    targets, unit = torch.arange(few) % outputs, torch.ones(channels)
    threads, clock = torch.get_num_threads(), core_clock("cpu")
    torch.set_num_threads(1)
    try:
        began = clock()
        turned = turn_features(features)[0]
        turn_seconds, values = clock() - began, np.zeros(outputs * (channels + 1))
        began = clock()
        for _ in range(TIMED_STEPS):
            _objective(values, partial(nn.functional.cross_entropy, target=targets), turned, unit, 1.0)
        step_seconds = (clock() - began) / TIMED_STEPS
    finally:
        torch.set_num_threads(threads)
    return turn_seconds + USUAL_STEPS * step_seconds * images / few
