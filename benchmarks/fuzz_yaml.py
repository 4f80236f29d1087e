"""Mutated design space files -> never a traceback: each is a space or a list of mistakes, soon and within bounds.

    python benchmarks/fuzz_yaml.py [--files 10000] [--seed 0] [--show NUMBER]

Every file is one of spaces/ or tests/spaces/broken_spaces with one to four changes: bytes, lines, words, nesting,
anchors, huge numbers, odd characters. It is loaded; its networks are selected where that is little work, the first and
last are counted once more one by one, and few are listed as `plan` lists them. Anything raised that is not a
SweepError, warnings and limits included, is printed with the file. `--show` prints one file of the series and stops.
"""

import argparse
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mnv2_sweep.base.errors import SpaceError, SweepError
from mnv2_sweep.explain.listing import costs_text
from mnv2_sweep.nets.cost import count_cost
from mnv2_sweep.spaces.landscape import describe_landscape
from mnv2_sweep.spaces.networks import select_networks
from mnv2_sweep.spaces.read import load_space
from mnv2_sweep.spaces.space import Space
from mnv2_sweep.trials.recipe import check_recipe
from mnv2_sweep.trials.trial import DataRef, Trial, trial_id

ROOT = Path(__file__).parents[1]
SPACES = [path.read_bytes() for path in sorted((ROOT / "spaces").glob("*.yaml"))]
BROKEN = [path.read_bytes() for path in sorted((ROOT / "tests" / "spaces" / "broken_spaces").glob("*.yaml"))]
# All that a file can say, in few combinations.
SPACES += [
    b"""stages: [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]
fixed: {kernel: 5, linear_bottleneck: false, width: 1}
axes: {resolution: [96, 128], residual: [none, bottleneck], stages.*.n: [1, 2], stages.1.c: [32], dropout: [0.1]}
points: [{width: 1.3}, {stages.0.c: 8, dropout: 0}, {last_channels: 640, residual: expansion, classes: 7}]
constraints: {madds: "<= 1.5G", params: ["> 0.5K", "<= 3M"], peak_activation_bytes: "< 2.5 MiB", depth: ">= 3"}
sample: {size: 3, seed: 7}
recipe: {base: paper, images: 5000, lr: 1, batch: 32, name: mine}
seeds: [3, 1]
data: my photos
""",
    b"""axes:
  family: [mobilenet_v1, shufflenet_v1, nasnet_a]
  width: {from: 0.5, to: 1.5, step: 0.25}
points:
- {family: shufflenet_v1, groups: 8, resolution: 64}
recipe:
  base: short
  epochs: 2.5
  optimizer: adamw
  schedule: exponential
seeds: 2
""",
]
FILES = SPACES + BROKEN
MOST_COMBINATIONS, MOST_DESCRIBED = 20_000, 1000
SECONDS, MEMORY_BYTES = 20, 2 * 2**30  # of one file
CLASSES = 10
SHOWN = 10  # tracebacks

