"""Anchors from what is stored of them."""

from __future__ import annotations

import numpy as np


def decode_anchors(deltas: np.ndarray, gt_boxes: np.ndarray) -> np.ndarray:
    """The anchors that deltas take to their gt boxes, without the anchors' parameters.

    Args:
        deltas: (F, 4) dx, dy in anchor widths and heights, dw, dh as log ratios; not normalised.
        gt_boxes: (F, 4) xyxy, pixels, the matched gt box of each.

    Returns:
        (F, 4) float32 xyxy, same pixels; equal to the anchors up to rounding.
    """
    deltas, gt_boxes = deltas.astype(np.float64), gt_boxes.astype(np.float64)
    gt_sizes = gt_boxes[:, 2:] - gt_boxes[:, :2]
    sizes = gt_sizes / np.exp(deltas[:, 2:])
    centres = gt_boxes[:, :2] + gt_sizes / 2 - deltas[:, :2] * sizes
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float32)
