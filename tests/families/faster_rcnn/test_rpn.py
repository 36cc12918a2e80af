"""Proposals against a plain reference, and the head's outputs in the order of the anchors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, candidate_proposals, make_proposals
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.nn.anchors import AnchorGrid
from tests.layouts import one_level

RULE = ProposalRule(pre_nms=-1, nms_iou=0.7, post_nms=300, min_size=16)
SIZE = (200, 300)
Box = tuple[float, float, float, float]


def random_outputs(seed: int, count: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Float64 objectness, deltas and crowded anchors, some of which stick out of the image."""
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draw, dtype=torch.float64) * torch.tensor([260, 160]) - 30
    side = torch.rand(count, 2, generator=draw, dtype=torch.float64) * 100 + 8
    deltas = torch.randn(count, 4, generator=draw, dtype=torch.float64) * 0.2
    return torch.randn(count, generator=draw, dtype=torch.float64), deltas, torch.cat([corner, corner + side], dim=1)


def _decoded(anchor: list[float], delta: list[float]) -> Box:
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    x, y = anchor[0] + width / 2 + delta[0] * width, anchor[1] + height / 2 + delta[1] * height
    half_width, half_height = width * math.exp(delta[2]) / 2, height * math.exp(delta[3]) / 2
    left, top, right, bottom = x - half_width, y - half_height, x + half_width, y + half_height
    height_limit, width_limit = SIZE
    return max(left, 0), max(top, 0), min(right, width_limit), min(bottom, height_limit)


