"""The numbers of the source material and of the reference codes: anchors, IoUs, matching, NMS and shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchor_matching import match_anchors
from pipeline.nn.anchors import AnchorGrid, inside
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.boxes import pairwise_iou
from pipeline.nn.matching import BG, FG
from pipeline.nn.operators import nms, roi_pool
from pipeline.nn.sampling import sample_fg_bg
from pipeline.runtime.seeding import numpy_generator
from pipeline.runtime.torch_seeding import torch_generator
from tests.layouts import one_level

pytestmark = pytest.mark.authority("figures published with notes, notebooks and reference codes")

GRID = AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), one_level(16))

FIRST_LOCATION = [
    (-82.50966799, -37.254834, 98.50966799, 53.254834),
    (-173.01933598, -82.50966799, 189.01933598, 98.50966799),
    (-354.03867197, -173.01933598, 370.03867197, 189.01933598),
    (-56, -56, 72, 72),
    (-120, -120, 136, 136),
    (-248, -248, 264, 264),
    (-37.254834, -82.50966799, 53.254834, 98.50966799),
    (-82.50966799, -173.01933598, 98.50966799, 189.01933598),
    (-173.01933598, -354.03867197, 189.01933598, 370.03867197),
]

ZEBRAS = torch.tensor(
    [[223, 782, 623, 1074], [597, 695, 1038, 1050], [1088, 699, 1452, 1057], [1544, 771, 1914, 1063]],
    dtype=torch.float64,
)
ZEBRA_SCALE = torch.tensor([0.4, 0.6001500375, 0.4, 0.6001500375], dtype=torch.float64)
TRUNCATED_ZEBRAS = [[89, 469, 249, 644], [238, 417, 415, 630], [435, 419, 580, 634], [617, 462, 765, 637]]

TWO_BOXES = torch.tensor([[30.0, 20, 500, 400], [400, 300, 600, 500]])

NMS_BOXES = torch.tensor(
    [
        [100.0, 200, 350, 300],
        [100, 200, 400, 500],
        [100, 200, 300, 800],
        [1000, 100, 1150, 600],
        [1000, 100, 1200, 700],
    ]
)
NMS_SCORES = torch.tensor([0.6, 0.7, 0.9, 0.7, 0.8])


def vgg16_without_memory(ceil_pool: bool = False) -> Trunk:
    """A VGG16 trunk that knows its shapes alone."""
    with torch.device("meta"):
        return build_trunk("vgg16", frozen_stages=2, ceil_pool=ceil_pool)


@pytest.fixture(scope="module")
def inside_800() -> Tensor:
    """The anchors wholly inside an 800 x 800 image, exact."""
    anchors = GRID.exact([(50, 50)])
    return anchors[inside(anchors, 800, 800)]


def test_an_image_of_800_x_800_has_22500_anchors_of_which_8940_lie_inside() -> None:
    anchors = GRID(vgg16_without_memory().layout.sizes(800, 800))
    assert len(anchors) == 22_500
    assert int(inside(anchors, 800, 800).sum()) == 8_940


def test_first_location_has_the_nine_anchors_in_order() -> None:
    np.testing.assert_allclose(GRID.exact([(50, 50)])[:9].numpy(), FIRST_LOCATION, rtol=0, atol=5e-9)


def test_anchor_9_is_the_first_one_moved_right_because_rows_are_outer() -> None:
    expected = [-66.50966799, -37.254834, 114.50966799, 53.254834]
    np.testing.assert_allclose(GRID.exact([(50, 50)])[9].numpy(), expected, rtol=0, atol=5e-9)


@pytest.mark.parametrize(
    ("height", "width", "ceil_pool", "feature", "count"),
    [
        (600, 901, False, (37, 56), 18_648),
        (600, 800, False, (37, 50), 16_650),
        (600, 800, True, (38, 50), 17_100),
        (800, 800, False, (50, 50), 22_500),
        (800, 800, True, (50, 50), 22_500),
    ],
)
def test_number_of_anchors_follows_the_rounding_of_the_poolings(
    height: int, width: int, ceil_pool: bool, feature: tuple[int, int], count: int
) -> None:
    assert vgg16_without_memory(ceil_pool).layout.sizes(height, width) == (feature,)
    assert len(GRID([feature])) == count


def test_notes_image_of_901_x_600_has_6928_anchors_inside() -> None:
    assert int(inside(GRID([(37, 56)]), 600, 901).sum()) == 6_928


def test_scaled_zebra_boxes_truncate_to_the_notebooks_integers() -> None:
    assert (ZEBRAS * ZEBRA_SCALE).trunc().tolist() == TRUNCATED_ZEBRAS


def test_best_ious_of_truncated_zebra_boxes(inside_800: Tensor) -> None:
    best = pairwise_iou(torch.tensor(TRUNCATED_ZEBRAS, dtype=torch.float64), inside_800).amax(dim=1)
    np.testing.assert_allclose(best.numpy(), [0.58514285, 0.5752716, 0.5255493, 0.6325869], rtol=0, atol=1e-7)


def test_best_ious_of_float_zebra_boxes_are_those_of_plain_numpy_and_not_the_truncated_ones(inside_800: Tensor) -> None:
    boxes = ZEBRAS * ZEBRA_SCALE
    best = pairwise_iou(boxes, inside_800).amax(dim=1).numpy()
    b, a = boxes.numpy()[:, None], inside_800.numpy()[None]
    sides = np.clip(np.minimum(b[..., 2:], a[..., 2:]) - np.maximum(b[..., :2], a[..., :2]), 0, None)
    shared = sides.prod(-1)
    areas = (b[..., 2:] - b[..., :2]).prod(-1) + (a[..., 2:] - a[..., :2]).prod(-1)
    np.testing.assert_allclose(best, (shared / (areas - shared)).max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(best, [0.5843, 0.5735, 0.5237, 0.6317], rtol=0, atol=5e-5)


@pytest.mark.parametrize(("truncated", "background"), [(True, 7_469), (False, 7_472)])
def test_zebra_anchors_45_tie_for_best_and_are_the_only_positive_ones(
    inside_800: Tensor, truncated: bool, background: int
) -> None:
    boxes = torch.tensor(TRUNCATED_ZEBRAS, dtype=torch.float64) if truncated else ZEBRAS * ZEBRA_SCALE
    iou = pairwise_iou(boxes, inside_800).float()
    ties = (iou == iou.amax(dim=1, keepdim=True)).any(dim=0)
    labels = match_anchors(inside_800, boxes, 0.7, 0.3).labels
    assert int(ties.sum()) == 45
    assert torch.equal(labels == FG, ties)
    assert int((labels == BG).sum()) == background


def test_two_box_example_is_best_met_by_inside_anchors_2262_and_4096(inside_800: Tensor) -> None:
    iou = pairwise_iou(TWO_BOXES.double(), inside_800).float()
    best = iou.amax(dim=1)
    np.testing.assert_allclose(best.numpy(), [0.68130493, 0.61035156], rtol=0, atol=1e-7)
    assert [int(row.eq(value).nonzero()[0]) for row, value in zip(iou, best, strict=True)] == [2262, 4096]


def test_two_box_example_has_18_anchors_tied_for_best(inside_800: Tensor) -> None:
    assert int((match_anchors(inside_800, TWO_BOXES, 0.7, 0.3).labels == FG).sum()) == 18


def test_917_proposals_and_2_gt_boxes_make_919_candidates_of_which_128_are_sampled() -> None:
    corners = torch.from_numpy(numpy_generator(0, "notes").uniform(0, 500, (917, 2))).float()
    proposals = torch.cat([corners, corners + 60], dim=1)
    candidates = torch.cat([proposals, TWO_BOXES])
    assert len(candidates) == 919
    labels = match_proposals(candidates, TWO_BOXES, 0.5, 0.5, 0.0).labels
    fg, bg = (torch.nonzero(labels == kind).squeeze(1) for kind in (FG, BG))
    drawn_fg, drawn_bg = sample_fg_bg(fg, bg, 128, 0.25, torch_generator(0, "notes"))
    assert len(drawn_fg) + len(drawn_bg) == 128
    assert {917, 918} <= set(fg.tolist())


def _sources_nms() -> list[int]:
    """The source's rule: shared inclusive pixels over the area of the other box alone."""
    boxes = NMS_BOXES.double().numpy()
    left, kept = NMS_SCORES.argsort(descending=True, stable=True).tolist(), []
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    while left:
        first, *left = left
        kept.append(first)
        sides = np.minimum(boxes[first, 2:], boxes[left, 2:]) - np.maximum(boxes[first, :2], boxes[left, :2]) + 1
        shared = np.clip(sides, 0, None).prod(axis=1)
        left = [other for other, part in zip(left, shared / areas[left], strict=True) if part <= 0.3]
    return kept


