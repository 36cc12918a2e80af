"""Our Faster R-CNN with the weights of one of torchvision's, and proposals and detections of both paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN

from pipeline.artifacts.weights import restore, select_part
from pipeline.building.anchors import anchor_grid
from pipeline.building.memory_format import channels_last
from pipeline.building.torchvision_detector import from_torchvision
from pipeline.building.trunk import new_trunk
from pipeline.families.faster_rcnn.building.detection import detection_rule, test_proposal_rule
from pipeline.families.faster_rcnn.building.roi_head import new_head, num_classes_of
from pipeline.families.faster_rcnn.building.rpn import new_rpn
from pipeline.families.faster_rcnn.nn.detecting import detect_in_maps
from pipeline.families.faster_rcnn.nn.proposer import Proposer
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.boxes import pairwise_iou
from pipeline.params.reading import Params

SCORE_TOLERANCE, BOX_TOLERANCE = 1e-4, 0.05
"""Within which two are a pair; and how near a threshold one without a pair has to be."""

LEAST_SIDE = 0.01
"""px; torchvision's `RoIHeads` leaves out detections that are thinner, ours those that are empty."""

Parts = tuple[Trunk, RPNHead, RoIHead]

AS_TORCHVISION: dict[str, Any] = {
    "backbone": {"weights": "random", "size_divisible": 32, "neck": {"name": "fpn"}},
    "anchors": {"base_size": 32.0, "ratios": [0.5, 1.0, 2.0], "scales": [1.0], "placement": "torchvision"},
    "rpn": {"channels": 256},
    "roi_head": {"pool": "roi_align", "output_size": 7, "samples": 2, "aligned": False, "hidden": 1024},
    "detect": {
        "pre_nms": 1000,
        "proposal_nms_iou": 0.7,
        "proposals": 1000,
        "min_size": 0.0,
        "cut_first": True,
        "score_threshold": 0.05,
        "nms_iou": 0.5,
        "per_image": 100,
    },
}
"""params.yaml for `fasterrcnn_resnet50_fpn`, but for the name of the backbone."""

V2: dict[str, Any] = {
    "backbone": {"neck": {"norm": "batch"}},
    "rpn": {"depth": 2},
    "roi_head": {"kind": "convs"},
}
"""What differs for its v2."""


def parts_of(state: Mapping[str, Tensor], params: Params) -> Parts:
    """Our trunk, RPN and RoI head with the weights of a torchvision detector, by `init.detector`'s way."""
    ours = from_torchvision(state, "torchvision")
    trunk = new_trunk(params.backbone)
    rpn = new_rpn(trunk.layout, params.anchors, params.rpn)
    states = [select_part(ours, part) for part in ("trunk", "rpn", "head")]
    head = new_head(trunk.layout, num_classes_of(states[2]), params.roi_head, params.backbone)
    for module, own in zip((trunk, rpn, head), states, strict=True):
        restore(module, own, "torchvision")
    return channels_last(trunk), channels_last(rpn), head.eval()


@dataclass
class Boxes:
    """(N, 4) boxes, (N,) scores and (N,) labels, of proposals all 0."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


Found = tuple[Boxes, Boxes]
"""The proposals and the detections of an image."""


@torch.inference_mode()
def found_by_ours(parts: Parts, params: Params, pixels: Tensor) -> Found:
    """In (3, H, W) uint8 pixels of the resized image."""
    trunk, rpn, head = parts
    size = (pixels.shape[1], pixels.shape[2])
    propose = Proposer(
        rpn, anchor_grid(params.anchors, trunk.layout), test_proposal_rule(params.detect, params.detect.proposals)
    )
    maps = trunk(trunk.normalise(pixels[None], [size]))
    (proposed,) = propose(maps, [size], [(1.0, 1.0)])
    (own,) = detect_in_maps(head, maps, [proposed.boxes], [size], detection_rule(params.detect))
    return _proposals(proposed.boxes, proposed.scores), on_cpu(own.boxes, own.scores, own.labels)


@torch.inference_mode()
def found_by_theirs(model: TorchvisionFasterRCNN, pixels: Tensor) -> Found:
    """The same, as torchvision's model finds them without a resize of its own."""
    caught: list[tuple[Tensor, Tensor]] = []
    filter_proposals = model.rpn.filter_proposals

    def catch(*arguments: Any) -> Any:
        boxes, scores = filter_proposals(*arguments)
        caught.append((boxes[0], scores[0]))
        return boxes, scores

    model.transform.min_size, model.transform.max_size = (min(pixels.shape[1:]),), max(pixels.shape[1:])
    model.rpn.filter_proposals = catch
    try:
        (own,) = model([pixels.float() / 255])
    finally:
        del model.rpn.filter_proposals
    return _proposals(*caught[0]), on_cpu(own["boxes"], own["scores"], own["labels"])