def _iou(a: Box, b: Box) -> float:
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def reference(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    rule: ProposalRule,
    scale: tuple[float, float],
    counts: Sequence[int] = (),
) -> tuple[list[Box], list[float]]:
    boxes = [_decoded(anchor, delta) for anchor, delta in zip(anchors.tolist(), deltas.tolist(), strict=True)]
    scored, kept = list(zip(objectness.tolist(), boxes, strict=True)), []
    for last, count in zip(itertools.accumulate(counts or [len(boxes)]), counts or [len(boxes)], strict=True):
        left = sorted(scored[last - count : last], key=lambda pair: -pair[0])
        if rule.cut_first and rule.pre_nms >= 0:
            left = left[: rule.pre_nms]
        left = [
            (score, box)
            for score, box in left
            if box[2] - box[0] >= rule.min_size * scale[0] and box[3] - box[1] >= rule.min_size * scale[1]
        ]
        of_level: list[tuple[float, Box]] = []
        for score, box in left if rule.pre_nms < 0 else left[: rule.pre_nms]:
            if all(_iou(box, other) <= rule.nms_iou for _, other in of_level):
                of_level.append((score, box))
        kept += of_level
    kept = sorted(kept, key=lambda pair: -pair[0])[: rule.post_nms]
    return [box for _, box in kept], [1 / (1 + math.exp(-score)) for score, _ in kept]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("rule", "scale"),
    [
        (RULE, (1.0, 1.0)),
        (replace(RULE, nms_iou=0.3), (1.0, 1.0)),
        (replace(RULE, pre_nms=20, nms_iou=0.5, post_nms=7), (2.0, 1.5)),
        (replace(RULE, min_size=30, post_nms=10), (0.5, 2.0)),
        (replace(RULE, pre_nms=10, min_size=40, cut_first=True), (1.0, 1.0)),
    ],
)
@pytest.mark.parametrize("counts", [None, (30, 1, 0, 29), (5, 25, 20, 9, 1)])
def test_proposals_equal_a_plain_reference(
    seed: int, rule: ProposalRule, scale: tuple[float, float], counts: tuple[int, ...] | None
) -> None:
    objectness, deltas, anchors = random_outputs(seed)
    expected_boxes, expected_scores = reference(objectness, deltas, anchors, rule, scale, counts or ())
    boxes, scores = make_proposals(objectness, deltas, anchors, SIZE, rule, scale, counts)
    torch.testing.assert_close(boxes, torch.tensor(expected_boxes, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(scores, torch.tensor(expected_scores, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "rule", [RULE, replace(RULE, pre_nms=20, post_nms=7), replace(RULE, min_size=60), replace(RULE, min_size=1e4)]
)
@pytest.mark.parametrize("cut_first", [False, True])
@pytest.mark.parametrize("counts", [None, (30, 1, 0, 29)])
def test_candidates_that_are_proposals_are_those_of_make_proposals_and_come_first(
    seed: int, rule: ProposalRule, cut_first: bool, counts: tuple[int, ...] | None
) -> None:
    (objectness, deltas, anchors), rule = random_outputs(seed), replace(rule, cut_first=cut_first)
    objectness[::7] = math.nan
    boxes, is_proposal = candidate_proposals(objectness, deltas, anchors, SIZE, rule, (1.5, 1.0), counts)
    count = int(is_proposal.sum())
    assert len(boxes) <= rule.post_nms and bool(is_proposal[:count].all())
    assert torch.equal(boxes[:count], make_proposals(objectness, deltas, anchors, SIZE, rule, (1.5, 1.0), counts)[0])
    assert (count == 0) == (rule.min_size == 1e4)


def apart(*sides: tuple[float, float]) -> Tensor:
    """Boxes of these widths and heights that do not meet."""
    return torch.tensor([[40.0 * i, 0, 40 * i + width, height] for i, (width, height) in enumerate(sides)])


def propose(objectness: list[float], anchors: Tensor, rule: ProposalRule = RULE, **more: tuple[float, float]) -> Tensor:
    return make_proposals(torch.tensor(objectness).float(), torch.zeros_like(anchors), anchors, SIZE, rule, **more)[0]


def test_minus_one_before_nms_means_all_and_a_number_the_best_so_many() -> None:
    anchors = apart(*[(20, 20)] * 6)
    objectness = [0.0, 5, 1, 4, 2, 3]
    assert torch.equal(propose(objectness, anchors), anchors[[1, 3, 5, 4, 2, 0]])
    assert torch.equal(propose(objectness, anchors, replace(RULE, pre_nms=2)), anchors[[1, 3]])


def test_cut_before_nms_counts_only_boxes_that_are_large_enough() -> None:
    anchors = apart((8, 8), (20, 20), (20, 20))
    assert torch.equal(propose([3, 2, 1], anchors, replace(RULE, pre_nms=2)), anchors[1:])


def test_with_cut_first_the_best_are_taken_before_the_small_are_dropped() -> None:
    anchors = apart((8, 8), (20, 20), (20, 20))
    assert torch.equal(propose([3, 2, 1], anchors, replace(RULE, pre_nms=2, cut_first=True)), anchors[1:2])
    anchors = apart(*[(20, 20)] * 3)
    scores = [math.nan, 1.0, math.inf]
    assert torch.equal(propose(scores, anchors, replace(RULE, pre_nms=1, cut_first=True)), anchors[1:2])


def test_cut_before_nms_and_nms_are_of_each_level_and_the_last_cut_is_of_all() -> None:
    anchors = torch.cat([apart((20, 20), (20, 20), (20, 20)), apart((20, 20), (20, 20))])

    def of_levels(rule: ProposalRule, *counts: int) -> list[int]:
        scores = torch.tensor([5.0, 1, 2, 4, 3])
        _, found = make_proposals(scores, torch.zeros_like(anchors), anchors, SIZE, rule, counts=counts)
        return [scores.tolist().index(round(math.log(own / (1 - own)))) for own in found.tolist()]

    assert of_levels(RULE, 5) == [0, 4, 2]
    assert of_levels(RULE, 3, 2) == [0, 3, 4, 2, 1]
    assert of_levels(replace(RULE, pre_nms=1), 3, 2) == [0, 3]
    assert of_levels(replace(RULE, post_nms=3), 3, 2) == [0, 3, 4]


@pytest.mark.parametrize("seed", range(3))
def test_nms_of_a_level_does_not_depend_on_what_lies_on_others(seed: int) -> None:
    """Pairs whose IoU is one float32 step around the threshold, beside levels of any coordinates."""
    draw, rule = torch.Generator().manual_seed(seed), ProposalRule(-1, 0.7, 10_000, 0.0)
    left = torch.rand(400, 2, generator=draw) * 3000
    anchors = torch.cat([left, left + torch.rand(400, 2, generator=draw) * 3 + 5], dim=1)
    shared = anchors[:, 2:3] - anchors[:, :1]
    moved = anchors + torch.cat([shared, shared * 0, shared, shared * 0], dim=1) * (0.3 / 1.7)
    pairs = torch.stack([anchors, moved], dim=1).reshape(-1, 4)
    scores = torch.arange(len(pairs), 0.0, -1)
    (alone, _), far = make_proposals(scores, pairs * 0, pairs, (4000, 4000), rule), torch.tensor([[0.0, 0, 4000, 3999]])
    together = torch.cat([far, pairs, far])
    objectness = torch.cat([torch.tensor([1e4]), scores, torch.tensor([1e5])])
    counts = (1, len(pairs), 1)
    boxes, _ = make_proposals(objectness, together * 0, together, (4000, 4000), rule, counts=counts)
    assert 400 < len(alone) < 800
    assert torch.equal(boxes[2:], alone)


def test_least_size_is_in_pixels_of_the_original_image_on_each_axis() -> None:
    anchors = apart((32, 8), (31.9, 8), (32, 7.9))
    assert torch.equal(propose([3, 2, 1], anchors, scale=(2.0, 0.5)), anchors[:1])
    assert len(propose([3, 2, 1], anchors, scale=(0.5, 0.25))) == 3


def test_boxes_clipped_to_nothing_are_dropped_whatever_the_least_size() -> None:
    anchors = torch.tensor([[310.0, 10, 340, 40], [10, -50, 40, -20], [10, 10, 40, 40]])
    assert torch.equal(propose([3, 2, 1], anchors, replace(RULE, min_size=0)), anchors[2:])


def test_equal_scores_keep_the_order_of_the_anchors_also_in_nms() -> None:
    first, shifted = torch.tensor([[10.0, 10, 110, 110]]), torch.tensor([[12.0, 10, 112, 110]])
    assert torch.equal(propose([1.0, 1.0], torch.cat([first, shifted])), first)
    assert torch.equal(propose([1.0, 1.0], torch.cat([shifted, first])), shifted)
    alike = apart(*[(20, 20)] * 7)
    assert torch.equal(propose([0.0] * 7, alike), alike)


def test_scores_whose_probabilities_saturate_are_still_ranked() -> None:
    anchors = apart(*[(20, 20)] * 3)
    assert torch.equal(propose([50.0, 200, 100], anchors), anchors[[1, 2, 0]])


def test_scores_that_are_not_finite_make_no_proposals() -> None:
    anchors = apart(*[(20, 20)] * 4)
    assert torch.equal(propose([math.nan, 1, math.inf, -math.inf], anchors), anchors[1:2])


def test_no_anchor_large_enough_gives_no_proposals() -> None:
    boxes, scores = make_proposals(torch.zeros(2), torch.zeros(2, 4), apart((4, 4), (5, 5)), SIZE, RULE)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_top_proposals_are_the_first_of_a_longer_list() -> None:
    outputs = random_outputs(seed=9, count=400)
    long, long_scores = make_proposals(*outputs, SIZE, replace(RULE, post_nms=2000))
    short, short_scores = make_proposals(*outputs, SIZE, replace(RULE, post_nms=30))
    assert len(long) > len(short) == 30
    assert torch.equal(short, long[:30])
    torch.testing.assert_close(short_scores, long_scores[:30])


def test_head_outputs_stand_in_the_order_of_the_anchors_with_bg_scores_before_fg_scores() -> None:
    """The hidden map holds each location's number n; channel weights then tell which channel came out where."""
    grid = AnchorGrid(16, (0.5, 2.0), (2.0, 4.0, 8.0), one_level(16))
    height, width, per_location = 3, 4, grid.per_location
    head = RPNHead(1, 1, per_location)
    with torch.no_grad():
        for weight in head.parameters():
            weight.zero_()
        head.conv.weight[0, 0, 1, 1] = 1
        head.cls_score.weight[:per_location] = 0.25
        head.cls_score.weight[per_location:, 0, 0, 0] = torch.arange(1.0, per_location + 1)
        head.bbox_pred.bias.copy_(torch.arange(4.0 * per_location))
        head.bbox_pred.weight.fill_(100)
        number = torch.arange(1.0, height * width + 1)
        (objectness,), (deltas,) = head([number.reshape(1, 1, height, width)])
    assert objectness.shape == (1, height, width, per_location)
    assert deltas.shape == (1, height, width, per_location, 4)
    anchors = grid([(height, width)])
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    own_number = (centres[:, 1] // 16) * width + centres[:, 0] // 16 + 1
    own_anchor = torch.arange(len(anchors)) % per_location
    torch.testing.assert_close(objectness.reshape(-1), own_number * (own_anchor + 0.75))
    expected = own_number[:, None] * 100 + own_anchor[:, None] * 4 + torch.arange(4)
    torch.testing.assert_close(deltas.reshape(-1, 4), expected)


def test_hidden_layer_is_rectified() -> None:
    head = RPNHead(1, 1, 1)
    with torch.no_grad():
        head.conv.weight.fill_(1)
        for bias in (head.conv.bias, head.bbox_pred.bias):
            bias.zero_()
        assert not head([-torch.ones(1, 1, 2, 2)])[1][0].any()


def test_a_deeper_head_has_further_rectified_convolutions_of_its_own() -> None:
    deep = RPNHead(5, 7, 2, depth=3)
    deep.initialise(torch.Generator().manual_seed(0))
    assert list(RPNHead(5, 7, 2).state_dict()) == [name for name in deep.state_dict() if not name.startswith("more.")]
    assert {name: tuple(value.shape) for name, value in deep.state_dict().items() if name.startswith("more.")} == {
        "more.0.weight": (7, 7, 3, 3),
        "more.0.bias": (7,),
        "more.1.weight": (7, 7, 3, 3),
        "more.1.bias": (7,),
    }
    assert [0.008 < float(layer.weight.detach().std()) < 0.012 for layer in deep.convolutions] == [True] * 3
    hidden = torch.randn(1, 5, 4, 6, generator=torch.Generator().manual_seed(1))
    ((_,), (deltas,)) = deep([hidden])
    for layer in (deep.conv, *deep.more):
        hidden = torch.relu(layer(hidden))
    expected = deep.bbox_pred(hidden).permute(0, 2, 3, 1).unflatten(3, (-1, 4))
    torch.testing.assert_close(deltas, expected)


def test_fresh_weights_are_normal_with_std_001_and_depend_on_their_generator_alone() -> None:
    heads = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        head = RPNHead(64, 64, 9)
        head.initialise(torch.Generator().manual_seed(3))
        heads.append(head.state_dict())
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    for name, value in heads[0].items():
        assert float(value.std() if name.endswith("weight") else value.abs().max()) == pytest.approx(
            0.01 if name.endswith("weight") else 0, rel=0.1
        )
