"""A Faster R-CNN with random weights, random images to train it on, and its losses, from pipeline/nn alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.families.faster_rcnn.nn.roi_losses import roi_losses
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchor_matching import assign_anchors
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.boxes import encode
from pipeline.nn.matching import BG, FG
from pipeline.nn.sampling import sample_fg_bg

CLASSES = 21
_NO_REGIONS = torch.zeros(0, 4)


@dataclass(frozen=True)
class Setting:
    """What is built and run: `size` is (H, W) in pixels."""

    trunk: str
    size: tuple[int, int]
    batch: int
    channels: int
    hidden: int
    scales: tuple[float, ...]


FULL = Setting("vgg16", (600, 1000), 4, 512, 4096, (8.0, 16.0, 32.0))
SMALL = Setting("tiny", (96, 128), 2, 32, 64, (1.0, 2.0, 4.0))


class Network(nn.Module):
    """Trunk, RPN and head with random weights, the same for equal seeds."""

    def __init__(self, setting: Setting, pool: str) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.trunk = build_trunk(setting.trunk, frozen_stages=2, ceil_pool=False)
        self.trunk.initialise(draw)
        self.grid = AnchorGrid(16, (0.5, 1.0, 2.0), setting.scales, self.trunk.layout)
        self.rpn = RPNHead(self.trunk.layout.channels, setting.channels, self.grid.per_location)
        self.rpn.initialise(draw)
        self.head = FcHead(self.trunk.layout, CLASSES, Pooling(pool, 7), hidden=setting.hidden, dropout=0.0)
        self.head.initialise_hidden(draw)
        self.head.initialise_outputs(draw)
        self.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Batch:
    """Images (B, 3, H, W) uint8 on the device, and for each its gt boxes, their labels and the anchors drawn."""

    images: Tensor
    sizes: list[tuple[int, int]]
    gt: list[tuple[Tensor, Tensor]]
    fg: list[Tensor]
    bg: list[Tensor]
    deltas: list[Tensor]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        moved = [[tensor.to(device) for tensor in own] for own in (self.fg, self.bg, self.deltas)]
        gt = [(boxes.to(device), labels.to(device)) for boxes, labels in self.gt]
        images = self.images.to(device, memory_format=torch.channels_last)
        return Batch(images, self.sizes, gt, *moved)


def make_batch(network: Network, setting: Setting) -> Batch:
    """Random images with 8 random gt boxes each, and 256 anchors drawn as in training."""
    draw = torch.Generator().manual_seed(1)
    height, width = setting.size
    images = torch.randint(0, 256, (setting.batch, 3, height, width), dtype=torch.uint8, generator=draw)
    anchors = network.grid.exact(network.trunk.layout.sizes(height, width))
    gt, fg, bg, deltas = [], [], [], []
    for _ in range(setting.batch):
        limits = torch.tensor([width, height], dtype=torch.float32)
        sides = (0.15 + 0.35 * torch.rand(8, 2, generator=draw)) * limits
        corners = torch.rand(8, 2, generator=draw) * (limits - sides)
        boxes = torch.cat([corners, corners + sides], dim=1)
        rule = {"fg_iou": 0.7, "bg_iou": 0.3, "allowed_border": 0.0, "ignore_ioa": 0.5}
        matches = assign_anchors(anchors, setting.size, boxes, _NO_REGIONS, **rule)
        indices = [torch.nonzero(matches.labels == kind).squeeze(1) for kind in (FG, BG)]
        own_fg, own_bg = sample_fg_bg(indices[0], indices[1], 256, 0.5, draw)
        gt.append((boxes, torch.randint(1, CLASSES, (8,), generator=draw)))
        fg.append(own_fg)
        bg.append(own_bg)
        deltas.append(encode(anchors[own_fg].float(), boxes[matches.matched_gt[own_fg]]))
    return Batch(images, [setting.size] * setting.batch, gt, fg, bg, deltas)


def step1_loss(network: Network, batch: Batch) -> Tensor:
    """The RPN's losses, through the trunk."""
    (objectness,), (deltas,) = network.rpn(_maps(network, batch))
    return _rpn_loss(objectness, deltas, batch)


def joint_loss(network: Network, batch: Batch, fresh: bool = True) -> Tensor:
    """All four losses. RoIs: 128 an image, drawn from fresh proposals, or not `fresh`: the gt boxes."""
    maps = _maps(network, batch)
    (objectness,), (deltas,) = network.rpn(maps)
    drawn = []
    with torch.no_grad():
        anchors = network.grid([objectness.shape[1:3]]).to(objectness.device)
        rule = ProposalRule(12000, 0.7, 2000, 8.0)
        for index, (boxes, labels) in enumerate(batch.gt):
            candidates = boxes
            if fresh:
                own = (objectness[index].reshape(-1), deltas[index].reshape(-1, 4))
                candidates = torch.cat([make_proposals(*own, anchors, batch.sizes[index], rule)[0], boxes])
            drawn.append(_draw_rois(candidates, boxes, labels, index))
    class_logits, class_deltas = network.head(maps, [rois for rois, _, _ in drawn])
    labels, targets = (torch.cat([own[place] for own in drawn]) for place in (1, 2))
    head = roi_losses(class_logits, labels, class_deltas, targets, 1.0)
    return _rpn_loss(objectness, deltas, batch) + head[0] + head[1]


def _maps(network: Network, batch: Batch) -> Maps:
    return network.trunk(network.trunk.normalise(batch.images, batch.sizes))


def _rpn_loss(objectness: Tensor, deltas: Tensor, batch: Batch) -> Tensor:
    logits = [
        [own.reshape(-1)[rows] for own, rows in zip(objectness, part, strict=True)] for part in (batch.fg, batch.bg)
    ]
    fg, bg = (torch.cat(own) for own in logits)
    predicted = torch.cat([own.reshape(-1, 4)[rows] for own, rows in zip(deltas, batch.fg, strict=True)])
    is_fg = torch.cat([torch.ones_like(fg), torch.zeros_like(bg)])
    weight = torch.full_like(is_fg, 1 / len(is_fg))
    both = rpn_losses(torch.cat([fg, bg]), is_fg, predicted, torch.cat(batch.deltas), weight, 3.0)
    return both[0] + both[1]


def _draw_rois(candidates: Tensor, boxes: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """RoIs (R, 4), their labels (R,) and deltas (R, 4)."""
    matches = match_proposals(candidates, boxes, 0.5, 0.5, 0.0)
    kinds = [torch.nonzero(matches.labels == kind).squeeze(1) for kind in (FG, BG)]
    rows = torch.cat(sample_fg_bg(kinds[0], kinds[1], 128, 0.25, torch.Generator().manual_seed(seed)))
    own = labels[matches.matched_gt[rows]] * (matches.labels[rows] == FG)
    return candidates[rows], own, encode(candidates[rows], boxes[matches.matched_gt[rows]])
