"""From the RPN's outputs to proposals, with what is left after each step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.families.faster_rcnn.params.typed import FasterRCNNParams
from pipeline.nn.boxes import clip, decode
from pipeline.nn.operators import nms
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import WHITE, BoxLayer, Colour, calmed, draw_boxes
from pipeline.views.marks import colour_ramp
from pipeline.walk import by_hand
from pipeline.walk.anchors import Anchors
from pipeline.walk.checking import same
from pipeline.walk.resizing import Resized, numbered
from pipeline.walk.rpn_outputs import RPNOutputs

_SHOWN = 50
_LAST_SHADE = 0.55  # darker lines have a light casing and look like gt boxes
_BY_HAND = 300  # candidates that plain Python goes through in a blink


@dataclass(frozen=True)
class Made:
    """Proposals of a use, and how many boxes each step leaves.

    Attributes:
        boxes: (P, 4) float32. every: all anchors; large: both sides long enough; best: after the first cut; separate:
            after NMS; kept: after the last cut.
        recall: share of the gt boxes that a proposal meets with IoU of at least one half.
    """

    rule: ProposalRule
    boxes: Tensor
    every: int
    large: int
    best: int
    separate: int
    kept: int
    recall: float


@dataclass(frozen=True)
class Proposals:
    """Proposals for joint training and for detection, and how many plain NMS agreed on."""

    train: Made
    test: Made
    checked: int
    checked_kept: int
    limits: tuple[float, float]


def proposals_of(anchors: Anchors, own: Resized, outputs: RPNOutputs, params: FasterRCNNParams) -> Proposals:
    """Make the proposals of both uses."""
    joint, detect, training = params.finetune_joint, params.detect, params.proposals
    train = ProposalRule(joint.pre_nms, training.nms_iou, joint.post_nms, training.min_size)
    test = ProposalRule(detect.pre_nms, detect.proposal_nms_iou, detect.proposals, detect.min_size)
    checked, kept = _check(anchors, own, outputs, test)
    return Proposals(
        _made(anchors, own, outputs, train),
        _made(anchors, own, outputs, test),
        checked,
        kept,
        (train.min_size * own.scale[0], train.min_size * own.scale[1]),
    )


def _made(anchors: Anchors, own: Resized, outputs: RPNOutputs, rule: ProposalRule) -> Made:
    size, anchors_of_net = (own.height, own.width), anchors.every.float()

    def run(changed: ProposalRule) -> Tensor:
        return make_proposals(outputs.objectness, outputs.deltas, anchors_of_net, size, changed, own.scale)[0]

    sides = _sides(clip(decode(anchors_of_net, outputs.deltas), *size))
    large = int((sides >= torch.tensor(own.scale) * rule.min_size).all(dim=1).sum())
    separate = run(replace(rule, post_nms=anchors.count))
    boxes = separate[: rule.post_nms]
    same("the last cut", run(rule).flatten()[:4].tolist(), boxes.flatten()[:4].tolist())
    reached = [any(by_hand.iou(gt, box) >= 0.5 for box in boxes.tolist()) for gt in own.boxes.tolist()]
    best = min(large, rule.pre_nms) if rule.pre_nms >= 0 else large
    return Made(rule, boxes, anchors.count, large, best, len(separate), len(boxes), float(np.mean(reached)))


def _sides(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]


def _check(anchors: Anchors, own: Resized, outputs: RPNOutputs, rule: ProposalRule) -> tuple[int, int]:
    """NMS by hand against the compiled one, on the best candidates."""
    order = torch.argsort(outputs.objectness, descending=True, stable=True)[:_BY_HAND]
    boxes = clip(decode(anchors.every.float()[order], outputs.deltas[order]), own.height, own.width)
    scores = outputs.objectness[order]
    kept = [step.kept for step in by_hand.nms(boxes.tolist(), scores.tolist(), rule.nms_iou)]
    same("NMS", kept, nms(boxes, scores, rule.nms_iou).tolist())
    return len(order), len(kept)


def proposals_picture(own: Resized, made: Made, side: int) -> Tile:
    """The first proposals, bright for the best."""
    boxes = made.boxes.numpy()[:_SHOWN]
    shades = colour_ramp(np.linspace(1, _LAST_SHADE, max(len(boxes), 1))).tolist()
    colours: list[Colour] = [(red, green, blue) for red, green, blue in shades]
    layers = [
        BoxLayer(boxes[index : index + 1], colours[index], thickness=1) for index in range(len(boxes) - 1, -1, -1)
    ]
    layers.append(numbered(own.boxes, thickness=3))
    keys = [Key(colours[0], "best", "solid"), Key(colours[-1], "last of these", "solid"), Key(WHITE, "gt box", "solid")]
    return Tile(draw_boxes(calmed(own.pixels), layers, side), f"the best {len(boxes)} of {made.kept:,} proposals", keys)
