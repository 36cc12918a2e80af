"""The RoIs that the head is trained on, what it makes of them, and its two losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.roi_losses import roi_losses
from pipeline.families.faster_rcnn.nn.roi_targets import GtBoxes, MatchingRule, find_candidates, normalise_deltas
from pipeline.nn.boxes import encode
from pipeline.nn.matching import BG, FG, IGNORE
from pipeline.nn.roi_pooling import pool_levels
from pipeline.nn.sampling import sample_fg_bg
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, SKY_BLUE, WHITE, BoxLayer, calmed, draw_boxes
from pipeline.walk.checking import same
from pipeline.walk.network import Network
from pipeline.walk.proposals import Made
from pipeline.walk.resizing import Resized, numbered


@dataclass(frozen=True)
class RoIs:
    """Candidates, the sample, and what the head makes of it.

    Attributes:
        candidates: proposals and gt boxes. fg, bg, ignored: of those. fg_proposals: fg that are no gt boxes.
        best_proposal: highest IoU of those that are no gt boxes.
        boxes: (R, 4) RoIs, fg first. fg_drawn: how many are fg.
        pooled: shape of their features. features: of one RoI. scores, offsets: outputs of one RoI.
        fc_weights: of fc6 and fc7. classification, box: losses. even: the class loss of a head that gives every class
            the same probability.
        raw, normalised: mean sizes of (dx, dy, dw, dh) that the fg ask for, before and after normalisation.
    """

    candidates: int
    fg: int
    bg: int
    ignored: int
    fg_proposals: int
    best_proposal: float
    boxes: Tensor
    fg_drawn: int
    most_fg: int
    pooled: tuple[int, ...]
    features: int
    scores: int
    offsets: int
    fc_weights: int
    classification: float
    box: float
    even: float
    raw: list[float]
    normalised: list[float]

    @property
    def total(self) -> float:
        """Both losses."""
        return self.classification + self.box


def rois_of(network: Network, maps: Tensor, own: Resized, made: Made, seed: int) -> RoIs:
    """Match, draw, pool and classify."""
    params, head = network.params, network.head
    targets, count = (
        params.proposal_targets,
        params.roi_head.rois_per_image * params.finetune_joint.images_per_iteration,
    )
    # All gt boxes are called the first class: the figures of a head with random weights do not depend on it.
    gt = GtBoxes(own.gt.float(), torch.ones(len(own.boxes), dtype=torch.int64))
    rule = MatchingRule(targets.fg_iou, targets.bg_iou_high, targets.bg_iou_low, targets.ignore_ioa)
    found = find_candidates(made.boxes, gt, rule)
    labels = found.matches.labels
    fg, bg = (torch.nonzero(labels == kind).squeeze(1) for kind in (FG, BG))
    drawn_fg, drawn_bg = sample_fg_bg(fg, bg, count, params.roi_head.fg_fraction, torch_generator(seed, "walk", "rois"))
    rows = torch.cat([drawn_fg, drawn_bg])
    boxes, classes = found.boxes[rows], torch.zeros(len(rows), dtype=torch.int64)
    classes[: len(drawn_fg)] = 1
    deltas = encode(boxes, gt.boxes[found.matches.matched_gt[rows]])
    wanted = normalise_deltas(deltas, classes, head.delta_mean, head.delta_std)
    with torch.inference_mode():
        pooled = pool_levels([maps], [boxes], network.trunk.layout, head.pooling)
        logits, class_deltas = head([maps], [boxes])
        classification, box = roi_losses(logits, classes, class_deltas, wanted, params.roi_head.sigma)
    by_hand = [
        math.log(sum(map(math.exp, row))) - row[label]
        for row, label in zip(logits.tolist(), classes.tolist(), strict=True)
    ]
    same("RoI head's class loss", [sum(by_hand) / len(by_hand)], [float(classification)], 1e-4)
    hidden = [weight for name, weight in head.named_parameters() if name.startswith("fc")]
    fg_rows = slice(0, len(drawn_fg))
    return RoIs(
        len(labels),
        len(fg),
        len(bg),
        int((labels == IGNORE).sum()),
        int((labels[: len(made.boxes)] == FG).sum()),
        max(found.matches.max_iou[: len(made.boxes)].tolist(), default=0.0),
        boxes,
        len(drawn_fg),
        int(count * params.roi_head.fg_fraction),
        tuple(pooled.shape),
        pooled[0].numel(),
        head.cls_score.out_features,
        head.bbox_pred.out_features,
        sum(weight.numel() for weight in hidden),
        float(classification),
        params.roi_head.box_loss_weight * float(box),
        math.log(head.num_classes),
        deltas[fg_rows].abs().mean(dim=0).tolist(),
        wanted[fg_rows].abs().mean(dim=0).tolist(),
    )


def rois_picture(own: Resized, rois: RoIs, side: int) -> Tile:
    """The sample over the image."""
    boxes = rois.boxes.numpy()
    layers = [
        BoxLayer(boxes[rois.fg_drawn :], SKY_BLUE, thickness=1),
        BoxLayer(boxes[: rois.fg_drawn], ORANGE, thickness=2),
        numbered(own.boxes, thickness=1),
    ]
    keys = [
        Key(ORANGE, f"{rois.fg_drawn} fg RoIs", "solid"),
        Key(SKY_BLUE, f"{len(boxes) - rois.fg_drawn} bg RoIs", "solid"),
        Key(WHITE, "gt box", "solid"),
    ]
    return Tile(draw_boxes(calmed(own.pixels), layers, side), f"the {len(boxes)} RoIs of the sample", keys)
