"""What inference keeps, against torchvision: proposals and detections.

Authority: torchvision's RegionProposalNetwork.filter_proposals and RoIHeads.postprocess_detections. Where ours differs
on purpose, a test states how.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.families.faster_rcnn.nn.proposer import Proposer
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.boxes import clip, decode
from pipeline.nn.postprocess import DetectedBoxes, DetectionRule, detect
from tests.layouts import one_level

pytestmark = pytest.mark.authority("torchvision")

SEEDS = st.integers(0, 2**31)
SIZE = (70, 100)
GRID = AnchorGrid(16, (0.5, 1.0, 2.0), (0.5, 2.0, 4.0), one_level(16))
ANCHORS = GRID([(4, 6)])
# Of torchvision's RoIHeads; ours drops boxes of no area only.
LEAST_SIDE = 1e-2


def draw_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filtered_by_torchvision(
    objectness: Tensor, deltas: Tensor, sizes: list[tuple[int, int]], rule: ProposalRule, least: float = 1e-3
) -> list[tuple[Tensor, Tensor]]:
    """Boxes and scores of torchvision's RegionProposalNetwork from (B, K) logits and (B, K, 4) deltas on ANCHORS."""
    pre_nms, post_nms = ({"training": 0, "testing": count} for count in (rule.pre_nms, rule.post_nms))
    rpn = RegionProposalNetwork(
        AnchorGenerator(), nn.Identity(), 0.7, 0.3, 256, 0.5, pre_nms, post_nms, rule.nms_iou, score_thresh=0.0
    ).eval()
    rpn.min_size = least
    boxes = rpn.box_coder.decode(deltas.reshape(-1, 4), [ANCHORS] * len(sizes)).reshape(len(sizes), -1, 4)
    return list(zip(*rpn.filter_proposals(boxes, objectness, sizes, [len(ANCHORS)]), strict=True))


def random_outputs(seed: int, images: int, logit_size: float, delta_size: float) -> tuple[Tensor, Tensor]:
    """(B, K) logits and (B, K, 4) deltas; large deltas reach the cut of the sizes and leave the image."""
    draw = draw_of(seed)
    objectness = torch.randn(images, len(ANCHORS), generator=draw) * logit_size
    return objectness, torch.randn(images, len(ANCHORS), 4, generator=draw) * delta_size


def assert_equal(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    """As many boxes and scores in the same order, equal but for the last bits of exp and sigmoid."""
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-6, atol=2e-5)


@given(
    seed=SEEDS,
    logit_size=st.sampled_from([0.01, 3.0, 200.0]),
    delta_size=st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    least=st.sampled_from([0.0, 1.0, 16.0]),
    scale=st.sampled_from([0.6, 1.0, 1.7]),
    nms_iou=st.sampled_from([0.3, 0.7, 1.0]),
    post_nms=st.sampled_from([1, 20, 1000]),
)
def test_proposals_are_those_of_region_proposal_network(
    seed: int, logit_size: float, delta_size: float, least: float, scale: float, nms_iou: float, post_nms: int
) -> None:
    """torchvision's RegionProposalNetwork with all candidates; logits of 200 saturate the probabilities to 1.

    Its least size is in resized pixels and at least 1e-3, ours in original ones, times the scale.
    """
    objectness, deltas = random_outputs(seed, 1, logit_size, delta_size)
    rule = ProposalRule(len(ANCHORS), nms_iou, post_nms, least)
    (theirs,) = filtered_by_torchvision(objectness, deltas, [SIZE], rule, max(least * scale, 1e-3))
    assert_equal(make_proposals(objectness[0], deltas[0], ANCHORS, SIZE, rule, (scale, scale)), theirs)
    everything = ProposalRule(-1, nms_iou, post_nms, least)
    assert_equal(make_proposals(objectness[0], deltas[0], ANCHORS, SIZE, everything, (scale, scale)), theirs)