def test_nms_by_the_sources_rule_keeps_the_third_and_the_fifth_box() -> None:
    assert _sources_nms() == [2, 4]


def test_nms_by_true_iou_also_keeps_the_first_box_whose_iou_with_the_third_is_only_16_percent() -> None:
    assert nms(NMS_BOXES, NMS_SCORES, 0.3).tolist() == [2, 4, 0]
    iou = pairwise_iou(NMS_BOXES, NMS_BOXES)
    assert float(iou[0, 2]) == pytest.approx(0.16)
    assert float(iou[1, 2]) == pytest.approx(0.4)
    assert float(iou[3, 4]) == pytest.approx(0.625)


def test_vgg16_trunk_without_its_last_pool_has_30_layers_and_these_shapes() -> None:
    trunk = vgg16_without_memory()
    shapes = [tuple(trunk(torch.empty(1, 3, *size, device="meta"))[0].shape) for size in ((800, 800), (600, 901))]
    assert len(trunk.layers) == 30
    assert shapes == [(1, 512, 50, 50), (1, 512, 37, 56)]
    assert [trunk.layout.sizes(800, 800), trunk.layout.sizes(600, 901)] == [((50, 50),), ((37, 56),)]


def test_vgg16_trunk_of_a_small_image_gives_512_maps_of_a_sixteenth() -> None:
    trunk = build_trunk("vgg16", frozen_stages=2, ceil_pool=False)
    assert trunk(torch.zeros(1, 3, 40, 64))[0].shape == (1, 512, 2, 4)


def test_rpn_has_18_scores_and_36_deltas_a_location() -> None:
    with torch.device("meta"):
        rpn = RPNHead(512, 512, GRID.per_location)
    assert rpn.conv.weight.shape == (512, 512, 3, 3)
    assert rpn.cls_score.weight.shape == (18, 512, 1, 1)
    assert rpn.bbox_pred.weight.shape == (36, 512, 1, 1)


def test_128_rois_pool_to_25088_features_each() -> None:
    corners = torch.arange(128.0)[:, None]
    rois = torch.cat([torch.zeros(128, 1), corners, corners, corners + 200, corners + 100], dim=1)
    pooled = roi_pool(torch.zeros(1, 512, 37, 56), rois, 1 / 16, 7)
    assert pooled.shape == (128, 512, 7, 7)
    assert pooled.flatten(1).shape[1] == 25_088


def test_voc_head_has_21_scores_and_84_deltas() -> None:
    with torch.device("meta"):
        head = FcHead(one_level(16, 512), 21, Pooling("roi_pool", 7), hidden=4096, dropout=0.5)
    assert head.fc6.in_features == 25_088
    assert head.cls_score.out_features == 21
    assert head.bbox_pred.out_features == 84
