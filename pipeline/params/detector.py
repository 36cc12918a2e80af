"""The blocks of params.yaml on the detector: from the resize to the evaluation, training apart."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, Fraction, NonNegative, Overlap, Positive, PreNms, Quadruple, Section
from pipeline.params.training import Pretrain


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


class InitParams(Section):
    """Whether a trained detector, of these classes or of others, gives the first weights."""

    detector: Literal["none", "file"]


class ResizeParams(Section):
    """The paper's rule (shorter side to a length unless the longer would pass its limit) or a fixed size."""

    rule: Literal["shorter_side", "fixed"]
    shorter_side: Count
    longer_side: Count
    fixed_width: Count
    fixed_height: Count
    # At most so many, as a view is stored in a byte. Parameters and bundles of 0.1.0 lack the key.
    extra_sides: Annotated[list[Count], Field(max_length=50)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _each_scale_once(self) -> ResizeParams:
        if self.extra_sides and self.rule == "fixed":
            raise ValueError("extra_sides are of rule shorter_side; leave them empty, or change rule")
        if len({self.shorter_side, *self.extra_sides}) <= len(self.extra_sides):
            raise ValueError(f"extra_sides {self.extra_sides} and shorter_side {self.shorter_side} name a side twice")
        return self


class AnchorParams(Section):
    """Anchors of one location: all ratios (height over width) at all scales of the base size."""

    base_size: Positive
    ratios: Annotated[list[Positive], Field(min_length=1)]
    scales: Annotated[list[Positive], Field(min_length=1)]


class AnchorTargetParams(Section):
    """Which anchors are fg, bg or ignored."""

    fg_iou: Fraction
    bg_iou: Fraction
    allowed_border: float | None
    ignore_ioa: Overlap

    @model_validator(mode="after")
    def _bg_below_fg(self) -> AnchorTargetParams:
        if self.bg_iou > self.fg_iou:
            raise ValueError(f"bg_iou {self.bg_iou} is above fg_iou {self.fg_iou}")
        return self


class RPNParams(Section):
    """The RPN head, its sampling and its loss."""

    channels: Count
    anchors_per_image: Count
    fg_fraction: Fraction
    sigma: Positive
    box_loss_weight: NonNegative
    images_without_gt: Literal["background", "drop"]


class ProposalParams(Section):
    """Proposals for training the RoI head: the RPN's, or those in a file of another codebase."""

    source: Literal["rpn", "file"]
    pre_nms: PreNms
    nms_iou: Fraction
    post_nms: Count
    min_size: NonNegative
    mirrored: Literal["recomputed", "mirrored"]


class ProposalTargetParams(Section):
    """Which proposals are fg or bg, and how their deltas are normalised."""

    fg_iou: Fraction
    bg_iou_high: Fraction
    bg_iou_low: Fraction
    ignore_ioa: Overlap
    normalise: Literal["fixed", "measured"]
    mean: Quadruple
    std: Annotated[list[Positive], Field(min_length=4, max_length=4)]

    @model_validator(mode="after")
    def _ordered(self) -> ProposalTargetParams:
        if not self.bg_iou_low <= self.bg_iou_high <= self.fg_iou:
            raise ValueError("bg_iou_low <= bg_iou_high <= fg_iou must hold")
        return self


class RoIHeadParams(Section):
    """The RoI head, its sampling and its loss."""

    pool: Literal["roi_pool", "roi_align"]
    output_size: Count
    hidden: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    rois_per_image: Count
    fg_fraction: Fraction
    sigma: Positive
    box_loss_weight: NonNegative


class FeatureParams(Section):
    """Which feature maps are stored, and how: float16, or float32 to keep them exact."""

    dtype: Literal["float16", "float32"]
    keep_frozen_blocks: bool


class DetectParams(Section):
    """Test-time proposals and detections; `recall_ranks` proposals are written for the recall curves."""

    pre_nms: PreNms
    proposal_nms_iou: Fraction
    proposals: Count
    recall_ranks: Annotated[int, Field(gt=0, le=2000)]
    min_size: NonNegative
    score_threshold: Fraction
    nms_iou: Fraction
    per_image: Count


class EvaluateParams(Section):
    """Which images are judged, how many of their proposals `proposal_recall50` counts, which detections the errors."""

    split: Literal["val", "test"]
    recall_proposals: Count
    confusion_score: Fraction
