"""The targets of an iteration: the stored assignments of its images, combined.

Shapes: B images, padded to one size; N locations of a padded image; F fg locations of the batch; G gt boxes of an
image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pipeline.dense.assignment import truth_of
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.dense_targets import DenseTargets, StoredAssignment
    from pipeline.artifacts.ground_truth import GroundTruth
    from pipeline.artifacts.image_views import Entry
    from pipeline.dense.assignment import Truth
    from pipeline.geometry.points import Grid, Locations


@dataclass(frozen=True)
class BatchTargets:
    """The targets of B images.

    Attributes:
        labels: (B, N) int64: class 1..C-1, 0 background, -1 ignored or outside of the image.
        fg: (F,) int64, which of the B * N locations have a class, ascending.
        fg_boxes: (F, 4) float32, the gt box of each, resized pixels.
        gt_boxes, gt_labels: all trainable gt boxes of each image, (G, 4) float32, and their (G,) int64 classes.
        sizes: (H, W) of each image without padding.
        grid: the N locations of the padded images.
        generator: on the device, seeded in each iteration, for the random draws of losses.
    """

    labels: Tensor
    fg: Tensor
    fg_boxes: Tensor
    gt_boxes: list[Tensor]
    gt_labels: list[Tensor]
    sizes: list[tuple[int, int]]
    grid: Grid
    generator: torch.Generator = field(default_factory=torch.Generator)


def put_together(
    assigned: Sequence[StoredAssignment], truths: Sequence[Truth], sizes: Sequence[tuple[int, int]], padded: Grid
) -> BatchTargets:
    """The targets of B images of (H, W) `sizes`, whose padded locations are `padded`."""
    labels = np.full((len(assigned), len(padded)), -1, np.int64)
    boxes = []
    for row, own, truth in zip(labels, assigned, truths, strict=True):
        inside = slice(None) if own.grid == padded else own.grid.within(padded)
        row[inside] = own.dense_labels
        boxes.append(truth.boxes[own.matched_gt])  # of ascending locations, which padding keeps in their order
    return BatchTargets(
        torch.from_numpy(labels),
        torch.from_numpy(np.flatnonzero(labels > 0)),
        torch.from_numpy(np.concatenate(boxes).reshape(-1, 4).astype(np.float32, copy=False)),
        [torch.from_numpy(truth.boxes) for truth in truths],
        [torch.from_numpy(truth.labels) for truth in truths],
        list(sizes),
        padded,
    )


class TargetSource:
    """The targets of any images of the training set, from the folders of the dense_targets and the resize stage.

    Args:
        locations: where the head predicts.
    """

    def __init__(self, targets: DenseTargets, gt: GroundTruth, locations: Locations) -> None:
        self._targets, self._gt, self._locations = targets, gt, locations

    def of(self, entries: Sequence[Entry], sizes: Sequence[tuple[int, int]]) -> BatchTargets:
        """The targets of entries of (H, W) `sizes`.

        Raises:
            InputError: none are stored of an entry, or those of other locations than the head's.
        """
        self._targets.check_has(entries)
        assigned = [self._targets[entry] for entry in entries]
        for entry, own, size in zip(entries, assigned, sizes, strict=True):
            if own.grid != self._locations.of(*size):
                raise InputError(
                    f"{self._targets.folder}: has targets of {entry.name} at {len(own.grid)} locations of strides "
                    f"{own.grid.strides}, the head predicts at {len(self._locations.of(*size))} of strides "
                    f"{self._locations.layout.strides}; rerun the stage that writes it "
                    f"(dvc repro {self._targets.folder.name})"
                )
        padded = self._locations.of_maps(max(high for high, _ in sizes), max(wide for _, wide in sizes))
        truths = [truth_of(self._gt, entry, width) for entry, (_, width) in zip(entries, sizes, strict=True)]
        return put_together(assigned, truths, sizes, padded)
