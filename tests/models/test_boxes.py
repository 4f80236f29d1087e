"""Boxes, their codes and what is kept of them: by hand, and against slow code in plain Python."""

from dataclasses import replace

import pytest
import torch

from mnv2_sweep.models.boxes import (
    decode_boxes,
    decode_cells,
    encode_boxes,
    encode_cells,
    find_areas,
    find_overlaps,
    to_centres,
    to_corners,
)
from mnv2_sweep.models.build import build_model
from mnv2_sweep.models.detect import (
    BoxDecoder,
    Suppression,
    anchor_tensor,
    find_suppression,
    has_softmax,
    keep_greedily,
    read_outputs,
    suppress,
)
from mnv2_sweep.nets.arch import ArchSpec

SSDLITE = ArchSpec(width=0.35, resolution=64, classes=2, head="ssdlite")
VGG = ArchSpec(family="vgg16", width=0.1, head="ssd", resolution=64, classes=2)
YOLO = ArchSpec(family="darknet19", width=0.1, head="yolov2", resolution=64, classes=2)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Corners within the image."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(*shape, 2, 2, generator=generator)
    return torch.cat([ends.amin(-2), ends.amax(-2)], -1)


def slow_overlap(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0, width) * max(0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union else 0.0


def test_overlaps_are_those_of_slow_code():
    first, second = draw(3, 5), draw(3, 7, seed=1)
    found = find_overlaps(first, second)
    assert found.shape == (3, 5, 7)
    for b, i, j in torch.cartesian_prod(torch.arange(3), torch.arange(5), torch.arange(7)).tolist():
        assert found[b, i, j].item() == pytest.approx(
            slow_overlap(first[b, i].tolist(), second[b, j].tolist()), abs=1e-6
        )


def test_overlaps_by_hand():
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5], [0.5, 0.5, 1, 1], [0.2, 0.2, 0.2, 0.2]])
    assert find_overlaps(boxes, boxes)[0].tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert find_overlaps(boxes[3:], boxes[3:]).item() == 0  # no area, and no division by it
    assert find_areas(torch.tensor([0.5, 0.5, 0.2, 0.9])).item() == 0


def test_the_code_by_hand():
    """An anchor of 0.2 x 0.4; the box lies half its width to the right, is e times as wide and as high as it."""
    anchor, box = torch.tensor([0.5, 0.5, 0.2, 0.4]), torch.tensor([0.6, 0.5, 0.2 * torch.e, 0.4])
    code = encode_boxes(box, anchor)
    assert code.tolist() == pytest.approx([0.5 / 0.1, 0, 1 / 0.2, 0], abs=1e-5)
    assert decode_boxes(code, anchor).tolist() == pytest.approx(box.tolist())


def test_codes_come_back():
    boxes, anchors = to_centres(draw(2, 50)), to_centres(draw(2, 50, seed=1)) + torch.tensor([0, 0, 0.05, 0.05])
    assert torch.allclose(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, atol=1e-5)
    assert torch.allclose(to_centres(to_corners(boxes)), boxes, atol=1e-6)
    places = torch.tensor([0.1, 0.2])
    code = encode_cells(boxes, anchors, places)
    raw = torch.cat([code[..., :2].clamp(1e-4, 1 - 1e-4).logit(), code[..., 2:]], -1)
    inside = ((code[..., :2] > 1e-3) & (code[..., :2] < 1 - 1e-3)).all(-1)
    assert inside.any() and torch.allclose(decode_cells(raw, anchors, places)[inside], boxes[inside], atol=1e-4)


def test_no_code_makes_a_box_that_is_no_number():
    wild = torch.tensor([[1e4, -1e4, 1e6, 1e6], [0, 0, -1e6, -1e6]])
    anchors = torch.full((2, 4), 0.5)
    assert decode_boxes(wild, anchors).isfinite().all() and decode_cells(wild, anchors, torch.ones(2)).isfinite().all()
    flat = torch.tensor([[0.5, 0.5, 0, 0]])
    assert encode_boxes(flat, anchors[:1]).isfinite().all()


# ---------------------------------------------------------------- what a network says


@pytest.mark.parametrize("arch", [SSDLITE, VGG, YOLO], ids=["ssdlite", "vgg16", "yolov2"])
def test_a_networks_outputs_are_one_row_an_anchor(arch):
    outputs = build_model(arch).eval()(torch.zeros(2, 3, 64, 64))
    raw = read_outputs(outputs, 2)
    assert raw.boxes.shape == (2, len(anchor_tensor(arch)), 4) and raw.scores.shape == (*raw.boxes.shape[:2], 3)
    boxes, scores = BoxDecoder(arch)(outputs)
    assert boxes.shape == raw.boxes.shape and scores.shape == (*raw.boxes.shape[:2], 2)
    assert (0 <= boxes).all() and (boxes <= 1).all() and (0 <= scores).all() and (scores <= 1).all()


def test_each_channel_belongs_to_its_anchor():
    """Channel 4 a + k of the boxes is number k of anchor a, at the place where it is; 3 a + k of the scores class k."""
    anchors, maps = anchor_tensor(SSDLITE), []
    sizes, each = (4, 2, 1, 1, 1, 1), (3, 6, 6, 6, 6, 6)
    for size, count in zip(sizes, each, strict=True):
        maps += [torch.zeros(1, 4 * count, size, size), torch.full((1, 3 * count, size, size), -20.0)]
    maps[2][0, 4 * 5 + 2, 1, 0] = 5 * torch.log(torch.tensor(0.5))  # the last anchor of a place of the second map
    maps[3][0, 3 * 5 + 2, 1, 0] = 3.0
    boxes, scores = BoxDecoder(SSDLITE)(maps)
    at = 4 * 4 * 3 + 2 * 6 + 5  # the second row's first place
    assert scores[0, :, 1].argmax() == at and scores[0, at].tolist() == pytest.approx([0, 0.9526], abs=1e-4)
    x, y, width, height = anchors[at].tolist()
    assert (x, y) == (0.25, 0.75)
    wanted = [max(0, x - width / 4), y - height / 2, x + width / 4, min(1, y + height / 2)]
    assert boxes[0, at].tolist() == pytest.approx(wanted)


