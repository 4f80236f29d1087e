"""A network with every shape decided: Plan of Blocks of Layers, in the order in which they run.

`resolve` makes Plans; the counters add one up, and the builders turn one into modules, so every shape exists once.
Conventions: a map's shape is channels x height x width. Tensor 0 is the image and tensor i + 1 the output of layer i; a
layer says which tensors it reads by how far they lie back, -1 being the output of the layer before.
"""

from dataclasses import dataclass
from typing import NamedTuple

from mnv2_sweep.base.size import Size
from mnv2_sweep.nets.arch import CLASSIFIER, SAME

WEIGHTED = ("conv", "linear")
DOT = Size(1, 1)


class Layer(NamedTuple):
    """One operation, with the batch norm and the activation that follow it.

    `name` is its place in the built network, for instance "features.2.conv.0.0"; batch norm comes right after it, at
    "features.2.conv.0.1". A "linear" layer is a 1x1 convolution on a 1x1 map (last row of table 2). "conv" and "relu"
    read one tensor; what else a "conv" reads is added to its output, after its batch norm and before its activation
    (`sum_last`: after its activation). "add", "concat" and "multiply" join all tensors they read.
    """

    name: str
    # conv, linear, relu, shuffle, shift, max_pool, avg_pool, global_pool, add, concat, multiply, l2_norm, resize,
    # space_to_depth
    op: str
    c_in: int
    c_out: int
    kernel: int
    stride: int
    groups: int
    size_in: Size
    size_out: Size
    act: str = ""  # "relu6" | "relu" | "hswish" | "sigmoid" | "leaky" (0.1 of what is below 0) | "" for none
    norm: bool = True  # batch norm follows, and the convolution has no bias
    reads: tuple[int, ...] = (-1,)
    # Pixels on every side; None for kernel // 2, with which the size is ceil(size / stride), as with SAME, which puts
    # the larger half behind the map where the two differ, at strides above 1.
    padding: int | str | None = None
    sum_last: bool = False
    bias: bool = True  # of a convolution that no batch norm follows
    dilation: int = 1  # pixels from one weight of a kernel to the next

    @property
    def madds(self) -> int:
        """Return the multiply-adds for one image: one per weight and output position."""
        return self.size_out.area * self.weights

    @property
    def weights(self) -> int:
        """Return the number of weights of the kernel alone."""
        return self.kernel**2 * self.c_out * (self.c_in // self.groups) if self.op in WEIGHTED else 0

    @property
    def params(self) -> int:
        """Return the number of trainable parameters: weights, and batch norm's scale and shift or else the bias; or an
        L2 norm's scales."""
        if self.op not in WEIGHTED:
            return self.c_out if self.op == "l2_norm" else 0
        return self.weights + (2 if self.norm else self.bias) * self.c_out

    @property
    def is_depthwise(self) -> bool:
        """Say whether each of its kernels works on a channel of its own."""
        return self.op == "conv" and self.groups == self.c_in == self.c_out and self.kernel > 1

    @property
    def shape_in(self) -> str:
        """Return the shape of the map it reads in words, as in "32x112x112", channels x height x width."""
        return f"{self.c_in}x{self.size_in.height}x{self.size_in.width}"

    @property
    def shape_out(self) -> str:
        """Return the shape of the map it makes in words."""
        return f"{self.c_out}x{self.size_out.height}x{self.size_out.width}"

    @property
    def input_elements(self) -> int:
        """Return the elements of the map it reads."""
        return self.c_in * self.size_in.area

    @property
    def output_elements(self) -> int:
        """Return the elements of the map it makes."""
        return self.c_out * self.size_out.area


class Block(NamedTuple):
    """Layers in a row.

    kind: "conv" (stem, last convolution) | "bottleneck" | "separable" (MobileNetV1) | "unit" (ShuffleNet) | "cell"
    (NASNet) | "pool" | "classifier", which pools its input to 1x1 first | "residual" (ResNet-101) | "extra" (a smaller
    map for a detector) | "boxes", "scores" (predictors of a detector) | "branches", "segmenter" (DeepLabv3). `stage` is
    the row of the block table it comes from, "0" for the first, or "stem", "last", "classifier", "head".
    `shortcut` is "bottleneck": the block's input is added to its output (or joined to it, where the stride is 2, in a
    "unit"); "expansion": the expanded tensor of the block before is added to this block's expanded tensor; or None.
    """

    name: str
    kind: str
    stage: str
    layers: tuple[Layer, ...]
    shortcut: str | None = None
    roles: tuple[str, ...] = ()  # of the layers of a bottleneck, as "expand", "depthwise", "project"
    # Of predictors: the anchors at every place of their map, width and height as shares of the image's.
    anchors: tuple[tuple[float, float], ...] = ()

    @property
    def convs(self) -> tuple[Layer, ...]:
        """Return the layers with weights."""
        return tuple(layer for layer in self.layers if layer.op in WEIGHTED)

    @property
    def expands(self) -> bool:
        """Return whether it is a bottleneck that begins with an expansion."""
        return "expand" in self.roles

    @property
    def hidden(self) -> int:
        """Return the channels of a bottleneck's expanded tensor, the depthwise (or ordinary) convolution's input."""
        return self.find("depthwise").c_in

    def find(self, role: str) -> Layer:
        """Return the layer of that role; a block's layers are known by it, not by their place."""
        return self.layers[self.roles.index(role)]


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole network: blocks in the order in which they run.

    `outputs` are the numbers of the tensors that are its outputs, where it has more than that of the last layer; they
    live to the end. `head` is the spec's.
    """

    blocks: tuple[Block, ...]
    dropout: float
    outputs: tuple[int, ...] = ()
    head: str = CLASSIFIER

    @property
    def image(self) -> tuple[int, Size]:
        """Return channels and size of the image."""
        first = self.blocks[0].layers[0]
        return first.c_in, first.size_in

    @property
    def pads_same(self) -> bool:
        """Return whether maps are padded as in TensorFlow."""
        return any(layer.padding == SAME for layer in self.layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return the layers of all blocks in the order in which they run."""
        return tuple(layer for block in self.blocks for layer in block.layers)

    @property
    def convs(self) -> tuple[Layer, ...]:
        """Return the layers with weights."""
        return tuple(layer for block in self.blocks for layer in block.layers if layer.op in WEIGHTED)


def cut_channels(channels: int, width: float, least: int = 8) -> int:
    """Return the channels at a width, cut to a whole number, not rounded to 8 (TF-slim's rule for MobileNetV1)."""
    return max(least, int(channels * width))


def round_channels(channels: float, divisor: int = 8) -> int:
    """Return the nearest multiple of the divisor, at least that and never below 90 % of the wish (TF-slim's rule, at
    every width)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def norm_name(name: str) -> str:
    """Return the place of the batch norm after a convolution: the next one, as in nn.Sequential."""
    before, _, at = name.rpartition(".")
    return f"{before}.{int(at) + 1}"


def border(padding: str, stride: int) -> str | None:
    """Return the padding of a layer with an odd kernel by the spec's: at stride 1 torch's and TensorFlow's are one."""
    return SAME if padding == SAME and stride > 1 else None


def classifier_block(channels: int, size: Size, classes: int) -> Block:
    """Return the end that all families share: the mean over the map, then one linear layer with a bias."""
    pool = Layer("pool", "global_pool", channels, channels, 1, 1, 1, size, DOT, norm=False)
    linear = Layer("classifier.1", "linear", channels, classes, 1, 1, 1, DOT, DOT, norm=False)
    return Block("classifier", "classifier", "classifier", (pool, linear))
