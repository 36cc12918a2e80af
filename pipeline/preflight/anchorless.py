"""Images in which no anchor may be used: too thin or too small for the anchors at the size they are resized to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.anchor_layout import grid_shapes
from pipeline.params.detector import AnchorParams
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.collecting import Checked
from pipeline.words import count_text


def without_anchors(checked: Checked, anchors: AnchorParams, placement: Placement) -> Iterator[str]:
    """Lines on training images that the RPN learns nothing from, and on images of any split thinner than a stride."""
    stride, shapes = placement.stride, grid_shapes(anchors.base_size, anchors.ratios, anchors.scales)
    thin = {key: count for key, count in checked.sizes.items() if min(key[1:]) < stride}
    if thin:
        height, width = min((key[1:] for key in thin), key=min)
        yield (
            f"  {_images(sum(thin.values()))} thinner than one stride ({stride} px) when resized, such as "
            f"{width} x {height} px: what is that thin can hardly be found; resize to larger images"
        )
    train = [(key[1:], count) for key, count in checked.sizes.items() if key[0] == "train"]
    if not train:
        return
    whole = np.array([[0, 0, width, height] for (height, width), _ in train], np.float32)
    best = placement.best_iou(whole, np.array([size for size, _ in train], np.int32), shapes)
    none = [size_count for size_count, iou in zip(train, best, strict=True) if iou == 0]
    if none:
        (height, width), _ = min(none, key=lambda size_count: min(size_count[0]))
        count = sum(count for _, count in none)
        yield (
            f"  no anchor may be used in {count} of {checked.images['train']} train images, such as one of {width} x "
            f"{height} px: the RPN learns nothing from them; resize to larger images, lower anchors.scales, "
            "or set anchor_targets.allowed_border to null"
        )


def _images(count: int) -> str:
    return count_text(count, "image is", "images are")