@given(SEEDS, st.sampled_from([0.1, 1.0]), st.integers(1, 216), st.sampled_from([0.0, 12.0]))
def test_region_proposal_network_cuts_before_it_drops_the_small(
    seed: int, delta_size: float, pre_nms: int, least: float
) -> None:
    """torchvision's RegionProposalNetwork keeps the best `pre_nms` and then drops the small; ours the other way round.

    So theirs is ours without a cut on their best; ours with the cut goes on where theirs ends.
    """
    objectness, deltas = random_outputs(seed, 1, 1.0, delta_size)
    rule = ProposalRule(pre_nms, 0.7, 1000, least)
    (theirs,) = filtered_by_torchvision(objectness, deltas, [SIZE], rule, max(least, 1e-3))
    best = torch.argsort(objectness[0], descending=True, stable=True)[:pre_nms]
    on_best = make_proposals(objectness[0, best], deltas[0, best], ANCHORS[best], SIZE, rule)
    assert_equal(on_best, theirs)
    boxes, scores = make_proposals(objectness[0], deltas[0], ANCHORS, SIZE, rule)
    count = len(theirs[0])
    assert_equal((boxes[:count], scores[:count]), theirs)
    decoded = clip(decode(ANCHORS[best], deltas[0, best]), *SIZE)
    if bool((decoded[:, 2:] - decoded[:, :2] >= max(least, 1e-3)).all()):
        assert len(boxes) == count


def test_a_best_candidate_outside_the_image_costs_region_proposal_network_a_proposal_and_ours_none() -> None:
    """torchvision's RegionProposalNetwork with room for one candidate, whose box lies outside."""
    objectness, deltas = torch.zeros(1, len(ANCHORS)), torch.zeros(1, len(ANCHORS), 4)
    objectness[0, 0], objectness[0, 100], deltas[0, 0] = 9.0, 5.0, -20.0
    rule = ProposalRule(1, 0.7, 10, 0.0)
    (theirs,) = filtered_by_torchvision(objectness, deltas, [SIZE], rule)
    ours = make_proposals(objectness[0], deltas[0], ANCHORS, SIZE, rule)
    assert len(theirs[0]) == 0
    torch.testing.assert_close(ours[0], clip(ANCHORS[100:101], *SIZE))


class GivenOutputs(nn.Module):
    """In place of an RPN head: fixed outputs, whatever the maps."""

    def __init__(self, objectness: Tensor, deltas: Tensor) -> None:
        super().__init__()
        self.outputs = (objectness.reshape(-1, 4, 6, 9),), (deltas.reshape(-1, 4, 6, 9, 4),)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return self.outputs


@given(SEEDS, st.sampled_from([0.3, 1.0]))
def test_proposals_of_a_batch_are_those_of_region_proposal_network_in_each_images_own_size(
    seed: int, delta_size: float
) -> None:
    """torchvision's RegionProposalNetwork on two images of unequal size in one batch."""
    objectness, deltas = random_outputs(seed, 2, 3.0, delta_size)
    sizes, rule = [(64, 70), (40, 96)], ProposalRule(len(ANCHORS), 0.7, 50, 0.0)
    propose = Proposer(GivenOutputs(objectness, deltas), GRID, rule)  # type: ignore[arg-type]
    ours = propose((torch.zeros(2, 1, 4, 6),), sizes, [(1.0, 1.0)] * 2)
    for own, other in zip(ours, filtered_by_torchvision(objectness, deltas, sizes, rule), strict=True):
        assert_equal((own.boxes, own.scores), other)


