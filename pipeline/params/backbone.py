"""The block `backbone` of params.yaml: the trunk, which is a backbone and its neck."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from pipeline.geometry.trunk_settings import ALL_STAGES, BACKBONE_NAMES, RESNET_NAMES
from pipeline.params.section import Count, NonNegative, Positive, Section

PRETRAINED = ("vgg16", *RESNET_NAMES)
"""Backbones whose ImageNet weights torchvision's hub has."""


def _known(name: str) -> str:
    if name not in BACKBONE_NAMES:
        raise ValueError(f"input should be one of {', '.join(BACKBONE_NAMES)}")
    return name


def _stages(value: Any) -> Any:
    if value == "all" or (type(value) is int and 0 <= value <= ALL_STAGES):
        return value
    raise ValueError(f"input should be a whole number from 0 to {ALL_STAGES}, or all")


class Pretrain(Section):
    """Classification of generated crops: what ImageNet is to VGG16, this is to the tiny trunk."""

    iterations: Count
    images: Count
    crops_per_iteration: Count
    crop_size: Annotated[int, Field(ge=32)]
    lr: Positive


class NeckParams(Section):
    """What stands between the backbone and the heads."""

    name: Literal["none", "fpn", "fpn_p3_p7"] = "none"
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
    def _neck_has_stages_to_stand_on(self) -> BackboneParams:
        if self.neck.name != "none" and self.name not in RESNET_NAMES:
            raise ValueError(
                f"neck {self.neck.name!r} needs the maps of several stages, which {', '.join(RESNET_NAMES)} have; set "
                f"neck.name to none, or name to one of them, not {self.name}"
            )
        return self
