"""torchvision's detectors with published weights, and what they are by our parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torchvision.models import detection


@dataclass(frozen=True)
class Published:
    """A detector of torchvision's.

    Attributes:
        builder: what builds it. weights: its published ones. ap: its AP on val2017, points.
        family: ours. network: of it, the one that is judged without training.
        settings: of params.yaml, by `section.key`, where they are not the family's defaults, nor `COMMON`'s.
        scores: the layers of class scores. Random weights are so much spread that some count as detections.
    """

    builder: Any
    weights: Any
    ap: float
    family: str
    network: str
    settings: Mapping[str, Any] = field(repr=False)
    scores: tuple[str, ...] = ("head.classification_head.cls_logits.weight",)


COMMON: dict[str, Any] = {
    "base.precision": "float32",
    "base.mirror": False,
    "dataset.reader": "coco",
    "dataset.coco.train": ["annotations/instances_train2017.json"],
    "dataset.coco.test": ["annotations/instances_val2017.json"],
    "dataset.coco.images": "{name}",
    "dataset.findings.image_without_annotation": "keep",
    "backbone.weights": "random",
    "init.detector": "file",
    "evaluate.per_image": 100,
}

_ON_RESNET: dict[str, Any] = {
    "backbone.name": "resnet50",
    "backbone.size_divisible": 32,
    "resize.shorter_side": 800,
    "resize.longer_side": 1333,
    "evaluate.score_threshold": 0.05,
}
_ANCHORS: dict[str, Any] = {
    "anchors.placement": "torchvision",
    "anchors.base_size": 32,
    "anchors.ratios": [0.5, 1.0, 2.0],
}
_FASTER_RCNN: dict[str, Any] = {
    **_ON_RESNET,
    **_ANCHORS,
    "backbone.neck.name": "fpn",
    "anchors.scales": [1.0],
    "rpn.channels": 256,
    "roi_head.pool": "roi_align",
    "roi_head.output_size": 7,
    "roi_head.samples": 2,
    "roi_head.aligned": False,
    "roi_head.hidden": 1024,
    "roi_head.dropout": 0.0,
    "detect.cut_first": True,
    "detect.pre_nms": 1000,
    "detect.proposal_nms_iou": 0.7,
    "detect.proposals": 1000,
    "detect.recall_ranks": 1000,
    "detect.min_size": 0.001,
    "detect.score_threshold": 0.05,
    "detect.nms_iou": 0.5,
    "detect.per_image": 100,
}
_RETINANET: dict[str, Any] = {
    **_ON_RESNET,
    **_ANCHORS,
    "backbone.neck.name": "fpn_p3_p7",
    "anchors.scales": [1.0, 2 ** (1 / 3), 2 ** (2 / 3)],
    "anchors.whole_sizes": True,
    "retinanet.depth": 4,
    "retinanet.channels": 256,
    "detect_retinanet.score_threshold": 0.05,
    "detect_retinanet.per_level": 1000,
    "detect_retinanet.nms_iou": 0.5,
    "detect_retinanet.per_image": 300,
}
_FCOS: dict[str, Any] = {
    **_ON_RESNET,
    "backbone.neck.name": "fpn_p3_p7",
    "fcos.depth": 4,
    "fcos.channels": 256,
    "fcos.placement": "torchvision",
    "detect_fcos.score_threshold": 0.2,
    "detect_fcos.per_level": 1000,
    "detect_fcos.nms_iou": 0.6,
    "detect_fcos.per_image": 100,
    "evaluate.score_threshold": 0.2,
}
_SSD300: dict[str, Any] = {
    "backbone.name": "vgg16",
    "backbone.neck.name": "ssd300",
    "resize.fixed_width": 300,
    "resize.fixed_height": 300,
    "ssd.scales": [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
    "ssd.ratios": [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]],
    "ssd.clip": "sides",
    "detect_ssd.score_threshold": 0.01,
    "detect_ssd.per_class": 400,
    "detect_ssd.nms_iou": 0.45,
    "detect_ssd.per_image": 200,
    "evaluate.score_threshold": 0.01,
}
_EARLY = {"backbone.norm_epsilon": 0.0}
"""Weights that were trained with an epsilon of 0."""

_RPN_SCORES = ("roi_heads.box_predictor.cls_score.weight",)

DETECTORS: dict[str, Published] = {
    "fasterrcnn": Published(
        detection.fasterrcnn_resnet50_fpn,
        detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
        37.0,
        "faster_rcnn_joint",
        "initial",
        {**_FASTER_RCNN, **_EARLY},
        _RPN_SCORES,
    ),
    "fasterrcnn_v2": Published(
        detection.fasterrcnn_resnet50_fpn_v2,
        detection.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
        46.7,
        "faster_rcnn_joint",
        "initial",
        {**_FASTER_RCNN, "backbone.neck.norm": "batch", "rpn.depth": 2, "roi_head.kind": "convs"},
        _RPN_SCORES,
    ),
    "retinanet": Published(
        detection.retinanet_resnet50_fpn,
        detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1,
        36.4,
        "retinanet",
        "retinanet_initial",
        {**_RETINANET, **_EARLY},
    ),
    "retinanet_v2": Published(
        detection.retinanet_resnet50_fpn_v2,
        detection.RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1,
        41.5,
        "retinanet",
        "retinanet_initial",
        {**_RETINANET, "backbone.neck.p6_from": "c5", "retinanet.norm": "group"},
    ),
    "fcos": Published(
        detection.fcos_resnet50_fpn,
        detection.FCOS_ResNet50_FPN_Weights.COCO_V1,
        39.2,
        "fcos",
        "fcos_initial",
        _FCOS,
    ),
    "ssd300": Published(
        detection.ssd300_vgg16,
        detection.SSD300_VGG16_Weights.COCO_V1,
        25.1,
        "ssd",
        "ssd_initial",
        _SSD300,
        tuple(f"head.classification_head.module_list.{level}.weight" for level in range(6)),
    ),
}
"""By what `benchmarks.published` calls them."""
