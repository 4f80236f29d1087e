"""Design space files: the shipped ones against published figures, what a file means, and what mistakes are told."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnv2_sweep.base.errors import SpaceError
from mnv2_sweep.nets.arch import CELLS, CHOICES, FAMILIES, MOBILENET_V2, ArchSpec, Stage, choices_of
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.spaces import read
from mnv2_sweep.spaces.networks import expand
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Constraint, Sample, Space, Strategy
from mnv2_sweep.spaces.yamlfile import Mistakes, read_word, read_yaml
from mnv2_sweep.trials.recipe import check_recipe
from mnv2_sweep.trials.tasks import TASKS
from mnv2_sweep.trials.ways import WAYS
from tests.file_way import FROM_FILE
from tests.regress_task import REGRESS

SPACES = Path(__file__).parents[2] / "spaces"
BROKEN_SPACES = Path(__file__).parent / "broken_spaces"

# MAdds in millions; tensorflow/models, research/slim/nets/mobilenet/README.md, "Mobilenet V2 Imagenet Checkpoints"
PUBLISHED_MADDS = {
    (1.4, 224): 582,
    (1.3, 224): 509,
    (1.0, 224): 300,
    (1.0, 192): 221,
    (1.0, 160): 154,
    (1.0, 128): 99,
    (1.0, 96): 56,
    (0.75, 224): 209,
    (0.75, 192): 153,
    (0.75, 160): 107,
    (0.75, 128): 69,
    (0.75, 96): 39,
    (0.5, 224): 97,
    (0.5, 192): 71,
    (0.5, 160): 50,
    (0.5, 128): 32,
    (0.5, 96): 18,
    (0.35, 224): 59,
    (0.35, 192): 43,
    (0.35, 160): 30,
    (0.35, 128): 20,
    (0.35, 96): 11,
}


def load_text(folder: Path, text: str | bytes) -> Space:
    path = folder / "given.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_space(path)


# ---------------------------------------------------------------- the shipped spaces


def test_paper_grid_is_the_22_published_networks():
    archs = expand(load_space(SPACES / "paper_grid.yaml"), classes=10)
    assert {(arch.width, arch.resolution): count_cost(arch).madds // 1_000_000 for arch in archs} == PUBLISHED_MADDS
    assert len(archs) == 22
    assert {arch.classes for arch in archs} == {1000}


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_space(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and "?" in first
    space = load_space(path)
    assert space.name == path.stem
    check_recipe(space.recipe)
    assert expand(space)


def test_expansion_space_holds_the_papers_network():
    archs = expand(load_space(SPACES / "expansion.yaml"), classes=1000)
    assert ArchSpec(resolution=128) in archs
    assert [arch.stages[1].t for arch in archs[:7]] == [1, 2, 3, 4, 6, 8, 10]
    assert all(arch.stages[0] == MOBILENET_V2[0] for arch in archs)


def test_photos_takes_the_classes_of_the_data():
    space = load_space(SPACES / "photos.yaml")
    assert {arch.classes for arch in expand(space, classes=5)} == {5}
    assert {arch.classes for arch in expand(space)} == {1000}


def test_blocks_is_a_thousand_under_the_budget():
    archs = expand(load_space(SPACES / "blocks.yaml"))
    assert len(archs) == len(set(archs)) == 1000
    assert all(count_cost(arch).madds <= 300_000_000 for arch in archs)


# ---------------------------------------------------------------- what a file means


def test_everything_a_file_can_say(tmp_path):
    text = """
    stages: [[1, 16, 1, 1], [6, 24, 2, 2]]
    fixed: {kernel: 5, linear_bottleneck: false, width: 1}
    axes: {resolution: [96, 128], residual: [none, bottleneck], stages.*.n: [1], stages.1.c: [32]}
    points: [{width: 1.3}, {stages.0.c: 8, dropout: 0}]
    constraints: {madds: "<= 1.5G", params: ["> 0.5K", "<= 3M"], peak_activation_bytes: "< 2.5 MiB"}
    sample: {size: 3, seed: 7}
    recipe: {base: paper, images: 5000, lr: 1}
    seeds: [3, 1]
    data: my photos
    """
    space = load_text(tmp_path, text)
    assert space == Space(
        name="given",
        stages=(Stage(1, 16, 1, 1), Stage(6, 24, 2, 2)),
        fixed=(("kernel", 5), ("linear_bottleneck", False), ("width", 1.0)),
        axes=(
            ("resolution", (96, 128)),
            ("residual", ("none", "bottleneck")),
            ("stages.*.n", (1,)),
            ("stages.1.c", (32,)),
        ),
        points=((("width", 1.3),), (("stages.0.c", 8), ("dropout", 0.0))),
        constraints=(
            Constraint("madds", "<=", 1_500_000_000, "<= 1.5G"),
            Constraint("params", ">", 500, "> 0.5K"),
            Constraint("params", "<=", 3_000_000, "<= 3M"),
            Constraint("peak_activation_bytes", "<", 2_621_440, "< 2.5 MiB"),
        ),
        sample=Sample(3, 7),
        recipe=space.recipe,
        seeds=(3, 1),
        data="my photos",
    )
    recipe = space.recipe
    assert (recipe.name, recipe.images, recipe.epochs, recipe.lr) == ("paper, released, changed", 5000, None, 1.0)
    assert (recipe.batch, recipe.optimizer) == (96, "rmsprop_tf")
    assert hash(space)


def test_the_example_of_the_docs_is_a_space(tmp_path):
    example = "".join(line for line in read.__doc__.splitlines(True) if line.startswith("    "))
    assert len(expand(load_text(tmp_path, example))) == 6


def test_defaults(tmp_path):
    space = load_text(tmp_path, "points: [{}]")
    assert space == Space("given", points=((),))
    assert expand(space) == (ArchSpec(),)


@pytest.mark.parametrize(
    "text, name",
    [
        ("short", "short"),
        ("{base: short, lr: 0.03}", "short"),
        ("{base: paper, batch: 32}", "paper, released, changed"),
        ("{lr: 0.05}", "short, changed"),
        ("{base: paper, name: mine}", "mine"),
    ],
)
def test_a_changed_recipe_does_not_keep_the_name(tmp_path, text, name):
    assert load_text(tmp_path, f"points: [{{}}]\nrecipe: {text}").recipe.name == name


def test_order_is_the_files_last_axis_fastest_then_points(tmp_path):
    text = "axes: {resolution: [128, 96], width: [1.0, 0.5]}\npoints: [{width: 0.25}, {resolution: 96}, {width: 2}]"
    archs = expand(load_text(tmp_path, text))
    # the second point is the grid's third network, so it is not there twice
    expected = [(128, 1.0), (128, 0.5), (96, 1.0), (96, 0.5), (224, 0.25), (224, 2.0)]
    assert [(arch.resolution, arch.width) for arch in archs] == expected


def test_sample_is_pinned(tmp_path):
    text = "axes: {width: [0.35, 0.5, 0.75, 1.0], stages.3.c: [48, 64, 80], stages.*.n: [1, 2, 3]}\n"
    text += 'constraints: {madds: "<= 300M"}\nsample: {size: 12, seed: 5}'
    archs = expand(load_text(tmp_path, text))
    expected = [
        (0.5, 48, 2),
        (0.5, 48, 1),
        (1.0, 64, 1),
        (0.5, 80, 3),
        (1.0, 64, 2),
        (0.75, 48, 2),
        (0.5, 80, 1),
        (0.75, 80, 1),
        (1.0, 80, 1),
        (1.0, 48, 1),
        (0.35, 48, 3),
        (0.75, 64, 1),
    ]
    assert [(a.width, a.stages[3].c, a.stages[3].n) for a in archs] == expected


def test_utf8_mark_and_windows_lines_are_fine(tmp_path):
    space = load_text(tmp_path, b"\xef\xbb\xbf# Eh?\r\naxes:\r\n  width: [0.5]\r\nseeds: 2\r\n")
    assert (space.axes, space.seeds) == ((("width", (0.5,)),), (0, 1))


WORDS = {
    **{"no": "no", "Yes": "Yes", "on": "on", "off": "off", "y": "y", "tRue": "tRue", "1:30": "1:30", "a-b": "a-b"},
    **{"2001-01-01": "2001-01-01", "=": "=", "1.2.3": "1.2.3", "e3": "e3", ".": ".", "-x": "-x", "1e": "1e"},
}
NUMBERS = {
    **{"1e-3": 0.001, "60e6": 6e7, "6.0e7": 6e7, "6.E+7": 6e7, ".5": 0.5, "-.5e1": -5.0, "1.": 1.0, "+1.5": 1.5},
    **{"010": 10, "0128": 128, "-007": -7, "+3": 3, "0": 0, "9007199254740993": 9007199254740993},
}
OTHERS = {"true": True, "True": True, "FALSE": False, "null": None, "~": None, "Null": None}


@pytest.mark.parametrize("text, value", [*{**WORDS, **NUMBERS, **OTHERS}.items()])
def test_a_plain_scalar_is_read_by_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "given.yaml"
    path.write_text(f"%YAML 1.2\n---\nfirst: {text}\nsecond: ['{text}']\n")
    first, second = read_yaml(path, Mistakes(path)).value.values()
    for entry in (first, read_word(text)):
        assert (type(entry.value), entry.value, entry.text) == (type(value), value, text)
    assert (first.line, second.value[0].value, second.value[0].line) == (3, text, 4)


# ---------------------------------------------------------------- mistakes


def fill(message: str) -> str:
    """Put the names of fields and cells in their places, so that a new one is no change of these files."""
    words = {"<FIELDS>": [*(name for name in CHOICES if name != "stages"), "expansion"]}
    words |= {"<V2 FIELDS>": FAMILIES["mobilenet_v2"], "<OTHER FIELDS>": FAMILIES["mobilenet_v1"], "<ROW CELLS>": CELLS}
    words["<SSD FIELDS>"] = choices_of("mobilenet_v2", "ssd")
    for mark, names in words.items():
        message = message.replace(mark, ", ".join(names))
    return message.replace("<CELLS>", f"<{'|'.join(CELLS)}>")


@pytest.mark.parametrize("path", sorted(BROKEN_SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_broken_space(path):
    """Each file ends with the whole message, after '#> '."""
    lines = path.read_bytes().decode(errors="replace").splitlines()
    expected = [fill(line[3:]) for line in lines if line.startswith("#> ")]
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    assert expected
    assert [mistake.replace(f"{BROKEN_SPACES}/", "") for mistake in caught.value.mistakes] == expected
    assert str(caught.value) == "\n".join(caught.value.mistakes)


def test_there_are_enough_broken_spaces():
    assert len(list(BROKEN_SPACES.glob("*.yaml"))) >= 20


def test_missing_file_and_folder(tmp_path):
    for path, words in [
        (tmp_path / "no.yaml", "no such file"),
        (tmp_path, "this is a folder; name a .yaml file in it"),
    ]:
        with pytest.raises(SpaceError) as caught:
            load_space(path)
        assert caught.value.mistakes == [f"{path}: {words}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text, words",
    [
        (b"#" * 1_000_001, ": the file is larger than 1,000,000 bytes; is it a design space?"),
        (b"axes: " + b"[" * 490_000, ":1: not valid YAML: more than 20 levels of nesting"),
        (b"axes: {width: [" + b"9" * 490_000 + b"]}", "(it has too many digits)"),
        (b"axes: {width: [" + b"9" * 240_000 + b"e" + b"9" * 240_000 + b"]}", "(it is too large)"),
        (b"\xff\xfea\x00x\x00e\x00s\x00", ":1: the byte 0xff is not UTF-8; save the file as UTF-8"),
        (
            b"axes:\n" + b"".join(b"  w%d: [1]\n" % i for i in range(200)),
            ": only the first 100 mistakes found are shown",
        ),
    ],
    ids=["huge file", "brackets", "digits", "exponent", "utf-16", "many mistakes"],
)
def test_large_or_hostile_files(tmp_path, text, words):
    with pytest.raises(SpaceError) as caught:
        load_text(tmp_path, text)
    assert caught.value.mistakes[-1].endswith(words)
    assert len(str(caught.value)) < 50_000


FRAGMENTS = [b"*a", b"&a ", b"!!x ", b"---\n", b"\t", b"? ", b"- ", b": ", b"{", b"]", b'"', b"|\n", b"<<", b"\xff"]
FRAGMENTS += [b"no", b"~", b"1e5", b".inf", b"\\U", b"%YAML 1", b"\xe2\x80\xa8", b"2001-01-01", b"9" * 5000, b"\x00"]
FRAGMENTS += [b"0o7", b"1e-3", b"off"]
FILES = [path.read_bytes() for folder in (SPACES, BROKEN_SPACES) for path in sorted(folder.glob("*.yaml"))]


@given(content=st.sampled_from(FILES), seed=st.integers(0, 2**32), edits=st.integers(1, 6))
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_gives_a_traceback(tmp_path, content, seed, edits):
    draw = random.Random(seed)
    content = bytearray(content)
    for _ in range(edits):
        at = draw.randrange(len(content) + 1)
        content[at : at + draw.choice([0, 0, 1, 9])] = draw.choice(FRAGMENTS)
    check_space_or_mistakes(tmp_path, bytes(content))


@given(content=st.binary(max_size=40) | st.text(max_size=40).filter(str.isascii).map(str.encode))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_give_a_traceback(tmp_path, content):
    check_space_or_mistakes(tmp_path, content)


def check_space_or_mistakes(folder: Path, content: bytes) -> None:
    """The file is a space whose recipe can be used, or every mistake is one printable line with the file's name."""
    try:
        space = load_text(folder, content)
    except SpaceError as error:
        assert all(line.isprintable() and line.startswith(f"{folder}/given.yaml:") for line in error.mistakes)
        return
    check_recipe(space.recipe)
    assert space.seeds and (space.axes or space.points)


