"""An RPN over five levels, of strides 4 to 64, against torchvision.

Authority: torchvision's RegionProposalNetwork and AnchorGenerator, on images padded to multiples of 32.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, candidate_proposals, make_proposals, of_image
from pipeline.families.faster_rcnn.nn.proposer import Proposer
from pipeline.families.faster_rcnn.nn.rpn import RPNHead as OurRPNHead
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSample
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.families.faster_rcnn.training.rpn_step import rpn_step_losses
from pipeline.feeding.views import Views
from pipeline.nn.anchor_matching import assign_anchors
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.boxes import encode
from pipeline.nn.matching import FG
from tests.layouts import PYRAMID

pytestmark = pytest.mark.authority("torchvision")

RATIOS = (0.5, 1.0, 2.0)
SEEDS = st.integers(0, 2**31)


def grid_of() -> AnchorGrid:
    """A square of 32 px on the first level, and so on up to 512 px, and its two neighbours of the same area."""
    return AnchorGrid(32, RATIOS, (1.0,), PYRAMID, "torchvision")


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


@given(
    size=st.tuples(*[st.integers(2, 44).map(lambda half: 32 * half)] * 2),
    base=st.sampled_from([32.0, 20.0, 33.0]),
    ratios=st.sampled_from([RATIOS, (1.0,), (0.3, 1.0, 3.0)]),
    scales=st.sampled_from([(1.0,), (1.0, 2 ** (1 / 3), 2 ** (2 / 3))]),
)
@settings(max_examples=60)
def test_anchors_of_five_levels_are_those_of_anchor_generator(
    size: tuple[int, int], base: float, ratios: tuple[float, ...], scales: tuple[float, ...]
) -> None:
    """torchvision's AnchorGenerator, where P6 of an odd P5 has a step of less than 64 px.

    Its anchors depend on the batch, to whose largest sides it pads; ours on the image alone.
    """
    sizes = tuple(tuple(base * stride / 4 * scale for scale in scales) for stride in PYRAMID.strides)
    cells = PYRAMID.sizes(*size)
    (theirs,) = AnchorGenerator(sizes, (ratios,) * 5)(
        ImageList(torch.zeros(1, 3, 1, 1).expand(1, 3, *size), [size]), [torch.zeros(1, 1, *own) for own in cells]
    )
    assert torch.equal(AnchorGrid(base, ratios, scales, PYRAMID, "torchvision")(cells), theirs)
    exact = AnchorGrid(base, ratios, scales, PYRAMID, "detectron2")
    halves = exact.exact([(1, 1)] * 5)[:, 2:]
    assert torch.equal(halves.float().round(), theirs[_first_of_levels(cells, len(halves) // 5), 2:])


def _first_of_levels(cells: Sequence[tuple[int, int]], per_location: int) -> Tensor:
    """Indices of the anchors of the first location of each level."""
    counts = [high * wide * per_location for high, wide in cells]
    starts = [sum(counts[:level]) for level in range(len(counts))]
    return torch.cat([torch.arange(start, start + per_location) for start in starts])


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
    anchors, rule = grid_of()(cells), ProposalRule(pre_nms, 0.7, post_nms, least, True)
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


def gt_boxes_of(draw: torch.Generator, count: int, height: int, width: int) -> Tensor:
    """(G, 4) boxes of sides from 8 px to nearly the image's, on quarters of a pixel."""
    limits = torch.tensor([width, height])
    sides = torch.exp(torch.rand(count, 2, generator=draw) * torch.log(limits / 10)) * 8
    corners = torch.rand(count, 2, generator=draw) * (limits - sides)
    return (torch.cat([corners, corners + sides], dim=1) * 4).round() / 4


@given(seed=SEEDS, count=st.integers(1, 12), size=st.sampled_from([(256, 320), (160, 96), (512, 352)]))
@settings(max_examples=25)
def test_anchors_of_five_levels_are_assigned_as_in_region_proposal_network(
    seed: int, count: int, size: tuple[int, int]
) -> None:
    """torchvision's assign_targets_to_anchors, which uses anchors that stick out of the image too.

    Of anchors on whole pixels and boxes on quarters of one, both find the same IoUs, to the bit.
    """
    gt_boxes, cells = gt_boxes_of(draw_of(seed), count, *size), PYRAMID.sizes(*size)
    anchors = grid_of().exact(cells)
    (labels,), (matched,) = rpn_of_torchvision().assign_targets_to_anchors([anchors.float()], [{"boxes": gt_boxes}])
    ours = assign_anchors(
        anchors, size, gt_boxes, torch.zeros(0, 4), fg_iou=0.7, bg_iou=0.3, allowed_border=None, ignore_ioa=0.5
    )
    assert torch.equal(ours.labels, labels.to(torch.int8))
    fg = ours.labels == FG
    assert int(fg.sum()) >= 1
    assert torch.equal(gt_boxes[ours.matched_gt[fg]], matched[fg])


