"""Images in which no anchor may be used: too thin or too small for the anchors at the size they are resized to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.geometry.anchors import Floats, grid_shapes
from pipeline.params.anchors import AnchorParams
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.collecting import Checked
from pipeline.runtime.words import count_text


def without_anchors(checked: Checked, anchors: AnchorParams, placement: Placement) -> Iterator[str]:
    """Lines on training images that nothing is learnt from, and on images of any split thinner than a stride."""
    shapes = grid_shapes(anchors.base_size, anchors.ratios, anchors.scales)
    yield from thin_images(checked, placement.layout.strides[0])
    train = [(key[1:], count) for key, count in checked.sizes.items() if key[0] == "train"]
    if not train:
        return
    usable = have_anchors(np.array([size for size, _ in train], np.int32), shapes, placement)
    none = [size_count for size_count, some in zip(train, usable, strict=True) if not some]
    if none:
        (height, width), _ = min(none, key=lambda size_count: min(size_count[0]))
        count = sum(count for _, count in none)
        border = "" if placement.allowed_border is None else f", or set {placement.border_key} to null"
        yield (
            f"  no anchor may be used in {count} of {checked.images['train']} train images, such as one of {width} x "
            f"{height} px: nothing is learnt from them; resize to larger images, lower anchors.scales{border}"
        )


def thin_images(checked: Checked, stride: int) -> Iterator[str]:
    """A line on images of any split that are thinner than so many px."""
    thin = {key: count for key, count in checked.sizes.items() if min(key[1:]) < stride}
    if thin:
        height, width = min((key[1:] for key in thin), key=min)
        yield (
            f"  {_images(sum(thin.values()))} thinner than one stride ({stride} px) when resized, such as "
            f"{width} x {height} px: what is that thin can hardly be found; resize to larger images"
        )


def have_anchors(sizes: npt.NDArray[np.int32], shapes: Floats, placement: Placement) -> npt.NDArray[np.bool_]:
    """(N,) whether an anchor may be used in images of (N, 2) H, W px."""
    whole = np.pad(sizes[:, ::-1], ((0, 0), (2, 0))).astype(np.float32)
    usable: npt.NDArray[np.bool_] = placement.best_iou(whole, sizes, shapes) > 0
    return usable


def _images(count: int) -> str:
    return count_text(count, "image is", "images are")
