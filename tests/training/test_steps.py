"""The steps' losses: padded batches equal single images, and joint training makes all four losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.artifacts.image_views import Entry
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.roi_targets import GtBoxes
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSample
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.families.faster_rcnn.training.head_step import HeadStep
from pipeline.families.faster_rcnn.training.joint_step import JointStep
from pipeline.families.faster_rcnn.training.roi_samples import RoISample
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep
from pipeline.feeding.views import Views
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.boxes import intersection_over_own_area, pairwise_iou
from tests.layouts import one_level
from tests.training.step_params import HEAD, RPN, TARGETS

CHANNELS, STRIDE, CLASSES = 5, 16, 3
LAYOUT = one_level(STRIDE, CHANNELS)
SIZES = [(64, 96), (112, 48)]
DRAW = torch.Generator()


@pytest.fixture(autouse=True)
def _same_draws_in_every_test() -> None:
    DRAW.manual_seed(0)


def with_random_weights(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.1, generator=DRAW)
    return module


def random_rpn(channels: int = CHANNELS, per_location: int = 3) -> RPNHead:
    return with_random_weights(RPNHead(channels, RPN.channels, per_location))  # type: ignore[return-value]


def random_head(layout: MapLayout = LAYOUT) -> RoIHead:
    head = FcHead(layout, CLASSES, Pooling("roi_pool", 3), hidden=16, dropout=0.5)
    with_random_weights(head).get_buffer("delta_std").fill_(0.1)
    return head


def feature_size(height: int, width: int) -> tuple[int, int]:
    return height // STRIDE, width // STRIDE


def random_anchors(size: tuple[int, int], fg: int, bg: int) -> AnchorSample:
    height, width = feature_size(*size)
    chosen = torch.randperm(height * width * 3, generator=DRAW)[: fg + bg]
    return AnchorSample(chosen[:fg], chosen[fg:], torch.randn(fg, 4, generator=DRAW))


def cached(maps: list[Tensor], anchors: list[AnchorSample], rois: list[RoISample]) -> Batch:
    """A batch of cached maps of SIZES' first images, padded as the loader pads."""
    height, width = max(m.shape[1] for m in maps), max(m.shape[2] for m in maps)
    padded = torch.stack([nn.functional.pad(m, (0, width - m.shape[2], 0, height - m.shape[1])) for m in maps])
    sizes = [(m.shape[1] * STRIDE, m.shape[2] * STRIDE) for m in maps]
    entries = [Entry(str(i)) for i in range(len(maps))]
    return Batch(Views(entries, sizes, maps=(padded,)), anchors, rois, [], [], list(range(len(maps) + 1)))


def gradients(step: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], list[Tensor]]:
    step.zero_grad()
    losses = step(batch)
    sum(losses.values()).backward()
    return losses, [weight.grad.clone() for weight in step.parameters() if weight.grad is not None]


def test_rpn_step_on_a_padded_batch_of_two_sizes_is_the_mean_of_the_single_images() -> None:
    step = RPNStep(random_rpn(), RPN, None, LAYOUT)
    maps = [torch.randn(CHANNELS, *feature_size(*size), generator=DRAW) for size in SIZES]
    anchors = [random_anchors(SIZES[0], fg=3, bg=6), random_anchors(SIZES[1], fg=1, bg=10)]
    both, both_gradients = gradients(step, cached(maps, anchors, []))
    single = [gradients(step, cached([m], [a], [])) for m, a in zip(maps, anchors, strict=True)]
    for name, loss in both.items():
        assert loss.item() > 0
        torch.testing.assert_close(loss, (single[0][0][name] + single[1][0][name]) / 2)
    for whole, first, second in zip(both_gradients, single[0][1], single[1][1], strict=True):
        torch.testing.assert_close(whole, (first + second) / 2, rtol=1e-4, atol=1e-6)


def test_rpn_step_weighs_its_box_loss_and_survives_images_without_fg_or_without_any_anchor() -> None:
    rpn, maps = random_rpn(), [torch.randn(CHANNELS, *feature_size(*size), generator=DRAW) for size in SIZES]
    anchors = [random_anchors(SIZES[0], fg=2, bg=4), random_anchors(SIZES[1], fg=0, bg=0)]
    losses = RPNStep(rpn, RPN, None, LAYOUT)(cached(maps, anchors, []))
    weighted = RPNStep(rpn, RPN.model_copy(update={"box_loss_weight": 10.0}), None, LAYOUT)
    ten_times = weighted(cached(maps, anchors, []))
    torch.testing.assert_close(ten_times["rpn_box"], 10 * losses["rpn_box"])
    torch.testing.assert_close(ten_times["rpn_objectness"], losses["rpn_objectness"])
    assert losses["rpn_box"].item() > 0
    nothing = RPNStep(rpn, RPN, None, LAYOUT)(cached(maps[1:], anchors[1:], []))
    assert [loss.item() for loss in nothing.values()] == [0, 0]


