"""Networks -> one set of weights, their supernet, trained so that each network is a slice of it; slice -> Result.

Every step trains up to four networks on one batch: the largest on the labels, the others, random ones, on a mixture of
the labels and of the largest one's soft outputs for the same crops, each at its own size. Their gradients add up. The
random ones are drawn so that all are in as many steps. Afterwards each network gets batch norm statistics and a
classifier of its own, and is evaluated.

That is the sandwich rule with in-place distillation of universally slimmable networks (Yu and Huang 2019), changed in
three ways for short trainings (CIFAR-10, the paper's grid at a quarter to a half of the side, 12,000 to 20,000 images,
seed 0). The soft outputs' part grows from none to all, as those of an untrained network hold the others and itself
back (at 7,000 images the largest had 31 % with soft outputs alone, 42 % with labels, and as much when trained by
itself). The smallest network is no part of every step, which put it ahead of networks that cost more (0.35 at 96 before
0.35 at 128). And the others' losses count less than the largest's, see STUDENT_WEIGHT.

On a CPU the networks of a step run in threads, the largest and the dearest of the others as two halves of the batch.
What they add up to does not depend on how many threads there are: the halves are always two, and gradients are added
in a fixed order. Nothing is dropped out, as threads draw no random numbers.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from mnv2_sweep.base.heap import trim_heap
from mnv2_sweep.base.size import Size
from mnv2_sweep.data.batches import keep_on_device, train_level, whole_batch
from mnv2_sweep.data.catalog import Dataset
from mnv2_sweep.models.convolution import fast_convolutions
from mnv2_sweep.models.shared import SharedWeights, Slice, calibrate_norms, cut_slice
from mnv2_sweep.nets.arch import ArchSpec
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.nets.resolve import arch_key
from mnv2_sweep.training.batch import Batch, draw_batch, find_loss, weigh_images
from mnv2_sweep.training.checkpoint import Course, core_clock, describe_error, is_whole, read_packed, write_packed
from mnv2_sweep.training.control import Control
from mnv2_sweep.training.loop import (
    UNCONTROLLED,
    begin_on,
    check_stop,
    count_steps,
    evaluate_model,
    evaluate_splits,
    keeping,
    open_course,
    peak_memory_bytes,
    read_targets,
    resume_course,
    say_result,
    train_course,
)
from mnv2_sweep.training.refit import fit_least_squares
from mnv2_sweep.trials.preview import Preview, remove_preview, write_preview
from mnv2_sweep.trials.recipe import Recipe
from mnv2_sweep.trials.tasks import task_of, trained_arch
from mnv2_sweep.trials.trial import CODE_VERSION, CurvePoint, Result, Trial, read_point, shared_id, train_size

RANDOM = 3  # networks of a step beside the largest
CALIBRATION_IMAGES, CALIBRATION_BATCH = 2000, 100
POINT_IMAGES = 200  # to calibrate the largest network with, for a point of the curve
# A preview comes with a point of the curve: the first after so many seconds, the others as far as all take so large a
# part of the time, each of as many networks as so many seconds are enough for.
PREVIEW_AFTER, PREVIEW_PART, PREVIEW_SECONDS, PREVIEW_IMAGES = 30, 0.05, 10, 200
MOST_SLICES = 32  # kept as modules, the least recently used one makes room; making one takes 70 ms
# Times the recipe's rate. What is shared is pulled at by four networks, whose pulls agree in part; the classifier sees
# over a thousand features, none below zero, and its logits, which teach the others, run away at that rate.
WEIGHTS_RATE, CLASSIFIER_RATE = 3.0, 0.1
# Times a student's loss. What is shared then serves the largest network first, and a narrow slice is as much worse as
# its width says; at 1.0 the students' pull closed most of that gap. Published, 0.35 to 1.0 gains as much as 96 to 224
# does (13 points of top-1). On CIFAR-10 at 0.34 of the side, mean over the other axis: 4.4 and 4.0 points at 0.12
# (24,000 images, seed 0), 4.3 and 5.7 at 0.25 (30,000, seed 1); at 0.25 of the side 5.0 and 8.7 at 1.0 (75,000).
# Longer is not better for the order: at 0.125 after 40,000 images 5.1 and 6.9 (seed 1), as the largest pulls away and
# with it whoever is like it.
STUDENT_WEIGHT = 0.125
# Networks of other sizes leave other holes in the heap, which never come to an end. After so many steps what is free is
# given back: having it cleared anew takes half a step's time (paper's grid at a third of the side: 1.4 of 3.5 s).
TRIM_STEPS = 16


@dataclass(frozen=True, slots=True)
class Supernet:
    """The networks that share weights, where these lie or will lie, and how many threads their training may take."""

    archs: tuple[ArchSpec, ...]
    path: Path
    threads: int = 1


@dataclass(frozen=True)
class TrainedSupernet:
    """Trained weights, the curve of the training (top-1 is the largest network's), and what it took: `seconds` of one
    core (`Course.core_seconds`), however many threads shared them."""

    weights: SharedWeights
    curve: tuple[CurvePoint, ...]
    seconds: float
    images_per_second: float
    images: int
    peak_bytes: int


def run_shared_trial(trial: Trial, dataset: Dataset, device: str, control: Control, supernet: Supernet) -> Result:
    """Evaluate a slice of the shared weights, which are trained first if nobody has done so.

    The seconds are the slice's own and an equal part of the shared training's, both of one core: the process's
    processor time, as a shared training uses several threads, where a network trained alone has one and its wall time
    is the same. On a GPU they are wall time. Images and speed (by wall time) are the shared training's. Raises as
    run_trial.
    """
    begin_on(device)
    shared = load_shared(trial, dataset, device, control, supernet)
    clock = core_clock(device)
    began = clock()
    model = cut_network(trial, shared.weights, dataset, device, control)
    measured = evaluate_splits(model, trial, dataset, device, control)
    archs, (own,) = trained_archs(trial, supernet.archs), trained_archs(trial, [trial.arch])
    own_seconds = clock() - began
    of_largest = arch_key(own) == arch_key(largest_arch(archs))
    curve = (
        shared.curve
        if of_largest
        else tuple(replace(point, scores=dict.fromkeys(point.scores)) for point in shared.curve)
    )
    result = Result(
        *measured[:2], curve[-1].train_loss, shared.images, curve, own_seconds + shared.seconds / len(archs),
        shared.images_per_second, max(shared.peak_bytes, peak_memory_bytes(device)), device, measured.each,
    )  # fmt: skip
    control.log(f"{say_result(trial, result)} as a slice of shared weights, {own_seconds:.1f} s")
    return result


def load_shared(trial: Trial, dataset: Dataset, device: str, control: Control, supernet: Supernet) -> TrainedSupernet:
    """Return the weights that the trial is a slice of: as the supernet's file has them, or else trained and put there.
    Where that ended with FloatingPointError, the file says so, and it is raised again: another training would only end
    there too."""
    found = read_shared(trial, supernet, control.log)
    if found is None:
        control.count_time(False)  # it is no part of the trial
        try:
            found = train_shared(trial, dataset, device, control, supernet)
        except FloatingPointError as error:
            write_packed(supernet.path, weights_header(trial), {"ended": str(error)})
            raise
        trim_heap()  # of what it needed; the other workers begin now
        control.count_time(True)
    if isinstance(found, FloatingPointError):
        raise found
    found.weights.to(device)
    return found


def read_shared(
    trial: Trial, supernet: Supernet, log: Callable[[str], None]
) -> TrainedSupernet | FloatingPointError | None:
    """Read the weights that the trial is a slice of; None where there are none that could be used, an error where their
    training diverged. A process keeps what it read last: laying the weights out takes as long as evaluating a small
    network, and every slice needs them."""
    try:
        networks, header = trained_archs(trial, supernet.archs), tuple(weights_header(trial).items())
        return _read_once(supernet.path, header, networks, trial.recipe.norm_epsilon, _version(supernet.path))
    except FileNotFoundError:
        return None
    except Exception as error:  # damaged, or written by other code
        log(f"the shared weights are not used: {describe_error(error)}")
        return None


@lru_cache(maxsize=1)
def _read_once(
    path: Path, header: tuple, networks: tuple[ArchSpec, ...], epsilon: float, version: tuple[int, ...]
) -> TrainedSupernet | FloatingPointError:
    """Read a file of shared weights, of that version."""
    _, state = read_packed(path, dict(header))
    if "ended" in state:
        return FloatingPointError(state["ended"])
    weights = SharedWeights(networks, epsilon)
    weights.load_state_dict(state.pop("weights"))
    curve = tuple(read_point(values) for values in state.pop("curve"))
    return TrainedSupernet(weights, curve, **state)


def has_weights(path: Path, trial: Trial) -> bool:
    """Return whether `read_shared` would find the trial's weights there. Cheap: a file is looked through once."""
    try:
        version = _version(path)
    except OSError:
        return False
    return _is_whole(path, tuple(weights_header(trial).items()), version)


def _version(path: Path) -> tuple[int, ...]:
    """Return what tells a file from another one that takes its place. Raises OSError."""
    state = path.stat()
    return state.st_ino, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=64)
