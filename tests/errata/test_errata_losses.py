"""Losses and RoI targets as common tutorials have them, beside what is right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.artifacts.image_views import Entry
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.families.faster_rcnn.nn.roi_losses import roi_losses
from pipeline.families.faster_rcnn.nn.roi_targets import GtBoxes, normalise_deltas
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSample
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.families.faster_rcnn.training.joint_step import JointStep
from pipeline.feeding.views import Views
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.boxes import encode, pairwise_iou
from pipeline.nn.matching import FG
from pipeline.nn.smooth_l1 import smooth_l1
from tests.errata.conftest import Page
from tests.training.step_params import HEAD, RPN, TARGETS


def plain_smooth_l1(difference: Tensor) -> Tensor:
    """Sigma 1, as the tutorials write it."""
    x = difference.abs()
    return (x < 1) * 0.5 * x**2 + (x >= 1) * (x - 0.5)


@pytest.mark.parametrize(("fg", "right_value"), [(16, "0.0361"), (1, "0.0023")])
def test_rpn_loss_over_the_positives_times_10_does_not_know_how_many_there_are(
    errata: Page, fg: int, right_value: str
) -> None:
    """Of 256 anchors some are fg, each of their deltas 0.2 off."""
    wanted = torch.zeros(fg, 4)
    predicted = wanted + 0.2
    wrong = float(10 * plain_smooth_l1(predicted - wanted).sum() / fg)
    labels = torch.cat([torch.ones(fg), torch.zeros(256 - fg)])
    _, box = rpn_losses(torch.zeros(256), labels, predicted, wanted, torch.full((256,), 1 / 256), 3.0)
    assert float(box) == pytest.approx(fg * 4 * (0.2 - 0.5 / 9) / 256)
    assert (f"{wrong:.1f}", f"{float(box):.4f}") == ("0.8", right_value)
    errata.quotes("rpn-loss", "0.8", right_value)


def test_roi_loss_left_as_a_tensor_cannot_be_trained_on_and_its_mean_is_twenty_times_too_large(errata: Page) -> None:
    """Of 64 RoIs 8 are fg, each of their deltas 0.5 off."""
    labels = torch.cat([torch.ones(8, dtype=torch.int64), torch.zeros(56, dtype=torch.int64)])
    wanted = torch.zeros(64, 4)
    deltas = torch.full((64, 2, 4), 0.5, requires_grad=True)
    tensor = 10 * plain_smooth_l1(deltas[labels > 0, labels[labels > 0]] - wanted[labels > 0])
    assert tensor.shape == (8, 4)
    with pytest.raises(RuntimeError, match="scalar outputs"):
        tensor.backward()
    _, right = roi_losses(torch.zeros(64, 2), labels, deltas, wanted, 1.0)
    right.backward()
    assert (tensor.mean().item(), right.item()) == (1.25, 0.0625)
    errata.quotes("roi-loss", "1.25", "0.0625")


def test_targets_normalised_let_all_four_deltas_be_learned_alike(errata: Page) -> None:
    """Proposals around a gt box: centres off by a tenth of a side, sides by a fifth."""
    draw = torch.Generator().manual_seed(0)
    gt = torch.tensor([[100.0, 100, 300, 250]]).expand(2000, 4)
    size = gt[:, 2:] - gt[:, :2]
    centre = gt[:, :2] + size / 2 + 0.1 * size * torch.randn(2000, 2, generator=draw)
    side = size * torch.exp(0.2 * torch.randn(2000, 2, generator=draw))
    proposals = torch.cat([centre - side / 2, centre + side / 2], dim=1)
    raw = encode(proposals, gt)
    mean, std = torch.zeros(2, 4), torch.tensor([0.1, 0.1, 0.2, 0.2]).expand(2, 4)
    normalised = normalise_deltas(raw, torch.ones(2000, dtype=torch.int64), mean, std)
    losses = [smooth_l1(deltas, 1.0).mean(dim=0) for deltas in (raw, normalised)]
    wrong, right = (float(loss[2:].mean() / loss[:2].mean()) for loss in losses)
    grown = float(losses[1].sum() / losses[0].sum())
    assert wrong == pytest.approx(3.8, abs=0.5)
    assert right == pytest.approx(1, abs=0.1)
    errata.quotes("targets-normalised", f"{wrong:.1f}", f"{right:.1f}", f"{grown:.0f}")


def test_gt_appended_gives_an_image_whose_proposals_all_miss_something_to_learn(errata: Page) -> None:
    """Anchors of 16 px and an RPN that moves none of them; the gt box is 60 x 90."""
    size, gt = (64, 96), GtBoxes(torch.tensor([[3.0, 2, 93, 62]]), torch.tensor([1]))
    trunk = build_trunk("tiny", frozen_stages=2, ceil_pool=False)
    rpn, head = (
        RPNHead(trunk.layout.channels, 4, 1),
        FcHead(trunk.layout, 2, Pooling("roi_pool", 2), hidden=4, dropout=0.0),
    )
    for weight in rpn.parameters():
        weight.requires_grad_(False).zero_()
    grid, rule = AnchorGrid(16, (1.0,), (1.0,), trunk.layout), ProposalRule(-1, 0.7, 100, 0)
    anchors = grid(trunk.layout.sizes(*size))
    proposals, _ = make_proposals(torch.zeros(len(anchors)), torch.zeros(len(anchors), 4), anchors, size, rule)
    wrong = int((match_proposals(proposals, gt.boxes, 0.5, 0.5, 0.0).labels == FG).sum())

    drawn: list[Tensor] = []
    head.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[1][0]))
    step = JointStep(trunk, rpn, head, grid, rule, RPN, TARGETS, HEAD)
    sample = AnchorSample(torch.arange(1), torch.arange(1, 9), torch.zeros(1, 4))
    views = Views([Entry("a")], [size], images=torch.zeros(1, 3, *size, dtype=torch.uint8))
    step(Batch(views, [sample], [], [gt], [(1.0, 1.0)], [1, 2]))
    (rois,) = drawn
    right = int((pairwise_iou(rois, gt.boxes) >= 0.5).sum())
    best = float(pairwise_iou(proposals, gt.boxes).max())
    assert (wrong, right) == (0, 1)
    errata.quotes("gt-appended", "0", "1", f"{best:.3f}")
