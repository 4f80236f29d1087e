"""The axis `init` of a space file: its kinds of start, and one clear line where they can't be."""

import pytest

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.trials.recipe import RECIPES


def write(tmp_path, axes, more=""):
    path = tmp_path / "s.yaml"
    path.write_text(f"axes: {{{axes}}}\n{more}\n")
    return path


def test_each_kind_of_start_has_its_own_recipe_and_strategy(tmp_path):
    path = write(tmp_path, "init: [scratch, imagenet, a.pth], width: [0.5, 1.0]", "recipe: {base: short, lr: 0.05}")
    space = load_space(path)
    assert space.inits == ("scratch", "imagenet", "a.pth") and len(expand(space)) == 2
    assert [kind.recipe.init for kind in space.kinds] == ["scratch", "imagenet", "a.pth"]
    assert [kind.strategy.name for kind in space.kinds] == ["separate", "tune", "tune"]
    assert [kind.recipe.lr for kind in space.kinds] == [0.05, RECIPES["tune"].lr, RECIPES["tune"].lr]
    path.write_text(path.read_text() + "with_weights: {recipe: {base: short, init: imagenet}, strategy: probe}\n")
    assert [kind.strategy.name for kind in load_space(path).kinds] == ["separate", "probe", "probe"]


def test_points_alone_can_have_the_axis_and_no_axis_is_one_kind(tmp_path):
    assert len(load_space(write(tmp_path, "init: [scratch, imagenet]", "points: [{width: 0.5}]")).kinds) == 2
    (kind,) = load_space(write(tmp_path, "width: [0.5]", "strategy: shared")).kinds
    assert kind.strategy.name == "shared"


@pytest.mark.parametrize(
    "axes, more, words",
    [
        ("init: [scratch]", "points: [{}]", "axes.init: a list given; allowed: a list of two or more"),
        ("init: imagenet", "points: [{}]", "axes.init: 'imagenet' given; allowed: a list of two or more"),
        ("init: [scratch, scratch], width: [0.5]", "", "axes.init: scratch is in the list twice"),
        ("init: [scratch, 3], width: [0.5]", "", "axes.init: 3 given"),
        ("init: [scratch, imagenet], width: [0.5]", "recipe: tune", "axes.init: the recipe has an init, too"),
        ("init: [scratch, imagenet], width: [0.5]", "strategy: shared", "networks that share weights begin from"),
    ],
    ids=["one", "no list", "twice", "number", "recipe", "shared"],
)
def test_mistakes_are_told_with_their_line(tmp_path, axes, more, words):
    with pytest.raises(SpaceError) as refused:
        load_space(write(tmp_path, axes, more))
    assert words in str(refused.value)
