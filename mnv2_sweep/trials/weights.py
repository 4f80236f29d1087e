"""WeightsRecord: where weights come from and what a network must do to compute what they were trained to compute."""

import json
from dataclasses import asdict, dataclass, fields, replace

from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, Stage, arch_record, load_arch, stage_record

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # as mean and as std: pixels from -1 to 1
ORDERS = {
    "imagenet": "the 1000 classes of ImageNet, sorted by their WordNet ids",
    "imagenet after background": "class 0 is the background, then the 1000 of ImageNet",
    "own": "classes of somebody's own",
    "": "no classifier",
}


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """Weights of one file, and their conventions.

    `sha256` is the file's; of a slice of shared weights, which has no file of its own, that of its tensors.
    `resolution` is the side in pixels at which they were trained. A network computes what they were trained to compute
    if its batch norms have `epsilon`, its layers of stride 2 pad as `padding` says ("torch": kernel // 2 pixels on each
    side; "same": as TensorFlow, at an even side nothing before and one row and column after a kernel of 3), and its
    pixels are (value / 255 - mean) / std. `classes` is the number of outputs of the classifier, 0 where there is none;
    `order` is one of ORDERS. `folded`: the batch norms were folded into the convolutions, so the norms of the network
    change nothing and hold no statistics, which training needs (`models.pretrained.unfold_norms`). `sliced`: a network
    begins with a part of them, of the channels of this wider one (`models.slicing`). `network` is that of the weights
    where a sweep kept them and width, stages and last_channels don't say all of it.
    """

    name: str
    sha256: str
    kind: str  # whose layout the file has, as in "torchvision" or "keras"
    width: float = 1.0
    resolution: int = 224
    stages: tuple[Stage, ...] = MOBILENET_V2
    last_channels: int = 1280
    epsilon: float = 1e-5
    padding: str = "torch"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    classes: int = 1000
    order: str = "imagenet"
    folded: bool = False
    sliced: bool = False
    licence: str = ""
    source: str = ""
    network: ArchSpec | None = None

    @property
    def arch(self) -> ArchSpec:
        """Return the network, at the resolution of its training; one class where there is no classifier."""
        if self.network is not None:
            return replace(self.network, resolution=self.resolution, classes=self.classes or 1)
        return ArchSpec(
            stages=self.stages, width=self.width, resolution=self.resolution, last_channels=self.last_channels,
            classes=self.classes or 1, padding=self.padding,
        )  # fmt: skip


def describe_start(record: WeightsRecord) -> str:
    """Say in a line which weights those are, and on which terms they may be used."""
    facts = [f"sha256 {record.sha256}", f"licence: {record.licence or 'not stated'}"]
    facts += [f"from {record.source}"] if record.source else []
    return f"the weights {record.name} ({', '.join(facts)})"


def dump_weights(record: WeightsRecord) -> str:
    """Return the record as JSON without the fields that have their default value; `load_weights` makes it again."""
    values = asdict(record) | {"stages": [stage_record(stage) for stage in record.stages]}
    values |= {"network": arch_record(record.network)} if record.network else {}
    kept = {f.name: values[f.name] for f in fields(record) if getattr(record, f.name) != f.default}
    return json.dumps(kept, sort_keys=True, indent=1)


def load_weights(text: str) -> WeightsRecord:
    """Return the record of a JSON text by `dump_weights`. Raises ValueError, KeyError or TypeError on another text."""
    values = json.loads(text)
    if "stages" in values:
        values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
    if "network" in values:
        values["network"] = load_arch(values["network"])
    triples = {name: tuple(values[name]) for name in ("mean", "std") if name in values}
    return WeightsRecord(**{**values, **triples})
