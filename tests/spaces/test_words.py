"""Networks and values in words of the command line, by the rules of a space file."""

import pytest

from mnv2_sweep.base.errors import SweepError
from mnv2_sweep.nets.arch import MOBILENET_V2, ArchSpec, set_expansion
from mnv2_sweep.spaces.words import is_network, read_network, read_values

NETWORKS = {
    "1.0@224": ArchSpec(),
    "0.5@160 activation=hswish residual=none": ArchSpec(
        width=0.5, resolution=160, activation="hswish", residual="none"
    ),
    "5e-1@0160": ArchSpec(width=0.5, resolution=160),
    "expansion=3 kernel=5": ArchSpec(stages=set_expansion(MOBILENET_V2, 3), kernel=5),
    "linear_bottleneck=false depthwise=false": ArchSpec(linear_bottleneck=False, depthwise=False),
    "1.0@320 head=ssdlite": ArchSpec(resolution=320, head="ssdlite", classes=80),
    "head=deeplabv3 classes=3 output_stride=8 aspp=false": ArchSpec(
        head="deeplabv3", classes=3, output_stride=8, aspp=False
    ),
    "family=vgg16 head=ssd scales=7 anchors=4": ArchSpec("vgg16", head="ssd", classes=80, scales=7, anchors=4),
    "family=shufflenet_v1 groups=8 width=2": ArchSpec("shufflenet_v1", groups=8, width=2.0),
    "stages.3.c=48": ArchSpec(stages=tuple(s._replace(c=48) if i == 3 else s for i, s in enumerate(MOBILENET_V2))),
}
MISTAKES = {
    "activation=hswsh": "count: activation: 'hswsh' given; allowed: relu6 | relu | hswish (did you mean hswish?)",
    "residual=no": "count: residual: 'no' given; allowed: bottleneck | expansion | none (did you mean none?)",
    "1.0@224 width=2": "count: width is given twice: 1.0 and 2",
    "1.0@224 groups=3": "count: groups: MobileNetV2 has no such choice; it has: stages, width, resolution, kernel, ",
    "1.0@224 groups=8": "count: groups: MobileNetV2 has no such choice; it has: stages, width, ",
    "family=nasnet_a kernel=3": "count: kernel: NASNet-A has no such choice; it has: width, resolution, classes",
    "alpha=2": "count: unknown key 'alpha'; did you mean 'width'? Allowed: family, width, ",
    "width=": "count: 'width=' given; words are of the form 1.0@224 (width@resolution) or field=value",
    "one two": "count: 'one' given; words are of the form",
    "wide@224": "count: width: 'wide' given; allowed: a number above 0, at most 16",
    "1.0@5000": "count: resolution: 5000 given; allowed: a whole number of pixels from 1, or width x height as in "
    "160x120, each up to 4,096",
    "stages.9.c=3": "count: stages.9.c: there is no stage 9; stages count from 0, which is [1, 16, 1, 1], to 6",
    "depthwise=no": "count: depthwise: 'no' given; allowed: true or false (did you mean false?)",
    "kernel=101": "count: kernel: 101 given; allowed: an odd whole number (3, 5, 7) up to 99",
    "stages.kernel=3": "count: unknown key 'stages.kernel'; did you mean 'kernel' or 'stages.*.kernel'? Allowed: ",
    "stages.t=3": "count: unknown key 'stages.t'; did you mean 'expansion' or 'stages.*.t'? Allowed: ",
    "stages.3.k=3": "count: unknown key 'stages.3.k'; did you mean 'stages.3.kernel'? Allowed: stages.<0 to 6 or *>.<",
    "stages.3.foo=3": "count: unknown key 'stages.3.foo'; Allowed: stages.<0 to 6 or *>.<t|",
    "stages.-1.kernel=3": "count: stages.-1.kernel: there is no stage -1; stages count from 0, which is [1, 16, 1, 1]",
    "stages.3=5": "count: stages.3: name a cell of the row, as in stages.3.c; there is: t, c, n, s, kernel",
    "1.0@224 stages=[[6,24,2,2]]": "count: stages: give single cells, as in stages.3.c; a whole table is 'stages' at",
    "se=0.25": "count: unknown key 'se'; did you mean 'se_ratio'? Allowed: ",
    "gray=1": "count: unknown key 'gray'; did you mean 'in_channels'? Allowed: ",
    "mixup=0.2": "count: mixup: no field of a network; 'mixup' of the recipe is for all networks, under 'recipe' in a",
    "recipe.lr=0.1": "count: recipe.lr: no field of a network; 'lr' of the recipe is for all networks, under",
    "learning_rate=0.1": "count: learning_rate: no field of a network; 'lr' of the recipe is for all networks",
    "camera se_ratio=0.25": "count: 'camera' is a design space, which takes no further words; leave out se_ratio=0.25",
    "a/b.yaml width=1": "count: 'a/b.yaml' is a design space, which takes no further words; leave out width=1",
    "1.0@224 aspp=true": "count: aspp: MobileNetV2 has no such choice; it has: ",
    "1.0@224 head=ssdlite aspp=true": "count: aspp: MobileNetV2 with SSDLite has no such choice; it has: ",
    "1.0@224 head=yolov2": "count: head: yolov2 given; MobileNetV2 allows: classifier | ssdlite | ssd | deeplabv3",
    "family=resnet101": "count: head: classifier given; ResNet-101 allows: deeplabv3",
    "1.0@224 head=ssd scales=8": "count: scales: 8 given; allowed: 2 | 3 | 4 | 5 | 6 | 7",
    "kernel=[3]": "count: kernel: '[3]' given; allowed: an odd whole number",
}


@pytest.mark.parametrize("words", NETWORKS)
def test_words_are_the_network(words):
    assert read_network(words.split(), "count") == NETWORKS[words]


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(words):
    with pytest.raises(SweepError) as caught:
        read_network(words.split(), "count")
    assert str(caught.value).startswith(MISTAKES[words]) and "\n" not in str(caught.value)


def test_one_word_without_a_sign_is_a_space():
    assert not is_network(["paper_grid"]) and not is_network(["spaces/quick.yaml"])
    assert is_network(["1.0@224"]) and is_network(["width=1"]) and is_network(["a", "b"])


def test_values_of_several_fields():
    words = ["residual=none,expansion", "expansion=1, 3", "depthwise=false"]
    assert read_values(words, "ablate") == {
        "residual": ("none", "expansion"),
        "expansion": (1, 3),
        "depthwise": (False,),
    }
    assert read_values([], "ablate") == {}
    for words, message in (
        (["expansion=1,1"], "ablate: expansion=1,1: a value is there twice"),
        (["expansion=1", "expansion=3"], "ablate: expansion is given twice; put its values together: expansion=1,3"),
        (["1.0@224"], "ablate: '1.0@224' given; words are of the form field=value, as in expansion=1,3"),
        (["expansion=1,x"], "ablate: expansion: 'x' given; allowed: a whole number from 1 up to 100"),
    ):
        with pytest.raises(SweepError) as caught:
            read_values(words, "ablate")
        assert str(caught.value) == message
