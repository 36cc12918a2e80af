"""What training learns from, against torchvision: anchors, deltas, matching and losses.

Authority: torchvision's AnchorGenerator, BoxCoder, Matcher, RegionProposalNetwork.compute_loss and fastrcnn_loss. Where
ours differs on purpose, a test states by how much.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import box_iou

from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.families.faster_rcnn.nn.roi_losses import roi_losses
from pipeline.families.faster_rcnn.nn.roi_targets import normalise_deltas
from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.nn.anchor_matching import match_anchors
from pipeline.nn.anchors import AnchorGrid, base_anchors
from pipeline.nn.boxes import decode, encode, pairwise_iou
from pipeline.nn.matching import BG, FG, IGNORE, Matches
from tests.layouts import one_level

pytestmark = pytest.mark.authority("torchvision")

STD = torch.tensor([0.1, 0.1, 0.2, 0.2])
SEEDS = st.integers(0, 2**31)
SIDES = st.one_of(st.floats(0.015625, 2, width=32), st.floats(2, 1500, width=32), st.sampled_from([1.0, 16.0, 500.0]))
CORNERS = st.one_of(st.floats(-1000, 2000, width=32), st.sampled_from([0.0, -0.5, 8.0]))
DELTAS = st.one_of(st.floats(-6, 6, width=32), st.sampled_from([0.0, math.log(1000 / 16), 1000.0, -1000.0, 1e-30]))
# Coordinates that float32 and float64 hold exactly, so that equal IoUs are found equal and thresholds are hit.
WHOLE = st.tuples(*[st.integers(0, 16)] * 2, *[st.integers(1, 12)] * 2)


def corners(rows: list[tuple[float, float, float, float]]) -> Tensor:
    """(x, y, width, height) to (N, 4) float32 xyxy."""
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def pairs_of(*columns: st.SearchStrategy[float]) -> st.SearchStrategy[list[tuple[float, ...]]]:
    return st.lists(st.tuples(*columns), min_size=1, max_size=20)


def draw_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels_of(matches: Tensor) -> Tensor:
    """Labels of torchvision's matches: an index is fg, -1 bg, -2 between the thresholds."""
    labels = torch.full_like(matches, FG, dtype=torch.int8)
    labels[matches == Matcher.BELOW_LOW_THRESHOLD] = BG
    labels[matches == Matcher.BETWEEN_THRESHOLDS] = IGNORE
    return labels


def assert_matches_equal(ours: Matches, theirs: Tensor) -> None:
    """Equal labels, and equal gts of the fg boxes."""
    assert torch.equal(ours.labels, labels_of(theirs))
    assert torch.equal(ours.matched_gt[ours.labels == FG], theirs[theirs >= 0])