def _proposals(boxes: Tensor, scores: Tensor) -> Boxes:
    return on_cpu(boxes, scores, torch.zeros(len(boxes), dtype=torch.int64))


def on_cpu(boxes: Tensor, scores: Tensor, labels: Tensor) -> Boxes:
    """Boxes found on any device, to be paired."""
    return Boxes(boxes.cpu(), scores.cpu(), labels.cpu())


def float32_on(name: str) -> torch.device:
    """The device of this name, whose products of matrices keep float32's 24 bits."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


@dataclass
class Pairs:
    """How many pairs, their largest gaps, and a line for each box without a pair; `unexplained` of those that no
    threshold is near to."""

    count: int = 0
    score: float = 0.0
    box: float = 0.0
    unpaired: list[str] = field(default_factory=list)
    unexplained: int = 0

    def add(self, other: Pairs) -> None:
        self.count += other.count
        self.score, self.box = max(self.score, other.score), max(self.box, other.box)
        self.unpaired += other.unpaired
        self.unexplained += other.unexplained


def pair(ours: Boxes, theirs: Boxes, *, floor: float, nms_iou: float, most: int, cuts: Sequence[float] = ()) -> Pairs:
    """Pair each of ours with the nearest of theirs of the same label within the tolerances.

    Args:
        floor: least score. nms_iou, most: what NMS suppresses, and how many are kept, best first.
        cuts: the scores of the last candidates that come to NMS, such as those of each level.
    """
    found, free = Pairs(), torch.ones(len(theirs.boxes), dtype=torch.bool)
    left = []
    for index, (box, score, label) in enumerate(zip(ours.boxes, ours.scores, ours.labels, strict=True)):
        score_gap, box_gap = (theirs.scores - score).abs(), (theirs.boxes - box).abs().amax(dim=1)
        near = free & (theirs.labels == label) & (score_gap <= SCORE_TOLERANCE) & (box_gap <= BOX_TOLERANCE)
        if not near.any():
            left.append(index)
            continue
        nearest = int(torch.where(near, box_gap, torch.inf).argmin())
        free[nearest] = False
        found.count += 1
        found.score, found.box = max(found.score, float(score_gap[nearest])), max(found.box, float(box_gap[nearest]))
    sides = (("ours", ours, torch.tensor(left, dtype=torch.int64)), ("theirs", theirs, torch.nonzero(free).flatten()))
    alone = [Boxes(own.boxes[rows], own.scores[rows], own.labels[rows]) for _, own, rows in sides]
    every = Boxes(
        *(torch.cat([getattr(own, name) for own in (ours, theirs)]) for name in ("boxes", "scores", "labels"))
    )
    lasts = [float(own.scores[-1]) for own in (ours, theirs) if len(own.scores) >= most]
    for (name, _, _), rows in zip(sides, alone, strict=True):
        for box, score, label in zip(rows.boxes, rows.scores, rows.labels, strict=True):
            same = every.labels == label
            overlap = pairwise_iou(box[None], every.boxes[same])[0]
            others = pairwise_iou(box[None], torch.cat([own.boxes[own.labels == label] for own in alone]))[0]
            why = "no threshold is near"
            if abs(float(score) - floor) <= SCORE_TOLERANCE:
                why = f"score threshold {floor}"
            elif any(abs(float(score) - last) <= SCORE_TOLERANCE for last in lasts):
                why = f"score of the last of {most}"
            elif any(abs(float(score) - last) <= SCORE_TOLERANCE for last in cuts):
                why = "score of the last candidate"
            elif bool(((overlap - nms_iou).abs() <= SCORE_TOLERANCE).any()):
                why = f"IoU {nms_iou} of NMS"
            elif bool(((box[2:] - box[:2]) < LEAST_SIDE).any()):
                why = f"a side under {LEAST_SIDE} px, which torchvision leaves out"
            elif int((others > nms_iou - SCORE_TOLERANCE).sum()) > 1:
                why = "overlaps another without a pair"
            else:
                found.unexplained += 1
            places = ", ".join(f"{value:.2f}" for value in box.tolist())
            found.unpaired.append(f"{name} label {int(label)} score {float(score):.6f} ({places}): {why}")
    return found
