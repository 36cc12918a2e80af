"""The block `init` of params.yaml: a detector to start from."""

from __future__ import annotations

from typing import Literal

from pipeline.params.section import Names, Section


class InitParams(Section):
    """Whether a trained detector, of these classes or of others, gives the first weights."""

    detector: Literal["none", "file"]
    classes: Names | None = None