WORD = re.compile(rb"[A-Za-z_][\w.*]*|[-+]?[0-9][0-9.eE+-]*")
NUMBER = re.compile(rb"[-+]?[0-9][0-9.eE+-]*")
WORDS = sorted({word for file in BROKEN for word in WORD.findall(file)})
KNOWN = sorted({word for file in SPACES for word in WORD.findall(re.sub(rb"#.*", b"", file))})
VALUES = [b"no", b"~", b"", b"{}", b"[]", b"[[]]", b"{a: b}", b"''", b'"\\0"', b'"\\U0001F600"', b'"\\ud800"', b"! x"]
VALUES += [
    b".inf",
    b"-.inf",
    b".nan",
    b"1e5",
    b"1e400",
    b"1.0e+400",
    b"-0.0",
    b"-0",
    b"0x10",
    b"010",
    b"1_000",
    b"1:30",
    b"0o17",
    b".5",
    b"6.e7",
    b"1e-3",
    b"1e999",
    b"off",
]
VALUES += [
    b"2001-01-01",
    b"2001-01-01 10:00:00.123 +99:99",
    b"=",
    b"<<",
    b"!!python/name:os.system x",
    b"!!binary aGk=",
]
VALUES += [b"9" * n for n in (16, 17, 400, 5000)] + [
    b"0." + b"0" * 400 + b"1",
    b"1." + b"3" * 400,
    b"0.1e-300",
    b"5.0e-324",
]
VALUES += [
    b"1.0e+308",
    b"4.9e-324",
    b"99999999999999.9",
    b"{from: 1, to: 9, step: 2}",
    b"{from: 0.1, to: 1.0e+300, step: 1.0e-300}",
]
VALUES += [
    b"{from: 1.0e-320, to: 1.0e-318, step: 1.0e-320}",
    b"{from: 1, to: 100000, step: 1}",
    b"stages.*.n",
    b"stages.00.t",
]
VALUES += [
    b"stages.6.s",
    b"nasnet_a",
    b"shufflenet_v1",
    b"mobilenet_v1",
    b"expansion",
    b"true",
    b"'<= 1'",
    b"'>= 999999999999999G'",
]
VALUES += [
    "é".encode(),
    "²".encode(),
    "٣".encode(),
    "１".encode(),
    "\u2028".encode(),
    "\ufeff".encode(),
    "\U0001f600".encode(),
]
VALUES += [
    b"\xed\xa0\x80",
    b"\xff",
    b"\x00",
    b"\x1b[31m",
    b"\r",
    b"\x85",
    b"\xc2\x85",
    b"%s%n{}",
    b"a" * 10_000,
    b"- " * 50,
    b"? " * 30,
]
PIECES = [
    b"\t",
    b"\x00",
    b"\xff",
    b"\r",
    b": ",
    b"- ",
    b"? ",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"'",
    b"|\n",
    b">\n",
    b"#",
    b"&a ",
]
PIECES += [
    b"*a",
    b"!!x ",
    b"---\n",
    b"...\n",
    b"%YAML 1.1\n",
    b"%YAML 1.2\n---\n",
    b"%YAML 99999.3\n---\n",
    b"%TAG ! tag:x,2000:\n",
    b"<<: *a\n",
    b",",
    b"\\",
    b"\xe2\x80\xa8",
    b"@",
    b"`",
]


def mutate(draw: random.Random) -> bytes:
    """One file of the series."""
    content = draw.choice(draw.choice([SPACES, SPACES, BROKEN]))
    for _ in range(draw.choice([1, 1, 1, 2, 2, 3, 4])):
        content = draw.choice(MUTATIONS)(content, draw)
    return content