# ---------------------------------------------------------------- strategy


@pytest.mark.parametrize(
    "text, strategy",
    [
        ("", Strategy("separate")),
        ("strategy: separate", Strategy("separate")),
        ("strategy: shared", Strategy("shared")),
        ("strategy: {name: separate}", Strategy("separate")),
        ("strategy: {name: shared, images: 90000}", Strategy("shared", 90_000)),
        ("strategy: shared\nfinetune: 2", Strategy("shared", finetune=2.0)),
        ("finetune: 0.5\nstrategy: {images: 8, name: shared}", Strategy("shared", 8, 0.5)),
        ("strategy: shared\nfinetune: 1 epoch", Strategy("shared", finetune=1.0)),
        ("strategy: shared\nfinetune: 2.5 epochs", Strategy("shared", finetune=2.5)),
        ("strategy: shared\nfinetune: 1000000", Strategy("shared", finetune=1e6)),
        ("strategy: shared\nfinetune: .5", Strategy("shared", finetune=0.5)),
        ("strategy: shared\nfinetune: 5e-1", Strategy("shared", finetune=0.5)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_how_the_networks_get_their_weights(tmp_path, text, strategy):
    space = load_text(tmp_path, f"axes: {{width: [0.5]}}\n{text}\n")
    assert space.strategy == strategy
    assert space.strategy.finetune is None or type(space.strategy.finetune) is float


@pytest.mark.parametrize(
    "text, message",
    [
        ("strategy: {name: *a}", "3: '*a' stands for another part of the file; write that part out"),
        ("strategy: {name: x}", "3: strategy.name: 'x' given; allowed: separate, shared, probe or tune"),
        ("strategy: {}", "3: strategy.name: it is missing; give separate, shared, probe or tune"),
        ("strategy: [shared]", "3: strategy: a list given; allowed: separate, shared, probe or tune"),
        ("strategy: Shared", "3: strategy: 'Shared' given; allowed: separate, shared, probe or tune"),
        ("shared: true", "3: unknown key 'shared'; Allowed: "),
        ("recipe: {strategy: shared}", "3: unknown key 'recipe.strategy'; Allowed: "),
    ],
)
def test_one_mistake_about_the_strategy_is_one_line(tmp_path, text, message):
    """What follows from it, here finetune, is not held against the file."""
    with pytest.raises(SpaceError) as caught:
        load_text(tmp_path, f"axes:\n  width: [0.5]\n{text}\n")
    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith(f"{tmp_path}/given.yaml:{message}")
    if text.startswith("strategy"):
        with pytest.raises(SpaceError) as caught:
            load_text(tmp_path, f"axes:\n  width: [0.5]\n{text}\nfinetune: 2\n")
        assert len(caught.value.mistakes) == 1


# ---------------------------------------------------------------- other tasks and ways


@pytest.fixture
def listed(monkeypatch):
    """A task and a way beside those that ship."""
    monkeypatch.setitem(TASKS, REGRESS.name, REGRESS)
    monkeypatch.setitem(WAYS, FROM_FILE.name, FROM_FILE)


def test_tasks_and_ways_of_the_lists_are_known(tmp_path, listed):
    assert load_text(tmp_path, "points: [{}]\ntask: regress\n").task == "regress"
    assert load_text(tmp_path, "points: [{}]\n").task == "classify"
    space = load_text(tmp_path, "points: [{}]\nstrategy: {name: file, weights: a.pt}\n")
    assert space.strategy == Strategy("file", settings=(("weights", "a.pt"),))


@pytest.mark.parametrize(
    "text, message",
    [
        ("task: guess", "2: task: 'guess' given; allowed: classify | regress"),
        ("task: [classify]", "2: task: a list given; allowed: classify | regress"),
        ("strategy: {name: file, weights: [a.pt]}", "2: strategy.weights: a list given; allowed: one value"),
        ("strategy: {name: shared, weights: a.pt}", "2: strategy.weights: it is for file"),
        ("strategy: {name: file, images: 8}", "2: strategy.images: it is of a shared training"),
        ("strategy: {name: file, weight: a.pt}", "2: unknown key 'strategy.weight'; did you mean 'weights'?"),
        ("strategy: {name: file}\nfinetune: 2", "3: finetune: it goes on from a shared training"),
    ],
)
def test_one_mistake_about_a_task_or_way_is_one_line(tmp_path, listed, text, message):
    with pytest.raises(SpaceError) as caught:
        load_text(tmp_path, f"points: [{{}}]\n{text}\n")
    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith(f"{tmp_path}/given.yaml:{message}")