@given(
    base=st.sampled_from([4.0, 16.0, 33.0]),
    ratios=st.lists(st.floats(0.2, 5), min_size=1, max_size=4),
    scales=st.lists(st.floats(0.5, 32), min_size=1, max_size=4),
    stride=st.sampled_from([1, 8, 16, 32]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_anchors_rounded_and_moved_by_half_a_stride_are_those_of_anchor_generator(
    base: float, ratios: list[float], scales: list[float], stride: int, size: tuple[int, int]
) -> None:
    """torchvision's AnchorGenerator rounds the anchors of a cell and centres the first cell on the image's corner.

    Cells, ratios and scales come in the same order. Half a stride apart, a side differs by half a pixel at most.
    """
    halves = base_anchors(base, ratios, scales)
    # A half side on half a pixel but for float32 arithmetic may be rounded either way.
    off = (halves.abs() % 1 - 0.5).abs()
    assume(bool(((off > 1e-3) | (off == 0)).all()))
    height, width = size
    generator = AnchorGenerator((tuple(base * scale for scale in scales),), (tuple(ratios),))
    images = ImageList(torch.zeros(1, 3, height * stride, width * stride), [(height * stride, width * stride)])
    (theirs,) = generator(images, [torch.zeros(1, 1, height, width)])
    grid = AnchorGrid(base, ratios, scales, one_level(stride))
    cells = (grid.exact([(height, width)]).reshape(-1, len(halves), 4) - halves - stride / 2).round()
    assert torch.equal((cells + halves.round()).reshape(-1, 4).float(), theirs)
    assert float((grid([(height, width)]) - stride / 2 - theirs).abs().max()) <= 0.5 + 1e-3


@given(pairs_of(CORNERS, CORNERS, SIDES, SIDES, CORNERS, CORNERS, SIDES, SIDES))
def test_encoding_is_that_of_box_coder(rows: list[tuple[float, ...]]) -> None:
    """torchvision's BoxCoder: weights 1 bit for bit, (10, 10, 5, 5) as std (.1, .1, .2, .2) but for rounding."""
    values = torch.tensor(rows)
    references, targets = corners(values[:, :4].tolist()), corners(values[:, 4:].tolist())
    ours = encode(references, targets)
    assert torch.equal(ours, BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(targets, references))
    labels = torch.ones(len(ours), dtype=torch.int64)
    normalised = normalise_deltas(ours, labels, torch.zeros(2, 4), STD.expand(2, 4))
    theirs = BoxCoder((10.0, 10.0, 5.0, 5.0)).encode_single(targets, references)
    torch.testing.assert_close(normalised, theirs, rtol=1e-6, atol=1e-6)


@given(pairs_of(CORNERS, CORNERS, SIDES, SIDES, DELTAS, DELTAS, DELTAS, DELTAS))
def test_decoding_is_that_of_box_coder_beyond_the_cut_of_the_sizes_too(rows: list[tuple[float, ...]]) -> None:
    """torchvision's BoxCoder, which cuts dw and dh at log(1000 / 16) as ours does."""
    values = torch.tensor(rows)
    references, deltas = corners(values[:, :4].tolist()), values[:, 4:]
    ours = decode(references, deltas)
    assert torch.equal(ours, BoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(deltas, references))
    theirs = BoxCoder((10.0, 10.0, 5.0, 5.0)).decode_single(deltas / STD, references)
    size = ours.abs().amax(dim=1, keepdim=True)
    torch.testing.assert_close(ours / size, theirs / size, rtol=0, atol=2e-6)


@given(SEEDS, st.integers(2, 6))
def test_per_class_decoding_is_that_of_box_coder(seed: int, classes: int) -> None:
    """torchvision's BoxCoder.decode takes (R, 4 C) and gives (R, C, 4), class by class."""
    draw = draw_of(seed)
    rois = corners((torch.rand(7, 4, generator=draw) * 300 + 1).tolist())
    deltas = torch.randn(7, classes, 4, generator=draw)
    theirs = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode(deltas.flatten(1), [rois])
    assert torch.equal(decode(rois, deltas), theirs)


@given(
    st.lists(WHOLE, min_size=1, max_size=30),
    st.lists(WHOLE, min_size=1, max_size=5),
    st.sampled_from([(0.7, 0.3), (0.5, 0.5), (0.5, 0.25)]),
)
def test_anchors_are_matched_as_matcher_matches_them_to_the_gts_that_some_anchor_meets(
    anchors: list[tuple[int, int, int, int]], gts: list[tuple[int, int, int, int]], thresholds: tuple[float, float]
) -> None:
    """torchvision's Matcher with low-quality matches, on exact coordinates: thresholds are hit, ties are many."""
    boxes, gt_boxes = corners(anchors), corners(gts)
    iou = box_iou(gt_boxes, boxes)
    met = iou.amax(dim=1) > 0
    assume(bool(met.any()))
    ours = match_anchors(boxes.double(), gt_boxes[met], *thresholds)
    matcher = Matcher(*thresholds, allow_low_quality_matches=True)
    assert_matches_equal(ours, matcher(iou[met]))
    every = match_anchors(boxes.double(), gt_boxes, *thresholds)
    assert torch.equal(every.labels, ours.labels)
    # Theirs takes the anchors of IoU 0 for the best that a gt can have, and those are all that the gt has.
    assert bool((labels_of(matcher(iou)) == (ours.labels if met.all() else FG)).all())


@given(SEEDS, st.integers(1, 6))
def test_anchors_match_real_boxes_as_in_matcher_but_for_the_rounding_of_the_iou(seed: int, count: int) -> None:
    """torchvision's Matcher on its float32 box_iou; ours compares float64 IoUs as float32.

    Only an anchor within 1e-5 of a threshold, or of a gt's best, may be labelled otherwise.
    """
    draw = draw_of(seed)
    grid = AnchorGrid(16, (0.5, 1.0, 2.0), (2.0, 4.0, 8.0), one_level(16))
    corner, side = torch.rand(count, 2, generator=draw) * 200, torch.rand(count, 2, generator=draw) * 120 + 8
    gt_boxes = torch.cat([corner, corner + side], dim=1)
    iou = box_iou(gt_boxes, grid([(18, 20)]))
    theirs = labels_of(Matcher(0.7, 0.3, allow_low_quality_matches=True)(iou))
    ours = match_anchors(grid.exact([(18, 20)]), gt_boxes, 0.7, 0.3)
    best_of_gt = (iou.amax(dim=1, keepdim=True) - iou).amin(dim=0)
    margin = torch.stack([(iou.amax(dim=0) - 0.7).abs(), (iou.amax(dim=0) - 0.3).abs(), best_of_gt]).amin(dim=0)
    assert bool((margin[ours.labels != theirs] < 1e-5).all())
    torch.testing.assert_close(ours.max_iou, iou.amax(dim=0), rtol=0, atol=1e-6)


def test_float32_ious_lose_anchors_that_lie_alike_around_a_box_which_ours_finds() -> None:
    """torchvision's Matcher on float32 box_iou finds fewer of the anchors that tie for a gt's best."""
    grid, box = AnchorGrid(16, (0.5, 1.0, 2.0), (4.0,), one_level(16)), torch.tensor([[40.0, 40.0, 216.0, 216.0]])
    iou = box_iou(box, grid([(16, 16)]))
    theirs = labels_of(Matcher(0.99, 0.3, allow_low_quality_matches=True)(iou)) == FG
    ours = match_anchors(grid.exact([(16, 16)]), box, 0.99, 0.3).labels == FG
    assert bool((ours | ~theirs).all())
    assert int(ours.sum()) > int(theirs.sum())


@given(
    st.lists(WHOLE, min_size=1, max_size=30),
    st.lists(WHOLE, min_size=1, max_size=5),
    st.sampled_from([(0.5, 0.5), (0.5, 0.25), (0.75, 0.5)]),
)
def test_proposals_are_matched_as_in_matcher(
    proposals: list[tuple[int, int, int, int]], gts: list[tuple[int, int, int, int]], thresholds: tuple[float, float]
) -> None:
    """torchvision's Matcher without low-quality matches; its background begins at IoU 0, which is our `bg_iou_low`."""
    boxes, gt_boxes = corners(proposals), corners(gts)
    ours = match_proposals(boxes, gt_boxes, *thresholds, 0.0)
    assert_matches_equal(ours, Matcher(*thresholds, allow_low_quality_matches=False)(box_iou(gt_boxes, boxes)))
    torch.testing.assert_close(pairwise_iou(gt_boxes, boxes), box_iou(gt_boxes, boxes), rtol=0, atol=0)


def test_without_gt_boxes_all_is_background_as_in_region_proposal_network_and_roi_heads() -> None:
    """torchvision's RegionProposalNetwork.assign_targets_to_anchors and RoIHeads.assign_targets_to_proposals."""
    boxes, none = corners([(0, 0, 10, 10), (5, 5, 40, 20)]), torch.zeros(0, 4)
    (labels,), _ = rpn_of_torchvision().assign_targets_to_anchors([boxes], [{"boxes": none}])
    assert match_anchors(boxes.double(), none, 0.7, 0.3).labels.tolist() == labels.tolist()
    heads = RoIHeads(None, None, None, 0.5, 0.5, 64, 0.25, None, 0.05, 0.3, 100)
    _, (labels,) = heads.assign_targets_to_proposals([boxes], [none], [torch.zeros(0, dtype=torch.int64)])
    assert match_proposals(boxes, none, 0.5, 0.5, 0.0).labels.tolist() == labels.tolist()


def rpn_of_torchvision(sampled: int = 256) -> RegionProposalNetwork:
    """torchvision's RPN, of which only functions of the given tensors are used; it samples up to half fg."""
    counts = {"training": 1000, "testing": 1000}
    return RegionProposalNetwork(AnchorGenerator(), nn.Identity(), 0.7, 0.3, sampled, 0.5, counts, counts, 0.7)


@given(SEEDS, st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=3), st.booleans())
def test_rpn_losses_are_the_mean_over_the_images_of_compute_loss(
    seed: int, counts: list[tuple[int, int]], equal: bool
) -> None:
    """torchvision's RegionProposalNetwork.compute_loss, whose beta of 1/9 is sigma 3.

    Theirs divides a batch's sums by its number of samples, ours each image's by the image's and then averages, as the
    reference code does image by image. So one image, or images of equally many samples, give equal losses.
    """
    counts = [counts[0]] * len(counts) if equal else counts
    assume(all(fg + bg > 0 for fg, bg in counts))
    draw, wanted, gradients = draw_of(seed), [], []
    images = []
    for fg, bg in counts:
        labels = torch.cat([torch.ones(fg), torch.zeros(bg)])
        logits = (torch.randn(fg + bg, generator=draw) * 5).requires_grad_()
        deltas = (torch.randn(fg + bg, 4, generator=draw)).requires_grad_()
        images.append((labels, logits, deltas, torch.randn(fg + bg, 4, generator=draw)))

    def theirs(chosen: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Tensor:
        labels, logits, deltas, targets = zip(*chosen, strict=True)
        everything = rpn_of_torchvision(sampled=2 * sum(map(len, labels)))
        return torch.stack(everything.compute_loss(torch.cat(logits), torch.cat(deltas), list(labels), list(targets)))

    fg_first = [torch.cat([image[part][:fg] for image, (fg, _) in zip(images, counts, strict=True)]) for part in (1, 2)]
    bg_logits = torch.cat([image[1][fg:] for image, (fg, _) in zip(images, counts, strict=True)])
    targets = torch.cat([image[3][:fg] for image, (fg, _) in zip(images, counts, strict=True)])
    share = [1 / (sum(pair) * len(counts)) for pair in counts]
    weights = [value for value, (fg, _) in zip(share, counts, strict=True) for _ in range(fg)]
    weights += [value for value, (_, bg) in zip(share, counts, strict=True) for _ in range(bg)]
    is_fg = torch.cat([torch.ones(len(targets)), torch.zeros(len(bg_logits))])
    ours = torch.stack(
        rpn_losses(torch.cat([fg_first[0], bg_logits]), is_fg, fg_first[1], targets, torch.tensor(weights), sigma=3.0)
    )
    wanted = torch.stack([theirs([image]) for image in images]).mean(dim=0)
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    if equal:
        torch.testing.assert_close(ours, theirs(images), rtol=1e-5, atol=1e-5)
    leaves = [leaf for image in images for leaf in image[1:3]]
    gradients = [torch.autograd.grad(loss.sum(), leaves, retain_graph=True) for loss in (ours, wanted)]
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


@given(SEEDS, st.integers(1, 40), st.integers(2, 6))
def test_roi_losses_are_those_of_fastrcnn_loss_at_its_sigma(seed: int, count: int, classes: int) -> None:
    """torchvision's fastrcnn_loss: both over the number of RoIs, as ours; its beta of 1/9 is sigma 3, not 1."""
    draw = draw_of(seed)
    logits = (torch.randn(count, classes, generator=draw) * 5).requires_grad_()
    deltas = torch.randn(count, classes, 4, generator=draw).requires_grad_()
    labels = torch.randint(0, classes, (count,), generator=draw)
    targets = torch.randn(count, 4, generator=draw) * torch.rand(count, 1, generator=draw) * 3
    ours = roi_losses(logits, labels, deltas, targets, sigma=3.0)
    theirs = fastrcnn_loss(logits, deltas.flatten(1), [labels], [targets])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(sum(losses), (logits, deltas), retain_graph=True) for losses in (ours, theirs)]
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("error", [0.05, 0.5, 4.0])
def test_roi_box_loss_at_sigma_1_is_that_of_fastrcnn_loss_stretched(error: float) -> None:
    """torchvision's fastrcnn_loss at sigma 3 is our loss at sigma 1 of nine times the error, over nine."""
    logits, labels, targets = torch.zeros(1, 2), torch.tensor([1]), torch.full((1, 4), error)
    _, theirs = fastrcnn_loss(logits, torch.zeros(1, 8), [labels], [targets])
    _, ours = roi_losses(logits, labels, torch.zeros(1, 2, 4), targets * 9, sigma=1.0)
    assert float(ours) / 9 == pytest.approx(float(theirs))


def test_without_rois_our_losses_are_0_where_fastrcnn_loss_is_not_a_number() -> None:
    """torchvision's fastrcnn_loss takes the mean over no RoIs."""
    logits, deltas, labels, targets = torch.zeros(0, 3), torch.zeros(0, 3, 4), torch.zeros(0).long(), torch.zeros(0, 4)
    assert torch.isnan(fastrcnn_loss(logits, deltas.flatten(1), [labels], [targets])[0])
    assert [float(loss) for loss in roi_losses(logits, labels, deltas, targets, sigma=1.0)] == [0, 0]