def _is_whole(path: Path, header: tuple, version: tuple[int, ...]) -> bool:
    return is_whole(path, dict(header))


def weights_header(trial: Trial) -> dict:
    return {"shared": shared_id(trial), "code_version": CODE_VERSION}


def trained_archs(trial: Trial, archs: Sequence[ArchSpec]) -> tuple[ArchSpec, ...]:
    """Return the networks with the head that is trained, each once: two specs may be one network."""
    return tuple({arch_key(arch): trained_arch(trial, arch) for arch in archs}.values())


def largest_arch(archs: Sequence[ArchSpec]) -> ArchSpec:
    return max(archs, key=_cost_order)


def cut_network(
    trial: Trial, weights: SharedWeights, dataset: Dataset, device: str, control: Control = UNCONTROLLED
) -> nn.Module:
    """Return the trial's network, stand-alone and in eval mode, its batch norms calibrated on whole training images and
    its classifier fitted to some, where that is wanted; the same ones every time, so the same network comes out."""
    model = cut_slice(weights, trained_arch(trial), device)
    calibrate_norms(model, calibration_batches(trial, dataset, device, CALIBRATION_IMAGES, control))
    if trial.shared.refit:
        refit_classifier(model, trial, dataset, device, control)
    return model


@torch.no_grad()
def refit_classifier(model: nn.Module, trial: Trial, dataset: Dataset, device: str, control: Control) -> None:
    """Fit the classifier of a calibrated network anew to training images. The one that it shares is no network's own:
    narrow networks and large images lose by it most. It stays where the features are no numbers."""
    features, classifier = [], model.classifier
    model.classifier = nn.Identity()
    try:
        for images in calibration_batches(trial, dataset, device, trial.shared.refit, control):
            features.append(model(images).float().cpu())
    finally:
        model.classifier = classifier
    seen, rows = torch.cat(features), torch.cat(drawn_batches(len(dataset.labels["train"]), trial.shared.refit))
    if len(rows) > 1 and seen.isfinite().all():
        labels, targets = dataset.labels["train"], read_targets(trial, dataset, "train", "cpu")[rows]
        fit_least_squares(trial, seen, targets, weigh_images(trial, labels[rows.numpy()])).put_into(model)


