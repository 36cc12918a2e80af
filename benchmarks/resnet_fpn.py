"""Faster R-CNN on a ResNet with FPN, as torchvision and detectron2 have it, by this project's parameters."""

from __future__ import annotations

from typing import Any

from pipeline.params.backbone import NeckParams

RESNET_FPN: dict[str, dict[str, Any]] = {
    "backbone": {
        "name": "resnet50",
        "weights": "random",
        "frozen_stages": 2,
        "size_divisible": 32,
        "neck": NeckParams(name="fpn"),
    },
    "anchors": {"base_size": 16, "ratios": [0.5, 1.0, 2.0], "scales": [2.0]},
    "rpn": {"channels": 256, "anchors_per_image": 256},
    "proposals": {"pre_nms": 2000, "post_nms": 2000, "min_size": 0.0, "cut_first": True},
    "roi_head": {"hidden": 1024, "dropout": 0.0, "rois_per_image": 512},
    "finetune_joint": {"pre_nms": 2000, "post_nms": 2000},
}
