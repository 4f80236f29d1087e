"""Features and targets -> the linear classifier over them that does best on validation images.

Multinomial logistic regression (the task's own loss, without label smoothing) with an L2 penalty, by scipy's L-BFGS,
from the strongest penalty to the weakest, each from where the one before ended; the validation loss chooses the
strength. The penalty is on features in one unit: with each channel in its own, those that hardly vary got weights so
large that the first steps of tuning lost everything.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

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


def fit_linear(trial: Trial, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], control: Control) -> Linear:
    """Return the classifier of the strength that has the lowest validation loss; `train` and `val` are features [N, C]
    and their targets. Raises Interrupted between strengths when asked to stop."""
    best, best_loss, worse = None, np.inf, 0
    for linear in _fit_strengths(trial, *train):
        check_stop(control)
        loss = float(_loss(trial, linear.outputs(val[0]), val[1]))
        control.log(f"penalty {linear.strength:.2g}: training loss {linear.train_loss:.4f}, validation {loss:.4f}")
        worse = 0 if loss < best_loss else worse + 1
        if loss < best_loss:
            best, best_loss = linear, loss
        if worse == WORSE_IN_A_ROW:
            break
    return best


def _fit_strengths(trial: Trial, features: Tensor, targets: Tensor) -> Iterator[Linear]:
    """Yield the classifier of every strength, the strongest first.

    Weights are sought in the directions in which the features vary on their own, each in a unit that makes the loss
    about equally curved in all: L-BFGS then needs tens of steps where it needs hundreds without.
    """
    mean, scale = features.mean(0), features.var(0).mean().sqrt().clamp(min=1e-6)
    standard = (features - mean) / scale
    variances, directions = torch.linalg.eigh(standard.T @ standard / len(standard))
    turned = standard @ directions
    outputs = task_of(trial).outputs(trial.data.classes)
    weight, bias = torch.zeros(outputs, len(mean)), torch.zeros(outputs)
    for strength in STRENGTHS:
        unit = (variances.clamp(min=0) / outputs + strength).rsqrt()
        start = torch.cat([weight / unit, bias[:, None]], 1).double().numpy().ravel()
        found = minimize(
            _objective, start, (trial, turned, targets, unit, strength), "L-BFGS-B", jac=True,
            options={"maxiter": MOST_STEPS, "ftol": CONVERGED},
        )  # fmt: skip
        own = torch.from_numpy(found.x).float().view(outputs, -1)
        weight, bias = own[:, :-1] * unit, own[:, -1]
        loss = float(_loss(trial, nn.functional.linear(turned, weight, bias), targets))
        plain = weight @ directions.T / scale
        yield Linear(plain, bias - plain @ mean, strength, loss)


def _objective(
    values: np.ndarray, trial: Trial, features: Tensor, targets: Tensor, unit: Tensor, strength: float
) -> tuple[float, np.ndarray]:
    """Return loss with penalty and its gradient."""
    own = torch.from_numpy(values).float().view(-1, len(unit) + 1).requires_grad_()
    weight = own[:, :-1] * unit
    loss = _loss(trial, nn.functional.linear(features, weight, own[:, -1]), targets)
    loss = loss + strength / 2 * weight.square().sum()
    loss.backward()
    return loss.item(), own.grad.double().numpy().ravel()


def _loss(trial: Trial, outputs: Tensor, targets: Tensor) -> Tensor:
    return task_of(trial).work.loss(outputs, targets, replace(trial.recipe, label_smoothing=0.0))