def calibration_batches(
    trial: Trial, dataset: Dataset, device: str, most: int, control: Control = UNCONTROLLED
) -> Iterator[Tensor]:
    """Yield some training images, whole, as the trial's network reads them: [N, channels, h, w] a batch. Raises
    Interrupted when asked to stop."""
    pixels = train_level(dataset, trial.train_size)
    for chosen in drawn_batches(len(pixels), most):
        check_stop(control)
        yield whole_batch(pixels, chosen, trial, device)  # as evaluation does it, the whole image


def drawn_batches(images: int, most: int) -> list[Tensor]:
    """Return which of so many training images are looked at, at most so many, in order: [N] a batch."""
    drawn = torch.randperm(images, generator=torch.Generator().manual_seed(0))[:most]
    # A last batch of one would have no variance where maps are 1x1.
    return [chosen for chosen in drawn.sort().values.split(CALIBRATION_BATCH) if len(chosen) > 1 or len(drawn) == 1]


def train_shared(trial: Trial, dataset: Dataset, device: str, control: Control, supernet: Supernet) -> TrainedSupernet:
    """Train the weights of the supernet, on from their checkpoint, and write them to its file."""
    sandwich = Sandwich(trial, dataset, device, supernet)
    owner = shared_id(trial)
    control = replace(control, checkpoint=control.checkpoint and supernet.path.with_suffix(".checkpoint"))
    course = resume_course(sandwich.begin, owner, control)
    with keeping(course, owner, control), sandwich.running(course):
        train_course(course, sandwich.trial, owner, sandwich.step, lambda: sandwich.evaluate(control), control)
        remove_preview(supernet.path)
        course.settle()
        shared = sandwich.measure()
        keep_shared(supernet.path, trial, shared)
    took = f"{course.seconds:.0f} s, {shared.seconds:.0f} s of one core"
    control.log(f"shared training of {len(sandwich.archs)} networks: {shared.images:,} images, {took}")
    return shared


def keep_shared(path: Path, trial: Trial, shared: TrainedSupernet) -> None:
    """Write what `read_shared` reads. Raises OSError."""
    facts = {field.name: getattr(shared, field.name) for field in fields(TrainedSupernet)}
    state = facts | {"weights": shared.weights.state_dict(), "curve": [astuple(point) for point in shared.curve]}
    write_packed(path, weights_header(trial), state)


