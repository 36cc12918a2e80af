"""Anchors from what is stored of them, and what the anchor_targets stage says of one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.image_views import Entry
from pipeline.runtime.errors import InputError


@dataclass(frozen=True)
class Assignment:
    """F fg anchors and all K anchors of an image.

    Attributes:
        fg: (F,) int64, indices of the fg anchors.
        matched_gt: (F,) int64, the trainable gt box of each.
        max_iou: (F,) float32, 0..1.
        fg_anchors: (F, 4) float32 xyxy, px of the resized image, decoded from the deltas.
        is_bg: (K,) bool.
    """

    fg: np.ndarray
    matched_gt: np.ndarray
    max_iou: np.ndarray
    fg_anchors: np.ndarray
    is_bg: np.ndarray


def assignment_of(folder: Path, entry: Entry, gt_boxes: np.ndarray) -> Assignment:
    """The anchor_targets stage's assignment of one image.

    Args:
        folder: the stage's.
        entry: the image.
        gt_boxes: (G, 4) its trainable gt boxes as the entry sees it, px of the resized image.

    Raises:
        InputError: a file is missing or damaged, or is of other images or boxes.
    """
    targets = AnchorTargets(folder)
    if entry not in targets or np.max((own := targets[entry]).matched_gt, initial=-1) >= len(gt_boxes):
        raise InputError(
            f"{folder}: has other images than the resize stage ({entry.image_id}); dvc repro {folder.name}"
        )
    return Assignment(
        own.fg,
        own.matched_gt,
        own.max_iou,
        decode_anchors(own.deltas, gt_boxes[own.matched_gt]),
        own.is_bg.astype(bool),
    )


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


def decode_targets(deltas: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Where deltas take their boxes: (N, 4) deltas, not normalised, and (N, 4) xyxy, px, to (N, 4) float32."""
    deltas, boxes = deltas.astype(np.float64), boxes.astype(np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + sizes / 2 + deltas[:, :2] * sizes
    half = np.exp(deltas[:, 2:]) * sizes / 2
    return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