def _change_bytes(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content or b" ")
    for _ in range(draw.randint(1, 3)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _insert(content: bytes, draw: random.Random) -> bytes:
    at = draw.randint(0, len(content))
    piece = draw.choice(PIECES + VALUES) if draw.random() < 0.8 else draw.randbytes(draw.randint(1, 4))
    return content[:at] + piece + content[at:]


def _delete(content: bytes, draw: random.Random) -> bytes:
    at = draw.randint(0, len(content))
    return content[:at] + content[at + draw.choice([1, 1, 2, 5, 20, 100]) :]


def _change_lines(content: bytes, draw: random.Random) -> bytes:
    """Swap, double, drop, indent or borrow a line."""
    lines = content.splitlines(keepends=True) or [b"\n"]
    i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
    what = draw.randrange(6)
    if what == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif what == 1:
        lines.insert(j, lines[i])
    elif what == 2:
        del lines[i]
    elif what == 3:
        lines[i] = draw.choice([b" ", b"  ", b"\t", b"- "]) + lines[i]
    elif what == 4:
        lines[i] = lines[i].lstrip()
    else:
        lines.insert(i, draw.choice(draw.choice(FILES).splitlines(keepends=True) or [b"\n"]))
    return b"".join(lines)


def _change_word(content: bytes, draw: random.Random) -> bytes:
    """By a nasty value, or by a word that has its place in some file."""
    return _replace(WORD, content, draw, lambda old: draw.choice(draw.choice([VALUES, WORDS, KNOWN])))


def _change_number(content: bytes, draw: random.Random) -> bytes:
    def other(old: bytes) -> bytes:
        plain = [b"%d" % draw.randint(0, 300), b"%d" % draw.randint(0, 9), b"%.2f" % draw.uniform(0, 2)]
        odd = [b"-" + old, old + b"0", old + b".5", old + b"e9", old + b"000000", b"0." + old, b"9007199254740993"]
        return draw.choice(plain if draw.random() < 0.6 else odd)

    return _replace(NUMBER, content, draw, other)


def _nest(content: bytes, draw: random.Random) -> bytes:
    opened, closed = draw.choice([(b"[", b"]"), (b"{a: ", b"}"), (b"[", b""), (b"- ", b""), (b"? ", b"")])
    depth = draw.choice([1, 1, 2, 5, 19, 20, 21, 200, 5000])
    return _replace(WORD, content, draw, lambda old: opened * depth + old + closed * depth)


def _refer(content: bytes, draw: random.Random) -> bytes:
    """An anchor, and perhaps what refers to it."""
    content = _replace(WORD, content, draw, lambda old: b"&a " + old)
    return _replace(WORD, content, draw, lambda old: draw.choice([b"*a", b"*a : " + old, b"<<: *a", old]))


def _repeat_word(content: bytes, draw: random.Random) -> bytes:
    """Long lists: of one value, or of different numbers."""
    count = draw.choice([2, 10, 200, 3000])
    many = b", ".join(b"%d" % (i * draw.choice([1, 8])) for i in range(count))
    return _replace(WORD, content, draw, lambda old: many if draw.random() < 0.5 else b", ".join([old] * count))


def _replace(pattern: re.Pattern, content: bytes, draw: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    found = list(pattern.finditer(content))
    if not found:
        return content
    chosen = draw.choice(found)
    return content[: chosen.start()] + change(chosen[0]) + content[chosen.end() :]


MUTATIONS = [_change_bytes, _insert, _delete, _change_lines, _change_lines, _nest, _refer, _repeat_word]
MUTATIONS += [_change_word] * 4 + [_change_number] * 5


def check(path: Path) -> str:
    """What became of a file, in a word or two."""
    try:
        space = load_space(path)
    except SpaceError as error:
        assert error.mistakes and all(line.isprintable() and line.startswith(f"{path}:") for line in error.mistakes)
        return "no YAML" if "not valid YAML" in str(error) else "refused"
    check_recipe(space.recipe)
    assert space.seeds and (space.axes or space.points)
    if (space.sample.size if space.sample else space.grid_size) > MOST_COMBINATIONS:
        return "a space, too large to select here"
    return _check_networks(space)


def _check_networks(space: Space) -> str:
    try:
        networks = select_networks(space, CLASSES)
    except SweepError as error:
        assert str(error).isprintable()
        return "a space without a network"
    for at in (0, len(networks) - 1):
        costs = networks.costs.take([at])
        counted = count_cost(networks[at])
        assert (counted.madds, counted.params) == (costs.madds[0], costs.params[0]), f"counted twice: {counted}"
        trial_id(Trial(networks[at], space.recipe, DataRef("any", "0", CLASSES), space.seeds[0]))
    if len(networks) <= MOST_DESCRIBED:
        listing, lines = describe_landscape(networks)
        assert costs_text(listing, "\n".join(lines)).replace("\n", "").isprintable()
    return "a space"


def _too_slow(number: int, frame: object) -> None:
    raise TimeoutError(f"took more than {SECONDS} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int)
    options = parser.parse_args()
    if options.show is not None:
        sys.stdout.buffer.write(mutate(random.Random(f"{options.seed} {options.show}")))
        return
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _too_slow)
    counts: Counter[str] = Counter()
    start, slowest = time.monotonic(), (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.yaml"
        for number in range(options.files):
            path.write_bytes(mutate(random.Random(f"{options.seed} {number}")))
            began = time.monotonic()
            signal.alarm(SECONDS)
            try:
                counts[check(path)] += 1
            except BaseException as error:
                signal.alarm(0)
                if isinstance(error, KeyboardInterrupt):
                    raise
                counts["TRACEBACK"] += 1
                if counts["TRACEBACK"] <= SHOWN:
                    print(
                        f"seed {options.seed}, file {number}:\n{path.read_bytes()[:3000]!r}\n{traceback.format_exc()}"
                    )
            signal.alarm(0)
            slowest = max(slowest, (time.monotonic() - began, number))
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.files:,} mutated files, seed {options.seed}, {seconds:,.0f} s; slowest {slowest[0]:.1f} s")
    print(f"(file {slowest[1]}); peak memory {peak:,.0f} MiB")
    for word, count in counts.most_common():
        print(f"  {word:<36}{count:>8,}")
    print(f"tracebacks: {counts['TRACEBACK']}, aim 0: {'MISSED' if counts['TRACEBACK'] else 'met'}")
    sys.exit(1 if counts["TRACEBACK"] else 0)


if __name__ == "__main__":
    main()
