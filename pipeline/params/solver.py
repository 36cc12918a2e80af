"""The block `solver` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.section import Count, NonNegative, Positive, Section


class SolverParams(Section):
    """SGD, as all training stages use it."""

    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    bias_lr_factor: Positive
    trunk_lr_factor: Positive
    lr_decay: Literal["drops", "linear"]
    clip_norm: NonNegative
    log_every: Count
