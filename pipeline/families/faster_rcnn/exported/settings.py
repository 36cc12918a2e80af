"""Settings that rebuild an exported network around its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field

from pipeline.building.torchvision_detector import BOX_WEIGHTS
from pipeline.bundle.contract import BundleParams
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.geometry.backbones import RESNETS
from pipeline.geometry.pooling import Pooling
from pipeline.geometry.trunk_settings import NeckSettings, TrunkSettings
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import NeckParams
from pipeline.params.reading import Params
from pipeline.params.resize import ResizeParams
from pipeline.params.section import Count, Fraction, Natural, NonNegative, PreNms, Quadruple, Section

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class ExportSettings(Section):
    """What rebuilds an exported network around its weights.

    `classes` are the names of the labels, the background first; `pixel_mean` and `pixel_std` of RGB in 0..1, null where
    the weights have them; `box_weights` the weights of the RoI head's box coder; the rest are parameters under their
    names in params.yaml. What has a default was not there in earlier files.
    """

    format: Literal["frcnn-torchvision-1"]
    family: Literal["faster_rcnn"] = "faster_rcnn"
    network: str
    classes: Annotated[list[str], Field(min_length=2)]
    backbone: str
    ceil_pool: bool
    stride_in_1x1: bool = False
    norm_epsilon: NonNegative = 1e-5
    size_divisible: Count = 1
    neck: NeckParams = NeckParams()
    pixel_mean: Channels | None = None
    pixel_std: Channels | None = None
    resize: ResizeParams
    anchors: AnchorParams
    rpn_channels: Count
    rpn_depth: Count = 1
    kind: Literal["fc", "res5", "convs"] = "fc"
    pool: Literal["roi_pool", "roi_align"]
    output_size: Count
    samples: Natural = 2
    aligned: bool = True
    hidden: Count
    box_weights: Quadruple = Field(default_factory=lambda: [1.0] * 4)
    pre_nms: PreNms
    proposal_nms_iou: Fraction
    proposals: Count
    score_threshold: Fraction
    nms_iou: Fraction
    per_image: Count

    @property
    def pooling(self) -> Pooling:
        """How RoIs are pooled."""
        return Pooling(self.pool, self.output_size, self.samples, self.aligned)

    @property
    def trunk(self) -> TrunkSettings:
        """The trunk's settings."""
        neck = self.neck
        return TrunkSettings(
            ceil_pool=self.ceil_pool,
            stride_in_1x1=self.stride_in_1x1,
            norm_epsilon=self.norm_epsilon,
            size_divisible=self.size_divisible,
            neck=None if neck.name == "none" else NeckSettings(**neck.model_dump()),
        )

    @property
    def on_resnet(self) -> bool:
        """Whether torchvision has the backbone, whose names the weights then have."""
        return self.backbone in RESNETS


def settings_of(
    params: Params | BundleParams, network: str, classes: Sequence[str], trunk: Trunk, head: RoIHead
) -> ExportSettings:
    """The settings of a network trained with `params`; `classes` with the background first."""
    own = params.backbone
    on_resnet = own.name in RESNETS
    pixels = {name: getattr(trunk, name).tolist() if on_resnet else None for name in ("pixel_mean", "pixel_std")}
    return ExportSettings.model_validate(
        {
            "format": "frcnn-torchvision-1",
            "network": network,
            "classes": list(classes),
            "backbone": own.name,
            **own.model_dump(include={"ceil_pool", "stride_in_1x1", "norm_epsilon", "size_divisible"}),
            "neck": own.neck,
            **pixels,
            "resize": params.resize,
            "anchors": params.anchors,
            "rpn_channels": params.rpn.channels,
            "rpn_depth": params.rpn.depth,
            **params.roi_head.model_dump(include={"kind", "pool", "output_size", "samples", "aligned", "hidden"}),
            "box_weights": list(BOX_WEIGHTS if has_box_weights(head) else (1.0,) * 4),
            **params.detect.model_dump(exclude={"min_size", "cut_first", "recall_ranks", "images_at_once"}),
        }
    )


def has_box_weights(head: RoIHead) -> bool:
    """Whether the normalisation of the head's deltas is what torchvision's box coder divides by, to the bit."""
    std = torch.tensor([1 / weight for weight in BOX_WEIGHTS])
    return bool((head.delta_std.cpu() == std).all()) and not bool(head.delta_mean.any())
