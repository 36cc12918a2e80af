"""The block `base` of params.yaml: what every stage shares."""

from __future__ import annotations

from typing import Literal

from pipeline.params.section import Count, Natural, Section


class Base(Section):
    """What every stage shares. Precision and threads change results in the last bits, so they are declared."""

    seed: Natural
    threads: Count
    precision: Literal["float32", "tf32", "bf16"]
    deterministic: bool
    mirror: bool
