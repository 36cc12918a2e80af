"""Our network beside the exported one: made from the same parts, fed the same pixels, their detections paired."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN

from pipeline.building.anchors import anchor_grid
from pipeline.building.memory_format import channels_last
from pipeline.families.faster_rcnn.building.detection import detection_rule, test_proposal_rule
from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.families.faster_rcnn.building.rpn import new_rpn
from pipeline.families.faster_rcnn.exported.settings import settings_of
from pipeline.families.faster_rcnn.exported.torchvision_model import build_torchvision, torchvision_state
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from tests.conftest import apply_overlay
from tests.defaults import default_content

SCORE_TOLERANCE, BOX_TOLERANCE = 1e-4, 0.05
Parts = tuple[Trunk, RPNHead, RoIHead]


@dataclass
class Differences:
    """Between paired detections: how many pairs, the largest gaps; and descriptions of detections without a pair."""

    pairs: int = 0
    score: float = 0.0
    box: float = 0.0
    unpaired: list[str] = field(default_factory=list)

    def add(self, other: Differences) -> None:
        self.pairs += other.pairs
        self.score, self.box = max(self.score, other.score), max(self.box, other.box)
        self.unpaired += other.unpaired


def differences(ours: DetectedBoxes, theirs: dict[str, Tensor]) -> Differences:
    """Pair each of our detections with theirs of the same label that is nearest within the tolerances."""
    found = Differences()
    free = torch.ones(len(theirs["scores"]), dtype=torch.bool)
    for box, score, label in zip(ours.boxes, ours.scores, ours.labels, strict=True):
        score_gap, box_gap = (theirs["scores"] - score).abs(), (theirs["boxes"] - box).abs().amax(dim=1)
        near = free & (theirs["labels"] == label) & (score_gap <= SCORE_TOLERANCE) & (box_gap <= BOX_TOLERANCE)
        if not near.any():
            found.unpaired.append(f"ours {int(label)} {float(score):.6f} {box.tolist()}")
            continue
        nearest = int(torch.where(near, box_gap, torch.inf).argmin())
        free[nearest] = False
        found.pairs += 1
        found.score, found.box = max(found.score, float(score_gap[nearest])), max(found.box, float(box_gap[nearest]))
    for index in torch.nonzero(free).flatten().tolist():
        box, score, label = (theirs[name][index] for name in ("boxes", "scores", "labels"))
        found.unpaired.append(f"theirs {int(label)} {float(score):.6f} {box.tolist()}")
    return found


def params_of(*overlays: dict[str, Any]) -> Params:
    """The committed defaults with overlays, and no least size of proposals, which torchvision has not."""
    content = default_content()
    for overlay in (*overlays, {"detect": {"min_size": 0.0}}):
        apply_overlay(content, overlay)
    return Params(check_params(content, "test"))


def random_parts(trunk: Trunk, params: Params, num_classes: int, seed: int) -> Parts:
    """The trunk with random heads: sizable outputs of both, and a normalisation per class whose mean is not 0."""
    draw = torch.Generator().manual_seed(seed)
    rpn = new_rpn(trunk.layout, params.anchors, params.rpn)
    rpn.initialise(draw)
    head = new_head(trunk.layout, num_classes, params.roi_head, params.backbone)
    head.initialise_hidden(draw)
    with torch.no_grad():
        for layer, std in (
            (rpn.cls_score, 0.15),
            (rpn.bbox_pred, 0.05),
            (head.cls_score, 0.05),
            (head.bbox_pred, 0.05),
        ):
            layer.weight.normal_(std=std, generator=draw)
            layer.bias.normal_(std=0.1, generator=draw)  # type: ignore[union-attr]
        head.delta_mean.normal_(std=0.05, generator=draw)
        head.delta_std.uniform_(0.1, 0.3, generator=draw)
    return channels_last(trunk), channels_last(rpn), head.eval()


def named(parts: Parts) -> dict[str, nn.Module]:
    """The parts as a bundle has them."""
    return dict(zip(("trunk", "rpn", "head"), parts, strict=True))


def ours(parts: Parts, params: Params) -> FasterRCNN:
    """This project's network of the parts, in float32."""
    rule = test_proposal_rule(params.detect, params.detect.proposals)
    return FasterRCNN(*parts, anchor_grid(params.anchors, parts[0].layout), rule, detection_rule(params.detect))


def exported(parts: Parts, params: Params) -> TorchvisionFasterRCNN:
    """torchvision's network of the parts."""
    classes = ["background", *(f"class {label}" for label in range(1, parts[2].num_classes))]
    return build_torchvision(
        settings_of(params, "joint", classes, parts[0], parts[2]), torchvision_state(*parts), "test"
    )


def detect_with_ours(network: FasterRCNN, pixels: Tensor) -> DetectedBoxes:
    """Detections in (3, H, W) uint8 pixels of the resized image."""
    return network(pixels[None], [tuple(pixels.shape[1:])], [(1.0, 1.0)])[0]  # type: ignore[list-item]


def detect_with_theirs(model: TorchvisionFasterRCNN, pixels: Tensor) -> dict[str, Tensor]:
    """Detections in (3, H, W) uint8 pixels of any size."""
    with torch.inference_mode():
        return model([pixels.float() / 255])[0]
