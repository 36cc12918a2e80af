"""What FCOS is to find in images of a few boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pipeline.building.layout import map_layout
from pipeline.dense.assignment import Assignment, Truth, assign
from pipeline.dense.targets import BatchTargets
from pipeline.families.fcos import dense_targets
from pipeline.geometry.points import Grid
from pipeline.params.reading import Params
from tests.families.truths import truth

PYRAMID: dict[str, Any] = {
    "backbone": {"name": "resnet18", "weights": "random", "size_divisible": 32, "neck": {"name": "fpn_p3_p7"}}
}
"""Levels of strides 8 to 128."""
SIZE = (768, 1280)  # multiples of the coarsest stride


def assigned(params: Params, known: Truth, size: tuple[int, int] = SIZE) -> tuple[Assignment, Grid]:
    grid = dense_targets.locations(map_layout(params.backbone), params).of(*size)
    return assign(dense_targets, known, grid, size, params), grid  # type: ignore[arg-type]


def targets_of(params: Params, boxes: Sequence[Any], size: tuple[int, int]) -> BatchTargets:
    """Of images of one size with these boxes."""
    labels, wanted = [], []
    grid = dense_targets.locations(map_layout(params.backbone), params).of(*size)
    for own in boxes:
        known = truth(*own)
        found, grid = assigned(params, known, size)
        labels.append(torch.from_numpy(found.labels))
        wanted.append(torch.from_numpy(known.boxes[found.matched_gt[found.labels > 0]]))
    rows = torch.stack(labels)
    fg = torch.nonzero(rows.flatten() > 0).squeeze(1)
    return BatchTargets(rows, fg, torch.cat(wanted), [], [], [size] * len(boxes), grid)