def slow_classifier(optimizer: torch.optim.Optimizer, weights: SharedWeights) -> None:
    """Give the classifier groups of its own, with a "scale" of their rate."""
    own = {id(parameter) for name, parameter in weights.named_parameters() if name.startswith("classifier")}
    for group in list(optimizer.param_groups):
        parameters = [parameter for parameter in group["params"] if id(parameter) in own]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
        optimizer.add_param_group({**group, "params": parameters, "scale": CLASSIFIER_RATE / WEIGHTS_RATE})


class Sandwich:
    """The networks of a supernet and what trains them together."""

    def __init__(self, trial: Trial, dataset: Dataset, device: str, supernet: Supernet):
        self.dataset, self.device, self.threads = dataset, device, supernet.threads
        self.recipe: Recipe = replace(
            trial.recipe, images=trial.shared.images, epochs=None, lr=WEIGHTS_RATE * trial.recipe.lr
        )
        self.trial, self.task, self.path = replace(trial, recipe=self.recipe), task_of(trial).work, supernet.path
        self.began, self.previewed = time.perf_counter(), 0.0
        by_cost = sorted(trained_archs(trial, supernet.archs), key=_cost_order)
        *self.others, self.largest = self.archs = tuple(by_cost)
        self.targets = read_targets(trial, dataset, "train", device)
        self.steps = count_steps(self.recipe, len(self.targets))[0]
        sizes = sorted({self.size(arch) for arch in by_cost})
        self.levels, made = {}, {}  # sizes above the data's own have the same images: these are kept once
        for size in sizes:
            pixels = train_level(dataset, size)
            if pixels.shape not in made:
                made[pixels.shape] = keep_on_device(pixels, device)
            self.levels[size] = made[pixels.shape]

    def size(self, arch: ArchSpec) -> Size:
        return train_size(arch, self.recipe)

    def begin(self) -> Course:
        """Begin with the first weights, and the random numbers of the trial's seed."""
        torch.manual_seed(self.trial.seed)
        weights = SharedWeights(self.archs, self.recipe.norm_epsilon, self.recipe.init_stddev)
        weights.scale_shortcuts(self.recipe.shortcut_gain)
        weights = weights.to(self.device)
        course = open_course(weights, self.trial, self.dataset, self.device)
        slow_classifier(course.optimizer, weights)
        return course

    @contextmanager
    def running(self, course: Course) -> Iterator[None]:
        """Hold the threads, and the slices of this course."""
        self.course = course
        self.slices: dict[ArchSpec, Slice] = {}
        # torch gives a new thread as many threads of its own as there are cores.
        with ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,)) as self.pool:
            yield

    def measure(self) -> TrainedSupernet:
        """Return what the course has come to."""
        course, batch = self.course, self.recipe.batch
        peak_bytes = max(course.peak_bytes, peak_memory_bytes(self.device))
        facts = course.core_seconds, course.images_per_second(batch), course.step * batch, peak_bytes
        return TrainedSupernet(course.model, tuple(course.curve), *facts)

    def step(self) -> Tensor:
        """Train on one batch -> the largest network's loss."""
        course, order = self.course, self.course.order
        batch = draw_batch(self.targets, order.take(self.recipe.batch), self.trial, order.generator, order.weights)
        teachers = self.parts(self.largest, in_halves=True)
        ends = self.train_parts(teachers, batch)
        mixture = self.mix_targets(batch.targets, torch.cat([outputs for outputs, _ in ends]))
        picked = self.pick_others(course.step)[::-1]  # the dearest first: the threads then end together
        students = [part for at, arch in enumerate(picked) for part in self.parts(arch, in_halves=at == 0)]
        self.train_parts(students, batch._replace(targets=mixture))
        for shared in course.model.parameters():
            shared.grad = torch.zeros_like(shared)
        for network in dict.fromkeys(network for network, _ in (*teachers, *students)):
            network.add_gradients()
        course.optimizer.step()
        if course.step % TRIM_STEPS == 0:
            trim_heap()
        return sum(loss for _, loss in ends)

    def pick_others(self, step: int) -> list[ArchSpec]:
        """Return the random networks of a step, one of each third by cost, cheapest first. A round of steps has every
        network once: were some in more steps than others, by chance, that alone would put them ahead."""
        count = len(self.others)
        turn, at = divmod(step, -(-count // RANDOM) or 1)
        draw = random.Random(f"{self.trial.seed} {turn}")
        thirds = [self.others[count * k // RANDOM : count * (k + 1) // RANDOM] for k in range(RANDOM)]
        shuffled = [draw.sample(third, len(third)) for third in thirds]
        return [third[at] for third in shuffled if at < len(third)]

    def mix_targets(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Mix targets [B, ...] with what the largest network says of the images -> what the others are to say."""
        return self.task.mix(targets, outputs, self.course.step / self.steps, self.recipe)

    def parts(self, arch: ArchSpec, in_halves: bool) -> list[tuple[Slice, slice]]:
        """Return the parts of a step that one network runs: it as a module with the weights as they are now, and the
        images that it sees, or twice half of them. Both halves may run at once: their gradients are added, in either
        order to the same sum, and the running statistics that they disturb nobody reads."""
        network, batch = self.find_slice(arch), self.recipe.batch
        network.load().train()
        if in_halves and self.device == "cpu" and batch > 3:  # batch norm needs two images
            return [(network, slice(0, batch // 2)), (network, slice(batch // 2, batch))]
        return [(network, slice(0, batch))]

    def find_slice(self, arch: ArchSpec) -> Slice:
        found = self.slices.pop(arch, None) or self._new_slice(arch)
        self.slices[arch] = found  # now the last one used
        return found

    def train_parts(self, parts: list[tuple[Slice, slice]], batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Run the parts of a step in threads, see `train_one`."""
        with fast_convolutions(*(network.model for network, _ in parts)):
            return list(self.pool.map(lambda part: self.train_one(*part, batch), parts))

    def train_one(self, network: Slice, rows: slice, batch: Batch) -> tuple[Tensor, Tensor]:
        """Run forward and backward through one network, on a part of the batch -> (its outputs, its part of the
        loss)."""
        size, cuda = self.size(network.arch), self.device == "cuda"
        images = batch.images(self.levels[size], size, self.device, rows)
        with torch.autocast(self.device, torch.bfloat16, enabled=cuda):
            outputs = network.model(images)
            loss = find_loss(outputs.float(), batch, self.trial, rows)
        loss = loss * (len(images) / len(batch.chosen))
        (loss if network.arch == self.largest else STUDENT_WEIGHT * loss).backward()
        return outputs.detach().float(), loss.detach()

    def _new_slice(self, arch: ArchSpec) -> Slice:
        while len(self.slices) >= MOST_SLICES:
            del self.slices[next(iter(self.slices))]
        made = Slice(self.course.model, arch, self.device)
        for module in made.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return made

    def evaluate(self, control: Control) -> dict[str, float]:
        """Return the scores of the largest network, on a few validation images; now and then, leave a preview too."""
        trim_heap()  # calibration's batches are larger, and would not fit into the holes that training left
        scores, _ = self.measure_slice(self.largest, self.recipe.curve_images, control)
        took = time.perf_counter() - self.began
        if self.course.step < self.steps and took >= PREVIEW_AFTER and self.previewed <= PREVIEW_PART * took:
            self.preview(control)
            self.previewed += time.perf_counter() - self.began - took
        return scores

    def measure_slice(self, arch: ArchSpec, most: int | None, control: Control) -> tuple[dict[str, float], int]:
        """Return the scores of a slice as it is now, on at most so many validation images, and on how many."""
        trial = replace(self.trial, arch=arch)
        with self.course.averaged():
            model = cut_slice(self.course.model, arch, self.device)
        calibrate_norms(model, calibration_batches(trial, self.dataset, self.device, POINT_IMAGES, control))
        return evaluate_model(model, trial, self.dataset, "val", self.device, most, control)

    def preview(self, control: Control) -> None:
        """Write what networks are worth by now: the dearest, the cheapest, and others by lot while there is time."""
        until, main, scores, count = time.perf_counter() + PREVIEW_SECONDS, task_of(self.trial).main.name, {}, 0
        ends = [self.largest, *self.others[:1]]
        for arch in (*ends, *random.Random(0).sample(self.others[1:], max(0, len(self.others) - 1))):
            measured, count = self.measure_slice(arch, PREVIEW_IMAGES, control)
            scores[arch_key(arch)] = measured[main]
            if time.perf_counter() >= until:
                break
        images = self.course.step * self.recipe.batch
        write_preview(self.path, Preview(images, self.steps * self.recipe.batch, count, scores))


def _cost_order(arch: ArchSpec) -> tuple[int, str]:
    """Return what sorts networks cheapest first, those of one cost in an order of their own, the same on every
    machine."""
    return count_cost(arch).madds, arch_key(arch)