def random_rois(size: tuple[int, int], labels: list[int]) -> RoISample:
    height, width = size
    corners = torch.rand(len(labels), 2, generator=DRAW) * torch.tensor([width / 2, height / 2])
    rois = torch.cat([corners, corners + 16], dim=1)
    return RoISample(rois, torch.tensor(labels, dtype=torch.int64), torch.randn(len(labels), 4, generator=DRAW))


def test_head_step_on_a_padded_batch_of_two_sizes_is_the_mean_over_all_rois() -> None:
    """In evaluation mode, since dropout draws one mask for the whole batch."""
    step = HeadStep(random_head(), HEAD, None).eval()
    maps = [torch.randn(CHANNELS, *feature_size(*size), generator=DRAW) for size in SIZES]
    rois = [random_rois(SIZES[0], [1, 0]), random_rois(SIZES[1], [2, 0, 1, 0])]
    both, both_gradients = gradients(step, cached(maps, [], rois))
    single = [gradients(step, cached([m], [], [r])) for m, r in zip(maps, rois, strict=True)]
    for name, loss in both.items():
        assert loss.item() > 0
        torch.testing.assert_close(loss, (2 * single[0][0][name] + 4 * single[1][0][name]) / 6)
    for whole, first, second in zip(both_gradients, single[0][1], single[1][1], strict=True):
        torch.testing.assert_close(whole, (2 * first + 4 * second) / 6, rtol=1e-4, atol=1e-6)


def test_head_step_draws_its_dropout_from_the_batchs_last_seed() -> None:
    step = HeadStep(random_head(), HEAD, None).train()
    maps, rois = [torch.randn(CHANNELS, *feature_size(*SIZES[0]), generator=DRAW)], [random_rois(SIZES[0], [1] * 8)]

    def loss(seed: int) -> float:
        batch = cached(maps, [], rois)
        batch.seeds[-1] = seed
        return float(step(batch)["roi_class"].item())

    assert loss(1) == loss(1) != loss(2)


def test_head_step_without_any_roi_has_losses_of_0_and_can_be_trained_on() -> None:
    step = HeadStep(random_head(), HEAD, None).train()
    maps = [torch.randn(CHANNELS, *feature_size(*SIZES[0]), generator=DRAW)]
    losses, found = gradients(step, cached(maps, [], [random_rois(SIZES[0], [])]))
    assert [loss.item() for loss in losses.values()] == [0, 0]
    assert not any(gradient.any() for gradient in found)


def joint_step(targets: ProposalTargetParams = TARGETS) -> JointStep:
    trunk = build_trunk("tiny", frozen_stages=2, ceil_pool=False)
    trunk.initialise(DRAW)
    grid = AnchorGrid(16, (0.5, 1.0, 2.0), (1.0,), trunk.layout)
    rule = ProposalRule(pre_nms=200, nms_iou=0.7, post_nms=50, min_size=4)
    rpn, head = random_rpn(trunk.layout.channels), random_head(trunk.layout)
    return JointStep(trunk, rpn, head, grid, rule, RPN, targets, HEAD).train()


def joint_batch(gt_of_second: GtBoxes) -> Batch:
    images = torch.randint(0, 256, (2, 3, 64, 96), generator=DRAW, dtype=torch.uint8)
    gt = [GtBoxes(torch.tensor([[10.0, 10, 40, 40], [50, 5, 90, 60]]), torch.tensor([1, 2])), gt_of_second]
    sizes = [(64, 96), (48, 96)]
    anchors = [
        AnchorSample(torch.tensor([3, 30]), torch.arange(40, 50), torch.randn(2, 4, generator=DRAW)),
        AnchorSample(torch.arange(0), torch.arange(0, 12), torch.zeros(0, 4)),
    ]
    entries = [Entry("a"), Entry("b", 1)]
    return Batch(Views(entries, sizes, images=images), anchors, [], gt, [(1.0, 1.0), (0.5, 0.5)], [1, 2, 3])


NO_GT = GtBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
ONE_GT = GtBoxes(torch.tensor([[20.0, 5, 60, 45]]), torch.tensor([2]))


@pytest.mark.parametrize("gt", [ONE_GT, NO_GT], ids=["with gt", "without gt"])
def test_joint_step_gives_four_finite_losses_that_train_every_part_but_the_frozen_stages(gt: GtBoxes) -> None:
    step = joint_step()
    losses, _ = gradients(step, joint_batch(gt))
    assert set(losses) == {"rpn_objectness", "rpn_box", "roi_class", "roi_box"}
    assert all(loss.isfinite() and loss.item() > 0 for loss in losses.values())
    for name, weight in step.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
        assert weight.grad is None or bool(weight.grad.isfinite().all()), name