@pytest.mark.parametrize("drawn", [[(20, 100)], [(20, 100), (3, 41)], [(0, 7), (5, 0)]])
def test_rpn_losses_over_five_levels_are_those_of_compute_loss_with_the_same_anchors_drawn(
    drawn: list[tuple[int, int]],
) -> None:
    """torchvision's compute_loss, with `rpn.normaliser: batch`; images smaller than the batch have their own cells."""
    draw, sizes = draw_of(0), [(256, 320), (192, 256)][: len(drawn)]
    logits, deltas = random_levels(draw, len(drawn), *sizes[0])
    cells, grid, rpn = PYRAMID.sizes(*sizes[0]), grid_of(), rpn_of_torchvision()
    samples, labels, wanted, masks = [], [], [], ([], [])
    for (fg, bg), size in zip(drawn, sizes, strict=True):
        own_cells = PYRAMID.sizes(*size)
        own = torch.randperm(len(grid(own_cells)), generator=draw)[: fg + bg]
        gt_boxes = gt_boxes_of(draw, fg, *size)
        samples.append(AnchorSample(own[:fg], own[fg:], encode(grid(own_cells)[own[:fg]], gt_boxes)))
        inside = torch.cat([of_own_cells(*pair) for pair in zip(own_cells, cells, strict=True)])
        places = torch.nonzero(inside).squeeze(1)[own]
        labels.append(torch.zeros(len(inside)).index_fill_(0, places[:fg], 1))
        matched = torch.tensor([0.0, 0, 1, 1]).repeat(len(inside), 1).index_copy_(0, places[:fg], gt_boxes)
        wanted.append(matched)
        for kind, mine in zip(masks, (places[:fg], places[fg:]), strict=True):
            kind.append(torch.zeros(len(inside), dtype=torch.bool).index_fill_(0, mine, True))
    rpn.fg_bg_sampler = lambda _: masks  # type: ignore[assignment]
    targets = rpn.box_coder.encode(wanted, [grid(cells)] * len(drawn))
    flat_logits = torch.cat([level.reshape(len(drawn), -1) for level in logits], dim=1)
    flat_deltas = torch.cat([level.reshape(len(drawn), -1, 4) for level in deltas], dim=1)
    theirs = rpn.compute_loss(flat_logits.reshape(-1, 1), flat_deltas.reshape(-1, 4), labels, list(targets))
    batch = Batch(Views([], sizes), samples, [], [], [], [])
    params = RPNParams(
        channels=1,
        anchors_per_image=256,
        fg_fraction=0.5,
        sigma=3.0,
        box_loss_weight=1.0,
        normaliser="batch",
        images_without_gt="background",
    )
    ours = rpn_step_losses(tuple(logits), tuple(deltas), batch, params, PYRAMID)
    torch.testing.assert_close(tuple(ours.values()), theirs, rtol=1e-5, atol=1e-5)
    by_image = rpn_step_losses(
        tuple(logits), tuple(deltas), batch, params.model_copy(update={"normaliser": "image"}), PYRAMID
    )
    assert (by_image == ours) == (len(drawn) == 1)


def of_own_cells(own: tuple[int, int], padded: tuple[int, int]) -> Tensor:
    """(Fh * Fw * A,) whether an anchor of a padded map lies on the image's own cells."""
    inside = torch.zeros(*padded, len(RATIOS), dtype=torch.bool)
    inside[: own[0], : own[1]] = True
    return inside.flatten()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_whole_rpn_with_torchvisions_weights_proposes_as_region_proposal_network(depth: int) -> None:
    """torchvision's AnchorGenerator, RPNHead and RegionProposalNetwork together, on maps of five levels of an image
    whose P5 has 11 rows."""
    draw, size = draw_of(0), (340, 250)
    cells = PYRAMID.sizes(*size)
    maps = tuple(torch.randn(1, 16, *own, generator=draw) for own in cells)
    sizes = tuple((8.0 * stride,) for stride in PYRAMID.strides)
    theirs = rpn_of_torchvision(pre_nms=500, post_nms=300)
    theirs.anchor_generator, theirs.head = AnchorGenerator(sizes, (RATIOS,) * 5), RPNHead(16, 3, conv_depth=depth)
    for weight in theirs.head.parameters():
        weight.data.normal_(std=0.1, generator=draw)
    named = dict(zip("01234", maps, strict=True))
    images = ImageList(torch.zeros(1, 3, 1, 1).expand(1, 3, 352, 256), [size])
    with torch.inference_mode():
        (their_boxes,), _ = theirs(images, named)
        head = OurRPNHead(16, 16, 3, depth)
        head.load_state_dict(as_ours(theirs.head.state_dict()))
        (found,) = Proposer(head, grid_of(), ProposalRule(500, 0.7, 300, 0.0, True))(maps, [size], [(1.0, 1.0)])
    assert len(their_boxes) == 300
    # Scores that are equal but for the last bit may change places on another processor.
    apart = (found.boxes[:, None] - their_boxes).abs().amax(dim=2)
    assert len(found.boxes) == 300 and apart.amin(dim=0).max() < 1e-3 and apart.amin(dim=1).max() < 1e-3


def as_ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """An RPN head's weights under our names: its one logit is fg's over a bg of 0."""
    own = {}
    for kind in ("weight", "bias"):
        for name, value in state.items():
            if name.startswith("conv.") and name.endswith(kind):
                place = int(name.split(".")[1])
                own[f"more.{place - 1}.{kind}" if place else f"conv.{kind}"] = value
        logit = state[f"cls_logits.{kind}"]
        own[f"cls_score.{kind}"] = torch.cat([torch.zeros_like(logit), logit])
        own[f"bbox_pred.{kind}"] = state[f"bbox_pred.{kind}"]
    return own
