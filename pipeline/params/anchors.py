"""The block `anchors` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.params.section import Positive, Section


class AnchorParams(Section):
    """Anchors of one location: all ratios (height over width) at all scales of the base size."""

    base_size: Positive
    ratios: Annotated[list[Positive], Field(min_length=1)]
    scales: Annotated[list[Positive], Field(min_length=1)]
