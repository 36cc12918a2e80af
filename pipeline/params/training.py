"""The blocks of params.yaml on running and training: what every stage shares, the solver, each training schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.section import Count, Natural, NonNegative, Positive, PreNms, Section


class Base(Section):
    """What every stage shares. Precision and threads change results in the last bits, so they are declared."""

    seed: Natural
    threads: Count
    precision: Literal["float32", "tf32", "bf16"]
    deterministic: bool
    mirror: bool


class Pretrain(Section):
    """Classification of generated crops: what ImageNet is to VGG16, this is to the tiny trunk."""

    iterations: Count
    images: Count
    crops_per_iteration: Count
    crop_size: Annotated[int, Field(ge=32)]
    lr: Positive


class SolverParams(Section):
    """SGD, as all training stages use it."""

    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    bias_lr_factor: Positive
    trunk_lr_factor: Positive
    lr_decay: Literal["drops", "linear"]
    clip_norm: NonNegative
    log_every: Count


class Schedule(Section):
    """How long a training stage runs, and at which learning rate."""

    iterations: Count
    images_per_iteration: Count
    lr: Positive
    lr_drop_at: list[Count]
    lr_drop_factor: Positive
    warmup_iterations: Natural


class RPNStep3(Schedule):
    """Step 3; its RPN head starts fresh or from step 1's."""

    init: Literal["fresh", "step1"]


class HeadStep4(Schedule):
    """Step 4; cls_score and bbox_pred start fresh or from step 2's."""

    init: Literal["fresh", "step2"]


class JointParams(Schedule):
    """Joint training; starts from the four steps' network or from the pre-trained trunk."""

    init: Literal["step4", "imagenet"]
    pre_nms: PreNms
    post_nms: Count
