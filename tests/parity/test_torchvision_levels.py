"""An RPN over five levels, of strides 4 to 64, against torchvision.

Authority: torchvision's RegionProposalNetwork and AnchorGenerator, on images padded to multiples of 32.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, candidate_proposals, make_proposals, of_image
from pipeline.nn.anchors import AnchorGrid
from tests.layouts import PYRAMID

pytestmark = pytest.mark.authority("torchvision")

RATIOS = (0.5, 1.0, 2.0)


def draw_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rpn_of_torchvision(pre_nms: int = 1000, post_nms: int = 1000) -> RegionProposalNetwork:
    """torchvision's RPN with the settings of its Faster R-CNN, of which functions of given tensors are used."""
    counts = [{"training": count, "testing": count} for count in (pre_nms, post_nms)]
    return RegionProposalNetwork(AnchorGenerator(), nn.Identity(), 0.7, 0.3, 256, 0.5, *counts, 0.7).eval()


def random_levels(draw: torch.Generator, images: int, height: int, width: int) -> tuple[list[Tensor], list[Tensor]]:
    """(B, Fh, Fw, 3) logits and (B, Fh, Fw, 3, 4) deltas of each level; some boxes leave the image. No two logits of an
    image have the same probability in float32, which torchvision ranks by."""
    shapes = [(images, *cells, len(RATIOS)) for cells in PYRAMID.sizes(height, width)]
    counts = [own[1] * own[2] * own[3] for own in shapes]
    rows = [torch.linspace(-4, 4, sum(counts))[torch.randperm(sum(counts), generator=draw)] for _ in range(images)]
    levels = torch.stack(rows).split(counts, dim=1)
    logits = [own.reshape(shape) for own, shape in zip(levels, shapes, strict=True)]
    return logits, [torch.randn(*shape, 4, generator=draw) * torch.tensor([1, 1, 0.5, 0.5]) for shape in shapes]


@pytest.mark.parametrize(
    ("size", "pre_nms", "post_nms", "least"),
    [
        ((256, 320), 1000, 1000, 0.0),
        ((256, 320), 1000, 50, 12.0),
        ((480, 352), 2000, 3000, 0.0),
        ((800, 416), 700, 1000, 4.0),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_proposals_of_five_levels_are_those_of_region_proposal_network(
    size: tuple[int, int], pre_nms: int, post_nms: int, least: float, seed: int
) -> None:
    """torchvision's RegionProposalNetwork.filter_proposals with the same outputs of a head, of a batch of two images.

    More than 1,000 boxes are left, of which its batched_nms goes level by level, in float32; of fewer it moves the
    levels apart, which rounds coordinates.
    """
    logits, deltas = random_levels(draw_of(seed), 2, *size)
    cells, sizes = PYRAMID.sizes(*size), [size, (size[0] - 20, size[1] - 32)]
    anchors, rule = AnchorGrid(32, RATIOS, (1.0,), PYRAMID)(cells), ProposalRule(pre_nms, 0.7, post_nms, least, True)
    outputs = [of_image(tuple(logits), tuple(deltas), image, cells) for image in range(2)]
    rpn = rpn_of_torchvision(pre_nms, post_nms)
    rpn.min_size = max(least, 1e-3)
    boxes = torch.stack([rpn.box_coder.decode(own.deltas, [anchors]).squeeze(1) for own in outputs])
    objectness = torch.stack([own.objectness for own in outputs])
    theirs = zip(*rpn.filter_proposals(boxes, objectness, sizes, list(outputs[0].counts)), strict=True)
    for own, own_size, (their_boxes, their_scores) in zip(outputs, sizes, theirs, strict=True):
        found = make_proposals(own.objectness, own.deltas, anchors, own_size, rule, counts=own.counts)
        assert len(their_boxes) > min(post_nms, 1000) - 1
        torch.testing.assert_close(found[0], their_boxes, rtol=0, atol=2e-4)
        torch.testing.assert_close(found[1], their_scores, rtol=1e-6, atol=1e-7)
        candidates, usable = candidate_proposals(own.objectness, own.deltas, anchors, own_size, rule, counts=own.counts)
        assert torch.equal(candidates[usable], found[0])