def test_scores_by_hand():
    assert [has_softmax(arch) for arch in (SSDLITE, VGG, YOLO)] == [False, True, True]
    outputs = [torch.zeros_like(output) for output in build_model(VGG).eval()(torch.zeros(1, 3, 64, 64))]
    assert BoxDecoder(VGG)(outputs)[1].unique().tolist() == pytest.approx([1 / 3])
    output = torch.zeros(1, 35, 2, 2)
    output[0, 4], output[0, 5] = 1.0, 2.0  # of the first anchor the object and the first class
    said = BoxDecoder(YOLO)(output)[1][0, 0]
    object_, first = torch.tensor(1.0).sigmoid(), torch.tensor([2.0, 0]).softmax(0)
    assert torch.allclose(said, object_ * first)


def test_yolo_boxes_by_hand():
    output = torch.zeros(1, 35, 2, 2)
    output[0, 7 * 1 + 2, 1, 0] = torch.log(torch.tensor(0.1))
    boxes, _ = BoxDecoder(YOLO)(output)
    x, y, width, height = anchor_tensor(YOLO)[2 * 5 + 1].tolist()  # the second row's first place, the second anchor
    assert (x, y) == (0.25, 0.75)
    assert boxes[0, 11].tolist() == pytest.approx([x - width / 20, max(0, y - height / 2), x + width / 20, 1], abs=1e-6)


# ---------------------------------------------------------------- which boxes are kept


def slow_suppress(boxes: list, scores: list, rule: Suppression) -> list[tuple[float, int, int]]:
    """(score, class, anchor) of what is kept of an image, one after the other."""
    kept = []
    for label in range(len(scores[0])):
        order = sorted(range(len(boxes)), key=lambda at: -scores[at][label])[: rule.candidates]
        own: list[int] = []
        for at in (at for at in order if scores[at][label] > rule.least):
            if all(slow_overlap(boxes[at], boxes[one]) <= rule.overlap for one in own) and len(own) < rule.each:
                own.append(at)
        kept += [(scores[at][label], label, at) for at in own]
    return sorted(kept, key=lambda one: -one[0])[: rule.most]


@pytest.mark.parametrize(
    "rule",
    [Suppression(0.3, 100, 100), Suppression(0.5, 4, 9, least=0.2), Suppression(0.1, 5, 100, candidates=10)],
    ids=["all", "few", "candidates"],
)
def test_suppression_is_that_of_slow_code(rule):
    boxes, scores = draw(3, 40), torch.rand(3, 40, 3, generator=torch.Generator().manual_seed(2))
    found = suppress(boxes, scores, rule)
    for image in range(3):
        slow = slow_suppress(boxes[image].tolist(), scores[image].tolist(), rule)
        count = int(found.counts[image])
        assert count == len(slow) > 3
        assert found.scores[image, :count].tolist() == pytest.approx([score for score, _, _ in slow])
        assert found.labels[image, :count].tolist() == [label for _, label, _ in slow]
        assert torch.equal(found.boxes[image, :count], boxes[image, [at for _, _, at in slow]])
        assert found.boxes.shape == (3, rule.most, 4) and not found.scores[image, count:].any()


def test_suppression_by_hand():
    """The second is removed by the first, so it does not remove the third; classes leave each other alone."""
    boxes = torch.tensor([[[0, 0, 0.4, 0.4], [0.1, 0, 0.5, 0.4], [0.2, 0, 0.6, 0.4]]])
    scores = torch.tensor([[[0.9, 0.1], [0.8, 0], [0.7, 0]]])
    found = suppress(boxes, scores, Suppression(0.5, 10, 5))
    assert found.counts.tolist() == [3] and found.labels.tolist() == [[0, 0, 1, 0, 0]]
    assert found.scores[0].tolist() == pytest.approx([0.9, 0.7, 0.1, 0, 0])


def test_images_are_taken_in_parts_that_fit_in_memory(monkeypatch):
    boxes, scores = draw(5, 30), torch.rand(5, 30, 2, generator=torch.Generator().manual_seed(3))
    whole = suppress(boxes, scores, Suppression(0.3, 10, 10))
    monkeypatch.setattr("mnv2_sweep.models.detect.MOST_PAIRS", 1)
    assert all(map(torch.equal, suppress(boxes, scores, Suppression(0.3, 10, 10)), whole))


def test_nothing_above_the_least_score_is_nothing():
    found = suppress(draw(2, 5), torch.zeros(2, 5, 3), Suppression(0.5, 10, 10))
    assert found.counts.tolist() == [0, 0] and not found.boxes.any()


def test_a_long_chain_is_decided_to_its_end():
    """Each removes the next: every second one is kept, in as many rounds as there are."""
    removes = torch.diag(torch.ones(19, dtype=torch.bool), 1)
    assert keep_greedily(torch.ones(20, dtype=torch.bool), removes).tolist() == [True, False] * 10


def test_each_source_has_its_rule():
    assert find_suppression(SSDLITE).overlap == find_suppression(replace(SSDLITE, head="ssd")).overlap == 0.6
    assert find_suppression(VGG)[:4] == (0.45, 400, 200, 400) and find_suppression(YOLO).least == 0.005
