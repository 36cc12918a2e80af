"""The size an image is resized to."""

from __future__ import annotations

from pipeline.params import ResizeParams


def resized_size(height: int, width: int, params: ResizeParams) -> tuple[int, int]:
    """(H, W) in pixels after resizing an image of (height, width).

    By rule `shorter_side`: the shorter side becomes `shorter_side`, unless the longer would pass `longer_side`, which
    it then becomes (Fast R-CNN, section 3.1). By rule `fixed`: fixed_height x fixed_width whatever the shape.
    """
    if params.rule == "fixed":
        return params.fixed_height, params.fixed_width
    scale = params.shorter_side / min(height, width)
    if round(scale * max(height, width)) > params.longer_side:
        scale = params.longer_side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