def test_no_gradient_of_the_roi_losses_passes_through_the_proposals_into_the_rpn() -> None:
    step = joint_step()
    losses = step(joint_batch(ONE_GT))
    (losses["roi_class"] + losses["roi_box"]).backward()
    assert all(weight.grad is None for weight in step.rpn.parameters())
    assert any(weight.grad is not None and weight.grad.any() for weight in step.trunk.parameters())


def test_joint_step_draws_its_rois_from_the_images_own_seed_and_within_the_image() -> None:
    step, batch = joint_step(), joint_batch(ONE_GT)
    drawn: list[list[Tensor]] = []
    step.head.register_forward_pre_hook(lambda _, inputs: drawn.append(list(inputs[1])))
    step(batch)
    step(batch)
    batch.seeds[1] = 77
    step(batch)
    first, again, reseeded = drawn
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(first[0], reseeded[0])
    assert not torch.equal(first[1], reseeded[1])
    for rois, (height, width) in zip(first, batch.views.sizes, strict=True):
        assert len(rois) == HEAD.rois_per_image
        assert bool((rois >= 0).all() and (rois <= torch.tensor([width, height, width, height])).all())


def test_gt_boxes_are_among_the_joint_steps_candidates() -> None:
    """With fg from an IoU of 1 on, only the gt box itself can be fg."""
    step, batch = joint_step(TARGETS.model_copy(update={"fg_iou": 1.0})), joint_batch(ONE_GT)
    drawn: list[list[Tensor]] = []
    step.head.register_forward_pre_hook(lambda _, inputs: drawn.append(list(inputs[1])))
    step(batch)
    assert drawn[0][1][0].tolist() == ONE_GT.boxes[0].tolist()


def test_joint_step_takes_nothing_in_an_ignore_region_for_background() -> None:
    step, batch = joint_step(), joint_batch(ONE_GT)
    left = torch.tensor([[0.0, 0, 48, 48]])
    drawn: list[list[Tensor]] = []
    step.head.register_forward_pre_hook(lambda _, inputs: drawn.append(list(inputs[1])))
    step(batch)
    batch.gt[1] = GtBoxes(ONE_GT.boxes, ONE_GT.labels, left)
    step(batch)
    (_, plain), (_, regarded) = drawn
    shares = [intersection_over_own_area(rois, left).squeeze(1) for rois in (plain, regarded)]
    is_bg = [pairwise_iou(rois, ONE_GT.boxes).squeeze(1) < 0.5 for rois in (plain, regarded)]
    assert bool((shares[0][is_bg[0]] >= 0.5).any()) and bool(is_bg[1].any())
    assert not bool((shares[1][is_bg[1]] >= 0.5).any())


def test_joint_step_survives_a_batch_without_gt_or_background() -> None:
    """Where the background has a lower bound, an image without a gt box has no RoI at all."""
    step, batch = joint_step(TARGETS.model_copy(update={"bg_iou_low": 0.1})), joint_batch(NO_GT)
    batch.gt[0] = NO_GT
    losses, _ = gradients(step, batch)
    assert [losses["roi_class"].item(), losses["roi_box"].item()] == [0, 0]
    assert losses["rpn_objectness"].isfinite()


def test_joint_step_trains_on_images_thinner_than_a_stride_and_without_anchors() -> None:
    """No anchor of theirs may be used; one has a gt box and no proposal that is large enough."""
    step = joint_step()
    images = torch.randint(0, 256, (2, 3, 3, 96), generator=DRAW, dtype=torch.uint8)
    no_anchor = AnchorSample(torch.arange(0), torch.arange(0), torch.zeros(0, 4))
    gt = [GtBoxes(torch.tensor([[10.0, 0, 40, 3]]), torch.tensor([1])), NO_GT]
    views = Views([Entry("a"), Entry("b", 1)], [(3, 96), (1, 96)], images=images)
    batch = Batch(views, [no_anchor, no_anchor], [], gt, [(1.0, 1.0), (1.0, 1.0)], [1, 2, 3])
    losses, found = gradients(step, batch)
    assert [losses["rpn_objectness"].item(), losses["rpn_box"].item()] == [0, 0]
    assert losses["roi_class"].item() > 0 and all(gradient.isfinite().all() for gradient in found)
    again, _ = gradients(step, batch)
    assert {name: loss.item() for name, loss in losses.items()} == {name: loss.item() for name, loss in again.items()}
