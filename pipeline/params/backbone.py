"""The block `backbone` of params.yaml: the trunk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, Positive, Section


class Pretrain(Section):
    """Classification of generated crops: what ImageNet is to VGG16, this is to the tiny trunk."""

    iterations: Count
    images: Count
    crops_per_iteration: Count
    crop_size: Annotated[int, Field(ge=32)]
    lr: Positive


class BackboneParams(Section):
    """The trunk and where its weights come from."""

    name: Literal["vgg16", "tiny"]
    weights: Literal["file", "torchvision", "pretrain", "random"]
    frozen_blocks: Annotated[int, Field(ge=0, le=5)]
    ceil_pool: bool
    pretrain: Pretrain

    @model_validator(mode="after")
    def _pretraining_is_for_the_tiny_trunk(self) -> BackboneParams:
        if self.weights == "pretrain" and self.name != "tiny":
            others = "file or torchvision" if self.name == "vgg16" else "file or random"
            raise ValueError(f"weights 'pretrain' exist for the tiny trunk only; use {others}")
        if self.weights == "torchvision" and self.name != "vgg16":
            others = "pretrain, file or random" if self.name == "tiny" else "file or random"
            raise ValueError(f"weights 'torchvision' exist for vgg16 only; use {others}")
        return self
