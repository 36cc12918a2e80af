"""The block `features` of params.yaml."""

from __future__ import annotations

from typing import ClassVar, Literal

from pipeline.params.section import ImagesAtOnce, Section


class FeatureParams(Section):
    """Which feature maps are stored, and how: float16, or float32 to keep them exact.

    `keep`: those of step 2's trunk, which steps 3 and 4 read; none: they run it in every iteration."""

    renamed: ClassVar = {"keep_frozen_blocks": "keep_frozen_stages"}

    dtype: Literal["float16", "float32"]
    keep: Literal["maps", "none"] = "maps"  # earlier parameters lack it
    keep_frozen_stages: bool
    images_at_once: ImagesAtOnce = 1  # earlier parameters lack it
