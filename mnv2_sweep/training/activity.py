"""Trial -> Activities: a network trained as in a sweep, its channels counted before and after. Nothing is recorded."""

import torch
from torch import Tensor

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.data.batches import whole_batch, whole_pixels
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.activity import channel_activity, settle_norms
from mnv2_sweep.nets.resolve import resolve
from mnv2_sweep.paper.manifold import Activities
from mnv2_sweep.training.checkpoint import Course
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import begin_course, evaluate_model, make_repeatable, train_model
from mnv2_sweep.trials.trial import Trial

MOST_IMAGES = 500  # whose channels are counted


def measure_activities(trial: Trial, dataset: Dataset, device: str, control: Control) -> Activities:
    """Train the trial's network and count its positive channels before and after. One thread does it, as in a sweep's
    workers: the trained network is that of the same trial there. Raises SweepError when there is too little to measure
    on, or the training diverges."""
    if len(dataset.labels["val"]) < 2:
        raise SweepError(f"activity: {dataset.name} has one validation image; batch norm needs two")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        make_repeatable(device)
        course = begin_course(trial, dataset, device)
        images, plan = _measured_images(trial, dataset, course), resolve(trial.arch)
        with course.set_aside():
            start = channel_activity(settle_norms(course.model, images), plan, images)
        train_model(course, trial, dataset, control)
        course.settle()
        trained = channel_activity(course.model, plan, images)
        scores, _ = evaluate_model(course.model, trial, dataset, "val", device)
    except FloatingPointError as error:
        raise SweepError(f"activity: {error}") from error
    finally:
        torch.set_num_threads(threads)
    return Activities(tuple(start), tuple(trained), len(images), course.step * trial.recipe.batch, scores["top1"])


def _measured_images(trial: Trial, dataset: Dataset, course: Course) -> Tensor:
    """Return up to MOST_IMAGES of the validation images, evenly spread over them: float32 [N, C, h, w]."""
    pixels = whole_pixels(dataset, "val", trial)
    count = min(MOST_IMAGES, len(pixels))
    chosen = torch.arange(count) * len(pixels) // count
    return whole_batch(pixels, chosen, trial, course.device)