def detections_of_torchvision(
    logits: Tensor, deltas: Tensor, rois: Tensor, rule: DetectionRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels of torchvision's RoIHeads from (R, C) logits and (R, C, 4) deltas."""
    heads = RoIHeads(
        None, None, None, 0.5, 0.5, 64, 0.25, (1.0, 1.0, 1.0, 1.0), rule.score_threshold, rule.nms_iou, rule.per_image
    )
    found = heads.postprocess_detections(logits, deltas.flatten(1), [rois], [SIZE])
    return found[0][0], found[1][0], found[2][0]


def assert_detections_equal(ours: DetectedBoxes, theirs: tuple[Tensor, Tensor, Tensor]) -> None:
    assert_equal((ours.boxes, ours.scores), theirs[:2])
    assert torch.equal(ours.labels, theirs[2])


def random_rois(draw: torch.Generator, count: int) -> Tensor:
    corner = torch.rand(count, 2, generator=draw) * torch.tensor([90.0, 60.0]) - 5
    return torch.cat([corner, corner + torch.rand(count, 2, generator=draw) * 60 + 1], dim=1)


@given(
    seed=SEEDS,
    count=st.integers(0, 40),
    classes=st.integers(2, 6),
    ties=st.booleans(),
    delta_size=st.sampled_from([0.0, 0.3, 2.0]),
    rule=st.builds(
        DetectionRule,
        st.sampled_from([0.0, 0.05, 0.5]),
        st.sampled_from([0.3, 0.5, 1.0]),
        st.sampled_from([1, 10, 1000]),
    ),
)
def test_detections_are_those_of_roi_heads(
    seed: int, count: int, classes: int, ties: bool, delta_size: float, rule: DetectionRule
) -> None:
    """torchvision's RoIHeads.postprocess_detections: scores, classes, clipping, NMS per class and the cut, ties too.

    Boxes narrower than 1e-2 px, which it drops and ours keeps, are left out here.
    """
    draw = draw_of(seed)
    rois, logits = random_rois(draw, count), torch.randn(count, classes, generator=draw) * 3
    if ties:
        logits = logits.round()
    deltas = torch.randn(count, classes, 4, generator=draw) * delta_size
    boxes = clip(decode(rois, deltas), *SIZE)
    sides = boxes[..., 2:] - boxes[..., :2]
    assume(not bool(((sides > 0) & (sides < LEAST_SIDE)).any()))
    assert_detections_equal(
        detect(logits, deltas, rois, SIZE, rule), detections_of_torchvision(logits, deltas, rois, rule)
    )


@pytest.mark.parametrize("seed", range(5))
def test_detections_are_those_of_roi_heads_from_a_thousand_boxes_on(seed: int) -> None:
    """torchvision's RoIHeads.postprocess_detections, whose batched_nms then goes class by class.

    Ours moves the classes apart in any number, which rounds coordinates to 1e-4 px in the last class here.
    """
    draw, rule = draw_of(seed), DetectionRule(0.0, 0.3, 100)
    rois, logits = random_rois(draw, 300), torch.randn(300, 6, generator=draw) * 3
    deltas = torch.randn(300, 6, 4, generator=draw) * 0.1
    theirs = detections_of_torchvision(logits, deltas, rois, rule)
    assert len(theirs[0]) == 100
    assert_detections_equal(detect(logits, deltas, rois, SIZE, rule), theirs)


@pytest.mark.parametrize(("side", "kept"), [(LEAST_SIDE / 2, False), (LEAST_SIDE * 2, True)])
def test_roi_heads_drops_boxes_narrower_than_a_hundredth_of_a_pixel_and_ours_does_not(side: float, kept: bool) -> None:
    """torchvision's RoIHeads.postprocess_detections removes boxes with a side below 1e-2 px."""
    rois, logits, deltas = torch.tensor([[0.0, 10.0, side, 30.0]]), torch.tensor([[0.0, 5.0]]), torch.zeros(1, 2, 4)
    rule = DetectionRule(0.05, 0.3, 100)
    assert len(detections_of_torchvision(logits, deltas, rois, rule)[0]) == kept
    assert len(detect(logits, deltas, rois, SIZE, rule).boxes) == 1
