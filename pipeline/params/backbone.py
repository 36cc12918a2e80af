"""The block `backbone` of params.yaml: the trunk, which is a backbone and its neck."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from pipeline.geometry.trunk_settings import (
    ALL_STAGES,
    BACKBONE_NAMES,
    FINEST_STRIDE,
    NECK_BACKBONES,
    NECK_SIDES,
    NECKS_ON_TIMM,
    RESNET_NAMES,
    STRIDE_BELOW,
    TIMM,
)
from pipeline.params.section import Count, NonNegative, Positive, Section

PRETRAINED = ("vgg16", *RESNET_NAMES)
"""Backbones whose ImageNet weights torchvision's hub has."""


_TIMM_NAME = re.compile(re.escape(TIMM) + r"[a-z0-9_]+(\.[A-Za-z0-9_-]+)?", re.ASCII)


def _known(name: str) -> str:
    if name not in BACKBONE_NAMES and not _TIMM_NAME.fullmatch(name):
        raise ValueError(f"input should be one of {', '.join(BACKBONE_NAMES)}, or {TIMM}MODEL")
    return name


def _stages(value: Any) -> Any:
    if value == "all" or (type(value) is int and 0 <= value <= ALL_STAGES):
        return value
    raise ValueError(f"input should be a whole number from 0 to {ALL_STAGES}, or all")


class Pretrain(Section):
    """Classification of generated crops: the tiny trunk's counterpart of ImageNet."""

    iterations: Count
    images: Count
    crops_per_iteration: Count
    crop_size: Annotated[int, Field(ge=32)]
    lr: Positive


class NeckParams(Section):
    """What stands between the backbone and the heads."""

    name: Literal["none", "fpn", "fpn_p3_p7", "simple_fpn", "ssd300", "ssd512", "ssd_tiny"] = "none"
    channels: Count = 256
    norm: Literal["none", "batch"] = "none"
    p6_from: Literal["p5", "c5"] = "p5"


class BackboneParams(Section):
    """The trunk and where its weights come from."""

    renamed: ClassVar = {"frozen_blocks": "frozen_stages"}

    name: Annotated[str, AfterValidator(_known)]
    weights: Literal["file", "torchvision", "pretrain", "random"]
    frozen_stages: Annotated[int | Literal["all"], PlainValidator(_stages, json_schema_input_type=int | Literal["all"])]
    ceil_pool: bool
    # Earlier parameters and bundles lack these.
    stride_in_1x1: bool = False
    norm_epsilon: NonNegative = 1e-5
    size_divisible: Count = 1
    neck: NeckParams = NeckParams()
    pretrain: Pretrain

    @model_validator(mode="after")
    def _weights_exist(self) -> BackboneParams:
        if self.weights == "pretrain" and self.name != "tiny":
            others = "file or torchvision" if self.name in PRETRAINED else "file or random"
            raise ValueError(f"weights 'pretrain' exist for the tiny trunk only; use {others}")
        if self.weights == "torchvision" and self.name not in PRETRAINED:
            others = "pretrain, file or random" if self.name == "tiny" else "file or random"
            raise ValueError(f"weights 'torchvision' exist for {', '.join(PRETRAINED)} only; use {others}")
        return self

    @model_validator(mode="after")
    def _stride_is_where_the_weights_had_it(self) -> BackboneParams:
        if self.weights == "torchvision" and self.stride_in_1x1:
            raise ValueError("torchvision's weights have their stride in the 3x3; set stride_in_1x1 to false")
        return self

    @model_validator(mode="after")
    def _timm_model_is_frozen_whole_or_trained_whole(self) -> BackboneParams:
        if self.name.startswith(TIMM) and self.frozen_stages not in (0, "all"):
            raise ValueError("a model of timm's is frozen whole or trained whole; set frozen_stages to all or 0")
        return self

    @model_validator(mode="after")
    def _neck_has_maps_to_stand_on(self) -> BackboneParams:
        own = self.neck.name
        backbones = NECK_BACKBONES.get(own, BACKBONE_NAMES)
        on_timm = own not in NECK_BACKBONES or own in NECKS_ON_TIMM
        if not (on_timm if self.name.startswith(TIMM) else self.name in backbones):
            known = ", ".join((*backbones, *([f"{TIMM}MODEL"] if own in NECKS_ON_TIMM else [])))
            raise ValueError(
                f"neck {own!r} stands on the maps of {known}; set neck.name to none, or name to one of them, not "
                f"{self.name}"
            )
        stride = STRIDE_BELOW.get(own)
        if stride is not None:
            if self.size_divisible % stride:
                raise ValueError(f"neck {own!r} takes whole cells of {stride} px; set size_divisible to {stride}")
            if self.neck.norm != "none":
                raise ValueError(f"neck {own!r} has layer norms and no batch norm; set neck.norm to none")
        if own in FINEST_STRIDE:  # of a VGG
            if not self.ceil_pool:
                raise ValueError(f"neck {own!r} has its levels where poolings round up; set ceil_pool to true")
            if self.neck.norm != "none":
                raise ValueError(f"neck {own!r} has no batch norm; set neck.norm to none")
        side = NECK_SIDES.get(own)
        if side is not None and side % self.size_divisible:
            raise ValueError(
                f"neck {own!r} takes images of {side} x {side} px alone, and size_divisible {self.size_divisible} pads "
                "them; set size_divisible to 1"
            )
        return self
